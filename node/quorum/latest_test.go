package quorum_test

import (
	"context"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

// naming answers with a version, whatever it is asked.
func naming(t *testing.T, named, asked *vt.Object) behaviour {
	t.Helper()
	raw := encode(t, validator.LatestReply{Address: named.Address.Bytes(), Manifest: named.Block, Asked: asked.Block})
	return func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) { return raw, nil }
}

// deposited deposits at some validators only.
func (w *world) deposited(t *testing.T, o *vt.Object, which ...int) {
	t.Helper()
	d := w.Deal(t, o.Owner, 0, []*vt.Object{o})
	for _, i := range which {
		got, err := w.Deposit(t, i, w.Request(t, d, i))
		if err != nil || got[0] != validator.ItemOK {
			t.Fatal(got, err)
		}
	}
}

func (w *world) wantLatest(t *testing.T, c *quorum.Committee, ask quorum.LatestAsk, want *vt.Object) *quorum.Latest {
	t.Helper()
	l, err := c.Latest(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if l.Address != want.Address || l.Manifest.Sequence != want.Sequence {
		t.Fatalf("version %d is the newest, not %d", l.Manifest.Sequence, want.Sequence)
	}
	return l
}

func (w *world) covering(t *testing.T, target capability.Target) *capability.Verified {
	t.Helper()
	v, err := w.Validators[0].Verifier.Verify(w.Grant(t, w.alice, w.bob, target))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A head that n-t+1+f validators acknowledged is found, although one of those
// that answer is behind, lies, or denies.
func TestTheNewestVersionIsNotHidden(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	scope := envelope.NewNonce()
	first := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} })
	sibling := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} })
	w.deposited(t, first, 0, 1, 2, 3)
	second := w.Version(t, first)
	w.deposited(t, second, 0, 1, 2) // effective; the fourth missed it
	later := w.Version(t, w.Version(t, sibling))
	asks := map[string]quorum.LatestAsk{
		"the owner":            {Principal: principal(w.alice), Address: first.Address},
		"a grant of the whole": {Principal: principal(w.bob), Chain: w.covering(t, vt.LineageOf(first)), Address: first.Address},
		"a grant of the scope": {Principal: principal(w.bob), Chain: w.covering(t, capability.Target{Kind: capability.Scope, Ref: scope}), Address: first.Address},
	}
	unsigned := *second
	unsigned.Block = append([]byte{}, second.Block...)
	unsigned.Block[len(unsigned.Block)-1] ^= 1
	forged := w.Object(t, w.mallory, func(m *envelope.Manifest) {
		m.Owner, m.Author, m.Lineage, m.Sequence, m.Previous = w.alice.ID(), w.alice.ID(), first.Lineage, 9, first.Address.Bytes()
	})
	for name, ask := range asks {
		w.as = w.alice
		if ask.Chain != nil {
			w.as = w.bob
		}
		for lie, b := range map[string]behaviour{
			"is honest":       nil,
			"does not answer": absent,
			"denies":          denying,
			"answers with junk": func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
				return []byte{1}, nil
			},
			"hides it":                      naming(t, first, first),
			"names an altered one":          naming(t, &unsigned, first),
			"names one that others signed":  naming(t, forged, first),
			"names another object's":        naming(t, later, first),
			"shows another object as asked": naming(t, later, sibling),
		} {
			t.Run(name+", a validator "+lie, func(t *testing.T) {
				w.set(b, 0)
				defer w.set(nil, 0)
				if l := w.wantLatest(t, c, ask, second); l.Rivals != 0 {
					t.Errorf("%d rivals", l.Rivals)
				}
			})
		}
	}
}

// What the quorum is for: a client that believed one validator would be rolled back.
func TestOneValidatorAloneCouldRollBack(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	w.as = w.alice
	first := w.Object(t, w.alice)
	w.deposited(t, first, 0, 1, 2, 3)
	w.deposited(t, w.Version(t, first), 0, 1, 2)
	r, err := w.Latest(t, 3, w.alice, nil, vt.LatestOf(first))
	if err != nil || string(r.Address) != first.Address.KeyString() {
		t.Fatalf("the validator that is behind names %v: %v", r, err)
	}
	w.set(absent, 0, 1) // and two answers are not enough to say
	_, err = c.Latest(t.Context(), quorum.LatestAsk{Principal: principal(w.alice), Address: first.Address})
	if fault.Of(err).Exit != fault.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestTheNewestVersionIsDenied(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	first := w.Object(t, w.alice)
	second := w.Version(t, first)
	w.DepositAll(t, w.alice, first, second)
	exit := func(ask quorum.LatestAsk) int {
		t.Helper()
		_, err := c.Latest(t.Context(), ask)
		if err == nil {
			return fault.OK
		}
		return fault.Of(err).Exit
	}
	if got := exit(quorum.LatestAsk{Principal: principal(w.bob), Chain: w.covering(t, vt.VersionOf(first)), Address: first.Address}); got != fault.Denied {
		t.Errorf("a grant of the first version alone: exit %d", got)
	}
	if got := exit(quorum.LatestAsk{Principal: principal(w.bob), Address: first.Address}); got != fault.Denied {
		t.Errorf("a stranger: exit %d", got)
	}
	if got := exit(quorum.LatestAsk{Principal: principal(w.bob), Chain: w.covering(t, vt.VersionOf(second)), Address: first.Address}); got != fault.OK { // control
		t.Errorf("a grant of the second version: exit %d", got)
	}
}

// Two versions of one sequence, at two validators each: everybody chooses the
// same one, and is told.
func TestRivalsAreNoticed(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	w.as = w.alice
	first := w.Object(t, w.alice)
	w.deposited(t, first, 0, 1, 2, 3)
	a, b := w.Version(t, first), w.Version(t, first)
	w.deposited(t, a, 0, 1)
	w.deposited(t, b, 2, 3)
	ask := quorum.LatestAsk{Principal: principal(w.alice), Address: first.Address}
	for i := range 4 {
		w.set(absent, i) // three answer: one of the two is named twice
		want := a
		if i < 2 {
			want = b
		}
		if l := w.wantLatest(t, c, ask, want); l.Rivals != 1 || l.Named != 2 || len(l.By) != 3 {
			t.Errorf("%+v", l)
		}
		w.set(nil, i)
	}
}

// FuzzLatestReply: what a validator answers is a version of the owner's, or wrong.
func FuzzLatestReply(f *testing.F) {
	w, c := newWorld(f, vt.Options{})
	w.as = w.alice
	first := w.Object(f, w.alice)
	second := w.Version(f, first)
	f.Add(encode(f, validator.LatestReply{Address: second.Address.Bytes(), Manifest: second.Block, Asked: first.Block}))
	f.Add(encode(f, validator.LatestReply{Address: second.Address.Bytes(), Manifest: second.Block}))
	f.Add(encode(f, validator.LatestReply{Address: first.Address.Bytes(), Manifest: second.Block, Asked: first.Block}))
	f.Add(encode(f, validator.LatestReply{}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		w.set(func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) { return raw, nil }, 0, 1, 2, 3)
		l, err := c.Latest(t.Context(), quorum.LatestAsk{Principal: principal(w.alice), Address: first.Address})
		if err == nil && l.Address != first.Address && l.Address != second.Address {
			t.Errorf("a version that nobody wrote: %s", l.Address)
		}
		if err != nil && fault.Of(err).Exit != fault.Unavailable {
			t.Error(err)
		}
	})
}
