package testnet_test

import (
	"strings"
	"testing"
)

// TestGlassBreaksWhileTheOwnerIsAway follows a standing consent: the owner agrees
// to what emergency staff will ask for and turns its node off, and the reader's
// role, purpose and reason open the record, not one of them alone.
func TestGlassBreaksWhileTheOwnerIsAway(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	address, content := w.add("node1", "record.bin", 1000)
	reader := w.contact("node2")
	w.adopt(w.hospital())

	w.refuse(2, "node1", "consent", address, "--until", "90d")
	w.refuse(2, "node1", "consent", address, "--role", "emergency", "--to", reader, "--until", "90d")
	w.refuse(2, "node1", "consent", address, "--role", "emergency", "--until", "900d")
	given := w.ok("node1", "consent", address, "--role", "emergency", "--purpose", "emergency", "--purpose", "treatment", "--for", "1h", "--until", "90d")
	consent := given.str("consent")
	if given.num("kept") < 3 {
		t.Fatalf("consented: %v", given)
	}
	wantConsent(w, consent, "valid")
	if other := w.ok("node2", "consents").list("consents"); len(other) != 0 {
		t.Errorf("the reader is shown the owner's consents: %v", other)
	}
	sealed := w.path("record.car") // the hospital's sealed copy
	w.ok("node1", "export", address, "--car", sealed)
	w.ok("node3", "import", sealed)
	w.stop("node1")

	request := func(more ...string) []string {
		return append([]string{"request", address, "--can", "read", "--for", "1h"}, more...)
	}
	glass := []string{"--purpose", "emergency", "--reason", "cardiac arrest"}
	if said := w.refuse(3, "node2", request(glass...)...); !strings.Contains(said, "no standing consent") {
		t.Errorf("without the role: %s", said)
	}
	w.giveRole(reader, "emergency")
	if said := w.refuse(3, "node2", request("--purpose", "emergency")...); !strings.Contains(said, "wants a reason") {
		t.Errorf("without a reason: %s", said)
	}
	if said := w.refuse(3, "node2", request("--purpose", "research", "--reason", "r")...); !strings.Contains(said, "does not cover") {
		t.Errorf("for another purpose: %s", said)
	}
	w.denied(3, "node2", address, glass...) // nothing that was refused opens it
	granted := w.ok("node2", request(glass...)...)
	if granted.str("state") != "granted" || granted.num("signatures") < 3 {
		t.Fatalf("requested: %v", granted)
	}
	wantState(w, "node2", "--mine", granted.str("grant"), "valid")
	w.denied(3, "node2", address, "--purpose", "emergency") // the grant alone needs the reason too
	w.eventually("the copy is found", func() bool {         // its record takes a moment to reach the DHT
		return w.run("node2", append([]string{"get", address, "-o", w.path("found")}, glass...)...).code == 0
	})
	w.reads("node2", address, content, glass...)

	checkWaitingRequest(w, request("--purpose", "treatment", "--reason", "the wound"))

	w.restart("node1")
	w.eventually("the owner ends its consent", func() bool { return w.run("node1", "revoke", consent).code == 0 })
	wantConsent(w, consent, "revoked")
	w.denied(3, "node2", address, glass...)
	w.refuse(3, "node2", request(glass...)...)
	w.refuse(4, "node2", "revoke", consent) // it is not the reader's
}

// checkWaitingRequest has persons approve what policy leaves open, still without
// the owner.
func checkWaitingRequest(w *world, request []string) {
	w.Helper()
	asked := w.ok("node2", request...)
	id := asked.str("grant")
	if asked.str("state") != "pending" {
		w.Fatalf("requested: %v", asked)
	}
	wantState(w, "node2", "--mine", id, "pending")
	for _, v := range []string{"validator1", "validator2", "validator3"} {
		w.ok(v, "validator", "approve", id)
	}
	w.eventually("the grant is delivered", func() bool { return w.ok("node2", "status").num("pending") == 0 })
	wantState(w, "node2", "--mine", id, "valid")
}

func wantConsent(w *world, id, state string) {
	w.Helper()
	list := w.ok("node1", "consents").list("consents")
	if len(list) != 1 {
		w.Fatalf("consents: %v", list)
	}
	c := facts(list[0].(map[string]any))
	if c.str("consent") != id || c.str("state") != state || c.str("role") != "emergency" || c.num("seconds") != 3600 {
		w.Errorf("consent: %v, want it %s", c, state)
	}
}

