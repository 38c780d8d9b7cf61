package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// ErrLockout reports a bundle under which nobody seems to get anything.
var ErrLockout = errors.New("policy bundle locks everybody out")

// maxProbes bounds the requests that a check tries for one action.
const maxProbes = 200_000

// CheckOptions say how strict [Check] is.
type CheckOptions struct {
	Force bool      // accept a bundle that seems to lock everybody out
	From  time.Time // when it will be in force; requests are tried from then on
}

// Check reports what should keep validators from signing a bundle: [ErrBundle]
// where [NewEngine] refuses it, [ErrLockout] where no request to read is allowed,
// or every request for a grant is refused without a person being asked.
//
// The second is found by trying requests: each kind of principal with no role,
// each role that the policies name and all of them, those that the policies or
// entities name; each text, number and time that stands in a condition and its
// neighbours, alone and with a filled-in purpose and reason; the hours of a day
// and the days of a week. So a bundle that passes does allow something, while
// one that only an odd combination opens may be refused: Force is for those. The
// roles need not be assigned to anybody yet.
func Check(b *Bundle, o CheckOptions) error {
	e, err := NewEngine(b)
	if err != nil {
		return err
	}
	if o.Force {
		return nil
	}
	p := e.probes(o.From)
	if !p.any("read", func(d Decision) bool { return d.Allow }) {
		return fmt.Errorf("%w: no request to read that was tried is allowed%s", ErrLockout, p.because())
	}
	if !p.any("grant", func(d Decision) bool { return d.Allow || !d.Settled }) {
		return fmt.Errorf("%w: every request for a grant that was tried is refused, and no person is asked%s", ErrLockout, p.because())
	}
	return nil
}

// probes are the values that representative requests are made of.
type probes struct {
	engine     *Engine
	principals []cedar.EntityUID
	roles      [][]string
	texts      []string // of the policies' conditions, "" first
	numbers    []int64
	times      []time.Time
	labels     []string
	scopes     []statement.ID
	resources  []cedar.EntityUID
	blamed     map[string]bool // forbids seen
}

func (e *Engine) probes(from time.Time) *probes {
	p := &probes{engine: e, texts: []string{""}, numbers: []int64{0, 1}, blamed: map[string]bool{}}
	for _, kind := range []cedar.EntityType{"User", "Agent", "Service", "Enclave"} {
		p.principals = append(p.principals, cedar.NewEntityUID(kind, cedar.String(statement.ID{1}.String())))
	}
	for _, kind := range []cedar.EntityType{"Dataset", "Model", "Collection"} {
		p.resources = append(p.resources, cedar.NewEntityUID(kind, cedar.String(statement.ID{2}.String())))
	}
	p.times = append(p.times, from)
	for h := range 24 {
		p.times = append(p.times, from.Add(time.Duration(h)*time.Hour))
	}
	for d := range 7 {
		p.times = append(p.times, from.AddDate(0, 0, d))
	}
	roles := map[string]bool{}
	for _, policy := range e.policies.All() {
		p.collect((*ast.Policy)(policy.AST()), roles)
	}
	for uid := range e.entities {
		p.entity(uid, roles)
	}
	all := make([]string, 0, len(roles))
	for r := range roles {
		all = append(all, r)
	}
	slices.Sort(all)
	p.roles = append(p.roles, nil, all)
	for _, r := range all {
		p.roles = append(p.roles, []string{r})
	}
	p.tidy(from)
	return p
}

// tidy makes what was collected in the order of maps the same every time.
func (p *probes) tidy(from time.Time) {
	p.times = slices.DeleteFunc(p.times, func(t time.Time) bool { return t.Before(from) }) // what is over opens nothing
	slices.Sort(p.texts)
	p.texts = slices.Compact(p.texts)
	slices.Sort(p.numbers)
	p.numbers = slices.Compact(p.numbers)
	slices.SortFunc(p.times, func(a, b time.Time) int { return a.Compare(b) })
	p.times = slices.CompactFunc(p.times, func(a, b time.Time) bool { return a.Equal(b) })
	for _, t := range p.texts {
		if strings.Contains(t, "=") {
			p.labels = append(p.labels, t)
		}
	}
}

