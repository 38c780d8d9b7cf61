package host

import (
	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// gater answers libp2p's questions about single connections. It has no state.
type gater struct {
	gate   admission.Gate
	known  func(peer.ID) bool
	reach  reach
	guards guards
}

var _ connmgr.ConnectionGater = (*gater)(nil)

func newGater(cfg Config, on guards) *gater {
	known := cfg.Known
	if known == nil {
		known = func(peer.ID) bool { return true }
	}
	return &gater{gate: cfg.Gate, known: func(p peer.ID) bool { return known(p) || cfg.Relays.names(p) }, reach: reachOf(cfg), guards: on}
}

// InterceptPeerDial is asked about relays too, by which somebody is to be reached.
func (g *gater) InterceptPeerDial(p peer.ID) bool {
	return !g.gate.Barred(p) && (!g.guards.dialing || g.known(p))
}

// InterceptAddrDial sees numeric addresses only: names have been resolved. Of an
// address through a relay, the way to the relay is dialed, and asked about here, by
// itself.
func (g *gater) InterceptAddrDial(_ peer.ID, a multiaddr.Multiaddr) bool {
	return isRelayed(a) || !g.guards.dialing || g.reach.has(a)
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
