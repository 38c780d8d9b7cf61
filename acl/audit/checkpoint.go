package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxCheckpoint bounds a signed checkpoint with its cosignatures, in bytes.
const maxCheckpoint = 64 << 10

// ErrCheckpoint reports a checkpoint that is not this log's, or damaged.
var ErrCheckpoint = errors.New("the checkpoint does not verify")

// Checkpoint is a signed statement of a log's size and root, as C2SP
// tlog-checkpoint has it.
type Checkpoint struct {
	tlog.Tree
	Note []byte // the signed note, cosignatures and all
}

// Signatures is how many there are on it, the log's own among them; nobody has verified
// the others.
func (c Checkpoint) Signatures() int {
	_, lines, _ := bytes.Cut(c.Note, []byte("\n\n"))
	return bytes.Count(lines, []byte("\n"))
}

// signCheckpoint signs the size and root at a mark, which must be durable: a
// checkpoint of entries that a crash takes back is a fork for ever.
func signCheckpoint(s *signer, m *mark) (Checkpoint, error) {
	tree := tlog.Tree{N: m.n, Hash: m.root()}
	raw, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: s.name, Tree: tree}.String()}, s)
	return Checkpoint{tree, raw}, err
}

// OpenCheckpoint reads a checkpoint that the log itself must have signed. Other
// signatures on it are kept and not looked at. It accepts one encoding only, so
// that no bit of it can change unseen. It fails with [ErrCheckpoint].
func (b *Binding) OpenCheckpoint(raw []byte) (Checkpoint, error) {
	v, err := b.Verifier()
	if err != nil {
		return Checkpoint{}, err
	}
	if len(raw) > maxCheckpoint {
		return Checkpoint{}, fmt.Errorf("%w: it has %d bytes, at most %d", ErrCheckpoint, len(raw), maxCheckpoint)
	}
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if c.Origin != b.Origin || c.Extension != "" || c.String() != n.Text || !strictLines(raw, n) {
		return Checkpoint{}, fmt.Errorf("%w: it is of another log, or not in the one encoding", ErrCheckpoint)
	}
	return Checkpoint{c.Tree, bytes.Clone(raw)}, nil
}

// strictLines holds what note.Open lets pass: signatures that say one thing in
// several encodings, and lines that it drops because they repeat another.
func strictLines(raw []byte, n *note.Note) bool {
	lines := strings.SplitAfter(strings.TrimPrefix(string(raw), n.Text+"\n"), "\n")
	if last := len(lines) - 1; lines[last] != "" || last != len(n.Sigs)+len(n.UnverifiedSigs) {
		return false
	}
	for _, s := range append(n.Sigs, n.UnverifiedSigs...) {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return false
		}
	}
	return true
}

// readCheckpoint reads one of a log's checkpoint files; nil where there is none.
func readCheckpoint(d folder, name string, b *Binding) (*Checkpoint, error) {
	raw, err := read(d, name, maxCheckpoint)
	if raw == nil || err != nil {
		return nil, err
	}
	c, err := b.OpenCheckpoint(raw)
	if err != nil {
		return nil, tamperedFile(name, err.Error())
	}
	return &c, nil
}

// publish signs what is durable and makes the checkpoint durable, unless that
// was done. Only the writer calls it, or whoever opens the log. It signs under the lock
// under which a log is disowned, so that nothing is signed after that; a checkpoint that
// is on its way to the disk then is shown to nobody. The error is [ErrDisowned].
func (l *Log) publish() error {
	l.mu.Lock()
	c, due, err := l.nextCheckpoint()
	l.mu.Unlock()
	if err != nil || !due {
		return err
	}
	if err := l.folder.replace(checkpointName, c.Note); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	l.published = c
	return nil
}

// nextCheckpoint signs what is durable, if that is due. The caller holds mu.
func (l *Log) nextCheckpoint() (c Checkpoint, due bool, err error) {
	if l.failed != nil {
		return c, false, l.failed
	}
	if l.published.Note != nil && l.published.N == l.durable.n {
		return c, false, nil
	}
	c, err = signCheckpoint(l.signer, &l.durable)
	return c, true, err
}

// Published is the newest checkpoint that was made durable. While the log grows
// it is a few seconds old at most.
func (l *Log) Published() Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published
}

// Cosigned is the newest checkpoint that [Log.Cosign] was given, with its
// cosignatures; its Note is nil where there is none.
func (l *Log) Cosigned() Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cosigned
}

// Cosign keeps cosignatures of witnesses, durably on return. checkpoint is one
// that this log published; lines are the signature lines that witnesses answered
// with (C2SP tlog-cosignature); known verifies every one of them. Signatures that
// were kept for the same checkpoint stay. A checkpoint of fewer entries than
// the one kept is refused, so a caller gathers a quorum first. It fails with
// [ErrCheckpoint].
func (l *Log) Cosign(checkpoint, lines []byte, known note.Verifiers) (Checkpoint, error) {
	own, err := l.binding.OpenCheckpoint(checkpoint)
	if err != nil {
		return Checkpoint{}, err
	}
	l.cosigning.Lock()
	defer l.cosigning.Unlock()
	old := l.Cosigned()
	if own.N > l.Published().N || own.N < old.N {
		return Checkpoint{}, fmt.Errorf("%w: it has %d entries, and the log published %d and keeps a cosigned one of %d", ErrCheckpoint, own.N, l.Published().N, old.N)
	}
	if root, err := l.rootAt(own.N); err != nil {
		return Checkpoint{}, err
	} else if root != own.Hash {
		return Checkpoint{}, fmt.Errorf("%w: its root is not that of this log at %d entries", ErrCheckpoint, own.N)
	}
	merged := own.Note
	if old.Note != nil && old.N == own.N {
		merged = old.Note
	}
	if merged, err = addLines(merged, lines, known); err != nil {
		return Checkpoint{}, err
	}
	next, err := l.binding.OpenCheckpoint(merged)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := l.folder.replace(cosignedName, merged); err != nil {
		return Checkpoint{}, err
	}
	l.mu.Lock()
	l.cosigned = next
	l.mu.Unlock()
	return next, nil
}

// addLines adds signature lines to a signed note, each verified. A signature of
// the same witness that was there before gives way.
func addLines(signed, lines []byte, known note.Verifiers) ([]byte, error) {
	text, old, _ := bytes.Cut(signed, []byte("\n\n"))
	text = append(bytes.Clone(text), "\n\n"...)
	n, err := note.Open(append(bytes.Clone(text), lines...), known)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if len(n.UnverifiedSigs) > 0 {
		return nil, fmt.Errorf("%w: %s is no known witness", ErrCheckpoint, n.UnverifiedSigs[0].Name)
	}
	if len(n.Text)+1 != len(text) { // an empty line among the lines made them part of what is signed
		return nil, fmt.Errorf("%w: the signatures are of another text", ErrCheckpoint)
	}
	if n, err = note.Open(append(append(bytes.Clone(text), lines...), old...), known); err != nil { // of a repeated signer the first counts
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	for _, s := range append(n.UnverifiedSigs, n.Sigs...) { // the log's own first
		text = fmt.Appendf(text, "— %s %s\n", s.Name, s.Base64)
	}
	return text, nil
}
