package testnet_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestQuorum loses validators: one changes nothing, two stop reading and
// granting until they are back, and nothing that was added is lost.
func TestQuorum(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "first", 100_000)
	grant := w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)

	w.kill("validator4")
	w.reads("node2", address, content)
	path, second := w.file("second", 200_000)
	added := w.ok("node1", "add", path)
	deposits := facts(added["deposits"].(map[string]any))
	if added.str("state") != "shared" || deposits.num("acknowledged") != 3 || deposits["safe"] != false {
		t.Errorf("with a validator gone: %v", added)
	}
	if n := outbox(w); n != 1 {
		t.Errorf("%v wait in the outbox, not 1", n)
	}
	w.grant("node1", added.str("address"), "node2", "read")
	w.reads("node2", added.str("address"), second)

	// The outbox outlives its process, and heals what it can by itself.
	w.kill("node1")
	w.restart("node1")
	if n := outbox(w); n != 1 {
		t.Errorf("after a crash %v wait in the outbox, not 1", n)
	}
	w.restart("validator4")
	w.eventually("an empty outbox", func() bool { return outbox(w) == 0 })
	w.kill("validator1")
	got := w.comesToRead("node2", added.str("address"), second)
	if fmt.Sprint(got.list("releases")) == "[]" || !strings.Contains(fmt.Sprint(got.list("releases")), "4") {
		t.Errorf("validator 4 did not release what the outbox brought it: %v", got)
	}

	w.kill("validator2")
	for _, said := range []string{
		w.denied(5, "node2", address),
		w.denied(5, "node2", address, "--range", "0-9"),
		w.refuse(5, "node1", "grant", address, "--to", w.contact("node2"), "--can", "read", "--for", "1h"),
	} {
		if !strings.Contains(said, "needs 3 of 4") || !strings.Contains(said, "3, 4") {
			t.Errorf("how many are needed, and who answered? %s", said)
		}
	}
	w.denied(5, "node2", unknown())
	w.reads("node1", address, content) // the owner needs nobody
	path, third := w.file("third", 300_000)
	local := w.ok("node1", "add", path)
	if local.str("state") != "local" {
		t.Fatalf("with two validators gone: %v", local)
	}
	w.reads("node1", local.str("address"), third)
	if o := w.object("node1", local.str("address")); o.str("state") != "local" {
		t.Errorf("listed as %v", o)
	}

	w.restart("validator1", "validator2")
	w.eventually("shared by itself", func() bool { return w.object("node1", local.str("address")).str("state") == "shared" })
	w.grant("node1", local.str("address"), "node2", "read")
	w.comesToRead("node2", local.str("address"), third)
	w.eventually("an empty outbox", func() bool { return outbox(w) == 0 })
	w.ok("node1", "revoke", grant)
	w.denied(3, "node2", address)
	w.ok("node1", "verify")
}

func outbox(w *world) float64 {
	w.Helper()
	return w.ok("node1", "status").num("outbox")
}

// TestColdStart kills everybody at once. A network that starts cold must not
// wait for itself, and what was revoked stays revoked.
func TestColdStart(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "kept", 50_000)
	other, _ := w.add("node1", "revoked", 50_000)
	w.grant("node1", address, "node2", "read")
	gone := w.grant("node1", other, "node2", "read")
	w.ok("node1", "revoke", gone)
	everybody := []string{"validator1", "validator2", "validator3", "validator4", "node1", "node2"}
	w.kill(everybody...)
	w.restart(everybody[0]) // alone it is not ready, and must not fail for it
	w.restart(everybody[1:]...)
	w.reads("node2", address, content)
	w.denied(3, "node2", other)
}
