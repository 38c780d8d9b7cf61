package quorum

import (
	"context"
	"errors"
	"maps"
	"slices"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
)

// maxOwnPages bounds how many pages of one validator are followed.
const maxOwnPages = 8

// SendConsent has K validators keep a standing consent, and returns how many do.
// Those that whoever asks under it finds it at are N-F of them, one of whom at
// least has it.
func (c *Committee) SendConsent(ctx context.Context, k validator.KeptConsent) (kept int, err error) {
	c = c.pin()
	request, err := statement.Marshal(validator.ConsentRequest{Consent: k})
	if err != nil {
		return 0, err
	}
	var t tally
	need := int(c.record.Numbers.K)
	c.ask(ctx, Consent, c.everybody(), lingerDeposit, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		t.add(a)
		return c.decided(&t, need)
	})
	if len(t.answered) < need {
		return len(t.answered), c.shortage(&t, need, "the consent")
	}
	return len(t.answered), nil
}

// SendEnd revokes a standing consent that its owner shows, as
// [Committee.SendRevocation] does a grant.
func (c *Committee) SendEnd(ctx context.Context, e revocation.Entry, target statement.ID, k validator.KeptConsent) (acks int, err error) {
	return c.sendRevocation(ctx, validator.RevokeRequest{Entry: e, Consent: &k}, target)
}

// PullConsents collects from N-F validators the standing consents under which an
// identity may ask for an address, or where it is empty those that it gave. They
// come sorted, each once for every way in which validators tell it, unverified.
func (c *Committee) PullConsents(ctx context.Context, p *home.Principal, address []byte) ([]validator.KeptConsent, error) {
	c = c.pin()
	found := map[statement.ID]validator.KeptConsent{}
	var t tally
	need := int(c.record.Numbers.N) - int(c.record.Numbers.F)
	after, which := map[int][]byte{}, c.everybody()
	for page := 0; len(which) > 0 && !c.decided(&t, need); page++ {
		var more []int
		from := maps.Clone(after) // read by the requests while after is written
		c.ask(ctx, Consents, which, 0, func(i int, s Session) ([]byte, error) {
			r := validator.ConsentsRequest{Address: address, After: from[i]}
			return c.proven(p, s, r.Digest(), func(authority []byte) any { r.Authority = authority; return r })
		}, func(a answer) bool {
			goesOn := false
			if a.err == nil {
				var r validator.ConsentsReply
				err := statement.Unmarshal(a.raw, &r)
				if err == nil {
					after[a.index], err = addConsents(found, r.Consents)
				}
				a.judge(err)
				goesOn = err == nil && r.More && len(address) == 0 && page < maxOwnPages && after[a.index] != nil
			}
			if goesOn {
				more = append(more, a.index)
				return false
			}
			t.add(a)
			return c.decided(&t, need)
		})
		which = more
	}
	if len(t.answered) < need {
		return nil, c.shortage(&t, need, "asking for consents")
	}
	out := make([]validator.KeptConsent, 0, len(found))
	for _, k := range found {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b validator.KeptConsent) int { return slices.Compare(a.Statement, b.Statement) })
	return out, nil
}

// addConsents takes what a validator told, and returns the id of the last one.
func addConsents(found map[statement.ID]validator.KeptConsent, told []validator.KeptConsent) (last []byte, err error) {
	if len(told) > 64 {
		return nil, errors.New("more consents than one answer has")
	}
	for _, k := range told {
		s, err := statement.Parse(k.Statement)
		if err != nil {
			return nil, err
		}
		id := s.ID()
		found[statement.Hash("kept consent", k.Statement, k.Owner)] = k
		last = id[:]
	}
	return last, nil
}
