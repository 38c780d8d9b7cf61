package validator_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/policy/bundles"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func hospital(t *testing.T) *policy.Bundle {
	t.Helper()
	b, err := bundles.Load("hospital")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lastEvent is the newest entry of a validator's log.
func lastEvent(t *testing.T, v *vt.Validator) vt.Logged {
	t.Helper()
	all := v.Events(t)
	return all[len(all)-1]
}

func TestAHospitalReleasesByRolePurposeAndReason(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: hospital(t)})
	plain, sensitive := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, plain)
	w.DepositDealt(t, w.Deal(t, w.alice, 0, []*vt.Object{sensitive}, func(d *validator.Dealing) {
		d.Labels = []validator.Label{{Key: "sensitive", Value: "yes"}}
	}))
	staff := func(name string, roles ...string) *vt.Person {
		p := vt.NewPerson(t, name, identity.User)
		w.Assign(t, p, roles...)
		return p
	}
	clinician, attending, emergency := staff("clinician", "clinician"), staff("attending", "clinician", "attending"), staff("emergency", "emergency")
	for _, c := range []struct {
		name            string
		who             *vt.Person
		on              *vt.Object
		purpose, reason string
		said            string // to the reader; empty: released
		rule            string // in the log
	}{
		{"no role", w.bob, plain, "treatment", "r", "denied by policy", "not settled"},
		{"a clinician", clinician, plain, "treatment", "", "", ""},
		{"without a purpose", clinician, plain, "", "", "denied by policy; wants purpose", "not settled"},
		{"a sensitive record", clinician, sensitive, "treatment", "", "denied by policy", "sensitive-needs-attending"},
		{"the attending", attending, sensitive, "treatment", "", "", ""},
		{"an emergency without a reason", emergency, sensitive, "emergency", "", "denied by policy; wants reason", "emergency-needs-reason"},
		{"with one", emergency, sensitive, "emergency", "cardiac arrest", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := vt.ReleaseOf(c.on)
			r.Purpose, r.Reason = c.purpose, c.reason
			_, err := w.Release(t, 0, c.who, w.Grant(t, w.alice, c.who, vt.VersionOf(c.on)), r)
			e := lastEvent(t, w.Validators[0])
			head := hospital(t).Head()
			if e.Claim(event.Policy) != head.String() {
				t.Errorf("the log names the policy %s", e.Claim(event.Policy))
			}
			if c.said == "" {
				wantErr(t, err, nil)
				return
			}
			wantErr(t, err, validator.ErrDenied)
			if err.Error() != c.said {
				t.Errorf("said %q, want %q", err, c.said)
			}
			if said := e.Claim(event.Reason); e.Outcome != event.Denied || !strings.Contains(said, c.rule) || !strings.HasPrefix(e.Rule, "policy ") && e.Rule != "no policy" {
				t.Errorf("the log says %q, by the rule %q", said, e.Rule)
			}
		})
	}
}

// Whoever shows no chain that covers the object, or does not prove to be its
// audience, is not told that policy was asked.
func TestPolicyIsNamedToTheHolderOfAGrantOnly(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: hospital(t)})
	o, other := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o, other)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	var byPolicy *validator.PolicyError
	_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o)) // control
	if !errors.As(err, &byPolicy) {
		t.Errorf("the holder is told %v", err)
	}
	_, err = w.Release(t, 0, w.bob, chain, vt.ReleaseOf(other))
	if !errors.Is(err, validator.ErrDenied) || err.Error() != "denied" {
		t.Errorf("of an object that the chain does not cover: %v", err)
	}
	_, err = w.Release(t, 0, w.mallory, chain, vt.ReleaseOf(o))
	if !errors.Is(err, validator.ErrDenied) || err.Error() != "denied" {
		t.Errorf("whoever is not the audience: %v", err)
	}
	w.Assign(t, w.bob, "clinician")
	lineage := vt.ReleaseOf(o, other)
	lineage.Purpose = "treatment"
	out, err := w.Release(t, 0, w.bob, chain, lineage)
	if err != nil || out.Items[0].Outcome != validator.ItemOK || out.Items[1].Outcome != validator.ItemRefused {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestARoleEndsAndIsTakenAway(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: hospital(t)})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o), func(g *capability.Grant) { g.Caveats.Expires += 30 * 24 * 3600 })
	read := func() error {
		r := vt.ReleaseOf(o)
		r.Purpose = "treatment"
		_, err := w.Release(t, 0, w.bob, chain, r)
		return err
	}
	wantErr(t, read(), validator.ErrDenied)
	w.Assign(t, w.bob, "clinician")
	wantErr(t, read(), nil)
	w.Clock.Advance(24 * time.Hour)
	w.Hear(t)
	wantErr(t, read(), validator.ErrDenied)
	w.Assign(t, w.bob, "clinician")
	wantErr(t, read(), nil)
	for _, role := range w.Validators[0].Book.Assignments(w.bob.ID()) {
		a := role.Removal(role.ID())
		a.Record = w.ID()
		if _, _, err := w.Validators[0].Book.Take(w.SignedRole(t, a)); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, read(), validator.ErrDenied)
	v := w.Validators[0]
	v.Judge = restarted(t, v) // and stays so
	wantErr(t, read(), validator.ErrDenied)
}

