package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var rolePrefix = []byte("role/") // + statement id -> signed assignment

// maxRoles bounds the role statements of a network that a validator keeps.
const maxRoles = 1 << 18

// RoleBook keeps role statements that K validators signed. It is [Roles].
type RoleBook struct {
	policy.RoleSet
	store kv.Store
	trust *trust.Chain
}

// OpenRoles reads a book from its store, which holds what was verified before.
// A statement of a record that counts no more is left out.
func OpenRoles(store kv.Store, chain *trust.Chain) (*RoleBook, error) {
	b := &RoleBook{store: store, trust: chain}
	err := store.Scan(rolePrefix, nil, func(_, raw []byte) (bool, error) {
		r, err := policy.VerifyRole(raw, chain)
		if err == nil {
			b.RoleSet.Add(r)
		}
		return err == nil || errors.Is(err, policy.ErrRole), nil
	})
	return b, err
}

// Take verifies a role statement and keeps it: durable when it returns nil. One
// that is there already is no error.
func (b *RoleBook) Take(raw []byte) (r *policy.Role, isNew bool, err error) {
	if r, err = policy.VerifyRole(raw, b.trust); err != nil {
		return nil, false, err
	}
	id := r.ID()
	key := slices.Concat(rolePrefix, id[:])
	if _, err := b.store.Get(key); err == nil {
		return r, false, nil
	}
	if err := b.full(); err != nil {
		return nil, false, err
	}
	if err := b.store.Apply([]kv.Op{{Key: key, Value: raw}}); err != nil {
		return nil, false, err
	}
	b.RoleSet.Add(r)
	return r, true, nil
}

// Has reports whether a statement is kept.
func (b *RoleBook) Has(id statement.ID) (bool, error) {
	_, err := b.store.Get(slices.Concat(rolePrefix, id[:]))
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return true, nil
}

func (b *RoleBook) full() error {
	if b.Len() >= maxRoles {
		return fmt.Errorf("%w: it keeps %d role statements and takes no more", ErrUnavailable, maxRoles)
	}
	return nil
}

// RoleRequest carries a role statement: one with K signatures to be kept, one
// with fewer to be signed.
type RoleRequest struct {
	_    struct{} `cbor:",toarray"`
	Role []byte
}

// RoleReply is the statement with this validator's signature, or says that it is
// kept, or that too few have asked for it.
type RoleReply struct {
	_       struct{} `cbor:",toarray"`
	Role    []byte
	Kept    bool
	Pending bool
}

// AnswerRole keeps a role statement that K validators signed, whoever brings it.
// An assignment it signs once F+1 validators of the newest record have asked it
// for that very statement, before which it answers Pending; a removal when one
// asks. To everybody else it denies both. Who asked stands in the audit log.
func (j *Judge) AnswerRole(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r RoleRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if role, isNew, err := j.Book.Take(r.Role); err == nil {
		if !isNew {
			return encode(RoleReply{Kept: true}), nil
		}
		id := role.ID()
		if err := j.roleGiven(id); err != nil {
			return nil, err
		}
		if err := j.note(ctx, j.event(roleAction(&role.Assignment), event.OK, event.Act{Subject: role.Identity, Grant: id[:], Role: "kept: " + roleWords(&role.Assignment)})); err != nil {
			return nil, err
		}
		if err := j.logRole(r.Role); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return encode(RoleReply{Kept: true}), nil
	} else if !errors.Is(err, policy.ErrRole) {
		return nil, err
	}
	if err := j.started(); err != nil {
		return nil, err
	}
	record, seat, err := j.sitting()
	if err != nil {
		return nil, err
	}
	asker, ok := record.ByPeer(c.Client)
	if !ok {
		return nil, j.deny(ctx, event.Role, event.Act{}, &broken{"validators-only", "only a validator may ask for signatures under a role"})
	}
	s, a, err := j.readRole(r.Role, record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if kept, err := j.Book.Has(s.ID()); kept || err != nil {
		return encode(RoleReply{Kept: true}), err
	}
	if enough, err := j.enoughAsk(ctx, s, a, record, asker); err != nil {
		return nil, err
	} else if !enough {
		return encode(RoleReply{Pending: true}), nil
	}
	who, id := record.Validators[asker].Identity, s.ID()
	if err := j.note(ctx, j.event(roleAction(a), event.OK, event.Act{Actor: who, Subject: a.Identity, Grant: id[:], Role: "signed: " + roleWords(a)})); err != nil {
		return nil, err
	}
	s.AddSignature(uint16(seat), j.Signing)
	return encode(RoleReply{Role: s.Bytes()}), nil
}

func roleAction(a *policy.Assignment) event.Action {
	if a.Granted {
		return event.Role
	}
	return event.RoleEnd
}

func roleWords(a *policy.Assignment) string {
	if a.Granted {
		return "gives the role " + a.Role
	}
	return "takes away the role " + a.Role
}

// readRole checks an assignment that validators are asked to sign.
func (j *Judge) readRole(raw []byte, record *trust.Committee) (*statement.Statement, *policy.Assignment, error) {
	in, err := statement.Parse(raw)
	if err != nil {
		return nil, nil, err
	}
	var a policy.Assignment
	if err := in.Peek(policy.KindRole, &a); err != nil {
		return nil, nil, err
	}
	switch {
	case a.Network != j.Trust.Network() || a.Record != record.ID():
		return nil, nil, errors.New("it is for another network or committee record")
	case a.Granted && a.Expires <= j.Now().Unix():
		return nil, nil, errors.New("it has expired")
	}
	s, err := policy.DraftRole(a) // our own copy, without the signatures that came with it
	return s, &a, err
}

// BundleRequest asks for the signed bundle after a version, or brings one.
type BundleRequest struct {
	_      struct{} `cbor:",toarray"`
	After  uint64   // version
	Bundle []byte   // signed; empty: it asks
}

// BundleReply is the bundle that was asked for.
type BundleReply struct {
	_      struct{} `cbor:",toarray"`
	Bundle []byte   // empty: there is no newer one
}

// AnswerBundle gives the bundle after a version to validators of the newest
// record, and takes one that K validators signed. Members may not read policies.
func (j *Judge) AnswerBundle(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r BundleRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if _, ok := j.Trust.Current().ByPeer(c.Client); !ok {
		return nil, ErrDenied
	}
	if len(r.Bundle) > 0 {
		return encode(BundleReply{}), j.TakeBundle(ctx, r.Bundle)
	}
	if r.After >= j.Policies.Version() {
		return encode(BundleReply{}), nil
	}
	bundle, err := j.Policies.Raw(r.After + 1)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return encode(BundleReply{Bundle: bundle}), nil
}

// TakeBundle accepts a signed bundle and records it. The error is
// [ErrMalformed] with what [policy.History.Add] says.
func (j *Judge) TakeBundle(ctx context.Context, raw []byte) error {
	before := j.Policies.Version()
	err := j.Policies.Add(raw)
	if errors.Is(err, policy.ErrFork) {
		if aerr := j.Audit.Append(ctx, j.event(event.PolicyChange, event.Denied, event.Act{Rule: "fork", Detail: err.Error()})); aerr != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, aerr)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if v := j.Policies.Version(); v != before {
		head := j.Policies.Head()
		if err := j.note(ctx, j.event(event.PolicyChange, event.OK, event.Act{Detail: fmt.Sprintf("adopted version %d", v), Bundle: head})); err != nil {
			return err
		}
	}
	return nil
}
