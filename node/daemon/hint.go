package daemon

import (
	"context"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"
	"github.com/libp2p/go-libp2p/core/peer"
)

const hintTime = 3 * time.Second

// hintEverybody tells the connected peers, without waiting, that there is
// something to pull. Who misses it learns within a minute by itself.
func (n *Node) hintEverybody() {
	if n.host == nil { // not serving
		return
	}
	for _, p := range n.host.Libp2p().Network().Peers() {
		go func() { // ends within hintTime
			ctx, cancel := context.WithTimeout(context.Background(), hintTime)
			defer cancel()
			n.hintPeer(ctx, p, nil)
		}()
	}
}

// hintRecords is the hint that there are committee records to pull from us.
const hintRecords = 1

// hintMail is the hint that there may be grants to carry something, or something new
// under such a grant.
const hintMail = 2

// hintOfRecords tells the connected peers, without waiting, that this node knows a
// new committee record, or a proof against a validator.
func (n *Node) hintOfRecords() {
	for _, p := range n.host.Libp2p().Network().Peers() {
		go func() { // ends within hintTime
			ctx, cancel := context.WithTimeout(context.Background(), hintTime)
			defer cancel()
			n.hintPeer(ctx, p, []byte{hintRecords})
		}()
	}
}

// hintPeer has a peer pull now and reports whether it has.
func (n *Node) hintPeer(ctx context.Context, p peer.ID, what []byte) bool {
	_, err := n.call(ctx, p, hint, func(*admission.Session) ([]byte, error) { return what, nil })
	return err == nil
}

// hintAll has peers pull now and counts those that have.
func (n *Node) hintAll(ctx context.Context, peers []peer.ID) int {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	var wg sync.WaitGroup
	done := make([]bool, len(peers))
	for i, p := range peers {
		wg.Go(func() { done[i] = n.hintPeer(ctx, p, nil) })
	}
	wg.Wait()
	count := 0
	for _, d := range done {
		if d {
			count++
		}
	}
	return count
}
