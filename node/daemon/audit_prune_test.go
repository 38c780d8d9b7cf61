package daemon

import (
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/people"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// Entries go once they are archived and no hold is in force, and a quarter is a file.
func TestOldEntriesOfTheLogAreRemoved(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	n, officer := m.nodes[0], m.validators[0]
	address, dealt := addSmall(t, n, "x")
	if got := n.quorum.SendDeposits(t.Context(), dealt.Requests); len(got) < 3 {
		t.Fatalf("%v", got)
	}
	archive := func(n *Node) string {
		t.Helper()
		c, err := n.audit.Log().Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Note)
	}
	officer.running.Store(true)
	defer officer.running.Store(false)
	h, err := officer.Hold(t.Context(), api.HoldRequest{Address: address.String(), Reason: "case 7"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.record(t.Context(), event.Start, event.OK, event.Act{}); err != nil {
		t.Fatal(err)
	}
	if err := n.endPeriod(t.Context()); err != nil || len(n.audit.Log().Segments()) != 1 {
		t.Errorf("in the middle of a quarter: files %v, %v", n.audit.Log().Segments(), err)
	}
	old, next := n.audit.Size(), people.QuarterOf(m.now()).End()
	m.skew.Add(int64(next.Sub(m.now())/time.Second) + 1)
	for range 2 { // the second time there is nothing to end
		if err := n.endPeriod(t.Context()); err != nil || len(n.audit.Log().Segments()) != 2 {
			t.Errorf("after the end of a quarter: files %v, %v", n.audit.Log().Segments(), err)
		}
	}
	m.refresh()
	order := api.AuditPruneRequest{Before: next.UnixMilli(), Checkpoint: archive(n)}
	_, err = n.AuditPrune(t.Context(), order)
	wantExit(t, "under a hold", err, fault.Denied)
	ask := api.AuditPruneRequest{Before: next.UnixMilli(), Ask: true} // before an archive is made
	_, err = n.AuditPrune(t.Context(), ask)
	wantExit(t, "asked for under a hold", err, fault.Denied)
	mustLog(t, n, event.Prune, event.Denied, nil)
	if _, err := officer.Unhold(t.Context(), api.UnholdRequest{Hold: h.Hold}); err != nil {
		t.Fatal(err)
	}
	m.refresh()
	for name, bad := range map[string]string{"another log's": archive(m.nodes[1]), "none": ""} {
		_, err := n.AuditPrune(t.Context(), api.AuditPruneRequest{Before: next.UnixMilli(), Checkpoint: bad})
		wantExit(t, name, err, fault.Integrity)
	}
	if got, err := n.AuditPrune(t.Context(), ask); err != nil || got.Removed != 0 {
		t.Errorf("asked for, it says %+v, %v", got, err)
	}
	if n.audit.Log().First() != 0 { // the control
		t.Fatalf("the log begins with %d", n.audit.Log().First())
	}
	got, err := n.AuditPrune(t.Context(), order)
	if err != nil || got.First != old || got.Removed != old {
		t.Fatalf("%+v, %v; want %d", got, err, old)
	}
	mustLog(t, n, event.Prune, event.OK, nil)
	if got, err := n.AuditPrune(t.Context(), order); err != nil || got.Removed != 0 {
		t.Errorf("again: %+v, %v", got, err)
	}
	if limits := n.prunedLimit(); len(limits) != 1 || len(m.nodes[1].prunedLimit()) != 0 {
		t.Errorf("it says %q", limits)
	}
	if _, err := n.audit.Prove(t.Context(), 0); err != nil {
		t.Errorf("the first entry cannot be proven any more: %v", err)
	}
}
