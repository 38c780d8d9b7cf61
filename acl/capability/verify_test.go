package capability

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestAGrantAndItsLink(t *testing.T) {
	w := newWorld(t)
	root := w.accept(t, "grant", w.root(t, w.grant()))
	c := w.honest(t)
	v := w.accept(t, "link", c)
	leaf, err := c.Leaf()
	if err != nil || v.Leaf() != leaf || !slices.Equal(v.Path(), []statement.ID{root.Leaf(), leaf}) {
		t.Errorf("the path is %v, the leaf %v, %v", v.Path(), leaf, err)
	}
	if v.Owner().ID() != w.owner.ID() || v.Audience().ID() != w.friend.ID() || root.Audience().ID() != w.reader.ID() {
		t.Error("owner or audience is somebody else")
	}
	if g := v.Grant(); g.Audience != w.friend.ID() || len(v.Grants()) != 2 || v.Grants()[0].Audience != w.reader.ID() {
		t.Error("the bodies are others")
	}
	if v.Chain() != c || v.Consent() != statement.ID(idOf(t, c.Consent)) {
		t.Error("the chain or its consent is another")
	}
	travelled, err := ParseChain(c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	w.accept(t, "after travelling", travelled)
}

// CA-01. What validators signed counts only with the owner's exact consent, and
// the owner's consent only with k validators.
func TestForgedGrants(t *testing.T) {
	w := newWorld(t)
	g := w.grant()
	other := trusttest.New(t, "other", 4)
	evil := trusttest.Key("evil")
	const consent, network = "consent: ", "another network"
	for _, c := range []struct {
		name, rule string
		forge      func(c *Chain, s *statement.Statement)
	}{
		{"nobody signed", "3 validators", func(*Chain, *statement.Statement) {}},
		{"k-1 signed", "3 validators", func(_ *Chain, s *statement.Statement) { w.net.Sign(s, 0, 1) }},
		{"one signed as two", "3 validators", func(_ *Chain, s *statement.Statement) { w.net.Sign(s, 0, 1).AddSignature(2, w.net.Signing[0]) }},
		{"an unknown one signed", "3 validators", func(_ *Chain, s *statement.Statement) { w.net.Sign(s, 0, 1).AddSignature(4, evil) }},
		{"a stranger signed as a validator", "3 validators", func(_ *Chain, s *statement.Statement) { w.net.Sign(s, 0, 1).AddSignature(2, evil) }},
		{"the validators of another network signed", "3 validators", func(_ *Chain, s *statement.Statement) { other.Sign(s, 0, 1, 2, 3) }},
		{"there is no consent", consent + "it is missing", func(c *Chain, s *statement.Statement) { w.net.Sign(s, 0, 1, 2); c.Consent = nil }},
		{"nobody signed the consent", consent, func(c *Chain, s *statement.Statement) {
			w.net.Sign(s, 0, 1, 2)
			c.Consent = unsigned(t, KindConsent, Consent{Network: w.net.Network(), Grant: s.ID()}).Bytes()
		}},
		{"the audience consents", consent, func(c *Chain, s *statement.Statement) {
			w.net.Sign(s, 0, 1, 2)
			c.Consent = w.reader.Sign(t, KindConsent, Consent{Network: w.net.Network(), Grant: s.ID()}).Bytes()
		}},
		{"a validator consents", consent, func(c *Chain, s *statement.Statement) {
			w.net.Sign(s, 0, 1, 2)
			c.Consent = w.net.People[0].Sign(t, KindConsent, Consent{Network: w.net.Network(), Grant: s.ID()}).Bytes()
		}},
		{"the consent is to another grant", consent + "it is to another grant", func(c *Chain, s *statement.Statement) {
			w.net.Sign(s, 0, 1, 2)
			another := w.grant()
			another.Nonce[0]++
			c.Consent = w.root(t, another).Consent
		}},
		{"the consent is for another network", consent + "it is to another grant", func(c *Chain, s *statement.Statement) {
			w.net.Sign(s, 0, 1, 2)
			c.Consent = w.owner.Sign(t, KindConsent, Consent{Network: other.Network(), Grant: s.ID()}).Bytes()
		}},
		{"the owner signed the same as something else", consent, func(c *Chain, s *statement.Statement) {
			w.net.Sign(s, 0, 1, 2)
			c.Consent = w.owner.Sign(t, KindLink, Consent{Network: w.net.Network(), Grant: s.ID()}).Bytes()
		}},
	} {
		chain, s := w.root(t, g), unsigned(t, KindGrant, g)
		c.forge(chain, s)
		chain.Grant = s.Bytes()
		w.refuse(t, c.name, chain, ErrChain, c.rule)
		if strings.HasPrefix(c.rule, consent) { // all else is right: the owner's word alone is missing
			chain.Consent = w.root(t, g).Consent
			w.accept(t, "control: "+c.name+", but the owner does consent", chain)
		}
	}
	for name, c := range map[string]struct {
		rule   string
		change func(g *Grant)
	}{
		"another network":          {network, func(g *Grant) { g.Network = other.Network() }},
		"another committee record": {"is not known here", func(g *Grant) { g.Record = other.ID() }},
		"a parent":                 {"it has a parent", func(g *Grant) { g.Parent = make([]byte, 32) }},
	} {
		g := w.grant()
		c.change(&g)
		w.refuse(t, name, w.root(t, g), ErrChain, c.rule)
	}
	// As the very chain of the other network, with all its signatures.
	g.Network, g.Record = other.Network(), other.ID()
	s := other.Sign(unsigned(t, KindGrant, g), 0, 1, 2)
	foreign := &Chain{
		Grant: s.Bytes(), Identities: w.root(t, w.grant()).Identities,
		Consent: w.owner.Sign(t, KindConsent, Consent{Network: other.Network(), Grant: s.ID()}).Bytes(),
	}
	w.refuse(t, "another network's chain", foreign, ErrChain, network)
	if _, err := (&Verifier{Trust: trust.Fixed(other.Committee), Revocations: w.set, Now: w.vf.Now}).Verify(foreign); err != nil {
		t.Errorf("control: at home it holds: %v", err)
	}
}

// Junk behind the k-th signature neither helps nor hurts, nor changes the id.
func TestSurplusSignatures(t *testing.T) {
	w := newWorld(t)
	c := w.root(t, w.grant())
	before := w.accept(t, "k signatures", c).Leaf()
	s, err := statement.Parse(c.Grant)
	if err != nil {
		t.Fatal(err)
	}
	s.AddSignature(3, trusttest.Key("junk"))
	c.Grant = s.Bytes()
	if w.accept(t, "with junk", c).Leaf() != before {
		t.Error("junk changed the id, so that a revocation would not find it")
	}
	s.AddSignature(4, trusttest.Key("junk"))
	c.Grant = s.Bytes()
	w.refuse(t, "more signatures than validators", c, ErrChain, "3 validators")
}

// CA-11: nothing that was signed as one kind of statement stands for another.
func TestKindsAreNotExchanged(t *testing.T) {
	w := newWorld(t)
	quorum := w.net.Quorum()
	asLink := w.honest(t)
	asLink.Grant = w.net.Sign(unsigned(t, KindLink, w.grant()), quorum...).Bytes()
	w.refuse(t, "a link as the grant", asLink, ErrChain, statement.ErrKind.Error())
	asGrant := w.honest(t)
	l := w.link(w.grant())
	l.Parent = idOf(t, asGrant.Grant)
	asGrant.Links[0] = w.reader.Sign(t, KindGrant, l).Bytes()
	w.refuse(t, "a grant as the link", asGrant, ErrChain, statement.ErrKind.Error())
	rootAgain := w.honest(t)
	rootAgain.Links[0] = rootAgain.Grant
	w.refuse(t, "the root as its own link", rootAgain, ErrChain, statement.ErrKind.Error())
	record := w.honest(t)
	record.Identities[0] = w.owner.Sign(t, KindGrant, w.grant()).Bytes()
	w.refuse(t, "a grant as an identity document", record, ErrChain, "identity document")
}

func TestIdentityRecords(t *testing.T) {
	w := newWorld(t)
	unsignedRecord := func(p *trusttest.Person) []byte {
		return bareDocument(t, p)
	}
	for _, c := range []struct {
		name, rule string
		change     func(c *Chain)
	}{
		{"without the owner's", "owner's identity document is missing", func(c *Chain) { c.Identities = c.Identities[1:] }},
		{"without the issuer's", "audience's identity document is missing", func(c *Chain) { c.Identities = slices.Delete(c.Identities, 1, 2) }},
		{"without the audience's", "audience's identity document is missing", func(c *Chain) { c.Identities = c.Identities[:2] }},
		{"with one twice", "stands twice", func(c *Chain) { c.Identities[2] = c.Identities[1] }},
		{"with a stranger's instead", "neither the owner's nor", func(c *Chain) { c.Identities[2] = w.stranger.Record() }},
		{"with one more", "neither the owner's nor", func(c *Chain) { c.Identities = append(c.Identities, w.stranger.Record()) }},
		{"with junk", "identity document", func(c *Chain) { c.Identities[0] = []byte("junk") }},
		{"with an endless one", "more than 32768 bytes", func(c *Chain) { c.Identities[0] = make([]byte, identity.MaxDocument+1) }},
		{"with an owner's that nobody signed", "not a valid identity record", func(c *Chain) { c.Identities[0] = unsignedRecord(w.owner) }},
		{"with an issuer's that nobody signed", "not a valid identity record", func(c *Chain) { c.Identities[1] = unsignedRecord(w.reader) }},
		{"with an audience's that nobody signed", "not a valid identity record", func(c *Chain) { c.Identities[2] = unsignedRecord(w.friend) }},
	} {
		chain := w.honest(t)
		c.change(chain)
		w.refuse(t, c.name, chain, ErrChain, c.rule)
	}
	surplus := w.root(t, w.grant())
	surplus.Identities = append(surplus.Identities, w.stranger.Record())
	w.refuse(t, "a grant with a third record", surplus, ErrChain, "neither the owner's nor")
	reordered := w.honest(t)
	slices.Reverse(reordered.Identities)
	w.accept(t, "in another order", reordered)
}

// The kind of subject binds policy, and an enclave's grant binds evidence: no
// link may lead out of an enclave.
func TestSubjects(t *testing.T) {
	w := newWorld(t)
	g := w.grant()
	g.Subject = uint8(identity.User)
	w.refuse(t, "an agent's grant for a user", w.root(t, g), ErrChain, "subject kind is not its audience's")
	l := w.link(w.grant())
	w.refuse(t, "a link below an agent's grant for a user", w.chain(t, g, l), ErrChain, "subject kind is not its audience's")
	l.Subject = uint8(identity.Agent)
	w.refuse(t, "a service's link for an agent", w.chain(t, w.grant(), l), ErrChain, "subject kind is not its audience's")
	g.Subject = SubjectEnclave
	w.accept(t, "control: an enclave's grant", w.root(t, g))
	w.refuse(t, "a link that leads out of an enclave", w.chain(t, g, w.link(g)), ErrChain, "its parent is for an enclave")
	l = w.link(g)
	l.Subject = SubjectEnclave
	w.accept(t, "control: a link from enclave to enclave", w.chain(t, g, l))
}

// CA-05: a long chain costs its sender more than its reader. What is refused
// here is wrong in everything, so that the rule in the error shows which check
// came first: none that takes a signature.
func TestLongChainsAreRefusedByCounting(t *testing.T) {
	w := newWorld(t)
	junk := &Chain{Grant: []byte("junk"), Consent: []byte("junk")}
	for range 1000 {
		junk.Links = append(junk.Links, []byte("junk"))
	}
	w.refuse(t, "1,000 links", junk, ErrChain, "at most 7 links")
	_, err := ParseChain(junk.Bytes())
	wantError(t, "1,000 links, encoded", err, ErrChain, "at most 7 links")
	junk.Links = nil
	for range maxIdentities + 1 {
		junk.Identities = append(junk.Identities, []byte("junk"))
	}
	w.refuse(t, "ten identities", junk, ErrChain, "at most 7 links")
	_, err = ParseChain(junk.Bytes())
	wantError(t, "ten identities, encoded", err, ErrChain, "at most 7 links")

	_, err = ParseChain(bytes.Repeat([]byte{0xff}, MaxChain+1)) // does not even decode
	wantError(t, "more than a chain has", err, ErrChain, "at most 344064 bytes")
	_, err = ParseChain(bytes.Repeat([]byte{0xff}, MaxChain))
	wantError(t, "control: as much junk", err, ErrChain, "does not decode")
	if _, err := (&Chain{Grant: []byte("junk")}).Leaf(); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("the leaf of junk: %v", err)
	}
}

