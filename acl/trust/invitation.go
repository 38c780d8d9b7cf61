package trust

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds of statements by which a newcomer becomes a member.
const (
	// KindInvitation is the kind of an [Invitation], signed by a device of its inviter.
	KindInvitation statement.Kind = "invitation"
	// KindRedemption is the kind of a [Redemption], signed by the invitation's key.
	KindRedemption statement.Kind = "redemption"
)

// Limits of invitations.
const (
	// MembershipLifetime is how long a membership lasts that is issued by itself, by
	// an invitation or a renewal; those in a network file last as long as its record.
	MembershipLifetime = 30 * 24 * time.Hour
	// MaxInvitation is how long an invitation may be open.
	MaxInvitation = 30 * 24 * time.Hour

	maxInvitationName = 64 // bytes
)

// ErrInvitation reports an invitation that does not admit. The errors below it
// say why where the holder of the invitation may know.
var (
	ErrInvitation        = errors.New("the invitation does not admit")
	ErrInvitationExpired = fmt.Errorf("%w: it has expired or is not valid yet", ErrInvitation)
)

// Invitation lets one newcomer in. It names a recent record, so that the newcomer
// is not led down an old branch, and a key made for it alone: whoever holds the
// private half may redeem it, once. That half travels in the [Invite] and nowhere
// else; validators see a signature by it, which is bound to one peer.
type Invitation struct {
	_         struct{} `cbor:",toarray"`
	Network   statement.ID
	Pin       Pin
	Inviter   statement.ID
	Key       statement.PublicKey
	Role      Role
	Name      string // what the inviter calls the newcomer; for people
	NotBefore int64  // unix seconds
	Expires   int64
}

// Check reports, with [ErrInvitation], an invitation that nobody may honour.
func (i *Invitation) Check() error {
	switch {
	case i.Role < RoleNode || i.Role > RoleMirror:
		return fmt.Errorf("%w: unknown role", ErrInvitation)
	case i.Role == RoleValidator:
		return fmt.Errorf("%w: only the committee record makes a validator", ErrInvitation)
	case len(i.Name) > maxInvitationName || strings.ContainsFunc(i.Name, unprintable):
		return fmt.Errorf("%w: its name has more than %d bytes, or unprintable ones", ErrInvitation, maxInvitationName)
	case i.Expires <= i.NotBefore || uint64(i.Expires)-uint64(i.NotBefore) > uint64(MaxInvitation/time.Second): // no overflow
		return fmt.Errorf("%w: it is open for %d days at most", ErrInvitation, int(MaxInvitation.Hours()/24))
	case i.Inviter == (statement.ID{}) || i.Key == (statement.PublicKey{}):
		return fmt.Errorf("%w: it names no inviter or no key", ErrInvitation)
	}
	return nil
}

// Live reports [ErrInvitationExpired] outside the invitation's time.
func (i *Invitation) Live(now time.Time) error {
	if t := now.Unix(); t < i.NotBefore || t >= i.Expires {
		return ErrInvitationExpired
	}
	return nil
}

// MemberNonce is the nonce of the memberships that an invitation leads to, by
// which the inviter knows who has come.
func MemberNonce(invitation statement.ID) [16]byte {
	h := statement.Hash("membership by invitation", invitation[:])
	return [16]byte(h[:16])
}

// SignInvitation makes an invitation.
func SignInvitation(i Invitation, device statement.PrivateKey) (*statement.Statement, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	return identity.Sign(KindInvitation, i, device)
}

// Redemption binds an invitation to the peer that redeems it. It is signed by the
// invitation's key, at index 0.
type Redemption struct {
	_          struct{} `cbor:",toarray"`
	Network    statement.ID
	Invitation statement.ID
	Peer       statement.PublicKey
	Identity   statement.ID
}

