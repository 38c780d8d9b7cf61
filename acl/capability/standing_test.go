package capability

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestAGrantOnAStandingConsent(t *testing.T) {
	w := newWorld(t)
	s := w.standing()
	c := w.under(t, s, w.grant())
	v := w.accept(t, "by a list", c)
	if v.Standing() == nil || v.Standing().Nonce != s.Nonce || v.Consent() != statement.ID(idOf(t, c.Consent)) {
		t.Error("the standing consent is another one")
	}
	if w.accept(t, "an exact consent", w.root(t, w.grant())).Standing() != nil {
		t.Error("an exact consent stands")
	}
	s.Audience, s.Role = nil, "physician"
	w.accept(t, "by a role", w.under(t, s, w.grant()))
	travelled, err := ParseChain(c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	w.accept(t, "after travelling", travelled)

	g := w.grant()
	l := w.link(g)
	l.Parent = idOf(t, c.Grant)
	c.Links, c.Identities = [][]byte{w.reader.Sign(t, KindLink, l).Bytes()}, append(c.Identities, w.friend.Record())
	w.accept(t, "handed on", c)
}

// What a standing consent may not say, though its owner signed it.
func TestStandingConsentsThatNobodyMayGive(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, rule string
		change     func(s *Standing)
	}{
		{"control", "", func(*Standing) {}},
		{"for a role", "", func(s *Standing) { s.Audience, s.Role = nil, "physician" }},
		{"with all that it may have", "", func(s *Standing) {
			s.Audience = append(s.Audience, slices.Repeat([]statement.ID{{1}}, 62)...)
			s.Purposes = append(s.Purposes, slices.Repeat([]string{strings.Repeat("x", 64)}, 14)...)
			s.Abilities, s.Depth, s.MaxClass, s.Lifetime, s.Until = all&^Write, MaxDepth, 255, math.MaxInt64, math.MaxInt64
		}},
		{"no ability", "abilities", func(s *Standing) { s.Abilities = 0 }},
		{"write", "abilities", func(s *Standing) { s.Abilities |= Write }},
		{"an ability that does not exist", "abilities", func(s *Standing) { s.Abilities |= 1 << 9 }},
		{"target 0", "target", func(s *Standing) { s.Target.Kind = 0 }},
		{"target 4", "target", func(s *Standing) { s.Target.Kind = Scope + 1 }},
		{"for nobody", "either identities or a role", func(s *Standing) { s.Audience = nil }},
		{"for both", "either identities or a role", func(s *Standing) { s.Role = "physician" }},
		{"for 65", "more than 64 identities", func(s *Standing) { s.Audience = slices.Repeat(s.Audience[:1], 65) }},
		{"for a role of two lines", "its role", func(s *Standing) { s.Audience, s.Role = nil, "a\nb" }},
		{"for a long role", "its role", func(s *Standing) { s.Audience, s.Role = nil, strings.Repeat("x", 65) }},
		{"depth 8", "depth is over", func(s *Standing) { s.Depth = MaxDepth + 1 }},
		{"delegate without depth", "go together", func(s *Standing) { s.Depth = 0 }},
		{"depth without delegate", "go together", func(s *Standing) { s.Abilities &^= Delegate }},
		{"no lifetime", "no lifetime", func(s *Standing) { s.Lifetime = 0 }},
		{"a lifetime below zero", "no lifetime", func(s *Standing) { s.Lifetime = -1 }},
		{"no end", "no lifetime or no end", func(s *Standing) { s.Until = 0 }},
		{"17 purposes", "too many", func(s *Standing) { s.Purposes = slices.Repeat(s.Purposes[:1], 17) }},
		{"an empty region", "purpose or region", func(s *Standing) { s.Regions[0] = "" }},
		{"an empty measurement", "measurement", func(s *Standing) { s.Attestation[0] = nil }},
	} {
		s := w.standing()
		c.change(&s)
		err := s.Check()
		if c.rule == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			w.accept(t, c.name, w.under(t, s, w.grant()))
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.rule) {
			t.Errorf("%s: %v, want %q", c.name, err, c.rule)
			continue
		}
		w.refuse(t, c.name, w.under(t, s, w.grant()), ErrChain, "consent: "+err.Error())
	}
}

