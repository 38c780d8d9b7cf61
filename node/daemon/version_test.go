package daemon

import (
	"context"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// updateSmall makes the version that follows an object, and its dealing, without
// sending it.
func updateSmall(t *testing.T, n *Node, address cid.Cid, content string) (cid.Cid, *object.Dealt) {
	t.Helper()
	ctx, p := context.Background(), n.home.Principals()[0]
	h, err := n.library.Find(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	base, err := h.Base()
	if err != nil {
		t.Fatal(err)
	}
	added, err := n.library.UpdateStream(ctx, p, base, "x", strings.NewReader(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	dealt, err := n.library.Deal(p, added.Batches[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	return added.Root.Address, dealt
}

func wantState(t *testing.T, n *Node, c cid.Cid, want uint8) {
	t.Helper()
	if o, err := n.store.Object(c); err != nil || o.State != want {
		t.Errorf("state %d, not %d: %v", o.State, want, err)
	}
}

// TestAVersionWaitsForTheOneBefore: a validator that missed a version is sent the
// next one, refuses it, and has both once the outbox has brought the first.
func TestAVersionWaitsForTheOneBefore(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	ctx := context.Background()
	m.setDown(3)
	first, dealt := addSmall(t, n, "one")
	if _, err := n.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	m.setDown() // it is back, and the outbox has not been there yet
	second, dealt := updateSmall(t, n, first, "two")
	got, err := n.outbox.deliver(ctx, dealt)
	if err != nil || got.least() != 3 || got.conflicts[0] != 0 {
		t.Fatal(got, err)
	}
	wantState(t, n, second, object.StateShared)
	wantWaiting(t, n, 2)
	if left, err := n.outbox.pass(ctx); err != nil || left != 0 { // in the order in which they were made
		t.Errorf("left: %d %v", left, err)
	}
	slots, err := m.validators[3].judge.Slots()
	if err != nil || len(slots) != 2 {
		t.Errorf("validator 4 holds %d shares: %v", len(slots), err)
	}
}

// TestAVersionThatLosesSaysSo: where validators took another version first, this
// one is marked and not dealt for ever, and the one before it is free again.
func TestAVersionThatLosesSaysSo(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	ctx := context.Background()
	first, dealt := addSmall(t, n, "one")
	if _, err := n.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	winner, dealt := updateSmall(t, n, first, "another home's")
	if err := n.library.MarkConflict(ctx, winner); err != nil { // this home does not know of it
		t.Fatal(err)
	}
	if got, err := n.outbox.deliver(ctx, dealt); err != nil || got.least() != 4 {
		t.Fatal(got, err)
	}
	loser, dealt := updateSmall(t, n, first, "this home's")
	got, err := n.outbox.deliver(ctx, dealt)
	if err != nil || got.least() != 0 || got.conflicts[0] != 4 || !got.lost[0] {
		t.Fatal(got, err)
	}
	wantState(t, n, loser, object.StateConflict)
	wantState(t, n, first, object.StateShared)
	wantWaiting(t, n, 0)
	if _, dealt = updateSmall(t, n, first, "the next try"); len(dealt.Objects) != 1 { // it may be followed again
		t.Error("nothing was dealt")
	}
}

// TestAClockPutBackLosesNoObject: a dealing that is refused for its number is no
// version that lost.
func TestAClockPutBackLosesNoObject(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	if err := n.buildHost(); err != nil { // for its addresses
		t.Fatal(err)
	}
	t.Cleanup(func() { n.host.Close() })
	ctx := context.Background()
	first, dealt := addSmall(t, n, "one")
	if _, err := n.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	second, _ := updateSmall(t, n, first, "two")
	m.setDown(0, 1) // two of four take it
	if left, err := n.outbox.pass(ctx); err != nil || left != 1 {
		t.Fatal(left, err)
	}
	m.setDown()
	m.skew.Add(-40) // seconds; the dealing that stands at two is of a later time
	left, err := n.outbox.pass(ctx)
	if err != nil || left != 1 {
		t.Errorf("left: %d %v", left, err)
	}
	wantState(t, n, second, object.StateLocal)
	m.skew.Add(80)
	if left, err := n.outbox.pass(ctx); err != nil || left != 0 {
		t.Errorf("left: %d %v", left, err)
	}
	wantState(t, n, second, object.StateShared)
}
