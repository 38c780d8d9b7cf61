package daemon

import (
	"fmt"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/validator"
)

// TestADepositNamesWhatMayBeNamed: a machine of many interfaces has more addresses
// than a deposit may name, and those through relays, which come last, are the ones
// that others can use.
func TestADepositNamesWhatMayBeNamed(t *testing.T) {
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("/ip4/10.0.0.%d/tcp/1/p2p/ME", i))
	}
	all = append(all, strings.Repeat("x", validator.MaxHolder+1), "/ip4/192.0.2.1/tcp/1/p2p/R/p2p-circuit/p2p/ME")
	got := pickHolders(all)
	if len(got) != validator.MaxHolders {
		t.Errorf("%d holders", len(got))
	}
	relayed := 0
	for _, a := range got {
		if len(a) > validator.MaxHolder {
			t.Errorf("%d bytes", len(a))
		}
		if strings.Contains(a, "p2p-circuit") {
			relayed++
		}
	}
	if relayed != 1 {
		t.Errorf("%d relayed addresses in %v", relayed, got)
	}
	if got := pickHolders(all[:2]); len(got) != 2 {
		t.Errorf("two addresses became %v", got)
	}
}
