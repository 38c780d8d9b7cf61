package validator

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindPlan is the kind of plans, signed by K validators of the new record.
const KindPlan statement.Kind = "re-share-plan"

// Plan names the dealers of a rotation: T validators of the record before, whose
// shares become those of the new record. Without one list for all, two receivers
// would combine different sub-shares and their shares would lie on different
// polynomials. A later attempt stands beside an earlier one: shares of both are
// kept until the next rotation, since others may count on either.
type Plan struct {
	_       struct{} `cbor:",toarray"`
	Network statement.ID
	Record  statement.ID // the committee that receives
	From    statement.ID // the committee that deals
	Attempt uint64       // proposed by the validator with this number modulo n
	Dealers []uint16     // places in From, ascending
}

// plansEach is how many plans one validator may propose in a rotation: it uses up
// its own numbers, never those of others.
const plansEach = 3

// PlanRequest carries a plan to be signed, or asks for the newest one.
type PlanRequest struct {
	_    struct{} `cbor:",toarray"`
	From statement.ID
	Plan []byte // statement; empty: none
}

// PlanReply is a plan: with this validator's signature, or the newest with K.
type PlanReply struct {
	_    struct{} `cbor:",toarray"`
	Plan []byte   // empty: none is known
}

// signedPlan is a plan that K validators signed.
type signedPlan struct {
	Plan
	id     statement.ID
	raw    []byte
	record *trust.Committee // that receives
	from   *trust.Committee // that deals
}

var planPrefix = []byte("plan/") // + record + from + attempt -> signed plan

func planKey(record, from statement.ID, attempt uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Concat(planPrefix, record[:], from[:]), attempt)
}

// readPlan checks what a plan says; who signed it is the caller's to check.
func (j *Judge) readPlan(raw []byte) (*statement.Statement, *signedPlan, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, nil, err
	}
	p := &signedPlan{id: s.ID(), raw: raw}
	if err := s.Peek(KindPlan, &p.Plan); err != nil {
		return nil, nil, err
	}
	if p.Network != j.Trust.Network() || p.Record == p.From {
		return nil, nil, errors.New("the plan is for another network, or for nothing")
	}
	if p.record, err = j.Trust.ByID(p.Record); err != nil {
		return nil, nil, err
	}
	if p.from, err = j.Trust.ByID(p.From); err != nil {
		return nil, nil, err
	}
	if p.Attempt >= plansEach*uint64(len(p.record.Validators)) {
		return nil, nil, errors.New("the plan has a number that nobody may propose")
	}
	last := -1
	for _, d := range p.Dealers {
		if int(d) <= last || int(d) >= len(p.from.Validators) {
			return nil, nil, errors.New("the plan's dealers are not places of the record, in order")
		}
		last = int(d)
	}
	if len(p.Dealers) != int(p.from.Numbers.T) {
		return nil, nil, fmt.Errorf("the plan names %d dealers, the record needs %d", len(p.Dealers), p.from.Numbers.T)
	}
	return s, p, nil
}

// verifyPlan is the one verifier of signed plans.
func (j *Judge) verifyPlan(raw []byte) (*signedPlan, error) {
	s, p, err := j.readPlan(raw)
	if err != nil {
		return nil, err
	}
	return p, p.record.VerifyK(KindPlan, s)
}

// AnswerPlan signs a plan that its proposer may propose, once a number, or gives
// the newest plan that is known.
func (j *Judge) AnswerPlan(_ context.Context, c Conn, raw []byte) ([]byte, error) {
	var r PlanRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	record, seat, err := j.sitting()
	if err != nil {
		return nil, err
	}
	proposer, ok := record.ByPeer(c.Client)
	if !ok {
		return nil, ErrDenied
	}
	if len(r.Plan) == 0 {
		p, err := j.newestPlan(record.ID(), r.From, nil)
		if err != nil || p == nil {
			return encode(PlanReply{}), err
		}
		return encode(PlanReply{Plan: p.raw}), nil
	}
	s, p, err := j.readPlan(r.Plan)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if p.Record != record.ID() || p.Attempt%uint64(len(record.Validators)) != uint64(proposer) {
		return nil, fmt.Errorf("%w: it is not the proposer's turn", ErrMalformed)
	}
	if p.record.VerifyK(KindPlan, s) == nil { // complete: keep it
		return encode(PlanReply{}), j.keepPlan(p)
	}
	return j.signPlan(p, seat)
}

func (j *Judge) signPlan(p *signedPlan, seat int) ([]byte, error) {
	rotation := statement.Hash("rotation", p.Record[:], p.From[:])
	if err := j.Guard.Permit("plan-"+hex.EncodeToString(rotation[:16]), 0, p.Attempt, p.id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	own, err := statement.New(KindPlan, p.Plan)
	if err != nil {
		return nil, err
	}
	own.AddSignature(uint16(seat), j.Signing)
	return encode(PlanReply{Plan: own.Bytes()}), nil
}

func (j *Judge) keepPlan(p *signedPlan) error {
	key := planKey(p.Record, p.From, p.Attempt)
	if _, err := j.Store.Get(key); err == nil {
		return nil
	}
	return j.Store.Apply([]kv.Op{{Key: key, Value: p.raw}})
}

// newestPlan is the signed plan of a rotation with the highest number among those
// without a dealer that was found wanting, or nil.
func (j *Judge) newestPlan(record, from statement.ID, without map[uint16]bool) (best *signedPlan, err error) {
	err = j.Store.Scan(slices.Concat(planPrefix, record[:], from[:]), nil, func(_, value []byte) (bool, error) {
		p, err := j.verifyPlan(slices.Clone(value))
		if err != nil {
			return false, err
		}
		if !slices.ContainsFunc(p.Dealers, func(d uint16) bool { return without[d] }) {
			best = p
		}
		return true, nil
	})
	return best, err
}
