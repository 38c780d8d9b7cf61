package policy

import (
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// index finds the policies that may apply to a principal, because most policies
// of a large bundle are for a role, and few principals have many. It leaves out
// only those whose scope names a principal, role or organisation that the
// principal is not in: Cedar would find them false, and never in error, as it
// looks at the scope first.
type index struct {
	anybody []named                     // their scope names no entity
	within  map[cedar.EntityUID][]named // by the entity that it names

	conditions []condition    // of all policies, each once
	numbers    map[string]int // by their trees
	facts      []fact         // that they look at
}

type named struct {
	id     cedar.PolicyID
	policy *cedar.Policy
	all    []int // conditions that all hold where it applies; there may be more
}

func newIndex(set *cedar.PolicySet) *index {
	x := &index{within: map[cedar.EntityUID][]named{}, numbers: map[string]int{}}
	for id, p := range set.All() {
		tree := (*ast.Policy)(p.AST())
		n := named{id, p, x.conditionsOf(tree)}
		switch s := tree.Principal.(type) {
		case ast.ScopeTypeEq:
			x.within[s.Entity] = append(x.within[s.Entity], n)
		case ast.ScopeTypeIn:
			x.within[s.Entity] = append(x.within[s.Entity], n)
		case ast.ScopeTypeIsIn:
			x.within[s.Entity] = append(x.within[s.Entity], n)
		default:
			x.anybody = append(x.anybody, n)
		}
	}
	return x
}

// All are all policies, in no order.
func (x *index) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, list := range x.within {
			for _, n := range list {
				if !yield(n.id, n.policy) {
					return
				}
			}
		}
		for _, n := range x.anybody {
			if !yield(n.id, n.policy) {
				return
			}
		}
	}
}

// candidates are the policies that may apply to one request.
type candidates struct {
	lists [][]named
	view  *view
}

func (x *index) of(q cedar.Request, entities types.EntityGetter) candidates {
	found := candidates{[][]named{x.anybody}, x.view(q, entities)}
	if len(x.within) == 0 {
		return found
	}
	for _, uid := range found.view.ancestors(q.Principal) {
		if list := x.within[uid]; len(list) > 0 {
			found.lists = append(found.lists, list)
		}
	}
	return found
}

// ancestors are an entity and all that it is in, however deep. Entities may be in
// each other in a circle.
func ancestors(uid cedar.EntityUID, entities types.EntityGetter) []cedar.EntityUID {
	found := []cedar.EntityUID{uid}
	var seen map[cedar.EntityUID]bool // only where there are many: most principals are in a few
	for i := 0; i < len(found); i++ {
		entity, _ := entities.Get(found[i])
		for p := range entity.Parents.All() {
			if seen == nil && len(found) < 16 && slices.Contains(found, p) || seen[p] {
				continue
			}
			if seen == nil && len(found) == 16 {
				seen = map[cedar.EntityUID]bool{}
				for _, f := range found {
					seen[f] = true
				}
				if seen[p] {
					continue
				}
			}
			found = append(found, p)
			if seen != nil {
				seen[p] = true
			}
		}
	}
	return found
}

// All implements cedar.PolicyIterator.
func (c candidates) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, list := range c.lists {
			for i := range list {
				n := &list[i]
				if !c.view.fails(n.all) && !yield(n.id, n.policy) {
					return
				}
			}
		}
	}
}
