package policy

import "testing"

// A network can have what is classified leave its owner as an anonymised release only:
// these are the rules that README.md shows.
func TestClassifiedOnlyAsRelease(t *testing.T) {
	e := mustEngine(t, bundle(permitAll, `forbid (principal, action == Action::"grant", resource)
when { context.classification >= 3 }
unless { context.labels.contains("release=anonymised") };`, `forbid (principal, action in [Action::"read", Action::"delegate", Action::"infer"], resource)
when { context.classification >= 3 && !context.byOwner }
unless { context.labels.contains("release=anonymised") };`))
	for _, c := range []struct {
		class  int64
		labels []string
		action string
		owner  bool
		want   bool
	}{
		{2, nil, "read", false, true},
		{3, nil, "read", false, false},
		{3, nil, "grant", false, false},
		{9, []string{"release=raw"}, "read", false, false},
		{3, []string{"release=anonymised"}, "read", false, true},
		{3, []string{"release=anonymised"}, "grant", false, true},
		{3, nil, "read", true, true},
		{3, nil, "grant", true, false}, // grants are asked for by owners
		{3, []string{"release=anonymised"}, "grant", true, true},
		{2, nil, "grant", true, true},
		{3, nil, "carry", false, true}, // ciphertext may be mirrored
	} {
		r := asked()
		r.Classification, r.Labels, r.Action = c.class, c.labels, c.action
		if c.owner {
			r.Principal = r.Owner
		}
		if got := e.Decide(r).Allow; got != c.want {
			t.Errorf("%s of class %d with %q: %t", c.action, c.class, c.labels, got)
		}
	}
}
