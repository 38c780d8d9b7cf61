package daemon

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// Replication passes over mirrors that no role places in a region of the object, and
// says so where too few are left.
func TestReplicationChoosesMirrorsInTheRegion(t *testing.T) {
	t.Parallel()
	m := found(t, 3)
	m.refresh()
	owner, first, second := m.nodes[0], m.nodes[1], m.nodes[2]
	listens(t, owner)
	owner.running.Store(true)
	defer owner.running.Store(false)
	c := addRetained(t, owner, map[string]string{validator.LabelResidency: "eu"})
	wanted := func(copies uint16) *goal {
		g := &goal{Copies: copies, Within: defaultWithin}
		for _, n := range []*Node{first, second} {
			g.Mirrors = append(g.Mirrors, copyOn{Identity: idOf(n), Contact: n.home.Principals()[0].Identity.Contact()})
		}
		return g
	}
	p := owner.home.Principals()[0]
	g := wanted(1)
	wantExit(t, "nobody is in the region", owner.askFurther(t.Context(), p, c, g), fault.Denied)
	if len(g.Mirrors[0].Leaf)+len(g.Mirrors[1].Leaf) != 0 {
		t.Error("somebody was let carry it")
	}
	giveRole(t, m, second, "region/eu")
	if err := owner.askFurther(t.Context(), p, c, g); err != nil {
		t.Fatal(err)
	}
	if len(g.Mirrors[0].Leaf) != 0 || len(g.Mirrors[1].Leaf) == 0 {
		t.Error("the mirror in the region was not chosen")
	}
	wantExit(t, "two are wanted", owner.askFurther(t.Context(), p, c, wanted(2)), fault.Denied)

	everywhere := addRetained(t, owner, nil) // control
	g = wanted(2)
	if err := owner.askFurther(t.Context(), p, everywhere, g); err != nil || len(g.Mirrors[0].Leaf) == 0 {
		t.Errorf("without the label: %v", err)
	}
}

// giveRole has persons at two validators give somebody a role.
func giveRole(t *testing.T, m *members, to *Node, role string) {
	t.Helper()
	one, other := m.validators[0], m.validators[1]
	for _, v := range []*Node{one, other} {
		v.running.Store(true)
		defer v.running.Store(false)
	}
	asked, err := one.RoleAssign(t.Context(), api.RoleRequest{To: idOf(to).String(), Role: role, Seconds: 3600})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Decide(t.Context(), api.DecideRequest{ID: asked.Roles[0].ID, Approve: true}); err != nil {
		t.Fatal(err)
	}
}
