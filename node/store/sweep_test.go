package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"github.com/ipfs/go-cid"
)

func beginSweep(t testing.TB, s *Store, keep ...envelope.Block) *Sweep {
	t.Helper()
	w, err := s.Sweep()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	for _, b := range keep {
		w.Keep(b.CID)
	}
	return w
}

func garbageOf(t testing.TB, w *Sweep) []Garbage {
	t.Helper()
	g, err := w.Garbage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// mustFree frees garbage and checks how much that is.
func mustFree(t testing.TB, w *Sweep, g []Garbage, blocks int, bytes int64) {
	t.Helper()
	if n, b, err := w.Free(t.Context(), g); err != nil || n != blocks || b != bytes {
		t.Fatalf("freed %d blocks of %d bytes, not %d of %d: %v", n, b, blocks, bytes, err)
	}
}

// What was not marked goes, in both halves, and is counted to the byte; the rest
// stays, also in the next process.
func TestSweepFreesWhatNothingNeeds(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "s")}
	s := openTest(t, cfg)
	small, large := blocksOf(t, 0, 600, 100), blocksOf(t, 1000, 4, MaxSmall+7)
	mustPut(t, s, small...)
	mustPut(t, s, large...)
	w := beginSweep(t, s, append(append([]envelope.Block{}, small[:10]...), large[0], blockOf(t, 5000, 10))...)
	g := garbageOf(t, w)
	mustFree(t, w, g, 593, 590*100+3*(MaxSmall+7))
	w.Close()
	check := func() {
		t.Helper()
		for i, b := range append(append([]envelope.Block{}, small...), large...) {
			if i < 10 || i == 600 {
				wantBlock(t, s, b)
			} else {
				wantNoBlock(t, s, b.CID)
			}
		}
	}
	check()
	s = reopen(t, s, cfg)
	check()
	w = beginSweep(t, s)
	if g := garbageOf(t, w); len(g) != 11 {
		t.Errorf("%d blocks are left", len(g))
	}
}

