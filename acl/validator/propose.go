package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// plan is the newest plan of a rotation: the one that is known here or among the
// others, or a new one where it is this validator's turn and the newest does not
// get on.
func (r *Rotation) plan(ctx context.Context, record, from *trust.Committee, st *progress) (*signedPlan, error) {
	j := r.Judge
	if len(from.Validators)-len(st.bad) < int(from.Numbers.T) {
		st.bad = map[uint16]bool{} // a liar made all of them look bad: begin again
	}
	best, err := j.newestPlan(record.ID(), from.ID(), st.bad)
	if err != nil {
		return nil, err
	}
	if best == nil || st.passes > 1 {
		if err := r.learnPlan(ctx, record, from); err != nil {
			return nil, err
		}
		if best, err = j.newestPlan(record.ID(), from.ID(), st.bad); err != nil {
			return nil, err
		}
	}
	seat := j.seat(record)
	if best != nil && (st.done != best.id || len(st.lacking) == 0) {
		st.waited = 0
		return best, nil
	}
	// Everybody may see that a plan is needed: they propose one after the other, each
	// when those before it had time to. What dealers lacked often comes by itself:
	// its owner has only just heard of the record, and deals again.
	turn := seat
	if best != nil {
		turn++
	} else {
		st.lacking = lacking{} // under a plan that is left; what lacks under the next one will show
	}
	if st.waited++; st.waited <= proposeAfter*turn {
		return best, nil
	}
	p, err := r.propose(ctx, record, from, st)
	if errors.Is(err, errNoUse) {
		return best, nil
	}
	return p, err
}

// proposeAfter is how many passes a validator has for its proposal before the next.
const proposeAfter = 3

// errNoUse says that no plan would get on better than the one there is.
var errNoUse = errors.New("no dealers of the rotation hold what lacks")

// learnPlan asks the others for the newest plan, all at once, and keeps them.
func (r *Rotation) learnPlan(ctx context.Context, record, from *trust.Committee) error {
	for _, a := range r.askAll(ctx, record, RotatePlan, encode(PlanRequest{From: from.ID()})) {
		var reply PlanReply
		if a.err != nil || decode(a.raw, &reply) != nil || len(reply.Plan) == 0 {
			continue
		}
		p, err := r.Judge.verifyPlan(reply.Plan)
		if err != nil || p.Record != record.ID() || p.From != from.ID() {
			continue
		}
		if err := r.Judge.keepPlan(p); err != nil {
			return err
		}
	}
	return nil
}

// propose makes a plan under the next number of this validator, and has K sign it.
func (r *Rotation) propose(ctx context.Context, record, from *trust.Committee, st *progress) (*signedPlan, error) {
	j := r.Judge
	n, seat := uint64(len(record.Validators)), j.seat(record)
	attempt := uint64(seat) + n*st.proposed
	if st.proposed >= plansEach {
		return nil, errors.New("no plan of the rotation got on; replace the validators that are down, with another record")
	}
	if d := st.draft; d != nil && d.Attempt == attempt && !slices.ContainsFunc(d.Dealers, func(d uint16) bool { return st.bad[d] }) {
		return r.sign(ctx, record, *d, st)
	}
	body := Plan{Network: j.Trust.Network(), Record: record.ID(), From: from.ID(), Attempt: attempt, Dealers: r.dealers(ctx, from, st)}
	if len(body.Dealers) == 0 && len(st.lacking) > 0 {
		return nil, errNoUse
	}
	if len(body.Dealers) < int(from.Numbers.T) {
		return nil, fmt.Errorf("%d of the %d dealers of the rotation can be reached; their objects stay with the committee before", len(body.Dealers), from.Numbers.T)
	}
	st.draft = &body
	return r.sign(ctx, record, body, st)
}

// sign has K validators sign a plan of this one, and shows it to all.
func (r *Rotation) sign(ctx context.Context, record *trust.Committee, body Plan, st *progress) (*signedPlan, error) {
	j := r.Judge
	seat := j.seat(record)
	s, err := statement.New(KindPlan, body)
	if err != nil {
		return nil, err
	}
	_, own, err := j.readPlan(s.Bytes())
	if err != nil {
		return nil, err
	}
	raw, err := j.signPlan(own, seat)
	if errors.Is(err, trust.ErrSecond) { // this number was used, before a restart
		st.proposed++
	}
	if err != nil {
		return nil, err
	}
	var mine PlanReply
	if err := decode(raw, &mine); err != nil {
		return nil, err
	}
	r.takePlan(record, s, seat, mine.Plan)
	for _, a := range r.askAll(ctx, record, RotatePlan, encode(PlanRequest{From: body.From, Plan: s.Bytes()})) {
		var reply PlanReply
		if a.err == nil && decode(a.raw, &reply) == nil {
			r.takePlan(record, s, a.index, reply.Plan)
		}
	}
	p, err := j.verifyPlan(s.Bytes())
	if err != nil {
		return nil, fmt.Errorf("the plan of the rotation has %d of %d signatures", len(s.Signers()), record.Numbers.K)
	}
	st.proposed++
	r.Log.Info("rotation planned", "attempt", body.Attempt, "dealers", body.Dealers)
	if err := j.keepPlan(p); err != nil {
		return nil, err
	}
	r.askAll(ctx, record, RotatePlan, encode(PlanRequest{From: body.From, Plan: p.raw}))
	return p, nil
}

// takePlan takes over one validator's signature.
func (r *Rotation) takePlan(record *trust.Committee, into *statement.Statement, index int, raw []byte) {
	s, err := statement.Parse(raw)
	if err == nil && s.ID() == into.ID() && slices.Equal(s.Signers(), []int{index}) && record.VerifyOne(KindPlan, s, index) == nil {
		into.Merge(s)
	}
}
