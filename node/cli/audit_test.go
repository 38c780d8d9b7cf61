package cli

import (
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
