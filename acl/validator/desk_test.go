package validator_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// bundleOf is the built-in schema with other policies, each "id: text".
func bundleOf(policies ...string) *policy.Bundle {
	b := policy.Builtin()
	b.Policies = nil
	for _, p := range policies {
		id, text, _ := strings.Cut(p, ": ")
		b.Policies = append(b.Policies, policy.Policy{ID: id, Text: text})
	}
	return b
}

// open is a policy that says nothing of grants: persons decide them.
func open() *policy.Bundle {
	return bundleOf(`read: permit (principal, action == Action::"read", resource);`)
}

func (w *world) draftTo(t *testing.T, owner *vt.Person, target capability.Target, change ...func(*capability.Grant)) (statement.ID, validator.SignRequest) {
	t.Helper()
	s, r := w.Draft(t, owner, w.bob, w.GrantBody(owner, w.bob, target, change...))
	return s.ID(), r
}

// ask asks a validator to sign, on a connection of a person who proves to be it.
func (w *world) ask(t *testing.T, i int, who *vt.Person, r validator.SignRequest) (validator.SignReply, error) {
	t.Helper()
	s := w.Connect(who, i)
	r.Authority = w.ByIdentity(t, who, s, r.Digest())
	return w.send(t, i, s, r)
}

func (w *world) send(t *testing.T, i int, s *vt.Session, r validator.SignRequest) (reply validator.SignReply, err error) {
	t.Helper()
	raw, err := w.Validators[i].Sign(t.Context(), s.Conn(), encode(t, r))
	if err != nil {
		return reply, err
	}
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	return reply, nil
}

// restarted is a validator's judge after a restart: the disk is all that is left.
func restarted(t *testing.T, v *vt.Validator) *validator.Judge {
	t.Helper()
	j := v.Judge
	book, err := validator.OpenRoles(v.Memory, j.Trust)
	if err != nil {
		t.Fatal(err)
	}
	again := &validator.Judge{
		Trust: j.Trust, Peer: j.Peer, Signing: j.Signing, Opener: j.Opener, Store: j.Store, Shares: j.Shares, Log: j.Log, Set: j.Set,
		Verifier: j.Verifier, Policies: j.Policies, Roles: book, Book: book, Audit: j.Audit, Receipts: j.Receipts, Guard: j.Guard, Fresh: j.Fresh, Now: j.Now, Logger: j.Logger,
	}
	if err := again.Recount(v.Audit.Leaves); err != nil {
		t.Fatal(err)
	}
	return again
}

func TestAnOpenGrantWaitsForAPerson(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: open()})
	scope := envelope.NewNonce()
	o := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} })
	w.DepositDealt(t, w.Deal(t, w.alice, 0, []*vt.Object{o}, func(d *validator.Dealing) {
		d.Class, d.Labels = 3, []validator.Label{{Key: "kind", Value: "scan"}}
	}))
	s, r := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, capability.Target{Kind: capability.Scope, Ref: scope}))
	r.Reason = "a second opinion"
	chain := func() *capability.Chain {
		return &capability.Chain{Grant: s.Bytes(), Consent: r.Consent, Identities: r.Identities}
	}
	for i := range 3 {
		for range 2 { // asking again changes nothing
			if got, err := w.ask(t, i, w.alice, r); err != nil || !got.Pending || len(got.Grant) > 0 {
				t.Fatalf("validator %d: %+v, %v", i+1, got, err)
			}
		}
		if _, err := w.Release(t, 0, w.bob, chain(), vt.ReleaseOf(o)); err == nil {
			t.Fatalf("%d approvals open the object", i)
		}
		v := w.Validators[i]
		waiting, err := v.Desk()
		if err != nil || len(waiting) != 1 {
			t.Fatalf("the desk has %v, %v", waiting, err)
		}
		d := waiting[0]
		if d.ID != s.ID() || d.Owner.ID() != w.alice.ID() || d.Audience.ID() != w.bob.ID() || d.Reason != r.Reason || !strings.Contains(d.Said, "not settled") {
			t.Errorf("waiting: %+v", d)
		}
		if d.Facts.Objects != 1 || d.Facts.Class != 3 || !slices.Equal(d.Facts.Labels, []string{"kind=scan"}) {
			t.Errorf("what is known of it: %+v", d.Facts)
		}
		v.Judge = restarted(t, v) // what waits is on disk
		wantErr(t, v.Approve(t.Context(), s.ID()), nil)
		wantErr(t, v.Approve(t.Context(), s.ID()), validator.ErrNotWaiting)
		v.Judge = restarted(t, v) // so is what was decided
		got, err := w.ask(t, i, w.alice, r)
		if err != nil || got.Pending {
			t.Fatalf("after the approval: %+v, %v", got, err)
		}
		signed, err := statement.Parse(got.Grant)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Merge(signed); err != nil {
			t.Fatal(err)
		}
		if got := logOf(t, v)[1:]; i > 0 && !slices.Equal(got, []string{"grant pending", "approve ok"}) {
			t.Errorf("the log has %v", got)
		}
	}
	if _, err := w.Release(t, 0, w.bob, chain(), vt.ReleaseOf(o)); err != nil {
		t.Error(err)
	}
}

