package quorum

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Receipt is a validator's receipt for a request of this node, verified.
type Receipt struct {
	*receipt.Receipt
	ID      statement.ID
	Raw     []byte
	Request []byte              // whose digest it has: a ReleaseRequest without its authority, or an order to erase without its signatures
	Server  statement.PublicKey // peer key of the validator
}

// LogOf is the log of the validator with a peer key, as the newest committee record
// that lists it says; false where none does.
func LogOf(c *trust.Committee, peer statement.PublicKey) (*audit.Binding, bool) {
	for r, ok := c, true; ok; r, ok = r.Before() {
		if i, sits := r.ByPeer(peer); sits {
			return &audit.Binding{Origin: audit.Origin(peer), Peer: peer, Log: r.Validators[i].Log}, true
		}
	}
	return nil, false
}

// tookReceipt verifies a validator's receipt for a request and hands it on. One that
// does not verify, or is for something else, is dropped: what it came with counts by
// itself.
func (c *Committee) tookReceipt(index int, raw []byte, action event.Action, digest statement.ID, request []byte) {
	if c.Took == nil || len(raw) == 0 {
		return
	}
	server := c.server(index)
	b, ok := LogOf(c.record, server)
	if !ok {
		return
	}
	r, id, err := receipt.Parse(raw, b.Log)
	if err != nil || r.Network != c.Trust.Network() || r.Origin != b.Origin || r.Action != action || r.Request != digest {
		return
	}
	c.Took(Receipt{r, id, raw, request, server})
}

// took hands on the receipt of an answer to a request for a release.
func (k *Keys) took(index int, raw []byte, dealings bool) {
	request := k.request(dealings)
	if encoded, err := statement.Marshal(request); err == nil {
		k.c.tookReceipt(index, raw, event.Release, request.Digest(), encoded)
	}
}

// tookDenial hands on the receipt of a denial.
func (k *Keys) tookDenial(a answer, dealings bool) {
	var d *validator.Denied
	if errors.As(a.err, &d) {
		k.took(a.index, d.Receipt, dealings)
	}
}

// RequestDigest is the digest that a receipt for a request has, and what was asked in
// the parts that a person reads. It fails where the request is not of that action.
func RequestDigest(action event.Action, request []byte) (id statement.ID, objects [][]byte, purpose string, err error) {
	switch action {
	case event.Release:
		var r validator.ReleaseRequest
		if err := statement.Unmarshal(request, &r); err != nil {
			return id, nil, "", err
		}
		return r.Digest(), r.Objects, r.Purpose, nil
	case event.Erase:
		s, err := statement.Parse(request)
		if err != nil {
			return id, nil, "", err
		}
		if len(s.Signers()) > 0 { // which the digest would not cover
			return id, nil, "", errors.New("the order is kept with signatures")
		}
		var e revocation.Erasure
		if err := s.Peek(revocation.KindErasure, &e); err != nil {
			return id, nil, "", err
		}
		for _, key := range e.KeyIDs() {
			objects = append(objects, key[:])
		}
		return s.ID(), objects, e.Reason, nil
	}
	return id, nil, "", fmt.Errorf("a request to %s has no receipt", action)
}

// ErrBroken reports a validator that answers, and cannot prove what it promised.
var ErrBroken = errors.New("the validator cannot prove what its receipt promises")

// Redeem asks the validator that made a receipt for the proofs of its entries, and
// verifies them. [ErrBroken] says that the promise is broken, any other error that the
// validator cannot be asked now.
func (c *Committee) Redeem(ctx context.Context, server statement.PublicKey, raw []byte) (proofs [][]byte, err error) {
	b, ok := LogOf(c.Trust.Current(), server)
	if !ok {
		return nil, errors.New("no committee record lists the validator")
	}
	r, _, err := receipt.Parse(raw, b.Log)
	if err != nil {
		return nil, err
	}
	for len(proofs) < r.Entries() {
		answer, err := c.Transport.Call(ctx, server, Proof, func(Session) ([]byte, error) {
			return statement.Marshal(validator.ProofRequest{Receipt: raw, Entry: uint16(len(proofs))})
		})
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrDenied) {
			return nil, fmt.Errorf("%w: it refuses its own receipt", ErrBroken)
		}
		if err != nil {
			return nil, err
		}
		var p validator.ProofReply
		if err := statement.Unmarshal(answer, &p); err != nil || len(p.Proofs) == 0 || len(p.Proofs) > r.Entries()-len(proofs) {
			return nil, fmt.Errorf("%w: it answers something else", ErrBroken)
		}
		for _, proof := range p.Proofs {
			if _, err := r.Prove(len(proofs), b, proof); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrBroken, err)
			}
			proofs = append(proofs, proof)
		}
	}
	return proofs, nil
}
