package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/policy/bundles"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Who is denied hears what of their own words was wanting, and of nothing else.
func TestWhatADeniedRequesterIsTold(t *testing.T) {
	b, err := bundles.Load("hospital")
	if err != nil {
		t.Fatal(err)
	}
	e, err := policy.NewEngine(b)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(roles []string, purpose, reason string, labels ...string) policy.Request {
		return policy.Request{
			Principal: statement.Hash("p"), PrincipalKind: "User", Action: "read", Object: statement.Hash("o"), Owner: statement.Hash("w"),
			Purpose: purpose, Reason: reason, Roles: roles, Labels: labels, Consented: true, Batch: 1, Now: time.Unix(1e9, 0),
		}
	}
	for _, c := range []struct {
		name string
		r    policy.Request
		want []string
	}{
		{"a reason is missing", ask([]string{"emergency"}, "emergency", ""), []string{policy.WantsReason}},
		{"the purpose is another", ask([]string{"clinician"}, "", ""), []string{policy.WantsPurpose}},
		{"the role is missing", ask(nil, "treatment", "r"), nil},
		{"the label is in the way", ask([]string{"clinician"}, "treatment", "r", "sensitive=yes"), nil},
		{"auditors", ask([]string{"auditor", "clinician"}, "treatment", "r"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if e.Decide(c.r).Allow {
				t.Fatal("it is not denied at all")
			}
			if got := e.Wants(c.r); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	if !e.Decide(ask([]string{"emergency"}, "emergency", "heart attack")).Allow { // control: what was wanted helps
		t.Error("with a reason it is denied too")
	}
	rule := e.Explain(ask([]string{"emergency"}, "emergency", "")).Rule()
	if !strings.Contains(rule, "emergency-needs-reason") || !strings.Contains(rule, "without saying why") {
		t.Errorf("the rule is %q", rule)
	}
	secret := e.Explain(ask([]string{"clinician"}, "secret purpose", "secret reason", "sensitive=yes")).Rule()
	if strings.Contains(secret, "secret") || strings.ContainsRune(secret, '\n') {
		t.Errorf("the rule quotes the request: %q", secret)
	}
	if got := (*policy.Engine)(nil).Wants(policy.Request{}); got != nil {
		t.Errorf("no engine wants %v", got)
	}
}

func TestARegionIsARole(t *testing.T) {
	roles := []string{"clinician", "region/us", "region/eu"}
	if got := policy.Region(roles); got != "eu" {
		t.Errorf("region %q", got)
	}
	if got := policy.Regions(roles); !slices.Equal(got, []string{"eu", "us"}) {
		t.Errorf("regions %v", got)
	}
	if policy.Region(roles[:1]) != "" {
		t.Error("a role that is no region is one")
	}
}
