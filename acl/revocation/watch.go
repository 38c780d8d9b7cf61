package revocation

import (
	"bytes"
	"slices"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// move makes it known that the set says more. The caller holds mu, or is alone.
func (s *Set) move() {
	s.moves++
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Watch returns a channel that is closed at the next change: a new statement, one
// that is vouched for from now on, another committee. Who watches takes the
// channel before looking at the set.
func (s *Set) Watch() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// OfKind are all facts of a kind that count, sorted by the id of their statements.
func (s *Set) OfKind(kind statement.Kind) []*Fact {
	s.mu.RLock()
	var out []*Fact
	for _, f := range s.facts {
		if f.Kind == kind {
			out = append(out, f)
		}
	}
	s.mu.RUnlock()
	out = slices.DeleteFunc(out, func(f *Fact) bool { return !s.counts(f) })
	slices.SortFunc(out, func(a, b *Fact) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// Moves grows with [Set.Changes], and with every statement that comes to be
// vouched for: who watches it need not ask [Set.Barred] again.
func (s *Set) Moves() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.moves
}

// Barred reports whether a key is erased for ever by an order that more than one
// validator's word stands for. What a single log says stops nothing: it may be
// signed by a device that its owner has removed since.
func (s *Set) Barred(key statement.ID) bool {
	return slices.ContainsFunc(s.Facts(KindErasure, key), s.Vouched)
}
