package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
	"crypto/ed25519"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

// witnesses are cosigners, and what verifies them.
func witnesses(t testing.TB, n int) (out []*torchwood.CosignatureSigner, known note.Verifiers) {
	t.Helper()
	var all []note.Verifier
	for i := range n {
		seed := statement.Hash("witness", []byte{byte(i)})
		w, err := torchwood.NewCosignatureSigner(fmt.Sprintf("witness.example/%d", i), ed25519.NewKeyFromSeed(seed[:]))
		if err != nil {
			t.Fatal(err)
		}
		out, all = append(out, w), append(all, w.Verifier())
	}
	return out, note.VerifierList(all...)
}

// cosign gives the signature lines that witnesses answer with.
func cosign(t testing.TB, checkpoint []byte, by ...*torchwood.CosignatureSigner) (lines []byte) {
	t.Helper()
	text, _, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	for _, w := range by {
		signed, err := note.Sign(&note.Note{Text: string(text) + "\n"}, w)
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := bytes.Cut(signed, []byte("\n\n"))
		lines = append(lines, line...)
	}
	return lines
}

// The edge does what package tlog does with all hashes at hand.
func TestTheEdgeIsThatOfPackageTlog(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	var e edge
	for n := range int64(1100) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil || e.root(n) != want {
			t.Fatalf("root of %d: %v", n, err)
		}
		list, err := reader.ReadHashes(torchwood.RightEdge(n))
		if err != nil || fmt.Sprint(e.list(n)) != fmt.Sprint(list) {
			t.Fatalf("edge of %d: %v", n, err)
		}
		if again, err := edgeOf(n, list); err != nil || again.root(n) != want {
			t.Fatalf("edge of %d read back: %v", n, err)
		}
		if _, err := edgeOf(n, append(list, tlog.Hash{})); err == nil {
			t.Fatal("an edge with a hash too many")
		}
		leaf := fmt.Append(nil, n)
		hashes, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.add(n, 0, tlog.RecordHash(leaf), nil); fmt.Sprint(got) != fmt.Sprint(hashes) {
			t.Fatalf("hashes of leaf %d", n)
		}
		stored = append(stored, hashes...)
	}
}

