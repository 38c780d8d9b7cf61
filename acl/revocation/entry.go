package revocation

import (
	"errors"
	"fmt"
	"maps"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits.
const (
	MaxEntry     = 36 << 10 // bytes; the largest identity document fits
	MaxTail      = 200      // entries in one answer
	MaxTailBytes = 3 << 20  // of the entries in one answer, which has at least one
	maxReason    = 256
)

// ErrEntry reports an entry that does not verify.
var ErrEntry = errors.New("the statement does not verify")

// Entry is a replicated statement as it travels. Nothing in it is verified.
type Entry struct {
	_         struct{} `cbor:",toarray"`
	Statement []byte
	Identity  []byte // document of the signer; empty where validators signed
}

// Fact is what a verified entry says. It never changes; its fields must not be
// written.
type Fact struct {
	Kind     statement.Kind
	ID       statement.ID   // of the statement
	Slot     []byte         // unique among the facts of Kind; the id, where nil
	Subjects []statement.ID // what it is about, and what finds it again
	Signer   statement.ID   // identity that signed; zero where validators did
	Record   statement.ID   // committee record whose validators signed; zero where an identity did
	Body     any            // *Revocation, *Erasure, *Hold, []*identity.Record, or what a plugged verifier has made

	asleep bool // nothing but a place: the record does not count, Body is the Entry
}

// Verifier checks entries of one kind, whose form it alone knows. For statements
// of validators it returns the error of [trust.Chain.ByID] wrapped, so that one
// whose record has retired is told from one that was forged.
type Verifier func(e Entry, chain *trust.Chain) (*Fact, error)

// Kinds are the kinds that a network replicates beside those of this package.
type Kinds map[statement.Kind]Verifier

func (k Kinds) withOwn() Kinds {
	all := maps.Clone(k)
	if all == nil {
		all = Kinds{}
	}
	all[KindRevocation], all[KindErasure], all[KindHold] = revocationFact, erasureFact, holdFact
	all[identity.KindDevice], all[identity.KindRecovery] = identityFact, identityFact
	return all
}

// verify checks an entry of whatever kind. Its cost is bounded by [MaxEntry].
func (k Kinds) verify(e Entry, chain *trust.Chain) (*Fact, error) {
	s, err := e.parse()
	if err != nil {
		return nil, err
	}
	for kind, verify := range k {
		if !s.Is(kind) {
			continue
		}
		f, err := verify(e, chain)
		if err != nil {
			if !errors.Is(err, ErrEntry) {
				err = fmt.Errorf("%w: %w", ErrEntry, err)
			}
			return nil, err
		}
		if f.Kind != kind || f.ID != s.ID() {
			return nil, fmt.Errorf("%w: its verifier speaks of another statement", ErrEntry)
		}
		if f.Slot == nil {
			f.Slot = f.ID[:]
		}
		return f, nil
	}
	return nil, fmt.Errorf("%w: this network replicates no such kind", ErrEntry)
}

// sleeping keeps a place for an entry whose committee record does not count: a
// recovery may make the record one of its ancestors. Until then it says nothing.
// Its signatures cannot be verified, so that the place is that of the whole entry:
// a forgery takes nobody else's.
func (k Kinds) sleeping(e Entry) (*Fact, error) {
	s, err := e.parse()
	if err != nil {
		return nil, err
	}
	for kind := range k {
		if s.Is(kind) {
			place := statement.Hash("sleeping statement", e.bytes())
			return &Fact{Kind: kind, ID: s.ID(), Slot: place[:], Body: e, asleep: true}, nil
		}
	}
	return nil, fmt.Errorf("%w: this network replicates no such kind", ErrEntry)
}

// parse reads the statement of an entry within the limits.
func (e Entry) parse() (*statement.Statement, error) {
	if len(e.Statement)+len(e.Identity) > MaxEntry {
		return nil, fmt.Errorf("%w: it is too long", ErrEntry)
	}
	s, err := statement.Parse(e.Statement)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return s, nil
}

// signedBy reads a statement of a kind into body, part of which is signer, and
// checks that the identity in the entry is the signer and that its device signed.
func (e Entry) signedBy(kind statement.Kind, body any, signer *statement.ID) (statement.ID, error) {
	s, err := e.parse()
	if err != nil {
		return statement.ID{}, err
	}
	if err := s.Peek(kind, body); err != nil {
		return statement.ID{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	id, err := identity.Parse(e.Identity)
	if err != nil {
		return statement.ID{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if *signer != id.ID() {
		return statement.ID{}, fmt.Errorf("%w: it comes with another identity's record", ErrEntry)
	}
	if err := id.Verify(kind, s); err != nil {
		return statement.ID{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return s.ID(), nil
}

// uncounted reports an entry whose committee record does not count here.
func uncounted(err error) bool {
	return errors.Is(err, trust.ErrRetired) || errors.Is(err, trust.ErrRecord)
}

func (e Entry) bytes() []byte {
	b, err := statement.Marshal(e)
	if err != nil {
		panic("revocation: own entry does not encode: " + err.Error()) // byte strings only
	}
	return b
}

func decodeEntry(raw []byte) (e Entry, err error) {
	return e, statement.Unmarshal(raw, &e)
}

func sign(kind statement.Kind, body any, signer *identity.Identity, device statement.PrivateKey) (Entry, error) {
	if _, ok := signer.DeviceIndex(device.Public()); !ok {
		return Entry{}, errors.New("this device does not belong to the identity")
	}
	s, err := identity.Sign(kind, body, device)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Statement: s.Bytes(), Identity: signer.Record()}, nil
}

// slot is the key of a fact in a set, below a prefix.
func (f *Fact) slot() string { return slotKey(f.Kind, f.Slot) }

func slotKey(kind statement.Kind, slot []byte) string { return string(kind) + "/" + string(slot) }
