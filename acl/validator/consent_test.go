package validator_test

import (
	"crypto/rand"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// stands is Alice's standing consent on a target, changed.
func (w *world) stands(t testing.TB, target capability.Target, change ...func(*capability.Standing)) (validator.KeptConsent, statement.ID) {
	t.Helper()
	b := capability.Standing{
		Network: w.Network.Committee.Network(), Owner: w.alice.ID(), Target: target, Role: "emergency", Abilities: capability.Read,
		MaxClass: 255, Lifetime: 3600, Until: w.Clock.Now().Unix() + 24*3600,
	}
	rand.Read(b.Nonce[:])
	for _, f := range change {
		f(&b)
	}
	raw := w.alice.Sign(t, capability.KindStanding, b)
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return validator.KeptConsent{Statement: raw, Owner: w.alice.Record()}, s.ID()
}

func (w *world) consent(t *testing.T, i int, k validator.KeptConsent) error {
	t.Helper()
	_, err := w.Validators[i].Consent(t.Context(), encode(t, validator.ConsentRequest{Consent: k}))
	return err
}

// consents asks a validator as somebody who proves to be it.
func (w *world) consents(t *testing.T, who *vt.Person, address []byte) []validator.KeptConsent {
	t.Helper()
	s := w.Connect(who, 0)
	r := validator.ConsentsRequest{Address: address}
	r.Authority = w.ByIdentity(t, who, s, r.Digest())
	raw, err := w.Validators[0].Consents(t.Context(), s.Conn(), encode(t, r))
	if err != nil {
		t.Fatal(err)
	}
	var reply validator.ConsentsReply
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	return reply.Consents
}

func TestWhichConsentsAreKept(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	on := vt.VersionOf(o)
	for _, c := range []struct {
		name   string
		change func(*capability.Standing)
		want   error
	}{
		{"a good one", func(*capability.Standing) {}, nil},
		{"another network's", func(s *capability.Standing) { s.Network = statement.Hash("elsewhere") }, validator.ErrMalformed},
		{"in another's name", func(s *capability.Standing) { s.Owner = w.bob.ID() }, validator.ErrMalformed},
		{"it has ended", func(s *capability.Standing) { s.Until = w.Clock.Now().Unix() }, validator.ErrMalformed},
		{"it never ends", func(s *capability.Standing) { s.Until = 1 << 60 }, validator.ErrMalformed},
		{"to nobody", func(s *capability.Standing) { s.Role = "" }, validator.ErrMalformed},
		{"on what is not here", func(s *capability.Standing) { s.Target.Ref[0] ^= 1 }, validator.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, _ := w.stands(t, on, c.change)
			wantErr(t, w.consent(t, 0, k), c.want)
		})
	}
	k, _ := w.stands(t, on)
	forged := k
	forged.Owner = w.mallory.Record()
	wantErr(t, w.consent(t, 0, forged), validator.ErrMalformed)
	before := len(logOf(t, w.Validators[0]))
	for range 2 { // once more is nothing new
		wantErr(t, w.consent(t, 0, k), nil)
	}
	if n := len(logOf(t, w.Validators[0])) - before; n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	for name, breaks := range map[string]func(*vt.Validator){
		"the disk is full": func(v *vt.Validator) { v.Judge.Store = &failing{v.Memory, true} },
		"the log is full":  func(v *vt.Validator) { v.Judge.Audit = full{} },
	} {
		v := w.Validators[1]
		breaks(v)
		if err := w.consent(t, 1, k); err == nil {
			t.Errorf("%s, and it is acknowledged", name)
		}
		v.Judge.Audit, v.Judge.Store = v.Audit, v.Memory
	}
	wantErr(t, w.consent(t, 1, k), nil) // control
}

