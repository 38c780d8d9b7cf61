package validator

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// A role is given by people at F+1 validators: one that was broken into, or F
// that collude, cannot give a role to anybody. Each keeps who has asked it, by
// the key of the connection, so that it believes nobody's word about the others.

var roleAskPrefix = []byte("roleask/") // + statement id -> roleAsk

// maxRoleAsks bounds the assignments that wait and that one validator has asked
// for: it fills its own share of the desk and nobody else's.
const maxRoleAsks = 64

// roleAsk is an assignment that validators have asked for and that is not kept yet.
type roleAsk struct {
	_       struct{} `cbor:",toarray"`
	Role    []byte   // unsigned statement
	Record  statement.ID
	Askers  []uint16 // validators of Record, ascending
	Asked   int64    // by the first of them
	Until   int64
	Refused string // why the person at this validator does not sign it; empty: nobody has refused
}

// WaitingRole is an assignment that waits until enough validators ask for it.
type WaitingRole struct {
	ID         statement.ID
	Assignment policy.Assignment
	Askers     []int // validators of the newest record, from 0, that have asked here
	Need       int   // how many must
	Asked      time.Time
	Until      time.Time // it is forgotten unless it is given before
}

// RoleAsks lists the assignments that wait and that nobody here has refused, the
// oldest first. Those that enough have asked for wait too, until they come back
// with K signatures.
func (j *Judge) RoleAsks() ([]WaitingRole, error) {
	j.roleAsks.Lock()
	defer j.roleAsks.Unlock()
	record := j.Trust.Current()
	asks, err := j.openRoleAsks(record)
	if err != nil {
		return nil, err
	}
	var out []WaitingRole
	for id, a := range asks {
		if a.Refused != "" {
			continue
		}
		w, err := a.waiting(id, record)
		if err != nil {
			return nil, err
		}
		out = append(out, *w)
	}
	slices.SortFunc(out, func(a, b WaitingRole) int {
		if c := a.Asked.Compare(b.Asked); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return out, nil
}

func (a *roleAsk) waiting(id statement.ID, record *trust.Committee) (*WaitingRole, error) {
	s, err := statement.Parse(a.Role)
	if err != nil {
		return nil, err
	}
	w := &WaitingRole{ID: id, Need: roleAskers(record), Asked: time.Unix(a.Asked, 0), Until: time.Unix(a.Until, 0)}
	for _, i := range a.Askers {
		w.Askers = append(w.Askers, int(i))
	}
	return w, s.Peek(policy.KindRole, &w.Assignment)
}

// RoleDraft is the unsigned statement of an assignment that waits, for the
// validator whose person asks for it too. The error is [ErrNotWaiting].
func (j *Judge) RoleDraft(id statement.ID) (*statement.Statement, error) {
	j.roleAsks.Lock()
	defer j.roleAsks.Unlock()
	asks, err := j.openRoleAsks(j.Trust.Current())
	if err != nil {
		return nil, err
	}
	a := asks[id]
	if a == nil || a.Refused != "" {
		return nil, ErrNotWaiting
	}
	return statement.Parse(a.Role)
}

// RefuseRole has this validator not sign an assignment that waits, durably and
// in the log. Others may.
func (j *Judge) RefuseRole(ctx context.Context, id statement.ID, reason string) error {
	if reason == "" || len(reason) > maxWords {
		return fmt.Errorf("%w: a refusal has a reason, of at most %d bytes", ErrMalformed, maxWords)
	}
	record, seat, err := j.sitting()
	if err != nil {
		return err
	}
	j.roleAsks.Lock()
	defer j.roleAsks.Unlock()
	asks, err := j.openRoleAsks(record)
	if err != nil {
		return err
	}
	a := asks[id]
	if a == nil || a.Refused != "" {
		return ErrNotWaiting
	}
	w, err := a.waiting(id, record)
	if err != nil {
		return err
	}
	who := record.Validators[seat].Identity
	if err := j.note(ctx, j.event(event.Role, event.Denied, event.Act{Actor: who, Subject: w.Assignment.Identity, Grant: id[:], Rule: "refused-by-person", Reason: reason})); err != nil {
		return err
	}
	a.Refused = reason
	return j.putRoleAsk(id, a)
}

// roleAskers is how many validators must ask for an assignment.
func roleAskers(record *trust.Committee) int { return int(record.Numbers.F) + 1 }

// enoughAsk notes that a validator asks for an assignment, durably, and reports
// whether enough have. A removal needs no second one: it opens nothing.
func (j *Judge) enoughAsk(ctx context.Context, s *statement.Statement, a *policy.Assignment, record *trust.Committee, asker int) (bool, error) {
	if !a.Granted {
		return true, nil
	}
	j.roleAsks.Lock()
	defer j.roleAsks.Unlock()
	asks, err := j.openRoleAsks(record)
	if err != nil {
		return false, err
	}
	id, who, now := s.ID(), record.Validators[asker].Identity, j.Now().Unix()
	ask := asks[id]
	if ask == nil {
		ask = &roleAsk{Role: s.Bytes(), Record: record.ID(), Asked: now, Until: min(a.Expires, now+int64(maxDeskTime/time.Second))}
	}
	if ask.Refused != "" {
		return false, j.deny(ctx, event.Role, event.Act{Actor: who, Subject: a.Identity, Grant: id[:]}, &broken{"refused-by-person", "the person at this validator has refused it"})
	}
	at, asked := slices.BinarySearch(ask.Askers, uint16(asker))
	if !asked {
		if err := roomForAsk(asks, asker); err != nil {
			return false, err
		}
		ask.Askers = slices.Insert(ask.Askers, at, uint16(asker))
		asked := j.event(roleAction(a), event.Pending, event.Act{Actor: who, Subject: a.Identity, Grant: id[:], Rule: "persons-at-validators", Role: "asked for: " + roleWords(a)})
		if err := j.note(ctx, asked); err != nil {
			return false, err
		}
		if err := j.putRoleAsk(id, ask); err != nil {
			return false, err
		}
	}
	return len(ask.Askers) >= roleAskers(record), nil
}

func roomForAsk(asks map[statement.ID]*roleAsk, asker int) error {
	n := 0
	for _, a := range asks {
		if slices.Contains(a.Askers, uint16(asker)) {
			n++
		}
	}
	if n >= maxRoleAsks {
		return fmt.Errorf("%w: %d roles that validator %d asked for wait already", ErrUnavailable, n, asker+1)
	}
	return nil
}

// openRoleAsks reads what waits, and drops what is over or was for another
// record. It is bounded by the size of the committee. The caller holds the lock.
func (j *Judge) openRoleAsks(record *trust.Committee) (map[statement.ID]*roleAsk, error) {
	asks, now := map[statement.ID]*roleAsk{}, j.Now().Unix()
	var old []kv.Op
	err := j.Store.Scan(roleAskPrefix, nil, func(key, value []byte) (bool, error) {
		var a roleAsk
		if err := statement.Unmarshal(value, &a); err != nil {
			return false, err
		}
		if a.Until <= now || a.Record != record.ID() {
			old = append(old, kv.Op{Key: bytes.Clone(key), Delete: true})
			return true, nil
		}
		asks[statement.ID(key[len(roleAskPrefix):])] = &a
		return true, nil
	})
	if err == nil && len(old) > 0 {
		err = j.Store.Apply(old)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return asks, nil
}

func roleAskKey(id statement.ID) []byte { return slices.Concat(roleAskPrefix, id[:]) }

func (j *Judge) putRoleAsk(id statement.ID, a *roleAsk) error {
	if err := j.Store.Apply([]kv.Op{{Key: roleAskKey(id), Value: encode(a)}}); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// roleGiven takes an assignment that is kept off the desk.
func (j *Judge) roleGiven(id statement.ID) error {
	j.roleAsks.Lock()
	defer j.roleAsks.Unlock()
	if err := j.Store.Apply([]kv.Op{{Key: roleAskKey(id), Delete: true}}); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