// TestConsentsNarrow follows each caveat of a standing consent from its flag to what
// it stops, and to what it lets through.
func TestConsentsNarrow(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	path, content := w.file("classified.bin", 1000)
	address := w.ok("node1", "add", path, "--label", "classification=3").str("address")
	reader, third := w.contact("node2"), w.contact("node3")
	consent := func(more ...string) []string {
		return append([]string{"consent", address, "--to", reader, "--until", "90d"}, more...)
	}
	for says, bad := range map[string][]string{
		"0 to 7, not 8":      {"--depth", "8"},
		"0 to 7, not -1":     {"--depth", "-1"},
		"to 255, not 256":    {"--classification", "256"},
		"to 255, not -1":     {"--classification", "-1"},
		"region is empty":    {"--region", ""},
		"region is empty, ":  {"--region", "no\nline"},
		"invalid argument":   {"--classification", "high"},
		"purpose or region ": {"--region", strings.Repeat("r", 5000)},
	} {
		if said := w.refuse(2, "node1", consent(bad...)...); !strings.Contains(said, says) {
			t.Errorf("%.40q: %q is not in: %s", bad, says, said)
		}
	}
	if list := w.ok("node1", "consents").list("consents"); len(list) != 0 {
		t.Fatalf("what was refused is kept: %v", list)
	}

	request := func(more ...string) string {
		t.Helper()
		return w.ok("node2", append([]string{"request", address}, more...)...).str("grant")
	}
	end := func(id string) {
		t.Helper()
		w.ok("node1", "revoke", id)
		w.denied(3, "node2", address)
	}

	// The classification and the region are of what is read and of who reads it.
	low := w.ok("node1", consent("--classification", "2")...).str("consent")
	request()
	w.denied(3, "node2", address)
	end(low)
	here := w.ok("node1", consent("--classification", "3", "--region", "eu", "--region", "ch")...).str("consent")
	request()
	w.denied(3, "node2", address)
	w.giveRole(reader, "region/ch")
	w.reads("node2", address, content)
	if said := w.refuse(3, "node2", "request", address, "--depth", "1"); !strings.Contains(said, "does not cover") {
		t.Errorf("handed on without leave: %s", said)
	}
	said := w.run("node1", "consents").out
	for _, word := range []string{"classified 3 or lower", "only in eu, ch"} {
		if !strings.Contains(said, word) {
			t.Errorf("%q is not in the list: %s", word, said)
		}
	}
	end(here)

	// The depth is of what the reader makes of it.
	deep := w.ok("node1", consent("--depth", "1", "--for", "2h")...).str("consent")
	checkConsentFacts(w, deep)
	grant := request("--depth", "1", "--for", "2h")
	if said := w.refuse(3, "node2", "delegate", grant, "--to", third, "--for", "1h", "--depth", "1"); !strings.Contains(said, "wider") {
		t.Errorf("handed on twice: %s", said)
	}
	w.denied(3, "node3", address)
	w.ok("node2", "delegate", grant, "--to", third, "--for", "1h", "--classification", "3")
	w.reads("node3", address, content)
	w.ok("node1", "revoke", deep)
	w.denied(3, "node3", address)

	// Grants of the owner's own are bounded by the same flags.
	w.refuse(2, "node1", "grant", address, "--to", reader, "--classification", "256")
	w.ok("node1", "grant", address, "--to", third, "--region", "ch") // where the third is not
	w.denied(3, "node3", address)
	grant = w.ok("node1", "grant", address, "--to", reader, "--depth", "1", "--classification", "3", "--region", "ch").str("grant")
	w.reads("node2", address, content)
	for _, wider := range [][]string{{"--classification", "4"}, {"--region", "eu"}} {
		if said := w.refuse(3, "node2", append([]string{"delegate", grant, "--to", third, "--for", "1h"}, wider...)...); !strings.Contains(said, "wider") {
			t.Errorf("%v: %s", wider, said)
		}
	}
	w.ok("node2", "delegate", grant, "--to", third, "--for", "1h", "--region", "ch", "--classification", "3")
}

func checkConsentFacts(w *world, id string) {
	w.Helper()
	for _, c := range w.ok("node1", "consents").list("consents") {
		c := facts(c.(map[string]any))
		if c.str("consent") == id {
			if c.num("depth") != 1 || c["max_class"] != nil || c["regions"] != nil || !strings.Contains(c.str("can"), "delegate") {
				w.Errorf("%v", c)
			}
			return
		}
	}
	w.Errorf("%s is not listed", id)
}
