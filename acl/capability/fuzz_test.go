package capability

import (
	"bytes"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// What decodes encodes to the same bytes, and what a verifier accepts is what
// the validators and people of this world have signed.
func FuzzChain(f *testing.F) {
	w := newWorld(f)
	signed := map[statement.ID]bool{}
	for _, c := range []*Chain{w.root(f, w.grant()), w.honest(f), w.long(f, MaxLinks), w.under(f, w.standing(), w.grant())} {
		f.Add(c.Bytes())
		leaf, err := c.Leaf()
		if err != nil {
			f.Fatal(err)
		}
		signed[leaf] = true
	}
	f.Add((&Chain{}).Bytes())
	f.Add((&Chain{Links: [][]byte{{}, {}}}).Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseChain(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Bytes(), raw) {
			t.Error("the chain changed")
		}
		c.Leaf()
		v, err := w.vf.Verify(c)
		if err != nil {
			return
		}
		if !signed[v.Leaf()] {
			t.Errorf("nobody signed %+v", v.Grant())
		}
	})
}

// A body alone, signed by everybody whose signature it needs: whatever it says,
// what is accepted is within its parent.
func FuzzLink(f *testing.F) {
	w := newWorld(f)
	parent := w.grant()
	parentID := idOf(f, w.root(f, parent).Grant)
	add := func(change func(g *Grant)) {
		g := w.link(parent)
		g.Parent = parentID
		change(&g)
		raw, err := statement.Marshal(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	add(func(*Grant) {})
	add(func(g *Grant) { g.Abilities, g.Depth = g.Abilities|Delegate, 1 })
	add(func(g *Grant) { g.Caveats.Purposes = nil })
	add(func(g *Grant) { g.Caveats.Expires = 1 << 62 })
	f.Fuzz(func(t *testing.T, raw []byte) {
		var g Grant
		if statement.Unmarshal(raw, &g) != nil {
			return
		}
		c := w.chain(t, parent, g)
		c.Links[0] = w.reader.Sign(t, KindLink, g).Bytes()
		v, err := w.vf.VerifyPast(c)
		if err != nil {
			return
		}
		leaf := v.Grant()
		if err := leaf.Check(); err != nil {
			t.Error(err)
		}
		if err := leaf.Within(&parent); err != nil {
			t.Error(err)
		}
		if leaf.Audience != w.friend.ID() || !bytes.Equal(leaf.Parent, parentID) {
			t.Errorf("the friend's record proves %+v", leaf)
		}
	})
}

func FuzzAuthority(f *testing.F) {
	w := newWorld(f)
	c := w.honest(f)
	leaf, err := c.Leaf()
	if err != nil {
		f.Fatal(err)
	}
	p, want, _ := w.conversation(leaf)
	q, _, _ := w.conversation(statement.ID{})
	for _, a := range []Authority{
		{Chain: c.Bytes(), Proof: prove(f, p, w.friend)}, {Identity: w.friend.Record(), Proof: prove(f, q, w.friend)}, {},
	} {
		raw, err := statement.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	want.UseCounter = func(uint64) bool { return true }
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := ParseAuthority(raw)
		if err != nil {
			return
		}
		if again, err := statement.Marshal(a); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("the authority changed: %v", err)
		}
		if v, _, err := w.vf.Open(a, want); err == nil && v.Leaf() != leaf {
			t.Error("another chain opens")
		}
		if id, _, err := w.vf.OpenIdentity(a, want); err == nil && id.ID() != w.friend.ID() {
			t.Error("another identity opens")
		}
	})
}

func FuzzProof(f *testing.F) {
	w := newWorld(f)
	p, want, _ := w.conversation(statement.Hash("leaf"))
	f.Add(prove(f, p, w.reader))
	f.Add(prove(f, p, w.stranger))
	p.Counter, p.Time = 1<<63, p.Time+60
	f.Add(prove(f, p, w.reader))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		used := -1
		want.UseCounter = func(n uint64) bool { used = int(n); return true }
		at, err := CheckProof(raw, w.reader.Identity, want)
		if err != nil {
			if used != -1 {
				t.Error("a refused proof used a counter up")
			}
			return
		}
		if d := at.Sub(w.now).Abs(); d > ClockSkew {
			t.Errorf("%v off", d)
		}
	})
}

func FuzzParseAbilities(f *testing.F) {
	for _, s := range []string{"read", "read,delegate", "carry, audit", "write", "", ",", "Read"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAbilities(s)
		if err != nil {
			return
		}
		if again, err := ParseAbilities(a.String()); err != nil || again != a || a == 0 || a&Write != 0 {
			t.Errorf("%q is %s is %s, %v", s, a, again, err)
		}
	})
}

// A standing consent alone, signed by its owner with a grant on it by K
// validators: whatever it says, what is accepted is within it.
func FuzzStanding(f *testing.F) {
	w := newWorld(f)
	add := func(change func(s *Standing)) {
		s := w.standing()
		change(&s)
		raw, err := statement.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	add(func(*Standing) {})
	add(func(s *Standing) { s.Audience, s.Role = nil, "physician" })
	add(func(s *Standing) { s.Purposes, s.Regions, s.Attestation = nil, nil, nil })
	add(func(s *Standing) { s.Lifetime, s.Until = 1<<62, 1<<62 })
	add(func(s *Standing) { s.Abilities, s.Depth = 0, 255 })
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s Standing
		if statement.Unmarshal(raw, &s) != nil {
			return
		}
		if again, err := statement.Marshal(s); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("the consent changed: %v", err)
		}
		g := w.grant()
		v, err := w.vf.VerifyPast(w.under(t, s, g))
		if err != nil {
			return
		}
		got := v.Grant()
		c := got.Caveats
		if s.Check() != nil || s.Target != got.Target || s.Owner != got.Owner || s.Network != got.Network || c.Expires > s.Until ||
			c.Expires-c.NotBefore > s.Lifetime || got.Depth > s.Depth || got.Abilities.Implied()&^s.Abilities.Implied() != 0 || c.MaxClass > s.MaxClass {
			t.Errorf("%+v is accepted for %+v", s, got)
		}
		if s.Role == "" && !slices.Contains(s.Audience, got.Audience) {
			t.Errorf("%+v is accepted for %v", s, got.Audience)
		}
		v.Describe()
	})
}
