package envelope

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	agetest "c2sp.org/CCTV/age"
	"filippo.io/age"
)

// vector is one of the age test vectors of C2SP/CCTV.
type vector struct {
	expect     string
	hash       string
	key        []byte
	identities []age.Identity
	armored    bool
	header     []byte
	payload    []byte
}

func readVector(t *testing.T, raw []byte) vector {
	t.Helper()
	var v vector
	head, file, _ := bytes.Cut(raw, []byte("\n\n"))
	for line := range strings.Lines(string(head)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		var err error
		switch key {
		case "expect":
			v.expect = value
		case "payload":
			v.hash = value
		case "file key":
			v.key, err = hex.DecodeString(value)
		case "armored":
			v.armored = true
		case "identity":
			var id age.Identity
			if id, err = age.ParseX25519Identity(value); err != nil {
				id, err = age.ParseHybridIdentity(value)
			}
			v.identities = append(v.identities, id)
		case "compressed":
			var z io.Reader
			if z, err = zlib.NewReader(bytes.NewReader(file)); err == nil {
				file, err = io.ReadAll(z)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The header ends with the line that starts with three hyphens.
	v.header = file
	if i := bytes.Index(file, []byte("\n---")); i >= 0 {
		if j := bytes.IndexByte(file[i+1:], '\n'); j >= 0 {
			v.header, v.payload = file[:i+1+j+1], file[i+1+j+1:]
		}
	}
	return v
}

// Whether a header parses is our decision, and whether HMAC and payload verify.
// What a recipient's stanza is worth is age's, so for vectors about a stanza age
// must find no key with the vector's identities.
func TestAgeVectors(t *testing.T) {
	files, err := fs.ReadDir(agetest.Vectors, ".")
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, f := range files {
		raw, err := fs.ReadFile(agetest.Vectors, f.Name())
		if err != nil {
			t.Fatal(err)
		}
		t.Run(f.Name(), func(t *testing.T) {
			v := readVector(t, raw)
			count[v.expect]++
			checkVector(t, f.Name(), v)
		})
	}
	for _, expect := range []string{"success", "no match", "HMAC failure", "header failure", "payload failure"} {
		if count[expect] == 0 {
			t.Errorf("no vector expects %q: they were not read", expect)
		}
	}
}

func checkVector(t *testing.T, name string, v vector) {
	_, parseErr := parseHeader(v.header)
	switch {
	case v.armored:
		if parseErr == nil {
			t.Error("an armored file was accepted as a header")
		}
		return
	case bytes.Contains(v.header, []byte("\n-> scrypt")):
		if !errors.Is(parseErr, ErrHeader) {
			t.Errorf("a passphrase was accepted: %v", parseErr)
		}
		return
	case v.expect == "header failure" && isAboutStanza(name), v.expect == "no match":
		if _, err := age.DecryptHeader(v.header, v.identities...); err == nil {
			t.Error("age found a file key")
		}
		return
	case v.expect == "header failure" && !strings.HasPrefix(name, "stream_"):
		if !errors.Is(parseErr, ErrHeader) {
			t.Errorf("the header was accepted: %v", parseErr)
		}
		return
	case parseErr != nil:
		t.Fatalf("the header was refused: %v", parseErr)
	}
	key, err := NewFileKey(v.key)
	if err != nil {
		t.Fatal(err)
	}
	if v.expect == "HMAC failure" {
		if _, err := Decrypt(v.header, key, bytes.NewReader(v.payload)); !errors.Is(err, ErrHeaderMAC) {
			t.Errorf("got %v", err)
		}
		return
	}
	checkPayload(t, v, key)
}

// isAboutStanza tells vectors that spoil a recipient's stanza, which we do not
// interpret, from those that spoil the form of a header.
func isAboutStanza(name string) bool {
	return strings.HasPrefix(name, "x25519") || strings.HasPrefix(name, "hybrid")
}

func checkPayload(t *testing.T, v vector, key FileKey) {
	var plain []byte
	r, err := Decrypt(v.header, key, bytes.NewReader(v.payload))
	if err == nil {
		plain, err = io.ReadAll(r)
	}
	if sum := sha256.Sum256(plain); v.hash != "" && hex.EncodeToString(sum[:]) != v.hash {
		t.Errorf("in order: the %d bytes released are others", len(plain))
	}
	var again []byte
	at, n, errAt := DecryptAt(v.header, key, bytes.NewReader(v.payload), int64(len(v.payload)))
	if errAt == nil {
		again, errAt = io.ReadAll(io.NewSectionReader(at, 0, n))
	}
	switch v.expect {
	case "success":
		if err != nil || errAt != nil || !bytes.Equal(plain, again) {
			t.Errorf("in order: %v; at random: %v", err, errAt)
		}
	// age counts the payload's nonce as part of the header; here it is a leaf.
	case "payload failure", "header failure":
		if !errors.Is(err, ErrIntegrity) || !errors.Is(errAt, ErrIntegrity) {
			t.Errorf("in order: %v; at random: %v", err, errAt)
		}
	default:
		t.Errorf("unknown expectation %q", v.expect)
	}
}
