package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// RoleInviter is the role whose holders may invite. Identities of validators may,
// without it. It is looked at when an invitation is redeemed: the open invitations
// of who loses it end with it.
const RoleInviter = "inviter"

var redeemedPrefix = []byte("redeemed/") // + invitation -> redeemed

// redeemed is for whom this validator has honoured an invitation. It signs for
// nobody else, ever: K signatures for two peers would need F+1 validators that did.
type redeemed struct {
	_        struct{} `cbor:",toarray"`
	Peer     statement.PublicKey
	Identity statement.ID
	Expires  int64 // of the invitation
}

// Limits of what is kept of invitations.
const (
	maxRedeemed  = 8192
	keptRedeemed = 24 * time.Hour // after the invitation has expired, for clocks that are set back
)

// admissions is what a judge knows of invitations besides what is stored.
type admissions struct {
	mu     sync.Mutex // held while an invitation is redeemed
	denied sync.Map   // invitation and refusal -> struct{}: in the log already
}

// invited judges what a newcomer is owed. The error says nothing to anybody: the
// invitation is forged, or its inviter may not invite.
func (j *Judge) invited(r *EnterRequest, peer statement.PublicKey) (*claim, error) {
	i, s, red, err := trust.VerifyRedemption(r.Invitation, r.Redemption, j.Trust.Network(), peer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	if !j.mayInvite(i.Inviter) {
		return nil, fmt.Errorf("%w: %s may not invite", ErrDenied, i.Inviter)
	}
	who, err := j.Verifier.Identity(r.Inviter)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	if who.ID() != i.Inviter {
		return nil, fmt.Errorf("%w: the document beside the invitation is another identity's", ErrDenied)
	}
	if err := who.Verify(trust.KindInvitation, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDenied, err)
	}
	c := &claim{
		member: trust.Member{Peer: peer, Identity: red.Identity, Role: i.Role}, nonce: trust.MemberNonce(s.ID()), invitation: i, id: s.ID(),
	}
	revokers := j.Set.Revokers(c.id)
	switch {
	case slices.Contains(revokers, i.Inviter) || j.Trust.Removed(revokers):
		c.refusal = RefusedRevoked
	case i.Live(j.Now()) != nil:
		c.refusal = RefusedExpired
	}
	return c, nil
}

func (j *Judge) mayInvite(id statement.ID) bool {
	_, sits := j.Trust.Current().ByIdentity(id)
	return sits || j.Roles != nil && slices.Contains(j.Roles.Roles(id, j.Now()), RoleInviter)
}

