// Package statement is the one envelope for everything that Cerebrum signs:
// manifests, dealings, grants, consents, memberships, committee records,
// revocations, proofs of possession.
//
// # Wire format
//
// An envelope is a CBOR array (RFC 8949, core deterministic encoding):
//
//	[ type: text, payload: bytes, signatures: [ [index: uint, signature: bytes .size 64], ... ] ]
//
// The payload is itself the deterministic CBOR encoding of a Go struct that is
// encoded as an array. What is signed is never the envelope but its
// pre-authentication encoding, PAE(type, payload), as the DSSE protocol
// defines it (secure-systems-lab/dsse, protocol.md):
//
//	"DSSEv1" SP len(type) SP type SP len(payload) SP payload
//
// The type separates domains: a signature under one [Kind] verifies under no
// other. The index of a signature points into the list of keys that the
// verifier brings; indexes strictly increase, so that no key counts twice.
//
// The [ID] of a statement is SHA-256 of its PAE. Adding, dropping or reordering
// signatures does not change it, and payload bytes are never encoded again, so
// an id cannot be mauled.
//
// # Strictness
//
// [Unmarshal] accepts exactly the bytes that [Marshal] would write: whatever
// decodes but encodes differently (longer integers, unsorted or duplicate map
// keys, indefinite lengths, tags, null for an empty list, trailing bytes) is
// refused.
//
// # Use
//
//	e, err := statement.Sign("grant", body, key)   // index 0
//	raw := e.Bytes()
//	...
//	e, err := statement.Parse(raw)                 // nothing verified yet
//	err = e.Peek("grant", &body)                   // to learn whose keys to ask for
//	err = e.Verify("grant", keys, k)               // k distinct signatures of keys
package statement

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Limits on what a decoder accepts.
const (
	MaxBytes      = 1 << 20 // an envelope
	MaxSignatures = 256     // in one envelope
	maxNested     = 8       // CBOR nesting
)

// Errors that callers branch on. They carry no content of the statement.
var (
	// ErrMalformed reports bytes that are not the one canonical encoding.
	ErrMalformed = errors.New("statement is malformed")
	// ErrKind reports a statement of another kind than the caller asked for.
	ErrKind = errors.New("statement is of another kind")
	// ErrSignature reports signatures that are wrong, unknown, repeated, out of order or too few.
	ErrSignature = errors.New("statement's signatures do not verify")
)

// Kind names what a statement says; it is the domain of its signatures. A kind
// is a short lower-case word such as "grant".
type Kind string

const mediaTypeStart, mediaTypeEnd = "application/vnd.cerebrum.", ".v1+cbor"

func (k Kind) mediaType() string { return mediaTypeStart + string(k) + mediaTypeEnd }

// ID is SHA-256 of a statement's pre-authentication encoding.
type ID [sha256.Size]byte

// String is the id in lower-case hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what [ID.String] writes.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) || s != hex.EncodeToString(b) {
		return id, errors.New("an id is 64 lower-case hexadecimal digits")
	}
	return ID(b), nil
}

// Hash binds parts to a domain: SHA-256 over the domain and each part, each
// preceded by its length, so that no two lists of parts collide.
func Hash(domain string, parts ...[]byte) ID {
	h := sha256.New()
	var room [128]byte
	line := append(append(append(room[:0], "cerebrum.dev/"...), domain...), "/v1 "...)
	h.Write(strconv.AppendInt(line, int64(len(parts)), 10))
	for _, p := range parts {
		line = strconv.AppendInt(append(room[:0], ' '), int64(len(p)), 10)
		h.Write(append(line, ' '))
		h.Write(p)
	}
	var id ID
	h.Sum(id[:0])
	return id
}

// Signature is one signature and the index of its key in the verifier's list.
type Signature struct {
	_     struct{} `cbor:",toarray"`
	Index uint16
	Bytes []byte
}

// Statement is an envelope whose signatures nobody has checked. Only
// [Statement.Verify] says otherwise, and only for the keys given to it.
type Statement struct {
	kindText string
	payload  []byte
	sigs     []Signature
	id       ID
}

// New makes an unsigned statement of a body.
func New(kind Kind, body any) (*Statement, error) {
	p, err := Marshal(body)
	if err != nil {
		return nil, err
	}
	return build(kind.mediaType(), p, nil), nil
}

// Sign makes a statement of a body and signs it with keys, at indexes 0, 1, ...
func Sign(kind Kind, body any, keys ...PrivateKey) (*Statement, error) {
	s, err := New(kind, body)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		s.AddSignature(uint16(i), k)
	}
	return s, nil
}

func build(typ string, payload []byte, sigs []Signature) *Statement {
	s := &Statement{kindText: typ, payload: payload, sigs: sigs}
	s.id = ID(sha256.Sum256(s.pae()))
	return s
}

func (s *Statement) pae() []byte { return dsse.PAE(s.kindText, s.payload) }

// ID is the statement's id.
func (s *Statement) ID() ID { return s.id }

// Is reports whether the statement is of a kind.
func (s *Statement) Is(kind Kind) bool {
	rest, ok := strings.CutPrefix(s.kindText, mediaTypeStart)
	return ok && len(rest) == len(kind)+len(mediaTypeEnd) && rest[:len(kind)] == string(kind) && rest[len(kind):] == mediaTypeEnd
}

