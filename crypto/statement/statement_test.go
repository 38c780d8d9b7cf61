package statement

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// body has one field of every shape that statements use.
type body struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Count uint64
	Since int64
	Ready bool
	Data  []byte
	Hash  [4]byte
	List  []uint64
	Links []link
	Map   map[string]uint64
}

type link struct {
	_    struct{} `cbor:",toarray"`
	To   string
	More []link
}

var sample = body{
	Name: "né", Count: 23, Since: -1, Ready: true, Data: []byte{1, 2}, Hash: [4]byte{9, 8, 7, 6},
	List: []uint64{24, 256}, Links: []link{{To: "x"}}, Map: map[string]uint64{"b": 2, "a": 1},
}

// The fields of sample in canonical CBOR; a test replaces one of them.
var sampleFields = []string{
	"63 6ec3a9",          // text of 3 bytes
	"17",                 // 23
	"20",                 // -1
	"f5",                 // true
	"42 0102",            // 2 bytes
	"44 09080706",        // 4 bytes
	"82 1818 190100",     // [24, 256]
	"81 82 6178 80",      // [["x", []]]
	"a2 6161 01 6162 02", // {"a": 1, "b": 2}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleWith(field int, encoding string) string {
	f := slices.Clone(sampleFields)
	f[field] = encoding
	return "89 " + strings.Join(f, " ")
}

func TestCanonicalEncoding(t *testing.T) {
	want := unhex(t, "89 "+strings.Join(sampleFields, " "))
	got, err := Marshal(sample)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%x, %v; want %x", got, err, want)
	}
	var back body
	if err := Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	back.Links[0].More = nil // decoded as empty
	if !reflect.DeepEqual(back, sample) {
		t.Errorf("came back as %+v", back)
	}
}

func TestNilAndEmptyAreOneEncoding(t *testing.T) {
	empty := body{Data: []byte{}, List: []uint64{}, Links: []link{}, Map: map[string]uint64{}}
	a, err1 := Marshal(body{})
	b, err2 := Marshal(empty)
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("%x and %x, %v, %v", a, b, err1, err2)
	}
	if bytes.IndexByte(a, 0xf6) >= 0 {
		t.Error("null is written")
	}
}

