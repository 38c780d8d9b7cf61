package witness

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

// The roots that a proof proves are those that package tlog accepts it for, for
// every pair of small sizes.
func TestRootsOfAProof(t *testing.T) {
	h := nodeHistory(t, "node").add(80, "event")
	for size := int64(1); size <= 80; size++ {
		_, after := treeOf(t, h, size)
		for old := int64(0); old <= size; old++ {
			p := h.proof(old, size)
			gotBefore, gotAfter, ok := rootsOf(p, old, size)
			if power := old&(old-1) == 0; ok != (old > 0 && old < size && !power) {
				t.Fatalf("%d to %d: %v", old, size, ok)
			}
			if !ok {
				continue
			}
			_, before := treeOf(t, h, old)
			if gotBefore != before || gotAfter != after {
				t.Fatalf("%d to %d: other roots", old, size)
			}
			for n := range p { // shorter and longer proofs prove nothing for these sizes
				if b, a, ok := rootsOf(p[:n], old, size); ok && (a == after || b == before) {
					t.Fatalf("%d to %d: %d of %d hashes suffice", old, size, n, len(p))
				}
			}
			if _, a, ok := rootsOf(append(p, tlog.Hash{1}), old, size); ok && a == after {
				t.Fatalf("%d to %d: a hash too many", old, size)
			}
		}
	}
}

func treeOf(t *testing.T, h *history, size int64) (int64, tlog.Hash) {
	t.Helper()
	root, err := tlog.TreeHash(size, h)
	if err != nil {
		t.Fatal(err)
	}
	return size, root
}

