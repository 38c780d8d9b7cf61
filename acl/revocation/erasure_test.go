package revocation

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// erasure is an owner's order about keys of these nonces.
func erasure(t testing.TB, net *trusttest.Network, owner *trusttest.Person, nonces ...byte) Entry {
	t.Helper()
	body := Erasure{Network: net.Network(), Reason: "no longer needed", Time: 1}
	for _, n := range nonces {
		body.Keys = append(body.Keys, envelope.Nonce{n})
	}
	e, err := SignErasure(body, owner.Identity, owner.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestOnlyTheOwnerErases(t *testing.T) {
	net, other := trusttest.New(t, "net", 1), trusttest.New(t, "other", 1)
	owner, thief := trusttest.WithDevices(t, "owner", identity.User, 2), trusttest.NewPerson(t, "thief", identity.User)
	many := make([]envelope.Nonce, MaxErasedKeys+1)
	for i := range many {
		many[i] = envelope.Nonce{byte(i >> 8), byte(i)}
	}
	for _, c := range []struct {
		name, rule string
		change     func(b *Erasure, e *Entry, by *trusttest.Person)
	}{
		{"control", "", func(*Erasure, *Entry, *trusttest.Person) {}},
		{"the other device", "", func(_ *Erasure, _ *Entry, by *trusttest.Person) { by.Devices = by.Devices[1:] }},
		{"as many keys as it may name", "", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Keys = many[1:] }},
		{"one more", "names 1 to", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Keys = many }},
		{"no key", "names 1 to", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Keys = []envelope.Nonce{} }},
		{"a key twice", "not in order", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Keys = []envelope.Nonce{{1}, {1}} }},
		{"keys out of order", "not in order", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Keys = []envelope.Nonce{{2}, {1}} }},
		{"a long reason", "names 1 to", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Reason = strings.Repeat("x", maxReason+1) }},
		{"another network's", "another network", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Network = other.Network() }},
		{"in another's name", "another identity's", func(b *Erasure, _ *Entry, _ *trusttest.Person) { b.Owner = thief.ID() }},
		{"with another's record", "another identity's", func(_ *Erasure, e *Entry, _ *trusttest.Person) { e.Identity = thief.Record() }},
		{"signed by another", "signatures do not", func(_ *Erasure, _ *Entry, by *trusttest.Person) { by.Devices = thief.Devices }},
		{"without a record", "identity record", func(_ *Erasure, e *Entry, _ *trusttest.Person) { e.Identity = nil }},
	} {
		b, by, e := Erasure{Network: net.Network(), Owner: owner.ID(), Keys: []envelope.Nonce{{1}, {2}}}, *owner, Entry{Identity: owner.Record()}
		c.change(&b, &e, &by)
		e.Statement = by.Sign(t, KindErasure, b).Bytes()
		_, _, err := e.VerifyErasure(net.Network())
		if c.rule == "" && err != nil || c.rule != "" && (!errors.Is(err, ErrEntry) || !strings.Contains(err.Error(), c.rule)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.rule)
		}
		set := openSet(t, new(kv.Memory), net)
		if _, err := set.Add(e); (err == nil) != (c.rule == "") || set.Erased(envelope.KeyID(net.Network(), owner.ID(), envelope.Nonce{1})) != (c.rule == "") {
			t.Errorf("%s: in a set: %v", c.name, err)
		}
	}
	if _, err := SignErasure(Erasure{Keys: []envelope.Nonce{{1}}}, owner.Identity, thief.Devices[0]); err == nil {
		t.Error("a device signs for an identity that is not its own")
	}
	if _, err := SignErasure(Erasure{}, owner.Identity, owner.Devices[0]); err == nil {
		t.Error("an erasure of nothing is signed")
	}
	e, err := SignErasure(Erasure{Network: net.Network(), Keys: []envelope.Nonce{{2}, {1}, {2}}}, owner.Identity, owner.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	if b, _, err := e.VerifyErasure(net.Network()); err != nil || !slices.Equal(b.Keys, []envelope.Nonce{{1}, {2}}) {
		t.Errorf("control: keys in any order: %v", err)
	}
}

