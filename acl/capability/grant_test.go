package capability

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Each body is refused by Check, and again by a verifier although k validators
// and the owner have signed it.
func TestGrantsThatNobodyMayMake(t *testing.T) {
	w := newWorld(t)
	words := func(n int) []string { return slices.Repeat([]string{"word"}, n) }
	for _, c := range []struct {
		name, rule string
		change     func(g *Grant)
	}{
		{"control", "", func(*Grant) {}},
		{"without caveats", "", func(g *Grant) {
			g.Caveats = Caveats{NotBefore: g.Caveats.NotBefore, Expires: g.Caveats.Expires, MaxClass: 255}
		}},
		{"with all that it may have", "", func(g *Grant) {
			g.Depth, g.Abilities = MaxDepth, all&^Write
			g.Caveats.Purposes, g.Caveats.Regions = words(16), []string{strings.Repeat("x", 64)}
			g.Caveats.Attestation = slices.Repeat([][]byte{make([]byte, 64)}, 16)
		}},
		{"no ability", "abilities", func(g *Grant) { g.Abilities = 0 }},
		{"write", "abilities", func(g *Grant) { g.Abilities |= Write }},
		{"an ability that does not exist", "abilities", func(g *Grant) { g.Abilities |= 1 << 8 }},
		{"target 0", "target", func(g *Grant) { g.Target.Kind = 0 }},
		{"target 4", "target", func(g *Grant) { g.Target.Kind = Scope + 1 }},
		{"subject 0", "subject is of an unknown kind", func(g *Grant) { g.Subject = 0 }},
		{"subject 5", "subject is of an unknown kind", func(g *Grant) { g.Subject = SubjectEnclave + 1 }},
		{"a standing consent that is no id", "standing consent is no id", func(g *Grant) { g.Consent = make([]byte, 31) }},
		{"depth 8", "depth is over 7", func(g *Grant) { g.Depth = MaxDepth + 1 }},
		{"delegate without depth", "go together", func(g *Grant) { g.Depth = 0 }},
		{"depth without delegate", "go together", func(g *Grant) { g.Abilities &^= Delegate }},
		{"no expiry", "no expiry", func(g *Grant) { g.Caveats.Expires = 0 }},
		{"an expiry at its beginning", "no expiry", func(g *Grant) { g.Caveats.Expires = g.Caveats.NotBefore }},
		{"17 purposes", "too many", func(g *Grant) { g.Caveats.Purposes = words(17) }},
		{"17 regions", "too many", func(g *Grant) { g.Caveats.Regions = words(17) }},
		{"17 measurements", "too many", func(g *Grant) { g.Caveats.Attestation = slices.Repeat([][]byte{{1}}, 17) }},
		{"an empty purpose", "purpose or region", func(g *Grant) { g.Caveats.Purposes[1] = "" }},
		{"a long purpose", "purpose or region", func(g *Grant) { g.Caveats.Purposes[1] = strings.Repeat("x", 65) }},
		{"a purpose that colours the terminal", "purpose or region", func(g *Grant) { g.Caveats.Purposes[1] = "\x1b[31mred" }},
		{"an empty region", "purpose or region", func(g *Grant) { g.Caveats.Regions[0] = "" }},
		{"a region of two lines", "purpose or region", func(g *Grant) { g.Caveats.Regions[0] = "eu\nus" }},
		{"an empty measurement", "measurement", func(g *Grant) { g.Caveats.Attestation[1] = nil }},
		{"a long measurement", "measurement", func(g *Grant) { g.Caveats.Attestation[1] = make([]byte, 65) }},
	} {
		g := w.grant()
		c.change(&g)
		err := g.Check()
		if c.rule == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			w.accept(t, c.name, w.root(t, g))
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.rule) {
			t.Errorf("%s: %v, want %q", c.name, err, c.rule)
		}
		w.refuse(t, c.name, w.root(t, g), ErrChain, c.rule)
	}
}

