package revocation

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// MaxSegments is how many segments a log may have: a validator that was restored
// more often has to be replaced in the committee.
const MaxSegments = 64

var (
	// ErrStarting reports a log that takes nothing yet, because its validator does
	// not know whether it was restored from an old backup.
	ErrStarting = errors.New("the validator is starting and has not heard enough of the others")
	// ErrSegment reports a question about a segment that the log does not show:
	// whoever asks has to ask for its head again.
	ErrSegment = errors.New("the log has gone on to another segment")
)

// Position is a place in a log: see the package comment.
type Position struct {
	_       struct{} `cbor:",toarray"`
	Segment uint64
	Seq     uint64 // entries in the segment
	Head    statement.ID
}

// state is what a log stores beside its entries: where it stands, and the
// position in each earlier segment that the next one went on from.
type state struct {
	_       struct{} `cbor:",toarray"`
	At      Position
	Adopted []Position // one for each segment before At.Segment
}

// valid holds what every honest state has.
func (s *state) valid() bool {
	if s.At.Segment >= MaxSegments || uint64(len(s.Adopted)) != s.At.Segment {
		return false
	}
	for i, a := range s.Adopted {
		if a.Segment != uint64(i) {
			return false
		}
	}
	return s.At.Seq > 0 || s.At.Head == firstHead(s.Adopted)
}

// firstHead is the head of the segment that follows adopted positions, before
// its first entry.
func firstHead(adopted []Position) statement.ID {
	if len(adopted) == 0 {
		return statement.ID{}
	}
	raw, err := statement.Marshal(adopted)
	if err != nil {
		panic("revocation: positions do not encode: " + err.Error()) // numbers only
	}
	return statement.Hash("log segment", raw)
}

func nextRaw(head statement.ID, entry []byte) statement.ID {
	return statement.Hash("revocation log", head[:], entry)
}

// next is the position after an entry.
func (p Position) next(entry []byte) Position {
	return Position{Segment: p.Segment, Seq: p.Seq + 1, Head: nextRaw(p.Head, entry)}
}

// Log is a validator's own append-only list of entries, all of which are in its
// set. It is safe for concurrent use; entries are in the store before Append
// returns. A log that was just opened shows what it has and takes nothing, until
// [Tracker.Ready].
type Log struct {
	set   *Set
	store kv.Store
	self  statement.PublicKey

	mu    sync.Mutex // one appender; before the set's
	state state
	in    map[string]bool // slots of the entries in this segment
	ready bool
}

var (
	logPrefix = []byte("log/")
	stateKey  = []byte("logat")
)

func segmentPrefix(segment uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(logPrefix), segment)
}

func logKey(segment, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(segmentPrefix(segment), seq)
}

// OpenLog reads the log of the validator with a signing key, from the store that
// its set is in, and recomputes the head. A log that lacks an entry, or has one
// that the set does not know, fails the call: a log with another head than the
// one that was signed is a fork to everybody else.
func OpenLog(store kv.Store, set *Set, self statement.PublicKey) (*Log, error) {
	l := &Log{set: set, store: store, self: self, in: map[string]bool{}}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("statement log: %w", err)
	}
	return l, nil
}

func (l *Log) load() error {
	raw, err := l.store.Get(stateKey)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	if err == nil {
		if err := statement.Unmarshal(raw, &l.state); err != nil {
			return err
		}
		if !l.state.valid() {
			return errors.New("its stored position is none")
		}
	}
	at := Position{Segment: l.state.At.Segment, Head: firstHead(l.state.Adopted)}
	err = l.store.Scan(segmentPrefix(at.Segment), nil, func(key, slot []byte) (bool, error) {
		if !bytes.Equal(key, logKey(at.Segment, at.Seq+1)) {
			return false, errMissing
		}
		entry, err := l.set.raw(string(slot))
		if err != nil {
			return false, err
		}
		at, l.in[string(slot)] = at.next(entry), true
		return true, nil
	})
	if err == nil && at != l.state.At {
		err = errMissing
	}
	return err
}

var errMissing = errors.New("an entry is missing, or another one stands in its place")

// raw is a stored entry of the set.
func (s *Set) raw(slot string) ([]byte, error) {
	s.mu.RLock()
	_, asleep := s.dormant[slot]
	known := asleep || s.facts[slot] != nil
	s.mu.RUnlock()
	if !known {
		return nil, errors.New("an entry is in the log and not in the set")
	}
	return s.store.Get(slices.Concat(setPrefix, []byte(slot)))
}

