package capability

import (
	"errors"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// removal is the record by which a person's device leaves.
func removal(t testing.TB, p *trusttest.Person, device int, w *world) *identity.Record {
	t.Helper()
	r, err := p.RemoveSelf(p.Devices[device], w.now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// recovery is the record by which the reader, who lost everything, starts again
// with one new device.
func recovery(t testing.TB, p *trusttest.Person, fresh statement.PrivateKey) *identity.Record {
	t.Helper()
	r, err := identity.Recover(p.Identity, trusttest.Key("reader recovery"), []statement.PrivateKey{fresh},
		[]string{trusttest.Recipient("reader again")}, trusttest.Key("reader next recovery").Public())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with is a person's document with further records in it.
func with(t testing.TB, p *trusttest.Person, records ...*identity.Record) *identity.Identity {
	t.Helper()
	id, err := p.With(records...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// open shows a chain with a proof by one device.
func (w *world) open(t testing.TB, vf *Verifier, c *Chain, device statement.PrivateKey) (*Verified, error) {
	t.Helper()
	leaf, err := c.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	p, want, used := w.conversation(leaf)
	raw, err := identity.Sign(KindProof, p, device)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := vf.Open(&Authority{Chain: c.Bytes(), Proof: raw.Bytes()}, want)
	if err != nil && len(used) != 0 {
		t.Error("a refused proof used a counter up")
	}
	return v, err
}

// RV-06: a device that was removed proves nothing from the moment on at which a
// verifier hears of it, though it shows the old document and the verifier has
// seen it before. The identity's other devices go on.
func TestARemovedDeviceProvesNothing(t *testing.T) {
	for name, end := range map[string]func(w *world) *identity.Record{
		"removed": func(w *world) *identity.Record { return removal(t, w.reader, 0, w) },
		"ended by a recovery": func(w *world) *identity.Record {
			return recovery(t, w.reader, trusttest.Key("reader fresh"))
		},
	} {
		w := newWorld(t)
		known := logs{}
		w.vf.People = known
		c := w.root(t, w.grant())
		v, err := w.open(t, w.vf, c, w.reader.Devices[0])
		if err != nil {
			t.Fatal("control:", err)
		}
		if err := w.vf.Live(v); err != nil {
			t.Fatal("control:", err)
		}
		record := end(w)
		if _, err := w.open(t, w.vf, c, w.reader.Devices[0]); err != nil {
			t.Errorf("control: %s, but nobody has heard of it: %v", name, err)
		}
		known.add(record)
		_, err = w.open(t, w.vf, c, w.reader.Devices[0])
		wantError(t, name, err, ErrProof, "not signed by the audience")
		// And the transfer under way ends before its next block.
		wantError(t, name+" in the middle of a transfer", w.vf.Live(v), ErrRevoked, "removed")
		// A verifier that hears of it from the document instead.
		shown := *c
		shown.Identities = [][]byte{w.owner.Record(), with(t, w.reader, record).Record()}
		_, err = w.open(t, w.verifier(), &shown, w.reader.Devices[0])
		wantError(t, name+", says its document", err, ErrProof, "not signed by the audience")
		if name == "removed" {
			v, err := w.open(t, w.vf, c, w.reader.Devices[1])
			if err != nil {
				t.Errorf("another device of the same identity: %v", err)
			} else if err := w.vf.Live(v); err != nil {
				t.Errorf("another device's transfer: %v", err)
			}
			continue
		}
		if _, err := w.open(t, w.vf, c, trusttest.Key("reader fresh")); err != nil {
			t.Errorf("the new device, with the old document: %v", err)
		}
	}
}

// Without a grant it is the same: an old document opens no mailbox.
func TestARemovedDeviceOpensNoMailbox(t *testing.T) {
	w := newWorld(t)
	known := logs{}
	w.vf.People = known
	p, want, _ := w.conversation(statement.ID{})
	open := func(device int) error {
		p.Counter++
		raw, err := identity.Sign(KindProof, p, w.reader.Devices[device])
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = w.vf.OpenIdentity(&Authority{Identity: w.reader.Record(), Proof: raw.Bytes()}, want)
		return err
	}
	if err := open(0); err != nil {
		t.Fatal("control:", err)
	}
	known.add(removal(t, w.reader, 0, w))
	wantError(t, "removed", open(0), ErrProof, "not signed by the audience")
	if err := open(1); err != nil {
		t.Errorf("control: another device: %v", err)
	}
	got, err := w.vf.Identity(w.reader.Record())
	if err != nil || len(got.Devices()) != 2 {
		t.Errorf("the identity has %d devices, %v", len(got.Devices()), err)
	}
}

// A consent and a link outlive the device that signed them where readers are
// asked, who rely on what validators took. A validator takes no new ones: a
// device that was given away signs nothing more.
func TestWhatARemovedDeviceHasSigned(t *testing.T) {
	w := newWorld(t)
	ownerGone, readerGone := removal(t, w.owner, 0, w), removal(t, w.reader, 0, w)
	chains := map[string]*Chain{"an exact consent": w.root(t, w.grant()), "a standing consent": w.under(t, w.standing(), w.grant()), "a link": w.honest(t)}
	for name, c := range chains {
		known, taken := logs{}, map[statement.ID]bool{}
		reader, validator := w.verifier(), w.verifier()
		reader.People, validator.People = known, known
		validator.Accepted = func(id statement.ID) bool { return taken[id] }
		for _, vf := range []*Verifier{reader, validator} {
			if _, err := vf.Verify(c); err != nil {
				t.Fatalf("control: %s by a device that speaks: %v", name, err)
			}
		}
		id := statement.ID(idOf(t, c.Consent))
		if name == "a link" {
			known.add(readerGone)
			id = statement.ID(idOf(t, c.Links[0]))
		} else {
			known.add(ownerGone)
		}
		v, err := reader.Verify(c)
		if err != nil || reader.Live(v) != nil {
			t.Errorf("%s, for a reader: %v", name, err)
		}
		for range 2 { // verified before or not
			_, err = validator.Verify(c)
			wantError(t, name+" that no validator took", err, ErrChain, errNotAccepted.Error())
		}
		taken[id] = true
		if _, err := validator.Verify(c); err != nil {
			t.Errorf("%s that this validator took: %v", name, err)
		}
		taken[id] = false
		_, err = validator.Verify(c)
		wantError(t, name+", from the memory", err, ErrChain, errNotAccepted.Error())
	}
	// What never belonged to the identity is not asked about.
	forged := w.honest(t)
	forged.Links[0] = w.stranger.Sign(t, KindLink, w.link(w.grant())).Bytes()
	vf := w.verifier()
	vf.People, vf.Accepted = logs{w.reader.ID(): {readerGone}}, func(statement.ID) bool { return true }
	_, err := vf.Verify(forged)
	wantError(t, "a stranger's link", err, ErrChain, "link: ")
}

// A validator asks the same before it signs a grant.
func TestConsentedByARemovedDevice(t *testing.T) {
	w := newWorld(t)
	c := w.root(t, w.grant())
	s, err := statement.Parse(c.Grant)
	if err != nil {
		t.Fatal(err)
	}
	g := w.grant()
	w.vf.People = logs{w.owner.ID(): {removal(t, w.owner, 0, w)}}
	accepted := false
	w.vf.Accepted = func(id statement.ID) bool { return accepted && id == statement.ID(idOf(t, c.Consent)) }
	owner, err := w.vf.Identity(w.owner.Record())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.vf.Consented(s.ID(), &g, c.Consent, owner)
	wantError(t, "not taken before", err, ErrChain, errNotAccepted.Error())
	accepted = true
	if _, err := w.vf.Consented(s.ID(), &g, c.Consent, owner); err != nil {
		t.Errorf("taken before: %v", err)
	}
}

// A device that a removed one added on its way out never was one: what it signed
// falls when the removal is known, although the memory holds it as verified.
func TestADeviceThatNeverWas(t *testing.T) {
	w := newWorld(t)
	thief := trusttest.Key("thief's own")
	e, err := identity.Enrol(w.reader.ID(), thief, trusttest.Recipient("thief"))
	if err != nil {
		t.Fatal(err)
	}
	leaves := removal(t, w.reader, 0, w) // keeps nothing
	added, err := w.reader.AddDevice(w.reader.Devices[0], e, w.now)
	if err != nil {
		t.Fatal(err)
	}
	known := logs{}
	known.add(added)
	w.vf.People = known
	c := w.honest(t)
	l := w.link(w.grant())
	l.Parent = idOf(t, c.Grant)
	s, err := identity.Sign(KindLink, l, thief)
	if err != nil {
		t.Fatal(err)
	}
	c.Links[0] = s.Bytes()
	v, err := w.vf.Verify(c)
	if err != nil {
		t.Fatal("control: as long as nobody knows better:", err)
	}
	known.add(leaves)
	_, err = w.vf.Verify(c)
	wantError(t, "after the removal", err, ErrChain, "link: "+statement.ErrSignature.Error())
	if err := w.vf.Live(v); !errors.Is(err, ErrChain) {
		t.Errorf("in use: %v", err)
	}
}

// What the logs know and what the document says come to one, in whatever order
// and however often it is heard.
func TestDocumentsAndLogsAreFolded(t *testing.T) {
	w := newWorld(t)
	first, second := removal(t, w.reader, 0, w), removal(t, w.reader, 1, w)
	c := w.root(t, w.grant())
	for _, s := range []struct {
		name     string
		document []*identity.Record
		logs     []*identity.Record
		devices  int
	}{
		{"nothing", nil, nil, 3},
		{"one in the logs", nil, []*identity.Record{first}, 2},
		{"one in the document", []*identity.Record{first}, nil, 2},
		{"the same in both", []*identity.Record{first}, []*identity.Record{first}, 2},
		{"one in each", []*identity.Record{first}, []*identity.Record{second}, 1},
		{"both in the logs", nil, []*identity.Record{first, second}, 1},
		{"both in the other order", nil, []*identity.Record{second, first}, 1},
	} {
		w.vf.People = logs{w.reader.ID(): s.logs}
		chain := *c
		chain.Identities = [][]byte{w.owner.Record(), with(t, w.reader, s.document...).Record()}
		for range 2 {
			v, err := w.vf.Verify(&chain)
			if err != nil || len(v.Audience().Devices()) != s.devices {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
	// Records of another identity under this one's name: refused, not passed over.
	w.vf.People = logs{w.reader.ID(): {removal(t, w.friend, 0, w)}}
	_, err := w.vf.Verify(c)
	wantError(t, "another's record", err, ErrChain, "another identity")
}

// Documents that come with chains that fail leave nothing, with records or without.
func TestWhoIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.vf.People = logs{w.reader.ID(): {removal(t, w.reader, 0, w)}}
	c := w.root(t, w.grant())
	forged := *c
	forged.Grant = unsigned(t, KindGrant, w.grant()).Bytes()
	if _, err := w.vf.Verify(&forged); err == nil {
		t.Fatal("forged")
	}
	if n := len(w.vf.people.young); n != 0 {
		t.Errorf("%d are remembered of a forged chain", n)
	}
	v, err := w.vf.Verify(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(w.vf.people.young); n != 3 { // two documents, and one with a record folded in
		t.Errorf("%d are remembered", n)
	}
	again, err := w.vf.Verify(c)
	if err != nil || again.Audience() != v.Audience() || !slices.Equal(again.Path(), v.Path()) {
		t.Errorf("it is folded again: %v", err)
	}
}
