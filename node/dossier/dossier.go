// Package dossier is the file that a subject access request is answered with: named
// parts, a list of their SHA-256 digests, and entries of an audit log that can be
// checked without the node that they come from.
//
// # Format
//
// A ZIP file, or one JSON object with a member "parts", holds the same parts under the
// same names. The first, manifest.json, lists all others with size and digest. Either has
// one encoding, that of [Write], so that no two programs unpack different parts. Entries
// of the log are in events.jsonl, one [Event] a line, each with its leaf, the
// disclosures that may be shown, and a C2SP tlog-proof that the leaf stands under a
// checkpoint which the log's key signed. binding.cbor says whose key that is.
//
// # What a file proves
//
// [Open] finds every change of a part after the list was made, but nobody signs the
// list: whoever rewrites the file rewrites that too. What is signed is the checkpoint.
// [Check] holds every entry against it: leaf, claims and proof. That no entry was left
// out, nothing can prove; other parts are the node's word.
package dossier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Format is the version of the format.
const Format = "cerebrum-subject-1"

// Names of parts that readers of a file rely on.
const (
	ManifestName = "manifest.json"
	EventsName   = "events.jsonl"
	BindingName  = "binding.cbor"
)

// Limits of a file, checked before memory is taken for it.
const (
	MaxFile  = 512 << 20 // bytes
	MaxParts = 64

	maxManifest = MaxParts*320 + 100 // bytes: indented, a part with the longest name takes 310
)

// ErrDossier reports a file that is not what [Write] made.
var ErrDossier = errors.New("it is no intact export of a data subject")

// Part is one part of a file.
type Part struct {
	Name    string // letters, digits, '-', '_' and dots between them
	Content []byte
}

// Listed is a part in the list of parts.
type Listed struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Manifest is the list of parts.
type Manifest struct {
	Format string   `json:"format"`
	Parts  []Listed `json:"parts"`
}

var partName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,16}){0,2}$`)

// names are those that parts of a file have. Capital letters are the same as small ones:
// on some systems a part would be unpacked over the other, which was checked.
type names map[string]bool

func newNames() names { return names{ManifestName: true} }

// take takes a name, once.
func (n names) take(name string) bool {
	if !partName.MatchString(name) || n[strings.ToLower(name)] {
		return false
	}
	n[strings.ToLower(name)] = true
	return true
}

func list(parts []Part) (Manifest, error) {
	m := Manifest{Format: Format, Parts: []Listed{}}
	names := newNames()
	for _, p := range parts {
		if len(parts) > MaxParts || !names.take(p.Name) {
			return m, fmt.Errorf("%w: the part %.80q stands twice, has no good name, or there are too many", ErrDossier, p.Name)
		}
		sum := sha256.Sum256(p.Content)
		m.Parts = append(m.Parts, Listed{p.Name, len(p.Content), hex.EncodeToString(sum[:])})
	}
	return m, nil
}

// Write writes a file and returns its list: a ZIP file, or one JSON object.
func Write(w io.Writer, asZIP bool, made time.Time, parts []Part) (*Manifest, error) {
	m, err := list(parts)
	if err != nil {
		return nil, err
	}
	if asZIP {
		if s := made.Unix(); s < 0 || s > math.MaxUint32 {
			return nil, fmt.Errorf("%w: a ZIP file cannot say that it was made at %s: set the clock", ErrDossier, made.UTC().Format(time.RFC3339))
		}
		return &m, writeZIP(w, made, m, parts)
	}
	return &m, writeObject(w, m, parts)
}

// Open reads a file of either form, in the one encoding of it that [Write] makes, and
// checks every part against the list. Every error is [ErrDossier], in one short line.
func Open(raw []byte) (map[string][]byte, error) {
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrDossier, MaxFile)
	}
	read := readZIP
	if bytes.HasPrefix(raw, []byte("{")) {
		read = readObject
	}
	m, parts, err := read(raw)
	if err == nil {
		err = m.holds(parts)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDossier, brief(err))
	}
	return parts, nil
}

// readManifest reads a list of parts as encode writes it, and no other.
func readManifest(text []byte, encode func(any) ([]byte, error)) (Manifest, error) {
	var m Manifest
	if len(text) > maxManifest {
		return m, errors.New("its list of parts is too long")
	}
	if err := json.Unmarshal(text, &m); err != nil { // whose text quotes what it read
		return m, errors.New("its list of parts is no such JSON")
	}
	if err := m.check(); err != nil {
		return m, err
	}
	if again, err := encode(m); err != nil || !bytes.Equal(again, text) {
		return m, errors.New("its list of parts is not written as an export writes it")
	}
	return m, nil
}

// check says whether it can be the list of a file.
func (m *Manifest) check() error {
	if m.Format != Format {
		return fmt.Errorf("its format is %.40q, not %q", m.Format, Format)
	}
	if m.Parts == nil || len(m.Parts) > MaxParts {
		return fmt.Errorf("it lists %d parts, at most %d", len(m.Parts), MaxParts)
	}
	names, room := newNames(), MaxFile
	for _, l := range m.Parts {
		if !names.take(l.Name) {
			return fmt.Errorf("the part %.80q stands twice, or has no good name", l.Name)
		}
		if l.Bytes < 0 || l.Bytes > room {
			return fmt.Errorf("it lists more than %d bytes", MaxFile)
		}
		room -= l.Bytes
	}
	return nil
}

// holds compares parts, those that are listed, with their digests.
func (m *Manifest) holds(parts map[string][]byte) error {
	for _, l := range m.Parts {
		if sum := sha256.Sum256(parts[l.Name]); hex.EncodeToString(sum[:]) != l.SHA256 {
			return fmt.Errorf("the part %s was changed", l.Name)
		}
	}
	return nil
}

// brief is an error of another package in one line of bounded length: what it quotes may
// come from a stranger.
func brief(err error) string {
	return fmt.Sprintf("%.200s", strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, err.Error()))
}