func TestAGrantForARegionNeedsItsRole(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o), func(g *capability.Grant) { g.Caveats.Regions = []string{"eu", "ch"} })
	read := func() error {
		_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
		return err
	}
	wantErr(t, read(), validator.ErrDenied)
	w.Assign(t, w.bob, "region/us", "eu")
	wantErr(t, read(), validator.ErrDenied)
	w.Assign(t, w.bob, "region/eu")
	wantErr(t, read(), nil)
	free := w.Grant(t, w.alice, w.mallory, vt.VersionOf(o)) // control: without the caveat no role is needed
	_, err := w.Release(t, 0, w.mallory, free, vt.ReleaseOf(o))
	wantErr(t, err, nil)
}

func TestPolicySeesCollectionsAndCounts(t *testing.T) {
	scope := envelope.NewNonce()
	w := newWorld(t, vt.Options{Name: "counts", Bundle: bundleOf(
		`read: permit (principal, action == Action::"read", resource);`,
		`ceiling: forbid (principal, action == Action::"read", resource) when { context.used + context.batch > 3 };`,
	)})
	a, b, c := w.Object(t, w.alice), w.Object(t, w.alice), w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} })
	w.DepositAll(t, w.alice, a, b, c)
	read := func(who *vt.Person, first *vt.Object, more ...*vt.Object) error {
		chain := w.Grant(t, w.alice, who, vt.VersionOf(first), func(g *capability.Grant) { g.Caveats.Expires += 48 * 3600 })
		_, err := w.Release(t, 0, who, chain, vt.ReleaseOf(append(more, first)...))
		return err
	}
	v := w.Validators[0]
	wantErr(t, read(w.bob, a), nil)
	wantErr(t, read(w.bob, a, b, c), validator.ErrDenied) // a batch of three: one too many
	wantErr(t, read(w.bob, a), nil)                       // what was denied did not count
	wantErr(t, read(w.bob, b), nil)
	wantErr(t, read(w.bob, c), validator.ErrDenied)
	wantErr(t, read(w.mallory, c), nil) // control: another one's count
	v.Judge = restarted(t, v)
	wantErr(t, read(w.bob, c), validator.ErrDenied) // the log remembers
	w.Clock.Advance(25 * time.Hour)
	w.Hear(t)
	wantErr(t, read(w.bob, c), nil)

	id := envelope.ScopeID(w.Network.Committee.Network(), w.alice.ID(), scope)
	closed := bundleOf(`read: permit (principal, action == Action::"read", resource);`,
		fmt.Sprintf(`closed: forbid (principal, action, resource in Collection::"%s");`, id))
	wantErr(t, v.TakeBundle(t.Context(), w.Bundle(t, closed, w.Clock.Now())), nil)
	wantErr(t, read(w.bob, c), validator.ErrDenied)
	wantErr(t, read(w.bob, a), nil)
}

