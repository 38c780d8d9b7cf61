package witness

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxEvidence bounds a piece of evidence, in bytes.
const MaxEvidence = 32 << 10

// ErrEvidence reports bytes that prove nothing against a log.
var ErrEvidence = errors.New("it does not prove that a log showed two histories")

// Evidence proves, to whoever reads it, that the key of a log signed two checkpoints
// that cannot both be true. It needs no witness's word. It exists only verified.
type Evidence struct {
	Binding *audit.Binding
	// First and Second carry the log's signature and no other; First is not the
	// larger one.
	First, Second audit.Checkpoint

	raw []byte
}

// evidence is the wire format, in CBOR.
type evidence struct {
	_             struct{} `cbor:",toarray"`
	Binding       []byte
	First, Second []byte   // signed notes; of two with the same size the smaller one, as bytes, first
	Proof         [][]byte // that the tree of Second begins with another root than First's; empty where their sizes are equal
}

// newEvidence makes evidence of two checkpoints of a log and, where their sizes
// differ, of a proof that the log gave for the larger one. It fails with [ErrEvidence].
func newEvidence(binding []byte, b *audit.Binding, first, second audit.Checkpoint, proof tlog.TreeProof) (*Evidence, error) {
	e := evidence{Binding: binding}
	for _, c := range []struct {
		to   *[]byte
		note []byte
	}{{&e.First, first.Note}, {&e.Second, second.Note}} {
		var err error
		if *c.to, err = bare(b, c.note); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
		}
	}
	if first.N > second.N || first.N == second.N && bytes.Compare(e.First, e.Second) > 0 {
		e.First, e.Second = e.Second, e.First
	}
	if first.N != second.N {
		for _, h := range proof {
			e.Proof = append(e.Proof, h[:])
		}
	}
	raw, err := statement.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return ParseEvidence(raw)
}

// ParseEvidence reads evidence and verifies it. Nothing else does. It accepts one
// encoding only, and fails with [ErrEvidence].
func ParseEvidence(raw []byte) (*Evidence, error) {
	bad := func(what string, err error) error { return fmt.Errorf("%w: %s: %w", ErrEvidence, what, err) }
	if len(raw) > MaxEvidence {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d", ErrEvidence, len(raw), MaxEvidence)
	}
	var in evidence
	if err := statement.Unmarshal(raw, &in); err != nil {
		return nil, bad("it does not decode", err)
	}
	b, err := audit.VerifyBinding(in.Binding)
	if err != nil {
		return nil, bad("whose log it is", err)
	}
	e := &Evidence{Binding: b, raw: bytes.Clone(raw)}
	if e.First, err = openBare(b, in.First); err != nil {
		return nil, bad("the first checkpoint", err)
	}
	if e.Second, err = openBare(b, in.Second); err != nil {
		return nil, bad("the second checkpoint", err)
	}
	proof := make(tlog.TreeProof, len(in.Proof))
	for i, h := range in.Proof {
		if len(h) != tlog.HashSize || i >= MaxProof {
			return nil, fmt.Errorf("%w: the proof is malformed", ErrEvidence)
		}
		proof[i] = tlog.Hash(h)
	}
	return e, e.check(in.First, in.Second, proof)
}

func (e *Evidence) check(first, second []byte, proof tlog.TreeProof) error {
	if e.First.N == e.Second.N {
		if e.First.Hash == e.Second.Hash || len(proof) > 0 || bytes.Compare(first, second) >= 0 {
			return fmt.Errorf("%w: the two checkpoints agree, or are not in order", ErrEvidence)
		}
		return nil
	}
	before, after, ok := rootsOf(proof, e.First.N, e.Second.N)
	if !ok || after != e.Second.Hash || before == e.First.Hash {
		return fmt.Errorf("%w: the proof does not show that the larger checkpoint continues another history", ErrEvidence)
	}
	return nil
}

// Bytes is the evidence as it travels and is kept.
func (e *Evidence) Bytes() []byte { return e.raw }

// String says in one sentence what it proves.
func (e *Evidence) String() string {
	if e.First.N == e.Second.N {
		return fmt.Sprintf("the log of peer %s signed two different histories of %d records", e.Binding.Peer, e.First.N)
	}
	return fmt.Sprintf("the log of peer %s signed a history of %d records that does not continue the one of %d records which it signed too",
		e.Binding.Peer, e.Second.N, e.First.N)
}

// bare is a checkpoint with the signature of its log alone. The checkpoint must
// have been opened with the binding.
func bare(b *audit.Binding, checkpoint []byte) ([]byte, error) {
	v, err := b.Verifier()
	if err != nil {
		return nil, err
	}
	n, err := note.Open(checkpoint, note.VerifierList(v))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s\n%s%s %s\n", n.Text, signaturePre, n.Sigs[0].Name, n.Sigs[0].Base64), nil
}

// openBare reads what bare makes, and nothing else.
func openBare(b *audit.Binding, raw []byte) (audit.Checkpoint, error) {
	c, err := b.OpenCheckpoint(raw)
	if err != nil {
		return c, err
	}
	if again, err := bare(b, raw); err != nil || !bytes.Equal(again, raw) {
		return c, errors.New("it has further signatures")
	}
	return c, nil
}

// text is the part of a checkpoint that is signed.
func text(checkpoint []byte) string {
	t, _, _ := strings.Cut(string(checkpoint), "\n\n")
	return t + "\n"
}

// originOf is the first line of a checkpoint that nobody has verified.
func originOf(checkpoint []byte) string {
	origin, _, _ := strings.Cut(string(checkpoint), "\n")
	return origin
}
