package validator_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// retain deals an object with labels of retention, to be sent to validators.
func (w *world) retain(t *testing.T, number uint64, o *vt.Object, mode string, until time.Time) *vt.Dealt {
	t.Helper()
	return w.Deal(t, w.alice, number, []*vt.Object{o}, func(d *validator.Dealing) {
		if mode != "" {
			d.Labels = append(d.Labels, validator.Label{Key: validator.LabelRetention, Value: mode},
				validator.Label{Key: validator.LabelRetainUntil, Value: validator.StampRetention(until)})
		}
	})
}

// because is an order to erase with a reason.
func (w *world) because(t *testing.T, owner *vt.Person, reason string, keys ...envelope.Nonce) revocation.Entry {
	t.Helper()
	e, err := revocation.SignErasure(revocation.Erasure{Network: w.Network.Network(), Keys: keys, Reason: reason, Nonce: [16]byte{byte(len(reason))}}, owner.Identity, owner.Device)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// In the mode compliance nobody erases before the time, by no role and no reason;
// afterwards the owner does.
func TestComplianceKeepsAgainstEverybody(t *testing.T) {
	w := newWorld(t, vt.Options{})
	kept, free := w.Object(t, w.alice), w.Object(t, w.alice)
	until := w.Clock.Now().Add(time.Hour)
	w.DepositDealt(t, w.retain(t, 1, kept, validator.RetainCompliance, until))
	w.DepositAll(t, w.alice, free)
	w.Assign(t, w.alice, validator.RoleRetention)
	both := w.because(t, w.alice, validator.OverridePrefix+"the board says so", kept.KeyNonce, free.KeyNonce)
	_, err := w.Erase(t, 0, both)
	wantErr(t, err, validator.ErrDenied)
	if !w.gives(t, 0, kept) || !w.gives(t, 0, free) || w.slots(0) != 2 {
		t.Error("a part of an order that is refused was carried out")
	}
	if events := logOf(t, w.Validators[0]); !slices.Contains(events, "erase denied") {
		t.Errorf("the audit log has %v", events)
	}
	w.erase(t, w.because(t, w.alice, "", free.KeyNonce), 0) // control: what is not retained
	w.Clock.Advance(2 * time.Hour)
	w.Hear(t)
	w.erase(t, w.because(t, w.alice, "over", kept.KeyNonce), 0)
	if w.slots(0) != 0 {
		t.Error("it is kept after its time")
	}
}

// In the mode governance whoever has the role overrides it, says so and says why; one
// of the three is not enough.
func TestGovernanceIsOverriddenByARoleWithAReason(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositDealt(t, w.retain(t, 1, o, validator.RetainGovernance, w.Clock.Now().Add(time.Hour)))
	refused := func(what, reason string) {
		t.Helper()
		if _, err := w.Erase(t, 0, w.because(t, w.alice, reason, o.KeyNonce)); !errors.Is(err, validator.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("nothing", "")
	refused("no role", validator.OverridePrefix+"a court order")
	w.Assign(t, w.bob, validator.RoleRetention)
	refused("another's role", validator.OverridePrefix+"a court order")
	w.Assign(t, w.alice, validator.RoleRetention)
	refused("not said", "a court order")
	refused("no reason", validator.OverridePrefix+" ")
	if !w.gives(t, 0, o) {
		t.Fatal("it is gone")
	}
	w.erase(t, w.because(t, w.alice, validator.OverridePrefix+"a court order", o.KeyNonce), 0)
	if w.slots(0) != 0 {
		t.Error("the override did nothing")
	}
}

// A legal hold wins over an override.
func TestAHoldWinsOverAnOverride(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositDealt(t, w.retain(t, 1, o, validator.RetainGovernance, w.Clock.Now().Add(time.Hour)))
	w.Assign(t, w.alice, validator.RoleRetention)
	officer := w.Officer(t, w.bob)
	if err := w.Keep(t, 0, w.SignHold(t, officer, w.HoldOn(officer, w.alice, revocation.HoldKey, o.KeyNonce))); err != nil {
		t.Fatal(err)
	}
	r, err := w.Erase(t, 0, w.because(t, w.alice, validator.OverridePrefix+"x", o.KeyNonce))
	if err != nil || len(r.Holds) != 1 || w.slots(0) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// An owner deals again with other labels: what is longer or stricter is taken, what is
// shorter is not.
func TestARetentionIsNotShortenedByDealingAgain(t *testing.T) {
	for mode, want := range map[string]map[string]uint8{
		validator.RetainCompliance: {"governance longer": validator.ItemConflict, "compliance longer": validator.ItemOK},
		validator.RetainGovernance: {"governance longer": validator.ItemOK, "compliance longer": validator.ItemOK},
	} {
		w := newWorld(t, vt.Options{})
		now := w.Clock.Now()
		for name, next := range map[string]struct {
			mode  string
			until time.Time
			want  uint8
		}{
			"none":              {"", now, validator.ItemConflict},
			"shorter":           {mode, now.Add(time.Hour - time.Second), validator.ItemConflict},
			"governance longer": {validator.RetainGovernance, now.Add(2 * time.Hour), want["governance longer"]},
			"compliance longer": {validator.RetainCompliance, now.Add(2 * time.Hour), want["compliance longer"]},
		} {
			o := w.Object(t, w.alice)
			w.DepositDealt(t, w.retain(t, 1, o, mode, now.Add(time.Hour)))
			got, err := w.Deposit(t, 0, w.Request(t, w.retain(t, 2, o, next.mode, next.until), 0))
			t.Log(mode, name)
			wantOutcomes(t, got, err, next.want)
		}
	}
}

// Whoever has the role brings a time forward in the mode governance; in the mode
// compliance nobody does.
func TestARetentionIsShortenedByARoleInGovernanceAlone(t *testing.T) {
	w := newWorld(t, vt.Options{})
	until := w.Clock.Now().Add(time.Hour)
	again := func(number uint64, o *vt.Object, mode string, until time.Time) []uint8 {
		t.Helper()
		got, err := w.Deposit(t, 0, w.Request(t, w.retain(t, number, o, mode, until), 0))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	strict, loose := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositDealt(t, w.retain(t, 1, strict, validator.RetainCompliance, until))
	w.DepositDealt(t, w.retain(t, 1, loose, validator.RetainGovernance, until))
	w.Assign(t, w.bob, validator.RoleRetention) // somebody else's role is of no use
	wantOutcomes(t, again(2, loose, validator.RetainGovernance, until.Add(-time.Minute)), nil, validator.ItemConflict)
	w.Assign(t, w.alice, validator.RoleRetention)
	wantOutcomes(t, again(3, loose, validator.RetainGovernance, until.Add(-time.Minute)), nil, validator.ItemOK)
	wantOutcomes(t, again(2, strict, validator.RetainCompliance, until.Add(-time.Minute)), nil, validator.ItemConflict)
	wantOutcomes(t, again(3, strict, validator.RetainGovernance, until), nil, validator.ItemConflict)
}

// An order that came into the logs of others, by lies or because they never had the
// deposit, destroys no share that is retained here; it waits for the end.
func TestASweepWaitsForTheEndOfARetention(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	v := w.Validators[3]
	got, err := w.Deposit(t, 3, w.Request(t, w.retain(t, 1, o, validator.RetainCompliance, w.Clock.Now().Add(time.Hour)), 3))
	wantOutcomes(t, got, err, validator.ItemOK)
	w.erase(t, w.because(t, w.alice, "early", o.KeyNonce), 0, 1)
	for _, i := range []int{0, 1} {
		if err := v.Tracker.Ask(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Sweep(t.Context()); err != nil || w.slots(3) != 1 {
		t.Fatalf("%d secrets, %v", w.slots(3), err)
	}
	w.Clock.Advance(2 * time.Hour)
	if err := v.Sweep(t.Context()); err != nil || w.slots(3) != 0 {
		t.Errorf("%d secrets after the end, %v", w.slots(3), err)
	}
}

func TestWrongLabelsOfRetentionAreRefused(t *testing.T) {
	label := func(pairs ...string) (out []validator.Label) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, validator.Label{Key: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	const until, mode, expire, at = validator.LabelRetainUntil, validator.LabelRetention, validator.LabelExpireAt, "2031-01-02T00:00:00Z"
	for _, good := range [][]validator.Label{nil, label("ward", "3"), label(mode, "governance", until, at), label(mode, "compliance", until, at, expire, at), label(expire, at)} {
		if _, err := validator.ReadRetention(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	w := newWorld(t, vt.Options{})
	for _, bad := range [][]validator.Label{
		label(mode, "governance"), label(until, at), label(mode, "forever", until, at), label(mode, "", until, at), label(mode, "compliance", until, "tomorrow"),
		label(mode, "compliance", until, "2031-01-02T01:00:00+01:00"), label(mode, "compliance", until, "2031-01-02T00:00:00.5Z"),
		label(mode, "compliance", until, "1960-01-02T00:00:00Z"), label(mode, "governance", until, at, mode, "compliance"),
		label(mode, "governance", until, at, expire, "2030-01-02T00:00:00Z"), label(expire, ""), label(expire, at, expire, at),
	} {
		if r, err := validator.ReadRetention(bad); !errors.Is(err, validator.ErrRetention) || r != (validator.Retention{}) {
			t.Errorf("%v: %+v, %v", bad, r, err)
		}
		d := w.Deal(t, w.alice, 1, []*vt.Object{w.Object(t, w.alice)}, func(d *validator.Dealing) { d.Labels = bad })
		got, err := w.Deposit(t, 0, w.Request(t, d, 0))
		wantOutcomes(t, got, err, validator.ItemRefused)
	}
}

func FuzzReadRetention(f *testing.F) {
	f.Add("compliance", "2031-01-02T00:00:00Z", "2032-01-02T00:00:00Z")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, mode, until, expire string) {
		r, err := validator.ReadRetention([]validator.Label{{Key: validator.LabelRetention, Value: mode}, {Key: validator.LabelRetainUntil, Value: until}, {Key: validator.LabelExpireAt, Value: expire}})
		if err != nil {
			return
		}
		if validator.StampRetention(time.Unix(r.Until, 0)) != until || validator.StampRetention(time.Unix(r.Expire, 0)) != expire || r.Expire < r.Until {
			t.Errorf("%q, %q, %q give %+v", mode, until, expire, r)
		}
		if r.Follows(r, time.Unix(0, 0)) != nil {
			t.Error("a retention is shorter than itself")
		}
	})
}
