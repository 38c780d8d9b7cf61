package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// The sieve leaves out policies that do not apply before Cedar is asked about the
// others, because to ask Cedar costs ten times as much and most policies of a large
// bundle do not apply to most requests. It knows the simple conditions: comparisons
// of what a request says with constants, membership, and what joins them. Of
// everything else, and of everything that may fail, it says that it does not know.
// It allows nothing and forbids nothing: a policy is left out only where Cedar
// would find it false, and without an error, since Cedar too goes through the parts
// of a policy from left to right and stops at the first that is false.

// guess is what the sieve knows of a condition; the zero value is that it does not.
type guess uint8

const (
	unsure guess = iota
	holds
	fails
)

func known(b bool) guess {
	if b {
		return holds
	}
	return fails
}

// fact is something of a request that policies look at: a variable, or where attr
// is not empty an attribute of the context.
type fact struct {
	variable, attr types.String
}

// operand is a constant, or where that is nil, the fact of that number.
type operand struct {
	constant cedar.Value
	fact     int
}

type operator uint8

const (
	opUnknown operator = iota
	opTruth            // left is true
	opEqual            // left == right
	opLess             // left < right
	opLessOrEqual
	opContains // left.contains(right)
	opIs       // left is kind
	opIn       // left in one of list
	opNot      // of the only part
	opAnd      // of all parts, from left to right
	opOr
)

// condition is a part of a policy as the sieve knows it.
type condition struct {
	op          operator
	left, right operand
	kind        cedar.EntityType
	list        []cedar.EntityUID
	parts       []condition
}

// view is one request as the sieve sees it.
type view struct {
	index    *index
	facts    []cedar.Value // by number; nil where the request does not say it
	entities types.EntityGetter
	told     []told    // by the number of a condition
	above    []lineage // what was asked for so far, of the few entities in a request
}

// told is what a condition was found to be, or the zero value before it was asked:
// the policies of a bundle share many.
type told struct {
	asked bool
	guess guess
}

// lineage is an entity and all that it is in.
type lineage struct {
	of  cedar.EntityUID
	all []cedar.EntityUID
}

func (x *index) view(q cedar.Request, entities types.EntityGetter) *view {
	v := &view{index: x, facts: make([]cedar.Value, len(x.facts)), entities: entities, told: make([]told, len(x.conditions))}
	for i, f := range x.facts {
		switch {
		case f.attr != "":
			v.facts[i], _ = q.Context.Get(f.attr)
		case f.variable == "principal":
			v.facts[i] = q.Principal
		case f.variable == "action":
			v.facts[i] = q.Action
		case f.variable == "resource":
			v.facts[i] = q.Resource
		}
	}
	return v
}

func (v *view) value(o *operand) cedar.Value {
	if o.constant != nil {
		return o.constant
	}
	return v.facts[o.fact]
}

// ancestors are an entity and all that it is in.
func (v *view) ancestors(uid cedar.EntityUID) []cedar.EntityUID {
	for _, l := range v.above {
		if l.of == uid {
			return l.all
		}
	}
	all := ancestors(uid, v.entities)
	v.above = append(v.above, lineage{uid, all})
	return all
}

// fails reports that a policy with these conditions, all of which must hold, does
// not apply and does not err.
func (v *view) fails(all []int) bool {
	for _, i := range all {
		t := &v.told[i]
		if !t.asked {
			*t = told{true, v.guess(&v.index.conditions[i])}
		}
		if t.guess != holds {
			return t.guess == fails
		}
	}
	return false
}

