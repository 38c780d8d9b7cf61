package validator

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// event is an audit event of this validator, under the policy that is in force where
// the act names no other.
func (j *Judge) event(action event.Action, outcome event.Outcome, a event.Act) event.Event {
	now := j.Now()
	if a.Bundle == (statement.ID{}) {
		if engine, err := j.Policies.InForce(now); err == nil {
			a.Bundle = engine.Head()
		}
	}
	return a.Event(now, action, outcome)
}

// note returns once events are durable in the audit log. What they tell of is done
// or given after that, or not at all.
func (j *Judge) note(ctx context.Context, events ...event.Event) error {
	if err := j.Audit.Append(ctx, events...); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// deny records a denial durably, with the rule that err stands for, and answers with
// nothing but that, unless the clocks are to blame.
func (j *Judge) deny(ctx context.Context, action event.Action, a event.Act, err error) error {
	if a.Rule == "" {
		a.Rule = RuleOf(err)
	}
	a.Reason = err.Error()
	if j.Audit.Append(ctx, j.event(action, event.Denied, a)) != nil {
		return ErrUnavailable
	}
	if errors.Is(err, capability.ErrClock) {
		return ErrClock
	}
	return ErrDenied
}

// denyAddress is deny where an address is to blame. The log has the rule, the answer not
// even that it was a denial while what is here is still coming.
func (j *Judge) denyAddress(ctx context.Context, coming bool, action event.Action, a event.Act, err error) error {
	if err := j.deny(ctx, action, a, err); !coming {
		return err
	}
	return errComing
}

// broken is a rule that was broken: its name for the log, and what was wrong.
type broken struct{ name, text string }

func (e *broken) Error() string { return e.text }

// rules names what errors of other packages stand for, the narrower ones first.
var rules = []struct {
	err  error
	name string
}{
	{errErased, "key-erased"},
	{errClaimed, "invitation-used"},
	{errNoOfficer, "hold-officer"},
	{capability.ErrRevoked, "grant-revoked"},
	{capability.ErrExpired, "grant-time"},
	{capability.ErrScope, "grant-scope"},
	{capability.ErrClock, "clock"},
	{capability.ErrProof, "proof-of-possession"},
	{capability.ErrChain, "grant-chain"},
	{trust.ErrMembership, "membership"},
	{trust.ErrInvitation, "invitation"},
	{revocation.ErrEntry, "entry-signature"},
	{identity.ErrInvalid, "identity-record"},
	{statement.ErrSignature, "signature"},
}

// RuleOf is the name of the rule that a denial stands for, for an audit log. Texts of
// errors may hold ids, so they do not come into a leaf.
func RuleOf(err error) string {
	var p *policyDenial
	var b *broken
	switch {
	case errors.As(err, &p):
		return p.name
	case errors.As(err, &b):
		return b.name
	}
	for _, r := range rules {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "refused"
}
