// Package trust says whom a network believes: the committee record and the
// memberships that its validators sign.
//
// A committee record lists the validators and the numbers n, f, k, t. The id of
// the first record is the network's id; it is the only thing that a newcomer
// must be told. The rules of succession follow TUF's root rotation
// (specification, section 5.3): record N+1 is signed by K validators of record N
// and by K of its own. Offline root keys repair: a recovery raises the root epoch
// and supersedes every record of a lower one, a skip voids a version that split
// votes have stalled. [Chain] keeps the records, [Guard] keeps a signer from
// signing two for one position, [Proof] convicts one who did.
//
// Worked example: four validators, one of which may lie or be gone (f = 1).
// Three sign a grant (k), three shares open a key (t), and a revocation that
// n-t+1+f = 3 have acknowledged holds against every reader.
package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindRecord is the kind of committee records.
const KindRecord statement.Kind = "committee"

// Limits of a record.
const (
	MaxValidators = 64
	MaxRootKeys   = 16
	MaxAddresses  = 16
	maxName       = 64
	maxAddress    = 256
	maxRecipient  = 4 << 10 // characters; a hybrid recipient has 1,959
	// Lifetime is how long a record counts; it is signed again well before.
	Lifetime = 90 * 24 * time.Hour
)

// Errors that callers branch on.
var (
	ErrRecord     = errors.New("committee record does not verify")
	ErrExpired    = errors.New("committee record has expired")
	ErrInequality = errors.New("these numbers do not make a safe committee")
)

// Validator is one member of the committee. Statements of validators verify
// against these keys only; rotating a validator's devices does not touch them.
type Validator struct {
	_         struct{} `cbor:",toarray"`
	Identity  statement.ID
	Signing   statement.PublicKey // grants, memberships, records, acknowledgements
	Recipient string              // age hybrid recipient; its shares are sealed to it
	Peer      statement.PublicKey // libp2p peer key
	Addresses []string            // multiaddrs without /p2p
	Log       statement.PublicKey // signs its audit log's checkpoints
	Witness   statement.PublicKey // cosigns others' checkpoints
}

// Numbers are the committee's sizes: N validators, F of which may lie or be
// lost, K signatures for a statement, T shares for a key.
type Numbers struct {
	_          struct{} `cbor:",toarray"`
	N, F, K, T uint16
}

// Check holds the inequalities of the design:
//
//	n >= 3f+1,  2k >= n+f+1,  k <= n-f,  2f+1 <= t <= n-f,  t <= k
//
// The error names the one that fails, with the numbers in it.
func (m Numbers) Check() error {
	n, f, k, t := int(m.N), int(m.F), int(m.K), int(m.T)
	for _, rule := range []struct {
		ok   bool
		text string
	}{
		{n >= 1 && n <= MaxValidators, fmt.Sprintf("1 <= n <= %d", MaxValidators)},
		{n >= 3*f+1, "n >= 3f+1"},
		{2*k >= n+f+1, "2k >= n+f+1"},
		{k <= n-f, "k <= n-f"},
		{t >= 2*f+1, "t >= 2f+1"},
		{t <= n-f, "t <= n-f"},
		{t <= k, "t <= k"},
	} {
		if !rule.ok {
			return fmt.Errorf("%w: n=%d f=%d k=%d t=%d break %s", ErrInequality, n, f, k, t, rule.text)
		}
	}
	return nil
}

// Default numbers for n validators: f as large as n allows, k = t as small as f
// allows.
func Default(n int) Numbers {
	f := (n - 1) / 3
	k := max((n+f+2)/2, 2*f+1)
	return Numbers{N: uint16(n), F: uint16(f), K: uint16(k), T: uint16(k)}
}

// Effective is how many acknowledgements make a revocation, an erasure or a
// lineage head hold against every reader: n-t+1 honest ones, so n-t+1+f.
func (m Numbers) Effective() int { return int(m.N) - int(m.T) + 1 + int(m.F) }

