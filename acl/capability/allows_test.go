package capability

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
)

// CA-02 and TH-07: a grant opens its owner's objects alone, and only those that
// it names. Nonces are no secret; the owner beside them tells objects apart.
func TestWhatAGrantCovers(t *testing.T) {
	w := newWorld(t)
	object := Object{
		Network: w.net.Network(), Owner: w.owner.ID(), Version: [32]byte{7}, Lineage: [32]byte{1}, Scopes: [][32]byte{{3}, {4}},
	}
	verified := func(change func(g *Grant)) *Verified {
		g := w.grant()
		g.Abilities, g.Depth = Read, 0
		change(&g)
		return w.accept(t, "grant", w.root(t, g))
	}
	target := func(k TargetKind, ref byte) func(*Grant) {
		return func(g *Grant) { g.Target = Target{Kind: k, Ref: [32]byte{ref}} }
	}
	for _, c := range []struct {
		name   string
		want   bool
		change func(g *Grant)
		object func(o *Object)
	}{
		{"its lineage", true, target(Lineage, 1), func(*Object) {}},
		{"its version", true, target(Version, 7), func(*Object) {}},
		{"its first scope", true, target(Scope, 3), func(*Object) {}},
		{"its last scope", true, target(Scope, 4), func(*Object) {}},
		{"another version of its lineage", true, target(Lineage, 1), func(o *Object) { o.Version[0]++ }},
		{"another version", false, target(Version, 7), func(o *Object) { o.Version[0]++ }},
		{"another lineage", false, target(Lineage, 2), func(*Object) {}},
		{"another scope", false, target(Scope, 5), func(*Object) {}},
		{"no scope at all", false, target(Scope, 0), func(o *Object) { o.Scopes = nil }},
		{"a lineage by the nonce of a scope", false, target(Lineage, 3), func(*Object) {}},
		{"a scope by the nonce of the lineage", false, target(Scope, 1), func(*Object) {}},
		{"a version by the nonce of the lineage", false, target(Version, 1), func(*Object) {}},
		{"another owner's lineage of that nonce", false, target(Lineage, 1), func(o *Object) { o.Owner = w.stranger.ID() }},
		{"another owner's scope of that nonce", false, target(Scope, 3), func(o *Object) { o.Owner = w.stranger.ID() }},
		{"a copy of that version under another owner", false, target(Version, 7), func(o *Object) { o.Owner = w.stranger.ID() }},
		{"another network's", false, target(Lineage, 1), func(o *Object) { o.Network[0]++ }},
	} {
		o := object
		c.object(&o)
		err := verified(c.change).Allows(Read, o)
		if c.want && err != nil || !c.want && !errors.Is(err, ErrScope) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if (Target{Kind: 9}).Matches(object) {
		t.Error("an unknown kind of target covers something")
	}
}

// A thief who owns something may have validators sign a grant on it with the
// victim's nonce. It is the thief's object still.
func TestAnotherOwnersNonce(t *testing.T) {
	w := newWorld(t)
	g := w.grant()
	g.Owner = w.stranger.ID()
	s := w.net.Sign(unsigned(t, KindGrant, g), w.net.Quorum()...)
	c := &Chain{
		Grant: s.Bytes(), Identities: [][]byte{w.stranger.Record(), w.reader.Record()},
		Consent: w.stranger.Sign(t, KindConsent, Consent{Network: w.net.Network(), Grant: s.ID()}).Bytes(),
	}
	v := w.accept(t, "the thief's own grant", c)
	o := Object{Network: w.net.Network(), Owner: w.owner.ID(), Lineage: g.Target.Ref}
	wantError(t, "the victim's object", v.Allows(Read, o), ErrScope, "another owner's object")
	o.Owner = w.stranger.ID()
	if err := v.Allows(Read, o); err != nil {
		t.Errorf("control: the thief's object: %v", err)
	}
}

func TestAbilities(t *testing.T) {
	w := newWorld(t)
	o := Object{Network: w.net.Network(), Owner: w.owner.ID(), Lineage: [32]byte{1}}
	for _, c := range []struct {
		has, asks Abilities
		want      bool
	}{
		{Read, Read, true}, {Read, Carry, true}, {Read, Carry | Read, true}, {Deploy, Carry, true}, {Carry, Carry, true}, {Audit, 0, true},
		{Carry, Read, false}, {Infer, Carry, false}, {Infer, Read, false}, {Deploy, Read, false}, {Read, Deploy, false},
		{Read, Audit, false}, {Read | Audit, Read | Audit | Revoke, false}, {Read, Write, false},
	} {
		g := w.grant()
		g.Abilities, g.Depth = c.has, 0
		err := w.accept(t, "grant", w.root(t, g)).Allows(c.asks, o)
		if c.want && err != nil || !c.want && !errors.Is(err, ErrScope) {
			t.Errorf("%s for %s: %v", c.has, c.asks, err)
		}
		if !c.want && !strings.Contains(err.Error(), (c.asks&^c.has.Implied()).String()) {
			t.Errorf("%s for %s: the error does not say what is missing: %v", c.has, c.asks, err)
		}
	}
	for a := Abilities(1); a <= all; a++ {
		got, err := ParseAbilities(a.String())
		if a&Write != 0 {
			if err == nil || !strings.Contains(err.Error(), "reserved") {
				t.Errorf("%s: %v", a, err)
			}
		} else if err != nil || got != a {
			t.Errorf("%s comes back as %s, %v", a, got, err)
		}
	}
	if got, err := ParseAbilities(" read , delegate,read"); err != nil || got != Read|Delegate {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "Read", "read,", "everything", "read;carry"} {
		if a, err := ParseAbilities(s); err == nil {
			t.Errorf("%q is %s", s, a)
		}
	}
	if Abilities(0).String() != "" {
		t.Error("no ability has a name")
	}
}

func TestPurposes(t *testing.T) {
	w := newWorld(t)
	l := w.link(w.grant())
	l.Caveats.Purposes = []string{"audit"}
	v := w.accept(t, "link", w.chain(t, w.grant(), l))
	if err := v.AllowsPurpose("audit"); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"", "research", "Audit", "sale"} { // research is the grant's, not the link's
		if err := v.AllowsPurpose(p); !errors.Is(err, ErrScope) {
			t.Errorf("%q: %v", p, err)
		}
	}
	g := w.grant()
	g.Caveats.Purposes = nil
	if err := w.accept(t, "grant", w.root(t, g)).AllowsPurpose("anything"); err != nil {
		t.Error(err)
	}
}