// Consents say whom an owner trusts: nobody learns of those that are not for it.
func TestWhoFindsAConsent(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, other := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	w.DepositAll(t, w.alice, other)
	role, id := w.stands(t, vt.VersionOf(o))
	listed, _ := w.stands(t, capability.Target{Kind: capability.Lineage, Ref: o.Lineage}, func(s *capability.Standing) {
		s.Role, s.Audience = "", []statement.ID{w.mallory.ID()}
	})
	for _, k := range []validator.KeptConsent{role, listed} {
		wantErr(t, w.consent(t, 0, k), nil)
	}
	count := func(who *vt.Person, address []byte, want int) {
		t.Helper()
		if got := w.consents(t, who, address); len(got) != want {
			t.Errorf("%d consents are shown, want %d", len(got), want)
		}
	}
	address := o.Address.Bytes()
	count(w.bob, address, 0)
	w.Assign(t, w.bob, "emergency")
	count(w.bob, address, 1)
	count(w.bob, other.Address.Bytes(), 0)
	count(w.bob, nil, 0)
	count(w.mallory, address, 1)
	count(w.alice, nil, 2)

	// A proof for another question, or none, shows nothing.
	s := w.Connect(w.bob, 0)
	r := validator.ConsentsRequest{Address: address}
	asked := validator.ConsentsRequest{Address: other.Address.Bytes()}
	r.Authority = w.ByIdentity(t, w.bob, s, asked.Digest())
	_, err := w.Validators[0].Consents(t.Context(), s.Conn(), encode(t, r))
	wantErr(t, err, validator.ErrDenied)

	end := func(who *vt.Person, k *validator.KeptConsent) error {
		_, err := w.Validators[0].Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: w.Revocation(t, who, id), Consent: k}))
		return err
	}
	wantErr(t, end(w.bob, &role), validator.ErrDenied)
	wantErr(t, end(w.alice, &listed), validator.ErrDenied) // it shows another one
	wantErr(t, end(w.alice, nil), validator.ErrDenied)
	count(w.bob, address, 1)
	wantErr(t, end(w.alice, &role), nil)
	count(w.bob, address, 0)
	count(w.alice, nil, 2) // the owner sees what it has ended
	wantErr(t, w.consent(t, 0, role), validator.ErrDenied)
	w.Clock.Advance(24 * time.Hour)
	w.Hear(t)
	count(w.mallory, address, 0)
}

func TestConsentsAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	for i := range 128 {
		k, _ := w.stands(t, vt.VersionOf(o))
		if err := w.consent(t, 0, k); err != nil {
			t.Fatal(i, err)
		}
	}
	more, _ := w.stands(t, vt.VersionOf(o), func(s *capability.Standing) { s.Until += 3600 })
	wantErr(t, w.consent(t, 0, more), validator.ErrUnavailable)
	w.Assign(t, w.bob, "emergency")
	if got := w.consents(t, w.bob, o.Address.Bytes()); len(got) != 32 {
		t.Errorf("one answer has %d", len(got))
	}
	w.Clock.Advance(24 * time.Hour) // what has ended makes room
	w.Hear(t)
	wantErr(t, w.consent(t, 0, more), nil)
}

func FuzzConsent(f *testing.F) {
	fuzzEntry[validator.ConsentRequest](f, func(w *world) []any {
		o := w.Object(f, w.alice)
		k, _ := w.stands(f, vt.VersionOf(o))
		return []any{validator.ConsentRequest{Consent: k}, validator.ConsentRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Consent(t.Context(), raw)
		return err
	})
}

func FuzzConsents(f *testing.F) {
	fuzzEntry[validator.ConsentsRequest](f, func(w *world) []any {
		s := w.Connect(w.alice, 0)
		r := validator.ConsentsRequest{}
		r.Authority = w.ByIdentity(f, w.alice, s, r.Digest())
		return []any{r, validator.ConsentsRequest{Address: []byte{1}}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Consents(t.Context(), w.Connect(w.alice, 0).Conn(), raw)
		return err
	})
}
