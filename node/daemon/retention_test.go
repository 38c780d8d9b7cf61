package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// addRetained adds an object with labels and deposits it.
func addRetained(t *testing.T, n *Node, labels map[string]string) cid.Cid {
	t.Helper()
	parsed, err := parseLabels(labels)
	if err != nil {
		t.Fatal(err)
	}
	p := n.home.Principals()[0]
	added, err := n.library.AddStream(context.Background(), p, "x", strings.NewReader("kept"), parsed)
	if err != nil {
		t.Fatal(err)
	}
	dealt, err := n.library.Deal(p, added.Batches[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.quorum.SendDeposits(t.Context(), dealt.Requests); len(got) < 3 {
		t.Fatalf("%v", got)
	}
	if err := n.library.MarkShared([]cid.Cid{added.Root.Address}); err != nil {
		t.Fatal(err)
	}
	return added.Root.Address
}

func labelsFor(mode string, until, expire time.Time) map[string]string {
	out := map[string]string{}
	if mode != "" {
		out[validator.LabelRetention], out[validator.LabelRetainUntil] = mode, validator.StampRetention(until)
	}
	if !expire.IsZero() {
		out[validator.LabelExpireAt] = validator.StampRetention(expire)
	}
	return out
}

// The owner erases nothing before its time, neither by the command nor by a new key;
// afterwards both work. The validators refuse it too where the owner's node does not.
func TestWhatIsRetainedIsNotErased(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.nodes[0]
	n.running.Store(true)
	defer n.running.Store(false)
	c := addRetained(t, n, labelsFor(validator.RetainCompliance, m.now().Add(time.Hour), time.Time{}))
	for _, r := range []api.EraseRequest{{}, {Override: true, Reason: "the board"}, {ThisVersion: true}} {
		r.Address = c.String()
		_, err := n.Erase(t.Context(), r)
		wantExit(t, "in the mode compliance", err, fault.Denied)
	}
	mustLog(t, n, event.Erase, event.Denied, map[string]string{event.Object: event.Ref(c.Bytes())})
	if open, err := n.erasures.open(); err != nil || len(open) != 0 {
		t.Errorf("%d orders stand: %v", len(open), err)
	}
	// A node that does not look: its order is refused, and it takes it back.
	err := n.firstTry(t.Context(), []*order{orderFor(t, n, c)})
	wantExit(t, "an order that is sent all the same", err, fault.Denied)
	if open, err := n.erasures.open(); err != nil || len(open) != 0 {
		t.Errorf("%d orders are left: %v", len(open), err)
	}
	wantState(t, n, c, object.StateShared)
	if !n.mustKeep(heldHere(t, n, c)) {
		t.Error("it would be dropped on others' word")
	}

	m.skew.Add(3700)
	m.refresh()
	if _, err := n.Erase(t.Context(), api.EraseRequest{Address: c.String()}); err != nil {
		t.Errorf("after its time: %v", err)
	}
	wantState(t, n, c, object.StateErased)
}

func TestGovernanceNeedsARoleAndAReason(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.nodes[0]
	n.running.Store(true)
	defer n.running.Store(false)
	c := addRetained(t, n, labelsFor(validator.RetainGovernance, m.now().Add(time.Hour), time.Time{}))
	_, err := n.Erase(t.Context(), api.EraseRequest{Address: c.String(), Reason: "a court order"})
	wantExit(t, "no override", err, fault.Denied)
	_, err = n.Erase(t.Context(), api.EraseRequest{Address: c.String(), Override: true, Reason: " "})
	wantExit(t, "no reason", err, fault.Usage)
	_, err = n.Erase(t.Context(), api.EraseRequest{Address: c.String(), Override: true, Reason: "a court order"})
	wantExit(t, "no role", err, fault.Denied)
	wantState(t, n, c, object.StateShared)

	giveRole(t, m, n, validator.RoleRetention)
	_, err = n.Erase(t.Context(), api.EraseRequest{Address: c.String(), Override: true, Reason: "a court order"})
	if err != nil {
		t.Fatalf("with role and reason: %v", err)
	}
	wantState(t, n, c, object.StateErased)
}

// The owner's node erases at the time that the label says, and nothing else; under a
// hold it waits.
func TestWhatExpiresIsErased(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n, officer := m.nodes[0], m.validators[0]
	n.running.Store(true)
	defer n.running.Store(false)
	soon := m.now().Add(time.Hour)
	gone, stays := addRetained(t, n, labelsFor(validator.RetainCompliance, soon, soon)), addRetained(t, n, nil)
	held := addRetained(t, n, labelsFor("", time.Time{}, soon))
	officer.running.Store(true)
	h, err := officer.Hold(t.Context(), api.HoldRequest{Address: held.String(), Reason: "case 7"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, n, gone, object.StateShared) // control: not before its time
	m.skew.Add(3700)
	m.refresh()
	if err := n.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, n, gone, object.StateErased)
	wantState(t, n, stays, object.StateShared)
	wantState(t, n, held, object.StateShared)
	if _, err := officer.Unhold(t.Context(), api.UnholdRequest{Hold: h.Hold}); err != nil {
		t.Fatal(err)
	}
	officer.running.Store(false)
	m.refresh()
	if err := n.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantState(t, n, held, object.StateErased)
}

func TestLabelsOfRetentionAreReadWhenAdding(t *testing.T) {
	for _, bad := range []map[string]string{
		{validator.LabelRetention: "governance"}, {validator.LabelRetainUntil: "2031-01-01T00:00:00Z"}, {validator.LabelExpireAt: "soon"},
	} {
		_, err := parseLabels(bad)
		wantExit(t, "labels", err, fault.Usage)
	}
	if _, err := parseLabels(labelsFor(validator.RetainGovernance, time.Now(), time.Now().Add(time.Hour))); err != nil {
		t.Error(err)
	}
}
