package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

type bundle struct {
	_    struct{} `cbor:",toarray"`
	Text string
}

func (b bundle) Head() statement.ID { return statement.Hash("test bundle", []byte(b.Text)) }

// founding is a network of four that is about to begin, with carol as a node.
func founding(t testing.TB) (trust.Founding, *trusttest.Network) {
	t.Helper()
	net, r := trusttest.Draft(t, "net", 4)
	return trust.Founding{
		Name: "net", Numbers: r.Numbers, Validators: r.Validators, Roots: r.RootKeys,
		Nodes: []trust.Member{{Peer: carol, Identity: statement.Hash("carol")}},
	}, net
}

func draft(t testing.TB) (*trust.File, *trusttest.Network) {
	t.Helper()
	g, net := founding(t)
	f, _, err := g.Draft(bundle{Text: "policy"}, trusttest.Start)
	if err != nil {
		t.Fatal(err)
	}
	return f, net
}

// travel sends a file to somebody.
func travel(t testing.TB, f *trust.File) *trust.File {
	t.Helper()
	raw, err := statement.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	out, err := trust.ParseFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sign(t testing.TB, f *trust.File, key statement.PrivateKey, want int) {
	t.Helper()
	if added, err := f.Sign(key); err != nil || added != want {
		t.Fatalf("%d signatures, %v; want %d", added, err, want)
	}
}

// Validators sign copies side by side; put together, they are a network.
func TestFoundingANetwork(t *testing.T) {
	f, net := draft(t)
	_, id, missing, err := f.Draft()
	if err != nil || len(missing) != 5 {
		t.Fatalf("missing: %v, %v", missing, err)
	}
	if _, err := f.Committee(); !errors.Is(err, trust.ErrRecord) {
		t.Errorf("a draft is a committee: %v", err)
	}
	var copies []*trust.File
	for _, k := range net.Signing {
		c := travel(t, f)
		sign(t, c, k, 2) // the record and carol's membership
		copies = append(copies, c)
	}
	c := travel(t, f)
	sign(t, c, net.Roots[0], 1) // a root key signs no membership
	copies = append(copies, c)
	c = travel(t, f)
	sign(t, c, trusttest.Key("stranger"), 0)
	for _, other := range append(copies, c) {
		if err := f.Merge(travel(t, other)); err != nil {
			t.Fatal(err)
		}
	}
	f = travel(t, f)
	committee, err := f.Committee()
	if err != nil {
		t.Fatal(err)
	}
	if committee.Network() != id {
		t.Error("gathering signatures changed the network's id")
	}
	if committee.PolicyHead != (bundle{Text: "policy"}).Head() || committee.RootThreshold != 1 {
		t.Error("the record names another policy or threshold")
	}
	raw, ok := f.Membership(committee, carol, now)
	if !ok {
		t.Fatal("carol is no member")
	}
	if m, err := committee.VerifyMembership(raw, carol, now); err != nil || m.Role != trust.RoleNode {
		t.Errorf("carol: %v", err)
	}
	if _, ok := f.Membership(committee, trusttest.Key("stranger").Public(), now); ok {
		t.Error("a stranger is a member")
	}
	if _, ok := f.Membership(committee, carol, trusttest.Start.Add(trust.Lifetime)); ok {
		t.Error("a membership outlives the record")
	}
}

// A copy with wrong signatures, which anybody can make, must not keep the right
// ones out.
func TestMergeDropsWrongSignatures(t *testing.T) {
	f, net := draft(t)
	spoilt := travel(t, f)
	record, err := statement.Parse(spoilt.Records[0])
	if err != nil {
		t.Fatal(err)
	}
	member, err := statement.Parse(spoilt.Memberships[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		record.AddSignature(uint16(i), trusttest.Key("stranger"))
		member.AddSignature(uint16(i), trusttest.Key("stranger"))
	}
	spoilt.Records[0], spoilt.Memberships[0] = record.Bytes(), member.Bytes()
	for _, k := range append(slices.Clone(net.Signing), net.Roots...) {
		if _, err := f.Sign(k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := spoilt.Committee(); err == nil {
		t.Fatal("control: the spoilt copy is complete")
	}
	for name, pair := range map[string][2]*trust.File{
		"a good file takes a spoilt one over": {travel(t, f), travel(t, spoilt)},
		"a spoilt file takes a good one over": {travel(t, spoilt), travel(t, f)},
	} {
		if err := pair[0].Merge(pair[1]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, err := pair[0].Committee()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, ok := pair[0].Membership(c, carol, now); !ok {
			t.Errorf("%s: the membership stays spoilt", name)
		}
	}
}

func TestMergeRefusesAnotherDraft(t *testing.T) {
	f, net := draft(t)
	sign(t, f, net.Signing[0], 2)
	g, _ := founding(t)
	g.Name = "other"
	other, _, err := g.Draft(bundle{Text: "policy"}, trusttest.Start)
	if err != nil {
		t.Fatal(err)
	}
	before := *travel(t, f)
	fewer := travel(t, f)
	fewer.Memberships = nil
	otherMember := travel(t, f)
	otherMember.Memberships[0] = other.Memberships[0]
	empty := travel(t, f)
	empty.Records = nil
	broken := travel(t, f)
	broken.Records[0] = []byte("record")
	for name, with := range map[string]*trust.File{
		"another network": other, "fewer memberships": fewer, "another membership": otherMember, "a broken record": broken, "no record": empty,
	} {
		if err := f.Merge(with); err == nil || !strings.Contains(err.Error(), "different drafts") {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(f.Records[0], before.Records[0]) || !bytes.Equal(f.Memberships[0], before.Memberships[0]) {
			t.Errorf("%s: the file changed", name)
		}
	}
	if err := f.Merge(travel(t, f)); err != nil {
		t.Errorf("control: its own copy: %v", err)
	}
	f.Memberships[0] = other.Memberships[0]
	if err := f.Merge(travel(t, f)); err == nil {
		t.Error("a file with a membership of another network is merged")
	}
}

// Who is asked to sign the beginning of a network must not sign a later record
// of one, a membership elsewhere, or anything at all of a file that asks for it.
func TestSignIsNoOracle(t *testing.T) {
	f, net := draft(t)
	for name, change := range map[string]func(r *trust.Record){
		"a second version":  func(r *trust.Record) { r.Version = 2 },
		"a root epoch":      func(r *trust.Record) { r.RootEpoch = 1 },
		"a successor":       func(r *trust.Record) { r.Previous = bytes.Repeat([]byte{1}, 32) },
		"an oldest record":  func(r *trust.Record) { r.Oldest = bytes.Repeat([]byte{1}, 32) },
		"a skipped version": func(r *trust.Record) { r.Skip = true },
		"unsafe numbers":    func(r *trust.Record) { r.Numbers.K = 2 },
	} {
		_, r := trusttest.Draft(t, "net", 4)
		change(&r)
		s, err := statement.New(trust.KindRecord, r)
		if err != nil {
			t.Fatal(err)
		}
		bad := &trust.File{Format: trust.FileFormat, Records: [][]byte{s.Bytes()}}
		if added, err := bad.Sign(net.Signing[0]); err == nil || added != 0 || !bytes.Equal(bad.Records[0], s.Bytes()) {
			t.Errorf("%s was signed: %d, %v", name, added, err)
		}
		if _, _, _, err := bad.Draft(); err == nil {
			t.Errorf("%s is shown as a draft", name)
		}
	}
	other := trusttest.New(t, "other", 4)
	elsewhere := signed(t, other, trust.KindMembership, membership(other))
	_, id, _, err := f.Draft()
	if err != nil {
		t.Fatal(err)
	}
	m := membership(other)
	m.Network = id
	otherRecord := signed(t, other, trust.KindMembership, m)
	m.Network, m.Record = other.Network(), id
	otherNetwork := signed(t, other, trust.KindMembership, m)
	grant := signed(t, net, "grant", "anything")
	for name, raw := range map[string][]byte{
		"a membership elsewhere": elsewhere, "one by another record": otherRecord, "one of another network": otherNetwork, "a grant": grant, "junk": {1},
	} {
		bad := travel(t, f)
		bad.Memberships = append(bad.Memberships, raw)
		before := travel(t, bad)
		if added, err := bad.Sign(net.Signing[0]); err == nil || added != 0 {
			t.Errorf("%s was signed: %d, %v", name, added, err)
		}
		if !bytes.Equal(bad.Records[0], before.Records[0]) || !bytes.Equal(bad.Memberships[0], before.Memberships[0]) {
			t.Errorf("%s: other parts of the file were signed", name)
		}
	}
	sign(t, f, net.Signing[0], 2) // control
}

func TestFilesThatAreRefused(t *testing.T) {
	f, _ := draft(t)
	for name, change := range map[string]func(f *trust.File){
		"control":              func(*trust.File) {},
		"format 0":             func(f *trust.File) { f.Format = 0 },
		"format 2":             func(f *trust.File) { f.Format = 2 },
		"no record":            func(f *trust.File) { f.Records = nil },
		"too many records":     func(f *trust.File) { f.Records = make([][]byte, 1025) },
		"too many memberships": func(f *trust.File) { f.Memberships = make([][]byte, 4097) },
		"too many bytes":       func(f *trust.File) { f.Policy = make([]byte, trust.MaxFile) },
	} {
		g := *f
		g.Records = slices.Clone(f.Records)
		change(&g)
		raw, err := statement.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trust.ParseFile(raw); (err == nil) != (name == "control") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trust.ParseFile([]byte("network")); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("junk: %v", err)
	}
	for _, records := range [][]byte{nil, []byte("record")} {
		broken := &trust.File{Format: trust.FileFormat, Records: [][]byte{records}}
		if _, err := broken.Committee(); err == nil {
			t.Error("a broken record is a committee")
		}
		if _, err := broken.Sign(trusttest.Key("x")); err == nil {
			t.Error("a broken record is signed")
		}
	}
}

// Sizes are counted before they are narrowed to the record's fields.
func TestFoundingsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(g *trust.Founding){
		"control":                      func(*trust.Founding) {},
		"no validators":                func(g *trust.Founding) { g.Validators = nil },
		"65,540 validators":            func(g *trust.Founding) { g.Validators = make([]trust.Validator, 65540) },
		"a threshold of 65,537":        func(g *trust.Founding) { g.RootThreshold = 65537 },
		"a threshold of -65,535":       func(g *trust.Founding) { g.RootThreshold = -65535 },
		"a threshold over the roots":   func(g *trust.Founding) { g.RootThreshold = 2 },
		"no roots":                     func(g *trust.Founding) { g.Roots = nil },
		"more nodes than a file takes": func(g *trust.Founding) { g.Nodes = make([]trust.Member, 4097) },
		"unsafe numbers":               func(g *trust.Founding) { g.Numbers.K = 2 },
	} {
		g, _ := founding(t)
		change(&g)
		if _, _, err := g.Draft(bundle{}, trusttest.Start); (err == nil) != (name == "control") {
			t.Errorf("%s: %v", name, err)
		}
	}
	g, _ := founding(t)
	g.Roots = nil
	for i := range 5 {
		g.Roots = append(g.Roots, trusttest.Key(fmt.Sprint("root ", i)).Public())
	}
	f, _, err := g.Draft(bundle{}, trusttest.Start)
	if err != nil {
		t.Fatal(err)
	}
	if r, _, _, err := f.Draft(); err != nil || r.RootThreshold != 3 {
		t.Errorf("a majority of five is %d, %v", r.RootThreshold, err)
	}
}
