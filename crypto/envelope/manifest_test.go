package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"cerebrum.dev/cerebrum/crypto/statement"
)

func deviceKey(t testing.TB, n byte) statement.PrivateKey {
	t.Helper()
	key, err := statement.KeyFromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testManifest() Manifest {
	return Manifest{
		Format: ManifestFormat, Network: testNetwork, KeyNonce: Nonce{1}, Owner: testOwner,
		Lineage: Nonce{2}, Author: testOwner, Scopes: []Nonce{{3}, {4}},
		File: CIDOf([]byte("file"), CodecDagPB).Bytes(), Header: CIDOf([]byte("header"), CodecRaw).Bytes(),
		Payload: CIDOf([]byte("payload"), CodecDagPB).Bytes(), Size: uint64(PayloadSize(1000)),
		Created: 1_790_000_000, Sealed: bytes.Repeat([]byte{5}, 256),
	}
}

func TestManifestRoundTrip(t *testing.T) {
	m := testManifest()
	m.Sequence, m.Previous = 7, CIDOf([]byte("previous"), CodecDagCBOR).Bytes()
	b, err := SignManifest(m, deviceKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseManifest(b.CID, b.Data)
	if err != nil {
		t.Fatal(err)
	}
	if u.Address() != b.CID {
		t.Errorf("address %s, want %s", u.Address(), b.CID)
	}
	got, err := u.Verify([]statement.PublicKey{deviceKey(t, 2).Public(), deviceKey(t, 1).Public()})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := SignManifest(*got, deviceKey(t, 1)); err != nil || again.CID != b.CID {
		t.Errorf("signed again it has address %s, not %s: %v", again.CID, b.CID, err)
	}
	if got.KeyID() != KeyID(testNetwork, testOwner, Nonce{1}) || got.LineageID() != LineageID(testNetwork, testOwner, Nonce{2}) ||
		!slices.Equal(got.ScopeIDs(), []statement.ID{ScopeID(testNetwork, testOwner, Nonce{3}), ScopeID(testNetwork, testOwner, Nonce{4})}) {
		t.Error("the derived ids are others")
	}
	file, header, payload := got.Links()
	if file != CIDOf([]byte("file"), CodecDagPB) || header != CIDOf([]byte("header"), CodecRaw) || payload != CIDOf([]byte("payload"), CodecDagPB) {
		t.Errorf("links %s, %s, %s", file, header, payload)
	}
	if c, ok := got.PreviousAddress(); !ok || c != CIDOf([]byte("previous"), CodecDagCBOR) {
		t.Errorf("previous %s, %v", c, ok)
	}
}

func TestManifestOfSomebodyElse(t *testing.T) {
	b, err := SignManifest(testManifest(), deviceKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseManifest(b.CID, b.Data)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][]statement.PublicKey{"nobody's": nil, "others'": {deviceKey(t, 2).Public(), deviceKey(t, 3).Public()}} {
		if _, err := u.Verify(keys); !errors.Is(err, statement.ErrSignature) {
			t.Errorf("%s keys: %v", name, err)
		}
	}
	// A valid signature under another kind is none.
	s, err := statement.Sign("grant", testManifest(), deviceKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseManifest(CIDOf(s.Bytes(), CodecDagCBOR), s.Bytes()); !errors.Is(err, statement.ErrKind) {
		t.Errorf("a grant: %v", err)
	}
}

func TestClaimsAreACopy(t *testing.T) {
	b, _ := SignManifest(testManifest(), deviceKey(t, 1))
	u, err := ParseManifest(b.CID, b.Data)
	if err != nil {
		t.Fatal(err)
	}
	c := u.Claims()
	c.File[10] ^= 1
	c.Scopes[0] = Nonce{9}
	m, err := u.Verify([]statement.PublicKey{deviceKey(t, 1).Public()})
	if err != nil || !bytes.Equal(m.File, testManifest().File) || m.Scopes[0] != (Nonce{3}) {
		t.Error("changing the claims changed what is verified")
	}
}

func TestManifestRules(t *testing.T) {
	long := testManifest()
	long.Sequence, long.Previous = 1, CIDOf(nil, CodecDagCBOR).Bytes()
	long.Scopes = []Nonce{{1}, {2}, {3}, {4}}
	long.Sealed = make([]byte, maxSealedDetails)
	bare := testManifest()
	bare.Scopes, bare.Sealed = nil, nil
	for name, m := range map[string]Manifest{"usual": testManifest(), "longest": long, "barest": bare} {
		b := signAnyway(t, m)
		if _, err := ParseManifest(b.CID, b.Data); err != nil {
			t.Errorf("%s, the control: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*Manifest){
		"no format":                   func(m *Manifest) { m.Format = 0 },
		"a later format":              func(m *Manifest) { m.Format = 2 },
		"another author":              func(m *Manifest) { m.Author[0] ^= 1 },
		"an authority":                func(m *Manifest) { m.Authority = []byte{1} },
		"five scopes":                 func(m *Manifest) { m.Scopes = []Nonce{{1}, {2}, {3}, {4}, {5}} },
		"a scope twice":               func(m *Manifest) { m.Scopes = []Nonce{{1}, {1}} },
		"a first with a previous":     func(m *Manifest) { m.Previous = CIDOf(nil, CodecDagCBOR).Bytes() },
		"a second without a previous": func(m *Manifest) { m.Sequence = 1 },
		"a previous that is a file":   func(m *Manifest) { m.Sequence, m.Previous = 1, m.File },
		"a previous that is cut":      func(m *Manifest) { m.Sequence, m.Previous = 1, CIDOf(nil, CodecDagCBOR).Bytes()[:20] },
		"no file":                     func(m *Manifest) { m.File = nil },
		"a raw file":                  func(m *Manifest) { m.File = m.Header },
		"a header that is a node":     func(m *Manifest) { m.Header = m.File },
		"a raw payload":               func(m *Manifest) { m.Payload = m.Header },
		"a payload with bytes after":  func(m *Manifest) { m.Payload = append(m.Payload, 0) },
		"a payload with blake3":       func(m *Manifest) { m.Payload[2] = mh.BLAKE3 },
		"an impossible size":          func(m *Manifest) { m.Size = 31 },
		"a size beyond an int64":      func(m *Manifest) { m.Size = 1 << 63 },
		"a negative time":             func(m *Manifest) { m.Created = -1 },
		"endless details":             func(m *Manifest) { m.Sealed = make([]byte, maxSealedDetails+1) },
	} {
		m := testManifest()
		spoil(&m)
		if _, err := SignManifest(m, deviceKey(t, 1)); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: SignManifest: %v", name, err)
		}
		b := signAnyway(t, m)
		if _, err := ParseManifest(b.CID, b.Data); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: ParseManifest: %v", name, err)
		}
	}
	if _, err := SignManifest(testManifest(), statement.PrivateKey{}); err == nil {
		t.Error("signed without a key")
	}
}

// signAnyway signs what SignManifest refuses.
func signAnyway(t testing.TB, m Manifest) Block {
	t.Helper()
	s, err := statement.Sign(KindManifest, m, deviceKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	return Block{CIDOf(s.Bytes(), CodecDagCBOR), s.Bytes()}
}

func TestManifestAndItsAddress(t *testing.T) {
	b, err := SignManifest(testManifest(), deviceKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseManifest(CIDOf([]byte("other"), CodecDagCBOR), b.Data); !errors.Is(err, ErrIntegrity) {
		t.Errorf("another address: %v", err)
	}
	for i := range b.Data {
		bad := bytes.Clone(b.Data)
		bad[i] ^= 1
		if _, err := ParseManifest(b.CID, bad); !errors.Is(err, ErrIntegrity) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		// Under its own address it may parse, but it never verifies.
		if u, err := ParseManifest(CIDOf(bad, CodecDagCBOR), bad); err == nil {
			if _, err := u.Verify([]statement.PublicKey{deviceKey(t, 1).Public()}); err == nil {
				t.Fatalf("byte %d flipped: verifies", i)
			}
		}
	}
	for name, c := range map[string]cid.Cid{"none": cid.Undef, "raw": CIDOf(b.Data, CodecRaw), "dag-pb": CIDOf(b.Data, CodecDagPB)} {
		if _, err := ParseManifest(c, b.Data); !errors.Is(err, ErrManifest) {
			t.Errorf("address %s: %v", name, err)
		}
	}
	large := make([]byte, MaxManifest+1)
	if _, err := ParseManifest(CIDOf(large, CodecDagCBOR), large); !errors.Is(err, ErrManifest) {
		t.Errorf("a large block: %v", err)
	}
}

// A second signature, or the same at another index, would give the same
// manifest a second address.
func TestManifestHasOneSignature(t *testing.T) {
	for name, sign := range map[string]func(*statement.Statement){
		"none":      func(*statement.Statement) {},
		"two":       func(s *statement.Statement) { s.AddSignature(0, deviceKey(t, 1)); s.AddSignature(1, deviceKey(t, 2)) },
		"elsewhere": func(s *statement.Statement) { s.AddSignature(1, deviceKey(t, 1)) },
	} {
		s, err := statement.New(KindManifest, testManifest())
		if err != nil {
			t.Fatal(err)
		}
		sign(s)
		if _, err := ParseManifest(CIDOf(s.Bytes(), CodecDagCBOR), s.Bytes()); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckFileRoot(t *testing.T) {
	o, other := newObject(t, plaintext(100)), newObject(t, plaintext(100))
	leaf, root, err := FileRoot(o.header, o.payload)
	if err != nil {
		t.Fatal(err)
	}
	m := testManifest()
	m.File, m.Header, m.Payload, m.Size = root.CID.Bytes(), leaf.CID.Bytes(), o.payload.Root.Bytes(), uint64(o.payload.Size)
	if err := m.CheckFileRoot(root.Data); err != nil {
		t.Fatalf("the control: %v", err)
	}
	_, swapped, err := FileRoot(o.header, other.payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckFileRoot(swapped.Data); err == nil {
		t.Error("another root: accepted")
	}
	for name, spoil := range map[string]func(*Manifest){
		"another payload": func(m *Manifest) { m.Payload = other.payload.Root.Bytes() },
		"another header":  func(m *Manifest) { m.Header = CIDOf(other.header, CodecRaw).Bytes() },
		"another size":    func(m *Manifest) { m.Size++ },
	} {
		bad := m
		spoil(&bad)
		if err := bad.CheckFileRoot(root.Data); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := m.CheckFileRoot([]byte("junk")); err == nil {
		t.Error("junk: accepted")
	}
}

// Nobody may derive the id of somebody else, of another network or another sort.
func TestIDsAreBoundToTheirOwner(t *testing.T) {
	n, other := NewNonce(), statement.Hash("other")
	ids := []statement.ID{
		KeyID(testNetwork, testOwner, n), LineageID(testNetwork, testOwner, n), ScopeID(testNetwork, testOwner, n),
		KeyID(other, testOwner, n), KeyID(testNetwork, other, n), KeyID(testOwner, testNetwork, n), KeyID(testNetwork, testOwner, NewNonce()),
	}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			t.Errorf("id %d occurs twice", i)
		}
	}
	if KeyID(testNetwork, testOwner, n) != ids[0] {
		t.Error("an id changes")
	}
}

func TestParseAddress(t *testing.T) {
	b, _ := SignManifest(testManifest(), deviceKey(t, 1))
	good := b.CID.String()
	if c, err := ParseAddress(good); err != nil || c != b.CID {
		t.Fatalf("the control: %s, %v", c, err)
	}
	v0 := cid.NewCidV0(b.CID.Hash()).String()
	b58, err := b.CID.StringOfBase('z')
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"empty": "", "cut": good[:58], "long": good + "a", "space": " " + good, "upper case": strings.ToUpper(good),
		"mixed case": good[:20] + strings.ToUpper(good[20:21]) + good[21:], "version 0": v0, "base58": b58,
		"file": CIDOf(b.Data, CodecDagPB).String(), "leaf": CIDOf(b.Data, CodecRaw).String(), "wrong digit": good[:30] + "1" + good[31:],
		"URI": "ipfs://" + good, "endless": strings.Repeat("b", 1<<20), "other hash": cid.NewCidV1(CodecDagCBOR, otherHash(t, mh.BLAKE3, 32).Hash()).String(),
	} {
		if c, err := ParseAddress(s); err == nil {
			t.Errorf("%s: accepted as %s", name, c)
		}
	}
	// The last digit has spare bits: only one of its values is canonical.
	accepted := 0
	for _, d := range "abcdefghijklmnopqrstuvwxyz234567" {
		if c, err := ParseAddress(good[:58] + string(d)); err == nil && c == b.CID {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d spellings of one address are accepted", accepted)
	}
}

func TestDetails(t *testing.T) {
	key, aad := testKey(t), KeyID(testNetwork, testOwner, Nonce{1})
	for _, d := range []Details{
		{},
		{Name: "weights.safetensors", MediaType: "application/octet-stream", Modified: 1_790_000_000, Plain: 1 << 40},
		{Name: "größe/目录", Kind: DetailsDirectory, Modified: -1},
		{Name: strings.Repeat("n", MaxName), MediaType: strings.Repeat("m", MaxMediaType), Plain: 1<<64 - 1, Modified: -1 << 63},
	} {
		sealed, err := SealDetails(d, key, aad)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed)%256 != 0 || len(sealed) > maxSealedDetails || bytes.Contains(sealed, []byte("weights")) {
			t.Errorf("%.20s: sealed to %d bytes", d.Name, len(sealed))
		}
		got, err := OpenDetails(sealed, key, aad)
		if err != nil || got != d {
			t.Errorf("%.20s: got %.50v, error %v", d.Name, got, err)
		}
	}
	for name, d := range map[string]Details{
		"a long name":       {Name: strings.Repeat("n", MaxName+1)},
		"a long media type": {MediaType: strings.Repeat("n", MaxMediaType+1)},
		"not UTF-8":         {Name: "a\xff"},
		"an unknown kind":   {Kind: 2},
	} {
		if _, err := SealDetails(d, key, aad); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
}

// Details with an origin are a version of their own: what was sealed before opens as
// before, and an origin that says nothing is not another way to write the same.
func TestDetailsOfARelease(t *testing.T) {
	key, aad := testKey(t), KeyID(testNetwork, testOwner, Nonce{1})
	d := Details{Name: "release.csv", Plain: 7, Origin: Origin{Source: [32]byte{1}, Method: "5-anonymity", Report: "bafy"}}
	sealed, err := SealDetails(d, key, aad)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenDetails(sealed, key, aad); err != nil || got != d {
		t.Errorf("%+v, %v", got, err)
	}
	longest := Details{Name: strings.Repeat("n", MaxName-2*MaxOrigin), MediaType: strings.Repeat("m", MaxMediaType),
		Origin: Origin{Method: strings.Repeat("o", MaxOrigin), Report: strings.Repeat("r", MaxOrigin)}}
	if sealed, err := SealDetails(longest, key, aad); err != nil || len(sealed) > maxSealedDetails {
		t.Errorf("%d bytes, %v", len(sealed), err)
	}
	for name, d := range map[string]Details{
		"a long method": {Origin: Origin{Method: strings.Repeat("o", MaxOrigin+1)}},
		"a long report": {Origin: Origin{Report: strings.Repeat("o", MaxOrigin+1)}},
		"a long name":   {Name: strings.Repeat("n", MaxName), Origin: Origin{Method: "o"}},
		"no UTF-8":      {Origin: Origin{Method: "\xff"}},
	} {
		if _, err := SealDetails(d, key, aad); err == nil {
			t.Errorf("%s was sealed", name)
		}
	}
	body, err := statement.Marshal(release{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	plain := append([]byte{0, byte(len(body))}, body...)
	if _, err := decodeDetails(plain); !errors.Is(err, ErrDetails) {
		t.Errorf("an origin that says nothing: %v", err)
	}
}

func TestLengthOfDetailsHidesTheName(t *testing.T) {
	short, _ := SealDetails(Details{Name: "a"}, testKey(t), testOwner)
	long, _ := SealDetails(Details{Name: strings.Repeat("a", 100), MediaType: "text/plain", Plain: 1 << 40}, testKey(t), testOwner)
	if len(short) != len(long) {
		t.Errorf("%d and %d bytes", len(short), len(long))
	}
	if bytes.Equal(short[:detailsSalt], long[:detailsSalt]) {
		t.Error("a salt was used twice")
	}
}

func TestDetailsRefused(t *testing.T) {
	key, aad := testKey(t), KeyID(testNetwork, testOwner, Nonce{1})
	sealed, err := SealDetails(Details{Name: "secret plan"}, key, aad)
	if err != nil {
		t.Fatal(err)
	}
	wrong, _ := NewFileKey(make([]byte, FileKeySize))
	if _, err := OpenDetails(sealed, wrong, aad); !errors.Is(err, ErrDetails) {
		t.Errorf("another key: %v", err)
	}
	if _, err := OpenDetails(sealed, key, KeyID(testNetwork, testOwner, Nonce{2})); !errors.Is(err, ErrDetails) {
		t.Errorf("another object: %v", err)
	}
	if _, err := OpenDetails(sealed, FileKey{}, aad); err == nil {
		t.Error("no key: opened")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 4
		if _, err := OpenDetails(bad, key, aad); !errors.Is(err, ErrDetails) || !errors.Is(err, ErrIntegrity) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for _, bad := range [][]byte{nil, sealed[:255], append(bytes.Clone(sealed), sealed...), make([]byte, 1<<20)} {
		if _, err := OpenDetails(bad, key, aad); !errors.Is(err, ErrDetails) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	// Every reader holds the key and can seal what this program would not.
	body, _ := statement.Marshal(Details{Name: "x"})
	pad := func(n int, body []byte, tail ...byte) []byte {
		return append(append([]byte{byte(n >> 8), byte(n)}, body...), tail...)
	}
	if _, err := decodeDetails(pad(len(body), body, 0, 0)); err != nil {
		t.Errorf("the control: %v", err)
	}
	bad, _ := statement.Marshal(Details{Kind: 9})
	for name, plain := range map[string][]byte{
		"nothing": nil, "one byte": {0}, "a length beyond the end": pad(len(body)+1, body), "padding that is not zero": pad(len(body), body, 0, 1),
		"too much padding": pad(len(body), body, make([]byte, 256)...), "an unknown kind": pad(len(bad), bad), "no CBOR": pad(2, []byte("xx")),
	} {
		if _, err := decodeDetails(plain); !errors.Is(err, ErrDetails) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What others read must not change between versions of this program.
func TestManifestIsFrozen(t *testing.T) {
	b, err := SignManifest(testManifest(), deviceKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseManifest(b.CID, b.Data)
	if err != nil {
		t.Fatal(err)
	}
	m := testManifest()
	got := fmt.Sprintf("%s\n%s\n%s\n%s\n%s\n", b.CID, u.ID(), m.KeyID(), m.LineageID(), m.ScopeIDs()[0])
	if got != frozenManifest {
		t.Errorf("address and ids are now\n%s", got)
	}
	d, err := OpenDetails(frozenDetails(t), testKey(t), m.KeyID())
	if want := (Details{Name: "model.gguf", MediaType: "application/octet-stream", Modified: 1_790_000_000, Plain: 12345}); err != nil || d != want {
		t.Errorf("sealed details open as %v, %v", d, err)
	}
}
