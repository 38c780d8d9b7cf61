package quorum_test

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/node/fault"
)

// Who left a committee is asked for what newcomers do not have yet. That it has given its
// shares up meanwhile denies nothing: the newcomers will have theirs.
func TestWhoLeftDeniesNothing(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	r := w.Rotate()
	_, first := r.Join(t, "first") // nobody reaches the newcomers
	_, second := r.Join(t, "second")
	r.Succeed(t, func(rec *trust.Record) { rec.Validators[1], rec.Validators[2] = first, second })
	for _, tc := range []struct {
		name         string
		absent, deny []int
		exit         int
		sentence     string
	}{
		{"control: they release", nil, nil, 0, ""},
		{"both gave up their shares", nil, []int{1, 2}, fault.Unavailable, "the key needs 3 of 4 validators, and answered: 1, 4"},
		{"one did, who stays is absent", []int{0}, []int{1}, fault.Unavailable, "the key needs 3 of 4 validators, and answered: 4, 6"},
		{"control: those who stay deny", nil, []int{0, 3}, fault.Denied, "the key was denied by 2 of 4 validators"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.set(nil, 0, 1, 2, 3)
			w.set(absent, tc.absent...)
			w.set(denying, tc.deny...)
			w.wantKey(t, c, chain, o, tc.exit, tc.sentence)
		})
	}
}

// What is still on its way to some is not denied in a batch either. The control: what as
// many refuse is.
func TestWhatIsOnItsWayIsNotDenied(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	later := w.Version(t, o)
	w.DepositAll(t, w.alice, later)
	chain := w.Grant(t, w.alice, w.bob, vt.LineageOf(o))
	for outcome, denied := range map[uint8]bool{validator.ItemNotYet: false, validator.ItemRefused: true} {
		w.set(tampering(t, w.bob, func(r *validator.Release) { r.Items[1] = validator.ReleaseItem{Outcome: outcome} }), 0, 1)
		keys, err := c.AskRelease(t.Context(), w.asks(t, chain, o, later))
		if denied {
			if err != nil || !keys.Denied[1] || keys.Denied[0] {
				t.Errorf("control: %v", err)
			}
			continue
		}
		wantFault(t, err, fault.Unavailable, "")
	}
}