// Time, narrowing and revocation are judged before any signature: nobody has
// signed these chains.
func TestCheapChecksComeFirst(t *testing.T) {
	w := newWorld(t)
	bare := func(g, l Grant) *Chain {
		root := unsigned(t, KindGrant, g)
		id := root.ID()
		l.Parent = id[:]
		c := &Chain{
			Grant: root.Bytes(), Links: [][]byte{unsigned(t, KindLink, l).Bytes()},
			Consent: unsigned(t, KindConsent, Consent{Network: w.net.Network(), Grant: id}).Bytes(),
		}
		for _, p := range []*trusttest.Person{w.owner, w.reader, w.friend} {
			c.Identities = append(c.Identities, bareDocument(t, p))
		}
		return c
	}
	g := w.grant()
	w.refuse(t, "control: in force", bare(g, w.link(g)), ErrChain, "3 validators")
	l := w.link(g)
	l.Caveats.Expires++
	w.refuse(t, "a wider link", bare(g, l), ErrChain, "its time is not within")
	old := w.grant()
	old.Caveats.Expires = w.now.Unix()
	w.refuse(t, "an expired grant", bare(old, w.link(old)), ErrExpired, "")
	missing := bare(g, w.link(g))
	missing.Identities = missing.Identities[:2]
	w.refuse(t, "a missing record", missing, ErrChain, "missing")
	c := bare(g, w.link(g))
	w.revoke(t, w.reader, statement.ID(idOf(t, c.Links[0])))
	w.refuse(t, "a revoked link", c, ErrRevoked, "")
}

