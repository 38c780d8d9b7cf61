package daemon

import (
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/ipfs/go-cid"
)

func shown(t *testing.T, n *Node, id string) *api.GrantShown {
	t.Helper()
	out, err := n.GrantShow(t.Context(), api.GrantShowRequest{ID: id})
	if err != nil || len(out.Grants) != 1 {
		t.Fatalf("%v, %v", out, err)
	}
	return &out.Grants[0]
}

func notShown(t *testing.T, n *Node, r api.GrantShowRequest, exit int) {
	t.Helper()
	if _, err := n.GrantShow(t.Context(), r); err == nil || fault.Of(err).Exit != exit {
		t.Errorf("%+v: %v", r, err)
	}
}

// heldLink is a chain with one link, held by node 2.
func heldLink(t *testing.T, m *members, address cid.Cid) *capability.Verified {
	t.Helper()
	token := handOn(t, m, chainFor(t, m, address, "read,delegate"), address).Token
	if _, err := m.nodes[2].Accept(t.Context(), api.AcceptRequest{Token: token}); err != nil {
		t.Fatal(err)
	}
	d, err := decodeToken(token)
	if err != nil {
		t.Fatal(err)
	}
	c, err := capability.ParseChain(d.Chain)
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.nodes[2].verifier.Verify(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Who holds a link sees each hand that it went through, who signed, and, without the
// network, why it is in force or not.
func TestGrantShow(t *testing.T) {
	t.Parallel()
	m := found(t, 3)
	m.refresh()
	owner, reader, holder := m.nodes[0], m.nodes[1], m.nodes[2]
	address, _ := addSmall(t, owner, "x")
	v := heldLink(t, m, address)
	leaf := v.Leaf().String()
	got := shown(t, holder, leaf[:9])
	if got.Grant != leaf || got.State != "valid" || got.Address != address.String() || got.Links != 1 || len(got.Chain) != 2 {
		t.Fatalf("%+v", got)
	}
	root, link := got.Chain[0], got.Chain[1]
	if root.From != idOf(owner).String() || root.To != idOf(reader).String() || root.Can != "read,delegate" || root.Depth != 1 || root.Target != "lineage" {
		t.Errorf("root: %+v", root)
	}
	name := holder.home.Principals()[0].Name
	if link.From != root.To || link.To != idOf(holder).String() || link.ToName != name || link.FromName != "" || link.Depth != 0 || link.Can != "read" {
		t.Errorf("link: %+v", link)
	}
	if len(got.Validators) < 3 || got.Need != 3 || got.Of != 4 || got.Version != m.validators[0].trust.Current().Version {
		t.Errorf("signed: %+v", got)
	}
	says := strings.Join(got.Says, "\n")
	for _, part := range []string{"lets user " + name + " (" + idOf(holder).String()[:8] + ")", "to be handed on once", "The owner consented to this grant alone"} {
		if !strings.Contains(says, part) {
			t.Errorf("%q is missing in\n%s", part, says)
		}
	}
	if g := shown(t, owner, v.Path()[0].String()); g.State != "valid" || g.Links != 0 {
		t.Errorf("at its owner's: %+v", g)
	}

	m.skew.Add(3000)
	if g := shown(t, holder, leaf); g.State != "expired" || !strings.HasPrefix(g.Why, "link 1 ended at 20") {
		t.Errorf("after ten minutes: %s, %s", g.State, g.Why)
	}
	m.skew.Store(-3000)
	if g := shown(t, holder, leaf); g.State != "early" || !strings.HasPrefix(g.Why, "the grant begins at 20") {
		t.Errorf("before: %s, %s", g.State, g.Why)
	}
	m.skew.Store(0)
	end(t, owner, holder, v)
	if g := shown(t, holder, leaf); g.State != "revoked" || !strings.Contains(g.Why, "link 1 was revoked by "+idOf(owner).String()[:8]+" at 20") {
		t.Errorf("revoked: %s, %s", g.State, g.Why)
	}
	if l, err := holder.Grants(t.Context(), api.GrantsRequest{}); err != nil || len(l.Grants) != 1 || l.Grants[0].State != "revoked" {
		t.Errorf("listed: %+v, %v", l, err)
	}
}

func TestGrantShowRefuses(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	address, _ := addSmall(t, owner, "x")
	var ids []string
	for range 17 { // so that two begin with the same digit
		leaf, err := chainFor(t, m, address, "read").Leaf()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, leaf.String())
	}
	slices.Sort(ids)
	i := slices.IndexFunc(ids[1:], func(id string) bool {
		return slices.ContainsFunc(ids, func(o string) bool { return o != id && o[0] == id[0] })
	})
	notShown(t, owner, api.GrantShowRequest{ID: ids[i+1][:1]}, fault.Usage)
	for _, bad := range []string{"", "xyz", strings.ToUpper(ids[0]) + "A", ids[0] + "0", "../" + ids[0][:8]} {
		notShown(t, owner, api.GrantShowRequest{ID: bad}, fault.Usage)
	}
	notShown(t, owner, api.GrantShowRequest{ID: ids[0], As: "nobody"}, fault.Usage)
	notShown(t, owner, api.GrantShowRequest{ID: statement.ID{1}.String()}, fault.NotFound)
	notShown(t, m.nodes[1], api.GrantShowRequest{ID: ids[0]}, fault.NotFound) // not held there yet
	if g := shown(t, owner, ids[0]); g.State != "valid" {
		t.Errorf("control: %+v", g)
	}
	// In its mailbox the holder finds it, once its node runs.
	m.nodes[1].running.Store(true)
	defer m.nodes[1].running.Store(false)
	if g := shown(t, m.nodes[1], ids[0]); g.State != "valid" {
		t.Errorf("from the mailbox: %+v", g)
	}
	m.setDown(0, 1)
	notShown(t, m.nodes[1], api.GrantShowRequest{ID: ids[0]}, fault.Unavailable)
}

// A grant that waits says how far it is, and one that was denied why.
func TestGrantShowPending(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	address, _ := addSmall(t, owner, "x")
	chain := chainFor(t, m, address, "read")
	s, err := statement.Parse(chain.Grant)
	if err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	p := &pendingGrant{Owner: idOf(owner), Grant: chain.Grant, Consent: chain.Consent, Identities: chain.Identities, Hint: address.Bytes()}
	for _, c := range []struct {
		state uint8
		want  string
	}{{pendingWaits, "pending"}, {pendingSigned, "pending"}, {pendingDenied, "denied"}} {
		p.State, p.Why = c.state, "not today"
		got := owner.showPending(s, mustGrant(t, s), p)
		if got.State != c.want || got.Why == "" || (c.want == "denied") != strings.Contains(got.Why, "not today") || len(got.Says) == 0 || got.Need != 3 {
			t.Errorf("%d: %+v", c.state, got)
		}
	}
	if err := owner.savePending(p); err != nil {
		t.Fatal(err)
	}
	if g := shown(t, owner, id.String()); g.State != "valid" { // what was delivered is the newer word
		t.Errorf("%+v", g)
	}
	if err := owner.grants.Apply([]kv.Op{{Key: grantKey(issuedPrefix, idOf(owner), id), Delete: true}}); err != nil {
		t.Fatal(err)
	}
	if g := shown(t, owner, id.String()); g.State != "denied" {
		t.Errorf("%+v", g)
	}
}

func mustGrant(t *testing.T, s *statement.Statement) *capability.Grant {
	t.Helper()
	var g capability.Grant
	if err := s.Peek(capability.KindGrant, &g); err != nil {
		t.Fatal(err)
	}
	return &g
}
