package validator

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Denied is a denial with the receipt of its entry in the audit log. It is what Err
// is: [ErrDenied], [ErrClock], or a [PolicyError].
type Denied struct {
	Err     error
	Receipt []byte
}

// Error is the denial's.
func (d *Denied) Error() string { return d.Err.Error() }

// Unwrap is the denial.
func (d *Denied) Unwrap() error { return d.Err }

// Reply is the denial of a release as an answer, for the wire.
func (d *Denied) Reply() []byte {
	r := ReleaseReply{Receipt: d.Receipt}
	var p *PolicyError
	switch {
	case errors.As(d.Err, &p):
		r.Why = p.Error()
	case errors.Is(d.Err, ErrClock):
		r.Why = ErrClock.Error()
	}
	return encode(r)
}

// DenialIn is the denial that an answer to a release is; nil where it is none.
func DenialIn(reply []byte) *Denied {
	var r ReleaseReply
	if statement.Unmarshal(reply, &r) != nil || len(r.Receipt) == 0 || len(r.Box) > 0 {
		return nil
	}
	if p, ok := ParsePolicyError(r.Why); ok {
		return &Denied{p, r.Receipt}
	}
	if r.Why == ErrClock.Error() {
		return &Denied{ErrClock, r.Receipt}
	}
	return &Denied{ErrDenied, r.Receipt}
}

// enter logs what was decided about a request, durably, and gives the receipt for it.
func (j *Judge) enter(ctx context.Context, request, who statement.ID, events ...event.Event) ([]byte, error) {
	first, hashes, err := j.Audit.Enter(ctx, events...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r := receipt.Receipt{Action: events[0].Action, Request: request, For: who, First: first}
	for i := range events {
		r.Add(hashes[i], events[i].Outcome)
	}
	return j.Receipts.Issue(r, j.Now())
}

// EraseReply is the denial of an order to erase as an answer, for the wire.
func (d *Denied) EraseReply() []byte { return encode(EraseReply{Logged: d.Receipt}) }

// ErasureDenialIn is the denial that an answer to an order to erase is; nil where it is
// none.
func ErasureDenialIn(reply []byte) *Denied {
	var r EraseReply
	if statement.Unmarshal(reply, &r) != nil || len(r.Logged) == 0 || len(r.Receipts)+len(r.Holds) > 0 {
		return nil
	}
	return &Denied{ErrDenied, r.Logged}
}

// denyRelease is deny with a receipt.
func (j *Judge) denyRelease(ctx context.Context, request statement.ID, a event.Act, err error) error {
	return j.denyFor(ctx, request, a.Actor, err, j.event(event.Release, event.Denied, because(err, a)))
}

// denyFor is deny with a receipt, for whoever proved to ask.
func (j *Judge) denyFor(ctx context.Context, request, who statement.ID, err error, denials ...event.Event) error {
	signed, failed := j.enter(ctx, request, who, denials...)
	if failed != nil {
		return failed
	}
	if errors.Is(err, capability.ErrClock) {
		return &Denied{ErrClock, signed}
	}
	return &Denied{ErrDenied, signed}
}

// ProofRequest redeems a receipt for proofs of its entries, from one of them on.
type ProofRequest struct {
	_       struct{} `cbor:",toarray"`
	Receipt []byte
	Entry   uint16
}

// MaxProofs is how many proofs one answer has at most.
const MaxProofs = 32

// ProofReply has C2SP tlog-proofs of as many entries as there are left, or of
// [MaxProofs], each under the newest cosigned checkpoint that covers the entry, or
// under the newest one.
type ProofReply struct {
	_      struct{} `cbor:",toarray"`
	Proofs [][]byte
}

// Proof redeems one of this validator's receipts, for whoever has it: it is sealed to
// the reader that it was made for, who may want an auditor to redeem it. A proof is
// hashes and a checkpoint, and says no more than the receipt does.
func (j *Judge) Proof(ctx context.Context, raw []byte) ([]byte, error) {
	var q ProofRequest
	if err := decode(raw, &q); err != nil {
		return nil, err
	}
	r, _, err := receipt.Parse(q.Receipt, j.Receipts.Key.Public())
	if err != nil || int(q.Entry) >= r.Entries() {
		return nil, fmt.Errorf("%w: it is no receipt of this validator, or has no such entry", ErrMalformed)
	}
	var out ProofReply
	for i := int(q.Entry); i < r.Entries() && len(out.Proofs) < MaxProofs; i++ {
		proof, err := j.Audit.Prove(ctx, r.First+int64(i))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		out.Proofs = append(out.Proofs, proof)
	}
	return encode(out), nil
}