// A grant is no wider than the consent that it rests on, in any field: K
// validators have signed each of these, and the owner the consent. In each case
// the widest that is allowed passes.
func TestAGrantIsNoWiderThanItsStandingConsent(t *testing.T) {
	w := newWorld(t)
	other := trusttest.New(t, "other", 4)
	for _, c := range []struct {
		field, rule string
		edge, wider func(s *Standing)
	}{
		{"network", "leaves the network", nil, func(s *Standing) { s.Network = other.Network() }},
		{"owner", "owner of its standing consent", nil, func(s *Standing) { s.Owner = w.stranger.ID() }},
		{"target", "its target", nil, func(s *Standing) { s.Target.Ref[0]++ }},
		{"kind of target", "its target", nil, func(s *Standing) { s.Target.Kind = Scope }},
		{"audience", "its audience", func(s *Standing) { s.Audience = []statement.ID{w.reader.ID()} }, func(s *Standing) { s.Audience = []statement.ID{w.friend.ID()} }},
		{"abilities", "abilities that its standing consent lacks: read", func(s *Standing) { s.Abilities |= Carry | Audit }, func(s *Standing) { s.Abilities = Carry | Delegate | Revoke }},
		{"depth", "its depth", func(s *Standing) { s.Depth = 3 }, func(s *Standing) { s.Depth = 1 }},
		{"delegation", "its depth", nil, func(s *Standing) { s.Depth = 0; s.Abilities &^= Delegate }},
		{"classification", "its classification", func(s *Standing) { s.MaxClass = 4 }, func(s *Standing) { s.MaxClass = 2 }},
		{"purposes", "its purposes", func(s *Standing) { s.Purposes = append(s.Purposes, "sale") }, func(s *Standing) { s.Purposes = s.Purposes[:1] }},
		{"any purpose", "its purposes", func(s *Standing) { s.Purposes = nil }, func(s *Standing) { s.Purposes = []string{"sale"} }},
		{"regions", "its regions", func(s *Standing) { s.Regions = nil }, func(s *Standing) { s.Regions = s.Regions[:1] }},
		{"measurements", "its measurements", func(s *Standing) { s.Attestation = nil }, func(s *Standing) { s.Attestation = s.Attestation[:1] }},
		{"offline use", "offline use", nil, func(s *Standing) { s.Offline = false }},
		{"lifetime", "its lifetime", func(s *Standing) { s.Lifetime++ }, func(s *Standing) { s.Lifetime-- }},
		{"end", "its end", func(s *Standing) { s.Until++ }, func(s *Standing) { s.Until-- }},
	} {
		if c.edge != nil {
			s := w.standing()
			c.edge(&s)
			w.accept(t, "control: the edge of "+c.field, w.under(t, s, w.grant()))
		}
		s := w.standing()
		c.wider(&s)
		w.refuse(t, "wider in "+c.field, w.under(t, s, w.grant()), ErrChain, "consent: the grant is wider: it")
		w.refuse(t, "wider in "+c.field, w.under(t, s, w.grant()), ErrChain, c.rule)
		g := w.grant()
		if err := s.Covers(&g); err == nil || !strings.Contains(err.Error(), c.rule) {
			t.Errorf("%s: %v", c.field, err)
		}
	}
	// Caveats that the consent does not have may be in the grant.
	s := w.standing()
	s.Purposes, s.Regions, s.Attestation, s.MaxClass = nil, nil, nil, 255
	w.accept(t, "control: a consent without caveats", w.under(t, s, w.grant()))
	g := w.grant()
	g.Caveats.Purposes = nil
	w.refuse(t, "a grant without the consent's purposes", w.under(t, w.standing(), g), ErrChain, "its purposes")
}

