package daemon

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// addSmall makes an object and its dealing, without sending it.
func addSmall(t *testing.T, n *Node, content string) (cid.Cid, *object.Dealt) {
	t.Helper()
	p := n.home.Principals()[0]
	added, err := n.library.AddStream(context.Background(), p, "x", strings.NewReader(content), object.Labels{})
	if err != nil {
		t.Fatal(err)
	}
	dealt, err := n.library.Deal(p, added.Batches[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	return added.Root.Address, dealt
}

func wantWaiting(t *testing.T, n *Node, want int) {
	t.Helper()
	if got, err := n.outbox.Waiting(); err != nil || got != want {
		t.Errorf("%d wait, not %d: %v", got, want, err)
	}
}

// TestOutboxOrder: what waits longest is sent first, also within one tick of the
// clock, and a clock that stands still loses nothing.
func TestOutboxOrder(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	o := m.nodes[0].outbox
	var keys [][]byte
	for i := range 1000 {
		if i == 500 {
			m.skew.Add(1)
		}
		keys = append(keys, o.key(o.n.trust.Current().ID(), i%4))
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Error("the keys are not in the order in which they were made")
	}
	seen := map[string]bool{}
	for i, k := range keys {
		if seen[string(k)] || !bytes.HasPrefix(k, outboxPrefix) || int(binary.BigEndian.Uint16(k[len(k)-2:])) != i%4 {
			t.Fatalf("key %d is %x", i, k)
		}
		seen[string(k)] = true
	}
}

// TestOutboxKeepsWhatOneLacks follows a deposit that one validator missed.
func TestOutboxKeepsWhatOneLacks(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	m.setDown(3)
	ctx := context.Background()
	address, dealt := addSmall(t, n, "one")
	acks, err := n.outbox.deliver(ctx, dealt)
	if err != nil || acks != 3 {
		t.Fatal(acks, err)
	}
	if o, err := n.store.Object(address); err != nil || o.State != object.StateShared {
		t.Errorf("three of four: %v %v", o.State, err)
	}
	wantWaiting(t, n, 1)
	for range 3 { // trying in vain loses nothing
		if left, err := n.outbox.pass(ctx); err != nil || left != 1 {
			t.Errorf("left: %d %v", left, err)
		}
	}
	wantWaiting(t, n, 1)
	m.setDown()
	if left, err := n.outbox.pass(ctx); err != nil || left != 0 {
		t.Errorf("left: %d %v", left, err)
	}
	wantWaiting(t, n, 0)
	slots, err := m.validators[3].judge.Slots()
	if err != nil || len(slots) != 1 {
		t.Errorf("validator 4 holds %d shares: %v", len(slots), err)
	}
}

// TestOutboxDealsAgain: with too few acknowledgements nothing is kept but the
// object's state, from which it is dealt anew.
func TestOutboxDealsAgain(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	if err := n.buildHost(); err != nil { // for its addresses
		t.Fatal(err)
	}
	t.Cleanup(func() { n.host.Close() })
	m.setDown(0, 1)
	ctx := context.Background()
	address, dealt := addSmall(t, n, "two")
	acks, err := n.outbox.deliver(ctx, dealt)
	if err != nil || acks != 2 {
		t.Fatal(acks, err)
	}
	wantWaiting(t, n, 1)
	if left, err := n.outbox.pass(ctx); err != nil || left != 1 {
		t.Errorf("left: %d %v", left, err)
	}
	if o, err := n.store.Object(address); err != nil || o.State != object.StateLocal {
		t.Errorf("two of four: %v %v", o.State, err)
	}
	n.busy.Add(1) // an add under way has the right of way, for its own objects
	m.setDown()
	if left, err := n.outbox.pass(ctx); err != nil || left != 1 {
		t.Errorf("while an add is under way: %d %v", left, err)
	}
	n.busy.Add(-1)
	if left, err := n.outbox.pass(ctx); err != nil || left != 0 {
		t.Errorf("left: %d %v", left, err)
	}
	wantWaiting(t, n, 0)
	if o, err := n.store.Object(address); err != nil || o.State != object.StateShared {
		t.Errorf("dealt again: %v %v", o.State, err)
	}
}

// TestOutboxIsNotHeldUp: many requests for one validator that is gone do not keep
// another waiting behind them, and the one that is gone is asked once a pass.
func TestOutboxIsNotHeldUp(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	_, dealt := addSmall(t, n, "three")
	var ops []kv.Op
	for range 200 {
		ops = append(ops, kv.Op{Key: n.outbox.key(n.trust.Current().ID(), 0), Value: dealt.Requests[0]})
	}
	ops = append(ops, kv.Op{Key: n.outbox.key(n.trust.Current().ID(), 1), Value: dealt.Requests[1]})
	ops = append(ops, kv.Op{Key: n.outbox.key(n.trust.Current().ID(), 9), Value: dealt.Requests[1]}) // no such validator
	if err := n.outbox.store.Apply(ops); err != nil {
		t.Fatal(err)
	}
	if err := n.library.MarkShared(dealt.Objects); err != nil {
		t.Fatal(err)
	}
	m.setDown(0)
	if left, err := n.outbox.pass(context.Background()); err != nil || left != 201 {
		t.Errorf("left: %d %v", left, err)
	}
	if slices.Compare(m.asked, []int{0, 1}) != 0 {
		t.Errorf("asked: %v", m.asked)
	}
	m.setDown()
	if left, err := n.outbox.pass(context.Background()); err != nil || left != 1 {
		t.Errorf("left: %d %v", left, err)
	}
}
