package testnet_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/policy/bundles"
)

// hospital copies a bundle out as its operators would.
func (w *world) hospital() string {
	w.Helper()
	files, err := bundles.Folder("hospital")
	if err != nil {
		w.Fatal(err)
	}
	text, err := fs.ReadFile(files, "policies.cedar")
	if err != nil {
		w.Fatal(err)
	}
	folder := filepath.Join(w.tmp, "hospital")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "policies.cedar"), text, 0o600); err != nil {
		w.Fatal(err)
	}
	return folder
}

// adopt has three validators sign a folder's policies and adopt them.
func (w *world) adopt(folder string) {
	w.Helper()
	file := w.path("next.policy")
	w.ok("validator1", "policy", "propose", folder, "-o", file)
	w.refuse(3, "validator1", "policy", "adopt", file) // nobody has signed it
	for _, v := range []string{"validator1", "validator2", "validator3"} {
		w.ok(v, "policy", "sign", file)
	}
	a := w.ok("validator1", "policy", "adopt", file)
	if a.num("version") != 1 || a.num("taken") < 3 {
		w.Fatalf("adopted: %v", a)
	}
	for _, v := range []string{"validator1", "validator2", "validator3", "validator4"} {
		w.eventually(v+" has the policy", func() bool { return w.ok(v, "policy", "show").num("version") == 1 })
	}
}

// TestAHospital follows a policy from its folder to a record that is read in an
// emergency: persons approve the grant, and a reason opens the record.
func TestAHospital(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "record.bin", 1000)
	reader := w.contact("node2")

	w.adopt(w.hospital())
	pending := w.ok("node1", "grant", address, "--to", reader, "--purpose", "emergency", "--for", "1h", "--reason", "the rota of May")
	grant := pending.str("grant")
	if pending.str("state") != "pending" || pending.str("token") != "" {
		t.Fatalf("granted: %v", pending)
	}
	wantState(w, "node1", "--issued", grant, "pending")
	if n := w.ok("node1", "status").num("pending"); n != 1 {
		t.Errorf("status counts %v pending grants", n)
	}
	w.denied(3, "node2", address, "--purpose", "emergency", "--reason", "r") // nobody has approved it
	checkDesk(w, grant)
	w.ok("validator1", "validator", "approve", grant)
	w.ok("validator2", "validator", "approve", grant[:12])
	w.refuse(4, "validator2", "validator", "approve", grant)
	w.ok("validator3", "validator", "approve", grant)
	w.eventually("the grant is delivered", func() bool {
		return w.ok("node1", "status").num("pending") == 0
	})
	wantState(w, "node1", "--issued", grant, "valid")
	wantState(w, "node2", "--mine", grant, "valid")

	// The grant is there, the role is not.
	if said := w.denied(3, "node2", address, "--purpose", "emergency", "--reason", "heart attack"); !strings.Contains(said, "denied by policy") {
		t.Errorf("the reader is not told that it is policy: %s", said)
	}
	w.giveRole(reader, "emergency")
	if said := w.denied(3, "node2", address, "--purpose", "emergency"); !strings.Contains(said, "--reason") || !strings.Contains(said, "denied by policy") {
		t.Errorf("the reader is not told what is wanted: %s", said)
	}
	w.reads("node2", address, content, "--purpose", "emergency", "--reason", "heart attack")
	checkSimulation(w, reader, address)

	w.ok("validator1", "role", "revoke", reader, "emergency")
	w.denied(3, "node2", address, "--purpose", "emergency", "--reason", "heart attack")
	checkDenial(w, address, reader)
	checkRestart(w, address, reader)
}

// giveRole has two persons give a role, which one alone cannot.
func (w *world) giveRole(to, role string) {
	w.Helper()
	roles := w.ok("validator2", "role", "assign", to, role, "--for", "12h").list("roles")
	if len(roles) != 1 {
		w.Fatalf("assigned: %v", roles)
	}
	waits := facts(roles[0].(map[string]any))
	id := waits.str("id")
	if waits.str("state") != "waits" || waits["kept"] != nil {
		w.Fatalf("one validator assigned: %v", waits)
	}
	again := w.ok("validator2", "validator", "approve", id) // the same person once more is nobody else
	if again.str("state") != "asked for" {
		w.Fatalf("asked twice by one: %v", again)
	}
	if list := w.ok("validator4", "role", "list").list("roles"); len(list) != 0 {
		w.Errorf("before the second asks there are %v", list)
	}
	said := w.run("validator3", "validator", "pending").out
	for _, word := range []string{id, "the role " + role, "asked by", "validator 2; 2 must ask"} {
		if !strings.Contains(said, word) {
			w.Errorf("%q is not in the words: %s", word, said)
		}
	}
	if given := w.ok("validator3", "validator", "approve", id[:12]); given.str("state") != "given" {
		w.Fatalf("the second asks: %v", given)
	}
	w.refuse(4, "validator3", "validator", "approve", id)
}

