package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// Limits on blocks.
const (
	MaxSmall = 32 << 10 // bytes of a block that goes into the index; larger ones are files
	MaxBlock = 4 << 20  // bytes of any block
	maxCID   = 128      // bytes; a CID becomes a file name
)

// chunk is what PutMany gives to pebble at once: much more and pebble would keep
// the whole batch as a memtable of its own.
const chunk = 1 << 20

// CorruptError names a block whose bytes on disk do not match its CID. It is
// [ErrCorrupt].
type CorruptError struct {
	CID    cid.Cid
	Reason error // what the disk or the index said; nil if only the hash differs
}

// Error names the block.
func (e *CorruptError) Error() string {
	if e.Reason != nil {
		return fmt.Sprintf("block %s is damaged on disk: %v", e.CID, e.Reason)
	}
	return fmt.Sprintf("block %s is damaged on disk", e.CID)
}

// Unwrap makes the error match [ErrCorrupt].
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

var _ envelope.Sink = (*Store)(nil)

// PutMany stores blocks. On a nil return all are durable; on an error any subset
// is. Blocks already here are skipped, so repeating a call is cheap and safe.
// The caller may reuse blocks and their Data afterwards.
//
// PutMany does not hash: whoever calls it made the CID from the data or checked
// it. An end of ctx leaves the store as it is; a disk that fails makes it
// read-only, see [ErrReadOnly]. One without room for them refuses them all: [ErrFull].
func (s *Store) PutMany(ctx context.Context, blocks []envelope.Block) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	if err := s.broken.check(); err != nil {
		return err
	}
	if err := s.Room(sizeOf(blocks)); err != nil {
		return err
	}
	small, large, keys, err := sortBlocks(blocks)
	if err != nil {
		return err
	}
	if err := s.claims.take(ctx, keys); err != nil {
		return err
	}
	defer s.claims.release(keys)
	if err := s.putSmall(ctx, small); err != nil {
		return err
	}
	if len(large) == 0 {
		return nil
	}
	if err := s.diskError(ctx, "write blocks", s.large.PutMany(ctx, large)); err != nil {
		return err
	}
	s.proven.add(large)
	return nil
}

func sizeOf(blocks []envelope.Block) (n int) {
	for _, b := range blocks {
		n += len(b.Data)
	}
	return n
}

// sortBlocks checks blocks, drops repeated ones and says where each goes.
func sortBlocks(blocks []envelope.Block) (small, large []envelope.Block, keys []string, err error) {
	keys = make([]string, 0, len(blocks))
	seen := make(map[string]bool, len(blocks))
	for _, b := range blocks {
		if n := b.CID.ByteLen(); n == 0 || n > maxCID {
			return nil, nil, nil, fmt.Errorf("a block's CID has %d bytes, from 1 to %d are allowed", n, maxCID)
		}
		if len(b.Data) > MaxBlock {
			return nil, nil, nil, fmt.Errorf("block %s has %d bytes, at most %d are allowed", b.CID, len(b.Data), MaxBlock)
		}
		key := b.CID.KeyString()
		if seen[key] {
			continue
		}
		seen[key] = true
		keys = append(keys, key)
		if len(b.Data) <= MaxSmall {
			small = append(small, b)
		} else {
			large = append(large, b)
		}
	}
	// In order, looking up and inserting stay in one place of the index.
	slices.SortFunc(small, func(a, b envelope.Block) int {
		return strings.Compare(a.CID.KeyString(), b.CID.KeyString())
	})
	return small, large, keys, nil
}

