package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds of erasure.
const (
	KindErasure statement.Kind = "erasure" // signed by a device of the owner
	KindErased  statement.Kind = "erased"  // a receipt, signed by a validator
)

// MaxErasedKeys is how many keys one erasure names.
const MaxErasedKeys = 500

// maxReceipt is the size in bytes of a signed [Receipt], with room to spare.
const maxReceipt = 1 << 10

// ErrReceipt reports a receipt that does not verify.
var ErrReceipt = errors.New("the receipt of an erasure does not verify")

// Erasure is the owner's order to destroy the shares of keys. Nothing takes it
// back. It names keys by their nonces: an id that is derived from the owner and
// a nonce cannot be another owner's.
type Erasure struct {
	_       struct{} `cbor:",toarray"`
	Network statement.ID
	Owner   statement.ID
	Keys    []envelope.Nonce // strictly increasing, 1 to [MaxErasedKeys]
	Reason  string
	Time    int64 // unix seconds, informative
	Nonce   [16]byte
}

// KeyIDs are the ids of the keys, in the order of their nonces.
func (e *Erasure) KeyIDs() []statement.ID {
	out := make([]statement.ID, len(e.Keys))
	for i, n := range e.Keys {
		out[i] = envelope.KeyID(e.Network, e.Owner, n)
	}
	return out
}

func (e *Erasure) check() error {
	if len(e.Keys) == 0 || len(e.Keys) > MaxErasedKeys || len(e.Reason) > maxReason {
		return fmt.Errorf("%w: an erasure names 1 to %d keys, its reason has at most %d bytes", ErrEntry, MaxErasedKeys, maxReason)
	}
	for i := range e.Keys[1:] {
		if bytes.Compare(e.Keys[i][:], e.Keys[i+1][:]) >= 0 {
			return fmt.Errorf("%w: its keys are not in order", ErrEntry)
		}
	}
	return nil
}

// SignErasure makes the entry of an erasure by its owner. Keys may come in any
// order and repeat.
func SignErasure(e Erasure, owner *identity.Identity, device statement.PrivateKey) (Entry, error) {
	e.Owner, e.Keys = owner.ID(), slices.Clone(e.Keys)
	slices.SortFunc(e.Keys, func(a, b envelope.Nonce) int { return bytes.Compare(a[:], b[:]) })
	e.Keys = slices.Compact(e.Keys)
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	return sign(KindErasure, e, owner, device)
}

// VerifyErasure checks the form of an erasure and that a device of the owner
// signed it, as the identity document in the entry shows the owner. A device that
// was removed since is still in an old document: whoever destroys anything folds
// in the owner's newest records first, or waits until [Set.Vouched].
func (e Entry) VerifyErasure(network statement.ID) (*Erasure, statement.ID, error) {
	var b Erasure
	id, err := e.signedBy(KindErasure, &b, &b.Owner)
	if err != nil {
		return nil, statement.ID{}, err
	}
	if b.Network != network {
		return nil, statement.ID{}, fmt.Errorf("%w: it is for another network", ErrEntry)
	}
	if err := b.check(); err != nil {
		return nil, statement.ID{}, err
	}
	return &b, id, nil
}

func erasureFact(e Entry, chain *trust.Chain) (*Fact, error) {
	b, id, err := e.VerifyErasure(chain.Network())
	if err != nil {
		return nil, err
	}
	return &Fact{Kind: KindErasure, ID: id, Subjects: b.KeyIDs(), Signer: b.Owner, Body: b}, nil
}

// Receipt is what a validator signs after its share of a key is destroyed, or
// after it has made sure that it never had one and accepts none any more.
type Receipt struct {
	_         struct{} `cbor:",toarray"`
	Network   statement.ID
	Erasure   statement.ID // the statement's id
	Key       statement.ID
	Record    statement.ID // whose validator signs
	Validator uint16       // index in the record
	Time      int64        // unix seconds
}

// SignReceipt makes a receipt. The share must be destroyed, durably, before.
func SignReceipt(r Receipt, signing statement.PrivateKey) ([]byte, error) {
	s, err := statement.New(KindErased, r)
	if err != nil {
		return nil, err
	}
	s.AddSignature(r.Validator, signing)
	return s.Bytes(), nil
}

// ParseReceipt verifies a receipt against the record that it names. The error is
// [ErrReceipt], with what the chain says of the record.
func ParseReceipt(raw []byte, chain *trust.Chain) (*Receipt, error) {
	if len(raw) > maxReceipt {
		return nil, fmt.Errorf("%w: it is too long", ErrReceipt)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	var r Receipt
	if err := s.Peek(KindErased, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if r.Network != chain.Network() {
		return nil, fmt.Errorf("%w: it is of another network", ErrReceipt)
	}
	c, err := chain.ByID(r.Record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if len(s.Signers()) != 1 || c.VerifyOne(KindErased, s, int(r.Validator)) != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, statement.ErrSignature)
	}
	return &r, nil
}

// CheckErased says whether receipts prove an erasure to somebody who has nothing
// but them, the erasure and the committee records: for each of its keys, N-T+1+F
// validators of one record have destroyed their shares. F of those may lie; then
// T-1 shares are left at most, which open nothing. Receipts of other erasures,
// and those that do not verify, do not count. The error says which key lacks how
// many.
func CheckErased(e Entry, receipts [][]byte, chain *trust.Chain) (*Erasure, error) {
	b, id, err := e.VerifyErasure(chain.Network())
	if err != nil {
		return nil, err
	}
	by := map[statement.ID]map[statement.ID]map[uint16]bool{} // record, key, validator
	for _, raw := range receipts {
		r, err := ParseReceipt(raw, chain)
		if err != nil || r.Erasure != id {
			continue
		}
		if by[r.Record] == nil {
			by[r.Record] = map[statement.ID]map[uint16]bool{}
		}
		if by[r.Record][r.Key] == nil {
			by[r.Record][r.Key] = map[uint16]bool{}
		}
		by[r.Record][r.Key][r.Validator] = true
	}
	for _, key := range b.KeyIDs() {
		missing := chain.Current().Numbers.Effective()
		for record, keys := range by {
			if c, err := chain.ByID(record); err == nil {
				missing = min(missing, c.Numbers.Effective()-len(keys[key]))
			}
		}
		if missing > 0 {
			return nil, fmt.Errorf("%w: the key %s lacks %d of them", ErrReceipt, key, missing)
		}
	}
	return b, nil
}
