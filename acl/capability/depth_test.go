package capability

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// A chain has up to eight statements. Each of its audiences may use its part, and
// whatever stands above a statement may stop it.
func TestChainsOfEight(t *testing.T) {
	w := newWorld(t)
	for links := range MaxLinks + 1 {
		c := w.long(t, links)
		v := w.accept(t, fmt.Sprint(links, " links"), c)
		if len(v.Path()) != links+1 || int(v.Grant().Depth) != MaxDepth-links {
			t.Errorf("%d links: a path of %d, depth %d", links, len(v.Path()), v.Grant().Depth)
		}
		travelled, err := ParseChain(c.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		w.accept(t, fmt.Sprint(links, " links after travelling"), travelled)
	}
	c := w.long(t, MaxLinks)
	v := w.accept(t, "eight statements", c)
	for i := range c.Links { // the third may stop the fifth, not the other way round
		above, below := w.crowd[:i], w.crowd[i:]
		for _, p := range above {
			if !v.MayRevoke(p.ID(), v.Path()[i+1]) {
				t.Errorf("an issuer above link %d may not revoke it", i+1)
			}
		}
		for _, p := range below {
			if v.MayRevoke(p.ID(), v.Path()[i+1]) {
				t.Errorf("an audience below link %d may revoke it", i+1)
			}
		}
	}
	w.revoke(t, w.crowd[2], v.Path()[2]) // its own: no effect
	w.accept(t, "after a link's audience revoked it", c)
	w.revoke(t, w.crowd[2], v.Path()[5])
	w.refuse(t, "after an issuer three above revoked", c, ErrRevoked, "")
	w.accept(t, "control: above that", w.long(t, 4))
}

// The ninth statement is one too many, whoever signs it.
func TestANinthStatement(t *testing.T) {
	w := newWorld(t)
	c := w.long(t, MaxLinks)
	last := w.delegates(t, MaxLinks)[MaxLinks-1]
	g := w.grant()
	g.Parent, g.Audience, g.Subject, g.Abilities, g.Depth = idOf(t, c.Links[MaxLinks-1]), last.ID(), uint8(identity.User), Read, 0
	c.Links = append(c.Links, last.Sign(t, KindLink, g).Bytes())
	w.refuse(t, "nine statements", c, ErrChain, "at most 7 links")
	_, err := ParseChain(c.Bytes())
	wantError(t, "nine statements, encoded", err, ErrChain, "at most 7 links")
	// Were links not counted, the depth would still end: each one's is smaller.
	c.Links = c.Links[:MaxLinks]
	g.Parent, g.Abilities = idOf(t, c.Links[MaxLinks-2]), Read|Delegate
	for _, depth := range []uint8{1, 2, MaxDepth} {
		g.Depth = depth
		c.Links[MaxLinks-1] = w.crowd[MaxLinks-2].Sign(t, KindLink, g).Bytes()
		w.refuse(t, fmt.Sprint("depth ", depth, " at the end"), c, ErrChain, "its depth is not smaller")
	}
}

// A statement of a long chain that is taken out, moved or taken from another one
// breaks it, wherever it stood.
func TestLongChainsTakenApart(t *testing.T) {
	w := newWorld(t)
	honest := w.long(t, MaxLinks)
	w.accept(t, "control", honest)
	other := w.grant()
	other.Nonce[5], other.Depth = 1, MaxDepth
	foreign := w.root(t, other)
	for i := range honest.Links {
		with := func(links [][]byte) *Chain {
			return &Chain{Grant: honest.Grant, Consent: honest.Consent, Links: links, Identities: honest.Identities}
		}
		if i < MaxLinks-1 { // what follows the last is no link of this chain
			w.refuse(t, fmt.Sprint("without link ", i+1), with(slices.Delete(slices.Clone(honest.Links), i, i+1)), ErrChain, "its parent is another statement")
			swapped := slices.Clone(honest.Links)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			w.refuse(t, fmt.Sprint("with link ", i+1, " after the next"), with(swapped), ErrChain, "its parent is another statement")
			twice := slices.Insert(slices.Clone(honest.Links), i, honest.Links[i])[:MaxLinks]
			w.refuse(t, fmt.Sprint("with link ", i+1, " twice"), with(twice), ErrChain, "its parent is another statement")
		}
	}
	moved := &Chain{Grant: foreign.Grant, Consent: foreign.Consent, Links: honest.Links, Identities: honest.Identities}
	w.refuse(t, "below another grant", moved, ErrChain, "its parent is another statement")
}

// A right that comes back to who gave it is no loop: it only gets narrower.
func TestARightThatComesBack(t *testing.T) {
	w := newWorld(t)
	g := w.grant()
	first := w.link(g)
	first.Abilities, first.Depth = first.Abilities|Delegate, 1
	c := w.chain(t, g, first)
	back := w.link(first)
	back.Parent, back.Audience, back.Subject = idOf(t, c.Links[0]), w.reader.ID(), uint8(identity.Agent)
	c.Links = append(c.Links, w.friend.Sign(t, KindLink, back).Bytes())
	v := w.accept(t, "back to the reader", c)
	if v.Audience().ID() != w.reader.ID() || v.Grant().Abilities&Delegate != 0 {
		t.Error("it came back as something else")
	}
	c.Identities = append(c.Identities, w.reader.Record())
	w.refuse(t, "with the reader's document twice", c, ErrChain, "stands twice")
}

// hostile are long chains that a stranger can make, each as costly to read as it
// can be: they must be refused before a signature is verified.
func hostile(t testing.TB, w *world) map[string][]byte {
	c := w.long(t, MaxLinks)
	thousand := *c
	for len(thousand.Links) < 1000 {
		thousand.Links = append(thousand.Links, c.Links[len(thousand.Links)%MaxLinks])
	}
	loop := *c
	loop.Links = slices.Repeat(c.Links[:2], 500)
	tiny := &Chain{Grant: c.Grant, Consent: c.Consent, Links: slices.Repeat([][]byte{{0x80}}, 1000), Identities: c.Identities}
	full := *c
	full.Links, full.Identities = slices.Repeat(c.Links[:1], MaxLinks), slices.Repeat(c.Identities[:1], maxIdentities)
	return map[string][]byte{
		"1,000 links": thousand.Bytes(), "a loop of 1,000 links": loop.Bytes(), "1,000 tiny links": tiny.Bytes(),
		"a loop of 7 links": full.Bytes(), "junk as long as may be": bytes.Repeat([]byte{0x81}, MaxChain),
		"empty links as many as fit": (&Chain{Links: slices.Repeat([][]byte{{}}, MaxChain-16)}).Bytes(),
	}
}

func TestHostileChainsAreRefused(t *testing.T) {
	w := newWorld(t)
	for name, raw := range hostile(t, w) {
		c, err := ParseChain(raw)
		if err == nil {
			_, err = w.vf.Verify(c)
		}
		wantError(t, name, err, ErrChain, "")
	}
}

// stuffed is a document of somebody's own making that takes many verifications.
func stuffed(t testing.TB, w *world) *trusttest.Person {
	p := trusttest.NewPerson(t, "stuffed", identity.User)
	for i := range 20 {
		r, err := p.AddRecipient(p.Devices[0], trusttest.Recipient(fmt.Sprint("more ", i))[:64], w.now)
		if err != nil {
			t.Fatal(err)
		}
		if p.Identity, err = p.With(r); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Nobody without validators' signatures has others verify documents: a chain of
// one's own making with documents that take hundreds of verifications fails at
// its first signature.
func TestDocumentsAreVerifiedBehindTheRoot(t *testing.T) {
	w := newWorld(t)
	w.owner = stuffed(t, w)
	c := w.root(t, w.grant())
	w.accept(t, "control: the document itself is good", c)
	s, err := statement.Parse(c.Grant)
	if err != nil {
		t.Fatal(err)
	}
	s.AddSignature(0, trusttest.Key("evil"))
	c.Grant = s.Bytes()
	c.Identities[0] = bareDocument(t, w.owner) // wrong too, which nobody finds out
	w.refuse(t, "a forged grant", c, ErrChain, "3 validators")
}
