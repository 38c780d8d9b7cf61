package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// SignAsk asks for signatures under a root grant.
type SignAsk struct {
	Owner      *home.Principal // who may know why it is denied
	Grant      *statement.Statement
	Consent    []byte
	Identities [][]byte // owner, audience
	Reason     string
}

// lingerSign is how long the validators that have not answered are waited for
// once it is clear that persons decide.
const lingerSign = time.Second

// Signing is how far a grant is.
type Signing struct {
	Grant   *statement.Statement // with the signatures that there are
	Done    bool                 // they are K
	Pending []int                // validators, from 0, at which it waits for a person
}

// SignGrant gathers signatures under a root grant; those that it has already
// count, and are not asked for again. Where K cannot sign at once but can if
// persons at some validators agree, it returns what there is, not Done. The
// error is a fault: denied for certain, or too few that answer.
func (c *Committee) SignGrant(ctx context.Context, ask SignAsk) (*Signing, error) {
	c = c.pin()
	out := &Signing{Grant: ask.Grant}
	t := tally{answered: ask.Grant.Signers(), hint: hintGrant} // verified when they were merged
	which := slices.DeleteFunc(c.everybody(), func(i int) bool { return slices.Contains(t.answered, i) })
	need := int(c.record.Numbers.K)
	if !c.decided(&t, need) {
		grant := ask.Grant.Bytes()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		giveUp := sync.OnceValue(func() *time.Timer { return time.AfterFunc(lingerSign, cancel) })
		c.ask(ctx, Sign, which, 0, func(_ int, s Session) ([]byte, error) { return c.signRequest(ask, grant, s) }, func(a answer) bool {
			c.takeSigned(&t, ask.Grant, a)
			if len(t.pending)+len(t.denied) > int(c.record.Numbers.N)-need && len(t.answered)+len(t.pending) >= need {
				giveUp() // K at once are out of reach; the rest should hear of it all the same
			}
			return c.decided(&t, need)
		})
	}
	out.Pending = t.pending
	if out.Done = len(t.answered) >= need; out.Done {
		return out, nil
	}
	if len(t.pending) > 0 && len(t.answered)+len(t.pending) >= need {
		return out, nil
	}
	return out, c.shortage(&t, need, "the grant")
}

// signRequest is asked for while answers come in and change the grant: it has a
// copy of its bytes.
func (c *Committee) signRequest(ask SignAsk, grant []byte, s Session) ([]byte, error) {
	r := validator.SignRequest{Grant: grant, Consent: ask.Consent, Identities: ask.Identities, Reason: ask.Reason}
	if ask.Owner != nil {
		authority, err := c.ProveIdentity(ask.Owner, s, r.Digest())
		if err != nil {
			return nil, err
		}
		r.Authority = authority
	}
	return statement.Marshal(r)
}

// takeSigned counts one validator's answer.
func (c *Committee) takeSigned(t *tally, into *statement.Statement, a answer) {
	var r validator.SignReply
	if a.err == nil {
		a.judge(statement.Unmarshal(a.raw, &r))
	}
	switch {
	case a.err != nil:
	case r.Denied:
		a.err = &personDenial{r.Reason}
	case r.Pending:
		t.pending = append(t.pending, a.index)
		return
	default:
		a.judge(c.takeSignature(into, r.Grant, a.index))
	}
	t.add(a)
}

func (c *Committee) takeSignature(into *statement.Statement, raw []byte, index int) error {
	s, err := statement.Parse(raw)
	if err != nil {
		return err
	}
	if !slices.Equal(s.Signers(), []int{index}) || s.ID() != into.ID() {
		return errors.New("signed something else")
	}
	if err := c.record.VerifyOne(capability.KindGrant, s, index); err != nil {
		return err
	}
	return into.Merge(s)
}

// personDenial is a denial by the person at a validator.
type personDenial struct{ reason string }

func (e *personDenial) Error() string        { return e.reason }
func (e *personDenial) Is(target error) bool { return target == ErrDenied }

// maxReason bounds what one validator may say in an error, in bytes.
const maxReason = 256

// why keeps what a denial says beyond that it is one.
func (t *tally) why(a answer) {
	var p *validator.PolicyError
	var person *personDenial
	switch {
	case errors.Is(a.err, validator.ErrClock):
		t.clocks++
	case errors.As(a.err, &p):
		t.policy = append(t.policy, p)
	case errors.As(a.err, &person) && person.reason != "":
		t.reasons = append(t.reasons, fmt.Sprintf("%s (validator %d)", strings.ToValidUTF8(person.reason[:min(len(person.reason), maxReason)], ""), a.index+1))
	}
}

