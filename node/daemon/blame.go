package daemon

import (
	"context"
	"errors"
	"sync"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// This file has what peers are blamed for. A peer answers for what its own key sent
// and what it alone can have made: messages that do not decode or exceed their
// limits, bytes of another hash than was asked for. It does not answer for being slow
// or away, for what is denied, or for what others signed and it passed on: anybody
// could provoke that in its name.

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

// askedBadly is for a request that no honest peer sends.
func (g *gate) askedBadly(p peer.ID) {
	g.blame(p, admission.PointsProtocol, "it sent a request that cannot be read")
}

// gaveBadly looks at why a holder did not give what it was asked for. One block that
// rots on its disk counts once, however often it is read.
func (g *gate) gaveBadly(p peer.ID, err error) {
	var corrupt *exchange.CorruptError
	switch {
	case !errors.As(err, &corrupt) || !corrupt.Own || corrupt.Peer != p:
	case corrupt.Block.Defined() && !g.rot.isNew(p, corrupt.Block):
	default:
		g.blame(p, admission.PointsProtocol, "it sent other bytes than it was asked for")
	}
}

// rot remembers the blocks that peers sent wrongly, the latest of them.
type rot struct {
	mu   sync.Mutex
	seen map[rotten]bool // owned by mu
}

type rotten struct {
	peer  peer.ID
	block cid.Cid
}

const maxRotten = 4096

func (r *rot) isNew(p peer.ID, block cid.Cid) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := rotten{p, block}
	if r.seen[at] {
		return false
	}
	if r.seen == nil || len(r.seen) >= maxRotten {
		r.seen = map[rotten]bool{}
	}
	r.seen[at] = true
	return true
}

// server answers other members' calls.
func (n *Node) server() rpc.Server {
	return rpc.Server{Host: n.host.Libp2p(), Log: n.log, Offended: func(p peer.ID, _ *rpc.Error) { n.gate.askedBadly(p) }}
}

// call asks another member.
func (n *Node) call(ctx context.Context, p peer.ID, m rpc.Method, build func(*admission.Session) ([]byte, error)) ([]byte, error) {
	raw, err := rpc.Call(ctx, n.host.Libp2p(), p, m, build)
	var e *rpc.Error
	if errors.As(err, &e) && e.Offence {
		n.gate.blame(p, admission.PointsProtocol, "it sent an answer that cannot be read")
	}
	return raw, err
}