// collect takes the values that a policy mentions.
func (p *probes) collect(policy *ast.Policy, roles map[string]bool) {
	whole := ast.Permit()
	whole.Principal, whole.Action, whole.Resource = policy.Principal, policy.Action, policy.Resource
	var nodes []ast.IsNode
	for _, c := range policy.Conditions {
		nodes = append(nodes, c.Body)
	}
	for _, n := range nodes {
		ast.Inspect(ast.NewNode(n), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeValue:
				p.value(n.Value, roles)
			case ast.NodeTypeExtensionCall:
				p.moment(n)
			}
			return true
		})
	}
	for _, uid := range scopeEntities(whole) {
		p.entity(uid, roles)
	}
}

func scopeEntities(p *ast.Policy) (out []cedar.EntityUID) {
	for _, scope := range []any{p.Principal, p.Resource} {
		switch s := scope.(type) {
		case ast.ScopeTypeEq:
			out = append(out, s.Entity)
		case ast.ScopeTypeIn:
			out = append(out, s.Entity)
		case ast.ScopeTypeIsIn:
			out = append(out, s.Entity)
		}
	}
	return out
}

func (p *probes) value(v cedar.Value, roles map[string]bool) {
	switch v := v.(type) {
	case cedar.String:
		p.texts = append(p.texts, string(v))
	case cedar.Long:
		p.numbers = append(p.numbers, int64(v))
		if v > -1<<63 && v < 1<<63-1 {
			p.numbers = append(p.numbers, int64(v)-1, int64(v)+1)
		}
	case cedar.EntityUID:
		p.entity(v, roles)
	case cedar.Datetime:
		p.around(v.Time())
	case cedar.Set:
		for one := range v.All() {
			p.value(one, roles)
		}
	}
}

// moment takes a time that a policy writes as datetime("...").
func (p *probes) moment(n ast.NodeTypeExtensionCall) {
	if n.Name != "datetime" || len(n.Args) != 1 {
		return
	}
	if v, ok := n.Args[0].(ast.NodeValue); ok {
		text, _ := v.Value.(cedar.String)
		for _, layout := range []string{time.RFC3339, "2006-01-02"} {
			if t, err := time.Parse(layout, string(text)); err == nil {
				p.around(t)
			}
		}
	}
}

func (p *probes) around(t time.Time) {
	p.times = append(p.times, t.Add(-time.Second), t, t.Add(time.Second))
}

// entity takes an entity that policies or entities name.
func (p *probes) entity(uid cedar.EntityUID, roles map[string]bool) {
	switch uid.Type {
	case "Role":
		roles[string(uid.ID)] = true
	case "User", "Agent", "Service", "Enclave":
		p.principals = append(p.principals, uid)
	case "Dataset", "Model":
		p.resources = append(p.resources, uid)
	case "Collection":
		p.resources = append(p.resources, uid)
		if id, err := statement.ParseID(string(uid.ID)); err == nil {
			p.scopes = append(p.scopes, id)
		}
	}
}

// any tries requests until one is decided as wanted.
func (p *probes) any(action string, wanted func(Decision) bool) bool {
	tried := 0
	try := func(who, on cedar.EntityUID, roles []string, r Request) bool {
		tried++
		r.Labels, r.Consented, r.Attested = p.labels, true, true
		q := cedar.Request{Principal: who, Action: cedar.NewEntityUID("Action", cedar.String(action)), Resource: on, Context: r.context()}
		d := p.engine.decide(q, p.engine.overlay(q, roles, p.scopes))
		for _, id := range d.Policies {
			if !d.Allow {
				p.blamed[id] = true
			}
		}
		return wanted(d)
	}
	for _, r := range p.requests() {
		for _, who := range p.principals {
			for _, roles := range p.roles {
				for _, on := range p.resources {
					if try(who, on, roles, r) {
						return true
					}
					if tried >= maxProbes {
						return false
					}
				}
			}
		}
	}
	return false
}

// requests vary what a request states and what is known of its object.
func (p *probes) requests() (out []Request) {
	for _, text := range p.texts {
		for _, reason := range []string{"a reason", text, ""} {
			for _, n := range p.numbers {
				out = append(out, Request{Purpose: text, Reason: reason, Region: text, Classification: n, Batch: 1, Now: p.times[0]})
			}
		}
	}
	for _, at := range p.times {
		for _, text := range p.texts {
			out = append(out, Request{Purpose: text, Reason: "a reason", Batch: 1, Now: at})
		}
	}
	return out
}

// because names the forbids that were met.
func (p *probes) because() string {
	if len(p.blamed) == 0 {
		return ": no policy permits it"
	}
	ids := make([]string, 0, len(p.blamed))
	for id := range p.blamed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return "; in the way are " + strings.Join(ids[:min(len(ids), 10)], ", ")
}
