package quorum

import (
	"context"
	"errors"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
)

// CarryAsk asks who carries an object.
type CarryAsk struct {
	Principal *home.Principal
	Chain     *capability.Verified // that lets Principal carry it; nil where Principal owns it
	Address   []byte
	Holder    []string // multiaddrs of this node with /p2p, to be named as a carrier; empty: only ask
	Stop      bool     // be named no more
}

// Carriers are the holders of an object that validators have named: hints.
type Carriers struct {
	Holders  []string            // multiaddrs that depositors named
	Carriers []validator.Carrier // each peer once
}

// lingerCarry is how long an answer waits for validators beyond the first N-F: each
// names only those that it has heard itself.
const lingerCarry = 200 * time.Millisecond

// maxHints bounds what is believed of all validators together.
const maxHints = 64

// AskCarriers asks all validators who carries an object, and returns what all that
// answer have named once N-F have answered or denied. One that lies can name peers
// that have nothing; it hides none that another one names.
func (c *Committee) AskCarriers(ctx context.Context, ask CarryAsk) (*Carriers, error) {
	c = c.pin()
	out := &Carriers{}
	var t tally
	need := int(c.record.Numbers.N) - int(c.record.Numbers.F)
	c.ask(ctx, Carry, c.everybody(), lingerCarry, func(_ int, s Session) ([]byte, error) { return c.carryRequest(ask, s) }, func(a answer) bool {
		if a.err == nil {
			a.judge(out.take(a.raw))
		}
		t.add(a)
		return len(t.answered)+len(t.denied) >= need
	})
	switch {
	case len(t.answered)+len(t.denied) < need:
		return nil, c.shortage(&t, need, "asking who carries it")
	case len(t.answered) == 0:
		return nil, c.denial(&t, "who carries it")
	}
	return out, nil
}

func (c *Committee) carryRequest(ask CarryAsk, s Session) (raw []byte, err error) {
	r := validator.CarryRequest{Address: ask.Address, Holder: ask.Holder, Stop: ask.Stop}
	if ask.Chain == nil {
		r.Authority, err = c.ProveIdentity(ask.Principal, s, r.Digest())
	} else {
		r.Authority, err = c.ProveChain(ask.Principal, ask.Chain.Chain(), s, r.Digest())
	}
	if err != nil {
		return nil, err
	}
	return statement.Marshal(r)
}

// take adds what one validator named, unless it named more than an honest one does.
func (h *Carriers) take(raw []byte) error {
	var r validator.CarryReply
	if err := statement.Unmarshal(raw, &r); err != nil {
		return err
	}
	if len(r.Carriers) > validator.MaxCarriers || len(r.Holders) > maxHints {
		return errors.New("named too many carriers")
	}
	for _, a := range r.Holders {
		if len(h.Holders) < maxHints && !slices.Contains(h.Holders, a) {
			h.Holders = append(h.Holders, a)
		}
	}
	for _, c := range r.Carriers {
		i := slices.IndexFunc(h.Carriers, func(had validator.Carrier) bool { return had.Peer == c.Peer && had.Identity == c.Identity })
		if i < 0 {
			if len(h.Carriers) == maxHints {
				continue
			}
			i = len(h.Carriers)
			h.Carriers = append(h.Carriers, validator.Carrier{Peer: c.Peer, Identity: c.Identity})
		}
		for _, a := range c.Addresses {
			if had := &h.Carriers[i]; len(had.Addresses) < maxHints && !slices.Contains(had.Addresses, a) {
				had.Addresses = append(had.Addresses, a)
			}
		}
	}
	return nil
}
