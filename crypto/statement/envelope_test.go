package statement

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// wire is the envelope as package cbor knows it, which the one written by hand is
// held against.
type wire struct {
	_       struct{} `cbor:",toarray"`
	Type    string
	Payload []byte
	Sigs    []Signature
}

// byReflection is [Parse] with the general decoder.
func byReflection(raw []byte) (*Statement, error) {
	if len(raw) > MaxBytes {
		return nil, ErrMalformed
	}
	var w wire
	if err := Unmarshal(raw, &w); err != nil {
		return nil, err
	}
	if len(w.Sigs) > MaxSignatures {
		return nil, ErrMalformed
	}
	last := -1
	for _, sig := range w.Sigs {
		if int(sig.Index) <= last || len(sig.Bytes) != 64 {
			return nil, ErrSignature
		}
		last = int(sig.Index)
	}
	return build(w.Type, w.Payload, w.Sigs), nil
}

// alike says how two readers of the same bytes disagree, "" where they do not.
func alike(raw []byte) string {
	got, err := Parse(raw)
	want, wantErr := byReflection(raw)
	for _, e := range []error{ErrMalformed, ErrSignature} {
		if errors.Is(err, e) != errors.Is(wantErr, e) {
			return fmt.Sprintf("%v, but package cbor says %v", err, wantErr)
		}
	}
	switch {
	case (err == nil) != (wantErr == nil):
		return fmt.Sprintf("%v, but package cbor says %v", err, wantErr)
	case err != nil:
		return ""
	case got.ID() != want.ID() || got.kindText != want.kindText || !bytes.Equal(got.payload, want.payload) || len(got.sigs) != len(want.sigs):
		return fmt.Sprintf("it is another statement: %+v, not %+v", got, want)
	}
	for i, sig := range got.sigs {
		if sig.Index != want.sigs[i].Index || !bytes.Equal(sig.Bytes, want.sigs[i].Bytes) {
			return fmt.Sprintf("signature %d is another", i)
		}
	}
	again, err := Marshal(wire{Type: got.kindText, Payload: got.payload, Sigs: got.sigs})
	if err != nil || !bytes.Equal(again, got.Bytes()) {
		return fmt.Sprintf("package cbor writes it as %x, not %x", again, got.Bytes())
	}
	return ""
}

// Every length and index at which the encoding of a number gets longer.
func TestEnvelopeIsThatOfPackageCBOR(t *testing.T) {
	sizes := []int{0, 1, 23, 24, 25, 255, 256, 257, 1<<16 - 1, 1 << 16, 1<<16 + 1}
	for _, n := range sizes {
		for _, m := range []int{0, 22, 23, 24, 255, 256, 300} {
			for _, index := range []uint16{0, 23, 24, 255, 256, 65535} {
				raw := envelope(t, strings.Repeat("t", m), make([]byte, n), Signature{Index: index, Bytes: make([]byte, 64)})
				if diff := alike(raw); diff != "" {
					t.Fatalf("a payload of %d, a type of %d, index %d: %s", n, m, index, diff)
				}
				if _, err := Parse(raw); err != nil {
					t.Fatalf("control: %v", err)
				}
			}
		}
	}
	for _, n := range []int{0, 1, 23, 24, 255, 256, 257, 300} {
		sigs := make([]Signature, n)
		for i := range sigs {
			sigs[i] = Signature{Index: uint16(i), Bytes: make([]byte, 64)}
		}
		if diff := alike(envelope(t, "t", nil, sigs...)); diff != "" {
			t.Errorf("%d signatures: %s", n, diff)
		}
	}
}

// Every single bit and byte of an envelope is turned, cut and grown.
func TestEnvelopeDamagedIsThatOfPackageCBOR(t *testing.T) {
	raw := envelope(t, "t\u00fc", []byte("0123456789012345678901234567"), Signature{Index: 3, Bytes: make([]byte, 64)}, Signature{Index: 300, Bytes: make([]byte, 64)})
	refused := 0
	try := func(b []byte) {
		if diff := alike(b); diff != "" {
			t.Errorf("%x: %s", b, diff)
		}
		if _, err := Parse(b); err != nil {
			refused++
		}
	}
	for i := range raw {
		for v := range 256 {
			b := bytes.Clone(raw)
			b[i] = byte(v)
			try(b)
		}
		try(raw[:i])
		try(append(bytes.Clone(raw[:i]), raw[i+1:]...))
		try(append(append(bytes.Clone(raw[:i]), 0), raw[i:]...))
	}
	if refused == 0 {
		t.Error("nothing was refused, so the test proves nothing")
	}
}

// What the length of a number could be written as, longer than need be.
func TestEnvelopeRefusesLongNumbers(t *testing.T) {
	for name, raw := range map[string]string{
		"17 in a byte":                  "83 6174 5811" + strings.Repeat("00", 17) + "80",
		"255 in two bytes":              "83 6174 5900ff" + strings.Repeat("00", 255) + "80",
		"65535 in four bytes":           "83 6174 5a0000ffff" + strings.Repeat("00", 65535) + "80",
		"1 in eight bytes":              "83 6174 5b0000000000000001 00 80",
		"an array's length in a byte":   "9803 6174 4170 80",
		"an index of 5 in two bytes":    "83 6174 4170 81 82 190005 5840" + strings.Repeat("00", 64),
		"no signatures, said in a byte": "83 6174 4170 9800",
		"a length that is cut off":      "83 6174 59",
		"a length that is reserved":     "83 6174 5c 80",
		"an indefinite length":          "83 6174 5f 4170 ff 80",
		"text that is not UTF-8":        "83 61ff 4170 80",
		"text behind a byte string":     "83 4174 4170 80",
		"a tag":                         "c6 83 6174 4170 80",
		"2^64-1 signatures":             "83 6174 4170 9bffffffffffffffff",
		"a payload of 2^64-1":           "83 6174 5bffffffffffffffff",
		"257 signatures, none there":    "83 6174 4170 990101",
	} {
		b := unhex(t, raw)
		if s, err := Parse(b); !errors.Is(err, ErrMalformed) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := alike(b); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Whatever comes, both readers say the same of it.
func FuzzEnvelope(f *testing.F) {
	f.Add(signed(f).Bytes())
	f.Add(signed(f, 0, 2).Bytes())
	f.Add(unhex(f, frozenBytes))
	f.Add(envelope(f, "", nil))
	f.Add(envelope(f, strings.Repeat("t", 300), make([]byte, 70000), Signature{Index: 300, Bytes: make([]byte, 64)}))
	f.Add(unhex(f, "83 6174 5801 70 80"))
	f.Add(unhex(f, "83 61ff 4170 80"))
	f.Add(unhex(f, "83 6174 5bffffffffffffffff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if diff := alike(raw); diff != "" {
			t.Errorf("%x: %s", raw, diff)
		}
	})
}
