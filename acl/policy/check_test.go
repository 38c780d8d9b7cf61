package policy

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCheckFindsLockouts(t *testing.T) {
	const read = `permit (principal, action == Action::"read", resource)`
	for name, c := range map[string]struct {
		texts []string
		want  string // of the error; empty: none
	}{
		"built-in":                {[]string{builtinPolicy}, ""},
		"grants left to a person": {[]string{read + ";"}, ""},
		"nothing":                 {nil, "no policy permits it"},
		"only audits":             {[]string{`permit (principal, action == Action::"audit", resource);`}, "no policy permits it"},
		"a forbid of everything":  {[]string{permitAll, `forbid (principal, action, resource);`}, "in the way are p1"},
		"a forbid of grants":      {[]string{permitAll, `forbid (principal, action == Action::"grant", resource);`}, "every request for a grant"},
		"a condition never true":  {[]string{read + ` when { context.classification < 0 && context.classification > 0 };`}, "no policy permits it"},
		"a role":                  {[]string{`permit (principal in Role::"reader", action, resource) when { context.purpose == "research" };`}, ""},
		"a role in a condition":   {[]string{read + ` when { principal in Role::"reader" && ["a", "b"].contains(context.purpose) && context.reason != "" };`}, ""},
		"labels and numbers":      {[]string{read + ` when { context.labels.contains("open=yes") && context.classification == 17 };`}, ""},
		"hours of a day":          {[]string{read + ` when { context.now.toTime() >= duration("9h") && context.now.toTime() < duration("10h") };`}, ""},
		"a date":                  {[]string{read + ` when { context.now >= datetime("2040-01-01") };`}, ""},
		"a date in the past":      {[]string{read + ` when { context.now < datetime("2020-01-01") };`}, "no policy permits it"},
		"one user":                {[]string{`permit (principal == User::"` + reader.String() + `", action, resource == Model::"` + object.String() + `");`}, ""},
		"one collection":          {[]string{`permit (principal, action, resource in Collection::"` + object.String() + `");`}, ""},
	} {
		err := Check(bundle(c.texts...), CheckOptions{From: time.Unix(1_900_000_000, 0)})
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrLockout) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(bundle(c.texts...), CheckOptions{Force: true}); err != nil {
			t.Errorf("%s, forced: %v", name, err)
		}
	}
	if err := Check(bundle("permit"), CheckOptions{Force: true}); !errors.Is(err, ErrBundle) {
		t.Errorf("force makes a broken bundle good: %v", err)
	}
}
