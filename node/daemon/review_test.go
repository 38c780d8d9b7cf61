package daemon

import (
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/ipfs/go-cid"
)

// handOn has node 1 delegate a chain to node 2.
func handOn(t *testing.T, m *members, chain *capability.Chain, address cid.Cid) *api.Granted {
	t.Helper()
	n := m.nodes[1]
	v, err := n.verifier.Verify(chain)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.keep(heldPrefix, idOf(n), v, address.Bytes()); err != nil {
		t.Fatal(err)
	}
	n.running.Store(true)
	defer n.running.Store(false)
	out, err := n.Delegate(t.Context(), api.GrantRequest{
		Parent: v.Leaf().String(), To: m.nodes[2].home.Principals()[0].Identity.Contact(), Can: "read", Seconds: 600,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A reviewer sees who may do what, what was handed on below it, what nobody used and
// what ends, and ends a grant with the id that stands there.
func TestAccessReview(t *testing.T) {
	t.Parallel()
	m := found(t, 3)
	m.refresh()
	owner, reader, third := m.nodes[0], m.nodes[1], m.nodes[2]
	address, _ := addSmall(t, owner, "x")
	chain := chainFor(t, m, address, "read,delegate")
	root, err := chain.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	link := handOn(t, m, chain, address).Grant
	owner.running.Store(true) // it asks the validators for what was handed on
	defer owner.running.Store(false)

	review := func(r api.AccessReviewRequest) (*api.AccessReview, map[string]api.AccessGrant) {
		t.Helper()
		v, err := owner.AccessReview(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]api.AccessGrant{}
		for _, h := range v.Holders {
			for _, g := range h.Grants {
				by[g.Grant] = g
			}
		}
		return v, by
	}
	v, by := review(api.AccessReviewRequest{})
	if v.Grants != 2 || len(v.Holders) != 2 || len(v.NotKnown) == 0 {
		t.Fatalf("%+v", v)
	}
	if g := by[root.String()]; !slices.Contains(g.Delegated, link) || g.Uses != 0 || g.Address != address.String() {
		t.Errorf("the grant: %+v", g)
	}
	if g := by[link]; g.Parent != root.String() || !strings.Contains(g.Can, "read") {
		t.Errorf("what was handed on: %+v", g)
	}
	holders := []string{v.Holders[0].Identity, v.Holders[1].Identity}
	if !slices.Contains(holders, idOf(reader).String()) || !slices.Contains(holders, idOf(third).String()) {
		t.Errorf("held by %v", holders)
	}

	if _, by := review(api.AccessReviewRequest{ExpiringSeconds: 1200}); len(by) != 1 || !by[link].Expiring {
		t.Errorf("ending within 20 minutes: %v", by)
	}
	if _, by := review(api.AccessReviewRequest{UnusedSeconds: 300}); len(by) != 0 {
		t.Errorf("what was given just now counts as unused: %v", by)
	}
	m.skew.Add(400)
	if _, by := review(api.AccessReviewRequest{UnusedSeconds: 300}); len(by) != 2 {
		t.Errorf("nobody used them: %v", by)
	}
	if err := owner.record(t.Context(), event.Serve, event.Denied, event.Act{Actor: idOf(reader), Grant: root[:]}); err != nil {
		t.Fatal(err)
	}
	if _, by := review(api.AccessReviewRequest{UnusedSeconds: 300}); len(by) != 2 {
		t.Errorf("a denial counts as a use: %v", by)
	}
	if err := owner.record(t.Context(), event.Serve, event.OK, event.Act{Actor: idOf(reader), Grant: root[:]}); err != nil {
		t.Fatal(err)
	}
	if _, by := review(api.AccessReviewRequest{UnusedSeconds: 300}); len(by) != 1 || !by[link].Unused {
		t.Errorf("the grant was used: %v", by)
	}
	if _, by := review(api.AccessReviewRequest{}); by[root.String()].Uses != 1 || by[root.String()].LastUse == "" {
		t.Errorf("its use is not counted: %+v", by[root.String()])
	}

	// At a validator, whoever gave them; and there alone.
	all, err := m.validators[0].AccessReview(t.Context(), api.AccessReviewRequest{All: true})
	if err != nil || all.Grants != 2 {
		t.Errorf("at a validator: %+v, %v", all, err)
	}
	if own, err := m.validators[0].AccessReview(t.Context(), api.AccessReviewRequest{}); err != nil || own.Grants != 0 {
		t.Errorf("of the validator itself: %+v, %v", own, err)
	}
	_, err = owner.AccessReview(t.Context(), api.AccessReviewRequest{All: true})
	wantExit(t, "all at a node", err, fault.Denied)
	_, err = owner.AccessReview(t.Context(), api.AccessReviewRequest{UnusedSeconds: -1})
	wantExit(t, "a time that is negative", err, fault.Usage)

	// What ended is not listed.
	m.skew.Add(7200)
	if v, _ := review(api.AccessReviewRequest{}); v.Grants != 0 {
		t.Errorf("grants that are over: %+v", v)
	}
}

func TestTheRegisterSaysWhatIsProcessed(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	address, _ := addSmall(t, owner, "x")
	before, err := owner.ProcessingRecords(t.Context())
	if err != nil || len(before.Records) != 1 || len(before.Records[0].Recipients) != 0 || !strings.HasPrefix(before.Records[0].Transfers, "none") {
		t.Fatalf("%+v, %v", before, err)
	}
	chainFor(t, m, address, "read")
	next, _ := updateSmall(t, owner, address, "y")
	after, err := owner.ProcessingRecords(t.Context())
	if err != nil || len(after.Records) != 1 {
		t.Fatalf("%+v, %v", after, err)
	}
	r := after.Records[0]
	if r.Object != next.String() || r.Versions != 2 || r.Controller != idOf(owner).String() ||
		!slices.Equal(r.Recipients, []string{idOf(m.nodes[1]).String()}) || !strings.HasPrefix(r.Transfers, "to anywhere") ||
		r.Retention != "until its owner erases it" {
		t.Errorf("%+v", r)
	}
	if len(after.Measures) == 0 || len(after.NotKnown) == 0 {
		t.Error("it says nothing of measures, or claims to be complete")
	}
}
