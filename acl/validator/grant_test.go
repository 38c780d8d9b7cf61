package validator_test

import (
	"bytes"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// sign asks a validator and returns the grant that comes back.
func (w *world) sign(t *testing.T, i int, r validator.SignRequest) (*statement.Statement, error) {
	t.Helper()
	raw, err := w.Validators[i].Sign(t.Context(), w.Connect(w.alice, i).Conn(), encode(t, r))
	if err != nil {
		return nil, err
	}
	var reply validator.SignReply
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(reply.Grant)
	if err != nil {
		t.Fatal(err)
	}
	return s, nil
}

func TestKSignaturesMakeAGrant(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	s, r := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, vt.VersionOf(o)))
	junk := statement.GenerateKey()
	draft, err := statement.Parse(s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	draft.AddSignature(0, junk) // a validator passes on nobody's signature but its own
	draft.AddSignature(3, junk)
	r.Grant = draft.Bytes()
	chain := func() *capability.Chain {
		return &capability.Chain{Grant: s.Bytes(), Consent: r.Consent, Identities: r.Identities}
	}
	for i := range 3 {
		if _, err := w.Release(t, 0, w.bob, chain(), vt.ReleaseOf(o)); err == nil {
			t.Errorf("%d signatures open the object", i)
		}
		got, err := w.sign(t, i, r)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Signers(), []int{i}) || got.ID() != s.ID() {
			t.Errorf("validator %d gave the signatures of %v under %v", i+1, got.Signers(), got.ID())
		}
		if err := s.Merge(got); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Release(t, 0, w.bob, chain(), vt.ReleaseOf(o)); err != nil {
		t.Error(err)
	}
}

func TestAGrantThatMayNotBeIsNotSigned(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	target, now := vt.VersionOf(o), w.Clock.Now().Unix()
	elsewhere := statement.Hash("elsewhere")
	for name, change := range map[string]func(*capability.Grant){
		"another network":        func(g *capability.Grant) { g.Network = elsewhere },
		"another record":         func(g *capability.Grant) { g.Record = elsewhere },
		"a parent":               func(g *capability.Grant) { g.Parent = elsewhere[:] },
		"another owner":          func(g *capability.Grant) { g.Owner = w.mallory.ID() },
		"another audience":       func(g *capability.Grant) { g.Audience = w.mallory.ID() },
		"another kind":           func(g *capability.Grant) { g.Subject = uint8(identity.Service) },
		"an enclave":             func(g *capability.Grant) { g.Subject = capability.SubjectEnclave },
		"expiry in the past":     func(g *capability.Grant) { g.Caveats.NotBefore, g.Caveats.Expires = now-2, now-1 },
		"expiry now":             func(g *capability.Grant) { g.Caveats.Expires = now },
		"expiry past the record": func(g *capability.Grant) { g.Caveats.Expires = w.Expires + 1 },
		"a standing consent":     func(g *capability.Grant) { g.Consent = elsewhere[:] },
		"nothing":                func(g *capability.Grant) { g.Abilities = 0 },
		"write":                  func(g *capability.Grant) { g.Abilities = capability.Write },
		"depth without delegate": func(g *capability.Grant) { g.Depth = 1 },
		"no target":              func(g *capability.Grant) { g.Target.Kind = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			_, r := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, target, change))
			_, err := w.sign(t, 0, r)
			wantErr(t, err, validator.ErrMalformed)
		})
	}
	_, r := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, target, func(g *capability.Grant) { g.Caveats.Expires = w.Expires })) // control
	_, err := w.sign(t, 0, r)
	wantErr(t, err, nil)
}