// checkDesk reads what waits at a validator.
func checkDesk(w *world, grant string) {
	w.Helper()
	list := w.ok("validator1", "validator", "pending").list("pending")
	if len(list) != 1 {
		w.Fatalf("pending: %v", list)
	}
	p := facts(list[0].(map[string]any))
	if p.str("id") != grant || p.str("reason") != "the rota of May" || p.num("objects") != 1 || !strings.Contains(p.str("policy"), "not settled") {
		w.Errorf("pending: %v", p)
	}
	r := w.run("validator1", "validator", "pending")
	for _, word := range []string{"the rota of May", "emergency", "user", "lineage", "1 object of it is here"} {
		if !strings.Contains(r.out, word) {
			w.Errorf("%q is not in the words: %s", word, r.out)
		}
	}
	w.refuse(3, "node1", "validator", "pending")
	w.refuse(3, "node1", "policy", "show")
	w.refuse(3, "node1", "role", "list")
	w.refuse(4, "validator1", "validator", "approve", strings.Repeat("ab", 32))
	w.refuse(2, "validator1", "validator", "approve", grant[:4])
	w.refuse(2, "validator1", "validator", "deny", grant)
}

// checkSimulation has policy explain itself to an operator.
func checkSimulation(w *world, reader, address string) {
	w.Helper()
	ask := func(more ...string) facts {
		return w.ok("validator4", append([]string{"policy", "simulate", "--as", reader, "--action", "read", "--on", address}, more...)...)
	}
	without := ask("--purpose", "emergency")
	if without["allow"] != false || !strings.Contains(without.str("why"), "emergency-needs-reason") || !slices.Equal(without.list("told"), []any{"reason"}) {
		w.Errorf("without a reason: %v", without)
	}
	if with := ask("--purpose", "emergency", "--reason", "r"); with["allow"] != true {
		w.Errorf("with a reason: %v", with)
	}
	if other := ask("--purpose", "treatment", "--role", "clinician", "--label", "sensitive=yes"); other["allow"] != false || !strings.Contains(other.str("why"), "sensitive-needs-attending") {
		w.Errorf("a sensitive record: %v", other)
	}
}

// checkDenial has two persons deny a grant, which makes it certain.
func checkDenial(w *world, address, reader string) {
	w.Helper()
	denied := w.ok("node1", "grant", address, "--to", reader, "--purpose", "research", "--for", "1h").str("grant")
	for _, v := range []string{"validator3", "validator4"} {
		w.eventually(v+" can deny", func() bool {
			return w.run(v, "validator", "deny", denied, "--reason", "research has its own network").code == 0
		})
	}
	w.eventually("the owner learns of the denial", func() bool {
		return w.ok("node1", "status").num("pending") == 0
	})
	wantState(w, "node1", "--issued", denied, "denied")
	if r := w.run("node1", "grants", "--issued"); !strings.Contains(r.out, "research has its own network") {
		w.Errorf("the owner is not told why: %s", r)
	}
}

// checkRestart has a grant wait while both sides restart.
func checkRestart(w *world, address, reader string) {
	w.Helper()
	grant := w.ok("node1", "grant", address, "--to", reader, "--purpose", "treatment", "--for", "1h").str("grant")
	w.kill("node1", "validator2")
	w.restart("validator2", "node1")
	if n := w.ok("validator2", "policy", "show").num("version"); n != 1 {
		w.Errorf("after a restart the policy has version %v", n)
	}
	wantState(w, "node1", "--issued", grant, "pending")
	for _, v := range []string{"validator1", "validator2", "validator3"} {
		w.eventually(v+" can approve", func() bool { return w.run(v, "validator", "approve", grant).code == 0 })
	}
	w.eventually("the grant is delivered", func() bool { return w.ok("node1", "status").num("pending") == 0 })
	wantState(w, "node2", "--mine", grant, "valid")
}
