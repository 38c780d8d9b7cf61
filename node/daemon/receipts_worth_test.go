package daemon

import (
	"bytes"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

// fewReceipts keeps five receipts on a disk.
func fewReceipts(t *testing.T, disk kv.Store) *receipts {
	t.Helper()
	s, err := newReceipts(disk, bytes.Repeat([]byte{7}, keystore.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	s.most = 5
	return s
}

// keepAt keeps one receipt of each time.
func keepAt(t *testing.T, s *receipts, times ...int64) {
	t.Helper()
	var batch []quorum.Receipt
	for _, at := range times {
		batch = append(batch, receiptAt(t, at))
	}
	if err := s.keep(batch); err != nil {
		t.Fatal(err)
	}
}

// redeem changes the receipt of a time as its validator's answer would.
func redeem(t *testing.T, s *receipts, at int64, change func(*keptReceipt)) {
	t.Helper()
	var key []byte
	var changed *keptReceipt
	if _, err := s.scan(func(k []byte, x *keptReceipt, r *receipt.Receipt, _ statement.ID) (bool, error) {
		if r.Time == at {
			key, changed = k, x
		}
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	change(changed)
	if err := s.redeemed(key, changed); err != nil {
		t.Fatal(err)
	}
}

func proven(k *keptReceipt) { k.Proofs = [][]byte{{1}} }
func broken(k *keptReceipt) { k.Broken = "it proves another entry" }

// Whoever broke a promise does not get rid of the evidence by making a thousand others:
// what was redeemed gives way first, then what nobody asked for, and last the evidence.
func TestReceiptsGiveWayByWhatTheyAreWorth(t *testing.T) {
	disk := new(kv.Memory)
	s := fewReceipts(t, disk)
	keepAt(t, s, 1, 2, 3, 4, 5)
	redeem(t, s, 1, broken)
	redeem(t, s, 3, proven)
	redeem(t, s, 5, proven)
	for _, step := range []struct {
		at   int64
		left []int64
	}{
		{6, []int64{1, 2, 4, 5, 6}}, // the oldest that was redeemed went
		{7, []int64{1, 2, 4, 6, 7}}, // the other one
		{8, []int64{1, 4, 6, 7, 8}}, // the oldest that was not
	} {
		keepAt(t, s, step.at)
		if got := kept(t, s); !slices.Equal(got, step.left) {
			t.Fatalf("after the one of %d those of %v are left, not of %v", step.at, got, step.left)
		}
	}
	// Another start finds out what each is worth.
	s = fewReceipts(t, disk)
	keepAt(t, s, 9, 10)
	if got := kept(t, s); !slices.Equal(got, []int64{1, 7, 8, 9, 10}) {
		t.Fatalf("after a start those of %v are left", got)
	}
	for _, at := range []int64{7, 8, 9, 10} {
		redeem(t, s, at, broken)
	}
	keepAt(t, s, 11)
	if got := kept(t, s); !slices.Equal(got, []int64{1, 7, 8, 9, 10}) {
		t.Fatalf("evidence gave way to a new promise: those of %v are left", got)
	}
}

// damage flips a bit of the receipt of a time on the disk.
func damage(t *testing.T, s *receipts, at int64) (id string) {
	t.Helper()
	var ops []kv.Op
	if _, err := s.scan(func(key []byte, _ *keptReceipt, r *receipt.Receipt, i statement.ID) (bool, error) {
		if r.Time == at {
			raw, err := s.store.Get(key)
			if err != nil {
				return false, err
			}
			raw[len(raw)/2] ^= 1
			ops, id = append(ops, kv.Op{Key: key, Value: raw}), i.String()
		}
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Apply(ops); err != nil || len(ops) != 1 {
		t.Fatalf("%d damaged, %v", len(ops), err)
	}
	return id
}

// One flipped bit costs one receipt: the others are listed, written and forgotten, and
// what cannot be read, and so may name the person, goes as well.
func TestADamagedReceiptCostsNoOther(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	n, who := m.nodes[0], idOf(m.nodes[1])
	naming := receiptAt(t, 3)
	var err error
	if naming.Request, err = statement.Marshal(validator.ReleaseRequest{Objects: [][]byte{[]byte("object")}, Authority: who[:]}); err != nil {
		t.Fatal(err)
	}
	keepAt(t, n.receipts, 1, 2)
	if err := n.receipts.keep([]quorum.Receipt{naming}); err != nil {
		t.Fatal(err)
	}
	bad := damage(t, n.receipts, 1)

	l, err := n.Receipts(t.Context(), api.ReceiptsRequest{})
	if err != nil || len(l.Receipts) != 2 || l.Damaged != 1 {
		t.Fatalf("%+v, %v", l, err)
	}
	if _, err := n.Receipt(t.Context(), api.ReceiptRequest{ID: l.Receipts[0].ID}); err != nil {
		t.Errorf("a good one beside it: %v", err)
	}
	_, err = n.Receipt(t.Context(), api.ReceiptRequest{ID: bad[:12]})
	if f := fault.Of(err); f.Exit != fault.Integrity || f.Hint == "" {
		t.Errorf("the damaged one: %v, hint %q", err, f.Hint)
	}
	out, err := n.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: who.String()})
	if err != nil || out.Receipts != 1 || out.Damaged != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if l, err = n.Receipts(t.Context(), api.ReceiptsRequest{}); err != nil || len(l.Receipts) != 1 || l.Damaged != 0 {
		t.Errorf("after: %+v, %v", l, err)
	}
}

// What was forgotten while its validator was asked does not come back with the answer.
func TestAForgottenReceiptIsNotRedeemed(t *testing.T) {
	s := fewReceipts(t, new(kv.Memory))
	r := receiptAt(t, 1)
	who := statement.Hash("person")
	r.Request = append(r.Request, who[:]...)
	if err := s.keep([]quorum.Receipt{r}); err != nil {
		t.Fatal(err)
	}
	late := &keptReceipt{Receipt: r.Raw, Request: r.Request, Server: r.Server, Proofs: [][]byte{{1}}}
	if named, _, err := s.forget(who); err != nil || named != 1 {
		t.Fatalf("%d forgotten, %v", named, err)
	}
	if err := s.redeemed(receiptKey(r.Receipt, r.ID), late); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, s); len(got) > 0 {
		t.Errorf("it is back: %v", got)
	}
}
