package statement

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

// plain has what a Reader can read.
type plain struct {
	_     struct{} `cbor:",toarray"`
	Count uint16
	Since int64
	Name  string
	Data  []byte
	Ready bool
	Lines []string
}

// readPlain reads a plain item by item.
func readPlain(raw []byte) (p plain, err error) {
	r := NewReader(raw)
	if r.List(6) != 6 {
		return p, ErrMalformed
	}
	p = plain{Count: uint16(r.Uint(math.MaxUint16)), Since: r.Int(), Name: r.Text(), Data: r.Bytes(), Ready: r.Bool(), Lines: []string{}}
	for range r.List(1 << 16) {
		p.Lines = append(p.Lines, r.Text())
	}
	return p, r.Done()
}

func TestAReaderReadsWhatMarshalWrites(t *testing.T) {
	for _, n := range []int64{0, 23, 24, 255, 256, math.MaxUint16, math.MaxUint16 + 1, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64} {
		want := plain{Count: uint16(n), Since: n, Name: "né", Data: make([]byte, n%300), Ready: n%2 == 0, Lines: make([]string, n%40)}
		raw, err := Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readPlain(raw); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %+v, %v", n, got, err)
		}
		for i := range raw { // the control: what is cut short or longer is refused
			if _, err := readPlain(raw[:i]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d cut at %d: %v", n, i, err)
			}
		}
		if _, err := readPlain(append(raw, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d with something behind it: %v", n, err)
		}
	}
}

func TestAReaderRefusesOtherEncodings(t *testing.T) {
	const good = "86 01 02 6161 4101 f5 80"
	if _, err := readPlain(unhex(t, good)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"long head of a list":    "9806 01 02 6161 4101 f5 80",
		"indefinite list":        "9f 01 02 6161 4101 f5 80 ff",
		"another length":         "85 01 02 6161 4101 f5",
		"long number":            "86 1801 02 6161 4101 f5 80",
		"longer number":          "86 01 1a00000002 6161 4101 f5 80",
		"reserved head":          "86 01 1c 6161 4101 f5 80",
		"negative number":        "86 01 20 6161 4101 f5 80",
		"number that is too big": "86 1a00010000 02 6161 4101 f5 80",
		"beyond an int64":        "86 01 1b8000000000000000 6161 4101 f5 80",
		"bytes for a text":       "86 01 02 4161 4101 f5 80",
		"bad UTF-8":              "86 01 02 61ff 4101 f5 80",
		"long text":              "86 01 02 780161 4101 f5 80",
		"text beyond the end":    "86 01 02 7bffffffffffffffff 4101 f5 80",
		"null for a truth value": "86 01 02 6161 4101 f6 80",
		"long list":              "86 01 02 6161 4101 f5 9bffffffffffffffff",
		"tag":                    "c0 86 01 02 6161 4101 f5 80",
	} {
		if _, err := readPlain(unhex(t, raw)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A Reader accepts what Unmarshal accepts and gives the same.
func FuzzReader(f *testing.F) {
	for _, p := range []plain{{}, {Count: 300, Since: 1 << 40, Name: "né", Data: []byte{1}, Ready: true, Lines: []string{"", "x"}}} {
		raw, err := Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{0x86, 0x18, 0x01})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want plain
		got, err := readPlain(raw)
		slow := Unmarshal(raw, &want)
		if slow == nil && want.Since < 0 {
			return // a Reader reads no negative numbers
		}
		if (err == nil) != (slow == nil) {
			t.Fatalf("Reader says %v, Unmarshal %v", err, slow)
		}
		if err == nil && !(got.Count == want.Count && got.Since == want.Since && got.Name == want.Name && string(got.Data) == string(want.Data) &&
			got.Ready == want.Ready && reflect.DeepEqual(append([]string{}, got.Lines...), append([]string{}, want.Lines...))) {
			t.Fatalf("%+v, Unmarshal gives %+v", got, want)
		}
	})
}