// A lifetime that overflows is not a short one.
func TestALifetimeThatOverflows(t *testing.T) {
	w := newWorld(t)
	s := w.standing()
	s.Until = math.MaxInt64
	for _, c := range []struct{ from, to int64 }{
		{math.MinInt64, math.MaxInt64}, {math.MinInt64, w.now.Unix() + 60}, {-1, math.MaxInt64}, {math.MinInt64, 0},
	} {
		g := w.grant()
		g.Caveats.NotBefore, g.Caveats.Expires = c.from, c.to
		if err := s.Covers(&g); err == nil || !strings.Contains(err.Error(), "its lifetime") {
			t.Errorf("from %d to %d: %v", c.from, c.to, err)
		}
	}
}

// CA-01: nobody but the owner consents, to nothing but what the grant names, and
// with nothing but a standing consent.
func TestForgedStandingConsents(t *testing.T) {
	w := newWorld(t)
	body := w.standing()
	for _, c := range []struct {
		name, rule string
		forge      func(c *Chain, g Grant)
	}{
		{"nobody signed", "signatures do not verify", func(c *Chain, _ Grant) { c.Consent = unsigned(t, KindStanding, body).Bytes() }},
		{"the audience signed", "signatures do not verify", func(c *Chain, _ Grant) { c.Consent = w.reader.Sign(t, KindStanding, body).Bytes() }},
		{"a validator signed", "signatures do not verify", func(c *Chain, _ Grant) { c.Consent = w.net.People[0].Sign(t, KindStanding, body).Bytes() }},
		{"there is none", "it is missing", func(c *Chain, _ Grant) { c.Consent = nil }},
		{"it is another one", "rests on another", func(c *Chain, _ Grant) {
			wider := body
			wider.Nonce[0]++
			c.Consent = w.owner.Sign(t, KindStanding, wider).Bytes()
		}},
		{"it is an exact one", "rests on another", func(c *Chain, _ Grant) {
			c.Consent = w.owner.Sign(t, KindConsent, Consent{Network: w.net.Network(), Grant: statement.ID(idOf(t, c.Grant))}).Bytes()
		}},
		{"the owner signed the same as something else", "another kind", func(c *Chain, g Grant) {
			as := w.owner.Sign(t, KindConsent, body)
			id := as.ID()
			g.Consent = id[:]
			c.Grant, c.Consent = w.net.Sign(unsigned(t, KindGrant, g), w.net.Quorum()...).Bytes(), as.Bytes()
		}},
		{"it is the grant of another time", "another kind", func(c *Chain, g Grant) {
			earlier := w.root(t, w.grant())
			g.Consent = idOf(t, earlier.Grant)
			c.Grant, c.Consent = w.net.Sign(unsigned(t, KindGrant, g), w.net.Quorum()...).Bytes(), earlier.Grant
		}},
	} {
		chain := w.under(t, body, w.grant())
		w.accept(t, "control: "+c.name, chain)
		c.forge(chain, w.grant())
		w.refuse(t, c.name, chain, ErrChain, "consent: ")
		w.refuse(t, c.name, chain, ErrChain, c.rule)
	}
	// The other way round: a grant that names none does not rest on one.
	exact := w.root(t, w.grant())
	exact.Consent = w.owner.Sign(t, KindStanding, body).Bytes()
	w.refuse(t, "a standing consent beside a grant that names none", exact, ErrChain, statement.ErrKind.Error())
	// And K validators are needed all the same.
	few := w.under(t, body, w.grant())
	s, err := statement.Parse(few.Grant)
	if err != nil {
		t.Fatal(err)
	}
	s.Prune("none", nil)
	few.Grant = w.net.Sign(s, 0, 1).Bytes()
	w.refuse(t, "k-1 signed", few, ErrChain, "3 validators")
}

