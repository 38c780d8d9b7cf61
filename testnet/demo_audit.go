package testnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// exportLog has a validator that was there from the beginning write what an auditor
// needs.
func (d *demo) exportLog(ctx context.Context) (report, error) {
	d.bundle = filepath.Join(d.tmp, "validator1.bundle")
	f, err := os.OpenFile(d.bundle, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return report{}, err
	}
	f.Close()
	x, err := d.on["validator1"].AuditExport(ctx, api.AuditExportRequest{Into: d.bundle, Format: "bundle"})
	if err != nil {
		return report{}, err
	}
	info, err := os.Stat(d.bundle)
	if err != nil {
		return report{}, err
	}
	return say("%d entries with what they are about, the committee records, the signatures: %s", x.Entries, size64(info.Size())).
		with("entries", x.Entries).with("bytes", info.Size()), nil
}

// auditor is the program in a home that is empty, run by somebody who knows the
// network's id.
func (d *demo) auditor(ctx context.Context, path string) (out []byte, err error) {
	bin, err := program()
	if err != nil {
		return nil, err
	}
	empty := filepath.Join(d.tmp, "stranger")
	if err := os.MkdirAll(empty, 0o700); err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, bin, "--json", "audit", "verify", path, "--network", d.net.ID)
	c.Env = append(os.Environ(), "HOME="+empty, "USERPROFILE="+empty, "CEREBRUM_HOME=")
	c.Dir = empty
	return c.Output()
}

func (d *demo) verifyLog(ctx context.Context) (report, error) {
	out, err := d.auditor(ctx, d.bundle)
	if err != nil {
		return report{}, fault.Wrap(fault.Integrity, err, "", "the stranger does not accept the log")
	}
	var v struct {
		Holds, Anchored bool
		Entries         int64
		Validator       int
		Checkpoint      struct{ Witnesses []int }
		Disclosures     struct{ Opened, Claims int64 }
	}
	if err := json.Unmarshal(out, &v); err != nil {
		return report{}, err
	}
	if !v.Holds || !v.Anchored || v.Entries == 0 || v.Validator != 1 || v.Disclosures.Claims == 0 {
		return report{}, fault.New(fault.Integrity, "", "the stranger learns something else: %s", bytes.TrimSpace(out))
	}
	return say("the log of validator %d: %d entries, none missing or changed; %d of them opened, %d claims; %d witnesses",
		v.Validator, v.Entries, v.Disclosures.Opened, v.Disclosures.Claims, len(v.Checkpoint.Witnesses)).
		with("entries", v.Entries).with("witnesses", len(v.Checkpoint.Witnesses)), nil
}

func (d *demo) verifyTampered(ctx context.Context) (report, error) {
	raw, err := os.ReadFile(d.bundle)
	if err != nil {
		return report{}, err
	}
	raw[len(raw)/2] ^= 1
	bad := filepath.Join(d.tmp, "tampered.bundle")
	if err := os.WriteFile(bad, raw, 0o600); err != nil {
		return report{}, err
	}
	_, err = d.auditor(ctx, bad)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != fault.Integrity {
		return report{}, fault.New(fault.Integrity, "", "the stranger accepts a log that was tampered with: %v", err)
	}
	said, _, _ := strings.Cut(string(exit.Stderr), "\n")
	_, said, _ = strings.Cut(said, filepath.Base(bad)+" ")
	return say("it %s (exit code %d)", said, exit.ExitCode()).with("exit", exit.ExitCode()), nil
}
