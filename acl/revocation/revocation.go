// Package revocation carries what has been revoked to everybody who must know.
//
// # Vocabulary
//
// A revocation is a statement by an identity that a grant, a link or a consent
// no longer counts. It travels as an [Entry], with the record of its signer.
// Each validator keeps an append-only [Log] of entries whose head is a chain of
// hashes. A [Set] is all the entries that one party knows. A [Tracker] asks
// every validator, each minute, for its signed head over a fresh nonce, pulls
// the missing tail, and says whether the view is fresh.
//
// An entry in a set stops nothing by itself. It counts only where a verifier
// that has the chain before it finds the signer to be the owner or an issuer
// above the target, or finds F+1 validators: one validator's log cannot stop
// anybody. That judgement is package capability's.
//
// # Log head
//
//	head(0) = 32 zero bytes
//	head(i) = Hash("revocation log", head(i-1), entry i)
package revocation

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds of statements in this package.
const (
	KindRevocation statement.Kind = "revocation" // signed by a device of its signer
	KindFresh      statement.Kind = "fresh"      // signed by a validator
	KindAck        statement.Kind = "ack"        // signed by a validator
)

// Limits.
const (
	MaxEntry  = 36 << 10
	MaxTail   = 200 // entries in one answer
	maxReason = 256
)

// ErrEntry reports an entry that does not verify.
var ErrEntry = errors.New("the revocation does not verify")

// Revocation is the body of a revocation.
type Revocation struct {
	_       struct{} `cbor:",toarray"`
	Network statement.ID
	Target  statement.ID // grant, link or consent
	Signer  statement.ID // identity
	Reason  string
	Time    int64 // unix seconds, informative
}

// Entry is a revocation with the record that proves its signer, as it travels.
type Entry struct {
	_          struct{} `cbor:",toarray"`
	Revocation []byte
	Identity   []byte
}

// Sign makes an entry.
func Sign(r Revocation, signer *identity.Identity, device statement.PrivateKey) (Entry, error) {
	index, ok := signer.DeviceIndex(device.Public())
	if !ok {
		return Entry{}, errors.New("this device does not belong to the identity")
	}
	r.Signer = signer.ID()
	s, err := statement.New(KindRevocation, r)
	if err != nil {
		return Entry{}, err
	}
	s.AddSignature(index, device)
	return Entry{Revocation: s.Bytes(), Identity: signer.Record()}, nil
}

// Verify checks an entry's form and signature. It does not say that the signer
// had the right to revoke.
func (e Entry) Verify(network statement.ID) (*Revocation, error) {
	if len(e.Revocation)+len(e.Identity) > MaxEntry {
		return nil, fmt.Errorf("%w: it is too long", ErrEntry)
	}
	s, err := statement.Parse(e.Revocation)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	var r Revocation
	if err := s.Peek(KindRevocation, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if r.Network != network || len(r.Reason) > maxReason {
		return nil, fmt.Errorf("%w: it is for another network, or its reason is too long", ErrEntry)
	}
	id, err := identity.Parse(e.Identity)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if r.Signer != id.ID() {
		return nil, fmt.Errorf("%w: it comes with another identity's record", ErrEntry)
	}
	if err := id.Verify(KindRevocation, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return &r, nil
}

func (e Entry) bytes() []byte {
	b, err := statement.Marshal(e)
	if err != nil {
		panic("revocation: own entry does not encode: " + err.Error()) // byte strings only
	}
	return b
}

// next is the head after an entry.
func next(head statement.ID, e Entry) statement.ID { return nextRaw(head, e.bytes()) }

func nextRaw(head statement.ID, entry []byte) statement.ID {
	return statement.Hash("revocation log", head[:], entry)
}

// Set is every revocation that one party knows. Its index is in memory, its
// entries are in a store. It is safe for concurrent use.
type Set struct {
	network statement.ID
	store   kv.Store

	mu       sync.RWMutex
	revokers map[statement.ID][]statement.ID // owned by mu
	changes  uint64                          // owned by mu
}

// OpenSet reads a set; every entry is verified again.
func OpenSet(store kv.Store, network statement.ID) (*Set, error) {
	s := &Set{network: network, store: store, revokers: map[statement.ID][]statement.ID{}}
	err := store.Scan(setPrefix, nil, func(key, value []byte) (bool, error) {
		var e Entry
		if err := statement.Unmarshal(value, &e); err != nil {
			return false, err
		}
		r, err := e.Verify(network)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(key, setKey(r)) {
			return false, errors.New("an entry stands in another's place")
		}
		s.revokers[r.Target] = append(s.revokers[r.Target], r.Signer)
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("stored revocations: %w", err)
	}
	return s, nil
}

var setPrefix = []byte("set/")

func setKey(r *Revocation) []byte {
	return slices.Concat(setPrefix, r.Target[:], r.Signer[:])
}

// Add verifies entries and keeps those that are new; they are durable on
// return. An entry that does not verify fails the call and keeps nothing.
func (s *Set) Add(entries ...Entry) (added int, err error) {
	ops, fresh, err := s.prepare(entries)
	if err != nil || len(ops) == 0 {
		return 0, err
	}
	if err := s.store.Apply(ops); err != nil {
		return 0, err
	}
	s.learn(fresh)
	return len(fresh), nil
}

// prepare verifies entries and picks those that the set lacks, each once: ops[i]
// stores the entry of fresh[i].
func (s *Set) prepare(entries []Entry) (ops []kv.Op, fresh []*Revocation, err error) {
	picked := map[string]bool{}
	for _, e := range entries {
		r, err := e.Verify(s.network)
		if err != nil {
			return nil, nil, err
		}
		key := setKey(r)
		if picked[string(key)] || s.has(r) {
			continue
		}
		picked[string(key)] = true
		ops = append(ops, kv.Op{Key: key, Value: e.bytes()})
		fresh = append(fresh, r)
	}
	return ops, fresh, nil
}

func (s *Set) learn(rs []*Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rs {
		if !slices.Contains(s.revokers[r.Target], r.Signer) {
			s.revokers[r.Target] = append(s.revokers[r.Target], r.Signer)
			s.changes++
		}
	}
}

func (s *Set) has(r *Revocation) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Contains(s.revokers[r.Target], r.Signer)
}

// Revokers lists who has signed a revocation of target. The list is shared and
// must not be changed; later entries do not show in it.
func (s *Set) Revokers(target statement.ID) []statement.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clip(s.revokers[target])
}

// Changes grows with every new entry; who watches it need not look at the set.
func (s *Set) Changes() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changes
}

