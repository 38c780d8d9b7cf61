// Package dossier is the file that a subject access request is answered with: named
// parts, a list of their SHA-256 digests, and entries of an audit log that can be
// checked without the node that they come from.
//
// # Format
//
// A ZIP file, or one JSON object with a member "parts", holds the same parts under the
// same names. The first, manifest.json, lists all others with size and digest. Entries
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
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

type document struct {
	Manifest Manifest          `json:"manifest"`
	Parts    map[string][]byte `json:"parts"` // base64
}

var partName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,16}){0,2}$`)

func list(parts []Part) (Manifest, error) {
	m := Manifest{Format: Format, Parts: []Listed{}}
	seen := map[string]bool{ManifestName: true}
	for _, p := range parts {
		if seen[p.Name] || !partName.MatchString(p.Name) || len(parts) > MaxParts {
			return m, fmt.Errorf("%w: the part %.80q stands twice, has no good name, or there are too many", ErrDossier, p.Name)
		}
		seen[p.Name] = true
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
		return &m, writeZIP(w, made, m, parts)
	}
	d := document{Manifest: m, Parts: map[string][]byte{}}
	for _, p := range parts {
		d.Parts[p.Name] = p.Content
	}
	return &m, json.NewEncoder(w).Encode(d)
}

func writeZIP(w io.Writer, made time.Time, m Manifest, parts []Part) error {
	first, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	for _, p := range append([]Part{{ManifestName, first}}, parts...) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: p.Name, Method: zip.Deflate, Modified: made.UTC()})
		if err != nil {
			return err
		}
		if _, err := f.Write(p.Content); err != nil {
			return err
		}
	}
	return z.Close()
}

// Open reads a file of either form and checks every part against the list. Every
// error but one of reading is [ErrDossier].
func Open(raw []byte) (parts map[string][]byte, err error) {
	var m Manifest
	if bytes.HasPrefix(raw, []byte("{")) {
		var d document
		if err := strict(raw, &d); err != nil {
			return nil, err
		}
		m, parts = d.Manifest, d.Parts
	} else {
		if parts, err = readZIP(raw); err != nil {
			return nil, err
		}
		if err := strict(parts[ManifestName], &m); err != nil {
			return nil, err
		}
		delete(parts, ManifestName)
	}
	return parts, m.check(parts)
}

func (m *Manifest) check(parts map[string][]byte) error {
	if m.Format != Format {
		return fmt.Errorf("%w: its format is %.40q, not %q", ErrDossier, m.Format, Format)
	}
	if len(m.Parts) != len(parts) {
		return fmt.Errorf("%w: it lists %d parts and has %d", ErrDossier, len(m.Parts), len(parts))
	}
	seen := map[string]bool{}
	for _, l := range m.Parts {
		content, ok := parts[l.Name]
		sum := sha256.Sum256(content)
		if !ok || seen[l.Name] || len(content) != l.Bytes || hex.EncodeToString(sum[:]) != l.SHA256 {
			return fmt.Errorf("%w: the part %.80q is missing or was changed", ErrDossier, l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}

func readZIP(raw []byte) (map[string][]byte, error) {
	bad := func(err error) (map[string][]byte, error) { return nil, fmt.Errorf("%w: %w", ErrDossier, err) }
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return bad(err)
	}
	if len(z.File) > MaxParts+1 {
		return bad(errors.New("it has too many parts"))
	}
	parts, room := map[string][]byte{}, int64(MaxFile)
	for _, f := range z.File {
		if _, twice := parts[f.Name]; twice {
			return bad(fmt.Errorf("the part %.80q stands twice", f.Name))
		}
		r, err := f.Open()
		if err != nil {
			return bad(err)
		}
		content, err := io.ReadAll(io.LimitReader(r, room+1))
		if err = errors.Join(err, r.Close()); err != nil {
			return bad(err)
		}
		if room -= int64(len(content)); room < 0 {
			return bad(fmt.Errorf("it holds more than %d bytes", int64(MaxFile)))
		}
		parts[f.Name] = content
	}
	return parts, nil
}

// strict decodes one JSON value without unknown members or anything after it.
func strict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrDossier, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: there is more than one JSON value", ErrDossier)
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
