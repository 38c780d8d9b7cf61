package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
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
