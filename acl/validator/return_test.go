package validator_test

import (
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
)

// RV-03: who was revoked comes back on another connection, from another peer,
// with another device of the same identity, as somebody whom it delegated to, and
// as an identity of its own making. What was revoked is the grant, so that none of
// it helps. Before the revocation all but the last read.
func TestARevokedReaderComesBack(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	root := w.Grant(t, w.alice, w.bob, vt.VersionOf(o), vt.Delegable)
	elsewhere := *w.bob
	elsewhere.Peer = trusttest.Key("another peer").Public()
	phone, entry := w.another(t, w.bob, "phone")
	if err := w.tell(t, 0, w.bob, entry); err != nil {
		t.Fatal(err)
	}
	alias := vt.NewPerson(t, "an alias", identity.User)
	delegated := w.Delegate(t, root, w.bob, alias)
	session := w.Connect(w.bob, 0) // stays open
	read := func(revoked bool) {
		t.Helper()
		want := error(nil)
		if revoked {
			want = validator.ErrDenied
		}
		r := vt.ReleaseOf(o)
		r.Authority = w.ByChain(t, w.bob, root, session, r.Digest())
		_, err := w.SendRelease(t, 0, w.bob, session, r)
		wantErr(t, err, want)
		for name, who := range map[string]*vt.Person{"a new connection": w.bob, "another peer": &elsewhere, "another device": phone} {
			if _, err := w.Release(t, 0, who, root, vt.ReleaseOf(o)); (err == nil) == revoked {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err = w.Release(t, 0, alias, delegated, vt.ReleaseOf(o))
		wantErr(t, err, want)
		_, err = w.Release(t, 0, alias, w.Delegate(t, root, w.bob, alias), vt.ReleaseOf(o)) // a link that it makes now
		wantErr(t, err, want)
		_, err = w.Release(t, 0, alias, w.Grant(t, alias, alias, vt.VersionOf(o)), vt.ReleaseOf(o)) // a grant to itself
		wantErr(t, err, validator.ErrDenied)
	}
	read(false)
	w.revoke(t, 0, w.Revocation(t, w.alice, vt.Leaf(t, root)), root)
	read(true)
	again := w.Grant(t, w.alice, w.bob, vt.VersionOf(o)) // control: a new grant is another one
	_, err := w.Release(t, 0, w.bob, again, vt.ReleaseOf(o))
	wantErr(t, err, nil)
}

// CA-07: a request from the future, or of yesterday, is refused whichever of the
// two clocks is wrong, and nothing of it is used up.
func TestAValidatorWhoseClockIsADayOff(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	s, r := w.Connect(w.bob, 0), vt.ReleaseOf(o)
	r.Authority = w.ByChain(t, w.bob, chain, s, r.Digest())
	for _, off := range []time.Duration{-24 * time.Hour, -61 * time.Second, 61 * time.Second, 24 * time.Hour} {
		w.Validators[0].Judge.Now = func() time.Time { return w.Clock.Now().Add(off) }
		_, err := w.SendRelease(t, 0, w.bob, s, r)
		wantErr(t, err, validator.ErrDenied)
	}
	w.Validators[0].Judge.Now = w.Clock.Now // control
	_, err := w.SendRelease(t, 0, w.bob, s, r)
	wantErr(t, err, nil)
}
