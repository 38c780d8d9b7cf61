package policy

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// dice write policies and requests at random, of few values, so that they meet.
type dice struct{ *rand.Rand }

func (d dice) of(texts ...string) string { return texts[d.IntN(len(texts))] }

var collections = []statement.ID{statement.Hash("test", []byte("c0")), statement.Hash("test", []byte("c1")), statement.Hash("test", []byte("c2"))}

func (d dice) role() string { return fmt.Sprintf(`Role::"r%d"`, d.IntN(8)) }

func (d dice) collection() string {
	return fmt.Sprintf("Collection::%q", collections[d.IntN(len(collections))])
}

func (d dice) action() string { return d.of(`Action::"read"`, `Action::"grant"`, `Action::"infer"`) }

func (d dice) text() string { return d.of(`"research"`, `"care"`, `""`) }

func (d dice) compare() string { return d.of("==", "!=", "<", "<=", ">", ">=") }

// atom is a condition without parts: those that the sieve knows, some that it does
// not, and one that overflows for most requests.
func (d dice) atom() string {
	switch d.IntN(18) {
	case 0:
		return "context.purpose == " + d.text()
	case 1:
		return d.text() + " != context.reason"
	case 2:
		return "context.purpose == context.reason"
	case 3:
		return fmt.Sprintf("context.classification %s %d", d.compare(), d.IntN(4))
	case 4:
		return fmt.Sprintf("%d %s context.used", d.IntN(4), d.compare())
	case 5:
		return fmt.Sprintf(`context.now %s datetime("2026-11-22T12:00:0%dZ")`, d.compare(), d.IntN(3))
	case 6:
		return fmt.Sprintf(`context.labels.contains("l=%d")`, d.IntN(4))
	case 7:
		return fmt.Sprintf("[%s, %s].contains(context.purpose)", d.text(), d.text())
	case 8:
		return d.of("context.attested", "context.consented", "context.byOwner")
	case 9:
		return "principal in " + d.role()
	case 10:
		return fmt.Sprintf("principal in [%s, %s]", d.role(), d.role())
	case 11:
		return d.of("principal is User", "principal is Agent", "resource is Model")
	case 12:
		return "principal is User in " + d.role()
	case 13:
		return "resource in " + d.collection()
	case 14:
		return d.of("action == "+d.action(), fmt.Sprintf("action in [%s, %s]", d.action(), d.action()), `action in Action::"using"`)
	case 15:
		return fmt.Sprintf("principal == User::%q", d.of(reader.String(), owner.String()))
	case 16:
		return fmt.Sprintf("context.classification * %d > 0", int64(1)<<62)
	}
	return `context.purpose like "re*"`
}

func (d dice) condition(depth int) string {
	if depth == 0 {
		return d.atom()
	}
	a, b := d.condition(depth-1), d.condition(depth-1)
	switch d.IntN(7) {
	case 0, 1:
		return fmt.Sprintf("(%s) && (%s)", a, b)
	case 2:
		return fmt.Sprintf("(%s) || (%s)", a, b)
	case 3:
		return fmt.Sprintf("!(%s)", a)
	case 4:
		return fmt.Sprintf("(if %s then %s else %s)", d.atom(), a, b)
	}
	return a
}

func (d dice) policy() string {
	p := d.of("permit", "permit", "permit", "forbid") + " (" +
		d.of("principal", "principal", "principal is User", "principal in "+d.role(), "principal is User in "+d.role(), fmt.Sprintf("principal == User::%q", reader)) + ", " +
		d.of("action", "action", "action == "+d.action(), fmt.Sprintf("action in [%s, %s]", d.action(), d.action()), `action in Action::"using"`) + ", " +
		d.of("resource", "resource", "resource is Dataset", "resource in "+d.collection(), "resource is Model in "+d.collection(), fmt.Sprintf("resource == Dataset::%q", object)) + ")"
	for range d.IntN(3) {
		p += " " + d.of("when", "when", "unless") + " { " + d.condition(d.IntN(3)) + " }"
	}
	return p + ";"
}

func (d dice) request() Request {
	r := asked()
	r.PrincipalKind, r.Action = d.of("User", "User", "Agent"), d.of("read", "grant", "infer")
	r.ObjectKind, r.Purpose, r.Reason = d.of("", "Model"), d.of("research", "care", ""), d.of("research", "care", "")
	r.Classification, r.Used, r.Attested, r.Consented = d.Int64N(4), d.Int64N(4), d.IntN(2) == 0, d.IntN(2) == 0
	r.Now = r.Now.Add(time.Duration(d.IntN(3)) * time.Second)
	if d.IntN(3) == 0 {
		r.Owner = r.Principal
	}
	for range d.IntN(4) {
		r.Roles = append(r.Roles, fmt.Sprint("r", d.IntN(8)))
		r.Labels = append(r.Labels, fmt.Sprint("l=", d.IntN(4)))
	}
	for _, c := range collections {
		if d.IntN(3) == 0 {
			r.Scopes = append(r.Scopes, c)
		}
	}
	return r
}

// grouped is the built-in schema with a group of actions.
var grouped = strings.Replace(builtinSchema, "action carry, read, infer, deploy, delegate, revoke, audit, grant appliesTo", "action using;\naction carry, read, infer, deploy, delegate, revoke, audit, grant in [using] appliesTo", 1)

