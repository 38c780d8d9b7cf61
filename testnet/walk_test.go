package testnet_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shownLine is a command line of an example, without its comment.
var shownLine = regexp.MustCompile(`(?m)^    cerebrum (.*?)(?: +#.*)?$`)

// section are the commands that a section of the README tells its readers to type.
func section(t *testing.T, heading string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "\n## "+heading+"\n")
	text, _, _ := strings.Cut(rest, "\n## ")
	for _, m := range shownLine.FindAllStringSubmatch(text, -1) {
		lines = append(lines, m[1])
	}
	if !found || len(lines) == 0 {
		t.Fatalf("the README has no commands under %q", heading)
	}
	return lines
}

// step is who types a command of the README, and what must be on its screen.
type step struct {
	line   string // as the README has it
	member string
	before func()
	says   string
	skip   bool // it does not end by itself; another test follows it
}

// walk types a section of the README as it is written, but for the words in capitals. A
// line that the steps do not have, or have elsewhere, fails.
func (w *world) walk(heading string, words *strings.Replacer, steps []step) {
	w.Helper()
	lines := section(w.T, heading)
	for i, line := range lines {
		if i >= len(steps) || steps[i].line != line {
			w.Fatalf("%s: line %d of the README is %q, which this test does not know there", heading, i+1, line)
		}
		s := steps[i]
		if s.before != nil {
			s.before()
		}
		if s.skip {
			continue
		}
		command, file, redirected := strings.Cut(words.Replace(line), " > ")
		r := w.run(s.member, strings.Fields(command)...)
		if r.code != 0 || !strings.Contains(r.out, s.says) {
			w.Fatalf("%s: it does not say %q: %s", heading, s.says, r)
		}
		if redirected {
			if err := os.WriteFile(filepath.Join(w.tmp, file), []byte(r.out), 0o600); err != nil {
				w.Fatal(err)
			}
		}
	}
	if len(lines) != len(steps) {
		w.Fatalf("%s: the README has %d lines, this test %d", heading, len(lines), len(steps))
	}
}

