package host

import (
	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// gater answers libp2p's questions about single connections. It has no state.
type gater struct {
	gate     admission.Gate
	loopback bool // may be dialed
	guards   guards
}

var _ connmgr.ConnectionGater = (*gater)(nil)

// newGater allows dialing loopback where peers can be there: in a local network,
// or where we listen there ourselves. Elsewhere a loopback address in what peers
// tell is a mistake at best, and at worst a way to make us talk to ourselves.
func newGater(cfg Config, on guards) *gater {
	g := &gater{gate: cfg.Gate, loopback: cfg.LocalNetwork, guards: on}
	for _, a := range cfg.Listen {
		g.loopback = g.loopback || manet.IsIPLoopback(a)
	}
	return g
}

func (g *gater) InterceptPeerDial(p peer.ID) bool { return !g.gate.Barred(p) }

// InterceptAddrDial sees numeric addresses only: names have been resolved. Of an
// address through a relay, the way to the relay is dialed, and asked about here, by
// itself.
func (g *gater) InterceptAddrDial(_ peer.ID, a multiaddr.Multiaddr) bool {
	if isRelayed(a) {
		return true
	}
	ip, err := manet.ToIP(a)
	if err != nil || ip.IsUnspecified() || ip.IsMulticast() {
		return false
	}
	return g.loopback || !ip.IsLoopback()
}

func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured comes before the muxer on TCP and before the swarm on QUIC.
func (g *gater) InterceptSecured(_ network.Direction, p peer.ID, c network.ConnMultiaddrs) bool {
	if raw, ok := c.(*rawConn); ok {
		raw.secured()
	}
	key, err := p.ExtractPublicKey()
	return err == nil && key.Type() == crypto.Ed25519 && !g.gate.Barred(p)
}

func (g *gater) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	_, admitted := admission.SessionOf(c)
	return (admitted || !g.guards.upgraded) && !g.gate.Barred(c.RemotePeer()), 0
}
