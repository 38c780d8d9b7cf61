package validator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// EnterRequest is what a peer asks before it is admitted. It proves that it is owed
// an answer by a membership that it once had or by an invitation, and asks for the
// committee records that it lacks, or for a signature under a membership.
type EnterRequest struct {
	_          struct{} `cbor:",toarray"`
	Membership []byte   // that once admitted the peer; empty where it lost it
	Invitation []byte   // instead: signed by its inviter
	Inviter    []byte   // the inviter's identity document
	Redemption []byte   // signed by the invitation's key
	After      statement.ID
	Draft      []byte // membership to sign; empty: it asks for the records after After
}

// EnterReply is an answer to an [EnterRequest].
type EnterReply struct {
	_       struct{} `cbor:",toarray"`
	Refusal Refusal  // why the membership is not signed
	Records [][]byte // signed committee records, oldest first; none: there are no more
	Member  []byte   // once there are no more: the newest membership known of the peer
	Signed  []byte   // the membership with this validator's signature alone
}

// Refusal says why a validator does not sign a membership, to somebody who is owed
// an answer. To others nothing is said.
type Refusal uint8

// The refusals.
const (
	RefusedUsed    Refusal = iota + 1 // another peer redeemed the invitation
	RefusedExpired                    // the invitation
	RefusedRevoked                    // the invitation
	RefusedClock                      // the clocks differ too much
	RefusedBehind                     // the draft is under another record than the newest one here
	RefusedLater                      // it cannot sign now: too few others answer it, or its record has expired
	RefusedLeftOut                    // a later network file left the peer out
)

// enterPage is how many bytes of records one answer has at most, but at least one
// record: a slow connection must finish within the time of an admission.
const enterPage = 256 << 10

// enterRecords is how many records one answer has at most.
const enterRecords = 64

// Door answers peers that are not admitted: any node what it knows of committee
// records, to who was a member; a validator also signs memberships. All fields but
// Judge are required.
type Door struct {
	Trust    *trust.Chain
	Revokers func(target statement.ID) []statement.ID
	// Member is the newest membership that is known of a peer. It was verified, and
	// may be over.
	Member func(peer statement.PublicKey) ([]byte, bool)
	Judge  *Judge // of a validator
	Now    func() time.Time
}

// claim is what a peer is owed.
type claim struct {
	member     trust.Member
	nonce      [16]byte
	membership *trust.Membership // that it had; nil where it is invited

	invitation *trust.Invitation
	id         statement.ID // of the invitation
	refusal    Refusal      // it is owed no more than this word
}

// Removed reports whether a peer was removed from the network.
func (d *Door) Removed(peer statement.PublicKey) bool {
	return d.Trust.Removed(d.Revokers(trust.Removal(d.Trust.Network(), peer)))
}

// Answer answers one request of a peer whose key is proved. It calls verified once
// it knows that the peer is owed an answer. On an error nothing must be said.
func (d *Door) Answer(ctx context.Context, peer statement.PublicKey, raw []byte, verified func()) ([]byte, error) {
	var r EnterRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if d.Removed(peer) {
		return nil, fmt.Errorf("%w: the peer was removed", ErrDenied)
	}
	c, err := d.claimOf(&r, peer)
	if err != nil {
		return nil, err
	}
	verified()
	if c.refusal != 0 {
		d.Judge.logRefusal(ctx, c)
		return encode(EnterReply{Refusal: c.refusal}), nil
	}
	if len(r.Draft) == 0 {
		return encode(d.records(&r, peer)), nil
	}
	if d.Judge == nil {
		return encode(EnterReply{Refusal: RefusedLater}), nil
	}
	reply, err := d.Judge.admit(ctx, c, r.Draft)
	if err != nil {
		return nil, err
	}
	return encode(reply), nil
}

func (d *Door) records(r *EnterRequest, peer statement.PublicKey) EnterReply {
	var out EnterReply
	size := 0
	for _, raw := range d.Trust.After(r.After, enterRecords) {
		if size += len(raw); size > enterPage && len(out.Records) > 0 {
			break
		}
		out.Records = append(out.Records, raw)
	}
	if len(out.Records) == 0 {
		out.Member, _ = d.Member(peer)
	}
	return out
}

func (d *Door) claimOf(r *EnterRequest, peer statement.PublicKey) (*claim, error) {
	if len(r.Invitation) > 0 {
		if d.Judge == nil { // only validators know who may invite
			return nil, fmt.Errorf("%w: an invitation shown to who is no validator", ErrDenied)
		}
		c, err := d.Judge.invited(r, peer)
		if err != nil {
			return nil, err
		}
		c.membership, _ = d.wasMember(nil, peer) // who was left out since is not invited again by this
		return c, nil
	}
	m, err := d.wasMember(r.Membership, peer)
	if err != nil {
		return nil, err
	}
	c := &claim{member: trust.Member{Peer: peer, Identity: m.Identity, Role: m.Role}, nonce: m.Nonce, membership: m}
	return c, nil
}

// wasMember finds the later of the membership that a peer shows, which must have
// admitted it at some time, and the one that is known of it.
func (d *Door) wasMember(shown []byte, peer statement.PublicKey) (*trust.Membership, error) {
	var best *trust.Membership
	var under *trust.Committee
	known, _ := d.Member(peer)
	for _, raw := range [][]byte{known, shown} {
		if len(raw) == 0 {
			continue
		}
		s, err := statement.Parse(raw)
		var m trust.Membership
		if err == nil {
			err = s.Peek(trust.KindMembership, &m)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if _, err := d.Trust.VerifyMembership(raw, peer, time.Unix(m.NotBefore, 0)); err != nil {
			continue
		}
		r, err := d.Trust.ByID(m.Record)
		if err != nil {
			continue
		}
		if best == nil || r.Version > under.Version || r.Version == under.Version && m.Expires > best.Expires {
			best, under = &m, r
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: the peer never was a member", ErrDenied)
	}
	return best, nil
}

// leftOut reports a membership that a later network file did not issue again. One
// that was issued by itself is in no file, and is renewed by itself.
func (m *claim) leftOut(chain *trust.Chain) bool {
	if m.membership == nil || m.membership.Record == chain.Current().Enrols().ID() {
		return false
	}
	r, ok := chain.Known(m.membership.Record)
	return !ok || m.membership.IssuedWith(r)
}

var errClaimed = errors.New("another peer has redeemed it")
