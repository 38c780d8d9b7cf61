package validatortest

import (
	"crypto/rand"
	"testing"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Erasure is a person's order to erase keys.
func (net *Network) Erasure(t testing.TB, owner *Person, keys ...envelope.Nonce) revocation.Entry {
	t.Helper()
	b := revocation.Erasure{Network: net.Network(), Keys: keys, Reason: "it was asked for", Time: net.Clock.Now().Unix()}
	rand.Read(b.Nonce[:])
	e, err := revocation.SignErasure(b, owner.Identity, owner.Device)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Erase sends an order to a validator.
func (net *Network) Erase(t testing.TB, i int, e revocation.Entry) (*validator.EraseReply, error) {
	t.Helper()
	raw, err := net.Validators[i].Judge.Erase(t.Context(), validator.Conn{}, marshal(validator.EraseRequest{Entry: e}))
	if err != nil {
		return nil, err
	}
	var r validator.EraseReply
	if err := statement.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return &r, nil
}

// HoldOn is a hold on something that an owner has, ordered by an officer.
func (net *Network) HoldOn(officer, owner *Person, on revocation.HoldOn, ref envelope.Nonce) revocation.Hold {
	h := revocation.Hold{
		Network: net.Network(), Record: net.Chain.Current().ID(), Owner: owner.ID(), On: on, Ref: ref, Placed: true,
		Officer: officer.ID(), Time: net.Clock.Now().Unix(),
	}
	rand.Read(h.Nonce[:])
	return h
}

// AskHold asks a validator to sign a hold or a release for somebody.
func (net *Network) AskHold(t testing.TB, i int, who *Person, h revocation.Hold) (*statement.Statement, error) {
	t.Helper()
	s, err := statement.New(revocation.KindHold, h)
	if err != nil {
		t.Fatal(err)
	}
	session := net.Connect(who, i)
	q := validator.HoldRequest{Hold: s.Bytes()}
	q.Authority = net.ByIdentity(t, who, session, q.Digest())
	raw, err := net.Validators[i].Hold(t.Context(), session.Conn(), marshal(q))
	if err != nil {
		return nil, err
	}
	var r validator.HoldReply
	if err := statement.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return statement.Parse(r.Hold)
}

// SignHold has K validators sign a hold or a release, and returns its entry.
func (net *Network) SignHold(t testing.TB, who *Person, h revocation.Hold) revocation.Entry {
	t.Helper()
	s, err := revocation.DraftHold(h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int(net.Numbers.K) {
		one, err := net.AskHold(t, i, who, h)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Merge(one); err != nil {
			t.Fatal(err)
		}
	}
	return revocation.Entry{Statement: s.Bytes()}
}

// Keep hands a signed hold or release to a validator.
func (net *Network) Keep(t testing.TB, i int, e revocation.Entry) error {
	t.Helper()
	_, err := net.Validators[i].Keep(t.Context(), marshal(validator.KeepRequest{Entry: e}))
	return err
}

// Officer makes a person a legal officer for a day.
func (net *Network) Officer(t testing.TB, p *Person) *Person {
	t.Helper()
	net.Assign(t, p, validator.RoleOfficer)
	return p
}
