package validator_test

import (
	"crypto/rand"
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// keepAll hands a hold or a release to every validator.
func (w *world) keepAll(t *testing.T, e revocation.Entry) {
	t.Helper()
	for i := range w.Validators {
		if err := w.Keep(t, i, e); err != nil {
			t.Fatal(err)
		}
	}
}

// release makes and keeps the release of a hold.
func (w *world) endHold(t *testing.T, who *vt.Person, h revocation.Hold, e revocation.Entry) {
	t.Helper()
	s, err := statement.Parse(e.Statement)
	if err != nil {
		t.Fatal(err)
	}
	r := h.Release(s.ID())
	r.Record, r.Officer = w.Chain.Current().ID(), who.ID()
	rand.Read(r.Nonce[:])
	w.keepAll(t, w.SignHold(t, who, r))
}

func TestAHoldForbidsErasureUntilItEnds(t *testing.T) {
	for name, on := range map[string]struct {
		kind revocation.HoldOn
		ref  func(*vt.Object) envelope.Nonce
	}{
		"key":     {revocation.HoldKey, func(o *vt.Object) envelope.Nonce { return o.KeyNonce }},
		"lineage": {revocation.HoldLineage, func(o *vt.Object) envelope.Nonce { return o.Lineage }},
		"scope":   {revocation.HoldScope, func(o *vt.Object) envelope.Nonce { return o.Scopes[0] }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, vt.Options{})
			officer := w.Officer(t, w.bob)
			o := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{envelope.NewNonce()} })
			free := w.Object(t, w.alice)
			w.DepositAll(t, w.alice, o, free)
			h := w.HoldOn(officer, w.alice, on.kind, on.ref(o))
			placed := w.SignHold(t, officer, h)
			w.keepAll(t, placed)

			order := w.Erasure(t, w.alice, free.KeyNonce, o.KeyNonce)
			for i := range w.Validators {
				r, err := w.Erase(t, i, order)
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Holds) != 1 || len(r.Receipts) != 0 {
					t.Errorf("validator %d answers %d holds, %d receipts", i+1, len(r.Holds), len(r.Receipts))
				}
			}
			if !w.gives(t, 0, o) || !w.gives(t, 0, free) || w.slots(0) != 2 {
				t.Error("an order that was refused did something")
			}
			w.erase(t, w.Erasure(t, w.alice, free.KeyNonce), 0) // the control: what is not held goes

			w.endHold(t, officer, h, placed)
			w.erase(t, order, 0, 1, 2)
			if w.gives(t, 0, o) || w.slots(0) != 0 {
				t.Error("it is not erased after the hold has ended")
			}
		})
	}
}