// admit signs a membership for who is owed one. For whom an invitation is redeemed
// is durable, and in the log, before the signature leaves.
func (j *Judge) admit(ctx context.Context, c *claim, draft []byte) (*EnterReply, error) {
	refuse := func(why Refusal) (*EnterReply, error) { return &EnterReply{Refusal: why}, nil }
	now := j.Now()
	record, seat, err := j.sitting()
	if err != nil || !j.Fresh.Fresh() || record.Live(now) != nil { // it might not know that the peer was removed
		return refuse(RefusedLater)
	}
	if c.leftOut(j.Trust) {
		return refuse(RefusedLeftOut)
	}
	s, err := record.ReadDraft(draft, c.member, c.nonce, now)
	switch {
	case errors.Is(err, trust.ErrClock):
		return refuse(RefusedClock)
	case err != nil && j.otherRecord(draft, record):
		return refuse(RefusedBehind)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	action := event.Renew
	if c.invitation != nil {
		action = event.Admit
		if err := j.redeem(ctx, c); errors.Is(err, errClaimed) {
			return refuse(RefusedUsed)
		} else if err != nil {
			j.Logger.Warn("an invitation cannot be redeemed", "invitation", c.id, "err", err)
			return refuse(RefusedLater)
		}
	}
	id := s.ID()
	if err := j.Audit.Append(ctx, j.event(action, event.OK, c.act(id))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.AddSignature(uint16(seat), j.Signing)
	return &EnterReply{Signed: s.Bytes()}, nil
}

// act is the admission of who is owed a membership, by a statement. Without an
// invitation it acts for itself.
func (c *claim) act(id statement.ID) event.Act {
	a := event.Act{Actor: c.member.Identity, Peer: c.member.Peer[:], Grant: id[:], Detail: "as " + c.member.Role.String()}
	if c.invitation != nil {
		a.Actor, a.Subject = c.invitation.Inviter, c.member.Identity
	}
	return a
}

// logRefusal puts into the log that an invitation that is over was shown; once, so
// that nobody fills it. The refusal does not wait for that: nothing is given.
func (j *Judge) logRefusal(ctx context.Context, c *claim) {
	why := &broken{"invitation-expired", "the invitation has expired"}
	if c.refusal == RefusedRevoked {
		why = &broken{"invitation-revoked", "the invitation was revoked"}
	}
	type shown struct {
		invitation statement.ID
		refusal    Refusal
	}
	if _, told := j.admissions.denied.LoadOrStore(shown{c.id, c.refusal}, struct{}{}); !told {
		j.deny(ctx, event.Admit, c.act(c.id), why)
	}
}

func (j *Judge) otherRecord(draft []byte, record *trust.Committee) bool {
	s, err := statement.Parse(draft)
	var m trust.Membership
	return err == nil && s.Peek(trust.KindMembership, &m) == nil && m.Record != record.ID()
}

// redeem takes an invitation for a peer, durably. The same peer may take it again.
// The error is errClaimed where another one has it.
func (j *Judge) redeem(ctx context.Context, c *claim) error {
	j.admissions.mu.Lock()
	defer j.admissions.mu.Unlock()
	key := slices.Concat(redeemedPrefix, c.id[:])
	mine := encode(redeemed{Peer: c.member.Peer, Identity: c.member.Identity, Expires: c.invitation.Expires})
	had, err := j.Store.Get(key)
	switch {
	case err == nil && !bytes.Equal(had, mine):
		if _, told := j.admissions.denied.LoadOrStore(c.id, struct{}{}); !told { // once, so that nobody fills the log
			j.deny(ctx, event.Admit, c.act(c.id), errClaimed)
		}
		return errClaimed
	case err == nil: // a write that failed may have left it without being durable
	case !errors.Is(err, kv.ErrNotFound):
		return err
	default:
		if err := j.pruneRedeemed(); err != nil {
			return err
		}
	}
	return j.Store.Apply([]kv.Op{{Key: key, Value: mine}})
}

// pruneRedeemed forgets invitations that nobody can redeem any more, and reports
// where too many are left. The caller holds mu.
func (j *Judge) pruneRedeemed() error {
	var old []kv.Op
	left, before := 0, j.Now().Add(-keptRedeemed).Unix()
	err := j.Store.Scan(redeemedPrefix, nil, func(key, value []byte) (bool, error) {
		var r redeemed
		if err := statement.Unmarshal(value, &r); err != nil {
			return false, err
		}
		if r.Expires < before {
			old = append(old, kv.Op{Key: bytes.Clone(key), Delete: true})
		} else {
			left++
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if left >= maxRedeemed {
		return fmt.Errorf("%w: %d invitations are kept", ErrUnavailable, left)
	}
	if len(old) == 0 {
		return nil
	}
	return j.Store.Apply(old)
}

// mayWithdraw reports, with nil, that a signer may revoke an invitation of its own.
func (j *Judge) mayWithdraw(raw []byte, signer, target statement.ID) error {
	s, err := statement.Parse(raw)
	if err != nil {
		return err
	}
	var i trust.Invitation
	if err := s.Peek(trust.KindInvitation, &i); err != nil {
		return err
	}
	if s.ID() != target || i.Inviter != signer || i.Network != j.Trust.Network() || !j.mayInvite(signer) {
		return errors.New("only who has made an invitation, and may, revokes it")
	}
	return i.Check()
}
