package daemon

import (
	"context"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/witness"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/libp2p/go-libp2p/core/peer"
)

// This file has how witnesses find that a log showed two histories, and how all
// members learn of it. The receiver verifies evidence: it does not matter who sends it.

// compareAll asks the other validators what they cosigned since the last time.
func (n *Node) compareAll(ctx context.Context, compared map[peer.ID]uint64) {
	var all sync.WaitGroup
	var mu sync.Mutex // guards compared
	for _, info := range n.bootstrap() {
		mu.Lock()
		after := compared[info.ID]
		mu.Unlock()
		all.Go(func() {
			next, err := n.compare(ctx, info.ID, after)
			if err != nil && ctx.Err() == nil {
				n.log.Debug("comparing what was witnessed", "peer", info.ID, "err", err)
			}
			mu.Lock()
			defer mu.Unlock()
			compared[info.ID] = next
		})
	}
	all.Wait()
}

func (n *Node) compare(ctx context.Context, with peer.ID, after uint64) (uint64, error) {
	for range maxCompared {
		raw, err := n.callWith(ctx, with, witnessCalls[witness.Changed], witness.AskChanged(after))
		if err != nil {
			return after, err
		}
		checkpoints, next, err := witness.ReadChanged(raw)
		if err != nil || len(checkpoints) == 0 {
			return after, err
		}
		for _, c := range checkpoints {
			if err := n.witnessing.witness.Compare(c); err != nil {
				return after, err
			}
		}
		after = next
	}
	return after, nil
}

// runEvidence spreads evidence and asks the validators for it, until ctx ends.
func (n *Node) runEvidence(ctx context.Context) error {
	tick := time.NewTicker(evidenceEvery)
	defer tick.Stop()
	shown := map[statement.PublicKey]bool{}
	for _, e := range n.witnessing.docket.All() {
		shown[e.Binding.Peer] = true
	}
	n.pullEvidence(ctx)
	for {
		changed := n.witnessing.docket.Changed()
		for _, e := range n.witnessing.docket.All() {
			if !shown[e.Binding.Peer] {
				shown[e.Binding.Peer] = true
				n.log.Error("there is evidence against an audit log", "says", e)
				n.showEvidence(ctx, e)
			}
		}
		if err := n.remember(); err != nil {
			n.log.Warn("looking for evidence against the own audit log", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
			n.pullEvidence(ctx)
		}
	}
}

// showEvidence shows a piece of evidence to the validators and to everybody who is
// connected. They show it to others, once.
func (n *Node) showEvidence(ctx context.Context, e *witness.Evidence) {
	last := statement.PublicKey{}
	for i := range last {
		last[i] = 0xFF // nothing comes after it: only what is shown matters
	}
	body, err := witness.AskEvidence(last, e.Bytes())
	if err != nil {
		n.log.Error("evidence does not encode", "err", err)
		return
	}
	to := map[peer.ID]bool{}
	for _, info := range n.bootstrap() {
		to[info.ID] = true
	}
	for _, p := range n.host.Libp2p().Network().Peers() {
		to[p] = true
	}
	var all sync.WaitGroup
	for p := range to {
		all.Go(func() {
			if _, err := n.callWith(ctx, p, evidenceMethod, body); err != nil && ctx.Err() == nil {
				n.log.Debug("showing evidence", "peer", p, "err", err)
			}
		})
	}
	all.Wait()
}

// pullEvidence asks the validators for evidence that is not known here.
func (n *Node) pullEvidence(ctx context.Context) {
	var all sync.WaitGroup
	for _, info := range n.bootstrap() {
		all.Go(func() {
			if err := n.pullEvidenceOf(ctx, info.ID); err != nil && ctx.Err() == nil {
				n.log.Debug("asking for evidence", "peer", info.ID, "err", err)
			}
		})
	}
	all.Wait()
}

func (n *Node) pullEvidenceOf(ctx context.Context, from peer.ID) error {
	var after statement.PublicKey
	for range maxCompared {
		body, err := witness.AskEvidence(after)
		if err != nil {
			return err
		}
		raw, err := n.callWith(ctx, from, evidenceMethod, body)
		if err != nil {
			return err
		}
		more := false
		if after, _, more, err = n.witnessing.docket.ReadEvidence(raw, n.everMember); err != nil || !more {
			return err
		}
	}
	return nil
}
