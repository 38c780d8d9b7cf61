package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	public "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// Denied is all that somebody is told who may not know the policies.
const Denied = "denied by policy"

// Explanation says why a request was decided as it was. It quotes policies and
// facts of the request: it is for the validators' operators and for auditors,
// everybody else gets [Denied].
type Explanation struct {
	Decision
	// Matching are the policies whose scope (principal, action, resource) the
	// request is in, sorted by id, whether or not they determined the decision.
	Matching []Match
}

// Match is what one policy says of a request in its scope.
type Match struct {
	ID          string
	Description string // its @description, empty if it has none
	Forbids     bool   // it is a forbid, not a permit
	Applies     bool   // all its clauses hold
	Unmet       []Clause
}

// Clause is a part of a policy that kept it from applying. A condition whose
// parts are joined by && is split, so that the part that failed is named.
type Clause struct {
	Unless bool     // it stands in an unless, and holds
	Text   string   // in Cedar
	Values []string // what it reads, like `context.reason is ""`, sorted
	Failed bool     // it could not be evaluated, which denies the request
}

// Explain decides a request and says why. It costs more than [Engine.Decide] and
// agrees with it.
func (e *Engine) Explain(r Request) Explanation {
	x := Explanation{Decision: e.Decide(r)}
	if e == nil || e.requests == nil {
		return x
	}
	q := r.cedar()
	if e.requests.Request(q) != nil {
		return x
	}
	entities := e.overlay(q, r.Roles, r.Scopes)
	for id, p := range e.policies.All() {
		tree := (*ast.Policy)(p.AST())
		if !inScope(tree, entities, q) {
			continue
		}
		m := Match{ID: string(id), Description: string(p.Annotations()["description"]), Forbids: p.Effect() == cedar.Forbid}
		env := eval.Env{Entities: entities, Principal: q.Principal, Action: q.Action, Resource: q.Resource, Context: q.Context}
		for _, c := range tree.Conditions {
			m.Unmet = append(m.Unmet, unmet(c, env)...)
		}
		m.Applies = len(m.Unmet) == 0
		x.Matching = append(x.Matching, m)
	}
	slices.SortFunc(x.Matching, func(a, b Match) int { return strings.Compare(a.ID, b.ID) })
	return x
}

// inScope asks Cedar itself, with the policy's scope and none of its conditions.
func inScope(p *ast.Policy, entities types.EntityGetter, q cedar.Request) bool {
	scope := ast.Permit()
	scope.Principal, scope.Action, scope.Resource = p.Principal, p.Action, p.Resource
	value, err := eval.Eval(eval.PolicyToNode(scope).AsIsNode(), eval.Env{
		Entities: entities, Principal: q.Principal, Action: q.Action, Resource: q.Resource, Context: q.Context,
	})
	return err == nil && value == cedar.True
}

// unmet lists what in a condition keeps its policy from applying.
func unmet(c ast.ConditionType, env eval.Env) []Clause {
	parts := []ast.IsNode{c.Body}
	if c.Condition == ast.ConditionWhen {
		parts = conjuncts(nil, c.Body)
	}
	var out []Clause
	for _, part := range parts {
		value, err := eval.Eval(part, env)
		if err == nil && value == cedar.Boolean(c.Condition) {
			continue
		}
		out = append(out, Clause{Unless: c.Condition == ast.ConditionUnless, Text: clauseText(part), Values: reads(part, env), Failed: err != nil})
		if err != nil { // what follows may rest on it: has && access
			break
		}
	}
	return out
}

func conjuncts(list []ast.IsNode, n ast.IsNode) []ast.IsNode {
	if and, ok := n.(ast.NodeTypeAnd); ok {
		return conjuncts(conjuncts(list, and.Left), and.Right)
	}
	return append(list, n)
}

// clauseText is Cedar's own writing of an expression: its printer takes policies.
func clauseText(n ast.IsNode) string {
	p := ast.Permit().When(ast.NewNode(n))
	text := string(cedar.NewPolicyFromAST((*public.Policy)(p)).MarshalCedar())
	_, text, _ = strings.Cut(text, "{")
	return strings.TrimSpace(text[:strings.LastIndex(text, "}")])
}

// reads names the facts that an expression looks at, with their values.
func reads(n ast.IsNode, env eval.Env) []string {
	var out []string
	variable := func(n ast.IsNode) string {
		if v, ok := n.(ast.NodeTypeVariable); ok {
			return string(v.Name)
		}
		return ""
	}
	ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
		switch n := n.(type) {
		case ast.NodeTypeAccess:
			if of := variable(n.Arg); of != "" {
				out = append(out, describe(of+"."+string(n.Value), n, env))
			}
		case ast.NodeTypeIn:
			if of := variable(n.Left); of != "" {
				out = append(out, parents(of, env))
			}
		}
		return true
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func describe(name string, n ast.IsNode, env eval.Env) string {
	value, err := eval.Eval(n, env)
	if err != nil {
		return name + " is not there"
	}
	return name + " is " + string(value.MarshalCedar())
}

// parents says what the principal or the resource is in.
func parents(of string, env eval.Env) string {
	uid, _ := env.Principal.(cedar.EntityUID)
	if of == "resource" {
		uid, _ = env.Resource.(cedar.EntityUID)
	}
	entity, _ := env.Entities.Get(uid)
	var in []string
	for p := range entity.Parents.All() {
		in = append(in, p.String())
	}
	if len(in) == 0 {
		return of + " is in nothing"
	}
	slices.Sort(in)
	return of + " is in " + strings.Join(in, ", ")
}

// String is the explanation in words, a line for each policy and each clause.
func (x Explanation) String() string {
	var b strings.Builder
	switch {
	case x.Allow:
		fmt.Fprintf(&b, "allowed by %s", strings.Join(x.Policies, ", "))
	case x.Errors > 0 && len(x.Policies) == 0:
		b.WriteString("denied: the request is not one that the schema knows")
	case x.Settled:
		fmt.Fprintf(&b, "denied by %s", strings.Join(x.Policies, ", "))
	default:
		b.WriteString("not settled: no policy permits it and none forbids it")
	}
	for _, m := range x.Matching {
		verb, applies := "permits", "applies"
		if m.Forbids {
			verb = "forbids"
		}
		if !m.Applies {
			applies = "does not apply"
		}
		fmt.Fprintf(&b, "\npolicy %s (%s) %s", m.ID, verb, applies)
		if m.Description != "" {
			fmt.Fprintf(&b, ": %s", m.Description)
		}
		for _, c := range m.Unmet {
			word := "wants"
			if c.Unless {
				word = "does not count where"
			}
			if c.Failed {
				word = "failed at"
			}
			fmt.Fprintf(&b, "\n  it %s %s", word, c.Text)
			if len(c.Values) > 0 {
				fmt.Fprintf(&b, "; %s", strings.Join(c.Values, "; "))
			}
		}
	}
	return b.String()
}
