package trust

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindMembership is the kind of membership credentials.
const KindMembership statement.Kind = "membership"

// ErrMembership reports a credential that does not admit, and ErrStolen one that
// belongs to another peer than the one that showed it.
var (
	ErrMembership = errors.New("not a member of this network")
	ErrStolen     = fmt.Errorf("%w: the credential belongs to another peer", ErrMembership)
)

// Role says what a member is for.
type Role uint8

// The roles of members.
const (
	RoleNode Role = iota + 1
	RoleValidator
	RoleAuditor
	RoleClient
	RoleMirror
)

// String is the word that people read.
func (r Role) String() string {
	switch r {
	case RoleNode:
		return "node"
	case RoleValidator:
		return "validator"
	case RoleAuditor:
		return "auditor"
	case RoleClient:
		return "client"
	case RoleMirror:
		return "mirror"
	}
	return "unknown"
}

// Membership is the body of a credential: K validators say that a peer key
// belongs to the network. It needs nobody's consent and grants no data.
type Membership struct {
	_         struct{} `cbor:",toarray"`
	Network   statement.ID
	Record    statement.ID        // the committee record whose validators signed
	Peer      statement.PublicKey // the audience
	Identity  statement.ID
	Role      Role
	NotBefore int64 // unix seconds
	Expires   int64
	Nonce     [16]byte
}

// VerifyMembership checks a credential for a peer at a time. Cheap checks come
// first: audience and time before signatures.
func (c *Committee) VerifyMembership(raw []byte, peer statement.PublicKey, now time.Time) (*Membership, error) {
	return c.verifyMembership(raw, peer, now, nil)
}

func (c *Committee) verifyMembership(raw []byte, peer statement.PublicKey, now time.Time, before *proven) (*Membership, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	var m Membership
	if err := s.Peek(KindMembership, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	switch t := now.Unix(); {
	case m.Network != c.Network() || m.Record != c.ID():
		return nil, fmt.Errorf("%w: the credential is for another network or committee", ErrMembership)
	case m.Peer != peer:
		return nil, ErrStolen
	case t < m.NotBefore:
		return nil, fmt.Errorf("%w: the credential is not valid yet, unless a clock is wrong", ErrMembership)
	case t >= m.Expires || m.Expires > c.Expires:
		return nil, fmt.Errorf("%w: the credential has expired", ErrMembership)
	case m.Role < RoleNode || m.Role > RoleMirror:
		return nil, fmt.Errorf("%w: unknown role", ErrMembership)
	}
	sum := provenSum(c, raw)
	if before.has(sum) {
		return &m, nil
	}
	if err := c.VerifyK(KindMembership, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	before.add(sum)
	return &m, nil
}

// proven remembers credentials whose signatures were verified: a node meets the same
// ones at every connection, and those of all connected peers every minute. It says
// nothing of time, of the peer that shows one, or of whether the record still counts:
// those are judged each time. It is safe for concurrent use; nil remembers nothing.
type proven struct {
	mu   sync.Mutex
	sums map[[sha256.Size]byte]struct{} // owned by mu
}

// maxProven bounds what is remembered to about a megabyte.
const maxProven = 8192

// provenSum is over the record whose validators signed, and the whole credential,
// signatures and all.
func provenSum(c *Committee, raw []byte) [sha256.Size]byte {
	id := c.ID()
	return sha256.Sum256(append(id[:], raw...))
}

func (p *proven) has(sum [sha256.Size]byte) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.sums[sum]
	return ok
}

func (p *proven) add(sum [sha256.Size]byte) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sums == nil || len(p.sums) >= maxProven {
		p.sums = map[[sha256.Size]byte]struct{}{} // all are verified once more
	}
	p.sums[sum] = struct{}{}
}

// Admits decides whether a peer may speak on the network: validators by the
// record alone, everybody else by a credential. It returns the peer's role.
func (c *Committee) Admits(peer statement.PublicKey, credential []byte, now time.Time) (Role, error) {
	return c.admits(peer, credential, now, c.VerifyMembership)
}

func (c *Committee) admits(peer statement.PublicKey, credential []byte, now time.Time,
	verify func([]byte, statement.PublicKey, time.Time) (*Membership, error),
) (Role, error) {
	if _, ok := c.ByPeer(peer); ok {
		return RoleValidator, nil
	}
	if err := c.Live(now); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	m, err := verify(credential, peer, now)
	if err != nil {
		return 0, err
	}
	if m.Role == RoleValidator { // only the record makes a validator
		return 0, fmt.Errorf("%w: the credential names a role that only the committee record gives", ErrMembership)
	}
	return m.Role, nil
}
