package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Set is every statement that one party knows. Its index is in memory, its
// entries are in a store. It is safe for concurrent use.
type Set struct {
	chain *trust.Chain
	kinds Kinds
	store kv.Store

	writing sync.Mutex // one writer; held before mu

	mu       sync.RWMutex
	facts    map[string]*Fact                // by slot; owned by mu, like all below
	about    map[subject][]*Fact             // sorted by id
	revokers map[statement.ID][]statement.ID // what Revokers answers, in the order heard
	dormant  map[string]*Fact                // by slot: those asleep when last looked at
	heardOf  map[string][]statement.PublicKey
	alone    map[statement.PublicKey]int // entries of heardOf, by validator
	lone     map[string]bool             // by slot: see Lone
	changes  uint64
	moves    uint64        // changes, and entries that came to be vouched for
	changed  chan struct{} // closed and replaced with every change; nil until somebody watches
}

type subject struct {
	kind statement.Kind
	id   statement.ID
}

var setPrefix = []byte("set/")

// OpenSet reads a set from a store; more are the kinds that it keeps beside those
// of this package. Every entry is verified again: one that does not verify fails
// the call, but for one whose committee record does not count any more, which
// stays and says nothing.
func OpenSet(store kv.Store, chain *trust.Chain, more Kinds) (*Set, error) {
	s := &Set{
		chain: chain, kinds: more.withOwn(), store: store,
		facts: map[string]*Fact{}, about: map[subject][]*Fact{}, revokers: map[statement.ID][]statement.ID{},
		dormant: map[string]*Fact{}, heardOf: map[string][]statement.PublicKey{}, alone: map[statement.PublicKey]int{},
		lone: map[string]bool{},
	}
	if err := store.Scan(setPrefix, nil, s.load); err != nil {
		return nil, fmt.Errorf("stored statements: %w", err)
	}
	if err := store.Scan(heardPrefix, nil, s.loadHeard); err != nil {
		return nil, fmt.Errorf("whose logs hold the stored statements: %w", err)
	}
	if len(s.dormant) == 0 {
		return s, nil
	}
	return s, s.Recheck()
}

func (s *Set) load(key, value []byte) (bool, error) {
	slot := string(key[len(setPrefix):])
	e, err := decodeEntry(value)
	if err != nil {
		return false, err
	}
	asleep, err := s.kinds.sleeping(e)
	if err != nil {
		return false, err
	}
	if asleep.slot() == slot { // Recheck looks at it, once all is read
		s.learn(asleep)
		return true, nil
	}
	f, err := s.kinds.verify(e, s.chain)
	if uncounted(err) {
		asleep.Slot = asleep.ID[:] // it counted when it was stored
		f, err = asleep, nil
	}
	if err != nil {
		return false, err
	}
	if f.slot() != slot {
		return false, errPlace
	}
	s.learn(f)
	return true, nil
}

var errPlace = errors.New("an entry stands in another's place")

