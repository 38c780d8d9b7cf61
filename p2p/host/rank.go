package host

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// How long an address waits for better ones to connect first.
const (
	quicDelay = 250 * time.Millisecond
	farDelay  = 500 * time.Millisecond // public addresses, where private ones are known

	relayDelay = time.Second // addresses through relays, where direct ones are known
)

// rank prefers TCP. libp2p prefers QUIC, which saves a round trip when it
// connects; our connections live long and carry bulk, where TCP moves three
// times as much per core (the kernel segments and checksums it). QUIC is there
// for networks that let nothing else through.
func rank(addrs []multiaddr.Multiaddr) []network.AddrDelay {
	near, direct := false, false
	for _, a := range addrs {
		near = near || (!manet.IsPublicAddr(a) && !isRelayed(a))
		direct = direct || !isRelayed(a)
	}
	out := make([]network.AddrDelay, 0, len(addrs))
	for _, a := range addrs {
		d := network.AddrDelay{Addr: a}
		if _, err := a.ValueForProtocol(multiaddr.P_UDP); err == nil {
			d.Delay += quicDelay
		}
		if near && manet.IsPublicAddr(a) {
			d.Delay += farDelay
		}
		if direct && isRelayed(a) {
			d.Delay += relayDelay
		}
		out = append(out, d)
	}
	return out
}