// byPolicy is the denial where more validators than may lie say that it is
// policy's, and what they agree is wanted.
func (c *Committee) byPolicy(t *tally, what string) error {
	f := int(c.record.Numbers.F)
	if len(t.policy) <= f {
		return nil
	}
	counted := map[string]int{}
	for _, p := range t.policy {
		for _, w := range p.Wants {
			counted[w]++
		}
	}
	switch {
	case counted[policy.WantsReason] > f:
		return fault.New(fault.Denied, "state a reason with --reason", "%s was denied by policy, which wants a reason", what)
	case counted[policy.WantsPurpose] > f:
		return fault.New(fault.Denied, "state the purpose that it is for with --purpose", "%s was denied by policy, which allows it for other purposes", what)
	}
	return fault.New(fault.Denied, "ask whoever runs the network for a role, or its owner for another grant", "%s was denied by policy", what)
}

// RoleSending is how far a role statement is.
type RoleSending struct {
	Kept    int   // validators that keep it
	Pending []int // validators, from 0, at which it waits until more ask for it
	Waits   bool  // K signatures are out of reach until then
}

// SendRole brings a role statement to all validators: with K signatures they
// keep it, with fewer they sign it once enough validators have asked. It adds the
// signatures to the statement. Once K have signed it, or those that wait are the
// only ones missing, the rest is given a moment.
func (c *Committee) SendRole(ctx context.Context, s *statement.Statement) (*RoleSending, error) {
	c = c.pin()
	request, err := statement.Marshal(validator.RoleRequest{Role: s.Bytes()})
	if err != nil {
		return nil, err
	}
	t := tally{hint: hintRole}
	kept, need := 0, int(c.record.Numbers.K)
	complete := c.record.VerifyK(policy.KindRole, s) == nil
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	giveUp := sync.OnceValue(func() *time.Timer { return time.AfterFunc(lingerSign, cancel) })
	c.ask(ctx, Role, c.everybody(), lingerDeposit, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		var r validator.RoleReply
		if a.err == nil {
			a.judge(statement.Unmarshal(a.raw, &r))
		}
		switch {
		case a.err == nil && r.Pending:
			t.pending = append(t.pending, a.index)
		case a.err == nil && r.Kept:
			kept++
			t.add(a)
		case a.err == nil:
			a.judge(c.takeRole(s, r.Role, a.index))
			t.add(a)
		default:
			t.add(a)
		}
		if len(t.pending) > 0 && len(t.answered)+len(t.pending) >= need {
			giveUp() // the rest should hear of it all the same
		}
		return len(t.answered) >= need
	})
	out := &RoleSending{Kept: kept, Pending: t.pending}
	switch {
	case len(t.answered) >= need || complete && kept > 0:
		return out, nil
	case len(t.pending) > 0 && len(t.answered)+len(t.pending) >= need:
		out.Waits = true
		return out, nil
	}
	return out, c.shortage(&t, need, "the role")
}

func (c *Committee) takeRole(into *statement.Statement, raw []byte, index int) error {
	s, err := statement.Parse(raw)
	if err != nil {
		return err
	}
	if !slices.Equal(s.Signers(), []int{index}) || s.ID() != into.ID() {
		return errors.New("signed something else")
	}
	if err := c.record.VerifyOne(policy.KindRole, s, index); err != nil {
		return err
	}
	return into.Merge(s)
}

// SendBundle brings a signed bundle to all validators and counts those that took it.
func (c *Committee) SendBundle(ctx context.Context, raw []byte) (taken int, err error) {
	c = c.pin()
	request, err := statement.Marshal(validator.BundleRequest{Bundle: raw})
	if err != nil {
		return 0, err
	}
	c.ask(ctx, Bundle, c.everybody(), 0, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		if a.err == nil {
			taken++
		}
		return false
	})
	return taken, nil
}

// AskBundle asks one validator for the signed bundle after a version; empty
// where it has none. Nothing of it is verified.
func (c *Committee) AskBundle(ctx context.Context, index int, after uint64) ([]byte, error) {
	c = c.pin()
	raw, err := c.Transport.Call(ctx, c.server(index), Bundle, func(Session) ([]byte, error) {
		return statement.Marshal(validator.BundleRequest{After: after})
	})
	if err != nil {
		return nil, err
	}
	var r validator.BundleReply
	if err := statement.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	return r.Bundle, nil
}
