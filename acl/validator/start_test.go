package validator_test

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// TH-08: a validator whose log was restored from an old backup, here an empty
// one, signs, keeps, releases and appends nothing until it has heard the others;
// it serves its log and what it has seen meanwhile.
func TestAStartingValidatorDoesNothingThatCounts(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, late := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	revoked := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	for i := range w.Validators {
		w.revoke(t, i, w.Revocation(t, w.alice, vt.Leaf(t, revoked)), revoked)
	}
	w.Hear(t)

	v, self := w.Validators[3], w.Committee.Validators[3].Signing
	disk := new(kv.Memory)
	set, err := revocation.OpenSet(disk, w.Chain, validator.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	log, err := revocation.OpenLog(disk, set, self)
	if err != nil {
		t.Fatal(err)
	}
	tracker := &revocation.Tracker{
		Trust: w.Chain, Validators: vt.Direct{Net: w.Network}, Set: set, Own: log, Store: disk, Now: w.Clock.Now, Log: vt.Logger(t),
	}
	if err := tracker.Open(); err != nil {
		t.Fatal(err)
	}
	v.Judge.Log, v.Judge.Set, v.Judge.Fresh = log, set, tracker
	v.Judge.Verifier = &capability.Verifier{Trust: w.Chain, Revocations: set, Now: w.Clock.Now}

	dealt := w.Deal(t, w.alice, 1, []*vt.Object{late})
	everything := func(want error) {
		t.Helper()
		_, draft := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, capability.Target{Kind: capability.Lineage}))
		_, err := w.sign(t, 3, draft)
		wantErr(t, err, want)
		_, err = w.Deposit(t, 3, w.Request(t, dealt, 3))
		wantErr(t, err, want)
		_, err = w.Release(t, 3, w.bob, chain, vt.ReleaseOf(o))
		wantErr(t, err, want)
		_, err = w.tryRevoke(t, 3, w.Revocation(t, w.alice, vt.Leaf(t, chain)), chain)
		wantErr(t, err, want)
	}
	everything(validator.ErrUnavailable)
	if log.Head().Seq != 0 {
		t.Error("its log has grown")
	}
	direct := vt.Direct{Net: w.Network}
	raw, err := direct.AskFresh(t.Context(), 3, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	var f revocation.Fresh
	if err := s.Peek(revocation.KindFresh, &f); err != nil || !f.Starting {
		t.Errorf("its head does not say that it is starting: %v", err)
	}
	if _, err := direct.AskTail(t.Context(), 3, 0, 0); err != nil {
		t.Error(err)
	}
	if _, err := direct.AskSeen(t.Context(), 3, self); err != nil {
		t.Error(err)
	}
	if raw, err := direct.AskSeen(t.Context(), 0, self); err != nil || len(raw) == 0 {
		t.Errorf("another one has seen nothing of it: %v", err)
	}

	tracker.Round(t.Context())
	if at := log.Head(); at.Segment != 1 || len(set.Revokers(vt.Leaf(t, revoked))) != 1 {
		t.Errorf("it goes on at %v", at)
	}
	everything(nil)
	if _, err := w.Release(t, 3, w.bob, revoked, vt.ReleaseOf(o)); err == nil {
		t.Error("it releases by a grant whose revocation it had lost")
	}
	w.Hear(t) // the others follow its new segment
}
