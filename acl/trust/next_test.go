package trust_test

import (
	"bytes"
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// nextFile is a founded network whose second record is drafted.
func nextFile(t testing.TB) (*trust.File, *trusttest.Network, *trust.Committee) {
	t.Helper()
	f, net := draft(t)
	for _, k := range keysOf(net) {
		if _, err := f.Sign(k); err != nil {
			t.Fatal(err)
		}
	}
	g, err := f.Committee()
	if err != nil {
		t.Fatal(err)
	}
	r := g.Record
	r.Expires--
	next, err := f.DraftNext(r, f.Policy, nil)
	if err != nil {
		t.Fatal(err)
	}
	return travel(t, next), net, g
}

func TestTheNextRecordInAFile(t *testing.T) {
	f, net, g := nextFile(t)
	if _, err := f.Sign(net.Signing[0]); err == nil {
		t.Error("a validator signs without its guard")
	}
	var store kv.Memory
	if err := trust.NewGuard(&store).Permit(string(trust.KindRecord), 0, 2, statement.Hash("other")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.SignGuarded(net.Signing[0], trust.NewGuard(&store)); !errors.Is(err, trust.ErrSecond) {
		t.Errorf("a second record is signed: %v", err)
	}
	if _, err := f.Committee(); !errors.Is(err, trust.ErrRecord) {
		t.Errorf("a draft is a committee: %v", err)
	}
	for _, k := range net.Signing[:3] {
		c := travel(t, f)
		if n, err := c.SignGuarded(k, trust.NewGuard(&kv.Memory{})); err != nil || n != 3 { // as old, as new, carol
			t.Fatalf("%d signatures, %v", n, err)
		}
		if err := f.Merge(c); err != nil {
			t.Fatal(err)
		}
	}
	c, err := travel(t, f).Committee()
	if err != nil || c.Version != 2 {
		t.Fatalf("the next record: %v", err)
	}
	if _, ok := f.Membership(c, carol, now); !ok {
		t.Error("carol is no member any more")
	}
	if _, err := f.Chain(c.Pin(), g.Pin()); err != nil {
		t.Errorf("control: its own pins: %v", err)
	}
	old := *f
	old.Records = f.Records[:1]
	if _, err := old.Chain(c.Pin()); !errors.Is(err, trust.ErrPin) {
		t.Errorf("a newcomer is led down an old line: %v", err)
	}
	for _, key := range []statement.PrivateKey{net.Roots[0], net.Signing[0]} {
		s, err := statement.Sign(trust.KindPin, c.Pin(), key)
		if err != nil {
			t.Fatal(err)
		}
		pinned := *f
		pinned.Root = s.Bytes()
		_, err = travel(t, &pinned).Chain()
		if root := key.Public() == net.Roots[0].Public(); root != (err == nil) {
			t.Errorf("a pin signed by a root: %v, %v", root, err)
		}
	}
}

// A file is somebody's word for what its draft follows. Who is asked to sign does so
// only where the draft follows the file's own last record; neither its signature nor
// the place in its guard is spent on anything else.
func TestADraftThatDoesNotFollowIsNotSigned(t *testing.T) {
	f, net, g := nextFile(t)
	for name, c := range map[string]struct {
		ok     bool
		change func(*trust.Record)
	}{
		"control":            {true, func(*trust.Record) {}},
		"another record":     {false, func(r *trust.Record) { r.Previous = bytes.Repeat([]byte{1}, 32) }},
		"nothing":            {false, func(r *trust.Record) { r.Previous = nil }},
		"a version left out": {false, func(r *trust.Record) { r.Version++ }},
		"the same version":   {false, func(r *trust.Record) { r.Version-- }},
		"another name":       {false, func(r *trust.Record) { r.Name = "other" }},
		"two root epochs":    {false, func(r *trust.Record) { r.RootEpoch += 2 }},
		"other root keys":    {false, func(r *trust.Record) { r.RootKeys = []statement.PublicKey{trusttest.Key("thief").Public()} }},
	} {
		id := g.ID()
		r := g.Record
		r.Version, r.Previous = 2, id[:]
		c.change(&r)
		s, err := statement.New(trust.KindRecord, r)
		if err != nil {
			t.Fatal(err)
		}
		bad := &trust.File{Format: trust.FileFormat, Records: [][]byte{f.Records[0], s.Bytes()}}
		var store kv.Memory
		added, err := bad.SignGuarded(net.Signing[0], trust.NewGuard(&store))
		if c.ok != (err == nil) || c.ok != (added > 0) || c.ok == bytes.Equal(bad.Records[1], s.Bytes()) {
			t.Errorf("%s: %d signatures, %v", name, added, err)
		}
		if err := trust.NewGuard(&store).Permit(string(trust.KindRecord), r.RootEpoch, r.Version, statement.Hash("the next")); !c.ok && err != nil {
			t.Errorf("%s: the guard remembers what was not signed: %v", name, err)
		}
		if _, _, _, err := bad.Draft(); c.ok != (err == nil) {
			t.Errorf("%s: shown as a draft: %v", name, err)
		}
	}
}

func TestEnrol(t *testing.T) {
	f, net, g := nextFile(t)
	dave, erin := trusttest.Key("dave").Public(), trusttest.Key("erin").Public()
	had := len(f.Memberships)
	if err := f.Enrol(trust.Member{Peer: dave}, trust.Member{Peer: dave}, trust.Member{Peer: f.Members()[0].Peer}, trust.Member{Peer: erin, Role: trust.RoleMirror}); err != nil {
		t.Fatal(err)
	}
	if len(f.Memberships) != had+2 {
		t.Fatalf("%d memberships more", len(f.Memberships)-had)
	}
	for _, k := range net.Signing[:3] {
		if _, err := f.SignGuarded(k, trust.NewGuard(&kv.Memory{})); err != nil {
			t.Fatal(err)
		}
	}
	c, err := travel(t, f).Chain()
	if err != nil {
		t.Fatal(err)
	}
	for peer, role := range map[statement.PublicKey]trust.Role{dave: trust.RoleNode, erin: trust.RoleMirror} {
		raw, ok := f.Membership(c.Current(), peer, now)
		if !ok {
			t.Fatalf("a %s is no member", role)
		}
		if got, err := c.Admits(peer, raw, now); err != nil || got != role {
			t.Errorf("a %s is admitted as %s, %v", role, got, err)
		}
		if _, err := trust.Fixed(g).Admits(peer, raw, now); err == nil {
			t.Error("it is a member where the record is not known")
		}
	}
	var many []trust.Member
	for i := range 4096 {
		many = append(many, trust.Member{Peer: statement.PublicKey{1, byte(i), byte(i >> 8)}})
	}
	if err := f.Enrol(many...); !errors.Is(err, trust.ErrRecord) {
		t.Errorf("more members than a file holds: %v", err)
	}
}

func FuzzChain(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	for _, s := range []*statement.Statement{net.Succeed(f, renewed(1)), net.Recover(f, nil)} {
		f.Add(s.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := trust.Fixed(net.Committee)
		r, err := c.Add(raw)
		if err == nil && r.ID() != net.ID() && len(trust.MissingAfter(parsed(t, r.Raw()), &r.Record, net.Committee)) != 0 {
			t.Error("a record without its signatures counts")
		}
	})
}

func parsed(t testing.TB, raw []byte) *statement.Statement {
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func FuzzProof(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	c := trust.Fixed(net.Committee)
	a, b := net.Succeed(f, renewed(1)), net.Succeed(f, renewed(2))
	for _, p := range c.FindEquivocation(a.Bytes(), b.Bytes()) {
		f.Add(p.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := c.AddProof(raw)
		if err == nil && (int(p.Validator) >= 4 || len(c.Proofs()) == 0) {
			t.Error("a proof against nobody")
		}
	})
}
