package cli

import (
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
)

// The row for the syslog server says what waits, what is left out and what fails, and
// what a server wrote into an error does not act on the terminal.
func TestStatusSaysHowForwardingGoes(t *testing.T) {
	const target = "tls://collector.example:6514"
	for want, s := range map[string]api.Syslog{
		target + ": all is sent":          {},
		target + ": 1,200 entries wait":   {Behind: 1200},
		target + ": nothing is sent: why": {Stopped: true, Error: "why"},
		target + ": 1 entry waits; 7 entries were left out since the node started; it has failed for 3m0s: wh?y": {
			Behind: 1, LeftOut: 7, FailingSeconds: 180, Error: "wh\x1by",
		},
	} {
		s.Target = target
		var out strings.Builder
		printStatus(&out, &api.Status{Syslog: &s})
		if !strings.Contains(out.String(), "syslog     "+want+"\n") {
			t.Errorf("%+v: %q is not in\n%s", s, want, out.String())
		}
	}
	var out strings.Builder
	if printStatus(&out, &api.Status{}); strings.Contains(out.String(), "syslog") {
		t.Errorf("without a server:\n%s", out.String())
	}
}
