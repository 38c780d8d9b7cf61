package quorum

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// lingerDeposit is how long a deposit waits for the rest once T have
// answered.
const lingerDeposit = time.Second

// SendDeposits sends each validator its own request and returns the outcomes of
// those that answered, by validator. It returns once all have answered, or a
// second after T have. Only an outcome of ItemOK is an acknowledgement.
func (c *Committee) SendDeposits(ctx context.Context, requests map[int][]byte) map[int][]uint8 {
	c = c.pin()
	got := map[int][]uint8{}
	which := slices.Sorted(maps.Keys(requests))
	c.ask(ctx, Deposit, which, lingerDeposit, func(i int, _ Session) ([]byte, error) { return requests[i], nil }, func(a answer) bool {
		var r validator.DepositReply
		if a.err == nil && statement.Unmarshal(a.raw, &r) == nil {
			got[a.index] = r.Outcomes
		}
		return len(got) >= int(c.record.Numbers.T)
	})
	return got
}

// SendDelivery puts a chain into its audience's mailbox at T validators at least.
func (c *Committee) SendDelivery(ctx context.Context, d validator.Delivery) error {
	c = c.pin()
	request, err := statement.Marshal(d)
	if err != nil {
		return err
	}
	var t tally
	need := int(c.record.Numbers.T)
	c.ask(ctx, Deliver, c.everybody(), 200*time.Millisecond, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		t.add(a)
		return c.decided(&t, need)
	})
	if len(t.answered) < need {
		return c.shortage(&t, need, "the delivery of the grant")
	}
	return nil
}

// PullMailbox collects an identity's chains from N-F validators: those that
// cover an address, or all where address is empty; issued asks for those that
// it gave instead of those that it holds. They come in the order of their leaf
// ids, unverified. A validator may make up what it says: one leaf can come with
// several chains, of which the caller uses the one that verifies, and nobody
// waits for a validator whose pages do not end.
func (c *Committee) PullMailbox(ctx context.Context, p *home.Principal, address []byte, issued bool) ([]validator.Delivery, error) {
	c = c.pin()
	q := mailboxQuery{c: c, p: p, address: address, issued: issued, first: len(c.record.Validators), good: func(validator.Delivery) bool { return false }}
	found, _, err := q.run(ctx)
	return found, err
}

// FindInMailbox is [Committee.PullMailbox] for somebody to whom one good chain that
// covers the address is enough: it asks one validator, and the others only where
// that one has none. whole reports that N-F were asked, so that none is hidden.
func (c *Committee) FindInMailbox(ctx context.Context, p *home.Principal, address []byte, good func(validator.Delivery) bool) (found []validator.Delivery, whole bool, err error) {
	q := mailboxQuery{c: c.pin(), p: p, address: address, first: 1, good: good}
	return q.run(ctx)
}

// mailboxQuery is one search of a mailbox. It is used by one goroutine.
type mailboxQuery struct {
	c       *Committee
	p       *home.Principal
	address []byte
	issued  bool
	first   int // how many validators are asked at first
	good    func(validator.Delivery) bool

	found mailbox
	after map[int][]byte // by validator: the last leaf of its last page
	t     tally
	done  bool // a good one is among them
}

func (q *mailboxQuery) run(ctx context.Context) (found []validator.Delivery, whole bool, err error) {
	q.found, q.after = mailbox{}, make(map[int][]byte)
	need := int(q.c.record.Numbers.N) - int(q.c.record.Numbers.F)
	which := q.c.shuffled()
	for len(which) > 0 && !q.done && !q.c.decided(&q.t, need) { // a page of each
		var more []int
		from := maps.Clone(q.after) // read by the requests while after is written
		q.c.askFirst(ctx, Mailbox, which, q.first, 0, func(i int, s Session) ([]byte, error) { return q.request(from[i], s) }, func(a answer) bool {
			if q.take(&a) {
				more = append(more, a.index)
				return false
			}
			q.t.add(a)
			return q.done || q.c.decided(&q.t, need)
		})
		which, q.first = more, len(more)
	}
	if q.done || len(q.t.answered) >= need {
		return q.found.sorted(), len(q.t.answered) >= need, nil
	}
	return nil, false, q.c.shortage(&q.t, need, "asking for grants")
}

func (q *mailboxQuery) request(after []byte, s Session) (raw []byte, err error) {
	r := validator.MailboxRequest{Address: q.address, Issued: q.issued, After: after}
	if r.Authority, err = q.c.ProveIdentity(q.p, s, r.Digest()); err != nil {
		return nil, err
	}
	return statement.Marshal(r)
}

// take keeps what a validator said and reports that it has more.
func (q *mailboxQuery) take(a *answer) (more bool) {
	var r validator.MailboxReply
	if a.err == nil {
		a.judge(statement.Unmarshal(a.raw, &r))
	}
	if a.err != nil {
		return false
	}
	last, err := q.found.add(r.Deliveries, q.after[a.index])
	if a.judge(err); err != nil {
		return false
	}
	q.done = q.done || slices.ContainsFunc(r.Deliveries, q.good)
	if q.done || !r.More || last == nil {
		return false
	}
	q.after[a.index] = last
	return true
}

