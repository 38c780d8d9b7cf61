package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindRole is the kind of a statement whose body is an [Assignment].
const KindRole statement.Kind = "role"

// RegionPrefix begins the roles that say where somebody is: "region/eu".
const RegionPrefix = "region/"

// MaxRoleLifetime is how long a role may be given for; roles are given again.
const MaxRoleLifetime = 400 * 24 * time.Hour

const (
	maxRoleName  = 64
	maxRoleBytes = 64 << 10 // of a statement, with the signatures of the largest committee
)

// ErrRole reports a role statement that does not hold.
var ErrRole = errors.New("role statement is refused")

// Assignment gives a role to an identity or takes one away. K validators of
// Record sign it. What is taken away is one assignment, named by its id, and for
// ever: two parties that know the same statements agree, whatever the order in
// which they heard of them. To give a role again is a new assignment.
type Assignment struct {
	_         struct{} `cbor:",toarray"`
	Network   statement.ID
	Record    statement.ID // committee record whose validators sign
	Identity  statement.ID // who has the role
	Role      string       // see [CheckRole]
	Granted   bool         // false: Takes is taken away
	Takes     []byte       // id of the assignment that is taken away; empty where Granted
	NotBefore int64        // Unix seconds; 0 where the role is taken away, which counts at once
	Expires   int64        // Unix seconds, the first at which the role is gone; 0 likewise
	Nonce     [16]byte
}

// CheckRole reports, with [ErrRole], what is not the name of a role: 1 to 64 of
// a-z, 0-9, '-', '_', '.' and '/'; after "region/" stands the name of a region.
func CheckRole(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_./"
	if name == "" || len(name) > maxRoleName || strings.Trim(name, letters) != "" {
		return fmt.Errorf("%w: a role's name has 1 to %d of a-z, 0-9, '-', '_', '.' and '/'", ErrRole, maxRoleName)
	}
	if name == RegionPrefix {
		return fmt.Errorf("%w: the name of the region is missing", ErrRole)
	}
	return nil
}

// Check reports, with [ErrRole], an assignment that nobody may sign.
func (a *Assignment) Check() error {
	if err := CheckRole(a.Role); err != nil {
		return err
	}
	if a.Network == (statement.ID{}) || a.Record == (statement.ID{}) || a.Identity == (statement.ID{}) {
		return fmt.Errorf("%w: it must name a network, a committee record and an identity", ErrRole)
	}
	if !a.Granted {
		if len(a.Takes) != len(statement.ID{}) || a.NotBefore != 0 || a.Expires != 0 {
			return fmt.Errorf("%w: taking a role away names one assignment and no time", ErrRole)
		}
		return nil
	}
	if len(a.Takes) != 0 {
		return fmt.Errorf("%w: it both gives and takes away", ErrRole)
	}
	if a.Expires <= a.NotBefore || uint64(a.Expires)-uint64(a.NotBefore) > uint64(MaxRoleLifetime/time.Second) { // no overflow
		return fmt.Errorf("%w: a role ends, at most %d days after it begins", ErrRole, int(MaxRoleLifetime.Hours()/24))
	}
	return nil
}

// Removal is the unsigned assignment that takes this one, whose statement has
// the id given, away. Record and Nonce are the caller's to set.
func (a *Assignment) Removal(id statement.ID) Assignment {
	return Assignment{Network: a.Network, Record: a.Record, Identity: a.Identity, Role: a.Role, Takes: id[:]}
}

// DraftRole makes the statement that validators sign one after the other.
func DraftRole(a Assignment) (*statement.Statement, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	return statement.New(KindRole, a)
}

// Role is an assignment whose signatures were verified.
type Role struct {
	Assignment
	id statement.ID
}

// ID is the id of the statement.
func (r *Role) ID() statement.ID { return r.id }

// VerifyRole checks a role statement: its form, the network, and K signatures of
// the record that it names, which must still count. Time is not looked at. The
// error is [ErrRole], with what the chain says of the record.
func VerifyRole(raw []byte, chain *trust.Chain) (*Role, error) {
	if len(raw) > maxRoleBytes {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrRole, maxRoleBytes)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRole, err)
	}
	r := &Role{id: s.ID()}
	if err := s.Peek(KindRole, &r.Assignment); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRole, err)
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	if r.Network != chain.Network() {
		return nil, fmt.Errorf("%w: it is of another network", ErrRole)
	}
	c, err := chain.ByID(r.Record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRole, err)
	}
	if err := c.VerifyK(KindRole, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRole, err)
	}
	r.Takes = bytes.Clone(r.Takes)
	return r, nil
}

// RoleSet folds role statements into who has which role when. It takes them in
// any order and any number of times. The zero value is empty and ready; it is
// safe for concurrent use and keeps nothing on disk.
type RoleSet struct {
	mu    sync.RWMutex
	given map[statement.ID]map[statement.ID]*Role // by identity, then by the statement's id
	taken map[taking]bool
}

// taking is what a removal says. It names the identity and the role as well, so
// that whoever reads it knows all that it does.
type taking struct {
	assignment, identity statement.ID
	role                 string
}

// Add takes a verified statement into account.
func (s *RoleSet) Add(r *Role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.Granted {
		if s.taken == nil {
			s.taken = map[taking]bool{}
		}
		s.taken[taking{statement.ID(r.Takes), r.Identity, r.Role}] = true
		return
	}
	if s.given == nil {
		s.given = map[statement.ID]map[statement.ID]*Role{}
	}
	if s.given[r.Identity] == nil {
		s.given[r.Identity] = map[statement.ID]*Role{}
	}
	s.given[r.Identity][r.id] = r
}

// Roles are the names of the roles that an identity has at a time, sorted, each
// once.
func (s *RoleSet) Roles(identity statement.ID, now time.Time) []string {
	var names []string
	for _, r := range s.Assignments(identity) {
		if t := now.Unix(); t >= r.NotBefore && t < r.Expires {
			names = append(names, r.Role)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Assignments are those of an identity that were not taken away, whatever their
// time, sorted by id.
func (s *RoleSet) Assignments(identity statement.ID) []*Role {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*Role
	for id, r := range s.given[identity] {
		if !s.taken[taking{id, identity, r.Role}] {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Role) int { return bytes.Compare(a.id[:], b.id[:]) })
	return out
}