// TestReadmeWalkThroughs does what the README says about answering for a network: prove
// to an auditor, answer a person, review, and forget, on processes.
func TestReadmeWalkThroughs(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "secret", 10_000)
	w.refuse(3, "node2", "get", address, "-o", filepath.Join(w.tmp, "denied"))
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
	unused, _ := w.add("node1", "unused", 1000)
	w.grant("node1", unused, "node2", "read")
	var receipt facts
	w.eventually("a receipt of the release", func() bool {
		for _, r := range w.ok("node2", "audit", "receipts", "--object", address).list("receipts") {
			if f := facts(r.(map[string]any)); f.str("outcome") == "ok" {
				receipt = f
			}
		}
		return receipt != nil
	})
	network, validator := w.ok("node1", "status").str("network"), validatorOf(receipt)
	files, err := filepath.Glob(filepath.Join(w.dir, "*.network"))
	if err != nil || len(files) != 1 {
		t.Fatalf("network files %v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.tmp, "my.network"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	words := strings.NewReplacer("NETWORK-ID", network, "ADDRESS", address, " ID ", " "+receipt.str("id")+" ")
	later := func() { w.ok(validator, "audit", "export", "-o", filepath.Join(w.tmp, "later.bundle")) }
	w.walk("Prove to an auditor", words, []step{
		{line: "audit log", member: validator, says: "release ok"},
		{line: "audit log --object ADDRESS --since 7d --action release", member: validator, says: "release ok"},
		{line: "--json audit log --follow", skip: true},
		{line: "network show my.network", says: network},
		{line: "audit export -o validator1.bundle", member: validator, says: "entries of"},
		{line: "audit verify validator1.bundle --network NETWORK-ID", says: "it holds"},
		{line: "audit log validator1.bundle", says: "release ok"},
		{line: "audit verify validator1.bundle --network NETWORK-ID --keep validator1.checkpoint", says: "it holds"},
		{line: "audit verify later.bundle --network NETWORK-ID --known validator1.checkpoint", before: later, says: "goes on from the checkpoint that you kept"},
		{line: "audit verify validator1.bundle --network NETWORK-ID --witnesses 2", says: "other validators have seen that checkpoint"},
		{line: "audit archive --before 730d -o 2024.bundle", member: validator, says: "nothing was removed"},
		{line: "audit receipts --object ADDRESS", member: "node2", says: receipt.str("id")[:8]},
		{line: "audit receipt ID -o release.receipt", member: "node2"},
		{line: "audit verify release.receipt --network NETWORK-ID", says: "release"},
		{line: "audit verify validator1.bundle --network NETWORK-ID --receipt release.receipt", says: "is what the receipt " + receipt.str("id")},
	})
	w.answersBen(words, network)
}

// answersBen answers node2's person, reviews what node1 gave, and forgets.
func (w *world) answersBen(words *strings.Replacer, network string) {
	w.Helper()
	ben := w.ok("node2", "id", "show")
	if err := os.WriteFile(filepath.Join(w.tmp, "ben.contact"), []byte(ben.str("contact")+"\n"), 0o600); err != nil {
		w.Fatal(err)
	}
	w.walk("Review access, keep a register, retain", words, []step{
		{line: "access-review --unused 30d --expiring 7d", member: "node1", says: "2 grants, 1 holder, 2 end soon"},
		{line: "access-review --all", member: "validator1", says: "1 holder"},
		{line: "records --csv > register.csv", member: "node1", says: "object,name,controller"},
		{line: "add trial.csv --retention compliance --retain-until 2031-12-31 --expire-at 2032-06-30", before: func() { w.file("trial.csv", 100) }, member: "node1"},
		{line: "retain ADDRESS --until 2035-12-31", skip: true}, // of what has no mode yet; below
		{line: "erase ADDRESS --override-retention --reason order-9", skip: true},
		{line: "add trial.csv --label residency=ch,eu", member: "node1"},
	})
	kept := w.ok("node1", "add", filepath.Join(w.tmp, "trial.csv"), "--retention", "compliance", "--retain-until", "2031-12-31").str("address")
	if f := w.ok("node1", "retain", kept, "--until", "2035-12-31"); f.str("mode") != "compliance" || !strings.HasPrefix(f.str("until"), "2035-12-31") {
		w.Errorf("it is retained: %v", f)
	}
	w.refuse(3, "node1", "retain", kept, "--until", "2033-12-31")
	w.refuse(3, "node1", "erase", kept)

	before, after := filepath.Join(w.tmp, "before.bundle"), filepath.Join(w.tmp, "after.bundle")
	mark := filepath.Join(w.tmp, "before.checkpoint")
	seen := func(bundle string) int {
		return strings.Count(w.run("", "audit", "log", bundle, "--network", network).out, ben.str("identity"))
	}
	w.ok("node1", "audit", "export", "-o", before)
	w.ok("", "audit", "verify", before, "--network", network, "--keep", mark)
	if seen(before) == 0 {
		w.Fatal("the log never knew the person: this proves nothing")
	}
	w.walk("Answer a subject access request", words, []step{
		{line: "subject export ben.contact -o ben.zip", member: "node1", says: "events"},
		{line: "subject verify ben.zip", says: "the parts are as listed"},
		{line: "audit log --identity ben.contact", member: "node1", says: "ok"},
		{line: "subject forget ben.contact --reason request-12", member: "node1", says: "what remains"},
	})
	w.ok("node1", "audit", "export", "-o", after)
	if f := w.ok("", "audit", "verify", after, "--network", network, "--known", mark); f["anchored"] != true {
		w.Errorf("after the person was forgotten: %v", f)
	}
	w.ok("", "audit", "verify", before, "--network", network) // roots and proofs of before
	w.ok("", "subject", "verify", filepath.Join(w.tmp, "ben.zip"))
	if n := seen(after); n > 0 {
		w.Errorf("the forgotten person stands %d times in a new export", n)
	}
	if r := w.run("node1", "audit", "log", "--identity", "ben.contact"); r.code != 0 || strings.Contains(r.out, ben.str("identity")) {
		w.Errorf("the log still names the person: %s", r)
	}
}