// A link is no wider than its parent in any field (CA-04). Each case has an
// edge, the widest that is allowed, which must pass: the refusal is then due to
// that field alone.
func TestALinkIsNoWider(t *testing.T) {
	w := newWorld(t)
	other := trusttest.New(t, "other", 4)
	same := func(*Grant) {}
	for _, c := range []struct {
		field, rule string
		edge, wider func(g *Grant)
	}{
		{"network", "leaves the network", same, func(g *Grant) { g.Network = other.Network() }},
		{"record", "leaves the network", same, func(g *Grant) { g.Record = other.ID() }},
		{"owner", "leaves the network", same, func(g *Grant) { g.Owner = w.reader.ID() }},
		{"target", "target is not its parent's", same, func(g *Grant) { g.Target.Ref[0]++ }},
		{"kind of target", "target is not its parent's", same, func(g *Grant) { g.Target.Kind = Scope }},
		{"abilities", "abilities that its parent lacks", func(g *Grant) { g.Abilities |= Carry }, func(g *Grant) { g.Abilities |= Audit }},
		{"another ability", "abilities that its parent lacks", func(g *Grant) { g.Abilities = Carry }, func(g *Grant) { g.Abilities = Infer }},
		{"depth", "depth is not smaller",
			func(g *Grant) { g.Abilities |= Delegate; g.Depth = 1 }, func(g *Grant) { g.Abilities |= Delegate; g.Depth = 2 }},
		{"more depth", "depth is not smaller",
			func(g *Grant) { g.Abilities |= Delegate; g.Depth = 1 }, func(g *Grant) { g.Abilities |= Delegate; g.Depth = 3 }},
		{"beginning", "time is not within", func(g *Grant) { g.Caveats.NotBefore++ }, func(g *Grant) { g.Caveats.NotBefore-- }},
		{"end", "time is not within", func(g *Grant) { g.Caveats.Expires-- }, func(g *Grant) { g.Caveats.Expires++ }},
		{"classification", "classification is above", func(g *Grant) { g.Caveats.MaxClass-- }, func(g *Grant) { g.Caveats.MaxClass++ }},
		{"any classification", "classification is above", func(g *Grant) { g.Caveats.MaxClass = 0 }, func(g *Grant) { g.Caveats.MaxClass = 255 }},
		{"purposes", "purposes are wider",
			func(g *Grant) { g.Caveats.Purposes = g.Caveats.Purposes[:1] }, func(g *Grant) { g.Caveats.Purposes = append(g.Caveats.Purposes, "sale") }},
		{"any purpose", "purposes are wider",
			func(g *Grant) { g.Caveats.Purposes = g.Caveats.Purposes[1:] }, func(g *Grant) { g.Caveats.Purposes = nil }},
		{"another purpose", "purposes are wider", same, func(g *Grant) { g.Caveats.Purposes = []string{"sale"} }},
		{"regions", "regions are wider",
			func(g *Grant) { g.Caveats.Regions = g.Caveats.Regions[:1] }, func(g *Grant) { g.Caveats.Regions = append(g.Caveats.Regions, "us") }},
		{"any region", "regions are wider",
			func(g *Grant) { g.Caveats.Regions = g.Caveats.Regions[1:] }, func(g *Grant) { g.Caveats.Regions = nil }},
		{"measurements", "measurements are wider", func(g *Grant) { g.Caveats.Attestation = g.Caveats.Attestation[:1] },
			func(g *Grant) { g.Caveats.Attestation = append(g.Caveats.Attestation, []byte{5}) }},
		{"no attestation", "measurements are wider",
			func(g *Grant) { g.Caveats.Attestation = g.Caveats.Attestation[1:] }, func(g *Grant) { g.Caveats.Attestation = nil }},
		{"a part of a measurement", "measurements are wider", same, func(g *Grant) { g.Caveats.Attestation = [][]byte{{1}} }},
	} {
		l := w.link(w.grant())
		c.edge(&l)
		w.accept(t, "control: the edge of "+c.field, w.chain(t, w.grant(), l))
		l = w.link(w.grant())
		c.wider(&l)
		w.refuse(t, "wider in "+c.field, w.chain(t, w.grant(), l), ErrChain, "link: it")
		w.refuse(t, "wider in "+c.field, w.chain(t, w.grant(), l), ErrChain, c.rule)
	}
	g := w.grant()
	g.Caveats.Offline = false
	l := w.link(g)
	w.accept(t, "control: online below online", w.chain(t, g, l))
	l.Caveats.Offline = true
	w.refuse(t, "wider in offline use", w.chain(t, g, l), ErrChain, "offline use")
	l = w.link(w.grant())
	l.Caveats.Offline = false
	w.accept(t, "control: online below offline", w.chain(t, w.grant(), l))
	g = w.grant()
	g.Abilities, g.Depth = Read, 0
	w.refuse(t, "below what may not be delegated", w.chain(t, g, w.link(g)), ErrChain, "may not be delegated")
}

