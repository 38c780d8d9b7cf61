package policy

import (
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

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