// The order was taken where the hold was not known. Where it is, the share stays
// though nobody gets it, and goes when the hold ends.
func TestAHoldKeepsAShareFromAnOrderThatOthersTook(t *testing.T) {
	w := newWorld(t, vt.Options{})
	officer := w.Officer(t, w.bob)
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	h := w.HoldOn(officer, w.alice, revocation.HoldKey, o.KeyNonce)
	placed := w.SignHold(t, officer, h)
	keeper := w.Validators[3]
	if err := w.Keep(t, 3, placed); err != nil {
		t.Fatal(err)
	}
	w.erase(t, w.Erasure(t, w.alice, o.KeyNonce), 0, 1)
	for i := range 2 {
		if err := keeper.Tracker.Ask(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func() {
		t.Helper()
		if err := keeper.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if sweep(); w.slots(3) != 1 {
		t.Fatal("the share was destroyed under a hold")
	}
	if w.gives(t, 3, o) {
		t.Error("a share of an erased key is released")
	}
	w.keepAll(t, placed) // too late for their shares
	w.endHold(t, officer, h, placed)
	if sweep(); w.slots(3) != 0 {
		t.Error("the share stays after the hold has ended")
	}
}

// A hold that comes when the share is destroyed keeps nothing, and does not keep
// the validator from saying what it did.
func TestAHoldThatComesTooLate(t *testing.T) {
	w := newWorld(t, vt.Options{})
	officer := w.Officer(t, w.bob)
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	e := w.Erasure(t, w.alice, o.KeyNonce)
	w.erase(t, e, 0)
	w.keepAll(t, w.SignHold(t, officer, w.HoldOn(officer, w.alice, revocation.HoldKey, o.KeyNonce)))
	w.erase(t, e, 0)
	if r, err := w.Erase(t, 1, e); err != nil || len(r.Holds) != 1 { // the control: it came in time here
		t.Errorf("%v, %v", r, err)
	}
}

func TestWhoMayOrderHolds(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	ask := func(who *vt.Person, h revocation.Hold) error {
		_, err := w.AskHold(t, 0, who, h)
		return err
	}
	wantErr(t, ask(w.mallory, w.HoldOn(w.mallory, w.alice, revocation.HoldKey, o.KeyNonce)), validator.ErrDenied)
	officer := w.Officer(t, w.bob)
	good := w.HoldOn(officer, w.alice, revocation.HoldKey, o.KeyNonce)
	if err := ask(officer, good); err != nil {
		t.Fatalf("the control: %v", err)
	}
	sitting := &vt.Person{Identity: w.Validators[1].Person.Identity, Device: w.Validators[1].Person.Devices[0], Peer: w.Record.Validators[1].Peer}
	if err := ask(sitting, w.HoldOn(sitting, w.alice, revocation.HoldKey, o.KeyNonce)); err != nil {
		t.Errorf("a validator's own identity: %v", err)
	}
	wantErr(t, ask(w.mallory, good), validator.ErrDenied) // names the officer, proves Mallory
	for name, change := range map[string]func(*revocation.Hold){
		"another network": func(h *revocation.Hold) { h.Network = statement.ID{1} },
		"another record":  func(h *revocation.Hold) { h.Record = statement.ID{1} },
		"no such kind":    func(h *revocation.Hold) { h.On = 9 },
		"no owner":        func(h *revocation.Hold) { h.Owner = statement.ID{} },
		"a release of nothing": func(h *revocation.Hold) {
			h.Placed, h.Ends = false, make([]byte, len(statement.ID{}))
		},
	} {
		h := good
		change(&h)
		if err := ask(officer, h); !errors.Is(err, validator.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Fewer than K signatures hold nothing, and one validator's cannot be counted
// again as another's.
func TestAHoldNeedsKSignatures(t *testing.T) {
	w := newWorld(t, vt.Options{})
	officer := w.Officer(t, w.bob)
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	h := w.HoldOn(officer, w.alice, revocation.HoldKey, o.KeyNonce)
	two, err := w.AskHold(t, 0, officer, h)
	if err != nil {
		t.Fatal(err)
	}
	more, err := w.AskHold(t, 1, officer, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := two.Merge(more); err != nil {
		t.Fatal(err)
	}
	wantErr(t, w.Keep(t, 0, revocation.Entry{Statement: two.Bytes()}), validator.ErrMalformed)
	w.erase(t, w.Erasure(t, w.alice, o.KeyNonce), 0)
}

func FuzzHold(f *testing.F) {
	fuzzEntry[validator.HoldRequest](f, func(w *world) []any {
		officer := w.Officer(f, w.bob)
		h := w.HoldOn(officer, w.alice, revocation.HoldKey, envelope.NewNonce())
		s, err := revocation.DraftHold(h)
		if err != nil {
			f.Fatal(err)
		}
		q := validator.HoldRequest{Hold: s.Bytes()}
		q.Authority = w.ByIdentity(f, officer, w.Connect(officer, 0), q.Digest())
		return []any{q, validator.HoldRequest{Hold: s.Bytes()}, validator.HoldRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Hold(t.Context(), validator.Conn{UseCounter: func(uint64) bool { return true }}, raw)
		return err
	})
}

func FuzzKeep(f *testing.F) {
	fuzzEntry[validator.KeepRequest](f, func(w *world) []any {
		officer := vt.NewPerson(f, "officer", identity.User)
		e := w.SignHold(f, w.Officer(f, officer), w.HoldOn(officer, w.alice, revocation.HoldKey, envelope.NewNonce()))
		return []any{validator.KeepRequest{Entry: e}, validator.KeepRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Keep(t.Context(), raw)
		return err
	})
}
