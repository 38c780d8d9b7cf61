package home

import (
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/node/fault"
)

func TestRecoverySecretsAreReadAsPeopleTypeThem(t *testing.T) {
	text, key := NewRecovery()
	code := strings.TrimPrefix(text, recoveryPrefix)
	for _, typed := range []string{text, " " + text + "\r\n", strings.ToLower(text), recoveryPrefix + code[:10] + " " + code[10:20] + "\n" + code[20:]} {
		if got, err := ParseRecovery(typed); err != nil || got.Public() != key {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

// Every wrong character is found, and no error has a part of the secret in it.
func TestDamagedRecoverySecrets(t *testing.T) {
	text, _ := NewRecovery()
	code := strings.TrimPrefix(text, recoveryPrefix)
	bad := []string{"", code, text[:len(text)-1], text + "A", text + text, recoveryPrefix, strings.Replace(text, "-1-", "-2-", 1), strings.Repeat("A", 5000)}
	for i := range code {
		other := byte('A')
		if code[i] == other {
			other = 'B'
		}
		bad = append(bad, recoveryPrefix+code[:i]+string(other)+code[i+1:], recoveryPrefix+code[:i]+"1"+code[i+1:])
	}
	for _, s := range bad {
		_, err := ParseRecovery(s)
		if err == nil {
			t.Errorf("%q is taken", s)
			continue
		}
		if f := fault.Of(err); f.Exit != fault.Usage || f.Hint == "" || strings.Contains(err.Error(), code[:12]) {
			t.Errorf("%v", err)
		}
	}
}

func FuzzParseRecovery(f *testing.F) {
	text, _ := NewRecovery()
	f.Add(text)
	f.Add(strings.ToLower(text))
	f.Add(text[:40])
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		key, err := ParseRecovery(s)
		if err != nil {
			return
		}
		if again, err := ParseRecovery(recoveryText(key)); err != nil || again.Public() != key.Public() {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// TestEnrolledKeys: what a home keeps of a device that asks, is taken in, removed,
// and asks again.
func TestEnrolledKeys(t *testing.T) {
	dir := t.TempDir()
	h, _, err := Init(dir+"/phone", plainKeys())
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := Init(dir+"/laptop", plainKeys())
	if err != nil {
		t.Fatal(err)
	}
	laptop := other.Principals()[0]
	p, err := h.Enrol("ann", laptop.Identity)
	if err != nil || !p.Pending() || p.Current {
		t.Fatalf("%+v, %v", p, err)
	}
	first := p.Device.Public()
	if again, err := h.Enrol("else", laptop.Identity); err != nil || again.Device.Public() != first || again.Name != "ann" {
		t.Errorf("it asks with other keys: %v", err)
	}
	if _, err := h.Enrol(h.Principals()[0].Name, newPerson(t)); fault.Of(err).Exit != fault.Failed {
		t.Errorf("a name that is taken: %v", err)
	}
	add := func() *identity.Identity {
		p, err := h.Principal("ann")
		if err != nil {
			t.Fatal(err)
		}
		recipient, err := p.Recipient()
		if err != nil {
			t.Fatal(err)
		}
		e, err := identity.Enrol(laptop.Identity.ID(), p.Device, recipient)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := p.Identity.AddDevice(laptop.Device, e, time.Unix(1_900_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		after, err := p.Identity.With(rec)
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	after := add()
	if err := h.UpdateIdentity("ann", after); err != nil {
		t.Fatal(err)
	}
	if p, _ = h.Principal("ann"); !p.Current || p.Pending() {
		t.Errorf("it was taken in, and is %+v", p)
	}
	if err := h.Forget("ann"); err == nil {
		t.Error("the keys of a device that spoke are forgotten")
	}
	if _, err := h.Enrol("ann", after); err == nil {
		t.Error("a current device asks")
	}
	gone, err := after.RemoveSelf(p.Device, time.Unix(1_900_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if after, err = after.With(gone); err != nil {
		t.Fatal(err)
	}
	if err := h.UpdateIdentity("ann", after); err != nil {
		t.Fatal(err)
	}
	if p, err = h.Enrol("ann", after); err != nil || !p.Pending() || p.Device.Public() == first {
		t.Errorf("a removed device asks with its old keys: %v", err)
	}
	if err := h.Forget("ann"); err != nil {
		t.Error(err)
	}
	if _, err := h.Principal("ann"); err == nil {
		t.Error("it is still there")
	}
	again, err := Open(dir+"/phone", nil)
	if err != nil || len(again.Principals()) != 1 {
		t.Errorf("%v", err)
	}
}

func newPerson(t *testing.T) *identity.Identity {
	t.Helper()
	k, _, err := newIdentity("x", identity.User)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Parse(k.Document)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