func TestTheReasonOfARefusalIsForTheOwner(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: open()})
	id, r := w.draftTo(t, w.alice, capability.Target{Kind: capability.Lineage})
	if got, err := w.ask(t, 0, w.alice, r); err != nil || !got.Pending {
		t.Fatalf("%+v, %v", got, err)
	}
	v := w.Validators[0]
	wantErr(t, v.Refuse(t.Context(), id, ""), validator.ErrMalformed)
	wantErr(t, v.Refuse(t.Context(), statement.Hash("another"), "no"), validator.ErrNotWaiting)
	wantErr(t, v.Refuse(t.Context(), id, "not in May"), nil)
	wantErr(t, v.Approve(t.Context(), id), validator.ErrNotWaiting)
	v.Judge = restarted(t, v)

	if got, err := w.ask(t, 0, w.alice, r); err != nil || !got.Denied || got.Reason != "not in May" || len(got.Grant) > 0 {
		t.Errorf("the owner is told %+v, %v", got, err)
	}
	s := w.Connect(w.alice, 0)
	other := r
	other.Reason = "another request"
	stolen := r
	stolen.Authority = w.ByIdentity(t, w.alice, s, other.Digest())
	for name, ask := range map[string]func() (validator.SignReply, error){
		"nobody":              func() (validator.SignReply, error) { return w.send(t, 0, w.Connect(w.alice, 0), r) },
		"the reader":          func() (validator.SignReply, error) { return w.ask(t, 0, w.bob, r) },
		"a proof for another": func() (validator.SignReply, error) { return w.send(t, 0, s, stolen) },
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ask()
			if !errors.Is(err, validator.ErrDenied) || strings.Contains(fmt.Sprint(got, err), "May") {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// A person decides what policy leaves open, and nothing else: between request and
// approval everything may have changed.
func TestAnApprovalChecksEverythingAgain(t *testing.T) {
	forbid := bundleOf(`read: permit (principal, action == Action::"read", resource);`, `none: forbid (principal, action == Action::"grant", resource);`)
	for _, c := range []struct {
		name   string
		change func(t *testing.T, w *world, v *vt.Validator, id statement.ID)
		want   error
	}{
		{"nothing", func(*testing.T, *world, *vt.Validator, statement.ID) {}, nil},
		{"policy forbids", func(t *testing.T, w *world, v *vt.Validator, _ statement.ID) {
			wantErr(t, v.TakeBundle(t.Context(), w.Bundle(t, forbid, w.Clock.Now())), nil)
		}, validator.ErrDenied},
		{"it has expired", func(t *testing.T, w *world, _ *vt.Validator, _ statement.ID) {
			w.Clock.Advance(vt.Hour)
			w.Hear(t)
		}, validator.ErrNotWaiting},
		{"its owner has revoked it", func(t *testing.T, w *world, v *vt.Validator, id statement.ID) {
			if _, err := v.Log.Append(w.Revocation(t, w.alice, id)); err != nil {
				t.Fatal(err)
			}
		}, validator.ErrMalformed},
		{"somebody else has", func(t *testing.T, w *world, v *vt.Validator, id statement.ID) {
			if _, err := v.Log.Append(w.Revocation(t, w.mallory, id)); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"nobody is heard", func(_ *testing.T, w *world, _ *vt.Validator, _ statement.ID) { w.Clock.Advance(revocation.MaxAge) }, validator.ErrUnavailable},
		{"the log is full", func(_ *testing.T, _ *world, v *vt.Validator, _ statement.ID) { v.Judge.Audit = full{} }, validator.ErrUnavailable},
		{"the disk is full", func(_ *testing.T, _ *world, v *vt.Validator, _ statement.ID) {
			v.Judge.Store = &failing{v.Memory, true}
		}, validator.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, vt.Options{Bundle: open()})
			id, r := w.draftTo(t, w.alice, capability.Target{Kind: capability.Lineage})
			if got, err := w.ask(t, 0, w.alice, r); err != nil || !got.Pending {
				t.Fatalf("%+v, %v", got, err)
			}
			v := w.Validators[0]
			c.change(t, w, v, id)
			wantErr(t, v.Approve(t.Context(), id), c.want)
			if c.want == nil {
				return
			}
			v.Judge.Audit, v.Judge.Store = v.Audit, v.Memory
			if got, _ := w.ask(t, 0, w.alice, r); len(got.Grant) > 0 {
				t.Error("it is signed all the same")
			}
		})
	}
}

// Policy that changes decides what waits already.
func TestPolicyEmptiesTheDesk(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: open()})
	v := w.Validators[0]
	_, r := w.draftTo(t, w.alice, capability.Target{Kind: capability.Lineage})
	if got, err := w.ask(t, 0, w.alice, r); err != nil || !got.Pending {
		t.Fatalf("%+v, %v", got, err)
	}
	wantErr(t, v.TakeBundle(t.Context(), w.Bundle(t, policy.Builtin(), w.Clock.Now())), nil)
	if got, err := w.ask(t, 0, w.alice, r); err != nil || got.Pending || len(got.Grant) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if n, err := v.Waits(); n != 0 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
}