// A bundle judges from its time on; the log says which one did.
func TestANewBundleJudgesFromItsTime(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	v := w.Validators[0]
	read := func() error {
		_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
		return err
	}
	next := bundleOf(`never: forbid (principal, action == Action::"read", resource);`)
	raw := w.Bundle(t, next, w.Clock.Now().Add(time.Minute))
	wantErr(t, v.TakeBundle(t.Context(), raw), nil)
	wantErr(t, v.TakeBundle(t.Context(), raw), nil) // once more is nothing new
	wantErr(t, read(), nil)
	before := lastEvent(t, v).Claim(event.Policy)
	w.Clock.Advance(time.Minute)
	wantErr(t, read(), validator.ErrDenied)
	head, first := v.Policies.Head(), policy.Builtin().Head()
	if got := lastEvent(t, v).Claim(event.Policy); got != head.String() || before != first.String() {
		t.Errorf("the log names %s, then %s", before, got)
	}
	_, err := w.Release(t, 1, w.bob, chain, vt.ReleaseOf(o)) // control: who has not heard of it judges by the old one
	wantErr(t, err, nil)
}

// as is a validator's connection to another.
func (w *world) as(i int) validator.Conn {
	return validator.Conn{Client: w.Network.Committee.Validators[i].Peer}
}