// A validator adds no signature to a grant that its owner has revoked since, though
// the consent is good and others have signed. Somebody else's word changes nothing.
func TestARevokedGrantIsNotSigned(t *testing.T) {
	w := newWorld(t, vt.Options{})
	s, r := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, vt.VersionOf(w.Object(t, w.alice))))
	for i := range int(w.Numbers.K) {
		one, err := w.sign(t, i, r)
		if err == nil {
			err = s.Merge(one)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	chain := &capability.Chain{Grant: s.Bytes(), Consent: r.Consent, Identities: r.Identities}
	if err := w.Validators[3].Log.Take([]revocation.Entry{w.Revocation(t, w.mallory, s.ID())}); err != nil {
		t.Fatal(err)
	}
	_, err := w.sign(t, 3, r) // control
	wantErr(t, err, nil)
	w.revoke(t, 3, w.Revocation(t, w.alice, s.ID()), chain)
	_, err = w.sign(t, 3, r)
	wantErr(t, err, validator.ErrMalformed)
}

func TestWithoutTheOwnersConsentNothingIsSigned(t *testing.T) {
	w := newWorld(t, vt.Options{})
	g := w.GrantBody(w.alice, w.bob, vt.VersionOf(w.Object(t, w.alice)))
	s, good := w.Draft(t, w.alice, w.bob, g)
	_, other := w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, g.Target))
	net := w.Network.Committee.Network()
	for name, spoil := range map[string]func(*validator.SignRequest){
		"absent": func(r *validator.SignRequest) { r.Consent = nil },
		"forged": func(r *validator.SignRequest) {
			r.Consent = w.mallory.Sign(t, capability.KindConsent, capability.Consent{Network: net, Grant: s.ID()})
		},
		"the reader's": func(r *validator.SignRequest) {
			r.Consent = w.bob.Sign(t, capability.KindConsent, capability.Consent{Network: net, Grant: s.ID()})
		},
		"to another": func(r *validator.SignRequest) { r.Consent = other.Consent },
		"of another net": func(r *validator.SignRequest) {
			r.Consent = w.alice.Sign(t, capability.KindConsent, capability.Consent{Network: s.ID(), Grant: s.ID()})
		},
		"another kind": func(r *validator.SignRequest) {
			r.Consent = w.alice.Sign(t, capability.KindGrant, capability.Consent{Network: net, Grant: s.ID()})
		},
		"no records":      func(r *validator.SignRequest) { r.Identities = nil },
		"records swapped": func(r *validator.SignRequest) { r.Identities = [][]byte{r.Identities[1], r.Identities[0]} },
		"a record more":   func(r *validator.SignRequest) { r.Identities = append(r.Identities, w.mallory.Record()) },
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			r.Identities = slices.Clone(good.Identities)
			spoil(&r)
			_, err := w.sign(t, 0, r)
			wantErr(t, err, validator.ErrMalformed)
		})
	}
	_, err := w.sign(t, 0, good) // control
	wantErr(t, err, nil)
}

func TestSigningNeedsFreshnessPolicyAndTheLog(t *testing.T) {
	bundle := policy.Builtin()
	bundle.Policies = append(bundle.Policies, policy.Policy{ID: "no-agents", Text: `forbid (principal is Agent, action == Action::"grant", resource);`})
	w := newWorld(t, vt.Options{Bundle: bundle})
	agent := vt.NewPerson(t, "robot", identity.Agent)
	draft := func(owner *vt.Person) validator.SignRequest {
		_, r := w.Draft(t, owner, w.bob, w.GrantBody(owner, w.bob, capability.Target{Kind: capability.Lineage}))
		return r
	}
	_, err := w.sign(t, 0, draft(agent))
	wantErr(t, err, validator.ErrDenied)
	_, err = w.sign(t, 0, draft(w.alice))
	wantErr(t, err, nil)
	if got := logOf(t, w.Validators[0]); !slices.Equal(got, []string{"grant denied", "grant ok"}) {
		t.Errorf("the log has %v", got)
	}

	w.Clock.Advance(revocation.MaxAge)
	_, err = w.sign(t, 0, draft(w.alice))
	wantErr(t, err, validator.ErrUnavailable)
	w.Hear(t)
	w.Validators[0].Judge.Audit = full{}
	_, err = w.sign(t, 0, draft(w.alice))
	wantErr(t, err, validator.ErrUnavailable)
	w.Validators[0].Judge.Audit = w.Validators[0].Audit
	_, err = w.sign(t, 0, draft(w.alice))
	wantErr(t, err, nil)
}

func (w *world) deliver(t *testing.T, i int, c *capability.Chain, hint []byte) error {
	t.Helper()
	return w.Validators[i].Deliver(t.Context(), encode(t, validator.Delivery{Chain: c.Bytes(), Hint: hint}))
}

// mailbox asks validator 0 for one page.
func (w *world) mailbox(t *testing.T, p *vt.Person, r validator.MailboxRequest) (*validator.MailboxReply, error) {
	t.Helper()
	s := w.Connect(p, 0)
	r.Authority = w.ByIdentity(t, p, s, r.Digest())
	return w.sendMailbox(t, s, r)
}

func (w *world) sendMailbox(t *testing.T, s *vt.Session, r validator.MailboxRequest) (*validator.MailboxReply, error) {
	t.Helper()
	raw, err := w.Validators[0].Mailbox(t.Context(), s.Conn(), encode(t, r))
	if err != nil {
		return nil, err
	}
	var reply validator.MailboxReply
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	return &reply, nil
}

func leaves(t *testing.T, ds []validator.Delivery) (out []statement.ID) {
	t.Helper()
	for _, d := range ds {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, vt.Leaf(t, c))
	}
	return out
}

