package testnet_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestAuditorWithNothingButFiles takes what a network's members hand out, and verifies it
// where there is neither home nor network.
func TestAuditorWithNothingButFiles(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "secret", 10_000)
	w.refuse(3, "node2", "get", address, "-o", filepath.Join(w.tmp, "denied"))
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)

	network := w.ok("node1", "status").str("network")
	bundle := filepath.Join(w.tmp, "validator1.bundle")
	w.ok("validator1", "audit", "export", "-o", bundle)
	if f := w.ok("", "audit", "verify", bundle, "--network", network); f["anchored"] != true || f.num("validator") != 1 || f.num("entries") < 5 {
		t.Errorf("the auditor learns %v", f)
	}
	w.refuse(6, "", "audit", "verify", bundle, "--network", strings.Repeat("1", 64))
	raw, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-100] ^= 1
	bad := filepath.Join(w.tmp, "bad.bundle")
	if err := os.WriteFile(bad, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	w.refuse(6, "", "audit", "verify", bad, "--network", network)

	// The reader has receipts, which its node puts on the disk by itself.
	var receipt facts
	w.eventually("receipts of the release", func() bool {
		all := w.ok("node2", "audit", "receipts", "--object", address).list("receipts")
		for _, r := range all {
			if f := facts(r.(map[string]any)); f.str("outcome") == "ok" {
				receipt = f
			}
		}
		return receipt != nil
	})
	file := filepath.Join(w.tmp, "release.receipt")
	if f := w.ok("node2", "audit", "receipt", receipt.str("id"), "-o", file); f.str("state") != "proven" {
		t.Errorf("redeemed, it is %v", f)
	}
	if f := w.ok("", "audit", "verify", file, "--network", network); f["proved"] != true || f.str("action") != "release" || f.str("outcome") != "ok" {
		t.Errorf("the auditor learns %v", f)
	}
	// The validator's log is held to what the validator promised, by index.
	if f := w.ok(validatorOf(receipt), "audit", "export", "-o", filepath.Join(w.tmp, "its.bundle")); f.num("of") != 3 || f.num("witnesses") < 1 || f.num("witnesses") > 3 {
		t.Errorf("of four validators, three could cosign the log of one: %v", f)
	}
	if f := w.ok("", "audit", "verify", filepath.Join(w.tmp, "its.bundle"), "--receipt", file); !slices.Contains(f.list("receipts"), any(receipt.str("id"))) {
		t.Errorf("the bundle lives up to the receipt, and the auditor learns %v", f)
	}
	w.refuse(2, "", "audit", "verify", filepath.Join(w.tmp, "its.bundle"), "--receipt", bundle)
	w.followsTheLog(address)
}

func validatorOf(receipt facts) string {
	return "validator" + string(rune('0'+int(receipt.num("validator"))))
}

// followsTheLog sees what is in a log and what happens then, and is interrupted.
func (w *world) followsTheLog(address string) {
	if runtime.GOOS == "windows" {
		return // there is no SIGINT
	}
	c := exec.Command(program, "--json", "audit", "log", "--follow", "--action", "get", "--object", address)
	c.Env = environment(filepath.Join(w.dir, "node2"))
	out, err := c.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		w.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	seen := 0
	for seen < 3 && lines.Scan() { // denied, read, and what happens below
		if seen++; seen == 2 {
			go w.run("node2", "get", address, "-o", filepath.Join(w.tmp, "again"))
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		w.Fatal(err)
	}
	if r := ended(w.T, c, c.Wait(), &bytes.Buffer{}, &errs); seen != 3 || r.code != 0 {
		w.Errorf("%d lines, then %s", seen, r)
	}
}