func TestADeskIsBounded(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: open()})
	target := capability.Target{Kind: capability.Lineage}
	put := func(owner, node *vt.Person) (statement.ID, error) {
		id, r := w.draftTo(t, owner, target)
		got, err := w.send(t, 0, w.Connect(node, 0), r)
		if err == nil && !got.Pending {
			t.Fatalf("%+v", got)
		}
		return id, err
	}
	var first statement.ID
	for i := range 64 {
		id, err := put(w.alice, w.alice)
		if err != nil {
			t.Fatal(i, err)
		}
		if i == 0 {
			first = id
		}
	}
	_, err := put(w.alice, w.bob) // from another node, too
	wantErr(t, err, validator.ErrUnavailable)
	_, err = put(w.mallory, w.alice) // control: another owner
	wantErr(t, err, nil)
	wantErr(t, w.Validators[0].Refuse(t.Context(), first, "one less"), nil)
	_, err = put(w.alice, w.alice) // what was decided does not count
	wantErr(t, err, nil)

	// Owners cost nothing: the node that brings them is limited by itself.
	for i := 65; i < 128; i++ {
		if _, err := put(vt.NewPerson(t, fmt.Sprint("owner ", i/60), identity.User), w.alice); err != nil {
			t.Fatal(i, err)
		}
	}
	_, err = put(vt.NewPerson(t, "one more", identity.User), w.alice)
	wantErr(t, err, validator.ErrUnavailable)
	_, err = put(vt.NewPerson(t, "one more", identity.User), w.bob)
	wantErr(t, err, nil)

	w.Clock.Advance(vt.Hour) // grants of an hour leave with it
	w.Hear(t)
	_, err = put(w.alice, w.alice)
	wantErr(t, err, nil)
	if n, err := w.Validators[0].Waits(); n != 1 || err != nil {
		t.Errorf("%d wait, %v", n, err)
	}
}