// Narrowing means: whatever the child allows, its parent allows. Random grants
// in a small world, where everything that one can ask can be tried.
func TestNarrowingIsASubset(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) (out []string) {
		for _, w := range words {
			if r.IntN(2) == 0 {
				out = append(out, w)
			}
		}
		return out
	}
	random := func() *Grant {
		g := &Grant{Subject: uint8(1 + r.IntN(4)), Abilities: Abilities(r.IntN(all + 1)), Depth: uint8(r.IntN(3))}
		g.Owner[0], g.Target.Kind = byte(r.IntN(20)/19), Lineage
		g.Caveats = Caveats{
			Purposes: pick("a", "b"), Regions: pick("x", "y"), NotBefore: int64(r.IntN(3)), Expires: int64(3 + r.IntN(3)),
			MaxClass: uint8(r.IntN(3)), Offline: r.IntN(2) == 0,
		}
		for _, m := range pick("1", "2") {
			g.Caveats.Attestation = append(g.Caveats.Attestation, []byte(m))
		}
		return g
	}
	in := func(list []string, w string) bool { return len(list) == 0 || slices.Contains(list, w) }
	inBytes := func(list [][]byte, w string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(b []byte) bool { return string(b) == w })
	}
	type ask struct {
		ability  Abilities
		purpose  string
		region   string
		measure  string
		at       int64
		class    uint8
		offline  bool
		ordinary bool // by no enclave
	}
	allows := func(g *Grant, q ask) bool {
		c := g.Caveats
		return q.ability&^g.Abilities.Implied() == 0 && in(c.Purposes, q.purpose) && in(c.Regions, q.region) && inBytes(c.Attestation, q.measure) &&
			q.at >= c.NotBefore && q.at < c.Expires && q.class <= c.MaxClass && (!q.offline || c.Offline) && (!q.ordinary || g.Subject != SubjectEnclave)
	}
	within := 0
	for range 60_000 {
		child, parent := random(), random()
		if child.Within(parent) != nil {
			continue
		}
		within++
		for range 200 {
			q := ask{
				1 << r.IntN(8), []string{"a", "b", ""}[r.IntN(3)], []string{"x", "y", ""}[r.IntN(3)], []string{"1", "2", ""}[r.IntN(3)],
				int64(r.IntN(7)), uint8(r.IntN(4)), r.IntN(2) == 0, r.IntN(2) == 0,
			}
			if allows(child, q) && !allows(parent, q) {
				t.Fatalf("%+v allows %+v, its parent %+v does not", child, q, parent)
			}
		}
	}
	if within < 20 {
		t.Errorf("control: only %d children are within their parents", within)
	}
}