// CA-07: whatever the clock says, a grant counts from its beginning until just
// before its end, and so do each link and the committee's record.
func TestTime(t *testing.T) {
	w := newWorld(t)
	g := w.grant()
	l := w.link(g)
	l.Caveats.NotBefore, l.Caveats.Expires = g.Caveats.NotBefore+10, g.Caveats.Expires-10
	grant, link := w.root(t, g), w.chain(t, g, l)
	begin, end := time.Unix(g.Caveats.NotBefore, 0), time.Unix(g.Caveats.Expires, 0)
	for _, c := range []struct {
		at          time.Time
		grant, link bool
	}{
		{begin.Add(-time.Nanosecond), false, false},
		{begin, true, false},
		{begin.Add(10*time.Second - 1), true, false},
		{begin.Add(10 * time.Second), true, true},
		{end.Add(-10*time.Second - 1), true, true},
		{end.Add(-10 * time.Second), true, false},
		{end.Add(-1), true, false},
		{end, false, false},
		{end.Add(24 * time.Hour), false, false},
		{begin.Add(-24 * time.Hour), false, false},
		{time.Time{}, false, false},
	} {
		w.now = c.at
		for _, what := range []struct {
			chain *Chain
			want  bool
		}{{grant, c.grant}, {link, c.link}} {
			_, err := w.verify(t, what.chain)
			if what.want && err != nil || !what.want && !errors.Is(err, ErrExpired) {
				t.Errorf("at %v, %d links: %v", c.at, len(what.chain.Links), err)
			}
			v, err := w.vf.VerifyPast(what.chain)
			if err != nil {
				t.Fatalf("at %v the past does not verify: %v", c.at, err)
			}
			if err := w.vf.Live(v); (err == nil) != what.want {
				t.Errorf("at %v, live: %v", c.at, err)
			}
		}
	}
	g.Caveats.Expires = trusttest.Start.Add(2 * trust.Lifetime).Unix()
	w.now = trusttest.Start.Add(trust.Lifetime - 1)
	long := w.root(t, g)
	w.accept(t, "control: before the record's end", long)
	w.now = w.now.Add(1)
	w.refuse(t, "after the record's end", long, ErrExpired, trust.ErrExpired.Error())
	w.now = trusttest.Start.Add(-1)
	g.Caveats.NotBefore = 0
	w.refuse(t, "before the record's beginning", w.root(t, g), ErrExpired, trust.ErrExpired.Error())
}

