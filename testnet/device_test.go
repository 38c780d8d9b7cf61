package testnet_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written is a file with a line in it, for commands that take one.
func (w *world) written(name, text string) string {
	w.Helper()
	path := filepath.Join(w.tmp, name)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// owner makes an identity on a member, with its recovery secret in a file.
func (w *world) owner(member, name string) (recovery string) {
	w.Helper()
	recovery = filepath.Join(w.tmp, name+".recovery")
	w.stop(member)
	w.ok(member, "id", "new", name, "--recovery-file", recovery)
	w.restart(member)
	return recovery
}

func (w *world) contactOf(member, name string) string {
	w.Helper()
	return w.ok(member, "id", "show", name).str("contact")
}

// enrol makes a member a device of an identity that another one speaks for.
func (w *world) enrol(from, to, name string) {
	w.Helper()
	asked := w.ok(to, "id", "enrol", w.contactOf(from, name), "--name", name)
	added := w.ok(from, "id", "add-device", asked.str("request"), "--as", name)
	if added.str("state") != "effective" || added.num("acks") < 3 || added.str("device") != asked.str("device") {
		w.Fatalf("added: %v", added)
	}
	if got := w.ok(to, "id", "adopt", added.str("contact")); got.str("state") != "adopted" || got.str("device") != asked.str("device") {
		w.Fatalf("adopted: %v", got)
	}
}

// state is what a member says of the device that it is.
func (w *world) state(member, name string) string {
	w.Helper()
	for _, d := range w.ok(member, "id", "devices", "--as", name).list("devices") {
		if f := facts(d.(map[string]any)); f["this"] == true {
			return f.str("state")
		}
	}
	return ""
}

// TestStolenPhone: node1 is ann's laptop, node2 her phone, node3 a friend who
// grants, node4 another reader, node5 one who reads by node4.
func TestStolenPhone(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "5")
	recovery := w.owner("node1", "ann")

	// What was given to ann before there was a phone, the phone reads.
	friends, content := w.add("node3", "friend.bin", 300_000)
	given := w.ok("node3", "grant", friends, "--to", w.contactOf("node1", "ann"), "--can", "read,delegate", "--depth", "2", "--for", "1h").str("grant")
	asked := w.ok("node2", "id", "enrol", w.contactOf("node1", "ann"), "--name", "ann")
	w.denied(3, "node2", friends, "--as", "ann") // it has only asked
	if again := w.ok("node2", "id", "enrol", w.contactOf("node1", "ann"), "--name", "ann"); again.str("device") != asked.str("device") {
		t.Errorf("asking twice makes other keys: %v", again)
	}
	w.enrol("node1", "node2", "ann")
	w.reads("node2", friends, content, "--as", "ann")

	// The phone also reads what ann owns and the laptop added, and grants it.
	path, own := w.file("own.bin", 200_000)
	owned := w.ok("node1", "add", path, "--as", "ann").str("address")
	if got := w.reads("node2", owned, own, "--as", "ann"); len(got.list("releases")) < 3 {
		t.Errorf("an owner without a key got it from nobody: %v", got)
	}
	fromPhone := w.ok("node2", "grant", owned, "--to", w.contact("node4"), "--for", "1h").str("grant")
	delegated := w.ok("node2", "delegate", given, "--as", "ann", "--to", w.contact("node4"), "--can", "read,delegate", "--depth", "1", "--for", "30m").str("grant")
	below := w.ok("node4", "delegate", delegated, "--to", w.contact("node5"), "--can", "read", "--for", "10m").str("grant")
	w.reads("node4", owned, own)
	w.reads("node4", friends, content)

	// A phone cannot end the laptop, and says who can.
	devices := w.ok("node2", "id", "devices", "--as", "ann").list("devices")
	for _, d := range devices {
		if f := facts(d.(map[string]any)); f["this"] != true {
			if said := w.refuse(3, "node2", "id", "remove-device", f.str("device"), "--as", "ann"); !strings.Contains(said, "id recover") {
				t.Errorf("the way out is not named: %s", said)
			}
		}
	}

	// It is stolen. Before the recovery the thief reads; after it nobody answers.
	out := w.path("thief")
	w.ok("node2", "get", friends, "--as", "ann", "-o", out)
	recovered := w.ok("node1", "id", "recover", "--name", "ann", "--recovery-file", recovery, "--new-recovery-file", filepath.Join(w.tmp, "ann.next"))
	if recovered.str("state") != "effective" || recovered.num("acks") < 3 {
		t.Fatalf("recovered: %v", recovered)
	}
	w.eventually("the thief is refused", func() bool {
		return w.run("node2", "get", friends, "--as", "ann", "-o", w.path("thief")).code == 3
	})
	w.denied(3, "node2", friends, "--as", "ann")
	w.denied(3, "node2", owned, "--as", "ann")
	w.refuse(3, "node2", "grant", owned, "--as", "ann", "--to", w.contact("node4"), "--for", "1h")
	w.refuse(3, "node2", "delegate", given, "--as", "ann", "--to", w.contact("node4"), "--for", "10m")
	w.refuse(3, "node2", "id", "add-device", asked.str("request"), "--as", "ann")
	if got := w.state("node2", "ann"); got != "removed" {
		t.Errorf("the stolen device says that it is %s", got)
	}

	// What it signed before stays, and ann goes on.
	w.reads("node4", owned, own)
	w.reads("node4", friends, content)
	w.reads("node1", friends, content, "--as", "ann")
	w.reads("node5", friends, content)
	w.ok("node1", "revoke", below, "--as", "ann") // what a delegate of the phone's handed on
	w.denied(3, "node5", friends)
	w.reads("node4", friends, content)
	for _, grant := range []string{fromPhone, delegated} { // given on the phone, ended on the laptop
		w.ok("node1", "revoke", grant, "--as", "ann")
	}
	w.denied(3, "node4", owned)
	w.denied(3, "node4", friends)

	// A secret works once, and the next one is another.
	if said := w.refuse(3, "node1", "id", "recover", "--name", "ann", "--recovery-file", recovery, "--new-recovery-file", filepath.Join(w.tmp, "none")); !strings.Contains(said, "used already") {
		t.Errorf("%s", said)
	}
	if _, err := os.Stat(filepath.Join(w.tmp, "none")); err == nil {
		t.Error("a refused recovery leaves a new secret")
	}
	w.ok("node1", "id", "recover", "--name", "ann", "--recovery-file", filepath.Join(w.tmp, "ann.next"), "--new-recovery-file", filepath.Join(w.tmp, "ann.third"))
}

