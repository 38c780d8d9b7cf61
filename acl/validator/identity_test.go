package validator_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// another is a device of a person, with the record that adds it.
func (w *world) another(t testing.TB, p *vt.Person, name string) (*vt.Person, revocation.Entry) {
	t.Helper()
	secret, recipient, err := keystore.GenerateHybrid()
	if err != nil {
		t.Fatal(err)
	}
	opener, err := keystore.NewOpener(secret)
	if err != nil {
		t.Fatal(err)
	}
	key := trusttest.Key(name)
	e, err := identity.Enrol(p.ID(), key, recipient)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := p.AddDevice(p.Device, e, w.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	after, entry := folded(t, p.Identity, rec)
	return &vt.Person{Identity: after, Device: key, Peer: trusttest.Key(name + " peer").Public(), Opener: opener}, entry
}

func folded(t testing.TB, id *identity.Identity, rec *identity.Record) (*identity.Identity, revocation.Entry) {
	t.Helper()
	after, err := id.With(rec)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := revocation.IdentityEntry(rec, after)
	if err != nil {
		t.Fatal(err)
	}
	return after, entry
}

// recovered starts a person's identity again with the device that it had.
func (w *world) recovered(t testing.TB, p *vt.Person, secret, next string) (*vt.Person, revocation.Entry) {
	t.Helper()
	rec, err := identity.Recover(p.Identity, trusttest.Key(secret), []statement.PrivateKey{p.Device}, p.Recipients()[:1], trusttest.Key(next).Public())
	if err != nil {
		t.Fatal(err)
	}
	after, entry := folded(t, p.Identity, rec)
	return &vt.Person{Identity: after, Device: p.Device, Peer: p.Peer, Opener: p.Opener}, entry
}

// tell has a validator append a record, and checks the acknowledgement.
func (w *world) tell(t testing.TB, i int, from *vt.Person, e revocation.Entry) error {
	t.Helper()
	raw, err := w.Validators[i].Identity(t.Context(), validator.Conn{Client: from.Peer}, encode(t, validator.IdentityRequest{Entry: e}))
	if err != nil {
		return err
	}
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.VerifyOne(revocation.KindAck, s, i); err != nil {
		t.Fatal(err)
	}
	var ack revocation.Ack
	if err := s.Peek(revocation.KindAck, &ack); err != nil {
		t.Fatal(err)
	}
	if rec, err := identity.ParseRecord(e.Statement); err != nil || ack.Target != rec.ID() || int(ack.Validator) != i || ack.Network != w.Network.Network() {
		t.Errorf("acknowledged %+v (%v)", ack, err)
	}
	return nil
}

func (w *world) asks(t testing.TB, i int, p *vt.Person) error {
	t.Helper()
	s := w.Connect(p, i)
	var r validator.MailboxRequest
	r.Authority = w.ByIdentity(t, p, s, r.Digest())
	_, err := w.Validators[i].Mailbox(t.Context(), s.Conn(), encode(t, r))
	return err
}

// TestRecordsSpread: one validator takes a record, the others learn it from its
// log, and then the new device passes with a document from before it.
func TestRecordsSpread(t *testing.T) {
	w := newWorld(t, vt.Options{})
	phone, entry := w.another(t, w.alice, "phone")
	for range 2 { // again is no second entry
		if err := w.tell(t, 0, w.alice, entry); err != nil {
			t.Fatal(err)
		}
	}
	if at := w.Validators[0].Log.Head(); at.Seq != 1 {
		t.Errorf("the log has %d entries", at.Seq)
	}
	o := w.Object(t, w.bob)
	w.DepositAll(t, w.bob, o)
	chain := w.Grant(t, w.bob, w.alice, vt.VersionOf(o)) // with alice's old document
	if _, err := w.Release(t, 1, phone, chain, vt.ReleaseOf(o)); !errors.Is(err, validator.ErrDenied) {
		t.Errorf("a validator that has not heard of the phone: %v", err)
	}
	w.Hear(t)
	for i := range w.Validators {
		if _, err := w.Release(t, i, phone, chain, vt.ReleaseOf(o)); err != nil {
			t.Errorf("validator %d: %v", i+1, err)
		}
	}
}

func TestRefusedRecords(t *testing.T) {
	w := newWorld(t, vt.Options{})
	phone, add := w.another(t, w.alice, "phone")
	_, late := w.another(t, phone, "the thief's second")
	_, strange := w.another(t, w.bob, "bob's phone")
	back, recovery := w.recovered(t, w.alice, "alice recovery", "next")
	bare := add
	bare.Identity = w.alice.Record() // the record is not in it
	mixed := add
	mixed.Identity = strange.Identity
	forged := add
	forged.Statement = append([]byte{}, add.Statement...)
	forged.Statement[len(forged.Statement)-1] ^= 1
	for _, c := range []struct {
		name  string
		entry revocation.Entry
		want  error
	}{
		{"empty", revocation.Entry{}, validator.ErrMalformed},
		{"a broken signature", forged, validator.ErrMalformed},
		{"a revocation", w.Revocation(t, w.alice, statement.ID{1}), validator.ErrMalformed},
		{"a document without it", bare, validator.ErrDenied},
		{"another's document", mixed, validator.ErrDenied},
	} {
		if err := w.tell(t, 0, w.alice, c.entry); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := w.tell(t, 0, w.alice, add); err != nil { // the control
		t.Error(err)
	}
	if err := w.tell(t, 1, w.alice, late); err != nil { // and of a device that the phone took in
		t.Error(err)
	}
	if err := w.tell(t, 0, w.alice, recovery); err != nil {
		t.Fatal(err)
	}
	if err := w.tell(t, 0, w.alice, late); !errors.Is(err, validator.ErrDenied) {
		t.Errorf("a record that the recovery has passed: %v", err)
	}
	_, second := w.another(t, back, "tablet")
	w.Validators[2].Fresh = deaf{}
	if err := w.tell(t, 2, w.alice, second); !errors.Is(err, validator.ErrUnavailable) {
		t.Errorf("a validator that is starting: %v", err)
	}
	if err := w.tell(t, 0, w.alice, second); err != nil {
		t.Error(err)
	}
}

// deaf is a validator that has not started.
type deaf struct{}

func (deaf) Fresh() bool                     { return false }
func (deaf) Ready() bool                     { return false }
func (deaf) Seen(statement.PublicKey) []byte { return nil }

// TestPeersMayNotFillTheLog: identities cost nothing, so that one peer's are
// counted together; an hour later it may go on, and others may meanwhile.
func TestPeersMayNotFillTheLog(t *testing.T) {
	w := newWorld(t, vt.Options{N: 1})
	add := func(i int) error {
		p := vt.NewPerson(t, fmt.Sprint("throwaway ", i), identity.User)
		_, e := w.another(t, p, fmt.Sprint("device ", i))
		return w.tell(t, 0, w.mallory, e)
	}
	for i := range validator.MaxPeerRecords {
		if err := add(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(1000); !errors.Is(err, validator.ErrDenied) {
		t.Errorf("one too many: %v", err)
	}
	_, e := w.another(t, w.alice, "phone")
	if err := w.tell(t, 0, w.alice, e); err != nil {
		t.Errorf("another peer: %v", err)
	}
	w.Clock.Advance(time.Hour)
	if err := add(1001); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

// TestRemovedDevicePassesNowhere is RV-06: a device that was ended keeps showing
// the document in which it speaks. Each request is made before, as the control,
// and after.
func TestRemovedDevicePassesNowhere(t *testing.T) {
	w := newWorld(t, vt.Options{N: 1})
	phone, add := w.another(t, w.alice, "phone")
	if err := w.tell(t, 0, w.alice, add); err != nil {
		t.Fatal(err)
	}
	laptop := &vt.Person{Identity: phone.Identity, Device: w.alice.Device, Peer: w.alice.Peer, Opener: w.alice.Opener}
	bobs := w.Object(t, w.bob)
	w.DepositAll(t, w.bob, bobs)
	held := w.Grant(t, w.bob, phone, vt.VersionOf(bobs), vt.Delegable)
	requests := map[string]func() error{
		"mailbox": func() error { return w.asks(t, 0, phone) },
		"release": func() error { _, err := w.Release(t, 0, phone, held, vt.ReleaseOf(bobs)); return err },
		"deposit": func() error {
			r, err := w.Deposit(t, 0, w.Request(t, w.Deal(t, phone, 0, []*vt.Object{w.Object(t, phone)}), 0))
			if err == nil && r[0] != validator.ItemOK {
				err = validator.ErrDenied
			}
			return err
		},
		"consent": func() error {
			_, r := w.Draft(t, phone, w.bob, w.GrantBody(phone, w.bob, capability.Target{Kind: capability.Lineage, Ref: [32]byte{7}}))
			_, err := w.sign(t, 0, r)
			return err
		},
		"link": func() error {
			d := validator.Delivery{Chain: w.Delegate(t, held, phone, w.mallory, func(g *capability.Grant) { rand.Read(g.Nonce[:]) }).Bytes()}
			return w.Validators[0].Deliver(t.Context(), encode(t, d))
		},
		"revocation": func() error {
			c := w.Grant(t, phone, w.bob, capability.Target{Kind: capability.Lineage, Ref: [32]byte{8}})
			_, err := w.tryRevoke(t, 0, w.Revocation(t, phone, vt.Leaf(t, c)), c)
			return err
		},
		"record": func() error {
			_, e := w.another(t, phone, fmt.Sprint("device ", w.Validators[0].Log.Head().Seq))
			return w.tell(t, 0, phone, e)
		},
	}
	for name, request := range requests {
		if err := request(); err != nil {
			t.Errorf("before: %s: %v", name, err)
		}
	}
	// Taken in time, these go on: a deposit with its grant, and a link.
	phones := w.Object(t, phone)
	w.DepositAll(t, phone, phones)
	given := w.Grant(t, phone, w.bob, vt.VersionOf(phones))
	link := w.Delegate(t, held, phone, w.mallory)
	for _, c := range []*capability.Chain{given, link} {
		if err := w.Validators[0].Deliver(t.Context(), encode(t, validator.Delivery{Chain: c.Bytes()})); err != nil {
			t.Fatal(err)
		}
	}
	back, recovery := w.recovered(t, laptop, "alice recovery", "next")
	if err := w.tell(t, 0, w.alice, recovery); err != nil {
		t.Fatal(err)
	}
	for name, request := range requests {
		if request() == nil {
			t.Errorf("after: %s passes", name)
		}
	}
	if _, err := w.Release(t, 0, w.bob, given, vt.ReleaseOf(phones)); err != nil {
		t.Errorf("a grant that was given in time: %v", err)
	}
	if _, err := w.Release(t, 0, w.mallory, link, vt.ReleaseOf(bobs)); err != nil {
		t.Errorf("a link that was delivered in time: %v", err)
	}
	dated := w.Delegate(t, held, phone, w.bob) // says any time, and nobody has seen it
	if _, err := w.Release(t, 0, w.bob, dated, vt.ReleaseOf(bobs)); !errors.Is(err, validator.ErrDenied) {
		t.Errorf("a link that nobody took in time: %v", err)
	}
	if err := w.asks(t, 0, back); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

// TestReleasesAreSealedToWhoIsLeft: the chain still lists the stolen phone's
// recipient, and the answer must not be sealed to it.
func TestReleasesAreSealedToWhoIsLeft(t *testing.T) {
	w := newWorld(t, vt.Options{N: 1})
	phone, add := w.another(t, w.alice, "phone")
	if err := w.tell(t, 0, w.alice, add); err != nil {
		t.Fatal(err)
	}
	o := w.Object(t, w.bob)
	w.DepositAll(t, w.bob, o)
	chain := w.Grant(t, w.bob, phone, vt.VersionOf(o))
	laptop := &vt.Person{Identity: phone.Identity, Device: w.alice.Device, Peer: w.alice.Peer, Opener: w.alice.Opener}
	opens := func(who *vt.Person) (byLaptop, byPhone bool) {
		s := w.Connect(who, 0)
		r := vt.ReleaseOf(o)
		r.Authority = w.ByChain(t, who, chain, s, r.Digest())
		raw, err := w.Validators[0].Release(t.Context(), s.Conn(), encode(t, r))
		if err != nil {
			t.Fatal(err)
		}
		var reply validator.ReleaseReply
		if err := statement.Unmarshal(raw, &reply); err != nil {
			t.Fatal(err)
		}
		_, err1 := laptop.Opener.Open(reply.Box, validator.MaxRelease)
		_, err2 := phone.Opener.Open(reply.Box, validator.MaxRelease)
		return err1 == nil, err2 == nil
	}
	if l, p := opens(laptop); !l || !p {
		t.Errorf("before: laptop %v, phone %v", l, p)
	}
	back, recovery := w.recovered(t, laptop, "alice recovery", "next")
	if err := w.tell(t, 0, w.alice, recovery); err != nil {
		t.Fatal(err)
	}
	if l, p := opens(back); !l || p {
		t.Errorf("after: laptop %v, phone %v", l, p)
	}
}

// TestOwnersLearnWhatTheyOwn: the manifest goes to the owner alone, and to others
// the same answer as for nothing.
func TestOwnersLearnWhatTheyOwn(t *testing.T) {
	w := newWorld(t, vt.Options{N: 1})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	ask := func(p *vt.Person) string {
		s := w.Connect(p, 0)
		r := validator.MailboxRequest{Address: o.Address.Bytes()}
		r.Authority = w.ByIdentity(t, p, s, r.Digest())
		raw, err := w.Validators[0].Mailbox(t.Context(), s.Conn(), encode(t, r))
		if err != nil {
			t.Fatal(err)
		}
		var reply validator.MailboxReply
		if err := statement.Unmarshal(raw, &reply); err != nil {
			t.Fatal(err)
		}
		return string(reply.Manifest)
	}
	if ask(w.alice) != string(o.Block) {
		t.Error("the owner is not told")
	}
	if ask(w.bob) != "" {
		t.Error("somebody else is told")
	}
}
