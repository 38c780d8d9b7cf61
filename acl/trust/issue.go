package trust

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// How far the clocks of a newcomer and a validator may differ when a membership
// is issued, and how long before its drafting it begins.
const (
	issueSkew = 5 * time.Minute
	issueLead = 30 * time.Second
)

// ErrIssue reports a membership that a validator does not sign.
var ErrIssue = errors.New("the membership is not signed")

// ErrClock is the [ErrIssue] of a drafter whose clock is wrong, or the validator's.
var ErrClock = fmt.Errorf("%w: the clocks differ by more than %s", ErrIssue, issueSkew)

// DraftMembership makes the unsigned membership of a peer under this record, for
// [MembershipLifetime] or to the record's end.
func (c *Committee) DraftMembership(m Member, nonce [16]byte, now time.Time) (*statement.Statement, error) {
	body := Membership{
		Network: c.network, Record: c.id, Peer: m.Peer, Identity: m.Identity, Role: m.Role, Nonce: nonce,
		NotBefore: now.Add(-issueLead).Unix(), Expires: min(now.Add(MembershipLifetime).Unix(), c.Expires),
	}
	return statement.New(KindMembership, body)
}

// ReadDraft reads a membership that a peer asks a validator of this record to
// sign, and returns a copy of it without the signatures that came with it. Whether
// the peer may have it is the caller's to judge.
func (c *Committee) ReadDraft(raw []byte, want Member, nonce [16]byte, now time.Time) (*statement.Statement, error) {
	in, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssue, err)
	}
	var m Membership
	if err := in.Peek(KindMembership, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssue, err)
	}
	t, skew := now.Unix(), int64(issueSkew/time.Second)
	begins := m.NotBefore + int64(issueLead/time.Second)
	switch {
	case m.Network != c.network || m.Record != c.id:
		return nil, fmt.Errorf("%w: it is for another network or committee record", ErrIssue)
	case m.Peer != want.Peer || m.Identity != want.Identity || m.Role != want.Role || m.Nonce != nonce:
		return nil, fmt.Errorf("%w: it is for somebody else", ErrIssue)
	case begins < t-skew || begins > t+skew:
		return nil, ErrClock
	case m.Expires <= m.NotBefore || m.Expires > c.Expires || m.Expires-begins > int64(MembershipLifetime/time.Second):
		return nil, fmt.Errorf("%w: it lasts too long", ErrIssue)
	}
	return statement.New(KindMembership, m)
}

// Enrols is the record whose network file issued the memberships of now. A skip
// issues none, so those of the record before it go on.
func (c *Committee) Enrols() *Committee {
	for c.Skip && c.before != nil {
		c = c.before
	}
	return c
}

// IssuedWith reports a membership that came with the file of its record, and not
// by an invitation or a renewal. Where a later file leaves its peer out, it ends
// there.
func (m *Membership) IssuedWith(c *Committee) bool {
	return m.Record == c.id && m.NotBefore == c.NotBefore
}

// Removed reports whether a peer was removed: identities of more than F validators
// of one record that counts have said so. Whoever was removed by a committee stays
// removed when the committee changes.
func (c *Chain) Removed(revokers []statement.ID) bool {
	if len(revokers) == 0 {
		return false
	}
	for r, ok := c.Current(), true; ok; r, ok = r.Before() {
		if _, err := c.ByID(r.ID()); err != nil {
			return false
		}
		n := 0
		for _, v := range r.Validators {
			if slices.Contains(revokers, v.Identity) {
				n++
			}
		}
		if n > int(r.Numbers.F) {
			return true
		}
	}
	return false
}