// forked is a log that showed two histories, and the evidence.
func forked(t testing.TB, name string) (h, forged *history, e *Evidence) {
	t.Helper()
	h = nodeHistory(t, name).add(6, "event")
	forged = h.fork().add(10, "forged")
	h.add(10, "event")
	e, err := newEvidence(h.raw, h.binding, h.at(11), forged.at(11), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h, forged, e
}

func TestEvidenceProvesItselfOrIsRefused(t *testing.T) {
	h, forged, e := forked(t, "node")
	again, err := ParseEvidence(e.Bytes())
	if err != nil || again.Binding.Peer != h.binding.Peer || again.String() != e.String() {
		t.Fatalf("%v, %v", again, err)
	}
	swapped, err := newEvidence(h.raw, h.binding, forged.at(11), h.at(11), nil)
	if err != nil || !bytes.Equal(swapped.Bytes(), e.Bytes()) {
		t.Errorf("the order matters: %v", err)
	}
	larger, err := newEvidence(h.raw, h.binding, forged.at(16), h.at(11), forged.proof(11, 16))
	if err != nil || larger.First.N != 11 {
		t.Fatalf("two sizes: %v", err)
	}
	other := nodeHistory(t, "other").add(20, "event")
	cosigned := h.at(11)
	line, err := newCosigner(trusttest.Key("w"), (&clock{now: trusttest.Start}).Now).signatureLine(text(cosigned.Note))
	if err != nil {
		t.Fatal(err)
	}
	var good evidence
	if err := statement.Unmarshal(e.Bytes(), &good); err != nil {
		t.Fatal(err)
	}
	var proven evidence
	if err := statement.Unmarshal(larger.Bytes(), &proven); err != nil {
		t.Fatal(err)
	}
	change := func(from evidence, f func(*evidence)) []byte {
		from.Proof = append([][]byte(nil), from.Proof...)
		f(&from)
		raw, err := statement.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, raw := range map[string][]byte{
		"nothing":                   nil,
		"too long":                  make([]byte, MaxEvidence+1),
		"something behind it":       append(bytes.Clone(e.Bytes()), 0),
		"the same twice":            change(good, func(e *evidence) { e.Second = e.First }),
		"in the other order":        change(good, func(e *evidence) { e.First, e.Second = e.Second, e.First }),
		"no binding":                change(good, func(e *evidence) { e.Binding = nil }),
		"another log's binding":     change(good, func(e *evidence) { e.Binding = other.raw }),
		"another log's checkpoint":  change(good, func(e *evidence) { e.Second = other.at(11).Note }),
		"honest growth":             change(good, func(e *evidence) { e.First, e.Second = h.at(11).Note, h.at(16).Note }),
		"honest growth, proven":     change(good, func(e *evidence) { e.First, e.Second, e.Proof = h.at(11).Note, h.at(16).Note, bytesOf(h.proof(11, 16)) }),
		"further signatures":        change(good, func(e *evidence) { e.First = append(bytes.Clone(e.First), line...) }),
		"a proof where none goes":   change(good, func(e *evidence) { e.Proof = proven.Proof }),
		"a proof of other sizes":    change(proven, func(e *evidence) { e.Proof = bytesOf(forged.proof(11, 15)) }),
		"no proof":                  change(proven, func(e *evidence) { e.Proof = nil }),
		"a changed proof":           change(proven, func(e *evidence) { e.Proof[1] = make([]byte, 32) }),
		"a hash of another length":  change(proven, func(e *evidence) { e.Proof[0] = e.Proof[0][1:] }),
		"a proof that never ends":   change(proven, func(e *evidence) { e.Proof = append(e.Proof, bytesOf(make(tlog.TreeProof, MaxProof))...) }),
		"the larger one first":      change(proven, func(e *evidence) { e.First, e.Second = e.Second, e.First }),
		"a power of two":            change(proven, func(e *evidence) { e.First, e.Proof = h.at(8).Note, bytesOf(forged.proof(8, 16)) }),
		"one of them is not signed": change(good, func(e *evidence) { e.First = bytes.Replace(e.First, []byte("\n11\n"), []byte("\n12\n"), 1) }),
	} {
		if got, err := ParseEvidence(raw); !errors.Is(err, ErrEvidence) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := newEvidence(h.raw, h.binding, h.at(11), h.at(16), h.proof(11, 16)); !errors.Is(err, ErrEvidence) {
		t.Errorf("honest growth: %v", err)
	}
}

func bytesOf(p tlog.TreeProof) (out [][]byte) {
	for _, h := range p {
		out = append(out, h[:])
	}
	return out
}

func TestADocketKeepsTheFirstEvidenceForEver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evidence")
	d, err := OpenDocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, forged, e := forked(t, "node")
	changed := d.Changed()
	if isNew, err := d.Add(e); !isNew || err != nil {
		t.Fatal(isNew, err)
	}
	<-changed
	second, err := newEvidence(h.raw, h.binding, h.at(14), forged.at(14), nil)
	if err != nil {
		t.Fatal(err)
	}
	if isNew, err := d.Add(second); isNew || err != nil {
		t.Errorf("a second piece against one log: %v, %v", isNew, err)
	}
	_, _, third := forked(t, "another")
	if isNew, err := d.Add(third); !isNew || err != nil {
		t.Fatal(isNew, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	path := d.path(third)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	misnamed := filepath.Join(dir, docketPrefix+"00"+docketSuffix)
	if err := os.WriteFile(misnamed, e.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenDocket(dir); err != nil {
		t.Fatal(err)
	}
	if got := d.Against(h.binding.Peer); got == nil || !bytes.Equal(got.Bytes(), e.Bytes()) {
		t.Error("the evidence is gone after a restart")
	}
	if d.Against(third.Binding.Peer) != nil || len(d.Damaged()) != 2 {
		t.Errorf("damaged: %q", d.Damaged())
	}
	if isNew, err := d.Add(third); !isNew || err != nil || len(d.Damaged()) != 1 {
		t.Errorf("good evidence does not replace a damaged file: %v, %v, %q", isNew, err, d.Damaged())
	}
	d.mu.Lock()
	for i := len(d.kept); i < maxDocket; i++ {
		d.kept[statement.PublicKey{byte(i), byte(i >> 8), 1}] = e
	}
	d.mu.Unlock()
	_, _, more := forked(t, "one more")
	if _, err := d.Add(more); !errors.Is(err, errDocket) {
		t.Errorf("a full docket: %v", err)
	}
}

// Evidence goes from one member to the next, page by page; only what verifies and is
// about somebody who is known is kept.
func TestEvidenceSpreads(t *testing.T) {
	open := func() *Docket {
		d, err := OpenDocket(filepath.Join(t.TempDir(), "evidence"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	everybody := func(statement.PublicKey) bool { return true }
	from, to, third := open(), open(), open()
	for i := range 9 {
		_, _, e := forked(t, string(rune('a'+i)))
		if _, err := from.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	var after statement.PublicKey
	pages := 0
	for more := true; more; pages++ {
		ask, err := AskEvidence(after)
		if err != nil {
			t.Fatal(err)
		}
		reply, _, err := from.Exchange(ask, everybody)
		if err != nil || len(reply) > MaxSpreadReply {
			t.Fatalf("%d bytes, %v", len(reply), err)
		}
		if after, _, more, err = to.ReadEvidence(reply, everybody); err != nil {
			t.Fatal(err)
		}
	}
	if len(to.All()) != 9 || pages < 2 {
		t.Errorf("%d pieces in %d pages", len(to.All()), pages)
	}
	one := to.All()[4]
	ask, err := AskEvidence(statement.PublicKey{255}, one.Bytes())
	if err != nil || len(ask) > MaxSpread {
		t.Fatal(len(ask), err)
	}
	for range 2 { // twice is once
		if _, _, err := third.Exchange(ask, func(p statement.PublicKey) bool { return p == one.Binding.Peer }); err != nil {
			t.Fatal(err)
		}
	}
	if len(third.All()) != 1 {
		t.Errorf("%d pieces", len(third.All()))
	}
	stranger := to.All()[5]
	if ask, err = AskEvidence(statement.PublicKey{}, stranger.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, taken, err := third.Exchange(ask, func(statement.PublicKey) bool { return false }); err != nil || taken > 0 {
		t.Errorf("evidence against nobody who is known: %d, %v", taken, err)
	}
	bad := bytes.Replace(stranger.Bytes(), []byte("\n11\n"), []byte("\n12\n"), 1)
	if ask, err = AskEvidence(statement.PublicKey{}, bad); err != nil {
		t.Fatal(err)
	}
	if _, _, err := third.Exchange(ask, everybody); !errors.Is(err, ErrEvidence) {
		t.Errorf("forged evidence: %v", err)
	}
	page, err := statement.Marshal([][]byte{bad})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := third.ReadEvidence(page, everybody); !errors.Is(err, ErrEvidence) {
		t.Errorf("a page with forged evidence: %v", err)
	}
	for _, garbage := range [][]byte{nil, []byte("x"), make([]byte, 100)} {
		if _, _, err := third.Exchange(garbage, everybody); err == nil {
			t.Error("garbage was taken for a request")
		}
		if _, _, _, err := third.ReadEvidence(garbage, everybody); err == nil {
			t.Error("garbage was taken for a page")
		}
	}
	if len(third.All()) != 1 {
		t.Errorf("%d pieces", len(third.All()))
	}
}

func FuzzEvidence(f *testing.F) {
	h, forged, e := forked(f, "node")
	larger, err := newEvidence(h.raw, h.binding, forged.at(16), h.at(11), forged.proof(11, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.Bytes())
	f.Add(larger.Bytes())
	f.Add(h.raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseEvidence(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Bytes(), raw) {
			t.Error("what was read is not what is kept")
		}
		if e.First.Tree == e.Second.Tree || e.First.N > e.Second.N {
			t.Errorf("no evidence: %v", e)
		}
		again, err := newEvidence(mustBinding(t, raw), e.Binding, e.Second, e.First, mustProof(t, raw))
		if err != nil || !bytes.Equal(again.Bytes(), raw) {
			t.Errorf("made again it is another: %v", err)
		}
	})
}

func mustBinding(t *testing.T, raw []byte) []byte {
	t.Helper()
	var in evidence
	if err := statement.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.VerifyBinding(in.Binding); err != nil {
		t.Fatal(err)
	}
	return in.Binding
}

func mustProof(t *testing.T, raw []byte) (p tlog.TreeProof) {
	t.Helper()
	var in evidence
	if err := statement.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	for _, h := range in.Proof {
		p = append(p, tlog.Hash(h))
	}
	return p
}

func FuzzRequest(f *testing.F) {
	h := nodeHistory(f, "node").add(30, "event")
	f.Add(h.body(0, 0))
	f.Add(h.body(11, 30))
	f.Add([]byte("old 5\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body)
		if err == nil && !bytes.Equal(r.Body(), body) {
			t.Errorf("%q is read as %q", body, r.Body())
		}
		if err != nil && !errors.As(err, new(*Refusal)) {
			t.Errorf("%v is no refusal", err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("409 77\n"))
	f.Add((&Refusal{Code: 422, Reason: "no"}).Answer())
	f.Add([]byte(signaturePre + "cerebrum.dev/witness/00 AAAA\n"))
	f.Add([]byte("403 a\x1b[31m\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		lines, err := ParseAnswer(raw)
		var r *Refusal
		switch {
		case err == nil:
			if !bytes.Equal(lines, raw) {
				t.Errorf("%q is read as %q", raw, lines)
			}
		case errors.As(err, &r):
			if again, err2 := ParseAnswer(r.Answer()); again != nil || err2.Error() != err.Error() {
				t.Errorf("%q is read as %v and then %v", raw, err, err2)
			}
		case !errors.Is(err, ErrAnswer):
			t.Errorf("%v", err)
		}
	})
}

func FuzzChanged(f *testing.F) {
	raw, err := statement.Marshal(changesPage{Checkpoints: [][]byte{{1}, nil}, Next: 9})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		page, next, err := ReadChanged(raw)
		if err != nil {
			return
		}
		if again, err := statement.Marshal(changesPage{Checkpoints: page, Next: next}); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("%x is read as %x", raw, again)
		}
	})
}