// putSmall writes small blocks in chunks. Only the last is synced: pebble's log
// is one sequence, so a sync of its end covers what stands before, and a full log
// is synced before the next begins.
func (s *Store) putSmall(ctx context.Context, blocks []envelope.Block) error {
	blocks, err := s.missing(blocks)
	if err != nil {
		return err
	}
	for len(blocks) > 0 {
		n, size := 0, 0
		for n < len(blocks) && size < chunk {
			size += len(blocks[n].Data) + len(blocks[n].CID.KeyString()) + 16
			n++
		}
		if err := s.flow(ctx, size); err != nil {
			return err
		}
		how := pebble.NoSync
		if n == len(blocks) {
			how = pebble.Sync
		}
		if err := s.putChunk(blocks[:n], size, how); err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

func (s *Store) putChunk(blocks []envelope.Block, size int, how *pebble.WriteOptions) error {
	b := s.index.NewBatchWithSize(size)
	defer b.Close()
	for _, block := range blocks {
		if err := b.Set(blockKey(block.CID), block.Data, nil); err != nil {
			return indexError(err)
		}
	}
	return s.commit(b, how)
}

// missing returns those of the small blocks that are not here.
func (s *Store) missing(blocks []envelope.Block) (out []envelope.Block, err error) {
	if len(blocks) == 0 {
		return nil, nil
	}
	f, err := s.find()
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		here, err := f.has(blockKey(b.CID))
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		if !here {
			out = append(out, b)
		}
	}
	return out, f.close()
}

// flow holds writers of blocks back while compactions are far behind. It stands
// in for pebble's own brake, which waits without an end.
func (s *Store) flow(ctx context.Context, n int) error {
	if s.unsampled.Add(int64(n)) < memTable {
		return nil
	}
	s.unsampled.Store(0)
	for {
		done := s.compacted.next()
		if s.broken.tripped() || s.index.Metrics().Levels[0].Sublevels < maxSublevels {
			return nil
		}
		select {
		case <-done:
		case <-s.broken.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxSublevels bounds how many tables a read may have to look through; pebble's
// own brake would stop at 12.
const maxSublevels = 16

// diskError trips the breaker unless the caller gave up or asked for what is not
// there.
func (s *Store) diskError(ctx context.Context, op string, err error) error {
	if err == nil {
		return s.broken.check()
	}
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		return err
	}
	s.broken.trip(op, err)
	return s.broken.check()
}

// Get returns a block's bytes, which the caller owns. It does not hash them: they
// are what was written unless the disk changed them, see [Store.GetVerified].
func (s *Store) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	return s.GetInto(ctx, c, nil)
}

// GetInto is Get with memory that a large block may be put into: where it has room,
// the block lies there. It also says what is likely: who has room for more than
// [MaxSmall] is first helped as one that asks for a large block.
func (s *Store) GetInto(ctx context.Context, c cid.Cid, into []byte) ([]byte, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.end()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	small := func() ([]byte, error) { return s.small(c) }
	large := func() ([]byte, error) { return s.large.Get(ctx, c, into) }
	first, second := small, large
	if cap(into) > MaxSmall {
		first, second = large, small
	}
	data, err := first()
	if errors.Is(err, ErrNotFound) {
		data, err = second()
	}
	if errors.Is(err, ErrCorrupt) {
		return nil, &CorruptError{CID: c, Reason: err}
	}
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", c, err)
	}
	return data, nil
}

func (s *Store) small(c cid.Cid) (data []byte, err error) {
	f, err := s.find()
	if err != nil {
		return nil, err
	}
	data, err = f.value(blockKey(c))
	return data, errors.Join(err, f.close())
}

// GetVerified is Get for bytes that nobody above will check: they match the CID,
// or the error is a [*CorruptError].
func (s *Store) GetVerified(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := s.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	return data, verify(c, data)
}

func verify(c cid.Cid, data []byte) error {
	sum, err := c.Prefix().Sum(data)
	if err != nil {
		return fmt.Errorf("block %s: %w", c, err)
	}
	if !sum.Equals(c) {
		return &CorruptError{CID: c}
	}
	return nil
}

// Has reports whether a block is here.
func (s *Store) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if err := s.begin(); err != nil {
		return false, err
	}
	defer s.end()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	f, err := s.find()
	if err != nil {
		return false, err
	}
	here, err := f.has(blockKey(c))
	if err := errors.Join(err, f.close()); err != nil || here {
		return here, err
	}
	return s.large.Has(ctx, c)
}

// Delete removes blocks, durably on a nil return; those that are not here are no
// error. It frees space and destroys nothing: disks and logs keep traces. What
// must be destroyed are keys, and they are not kept here.
func (s *Store) Delete(ctx context.Context, cids []cid.Cid) error {
	_, err := s.remove(ctx, cids, func(cid.Cid) bool { return false })
	return err
}

// remove deletes blocks, but for those that are spared at a moment from which on no
// writer of them goes on before they are gone.
func (s *Store) remove(ctx context.Context, cids []cid.Cid, spared func(cid.Cid) bool) (gone []cid.Cid, err error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.broken.check(); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(cids))
	for _, c := range cids {
		keys = append(keys, c.KeyString())
	}
	if err := s.claims.take(ctx, keys); err != nil {
		return nil, err
	}
	defer s.claims.release(keys)
	for _, c := range cids {
		if !spared(c) {
			gone = append(gone, c)
		}
	}
	ops, err := s.deletes(gone)
	if err != nil {
		return nil, err
	}
	if err := s.apply(ops); err != nil {
		return nil, err
	}
	return gone, s.diskError(ctx, "delete blocks", s.large.Delete(ctx, gone))
}

// deletes spares the index a tombstone for each block that it does not hold.
func (s *Store) deletes(cids []cid.Cid) (ops []kv.Op, err error) {
	f, err := s.find()
	if err != nil {
		return nil, err
	}
	for _, c := range cids {
		here, err := f.has(blockKey(c))
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		if here {
			ops = append(ops, kv.Op{Key: blockKey(c), Delete: true})
		}
	}
	return ops, f.close()
}

func blockKey(c cid.Cid) []byte {
	key := make([]byte, 0, 1+c.ByteLen())
	return append(append(key, keyBlock), c.KeyString()...)
}
