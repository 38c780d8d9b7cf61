package capability

import (
	"bytes"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/fxamacker/cbor/v2"
)

// items splits the encoding of a short array.
func items(t testing.TB, raw []byte) []cbor.RawMessage {
	t.Helper()
	var out []cbor.RawMessage
	if err := cbor.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func array(parts ...[]byte) []byte {
	return append([]byte{0x80 | byte(len(parts))}, bytes.Join(parts, nil)...) // up to 23 parts
}

func swap(t testing.TB, raw []byte, at int, item []byte) []byte {
	parts := items(t, raw)
	parts[at] = item
	out := make([][]byte, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return array(out...)
}

// arrays are other encodings of an array: what decodes is the same, or nearly.
var arrays = map[string]func(raw []byte) []byte{
	"a longer length":      func(raw []byte) []byte { return append([]byte{0x98, raw[0] & 0x1f}, raw[1:]...) },
	"a much longer length": func(raw []byte) []byte { return append([]byte{0x9b, 0, 0, 0, 0, 0, 0, 0, raw[0] & 0x1f}, raw[1:]...) },
	"an indefinite length": func(raw []byte) []byte { return append(append([]byte{0x9f}, raw[1:]...), 0xff) },
	"a tag":                func(raw []byte) []byte { return append([]byte{0xd9, 0xd9, 0xf7}, raw...) },
	"a tag of a date":      func(raw []byte) []byte { return append([]byte{0xc1}, raw...) },
	"a trailing byte":      func(raw []byte) []byte { return append(slices.Clone(raw), 0) },
	"a trailing null":      func(raw []byte) []byte { return append(slices.Clone(raw), 0xf6) },
	"one item more":        func(raw []byte) []byte { return append(append([]byte{raw[0] + 1}, raw[1:]...), 0x00) },
	"a byte missing":       func(raw []byte) []byte { return raw[:len(raw)-1] },
	"itself in an array":   func(raw []byte) []byte { return append([]byte{0x81}, raw...) },
	"nothing":              func([]byte) []byte { return []byte{} },
}

// bodies are other encodings of a grant's body. The places are those of the
// fields in [Grant] and [Caveats].
func bodies(t testing.TB) map[string]func(raw []byte) []byte {
	const parent, abilities, caveats, depth, consent = 0, 7, 8, 9, 10
	inCaveats := func(at int, change func(item []byte) []byte) func(raw []byte) []byte {
		return func(raw []byte) []byte {
			c := items(t, raw)[caveats]
			return swap(t, raw, caveats, swap(t, c, at, change(items(t, c)[at])))
		}
	}
	at := func(place int, item ...byte) func(raw []byte) []byte {
		return func(raw []byte) []byte { return swap(t, raw, place, item) }
	}
	return map[string]func(raw []byte) []byte{
		"a longer integer":                at(depth, 0x18, 0x02),
		"an integer of two bytes":         at(depth, 0x19, 0x00, 0x02),
		"an integer of eight bytes":       at(depth, 0x1b, 0, 0, 0, 0, 0, 0, 0, 2),
		"a float for an integer":          at(depth, 0xf9, 0x40, 0x00),
		"a big number for an integer":     at(depth, 0xc2, 0x41, 0x02),
		"null for an integer":             at(depth, 0xf6),
		"undefined for an integer":        at(depth, 0xf7),
		"null for no bytes":               at(parent, 0xf6),
		"null for no consent":             at(consent, 0xf6),
		"text for bytes":                  at(parent, 0x60),
		"an array for bytes":              at(parent, 0x80),
		"indefinite bytes":                at(parent, 0x5f, 0xff),
		"an indefinite array inside":      inCaveats(0, func(item []byte) []byte { return append(append([]byte{0x9f}, item[1:]...), 0xff) }),
		"a longer length inside":          inCaveats(0, func(item []byte) []byte { return append([]byte{0x98, item[0] & 0x1f}, item[1:]...) }),
		"a tag inside":                    inCaveats(0, func(item []byte) []byte { return append([]byte{0xd8, 0x20}, item...) }),
		"null for a list":                 inCaveats(0, func([]byte) []byte { return []byte{0xf6} }),
		"a word that is no UTF-8":         inCaveats(0, func([]byte) []byte { return []byte{0x81, 0x61, 0xff} }),
		"a word of indefinite length":     inCaveats(0, func([]byte) []byte { return []byte{0x81, 0x7f, 0x61, 'a', 0xff} }),
		"a map with a duplicate key":      at(caveats, 0xa2, 0x61, 'a', 0x01, 0x61, 'a', 0x02),
		"a map of fields by their names":  at(caveats, append([]byte{0xa1, 0x68}, append([]byte("MaxClass"), 0x03)...)...),
		"a map in an indefinite encoding": at(caveats, 0xbf, 0xff),
		"true in another simple value":    inCaveats(6, func([]byte) []byte { return []byte{0xf8, 0xff} }),
		"an integer for true":             inCaveats(6, func([]byte) []byte { return []byte{0x01} }),
		"a longer time":                   inCaveats(1, func(item []byte) []byte { return append([]byte{0x1b, 0, 0, 0, 0}, item[1:]...) }),
		"abilities out of their range":    at(abilities, 0x1a, 0, 1, 0, 0x22),
	}
}

// envelope is a statement of whatever payload, unsigned.
func envelope(t testing.TB, like, payload []byte) *statement.Statement {
	t.Helper()
	p, err := cbor.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(array(items(t, like)[0], p, []byte{0x80}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func payloadOf(t testing.TB, raw []byte) (out []byte) {
	t.Helper()
	if err := cbor.Unmarshal(items(t, raw)[1], &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// CA-09: there is one encoding of everything. Another one of the same body would
// be another id, which no revocation of the first one names; each of these has
// every signature that it needs.
func TestBodiesHaveOneEncoding(t *testing.T) {
	w := newWorld(t)
	honest := w.honest(t)
	chain := func(grant, link []byte) *Chain {
		g := w.net.Sign(envelope(t, honest.Grant, grant), w.net.Quorum()...)
		l := envelope(t, honest.Links[0], swap(t, link, 0, slices.Concat([]byte{0x58, 32}, idOf(t, g.Bytes()))))
		return w.signed(t, g, l, honest)
	}
	grant, link := payloadOf(t, honest.Grant), payloadOf(t, honest.Links[0])
	w.accept(t, "control: taken apart and put together", chain(grant, link))
	for name, change := range bodies(t) {
		w.refuse(t, "a grant with "+name, chain(change(grant), link), ErrChain, "grant: "+statement.ErrMalformed.Error())
		c := chain(grant, link)
		l := envelope(t, honest.Links[0], change(payloadOf(t, c.Links[0])))
		w.sign(t, w.reader, l)
		c.Links[0] = l.Bytes()
		w.refuse(t, "a link with "+name, c, ErrChain, "link: "+statement.ErrMalformed.Error())
	}
	for name, change := range arrays {
		w.refuse(t, "a grant with "+name, chain(change(grant), link), ErrChain, "grant: "+statement.ErrMalformed.Error())
		c := chain(grant, link)
		l := envelope(t, honest.Links[0], change(payloadOf(t, c.Links[0])))
		w.sign(t, w.reader, l)
		c.Links[0] = l.Bytes()
		w.refuse(t, "a link with "+name, c, ErrChain, "link: "+statement.ErrMalformed.Error())
		c = chain(grant, link)
		consent := envelope(t, honest.Consent, change(payloadOf(t, c.Consent)))
		w.sign(t, w.owner, consent)
		c.Consent = consent.Bytes()
		w.refuse(t, "a consent with "+name, c, ErrChain, "consent: "+statement.ErrMalformed.Error())
	}
	// What it is about: a reader less strict takes one of them for the same grant.
	var lenient Grant
	if err := cbor.Unmarshal(bodies(t)["a longer integer"](grant), &lenient); err != nil || lenient.Depth != 2 {
		t.Errorf("control: %+v, %v", lenient, err)
	}
}

// sign adds a person's signature to a statement of whatever payload.
func (w *world) sign(t testing.TB, p *trusttest.Person, s *statement.Statement) {
	t.Helper()
	at, ok := p.DeviceIndex(p.Devices[0].Public())
	if !ok {
		t.Fatal("no device")
	}
	s.AddSignature(at, p.Devices[0])
}

// signed is a chain of a grant and a link that carry whatever payloads.
func (w *world) signed(t testing.TB, grant, link *statement.Statement, like *Chain) *Chain {
	w.sign(t, w.reader, link)
	return &Chain{
		Grant: grant.Bytes(), Links: [][]byte{link.Bytes()}, Identities: like.Identities,
		Consent: w.owner.Sign(t, KindConsent, Consent{Network: w.net.Network(), Grant: grant.ID()}).Bytes(),
	}
}

// The envelopes and the chain around the bodies have one encoding each too, and
// so have standing consents, documents and authorities.
func TestEnvelopesHaveOneEncoding(t *testing.T) {
	w := newWorld(t)
	for name, change := range arrays {
		_, err := ParseChain(change(w.honest(t).Bytes()))
		wantError(t, "a chain with "+name, err, ErrChain, statement.ErrMalformed.Error())
		for part, pick := range map[string]func(c *Chain) *[]byte{
			"grant: ": func(c *Chain) *[]byte { return &c.Grant }, "consent: ": func(c *Chain) *[]byte { return &c.Consent },
			"link: ":    func(c *Chain) *[]byte { return &c.Links[0] },
			"identity ": func(c *Chain) *[]byte { return &c.Identities[1] },
		} {
			c := w.honest(t)
			at := pick(c)
			*at = change(*at)
			w.refuse(t, part+"with "+name, c, ErrChain, part)
			w.refuse(t, part+"with "+name, c, ErrChain, statement.ErrMalformed.Error())
		}
		standing := w.under(t, w.standing(), w.grant())
		body := envelope(t, standing.Consent, change(payloadOf(t, standing.Consent)))
		w.sign(t, w.owner, body)
		g := w.grant()
		id := body.ID()
		g.Consent = id[:]
		standing.Grant, standing.Consent = w.net.Sign(unsigned(t, KindGrant, g), w.net.Quorum()...).Bytes(), body.Bytes()
		w.refuse(t, "a standing consent with "+name, standing, ErrChain, "consent: "+statement.ErrMalformed.Error())
		raw, err := statement.Marshal(Authority{Identity: w.reader.Record(), Proof: []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseAuthority(change(raw))
		wantError(t, "an authority with "+name, err, ErrChain, statement.ErrMalformed.Error())
	}
}
