package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// RoleOfficer is the role whose holders may order legal holds.
const RoleOfficer = "legal-officer"

// HoldRequest asks for this validator's signature under a hold or its release, or
// for the manifest of an object that is to be held.
type HoldRequest struct {
	_         struct{} `cbor:",toarray"`
	Hold      []byte   // statement; what signatures it has are not looked at
	Address   []byte   // instead: of the object
	Authority []byte   // proof of possession of the officer's identity
}

// Digest is what the proof of possession signs.
func (r HoldRequest) Digest() statement.ID {
	r.Authority = nil
	return digest("hold request", r)
}

// HoldReply is the statement with this validator's signature alone, or the
// manifest.
type HoldReply struct {
	_        struct{} `cbor:",toarray"`
	Hold     []byte
	Manifest []byte // block
}

// KeepRequest hands over a hold or a release that K validators have signed.
type KeepRequest struct {
	_     struct{} `cbor:",toarray"`
	Entry revocation.Entry
}

// Hold signs a hold, or the release of one, for an officer: an identity with the
// role, or that of a validator. The decision is in the audit log before the
// signature leaves. K signatures make it count, and nothing else does.
func (j *Judge) Hold(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r HoldRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if err := j.hearing(); err != nil {
		return nil, err
	}
	_, seat, err := j.sitting()
	if err != nil {
		return nil, err
	}
	if len(r.Address) > 0 {
		return j.manifestToHold(ctx, c, r)
	}
	in, err := statement.Parse(r.Hold)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var h revocation.Hold
	if err := in.Peek(revocation.KindHold, &h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	target := h.Target()
	who, err := j.caller(ctx, c, event.Hold, r.Authority, r.Digest(), target[:])
	if err != nil {
		return nil, err
	}
	officer, action := who.ID(), event.Hold
	if !h.Placed {
		action = event.HoldRelease
	}
	if err := j.mayHold(&h, officer); err != nil {
		return nil, j.deny(ctx, action, event.Act{Actor: officer, Object: target[:]}, err)
	}
	id := in.ID()
	if err := j.note(ctx, j.event(action, event.OK, event.Act{Actor: officer, Object: target[:], Grant: id[:]})); err != nil {
		return nil, err
	}
	out, err := revocation.DraftHold(h) // our own copy: other signatures are not ours to pass on
	if err != nil {
		return nil, err
	}
	out.AddSignature(uint16(seat), j.Signing)
	return encode(HoldReply{Hold: out.Bytes()}), nil
}

// manifestToHold shows an officer what an address names, so that it can be held.
func (j *Judge) manifestToHold(ctx context.Context, c Conn, r HoldRequest) ([]byte, error) {
	if len(r.Hold) > 0 || len(r.Address) > maxAddress {
		return nil, fmt.Errorf("%w: it asks for two things, or for what is no address", ErrMalformed)
	}
	who, err := j.caller(ctx, c, event.Hold, r.Authority, r.Digest(), r.Address)
	if err != nil {
		return nil, err
	}
	officer := who.ID()
	if !j.isOfficer(officer) {
		return nil, j.deny(ctx, event.HoldLook, event.Act{Actor: officer, Object: r.Address}, errNoOfficer)
	}
	coming := j.coming()
	d, _, err := j.load(r.Address)
	if err != nil {
		return nil, j.denyAddress(ctx, coming, event.HoldLook, event.Act{Actor: officer, Object: r.Address}, errNoDeposit)
	}
	if err := j.note(ctx, j.event(event.HoldLook, event.OK, event.Act{Actor: officer, Object: r.Address})); err != nil {
		return nil, err
	}
	return encode(HoldReply{Manifest: d.Manifest}), nil
}

var errNoOfficer = errors.New("only a legal officer and validators' identities order holds")

func (j *Judge) isOfficer(id statement.ID) bool {
	_, sits := j.Trust.Current().ByIdentity(id)
	return sits || slices.Contains(j.Roles.Roles(id, j.Now()), RoleOfficer)
}

// mayHold decides what an officer may order.
func (j *Judge) mayHold(h *revocation.Hold, officer statement.ID) error {
	if err := h.Check(); err != nil {
		return err
	}
	switch {
	case h.Network != j.Trust.Network() || h.Record != j.Trust.Current().ID():
		return errors.New("it is for another network or committee record")
	case h.Officer != officer:
		return errors.New("it names another officer")
	}
	if !j.isOfficer(officer) {
		return errNoOfficer
	}
	if h.Placed {
		return nil
	}
	ended := statement.ID(h.Ends)
	if !slices.ContainsFunc(j.Set.Holds(h.Target()), func(f *revocation.Fact) bool { return f.ID == ended }) {
		return errors.New("no such hold is in force on what it names")
	}
	return nil
}

// Keep takes a hold, or a release, with its K signatures into the log, and
// acknowledges it once it is durable. Orders to erase are refused from then on.
func (j *Judge) Keep(ctx context.Context, raw []byte) ([]byte, error) {
	var r KeepRequest
	_, seat, err := j.begin(raw, &r)
	if err != nil {
		return nil, err
	}
	h, id, err := r.Entry.VerifyHold(j.Trust)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	target := h.Target()
	j.erasures.holding.Lock()
	defer j.erasures.holding.Unlock()
	if err := j.note(ctx, j.event(event.HoldKeep, event.OK, event.Act{Actor: h.Officer, Object: target[:], Grant: id[:]})); err != nil {
		return nil, err
	}
	at, err := j.Log.Append(r.Entry)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return j.acknowledge(id, seat, at)
}
