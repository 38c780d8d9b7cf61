package daemon

import (
	"bytes"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// closedLog is a log of a node that takes nothing any more, as after an error of the disk.
func closedLog(t *testing.T, n *Node) *journal.Journal {
	t.Helper()
	c, err := n.home.AuditLog()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	log, err := audit.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(log, dir, n.people)
	if err == nil {
		err = j.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Rule 7: what cannot be recorded is not done. An operator may except reads, which then
// are counted; nothing else goes on.
func TestReadsThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	for excepted, exit := range map[bool]int{false: fault.Failed, true: fault.OK} {
		m := found(t, 2)
		m.refresh()
		owner := m.nodes[0]
		owner.home.Config.UnloggedReads = excepted
		address := addRetained(t, owner, nil)
		whole := owner.audit
		<-whole.Running() // whoever runs it has looked it up
		owner.audit = closedLog(t, owner)
		t.Cleanup(func() { owner.audit = whole })
		var got bytes.Buffer
		_, err := owner.GetStream(t.Context(), api.GetRequest{Address: address.String()}, &got)
		if got := fault.Of(err).Exit; got != exit {
			t.Errorf("excepted %v: a read exits %d, %v", excepted, got, err)
		}
		if n := owner.unlogged.Load(); excepted && (n != 1 || got.String() != "kept") || !excepted && n != 0 {
			t.Errorf("%d reads were not recorded, %q was read", n, got.String())
		}
		_, err = owner.AddStream(t.Context(), api.AddRequest{Name: "x"}, strings.NewReader("x"))
		wantExit(t, "an add", err, fault.Failed)
		_, err = owner.Retain(t.Context(), api.RetainRequest{Address: address.String(), Until: m.now().AddDate(1, 0, 0).Unix()})
		if err == nil {
			t.Error("something else went on")
		}
	}
}
