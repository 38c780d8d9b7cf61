package daemon

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/tlog"
)

// receiptAt is a receipt of a time for a request that says so.
func receiptAt(t *testing.T, at int64) quorum.Receipt {
	t.Helper()
	request, err := statement.Marshal(validator.ReleaseRequest{Objects: [][]byte{[]byte("object")}, Purpose: fmt.Sprintf("purpose %d", at)})
	if err != nil {
		t.Fatal(err)
	}
	digest, _, _, err := quorum.RequestDigest(event.Release, request)
	if err != nil {
		t.Fatal(err)
	}
	key := statement.GenerateKey()
	i := receipt.Issuer{Network: statement.Hash("network"), Origin: audit.Origin(key.Public()), Key: statement.GenerateKey()}
	body := receipt.Receipt{Action: event.Release, Request: digest, First: at}
	body.Add(tlog.Hash{1}, event.OK)
	raw, err := i.Issue(body, time.UnixMilli(at))
	if err != nil {
		t.Fatal(err)
	}
	r, id, err := receipt.Peek(raw)
	if err != nil {
		t.Fatal(err)
	}
	return quorum.Receipt{Receipt: r, ID: id, Raw: raw, Request: request, Server: key.Public()}
}

func kept(t *testing.T, s *receipts) (times []int64) {
	t.Helper()
	if _, err := s.scan(func(_ []byte, _ *keptReceipt, r *receipt.Receipt, _ statement.ID) (bool, error) {
		times = append(times, r.Time)
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	return times
}

func TestReceiptsAreBoundedAndSealed(t *testing.T) {
	store, master := new(kv.Memory), bytes.Repeat([]byte{7}, keystore.MasterSize)
	s, err := newReceipts(store, master)
	if err != nil {
		t.Fatal(err)
	}
	s.most = 5
	for at := range int64(3) {
		if err := s.keep([]quorum.Receipt{receiptAt(t, 10+2*at), receiptAt(t, 11+2*at)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := kept(t, s); !slices.Equal(got, []int64{11, 12, 13, 14, 15}) {
		t.Errorf("of six the five newest are %v", got)
	}
	// Another start counts what is there.
	if s, err = newReceipts(store, master); err != nil {
		t.Fatal(err)
	}
	s.most = 5
	if err := s.keep([]quorum.Receipt{receiptAt(t, 20)}); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, s); !slices.Equal(got, []int64{12, 13, 14, 15, 20}) {
		t.Errorf("after a start there are %v", got)
	}
	if err := store.Scan(nil, nil, func(_, value []byte) (bool, error) {
		if bytes.Contains(value, []byte("purpose")) {
			t.Error("a purpose is readable on the disk")
		}
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	other, err := newReceipts(store, bytes.Repeat([]byte{8}, keystore.MasterSize))
	if err != nil {
		t.Fatal(err)
	}
	damaged, err := other.scan(func([]byte, *keptReceipt, *receipt.Receipt, statement.ID) (bool, error) {
		t.Error("another home reads one")
		return true, nil
	})
	if err != nil || len(damaged) != 5 {
		t.Errorf("another home finds %d that it cannot read: %v", len(damaged), err)
	}
}

func TestReceiptsOfAnErasureAreKeptListedAndRedeemed(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	ctx, stop := context.WithCancel(t.Context())
	address, dealt := addSmall(t, n, "one")
	if _, err := n.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	n.running.Store(true) // what needs the network goes over the test's wire
	defer n.running.Store(false)
	if _, err := n.Erase(ctx, api.EraseRequest{Address: address.String()}); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := n.runReceipts(ctx); err != nil { // takes what is queued, and ends
		t.Fatal(err)
	}
	l, err := n.Receipts(t.Context(), api.ReceiptsRequest{})
	if err != nil || len(l.Receipts) < 3 {
		t.Fatalf("%v, %+v", err, l)
	}
	first := l.Receipts[0]
	if first.Action != "erase" || first.Outcome != "ok" || first.State != receiptPromised || first.Validator == 0 ||
		!slices.Equal(first.Objects, []string{address.String()}) || len(first.Keys) != 1 {
		t.Errorf("%+v", first)
	}
	f, err := n.Receipt(t.Context(), api.ReceiptRequest{ID: first.ID[:12]})
	if err != nil || f.State != receiptProven {
		t.Fatalf("%v, %+v", err, f)
	}
	if l, err = n.Receipts(t.Context(), api.ReceiptsRequest{}); err != nil || l.Receipts[0].State != receiptProven {
		t.Errorf("that it is proven is forgotten: %+v", l.Receipts[0])
	}
	other, _ := addSmall(t, n, "two")
	if l, err = n.Receipts(t.Context(), api.ReceiptsRequest{Object: other.String()}); err != nil || len(l.Receipts) != 0 {
		t.Errorf("of an object that nobody erased: %+v", l)
	}
	m.setDown(0, 1, 2, 3)
	if f, err = n.Receipt(t.Context(), api.ReceiptRequest{ID: last(t, n).ID}); err != nil || f.State == receiptProven || f.Says == "" || len(f.File) == 0 {
		t.Errorf("nobody can be asked: %v, %+v", err, f)
	}
	for id, exit := range map[string]int{"abc": fault.Usage, "0123456789": fault.NotFound} {
		if _, err := n.Receipt(t.Context(), api.ReceiptRequest{ID: id}); fault.Of(err).Exit != exit {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := n.Receipts(t.Context(), api.ReceiptsRequest{Object: "x"}); fault.Of(err).Exit != fault.Usage {
		t.Error(err)
	}
}

// A denied order to erase leaves the receipts of its denials.
func TestReceiptsOfADeniedErasureAreKept(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.nodes[0]
	c := addRetained(t, n, labelsFor(validator.RetainCompliance, m.now().Add(time.Hour), time.Time{}))
	ctx, stop := context.WithCancel(t.Context())
	if _, err := n.quorum.SendErasure(ctx, orderFor(t, n, c).Entry, nil); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := n.runReceipts(ctx); err != nil {
		t.Fatal(err)
	}
	l, err := n.Receipts(t.Context(), api.ReceiptsRequest{})
	if err != nil || len(l.Receipts) != 4 {
		t.Fatalf("%d receipts, %v", len(l.Receipts), err)
	}
	for _, r := range l.Receipts {
		if r.Action != "erase" || r.Outcome != "denied" {
			t.Errorf("%+v", r)
		}
	}
	// An order that was taken back is found by its address all the same.
	orders, err := n.erasures.at(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.erasures.drop(orders); err != nil {
		t.Fatal(err)
	}
	if l, err = n.Receipts(t.Context(), api.ReceiptsRequest{Object: c.String()}); err != nil || len(l.Receipts) != 4 {
		t.Errorf("after the order was taken back: %+v, %v", l, err)
	}
}

// The object is gone, and whoever asked for its erasure finds the receipts by the
// address that was erased, each version's and each file's of a folder.
func TestReceiptsOfAnErasureAreFoundByAddress(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	m.refresh()
	ctx, stop := context.WithCancel(t.Context())
	first, dealt := addSmall(t, n, "one")
	if _, err := n.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	second, dealt := updateSmall(t, n, first, "two")
	if _, err := n.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	kept, _ := addSmall(t, n, "kept")
	n.running.Store(true)
	defer n.running.Store(false)
	if _, err := n.Erase(ctx, api.EraseRequest{Address: second.String()}); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := n.runReceipts(ctx); err != nil {
		t.Fatal(err)
	}
	for c, want := range map[cid.Cid]bool{first: true, second: true, kept: false} {
		l, err := n.Receipts(t.Context(), api.ReceiptsRequest{Object: c.String()})
		if err != nil || len(l.Receipts) > 0 != want {
			t.Errorf("%s was erased: %t; receipts: %+v, %v", c, want, l, err)
		}
	}
	l, err := n.Receipts(t.Context(), api.ReceiptsRequest{})
	if err != nil || len(l.Receipts) == 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, r := range l.Receipts {
		if len(r.Objects) != 2 || !slices.Contains(r.Objects, first.String()) || !slices.Contains(r.Objects, second.String()) || len(r.Keys) != 2 {
			t.Errorf("%+v", r)
		}
	}
}

// Who is forgotten is in no receipt any more, on the disk or on the way there; others'
// stay.
func TestForgettingRemovesReceipts(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	n, who := m.nodes[0], idOf(m.nodes[1])
	naming := func(at int64, id statement.ID) quorum.Receipt {
		r := receiptAt(t, at)
		request, err := statement.Marshal(validator.ReleaseRequest{Objects: [][]byte{[]byte("object")}, Authority: id[:]})
		if err != nil {
			t.Fatal(err)
		}
		r.Request = request
		return r
	}
	if err := n.receipts.keep([]quorum.Receipt{naming(1, who), naming(2, idOf(n))}); err != nil {
		t.Fatal(err)
	}
	n.takeReceipt(naming(3, who))
	named := func() (times []int64) {
		if _, err := n.receipts.scan(func(_ []byte, k *keptReceipt, r *receipt.Receipt, _ statement.ID) (bool, error) {
			if bytes.Contains(k.Request, who[:]) {
				times = append(times, r.Time)
			}
			return true, nil
		}); err != nil {
			t.Fatal(err)
		}
		return times
	}
	if got := named(); !slices.Equal(got, []int64{1}) { // the control
		t.Fatalf("before, those of %v name the person", got)
	}
	out, err := n.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: who.String()})
	if err != nil || out.Receipts != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if got := named(); len(got) > 0 || len(n.receipts.queue) > 0 {
		t.Errorf("after, those of %v name the person, and %d wait", got, len(n.receipts.queue))
	}
	if got := kept(t, n.receipts); !slices.Equal(got, []int64{2}) {
		t.Errorf("those of %v are left", got)
	}
	mustNotHold(t, filepath.Join(n.home.Dir, "audit"), who[:], []byte(who.String()))
}

// last is the last receipt of all.
func last(t *testing.T, n *Node) api.Receipt {
	t.Helper()
	l, err := n.Receipts(t.Context(), api.ReceiptsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Receipts[len(l.Receipts)-1]
}
