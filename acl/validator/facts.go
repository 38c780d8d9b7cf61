package validator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Roles says which roles an identity has. Equal answers on every validator are
// what makes equal decisions.
type Roles interface {
	Roles(identity statement.ID, now time.Time) []string
}

// PolicyError is a denial by policy. It is told to those alone who have shown a
// valid chain or consent and proved that it is theirs; see [ErrDenied], which it is.
type PolicyError struct {
	Wants []string // of policy.WantsReason and policy.WantsPurpose
}

const policyWants = "; wants "

// Error is what goes over the wire; see [ParsePolicyError].
func (e *PolicyError) Error() string {
	if len(e.Wants) == 0 {
		return policy.Denied
	}
	return policy.Denied + policyWants + strings.Join(e.Wants, ",")
}

// Is makes it a denial to those who do not look further.
func (e *PolicyError) Is(target error) bool { return target == ErrDenied }

// with adds what another object of the same request wants.
func (e *PolicyError) with(wants []string) *PolicyError {
	out := &PolicyError{}
	if e != nil {
		out.Wants = e.Wants
	}
	for _, w := range wants {
		if !slices.Contains(out.Wants, w) {
			out.Wants = append(slices.Clone(out.Wants), w)
		}
	}
	slices.Sort(out.Wants)
	return out
}

// ParsePolicyError reads what [PolicyError.Error] writes, and nothing else: the
// words of a person's screen must not come from a validator that makes them up.
func ParsePolicyError(text string) (*PolicyError, bool) {
	rest, ok := strings.CutPrefix(text, policy.Denied)
	if !ok {
		return nil, false
	}
	if rest == "" {
		return &PolicyError{}, true
	}
	if rest, ok = strings.CutPrefix(rest, policyWants); !ok {
		return nil, false
	}
	wants := strings.Split(rest, ",")
	for i, w := range wants {
		if w != policy.WantsReason && w != policy.WantsPurpose || i > 0 && w <= wants[i-1] {
			return nil, false
		}
	}
	return &PolicyError{Wants: wants}, true
}

// policyDenial is why policy denied one object.
type policyDenial struct {
	name  string // of what denied it, for the audit log
	rule  string // with its description
	wants []string
}

func (e *policyDenial) Error() string { return e.rule }

// principal begins the question to policy: who asks for what, when.
func principal(who *identity.Identity, action string, roles []string, at time.Time) policy.Request {
	return policy.Request{
		Principal: who.ID(), PrincipalKind: principalKind(who.Kind()), Action: action, Roles: roles, Region: policy.Region(roles),
		Batch: 1, Consented: true, Now: at.Truncate(time.Second),
	}
}

func labelsOf(d *Dealing) []string {
	out := make([]string, len(d.Labels))
	for i, l := range d.Labels {
		out[i] = l.Key + "=" + l.Value
	}
	return out
}

// about fills in what is known of an object.
func about(q *policy.Request, d *Dealing, o capability.Object) {
	q.Object, q.ObjectKind, q.Owner = envelope.KeyID(d.Network, d.Owner, d.KeyNonce), "Dataset", d.Owner
	q.Labels, q.Classification = labelsOf(d), int64(d.Class)
	for _, s := range o.Scopes {
		q.Scopes = append(q.Scopes, envelope.ScopeID(d.Network, d.Owner, s))
	}
}

// About fills a question to policy in with what is known here of the object at
// an address, and with what its principal was released. The error is
// [kv.ErrNotFound] where it was not deposited here.
func (j *Judge) About(address []byte, q *policy.Request) error {
	dep, _, err := j.load(address)
	if err != nil {
		return err
	}
	d, _, err := readDealing(dep.Dealing)
	if err != nil {
		return err
	}
	o, err := dep.object()
	if err != nil {
		return err
	}
	about(q, d, o)
	q.Used = j.used.count(q.Principal, q.Now)
	return nil
}

// verdict is what policy says of a root grant.
type verdict struct {
	policy.Explanation
	wants []string
}