// Append adds entries that this validator has accepted itself: to the set those
// that are new, and to the log those that it lacks, in one durable step. It
// returns where the log stands then. An entry that does not verify fails the call
// and keeps nothing; the error is [ErrStarting] before [Tracker.Ready].
func (l *Log) Append(entries ...Entry) (Position, error) {
	facts, err := l.set.verifyAll(entries)
	if err != nil {
		return Position{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ready {
		return Position{}, ErrStarting
	}
	l.set.writing.Lock()
	defer l.set.writing.Unlock()
	fresh, ops := l.set.pick(entries, facts)
	ops = append(ops, l.set.vouch(facts)...)
	if err := l.put(facts, ops, fresh); err != nil {
		return Position{}, err
	}
	l.set.vouched(facts)
	l.set.isLone(fresh)
	return l.state.At, nil
}

// Take is [Log.Append].
func (l *Log) Take(entries []Entry) error { _, err := l.Append(entries...); return err }

// Heard is [Set.Heard], and passes on what is vouched for.
func (l *Log) Heard(from statement.PublicKey, entries []Entry) error {
	facts, err := l.set.heard(from, entries)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ready {
		return nil // it passes them on when it starts
	}
	return l.passOn(facts)
}

// passOn appends those facts of the set that the log lacks and that more than f
// liars stand for.
func (l *Log) passOn(facts []*Fact) error {
	trusting := l.set.chain.Current().Numbers.F == 0
	facts = slices.DeleteFunc(facts, func(f *Fact) bool { return f.asleep || !trusting && !l.set.Vouched(f) })
	l.set.writing.Lock()
	defer l.set.writing.Unlock()
	return l.put(facts, nil, nil)
}

// put appends facts in their order, each once, with what stores those that are
// fresh. The caller holds mu and the set's writing.
func (l *Log) put(facts []*Fact, ops []kv.Op, fresh []*Fact) error {
	values := map[string][]byte{}
	for i, f := range fresh {
		values[f.slot()] = ops[i].Value
	}
	at, added := l.state.At, map[string]bool{}
	for _, f := range facts {
		slot := f.slot()
		if l.in[slot] || added[slot] {
			continue
		}
		entry, ok := values[slot]
		if !ok {
			var err error
			if entry, err = l.set.raw(slot); err != nil {
				return err
			}
		}
		added[slot], at = true, at.next(entry)
		ops = append(ops, kv.Op{Key: logKey(at.Segment, at.Seq), Value: []byte(slot)})
	}
	if len(added) > 0 {
		op, err := stateOp(state{At: at, Adopted: l.state.Adopted})
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	if err := l.set.commit(ops, fresh); err != nil {
		return err
	}
	l.state.At = at
	for slot := range added {
		l.in[slot] = true
	}
	return nil
}

func stateOp(s state) (kv.Op, error) {
	raw, err := statement.Marshal(s)
	return kv.Op{Key: stateKey, Value: raw}, err
}

// Head is where the log stands.
func (l *Log) Head() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.At
}

// Fresh is the unsigned answer to a nonce.
func (l *Log) Fresh(nonce [32]byte, record, policy statement.ID) Fresh {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Fresh{
		Nonce: nonce, Record: record, At: l.state.At, Adopted: slices.Clone(l.state.Adopted), Starting: !l.ready, Policy: policy,
	}
}

// Tail reads entries of a segment after seq: up to [MaxTail] of them and to
// [MaxTailBytes], but at least one where there is one.
func (l *Log) Tail(segment, seq uint64) ([]Entry, error) {
	if l.Head().Segment != segment {
		return nil, ErrSegment
	}
	var out []Entry
	size := 0
	err := l.store.Scan(segmentPrefix(segment), logKey(segment, seq), func(_, slot []byte) (bool, error) {
		raw, err := l.set.raw(string(slot))
		if err != nil {
			return false, err
		}
		e, err := decodeEntry(raw)
		if err != nil {
			return false, err
		}
		if size += len(raw); size > MaxTailBytes && len(out) > 0 {
			return false, nil
		}
		out = append(out, e)
		return len(out) < MaxTail, nil
	})
	return out, err
}
