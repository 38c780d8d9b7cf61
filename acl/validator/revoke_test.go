package validator_test

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// revoke has a validator append an entry and checks its acknowledgement.
func (w *world) revoke(t *testing.T, i int, e revocation.Entry, c *capability.Chain) revocation.Ack {
	t.Helper()
	ack, err := w.tryRevoke(t, i, e, c)
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

func (w *world) tryRevoke(t *testing.T, i int, e revocation.Entry, c *capability.Chain) (ack revocation.Ack, err error) {
	t.Helper()
	var chain []byte
	if c != nil {
		chain = c.Bytes()
	}
	raw, err := w.Validators[i].Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: e, Chain: chain}))
	if err != nil {
		return ack, err
	}
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.VerifyOne(revocation.KindAck, s, i); err != nil {
		t.Fatal(err)
	}
	return ack, s.Peek(revocation.KindAck, &ack)
}

// official is the identity behind a validator.
func (w *world) official(i int) *vt.Person {
	p := w.Validators[i].Person
	return &vt.Person{Identity: p.Identity, Device: p.Devices[0]}
}

func TestWhoMayRevokeWhat(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	carol := vt.NewPerson(t, "carol", identity.User)
	for _, c := range []struct {
		name    string
		who     *vt.Person
		link    bool // revoke the link, not the grant
		want    error
		bob     bool // still reads
		carol   bool
		noChain bool
	}{
		{name: "the owner, the grant", who: w.alice},
		{name: "the owner, the link", who: w.alice, link: true, bob: true},
		{name: "the issuer above, the link", who: w.bob, link: true, bob: true},
		{name: "the audience, its own grant", who: w.bob, want: validator.ErrDenied, bob: true, carol: true},
		{name: "the delegate, its own link", who: carol, link: true, want: validator.ErrDenied, bob: true, carol: true},
		{name: "the delegate, the grant above", who: carol, want: validator.ErrDenied, bob: true, carol: true},
		{name: "a stranger", who: w.mallory, want: validator.ErrDenied, bob: true, carol: true},
		{name: "the owner without the chain", who: w.alice, noChain: true, want: validator.ErrDenied, bob: true, carol: true},
		{name: "one validator", who: w.official(1), noChain: true, bob: true, carol: true}, // f+1 are needed
	} {
		t.Run(c.name, func(t *testing.T) {
			root := w.Grant(t, w.alice, w.bob, vt.VersionOf(o), vt.Delegable)
			chain := w.Delegate(t, root, w.bob, carol)
			target, shown := vt.Leaf(t, root), chain
			if c.link {
				target = vt.Leaf(t, chain)
			}
			if c.noChain {
				shown = nil
			}
			_, err := w.tryRevoke(t, 0, w.Revocation(t, c.who, target), shown)
			wantErr(t, err, c.want)
			if _, err := w.Release(t, 0, w.bob, root, vt.ReleaseOf(o)); (err == nil) != c.bob {
				t.Errorf("the audience: %v", err)
			}
			if _, err := w.Release(t, 0, carol, chain, vt.ReleaseOf(o)); (err == nil) != c.carol {
				t.Errorf("the delegate: %v", err)
			}
		})
	}
}

func TestTwoValidatorsStopAGrantAndOneDoesNot(t *testing.T) { // RV-05
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	leaf := vt.Leaf(t, chain)
	for k, want := range []error{nil, validator.ErrDenied} {
		for range 2 { // saying it twice makes it no more
			w.revoke(t, 0, w.Revocation(t, w.official(k), leaf), nil)
		}
		_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
		wantErr(t, err, want)
	}
}

// A stranger's revocation that a lying validator has put into its log travels,
// and stops nobody.
func TestABogusEntryInALogStopsNobody(t *testing.T) { // RV-05
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	if err := w.Validators[3].Log.Take([]revocation.Entry{w.Revocation(t, w.mallory, vt.Leaf(t, chain))}); err != nil {
		t.Fatal(err)
	}
	w.Hear(t)
	if n := len(w.Validators[0].Set.Revokers(vt.Leaf(t, chain))); n != 1 {
		t.Fatalf("the entry did not travel: %d", n)
	}
	_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, nil)
	w.revoke(t, 3, w.Revocation(t, w.alice, vt.Leaf(t, chain)), chain) // control: hers travels, and stops
	w.Hear(t)
	_, err = w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, validator.ErrDenied)
}

func TestRevokingIsIdempotentDurableAndBound(t *testing.T) {
	w := newWorld(t, vt.Options{})
	chain := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	entry, v := w.Revocation(t, w.alice, vt.Leaf(t, chain)), w.Validators[0]

	v.Judge.Audit = full{}
	_, err := w.tryRevoke(t, 0, entry, chain)
	wantErr(t, err, validator.ErrUnavailable)
	v.Judge.Audit = v.Audit
	if v.Log.Head().Seq != 0 {
		t.Error("a revocation that could not be logged stands")
	}
	first, again := w.revoke(t, 0, entry, chain), w.revoke(t, 0, entry, chain)
	if first != again || first.Seq != 1 || first.Target != vt.Leaf(t, chain) || first.Validator != 0 || first.Network != w.Network.Committee.Network() {
		t.Errorf("acknowledged %+v, then %+v", first, again)
	}
	w.Clock.Advance(vt.Hour) // what has expired can be revoked still
	w.Hear(t)
	w.revoke(t, 1, entry, chain)

	forged := entry
	forged.Identity = w.mallory.Record()
	_, err = w.tryRevoke(t, 2, forged, chain)
	wantErr(t, err, validator.ErrMalformed)
	elsewhere, err := revocation.Sign(revocation.Revocation{Network: statement.Hash("elsewhere"), Target: vt.Leaf(t, chain)}, w.alice.Identity, w.alice.Device)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.tryRevoke(t, 2, elsewhere, chain)
	wantErr(t, err, validator.ErrMalformed)
}

func TestTheHeadLeadsThroughTheTail(t *testing.T) {
	w := newWorld(t, vt.Options{})
	chain := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	w.revoke(t, 0, w.Revocation(t, w.alice, vt.Leaf(t, chain)), chain)
	nonce := [32]byte{7}
	raw, err := vt.Direct{Net: w.Network}.AskFresh(t.Context(), 0, nonce)
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	var f revocation.Fresh
	if err := s.Peek(revocation.KindFresh, &f); err != nil {
		t.Fatal(err)
	}
	if err := w.VerifyOne(revocation.KindFresh, s, 0); err != nil || f.Nonce != nonce || f.At.Seq != 1 || f.Policy != w.PolicyHead {
		t.Errorf("%+v, %v", f, err)
	}
	if w.VerifyOne(revocation.KindFresh, s, 1) == nil { // control
		t.Error("the answer counts as another validator's")
	}
	for seq, want := range []int{1, 0} {
		entries, err := vt.Direct{Net: w.Network}.AskTail(t.Context(), 0, 0, uint64(seq))
		if err != nil || len(entries) != want {
			t.Errorf("after %d: %d entries, %v", seq, len(entries), err)
		}
	}
}
