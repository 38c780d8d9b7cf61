package quorum_test

import (
	"context"
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

// added is a record that takes a new device into an identity.
func (w *world) added(t *testing.T, p *vt.Person, name string) (revocation.Entry, statement.ID) {
	t.Helper()
	e, err := identity.Enrol(p.ID(), trusttest.Key(name), trusttest.Recipient(name))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := p.AddDevice(p.Device, e, w.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.With(rec)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := revocation.IdentityEntry(rec, after)
	if err != nil {
		t.Fatal(err)
	}
	return entry, rec.ID()
}

func TestARecordIsEffectiveOrSaysSo(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	other := func(ctx context.Context, m quorum.Method, raw []byte, ask func() ([]byte, error)) ([]byte, error) {
		s, err := statement.New(revocation.KindAck, revocation.Ack{Network: w.Network.Committee.Network(), Validator: 3, Seq: 1}) // of no record
		if err != nil {
			return nil, err
		}
		s.AddSignature(3, w.Validators[3].Signing)
		return s.Bytes(), nil
	}
	for _, tc := range []struct {
		name string
		who  map[int]behaviour
		acks int
		exit int
	}{
		{"all", nil, 4, 0},
		{"one is absent", map[int]behaviour{1: absent}, 3, 0},
		{"two are absent", map[int]behaviour{1: absent, 2: absent}, 2, fault.Unavailable},
		{"one acknowledges something else", map[int]behaviour{1: absent, 3: other}, 2, fault.Unavailable},
		{"two deny", map[int]behaviour{1: denying, 2: denying}, 2, fault.Denied},
		{"all are absent", map[int]behaviour{0: absent, 1: absent, 2: absent, 3: absent}, 0, fault.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.set(nil, 0, 1, 2, 3)
			for i, b := range tc.who {
				w.set(b, i)
			}
			p := vt.NewPerson(t, tc.name, identity.User)
			entry, id := w.added(t, p, tc.name+" phone")
			acked, err := c.SendRecord(t.Context(), entry, id)
			if tc.exit != 0 {
				wantFault(t, err, tc.exit, "")
			} else if err != nil {
				t.Fatal(err)
			}
			if len(acked) < min(tc.acks, 3) || len(acked) > tc.acks {
				t.Errorf("%v acknowledged, want %d", acked, tc.acks)
			}
			w.set(nil, 0, 1, 2, 3)
			for i := range w.Validators { // the outbox goes on
				if err := c.SendRecordTo(t.Context(), w.Validators[i].Peer, entry, id); err != nil {
					t.Errorf("validator %d: %v", i+1, err)
				}
			}
		})
	}
	entry, id := w.added(t, w.alice, "phone")
	if err := c.SendRecordTo(t.Context(), trusttest.Key("nobody").Public(), entry, id); !errors.Is(err, quorum.ErrRefused) {
		t.Errorf("who is no validator: %v", err)
	}
}

// TestOwnersFindWhatTheyOwn: one honest validator is enough to find it, a liar
// with another manifest is not believed, and nobody finds what is another's.
func TestOwnersFindWhatTheyOwn(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	find := func(p *vt.Person) ([]byte, error) {
		w.mu.Lock()
		w.as = p
		w.mu.Unlock()
		return c.FindOwned(t.Context(), principal(p), o.Address.Bytes(), func(block []byte) error {
			_, err := validator.VerifyManifest(o.Address.Bytes(), block, p.Identity)
			return err
		})
	}
	lie := func(_ context.Context, _ quorum.Method, _ []byte, _ func() ([]byte, error)) ([]byte, error) {
		return statement.Marshal(validator.MailboxReply{Manifest: []byte("another")})
	}
	if got, err := find(w.alice); err != nil || string(got) != string(o.Block) {
		t.Errorf("the owner: %v", err)
	}
	if _, err := find(w.bob); !errors.Is(err, quorum.ErrNotOwned) {
		t.Errorf("another: %v", err)
	}
	w.set(lie, 0, 1)
	if got, err := find(w.alice); err != nil || string(got) != string(o.Block) {
		t.Errorf("beside liars: %v", err)
	}
	w.set(absent, 0, 1)
	if _, err := find(w.bob); err == nil || errors.Is(err, quorum.ErrNotOwned) {
		t.Errorf("two validators are taken for enough: %v", err)
	}
}