// Record is the body of a committee record.
type Record struct {
	_             struct{} `cbor:",toarray"`
	RootEpoch     uint64
	Version       uint64
	Previous      []byte // id of the record before, empty in a genesis
	Name          string
	Numbers       Numbers
	Validators    []Validator
	RootKeys      []statement.PublicKey // offline; they repair
	RootThreshold uint16
	Oldest        []byte // id of the oldest record that still counts; empty: all
	PolicyHead    statement.ID
	Skip          bool  // root-signed: voids this version
	NotBefore     int64 // unix seconds
	Expires       int64
}

// Committee is a record whose signatures and rules have been checked.
type Committee struct {
	Record
	id      statement.ID
	network statement.ID
	raw     []byte
	before  *Committee // nil for a genesis
	start   *Committee // the first record of its root epoch
	oldest  *Committee // the oldest record that counts where this one is the newest
}

// Draft makes the unsigned genesis of a network.
func Draft(r Record) (*statement.Statement, error) {
	if err := r.checkGenesis(); err != nil {
		return nil, err
	}
	return statement.New(KindRecord, r)
}

// Signers is the list that the indexes of a record's signatures point into: the
// validators in order, then the root keys.
func (r *Record) Signers() []statement.PublicKey {
	return append(r.ValidatorKeys(), r.RootKeys...)
}

// ValidatorKeys are the validators' signing keys in order.
func (r *Record) ValidatorKeys() []statement.PublicKey {
	keys := make([]statement.PublicKey, len(r.Validators))
	for i, v := range r.Validators {
		keys[i] = v.Signing
	}
	return keys
}

// checkGenesis stands before every signature too: what a validator signs as the
// beginning of a network must never count as a later record of another.
func (r *Record) checkGenesis() error {
	if r.Version != 1 || r.RootEpoch != 0 || len(r.Previous) != 0 || len(r.Oldest) != 0 || r.Skip {
		return fmt.Errorf("%w: it is not a genesis, which follows no record", ErrRecord)
	}
	return r.check()
}

func (r *Record) check() error {
	if err := r.Numbers.Check(); err != nil {
		return err
	}
	if int(r.Numbers.N) != len(r.Validators) {
		return fmt.Errorf("%w: n is %d, but %d validators are listed", ErrRecord, r.Numbers.N, len(r.Validators))
	}
	if r.Name == "" || len(r.Name) > maxName || strings.ContainsFunc(r.Name, unprintable) {
		return fmt.Errorf("%w: a network's name has 1 to %d bytes, all printable", ErrRecord, maxName)
	}
	if len(r.RootKeys) == 0 || len(r.RootKeys) > MaxRootKeys || r.RootThreshold == 0 || int(r.RootThreshold) > len(r.RootKeys) {
		return fmt.Errorf("%w: a network needs 1 to %d root keys and a threshold among them", ErrRecord, MaxRootKeys)
	}
	if r.Expires <= r.NotBefore || uint64(r.Expires)-uint64(r.NotBefore) > uint64(Lifetime/time.Second) { // no overflow
		return fmt.Errorf("%w: it must expire, at most %d days after it begins", ErrRecord, int(Lifetime.Hours()/24))
	}
	return r.checkKeys()
}

func unprintable(c rune) bool { return !unicode.IsPrint(c) }

// checkKeys refuses any key that stands in two places: a key counts once, by
// its bytes (as go-tuf does), and one person must not be two validators.
func (r *Record) checkKeys() error {
	keys, ids, recipients := onceEach[statement.PublicKey]{}, onceEach[statement.ID]{}, onceEach[string]{}
	for _, v := range r.Validators {
		if err := v.check(keys); err != nil {
			return err
		}
		if !ids.add(v.Identity) {
			return fmt.Errorf("%w: one identity is two validators", ErrRecord)
		}
		if !recipients.add(v.Recipient) {
			return fmt.Errorf("%w: two validators' shares would go to one recipient", ErrRecord)
		}
	}
	for _, k := range r.RootKeys {
		if !keys.add(k) {
			return errKeyTwice
		}
	}
	return nil
}

var errKeyTwice = fmt.Errorf("%w: a key is missing or stands in two places", ErrRecord)

// onceEach is what has been seen; it takes every value but the zero one, once.
type onceEach[T comparable] map[T]bool

func (o onceEach[T]) add(v T) bool {
	var zero T
	if o[v] || v == zero {
		return false
	}
	o[v] = true
	return true
}