// VerifyRedemption checks that the holder of an invitation's key redeems it for a
// peer of a network. Whether the inviter may invite, and the time, are the
// caller's to judge.
func VerifyRedemption(invitation, redemption []byte, network statement.ID, peer statement.PublicKey) (*Invitation, *statement.Statement, *Redemption, error) {
	bad := func(err error) (*Invitation, *statement.Statement, *Redemption, error) {
		return nil, nil, nil, fmt.Errorf("%w: %w", ErrInvitation, err)
	}
	s, err := statement.Parse(invitation)
	if err != nil {
		return bad(err)
	}
	var i Invitation
	if err := s.Peek(KindInvitation, &i); err != nil {
		return bad(err)
	}
	rs, err := statement.Parse(redemption)
	if err != nil {
		return bad(err)
	}
	var r Redemption
	if err := rs.Peek(KindRedemption, &r); err != nil {
		return bad(err)
	}
	if i.Network != network || r.Network != network || r.Invitation != s.ID() || r.Peer != peer || r.Identity == (statement.ID{}) {
		return bad(errors.New("it is for another network, invitation or peer"))
	}
	if err := i.Check(); err != nil {
		return nil, nil, nil, err
	}
	if err := rs.Verify(KindRedemption, []statement.PublicKey{i.Key}, 1); err != nil {
		return bad(err)
	}
	return &i, s, &r, nil
}

// Invite is what an inviter hands to a newcomer, over a channel that nobody else
// reads: with the secret in it anybody can join in the newcomer's place.
type Invite struct {
	_          struct{} `cbor:",toarray"`
	Format     uint16
	Invitation []byte // signed statement
	Inviter    []byte // identity document
	Network    string // the network's name, for people
	Validators []Reach
	Policy     []byte // payload of the bundle that the first record names, or empty
	Secret     []byte // seed of the invitation's key
}

// Reach says where a validator can be reached.
type Reach struct {
	_         struct{} `cbor:",toarray"`
	Peer      statement.PublicKey
	Addresses []string // multiaddrs without /p2p
}

// InviteFormat is the one format of invites, and MaxInvite their largest size in
// bytes.
const (
	InviteFormat = 1
	MaxInvite    = 1 << 20
)

// ParseInvite reads an invite and checks what can be checked without a network:
// its form, that the inviter signed it, and that the secret belongs to it.
func ParseInvite(raw []byte) (*Invite, *Invitation, error) {
	bad := func(err error) (*Invite, *Invitation, error) {
		return nil, nil, fmt.Errorf("the invitation is damaged: %w", err)
	}
	if len(raw) > MaxInvite {
		return bad(fmt.Errorf("it has more than %d bytes", MaxInvite))
	}
	var v Invite
	if err := statement.Unmarshal(raw, &v); err != nil {
		return bad(err)
	}
	if v.Format != InviteFormat || len(v.Validators) == 0 || len(v.Validators) > MaxValidators {
		return bad(errors.New("it is of another version"))
	}
	for _, r := range v.Validators {
		if err := checkAddresses(r.Addresses); err != nil {
			return bad(err)
		}
	}
	s, err := statement.Parse(v.Invitation)
	if err != nil {
		return bad(err)
	}
	var i Invitation
	if err := s.Peek(KindInvitation, &i); err != nil {
		return bad(err)
	}
	if err := i.Check(); err != nil {
		return bad(err)
	}
	who, err := identity.Parse(v.Inviter)
	if err != nil {
		return bad(err)
	}
	if who.ID() != i.Inviter {
		return bad(errors.New("its parts belong to different identities"))
	}
	if err := who.Verify(KindInvitation, s); err != nil {
		return bad(err)
	}
	if key, err := statement.KeyFromSeed(v.Secret); err != nil || key.Public() != i.Key {
		return bad(errors.New("its secret belongs to another invitation"))
	}
	return &v, &i, nil
}

// Redeem signs the redemption of an invite for a peer.
func (v *Invite) Redeem(i *Invitation, peer statement.PublicKey, who statement.ID) ([]byte, error) {
	key, err := statement.KeyFromSeed(v.Secret)
	if err != nil {
		return nil, err
	}
	s, err := statement.Parse(v.Invitation)
	if err != nil {
		return nil, err
	}
	out, err := statement.Sign(KindRedemption, Redemption{Network: i.Network, Invitation: s.ID(), Peer: peer, Identity: who}, key)
	if err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Removal is the target of revocations that remove a peer from a network, for
// ever: they count where more than F validators' identities have signed one.
func Removal(network statement.ID, peer statement.PublicKey) statement.ID {
	return statement.Hash("removal of a member", network[:], peer[:])
}
