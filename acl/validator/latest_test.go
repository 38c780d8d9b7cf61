package validator_test

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// Who may know the newest version gets it; to everybody else an object that is
// there looks like one that is not.
func TestWhoMayAskForTheNewestVersion(t *testing.T) {
	w := newWorld(t, vt.Options{})
	scope := envelope.NewNonce()
	first := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} })
	second := w.Version(t, first)
	only, other := w.Object(t, w.alice), w.Object(t, w.alice)
	his := w.Object(t, w.mallory, func(m *envelope.Manifest) { m.Lineage = first.Lineage })
	w.DepositAll(t, w.alice, first, second, only, other)
	w.DepositAll(t, w.mallory, his)
	grant := func(target capability.Target, change ...func(*capability.Grant)) *capability.Chain {
		return w.Grant(t, w.alice, w.bob, target, change...)
	}
	carry := func(g *capability.Grant) { g.Abilities = capability.Carry }
	infer := func(g *capability.Grant) { g.Abilities = capability.Infer }
	past := func(g *capability.Grant) { g.Caveats.Expires = w.Clock.Now().Unix() }
	for _, c := range []struct {
		name  string
		who   *vt.Person
		chain *capability.Chain // nil: by identity
		ask   *vt.Object
		want  *vt.Object // nil: denied
	}{
		{"its lineage", w.bob, grant(vt.LineageOf(first)), first, second},
		{"asked by the newest", w.bob, grant(vt.LineageOf(first)), second, second},
		{"its scope", w.bob, grant(capability.Target{Kind: capability.Scope, Ref: scope}), first, second},
		{"to carry", w.bob, grant(vt.LineageOf(first), carry), first, second},
		{"the newest version alone", w.bob, grant(vt.VersionOf(second)), first, second},
		{"the only version", w.bob, grant(vt.VersionOf(only)), only, only},
		{"the owner", w.alice, nil, first, second},
		{"an older version alone", w.bob, grant(vt.VersionOf(first)), first, nil},
		{"to infer", w.bob, grant(vt.LineageOf(first), infer), first, nil},
		{"expired", w.bob, grant(vt.LineageOf(first), past), first, nil},
		{"another lineage", w.bob, grant(vt.LineageOf(other)), first, nil},
		{"the nonce of another owner", w.bob, grant(vt.LineageOf(first)), his, nil},
		{"another's grant", w.mallory, grant(vt.LineageOf(first)), first, nil},
		{"no grant", w.bob, nil, first, nil},
		{"another owner", w.mallory, nil, first, nil},
		{"nothing is there", w.bob, grant(vt.LineageOf(first)), w.Object(t, w.alice), nil},
		{"nothing is there, its owner", w.alice, nil, w.Object(t, w.alice), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := w.Latest(t, 0, c.who, c.chain, vt.LatestOf(c.ask))
			if c.want == nil {
				wantErr(t, err, validator.ErrDenied)
				if err != nil && err.Error() != validator.ErrDenied.Error() {
					t.Errorf("the denial explains itself: %q", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Address) != c.want.Address.KeyString() || string(r.Manifest) != string(c.want.Block) || string(r.Asked) != string(c.ask.Block) {
				t.Error("another version was named")
			}
		})
	}
}

func TestTheNewestVersionIsAnsweredOnceItIsLogged(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	v := w.Validators[0]
	v.Judge.Audit = full{}
	_, err := w.Latest(t, 0, w.alice, nil, vt.LatestOf(o))
	wantErr(t, err, validator.ErrUnavailable)
	_, err = w.Latest(t, 0, w.mallory, nil, vt.LatestOf(o)) // nor is a denial
	wantErr(t, err, validator.ErrUnavailable)
	v.Judge.Audit = v.Audit // control
	w.wantHead(t, 0, o, o)
}

func TestARevokedReaderLearnsNothingOfNewVersions(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.LineageOf(o))
	_, err := w.Latest(t, 0, w.bob, chain, vt.LatestOf(o)) // control
	wantErr(t, err, nil)
	if err := w.Validators[0].Log.Take([]revocation.Entry{w.Revocation(t, w.alice, vt.Leaf(t, chain))}); err != nil {
		t.Fatal(err)
	}
	_, err = w.Latest(t, 0, w.bob, chain, vt.LatestOf(o))
	wantErr(t, err, validator.ErrDenied)
}

func TestALatestRequestIsForOneConnection(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, other := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o, other)
	s := w.Connect(w.alice, 0)
	r := vt.LatestOf(o)
	r.Authority = w.ByIdentity(t, w.alice, s, r.Digest())
	ask := func(s *vt.Session, r validator.LatestRequest) error {
		_, err := w.Validators[0].Latest(t.Context(), s.Conn(), encode(t, r))
		return err
	}
	moved := r
	moved.Address = other.Address.Bytes()
	wantErr(t, ask(s, moved), validator.ErrDenied) // the proof is for another object
	wantErr(t, ask(w.Connect(w.alice, 0), r), validator.ErrDenied)
	wantErr(t, ask(s, r), nil)                 // control
	wantErr(t, ask(s, r), validator.ErrDenied) // replayed

	r.Address = make([]byte, 65)
	wantErr(t, ask(s, r), validator.ErrMalformed)
	r.Address = nil
	wantErr(t, ask(s, r), validator.ErrMalformed)
}