// Signers are the indexes that carry a signature, unchecked.
func (s *Statement) Signers() []int {
	out := make([]int, len(s.sigs))
	for i, sig := range s.sigs {
		out[i] = int(sig.Index)
	}
	return out
}

// Peek decodes the body without verifying any signature. A caller peeks to find
// out which keys to verify with, or where the id alone authenticates the body.
func (s *Statement) Peek(kind Kind, body any) error {
	if !s.Is(kind) {
		return ErrKind
	}
	return Unmarshal(s.payload, body)
}

// AddSignature signs with key at index, replacing what stood there.
func (s *Statement) AddSignature(index uint16, key PrivateKey) {
	sig := Signature{Index: index, Bytes: key.sign(s.pae())}
	at := 0
	for at < len(s.sigs) && s.sigs[at].Index < index {
		at++
	}
	if at < len(s.sigs) && s.sigs[at].Index == index {
		s.sigs[at] = sig
		return
	}
	s.sigs = append(s.sigs[:at], append([]Signature{sig}, s.sigs[at:]...)...)
}

// Merge takes over from other, a copy of the same statement, the signatures
// that this one lacks. Nothing is verified: a wrong signature stays, and keeps
// the right one for its index out, so whoever collects signatures from others
// calls [Statement.Prune] on both first. A result of more than [MaxSignatures]
// is refused and nothing taken over.
func (s *Statement) Merge(other *Statement) error {
	if s.id != other.id {
		return fmt.Errorf("%w: signatures of another statement", ErrSignature)
	}
	have := make(map[uint16]bool, len(s.sigs))
	for _, sig := range s.sigs {
		have[sig.Index] = true
	}
	total := len(s.sigs)
	for _, sig := range other.sigs {
		if !have[sig.Index] {
			total++
		}
	}
	if total > MaxSignatures {
		return fmt.Errorf("%w: %d signatures, at most %d", ErrMalformed, total, MaxSignatures)
	}
	for _, sig := range other.sigs {
		if have[sig.Index] {
			continue
		}
		at := 0
		for at < len(s.sigs) && s.sigs[at].Index < sig.Index {
			at++
		}
		s.sigs = append(s.sigs[:at], append([]Signature{sig}, s.sigs[at:]...)...)
	}
	return nil
}

// Verify checks that k distinct keys signed a statement of this kind. The first
// signatures of k keys must verify; it stops there, so that junk appended to a
// statement costs nothing. A key that occurs twice in the list counts once: its
// further signatures are passed over.
func (s *Statement) Verify(kind Kind, keys []PublicKey, k int) error {
	if !s.Is(kind) {
		return ErrKind
	}
	if k < 1 || len(s.sigs) < k || len(s.sigs) > len(keys) {
		return ErrSignature
	}
	pae := s.pae()
	counted := make(map[PublicKey]bool, k)
	for _, sig := range s.sigs {
		if int(sig.Index) >= len(keys) {
			return ErrSignature
		}
		key := keys[sig.Index]
		if counted[key] {
			continue
		}
		if !key.verify(pae, sig.Bytes) {
			return ErrSignature
		}
		counted[key] = true
		if len(counted) == k {
			return nil
		}
	}
	return ErrSignature
}

// VerifyAt checks that key signed a statement of this kind and that the
// signature stands at index. Others are not looked at: where the set of keys
// changes with time, an index is a hint that the caller gives out.
func (s *Statement) VerifyAt(kind Kind, index uint16, key PublicKey) error {
	if !s.Is(kind) {
		return ErrKind
	}
	for _, sig := range s.sigs {
		if sig.Index == index && key.verify(s.pae(), sig.Bytes) {
			return nil
		}
	}
	return ErrSignature
}

// VerifyEach reports which indexes carry a valid signature of their key. Unlike
// Verify it tolerates wrong ones: a person who collects signatures wants to
// know which are missing. A key that occurs twice in the list is reported once,
// at the first index where its signature is valid.
func (s *Statement) VerifyEach(kind Kind, keys []PublicKey) (valid []int) {
	if !s.Is(kind) {
		return nil
	}
	pae := s.pae()
	counted := make(map[PublicKey]bool, len(s.sigs))
	for _, sig := range s.sigs {
		if int(sig.Index) >= len(keys) {
			continue
		}
		key := keys[sig.Index]
		if !counted[key] && key.verify(pae, sig.Bytes) {
			counted[key] = true
			valid = append(valid, int(sig.Index))
		}
	}
	return valid
}

// Prune drops every signature that [Statement.VerifyEach] does not report, and
// all of them where the statement is of another kind. It returns how many it dropped.
func (s *Statement) Prune(kind Kind, keys []PublicKey) int {
	valid := s.VerifyEach(kind, keys)
	kept := make([]Signature, 0, len(valid))
	for _, sig := range s.sigs {
		if slices.Contains(valid, int(sig.Index)) {
			kept = append(kept, sig)
		}
	}
	dropped := len(s.sigs) - len(kept)
	s.sigs = kept
	return dropped
}
