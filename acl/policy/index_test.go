package policy

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cedar-policy/cedar-go"
)

// The index leaves out only what Cedar finds false: with every policy asked, each
// decision is the same. Roles are in roles at random, in circles too.
func TestIndexDecidesLikeCedar(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	allowed := 0
	for range 60 {
		var texts []string
		entities := "["
		for i := range 30 {
			scope := fmt.Sprintf([]string{`principal in Role::"r%d"`, `principal is User in Role::"r%d"`, `principal /* %d */`, `principal is User /* %d */`}[rnd.IntN(4)], rnd.IntN(30))
			effect := "permit"
			if rnd.IntN(6) == 0 {
				effect = "forbid"
			}
			when := fmt.Sprintf("when { context.classification * %d > 9000000000000000000 };", rnd.Int64N(1<<62))
			if rnd.IntN(3) > 0 {
				when = fmt.Sprintf("when { principal in Role::\"r%d\" };", rnd.IntN(30))
			}
			texts = append(texts, fmt.Sprintf("%s (%s, action, resource) %s", effect, scope, when))
			if i > 0 {
				entities += ","
			}
			e := entity("Role", fmt.Sprint("r", i), fmt.Sprintf(`{"type":"Role","id":"r%d"},{"type":"Role","id":"r%d"}`, rnd.IntN(30), rnd.IntN(30)))
			entities += e[1 : len(e)-1]
		}
		b := bundle(texts...)
		b.Entities = []byte(entities + "]")
		e := mustEngine(t, b)
		for range 5 {
			r := asked()
			r.Classification = 2 + rnd.Int64N(3)
			for range rnd.IntN(25) {
				r.Roles = append(r.Roles, fmt.Sprint("r", rnd.IntN(30)))
			}
			q := r.cedar()
			want, diagnostic := cedar.Authorize(e.policies, e.overlay(q, r.Roles, nil), q)
			got := e.Decide(r)
			var ids []string
			for _, d := range diagnostic.Reasons {
				ids = append(ids, string(d.PolicyID))
			}
			slices.Sort(ids)
			if got.Allow != (want == cedar.Allow && len(diagnostic.Errors) == 0) || got.Errors != len(diagnostic.Errors) ||
				(got.Errors == 0 && !reflect.DeepEqual(got.Policies, ids)) {
				t.Fatalf("%+v, but Cedar says %v %+v", got, want, diagnostic)
			}
			if got.Allow {
				allowed++
			}
		}
	}
	if allowed == 0 {
		t.Error("nothing was allowed, so the test proves nothing")
	}
}