// Who is nowhere gets nothing of a grant that names regions; one region that fits
// is enough. A link's regions count, not its parent's.
func TestRegions(t *testing.T) {
	w := newWorld(t)
	l := w.link(w.grant())
	l.Caveats.Regions = []string{"eu"}
	v := w.accept(t, "link", w.chain(t, w.grant(), l))
	for _, c := range []struct {
		in   []string
		want bool
	}{
		{[]string{"eu"}, true}, {[]string{"us", "eu"}, true}, {nil, false}, {[]string{""}, false},
		{[]string{"ch"}, false}, {[]string{"EU"}, false}, {[]string{"eu-west"}, false},
	} {
		err := v.AllowsRegion(c.in)
		if c.want && err != nil || !c.want && !errors.Is(err, ErrScope) {
			t.Errorf("in %v: %v", c.in, err)
		}
	}
	g := w.grant()
	g.Caveats.Regions = nil
	free := w.accept(t, "grant", w.root(t, g))
	if free.AllowsRegion(nil) != nil || free.AllowsRegion([]string{"anywhere"}) != nil {
		t.Error("control: a grant without regions asks for one")
	}
}

func TestClassification(t *testing.T) {
	w := newWorld(t)
	l := w.link(w.grant())
	l.Caveats.MaxClass = 2
	v := w.accept(t, "link", w.chain(t, w.grant(), l))
	for class, want := range map[uint8]bool{0: true, 2: true, 3: false, 255: false} { // 3 is the grant's
		if err := v.AllowsClass(class); want && err != nil || !want && !errors.Is(err, ErrScope) {
			t.Errorf("class %d: %v", class, err)
		}
	}
	g := w.grant()
	g.Caveats.MaxClass = 255
	if err := w.accept(t, "grant", w.root(t, g)).AllowsClass(255); err != nil {
		t.Errorf("control: any class: %v", err)
	}
}

// A caveat that only evidence meets is never passed over, whoever set it.
func TestAttestationAndOfflineUse(t *testing.T) {
	w := newWorld(t)
	bare := func() Grant {
		g := w.grant()
		g.Caveats.Attestation, g.Caveats.Offline = nil, false
		return g
	}
	v := w.accept(t, "neither", w.root(t, bare()))
	if v.NeedsAttestation() || v.MayKeep() {
		t.Error("control: a grant without caveats asks for evidence or may be kept")
	}
	g := bare()
	g.Subject = SubjectEnclave
	if !w.accept(t, "an enclave's", w.root(t, g)).NeedsAttestation() {
		t.Error("an enclave's grant needs no evidence")
	}
	l := w.link(bare())
	l.Caveats.Attestation = [][]byte{{1}}
	if !w.accept(t, "a link's measurement", w.chain(t, bare(), l)).NeedsAttestation() {
		t.Error("a link's measurement asks for nothing")
	}
	l = w.link(bare())
	l.Subject = SubjectEnclave
	if !w.accept(t, "a link into an enclave", w.chain(t, bare(), l)).NeedsAttestation() {
		t.Error("a link into an enclave asks for nothing")
	}
	l = w.link(w.grant())
	l.Caveats.Offline = false
	if w.accept(t, "online below offline", w.chain(t, w.grant(), l)).MayKeep() || !w.accept(t, "offline", w.root(t, w.grant())).MayKeep() {
		t.Error("offline use is not the leaf's")
	}
}
