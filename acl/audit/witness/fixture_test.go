package witness

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// history is a log as a forger has it: the key, and any leaves that he likes.
type history struct {
	t       testing.TB
	key     statement.PrivateKey
	raw     []byte
	binding *audit.Binding
	hashes  []tlog.Hash
	size    int64
}

// newHistory begins the log of a name's peer.
func newHistory(t testing.TB, peer, log statement.PrivateKey) *history {
	t.Helper()
	h := &history{t: t, key: log}
	var err error
	if h.raw, err = audit.Bind(peer, log); err != nil {
		t.Fatal(err)
	}
	if h.binding, err = audit.VerifyBinding(h.raw); err != nil {
		t.Fatal(err)
	}
	return h
}

func nodeHistory(t testing.TB, name string) *history {
	t.Helper()
	return newHistory(t, trusttest.Key(name+" peer"), trusttest.Key(name+" log"))
}

// fork is another history with the same beginning and the same key.
func (h *history) fork() *history {
	out := *h
	out.hashes = append([]tlog.Hash(nil), h.hashes...)
	return &out
}

func (h *history) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = h.hashes[x]
	}
	return out, nil
}

// add puts n leaves behind the others; what says which.
func (h *history) add(n int, what string) *history {
	h.t.Helper()
	for range n {
		more, err := tlog.StoredHashes(h.size, fmt.Appendf(nil, "%s %d", what, h.size), h)
		if err != nil {
			h.t.Fatal(err)
		}
		h.hashes = append(h.hashes, more...)
		h.size++
	}
	return h
}

// at is the signed checkpoint of the first records.
func (h *history) at(size int64) audit.Checkpoint {
	h.t.Helper()
	root, err := tlog.TreeHash(size, h)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.sign(tlog.Tree{N: size, Hash: root})
}

func (h *history) sign(tree tlog.Tree) audit.Checkpoint {
	h.t.Helper()
	public := h.key.Public()
	key, err := note.NewEd25519VerifierKey(h.binding.Origin, public[:])
	if err != nil {
		h.t.Fatal(err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(key, h.binding.Origin+"+"), "+")
	seed := base64.StdEncoding.EncodeToString(append([]byte{1}, h.key.Seed()...))
	signer, err := note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", h.binding.Origin, id, seed))
	if err != nil {
		h.t.Fatal(err)
	}
	raw, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: h.binding.Origin, Tree: tree}.String()}, signer)
	if err != nil {
		h.t.Fatal(err)
	}
	return audit.Checkpoint{Tree: tree, Note: raw}
}

func (h *history) proof(old, size int64) tlog.TreeProof {
	h.t.Helper()
	if old == 0 || old == size {
		return nil
	}
	p, err := tlog.ProveTree(size, old, h)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// body asks for the checkpoint of size records from one of old records.
func (h *history) body(old, size int64) []byte {
	h.t.Helper()
	return Request{Old: old, Proof: h.proof(old, size), Checkpoint: h.at(size).Note}.Body()
}

// stand is one witness and what it stands on.
type stand struct {
	*Witness
	t      testing.TB
	clock  *clock
	store  kv.Store
	dir    string
	docket *Docket
	key    statement.PrivateKey
	gone   map[statement.PublicKey]bool                // who is no member
	logs   map[statement.PublicKey]statement.PublicKey // of validators, by the record
}

func newStand(t testing.TB, key statement.PrivateKey) *stand {
	t.Helper()
	s := &stand{
		t: t, clock: &clock{now: trusttest.Start}, store: &kv.Memory{}, dir: filepath.Join(t.TempDir(), "evidence"), key: key,
		gone: map[statement.PublicKey]bool{}, logs: map[statement.PublicKey]statement.PublicKey{},
	}
	s.reopen()
	return s
}

// reopen is a restart: everything that was not kept is gone.
func (s *stand) reopen() {
	s.t.Helper()
	var err error
	if s.docket, err = OpenDocket(s.dir); err != nil {
		s.t.Fatal(err)
	}
	s.Witness, err = Open(Config{
		Key: s.key, Store: s.store, Docket: s.docket, Now: s.clock.Now, Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
		Member: func(p statement.PublicKey) error {
			if s.gone[p] {
				return errors.New("no member")
			}
			return nil
		},
		LogKey: func(p statement.PublicKey) (statement.PublicKey, bool) { k, ok := s.logs[p]; return k, ok },
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// must asks for a cosignature that has to come.
func (s *stand) must(body []byte) []byte {
	s.t.Helper()
	s.clock.pass(pace)
	lines, err := s.Add(body)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := ParseRequest(body)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := Verifier(s.key.Public())
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := note.Open(append([]byte(text(r.Checkpoint)+"\n"), lines...), note.VerifierList(v))
	if err != nil || len(n.Sigs) != 1 {
		s.t.Fatalf("%q is no cosignature: %v", lines, err)
	}
	return lines
}

// refuses asks for a cosignature that must not come.
func (s *stand) refuses(what string, body []byte, code int) *Refusal {
	s.t.Helper()
	s.clock.pass(pace)
	lines, err := s.Add(body)
	var r *Refusal
	if !errors.As(err, &r) || r.Code != code || lines != nil {
		s.t.Errorf("%s: %q, %v; want a refusal with %d", what, lines, err, code)
		return &Refusal{}
	}
	return r
}

func (s *stand) introduce(h *history) {
	s.t.Helper()
	if err := s.Bind(h.raw); err != nil {
		s.t.Fatal(err)
	}
}

// wires are connections to witnesses in the process.
type wires struct {
	mu     sync.Mutex
	to     map[statement.PublicKey]*Witness
	answer map[statement.PublicKey]func(c Call, body []byte) ([]byte, error) // instead of the witness
	asked  map[statement.PublicKey]int                                       // how often
}

func (w *wires) Ask(ctx context.Context, peer statement.PublicKey, c Call, body []byte) ([]byte, error) {
	w.mu.Lock()
	w.asked[peer]++
	instead, to := w.answer[peer], w.to[peer]
	w.mu.Unlock()
	if most, _ := c.Limits(); len(body) > most {
		return nil, fmt.Errorf("a body of %d bytes, at most %d", len(body), most)
	}
	out, err := []byte(nil), errors.New("down")
	switch {
	case instead != nil:
		out, err = instead(c, body)
	case to != nil:
		out, err = to.Answer(c, body)
	}
	if _, most := c.Limits(); len(out) > most {
		return nil, fmt.Errorf("an answer of %d bytes, at most %d", len(out), most)
	}
	return out, err
}

// copyStore is a store that a test fills by hand.
type copyStore struct{ kv.Memory }

func (c *copyStore) put(k, v []byte) error {
	return c.Apply([]kv.Op{{Key: append([]byte(nil), k...), Value: append([]byte(nil), v...)}})
}

func mustParse(t *testing.T, policy string) torchwood.Policy {
	t.Helper()
	p, err := torchwood.ParsePolicy([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func holds(checkpoint []byte, p torchwood.Policy) bool {
	_, _, err := torchwood.VerifyCheckpoint(checkpoint, p)
	return err == nil
}
