package quorum_test

import (
	"context"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

// instead answers something else than the honest answer, which it may use.
func instead(change func(honest *validator.EraseReply)) behaviour {
	return func(_ context.Context, m quorum.Method, _ []byte, ask func() ([]byte, error)) ([]byte, error) {
		raw, err := ask()
		if err != nil || m != quorum.Erase {
			return raw, err
		}
		var r validator.EraseReply
		if err := statement.Unmarshal(raw, &r); err != nil {
			return nil, err
		}
		change(&r)
		return statement.Marshal(r)
	}
}

func TestReceiptsAreCheckedAsTheyCome(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	a, b := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, a, b)
	e := w.Erasure(t, w.alice, a.KeyNonce, b.KeyNonce)
	foreign, err := w.Erase(t, 1, e) // what the second validator would say
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*validator.EraseReply){
		"another validator's":     func(r *validator.EraseReply) { r.Receipts = foreign.Receipts },
		"of one key only":         func(r *validator.EraseReply) { r.Receipts = r.Receipts[:1] },
		"of one key twice":        func(r *validator.EraseReply) { r.Receipts[1] = r.Receipts[0] },
		"none":                    func(r *validator.EraseReply) { r.Receipts = nil },
		"with a flipped bit":      func(r *validator.EraseReply) { r.Receipts[0][len(r.Receipts[0])-1] ^= 1 },
		"and a hold, both":        func(r *validator.EraseReply) { r.Holds = []statement.ID{{1}}; r.Receipts = r.Receipts[:1] },
		"for another order":       func(r *validator.EraseReply) { r.Receipts = otherOrder(t, w, a, b) },
		"of too many keys by one": func(r *validator.EraseReply) { r.Receipts = append(r.Receipts, r.Receipts[0]) },
	} {
		w.set(instead(change), 0)
		said, err := c.SendErasure(t.Context(), e, []int{0, 2})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(said.By, []int{2}) || len(said.Receipts) != 2 {
			t.Errorf("receipts %s: taken from %v", name, said.By)
		}
	}
	w.set(nil, 0) // the control
	said, err := c.SendErasure(t.Context(), e, nil)
	if err != nil || len(said.By) != 4 {
		t.Fatalf("honest: %v, %v", said, err)
	}
	if _, err := revocation.CheckErased(e, said.Receipts, w.Network.Chain); err != nil {
		t.Error(err)
	}
}

func otherOrder(t *testing.T, w *world, a, b *vt.Object) [][]byte {
	t.Helper()
	r, err := w.Erase(t, 0, w.Erasure(t, w.alice, a.KeyNonce, b.KeyNonce))
	if err != nil {
		t.Fatal(err)
	}
	return r.Receipts
}

// One validator that makes a hold up is counted as one, and the others erase.
func TestAHoldThatIsMadeUp(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	w.set(instead(func(r *validator.EraseReply) { *r = validator.EraseReply{Holds: []statement.ID{{7}}} }), 1)
	said, err := c.SendErasure(t.Context(), w.Erasure(t, w.alice, o.KeyNonce), nil)
	if err != nil || !slices.Equal(said.Held, []int{1}) || len(said.By) != 3 {
		t.Errorf("%+v, %v", said, err)
	}
}

func TestSignAndSendAHold(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	officer := w.Officer(t, w.bob)
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	p := principal(officer)
	found, err := c.FindHeld(t.Context(), p, o.Address)
	if err != nil || found.Claims().KeyNonce != o.KeyNonce {
		t.Fatalf("the manifest to hold: %v", err)
	}
	draft, err := revocation.DraftHold(w.HoldOn(officer, w.alice, revocation.HoldKey, o.KeyNonce))
	if err != nil {
		t.Fatal(err)
	}
	w.set(absent, 3)
	signed, err := c.SignHold(t.Context(), p, draft)
	if err != nil {
		t.Fatal(err)
	}
	e := revocation.Entry{Statement: signed.Bytes()}
	if acks, err := c.SendHold(t.Context(), e, signed.ID()); err != nil || acks != 3 {
		t.Errorf("%d have it: %v", acks, err)
	}
	said, err := c.SendErasure(t.Context(), w.Erasure(t, w.alice, o.KeyNonce), nil)
	if err != nil || len(said.Held) != 3 || len(said.By) != 0 || !slices.Equal(said.Holds, []statement.ID{signed.ID()}) {
		t.Errorf("under the hold: %+v, %v", said, err)
	}

	w.as = w.mallory
	mallory := principal(w.mallory)
	other, err := revocation.DraftHold(w.HoldOn(w.mallory, w.alice, revocation.HoldKey, o.KeyNonce))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SignHold(t.Context(), mallory, other); err == nil || fault.Of(err).Exit != fault.Denied && fault.Of(err).Exit != fault.Unavailable {
		t.Errorf("somebody orders a hold: %v", err)
	}
	if _, err := c.FindHeld(t.Context(), mallory, o.Address); err == nil {
		t.Error("somebody is shown a manifest")
	}
}