// mailbox is what validators said, by leaf and chain.
type mailbox map[[2]statement.ID]validator.Delivery

// add takes a page, whose leaves must follow one another and what came before.
func (m mailbox) add(page []validator.Delivery, after []byte) (last []byte, err error) {
	last = after
	for _, d := range page {
		chain, err := capability.ParseChain(d.Chain)
		if err != nil {
			return nil, err
		}
		leaf, err := chain.Leaf()
		if err != nil {
			return nil, err
		}
		if bytes.Compare(leaf[:], last) <= 0 {
			return nil, errors.New("its pages are out of order")
		}
		last = leaf[:]
		key := [2]statement.ID{leaf, statement.Hash("delivered chain", d.Chain)}
		if _, ok := m[key]; !ok {
			m[key] = d
		}
	}
	if len(page) == 0 {
		return nil, nil
	}
	return last, nil
}

func (m mailbox) sorted() []validator.Delivery {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b [2]statement.ID) int {
		return cmp.Or(bytes.Compare(a[0][:], b[0][:]), bytes.Compare(a[1][:], b[1][:]))
	})
	out := make([]validator.Delivery, len(keys))
	for i, k := range keys {
		out[i] = m[k]
	}
	return out
}

// SendRevocation has an entry appended by validators and returns how many have
// acknowledged it with a signature. It stops once the revocation is effective.
func (c *Committee) SendRevocation(ctx context.Context, e revocation.Entry, target statement.ID, chain []byte) (acks int, err error) {
	return c.sendRevocation(ctx, validator.RevokeRequest{Entry: e, Chain: chain}, target)
}

// SendInvitationRevocation does the same for an invitation, which its maker ends.
func (c *Committee) SendInvitationRevocation(ctx context.Context, e revocation.Entry, id statement.ID, invitation []byte) (acks int, err error) {
	return c.sendRevocation(ctx, validator.RevokeRequest{Entry: e, Invited: invitation}, id)
}

func (c *Committee) sendRevocation(ctx context.Context, r validator.RevokeRequest, target statement.ID) (acks int, err error) {
	c = c.pin()
	request, err := statement.Marshal(r)
	if err != nil {
		return 0, err
	}
	var t tally
	need := c.record.Numbers.Effective()
	c.ask(ctx, Revoke, c.everybody(), 100*time.Millisecond, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		if a.err == nil {
			a.judge(c.checkAck(a, target))
		}
		t.add(a)
		return c.decided(&t, need)
	})
	if len(t.answered) < need {
		if c.certain(&t, need) {
			return len(t.answered), fault.New(fault.Denied, "only the owner and the issuers above a grant may revoke it", "the revocation was denied")
		}
		return len(t.answered), c.shortage(&t, need, "the revocation")
	}
	return len(t.answered), nil
}

func (c *Committee) checkAck(a answer, target statement.ID) error {
	s, err := statement.Parse(a.raw)
	if err != nil {
		return err
	}
	var ack revocation.Ack
	if err := s.Peek(revocation.KindAck, &ack); err != nil {
		return err
	}
	if ack.Network != c.Trust.Network() || ack.Target != target || int(ack.Validator) != a.index {
		return errors.New("acknowledged something else")
	}
	return c.record.VerifyOne(revocation.KindAck, s, a.index)
}

// AskFresh implements [revocation.Validators].
func (c *Committee) AskFresh(ctx context.Context, index int, nonce [32]byte) ([]byte, error) {
	c = c.pin()
	return c.Transport.Call(ctx, c.server(index), Fresh, func(Session) ([]byte, error) {
		return statement.Marshal(validator.FreshRequest{Nonce: nonce})
	})
}

// AskTail implements [revocation.Validators].
func (c *Committee) AskTail(ctx context.Context, index int, segment, seq uint64) ([]revocation.Entry, error) {
	c = c.pin()
	raw, err := c.Transport.Call(ctx, c.server(index), Tail, func(Session) ([]byte, error) {
		return statement.Marshal(validator.TailRequest{Segment: segment, Seq: seq})
	})
	if err != nil {
		return nil, err
	}
	var r validator.TailReply
	if err := statement.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	return r.Entries, nil
}

// AskSeen implements [revocation.Validators].
func (c *Committee) AskSeen(ctx context.Context, index int, of statement.PublicKey) ([]byte, error) {
	c = c.pin()
	raw, err := c.Transport.Call(ctx, c.server(index), Seen, func(Session) ([]byte, error) {
		return statement.Marshal(validator.SeenRequest{Validator: of})
	})
	if err != nil {
		return nil, err
	}
	var r validator.SeenReply
	if err := statement.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	return r.Fresh, nil
}