// Log is a validator's own append-only list of entries. It is safe for
// concurrent use; entries are in the store before Append returns.
type Log struct {
	set   *Set
	store kv.Store

	mu   sync.Mutex // one appender
	seq  uint64
	head statement.ID
}

var logPrefix = []byte("log/")

func logKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(slices.Clone(logPrefix), seq) }

// OpenLog reads a log and recomputes its head. Entries of the log are entries of
// the set too; one that the set does not know, or that is damaged, fails the
// call: a log with another head than the one that was signed is a fork to
// everybody else.
func OpenLog(store kv.Store, set *Set) (*Log, error) {
	l := &Log{set: set, store: store}
	err := store.Scan(logPrefix, nil, func(key, value []byte) (bool, error) {
		var e Entry
		if err := statement.Unmarshal(value, &e); err != nil {
			return false, err
		}
		if !bytes.Equal(key, logKey(l.seq+1)) {
			return false, errors.New("an entry is missing")
		}
		r, err := e.Verify(set.network)
		if err != nil {
			return false, err
		}
		if !set.has(r) {
			return false, errors.New("an entry is in the log and not in the set")
		}
		l.seq, l.head = l.seq+1, next(l.head, e)
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("revocation log: %w", err)
	}
	return l, nil
}

// Append adds the entries that the set does not have yet to the log and the set,
// in one durable step, and returns the new head. An entry that does not verify
// fails the call and keeps nothing.
func (l *Log) Append(entries ...Entry) (seq uint64, head statement.ID, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ops, fresh, err := l.set.prepare(entries)
	if err != nil {
		return 0, statement.ID{}, err
	}
	if len(ops) == 0 {
		return l.seq, l.head, nil
	}
	seq, head = l.seq, l.head
	for _, op := range slices.Clone(ops) {
		seq, head = seq+1, nextRaw(head, op.Value)
		ops = append(ops, kv.Op{Key: logKey(seq), Value: op.Value})
	}
	if err := l.store.Apply(ops); err != nil {
		return 0, statement.ID{}, err
	}
	l.seq, l.head = seq, head
	l.set.learn(fresh)
	return seq, head, nil
}

// Head is the number of entries and the chain's last hash.
func (l *Log) Head() (uint64, statement.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq, l.head
}

// Tail reads up to [MaxTail] entries after seq.
func (l *Log) Tail(seq uint64) ([]Entry, error) {
	var out []Entry
	err := l.store.Scan(logPrefix, logKey(seq), func(_, value []byte) (bool, error) {
		var e Entry
		if err := statement.Unmarshal(value, &e); err != nil {
			return false, err
		}
		out = append(out, e)
		return len(out) < MaxTail, nil
	})
	return out, err
}
