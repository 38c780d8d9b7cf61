package daemon

import (
	"sync"

	"cerebrum.dev/cerebrum/acl/trust"
	"github.com/libp2p/go-libp2p/core/peer"
)

// gate implements admission.Gate: the committee record and memberships decide.
type gate struct {
	n *Node

	mu     sync.Mutex
	roles  map[peer.ID]trust.Role // owned by mu; peers admitted since the start
	listed map[peer.ID]bool       // owned by mu; peers whose membership the network file has
}

// Credential is this node's membership; a validator needs none.
func (g *gate) Credential() []byte {
	if g.n.self >= 0 {
		return nil
	}
	raw, _ := g.n.home.Network.Membership(g.n.trust.Current(), g.n.home.PeerKey(), g.n.now())
	return raw // without one the other side refuses
}

// Check admits a validator of the record or the holder of a valid membership.
func (g *gate) Check(remote peer.ID, credential []byte) error {
	key, err := peerKey(remote)
	if err != nil {
		return err
	}
	role, err := g.n.trust.Current().Admits(key, credential, g.n.now())
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.roles == nil {
		g.roles = map[peer.ID]trust.Role{}
	}
	g.roles[remote] = role
	return nil
}

// Barred is for removed and banned peers, of which a genesis has none.
func (g *gate) Barred(peer.ID) bool { return false }

// member says whom the DHT may speak to: peers that were admitted, validators,
// and those whose membership the network file has, which is how a holder can be
// dialled that has never been met. Admission decides again on the connection.
func (g *gate) member(p peer.ID) bool {
	g.mu.Lock()
	_, ok := g.roles[p]
	ok = ok || g.listed[p]
	g.mu.Unlock()
	if ok {
		return true
	}
	key, err := peerKey(p)
	if err != nil {
		return false
	}
	if _, ok = g.n.trust.Current().ByPeer(key); ok {
		return true
	}
	if _, ok = g.n.home.Network.Membership(g.n.trust.Current(), key, g.n.now()); !ok {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listed == nil {
		g.listed = map[peer.ID]bool{}
	}
	g.listed[p] = true
	return true
}

// role is a peer's role in words.
func (g *gate) role(p peer.ID) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.roles[p].String()
}
