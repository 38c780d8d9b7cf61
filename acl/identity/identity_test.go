package identity

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

func key(t testing.TB, seed byte) statement.PrivateKey {
	t.Helper()
	k, err := statement.KeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const recipient = "age1pq1qqqqqqqqqqqqqqqq"

// inception is a body with devices 1, 2, ... and the key 99 for recovery.
func inception(t testing.TB, devices int) (Inception, []statement.PrivateKey) {
	t.Helper()
	b := Inception{Kind: Agent, Recipients: []string{recipient}, Recovery: key(t, 99).Public().Digest(), Nonce: [16]byte{7}}
	var keys []statement.PrivateKey
	for i := range devices {
		keys = append(keys, key(t, byte(i+1)))
		b.Devices = append(b.Devices, keys[i].Public())
	}
	return b, keys
}

func sign(t testing.TB, kind statement.Kind, body any, keys ...statement.PrivateKey) *statement.Statement {
	t.Helper()
	s, err := statement.Sign(kind, body, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheRecordProvesTheId(t *testing.T) {
	id, err := Incept(Agent, key(t, 1), recipient, key(t, 99).Public(), [16]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	body, keys := inception(t, 1)
	if want := sign(t, KindInception, body, keys...).ID(); id.ID() != want {
		t.Errorf("the id is %s, the record's is %s", id.ID(), want)
	}
	for name, read := range map[string]func() (*Identity, error){
		"record":  func() (*Identity, error) { return Parse(id.Record()) },
		"contact": func() (*Identity, error) { return ParseContact(id.Contact()) },
	} {
		got, err := read()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.ID() != id.ID() || got.Kind() != Agent || !slices.Equal(got.Recipients(), []string{recipient}) ||
			!slices.Equal(got.Devices(), []statement.PublicKey{key(t, 1).Public()}) {
			t.Errorf("%s: another identity comes back", name)
		}
	}
	again, err := Incept(Agent, key(t, 1), recipient, key(t, 99).Public(), [16]byte{8})
	if err != nil || again.ID() == id.ID() {
		t.Error("two identities of one device collide")
	}
}

func TestInceptRefusesWhatParseWould(t *testing.T) {
	if _, err := Incept(0, key(t, 1), recipient, key(t, 99).Public(), [16]byte{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an unknown kind: %v", err)
	}
	if _, err := Incept(User, key(t, 1), recipient, key(t, 1).Public(), [16]byte{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("one key for device and recovery: %v", err)
	}
}

// Whatever single bit is flipped, the record proves nothing any more.
func TestEveryBitOfARecordCounts(t *testing.T) {
	body, keys := inception(t, 1)
	start, err := New(sign(t, KindInception, body, keys...).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	raw := start.Record()
	if _, err := Parse(raw); err != nil {
		t.Fatal("control:", err)
	}
	for bit := range 8 * len(raw) {
		b := bytes.Clone(raw)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := Parse(b); !errors.Is(err, ErrInvalid) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range raw {
		if _, err := Parse(raw[:n]); err == nil {
			t.Errorf("cut to %d bytes it is taken", n)
		}
	}
	if _, err := Parse(append(bytes.Clone(raw), 0)); err == nil {
		t.Error("extended it is taken")
	}
}

func TestRecordsThatProveNothing(t *testing.T) {
	const kinds, counts, recipients, signatures = "kind is unknown", "no or too many", "hybrid recipients", "signatures do not verify"
	for _, c := range []struct {
		name, want string
		change     func(b *Inception, keys *[]statement.PrivateKey)
	}{
		{"control", "", func(*Inception, *[]statement.PrivateKey) {}},
		{"kind 0", kinds, func(b *Inception, _ *[]statement.PrivateKey) { b.Kind = 0 }},
		{"kind 4", kinds, func(b *Inception, _ *[]statement.PrivateKey) { b.Kind = Service + 1 }},
		{"no device", counts, func(b *Inception, _ *[]statement.PrivateKey) { b.Devices = nil }},
		{"too many devices", counts, func(b *Inception, k *[]statement.PrivateKey) {
			more, keys := inception(t, MaxDevices+1)
			*b, *k = more, keys
		}},
		{"no recipient", counts, func(b *Inception, _ *[]statement.PrivateKey) { b.Recipients = nil }},
		{"too many recipients", counts, func(b *Inception, _ *[]statement.PrivateKey) {
			b.Recipients = slices.Repeat(b.Recipients, MaxRecipients+1)
		}},
		{"a classic recipient", recipients, func(b *Inception, _ *[]statement.PrivateKey) { b.Recipients[0] = "age1qqqqqqqq" }},
		{"a classic recipient beside a hybrid one", recipients, func(b *Inception, _ *[]statement.PrivateKey) {
			b.Recipients = append(b.Recipients, "age1qqqqqqqq")
		}},
		{"a long recipient", recipients, func(b *Inception, _ *[]statement.PrivateKey) {
			b.Recipients[0] += strings.Repeat("q", maxRecipient)
		}},
		{"a long record", "more than 12288 bytes", func(b *Inception, _ *[]statement.PrivateKey) {
			b.Recipients = slices.Repeat([]string{recipient + strings.Repeat("q", 2000)}, 6)
		}},
		{"recovery by a device", "recovery key is one of its devices", func(b *Inception, _ *[]statement.PrivateKey) {
			b.Recovery = b.Devices[1].Digest()
		}},
		{"a device that did not sign", signatures, func(_ *Inception, k *[]statement.PrivateKey) { *k = (*k)[:1] }},
		{"a device enrolled by another", signatures, func(_ *Inception, k *[]statement.PrivateKey) { (*k)[1] = key(t, 50) }},
		{"one device listed twice", signatures, func(b *Inception, k *[]statement.PrivateKey) {
			b.Devices[1], (*k)[1] = b.Devices[0], (*k)[0]
		}},
		{"the key that nobody holds", signatures, func(b *Inception, _ *[]statement.PrivateKey) { b.Devices[1] = statement.PublicKey{} }},
		{"a surplus signature", signatures, func(_ *Inception, k *[]statement.PrivateKey) { *k = append(*k, key(t, 3)) }},
	} {
		body, keys := inception(t, 2)
		c.change(&body, &keys)
		_, err := New(sign(t, KindInception, body, keys...).Bytes())
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Two devices may each hold the largest number of other things.
func TestTheLargestIdentity(t *testing.T) {
	body, keys := inception(t, MaxDevices)
	body.Recipients = slices.Repeat(body.Recipients, MaxRecipients)
	if _, err := New(sign(t, KindInception, body, keys...).Bytes()); err != nil {
		t.Error(err)
	}
	body.Recipients = slices.Repeat([]string{recipient + strings.Repeat("q", 1959-len(recipient))}, 5)
	if _, err := New(sign(t, KindInception, body, keys...).Bytes()); err != nil {
		t.Error("five hybrid recipients:", err)
	}
}

func TestARecordIsOfOneKind(t *testing.T) {
	body, keys := inception(t, 1)
	if _, err := New(sign(t, "grant", body, keys...).Bytes()); !errors.Is(err, statement.ErrKind) {
		t.Errorf("the same body as a grant: %v", err)
	}
}

func TestAnyDeviceSpeaksAndNobodyElse(t *testing.T) {
	body, keys := inception(t, 3)
	id, err := New(sign(t, KindInception, body, keys...).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		index, ok := id.DeviceIndex(k.Public())
		if d := k.Public().Digest(); !ok || index != uint16(d[0])<<8|uint16(d[1]) {
			t.Errorf("device %d stands at %d, %v", i, index, ok)
		}
		s, err := statement.New("test", body)
		if err != nil {
			t.Fatal(err)
		}
		s.AddSignature(index, k)
		if err := id.Verify("test", s); err != nil {
			t.Errorf("device %d: %v", i, err)
		}
		if err := id.Verify("other", s); !errors.Is(err, statement.ErrKind) {
			t.Errorf("device %d under another kind: %v", i, err)
		}
	}
	if _, ok := id.DeviceIndex(key(t, 50).Public()); ok {
		t.Error("a stranger has a place")
	}
	for name, s := range map[string]*statement.Statement{
		"a stranger":                  sign(t, "test", body, key(t, 50)),
		"the recovery key":            sign(t, "test", body, key(t, 99)),
		"a device in another's place": sign(t, "test", body, keys[1]),
		"nobody":                      sign(t, "test", body),
	} {
		if err := id.Verify("test", s); !errors.Is(err, statement.ErrSignature) {
			t.Errorf("%s signs: %v", name, err)
		}
	}
}

// Requests share an identity that was verified once, so that nobody may change it.
func TestWhatAnIdentityHandsOutIsACopy(t *testing.T) {
	body, keys := inception(t, 1)
	id, err := New(sign(t, KindInception, body, keys...).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	id.Devices()[0] = key(t, 50).Public()
	id.Recipients()[0] = "age1pq1mine"
	id.Record()[0] ^= 1
	if id.Devices()[0] != keys[0].Public() || id.Recipients()[0] != recipient {
		t.Error("a caller enrolled its own key")
	}
	if _, err := Parse(id.Record()); err != nil {
		t.Error("a caller changed the record")
	}
	if err := id.Verify("test", sign(t, "test", body, key(t, 50))); err == nil {
		t.Error("a caller's key signs")
	}
}

func TestContacts(t *testing.T) {
	body, keys := inception(t, 1)
	id, err := New(sign(t, KindInception, body, keys...).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	c := id.Contact()
	for name, text := range map[string]string{
		"as it is":            c,
		"with space around":   "\t " + c + "\r\n",
		"wrapped by a mailer": c[:76] + "\r\n" + c[76:152] + "\n" + c[152:],
	} {
		if got, err := ParseContact(text); err != nil || got.ID() != id.ID() {
			t.Errorf("%s: %v", name, err)
		}
	}
	last := c[len(c)-1]
	for name, text := range map[string]string{
		"empty":                    "",
		"without its beginning":    strings.TrimPrefix(c, contactPrefix),
		"of another version":       strings.Replace(c, "-1.", "-2.", 1),
		"cut":                      c[:len(c)-3],
		"of nothing":               contactPrefix,
		"with padding":             c + "=",
		"with a space inside":      c[:50] + " " + c[50:],
		"in another alphabet":      c[:50] + "+" + c[51:],
		"with a digit of it wrong": c[:len(c)-9] + string('A'+(c[len(c)-9]-'A'+1)%26) + c[len(c)-8:],
		"with spare bits set":      spareBits(c, last),
	} {
		if text == "" && name != "empty" {
			continue // this contact has no spare bits
		}
		got, err := ParseContact(text)
		if err == nil {
			t.Errorf("a contact %s is taken for %s", name, got.ID())
		} else if len(text) > len(contactPrefix) && strings.Contains(err.Error(), text[len(contactPrefix):]) {
			t.Errorf("a contact %s: the error quotes it; somebody may have pasted a secret", name)
		}
	}
}

// Whatever the length, nothing may follow the last digit.
func TestContactsEndWhereTheyEnd(t *testing.T) {
	for n := range 3 {
		id, err := Incept(User, key(t, 1), recipient+strings.Repeat("q", n), key(t, 99).Public(), [16]byte{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseContact(id.Contact()); err != nil {
			t.Error("control:", err)
		}
		for _, more := range []string{"=", "==", "!", "A", "AA", "AAAA", ".x"} {
			if _, err := ParseContact(id.Contact() + more); err == nil {
				t.Errorf("a contact of %d digits is taken with %q behind it", len(id.Contact()), more)
			}
		}
	}
}

// spareBits sets the bits behind the last byte, where the encoding has some.
func spareBits(c string, last byte) string {
	if (len(c)-len(contactPrefix))%4 == 0 {
		return ""
	}
	return c[:len(c)-1] + string(last+1)
}

func TestKinds(t *testing.T) {
	for _, k := range []Kind{User, Agent, Service} {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("%v comes back as %v, %v", k, got, err)
		}
	}
	for _, s := range []string{"", "User", "unknown", "enclave"} {
		if k, err := ParseKind(s); err == nil {
			t.Errorf("%q is %v", s, k)
		}
	}
	if Kind(0).String() != "unknown" || Kind(9).String() != "unknown" {
		t.Error("an unknown kind has a name")
	}
}

// Formats are final: what these bytes prove today they prove for ever.
func TestFrozenInception(t *testing.T) {
	body, keys := inception(t, 2)
	s := sign(t, KindInception, body, keys...)
	got := s.ID().String() + " " + statement.Hash("test", s.Bytes()).String()
	if got != frozenInception {
		t.Errorf("an inception's id and the hash of its bytes are\n%s, want\n%s", got, frozenInception)
	}
	id, err := ParseContact(frozenContact)
	if err != nil {
		t.Fatal(err)
	}
	if id.Contact() != frozenContact || id.ID().String() != strings.Fields(frozenInception)[0] {
		t.Error("the frozen contact is another identity")
	}
}

const (
	frozenInception = "ba4383f0504a9fa72d31a2c63132c0745be85e76b9dd0638bb2975bf95ea97ff " +
		"5fb1c63c635c5fa4aca654feaf12246f64e1368c70f3c09bc73e1a155686619a"
	frozenContact = "cerebrum-contact-1.glkBS4N4KmFwcGxpY2F0aW9uL3ZuZC5jZXJlYnJ1bS5pbmNlcHRpb24udjErY2JvcliThQKCWCCKiOPddAnxlf1S2y0" +
		"8ul1yymcJvx2UEhvzdIgBtA9vXFgggTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5SBd2FnZTFwcTFxcXFxcXFxcXFxcXFxcXFxWCArY" +
		"fDseisjUjJ0uj9bCkqeZvdaEWXhHO0lhi2KFpJ2HVAHAAAAAAAAAAAAAAAAAAAAgoIAWECAfOQ8TVrn8T__BRU9HHqGhURAtkQGXWHkEgofJ_-" +
		"A3kj65v4MiHVgSHAB5M6Ig1tYI8hMUZhXsSSOVlMbQL0FggFYQBRHPUK5Avrqv6wdFyz2ygNdRkLPGdeHIeKjY7jc7ZL8zoed9Y7GD79DmXjHP" +
		"ouIUm04SsLUk6dMKykMzUCHkAqA"
)
