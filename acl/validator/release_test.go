package validator_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

func TestThreeReleasesGiveTheSecretBack(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	for name, target := range map[string]capability.Target{
		"version": vt.VersionOf(o),
		"lineage": {Kind: capability.Lineage, Ref: o.Lineage},
	} {
		t.Run(name, func(t *testing.T) {
			chain := w.Grant(t, w.alice, w.bob, target)
			shares := map[int]committee.Share{}
			for _, i := range []int{3, 0, 2} {
				r, err := w.Release(t, i, w.bob, chain, vt.ReleaseOf(o))
				if err != nil {
					t.Fatal(err)
				}
				if r.Leaf != vt.Leaf(t, chain) || r.Server != w.Network.Committee.Validators[i].Peer || r.Items[0].Shares[0].Record != w.Network.Committee.ID() {
					t.Errorf("the answer is bound to something else: %+v", r)
				}
				shares[i] = shareOf(r.Items[0])
			}
			secret, err := committee.Recover(3, shares)
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Open(secret); err != nil {
				t.Error(err)
			}
			shares[0] = shares[2] // control: a wrong share opens nothing
			if secret, err = committee.Recover(3, shares); err == nil && o.Open(secret) == nil {
				t.Error("a wrong share opens the object")
			}
		})
	}
}

// denials are grants and requests that open nothing. Each begins as the one that
// does: Bob reads Alice's object under a grant for it.
func TestWhatAGrantDoesNotCoverIsDenied(t *testing.T) {
	w := newWorld(t, vt.Options{})
	scope, otherScope := envelope.NewNonce(), envelope.NewNonce()
	o := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} })
	other, his := w.Object(t, w.alice), w.Object(t, w.mallory, func(m *envelope.Manifest) { m.Lineage, m.Scopes = o.Lineage, []envelope.Nonce{scope} })
	w.DepositAll(t, w.alice, o, other)
	w.DepositAll(t, w.mallory, his)
	version := vt.VersionOf(o)
	grant := func(target capability.Target, change ...func(*capability.Grant)) *capability.Chain {
		return w.Grant(t, w.alice, w.bob, target, change...)
	}
	for _, c := range []struct {
		name  string
		chain *capability.Chain
		ask   *vt.Object
		ok    bool
	}{
		{"the version", grant(version), o, true},
		{"its scope", grant(capability.Target{Kind: capability.Scope, Ref: scope}), o, true},
		{"another object", grant(version), other, false},
		{"another version", grant(vt.VersionOf(other)), o, false},
		{"another lineage", grant(capability.Target{Kind: capability.Lineage, Ref: other.Lineage}), o, false},
		{"another scope", grant(capability.Target{Kind: capability.Scope, Ref: otherScope}), o, false},
		{"a scope's nonce as a lineage", grant(capability.Target{Kind: capability.Lineage, Ref: scope}), o, false},
		{"the same lineage of another owner", grant(capability.Target{Kind: capability.Lineage, Ref: o.Lineage}), his, false},
		{"the same scope of another owner", grant(capability.Target{Kind: capability.Scope, Ref: scope}), his, false},
		{"another owner's grant", w.Grant(t, w.mallory, w.bob, version), o, false},
		{"to carry only", grant(version, func(g *capability.Grant) { g.Abilities = capability.Carry }), o, false},
		{"to infer only", grant(version, func(g *capability.Grant) { g.Abilities = capability.Infer }), o, false},
		{"expired", grant(version, func(g *capability.Grant) { g.Caveats.Expires = w.Clock.Now().Unix() }), o, false},
		{"not valid yet", grant(version, func(g *capability.Grant) { g.Caveats.NotBefore = w.Clock.Now().Unix() + 1 }), o, false},
		{"for a purpose", grant(version, func(g *capability.Grant) { g.Caveats.Purposes = []string{"research"} }), o, false},
		{"in a region", grant(version, func(g *capability.Grant) { g.Caveats.Regions = []string{"eu"} }), o, false},
		{"attested", grant(version, func(g *capability.Grant) { g.Caveats.Attestation = [][]byte{{1}} }), o, false},
		{"to an enclave", grant(version, func(g *capability.Grant) { g.Subject = capability.SubjectEnclave }), o, false},
		{"to another kind of subject", grant(version, func(g *capability.Grant) { g.Subject = uint8(identity.Agent) }), o, false},
		{"of another record", grant(version, func(g *capability.Grant) { g.Record = statement.Hash("another") }), o, false},
		{"an object that nobody has", grant(version), w.Object(t, w.alice), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.Release(t, 0, w.bob, c.chain, vt.ReleaseOf(c.ask))
			if c.ok {
				wantErr(t, err, nil)
				return
			}
			wantErr(t, err, validator.ErrDenied)
			if err != nil && err.Error() != validator.ErrDenied.Error() {
				t.Errorf("the denial explains itself: %q", err)
			}
		})
	}
}

