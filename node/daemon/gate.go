package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/p2p/admission"
	"github.com/libp2p/go-libp2p/core/peer"
)

// gate implements admission.Gate: the committee records, memberships, removals and
// bans decide.
// What it decided is decided again with every new record and every minute.
type gate struct {
	n    *Node
	bans *admission.Bans

	mu       sync.Mutex
	admitted map[peer.ID]admitted // owned by mu; since the start
	listed   map[peer.ID]bool     // owned by mu; peers whose membership the network file has
}

// admitted is what a peer was let in by.
type admitted struct {
	role       trust.Role
	credential []byte
}

// Credential is this node's membership. A validator needs none, but for peers that
// do not know its record yet.
func (g *gate) Credential() []byte {
	raw, _ := g.n.membership(g.n.home.PeerKey())
	return raw // without one the other side refuses who is no validator
}

// Check admits a validator of the record or the holder of a valid membership.
func (g *gate) Check(remote peer.ID, credential []byte) error {
	key, err := peerKey(remote)
	if err != nil {
		return err
	}
	role, err := g.n.admits(key, credential)
	if err != nil {
		return err
	}
	g.n.enrolShown(key, credential)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.admitted == nil {
		g.admitted = map[peer.ID]admitted{}
	}
	g.admitted[remote] = admitted{role, credential}
	return nil
}

// Barred is for peers that were removed, and for those that misbehaved until their
// ban ends. Validators are removed by a committee record alone.
func (g *gate) Barred(remote peer.ID) bool {
	key, err := peerKey(remote)
	if err != nil {
		return true
	}
	if _, sits := g.n.trust.Current().ByPeer(key); sits {
		return false
	}
	return g.n.removed(key) || g.bans.Barred(remote)
}

// refused looks at why a peer was not admitted. Silence and a credential that is
// over are no offence: lines break, and members sleep.
func (g *gate) refused(remote peer.ID, err error) {
	switch {
	case errors.Is(err, statement.ErrSignature), errors.Is(err, trust.ErrStolen):
		g.blame(remote, admission.PointsForgery, "it showed a credential that is forged or another's")
	case err == admission.ErrProtocol:
		g.blame(remote, admission.PointsProtocol, "it does not speak the admission protocol")
	case errors.Is(err, admission.ErrPace):
		g.blame(remote, admission.PointsFlood, "it asks too often")
	}
}

// blame counts an offence, and parts from a peer that is barred by it.
func (g *gate) blame(p peer.ID, points float64, why string) {
	barred, err := g.bans.Blame(p, points, why)
	if err != nil {
		g.n.log.Error("a ban cannot be kept", "peer", p, "err", err)
	}
	if barred && g.Barred(p) {
		g.recordBan(p, why)
		g.n.log.Warn("a peer is barred for a while", "peer", p, "why", why)
		g.n.host.Drop(p)
	}
}

// recordBan logs a ban.
func (g *gate) recordBan(p peer.ID, why string) {
	act := event.Act{Rule: "conduct", Detail: why}
	if key, err := peerKey(p); err == nil {
		act.Peer, act.Subject = key[:], g.n.memberIdentity(key)
	}
	if err := g.n.record(context.Background(), event.Ban, event.OK, act); err != nil {
		g.n.log.Error("a ban is not in the audit log", "peer", p, "err", err)
	}
}

// admits decides by the newest record and by memberships: the one that a peer shows,
// or a later one that is known here of it, so that who slept through a renewal is let
// in to learn of it. The validators that the newest record replaced hold shares that
// others need, and are admitted by the record before, unless that does not count.
func (n *Node) admits(key statement.PublicKey, credential []byte) (trust.Role, error) {
	if _, sits := n.trust.Current().ByPeer(key); !sits && n.removed(key) {
		return 0, fmt.Errorf("%w: the peer was removed", trust.ErrMembership)
	}
	role, err := n.trust.Admits(key, credential, n.now())
	if err == nil {
		return role, nil
	}
	if known, ok := n.membership(key); ok {
		if role, err := n.trust.Admits(key, known, n.now()); err == nil {
			return role, nil
		}
	}
	if before, ok := n.trust.Current().Before(); ok {
		if _, was := before.ByPeer(key); was {
			if _, gone := n.trust.ByID(before.ID()); gone == nil {
				return trust.RoleValidator, nil
			}
		}
	}
	return 0, err
}

// review decides again about everybody and parts from those who do not belong to
// the network any more.
func (g *gate) review() {
	g.mu.Lock()
	g.listed = nil
	all := maps.Clone(g.admitted)
	g.mu.Unlock()
	for p, a := range all {
		if g.Check(p, a.credential) == nil {
			continue
		}
		g.part(p)
	}
}

// part ends everything with a peer that is no member any more.
func (g *gate) part(p peer.ID) {
	g.mu.Lock()
	delete(g.admitted, p)
	delete(g.listed, p)
	g.mu.Unlock()
	g.n.host.Drop(p)
	g.n.discovery.Forget(p)
	g.n.log.Info("a peer is no member any more", "peer", p)
}

// expel parts from those who were removed. It is called with every change of the
// statements that this node knows.
func (g *gate) expel() {
	g.mu.Lock()
	all := maps.Clone(g.admitted)
	for p := range g.listed {
		if _, ok := all[p]; !ok {
			all[p] = admitted{}
		}
	}
	g.mu.Unlock()
	for p := range all {
		if key, err := peerKey(p); err == nil && g.n.removed(key) && g.Barred(p) {
			g.part(p)
		}
	}
}

// member says whom the DHT may speak to: peers that were admitted, validators,
// and those whose membership the network file has, which is how a holder can be
// dialled that has never been met. Admission decides again on the connection.
func (g *gate) member(p peer.ID) bool {
	if p != g.n.host.ID() && g.Barred(p) {
		return false
	}
	g.mu.Lock()
	_, ok := g.admitted[p]
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
	if _, ok = g.n.membership(key); !ok {
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
	return g.admitted[p].role.String()
}