func (v *view) guess(c *condition) guess {
	switch c.op {
	case opNot:
		switch v.guess(&c.parts[0]) {
		case holds:
			return fails
		case fails:
			return holds
		}
		return unsure
	case opAnd, opOr:
		last := known(c.op == opOr) // at which the rest is not looked at
		for i := range c.parts {
			if g := v.guess(&c.parts[i]); g == unsure || g == last {
				return g
			}
		}
		return known(c.op == opAnd)
	case opUnknown:
		return unsure
	}
	left := v.value(&c.left)
	if left == nil {
		return unsure
	}
	switch c.op {
	case opTruth:
		if b, ok := left.(cedar.Boolean); ok {
			return known(bool(b))
		}
		return unsure
	case opIs, opIn:
		uid, ok := left.(cedar.EntityUID)
		if !ok {
			return unsure
		}
		if c.op == opIs {
			return known(uid.Type == c.kind)
		}
		return known(slices.ContainsFunc(v.ancestors(uid), func(above cedar.EntityUID) bool { return slices.Contains(c.list, above) }))
	}
	right := v.value(&c.right)
	if right == nil {
		return unsure
	}
	switch c.op {
	case opEqual:
		return known(left.Equal(right))
	case opContains:
		if set, ok := left.(cedar.Set); ok {
			return known(set.Contains(right))
		}
	case opLess:
		return less(left, right)
	case opLessOrEqual:
		switch less(right, left) {
		case holds:
			return fails
		case fails:
			return holds
		}
	}
	return unsure
}

func less(left, right cedar.Value) guess {
	switch l := left.(type) {
	case cedar.Long:
		if r, ok := right.(cedar.Long); ok {
			return known(l < r)
		}
	case cedar.Datetime:
		if r, ok := right.(cedar.Datetime); ok {
			return known(l.Milliseconds() < r.Milliseconds())
		}
	}
	return unsure
}

// conditionsOf are the numbers of all parts of a policy, in the order in which Cedar
// looks at them, up to the first that the sieve does not know. Equal ones, which are
// those whose trees print as the same Go, have one number.
func (x *index) conditionsOf(p *ast.Policy) (out []int) {
	add := func(text string, c func() condition) bool {
		i, ok := x.numbers[text]
		if !ok {
			i = len(x.conditions)
			x.conditions, x.numbers[text] = append(x.conditions, c()), i
		}
		if x.conditions[i].op == opUnknown {
			return false
		}
		out = append(out, i)
		return true
	}
	for _, s := range []struct {
		variable types.String
		scope    ast.IsScopeNode
	}{{"principal", p.Principal}, {"action", p.Action}, {"resource", p.Resource}} {
		if _, all := s.scope.(ast.ScopeTypeAll); all {
			continue
		}
		if !add(fmt.Sprintf("%s %#v", s.variable, s.scope), func() condition { return x.scope(s.variable, s.scope) }) {
			return out
		}
	}
	for _, c := range p.Conditions {
		if c.Condition == ast.ConditionUnless {
			if !add(fmt.Sprintf("unless %#v", c.Body), func() condition { return not(x.condition(c.Body)) }) {
				return out
			}
			continue
		}
		for _, part := range conjuncts(nil, c.Body) {
			if !add(fmt.Sprintf("when %#v", part), func() condition { return x.condition(part) }) {
				return out
			}
		}
	}
	return out
}

func not(c condition) condition {
	if c.op == opUnknown {
		return c
	}
	return condition{op: opNot, parts: []condition{c}}
}

func (x *index) scope(variable types.String, s ast.IsScopeNode) condition {
	it := x.fact(fact{variable: variable})
	in := func(list ...cedar.EntityUID) condition { return condition{op: opIn, left: it, list: list} }
	switch s := s.(type) {
	case ast.ScopeTypeEq:
		return condition{op: opEqual, left: it, right: operand{constant: s.Entity}}
	case ast.ScopeTypeIn:
		return in(s.Entity)
	case ast.ScopeTypeInSet:
		return in(s.Entities...)
	case ast.ScopeTypeIs:
		return condition{op: opIs, left: it, kind: s.Type}
	case ast.ScopeTypeIsIn:
		return condition{op: opAnd, parts: []condition{{op: opIs, left: it, kind: s.Type}, in(s.Entity)}}
	}
	return condition{op: opUnknown}
}

// fact numbers a fact of requests.
func (x *index) fact(f fact) operand {
	i := slices.Index(x.facts, f)
	if i < 0 {
		i = len(x.facts)
		x.facts = append(x.facts, f)
	}
	return operand{fact: i}
}