func TestWhoMaySignAndKeepARole(t *testing.T) {
	w := newWorld(t, vt.Options{})
	ask := func(c validator.Conn, raw []byte) (validator.RoleReply, error) {
		out, err := w.Validators[0].AnswerRole(t.Context(), c, encode(t, validator.RoleRequest{Role: raw}))
		var r validator.RoleReply
		if err == nil {
			if err := statement.Unmarshal(out, &r); err != nil {
				t.Fatal(err)
			}
		}
		return r, err
	}
	draft := func(change func(*policy.Assignment)) *statement.Statement {
		a := w.Assignment(w.bob, "clinician")
		change(&a)
		s, err := statement.New(policy.KindRole, a)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	elsewhere := statement.Hash("elsewhere")
	member := w.Connect(w.alice, 0).Conn()
	for _, c := range []struct {
		name   string
		as     validator.Conn
		change func(*policy.Assignment)
		want   error
	}{
		{"a validator", w.as(1), func(*policy.Assignment) {}, nil},
		{"a member", member, func(*policy.Assignment) {}, validator.ErrDenied},
		{"another network", w.as(1), func(a *policy.Assignment) { a.Network = elsewhere }, validator.ErrMalformed},
		{"another record", w.as(1), func(a *policy.Assignment) { a.Record = elsewhere }, validator.ErrMalformed},
		{"it is over", w.as(1), func(a *policy.Assignment) { a.Expires = w.Clock.Now().Unix() }, validator.ErrMalformed},
		{"it is over in a second", w.as(1), func(a *policy.Assignment) { a.Expires = w.Clock.Now().Unix() + 1 }, nil},
		{"it lasted too long", w.as(1), func(a *policy.Assignment) { a.NotBefore = 1 }, validator.ErrMalformed},
		{"it never ends", w.as(1), func(a *policy.Assignment) { a.Expires = 1 << 60 }, validator.ErrMalformed},
		{"no name", w.as(1), func(a *policy.Assignment) { a.Role = "" }, validator.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := draft(c.change)
			_, _ = ask(w.as(2), s.Bytes()) // another has asked for it already
			r, err := ask(c.as, s.Bytes())
			wantErr(t, err, c.want)
			if err != nil {
				return
			}
			got, err := statement.Parse(r.Role)
			if err != nil || r.Kept || got.ID() != s.ID() || !slices.Equal(got.Signers(), []int{0}) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}

	s := draft(func(*policy.Assignment) {})
	for i := range 3 {
		if r, err := ask(member, s.Bytes()); err == nil || r.Kept {
			t.Fatalf("with %d signatures it is kept", i)
		}
		if r, err := w.askRole(t, i, 2, s); err != nil || !r.Pending {
			t.Fatalf("%+v, %v", r, err)
		}
		r, err := w.askRole(t, i, 3, s)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := statement.Parse(r.Role)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Merge(signed); err != nil {
			t.Fatal(err)
		}
	}
	before := len(logOf(t, w.Validators[0]))
	for range 2 {
		if r, err := ask(member, s.Bytes()); err != nil || !r.Kept { // whoever brings it
			t.Errorf("%+v, %v", r, err)
		}
	}
	if got := len(logOf(t, w.Validators[0])) - before; got != 1 {
		t.Errorf("bringing it twice is logged %d times", got)
	}
	if got := w.Validators[0].Roles.Roles(w.bob.ID(), w.Clock.Now()); !slices.Equal(got, []string{"clinician"}) {
		t.Errorf("roles %v", got)
	}
}

func TestBundlesTravelBetweenValidatorsOnly(t *testing.T) {
	w := newWorld(t, vt.Options{})
	v := w.Validators[0]
	ask := func(c validator.Conn, r validator.BundleRequest) ([]byte, error) {
		out, err := v.AnswerBundle(t.Context(), c, encode(t, r))
		var reply validator.BundleReply
		if err == nil {
			if err := statement.Unmarshal(out, &reply); err != nil {
				t.Fatal(err)
			}
		}
		return reply.Bundle, err
	}
	member := w.Connect(w.alice, 0).Conn()
	first := w.Bundle(t, open(), w.Clock.Now())
	second := func() []byte { // of the same version
		return w.Bundle(t, bundleOf(`other: permit (principal, action, resource);`), w.Clock.Now())
	}()
	unsigned, err := policy.Propose(v.Policies.Follow(open(), w.Clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(member, validator.BundleRequest{Bundle: first})
	wantErr(t, err, validator.ErrDenied)
	_, err = ask(w.as(1), validator.BundleRequest{Bundle: unsigned})
	wantErr(t, err, validator.ErrMalformed)
	if raw, err := ask(w.as(1), validator.BundleRequest{}); err != nil || len(raw) > 0 {
		t.Errorf("before there is one: %d bytes, %v", len(raw), err)
	}
	_, err = ask(w.as(1), validator.BundleRequest{Bundle: first})
	wantErr(t, err, nil)
	_, err = ask(w.as(1), validator.BundleRequest{Bundle: second})
	if wantErr(t, err, validator.ErrMalformed); !errors.Is(err, policy.ErrFork) {
		t.Errorf("a second bundle of a version: %v", err)
	}
	if e := lastEvent(t, v); e.Action != event.PolicyChange || e.Outcome != event.Denied || e.Rule != "fork" {
		t.Errorf("the log ends with %+v", e)
	}
	_, err = ask(member, validator.BundleRequest{})
	wantErr(t, err, validator.ErrDenied)
	if raw, err := ask(w.as(1), validator.BundleRequest{}); err != nil || string(raw) != string(first) {
		t.Errorf("after: %d bytes, %v", len(raw), err)
	}
	if raw, err := ask(w.as(1), validator.BundleRequest{After: 1 << 63}); err != nil || len(raw) > 0 {
		t.Errorf("beyond the newest: %d bytes, %v", len(raw), err)
	}
}

func FuzzRole(f *testing.F) {
	fuzzEntry[validator.RoleRequest](f, func(w *world) []any {
		s, err := policy.DraftRole(w.Assignment(w.bob, "clinician"))
		if err != nil {
			f.Fatal(err)
		}
		return []any{validator.RoleRequest{Role: s.Bytes()}, validator.RoleRequest{Role: w.Role(f, w.bob, "clinician")}, validator.RoleRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].AnswerRole(t.Context(), w.as(1), raw)
		return err
	})
}

func FuzzBundle(f *testing.F) {
	fuzzEntry[validator.BundleRequest](f, func(w *world) []any {
		return []any{validator.BundleRequest{Bundle: w.Bundle(f, open(), w.Clock.Now())}, validator.BundleRequest{After: 1}, validator.BundleRequest{Bundle: []byte{1}}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].AnswerBundle(t.Context(), w.as(1), raw)
		return err
	})
}

// What is read back is what was written, and nothing else reads at all: these
// words reach a person's screen.
func FuzzParsePolicyError(f *testing.F) {
	for _, e := range []*validator.PolicyError{{}, {Wants: []string{policy.WantsPurpose}}, {Wants: []string{policy.WantsPurpose, policy.WantsReason}}} {
		f.Add(e.Error())
	}
	f.Add("denied by policy; wants money")
	f.Add("denied by policy; wants reason,purpose")
	f.Add("denied by policy.")
	f.Fuzz(func(t *testing.T, text string) {
		if e, ok := validator.ParsePolicyError(text); ok && e.Error() != text {
			t.Errorf("%q reads as %q", text, e)
		}
	})
}