// engine has n policies that validate, and roles that are in each other, in
// circles too.
func (d dice) engine(t testing.TB, n int) *Engine {
	base := bundle(permitAll)
	base.Schema = grouped
	v := mustEngine(t, base).requests
	var texts []string
	for len(texts) < n {
		text := d.policy()
		if _, err := compilePolicy(Policy{ID: "p", Text: text}, v); err == nil {
			texts = append(texts, text)
		}
	}
	b := bundle(texts...)
	b.Schema = grouped
	var roles []string
	for i := range 8 {
		e := entity("Role", fmt.Sprint("r", i), fmt.Sprintf(`{"type":"Role","id":"r%d"}`, d.IntN(8)))
		roles = append(roles, e[1:len(e)-1])
	}
	b.Entities = []byte("[" + strings.Join(roles, ",") + "]")
	return mustEngine(t, b)
}

// With every policy asked, each decision is the same, its policies and errors too.
// Each operator of the sieve matters to that: with one that says the opposite of
// what it should, some decision is another.
func TestSieveDecidesLikeCedar(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(3, 7))}
	var allowed, forbidden, failed, unsettled, leftOut, all int
	caught := map[operator]int{}
	for range 100 {
		e := d.engine(t, 12)
		for range 25 {
			r := d.request()
			q := r.cedar()
			entities := e.overlay(q, r.Roles, r.Scopes)
			want, got := e.judge(e.policies, q, entities), e.Decide(r)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v, but Cedar says %+v of %+v", got, want, r)
			}
			switch {
			case got.Allow:
				allowed++
			case got.Errors > 0:
				failed++
			case got.Settled:
				forbidden++
			default:
				unsettled++
			}
			all += 12
			leftOut += 12
			for range e.policies.of(q, entities).All() {
				leftOut--
			}
			for op := opUnknown; op <= opOr; op++ {
				broken := *e
				broken.policies = e.policies.with(op)
				if !reflect.DeepEqual(broken.decide(q, entities), want) {
					caught[op]++
				}
			}
		}
	}
	t.Logf("%d allowed, %d forbidden, %d failed, %d unsettled; %d of %d policies left out; %v", allowed, forbidden, failed, unsettled, leftOut, all, caught)
	if min(allowed, forbidden, failed, unsettled) < 100 || leftOut < all/4 {
		t.Error("some kind of answer hardly comes up, so the test proves little")
	}
	for op := opUnknown; op <= opOr; op++ {
		if caught[op] == 0 {
			t.Errorf("a sieve whose operator %d lies decides like Cedar too", op)
		}
	}
}

// with is an index whose operator says the opposite, or of which what it does not
// know is false.
func (x *index) with(lying operator) *index {
	out := *x
	out.conditions = nil
	for _, c := range x.conditions {
		out.conditions = append(out.conditions, c.with(lying))
	}
	return &out
}

func (c condition) with(lying operator) condition {
	parts := c.parts
	c.parts = nil
	for _, p := range parts {
		c.parts = append(c.parts, p.with(lying))
	}
	switch {
	case c.op != lying:
		return c
	case c.op == opUnknown:
		return condition{op: opTruth, left: operand{constant: cedar.False}}
	case c.op == opNot:
		return c.parts[0]
	}
	return condition{op: opNot, parts: []condition{c}}
}

// What may fail is Cedar's to find out, wherever it stands, and what stands before
// it and is false is not.
func TestSieveLeavesFailuresToCedar(t *testing.T) {
	const overflow, no, yes = "context.classification * 9000000000000000000 > 0", `context.purpose == "other"`, `context.purpose == "research"`
	for condition, fails := range map[string]bool{
		overflow:                             true,
		overflow + " && " + no:               true,
		no + " && " + overflow:               false,
		yes + " && " + overflow:              true,
		yes + " || " + overflow:              false,
		no + " || " + overflow:               true,
		"!(" + no + " && " + overflow + ")":  false,
		"!(" + yes + " && " + overflow + ")": true,
		"(" + overflow + " || " + yes + ") && !" + "(" + yes + ")": true,
	} {
		e := mustEngine(t, bundle(permitAll, "forbid (principal, action, resource) when { "+condition+" };"))
		if d := e.Decide(asked()); (d.Errors > 0) != fails {
			t.Errorf("%s: %+v", condition, d)
		}
	}
}

// An attribute that is not there is a failure, not a no. No schema lets such a
// request pass; the sieve does not rest on that.
func TestSieveDoesNotGuessWhatIsNotSaid(t *testing.T) {
	e := mustEngine(t, bundle(`forbid (principal, action, resource) when { context.purpose == "other" };`, permitAll))
	q := asked().cedar()
	left := func() (ids []string) {
		for id := range e.policies.of(q, e.entities).All() {
			ids = append(ids, string(id))
		}
		slices.Sort(ids)
		return ids
	}
	if got := left(); !slices.Equal(got, []string{"p1"}) {
		t.Errorf("control: Cedar is asked about %v", got)
	}
	q.Context = cedar.NewRecord(cedar.RecordMap{})
	if got := left(); !slices.Equal(got, []string{"p0", "p1"}) {
		t.Errorf("Cedar is asked about %v", got)
	}
}

// Every policy is for everybody and has conditions of its own.
func BenchmarkDecide1000DifferentPolicies(b *testing.B) {
	var texts []string
	for i := range 999 {
		texts = append(texts, fmt.Sprintf(`permit (principal, action == Action::"read", resource) when { context.purpose == "purpose %d" && context.classification < %d };`, i, i))
	}
	e := mustEngine(b, bundle(append(texts, builtinPolicy)...))
	r := asked()
	for b.Loop() {
		if !e.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}
