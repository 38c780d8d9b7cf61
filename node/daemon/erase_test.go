package daemon

import (
	"context"
	"errors"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// orderFor makes a durable order to erase an owned object, without sending it.
func orderFor(t *testing.T, n *Node, c cid.Cid) *order {
	t.Helper()
	m := heldHere(t, n, c).Manifest.Claims()
	o, err := n.signOrder(n.home.Principals()[0], []cid.Cid{c}, []envelope.Nonce{m.KeyNonce}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.erasures.start(c, []*order{o}); err != nil {
		t.Fatal(err)
	}
	return o
}

func heldHere(t *testing.T, n *Node, c cid.Cid) *object.Held {
	t.Helper()
	h, err := n.library.Find(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestErasureTakesDealingsBack: what waits in the outbox does not leave any more,
// and what else was in the same request is dealt again.
func TestErasureTakesDealingsBack(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	n := m.nodes[0]
	gone, first := addSmall(t, n, "gone")
	stays, _ := addSmall(t, n, "stays")
	both, err := n.library.DealAgain(n.home.Principals()[0], []*object.Held{heldHere(t, n, gone), heldHere(t, n, stays)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, alone := addSmall(t, n, "other")
	for _, request := range [][]byte{first.Requests[0], both.Requests[1], alone.Requests[1]} {
		if err := n.outbox.store.Apply([]kv.Op{{Key: n.outbox.key(1), Value: request}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.library.MarkShared([]cid.Cid{gone, stays, other}); err != nil {
		t.Fatal(err)
	}
	wantWaiting(t, n, 3)
	if err := n.outbox.drop([]cid.Cid{gone}); err != nil {
		t.Fatal(err)
	}
	left := 0
	if err := n.outbox.store.Scan(outboxPrefix, nil, func(_, v []byte) (bool, error) {
		addresses, err := addressesIn(v)
		if slices.Contains(addresses, gone) {
			t.Error("a dealing of what is erased is still on its way")
		}
		left++
		return true, err
	}); err != nil || left != 1 {
		t.Errorf("%d requests are left: %v", left, err)
	}
	if s := heldHere(t, n, stays).State; s != object.StateLocal {
		t.Errorf("what was in the same request has the state %d", s)
	}
	if s := heldHere(t, n, other).State; s != object.StateShared {
		t.Errorf("what was in another request has the state %d", s)
	}
}

// TestOrdersOutliveTheProcess: an order is found again by each of its addresses
// and counts as waiting until it is done.
func TestOrdersOutliveTheProcess(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	c, _ := addSmall(t, n, "gone")
	o := orderFor(t, n, c)
	again := &erasures{store: n.store.KV("erasures")}
	got, err := again.at(c)
	if err != nil || len(got) != 1 || got[0].id != o.id {
		t.Fatalf("%d orders: %v", len(got), err)
	}
	if open, err := again.open(); err != nil || len(open) != 1 {
		t.Errorf("%d are open: %v", len(open), err)
	}
	o.Done, o.Local = true, true
	if err := again.save(o); err != nil {
		t.Fatal(err)
	}
	if open, err := again.open(); err != nil || len(open) != 0 {
		t.Errorf("%d are open when all are done: %v", len(open), err)
	}
	if err := again.drop([]*order{o}); err != nil {
		t.Fatal(err)
	}
	if got, err := again.at(c); err != nil || len(got) != 0 {
		t.Errorf("%d orders after they were dropped: %v", len(got), err)
	}
}

// TestLeaseEndsWithTheKey: a holder stops in the middle of a transfer when more
// than one validator's log says that the key is erased, and not before.
func TestLeaseEndsWithTheKey(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	address, _ := addSmall(t, owner, "granted")
	other, _ := addSmall(t, owner, "other")
	l, unrelated := granted(t, m, address, "carry"), granted(t, m, other, "carry")
	manifest := manifestOf(t, owner, address)
	if err := l.Allows(address, manifest); err != nil {
		t.Fatal(err)
	}
	if err := unrelated.Allows(other, manifestOf(t, owner, other)); err != nil {
		t.Fatal(err)
	}
	o := orderFor(t, owner, address)
	if err := owner.tracker.Take([]revocation.Entry{o.Entry}); err != nil {
		t.Fatal(err)
	}
	if err := l.Live(); !errors.Is(err, errErased) {
		t.Errorf("a transfer goes on: %v", err)
	}
	if err := l.Allows(address, manifest); !errors.Is(err, errErased) {
		t.Errorf("another begins: %v", err)
	}
	if err := unrelated.Live(); err != nil {
		t.Errorf("the transfer of another object: %v", err)
	}
	if err := owner.forgetErased(context.Background(), map[statement.ID]bool{}); err != nil {
		t.Fatal(err)
	}
	_, err := owner.library.Open(context.Background(), heldHere(t, owner, address))
	if err == nil || fault.Of(err).Exit != fault.Denied {
		t.Errorf("the owner opens it: %v", err)
	}
	if _, err := owner.library.Open(context.Background(), heldHere(t, owner, other)); err != nil {
		t.Errorf("the other is lost: %v", err)
	}
}

// FuzzAddressesIn reads what the outbox holds.
func FuzzAddressesIn(f *testing.F) {
	raw, err := statement.Marshal(validator.DepositRequest{Items: []validator.DepositItem{{Dealing: []byte{1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if out, err := addressesIn(raw); err == nil && len(raw) == 0 {
			t.Errorf("nothing holds %v", out)
		}
	})
}
