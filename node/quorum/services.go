package quorum

import (
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
// acknowledged.
const lingerDeposit = time.Second

// SendDeposits sends each validator its own request and returns the outcomes of
// those that answered, by validator. It returns once all have answered, or a
// second after T have acknowledged at least one item.
func (c *Committee) SendDeposits(ctx context.Context, requests map[int][]byte) map[int][]uint8 {
	got := map[int][]uint8{}
	which := slices.Sorted(maps.Keys(requests))
	c.ask(ctx, Deposit, which, lingerDeposit, func(i int, _ Session) ([]byte, error) { return requests[i], nil }, func(a answer) bool {
		var r validator.DepositReply
		if a.err == nil && statement.Unmarshal(a.raw, &r) == nil {
			got[a.index] = r.Outcomes
		}
		return len(got) >= int(c.Record.Numbers.T)
	})
	return got
}

// SignGrant gathers K signatures under a root grant.
func (c *Committee) SignGrant(ctx context.Context, unsigned *statement.Statement, consent []byte, identities [][]byte) (*statement.Statement, error) {
	request, err := statement.Marshal(validator.SignRequest{Grant: unsigned.Bytes(), Consent: consent, Identities: identities})
	if err != nil {
		return nil, err
	}
	var t tally
	need := int(c.Record.Numbers.K)
	c.ask(ctx, Sign, c.everybody(), 0, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		if a.err == nil {
			a.err = c.takeSignature(unsigned, a)
		}
		t.add(a)
		return len(t.answered) >= need
	})
	if len(t.answered) < need {
		return nil, c.shortage(&t, need, "the grant")
	}
	return unsigned, nil
}

func (c *Committee) takeSignature(into *statement.Statement, a answer) error {
	var r validator.SignReply
	if err := statement.Unmarshal(a.raw, &r); err != nil {
		return err
	}
	s, err := statement.Parse(r.Grant)
	if err != nil {
		return err
	}
	if !slices.Equal(s.Signers(), []int{a.index}) || s.ID() != into.ID() {
		return errors.New("signed something else")
	}
	if err := c.Record.VerifyOne(capability.KindGrant, s, a.index); err != nil {
		return err
	}
	return into.Merge(s)
}

// SendDelivery puts a chain into its audience's mailbox at T validators at least.
func (c *Committee) SendDelivery(ctx context.Context, d validator.Delivery) error {
	request, err := statement.Marshal(d)
	if err != nil {
		return err
	}
	var t tally
	need := int(c.Record.Numbers.T)
	c.ask(ctx, Deliver, c.everybody(), 200*time.Millisecond, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		t.add(a)
		return len(t.answered) >= need
	})
	if len(t.answered) < need {
		return c.shortage(&t, need, "the delivery of the grant")
	}
	return nil
}

// PullMailbox collects an identity's chains from N-F validators: those that
// cover an address, or all where address is empty; issued asks for those that
// it gave instead of those that it holds.
func (c *Committee) PullMailbox(ctx context.Context, p *home.Principal, address []byte, issued bool) ([]validator.Delivery, error) {
	found := map[statement.ID]validator.Delivery{}
	var t tally
	need := int(c.Record.Numbers.N) - int(c.Record.Numbers.F)
	after := make(map[int][]byte)
	which := c.everybody()
	for len(which) > 0 { // pages
		var more []int
		from := maps.Clone(after) // read by the requests while after is written
		c.ask(ctx, Mailbox, which, 0, func(i int, s Session) ([]byte, error) {
			r := validator.MailboxRequest{Address: address, Issued: issued, After: from[i]}
			authority, err := c.ProveIdentity(p, s, r.Digest())
			if err != nil {
				return nil, err
			}
			r.Authority = authority
			return statement.Marshal(r)
		}, func(a answer) bool {
			var r validator.MailboxReply
			if a.err == nil {
				a.err = statement.Unmarshal(a.raw, &r)
			}
			last := c.collect(r.Deliveries, found)
			if r.More && last != nil {
				after[a.index], more = last, append(more, a.index)
				return false
			}
			t.add(a)
			return len(t.answered) >= need
		})
		which = more
	}
	if len(t.answered) < need {
		return nil, c.shortage(&t, need, "asking for grants")
	}
	return slices.Collect(maps.Values(found)), nil
}

func (c *Committee) collect(ds []validator.Delivery, found map[statement.ID]validator.Delivery) (last []byte) {
	for _, d := range ds {
		chain, err := capability.ParseChain(d.Chain)
		if err != nil {
			continue
		}
		leaf, err := chain.Leaf()
		if err != nil {
			continue
		}
		found[leaf], last = d, leaf[:]
	}
	return last
}

// SendRevocation has an entry appended by validators and returns how many have
// acknowledged it with a signature. It stops once the revocation is effective.
func (c *Committee) SendRevocation(ctx context.Context, e revocation.Entry, target statement.ID, chain []byte) (acks int, err error) {
	request, err := statement.Marshal(validator.RevokeRequest{Entry: e, Chain: chain})
	if err != nil {
		return 0, err
	}
	var t tally
	need := c.Record.Numbers.Effective()
	c.ask(ctx, Revoke, c.everybody(), 100*time.Millisecond, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		if a.err == nil {
			a.err = c.checkAck(a, target)
		}
		t.add(a)
		return len(t.answered) >= need
	})
	if len(t.answered) < need {
		if len(t.denied) > 0 && len(t.answered) == 0 {
			return 0, fault.New(fault.Denied, "only the owner and the issuers above a grant may revoke it", "the revocation was denied")
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
	if ack.Network != c.Record.Network() || ack.Target != target || int(ack.Validator) != a.index {
		return errors.New("acknowledged something else")
	}
	return c.Record.VerifyOne(revocation.KindAck, s, a.index)
}

// AskFresh implements [revocation.Validators].
func (c *Committee) AskFresh(ctx context.Context, index int, nonce [32]byte) ([]byte, error) {
	return c.Transport.Call(ctx, index, Fresh, func(Session) ([]byte, error) {
		return statement.Marshal(validator.FreshRequest{Nonce: nonce})
	})
}

// AskTail implements [revocation.Validators].
func (c *Committee) AskTail(ctx context.Context, index int, seq uint64) ([]revocation.Entry, error) {
	raw, err := c.Transport.Call(ctx, index, Tail, func(Session) ([]byte, error) {
		return statement.Marshal(validator.TailRequest{Seq: seq})
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
