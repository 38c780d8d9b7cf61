package quorum

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
)

// Erasing is what validators said to an order to erase.
type Erasing struct {
	Receipts [][]byte       // verified, of all keys from each validator that erased
	By       []int          // validators that erased
	Held     []int          // validators that refuse it under a hold
	Holds    []statement.ID // holds that they name; a validator may make them up
	Denied   []int          // validators that refuse it otherwise
}

// SendErasure sends an order to the validators in which, nil: to all, and returns
// what those said that answered. It returns once all have answered, or a while
// after enough have: each validator more that destroys its share leaves less behind.
func (c *Committee) SendErasure(ctx context.Context, e revocation.Entry, which []int) (*Erasing, error) {
	c = c.pin()
	b, id, err := e.VerifyErasure(c.Trust.Network())
	if err != nil {
		return nil, err
	}
	request, err := statement.Marshal(validator.EraseRequest{Entry: e})
	if err != nil {
		return nil, err
	}
	unsigned, err := statement.Parse(e.Statement)
	if err != nil {
		return nil, err
	}
	unsigned.Prune(revocation.KindErasure, nil)
	if which == nil {
		which = c.everybody()
	}
	keys := b.KeyIDs()
	out := &Erasing{}
	holds := map[statement.ID]bool{}
	c.ask(ctx, Erase, which, lingerErase, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		if a.err == nil {
			var r validator.EraseReply
			err := statement.Unmarshal(a.raw, &r)
			c.tookReceipt(a.index, r.Logged, event.Erase, id, unsigned.Bytes())
			switch {
			case err == nil && len(r.Holds) > 0 && len(r.Receipts) == 0:
				out.Held = append(out.Held, a.index)
				for _, h := range r.Holds[:min(len(r.Holds), maxHolds)] {
					holds[h] = true
				}
				return false
			case err == nil:
				err = c.checkReceipts(r.Receipts, id, keys, a.index)
			}
			if a.judge(err); err == nil {
				out.Receipts = append(out.Receipts, r.Receipts...)
				out.By = append(out.By, a.index)
			}
		}
		if d := (*validator.Denied)(nil); errors.As(a.err, &d) {
			c.tookReceipt(a.index, d.Receipt, event.Erase, id, unsigned.Bytes())
		}
		if errors.Is(a.err, ErrDenied) || errors.Is(a.err, ErrRefused) {
			out.Denied = append(out.Denied, a.index)
		}
		return len(out.By) >= c.record.Numbers.Effective()
	})
	out.Holds = slices.Collect(maps.Keys(holds))
	return out, ctx.Err()
}

// lingerErase is how long an erasure waits for the rest once enough have answered.
const lingerErase = time.Second

const maxHolds = 16 // of one answer

// checkReceipts holds that a validator's receipts are for all keys of an order,
// and its own.
func (c *Committee) checkReceipts(receipts [][]byte, order statement.ID, keys []statement.ID, index int) error {
	if len(receipts) != len(keys) {
		return errors.New("sent receipts for other keys")
	}
	for i, raw := range receipts {
		r, err := revocation.ParseReceipt(raw, c.Trust)
		if err != nil {
			return err
		}
		if r.Erasure != order || r.Key != keys[i] || r.Record != c.record.ID() || int(r.Validator) != index {
			return errors.New("sent a receipt for something else")
		}
	}
	return nil
}

// SignHold gathers K signatures under a hold or the release of one.
func (c *Committee) SignHold(ctx context.Context, officer *home.Principal, unsigned *statement.Statement) (*statement.Statement, error) {
	c = c.pin()
	t := tally{hint: hintHold}
	need := int(c.record.Numbers.K)
	draft := unsigned.Bytes() // signatures are added while others are still asked
	c.ask(ctx, Hold, c.everybody(), 0, func(_ int, s Session) ([]byte, error) {
		r := validator.HoldRequest{Hold: draft}
		return c.proven(officer, s, r.Digest(), func(authority []byte) any { r.Authority = authority; return r })
	}, func(a answer) bool {
		if a.err == nil {
			a.judge(c.takeHold(unsigned, a))
		}
		t.add(a)
		return c.decided(&t, need)
	})
	if len(t.answered) < need {
		return nil, c.shortage(&t, need, "the legal hold")
	}
	return unsigned, nil
}

func (c *Committee) takeHold(into *statement.Statement, a answer) error {
	var r validator.HoldReply
	if err := statement.Unmarshal(a.raw, &r); err != nil {
		return err
	}
	s, err := statement.Parse(r.Hold)
	if err != nil {
		return err
	}
	if !slices.Equal(s.Signers(), []int{a.index}) || s.ID() != into.ID() {
		return errors.New("signed something else")
	}
	if err := c.record.VerifyOne(revocation.KindHold, s, a.index); err != nil {
		return err
	}
	return into.Merge(s)
}

// SendHold has a signed hold or release taken into validators' logs, and returns
// how many have acknowledged it with a signature. It stops once it is effective.
func (c *Committee) SendHold(ctx context.Context, e revocation.Entry, id statement.ID) (acks int, err error) {
	c = c.pin()
	request, err := statement.Marshal(validator.KeepRequest{Entry: e})
	if err != nil {
		return 0, err
	}
	t := tally{hint: hintHold}
	need := c.record.Numbers.Effective()
	c.ask(ctx, Keep, c.everybody(), 100*time.Millisecond, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		if a.err == nil {
			a.judge(c.checkAck(a, id))
		}
		t.add(a)
		return c.decided(&t, need)
	})
	if len(t.answered) < need {
		return len(t.answered), c.shortage(&t, need, "the legal hold")
	}
	return len(t.answered), nil
}

// FindHeld gets the manifest at an address for an officer who is to hold it. It is
// what the address names, whoever sent it; nobody's signature is verified.
func (c *Committee) FindHeld(ctx context.Context, officer *home.Principal, address cid.Cid) (*envelope.UnverifiedManifest, error) {
	c = c.pin()
	t := tally{hint: hintHold}
	var out *envelope.UnverifiedManifest
	need := int(c.record.Numbers.T)
	c.ask(ctx, Hold, c.everybody(), 0, func(_ int, s Session) ([]byte, error) {
		r := validator.HoldRequest{Address: address.Bytes()}
		return c.proven(officer, s, r.Digest(), func(authority []byte) any { r.Authority = authority; return r })
	}, func(a answer) bool {
		if a.err == nil {
			var r validator.HoldReply
			err := statement.Unmarshal(a.raw, &r)
			if err == nil {
				out, err = envelope.ParseManifest(address, r.Manifest)
			}
			a.judge(err)
		}
		t.add(a)
		return a.err == nil || c.certain(&t, need)
	})
	if out == nil {
		return nil, c.shortage(&t, need, "looking at "+address.String())
	}
	return out, nil
}
