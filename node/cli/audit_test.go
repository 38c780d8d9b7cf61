package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// An export in which something is lost is told from one that is whole, with --quiet too;
// what was rewritten is told from what a crash took.
func TestAnExportSaysWhatItLacks(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		says := func(x api.AuditExported) string {
			var err strings.Builder
			(&Env{Err: &err, Quiet: quiet}).printAuditExported(io.Discard, &x)
			return err.String()
		}
		if got := says(api.AuditExported{}); got != "" {
			t.Errorf("control: %q", got)
		}
		if got := says(api.AuditExported{Lost: 3}); got != "what 3 events were about is lost, and the bundle says so\n" {
			t.Errorf("%q", got)
		}
		if got := says(api.AuditExported{Lost: 1, Damaged: 1}); !strings.Contains(got, "what 1 event was about is lost") || !strings.Contains(got, "beside 1 entry of this log") || !strings.Contains(got, "keep a copy of the folder audit") {
			t.Errorf("%q", got)
		}
	}
}

// Who hands an export to an auditor learns before the auditor does that nobody witnessed
// it, and what to do about it.
func TestAnExportSaysWhoCosignedIt(t *testing.T) {
	for _, c := range []struct {
		cosigned, of int
		want         string
	}{
		{3, 3, "cosigned by 3 of 3 other validators\n"},
		{1, 1, "cosigned by 1 of 1 other validator\n"},
		{0, 3, "none of 3 other validators has cosigned it: `cerebrum audit export --cosigned`"},
		{0, 0, ""}, // in no network there are none
	} {
		var out bytes.Buffer
		(&Env{Err: &out}).printAuditExported(io.Discard, &api.AuditExported{File: "x", Witnesses: c.cosigned, Of: c.of})
		if got := out.String(); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("cosigned by %d of %d, it says %q", c.cosigned, c.of, got)
		}
		out.Reset()
		(&Env{Err: &out, Quiet: true}).printAuditExported(io.Discard, &api.AuditExported{File: "x", Witnesses: c.cosigned, Of: c.of})
		if out.Len() > 0 {
			t.Errorf("with --quiet it says %q", out.String())
		}
	}
}

// offline is a home of no network, whose node does not run, and a folder beside it.
func offline(t *testing.T) (e *Env, dir string) {
	t.Helper()
	dir = t.TempDir()
	home := filepath.Join(dir, "home")
	e = &Env{Out: io.Discard, Err: io.Discard, Now: time.Now}
	if code := Main(t.Context(), e, Root(e), []string{"--home", home, "init", "--plain-keys", "--recovery-file", filepath.Join(dir, "recovery")}); code != fault.OK {
		t.Fatalf("init exits %d", code)
	}
	if e.Home != home { // else what follows would be done to the home of whoever runs the tests
		t.Fatalf("the home is %q", e.Home)
	}
	return e, dir
}

// held is a home under a legal hold, of which it learns at once or when it has exported.
type held struct {
	api.Service
	late bool
}

func (h held) AuditPrune(_ context.Context, r api.AuditPruneRequest) (*api.AuditPruned, error) {
	if r.Ask && h.late {
		return &api.AuditPruned{}, nil
	}
	return nil, fault.New(fault.Denied, "see the hold", "there is a hold")
}

// Where entries must stay, nobody finds an archive that nobody needs; where that turns
// out too late, the archive is there, and the error says so.
func TestAnArchiveThatAHoldForbids(t *testing.T) {
	e, dir := offline(t)
	output := filepath.Join(dir, "old.bundle")
	for _, late := range []bool{false, true} {
		err := e.service(t.Context(), func(ctx context.Context, s api.Service) error {
			return e.archive(ctx, held{s, late}, time.Now().UnixMilli(), output)
		})
		f := fault.Of(err)
		if f.Exit != fault.Denied || f.Hint != "see the hold" || !strings.Contains(f.Message, "there is a hold") {
			t.Errorf("known late: %v, it says %+v", late, f)
		}
		if !late {
			if _, err := os.Lstat(output); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is an archive that nobody needs: %v", err)
			}
			continue
		}
		if _, err := verifyEvidence(t.Context(), output, evidence.Expect{}); err != nil || !strings.Contains(f.Message, "old.bundle is complete") {
			t.Errorf("the archive: %v; the error says %q", err, f.Message)
		}
	}
}

// Who interrupts the verification of a long log has not shown that it does not hold.
func TestVerifyingIsInterrupted(t *testing.T) {
	e, dir := offline(t)
	for _, format := range []string{"bundle", "tiles"} {
		path := filepath.Join(dir, format)
		err := e.service(t.Context(), func(ctx context.Context, s api.Service) error {
			_, err := exportAudit(ctx, s, api.AuditExportRequest{Format: format}, path, false)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifyEvidence(t.Context(), path, evidence.Expect{}); err != nil {
			t.Fatal(err)
		}
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		_, err = verifyEvidence(ctx, path, evidence.Expect{})
		if f := fault.Of(err); err == nil || f.Exit != fault.Failed || f.Message != "interrupted" {
			t.Errorf("%s: interrupted, it says %+v", format, f)
		}
	}
}
