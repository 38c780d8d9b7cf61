package validator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
)

// placedIn is an object that validators have with a label of residency.
func (w *world) placedIn(t *testing.T, regions string) *vt.Object {
	t.Helper()
	o := w.Object(t, w.alice)
	w.DepositDealt(t, w.Deal(t, w.alice, 1, []*vt.Object{o}, func(d *validator.Dealing) {
		d.Labels = []validator.Label{{Key: validator.LabelResidency, Value: regions}}
	}))
	return o
}

// Validators sign no grant for somebody whom no role places in a region of the object,
// to read it or to carry it; a role in one of them is enough, and the owner needs none.
func TestAGrantOutsideOfTheRegionIsNotSigned(t *testing.T) {
	w := newWorld(t, vt.Options{})
	here, anywhere := w.placedIn(t, "ch,eu"), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, anywhere)
	ask := func(who *vt.Person, o *vt.Object, can capability.Abilities) error {
		_, r := w.Draft(t, w.alice, who, w.GrantBody(w.alice, who, vt.LineageOf(o), func(g *capability.Grant) { g.Abilities = can }))
		_, err := w.sign(t, 0, r)
		return err
	}
	for _, can := range []capability.Abilities{capability.Read, capability.Carry} {
		wantErr(t, ask(w.bob, here, can), validator.ErrDenied)
		if err := ask(w.bob, anywhere, can); err != nil { // control
			t.Errorf("an object without the label: %v", err)
		}
	}
	w.Assign(t, w.bob, "region/us")
	wantErr(t, ask(w.bob, here, capability.Carry), validator.ErrDenied)
	w.Assign(t, w.bob, "region/eu")
	if err := ask(w.bob, here, capability.Carry); err != nil {
		t.Errorf("in a region of the object: %v", err)
	}
	if !slices.Contains(logOf(t, w.Validators[0]), "grant denied") {
		t.Error("the denial is not in the log")
	}
}

// A grant from before the role ended, or one that validators who lie have signed,
// releases no key and names no carrier elsewhere.
func TestNothingIsReleasedOrCarriedOutsideOfTheRegion(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.placedIn(t, "eu")
	read := w.Grant(t, w.alice, w.bob, vt.LineageOf(o))
	carry := w.Grant(t, w.alice, w.bob, vt.LineageOf(o), carries)
	own := w.Grant(t, w.alice, w.alice, vt.LineageOf(o))
	if _, err := w.Release(t, 0, w.bob, read, vt.ReleaseOf(o)); !errors.Is(err, validator.ErrDenied) {
		t.Errorf("a key is released elsewhere: %v", err)
	}
	if _, err := w.Release(t, 0, w.alice, own, vt.ReleaseOf(o)); err != nil {
		t.Errorf("the owner: %v", err)
	}
	_, err := w.Carry(t, 0, w.bob, carry, carryOf(o, addressOf(t, w.bob)))
	wantErr(t, err, validator.ErrDenied)
	w.Assign(t, w.bob, "region/eu")
	if _, err := w.Release(t, 0, w.bob, read, vt.ReleaseOf(o)); err != nil {
		t.Errorf("in the region: %v", err)
	}
	if _, err := w.Carry(t, 0, w.bob, carry, carryOf(o, addressOf(t, w.bob))); err != nil {
		t.Errorf("a carrier in the region: %v", err)
	}
}

func TestWrongLabelsOfResidencyAreRefused(t *testing.T) {
	w := newWorld(t, vt.Options{})
	label := func(values ...string) (out []validator.Label) {
		for _, v := range values {
			out = append(out, validator.Label{Key: validator.LabelResidency, Value: v})
		}
		return out
	}
	for _, good := range [][]validator.Label{nil, label("eu"), label("ch,eu")} {
		if _, err := validator.ReadResidency(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range [][]validator.Label{label(""), label("eu,ch"), label("eu,eu"), label("EU"), label("eu, us"), label("eu,"), label("eu", "us"), label(strings.Repeat("e", 64))} {
		if r, err := validator.ReadResidency(bad); !errors.Is(err, validator.ErrResidency) || r != nil {
			t.Errorf("%v: %v, %v", bad, r, err)
		}
		d := w.Deal(t, w.alice, 1, []*vt.Object{w.Object(t, w.alice)}, func(d *validator.Dealing) { d.Labels = bad })
		got, err := w.Deposit(t, 0, w.Request(t, d, 0))
		wantOutcomes(t, got, err, validator.ItemRefused)
	}
}

func FuzzReadResidency(f *testing.F) {
	f.Add("ch,eu")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		r, err := validator.ReadResidency([]validator.Label{{Key: validator.LabelResidency, Value: value}})
		if err == nil && (len(r) == 0 || strings.Join(r, ",") != value || !slices.IsSorted(r)) {
			t.Errorf("%q gives %q", value, r)
		}
	})
}
