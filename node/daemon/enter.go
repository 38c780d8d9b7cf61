package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/libp2p/go-libp2p/core/peer"
)

// This file has what happens before admission, on both sides: a node answers who
// was a member or is invited, and a node that nobody admits asks.

// door answers peers that are not admitted.
func (n *Node) door() *validator.Door {
	return &validator.Door{Trust: n.trust, Revokers: n.set.Revokers, Member: n.lastMembership, Judge: n.judge, Now: n.now}
}

// lastMembership is the newest membership that is known of a peer, over or not.
func (n *Node) lastMembership(of statement.PublicKey) ([]byte, bool) {
	raw, err := n.roll.store.Get(memberKey(of))
	return raw, err == nil
}

// desk implements admission.Desk.
type desk struct{ n *Node }

func (d desk) Answer(ctx context.Context, remote peer.ID, request []byte, verified func()) ([]byte, error) {
	key, err := peerKey(remote)
	if err != nil {
		return nil, err
	}
	return d.n.door().Answer(ctx, key, request, verified)
}

// asker sends one request to the door of a peer.
type asker func(ctx context.Context, to trust.Reach, request []byte) ([]byte, error)

// askHost asks over this node's host.
func (n *Node) askHost(ctx context.Context, to trust.Reach, request []byte) ([]byte, error) {
	info, err := addrInfo(to.Peer, to.Addresses)
	if err != nil {
		return nil, err
	}
	return n.host.Ask(ctx, info, request)
}

// reaches says where the validators of a record can be reached.
func reaches(r *trust.Committee) (out []trust.Reach) {
	for _, v := range r.Validators {
		out = append(out, trust.Reach{Peer: v.Peer, Addresses: v.Addresses})
	}
	return out
}

// visitor is somebody before the doors of a network's validators.
type visitor struct {
	ask   asker
	right validator.EnterRequest // what it is owed an answer by
}

func (v *visitor) request(ctx context.Context, to trust.Reach, r validator.EnterRequest) (*validator.EnterReply, error) {
	request, err := statement.Marshal(r)
	if err != nil {
		return nil, err
	}
	raw, err := v.ask(ctx, to, request)
	if err != nil {
		return nil, err
	}
	var reply validator.EnterReply
	if err := statement.Unmarshal(raw, &reply); err != nil {
		return nil, fmt.Errorf("an answer before admission: %w", err)
	}
	return &reply, nil
}

// refusedError is a refusal with a word.
type refusedError struct{ why validator.Refusal }

func (e *refusedError) Error() string { return fmt.Sprintf("refused, reason %d", e.why) }

// pull gets the records after one from one door, page after page, and gives each
// page to take, which verifies it. It returns the membership that is known there of
// the visitor.
func (v *visitor) pull(ctx context.Context, from trust.Reach, after statement.ID, take func([][]byte) error) ([]byte, error) {
	r := v.right
	for r.After = after; ; {
		reply, err := v.request(ctx, from, r)
		switch {
		case err != nil:
			return nil, err
		case reply.Refusal != 0:
			return nil, &refusedError{reply.Refusal}
		case len(reply.Records) == 0:
			return reply.Member, nil
		}
		last, err := statement.Parse(reply.Records[len(reply.Records)-1])
		if err != nil {
			return nil, err
		}
		if last.ID() == r.After {
			return nil, errors.New("its pages do not end")
		}
		if err := take(reply.Records); err != nil {
			return nil, err
		}
		r.After = last.ID()
	}
}

// signing is how validators answered the wish for a membership.
type signing struct {
	signed   *statement.Statement
	refusals map[validator.Refusal]int
	answered int
}

// sign asks all validators of a record for their signatures under a draft, and
// returns the membership once K have signed.
func (v *visitor) sign(ctx context.Context, record *trust.Committee, draft *statement.Statement) ([]byte, *signing) {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	r := v.right
	r.Draft = draft.Bytes()
	type answer struct {
		at    int
		reply *validator.EnterReply
		err   error
	}
	answers := make(chan answer, len(record.Validators))
	for i, to := range reaches(record) {
		asking.Go(func() { // ends with ctx
			reply, err := v.request(ctx, to, r)
			answers <- answer{i, reply, err}
		})
	}
	out := &signing{signed: draft, refusals: map[validator.Refusal]int{}}
	for range record.Validators {
		a := <-answers
		if a.err != nil {
			continue
		}
		out.answered++
		if a.reply.Refusal != 0 {
			out.refusals[a.reply.Refusal]++
			continue
		}
		s, err := statement.Parse(a.reply.Signed)
		if err != nil || s.ID() != draft.ID() || !slices.Equal(s.Signers(), []int{a.at}) || record.VerifyOne(trust.KindMembership, s, a.at) != nil {
			continue
		}
		if out.signed.Merge(s) == nil && len(out.signed.Signers()) >= int(record.Numbers.K) {
			return out.signed.Bytes(), out
		}
	}
	return nil, out
}

// fault says why too few have signed: the refusal of most.
func (s *signing) fault(record *trust.Committee) error {
	var why validator.Refusal
	for w, count := range s.refusals {
		if most := s.refusals[why]; count > most || count == most && w < why {
			why = w
		}
	}
	if err := refusalFault(why); err != nil {
		return err
	}
	return fault.New(fault.Unavailable, "try again when more validators can be reached; if it stays so, ask who invited you",
		"a membership needs the signatures of %d of %d validators, and %d signed", record.Numbers.K, len(record.Validators), len(s.signed.Signers()))
}

// refusalFault is a refusal as a sentence; nil where it is no more than "not now".
func refusalFault(why validator.Refusal) error {
	another := "ask for another one: its maker runs `cerebrum invite`"
	switch why {
	case validator.RefusedUsed:
		return fault.New(fault.Denied, another, "the invitation was used by somebody else")
	case validator.RefusedExpired:
		return fault.New(fault.Denied, another, "the invitation has expired or is not valid yet")
	case validator.RefusedRevoked:
		return fault.New(fault.Denied, another, "the invitation was revoked")
	case validator.RefusedClock:
		return fault.New(fault.Failed, "set this machine's clock, and try again", "this machine's clock differs from the validators' by more than a few minutes")
	case validator.RefusedLeftOut:
		return fault.New(fault.Denied, "have your `cerebrum network card` named in the next record", "the network's newest record left this node out")
	}
	return nil
}

// pullAll gets records from all of these in parallel, and returns how many answered,
// the memberships that they know of the visitor, and the errors.
func (v *visitor) pullAll(ctx context.Context, from []trust.Reach, after statement.ID, take func([][]byte) error) (known [][]byte, answered int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards what is returned
	for _, to := range from {
		wg.Go(func() {
			member, perr := v.pull(ctx, to, after, func(page [][]byte) error {
				mu.Lock()
				defer mu.Unlock()
				return take(page)
			})
			mu.Lock()
			defer mu.Unlock()
			if err = errors.Join(err, perr); perr == nil {
				answered++
				if len(member) > 0 {
					known = append(known, member)
				}
			}
		})
	}
	wg.Wait()
	return known, answered, err
}
