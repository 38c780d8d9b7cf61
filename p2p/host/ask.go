package host

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
	madns "github.com/multiformats/go-multiaddr-dns"
)

// maxAskAddresses bounds how many addresses of one peer are tried.
const maxAskAddresses = 16

// Ask sends one request to the desk of a peer that need not admit us, and returns
// its answer: see [admission.Desk]. Addresses are tried one after the other, TCP
// first; those that may not be dialled are passed over. It works before Run too.
func (h *Host) Ask(ctx context.Context, to peer.AddrInfo, request []byte) ([]byte, error) {
	if !h.dialable.InterceptPeerDial(to.ID) {
		return nil, fmt.Errorf("asking %s: %w", to.ID, swarm.ErrGaterDisallowedConnection)
	}
	sw, ok := h.inner.Network().(*swarm.Swarm)
	if !ok {
		return nil, errors.New("libp2p's network is not a swarm")
	}
	var errs []error
	for _, a := range resolve(ctx, to.Addrs) {
		t, ok := sw.TransportForDialing(a).(*admission.Transport)
		if !ok || !h.dialable.InterceptAddrDial(to.ID, a) {
			continue
		}
		answer, err := t.Ask(ctx, a, to.ID, request)
		if err == nil {
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", a, err))
		if ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("asking %s: it has no address that may be dialled", to.ID)
	}
	return nil, errors.Join(errs...)
}

// resolve turns names into addresses and puts TCP before QUIC. What does not
// resolve is left out.
func resolve(ctx context.Context, addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	var tcp, others []multiaddr.Multiaddr
	for _, a := range addrs {
		all := []multiaddr.Multiaddr{a}
		if madns.Matches(a) {
			var err error
			if all, err = madns.DefaultResolver.Resolve(ctx, a); err != nil {
				continue
			}
		}
		for _, a := range all {
			if _, err := a.ValueForProtocol(multiaddr.P_TCP); err == nil {
				tcp = append(tcp, a)
			} else {
				others = append(others, a)
			}
		}
	}
	all := append(tcp, others...)
	return all[:min(len(all), maxAskAddresses)]
}