// An owner's nonce makes the owner's key: the same nonce erases nobody else's.
// And once it is known it stays, over a restart and whatever follows.
func TestAnErasureIsOfOnesOwnKeysAndStays(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	owner, thief := trusttest.NewPerson(t, "owner", identity.User), trusttest.NewPerson(t, "thief", identity.User)
	key := func(p *trusttest.Person, n byte) statement.ID {
		return envelope.KeyID(net.Network(), p.ID(), envelope.Nonce{n})
	}
	store := new(kv.Memory)
	set := openSet(t, store, net)
	if _, err := set.Add(erasure(t, net, thief, 1)); err != nil {
		t.Fatal(err)
	}
	if set.Erased(key(owner, 1)) || !set.Erased(key(thief, 1)) {
		t.Error("a thief who knows the nonce erases the owner's key, or not its own")
	}
	e := erasure(t, net, owner, 1, 2)
	_, id, err := e.VerifyErasure(net.Network())
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := Sign(Revocation{Network: net.Network(), Target: id}, owner.Identity, owner.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Add(e, revoked, erasure(t, net, owner, 2, 3)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Set{set, openSet(t, store, net)} {
		for n, want := range map[byte]bool{1: true, 2: true, 3: true, 4: false} {
			if s.Erased(key(owner, n)) != want {
				t.Errorf("key %d is erased: %v; revoking an erasure takes nothing back", n, !want)
			}
		}
		if got := s.Facts(KindErasure, key(owner, 2)); len(got) != 2 || got[0].Signer != owner.ID() {
			t.Errorf("%d erasures of key 2", len(got))
		}
	}
}

// A third party with nothing but the records, the erasure and the receipts can
// tell whether a key is gone.
func TestReceiptsProveAnErasure(t *testing.T) {
	net, other := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4)
	chain := trust.Fixed(net.Committee)
	owner := trusttest.NewPerson(t, "owner", identity.User)
	e, elsewhere := erasure(t, net, owner, 1, 2), erasure(t, net, owner, 1)
	b, id, err := e.VerifyErasure(net.Network())
	if err != nil {
		t.Fatal(err)
	}
	_, otherID, err := elsewhere.VerifyErasure(net.Network())
	if err != nil {
		t.Fatal(err)
	}
	receipt := func(v int, key statement.ID, by statement.PrivateKey, change func(*Receipt)) []byte {
		r := Receipt{Network: net.Network(), Erasure: id, Key: key, Record: net.ID(), Validator: uint16(v), Time: 1}
		if change != nil {
			change(&r)
		}
		raw, err := SignReceipt(r, by)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	keys := b.KeyIDs()
	honest := func(v int) [][]byte {
		return [][]byte{receipt(v, keys[0], net.Signing[v], nil), receipt(v, keys[1], net.Signing[v], nil)}
	}
	two := slices.Concat(honest(0), honest(2))
	if got, err := CheckErased(e, slices.Concat(two, honest(3)), chain); err != nil || got.Owner != owner.ID() {
		t.Fatalf("control: three of four: %v", err) // n-t+1+f = 3
	}
	for name, raw := range map[string][]byte{
		"no third":                          nil,
		"the first again":                   receipt(0, keys[0], net.Signing[0], nil),
		"the first again, at another time":  receipt(0, keys[0], net.Signing[0], func(r *Receipt) { r.Time = 2 }),
		"another erasure's":                 receipt(3, keys[0], net.Signing[3], func(r *Receipt) { r.Erasure = otherID }),
		"another key's":                     receipt(3, keys[1], net.Signing[3], nil),
		"another network's":                 receipt(3, keys[0], net.Signing[3], func(r *Receipt) { r.Network = other.Network() }),
		"under an unknown record":           receipt(3, keys[0], net.Signing[3], func(r *Receipt) { r.Record = other.ID() }),
		"signed by another validator":       receipt(3, keys[0], net.Signing[0], nil),
		"signed by a stranger":              receipt(3, keys[0], trusttest.Key("stranger"), nil),
		"of a validator that there is none": receipt(4, keys[0], net.Signing[3], nil),
		"junk":                              []byte("junk"),
		"too long":                          make([]byte, maxReceipt+1),
	} {
		if _, err := CheckErased(e, slices.Concat(two, [][]byte{raw, receipt(3, keys[1], net.Signing[3], nil)}), chain); !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), "lacks 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := CheckErased(elsewhere, slices.Concat(two, honest(3)), chain); !errors.Is(err, ErrReceipt) {
		t.Errorf("receipts of one erasure prove another: %v", err)
	}
	if _, err := CheckErased(erasure(t, other, owner, 1), nil, chain); !errors.Is(err, ErrEntry) {
		t.Errorf("another network's erasure: %v", err)
	}
	body := Receipt{Network: net.Network(), Erasure: id, Key: keys[0], Record: net.ID()}
	ack, err := statement.New(KindAck, body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseReceipt(net.Sign(ack, 0).Bytes(), chain); !errors.Is(err, ErrReceipt) {
		t.Errorf("a receipt of another kind: %v", err)
	}
	double, err := statement.New(KindErased, body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseReceipt(net.Sign(double, 0, 1).Bytes(), chain); !errors.Is(err, ErrReceipt) {
		t.Errorf("a receipt with two signatures: %v", err)
	}
}

// Receipts of two committees do not add up: each committee's shares open the key
// by themselves.
func TestReceiptsOfTwoCommitteesDoNotAddUp(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	chain := trust.Fixed(net.Committee)
	next, err := chain.Add(net.Succeed(t, nil).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	owner := trusttest.NewPerson(t, "owner", identity.User)
	e := erasure(t, net, owner, 1)
	b, id, err := e.VerifyErasure(net.Network())
	if err != nil {
		t.Fatal(err)
	}
	of := func(record statement.ID, v int) []byte {
		raw, err := SignReceipt(Receipt{Network: net.Network(), Erasure: id, Key: b.KeyIDs()[0], Record: record, Validator: uint16(v)}, net.Signing[v])
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	mixed := [][]byte{of(net.ID(), 0), of(net.ID(), 1), of(next.ID(), 2), of(next.ID(), 3)}
	if _, err := CheckErased(e, mixed, chain); !errors.Is(err, ErrReceipt) {
		t.Errorf("two and two of four: %v", err)
	}
	if _, err := CheckErased(e, append(mixed, of(next.ID(), 0)), chain); err != nil {
		t.Errorf("control: three under one record: %v", err)
	}
	if _, err := chain.Add(net.Recover(t, nil).Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckErased(e, append(mixed, of(next.ID(), 0)), chain); !errors.Is(err, ErrReceipt) {
		t.Errorf("three under a record that a recovery has voided: %v", err)
	}
}
