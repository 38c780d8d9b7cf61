package revocation

import (
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// MaxUnvouched is how many statements a validator's log may bring that nobody
// else vouches for.
const MaxUnvouched = 10_000

var heardPrefix = []byte("heard/")

// A statement is vouched for once it is in the logs of F+1 validators, and of two
// at least, once K validators have signed it, and where this party itself has
// accepted it. Until then the set remembers whose logs hold it: heard/<slot> is
// the list of their signing keys. What has no such list is vouched for.

func (s *Set) loadHeard(key, value []byte) (bool, error) {
	slot := string(key[len(heardPrefix):])
	var logs []statement.PublicKey
	if err := statement.Unmarshal(value, &logs); err != nil {
		return false, err
	}
	if s.facts[slot] == nil && s.dormant[slot] == nil {
		return false, fmt.Errorf("%w: it is not in the set", ErrEntry)
	}
	s.setHeard(slot, logs)
	return true, nil
}

// setHeard replaces the logs that hold a slot, nil: vouched for. The caller holds
// mu, or is alone.
func (s *Set) setHeard(slot string, logs []statement.PublicKey) {
	for _, k := range s.heardOf[slot] {
		if s.alone[k]--; s.alone[k] == 0 {
			delete(s.alone, k)
		}
	}
	if len(logs) == 0 {
		if _, was := s.heardOf[slot]; was {
			delete(s.heardOf, slot)
			s.move()
		}
		return
	}
	s.heardOf[slot] = logs
	for _, k := range logs {
		s.alone[k]++
	}
}

// Heard verifies entries of the log of the validator with a signing key and keeps
// those that are new; they are durable on return. An entry whose committee record
// does not count here is kept and says nothing. Any other that does not verify
// fails the call and keeps nothing.
func (s *Set) Heard(from statement.PublicKey, entries []Entry) error {
	_, err := s.heard(from, entries)
	return err
}

// heard is Heard; it returns the facts of the entries.
func (s *Set) heard(from statement.PublicKey, entries []Entry) ([]*Fact, error) {
	facts := make([]*Fact, len(entries))
	for i, e := range entries {
		f, err := s.kinds.verify(e, s.chain)
		if uncounted(err) {
			f, err = s.kinds.sleeping(e)
		}
		if err != nil {
			return nil, err
		}
		facts[i] = f
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	fresh, ops := s.pick(entries, facts)
	logs := s.nowHeard(from, facts, fresh)
	for slot, l := range logs {
		op, err := heardOp(slot, l)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	if err := s.commit(ops, fresh); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, l := range logs {
		s.setHeard(slot, l)
	}
	for _, f := range facts {
		delete(s.lone, f.slot())
	}
	return facts, nil
}

// nowHeard is what becomes of the lists when a log shows facts: nil is a fact
// that is vouched for from now on.
func (s *Set) nowHeard(from statement.PublicKey, facts, fresh []*Fact) map[string][]statement.PublicKey {
	m := s.chain.Current().Numbers
	need := max(2, int(m.F)+1)
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[string][]statement.PublicKey{}
	if m.N > 1 { // the only validator has nobody who would vouch for it
		for _, f := range fresh {
			if f.Record == (statement.ID{}) {
				out[f.slot()] = []statement.PublicKey{from}
			}
		}
	}
	for _, f := range facts {
		had := s.heardOf[f.slot()]
		if len(had) == 0 || slices.Contains(had, from) {
			continue
		}
		if len(had)+1 >= need {
			out[f.slot()] = nil
		} else {
			out[f.slot()] = append(slices.Clone(had), from)
		}
	}
	return out
}

func heardOp(slot string, logs []statement.PublicKey) (kv.Op, error) {
	key := slices.Concat(heardPrefix, []byte(slot))
	if len(logs) == 0 {
		return kv.Op{Key: key, Delete: true}, nil
	}
	raw, err := statement.Marshal(logs)
	return kv.Op{Key: key, Value: raw}, err
}

// vouch is what forgets whose logs hold facts that this party itself stands for.
func (s *Set) vouch(facts []*Fact) (ops []kv.Op) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range facts {
		if len(s.heardOf[f.slot()]) > 0 {
			ops = append(ops, kv.Op{Key: slices.Concat(heardPrefix, []byte(f.slot())), Delete: true})
		}
	}
	return ops
}

func (s *Set) vouched(facts []*Fact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range facts {
		s.setHeard(f.slot(), nil)
	}
}

// Vouched reports whether more than one validator's word stands for a statement
// of the set: see the package comment.
func (s *Set) Vouched(f *Fact) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.facts[f.slot()] != nil && len(s.heardOf[f.slot()]) == 0
}

// Unvouched is how many statements the log of the validator with a signing key
// has brought that nobody else vouches for.
func (s *Set) Unvouched(validator statement.PublicKey) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.alone[validator]
}

// Lone reports whether a statement was accepted first by this party, since the
// process started, and has been seen in nobody else's log.
func (s *Set) Lone(f *Fact) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lone[f.slot()]
}

// isLone marks facts that are new, and signed by identities.
func (s *Set) isLone(fresh []*Fact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range fresh {
		if f.Record == (statement.ID{}) {
			s.lone[f.slot()] = true
		}
	}
}