// TestLostLaptop: everything that spoke for ann is gone but her contact and her
// recovery secret; a mirror has the ciphertext.
func TestLostLaptop(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	recovery := w.owner("node1", "ann")
	path, content := w.file("own.bin", 200_000)
	address := w.ok("node1", "add", path, "--as", "ann").str("address")
	car := w.path("own.car")
	w.ok("node1", "export", address, "--car", car)
	w.ok("node3", "import", car) // the mirror
	contact := w.written("ann.contact", w.contactOf("node1", "ann"))
	w.kill("node1")

	w.denied(3, "node2", address)
	got := w.ok("node2", "id", "recover", contact, "--name", "ann", "--recovery-file", recovery, "--new-recovery-file", filepath.Join(w.tmp, "ann.next"))
	if got.str("state") != "effective" {
		t.Fatalf("recovered: %v", got)
	}
	if got := w.reads("node2", address, content, "--as", "ann"); len(got.list("releases")) < 3 {
		t.Errorf("got: %v", got)
	}
	w.ok("node2", "grant", address, "--to", w.contact("node3"), "--for", "1h")
	w.denied(3, "node2", address, "--as", "me")

	// The laptop turns up again, in other hands: it learns what became of it.
	w.restart("node1")
	w.eventually("the old laptop knows", func() bool { return w.state("node1", "ann") == "removed" })
	w.refuse(3, "node1", "grant", address, "--to", w.contact("node3"), "--for", "1h")
}

// TestDisposedDevice: who removes itself keeps nothing alive.
func TestDisposedDevice(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	w.owner("node1", "ann")
	friends, content := w.add("node3", "friend.bin", 100_000)
	w.grant("node3", friends, "node1", "read") // to another identity of the laptop
	w.ok("node3", "grant", friends, "--to", w.contactOf("node1", "ann"), "--for", "1h")
	if said := w.refuse(1, "node1", "id", "remove-device", "--as", "ann"); !strings.Contains(said, "last device") {
		t.Errorf("%s", said)
	}
	w.enrol("node1", "node2", "ann")
	w.reads("node2", friends, content, "--as", "ann")
	if got := w.ok("node2", "id", "remove-device", "--as", "ann"); got.str("state") != "effective" {
		t.Fatalf("removed: %v", got)
	}
	w.denied(3, "node2", friends, "--as", "ann")
	w.reads("node1", friends, content, "--as", "ann")
	if got := w.state("node2", "ann"); got != "removed" {
		t.Errorf("it says that it is %s", got)
	}
	// Enrolling again makes new keys.
	w.enrol("node1", "node2", "ann")
	w.reads("node2", friends, content, "--as", "ann")
}
