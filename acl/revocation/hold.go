package revocation

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindHold is the kind of a [Hold], signed by K validators.
const KindHold statement.Kind = "hold"

// HoldOn says what a hold is on.
type HoldOn uint8

// What a hold may be on.
const (
	HoldKey     HoldOn = iota + 1 // one file key
	HoldLineage                   // every version of an object
	HoldScope                     // a directory or collection
)

// Hold forbids, as long as it is in force, the destruction of shares: evidence
// must not be destroyed, not even by its owner. A release is a hold with Placed
// false that names the one it ends, for ever; to hold again is a new hold. So two
// parties that know the same statements agree, in whatever order they came.
type Hold struct {
	_       struct{} `cbor:",toarray"`
	Network statement.ID
	Record  statement.ID   // committee record whose validators sign
	Owner   statement.ID   // of what is held
	On      HoldOn         // what Ref names
	Ref     envelope.Nonce // with Owner it makes the id that is held
	Placed  bool           // false: Ends is ended
	Ends    []byte         // id of the hold that is ended; empty where Placed
	Officer statement.ID   // identity that ordered it
	Reason  [32]byte       // SHA-256 of the order, which is kept elsewhere
	Time    int64          // unix seconds, informative
	Nonce   [16]byte
}

// Target is the id of the key, lineage or scope that is held.
func (h *Hold) Target() statement.ID {
	switch h.On {
	case HoldLineage:
		return envelope.LineageID(h.Network, h.Owner, h.Ref)
	case HoldScope:
		return envelope.ScopeID(h.Network, h.Owner, h.Ref)
	}
	return envelope.KeyID(h.Network, h.Owner, h.Ref)
}

// Check reports what no validator may sign.
func (h *Hold) Check() error {
	if h.On < HoldKey || h.On > HoldScope {
		return errors.New("a hold is on a key, a lineage or a scope")
	}
	if h.Owner == (statement.ID{}) || h.Officer == (statement.ID{}) {
		return errors.New("a hold names the owner and the officer")
	}
	if h.Placed && len(h.Ends) != 0 || !h.Placed && len(h.Ends) != len(statement.ID{}) {
		return errors.New("a release names the hold that it ends, and a hold ends none")
	}
	return nil
}

// Release is the unsigned statement that ends this hold, whose statement has the
// id given. Record, Officer, Reason, Time and Nonce are the caller's to set.
func (h *Hold) Release(id statement.ID) Hold {
	return Hold{Network: h.Network, Owner: h.Owner, On: h.On, Ref: h.Ref, Ends: id[:]}
}

// DraftHold makes the statement that validators sign one after the other.
func DraftHold(h Hold) (*statement.Statement, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	return statement.New(KindHold, h)
}

// VerifyHold checks a hold or a release: its form, the network, and K signatures
// of the record that it names, which must still count.
func (e Entry) VerifyHold(chain *trust.Chain) (*Hold, statement.ID, error) {
	bad := func(err error) (*Hold, statement.ID, error) {
		return nil, statement.ID{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	s, err := e.parse()
	if err != nil {
		return nil, statement.ID{}, err
	}
	var h Hold
	if err := s.Peek(KindHold, &h); err != nil {
		return bad(err)
	}
	if err := h.Check(); err != nil {
		return bad(err)
	}
	if h.Network != chain.Network() || len(e.Identity) != 0 {
		return bad(errors.New("it is for another network, or comes with an identity"))
	}
	c, err := chain.ByID(h.Record)
	if err != nil {
		return bad(err)
	}
	if err := c.VerifyK(KindHold, s); err != nil {
		return bad(err)
	}
	return &h, s.ID(), nil
}

func holdFact(e Entry, chain *trust.Chain) (*Fact, error) {
	h, id, err := e.VerifyHold(chain)
	if err != nil {
		return nil, err
	}
	return &Fact{Kind: KindHold, ID: id, Subjects: []statement.ID{h.Target()}, Record: h.Record, Body: h}, nil
}
