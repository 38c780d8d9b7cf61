package trust

import (
	"crypto/rand"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Member is somebody who belongs to a network from its beginning.
type Member struct {
	Peer     statement.PublicKey
	Identity statement.ID
	Role     Role // the zero value is RoleNode
}

// Founding is what a network starts with.
type Founding struct {
	Name          string
	Numbers       Numbers
	Validators    []Validator
	Roots         []statement.PublicKey
	RootThreshold int // 0: a majority
	Nodes         []Member
}

// Policy is the bundle that the record names.
type Policy interface {
	// Head is the bundle's id.
	Head() statement.ID
}

// Draft makes the unsigned network file of a founding. The record and the
// memberships in it last [Lifetime] from now.
func (g Founding) Draft(p Policy, now time.Time) (*File, statement.ID, error) {
	if g.RootThreshold == 0 {
		g.RootThreshold = len(g.Roots)/2 + 1
	}
	if len(g.Validators) > MaxValidators || g.RootThreshold < 0 || g.RootThreshold > MaxRootKeys { // they must not wrap
		return nil, statement.ID{}, fmt.Errorf("%w: at most %d validators and %d root keys", ErrRecord, MaxValidators, MaxRootKeys)
	}
	if len(g.Nodes) > maxFileMembers {
		return nil, statement.ID{}, fmt.Errorf("a network begins with at most %d nodes", maxFileMembers)
	}
	g.Numbers.N = uint16(len(g.Validators))
	r := Record{
		Version: 1, Name: g.Name, Numbers: g.Numbers, Validators: g.Validators, RootKeys: g.Roots,
		RootThreshold: uint16(g.RootThreshold), PolicyHead: p.Head(),
		NotBefore: now.Add(-time.Minute).Unix(), Expires: now.Add(Lifetime - time.Minute).Unix(),
	}
	s, err := Draft(r)
	if err != nil {
		return nil, statement.ID{}, err
	}
	policy, err := statement.Marshal(p)
	if err != nil {
		return nil, statement.ID{}, err
	}
	f := &File{Format: FileFormat, Records: [][]byte{s.Bytes()}, Policy: policy}
	for _, n := range g.Nodes {
		raw, err := n.draft(s.ID(), s.ID(), &r)
		if err != nil {
			return nil, statement.ID{}, err
		}
		f.Memberships = append(f.Memberships, raw)
	}
	return f, s.ID(), nil
}

// draft makes the unsigned membership of a record for its whole time.
func (n Member) draft(network, record statement.ID, r *Record) ([]byte, error) {
	m := Membership{
		Network: network, Record: record, Peer: n.Peer, Identity: n.Identity, Role: n.Role,
		NotBefore: r.NotBefore, Expires: r.Expires,
	}
	if m.Role == 0 {
		m.Role = RoleNode
	}
	rand.Read(m.Nonce[:])
	s, err := statement.New(KindMembership, m)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}
