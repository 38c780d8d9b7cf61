package revocation

import (
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
)

// start makes the log take entries: it has heard from enough others where they
// have seen it. Where it stands at or past all of that, it goes on; otherwise it
// was rolled back, and goes on in a new segment. It reports whether it has opened
// one. The caller has pulled the others' logs before.
func (l *Log) start(seen []state) (opened bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready {
		return false, nil
	}
	behind := false
	adopted := append(slices.Clone(l.state.Adopted), l.state.At)
	for _, w := range seen {
		if !w.valid() {
			continue
		}
		short, err := l.behind(w)
		if err != nil {
			return false, err
		}
		behind = behind || short
		for i, p := range append(slices.Clone(w.Adopted), w.At) {
			if i >= len(adopted) {
				adopted = append(adopted, p)
			} else if p.Seq >= adopted[i].Seq { // what was seen before what is here
				adopted[i] = p
			}
		}
	}
	if behind {
		if err := l.open(adopted); err != nil {
			return false, err
		}
	} else if err := l.passOn(l.set.all()); err != nil {
		return false, err
	}
	l.ready = true
	return behind, nil
}

// behind reports whether somebody has seen of this log what it does not have.
func (l *Log) behind(w state) (bool, error) {
	own := l.state
	switch {
	case w.At.Segment > own.At.Segment:
		return true, nil
	case w.At.Segment < own.At.Segment:
		a := own.Adopted[w.At.Segment]
		return !a.covers(w.At), nil
	}
	head, err := l.headAt(w.At.Seq) // the end of a log that is shorter
	return head != w.At, err
}

// covers reports whether going on from p loses nothing of what was seen at q, in
// the same segment.
func (p Position) covers(q Position) bool {
	return p.Segment == q.Segment && (p.Seq > q.Seq || p == q)
}

// headAt recomputes the position after seq entries of the segment.
func (l *Log) headAt(seq uint64) (Position, error) {
	at := Position{Segment: l.state.At.Segment, Head: firstHead(l.state.Adopted)}
	if seq == 0 {
		return at, nil
	}
	err := l.store.Scan(segmentPrefix(at.Segment), nil, func(_, slot []byte) (bool, error) {
		entry, err := l.set.raw(string(slot))
		if err != nil {
			return false, err
		}
		at = at.next(entry)
		return at.Seq < seq, nil
	})
	return at, err
}

// openBatch is how many entries are written at once. The segment counts once its
// position is written, last; what a crash leaves before that is cleared by the
// next try.
const openBatch = 500

// open begins the segment after adopted positions, with all of the set in it: who
// pulls it needs no earlier one.
func (l *Log) open(adopted []Position) error {
	if len(adopted) >= MaxSegments {
		return errors.New("this validator was restored too often: it has to be replaced in the committee")
	}
	before := l.state.At.Segment
	at := Position{Segment: uint64(len(adopted)), Head: firstHead(adopted)}
	if err := l.clear(at.Segment); err != nil {
		return err
	}
	in := map[string]bool{}
	l.set.writing.Lock()
	defer l.set.writing.Unlock()
	for batch := range slices.Chunk(l.set.all(), openBatch) {
		var ops []kv.Op
		for _, f := range batch {
			entry, err := l.set.raw(f.slot())
			if err != nil {
				return err
			}
			at, in[f.slot()] = at.next(entry), true
			ops = append(ops, kv.Op{Key: logKey(at.Segment, at.Seq), Value: []byte(f.slot())})
		}
		if err := l.store.Apply(ops); err != nil {
			return err
		}
	}
	next := state{At: at, Adopted: adopted}
	op, err := stateOp(next)
	if err != nil {
		return err
	}
	if err := l.store.Apply([]kv.Op{op}); err != nil {
		return err
	}
	l.state, l.in = next, in
	if err := l.clear(before); err != nil {
		return fmt.Errorf("the segment before: %w", err)
	}
	return nil
}

// clear removes what is stored of a segment that nobody is shown.
func (l *Log) clear(segment uint64) error {
	var ops []kv.Op
	err := l.store.Scan(segmentPrefix(segment), nil, func(key, _ []byte) (bool, error) {
		ops = append(ops, kv.Op{Key: slices.Clone(key), Delete: true})
		return true, nil
	})
	if err != nil || len(ops) == 0 {
		return err
	}
	return l.store.Apply(ops)
}

// all are the facts of the set, sorted by slot.
func (s *Set) all() []*Fact {
	s.mu.RLock()
	defer s.mu.RUnlock()
	slots := make([]string, 0, len(s.facts))
	for slot := range s.facts {
		slots = append(slots, slot)
	}
	slices.Sort(slots)
	out := make([]*Fact, len(slots))
	for i, slot := range slots {
		out[i] = s.facts[slot]
	}
	return out
}
