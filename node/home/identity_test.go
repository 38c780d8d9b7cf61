package home

import (
	"bytes"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
)

// A home learns what happened to its identity elsewhere, keeps it, and says when
// its own device was removed.
func TestAHomeLearnsOfItsIdentity(t *testing.T) {
	h := makeHome(t)
	p, err := h.Principal("")
	if err != nil || !p.Current {
		t.Fatalf("control: a new home's device: %v", err)
	}
	phone := statement.GenerateKey()
	request, err := identity.Enrol(p.Identity.ID(), phone, p.Identity.Recipients()[0]+"x")
	if err != nil {
		t.Fatal(err)
	}
	add, err := p.Identity.AddDevice(p.Device, request, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	two, err := p.Identity.With(add)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := two.RemoveSelf(p.Device, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	one, err := two.With(gone)
	if err != nil {
		t.Fatal(err)
	}
	old := p.Identity
	for _, c := range []struct {
		name    string
		newer   *identity.Identity
		want    *identity.Identity
		current bool
	}{
		{"the same", old, old, true},
		{"a second device", two, two, true},
		{"an older copy", old, two, true},
		{"its own removal", one, one, false},
		{"a copy from before", two, one, false},
	} {
		if err := h.UpdateIdentity("", c.newer); err != nil {
			t.Fatal(c.name, err)
		}
		again, err := Open(h.Dir, noPassphrase)
		if err != nil {
			t.Fatal(c.name, err)
		}
		for _, x := range []*Home{h, again} { // at once, and for ever
			p, err := x.Principal("")
			if err != nil || p.Current != c.current || !bytes.Equal(p.Identity.Record(), c.want.Record()) {
				t.Errorf("%s: current %v, %v", c.name, p.Current, err)
			}
		}
	}
	bot, _, err := h.NewIdentity("bot", identity.Agent)
	if err != nil {
		t.Fatal(err)
	}
	wantExit(t, h.UpdateIdentity("", bot.Identity), fault.Failed)
	wantExit(t, h.UpdateIdentity("nobody", bot.Identity), fault.Usage)
}
