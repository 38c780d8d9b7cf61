package event

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// DigestStep is the unit in which leaves grow: they hold 8, 16 or 24 digests,
// whatever number of claims there is.
const DigestStep = 8

// leafVersion is the first element of every leaf.
const leafVersion = 1

// ErrLeaf reports bytes that are no leaf of an event.
var ErrLeaf = errors.New("it is not the leaf of an event")

// Pseudonym stands for one person in one log for one quarter. The zero value
// stands for nobody.
type Pseudonym [16]byte

// Digest is the SHA-256 of a disclosure, or 32 random bytes.
type Digest [32]byte

// Leaf is what the log keeps of an event. It holds nothing about a person that
// could not be forgotten by others forgetting it.
type Leaf struct {
	Time    int64 // Unix milliseconds
	Type    Type
	Action  Action // may be a word that this version does not know
	Outcome Outcome
	Rule    string
	Actor   Pseudonym
	Digests []Digest // sorted
}

// stored is the encoding of a Leaf.
type stored struct {
	_       struct{} `cbor:",toarray"`
	Version uint16
	Time    int64
	Type    Type
	Action  string
	Outcome Outcome
	Rule    string
	Actor   []byte
	Digests []Digest
}

func (l *Leaf) encode() ([]byte, error) {
	s := stored{
		Version: leafVersion, Time: l.Time, Type: l.Type, Action: string(l.Action), Outcome: l.Outcome, Rule: l.Rule, Digests: l.Digests,
	}
	if l.Actor != (Pseudonym{}) {
		s.Actor = l.Actor[:]
	}
	return statement.Marshal(s)
}

// ParseLeaf decodes the bytes of a leaf. It refuses everything that
// [Event.Commit] does not write, but for actions and types of later versions.
func ParseLeaf(raw []byte) (*Leaf, error) {
	s, err := readStored(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLeaf, err)
	}
	l := &Leaf{Time: s.Time, Type: s.Type, Action: Action(s.Action), Outcome: s.Outcome, Rule: s.Rule, Digests: s.Digests}
	switch {
	case s.Version != leafVersion:
		return nil, fmt.Errorf("%w: version %d is not known here", ErrLeaf, s.Version)
	case s.Type < 100 || !word(s.Action, maxAction) || !s.Outcome.valid() || !validRule(s.Rule):
		return nil, fmt.Errorf("%w: a field is outside of what is allowed", ErrLeaf)
	case len(s.Digests) == 0 || len(s.Digests)%DigestStep != 0:
		return nil, fmt.Errorf("%w: %d digests", ErrLeaf, len(s.Digests))
	}
	if known, ok := types[l.Action]; ok && known != l.Type {
		return nil, fmt.Errorf("%w: its action and type do not belong together", ErrLeaf)
	}
	if len(s.Actor) > 0 {
		if len(s.Actor) != len(l.Actor) || Pseudonym(s.Actor) == (Pseudonym{}) {
			return nil, fmt.Errorf("%w: its actor is no pseudonym", ErrLeaf)
		}
		l.Actor = Pseudonym(s.Actor)
	}
	for i := range l.Digests[1:] {
		if compare(l.Digests[i], l.Digests[i+1]) >= 0 {
			return nil, fmt.Errorf("%w: its digests are not sorted", ErrLeaf)
		}
	}
	return l, nil
}

// readStored reads what [statement.Marshal] wrote of a stored. Logs are read as a
// whole, so this is where the time goes.
func readStored(raw []byte) (*stored, error) {
	r := statement.NewReader(raw)
	if r.List(8) != 8 {
		return nil, statement.ErrMalformed
	}
	s := &stored{
		Version: uint16(r.Uint(math.MaxUint16)), Time: r.Int(), Type: Type(r.Uint(math.MaxUint32)), Action: r.Text(),
		Outcome: Outcome(r.Uint(math.MaxUint8)), Rule: r.Text(), Actor: r.Bytes(),
	}
	s.Digests = make([]Digest, r.List(MaxClaims))
	for i := range s.Digests {
		if digest := r.Bytes(); len(digest) == len(s.Digests[i]) {
			s.Digests[i] = Digest(digest)
		} else {
			return nil, statement.ErrMalformed
		}
	}
	return s, r.Done()
}

func compare(a, b Digest) int { return bytes.Compare(a[:], b[:]) }

// Commit gives the leaf of an event and a disclosure for each of its claims, in
// their order. as is what stands for the actor. The error is [ErrEvent].
func (e *Event) Commit(as Pseudonym) (leaf []byte, disclosures []Disclosure, err error) {
	if err := e.check(); err != nil {
		return nil, nil, err
	}
	if (as == Pseudonym{}) != (e.Actor == statement.ID{}) {
		return nil, nil, fmt.Errorf("%w: an actor has a pseudonym, and nobody has none", ErrEvent)
	}
	digests := make([]Digest, max(1, (len(e.Claims)+DigestStep-1)/DigestStep)*DigestStep)
	salts := make([]byte, saltSize*len(e.Claims))
	rand.Read(salts)
	for i, c := range e.Claims {
		d := disclose(salts[i*saltSize:][:saltSize], c)
		disclosures = append(disclosures, d)
		digests[i] = d.Digest()
	}
	for i := range digests[len(e.Claims):] {
		rand.Read(digests[len(e.Claims)+i][:])
	}
	slices.SortFunc(digests, compare)
	l := Leaf{
		Time: e.Time, Type: types[e.Action], Action: e.Action, Outcome: e.Outcome, Rule: e.Rule, Actor: as, Digests: digests,
	}
	leaf, err = l.encode()
	return leaf, disclosures, err
}
