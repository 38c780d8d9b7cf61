package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// ErrBundle reports a bundle that no validator may judge by.
var ErrBundle = errors.New("policy bundle is refused")

// Engine decides under one bundle. It is immutable and safe for concurrent use.
// The zero value denies everything.
type Engine struct {
	head     statement.ID
	policies *index
	entities cedar.EntityMap
	requests *validate.Validator
}

// NewEngine checks a bundle and compiles it; the bundle may change afterwards
// without effect. It refuses, with [ErrBundle]: another evaluator than ours;
// texts or lists beyond the limits; a schema that does not resolve or whose
// context is not the one that requests bring; a policy that is not exactly one,
// does not validate strictly or has another's id; entities that the schema does
// not allow. Version, Previous, NotBefore and signatures are the caller's to check.
func NewEngine(b *Bundle) (*Engine, error) {
	if b == nil {
		return nil, fmt.Errorf("%w: there is none", ErrBundle)
	}
	e, err := compile(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return e, nil
}

func compile(b *Bundle) (*Engine, error) {
	if b.Engine != EngineName {
		return nil, fmt.Errorf("it is written for the engine %q, this is %q", b.Engine, EngineName)
	}
	if len(b.Schema) > MaxSchemaBytes || len(b.Policies) > MaxPolicies {
		return nil, fmt.Errorf("it is too large: a schema has at most %d bytes, a bundle at most %d policies", MaxSchemaBytes, MaxPolicies)
	}
	if err := checkTravels(b); err != nil {
		return nil, err
	}
	resolved, err := resolve("schema", b.Schema)
	if err != nil {
		return nil, err
	}
	v := validate.New(resolved, validate.WithStrict())
	if err := checkContexts(resolved, v); err != nil {
		return nil, err
	}
	if err := checkOptional(resolved); err != nil {
		return nil, err
	}
	policies, err := compilePolicies(b.Policies, v)
	if err != nil {
		return nil, err
	}
	entities, err := compileEntities(b.Entities, resolved, v)
	if err != nil {
		return nil, err
	}
	return &Engine{head: b.Head(), policies: newIndex(policies), entities: entities, requests: v}, nil
}

// checkTravels refuses a bundle that its readers could not decode.
func checkTravels(b *Bundle) error {
	raw, err := statement.Marshal(b)
	if err != nil {
		return err
	}
	if len(raw) > MaxBundleBytes {
		return fmt.Errorf("it has %d bytes, at most %d", len(raw), MaxBundleBytes)
	}
	return statement.Unmarshal(raw, new(Bundle))
}

func resolve(file, text string) (*resolved.Schema, error) {
	var s schema.Schema
	s.SetFilename(file)
	if err := s.UnmarshalCedar([]byte(text)); err != nil {
		return nil, fmt.Errorf("the schema does not parse: %w", err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("the schema does not resolve: %w", err)
	}
	return r, nil
}

// checkContexts tries the context of a request on every action, so that a
// schema under which no request could ever pass is refused when it is
// published, not when it is in force.
func checkContexts(s *resolved.Schema, v *validate.Validator) error {
	tried := 0
	for uid, action := range s.Actions {
		if action.AppliesTo == nil { // a group of actions
			continue
		}
		for _, p := range action.AppliesTo.Principals {
			for _, o := range action.AppliesTo.Resources {
				tried++
				q := cedar.Request{Principal: cedar.NewEntityUID(p, ""), Action: uid, Resource: cedar.NewEntityUID(o, ""), Context: Request{}.context()}
				if err := v.Request(q); err != nil {
					return fmt.Errorf("the schema's context of %s is not what requests bring: %w", uid, err)
				}
			}
		}
	}
	if tried == 0 { // then no policy would be type-checked either
		return errors.New("the schema has no action that applies to anything")
	}
	return nil
}

// checkOptional refuses attributes that a principal or object must have: those
// that a bundle does not list have none, and a policy that reads a missing
// attribute fails, which denies everything.
func checkOptional(s *resolved.Schema) error {
	for _, action := range s.Actions {
		if action.AppliesTo == nil {
			continue
		}
		for _, kind := range slices.Concat(action.AppliesTo.Principals, action.AppliesTo.Resources) {
			for name, a := range s.Entities[kind].Shape {
				if !a.Optional {
					return fmt.Errorf("the attribute %s of %s must be optional (%s?: ...), as not every %s is listed in the bundle", name, kind, name, kind)
				}
			}
		}
	}
	return nil
}

// policyError says which policy of a list is wrong, for those who know its file.
type policyError struct {
	at  int // in the list
	err error
}

func (e *policyError) Error() string { return e.err.Error() }
func (e *policyError) Unwrap() error { return e.err }

func compilePolicies(list []Policy, v *validate.Validator) (*cedar.PolicySet, error) {
	set := cedar.NewPolicySet()
	for i, p := range list {
		parsed, err := compilePolicy(p, v)
		if err == nil && !set.Add(cedar.PolicyID(p.ID), parsed) { // Add overwrites
			err = fmt.Errorf("two policies have the id %s", p.ID)
		}
		if err != nil {
			return nil, &policyError{at: i, err: err}
		}
	}
	return set, nil
}

func compilePolicy(p Policy, v *validate.Validator) (*cedar.Policy, error) {
	if !validID(p.ID) {
		return nil, fmt.Errorf("%q is not a policy's id", p.ID)
	}
	if len(p.Text) > MaxPolicyBytes {
		return nil, fmt.Errorf("policy %s has more than %d bytes", p.ID, MaxPolicyBytes)
	}
	parsed, err := cedar.NewPolicyListFromBytes(p.ID, []byte(p.Text))
	if err != nil {
		return nil, fmt.Errorf("policy %s does not parse: %w", p.ID, err)
	}
	if len(parsed) != 1 {
		return nil, fmt.Errorf("policy %s holds %d policies, not one", p.ID, len(parsed))
	}
	// People know a policy by the id in its text, decisions by the one beside it.
	if id, ok := parsed[0].Annotations()["id"]; ok && string(id) != p.ID {
		return nil, fmt.Errorf("policy %s calls itself %q", p.ID, id)
	}
	// Both types name one AST; the validator is still experimental in cedar-go.
	if err := v.Policy(p.ID, (*ast.Policy)(parsed[0].AST())); err != nil {
		return nil, fmt.Errorf("policy %s does not validate: %w", p.ID, err)
	}
	return parsed[0], nil
}

func validID(id string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./"
	return 0 < len(id) && len(id) <= maxIDBytes && strings.Trim(id, letters) == ""
}

func compileEntities(text []byte, s *resolved.Schema, v *validate.Validator) (cedar.EntityMap, error) {
	entities := cedar.EntityMap{}
	if len(text) > 0 {
		if trimmed := bytes.TrimSpace(text); len(trimmed) == 0 || trimmed[0] != '[' {
			return nil, errors.New("the entities are not a JSON array")
		}
		if err := json.Unmarshal(text, &entities); err != nil {
			return nil, fmt.Errorf("the entities do not parse: %w", err)
		}
		if err := knownMembers(text); err != nil {
			return nil, err
		}
	}
	for uid, entity := range entities {
		if err := v.Entity(entity); err != nil {
			return nil, fmt.Errorf("the entity %s does not validate: %w", uid, err)
		}
	}
	// The evaluator does not know the schema: without these a policy on a group
	// of actions would match no action, and a forbid on it would forbid nothing.
	for uid, action := range s.Actions {
		entities[uid] = action.Entity
	}
	return entities, nil
}

// knownMembers refuses entities with members that cedar-go passes over: with "parent"
// for "parents" nobody would be in the group that a policy forbids something.
func knownMembers(text []byte) error {
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("the entities do not parse: %w", err)
	}
	for i, members := range list {
		for name := range members {
			switch name {
			case "uid", "parents", "attrs", "tags":
			default:
				return fmt.Errorf("entity %d of the list has %.80q: an entity has uid, parents, attrs and tags", i+1, name)
			}
		}
	}
	return nil
}

// Decide judges a request. It never fails: whatever is wrong is a no.
func (e *Engine) Decide(r Request) Decision {
	if e == nil || e.requests == nil {
		return Decision{Errors: 1, Settled: true}
	}
	q := r.cedar()
	return e.decide(q, e.overlay(q, r.Roles, r.Scopes))
}

// cedar is the request in Cedar's terms.
func (r Request) cedar() cedar.Request {
	object := r.ObjectKind
	if object == "" {
		object = "Dataset"
	}
	return cedar.Request{
		Principal: cedar.NewEntityUID(cedar.EntityType(r.PrincipalKind), cedar.String(r.Principal.String())),
		Action:    cedar.NewEntityUID("Action", cedar.String(r.Action)),
		Resource:  cedar.NewEntityUID(cedar.EntityType(object), cedar.String(r.Object.String())),
		Context:   r.context(),
	}
}

func (e *Engine) decide(q cedar.Request, entities types.EntityGetter) Decision {
	if e.requests.Request(q) != nil {
		return Decision{Bundle: e.head, Errors: 1, Settled: true}
	}
	return e.judge(e.policies.of(q, entities), q, entities)
}

// judge asks Cedar about some policies, of a request that the schema accepts.
func (e *Engine) judge(some cedar.PolicyIterator, q cedar.Request, entities types.EntityGetter) Decision {
	d := Decision{Bundle: e.head}
	verdict, diagnostic := cedar.Authorize(some, entities, q)
	d.Errors = len(diagnostic.Errors)
	d.Settled = len(diagnostic.Reasons) > 0 || d.Errors > 0
	d.Allow = verdict == cedar.Allow && d.Errors == 0
	forbidden := verdict == cedar.Deny && len(diagnostic.Reasons) > 0
	if d.Errors > 0 && !forbidden {
		for _, f := range diagnostic.Errors {
			d.Policies = append(d.Policies, string(f.PolicyID))
		}
	} else {
		for _, reason := range diagnostic.Reasons {
			d.Policies = append(d.Policies, string(reason.PolicyID))
		}
	}
	slices.Sort(d.Policies)
	return d
}

// context is the record that the schema calls Asked.
func (r Request) context() cedar.Record {
	labels := make([]cedar.Value, len(r.Labels))
	for i, l := range r.Labels {
		labels[i] = cedar.String(l)
	}
	return cedar.NewRecord(cedar.RecordMap{
		"purpose":        cedar.String(r.Purpose),
		"reason":         cedar.String(r.Reason),
		"region":         cedar.String(r.Region),
		"now":            cedar.NewDatetime(r.Now.Truncate(time.Second)),
		"classification": cedar.Long(r.Classification),
		"attested":       cedar.Boolean(r.Attested),
		"consented":      cedar.Boolean(r.Consented),
		"owner":          cedar.String(r.Owner.String()),
		"byOwner":        cedar.Boolean(r.Principal == r.Owner && r.Owner != statement.ID{}),
		"batch":          cedar.Long(r.Batch),
		"used":           cedar.Long(r.Used),
		"labels":         cedar.NewSet(labels...),
	})
}
