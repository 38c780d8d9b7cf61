package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/witness"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Every node has its log witnessed by the validators, and every validator witnesses.
// Package witness has what is said and why; here it meets the network.

const (
	witnessEvery  = 5 * time.Second // about, between two rounds of this home's log
	compareEvery  = time.Minute     // also between two anchors of one log, see package witness
	evidenceEvery = time.Hour
	maxCompared   = 64 // pages of one validator at a time
)

// witnessCalls are a witness's services on the wire. The first has the request of
// C2SP tlog-witness as its body, unchanged.
var witnessCalls = map[witness.Call]rpc.Method{
	witness.Cosign:    witnessMethod("1.0.0", witness.Cosign),
	witness.Introduce: witnessMethod("introduce/1", witness.Introduce),
	witness.Show:      witnessMethod("show/1", witness.Show),
	witness.Changed:   witnessMethod("changed/1", witness.Changed),
}

func witnessMethod(name string, c witness.Call) rpc.Method {
	request, response := c.Limits()
	return rpc.Method{
		Protocol: protocol.ID("/cerebrum/tlog-witness/" + name), MaxRequest: request, MaxResponse: response, Timeout: 10 * time.Second, PerPeer: 2,
	}
}

// evidenceMethod is offered by every member: what is shown is taken, a page goes back.
var evidenceMethod = rpc.Method{
	Protocol: "/cerebrum/tlog-witness/evidence/1", MaxRequest: witness.MaxSpread, MaxResponse: witness.MaxSpreadReply, Timeout: 10 * time.Second, PerPeer: 1,
}

// witnessing is this home's part in witnessing.
type witnessing struct {
	docket    *witness.Docket
	collector *witness.Collector
	witness   *witness.Witness // of a home that has validator keys
	store     kv.Store
	anchors   atomic.Int64  // appended since the start
	hurry     chan struct{} // of room 1: somebody waits for cosignatures
}

// cosignedKey holds the newest checkpoint of the own log that has a quorum. The log's
// folder has it too, but not where an old copy of that was restored.
var cosignedKey = []byte("cosigned")

func (n *Node) openWitnessing() error {
	c, err := n.home.AuditLog()
	if err != nil {
		return err
	}
	w := &n.witnessing
	w.store, w.hurry = n.store.KV("witnessed"), make(chan struct{}, 1)
	if w.docket, err = witness.OpenDocket(filepath.Join(n.home.Dir, "evidence")); err != nil {
		return err
	}
	w.collector = &witness.Collector{
		Log: n.audit.Log(), Binding: c.Binding, Transport: witnessTransport{n}, Now: n.now, Logger: n.log,
		Keep: func(checkpoint []byte) error { return w.store.Apply([]kv.Op{{Key: cosignedKey, Value: checkpoint}}) },
	}
	if err := n.remember(); err != nil {
		return err
	}
	keys, err := n.home.ValidatorKeys(false)
	if keys == nil || err != nil {
		return err
	}
	w.witness, err = witness.Open(witness.Config{
		Key: keys.Witness, Store: n.store.KV("witness"), Docket: w.docket, Now: n.now, Logger: n.log,
		Member: n.isMember,
		LogKey: func(p statement.PublicKey) (statement.PublicKey, bool) {
			i, sits := n.trust.Current().ByPeer(p)
			if !sits {
				return statement.PublicKey{}, false
			}
			return n.trust.Current().Validators[i].Log, true
		},
	})
	return err
}

// remember stops the log before anything is appended where its folder is an old copy,
// or where there is evidence against it. That it is stopped is no error here: status
// tells, and what needs no record still works.
func (n *Node) remember() error {
	kept, err := n.witnessing.store.Get(cosignedKey)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	shown := [][]byte{kept}
	if e := n.witnessing.docket.Against(n.home.PeerKey()); e != nil {
		shown = append(shown, e.First.Note, e.Second.Note)
	}
	for _, checkpoint := range shown {
		if len(checkpoint) == 0 {
			continue
		}
		switch err := n.audit.Log().Confront(checkpoint); {
		case errors.Is(err, audit.ErrDisowned):
			n.log.Error("the audit log of this home takes no further entries", "err", err)
			return nil
		case err != nil && !errors.Is(err, audit.ErrCheckpoint): // of a log that was bound to another key
			return err
		}
	}
	return nil
}

// witnessTransport implements witness.Transport.
type witnessTransport struct{ n *Node }

// Ask implements witness.Transport.
func (t witnessTransport) Ask(ctx context.Context, to statement.PublicKey, c witness.Call, body []byte) ([]byte, error) {
	if to == t.n.home.PeerKey() {
		return t.n.answerWitness(to, c, body)
	}
	id, err := peerID(to)
	if err != nil {
		return nil, err
	}
	return t.n.callWith(ctx, id, witnessCalls[c], body)
}

// callWith calls a peer with a body that is the same for every connection.
func (n *Node) callWith(ctx context.Context, to peer.ID, m rpc.Method, body []byte) ([]byte, error) {
	ctx = network.WithDialPeerTimeout(ctx, dialTime)
	return rpc.Call(ctx, n.host.Libp2p(), to, m, func(*admission.Session) ([]byte, error) { return body, nil })
}

