package cli

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
)

// TestUsageInWords: a person sees who uses how much of what; a name from outside
// cannot move the cursor.
func TestUsageInWords(t *testing.T) {
	var out bytes.Buffer
	printUsage(&out, &api.Usage{Pending: 2, Tripped: 1, Scopes: []api.UsageScope{
		{Kind: "system", Connections: api.Use{Used: 3, Limit: 1536}, StreamsIn: api.Use{Used: 4, Limit: math.MaxInt64}, Memory: api.Use{Used: 1 << 20, Limit: 1 << 30}},
		{Kind: "protocol", Name: "/x\x1b[2J/1", StreamsIn: api.Use{Used: 5, Limit: 64}, StreamsInPerPeer: 7},
		{Kind: "peer", Name: "12D3", Role: "validator", StreamsOut: api.Use{Used: 9, Limit: 512}},
	}})
	for _, want := range []string{"3 of 1,536", "4 of any", "1.0 MiB of 1.0 GiB", "5 of 64", " 7 ", "peer 12D3 (validator)", "9 of 512", "2 connections wait", "1 stream came"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("a control character is shown")
	}
}
