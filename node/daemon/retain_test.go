package daemon

import (
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// keptUntil is the retention that a home's object has, by its labels here.
func keptUntil(t *testing.T, n *Node, c cid.Cid) validator.Retention {
	t.Helper()
	l, err := heldHere(t, n, c).Labels()
	if err != nil {
		t.Fatal(err)
	}
	r, err := validator.ReadRetention(l.Labels)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A retention is made longer and stricter, and then nobody makes it shorter.
func TestARetentionIsLengthened(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	n := m.nodes[0]
	n.running.Store(true)
	defer n.running.Store(false)
	hour := m.now().Add(time.Hour).Truncate(time.Second)
	c := addRetained(t, n, nil)
	at := func(until time.Time, mode string) (*api.Retained, error) {
		return n.Retain(t.Context(), api.RetainRequest{Address: c.String(), Until: until.Unix(), Mode: mode})
	}
	_, err := at(hour, "")
	wantExit(t, "no mode yet", err, fault.Usage)
	for _, step := range []struct {
		until time.Time
		mode  string
		want  string
	}{
		{hour, validator.RetainGovernance, validator.RetainGovernance}, {hour.Add(time.Hour), "", validator.RetainGovernance},
		{hour.Add(time.Hour), validator.RetainCompliance, validator.RetainCompliance}, {hour.Add(2 * time.Hour), "", validator.RetainCompliance},
	} {
		got, err := at(step.until, step.mode)
		if err != nil || got.Mode != step.want || got.Deposits.Acknowledged != 4 || got.Objects != 1 {
			t.Fatalf("%+v: %+v, %v", step, got, err)
		}
		if kept := keptUntil(t, n, c); kept.Until != step.until.Unix() || kept.Mode != step.want {
			t.Errorf("%+v: the labels say %s", step, kept)
		}
		wantState(t, n, c, object.StateShared)
	}
	mustLog(t, n, event.Retain, event.OK, map[string]string{event.Object: event.Ref(c.Bytes())})
	for name, bad := range map[string]struct {
		until time.Time
		mode  string
	}{"shorter": {hour, ""}, "looser": {hour.Add(3 * time.Hour), validator.RetainGovernance}} {
		_, err := at(bad.until, bad.mode)
		wantExit(t, name, err, fault.Denied)
	}
	mustLog(t, n, event.Retain, event.Denied, map[string]string{event.Object: event.Ref(c.Bytes())})
	if kept := keptUntil(t, n, c); kept.Until != hour.Add(2*time.Hour).Unix() {
		t.Errorf("refused, and it is kept %s", kept)
	}
	_, err = n.Erase(t.Context(), api.EraseRequest{Address: c.String()})
	wantExit(t, "erased before its time", err, fault.Denied)
	m.skew.Add(int64(90 * time.Minute / time.Second)) // behind the first time, before the last
	m.refresh()
	_, err = n.Erase(t.Context(), api.EraseRequest{Address: c.String()})
	wantExit(t, "erased before its new time", err, fault.Denied)
	_, err = m.nodes[1].Retain(t.Context(), api.RetainRequest{Address: c.String(), Until: hour.Unix()})
	if fault.Of(err).Exit == fault.OK {
		t.Error("somebody else's node changes it")
	}
}

// In the mode governance the validators ask for the role, and where they refuse, the
// object stays as it was, and shared.
func TestAShorterRetentionNeedsTheRole(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.nodes[0]
	n.running.Store(true)
	defer n.running.Store(false)
	later := m.now().Add(2 * time.Hour).Truncate(time.Second)
	c := addRetained(t, n, labelsFor(validator.RetainGovernance, later, time.Time{}))
	order := api.RetainRequest{Address: c.String(), Until: later.Add(-time.Hour).Unix()}
	_, err := n.Retain(t.Context(), order)
	wantExit(t, "without the role", err, fault.Denied)
	if kept := keptUntil(t, n, c); kept.Until != later.Unix() {
		t.Errorf("refused, and it is kept %s", kept)
	}
	wantState(t, n, c, object.StateShared)
	giveRole(t, m, n, validator.RoleRetention)
	if got, err := n.Retain(t.Context(), order); err != nil || got.Deposits.Acknowledged < 3 {
		t.Fatalf("with the role: %+v, %v", got, err)
	}
	if kept := keptUntil(t, n, c); kept.Until != order.Until {
		t.Errorf("it is kept %s", kept)
	}
}