func TestAMailboxOpensForItsIdentityOnly(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	carol := vt.NewPerson(t, "carol", identity.User)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o), vt.Delegable)
	link := w.Delegate(t, chain, w.bob, carol)
	for _, c := range []*capability.Chain{chain, link} {
		if err := w.deliver(t, 0, c, o.Address.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		who    *vt.Person
		issued bool
		want   []statement.ID
	}{
		{"the audience", w.bob, false, []statement.ID{vt.Leaf(t, chain)}},
		{"the delegate", carol, false, []statement.ID{vt.Leaf(t, link)}},
		{"a stranger", w.mallory, false, nil},
		{"the owner holds nothing", w.alice, false, nil},
		{"the owner issued, and what hangs on it", w.alice, true, []statement.ID{vt.Leaf(t, chain), vt.Leaf(t, link)}},
		{"the delegator issued", w.bob, true, []statement.ID{vt.Leaf(t, link)}},
		{"the delegate issued nothing", carol, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := w.mailbox(t, c.who, validator.MailboxRequest{Issued: c.issued})
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(c.want, func(a, b statement.ID) int { return bytes.Compare(a[:], b[:]) })
			if got := leaves(t, r.Deliveries); !slices.Equal(got, c.want) || r.More {
				t.Errorf("%v, more %v; want %v", got, r.More, c.want)
			}
		})
	}
}

func TestAMailboxNeedsAProofForItself(t *testing.T) {
	w := newWorld(t, vt.Options{})
	if err := w.deliver(t, 0, w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage}), nil); err != nil {
		t.Fatal(err)
	}
	s, other := w.Connect(w.bob, 0), w.Connect(w.bob, 0)
	r := validator.MailboxRequest{}
	r.Authority = w.ByIdentity(t, w.bob, s, r.Digest())
	issued := r
	issued.Issued = true
	forged := r
	forged.Authority = encode(t, capability.Authority{Identity: w.bob.Record(), Proof: w.mallory.Sign(t, capability.KindProof, capability.Proof{
		Request: r.Digest(), Server: s.Server, Client: s.Client, Network: w.Network.Committee.Network(), Challenge: s.Challenge, Counter: 9, Time: w.Clock.Now().Unix(),
	})})
	for _, c := range []struct {
		name string
		on   *vt.Session
		r    validator.MailboxRequest
		want error
	}{
		{"another request", s, issued, validator.ErrDenied},
		{"another connection", other, r, validator.ErrDenied},
		{"signed by another", s, forged, validator.ErrDenied},
		{"no authority", s, validator.MailboxRequest{}, validator.ErrMalformed},
		{"a place that is none", s, validator.MailboxRequest{After: []byte{1}, Authority: r.Authority}, validator.ErrMalformed},
		{"a long address", s, validator.MailboxRequest{Address: make([]byte, 65), Authority: r.Authority}, validator.ErrMalformed},
		{"itself", s, r, nil},
		{"once more", s, r, validator.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.sendMailbox(t, c.on, c.r)
			wantErr(t, err, c.want)
		})
	}
}

