package testnet_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"github.com/ipfs/go-cid"
)

// unknown is a well-formed address of nothing.
func unknown() string { return envelope.CIDOf([]byte("nobody ever added this"), cid.DagCBOR).String() }

// checkPurpose reads under a grant for one purpose: who holds it is told which.
func checkPurpose(w *world) {
	path, content := w.file("study.bin", 1000)
	address := w.ok("node1", "add", path).str("address")
	w.ok("node1", "grant", address, "--to", w.contact("node2"), "--purpose", "research", "--for", "1h")
	for _, purpose := range [][]string{nil, {"--purpose", "marketing"}} {
		if said := w.denied(3, "node2", address, purpose...); !strings.Contains(said, "purposes research") {
			w.Errorf("the reader is not told the purpose: %s", said)
		}
	}
	w.reads("node2", address, content, "--purpose", "research")
}

// TestSharing is the product's main story, told by one command after another.
func TestSharing(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	checkEnv(w)

	path, content := w.file("data.bin", 5_000_000)
	added := w.ok("node1", "add", path)
	address := added.str("address")
	deposits := facts(added["deposits"].(map[string]any))
	if added.str("state") != "shared" || deposits.num("acknowledged") != 4 || deposits["safe"] != true {
		t.Fatalf("added: %v", added)
	}
	w.reads("node1", address, content)

	// Whether it exists is not for somebody without a grant to know: the same
	// code, and the same words but for the address.
	exists := w.denied(3, "node2", address)
	missing := w.denied(3, "node2", unknown())
	if strings.ReplaceAll(exists, address, "") != strings.ReplaceAll(missing, unknown(), "") {
		t.Errorf("the words tell what exists:\n%s%s", exists, missing)
	}
	w.denied(2, "node2", address+"x")

	given := w.ok("node1", "grant", address, "--to", w.contact("node2"), "--can", "read,delegate", "--for", "1h")
	grant, token := given.str("grant"), given.str("token")
	if given.str("state") != "granted" || given.num("signatures") < 3 {
		t.Fatalf("granted: %v", given)
	}
	got := w.reads("node2", address, content)
	if len(got.list("releases")) < 3 || fmt.Sprint(got.list("from")) != fmt.Sprint([]any{w.ok("node1", "status").str("peer_id")}) {
		t.Errorf("got: %v", got)
	}
	w.denied(3, "node3", address)
	checkOutputs(w, address, content)
	checkTokens(w, address, grant, token)

	delegated := w.ok("node2", "delegate", grant, "--to", w.contact("node3"), "--can", "read", "--for", "30m").str("grant")
	w.reads("node3", address, content)
	w.refuse(3, "node2", "delegate", grant, "--to", w.contact("node3"), "--can", "read,audit", "--for", "30m")
	w.refuse(3, "node2", "delegate", grant, "--to", w.contact("node3"), "--can", "read", "--for", "2h")
	w.refuse(3, "node3", "delegate", delegated, "--to", w.contact("node2"), "--can", "read", "--for", "10m")
	w.refuse(4, "node2", "delegate", strings.Repeat("ab", 32), "--to", w.contact("node3"), "--can", "read", "--for", "30m")
	w.refuse(4, "node2", "grant", address, "--to", w.contact("node3"), "--can", "read", "--for", "30m")
	w.refuse(4, "node3", "revoke", grant) // nothing that this home gave

	wantState(w, "node2", "--mine", grant, "valid")
	wantState(w, "node3", "--mine", delegated, "valid")
	wantState(w, "node1", "--issued", grant, "valid")
	checkShown(w, "node3", delegated[:12], "valid", "it is in force until 20", "to be handed on once")
	revoked := w.ok("node1", "revoke", grant, "--reason", "the story's end")
	if revoked.num("acks") < 3 || len(revoked.list("residue")) == 0 {
		t.Errorf("revoked: %v", revoked)
	}
	for _, reader := range []string{"node2", "node3"} {
		if said := w.denied(3, reader, address); !strings.Contains(said, "revoked") {
			t.Errorf("%s is not told why: %s", reader, said)
		}
		w.denied(3, reader, address, "--range", "0-9")
	}
	wantState(w, "node2", "--mine", grant, "revoked")
	wantState(w, "node3", "--mine", delegated, "revoked")
	checkShown(w, "node3", delegated, "revoked", "the grant was revoked by ", "the story's end")
	w.stop("node3") // what it holds is told without the network
	checkShown(w, "node3", delegated, "revoked", "the grant was revoked by ", "The owner consented to this grant alone")
	w.restart("node3")
	checkPurpose(w)
	wantState(w, "node1", "--issued", grant, "revoked")
	w.refuse(3, "node2", "delegate", grant, "--to", w.contact("node3"), "--can", "read", "--for", "10m")
	w.refuse(3, "node2", "grant-accept", token)
	w.reads("node1", address, content)

	// A new grant works beside the revoked one.
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
}