// CA-04 and CA-05: links count in their place alone.
func TestLinksOutOfPlace(t *testing.T) {
	w := newWorld(t)
	root := w.grant()
	first := w.link(root)
	first.Abilities, first.Depth = first.Abilities|Delegate, 1
	second := w.link(first)
	second.Nonce[0]++

	c := w.root(t, root)
	rootID := idOf(t, c.Grant)
	sign := func(p *trusttest.Person, parent []byte, g Grant) []byte {
		g.Parent = parent
		return p.Sign(t, KindLink, g).Bytes()
	}
	one := sign(w.reader, rootID, first)
	two := sign(w.friend, idOf(t, one), second)
	with := func(links ...[]byte) *Chain {
		return &Chain{Grant: c.Grant, Consent: c.Consent, Links: links, Identities: append(slices.Clone(c.Identities), w.friend.Record())}
	}
	w.accept(t, "control: both in order", with(one, two))
	w.accept(t, "control: the first alone", with(one))
	const parent = "link: its parent is another statement"
	for _, bad := range []struct {
		name  string
		links [][]byte
	}{
		{"the first dropped", [][]byte{two}},
		{"reordered", [][]byte{two, one}},
		{"the first twice", [][]byte{one, one}},
		{"in a loop", [][]byte{one, two, one}},
		{"the last twice", [][]byte{one, two, two}},
		{"without a parent", [][]byte{sign(w.reader, nil, first)}},
		{"with half a parent", [][]byte{sign(w.reader, rootID[:16], first)}},
		{"below the consent", [][]byte{sign(w.reader, idOf(t, c.Consent), first)}},
	} {
		w.refuse(t, bad.name, with(bad.links...), ErrChain, parent)
	}
	other := w.grant()
	other.Nonce[1] = 77
	chain := w.honest(t)
	chain.Links[0] = w.chain(t, other, w.link(other)).Links[0]
	w.refuse(t, "a link below another grant", chain, ErrChain, parent)
}

// What no grant may be, no link may be either, though it is within its parent.
func TestLinksThatNobodyMayMake(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		rule   string
		change func(l *Grant)
	}{
		"on a standing consent":      {"names a standing consent", func(l *Grant) { l.Consent = make([]byte, 32) }},
		"on half a standing consent": {"standing consent is no id", func(l *Grant) { l.Consent = make([]byte, 16) }},
		"with depth and no delegate": {"go together", func(l *Grant) { l.Depth = 1 }},
		"with delegate and no depth": {"go together", func(l *Grant) { l.Abilities |= Delegate }},
		"without ability":            {"abilities", func(l *Grant) { l.Abilities = 0 }},
		"without a time":             {"no expiry", func(l *Grant) { l.Caveats.NotBefore = l.Caveats.Expires }},
		"for nobody":                 {"subject is of an unknown kind", func(l *Grant) { l.Subject = 0 }},
		"with 17 purposes":           {"too many", func(l *Grant) { l.Caveats.Purposes = slices.Repeat(l.Caveats.Purposes[:1], 17) }},
	} {
		l := w.link(w.grant())
		c.change(&l)
		w.refuse(t, "a link "+name, w.chain(t, w.grant(), l), ErrChain, c.rule)
	}
}

func TestOnlyTheParentsAudienceDelegates(t *testing.T) {
	w := newWorld(t)
	for name, p := range map[string]*trusttest.Person{
		"the owner": w.owner, "the link's own audience": w.friend, "a stranger": w.stranger, "a validator": w.net.People[0],
	} {
		c := w.honest(t)
		l := w.link(w.grant())
		l.Parent = idOf(t, c.Grant)
		c.Links[0] = p.Sign(t, KindLink, l).Bytes()
		w.refuse(t, name, c, ErrChain, "link: "+statement.ErrSignature.Error())
	}
	for _, device := range w.reader.Devices { // any device of the audience may
		c := w.honest(t)
		l := w.link(w.grant())
		l.Parent = idOf(t, c.Grant)
		s := unsigned(t, KindLink, l)
		index, _ := w.reader.DeviceIndex(device.Public())
		s.AddSignature(index, device)
		c.Links[0] = s.Bytes()
		w.accept(t, "control: a device of the audience", c)
	}
}