func TestTheChainsOfOthersAreDenied(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	unsigned := func() *capability.Chain {
		s, r := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, vt.VersionOf(o)))
		return &capability.Chain{Grant: s.Bytes(), Consent: r.Consent, Identities: r.Identities}
	}
	noConsent := *chain
	noConsent.Consent = w.mallory.Sign(t, capability.KindConsent, capability.Consent{Network: w.Network.Committee.Network(), Grant: vt.Leaf(t, chain)})
	for _, c := range []struct {
		name  string
		who   *vt.Person
		chain *capability.Chain
		ok    bool
	}{
		{"its audience", w.bob, chain, true},
		{"a stranger", w.mallory, chain, false},
		{"its owner", w.alice, chain, false}, // she needs no validator
		{"nobody signed it", w.bob, unsigned(), false},
		{"another's consent", w.bob, &noConsent, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := w.Connect(c.who, 0)
			r := vt.ReleaseOf(o)
			proof, err := capability.Prove(capability.Proof{
				Request: r.Digest(), Leaf: vt.Leaf(t, c.chain), Server: s.Server, Client: s.Client, Network: w.Network.Committee.Network(),
				Challenge: s.Challenge, Counter: 1, Time: w.Clock.Now().Unix(),
			}, c.who.Identity, c.who.Device)
			if err != nil {
				t.Fatal(err)
			}
			r.Authority = encode(t, capability.Authority{Chain: c.chain.Bytes(), Proof: proof})
			_, err = w.SendRelease(t, 0, w.bob, s, r)
			want := validator.ErrDenied
			if c.ok {
				want = nil
			}
			wantErr(t, err, want)
		})
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := statement.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestPurposeAndClassification(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositDealt(t, w.Deal(t, w.alice, 0, []*vt.Object{o}, func(d *validator.Dealing) { d.Class = 3 }))
	for _, c := range []struct {
		name, purpose string
		class         uint8
		want          error
	}{
		{"the purpose, high enough", "research", 3, nil},
		{"higher", "research", 255, nil},
		{"another purpose", "marketing", 3, validator.ErrDenied},
		{"no purpose", "", 3, validator.ErrDenied},
		{"classified above", "research", 2, validator.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o), func(g *capability.Grant) {
				g.Caveats.Purposes, g.Caveats.MaxClass = []string{"care", "research"}, c.class
			})
			r := vt.ReleaseOf(o)
			r.Purpose = c.purpose
			_, err := w.Release(t, 0, w.bob, chain, r)
			wantErr(t, err, c.want)
		})
	}
}

func TestPolicyMayDenyWhatAGrantAllows(t *testing.T) {
	bundle := policy.Builtin()
	bundle.Policies = append(bundle.Policies, policy.Policy{ID: "no-friday", Text: `forbid (principal, action == Action::"read", resource) when { context.reason == "friday" || context.classification > 5 };`})
	w := newWorld(t, vt.Options{Bundle: bundle})
	o, secret := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	w.DepositDealt(t, w.Deal(t, w.alice, 0, []*vt.Object{secret}, func(d *validator.Dealing) { d.Class = 6 }))
	ask := func(o *vt.Object, reason string) error {
		r := vt.ReleaseOf(o)
		r.Reason = reason
		_, err := w.Release(t, 0, w.bob, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), r)
		return err
	}
	wantErr(t, ask(o, "friday"), validator.ErrDenied)
	wantErr(t, ask(secret, "monday"), validator.ErrDenied)
	wantErr(t, ask(o, "monday"), nil)
}

// Every answer is the same for who may not know, and the log tells them apart.
func TestUnknownAndForbiddenLookTheSame(t *testing.T) {
	w := newWorld(t, vt.Options{})
	mine, forbidden, unknown := w.Object(t, w.alice), w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, mine, forbidden)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(mine))
	_, a := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(forbidden))
	_, b := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(unknown))
	if a == nil || b == nil || a.Error() != b.Error() {
		t.Errorf("forbidden: %v; unknown: %v", a, b)
	}
	out, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(forbidden, mine, unknown)) // a batch, in part
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encode(t, out.Items[0]), encode(t, out.Items[2])) || out.Items[0].Outcome != validator.ItemRefused {
		t.Errorf("forbidden: %+v; unknown: %+v", out.Items[0], out.Items[2])
	}
	if out.Items[1].Outcome != validator.ItemOK || len(out.Items[1].Shares[0].Share) != 64 {
		t.Errorf("what is granted is not released beside what is not: %+v", out.Items[1])
	}
	var denied []string
	for _, e := range w.Validators[0].Events(t) {
		if e.Outcome == event.Denied {
			denied = append(denied, e.Rule)
		}
	}
	if len(denied) != 4 || denied[0] == denied[1] || slices.Contains(denied, "refused") {
		t.Errorf("the log has the rules %q", denied)
	}
}