// decideGrant asks policy about a root grant: about each of its purposes, of
// which one that is forbidden, or left open, decides for all.
func (j *Judge) decideGrant(d *draft, reason string) (*verdict, error) {
	now := j.Now()
	engine, err := j.Policies.InForce(now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	facts, err := j.facts(d.Owner, d.Target)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	asker := d.asker.ID()
	q := principal(d.asker, "grant", j.Roles.Roles(asker, now), now)
	q.Object, q.ObjectKind = targetID(&d.Grant)
	q.Owner, q.Reason, q.Used = d.Owner, reason, j.used.count(asker, now)
	q.Labels, q.Classification, q.Scopes = facts.Labels, int64(facts.Class), facts.scopes
	purposes := d.Caveats.Purposes
	if len(purposes) == 0 {
		purposes = []string{""} // for any purpose
	}
	worst := policy.Request{}
	for i, p := range purposes {
		q.Purpose = p
		if i == 0 || rank(engine.Decide(q)) > rank(engine.Decide(worst)) {
			worst = q
		}
	}
	return &verdict{engine.Explain(worst), engine.Wants(worst)}, nil
}

func rank(d policy.Decision) int {
	switch {
	case d.Allow:
		return 0
	case !d.Settled:
		return 1
	}
	return 2
}

// TargetID is the id by which policies know the target of a grant.
func TargetID(g *capability.Grant) statement.ID {
	id, _ := targetID(g)
	return id
}

func targetID(g *capability.Grant) (statement.ID, string) {
	switch g.Target.Kind {
	case capability.Scope:
		return envelope.ScopeID(g.Network, g.Owner, g.Target.Ref), "Collection"
	case capability.Lineage:
		return envelope.LineageID(g.Network, g.Owner, g.Target.Ref), "Dataset"
	}
	return g.Target.Ref, "Dataset"
}

// withinPrefix begins the index of deposits by what a grant may name:
// + target kind + owner + ref + key id.
var withinPrefix = []byte("within/")

func withinKey(owner statement.ID, t capability.Target) []byte {
	return slices.Concat(withinPrefix, []byte{byte(t.Kind)}, owner[:], t.Ref[:])
}

// withinOps keep, or drop, a deposit's entries in the index. Its manifest was
// verified before it was stored.
func withinOps(d *deposit, keyID statement.ID, drop bool) []kv.Op {
	o, err := d.object()
	if err != nil {
		return nil
	}
	targets := []capability.Target{{Kind: capability.Version, Ref: o.Version}, {Kind: capability.Lineage, Ref: o.Lineage}}
	for _, s := range o.Scopes {
		targets = append(targets, capability.Target{Kind: capability.Scope, Ref: s})
	}
	var ops []kv.Op
	for _, t := range targets {
		op := kv.Op{Key: append(withinKey(o.Owner, t), keyID[:]...), Value: []byte{1}, Delete: drop}
		if drop {
			op.Value = nil
		}
		ops = append(ops, op)
	}
	return ops
}

// maxFacts is how many objects of a target are looked at: a grant of a large
// collection is decided by the first ones, and every read by its own object.
const maxFacts = 256

// Facts are what a validator knows of a grant's target from its deposits.
type Facts struct {
	Objects int      // that are deposited here; counted up to 256
	Labels  []string // "key=value", of any of them, sorted
	Class   uint8    // the highest
	scopes  []statement.ID
}

func (j *Judge) facts(owner statement.ID, t capability.Target) (Facts, error) {
	var f Facts
	err := j.Store.Scan(withinKey(owner, t), nil, func(key, _ []byte) (bool, error) {
		dep, err := j.loadKey(statement.ID(key[len(key)-len(statement.ID{}):]))
		if errors.Is(err, kv.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		return f.add(dep)
	})
	slices.Sort(f.Labels)
	f.Labels = slices.Compact(f.Labels)
	return f, err
}

func (f *Facts) add(dep *deposit) (more bool, err error) {
	d, _, err := readDealing(dep.Dealing)
	if err != nil {
		return false, err
	}
	o, err := dep.object()
	if err != nil {
		return false, err
	}
	f.Objects++
	f.Labels = append(f.Labels, labelsOf(d)...)
	f.Class = max(f.Class, d.Class)
	for _, s := range o.Scopes {
		if id := envelope.ScopeID(d.Network, d.Owner, s); !slices.Contains(f.scopes, id) && len(f.scopes) < maxFacts {
			f.scopes = append(f.scopes, id)
		}
	}
	return f.Objects < maxFacts, nil
}