func (x *index) condition(n ast.IsNode) condition {
	switch n := n.(type) {
	case ast.NodeTypeNot:
		return not(x.condition(n.Arg))
	case ast.NodeTypeAnd:
		return condition{op: opAnd, parts: []condition{x.condition(n.Left), x.condition(n.Right)}}
	case ast.NodeTypeOr:
		return condition{op: opOr, parts: []condition{x.condition(n.Left), x.condition(n.Right)}}
	case ast.NodeTypeEquals:
		return x.compare(opEqual, n.Left, n.Right)
	case ast.NodeTypeNotEquals:
		return not(x.compare(opEqual, n.Left, n.Right))
	case ast.NodeTypeLessThan:
		return x.compare(opLess, n.Left, n.Right)
	case ast.NodeTypeLessThanOrEqual:
		return x.compare(opLessOrEqual, n.Left, n.Right)
	case ast.NodeTypeGreaterThan:
		return x.compare(opLess, n.Right, n.Left)
	case ast.NodeTypeGreaterThanOrEqual:
		return x.compare(opLessOrEqual, n.Right, n.Left)
	case ast.NodeTypeContains:
		return x.compare(opContains, n.Left, n.Right)
	case ast.NodeTypeIs:
		if left, ok := x.operand(n.Left); ok {
			return condition{op: opIs, left: left, kind: n.EntityType}
		}
	case ast.NodeTypeIn:
		left, ok := x.operand(n.Left)
		if list, constant := entitiesOf(n.Right); ok && constant {
			return condition{op: opIn, left: left, list: list}
		}
	case ast.NodeTypeIsIn:
		left, ok := x.operand(n.Left)
		if list, constant := entitiesOf(n.Entity); ok && constant {
			return condition{op: opAnd, parts: []condition{{op: opIs, left: left, kind: n.EntityType}, {op: opIn, left: left, list: list}}}
		}
	default:
		if left, ok := x.operand(n); ok {
			return condition{op: opTruth, left: left}
		}
	}
	return condition{op: opUnknown}
}

func (x *index) compare(op operator, left, right ast.IsNode) condition {
	l, okLeft := x.operand(left)
	r, okRight := x.operand(right)
	if !okLeft || !okRight {
		return condition{op: opUnknown}
	}
	return condition{op: op, left: l, right: r}
}

// operand takes variables that are entities, attributes of the context, and
// constants.
func (x *index) operand(n ast.IsNode) (operand, bool) {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		if n.Name == "context" {
			return operand{}, false
		}
		return x.fact(fact{variable: n.Name}), true
	case ast.NodeTypeAccess:
		if of, ok := n.Arg.(ast.NodeTypeVariable); ok && of.Name == "context" && n.Value != "" {
			return x.fact(fact{variable: of.Name, attr: n.Value}), true
		}
		return operand{}, false
	}
	v, ok := constant(n)
	return operand{constant: v}, ok
}

// constant has Cedar work out a literal: a value, a set of them, or a moment.
func constant(n ast.IsNode) (cedar.Value, bool) {
	var parts []ast.IsNode
	switch n := n.(type) {
	case ast.NodeValue:
	case ast.NodeTypeSet:
		parts = n.Elements
	case ast.NodeTypeExtensionCall:
		if n.Name != "datetime" {
			return nil, false
		}
		parts = n.Args
	default:
		return nil, false
	}
	for _, p := range parts {
		if _, ok := p.(ast.NodeValue); !ok {
			return nil, false
		}
	}
	v, err := eval.Eval(n, eval.Env{Entities: cedar.EntityMap{}})
	return v, err == nil && v != nil
}

// entitiesOf is the constant on the right of an in: an entity or a set of them.
func entitiesOf(n ast.IsNode) (list []cedar.EntityUID, ok bool) {
	v, ok := constant(n)
	if !ok {
		return nil, false
	}
	switch v := v.(type) {
	case cedar.EntityUID:
		return []cedar.EntityUID{v}, true
	case cedar.Set:
		for one := range v.All() {
			uid, ok := one.(cedar.EntityUID)
			if !ok {
				return nil, false
			}
			list = append(list, uid)
		}
		return list, true
	}
	return nil, false
}
