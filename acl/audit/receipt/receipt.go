// Package receipt is what a validator hands to whoever asked it for something: a
// signed promise that what it decided stands in its audit log.
//
// # The statement
//
// A statement of [Kind], signed by the log's key and by nothing else, whose body is
//
//	CBOR [network, origin, action, request, for, first, hashes, outcomes, time, by]
//
// network and origin say whose log it is, request is the digest of what was asked,
// for the identity that proved to ask (zero: nobody did). The entries stand at the
// indexes first, first+1, ...; each has 32 bytes in hashes, its leaf's (RFC 6962), and
// one in outcomes, how it ended. A receipt is made when the entries are durable, and before the answer leaves.
//
// # The promise
//
// By the time by, a moment after time, the entries are under a checkpoint that the
// validator published. From then on whoever holds the receipt may redeem it for a
// C2SP tlog-proof of each entry ([Receipt.Prove]). A validator that cannot give one
// has signed something that is not so: the receipt is evidence against it, and so is
// any checkpoint of the same log under which the entry is another.
//
// # What it does not say
//
// Nothing of the entry but its hash and outcome: a denial must not tell why, or that
// there is something. What was asked is known to whoever holds the request whose
// digest it is.
package receipt

import (
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

// Kind is the kind of receipts.
const Kind statement.Kind = "audit-receipt"

// Delay is how long a validator may take to publish a checkpoint over an entry.
const Delay = time.Minute

// MaxEntries bounds a receipt: the objects of one request for a release.
const MaxEntries = 1000

// MaxBytes bounds the encoding of a receipt.
const MaxBytes = 64 << 10

const maxOrigin = 256 // bytes

// ErrReceipt reports bytes that are no receipt, or not one of this log.
var ErrReceipt = errors.New("the receipt does not verify")

// Receipt is the body of the statement.
type Receipt struct {
	_        struct{} `cbor:",toarray"`
	Network  statement.ID
	Origin   string
	Action   event.Action
	Request  statement.ID
	For      statement.ID
	First    int64
	Hashes   []byte // 32 of each entry
	Outcomes []byte // one of each entry
	Time     int64  // Unix milliseconds, by the validator's clock
	By       int64  // likewise
}

// Add adds the next entry.
func (r *Receipt) Add(hash tlog.Hash, outcome event.Outcome) {
	r.Hashes, r.Outcomes = append(r.Hashes, hash[:]...), append(r.Outcomes, byte(outcome))
}

// Entries is how many entries there are.
func (r *Receipt) Entries() int { return len(r.Outcomes) }

// Hash is the hash of entry i, from 0.
func (r *Receipt) Hash(i int) tlog.Hash { return tlog.Hash(r.Hashes[i*tlog.HashSize:]) }

// OutcomeOf is how entry i ended.
func (r *Receipt) OutcomeOf(i int) event.Outcome { return event.Outcome(r.Outcomes[i]) }

// Issuer makes the receipts of one log.
type Issuer struct {
	Network statement.ID
	Origin  string
	Key     statement.PrivateKey // of the log
}

// Issue signs a receipt for entries that are durable. It costs one signature, however
// many entries there are.
func (i *Issuer) Issue(r Receipt, now time.Time) ([]byte, error) {
	r.Network, r.Origin = i.Network, i.Origin
	r.Time, r.By = now.UnixMilli(), now.Add(Delay).UnixMilli()
	if err := r.check(); err != nil {
		return nil, err
	}
	s, err := statement.Sign(Kind, r, i.Key)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}

// Peek reads a receipt and verifies no signature: to learn whose key to ask for.
func Peek(raw []byte) (*Receipt, statement.ID, error) {
	if len(raw) > MaxBytes {
		return nil, statement.ID{}, fmt.Errorf("%w: it has more than %d bytes", ErrReceipt, MaxBytes)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, statement.ID{}, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	var r Receipt
	if err := s.Peek(Kind, &r); err != nil {
		return nil, statement.ID{}, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return &r, s.ID(), r.check()
}

// Parse verifies a receipt of the log that is signed with a key.
func Parse(raw []byte, log statement.PublicKey) (*Receipt, statement.ID, error) {
	r, id, err := Peek(raw)
	if err != nil {
		return nil, id, err
	}
	s, err := statement.Parse(raw)
	if err == nil {
		err = s.Verify(Kind, []statement.PublicKey{log}, 1)
	}
	if err != nil {
		return nil, id, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return r, id, nil
}

func (r *Receipt) check() error {
	_, known := r.Action.Type()
	n := r.Entries()
	ok := known && n > 0 && n <= MaxEntries && len(r.Hashes) == n*tlog.HashSize && r.First >= 0 && r.Time >= 0 && r.By >= r.Time
	for i := range n {
		o := r.OutcomeOf(i)
		ok = ok && o >= event.OK && o <= event.Failed
	}
	if !ok || r.Origin == "" || len(r.Origin) > maxOrigin {
		return fmt.Errorf("%w: a field is outside of what is allowed", ErrReceipt)
	}
	return nil
}

// Prove verifies a proof that entry i of the receipt stands in the log, under a
// checkpoint that its key signed, which it gives.
func (r *Receipt) Prove(i int, b *audit.Binding, proof []byte) (audit.Checkpoint, error) {
	if i < 0 || i >= r.Entries() || b.Origin != r.Origin {
		return audit.Checkpoint{}, fmt.Errorf("%w: it has no such entry, or is of another log", ErrReceipt)
	}
	return b.CheckProof(r.First+int64(i), r.Hash(i), proof)
}

// Outcome is how the whole request ended: OK where anything was done.
func (r *Receipt) Outcome() event.Outcome {
	for i := range r.Entries() {
		if r.OutcomeOf(i) == event.OK {
			return event.OK
		}
	}
	return r.OutcomeOf(0)
}
