package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	b := bundle(
		`@description("Analysts may read for research") permit (principal in Role::"analyst", action == Action::"read", resource)
			when { context.purpose == "research" && context.reason != "" } when { context.classification < 5 };`,
		`forbid (principal, action, resource) unless { context.consented };`,
		`permit (principal, action == Action::"audit", resource);`,
		`permit (principal, action, resource) when { context.labels.contains("open=yes") && principal in Role::"steward" };`)
	e := mustEngine(t, b)
	for name, c := range map[string]struct {
		change  func(*Request)
		settled bool
		says    []string
		not     string
	}{
		"allowed": {func(*Request) {}, true, []string{"allowed by p0", "policy p0 (permits) applies: Analysts may read for research",
			"p1 (forbids) does not apply\n  it does not count where context.consented; context.consented is true"}, "p2"},
		"no reason":     {func(r *Request) { r.Reason = "" }, false, []string{"not settled", `it wants context.reason != ""; context.reason is ""`}, "context.purpose"},
		"two clauses":   {func(r *Request) { r.Reason, r.Classification = "", 7 }, false, []string{`context.reason is ""`, "context.classification is 7"}, "p2"},
		"forbidden":     {func(r *Request) { r.Consented = false }, true, []string{"denied by p1", "p1 (forbids) applies"}, "not settled"},
		"another scope": {func(r *Request) { r.Roles = nil }, false, []string{"principal is in nothing", "context.labels is []"}, "p0"},
		"no schema":     {func(r *Request) { r.Action = "write" }, true, []string{"the schema"}, "p0"},
	} {
		r := asked()
		r.Roles = []string{"analyst"}
		c.change(&r)
		x := e.Explain(r)
		if x.Settled != c.settled {
			t.Errorf("%s: settled is %v", name, x.Settled)
		}
		for _, want := range c.says {
			if !strings.Contains(x.String(), want) {
				t.Errorf("%s: %q is missing in:\n%s", name, want, x)
			}
		}
		if strings.Contains(x.String(), c.not) {
			t.Errorf("%s: %q is in:\n%s", name, c.not, x)
		}
		if d := e.Decide(r); d.Allow != x.Allow || !slices.Equal(d.Policies, x.Policies) {
			t.Errorf("%s: explained is %+v, decided %+v", name, x.Decision, d)
		}
	}
	if x := (*Engine)(nil).Explain(asked()); x.Allow || !x.Settled {
		t.Errorf("no engine: %+v", x)
	}
}

func TestExplainNamesWhatFailed(t *testing.T) {
	e := mustEngine(t, bundle(permitAll, `forbid (principal, action, resource) when { context.classification * 9223372036854775807 > 0 && context.attested };`))
	x := e.Explain(asked())
	if x.Allow || !strings.Contains(x.String(), "failed at context.classification * 9223372036854775807 > 0; context.classification is 2") {
		t.Errorf("%s", x)
	}
}

// A bundle's own parents and those of a request hold together, and one request
// leaves nothing behind for the next.
func TestRolesOfRequestAndBundleHoldTogether(t *testing.T) {
	b := bundle(`permit (principal in Role::"staff", action, resource) when { principal in Role::"doctor" && principal in Role::"night" };`)
	b.Entities = []byte(`[{"uid":{"type":"User","id":"` + reader.String() + `"},"attrs":{},"parents":[{"type":"Role","id":"night"}]},
		{"uid":{"type":"Role","id":"doctor"},"attrs":{},"parents":[{"type":"Role","id":"staff"}]}]`)
	e := mustEngine(t, b)
	r := asked()
	r.Roles = []string{"doctor"}
	if !e.Decide(r).Allow {
		t.Error(e.Explain(r))
	}
	r.Roles = nil
	if d := e.Decide(r); d.Allow || d.Settled {
		t.Errorf("the role stayed: %+v", d)
	}
	r.Roles, r.Principal = []string{"doctor"}, owner
	if e.Decide(r).Allow {
		t.Error("another principal has the bundle's role")
	}
}

// Principals that a bundle does not list have no attributes: a policy on a
// required one would fail for all of them.
func TestRequiredAttributesAreRefused(t *testing.T) {
	b := bundle(`permit (principal is Agent, action, resource) when { principal has ceiling && context.used < principal.ceiling };`)
	b.Schema = strings.Replace(builtinSchema, "entity Agent in [Role, Org];", "entity Agent in [Role, Org] { ceiling?: Long };", 1)
	b.Entities = []byte(`[{"uid":{"type":"Agent","id":"` + reader.String() + `"},"attrs":{"ceiling":5},"parents":[]}]`)
	e := mustEngine(t, b)
	r := asked()
	r.PrincipalKind, r.Used, r.Roles = "Agent", 4, []string{"x"} // the overlay keeps attributes
	if !e.Decide(r).Allow {
		t.Error(e.Explain(r))
	}
	r.Used = 5
	if e.Decide(r).Allow {
		t.Error("above the ceiling")
	}
	b.Schema = strings.Replace(b.Schema, "ceiling?", "ceiling", 1)
	if _, err := NewEngine(b); err == nil || !strings.Contains(err.Error(), "must be optional") {
		t.Errorf("%v", err)
	}
}

func BenchmarkDecide4PoliciesWithRoles(b *testing.B) {
	e := mustEngine(b, bundle(builtinPolicy,
		`permit (principal in Role::"analyst", action == Action::"read", resource) when { context.purpose == "research" };`,
		`forbid (principal, action, resource) when { context.classification > 5 };`,
		`forbid (principal is Agent, action, resource) when { context.used > 10 };`))
	r := asked()
	r.Roles, r.Labels = []string{"analyst", "region/eu"}, []string{"a=b"}
	b.ReportAllocs()
	for b.Loop() {
		if !e.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}

func BenchmarkDecide1000Policies(b *testing.B) {
	texts := slices.Repeat([]string{`permit (principal in Role::"other", action == Action::"read", resource) when { context.purpose == "research" };`}, 999)
	e := mustEngine(b, bundle(append(texts, builtinPolicy)...))
	r := asked()
	r.Roles = []string{"analyst", "region/eu"}
	for b.Loop() {
		if !e.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}

// The worst case: every policy is for everybody, so that each is evaluated.
func BenchmarkDecide1000PoliciesForEverybody(b *testing.B) {
	texts := slices.Repeat([]string{`permit (principal, action == Action::"read", resource) when { context.purpose == "other" };`}, 999)
	e := mustEngine(b, bundle(append(texts, builtinPolicy)...))
	r := asked()
	for b.Loop() {
		if !e.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}