func TestAMailboxIsFilteredByAddress(t *testing.T) {
	w := newWorld(t, vt.Options{})
	scope := envelope.NewNonce()
	o := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} })
	other, nowhere := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o, other)
	give := func(target capability.Target, change ...func(*capability.Grant)) statement.ID {
		c := w.Grant(t, w.alice, w.bob, target, change...)
		if err := w.deliver(t, 0, c, nil); err != nil {
			t.Fatal(err)
		}
		return vt.Leaf(t, c)
	}
	version, inScope, elsewhere := give(vt.VersionOf(o)), give(capability.Target{Kind: capability.Scope, Ref: scope}), give(vt.VersionOf(other))
	short := give(vt.VersionOf(o), func(g *capability.Grant) { g.Caveats.Expires = w.Clock.Now().Unix() + 2 })
	ask := func(address []byte) []statement.ID {
		r, err := w.mailbox(t, w.bob, validator.MailboxRequest{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		return leaves(t, r.Deliveries)
	}
	sorted := func(ids ...statement.ID) []statement.ID {
		slices.SortFunc(ids, func(a, b statement.ID) int { return slices.Compare(a[:], b[:]) })
		return ids
	}
	for _, c := range []struct {
		name    string
		address []byte
		want    []statement.ID
	}{
		{"all", nil, sorted(version, inScope, elsewhere, short)},
		{"an address", o.Address.Bytes(), sorted(version, inScope, short)},
		{"another", other.Address.Bytes(), sorted(elsewhere)},
		{"one that is not deposited", nowhere.Address.Bytes(), nil},
		{"none at all", []byte("no address"), nil},
	} {
		if got := ask(c.address); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	w.Clock.Advance(2e9) // two seconds: what has expired covers nothing
	if got := ask(o.Address.Bytes()); !slices.Equal(got, sorted(version, inScope)) {
		t.Errorf("%v, want what is in force", got)
	}
}

// Anybody may grant anything under a reference that is somebody else's. It opens
// nothing, and it must not fill the page in which the reader looks for hers.
func TestGrantsOfOthersFillNoPage(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	size := 0
	for size < validator.MaxMailbox {
		c := w.Grant(t, w.mallory, w.bob, vt.VersionOf(o))
		if err := w.deliver(t, 0, c, nil); err != nil {
			t.Fatal(err)
		}
		size += len(c.Bytes())
	}
	ask := func() int {
		r, err := w.mailbox(t, w.bob, validator.MailboxRequest{Address: o.Address.Bytes()})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Deliveries)
	}
	if n := ask(); n != 0 { // control
		t.Errorf("%d grants of another owner cover it", n)
	}
	for range 8 { // wherever among the others their ids stand
		if err := w.deliver(t, 0, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := ask(); n != 8 {
		t.Errorf("%d of 8 grants are found", n)
	}
}

func TestALongMailboxComesInPages(t *testing.T) {
	w := newWorld(t, vt.Options{})
	const n = 64*2 + 3
	want := map[statement.ID]bool{}
	for range n {
		c := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
		want[vt.Leaf(t, c)] = true
		if err := w.deliver(t, 0, c, nil); err != nil {
			t.Fatal(err)
		}
	}
	var after []byte
	for pages := 1; ; pages++ {
		r, err := w.mailbox(t, w.bob, validator.MailboxRequest{After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range leaves(t, r.Deliveries) {
			if !want[id] || slices.Compare(id[:], after) <= 0 {
				t.Fatalf("%v comes twice, or out of order", id)
			}
			delete(want, id)
			after = slices.Clone(id[:])
		}
		if !r.More {
			if pages != 3 || len(want) != 0 {
				t.Errorf("%d pages, %d are missing", pages, len(want))
			}
			return
		}
		if len(r.Deliveries) != 64 {
			t.Errorf("a page has %d", len(r.Deliveries))
		}
	}
}

func TestAChainThatDoesNotVerifyIsNotDelivered(t *testing.T) {
	w := newWorld(t, vt.Options{})
	good := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	revoked := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	w.revoke(t, 0, w.Revocation(t, w.alice, vt.Leaf(t, revoked)), revoked)
	consentless, anonymous := *good, *good
	consentless.Consent = nil
	anonymous.Identities = anonymous.Identities[:1]
	for _, c := range []struct {
		name  string
		chain *capability.Chain
		hint  []byte
		want  error
	}{
		{"without consent", &consentless, nil, validator.ErrDenied},
		{"without its audience", &anonymous, nil, validator.ErrDenied},
		{"revoked", revoked, nil, validator.ErrDenied},
		{"expired", w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage}, func(g *capability.Grant) { g.Caveats.Expires = w.Clock.Now().Unix() }), nil, validator.ErrDenied},
		{"a hint that is no address", good, []byte("here"), validator.ErrMalformed},
		{"a hint at something else", good, envelope.CIDOf([]byte("x"), envelope.CodecRaw).Bytes(), validator.ErrMalformed},
		{"itself", good, w.Object(t, w.alice).Address.Bytes(), nil},
		{"once more", good, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) { wantErr(t, w.deliver(t, 0, c.chain, c.hint), c.want) })
	}
	r, err := w.mailbox(t, w.bob, validator.MailboxRequest{})
	if err != nil || len(r.Deliveries) != 1 {
		t.Errorf("the mailbox has %v, %v", r, err)
	}
	wantErr(t, w.Validators[0].Deliver(t.Context(), []byte("a chain")), validator.ErrMalformed)
}

func TestADeliveryIsLoggedAndStoredOrFails(t *testing.T) {
	w := newWorld(t, vt.Options{})
	v := w.Validators[0]
	c := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	v.Judge.Audit = full{}
	wantErr(t, w.deliver(t, 0, c, nil), validator.ErrUnavailable)
	v.Judge.Audit, v.Judge.Store = v.Audit, &failing{v.Memory, true}
	wantErr(t, w.deliver(t, 0, c, nil), validator.ErrUnavailable)
	v.Judge.Store = v.Memory // control
	wantErr(t, w.deliver(t, 0, c, nil), nil)
}
