package quorum

import (
	"context"
	"errors"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// SendRecord has a record of an identity appended by validators and returns the
// indexes of those that have acknowledged it with a signature, also beside an
// error. It stops once the record is effective: whoever asks T validators then
// learns of it. The error is a denial where the record will never be, and
// otherwise says that too few could be reached.
func (c *Committee) SendRecord(ctx context.Context, e revocation.Entry, id statement.ID) (acked []int, err error) {
	c = c.pin()
	request, err := statement.Marshal(validator.IdentityRequest{Entry: e})
	if err != nil {
		return nil, err
	}
	var t tally
	need := c.record.Numbers.Effective()
	c.ask(ctx, Identity, c.everybody(), 100*time.Millisecond, func(int, Session) ([]byte, error) { return request, nil }, func(a answer) bool {
		if a.err == nil {
			a.judge(c.checkAck(a, id))
		}
		t.add(a)
		return c.decided(&t, need)
	})
	switch {
	case len(t.answered) >= need:
		return t.answered, nil
	case c.certain(&t, need) || len(t.denied)+len(t.refused) > int(c.record.Numbers.N)-need:
		return t.answered, fault.New(fault.Denied, "see `cerebrum id devices`; another device or a recovery may have been faster", "the validators refuse the record")
	}
	return t.answered, c.shortage(&t, need, "the record")
}

// SendRecordTo hands a record to one validator, by its peer key. A denial is
// [ErrDenied] or [ErrRefused]; sending again would not help then.
func (c *Committee) SendRecordTo(ctx context.Context, server statement.PublicKey, e revocation.Entry, id statement.ID) error {
	c = c.pin()
	index, ok := c.record.ByPeer(server)
	if !ok {
		return ErrRefused
	}
	request, err := statement.Marshal(validator.IdentityRequest{Entry: e})
	if err != nil {
		return err
	}
	raw, err := c.Transport.Call(ctx, server, Identity, func(Session) ([]byte, error) { return request, nil })
	if err != nil {
		return err
	}
	return c.checkAck(answer{index: index, raw: raw}, id)
}

// FindOwned asks the validators whether an identity owns what an address stands
// for, and returns the manifest, which they show to its owner alone. The caller
// verifies it. The error is a denial where N-F validators do not know it as this
// identity's.
func (c *Committee) FindOwned(ctx context.Context, p *home.Principal, address []byte, verify func(manifest []byte) error) ([]byte, error) {
	c = c.pin()
	var t tally
	var manifest []byte
	need := int(c.record.Numbers.N) - int(c.record.Numbers.F)
	c.ask(ctx, Mailbox, c.everybody(), 0, func(_ int, s Session) ([]byte, error) {
		r := validator.MailboxRequest{Address: address}
		return c.proven(p, s, r.Digest(), func(authority []byte) any { r.Authority = authority; return r })
	}, func(a answer) bool {
		var r validator.MailboxReply
		if a.err == nil {
			a.judge(statement.Unmarshal(a.raw, &r))
		}
		if a.err == nil && len(r.Manifest) > 0 {
			if a.judge(verify(r.Manifest)); a.err == nil {
				manifest = slices.Clone(r.Manifest)
				return true
			}
		}
		t.add(a)
		return c.decided(&t, need)
	})
	if manifest != nil {
		return manifest, nil
	}
	if len(t.answered) >= need {
		return nil, ErrNotOwned
	}
	return nil, c.shortage(&t, need, "asking who owns it")
}

// ErrNotOwned reports an address that is not known as an identity's own.
var ErrNotOwned = errors.New("the validators do not know it as this identity's")

// proven encodes a request with the proof of who asks. digest is the request's, and
// with puts the proof into it.
func (c *Committee) proven(p *home.Principal, s Session, digest statement.ID, with func(authority []byte) any) ([]byte, error) {
	authority, err := c.ProveIdentity(p, s, digest)
	if err != nil {
		return nil, err
	}
	return statement.Marshal(with(authority))
}