// checkEnv sources the file that up wrote in a shell of its own.
func checkEnv(w *world) {
	w.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		w.Log("SKIPPED, NOT TESTED: no shell to source the environment in")
		return
	}
	c := exec.Command(sh, "-c", `. "$1"; cerebrum testnet status >/dev/null && CEREBRUM_HOME=$node1 cerebrum -q status`, "sh", filepath.Join(w.dir, "env"))
	c.Env = environment("")
	if r := finish(w.T, c); r.code != 0 || !strings.Contains(r.out, filepath.Join(w.dir, "node1")) {
		w.Fatalf("the environment does not work: %s", r)
	}
}

// checkOutputs reads to standard output, and parts.
func checkOutputs(w *world, address string, content []byte) {
	w.Helper()
	r := w.run("node2", "get", address, "-o", "-")
	if r.code != 0 || r.out != string(content) {
		w.Errorf("standard output: exit %d, %d bytes: %.300s", r.code, len(r.out), r.err)
	}
	out := w.path("exists")
	if err := os.WriteFile(out, []byte("mine"), 0o600); err != nil {
		w.Fatal(err)
	}
	w.refuse(1, "node2", "get", address, "-o", out)
	if raw, _ := os.ReadFile(out); string(raw) != "mine" {
		w.Error("an existing file was replaced without --force")
	}
	w.ok("node2", "get", address, "-o", out, "--force")
	if raw, _ := os.ReadFile(out); !bytes.Equal(raw, content) {
		w.Error("--force did not replace the file")
	}
	last := len(content) - 1
	leaf := envelope.PlainLeaf
	for _, r := range [][2]int{
		{0, 0}, {len(content) / 2, len(content)/2 + 9}, {last, last}, {0, last},
		{leaf - 1, leaf}, {leaf, leaf}, {leaf - 70_000, 3*leaf + 70_000}, {last - 100, last},
	} {
		span := fmt.Sprintf("%d-%d", r[0], r[1])
		for _, reader := range []string{"node1", "node2"} {
			w.reads(reader, address, content[r[0]:r[1]+1], "--range", span)
		}
	}
	for _, span := range []string{
		fmt.Sprintf("%d-%d", len(content), len(content)), "5-4", "x-y", "-1", "0-99999999999999999999",
	} {
		for _, reader := range []string{"node1", "node2"} {
			w.denied(2, reader, address, "--range", span)
		}
	}
}