func TestARequestLeavesTheDeskAfterAMonth(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: open()})
	const month = 30 * 24 * time.Hour
	long := func(g *capability.Grant) { g.Caveats.Expires = w.Clock.Now().Add(2 * month).Unix() }
	id, r := w.draftTo(t, w.alice, capability.Target{Kind: capability.Lineage}, long)
	put := func() {
		if got, err := w.ask(t, 0, w.alice, r); err != nil || !got.Pending {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	put()
	w.Clock.Advance(month - time.Second)
	if n, err := w.Validators[0].Waits(); n != 1 || err != nil { // control
		t.Errorf("a second before, %d wait, %v", n, err)
	}
	w.Clock.Advance(time.Second)
	w.Hear(t)
	wantErr(t, w.Validators[0].Approve(t.Context(), id), validator.ErrNotWaiting)
	put() // its owner may ask again
	wantErr(t, w.Validators[0].Approve(t.Context(), id), nil)
}

// What a grant is for, and what it is of, decides whether a person is asked.
func TestPolicyDecidesAGrantByAllItsPurposesAndObjects(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: bundleOf(
		`care: permit (principal, action == Action::"grant", resource) when { context.purpose == "care" };`,
		`never: forbid (principal, action == Action::"grant", resource) when { context.purpose == "marketing" };`,
		`why: forbid (principal, action == Action::"grant", resource) when { context.purpose == "care" && context.labels.contains("sensitive=yes") && context.reason == "" };`,
	)})
	plain, sensitive := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, plain)
	w.DepositDealt(t, w.Deal(t, w.alice, 0, []*vt.Object{sensitive}, func(d *validator.Dealing) {
		d.Labels = []validator.Label{{Key: "sensitive", Value: "yes"}}
	}))
	for _, c := range []struct {
		name     string
		on       *vt.Object
		reason   string
		purposes []string
		want     string
	}{
		{"permitted", plain, "", []string{"care"}, "signed"},
		{"open", plain, "", []string{"research"}, "pending"},
		{"any purpose", plain, "", nil, "pending"},
		{"one of two is open", plain, "", []string{"care", "research"}, "pending"},
		{"one of two is forbidden", plain, "", []string{"care", "marketing"}, "denied by policy; wants purpose"},
		{"in the other order", plain, "", []string{"marketing", "research", "care"}, "denied by policy; wants purpose"},
		{"sensitive", sensitive, "", []string{"care"}, "denied by policy; wants reason"},
		{"sensitive, with a reason", sensitive, "r", []string{"care"}, "signed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, target := range []capability.Target{vt.VersionOf(c.on), {Kind: capability.Lineage, Ref: c.on.Lineage}} {
				_, r := w.draftTo(t, w.alice, target, func(g *capability.Grant) { g.Caveats.Purposes = c.purposes })
				r.Reason = c.reason
				reply, err := w.ask(t, 0, w.alice, r)
				got := "signed"
				switch {
				case err != nil:
					got = err.Error()
				case reply.Pending:
					got = "pending"
				}
				if got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
				if _, err := w.send(t, 0, w.Connect(w.bob, 0), r); err != nil && err.Error() != "denied" {
					t.Errorf("somebody else is told %v", err)
				}
			}
		})
	}
}

// Under a standing consent its audience asks, and policy is asked about it: the
// owner need not be there.
func TestAStandingConsentIsForThoseWithItsRole(t *testing.T) {
	w := newWorld(t, vt.Options{Bundle: bundleOf(
		`glass: permit (principal in Role::"emergency", action == Action::"grant", resource) when { context.purpose == "emergency" && context.reason != "" };`,
		`reason: forbid (principal, action == Action::"grant", resource) when { context.purpose == "emergency" && context.reason == "" };`,
	)})
	o := w.Object(t, w.alice)
	standing := w.alice.Sign(t, capability.KindStanding, capability.Standing{
		Network: w.Network.Committee.Network(), Owner: w.alice.ID(), Target: vt.VersionOf(o), Role: "emergency", Abilities: capability.Read,
		MaxClass: 255, Purposes: []string{"emergency", "drill"}, Lifetime: 2 * 3600, Until: w.Clock.Now().Unix() + 24*3600,
	})
	s, err := statement.Parse(standing)
	if err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	draft := func(purpose, reason string) validator.SignRequest {
		_, r := w.draftTo(t, w.alice, vt.VersionOf(o), func(g *capability.Grant) {
			g.Consent, g.Caveats.Purposes = id[:], []string{purpose}
		})
		r.Consent, r.Reason = standing, reason
		return r
	}
	glass := draft("emergency", "cardiac arrest")
	_, err = w.ask(t, 0, w.bob, glass)
	wantErr(t, err, validator.ErrMalformed) // he has no role yet
	w.Assign(t, w.bob, "emergency")
	for name, who := range map[string]*vt.Person{"a stranger": w.mallory, "the owner": w.alice} {
		if _, err := w.ask(t, 0, who, glass); !errors.Is(err, validator.ErrDenied) {
			t.Errorf("%s asks in his name: %v", name, err)
		}
	}
	_, err = w.send(t, 0, w.Connect(w.bob, 0), glass)
	wantErr(t, err, validator.ErrDenied) // without a proof
	if _, err := w.ask(t, 0, w.bob, draft("emergency", "")); err == nil || err.Error() != "denied by policy; wants reason" {
		t.Errorf("without a reason: %v", err)
	}
	got, err := w.ask(t, 0, w.bob, glass)
	if err != nil || len(got.Grant) == 0 {
		t.Errorf("with role, purpose and reason: %+v, %v", got, err)
	}
	drill := draft("drill", "spring")
	if got, err := w.ask(t, 0, w.bob, drill); err != nil || !got.Pending {
		t.Errorf("a drill waits for a person: %+v, %v", got, err)
	}
	if _, err := w.Validators[0].Log.Append(w.Revocation(t, w.alice, id)); err != nil {
		t.Fatal(err)
	}
	_, err = w.ask(t, 0, w.bob, drill)
	wantErr(t, err, validator.ErrMalformed) // the owner has ended it
}
