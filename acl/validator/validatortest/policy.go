package validatortest

import (
	"crypto/rand"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Role is an assignment of a role to somebody for a day, as K validators signed it.
func (net *Network) Role(t testing.TB, who *Person, role string) []byte {
	t.Helper()
	return net.SignedRole(t, net.Assignment(who, role))
}

// Assignment gives a role for a day from now on.
func (net *Network) Assignment(who *Person, role string) policy.Assignment {
	now := net.Clock.Now()
	a := policy.Assignment{
		Network: net.Network(), Record: net.ID(), Identity: who.ID(), Role: role, Granted: true,
		NotBefore: now.Unix() - 60, Expires: now.Add(24 * time.Hour).Unix(),
	}
	rand.Read(a.Nonce[:])
	return a
}

// SignedRole has K validators sign an assignment, without asking them.
func (net *Network) SignedRole(t testing.TB, a policy.Assignment) []byte {
	t.Helper()
	s, err := policy.DraftRole(a)
	if err != nil {
		t.Fatal(err)
	}
	net.keys.Sign(s, net.keys.Quorum()...)
	return s.Bytes()
}

// Assign gives somebody roles, which every validator learns at once.
func (net *Network) Assign(t testing.TB, who *Person, roles ...string) {
	t.Helper()
	for _, r := range roles {
		raw := net.Role(t, who, r)
		for _, v := range net.Validators {
			if _, _, err := v.Book.Take(raw); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Bundle makes of a bundle the next version, in force at a time and signed by K
// validators, and gives it to nobody.
func (net *Network) Bundle(t testing.TB, b *policy.Bundle, from time.Time) []byte {
	t.Helper()
	raw, err := policy.Propose(net.Validators[0].Policies.Follow(b, from))
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	net.keys.Sign(s, net.keys.Quorum()...)
	return s.Bytes()
}
