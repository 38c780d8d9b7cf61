package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
)

func pair(t testing.TB) (identity, recipient string) {
	t.Helper()
	i, r, err := GenerateHybrid()
	if err != nil {
		t.Fatal(err)
	}
	return i, r
}

func TestABoxOpensForItsRecipientsOnly(t *testing.T) {
	i1, r1 := pair(t)
	i2, r2 := pair(t)
	i3, _ := pair(t)
	for _, size := range []int{0, 1, 100, ageChunk - 1, ageChunk, ageChunk + 1, 3 * ageChunk} {
		want := bytes.Repeat([]byte{7}, size)
		box, err := SealTo([]string{r1, r2}, want)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{i1, i2} {
			got, err := OpenWith(id, box, size)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
		if _, err := OpenWith(i3, box, size); !errors.Is(err, ErrBox) {
			t.Fatalf("a stranger: %v, want ErrBox", err)
		}
		if size > 0 {
			if _, err := OpenWith(i1, box, size-1); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("one byte too many: %v, want ErrTooLarge", err)
			}
		}
	}
}

func TestAStockAgeOpensOurBoxesAndWeOpenIts(t *testing.T) {
	i, r := pair(t)
	id, err := age.ParseHybridIdentity(i)
	if err != nil {
		t.Fatal(err)
	}
	box, err := SealTo([]string{r}, []byte("ours"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := age.Decrypt(bytes.NewReader(box), id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(plain); err != nil || string(got) != "ours" {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := OpenWith(i, ageBox(t, "theirs", id.Recipient()), 10); err != nil || string(got) != "theirs" {
		t.Fatalf("%q, %v", got, err)
	}
}

// classic hides a recipient's post-quantum label, as an attacker would.
type classic struct{ r age.Recipient }

func (c classic) Wrap(key []byte) ([]*age.Stanza, error) { return c.r.Wrap(key) }

// listed gives a stanza list of the attacker's choice.
type listed []*age.Stanza

func (l listed) Wrap([]byte) ([]*age.Stanza, error) { return l, nil }

func ageBox(t testing.TB, plaintext string, to ...age.Recipient) []byte {
	t.Helper()
	var box bytes.Buffer
	w, err := age.Encrypt(&box, to...)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, plaintext)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return box.Bytes()
}

func TestClassicRecipientsAreRefused(t *testing.T) {
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	secret, public := pair(t)
	for name, to := range map[string][]string{
		"none":             nil,
		"classic":          {x.Recipient().String()},
		"classic and good": {public, x.Recipient().String()},
		"ssh":              {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"},
		"the secret half":  {secret},
		"upper case":       {strings.ToUpper(public)},
		"empty":            {""},
	} {
		_, err := NewSealer(to...)
		if name == "upper case" && err == nil {
			continue // bech32 allows it
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "AGE-SECRET") || strings.Contains(err.Error(), secret[20:40]) {
			t.Errorf("%s: the error quotes a secret", name)
		}
	}
	for name, id := range map[string]string{"classic": x.String(), "public half": public, "empty": "", "lower case": strings.ToLower(secret)} {
		if _, err := NewOpener(id); err == nil {
			t.Errorf("%s identity: accepted", name)
		} else if strings.Contains(strings.ToUpper(err.Error()), secret[20:40]) {
			t.Errorf("%s identity: the error quotes it", name)
		}
	}
	if _, err := NewSealer(public); err != nil { // control
		t.Error(err)
	}
}

func TestABoxWithAnotherDoorIsRefused(t *testing.T) {
	secret, _ := pair(t)
	id, _ := age.ParseHybridIdentity(secret)
	good := classic{id.Recipient()}
	x, _ := age.GenerateX25519Identity()
	if _, err := OpenWith(secret, ageBox(t, "x", good), 10); err != nil { // control
		t.Fatal(err)
	}
	for name, other := range map[string]age.Recipient{
		"classic": x.Recipient(),
		"scrypt":  listed{{Type: "scrypt", Args: []string{"c2FsdHNhbHRzYWx0c2Fs", "30"}, Body: make([]byte, 32)}},
		"unknown": listed{{Type: "example.com/x", Body: []byte{1}}},
	} {
		if _, err := OpenWith(secret, ageBox(t, "x", good, other), 10); !errors.Is(err, ErrBox) {
			t.Errorf("%s stanza beside ours: %v, want ErrBox", name, err)
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	secret, public := pair(t)
	id, _ := age.ParseHybridIdentity(secret)
	small := func(n int) listed {
		var l listed
		for range n {
			l = append(l, &age.Stanza{Type: hybridStanza, Args: []string{"AA"}, Body: []byte{1}})
		}
		return l
	}
	// Few stanzas, but a body beyond the limit.
	fat := listed{{Type: hybridStanza, Body: make([]byte, MaxHeader)}}
	for name, r := range map[string]age.Recipient{"65 stanzas": small(MaxStanzas), "65 KiB": fat} {
		if _, err := OpenWith(secret, ageBox(t, "x", classic{id.Recipient()}, r), 10); !errors.Is(err, errHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var to []string
	for range MaxRecipients {
		to = append(to, public)
	}
	box, err := SealTo(to, []byte("to many"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenWith(secret, box, 10); err != nil {
		t.Errorf("the largest box that we seal does not open: %v", err)
	}
	if _, err := NewSealer(append(to, public)...); err == nil {
		t.Error("a recipient too many was accepted")
	}
}

func TestDamagedBoxesGiveNothing(t *testing.T) {
	secret, public := pair(t)
	o, err := NewOpener(secret)
	if err != nil {
		t.Fatal(err)
	}
	box, err := SealTo([]string{public}, bytes.Repeat([]byte("secret"), 20))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(box); i += 5 {
		bad := bytes.Clone(box)
		bad[i] ^= 1
		if got, err := o.Open(bad, 1<<20); err == nil || got != nil {
			t.Fatalf("byte %d of %d flipped: %d bytes came out", i, len(box), len(got))
		}
	}
	for n := 0; n < len(box); n += 5 {
		if got, err := o.Open(box[:n], 1<<20); !errors.Is(err, ErrBox) || got != nil {
			t.Fatalf("cut to %d of %d: %v", n, len(box), err)
		}
	}
	if _, err := o.Open(append(bytes.Clone(box), 0), 1<<20); err == nil {
		t.Fatal("a byte behind the end is accepted")
	}
	long, _ := SealTo([]string{public}, make([]byte, 2*ageChunk))
	if _, err := o.Open(long[:len(long)-ageChunk-ageTag], 1<<20); !errors.Is(err, ErrBox) {
		t.Fatalf("a whole chunk cut off: %v", err)
	}
}

// A box of one chunk is read by us, a longer one by age, and neither reads what the
// other would not: at every size around the limit, damaged and cut anywhere.
func TestOneChunkIsReadAsAgeReadsIt(t *testing.T) {
	secret, public := pair(t)
	s, err := NewSealer(public)
	if err != nil {
		t.Fatal(err)
	}
	agree := func(key, box []byte, what string) bool {
		h, err := scanHeader(box)
		if err != nil {
			t.Fatal(err)
		}
		size := h.plaintextSize(len(box))
		if size < 0 || size > ageChunk { // openChunk is not asked
			return false
		}
		got, err := openChunk(key, box, h.size, size)
		want, wantErr := openStream(key, box, h.size, size)
		if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; age says %d bytes, %v", what, len(got), err, len(want), wantErr)
		}
		return err == nil
	}
	for _, n := range []int{0, 1, 100, ageChunk - 1, ageChunk, ageChunk + 1} {
		box, err := s.Seal(bytes.Repeat([]byte("x"), n))
		if err != nil {
			t.Fatal(err)
		}
		key, header := fileKey(t, secret, box)
		if opened := agree(key, box, fmt.Sprint(n)); opened != (n <= ageChunk) {
			t.Errorf("control: %d bytes: opened by us %v", n, opened)
		}
		for i := header; i < len(box); i += 1 + len(box)/50 {
			bad := bytes.Clone(box)
			bad[i] ^= 1
			if agree(key, bad, fmt.Sprintf("%d bytes, byte %d flipped", n, i)) {
				t.Errorf("%d bytes, byte %d flipped: it opens", n, i)
			}
			if agree(key, box[:i], fmt.Sprintf("%d bytes, cut to %d", n, i)) {
				t.Errorf("%d bytes, cut to %d: it opens", n, i)
			}
		}
		agree(key, append(bytes.Clone(box), 0), fmt.Sprintf("%d bytes and another", n))
		agree(key, box[:len(box)-ageTag], fmt.Sprintf("%d bytes without a tag", n))
	}
}

// A box of two chunks whose second was cut off, to the byte, is no box of one: the
// first says that it is not the last.
func TestAFirstChunkIsNoLastChunk(t *testing.T) {
	secret, public := pair(t)
	for _, n := range []int{ageChunk + 1, 2 * ageChunk, 3 * ageChunk} {
		box, err := SealTo([]string{public}, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenWith(secret, box, n); err != nil || len(got) != n {
			t.Fatalf("control: %v", err)
		}
		h, err := scanHeader(box)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenWith(secret, box[:h.size+ageNonce+ageChunk+ageTag], n); !errors.Is(err, ErrBox) {
			t.Errorf("%d bytes cut to one chunk: %v", n, err)
		}
	}
}

// fileKey is the secret of a box, and the size of its header.
func fileKey(t testing.TB, identity string, box []byte) (key []byte, header int) {
	t.Helper()
	id, err := age.ParseHybridIdentity(identity)
	if err != nil {
		t.Fatal(err)
	}
	h, err := age.ExtractHeader(bytes.NewReader(box))
	if err != nil {
		t.Fatal(err)
	}
	if key, err = age.DecryptHeader(h, id); err != nil {
		t.Fatal(err)
	}
	return key, len(h)
}

func TestManyMayShareAnOpenerAndASealer(t *testing.T) {
	secret, public := pair(t)
	o, _ := NewOpener(secret)
	s, _ := NewSealer(public)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			want := []byte{byte(i)}
			box, err := s.Seal(want)
			if err != nil {
				t.Error(err)
			}
			if got, err := o.Open(box, 1); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// seen is an age identity that only counts what the library parsed.
type seen struct{ types []string }

func (s *seen) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, st := range stanzas {
		s.types = append(s.types, st.Type)
	}
	return nil, age.ErrIncorrectIdentity
}

// What our scan says about a header must be what the library will act on:
// otherwise a stanza could slip past the checks.
func FuzzHeader(f *testing.F) {
	_, public := pair(f)
	box, _ := SealTo([]string{public, public}, []byte("x"))
	f.Add(box)
	scrypt, _ := quick("x").seal([]byte("y"))
	f.Add(scrypt)
	f.Add([]byte(ageIntro + "-> scrypt a 14\n\n--- AAAA\n"))
	f.Add([]byte(ageIntro + "-> a\n\n-> scrypt b 30\n\n--- " + strings.Repeat("A", 43) + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var theirs seen
		_, err := age.Decrypt(bytes.NewReader(b), &theirs)
		ours, scanErr := scanHeader(b)
		var none *age.NoIdentityMatchError
		if !errors.As(err, &none) { // the library refused the bytes
			return
		}
		if scanErr != nil {
			if len(b) < MaxHeader && len(theirs.types) <= MaxStanzas {
				t.Fatalf("the library reads a header that the scan refuses: %v", scanErr)
			}
			return
		}
		if len(ours.stanzas) != len(theirs.types) {
			t.Fatalf("%d stanzas, the library sees %d", len(ours.stanzas), len(theirs.types))
		}
		for i, st := range ours.stanzas {
			if st[0] != theirs.types[i] {
				t.Fatalf("stanza %d is %q, the library sees %q", i, st[0], theirs.types[i])
			}
		}
		header, err := age.ExtractHeader(bytes.NewReader(b))
		if err != nil || len(header) != ours.size {
			t.Fatalf("header of %d bytes, the library sees %d (%v)", ours.size, len(header), err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	_, public := pair(b)
	s, _ := NewSealer(public)
	secret := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(secret); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	secret, public := pair(b)
	o, _ := NewOpener(secret)
	box, _ := SealTo([]string{public}, make([]byte, 64))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Open(box, 64); err != nil {
			b.Fatal(err)
		}
	}
}