// The three ways in which a draft and a sweep meet, and what becomes of the same
// block where no draft protects it.
func TestSweepSparesDrafts(t *testing.T) {
	for _, size := range []int{50, MaxSmall + 1} {
		b := blockOf(t, 1, size)
		for _, c := range []struct {
			name  string
			stays bool
			story func(t *testing.T, s *Store) *Sweep // up to the last step
		}{
			{"closed before, and not named", false, func(t *testing.T, s *Store) *Sweep {
				put(t, s.Draft(), b).Close()
				return beginSweep(t, s)
			}},
			{"closed before, and named", true, func(t *testing.T, s *Store) *Sweep {
				put(t, s.Draft(), b).Close()
				return beginSweep(t, s, b)
			}},
			{"open all the time", true, func(t *testing.T, s *Store) *Sweep {
				put(t, s.Draft(), b)
				return beginSweep(t, s)
			}},
			{"closed while it marks", true, func(t *testing.T, s *Store) *Sweep {
				d := put(t, s.Draft(), b)
				w := beginSweep(t, s)
				d.Close()
				d.Close()
				return w
			}},
			{"opened and closed while it marks", true, func(t *testing.T, s *Store) *Sweep {
				w := beginSweep(t, s)
				put(t, s.Draft(), b).Close()
				return w
			}},
			{"opened while it marks, without a draft", false, func(t *testing.T, s *Store) *Sweep {
				w := beginSweep(t, s)
				mustPut(t, s, b)
				return w
			}},
		} {
			s := openTest(t, Config{Dir: t.TempDir()})
			w := c.story(t, s)
			g := garbageOf(t, w)
			if _, _, err := w.Free(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			if here, err := s.Has(t.Context(), b.CID); err != nil || here != c.stays {
				t.Errorf("%s: here is %v, %v", c.name, here, err)
			}
		}
	}
}

func put(t *testing.T, d *Draft, b envelope.Block) *Draft {
	t.Helper()
	if err := d.PutMany(t.Context(), []envelope.Block{b}); err != nil {
		t.Fatal(err)
	}
	return d
}

// A draft that comes to need a block which was listed as garbage already gets it.
func TestSweepSparesWhatWasListed(t *testing.T) {
	for name, claim := range map[string]func(*testing.T, *Store, envelope.Block){
		"by writing it":      func(t *testing.T, s *Store, b envelope.Block) { put(t, s.Draft(), b).Close() },
		"without any draft":  func(t *testing.T, s *Store, b envelope.Block) { mustPut(t, s, b) },
		"by finding it here": func(t *testing.T, s *Store, b envelope.Block) { found(t, s.Draft(), b).Close() },
	} {
		s := openTest(t, Config{Dir: t.TempDir()})
		b := blockOf(t, 1, 50)
		mustPut(t, s, b)
		w := beginSweep(t, s)
		g := garbageOf(t, w)
		if len(g) != 1 {
			t.Fatalf("%s: listed are %v", name, g)
		}
		claim(t, s, b)
		if name == "without any draft" { // the control
			mustFree(t, w, g, 1, 50)
			wantNoBlock(t, s, b.CID)
			continue
		}
		mustFree(t, w, g, 0, 0)
		wantBlock(t, s, b)
	}
}

func found(t *testing.T, d *Draft, b envelope.Block) *Draft {
	t.Helper()
	if _, err := d.GetVerified(t.Context(), b.CID); err != nil {
		t.Fatal(err)
	}
	return d
}

// One sweep at a time, and what drafts held for it does not outlive it.
func TestOneSweepAtATime(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	w := beginSweep(t, s)
	if _, err := s.Sweep(); !errors.Is(err, ErrSweeping) {
		t.Errorf("a second one: %v", err)
	}
	put(t, s.Draft(), blockOf(t, 1, 10)).Close()
	if len(s.drafts.past) != 1 {
		t.Errorf("%d drafts are remembered", len(s.drafts.past))
	}
	w.Close()
	put(t, s.Draft(), blockOf(t, 2, 10)).Close()
	if len(s.drafts.past)+len(s.drafts.open) != 0 {
		t.Errorf("%d drafts are remembered, %d are open", len(s.drafts.past), len(s.drafts.open))
	}
	w = beginSweep(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Garbage(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a sweep that was called off: %v", err)
	}
	mustFree(t, w, garbageOf(t, w), 2, 20)
}

// named is what stands in for an index: blocks that something needs.
type named struct {
	mu  sync.Mutex
	all map[string]envelope.Block
}

func (n *named) set(b envelope.Block, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if delete(n.all, b.CID.KeyString()); on {
		n.all[b.CID.KeyString()] = b
	}
}

func (n *named) list() (out []envelope.Block) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range n.all {
		out = append(out, b)
	}
	return out
}

// busy has four writers store, name, read and give up blocks of a few that all of
// them use, while sweep after sweep runs; it returns how many named ones were lost.
func busy(t *testing.T, drafts bool, enough func(lost int64) bool) int64 {
	s := openTest(t, Config{Dir: t.TempDir()})
	index := &named{all: map[string]envelope.Block{}}
	var lost atomic.Int64
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		own := blocksOf(t, 100*i, 6, 40+i*(MaxSmall/2)) // of the last two some go into files
		writers.Go(func() {
			for round := 0; !closed(stop); round++ {
				b := own[rand.IntN(len(own))]
				end := func() {}
				var to envelope.Sink = s
				if drafts {
					d := s.Draft()
					to, end = d, d.Close
				}
				err := to.PutMany(t.Context(), []envelope.Block{b})
				index.set(b, true)
				end()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.GetVerified(t.Context(), b.CID); err != nil {
					lost.Add(1)
				}
				index.set(b, false)
			}
		})
	}
	for sweeps := 0; sweeps < 30 || !enough(lost.Load()); sweeps++ {
		w, err := s.Sweep()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range index.list() {
			w.Keep(b.CID)
		}
		g, err := w.Garbage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Free(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	close(stop)
	writers.Wait()
	return lost.Load()
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Beside sweeps nothing that is named is lost, and without drafts it would be.
func TestSweepsBesideWriters(t *testing.T) {
	if lost := busy(t, true, func(int64) bool { return true }); lost > 0 {
		t.Errorf("%d named blocks were lost", lost)
	}
	if lost := busy(t, false, func(lost int64) bool { return lost > 0 }); lost == 0 {
		t.Error("control: nothing is lost without drafts either")
	}
}

func TestSweepKnowsOnlyBlocks(t *testing.T) {
	s := openTest(t, Config{Dir: t.TempDir()})
	b := blockOf(t, 2, 10)
	if err := s.PutObject(Object{Address: b.CID.Bytes(), Origin: OriginAdded}); err != nil {
		t.Fatal(err)
	}
	w := beginSweep(t, s)
	if g := garbageOf(t, w); len(g) != 0 {
		t.Errorf("metadata is garbage: %v", g)
	}
	if w.Keep(cid.Undef); w.Kept(b.CID) {
		t.Error("what was not marked is kept")
	}
}
