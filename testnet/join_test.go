package testnet_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/testnet/localnet"
)

// newcomer makes a home that belongs to no network.
func (w *world) newcomer(name string) {
	w.Helper()
	if _, err := w.network().Grow(name, localnet.RoleNode); err != nil {
		w.Fatal(err)
	}
}

// invited has a member invite, and returns the invitation's file and id.
func (w *world) invited(by, name string, flags ...string) (file, id string) {
	w.Helper()
	file = w.path(name + ".invite")
	f := w.ok(by, append([]string{"invite", "--name", name, "-o", file}, flags...)...)
	if f.str("text") != "" || f.str("file") != file {
		w.Errorf("the result has the secret, or not the file: %v", f)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		w.Errorf("%v, %v", info.Mode(), err)
	}
	return file, f.str("invitation")
}

// state is how an invitation stands at its maker.
func (w *world) invitation(by, id string) facts {
	w.Helper()
	for _, i := range w.ok(by, "invite", "--list").list("invitations") {
		if f := facts(i.(map[string]any)); f.str("invitation") == id {
			return f
		}
	}
	return nil
}

// TestJoin: a new home joins a running network by an invitation and reads a grant.
// The invitation is no good a second time, nor one that was revoked, nor in another
// network; and the member that came is removed again.
func TestJoin(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "1")
	w.newcomer("guest")
	w.newcomer("thief")
	address, content := w.add("node1", "data", 100_000)
	w.refuse(3, "node1", "invite") // a node's identity may not
	file, id := w.invited("validator1", "guest")
	if got := w.ok("guest", "join", file); got.str("network") != w.ok("node1", "status").str("network") || got.str("role") != "node" {
		t.Fatalf("%v", got)
	}
	w.refuse(1, "guest", "join", file) // it is a member now
	for name, member := range map[string]string{"thief": "thief", "node1": "node1"} {
		want := map[string]int{"thief": 3, "node1": 1}[member]
		if said := w.refuse(want, member, "join", file); want == 3 && !strings.Contains(said, "used") {
			t.Errorf("%s: %s", name, said)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "thief", "network.pem")); !os.IsNotExist(err) {
		t.Errorf("a join that was refused left a network: %v", err)
	}

	w.restart("guest")
	w.eventually("the guest is healthy", func() bool { return w.ok("guest", "status")["healthy"] == true })
	w.grant("node1", address, "guest", "read")
	w.comesToRead("guest", address, content)
	w.eventually("the inviter sees who came", func() bool {
		i := w.invitation("validator1", id)
		return i.str("state") == "used" && i.str("peer_id") == w.ok("guest", "status").str("peer_id")
	})

	// Leaving it out of a file would not keep it out, and that is said.
	if said := w.refuse(2, "validator1", "network", "rotate", "--without", w.ok("guest", "status").str("peer_id"), "-o", w.path("next.network")); !strings.Contains(said, "peers remove") {
		t.Error(said)
	}

	// One that was revoked in time.
	file, id = w.invited("validator1", "thief")
	w.ok("validator1", "invite", "--revoke", id)
	if said := w.refuse(3, "thief", "join", file); !strings.Contains(said, "revoked") {
		t.Error(said)
	}
	if got := w.invitation("validator1", id).str("state"); got != "revoked" {
		t.Errorf("it is %s", got)
	}

	// Two validators remove the guest; one is not enough.
	peer := w.ok("guest", "status").str("peer_id")
	connected := func() bool {
		for _, p := range w.ok("validator3", "peers").list("peers") {
			if facts(p.(map[string]any)).str("peer_id") == peer {
				return true
			}
		}
		return false
	}
	w.refuse(3, "node1", "peers", "remove", peer)
	if got := w.ok("validator1", "peers", "remove", peer, "--reason", "a test"); got.str("state") != "waits" || !connected() {
		t.Errorf("one validator alone: %v, connected %v", got, connected())
	}
	if got := w.ok("validator2", "peers", "remove", peer); got.str("state") != "removed" {
		t.Errorf("two of them: %v", got)
	}
	w.eventually("the guest is parted from", func() bool { return !connected() })
	w.eventually("the guest reads no more", func() bool {
		return w.run("guest", "get", address, "-o", w.path("more")).code != 0
	})
	w.eventually("nobody speaks to the guest, who goes on trying", func() bool { return w.ok("guest", "status").num("peers") == 0 })
	if connected() {
		t.Error("the guest came back")
	}
	w.reads("node1", address, content)
}

// TestInvitationsThatAreBad ends each with one sentence and a next step, and leaves
// the home as it was.
func TestInvitationsThatAreBad(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "0", "--validators", "1", "--threshold", "1", "--shares", "1", "--faults", "0")
	w.newcomer("guest")
	file, _ := w.invited("validator1", "guest")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := func(name, text string) string {
		path := w.path(name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	middle := len(text) / 2
	w.refuse(2, "guest", "join", bad("empty", ""))
	w.refuse(2, "guest", "join", bad("half", string(text[:middle])))
	w.refuse(2, "guest", "join", bad("network", strings.ReplaceAll(string(text), "INVITATION", "NETWORK")))
	damaged := []byte(string(text))
	for i := middle; ; i++ {
		if damaged[i] != '\n' && damaged[i] != 'A' {
			damaged[i] = 'A'
			break
		}
	}
	if r := w.run("guest", "join", bad("damaged", string(damaged))); r.code != 6 && r.code != 2 {
		t.Errorf("%s", r)
	}
	w.refuse(1, "guest", "join", w.path("missing"))
	for _, args := range [][]string{{"join", string(text)}, {"join", "--", string(text)}} { // a secret does not belong on a command line
		if r := w.run("guest", args...); r.code != 1 && r.code != 2 || strings.Contains(r.err, string(text[60:90])) {
			t.Errorf("exit %d, or the secret is repeated", r.code)
		}
	}
	w.refuse(2, "guest", "join")
	w.refuse(2, "validator1", "invite", "--role", "validator")
	w.refuse(2, "validator1", "invite", "--role", "king")
	w.refuse(2, "validator1", "invite", "--for", "31d")
	w.refuse(2, "validator1", "invite", "--for", "soon")
	w.refuse(1, "validator1", "invite", "-o", file) // it exists
	w.refuse(4, "validator1", "invite", "--revoke", strings.Repeat("0", 64))
	w.refuse(2, "validator1", "invite", "--revoke", "x")
	w.kill("validator1")
	w.refuse(5, "guest", "join", file)
	if _, err := os.Stat(filepath.Join(w.dir, "guest", "network.pem")); !os.IsNotExist(err) {
		t.Errorf("a join that failed left a network: %v", err)
	}
	w.restart("validator1")
	w.ok("guest", "join", file) // the control
}
