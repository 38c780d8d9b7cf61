package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
)

func testKey(t testing.TB) FileKey {
	t.Helper()
	key, err := NewFileKey([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rawHeader writes stanza text with a correct HMAC, for what our own marshaller
// would refuse to write.
func rawHeader(t testing.TB, stanzas string) []byte {
	t.Helper()
	covered := intro + stanzas + "---"
	mac, err := headerMAC(testKey(t), []byte(covered))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(covered + " " + b64.EncodeToString(mac) + "\n")
}

func TestCommitteeHeaderRoundTrip(t *testing.T) {
	for _, n := range []int{minSealed, 47, 48, 49, 80, 200, maxSealed} { // 80: the body ends at a full line
		want := CommitteeStanza{testStanza.KeyID, testNetwork, bytes.Repeat([]byte{3}, n)}
		header, err := CommitteeHeader(testKey(t), want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCommitteeHeader(header)
		if err != nil || got.KeyID != want.KeyID || got.Network != want.Network || !bytes.Equal(got.Sealed, want.Sealed) {
			t.Errorf("%d bytes: got %+v, error %v", n, got, err)
		}
		if err := CheckHeader(header, testKey(t)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, n := range []int{0, minSealed - 1, maxSealed + 1} {
		if _, err := CommitteeHeader(testKey(t), CommitteeStanza{Sealed: make([]byte, n)}); err == nil {
			t.Errorf("%d sealed bytes were accepted", n)
		}
	}
}

// A committee whose shares were wrong recovers a wrong key. ChaCha20-Poly1305
// alone might open something under it; the HMAC must not.
func TestWrongKeyFailsTheHMAC(t *testing.T) {
	o := newObject(t, plaintext(100))
	wrong := o.key.Bytes()
	wrong[15] ^= 1
	key, _ := NewFileKey(wrong)
	if err := CheckHeader(o.header, key); !errors.Is(err, ErrHeaderMAC) || !errors.Is(err, ErrIntegrity) {
		t.Errorf("CheckHeader: %v", err)
	}
	if _, err := Decrypt(o.header, key, bytes.NewReader(o.cipher)); !errors.Is(err, ErrHeaderMAC) {
		t.Errorf("Decrypt: %v", err)
	}
	if _, _, err := DecryptAt(o.header, key, bytes.NewReader(o.cipher), o.payload.Size); !errors.Is(err, ErrHeaderMAC) {
		t.Errorf("DecryptAt: %v", err)
	}
	// The right key and the header of another object with the same payload.
	other, _ := CommitteeHeader(key, testStanza)
	if _, err := Decrypt(other, o.key, bytes.NewReader(o.cipher)); !errors.Is(err, ErrHeaderMAC) {
		t.Errorf("another header: %v", err)
	}
}

func TestEveryFlippedBitOfAHeaderIsNoticed(t *testing.T) {
	key := testKey(t)
	header, err := CommitteeHeader(key, testStanza)
	if err != nil {
		t.Fatal(err)
	}
	for i := range header {
		for bit := range 8 {
			bad := bytes.Clone(header)
			bad[i] ^= 1 << bit
			if err := CheckHeader(bad, key); !errors.Is(err, ErrHeader) && !errors.Is(err, ErrIntegrity) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
		}
	}
	if err := CheckHeader(header, key); err != nil {
		t.Errorf("the control: %v", err)
	}
}

func TestHeaderBombsAreRefused(t *testing.T) {
	small := "-> x\n\n"
	for name, header := range map[string][]byte{
		"65 stanzas":       rawHeader(t, strings.Repeat(small, 65)),
		"more than 64 KiB": rawHeader(t, "-> x\n"+strings.Repeat(strings.Repeat("A", 64)+"\n", 1100)+"\n"),
		"scrypt":           rawHeader(t, "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n"+strings.Repeat("A", 43)+"\n"),
		"scrypt in hiding": rawHeader(t, small+"-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n"+strings.Repeat("A", 43)+"\n"),
		"129 arguments":    rawHeader(t, "-> x"+strings.Repeat(" a", 129)+"\n\n"),
		"no stanza":        rawHeader(t, ""),
	} {
		if err := CheckHeader(header, testKey(t)); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: CheckHeader: %v", name, err)
		}
		if _, err := ParseCommitteeHeader(header); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: ParseCommitteeHeader: %v", name, err)
		}
		if _, err := Decrypt(header, testKey(t), strings.NewReader("")); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: Decrypt: %v", name, err)
		}
	}
	for name, header := range map[string][]byte{
		"64 stanzas":    rawHeader(t, strings.Repeat(small, 64)),
		"128 arguments": rawHeader(t, "-> x"+strings.Repeat(" a", 128)+"\n\n"),
		"almost 64 KiB": rawHeader(t, "-> x\n"+strings.Repeat(strings.Repeat("A", 64)+"\n", 1000)+"\n"),
	} {
		if err := CheckHeader(header, testKey(t)); err != nil {
			t.Errorf("%s, the control: %v", name, err)
		}
	}
}

func TestMalformedHeadersAreRefused(t *testing.T) {
	good := string(rawHeader(t, "-> x arg\nAAAA\n"))
	if err := CheckHeader([]byte(good), testKey(t)); err != nil {
		t.Fatal(err)
	}
	full := strings.Repeat("A", 64)
	for name, header := range map[string]string{
		"empty":               "",
		"other version":       strings.Replace(good, "/v1", "/v2", 1),
		"no last line end":    strings.TrimSuffix(good, "\n"),
		"bytes after":         good + "x",
		"two line ends":       good + "\n",
		"carriage returns":    strings.ReplaceAll(good, "\n", "\r\n"),
		"space after arrow":   string(rawHeader(t, "->  x\n\n")),
		"space at line end":   string(rawHeader(t, "-> x \n\n")),
		"no arrow":            string(rawHeader(t, "x\n\n")),
		"argument not ASCII":  string(rawHeader(t, "-> é\n\n")),
		"padding":             string(rawHeader(t, "-> x\nAA==\n")),
		"not canonical":       string(rawHeader(t, "-> x\nAB\n")),
		"return in a body":    string(rawHeader(t, "-> x\nAA\rAA\n")),
		"long line":           string(rawHeader(t, "-> x\n"+full+"AAAA\n\n")),
		"no short line":       string(rawHeader(t, "-> x\n"+full+"\n")),
		"no space before MAC": strings.Replace(good, "--- ", "---", 1),
		"two spaces":          strings.Replace(good, "--- ", "---  ", 1),
		"short MAC":           good[:len(good)-5] + "\n",
	} {
		if err := CheckHeader([]byte(header), testKey(t)); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReplicatedHeaderNamesNobodyElse(t *testing.T) {
	body := b64.EncodeToString(make([]byte, 64+32))
	wrapped := body[:64] + "\n" + body[64:] + "\n" + "\n"
	ours := "-> " + CommitteeType + "\n" + wrapped
	if _, err := ParseCommitteeHeader(rawHeader(t, ours)); err != nil {
		t.Fatalf("the control: %v", err)
	}
	for name, stanzas := range map[string]string{
		"a reader beside it": ours + "-> X25519 AAAA\n\n",
		"a reader before it": "-> X25519 AAAA\n\n" + ours,
		"two committees":     ours + ours,
		"an argument":        strings.Replace(ours, CommitteeType, CommitteeType+" x", 1),
		"another type":       strings.Replace(ours, CommitteeType, CommitteeType+"2", 1),
		"a short body":       "-> " + CommitteeType + "\n" + b64.EncodeToString(make([]byte, 95))[:64] + "\n" + b64.EncodeToString(make([]byte, 95))[64:] + "\n",
		"no body":            "-> " + CommitteeType + "\n\n",
	} {
		header := rawHeader(t, stanzas)
		if _, err := ParseCommitteeHeader(header); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "a short body" && CheckHeader(header, testKey(t)) != nil {
			t.Errorf("%s: is no header at all, so nothing was tested", name)
		}
	}
}

func TestStockAgeOpensAnExport(t *testing.T) {
	o := newObject(t, plaintext(2*plainChunk+7))
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	h, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		r    []age.Recipient
		id   age.Identity
	}{
		{"X25519", []age.Recipient{x.Recipient()}, x},
		{"hybrid", []age.Recipient{h.Recipient()}, h},
		{"two recipients", []age.Recipient{h.Recipient(), h.Recipient()}, h},
	} {
		header, err := RecipientHeader(o.key, c.r...)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckHeader(header, o.key); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		stockOpens(t, c.name, append(header, o.cipher...), c.id, o.plain)
	}
	// An unknown stanza beside its own does not disturb age.
	own, err := RecipientHeader(o.key, x.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	a, b := mustParse(t, o.header), mustParse(t, own)
	both, err := marshalHeader(o.key, slices.Concat(a.stanzas, b.stanzas))
	if err != nil {
		t.Fatal(err)
	}
	stockOpens(t, "beside the committee's stanza", append(both, o.cipher...), x, o.plain)
}

func mustParse(t *testing.T, raw []byte) *header {
	t.Helper()
	h, err := parseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func stockOpens(t *testing.T, name string, file []byte, id age.Identity, want []byte) {
	t.Helper()
	r, err := age.Decrypt(bytes.NewReader(file), id)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, error %v", name, len(got), err)
	}
}

type brokenRecipient struct{ stanzas []*age.Stanza }

func (b brokenRecipient) Wrap([]byte) ([]*age.Stanza, error) {
	if b.stanzas == nil {
		return nil, errors.New("token unplugged")
	}
	return b.stanzas, nil
}

func TestRecipientHeaderRefuses(t *testing.T) {
	x, _ := age.GenerateX25519Identity()
	h, _ := age.GenerateHybridIdentity()
	s, _ := age.NewScryptRecipient("correct horse")
	s.SetWorkFactor(2)
	many := make([]age.Recipient, MaxStanzas+1)
	for i := range many {
		many[i] = x.Recipient()
	}
	for name, rs := range map[string][]age.Recipient{
		"nobody":                   nil,
		"hybrid and X25519":        {h.Recipient(), x.Recipient()},
		"X25519 and hybrid":        {x.Recipient(), h.Recipient()},
		"a passphrase":             {s},
		"65 recipients":            many,
		"one that fails":           {brokenRecipient{}},
		"one that breaks the form": {brokenRecipient{[]*age.Stanza{{Type: "two words"}}}},
		"one that writes a line":   {brokenRecipient{[]*age.Stanza{{Type: "x", Args: []string{"a\n-> y"}}}}},
	} {
		if header, err := RecipientHeader(testKey(t), rs...); err == nil {
			t.Errorf("%s: %q", name, header)
		}
	}
	if _, err := RecipientHeader(testKey(t), many[1:]...); err != nil {
		t.Errorf("64 recipients, the control: %v", err)
	}
}

// What others read must not change between versions of this program.
func TestHeaderIsFrozen(t *testing.T) {
	sealed := make([]byte, 48)
	for i := range sealed {
		sealed[i] = byte(i)
	}
	header, err := CommitteeHeader(testKey(t), CommitteeStanza{testStanza.KeyID, testNetwork, sealed})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(header); got != frozenHeader {
		t.Errorf("the header is now\n%s", got)
	}
	leaf, root, err := FileRoot(header, Payload{Root: CIDOf([]byte("payload"), CodecDagPB), Size: PayloadSize(3 << 30)})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(leaf.CID, " ", root.CID); got != frozenRoots {
		t.Errorf("the CIDs of leaf and root are now %s", got)
	}
}