// Add verifies entries and keeps those that are new; they are durable on return.
// An entry that does not verify, or whose committee record does not count, fails
// the call and keeps nothing. It is for what this party itself stands for, not for
// what it pulls from a log.
func (s *Set) Add(entries ...Entry) (added int, err error) {
	facts, err := s.verifyAll(entries)
	if err != nil {
		return 0, err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	fresh, ops := s.pick(entries, facts)
	ops = append(ops, s.vouch(facts)...)
	if err := s.commit(ops, fresh); err != nil {
		return 0, err
	}
	s.vouched(facts)
	return len(fresh), nil
}

// Take is [Set.Add].
func (s *Set) Take(entries []Entry) error { _, err := s.Add(entries...); return err }

func (s *Set) verifyAll(entries []Entry) ([]*Fact, error) {
	facts := make([]*Fact, len(entries))
	for i, e := range entries {
		var err error
		if facts[i], err = s.kinds.verify(e, s.chain); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

// pick finds the facts that the set lacks, each once, and what stores them:
// ops[i] stores fresh[i]. The caller holds writing.
func (s *Set) pick(entries []Entry, facts []*Fact) (fresh []*Fact, ops []kv.Op) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	picked := map[string]bool{}
	for i, f := range facts {
		if picked[f.slot()] || s.knows(f) {
			continue
		}
		picked[f.slot()] = true
		ops = append(ops, kv.Op{Key: slices.Concat(setPrefix, []byte(f.slot())), Value: entries[i].bytes()})
		fresh = append(fresh, f)
	}
	return fresh, ops
}

// knows reports a fact that is stored, whether or not it counts. The caller holds
// mu.
func (s *Set) knows(f *Fact) bool {
	if slot := f.slot(); s.facts[slot] != nil || f.asleep && s.dormant[slot] != nil {
		return true
	}
	if !f.asleep {
		return false
	}
	id := slotKey(f.Kind, f.ID[:]) // where it is if it once counted
	return s.facts[id] != nil || s.dormant[id] != nil
}

// commit stores and then learns. The caller holds writing.
func (s *Set) commit(ops []kv.Op, fresh []*Fact) error {
	if len(ops) > 0 {
		if err := s.store.Apply(ops); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range fresh {
		s.learn(f)
	}
	return nil
}

// learn indexes a fact that is new. The caller holds mu, or is alone.
func (s *Set) learn(f *Fact) {
	if f.asleep {
		s.dormant[f.slot()] = f
		return
	}
	delete(s.dormant, f.slot())
	s.facts[f.slot()] = f
	for _, id := range f.Subjects {
		at := subject{f.Kind, id}
		s.about[at] = insert(s.about[at], f)
	}
	if r, ok := f.Body.(*Revocation); ok {
		s.revokers[r.Target] = append(s.revokers[r.Target], r.Signer)
	}
	s.changes++
	s.move()
}

// insert makes a new list: readers may hold the old one.
func insert(list []*Fact, f *Fact) []*Fact {
	i, _ := slices.BinarySearchFunc(list, f, func(a, b *Fact) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return slices.Insert(slices.Clip(slices.Clone(list)), i, f)
}

// Recheck looks again at the statements whose committee record did not count,
// forgets those that turn out to be forged, and makes who watches [Set.Changes] look again at the others. It is called when the
// committee has changed.
func (s *Set) Recheck() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.RLock()
	var woken, facts []*Fact
	var entries []Entry
	for _, d := range s.dormant {
		e := d.Body.(Entry)
		f, err := s.kinds.verify(e, s.chain)
		if uncounted(err) {
			continue
		}
		woken = append(woken, d)
		if err == nil {
			facts, entries = append(facts, f), append(entries, e)
		}
	}
	s.mu.RUnlock()
	fresh, stores := s.pick(entries, facts)
	var ops []kv.Op
	for _, d := range woken {
		for _, prefix := range [][]byte{setPrefix, heardPrefix} {
			ops = append(ops, kv.Op{Key: slices.Concat(prefix, []byte(d.slot())), Delete: true})
		}
	}
	if err := s.commit(append(ops, stores...), fresh); err != nil { // an entry may have kept its place
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range woken {
		s.setHeard(d.slot(), nil)
		delete(s.dormant, d.slot())
	}
	s.changes++
	s.move()
	return nil
}

// Revokers lists who has signed a revocation of target. The list is shared and
// must not be changed; later entries do not show in it.
func (s *Set) Revokers(target statement.ID) []statement.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clip(s.revokers[target])
}

// Facts are what the set knows of a kind about a subject, sorted by the id of
// their statements: revocations by target, erasures by key id, holds by the id
// of what they hold, records by identity, plugged kinds by what their verifiers say. Statements whose
// committee record does not count any more are left out.
func (s *Set) Facts(kind statement.Kind, about statement.ID) []*Fact {
	s.mu.RLock()
	list := s.about[subject{kind, about}]
	s.mu.RUnlock()
	var out []*Fact
	for _, f := range list {
		if s.counts(f) {
			out = append(out, f)
		}
	}
	return out
}

func (s *Set) counts(f *Fact) bool {
	if f.Record == (statement.ID{}) {
		return true
	}
	_, err := s.chain.ByID(f.Record)
	return err == nil
}

// Erased reports whether the owner has ordered that a key is erased.
func (s *Set) Erased(key statement.ID) bool { return len(s.Facts(KindErasure, key)) > 0 }

// Held reports whether a hold on one of these keys, lineages or scopes is in
// force.
func (s *Set) Held(ids ...statement.ID) bool {
	return slices.ContainsFunc(ids, func(id statement.ID) bool { return len(s.Holds(id)) > 0 })
}

// Holds are the holds in force on a key, a lineage or a scope, sorted by id.
func (s *Set) Holds(id statement.ID) []*Fact {
	facts := s.Facts(KindHold, id)
	ended := map[statement.ID]bool{}
	for _, f := range facts {
		if h := f.Body.(*Hold); !h.Placed {
			ended[statement.ID(h.Ends)] = true
		}
	}
	return slices.DeleteFunc(facts, func(f *Fact) bool { return !f.Body.(*Hold).Placed || ended[f.ID] })
}

// Changes grows with every new entry, and when the committee has changed; who
// watches it need not look at the set.
func (s *Set) Changes() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changes
}