// Every bit of a chain counts: of the statements all, of the long records some.
func TestEveryBitOfAChainCounts(t *testing.T) {
	w := newWorld(t)
	c := w.honest(t)
	w.accept(t, "control", c)
	parts := []*[]byte{&c.Grant, &c.Consent, &c.Links[0], &c.Identities[0], &c.Identities[1], &c.Identities[2]}
	for n, part := range parts {
		step := 1
		if n > 2 {
			step = 23
		}
		for i := 0; i < len(*part); i += step {
			(*part)[i] ^= 1 << (i % 8)
			if _, err := w.vf.Verify(c); err == nil {
				t.Errorf("part %d holds with a bit of byte %d flipped", n, i)
			}
			(*part)[i] ^= 1 << (i % 8)
		}
	}
	w.accept(t, "control, restored", c)
}

// A verifier with a memory answers as fast as it can, but never for somebody who
// only looks like one it knows.
func TestWhatIsRemembered(t *testing.T) {
	w := newWorld(t)
	c := w.honest(t)
	first, err := w.vf.Verify(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.vf.Verify(c)
	if err != nil {
		t.Fatal(err)
	}
	if first.Owner() != again.Owner() || first.Audience() != again.Audience() {
		t.Error("identity records are verified again")
	}
	if len(w.vf.roots.young) != 1 || len(w.vf.links.young) != 1 || len(w.vf.people.young) != 3 {
		t.Errorf("%d roots, %d links and %d people are remembered", len(w.vf.roots.young), len(w.vf.links.young), len(w.vf.people.young))
	}
	stripped := w.honest(t)
	s, err := statement.Parse(stripped.Grant)
	if err != nil {
		t.Fatal(err)
	}
	s.Prune("none", nil)
	stripped.Grant = s.Bytes()
	w.refuse(t, "a known grant without its signatures", stripped, ErrChain, "3 validators")

	// The control: what stands in the memory is not verified again, so that a
	// grant and a link that nobody signed pass where somebody put them there.
	s, err = statement.Parse(stripped.Links[0])
	if err != nil {
		t.Fatal(err)
	}
	s.Prune("none", nil)
	stripped.Links[0] = s.Bytes()
	poisoned := w.verifier()
	owner, reader := statement.Hash("identity document", w.owner.Record()), statement.Hash("identity document", w.reader.Record())
	poisoned.roots.add(statement.Hash("verified root", stripped.Grant, stripped.Consent, owner[:]), true, rememberedRoots)
	if _, err := poisoned.Verify(stripped); !errors.Is(err, statement.ErrSignature) || !strings.Contains(err.Error(), "link") {
		t.Errorf("control: a remembered grant is verified again: %v", err)
	}
	poisoned.links.add(statement.Hash("verified link", stripped.Links[0], reader[:]), true, rememberedLinks)
	if _, err := poisoned.Verify(stripped); err != nil {
		t.Errorf("control: a remembered link is verified again: %v", err)
	}

	// Anybody makes identities. Those of chains that fail leave no trace.
	cold := w.verifier()
	forged := w.root(t, w.grant())
	forged.Consent = w.stranger.Sign(t, KindConsent, Consent{Network: w.net.Network(), Grant: statement.ID(idOf(t, forged.Grant))}).Bytes()
	if _, err := cold.Verify(forged); err == nil {
		t.Fatal("forged")
	}
	if len(cold.roots.young)+len(cold.links.young)+len(cold.people.young) != 0 {
		t.Error("a forged chain fills the memory")
	}
}

// A link that one issuer signed is not another's, though its bytes were seen.
func TestALinkIsRememberedWithItsIssuer(t *testing.T) {
	w := newWorld(t)
	g := w.grant()
	l := w.link(g)
	c := w.chain(t, g, l)
	cl, err := w.vf.read(c)
	if err != nil {
		t.Fatal(err)
	}
	as := func(p *trusttest.Person) *person {
		return &person{p.Identity, statement.Hash("state of " + p.ID().String())}
	}
	if err := w.vf.link(cl, 0, as(w.reader)); err != nil {
		t.Fatal(err)
	}
	if err := w.vf.link(cl, 0, as(w.stranger)); err == nil {
		t.Error("the reader's signature counts as the stranger's")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var r recent[int]
	key := func(i int) statement.ID { return statement.Hash("test", fmt.Append(nil, i)) }
	const limit = 10
	for i := range 1000 {
		r.add(key(i), i, limit)
		if n := len(r.young) + len(r.old); n > 2*limit {
			t.Fatalf("it holds %d", n)
		}
		if v, ok := r.get(key(0), limit); !ok || v != 0 { // in use all the time
			t.Fatalf("after %d others, what is in use is forgotten", i)
		}
	}
	if _, ok := r.get(key(1), limit); ok {
		t.Error("what nobody uses is kept")
	}
	if v, ok := r.get(key(999), limit); !ok || v != 999 {
		t.Error("what was just learned is forgotten")
	}
}

func TestAVerifierServesManyAtOnce(t *testing.T) {
	w := newWorld(t)
	good, bad := w.honest(t), w.honest(t)
	bad.Links[0] = w.stranger.Sign(t, KindLink, w.link(w.grant())).Bytes()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				v, err := w.vf.Verify(good)
				if err != nil || w.vf.Live(v) != nil || v.Owner().Devices()[0] != w.owner.Devices[0].Public() {
					t.Error("good:", err)
				}
				if _, err := w.vf.Verify(bad); err == nil {
					t.Error("bad is taken")
				}
			}
		})
	}
	wg.Wait()
}
