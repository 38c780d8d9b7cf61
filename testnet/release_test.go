package testnet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// onlyReleases is the rules that README.md shows.
func onlyReleases(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "which policies can ask for:\n\n")
	rules, _, ended := strings.Cut(rest, "\n\nWith these rules")
	if !found || !ended || strings.Count(rules, "forbid (") != 2 {
		t.Fatal("README.md shows no rules for releases")
	}
	return strings.ReplaceAll("\n"+rules+"\n", "\n    ", "\n")
}

// TestARelease follows a table of people: whoever has a grant reads it as long as policy
// lets them; once policy asks for anonymisation, neither a new grant nor the old one opens
// it, and its release can be granted, read, and traced to the table it was made of.
func TestARelease(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	table := filepath.Join(w.tmp, "patients.csv")
	text := "name,age,sex,diagnosis\n"
	for i := range 40 {
		text += fmt.Sprintf("Person %d,%d,%s,%s\n", i, 20+i, []string{"F", "M"}[i%2], []string{"flu", "cold", "gout"}[i%3])
	}
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	source := w.ok("node1", "add", table, "--label", "classification=3").str("address")

	// The control: without the policy the grant works.
	w.grant("node1", source, "node2", "read")
	w.reads("node2", source, []byte(text))

	folder := filepath.Join(w.tmp, "releases")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "policies.cedar"), []byte("@id(\"everything\")\npermit (principal, action, resource);\n"+onlyReleases(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.adopt(folder)
	if said := w.refuse(3, "node1", "grant", source, "--to", w.contact("node3"), "--can", "read", "--for", "1h"); !strings.Contains(said, "policy") {
		t.Errorf("the owner is not told that it is policy: %s", said)
	}
	if said := w.denied(3, "node2", source); !strings.Contains(said, "denied by policy") {
		t.Errorf("the reader of before is not told that it is policy: %s", said)
	}
	w.denied(3, "node3", source)
	w.reads("node1", source, []byte(text)) // the owner's own

	address, report := w.release(table)
	w.grant("node1", address, "node3", "read")
	w.grant("node1", report, "node3", "read")
	checkRelease(w, source, address, report, []byte(text))
	w.denied(3, "node2", address) // the grant of the source is none of the release
}

// release makes a release on node1 and returns its address and its report's.
func (w *world) release(table string) (address, report string) {
	w.Helper()
	f := w.ok("node1", "anonymize", table, "-o", filepath.Join(w.tmp, "release.csv"), "--quasi", "age,sex", "--sensitive", "diagnosis", "--drop", "name",
		"--k", "4", "--l", "2", "--suppress-limit", "0.2", "--share", "--label", "classification=3")
	shared, _ := f["shared"].(map[string]any)
	address, report = facts(shared).str("address"), facts(shared).str("report")
	if address == "" || report == "" || facts(shared).str("state") != "shared" {
		w.Fatalf("shared: %v", f)
	}
	return address, report
}

// checkRelease has another member get a release, and hold it against what it says of itself.
func checkRelease(w *world, source, address, report string, table []byte) {
	w.Helper()
	content, err := os.ReadFile(filepath.Join(w.tmp, "release.csv"))
	if err != nil {
		w.Fatal(err)
	}
	got := w.reads("node3", address, content)
	if bytes.Contains(content, []byte("Person")) || bytes.Count(content, []byte("\n")) < 30 {
		w.Errorf("that is no release: %.200s", content)
	}
	origin, _ := got["origin"].(map[string]any)
	sum := sha256.Sum256(table)
	o := facts(origin)
	if o.str("source") != hex.EncodeToString(sum[:]) || !strings.HasPrefix(o.str("method"), "4-anonymity, distinct 2-diversity of diagnosis by coarsening") || o.str("report") != report {
		w.Errorf("the manifest names %v", origin)
	}
	if words := w.run("node3", "get", address, "-o", w.path("again.csv")); words.code != 0 || !strings.Contains(words.err, "a release, says its owner: 4-anonymity") {
		w.Errorf("a person is not told: %s", words)
	}
	out := w.path("report.json")
	w.ok("node3", "get", o.str("report"), "-o", out)
	raw, err := os.ReadFile(out)
	if err != nil {
		w.Fatal(err)
	}
	var said struct {
		Output struct{ SHA256 string }
		Input  struct{ SHA256 string }
	}
	released := sha256.Sum256(content)
	if err := json.Unmarshal(raw, &said); err != nil || said.Output.SHA256 != hex.EncodeToString(released[:]) || said.Input.SHA256 != o.str("source") {
		w.Errorf("the report is of another release: %v, %+v", err, said)
	}
	log := w.run("node1", "audit", "log", "--action", "anonymise", "--object", address)
	if log.code != 0 || strings.Count(log.out, "\n") != 1 || !strings.Contains(log.out, "4-anonymity") {
		w.Errorf("the release is not in the log: %s", log)
	}
	if other := w.run("node1", "audit", "log", "--action", "anonymise", "--object", source); other.out != "" {
		w.Errorf("the table is in the log as a release: %s", other)
	}
}
