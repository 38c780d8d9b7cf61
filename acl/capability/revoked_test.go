package capability

import (
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Who may stop what: the owner everything, an issuer what is below it, f+1
// validators everything, and nobody else anything.
func TestWhoseRevocationsCount(t *testing.T) {
	const none, grantOnly, both = 0, 1, 2 // what of root and link stops
	type by func(w *world) []*trusttest.Person
	one := func(pick func(w *world) *trusttest.Person) by {
		return func(w *world) []*trusttest.Person { return []*trusttest.Person{pick(w)} }
	}
	owner := one(func(w *world) *trusttest.Person { return w.owner })
	reader := one(func(w *world) *trusttest.Person { return w.reader })
	friend := one(func(w *world) *trusttest.Person { return w.friend })
	stranger := one(func(w *world) *trusttest.Person { return w.stranger })
	validators := func(n int) by { return func(w *world) []*trusttest.Person { return w.net.People[:n] } }
	together := func(who ...by) by {
		return func(w *world) (out []*trusttest.Person) {
			for _, b := range who {
				out = append(out, b(w)...)
			}
			return out
		}
	}
	const grant, link, consent = "grant", "link", "consent"
	for _, c := range []struct {
		name   string
		who    by
		target string
		want   int // how many of {grant, grant with link} are stopped, the link first
	}{
		{"nobody", func(*world) []*trusttest.Person { return nil }, grant, none},
		{"the owner", owner, grant, both},
		{"the owner", owner, link, grantOnly},
		{"the owner", owner, consent, both},
		{"the issuer of the link", reader, link, grantOnly},
		{"the audience of the grant", reader, grant, none},
		{"the audience of the grant", reader, consent, none},
		{"the audience of the link", friend, link, none},
		{"the audience of the link", friend, grant, none},
		{"a stranger", stranger, grant, none},
		{"a stranger", stranger, link, none},
		{"a stranger", stranger, consent, none},
		{"f validators", validators(1), grant, none},
		{"f validators", validators(1), link, none},
		{"f+1 validators", validators(2), grant, both},
		{"f+1 validators", validators(2), link, grantOnly},
		{"all validators", validators(4), consent, none}, // it is the owner's word; they may stop the grant
		{"f validators, a stranger and the audience", together(validators(1), stranger, reader, friend), grant, none},
		{"a stranger and then the owner", together(stranger, owner), grant, both},
		{"a stranger and then f+1 validators", together(stranger, validators(2)), grant, both},
	} {
		w := newWorld(t)
		root, chain := w.root(t, w.grant()), w.honest(t)
		before := [2]*Verified{w.accept(t, "before", root), w.accept(t, "before", chain)}
		target := map[string]statement.ID{grant: before[0].Leaf(), link: before[1].Leaf(), consent: before[0].Consent()}[c.target]
		for _, p := range c.who(w) {
			w.revoke(t, p, target)
		}
		for i, chain := range []*Chain{root, chain} {
			stopped := c.want == both || c.want == grantOnly && i == 1
			_, err := w.verify(t, chain)
			live := w.vf.Live(before[i])
			var why *RevokedError
			if stopped && (!errors.As(live, &why) || why.Statement != target || len(why.By) == 0) {
				t.Errorf("%s revokes the %s; with %d links it is told as %+v", c.name, c.target, i, why)
			}
			if stopped && (!errors.Is(err, ErrRevoked) || !errors.Is(live, ErrRevoked)) || !stopped && (err != nil || live != nil) {
				t.Errorf("%s revokes the %s; with %d links: %v, %v while in use", c.name, c.target, i, err, live)
			}
			if _, err := w.vf.VerifyPast(chain); err != nil {
				t.Errorf("%s revokes the %s; the past does not verify: %v", c.name, c.target, err)
			}
		}
	}
}

// Two devices, reasons or copies of one validator are one validator.
type twice struct{ Revocations }

func (r twice) Revokers(target statement.ID) []statement.ID {
	out := r.Revocations.Revokers(target)
	return append(out[:len(out):len(out)], out...)
}

func TestOneValidatorNamedTwiceIsOne(t *testing.T) {
	w := newWorld(t)
	c := w.root(t, w.grant())
	v := w.accept(t, "before", c)
	w.vf.Revocations = twice{w.set}
	w.revoke(t, w.net.People[3], v.Leaf())
	if err := w.vf.Live(v); err != nil {
		t.Errorf("one validator: %v", err)
	}
	w.revoke(t, w.net.People[0], v.Leaf())
	if err := w.vf.Live(v); !errors.Is(err, ErrRevoked) {
		t.Errorf("control: two validators: %v", err)
	}
}

// With f = 0 one validator is enough: there is no liar among them by assumption.
func TestTheOnlyValidatorRevokes(t *testing.T) {
	w := newWorld(t)
	w.net = trusttest.New(t, "alone", 1)
	var err error
	if w.set, err = revocation.OpenSet(newMemory(), trust.Fixed(w.net.Committee), nil); err != nil {
		t.Fatal(err)
	}
	w.vf = w.verifier()
	c := w.root(t, w.grant())
	v := w.accept(t, "before", c)
	w.revoke(t, w.net.People[0], v.Leaf())
	w.refuse(t, "after", c, ErrRevoked, "")
}

// RV-05: a revocation for another network, or one whose signer nobody is, never
// reaches the set that verifiers ask.
func TestForgedRevocationsStopNothing(t *testing.T) {
	w := newWorld(t)
	c := w.root(t, w.grant())
	v := w.accept(t, "before", c)
	body := revocation.Revocation{Network: w.net.Network(), Target: v.Leaf()}
	honest, err := revocation.Sign(body, w.owner.Identity, w.owner.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	body.Signer = w.owner.ID()
	byStranger := honest
	byStranger.Statement = w.stranger.Sign(t, revocation.KindRevocation, body).Bytes()
	body.Network[0]++
	elsewhere := honest
	elsewhere.Statement = w.owner.Sign(t, revocation.KindRevocation, body).Bytes()
	for name, e := range map[string]revocation.Entry{"a stranger's": byStranger, "another network's": elsewhere} {
		if _, err := w.set.Add(e); !errors.Is(err, revocation.ErrEntry) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	w.accept(t, "after forgeries", c)
	if _, err := w.set.Add(honest); err != nil {
		t.Fatal(err)
	}
	w.refuse(t, "control: after the owner's own", c, ErrRevoked, "")
}

func TestMayRevoke(t *testing.T) {
	w := newWorld(t)
	v := w.accept(t, "link", w.honest(t))
	grant, link, consent := v.Path()[0], v.Path()[1], v.Consent()
	for _, c := range []struct {
		name   string
		who    *trusttest.Person
		target statement.ID
		want   bool
	}{
		{"the owner the grant", w.owner, grant, true},
		{"the owner the link", w.owner, link, true},
		{"the owner the consent", w.owner, consent, true},
		{"the reader the link", w.reader, link, true},
		{"the reader its own grant", w.reader, grant, false},
		{"the reader the consent", w.reader, consent, false},
		{"the friend its own link", w.friend, link, false},
		{"the friend the grant", w.friend, grant, false},
		{"a stranger the link", w.stranger, link, false},
		{"the owner another grant", w.owner, statement.Hash("another"), false},
		{"a validator the grant, alone", w.net.People[0], grant, false},
	} {
		if got := v.MayRevoke(c.who.ID(), c.target); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
