package daemon

import (
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/ipfs/go-cid"
)

// An auditor is sent to validators' logs only where validators were asked.
func TestTheRuleOfADeniedRead(t *testing.T) {
	n := &Node{}
	for want, err := range map[string]error{
		"no-grant":      n.noAuthority(cid.Undef, nil),
		"grant-revoked": n.noAuthority(cid.Undef, capability.ErrRevoked),
		"grant-time":    n.noAuthority(cid.Undef, errors.Join(errors.New("other"), capability.ErrExpired)),
		"grant-purpose": fault.New(fault.Denied, "", "it is for the purposes care").Because(errPurpose),
		"validators":    fault.New(fault.Denied, "", "the key was denied by 3 of 4 validators"),
	} {
		if got := ruleOf(err); got != want || fault.Of(err).Exit != fault.Denied {
			t.Errorf("%v: %q, not %q", err, got, want)
		}
	}
}
