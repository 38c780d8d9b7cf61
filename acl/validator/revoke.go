package validator

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Revoke appends an entry to the log. Its signer must be the owner or an issuer
// above the target in the chain that comes with it, or be a validator. The
// acknowledgement is signed after the entry is durable.
func (j *Judge) Revoke(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r RevokeRequest
	_, seat, err := j.begin(raw, &r)
	if err != nil {
		return nil, err
	}
	rev, err := r.Entry.Verify(j.Trust.Network())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := j.signsStill(r.Entry, rev.Signer); err != nil {
		return nil, j.deny(ctx, event.Revoke, event.Act{Actor: rev.Signer, Grant: rev.Target[:]}, err)
	}
	coming := j.coming()
	if err := j.mayRevoke(rev, &r); err != nil {
		return nil, j.denyAddress(ctx, coming && errors.Is(err, errNotHere), event.Revoke, event.Act{Actor: rev.Signer, Grant: rev.Target[:]}, err)
	}
	if err := j.note(ctx, j.event(event.Revoke, event.OK, event.Act{Actor: rev.Signer, Grant: rev.Target[:], Reason: rev.Reason})); err != nil {
		return nil, err
	}
	at, err := j.appendLone(c, r.Entry, revocation.KindRevocation, rev.Target, rev.Signer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// Not before the releases that looked before the revocation was there are made.
	j.erasures.leaving.Lock()
	defer j.erasures.leaving.Unlock()
	return j.acknowledge(rev.Target, seat, at)
}

// signsStill checks that the device which signed an entry speaks for its identity
// now: a removed one shows the document of a time when it did.
func (j *Judge) signsStill(e revocation.Entry, signer statement.ID) error {
	s, err := statement.Parse(e.Statement)
	if err != nil {
		return err
	}
	who, err := j.Verifier.Identity(e.Identity)
	if err != nil {
		return err
	}
	if who.ID() != signer {
		return errors.New("the document beside the revocation is another identity's")
	}
	return who.Verify(revocation.KindRevocation, s)
}

func (j *Judge) mayRevoke(rev *revocation.Revocation, r *RevokeRequest) error {
	if _, ok := j.Trust.Current().ByIdentity(rev.Signer); ok {
		return nil // F+1 of them are needed before it counts
	}
	if r.Consent != nil {
		return j.mayEnd(r.Consent, rev.Signer, rev.Target)
	}
	if len(r.Invited) > 0 {
		return j.mayWithdraw(r.Invited, rev.Signer, rev.Target)
	}
	c, err := capability.ParseChain(r.Chain)
	if err != nil {
		return err
	}
	v, err := j.Verifier.VerifyPast(c)
	if err != nil {
		return err
	}
	if !v.MayRevoke(rev.Signer, rev.Target) {
		return &broken{"revoke-issuer", "only the owner or an issuer above it may revoke a grant"}
	}
	return nil
}

func principalKind(k identity.Kind) string {
	switch k {
	case identity.Agent:
		return "Agent"
	case identity.Service:
		return "Service"
	}
	return "User"
}
