package validator_test

import (
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// objects are what the events of an action in a validator's log were about.
func objects(t *testing.T, v *vt.Validator, action event.Action, outcome event.Outcome) (out []string) {
	t.Helper()
	for _, e := range v.Events(t) {
		if o, _ := event.Find(e.Claims, event.Object); e.Action == action && e.Outcome == outcome {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out
}

// AU: whoever asks a validator's log what became of an object finds the order to erase
// it and that it was destroyed, also where one order names several, where it comes again,
// and where it is denied.
func TestTheLogSaysWhichObjectsWereErased(t *testing.T) {
	w := newWorld(t, vt.Options{})
	one, two, never := w.Object(t, w.alice), w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, one, two)
	e := w.because(t, w.alice, "asked", one.KeyNonce, two.KeyNonce, never.KeyNonce)
	key := never.KeyID()
	want := []string{event.Ref(one.Address.Bytes()), event.Ref(two.Address.Bytes()), event.Ref(key[:])} // of the third it knows the key only
	slices.Sort(want)
	said, err := w.Erase(t, 0, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []event.Action{event.Erase, event.Destroy} {
		if got := objects(t, w.Validators[0], action, event.OK); !slices.Equal(got, want) {
			t.Errorf("%s of %v, not %v", action, got, want)
		}
	}
	if r := w.receiptOf(t, 0, said.Logged); r.Entries() != 3 || r.Outcome() != event.OK {
		t.Errorf("the receipt is for %d entries", r.Entries())
	}
	for i := range 3 {
		if n, err := w.redeem(t, 0, said.Logged, uint16(i)); n == 0 || err != nil {
			t.Errorf("entry %d: %d proofs, %v", i, n, err)
		}
	}
	w.erase(t, e, 0) // again: the objects are gone, what they were is not forgotten
	if got := objects(t, w.Validators[0], event.Erase, event.OK); len(got) != 6 || got[0] != got[1] || got[2] != got[3] {
		t.Errorf("twice it was of %v", got)
	}
	if got := objects(t, w.Validators[0], event.Destroy, event.OK); !slices.Equal(got, want) {
		t.Errorf("destroyed twice: %v", got)
	}
}

// Grants, holds and orders name a version, a lineage, a scope or a key: they are found by
// the address.
func TestNamesOfAnAddress(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, other := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	names, err := w.Validators[0].Names(o.Address)
	facts := validator.ObjectOf(o.Address, &o.Manifest)
	for _, id := range append([]statement.ID{o.KeyID(), o.LineageID(), facts.Version, facts.Lineage, vt.VersionOf(o).Ref}, o.ScopeIDs()...) {
		if err != nil || !slices.Contains(names, id) {
			t.Errorf("%v is not among %v, %v", id, names, err)
		}
	}
	if slices.Contains(names, other.KeyID()) || slices.Contains(names, other.LineageID()) {
		t.Error("another object's are among them")
	}
	if names, err := w.Validators[0].Names(other.Address); len(names) > 0 || err != nil {
		t.Errorf("of what was never here: %v, %v", names, err)
	}
	w.erase(t, w.Erasure(t, w.alice, o.KeyNonce), 0)
	if names, err := w.Validators[0].Names(o.Address); !slices.Equal(names, []statement.ID{o.KeyID(), facts.Version}) || err != nil {
		t.Errorf("of what was erased: %v, %v", names, err)
	}
}
