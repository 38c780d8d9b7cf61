package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
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