func TestAProofIsForOneRequestOnOneConnection(t *testing.T) { // CA-06
	w := newWorld(t, vt.Options{})
	a, b := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, a, b)
	scope := w.Grant(t, w.alice, w.bob, vt.VersionOf(a))
	here, again, there := w.Connect(w.bob, 0), w.Connect(w.bob, 0), w.Connect(w.bob, 1)
	stolen := w.Connect(w.mallory, 0)
	stolen.Challenge = here.Challenge
	r := vt.ReleaseOf(a, b)
	r.Purpose, r.Reason = "research", "because"
	r.Authority = w.ByChain(t, w.bob, scope, here, r.Digest())
	changed := func(f func(*validator.ReleaseRequest)) validator.ReleaseRequest {
		c := r
		c.Objects = slices.Clone(r.Objects)
		f(&c)
		return c
	}
	for _, c := range []struct {
		name string
		to   int
		on   *vt.Session
		r    validator.ReleaseRequest
		want error
	}{
		{"another purpose", 0, here, changed(func(r *validator.ReleaseRequest) { r.Purpose = "care" }), validator.ErrDenied},
		{"another reason", 0, here, changed(func(r *validator.ReleaseRequest) { r.Reason = "" }), validator.ErrDenied},
		{"another order", 0, here, changed(func(r *validator.ReleaseRequest) { slices.Reverse(r.Objects) }), validator.ErrDenied},
		{"one object", 0, here, changed(func(r *validator.ReleaseRequest) { r.Objects = r.Objects[:1] }), validator.ErrDenied},
		{"an object twice", 0, here, changed(func(r *validator.ReleaseRequest) { r.Objects[1] = r.Objects[0] }), validator.ErrDenied},
		{"with dealings", 0, here, changed(func(r *validator.ReleaseRequest) { r.Dealings = true }), validator.ErrDenied},
		{"another connection", 0, again, r, validator.ErrDenied},
		{"another peer", 0, stolen, r, validator.ErrDenied},
		{"another validator", 1, there, r, validator.ErrDenied},
		{"itself", 0, here, r, nil}, // none of the above has used it up
		{"once more", 0, here, r, validator.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.SendRelease(t, c.to, w.bob, c.on, c.r)
			wantErr(t, err, c.want)
		})
	}
}

func TestAClockMoreThanAMinuteAwayIsDenied(t *testing.T) { // CA-07
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	for _, c := range []struct {
		late time.Duration
		want error
	}{{59 * time.Second, nil}, {61 * time.Second, validator.ErrDenied}} {
		s, r := w.Connect(w.bob, 0), vt.ReleaseOf(o)
		r.Authority = w.ByChain(t, w.bob, chain, s, r.Digest())
		w.Clock.Advance(c.late)
		_, err := w.SendRelease(t, 0, w.bob, s, r)
		wantErr(t, err, c.want)
	}
}

func TestNoShareLeavesBeforeItIsLogged(t *testing.T) { // AU-05
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain, v := w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), w.Validators[0]
	v.Judge.Audit = full{}
	_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, validator.ErrUnavailable)
	_, err = w.Release(t, 0, w.mallory, w.Grant(t, w.mallory, w.mallory, vt.VersionOf(o)), vt.ReleaseOf(o))
	wantErr(t, err, validator.ErrUnavailable) // nor a denial
	v.Judge.Audit = v.Audit                   // control
	_, err = w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, nil)
	v.Audit.Close() // and the real log
	_, err = w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, validator.ErrUnavailable)
}