// answerWitness answers as this home's witness. What logs there are and how fast they
// grow is for their owners and for validators to know.
func (n *Node) answerWitness(client statement.PublicKey, c witness.Call, body []byte) ([]byte, error) {
	w := n.witnessing.witness
	if w == nil || n.seat() < 0 {
		return nil, &rpc.Error{Code: rpc.Denied, Message: "this node is no validator"}
	}
	_, sits := n.trust.Current().ByPeer(client)
	if c == witness.Changed && !sits || c == witness.Show && !sits && string(body) != audit.Origin(client) {
		return nil, &rpc.Error{Code: rpc.Denied, Message: "denied"}
	}
	if !n.tracker.Ready() && (c == witness.Cosign || c == witness.Introduce) {
		return nil, &rpc.Error{Code: rpc.Unavailable, Message: "this validator is starting"}
	}
	return w.Answer(c, body)
}

func (n *Node) serveWitness() {
	if n.witnessing.witness != nil {
		for c, m := range witnessCalls {
			rpc.Serve(n.host.Libp2p(), m, n.log, func(_ context.Context, from rpc.Caller, body []byte) ([]byte, error) {
				client, err := peerKey(from.Peer)
				if err != nil {
					return nil, err
				}
				return n.answerWitness(client, c, body)
			})
		}
	}
	rpc.Serve(n.host.Libp2p(), evidenceMethod, n.log, func(_ context.Context, from rpc.Caller, body []byte) ([]byte, error) {
		reply, _, err := n.witnessing.docket.Exchange(body, n.everMember)
		if errors.Is(err, witness.ErrEvidence) || errors.Is(err, statement.ErrMalformed) {
			n.log.Info("evidence was refused", "peer", from.Peer, "err", err)
			return nil, &rpc.Error{Code: rpc.Malformed, Message: "that proves nothing"}
		}
		return reply, err
	})
}

// isMember reports a peer that is a member now. Of one that was admitted the gate has
// verified so, and does again each minute.
func (n *Node) isMember(p statement.PublicKey) error {
	if id, err := peerID(p); err == nil && n.gate != nil && n.gate.wasAdmitted(id) && !n.gate.Barred(id) {
		return nil
	}
	_, err := n.admits(p, nil)
	return err
}

// everMember reports a peer that is or was a member, as far as is known here.
func (n *Node) everMember(p statement.PublicKey) bool {
	if _, err := n.roll.store.Get(memberKey(p)); err == nil {
		return true
	}
	for r, ok := n.trust.Current(), true; ok; r, ok = r.Before() {
		if _, sat := r.ByPeer(p); sat {
			return true
		}
	}
	return false
}

// runWitnessed has this home's log witnessed, until ctx ends. The log waits for
// nothing of it.
func (n *Node) runWitnessed(ctx context.Context) error {
	c := n.witnessing.collector
	c.Greet(ctx, n.trust.Current()) // what it finds, Round says
	// Nodes that were started together must not go on asking together.
	next := func() time.Duration { return witnessEvery*3/4 + rand.N(witnessEvery/2) }
	due := time.NewTimer(next())
	defer due.Stop()
	stopped := false
	for {
		err := c.Round(ctx, n.trust.Current(), n.witnessing.anchors.Load())
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, audit.ErrDisowned) && !stopped:
			stopped = true
			n.log.Error("the audit log of this home takes no further entries", "err", err)
		case err != nil && !stopped:
			n.log.Warn("having the audit log witnessed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
		case <-n.witnessing.hurry:
		}
		due.Reset(next())
	}
}

// askWitnesses waits until a quorum has cosigned a checkpoint of at least size entries,
// for a while.
func (n *Node) askWitnesses(ctx context.Context, size int64) {
	if n.trust == nil || !n.running.Load() {
		return
	}
	n.witnessing.collector.Retry()
	ctx, cancel := context.WithTimeout(ctx, witnessPatience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	// Those that cosigned the log a moment ago want a second between two checkpoints.
	for i := 0; n.audit.Log().Cosigned().N < size; i++ {
		if i%10 == 0 {
			select {
			case n.witnessing.hurry <- struct{}{}:
			default: // somebody else waits already
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// witnessPatience is how long an export waits for witnesses.
const witnessPatience = 3 * time.Second

// runWitness compares with the other witnesses what changed, and anchors what this one
// cosigned in its own log, each minute until ctx ends.
func (n *Node) runWitness(ctx context.Context) error {
	w := n.witnessing.witness
	tick := time.NewTicker(compareEvery)
	defer tick.Stop()
	anchored := w.Changes()
	compared := map[peer.ID]uint64{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if n.seat() < 0 {
			continue
		}
		var err error
		if anchored, err = n.anchor(ctx, anchored); err != nil && ctx.Err() == nil {
			n.log.Warn("noting others' checkpoints in the audit log", "err", err)
		}
		n.compareAll(ctx, compared)
	}
}

// anchor notes the checkpoints of other logs that were cosigned after a change.
func (n *Node) anchor(ctx context.Context, after uint64) (uint64, error) {
	const page = 128
	for {
		due, next, err := n.witnessing.witness.Anchors(audit.Origin(n.home.PeerKey()), after, page)
		if err != nil || next == after {
			return after, err
		}
		events := make([]event.Event, len(due))
		for i, a := range due {
			events[i] = event.Act{Object: a.Sum[:]}.Event(n.now(), event.Witness, event.OK)
		}
		if err := n.audit.Append(ctx, events...); err != nil {
			return after, err
		}
		n.witnessing.anchors.Add(int64(len(events)))
		after = next
	}
}
