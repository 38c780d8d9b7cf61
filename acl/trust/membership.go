package trust

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindMembership is the kind of membership credentials.
const KindMembership statement.Kind = "membership"

// ErrMembership reports a credential that does not admit.
var ErrMembership = errors.New("not a member of this network")

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
		return nil, fmt.Errorf("%w: the credential belongs to another peer", ErrMembership)
	case t < m.NotBefore || t >= m.Expires || m.Expires > c.Expires:
		return nil, fmt.Errorf("%w: the credential has expired or is not valid yet", ErrMembership)
	case m.Role < RoleNode || m.Role > RoleMirror:
		return nil, fmt.Errorf("%w: unknown role", ErrMembership)
	}
	if err := c.VerifyK(KindMembership, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	return &m, nil
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

// File is what a newcomer is handed: the signed genesis (or its draft while
// signatures are gathered), the memberships that were issued with it and the
// policy bundle whose hash the record names. A draft and a finished file have
// one form; [File.Committee] tells them apart.
type File struct {
	_           struct{} `cbor:",toarray"`
	Format      uint16
	Records     [][]byte // signed records, genesis first
	Memberships [][]byte
	Policy      []byte // payload of the bundle
	Root        []byte // reserved for root-signed pins of later records; empty
}

// FileFormat is the one format of network files.
const FileFormat = 1

// Limits of a network file.
const (
	MaxFile        = 32 << 20 // bytes; the largest committee with the most members fits
	maxFileMembers = 4096
)

// ParseFile decodes a network file and verifies nothing but its form.
func ParseFile(raw []byte) (*File, error) {
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("the network file has more than %d bytes", MaxFile)
	}
	var f File
	if err := statement.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("the network file is damaged: %w", err)
	}
	if f.Format != FileFormat || len(f.Records) != 1 || len(f.Memberships) > maxFileMembers || len(f.Root) != 0 {
		return nil, errors.New("the network file is of another version; ask its sender for a new one")
	}
	return &f, nil
}

// Committee verifies the genesis in the file.
func (f *File) Committee() (*Committee, error) { return Genesis(f.Records[0]) }

// Membership finds a valid credential for a peer in the file.
func (f *File) Membership(c *Committee, peer statement.PublicKey, now time.Time) ([]byte, bool) {
	for _, raw := range f.Memberships {
		if _, err := c.VerifyMembership(raw, peer, now); err == nil {
			return slices.Clone(raw), true
		}
	}
	return nil, false
}

// Sign adds key's signatures wherever the file has a place for them: the record,
// as validator or root, and, as a validator, the memberships. It reports how
// many signatures it added. A file with anything in it that may not be signed
// gets no signature at all.
func (f *File) Sign(key statement.PrivateKey) (added int, err error) {
	s, r, err := f.draft()
	if err != nil {
		return 0, err
	}
	pub := key.Public()
	for i, k := range r.Signers() {
		if k == pub {
			s.AddSignature(uint16(i), key)
			added++
		}
	}
	signed := slices.Clone(f.Memberships)
	if at := slices.Index(r.ValidatorKeys(), pub); at >= 0 {
		for i, raw := range f.Memberships {
			m, err := readMembership(raw, s.ID())
			if err != nil {
				return 0, err
			}
			m.AddSignature(uint16(at), key)
			signed[i] = m.Bytes()
			added++
		}
	}
	f.Records[0], f.Memberships = s.Bytes(), signed
	return added, nil
}

// readMembership reads an unverified membership of the network that begins with
// a record.
func readMembership(raw []byte, record statement.ID) (*statement.Statement, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, err
	}
	var m Membership
	if err := s.Peek(KindMembership, &m); err != nil || m.Network != record || m.Record != record {
		return nil, errors.New("the file has a membership of another network; it is not signed")
	}
	return s, nil
}

// Draft is the record in the file with nothing but its form checked.
func (f *File) Draft() (*Record, statement.ID, []string, error) {
	s, r, err := f.draft()
	if err != nil {
		return nil, statement.ID{}, nil, err
	}
	return r, s.ID(), Missing(s, r), nil
}

func (f *File) draft() (*statement.Statement, *Record, error) {
	s, err := statement.Parse(f.Records[0])
	if err != nil {
		return nil, nil, err
	}
	var r Record
	if err := s.Peek(KindRecord, &r); err != nil {
		return nil, nil, err
	}
	if err := r.checkGenesis(); err != nil {
		return nil, nil, err
	}
	return s, &r, nil
}

// Merge takes over signatures from another copy of the same file, so that
// validators may sign copies side by side. Signatures that do not verify are
// dropped from both: a wrong one would keep the right one out.
func (f *File) Merge(other *File) error {
	different := errors.New("the two files are of different drafts")
	if len(other.Records) != 1 || len(f.Memberships) != len(other.Memberships) {
		return different
	}
	s, r, err := f.draft()
	if err != nil {
		return err
	}
	record, ok := merge(KindRecord, s, other.Records[0], r.Signers())
	if !ok {
		return different
	}
	memberships := make([][]byte, len(f.Memberships))
	for i, raw := range f.Memberships {
		m, err := readMembership(raw, s.ID())
		if err != nil {
			return err
		}
		if memberships[i], ok = merge(KindMembership, m, other.Memberships[i], r.ValidatorKeys()); !ok {
			return different
		}
	}
	f.Records[0], f.Memberships = record, memberships
	return nil
}

func merge(kind statement.Kind, into *statement.Statement, raw []byte, keys []statement.PublicKey) ([]byte, bool) {
	from, err := statement.Parse(raw)
	if err != nil || from.ID() != into.ID() {
		return nil, false
	}
	into.Prune(kind, keys)
	from.Prune(kind, keys)
	if err := into.Merge(from); err != nil {
		return nil, false
	}
	return into.Bytes(), true
}