// checkTokens has the token tried by those for whom it is not.
func checkTokens(w *world, address, grant, token string) {
	w.Helper()
	w.refuse(3, "node3", "grant-accept", token)
	for _, at := range []int{len(token) / 3, len(token) / 2, len(token) - 20} {
		b := []byte(token)
		b[at] ^= 1
		if r := w.run("node2", "grant-accept", string(b)); r.code != 2 && r.code != 6 {
			w.Errorf("a token damaged at %d: %s", at, r)
		}
	}
	w.refuse(2, "node2", "grant-accept", token[:len(token)/2])
	if g := w.ok("node2", "grant-accept", token); g.str("grant") != grant {
		w.Errorf("accepted: %v", g)
	}

	// With its node stopped the home still knows the grant: it was kept.
	w.stop("node2")
	wantState(w, "node2", "--mine", grant, "valid")
	w.ok("node2", "id", "new", "other", "--recovery-file", filepath.Join(w.tmp, "recovery"))
	w.denied(5, "node2", address)
	w.restart("node2")
	w.denied(3, "node2", address, "--as", "other")
	w.refuse(3, "node2", "grant-accept", token, "--as", "other")
	w.refuse(2, "node2", "get", address, "-o", w.path("nobody"), "--as", "nobody")
}

// wantState finds a grant in a list and checks its state.
func wantState(w *world, member, which, grant, state string) {
	w.Helper()
	for _, g := range w.ok(member, "grants", which).list("grants") {
		if f := facts(g.(map[string]any)); f.str("grant") == grant {
			if f.str("state") != state {
				w.Errorf("%s %s: %s is %s, not %s", member, which, grant, f.str("state"), state)
			}
			return
		}
	}
	w.Errorf("%s %s: %s is not listed", member, which, grant)
}

// checkShown has a member tell a grant with one link in words, and in JSON.
func checkShown(w *world, member, id, state string, words ...string) {
	w.Helper()
	r := w.run(member, "grant-show", id)
	for _, word := range append(words, state, "Signed by validators ", "3 of 4 have to", "Link 1") {
		if r.code != 0 || !strings.Contains(r.out, word) {
			w.Errorf("%q is missing: %s", word, r)
		}
	}
	grants := w.ok(member, "grant-show", id).list("grants")
	if len(grants) != 1 {
		w.Fatalf("shown: %v", grants)
	}
	if g := facts(grants[0].(map[string]any)); g.str("state") != state || len(g.list("chain")) != 2 || len(g.list("validators")) < 3 || g.str("why") == "" {
		w.Errorf("shown: %v", g)
	}
	w.refuse(4, member, "grant-show", strings.Repeat("ab", 32))
	w.refuse(2, member, "grant-show", "no-grant")
}

// TestNoPlaintextAtRest greps every file of every home and log, at the level
// that logs most.
func TestNoPlaintextAtRest(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2", "--log", "debug")
	const canary = "CANARY-4f1d9a-in-plain-words"
	const name = "canaryname-77aa31"
	path := filepath.Join(w.tmp, name+".txt")
	if err := os.WriteFile(path, bytes.Repeat([]byte(canary+" and some more\n"), 60_000), 0o600); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(w.tmp, name+"-small.txt")
	if err := os.WriteFile(small, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, small} {
		content, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		address := w.ok("node1", "add", p).str("address")
		w.grant("node1", address, "node2", "read")
		w.reads("node2", address, content)
		w.reads("node1", address, content)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		c := w.command(ctx, "node1", "--json", "add", "-")
		c.Stdin = bytes.NewReader(content)
		if r := finish(t, c); r.code != 0 {
			t.Errorf("add from a pipe: %s", r)
		}
		cancel()
	}
	if found := grep(t, w.dir, canary, name); len(found) > 0 {
		t.Errorf("plaintext in %v", found)
	}
	// The search can find: a log that did hold it would be named.
	if err := os.WriteFile(filepath.Join(w.dir, "control.log"), []byte("x"+canary+"y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := grep(t, w.dir, canary, name); len(found) != 1 {
		t.Errorf("the search finds %v", found)
	}
}

func grep(t *testing.T, dir string, words ...string) (found []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files++
		for _, word := range words {
			if bytes.Contains(raw, []byte(word)) {
				found = append(found, p)
				break
			}
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Fatalf("searched %d files: %v", files, err)
	}
	return found
}
