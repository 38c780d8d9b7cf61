package identity

import (
	"bytes"
	"strings"
	"testing"
)

// Whatever is accepted is canonical: the same bytes come out again, and the id
// does not depend on how they came in.
func FuzzParse(f *testing.F) {
	for n := 1; n <= 3; n++ {
		body, keys := inception(f, n)
		id, err := New(sign(f, KindInception, body, keys...).Bytes())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(id.Record())
		more := with(f, id, added(f, id, 1, 20))
		f.Add(more.Record())
		f.Add(with(f, more, removed(f, more, 1)).Record())
		f.Add(with(f, more, recovered(f, more, 99, 21, 98)).Record())
	}
	f.Add([]byte{})
	f.Add([]byte{0x83, 0x60, 0x40, 0x80})
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, err := Parse(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(id.Record(), raw) {
			t.Error("the record changed")
		}
		again, err := ParseContact(id.Contact())
		if err != nil || again.ID() != id.ID() {
			t.Errorf("the contact of an accepted record: %v", err)
		}
		if len(id.Ever()) < len(id.Devices()) || len(id.Ever()) == 0 {
			t.Error("a device speaks that never did")
		}
	})
}

func FuzzParseContact(f *testing.F) {
	body, keys := inception(f, 1)
	id, err := New(sign(f, KindInception, body, keys...).Bytes())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(id.Contact())
	f.Add(" " + id.Contact()[:60] + "\n" + id.Contact()[60:] + "\n")
	f.Add(contactPrefix)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseContact(text)
		if err != nil {
			return
		}
		if plain := strings.NewReplacer("\r", "", "\n", "").Replace(strings.TrimSpace(text)); id.Contact() != plain {
			t.Errorf("%q reads as %q", text, id.Contact())
		}
	})
}
