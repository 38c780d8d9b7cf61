package trust

import (
	"bytes"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// SuccessorSigners is the list that the indexes of a later record's signatures
// point into: its own validators, its own root keys, then the validators and the
// root keys of the record before. A key that stands in several places signs once.
func (r *Record) SuccessorSigners(before *Committee) []statement.PublicKey {
	return append(r.Signers(), before.Signers()...)
}

// checkAfter holds what a record must be to follow another, but for signatures:
// a succession, a skip, or a recovery, which alone raises the root epoch.
func (r *Record) checkAfter(before *Committee) error {
	switch {
	case !bytes.Equal(r.Previous, before.id[:]):
		return fmt.Errorf("%w: it follows another record", ErrRecord)
	case r.Version != before.Version+1 || r.Version == 0:
		return fmt.Errorf("%w: version %d cannot follow version %d", ErrRecord, r.Version, before.Version)
	case r.Name != before.Name:
		return fmt.Errorf("%w: a network keeps its name", ErrRecord)
	case r.recovers(before) && r.Skip:
		return fmt.Errorf("%w: a recovery skips nothing", ErrRecord)
	case r.RootEpoch != before.RootEpoch && !r.recovers(before):
		return fmt.Errorf("%w: root epoch %d cannot follow root epoch %d", ErrRecord, r.RootEpoch, before.RootEpoch)
	case !r.recovers(before) && !r.sameRoots(before):
		return fmt.Errorf("%w: only a recovery changes root keys or their threshold", ErrRecord)
	}
	if r.Skip {
		want := before.Record
		want.Version, want.Previous, want.Skip, want.Oldest = r.Version, r.Previous, true, nil
		a, errA := statement.Marshal(want)
		b, errB := statement.Marshal(r)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			return fmt.Errorf("%w: a skip changes nothing but the version", ErrRecord)
		}
	}
	if _, err := r.oldestAfter(before); err != nil {
		return err
	}
	return r.check()
}

// recovers reports a record of the next root epoch. The largest epoch has no next.
func (r *Record) recovers(before *Committee) bool {
	return r.RootEpoch == before.RootEpoch+1 && r.RootEpoch != 0
}

func (r *Record) sameRoots(before *Committee) bool {
	return r.RootThreshold == before.RootThreshold && slices.Equal(r.RootKeys, before.RootKeys)
}

// oldestAfter finds the oldest record that counts once r stands. A record cannot
// hold its own id, so a recovery that names none means itself (the result is
// nil); any other record that names none leaves the matter as it was. What no
// longer counts never counts again.
func (r *Record) oldestAfter(before *Committee) (*Committee, error) {
	if len(r.Oldest) == 0 {
		if r.recovers(before) {
			return nil, nil
		}
		return before.oldest, nil
	}
	for c := before; c != nil; c = c.before {
		if bytes.Equal(r.Oldest, c.id[:]) {
			return c, nil
		}
		if c == before.oldest {
			break
		}
	}
	return nil, fmt.Errorf("%w: the oldest record that it names does not count or does not lie before it", ErrRecord)
}

// after verifies the record that follows c: its rules, then its signatures.
func (c *Committee) after(s *statement.Statement, r *Record, raw []byte) (*Committee, error) {
	if err := r.checkAfter(c); err != nil {
		return nil, err
	}
	if missing := MissingAfter(s, r, c); len(missing) > 0 {
		return nil, fmt.Errorf("%w: signatures are missing: %v", ErrRecord, missing)
	}
	next := &Committee{Record: *r, id: s.ID(), network: c.network, raw: slices.Clone(raw), before: c, start: c.start}
	if r.recovers(c) {
		next.start = next
	}
	oldest, err := r.oldestAfter(c)
	if err != nil {
		return nil, err
	}
	if next.oldest = oldest; oldest == nil {
		next.oldest = next
	}
	return next, nil
}

// MissingAfter lists, in words, whose valid signatures a record still lacks to
// follow another. A succession needs K of the validators before and K of its
// own; a skip the root threshold; a recovery the root threshold before, its own
// where it changes the root keys, and K of its own validators.
func MissingAfter(s *statement.Statement, r *Record, before *Committee) []string {
	keys := r.SuccessorSigners(before)
	signed := make(map[statement.PublicKey]bool)
	for _, i := range s.VerifyEach(KindRecord, keys) {
		signed[keys[i]] = true
	}
	var out []string
	validators := func(list []statement.PublicKey, k int, of string) {
		var absent []string
		have := 0
		for i, key := range list {
			if signed[key] {
				have++
			} else {
				absent = append(absent, fmt.Sprintf("validator %d of %s", i+1, of))
			}
		}
		if have < k {
			out = append(out, fmt.Sprintf("%d more of %v", k-have, absent))
		}
	}
	roots := func(list []statement.PublicKey, threshold int, of string) {
		have := 0
		for _, key := range list {
			if signed[key] {
				have++
			}
		}
		if have < threshold {
			out = append(out, fmt.Sprintf("%d of %d root keys of %s", threshold-have, threshold, of))
		}
	}
	const own, old = "the new committee", "the committee before"
	switch {
	case r.recovers(before):
		roots(before.RootKeys, int(before.RootThreshold), old)
		if !r.sameRoots(before) {
			roots(r.RootKeys, int(r.RootThreshold), own)
		}
		validators(r.ValidatorKeys(), int(r.Numbers.K), own)
	case r.Skip:
		roots(before.RootKeys, int(before.RootThreshold), old)
	default:
		validators(before.ValidatorKeys(), int(before.Numbers.K), old)
		validators(r.ValidatorKeys(), int(r.Numbers.K), own)
	}
	return out
}

// DraftAfter makes an unsigned record that follows before. The caller sets what
// changes; version, previous record and name are filled in.
func DraftAfter(before *Committee, r Record) (*statement.Statement, error) {
	r.Version, r.Previous, r.Name = before.Version+1, slices.Clone(before.id[:]), before.Name
	if err := r.checkAfter(before); err != nil {
		return nil, err
	}
	return statement.New(KindRecord, r)
}
