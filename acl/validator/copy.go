package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// ChainsRequest asks for the grants that a validator keeps, after one.
type ChainsRequest struct {
	_     struct{} `cbor:",toarray"`
	After []byte   // leaf id
}

// AnswerChains shows a page of its mailboxes to a validator of the newest record.
func (j *Judge) AnswerChains(c Conn, raw []byte) ([]byte, error) {
	var r ChainsRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	after, err := j.pageAfter(c, chainPrefix, r.After)
	if err != nil {
		return nil, err
	}
	var reply MailboxReply
	size := 0
	err = j.Store.Scan(chainPrefix, after, func(_, value []byte) (bool, error) {
		var d Delivery
		if err := statement.Unmarshal(value, &d); err != nil {
			return false, err
		}
		if len(reply.Deliveries) == maxDeliveries || size+len(value) > MaxMailbox-4096 {
			reply.More = true
			return false, nil
		}
		size += len(value)
		reply.Deliveries = append(reply.Deliveries, d)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return encode(reply), nil
}

// pageAfter is the key that a page begins behind, for a validator of the newest
// record; nobody else is shown what validators keep. Nil is the beginning.
func (j *Judge) pageAfter(c Conn, prefix, id []byte) ([]byte, error) {
	if _, ok := j.Trust.Current().ByPeer(c.Client); !ok || len(id) != 0 && len(id) != len(statement.ID{}) {
		return nil, ErrDenied
	}
	if len(id) == 0 {
		return nil, nil
	}
	return slices.Concat(prefix, id), nil
}

// AcceptedRequest asks for the ids of the consents and links that a validator
// took while the devices that signed them spoke for their identities.
type AcceptedRequest struct {
	_     struct{} `cbor:",toarray"`
	After []byte   // id
}

// AcceptedReply has them in ascending order, [MaxAccepted] where there are more.
type AcceptedReply struct {
	_    struct{} `cbor:",toarray"`
	IDs  []statement.ID
	More bool
}

// Limits of what a validator that joins takes over.
const (
	MaxAccepted = 4096    // ids in a page
	maxMarks    = 1 << 24 // ids that one validator may name
)

// AnswerAccepted shows a page of what was accepted to a validator of the newest record.
func (j *Judge) AnswerAccepted(c Conn, raw []byte) ([]byte, error) {
	var r AcceptedRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	after, err := j.pageAfter(c, acceptedPrefix, r.After)
	if err != nil {
		return nil, err
	}
	var reply AcceptedReply
	err = j.Store.Scan(acceptedPrefix, after, func(key, _ []byte) (bool, error) {
		id := key[len(acceptedPrefix):]
		if len(id) != len(statement.ID{}) {
			return false, errors.New("what was accepted is damaged")
		}
		if reply.More = len(reply.IDs) == MaxAccepted; reply.More {
			return false, nil
		}
		reply.IDs = append(reply.IDs, statement.ID(id))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return encode(reply), nil
}

// check holds what a page must be: ordered, getting on, and full where there are
// more, so that nobody is kept busy by small ones.
func (a *AcceptedReply) check(after []byte) error {
	if len(a.IDs) > MaxAccepted || a.More && len(a.IDs) < MaxAccepted {
		return errors.New("its page has another size")
	}
	for _, id := range a.IDs {
		if bytes.Compare(id[:], after) <= 0 {
			return errors.New("its pages are out of order")
		}
		after = id[:]
	}
	return nil
}

var copiedPrefix = []byte("taken-over/") // + record with which this validator came: it has what the others had

// joined is the record with which this validator came, and since which it has been
// in every one; false where it was there from the first.
func (j *Judge) joined(record *trust.Committee) (*trust.Committee, bool) {
	for {
		before, ok := record.Before()
		if !ok {
			return nil, false
		}
		if j.seat(before) < 0 {
			return record, true
		}
		record = before
	}
}

// copyOnce takes over mailboxes, and what was accepted, where this validator came
// to a committee that had them. The next record may come before that is done.
func (r *Rotation) copyOnce(ctx context.Context, record *trust.Committee) error {
	if r.Judge.seat(record) < 0 {
		return nil
	}
	came, ok := r.Judge.joined(record)
	if !ok {
		return nil
	}
	id := came.ID()
	key := slices.Concat(copiedPrefix, id[:])
	if _, err := r.Judge.Store.Get(key); err == nil {
		return nil
	}
	// First what was accepted: without it, a chain of a device that was removed
	// since does not verify, and is not taken over.
	if err := r.copyAccepted(ctx, record); err != nil {
		return fmt.Errorf("taking over what was accepted: %w", err)
	}
	if err := r.copyAll(ctx, record); err != nil {
		return fmt.Errorf("taking over the mailboxes: %w", err)
	}
	return r.Judge.Store.Apply([]kv.Op{{Key: key, Value: []byte{1}}})
}

// copyAccepted takes over the ids that more than F validators of the record before
// name: to a thief who has a device that was removed, one validator alone could
// give back what its removal took. Those of the record before, since they were
// there when the statements were.
func (r *Rotation) copyAccepted(ctx context.Context, record *trust.Committee) error {
	before, ok := record.Before()
	if !ok {
		return nil
	}
	need, enough := int(before.Numbers.F)+1, int(before.Numbers.N)-int(before.Numbers.F)
	if r.Judge.seat(before) >= 0 {
		enough--
	}
	out, named := map[int]bool{}, map[int]int{}
	var after []byte
	for {
		pages, err := r.askAccepted(ctx, before, out, after)
		if len(pages) < max(need, enough) {
			return fmt.Errorf("%d validators answer, %d are needed: %w", len(pages), max(need, enough), err)
		}
		end, more := commonLast(pages)
		count := map[statement.ID]int{}
		var ids []statement.ID
		for i, p := range pages {
			for _, id := range p.IDs {
				if more && bytes.Compare(id[:], end) > 0 {
					break
				}
				named[i]++
				if count[id]++; count[id] == need {
					ids = append(ids, id)
				}
			}
			out[i] = named[i] > maxMarks // nobody has so many: it would not end
		}
		if len(ids) > 0 {
			if err := r.Judge.Store.Apply(acceptedOps(ids...)); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		after = end
	}
}

// askAccepted gets one page of every validator that is not left out, and leaves
// out those that send none.
func (r *Rotation) askAccepted(ctx context.Context, before *trust.Committee, out map[int]bool, after []byte) (pages map[int]*AcceptedReply, failed error) {
	pages = map[int]*AcceptedReply{}
	for _, a := range r.ask(ctx, before, out, RotateAccepted, encode(AcceptedRequest{After: after})) {
		var page AcceptedReply
		err := a.err
		if err == nil {
			err = decode(a.raw, &page)
		}
		if err == nil {
			err = page.check(after)
		}
		if err != nil {
			out[a.index], failed = true, err
			continue
		}
		pages[a.index] = &page
	}
	return pages, failed
}

// commonLast is the id up to which every validator has answered.
func commonLast(pages map[int]*AcceptedReply) (end []byte, more bool) {
	for _, p := range pages {
		if last := p.last(); p.More && (!more || bytes.Compare(last, end) < 0) {
			end, more = last, true
		}
	}
	return end, more
}

func (a *AcceptedReply) last() []byte {
	if len(a.IDs) == 0 {
		return nil
	}
	return a.IDs[len(a.IDs)-1][:]
}

// copyAll takes over the mailboxes of the others: a validator that is new to the
// committee has none. Every chain is verified; those not in force are left.
func (r *Rotation) copyAll(ctx context.Context, record *trust.Committee) error {
	var errs []error
	copied := 0
	for _, v := range record.Validators {
		if v.Peer == r.Judge.Peer {
			continue
		}
		if err := r.copyFrom(ctx, v.Peer); err != nil {
			errs = append(errs, err)
			continue
		}
		copied++
	}
	if copied > int(record.Numbers.N)-int(record.Numbers.T) { // one of them has each grant
		return nil
	}
	return errors.Join(errs...)
}

func (r *Rotation) copyFrom(ctx context.Context, server statement.PublicKey) error {
	j := r.Judge
	var after []byte
	for {
		raw, err := r.Peers.Rotate(ctx, server, RotateChains, encode(ChainsRequest{After: after}))
		if err != nil {
			return err
		}
		var reply MailboxReply
		if err := decode(raw, &reply); err != nil {
			return err
		}
		for _, d := range reply.Deliveries {
			c, err := capability.ParseChain(d.Chain)
			if err != nil {
				return err
			}
			leaf, err := c.Leaf()
			if err != nil {
				return err
			}
			if bytes.Compare(leaf[:], after) <= 0 {
				return errors.New("its pages are out of order") // or they would never end
			}
			after = leaf[:]
			v, err := j.Verifier.Verify(c)
			if err != nil {
				continue
			}
			if _, err := j.Store.Get(slices.Concat(chainPrefix, leaf[:])); err == nil {
				continue
			}
			if err := j.Store.Apply(mailboxOps(v, encode(d))); err != nil {
				return err
			}
		}
		if !reply.More || len(reply.Deliveries) == 0 {
			return nil
		}
	}
}