// Who revokes a standing consent stops every grant and link below it, and the
// owner alone may.
func TestRevokingAStandingConsent(t *testing.T) {
	w := newWorld(t)
	one, other := w.grant(), w.grant()
	other.Nonce[7]++
	chains := []*Chain{w.under(t, w.standing(), one), w.under(t, w.standing(), other)}
	another := w.standing()
	another.Nonce[7]++
	apart := w.under(t, another, one)
	v := w.accept(t, "before", chains[0])
	for _, p := range []*trusttest.Person{w.reader, w.stranger, w.net.People[0], w.net.People[1], w.net.People[2]} {
		w.revoke(t, p, v.Consent())
	}
	for _, c := range chains {
		w.accept(t, "after others revoked it", c)
	}
	if !v.MayRevoke(w.owner.ID(), v.Consent()) || v.MayRevoke(w.reader.ID(), v.Consent()) {
		t.Error("somebody else than the owner may revoke it")
	}
	w.revoke(t, w.owner, v.Consent())
	for _, c := range chains {
		w.refuse(t, "after the owner revoked it", c, ErrRevoked, "")
	}
	if err := w.vf.Live(v); !errors.Is(err, ErrRevoked) {
		t.Errorf("in use: %v", err)
	}
	w.accept(t, "control: under another consent", apart)
	w.accept(t, "control: with an exact consent", w.root(t, one))
}

// What the memory holds of one consent does not pass another.
func TestStandingConsentsInTheMemory(t *testing.T) {
	w := newWorld(t)
	good := w.under(t, w.standing(), w.grant())
	if _, err := w.vf.Verify(good); err != nil {
		t.Fatal(err)
	}
	swapped := *good
	swapped.Consent = unsigned(t, KindStanding, w.standing()).Bytes() // the same id, not signed
	w.refuse(t, "a known grant with an unsigned consent", &swapped, ErrChain, "consent: "+statement.ErrSignature.Error())
	swapped.Consent = w.stranger.Sign(t, KindStanding, w.standing()).Bytes()
	w.refuse(t, "a known grant with a stranger's consent", &swapped, ErrChain, "consent: "+statement.ErrSignature.Error())
	if _, err := w.vf.Verify(good); err != nil {
		t.Errorf("control: %v", err)
	}
}

// What a validator asks before it signs.
func TestConsented(t *testing.T) {
	w := newWorld(t)
	ask := func(c *Chain, owner *identity.Identity) (*Standing, error) {
		s, err := statement.Parse(c.Grant)
		if err != nil {
			t.Fatal(err)
		}
		var g Grant
		if err := s.Peek(KindGrant, &g); err != nil {
			t.Fatal(err)
		}
		return w.vf.Consented(s.ID(), &g, c.Consent, owner)
	}
	role := w.standing()
	role.Audience, role.Role = nil, "physician"
	exact, standing := w.root(t, w.grant()), w.under(t, role, w.grant())
	if s, err := ask(exact, w.owner.Identity); err != nil || s != nil {
		t.Errorf("exact: %v, %v", s, err)
	}
	if s, err := ask(standing, w.owner.Identity); err != nil || s == nil || s.Role != "physician" {
		t.Errorf("standing: %v, %v", s, err)
	}
	_, err := ask(exact, w.stranger.Identity)
	wantError(t, "as another owner", err, ErrChain, "another owner's")
	forged := *standing
	forged.Consent = w.reader.Sign(t, KindStanding, role).Bytes()
	_, err = ask(&forged, w.owner.Identity)
	wantError(t, "forged", err, ErrChain, statement.ErrSignature.Error())
	role.Depth = 1
	_, err = ask(w.under(t, role, w.grant()), w.owner.Identity)
	wantError(t, "narrower than the grant", err, ErrChain, "its depth")
	w.revoke(t, w.owner, statement.ID(idOf(t, standing.Consent)))
	_, err = ask(standing, w.owner.Identity)
	wantError(t, "revoked", err, ErrRevoked, "")
}
