package store

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// ErrSweeping reports that another sweep is under way.
var ErrSweeping = errors.New("garbage is being collected already")

// drafts are the blocks that somebody is about to name.
type drafts struct {
	mu       sync.Mutex
	open     map[*Draft]struct{} // owned by mu
	past     []*Draft            // owned by mu; those that closed during the sweep
	sweeping bool                // owned by mu
}

// Draft stores blocks that nothing names yet: no sweep frees them until the draft is
// closed, and they are named by then or left. It is safe for concurrent use.
type Draft struct {
	s    *Store
	mine map[[16]byte]struct{} // owned by s.drafts.mu
}

var _ envelope.Sink = (*Draft)(nil)

// Draft opens a draft. Close must follow, after what names its blocks is durable.
func (s *Store) Draft() *Draft {
	d := &Draft{s: s, mine: make(map[[16]byte]struct{})}
	s.drafts.mu.Lock()
	defer s.drafts.mu.Unlock()
	if s.drafts.open == nil {
		s.drafts.open = make(map[*Draft]struct{})
	}
	s.drafts.open[d] = struct{}{}
	return d
}

// Close ends the draft. It may be called again.
func (d *Draft) Close() {
	all := &d.s.drafts
	all.mu.Lock()
	defer all.mu.Unlock()
	if _, open := all.open[d]; !open {
		return
	}
	delete(all.open, d)
	if all.sweeping { // which may have looked for names before they were there
		all.past = append(all.past, d)
	}
}

func (d *Draft) take(c cid.Cid) {
	d.s.drafts.mu.Lock()
	defer d.s.drafts.mu.Unlock()
	d.mine[provenKey(c)] = struct{}{}
}

// PutMany is [Store.PutMany]; blocks that are here already are the draft's as well.
func (d *Draft) PutMany(ctx context.Context, blocks []envelope.Block) error {
	for _, b := range blocks { // before it is looked whether they are here
		d.take(b.CID)
	}
	return d.s.PutMany(ctx, blocks)
}

// GetVerified is [Store.GetVerified] for who will not store a block that is here:
// one that is found is the draft's.
func (d *Draft) GetVerified(ctx context.Context, c cid.Cid) ([]byte, error) {
	d.take(c)
	keys := []string{c.KeyString()}
	if err := d.s.claims.take(ctx, keys); err != nil { // a sweep that has not seen it ends first
		return nil, err
	}
	defer d.s.claims.release(keys)
	return d.s.GetVerified(ctx, c)
}

func (a *drafts) has(c cid.Cid) bool {
	key := provenKey(c)
	a.mu.Lock()
	defer a.mu.Unlock()
	for d := range a.open {
		if _, ok := d.mine[key]; ok {
			return true
		}
	}
	for _, d := range a.past {
		if _, ok := d.mine[key]; ok {
			return true
		}
	}
	return false
}

// Sweep is one collection of garbage. It is used by one goroutine.
type Sweep struct {
	s    *Store
	live map[[16]byte]struct{} // by the end of their digests: another block of the same end only stays too long
}

// Garbage is a block that nothing needs.
type Garbage struct {
	CID  cid.Cid
	Size int64
}

// Sweep begins a collection, of which there is one at a time: [ErrSweeping]. Close
// must follow. What is live the caller finds out afterwards, not before.
func (s *Store) Sweep() (*Sweep, error) {
	s.drafts.mu.Lock()
	defer s.drafts.mu.Unlock()
	if s.drafts.sweeping {
		return nil, ErrSweeping
	}
	s.drafts.sweeping = true
	return &Sweep{s: s, live: make(map[[16]byte]struct{})}, nil
}

// Close ends the collection.
func (w *Sweep) Close() {
	w.s.drafts.mu.Lock()
	defer w.s.drafts.mu.Unlock()
	w.s.drafts.sweeping, w.s.drafts.past = false, nil
}

// Keep marks a block as live, whether it is here or not.
func (w *Sweep) Keep(c cid.Cid) { w.live[provenKey(c)] = struct{}{} }

// Kept reports whether a block was marked.
func (w *Sweep) Kept(c cid.Cid) bool { _, ok := w.live[provenKey(c)]; return ok }

// Garbage lists the blocks that were not marked and are in no draft.
func (w *Sweep) Garbage(ctx context.Context) (out []Garbage, err error) {
	s := w.s
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.end()
	dead := func(c cid.Cid) bool { return !w.Kept(c) && !s.drafts.has(c) }
	err = s.scan([]byte{keyBlock}, []byte{keyBlock + 1}, func(key, data []byte) (bool, error) {
		if c, err := cid.Cast(append([]byte(nil), key[1:]...)); err == nil && dead(c) {
			out = append(out, Garbage{c, int64(len(data))})
		}
		return true, ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	err = s.large.Walk(ctx, func(c cid.Cid, err error) {
		if err == nil && dead(c) { // what is no block, CheckAll tells
			out = append(out, Garbage{CID: c})
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Size > 0 {
			continue
		}
		out[i].Size, err = s.large.Size(out[i].CID)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return out, ctx.Err()
}

// freeBatch is how many blocks are freed at once: writers of the same wait meanwhile.
const freeBatch = 256

// Free deletes garbage, durably on a nil return, but for what came into a draft since
// it was listed. After an error, or a crash, any part of it is gone.
func (w *Sweep) Free(ctx context.Context, all []Garbage) (blocks int, bytes int64, err error) {
	for len(all) > 0 {
		n := min(freeBatch, len(all))
		cids := make([]cid.Cid, n)
		size := make(map[string]int64, n)
		for i, g := range all[:n] {
			cids[i], size[g.CID.KeyString()] = g.CID, g.Size
		}
		gone, err := w.s.remove(ctx, cids, w.s.drafts.has)
		if err != nil {
			return blocks, bytes, err
		}
		for _, c := range gone {
			blocks++
			bytes += size[c.KeyString()]
		}
		all = all[n:]
	}
	return blocks, bytes, nil
}