// check holds what a validator must be by itself, and adds its keys to keys.
func (v *Validator) check(keys onceEach[statement.PublicKey]) error {
	for _, k := range []statement.PublicKey{v.Signing, v.Peer, v.Log, v.Witness} {
		if !keys.add(k) {
			return errKeyTwice
		}
	}
	if len(v.Recipient) > maxRecipient || !strings.HasPrefix(v.Recipient, "age1pq1") {
		return fmt.Errorf("%w: a validator's recipient is an age hybrid recipient", ErrRecord)
	}
	return checkAddresses(v.Addresses)
}

func checkAddresses(list []string) error {
	if len(list) > MaxAddresses || slices.ContainsFunc(list, func(a string) bool { return len(a) > maxAddress }) {
		return fmt.Errorf("%w: too many or too long addresses", ErrRecord)
	}
	return nil
}

// Genesis verifies the first record of a network: version 1, nothing before it,
// signed by every validator (each agrees to serve) and by the root threshold.
// The caller compares [Committee.Network] with the id that it was told.
func Genesis(raw []byte) (*Committee, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	var r Record
	if err := s.Peek(KindRecord, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if err := r.checkGenesis(); err != nil {
		return nil, err
	}
	if missing := Missing(s, &r); len(missing) > 0 {
		return nil, fmt.Errorf("%w: signatures are missing: %v", ErrRecord, missing)
	}
	c := &Committee{Record: r, id: s.ID(), network: s.ID(), raw: slices.Clone(raw)} // its own first record
	c.start, c.oldest = c, c
	return c, nil
}

// Missing lists, in words, whose valid signatures a genesis still lacks.
func Missing(s *statement.Statement, r *Record) []string {
	valid := s.VerifyEach(KindRecord, r.Signers())
	var out []string
	for i := range r.Validators {
		if !slices.Contains(valid, i) {
			out = append(out, fmt.Sprintf("validator %d", i+1))
		}
	}
	roots := 0
	for _, i := range valid {
		if i >= len(r.Validators) {
			roots++
		}
	}
	if roots < int(r.RootThreshold) {
		out = append(out, fmt.Sprintf("%d of %d root keys", int(r.RootThreshold)-roots, r.RootThreshold))
	}
	return out
}

// ID is the record's id, which statements name.
func (c *Committee) ID() statement.ID { return c.id }

// Network is the id of the network's first record.
func (c *Committee) Network() statement.ID { return c.network }

// Before is the record that this one follows; a genesis follows none.
func (c *Committee) Before() (*Committee, bool) { return c.before, c.before != nil }

// Raw is the signed record.
func (c *Committee) Raw() []byte { return c.raw }

// Live reports [ErrExpired] outside the record's time.
func (c *Committee) Live(now time.Time) error {
	if t := now.Unix(); t < c.NotBefore || t >= c.Expires {
		return ErrExpired
	}
	return nil
}

// ByPeer finds a validator by its peer key.
func (c *Committee) ByPeer(peer statement.PublicKey) (index int, ok bool) {
	i := slices.IndexFunc(c.Validators, func(v Validator) bool { return v.Peer == peer })
	return i, i >= 0
}

// ByIdentity finds a validator by its identity.
func (c *Committee) ByIdentity(id statement.ID) (index int, ok bool) {
	i := slices.IndexFunc(c.Validators, func(v Validator) bool { return v.Identity == id })
	return i, i >= 0
}

// VerifyK checks that K validators signed a statement of a kind.
func (c *Committee) VerifyK(kind statement.Kind, s *statement.Statement) error {
	return s.Verify(kind, c.ValidatorKeys(), int(c.Numbers.K))
}

// VerifyOne checks that the validator at index signed a statement of a kind. It
// costs one verification, whatever other signatures the statement carries.
func (c *Committee) VerifyOne(kind statement.Kind, s *statement.Statement, index int) error {
	if index < 0 || index >= len(c.Validators) {
		return statement.ErrSignature
	}
	keys := make([]statement.PublicKey, index+1) // the zero key verifies nothing and costs nothing
	keys[index] = c.Validators[index].Signing
	if !slices.Contains(s.VerifyEach(kind, keys), index) {
		return statement.ErrSignature
	}
	return nil
}