func TestProofsHoldAndOnlyForWhatTheyProve(t *testing.T) {
	const n = 700
	l := filled(t, n)
	policy, err := l.Binding().Policy()
	if err != nil {
		t.Fatal(err)
	}
	leaves := events(0, n)
	for i := int64(0); i < n; i += 13 {
		proof, err := l.ProveInclusion(i)
		if err != nil {
			t.Fatal(err)
		}
		if len(proof) > 2048 {
			t.Fatalf("a proof of %d bytes", len(proof))
		}
		if err := VerifyInclusion(policy, leaves[i], proof); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if err := VerifyInclusion(policy, leaves[i+1-i%2*2], proof); err == nil {
			t.Fatalf("the proof of record %d proves another", i)
		}
	}
	for _, i := range []int64{-1, n, n + 1} {
		if _, err := l.ProveInclusion(i); !errors.Is(err, ErrUnsigned) {
			t.Errorf("record %d: %v, want ErrUnsigned", i, err)
		}
	}
	roots := map[int64]tlog.Hash{}
	var e edge
	for i, leaf := range leaves {
		e.add(int64(i), 0, tlog.RecordHash(leaf), nil)
		roots[int64(i)+1] = e.root(int64(i) + 1)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		size := 2 + rng.Int64N(n-1)
		old := 1 + rng.Int64N(size-1)
		p, err := l.ProveConsistency(old, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(p, size, roots[size], old, roots[old]); err != nil {
			t.Fatalf("%d to %d: %v", old, size, err)
		}
		if err := tlog.CheckTree(p, size, roots[size], old, roots[size]); err == nil { // control
			t.Fatal("a proof of consistency for another root")
		}
	}
	for _, c := range [][2]int64{{-1, 5}, {6, 5}, {5, n + 1}} {
		if _, err := l.ProveConsistency(c[0], c[1]); !errors.Is(err, ErrUnsigned) {
			t.Errorf("%d to %d: %v", c[0], c[1], err)
		}
	}
	for _, c := range [][2]int64{{0, 5}, {5, 5}} {
		if p, err := l.ProveConsistency(c[0], c[1]); err != nil || len(p) != 0 {
			t.Errorf("%d to %d: %d hashes, %v", c[0], c[1], len(p), err)
		}
	}
}

// Stored hashes are derived and never flushed. Whatever happened to them, no proof
// is given out that would not hold.
func TestProofsFromDamagedHashesAreNotGivenOut(t *testing.T) {
	l := filled(t, 600)
	f, err := os.OpenFile(filepath.Join(string(l.folder.(osFolder)), hashesName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Seek(0, io.SeekEnd)
	f.WriteAt(make([]byte, size), 0)
	if _, err := l.ProveInclusion(5); !errors.Is(err, ErrTampered) {
		t.Errorf("inclusion: %v", err)
	}
	if _, err := l.ProveConsistency(5, 500); !errors.Is(err, ErrTampered) {
		t.Errorf("consistency: %v", err)
	}
	if err := l.ExportBundle(io.Discard, Export{}); !errors.Is(err, ErrTampered) {
		t.Errorf("bundle: %v", err)
	}
	f.Truncate(100)
	if _, err := l.ProveInclusion(5); err == nil {
		t.Error("a proof from nothing")
	}
	l.Close() // control: opening makes them anew
	again, err := Open(string(l.folder.(osFolder)), config(t))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.ProveInclusion(5); err != nil {
		t.Error(err)
	}
}

func TestCosignaturesAreKeptForTheNewestCheckpointThatHasThem(t *testing.T) {
	l := filled(t, 20)
	w, known := witnesses(t, 4)
	first := l.Published()
	if c := l.Cosigned(); c.Note != nil {
		t.Fatal("cosigned before anybody did")
	}
	c, err := l.Cosign(first.Note, cosign(t, first.Note, w[0], w[1]), known)
	if err != nil || c.Tree != first.Tree {
		t.Fatalf("%+v, %v", c.Tree, err)
	}
	if c, err = l.Cosign(first.Note, cosign(t, first.Note, w[1], w[2]), known); err != nil { // one again, one more
		t.Fatal(err)
	}
	if n := strings.Count(string(c.Note), "— "); n != 4 { // the log and three witnesses
		t.Fatalf("%d signatures:\n%s", n, c.Note)
	}
	proof, err := l.ProveInclusion(3)
	if err != nil || !bytes.Contains(proof, c.Note) || len(proof) > 2048 {
		t.Fatalf("the proof does not carry the cosignatures: %d bytes, %v", len(proof), err)
	}

	add(t, l, 20, 30)
	second, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if proof, err := l.ProveInclusion(25); err != nil || !bytes.Contains(proof, second.Note) {
		t.Fatalf("a record that only the newer checkpoint covers: %v", err)
	}
	lines := cosign(t, second.Note, w[0])
	flipped := bytes.Clone(lines)
	flipped[len(flipped)-10] ^= 1
	stranger, err := torchwood.NewCosignatureSigner("stranger.example", ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	var fork mark
	fork.n, fork.tree = 30, edge{}
	forked, err := signCheckpoint(l.signer, &fork)
	if err != nil {
		t.Fatal(err)
	}
	fork.n = 31
	ahead, err := signCheckpoint(l.signer, &fork)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]struct{ checkpoint, lines []byte }{
		"damaged":              {second.Note, flipped},
		"nobody":               {second.Note, nil},
		"stranger":             {second.Note, cosign(t, second.Note, stranger)},
		"stranger among known": {second.Note, append(cosign(t, second.Note, w[1]), cosign(t, second.Note, stranger)...)},
		"of another":           {second.Note, cosign(t, first.Note, w[0])},
		"not ours":             {[]byte("nothing"), lines},
		"forked":               {forked.Note, cosign(t, forked.Note, w[0])},
		"never published":      {ahead.Note, cosign(t, ahead.Note, w[0])},
	} {
		if _, err := l.Cosign(bad.checkpoint, bad.lines, known); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v, want ErrCheckpoint", name, err)
		}
	}
	if got := l.Cosigned(); !bytes.Equal(got.Note, c.Note) {
		t.Error("a refused cosignature changed what was kept")
	}
	if _, err := l.Cosign(second.Note, lines, known); err != nil { // control
		t.Fatal(err)
	}
	if _, err := l.Cosign(first.Note, cosign(t, first.Note, w[3]), known); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("an older checkpoint took the place of a newer: %v", err)
	}
	l.Close()
	again, err := Open(string(l.folder.(osFolder)), config(t))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Cosigned(); got.Tree != second.Tree {
		t.Errorf("after reopening %d records are cosigned", got.N)
	}
}

func TestBindingsSayWhoseLogItIs(t *testing.T) {
	mallory, log, victim := key(t, "mallory"), key(t, "log"), key(t, "peer")
	sign := func(b Binding, kind statement.Kind, keys ...statement.PrivateKey) []byte {
		s, err := statement.Sign(kind, b, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return s.Bytes()
	}
	of := func(peer, key statement.PublicKey) Binding {
		return Binding{Origin: Origin(peer), Peer: peer, Log: key}
	}
	good := of(victim.Public(), log.Public())
	moved := good
	moved.Origin = Origin(mallory.Public())
	for name, raw := range map[string][]byte{
		"nothing":                     nil,
		"without the peer":            sign(good, KindBinding, log),
		"without the log":             sign(good, KindBinding, victim),
		"another signs for the peer":  sign(good, KindBinding, mallory, log),
		"somebody else's key claimed": sign(of(mallory.Public(), log.Public()), KindBinding, mallory, mallory),
		"somebody else's origin":      sign(moved, KindBinding, victim, log),
		"another kind":                sign(good, KindBundle, victim, log),
		"peer key as log key":         sign(of(victim.Public(), victim.Public()), KindBinding, victim, victim),
	} {
		if _, err := VerifyBinding(raw); !errors.Is(err, ErrBinding) {
			t.Errorf("%s: %v, want ErrBinding", name, err)
		}
	}
	if b, err := VerifyBinding(sign(good, KindBinding, victim, log)); err != nil || *b != good { // control
		t.Errorf("%+v, %v", b, err)
	}
	if strings.ContainsAny(good.Origin, "+ \n\t") || strings.Contains(good.Origin, "://") {
		t.Errorf("%q is no origin", good.Origin)
	}

	dir := written(t, 3, true)
	for name, c := range map[string]Config{
		"no binding":      {Key: log},
		"no key":          {Binding: config(t).Binding},
		"another key":     {Binding: config(t).Binding, Key: mallory},
		"another log key": rebound(t, victim, mallory),
		"another peer":    rebound(t, mallory, log),
	} {
		if _, err := Open(dir, c); !errors.Is(err, ErrBinding) {
			t.Errorf("%s: %v, want ErrBinding", name, err)
		}
	}
	if _, err := Verify(dir, mallory.Public()); !errors.Is(err, ErrBinding) {
		t.Errorf("verify as somebody else's: %v", err)
	}
	mustHold(t, dir, 3) // control
}

func rebound(t testing.TB, peer, log statement.PrivateKey) Config {
	t.Helper()
	b, err := Bind(peer, log)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Binding: b, Key: log}
}