// Whoever probes cannot keep it out of the log with an address that no record holds.
func TestADenialCannotBeKeptOutOfTheLog(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	r := vt.ReleaseOf(o)
	r.Objects = append(r.Objects, make([]byte, 129))
	before := w.Validators[0].Audit.Size()
	_, err := w.Release(t, 0, w.bob, chain, r)
	wantErr(t, err, validator.ErrMalformed)
	r.Objects[1] = make([]byte, 64) // control: what is judged is logged
	_, err = w.Release(t, 0, w.bob, chain, r)
	wantErr(t, err, nil)
	if n := w.Validators[0].Audit.Size() - before; n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

func TestARequestBeyondTheLimitsIsMalformed(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	word := string(bytes.Repeat([]byte("x"), 257))
	for name, spoil := range map[string]func(*validator.ReleaseRequest){
		"no objects":   func(r *validator.ReleaseRequest) { r.Objects = nil },
		"1001 objects": func(r *validator.ReleaseRequest) { r.Objects = slices.Repeat(r.Objects, 1001) },
		"purpose":      func(r *validator.ReleaseRequest) { r.Purpose = word },
		"reason":       func(r *validator.ReleaseRequest) { r.Reason = word },
	} {
		t.Run(name, func(t *testing.T) {
			r := vt.ReleaseOf(o)
			spoil(&r)
			_, err := w.Release(t, 0, w.bob, chain, r)
			wantErr(t, err, validator.ErrMalformed)
		})
	}
	r := vt.ReleaseOf(o)
	s := w.Connect(w.bob, 0)
	r.Authority = w.ByIdentity(t, w.bob, s, r.Digest()) // an identity is no grant
	_, err := w.SendRelease(t, 0, w.bob, s, r)
	if err == nil {
		t.Error("an identity alone was given a share")
	}
}

func TestAValidatorThatHearsNobodyReleasesNothing(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	w.Clock.Advance(revocation.MaxAge)
	_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, validator.ErrUnavailable)
	w.Hear(t)
	_, err = w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, nil)
}

func TestADelegateReadsAndNoMore(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, other := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o, other)
	carol := vt.NewPerson(t, "carol", identity.Agent)
	root := w.Grant(t, w.alice, w.bob, vt.VersionOf(o), vt.Delegable)
	for _, c := range []struct {
		name  string
		chain *capability.Chain
		who   *vt.Person
		want  error
	}{
		{"what was handed on", w.Delegate(t, root, w.bob, carol), carol, nil},
		{"another object", w.Delegate(t, root, w.bob, carol, func(g *capability.Grant) { g.Target = vt.VersionOf(other) }), carol, validator.ErrDenied},
		{"longer", w.Delegate(t, root, w.bob, carol, func(g *capability.Grant) { g.Caveats.Expires++ }), carol, validator.ErrDenied},
		{"signed by another", w.Delegate(t, root, w.mallory, carol), carol, validator.ErrDenied},
		{"not for delegation", w.Delegate(t, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), w.bob, carol), carol, validator.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.Release(t, 0, c.who, c.chain, vt.ReleaseOf(o))
			wantErr(t, err, c.want)
		})
	}
}

// A revocation that this validator has acknowledged stops what it is about to
// answer, too.
func TestARevocationStopsAReleaseUnderWay(t *testing.T) { // RV-01
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain, v := w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), w.Validators[0]
	revoke := validator.RevokeRequest{Entry: w.Revocation(t, w.alice, vt.Leaf(t, chain)), Chain: chain.Bytes()}
	calls := 0
	v.Judge.Audit = watched{v.Audit, func() {
		if calls++; calls == 1 { // the decision is made, the answer has not left
			if _, err := v.Revoke(t.Context(), validator.Conn{}, encode(t, revoke)); err != nil {
				t.Error(err)
			}
		}
	}}
	_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	wantErr(t, err, validator.ErrDenied)
	events := logOf(t, v)
	if events[len(events)-1] != "release denied" {
		t.Errorf("the log ends with %v", events)
	}
	fresh := w.Grant(t, w.alice, w.bob, vt.VersionOf(o)) // control: with nothing revoked meanwhile
	_, err = w.Release(t, 0, w.bob, fresh, vt.ReleaseOf(o))
	wantErr(t, err, nil)
}

// watched is an audit log with something that happens before each entry.
type watched struct {
	validator.Auditor
	before func()
}

func (w watched) Append(ctx context.Context, e ...event.Event) error {
	w.before()
	return w.Auditor.Append(ctx, e...)
}

func (w watched) Enter(ctx context.Context, e ...event.Event) (int64, []tlog.Hash, error) {
	w.before()
	return w.Auditor.Enter(ctx, e...)
}

// Many readers, one revocation: whoever asks after the acknowledgement is denied.
func TestConcurrentReleasesWhileRevoking(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain, v := w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), w.Validators[0]
	acked := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for after := false; ; {
				select {
				case <-acked:
					after = true
				default:
				}
				_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
				if err != nil && !errors.Is(err, validator.ErrDenied) {
					t.Error(err)
				}
				if after && err == nil {
					t.Error("released after the revocation was acknowledged")
				}
				if after {
					return
				}
			}
		})
	}
	_, err := v.Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: w.Revocation(t, w.alice, vt.Leaf(t, chain)), Chain: chain.Bytes()}))
	close(acked)
	wg.Wait()
	wantErr(t, err, nil)
}