// Every way in which other bytes could stand for the same or nearly the same
// body. Each would give one statement a second id, or two readers two meanings.
func TestNonCanonicalEncodingsAreRefused(t *testing.T) {
	deep := "60 80"
	for range maxNested {
		deep = "60 81 82 " + deep
	}
	for name, encoding := range map[string]string{
		"an integer in 2 bytes":             sampleWith(1, "1817"),
		"an integer in 3 bytes":             sampleWith(1, "190017"),
		"an integer in 5 bytes":             sampleWith(1, "1a00000017"),
		"an integer in 9 bytes":             sampleWith(1, "1b0000000000000017"),
		"a negative in 2 bytes":             sampleWith(2, "3800"),
		"a float for an integer":            sampleWith(1, "f94dc0"),
		"a bignum for an integer":           sampleWith(1, "c2 41 17"),
		"a negative for unsigned":           sampleWith(1, "20"),
		"an integer beyond int64":           sampleWith(2, "1b ffffffffffffffff"),
		"a negative beyond int64":           sampleWith(2, "3b ffffffffffffffff"),
		"one for true":                      sampleWith(3, "01"),
		"undefined for false":               sampleWith(3, "f7"),
		"true in two bytes":                 sampleWith(3, "f815"),
		"a reserved simple value":           sampleWith(3, "fc"),
		"null for a number":                 sampleWith(1, "f6"),
		"null for a text":                   sampleWith(0, "f6"),
		"null for bytes":                    sampleWith(4, "f6"),
		"null for a hash":                   sampleWith(5, "f6"),
		"null for a list":                   sampleWith(6, "f6"),
		"null for a list in a list":         sampleWith(7, "81 82 6178 f6"),
		"null for a struct":                 sampleWith(7, "81 f6"),
		"null for a map":                    sampleWith(8, "f6"),
		"undefined for a list":              sampleWith(6, "f7"),
		"a text's length in 2 bytes":        sampleWith(0, "7803 6ec3a9"),
		"bytes' length in 2 bytes":          sampleWith(4, "5802 0102"),
		"a list's length in 2 bytes":        sampleWith(6, "9802 1818 190100"),
		"a map's length in 2 bytes":         sampleWith(8, "b802 6161 01 6162 02"),
		"a text of indefinite length":       sampleWith(0, "7f 63 6ec3a9 ff"),
		"bytes of indefinite length":        sampleWith(4, "5f 42 0102 ff"),
		"a list of indefinite length":       sampleWith(6, "9f 1818 190100 ff"),
		"a map of indefinite length":        sampleWith(8, "bf 6161 01 6162 02 ff"),
		"a break without a beginning":       sampleWith(6, "ff"),
		"a text for bytes":                  sampleWith(4, "62 0102"),
		"bytes for a text":                  sampleWith(0, "43 6ec3a9"),
		"a list of integers for bytes":      sampleWith(4, "82 01 02"),
		"a short hash":                      sampleWith(5, "43 090807"),
		"a long hash":                       sampleWith(5, "45 0908070605"),
		"a hash as a list":                  sampleWith(5, "84 09 08 07 06"),
		"invalid UTF-8":                     sampleWith(0, "63 6ec328"),
		"half a surrogate pair":             sampleWith(0, "63 eda080"),
		"an overlong letter":                sampleWith(0, "62 c1a1"),
		"invalid UTF-8 in a map's key":      sampleWith(8, "a1 61ff 01"),
		"unsorted keys":                     sampleWith(8, "a2 6162 02 6161 01"),
		"a duplicate key":                   sampleWith(8, "a2 6161 01 6161 01"),
		"a duplicate key, other value":      sampleWith(8, "a2 6161 01 6161 02"),
		"an integer for a key":              sampleWith(8, "a1 01 01"),
		"a map for a list":                  sampleWith(6, "a1 01 02"),
		"a tagged text":                     sampleWith(0, "d820 63 6ec3a9"),
		"a tagged list":                     sampleWith(6, "d902 58 82 1818 190100"),
		"an unknown element in a link":      sampleWith(7, "81 83 6178 80 00"),
		"a missing element of a link":       sampleWith(7, "81 81 6178"),
		"a map for a link":                  sampleWith(7, "81 a2 62546f 6178 644d6f7265 80"),
		"deep nesting":                      sampleWith(7, "81 82 "+deep),
		"a list that claims 2^32 elements":  sampleWith(6, "9a ffffffff"),
		"bytes that claim 2^63":             sampleWith(4, "5b 7fffffffffffffff"),
		"an unknown element at the end":     "8a " + strings.Join(sampleFields, " ") + " 00",
		"a missing element at the end":      "88 " + strings.Join(sampleFields[:8], " "),
		"a self-describing tag in front":    "d9d9f7 89 " + strings.Join(sampleFields, " "),
		"trailing bytes":                    "89 " + strings.Join(sampleFields, " ") + " 00",
		"itself twice":                      strings.Repeat("89 "+strings.Join(sampleFields, " "), 2),
		"a body of indefinite length":       "9f " + strings.Join(sampleFields, " ") + " ff",
		"a body whose length has two bytes": "9809 " + strings.Join(sampleFields, " "),
		"a body in bytes":                   "41 00",
		"null":                              "f6",
		"nothing":                           "",
	} {
		var b body
		raw := unhex(t, encoding)
		err := Unmarshal(raw, &b)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "6178") {
			t.Errorf("%s: the error quotes the data: %v", name, err)
		}
	}
	good := unhex(t, "89 "+strings.Join(sampleFields, " "))
	for n := range good {
		if err := Unmarshal(good[:n], new(body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

// What the decoder alone would let through: without the second half of
// Unmarshal the test above would fail.
func TestDecodingAloneIsNotEnough(t *testing.T) {
	for _, encoding := range []string{
		sampleWith(1, "1817"), sampleWith(6, "f6"), sampleWith(8, "a2 6162 02 6161 01"), sampleWith(5, "43 090807"), sampleWith(1, "f6"),
	} {
		raw := unhex(t, encoding)
		if err := decMode.Unmarshal(raw, new(body)); err != nil {
			t.Errorf("%s: the decoder refuses it by itself: %v", encoding, err)
		}
	}
}

// Structs without toarray are maps; a field must have its exact name and be known.
func TestMapsOfFieldsAreStrict(t *testing.T) {
	type fields struct {
		Alpha uint64
		Beta  string
	}
	good := "a2 6442657461 61 78 65416c706861 01"
	var f fields
	if err := Unmarshal(unhex(t, good), &f); err != nil || f != (fields{1, "x"}) {
		t.Fatalf("control: %+v, %v", f, err)
	}
	for name, encoding := range map[string]string{
		"another case":     "a2 6462657461 61 78 65416c706861 01",
		"an unknown field": "a3 6442657461 61 78 65416c706861 01 654465 6c7461 00",
		"a missing field":  "a1 65416c706861 01",
		"unsorted":         "a2 65416c706861 01 6442657461 61 78",
		"twice":            "a3 6442657461 61 78 65416c706861 01 65416c706861 02",
		"the same, cased":  "a3 6442657461 61 78 65416c706861 01 65616c706861 02",
	} {
		if err := Unmarshal(unhex(t, encoding), new(fields)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A variable that is used again must not lend its old content to the new body.
func TestUnmarshalIntoUsedVariable(t *testing.T) {
	used := sample
	used.Map = map[string]uint64{"z": 26}
	raw := unhex(t, "89 "+strings.Join(sampleFields, " "))
	if err := Unmarshal(raw, &used); err == nil && len(used.Map) != 2 {
		t.Errorf("old entries stay: %v", used.Map)
	}
}

// The example of the DSSE protocol.
// (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md)
func TestPAEOfTheSpecification(t *testing.T) {
	s := build("http://example.com/HelloWorld", []byte("hello world"), nil)
	want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"
	if got := string(s.pae()); got != want {
		t.Errorf("PAE is %q, want %q", got, want)
	}
	if s.ID() != ID(sha256.Sum256([]byte(want))) {
		t.Error("the id is not SHA-256 of the PAE")
	}
	if got := string(build("", nil, nil).pae()); got != "DSSEv1 0  0 " {
		t.Errorf("PAE of nothing is %q", got)
	}
	// Lengths count bytes, not letters.
	if got := string(build("é", []byte("ü"), nil).pae()); got != "DSSEv1 2 é 2 ü" {
		t.Errorf("PAE is %q", got)
	}
}

// Bytes that nodes of this version have written must be read, with the same id,
// by every later one.
func TestFrozenStatement(t *testing.T) {
	s, err := Sign("test", sample, mustKey(t, 1), mustKey(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ID().String(); got != frozenID {
		t.Errorf("id is %s, want %s", got, frozenID)
	}
	if got := hex.EncodeToString(s.Bytes()); got != frozenBytes {
		t.Errorf("bytes are %s, want %s", got, frozenBytes)
	}
	parsed, err := Parse(unhex(t, frozenBytes))
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Verify("test", publics(t, 1, 2), 2); err != nil || parsed.ID().String() != frozenID {
		t.Errorf("the frozen statement no longer verifies: %v", err)
	}
}

func TestFrozenHash(t *testing.T) {
	if got := Hash("key", []byte("a"), []byte("bc")).String(); got != frozenHash {
		t.Errorf("hash is %s, want %s", got, frozenHash)
	}
	seen := map[ID]string{}
	for name, id := range map[string]ID{
		"no parts": Hash("key"), "an empty part": Hash("key", nil), "two empty parts": Hash("key", nil, nil),
		"a, bc": Hash("key", []byte("a"), []byte("bc")), "ab, c": Hash("key", []byte("ab"), []byte("c")),
		"abc": Hash("key", []byte("abc")), "abc, empty": Hash("key", []byte("abc"), nil),
		"a part like a length": Hash("key", []byte("a 2 bc")), "another domain": Hash("keys", []byte("a"), []byte("bc")),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s collide", name, other)
		}
		seen[id] = name
	}
}

func publics(t testing.TB, seeds ...byte) (keys []PublicKey) {
	t.Helper()
	for _, s := range seeds {
		keys = append(keys, mustKey(t, s).Public())
	}
	return keys
}

// signed is a statement with signatures of the keys 1, 2, 3 at the given indexes.
func signed(t testing.TB, indexes ...uint16) *Statement {
	t.Helper()
	s, err := New("test", sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range indexes {
		s.AddSignature(i, mustKey(t, byte(i+1)))
	}
	return s
}

func TestVerify(t *testing.T) {
	keys := publics(t, 1, 2, 3, 4)
	for name, c := range map[string]struct {
		s    *Statement
		kind Kind
		keys []PublicKey
		k    int
		want error
	}{
		"two of four":                    {signed(t, 0, 2), "test", keys, 2, nil},
		"more than needed":               {signed(t, 0, 1, 2), "test", keys, 2, nil},
		"all":                            {signed(t, 0, 1, 2, 3), "test", keys, 4, nil},
		"too few":                        {signed(t, 0, 2), "test", keys, 3, ErrSignature},
		"none":                           {signed(t), "test", keys, 1, ErrSignature},
		"none needed":                    {signed(t, 0), "test", keys, 0, ErrSignature},
		"fewer than none needed":         {signed(t, 0), "test", keys, -1, ErrSignature},
		"another kind":                   {signed(t, 0, 1), "tests", keys, 2, ErrKind},
		"no kind":                        {signed(t, 0, 1), "", keys, 2, ErrKind},
		"keys in another order":          {signed(t, 0, 1), "test", publics(t, 2, 1), 1, ErrSignature},
		"an index beyond the keys":       {signed(t, 0, 3), "test", keys[:3], 2, ErrSignature},
		"an index far beyond":            {signed(t, 65535), "test", keys, 1, ErrSignature},
		"more signatures than keys":      {signed(t, 0, 1, 2), "test", keys[:2], 1, ErrSignature},
		"no keys":                        {signed(t, 0), "test", nil, 1, ErrSignature},
		"a wrong one among the first":    {swapped(t, signed(t, 0, 1, 2), 0), "test", keys, 2, ErrSignature},
		"a wrong one behind the k-th":    {swapped(t, signed(t, 0, 1, 2), 2), "test", keys, 2, nil},
		"one key listed twice":           {twice(t), "test", publics(t, 1, 1, 3), 2, ErrSignature},
		"listed twice, and another":      {twice(t, 2), "test", publics(t, 1, 1, 3), 2, nil},
		"listed twice, three needed":     {twice(t, 2), "test", publics(t, 1, 1, 3), 3, ErrSignature},
		"the zero key in the list":       {signed(t, 1), "test", []PublicKey{{}, keys[1]}, 1, nil},
		"a signature for the zero key":   {signed(t, 0), "test", []PublicKey{{}, keys[1]}, 1, ErrSignature},
		"one that signed another body":   {grafted(t), "test", keys, 1, ErrSignature},
		"one that signed another kind":   {rekinded(t), "test", keys, 1, ErrSignature},
		"the first k of an adversary":    {signed(t, 2, 3), "test", keys, 2, nil},
		"exactly k at the highest index": {signed(t, 3), "test", keys, 1, nil},
	} {
		if err := c.s.Verify(c.kind, c.keys, c.k); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.want == nil { // what verifies must do so after travelling
			again, err := Parse(c.s.Bytes())
			if err != nil || again.Verify(c.kind, c.keys, c.k) != nil || again.ID() != c.s.ID() {
				t.Errorf("%s: not after parsing: %v", name, err)
			}
		}
	}
}

// swapped exchanges the bytes of the signature at position i for those of a stranger.
func swapped(t *testing.T, s *Statement, i int) *Statement {
	s.sigs[i].Bytes = mustKey(t, 99).sign(s.pae())
	return s
}

// twice carries the signature of key 1 at the indexes 0 and 1: anybody can copy it.
func twice(t *testing.T, more ...uint16) *Statement {
	s := signed(t, append([]uint16{0}, more...)...)
	s.AddSignature(1, mustKey(t, 1))
	return s
}

func grafted(t *testing.T) *Statement {
	s, err := New("test", body{Name: "another"})
	if err != nil {
		t.Fatal(err)
	}
	s.sigs = signed(t, 0).sigs
	return s
}

// rekinded carries a signature that its signer made under another kind.
func rekinded(t *testing.T) *Statement {
	other, err := Sign("other", sample, mustKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	s := signed(t)
	s.sigs = other.sigs
	return s
}

func TestVerifyEach(t *testing.T) {
	keys := publics(t, 1, 2, 3, 4)
	s := swapped(t, signed(t, 0, 1, 2, 9), 1)
	if got := s.VerifyEach("test", keys); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("valid are %v", got)
	}
	if got := s.Signers(); !slices.Equal(got, []int{0, 1, 2, 9}) {
		t.Errorf("signers are %v", got)
	}
	if got := s.VerifyEach("other", keys); got != nil {
		t.Errorf("another kind: %v", got)
	}
	if got := twice(t, 2).VerifyEach("test", publics(t, 1, 1, 3)); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("a key that is listed twice counts twice: %v", got)
	}
}

// envelope encodes an envelope as it stands, canonical or not.
func envelope(t testing.TB, typ string, payload []byte, sigs ...Signature) []byte {
	t.Helper()
	b, err := Marshal(wire{Type: typ, Payload: payload, Sigs: sigs})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseRefuses(t *testing.T) {
	sig := func(index uint16, n int) Signature { return Signature{Index: index, Bytes: make([]byte, n)} }
	good := envelope(t, "t", []byte("p"), sig(0, 64), sig(7, 64))
	if s, err := Parse(good); err != nil || !bytes.Equal(s.Bytes(), good) {
		t.Fatalf("control: %v", err)
	}
	many := make([]Signature, MaxSignatures+1)
	for i := range many {
		many[i] = sig(uint16(i), 64)
	}
	if _, err := Parse(envelope(t, "t", nil, many[1:]...)); err != nil {
		t.Errorf("control: %d signatures: %v", MaxSignatures, err)
	}
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"one index twice":      {envelope(t, "t", nil, sig(3, 64), sig(3, 64)), ErrSignature},
		"descending indexes":   {envelope(t, "t", nil, sig(3, 64), sig(2, 64)), ErrSignature},
		"a short signature":    {envelope(t, "t", nil, sig(0, 63)), ErrSignature},
		"a long signature":     {envelope(t, "t", nil, sig(0, 65)), ErrSignature},
		"an empty signature":   {envelope(t, "t", nil, sig(0, 0)), ErrSignature},
		"too many signatures":  {envelope(t, "t", nil, many...), ErrMalformed},
		"too many bytes":       {envelope(t, "t", make([]byte, MaxBytes)), ErrMalformed},
		"nothing":              {nil, ErrMalformed},
		"an index of 17 bits":  {unhex(t, "83 6174 4170 81 82 1a00010000 5840"+strings.Repeat("00", 64)), ErrMalformed},
		"a negative index":     {unhex(t, "83 6174 4170 81 82 20 5840"+strings.Repeat("00", 64)), ErrMalformed},
		"null for signatures":  {unhex(t, "83 6174 4170 f6"), ErrMalformed},
		"null for the payload": {unhex(t, "83 6174 f6 80"), ErrMalformed},
		"a fourth element":     {unhex(t, "84 6174 4170 80 00"), ErrMalformed},
		"two elements":         {unhex(t, "82 6174 4170"), ErrMalformed},
		"a third in signature": {unhex(t, "83 6174 4170 81 83 00 5840"+strings.Repeat("00", 64)+"00"), ErrMalformed},
		"a long length":        {unhex(t, "83 6174 5801 70 80"), ErrMalformed},
		"a text payload":       {unhex(t, "83 6174 6170 80"), ErrMalformed},
		"trailing bytes":       {append(bytes.Clone(good), 0), ErrMalformed},
		"a map":                {unhex(t, "a0"), ErrMalformed},
		"a payload of 2^63":    {unhex(t, "83 6174 5b7fffffffffffffff"), ErrMalformed},
	} {
		if s, err := Parse(c.raw); !errors.Is(err, c.want) || s != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// The caller's buffer is the caller's.
func TestParseCopies(t *testing.T) {
	raw := signed(t, 0).Bytes()
	s, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] = 0xff
	}
	if err := s.Verify("test", publics(t, 1), 1); err != nil {
		t.Errorf("the statement changed with the buffer: %v", err)
	}
}

func TestPeekAsksForTheKind(t *testing.T) {
	s := signed(t, 0)
	var b body
	if err := s.Peek("test", &b); err != nil || b.Name != sample.Name {
		t.Errorf("%+v, %v", b, err)
	}
	if err := s.Peek("tes", &b); !errors.Is(err, ErrKind) {
		t.Errorf("another kind: %v", err)
	}
	if err := s.Peek("test", new(link)); !errors.Is(err, ErrMalformed) {
		t.Errorf("another body: %v", err)
	}
	if !s.Is("test") || s.Is("Test") || s.Is("") {
		t.Error("Is is wrong")
	}
	// The payload is opaque to Parse: a signature over bytes that do not decode
	// is possible, and reading them is not.
	junk, err := Parse(envelope(t, Kind("test").mediaType(), []byte{0xff}))
	if err != nil {
		t.Fatal(err)
	}
	if err := junk.Peek("test", &b); !errors.Is(err, ErrMalformed) {
		t.Errorf("a payload that does not decode: %v", err)
	}
}

func TestIDIgnoresSignaturesAndNothingElse(t *testing.T) {
	s := signed(t)
	id := s.ID()
	for _, i := range []uint16{3, 0, 2, 0, 65535} {
		s.AddSignature(i, mustKey(t, byte(i+1)))
		parsed, err := Parse(s.Bytes())
		if err != nil || parsed.ID() != id || s.ID() != id {
			t.Errorf("a signature changed the id: %v", err)
		}
	}
	if got := s.Signers(); !slices.Equal(got, []int{0, 2, 3, 65535}) {
		t.Errorf("signers are %v: unsorted or repeated", got)
	}
	other, err := New("other", sample)
	if err != nil {
		t.Fatal(err)
	}
	changed := sample
	changed.Count++
	next, err := New("test", changed)
	if err != nil {
		t.Fatal(err)
	}
	if other.ID() == id || next.ID() == id {
		t.Error("another kind or body has the same id")
	}
	back, err := ParseID(id.String())
	if err != nil || back != id {
		t.Errorf("the id does not come back: %v", err)
	}
	for _, bad := range []string{"", id.String()[1:], id.String() + "0", strings.ToUpper(id.String()), "g" + id.String()[1:], " " + id.String()[1:]} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("%q is an id", bad)
		}
	}
}

func TestAddSignatureReplaces(t *testing.T) {
	s := swapped(t, signed(t, 0, 1), 0)
	if s.Verify("test", publics(t, 1, 2), 2) == nil {
		t.Fatal("control: a stranger's signature verifies")
	}
	s.AddSignature(0, mustKey(t, 1))
	if err := s.Verify("test", publics(t, 1, 2), 2); err != nil || len(s.Signers()) != 2 {
		t.Errorf("%v, %v", s.Signers(), err)
	}
}

func TestMerge(t *testing.T) {
	keys := publics(t, 1, 2, 3, 4, 5)
	s, other := signed(t, 0, 3), signed(t, 4, 1, 3)
	if err := s.Merge(other); err != nil {
		t.Fatal(err)
	}
	if got := s.Signers(); !slices.Equal(got, []int{0, 1, 3, 4}) {
		t.Errorf("signers are %v", got)
	}
	if err := s.Verify("test", keys, 4); err != nil {
		t.Error(err)
	}
	if got := other.Signers(); !slices.Equal(got, []int{1, 3, 4}) {
		t.Errorf("the other statement changed: %v", got)
	}
	if err := s.Merge(s); err != nil || len(s.Signers()) != 4 {
		t.Errorf("with itself: %v, %v", s.Signers(), err)
	}
	stranger, err := Sign("test", body{Name: "another"}, mustKey(t, 1), mustKey(t, 2), mustKey(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	before := s.Bytes()
	if err := s.Merge(stranger); !errors.Is(err, ErrSignature) || !bytes.Equal(before, s.Bytes()) {
		t.Errorf("signatures of another statement: %v", err)
	}
	sameBody, err := Sign("other", sample, mustKey(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Merge(sameBody); !errors.Is(err, ErrSignature) || !bytes.Equal(before, s.Bytes()) {
		t.Errorf("signatures of another kind: %v", err)
	}
}

// Two copies may each be within the limit and their union beyond it; what
// cannot be parsed again must not come to be.
func TestMergeKeepsTheLimit(t *testing.T) {
	fill := func(from int) *Statement {
		s := signed(t)
		for i := range MaxSignatures {
			s.sigs = append(s.sigs, Signature{Index: uint16(from + i), Bytes: make([]byte, 64)})
		}
		return s
	}
	s := fill(0)
	if err := s.Merge(fill(1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d signatures: %v", len(s.sigs), err)
	}
	if err := s.Merge(fill(0)); err != nil {
		t.Errorf("control: the same indexes: %v", err)
	}
	if _, err := Parse(s.Bytes()); err != nil {
		t.Error(err)
	}
}

// Whoever collects signatures gets junk from somebody. Left alone, it would keep
// the right signature out and spoil those behind it.
func TestPruneMakesRoomForTheRightSignature(t *testing.T) {
	keys := publics(t, 1, 2, 3)
	s := swapped(t, signed(t, 0, 2), 0)
	spoilt, err := Parse(s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := spoilt.Merge(signed(t, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if spoilt.Verify("test", keys, 2) == nil {
		t.Fatal("control: junk spoils nothing")
	}
	if n := s.Prune("test", keys); n != 1 || !slices.Equal(s.Signers(), []int{2}) {
		t.Errorf("dropped %d, left %v", n, s.Signers())
	}
	if err := s.Merge(signed(t, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify("test", keys, 3); err != nil {
		t.Error(err)
	}
	if n := s.Prune("test", keys); n != 0 {
		t.Errorf("dropped %d good ones", n)
	}
	if n := s.Prune("other", keys); n != 3 || len(s.Signers()) != 0 {
		t.Errorf("another kind: dropped %d", n)
	}
	if _, err := Parse(s.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestSignNumbersKeysInOrder(t *testing.T) {
	s, err := Sign("test", sample, mustKey(t, 7), mustKey(t, 8))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify("test", publics(t, 7, 8), 2); err != nil {
		t.Error(err)
	}
	if _, err := Sign("test", func() {}); err == nil {
		t.Error("signed what does not encode")
	}
	if _, err := New("test", make(chan int)); err == nil {
		t.Error("made a statement of what does not encode")
	}
}

// Whatever parses is written again exactly, and its parts keep what the package
// promises.
func FuzzParse(f *testing.F) {
	f.Add(signed(f).Bytes())
	f.Add(signed(f, 0, 2).Bytes())
	f.Add(unhex(f, frozenBytes))
	f.Add(envelope(f, "", nil))
	f.Add(unhex(f, "83 6174 5801 70 80"))
	f.Add(unhex(f, "9f 6174 4170 80 ff"))
	f.Add(unhex(f, "83 6174 4170 f6"))
	keys := publics(f, 1, 2, 3)
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Parse(raw)
		if err != nil {
			if s != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
				t.Errorf("%v, %v", s, err)
			}
			return
		}
		if !bytes.Equal(s.Bytes(), raw) {
			t.Errorf("%x is written as %x", raw, s.Bytes())
		}
		if !slices.IsSorted(s.Signers()) || len(s.Signers()) > MaxSignatures {
			t.Errorf("signers are %v", s.Signers())
		}
		if s.Verify("test", keys, 1) == nil && s.ID() != signed(t).ID() {
			t.Error("a forgery")
		}
		var b body
		if s.Peek("test", &b) == nil {
			if again, err := New("test", b); err != nil || again.ID() != s.ID() {
				t.Errorf("the body has another id when it is encoded again: %v", err)
			}
		}
	})
}

func FuzzUnmarshal(f *testing.F) {
	good := unhex(f, "89 "+strings.Join(sampleFields, " "))
	f.Add(good)
	for i := range sampleFields {
		f.Add(unhex(f, sampleWith(i, "f6")))
		f.Add(unhex(f, sampleWith(i, "1817")))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b body
		if Unmarshal(raw, &b) != nil {
			return
		}
		if again, err := Marshal(b); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%x is written as %x, %v", raw, again, err)
		}
		if cbor.Wellformed(raw) != nil {
			t.Errorf("%x is not CBOR", raw)
		}
	})
}

func BenchmarkVerify3of4(b *testing.B) {
	s := signed(b, 0, 1, 2)
	keys := publics(b, 1, 2, 3, 4)
	for b.Loop() {
		if err := s.Verify("test", keys, 3); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse3of4(b *testing.B) {
	raw := signed(b, 0, 1, 2).Bytes()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// Computed from the formats by hand as well, with nothing but SHA-256.
const (
	frozenID    = "22ae1021cedeff21ac71d3ccb55c471b4f5655e2bbd4d421285b61316cd0cf53"
	frozenHash  = "bbb799a86791e161360b11e3acff07de68cccdc32ebb3020e38b2b5659b7616a"
	frozenBytes = "8378256170706c69636174696f6e2f766e642e636572656272756d2e746573742e76312b63626f72582289636ec3a917" +
		"20f542010244090807068218181901008182617880a26161016162028282005840bf7077ccc7556ae0d81396ead27979" +
		"8cf2e92b115c19ade3afd1daff6133a0cd9db09c594c55718eb0159d18aa55674ed4c8a4a406ee9bb50100fc5fe4ed55" +
		"0682015840396df3a5c4aef4f7c6a13598caa3cd0977fec66ab6203be8ae4fb9ee2b7ad93757f362c343fa01552f1cb1" +
		"a9cd331944d9e90573f529b56500c15410d532a20d"
)
