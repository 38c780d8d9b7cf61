// Package store is the disk of a node: encrypted blocks by CID, small ordered
// metadata for the packages above, and the index of objects that the node holds.
//
// # What is durable
//
// Every write is on disk when its call returns nil: a block before the manifest
// that names it is acknowledged, a deposit before its receipt. A call that fails
// promises nothing either way, for a write may fail after it reached the disk.
//
// # On disk
//
//	DIR/index/    a pebble store: blocks up to 32 KiB and all metadata
//	DIR/blocks/   a flatfs store (NextToLast(1): 32 folders): larger blocks
//
// A block goes where it costs less: pebble writes many small blocks with one
// sync, flatfs writes a large one once, where a log-structured store would write
// it again at every compaction. In both the key is the whole CID, codec
// included, so that a walk over the disk knows what each block is; flatfs wants
// it in upper-case base32. The first byte of a pebble key says what follows:
//
//	'b' CID                        a block
//	'k' namespace 0x00 key         metadata, see [Store.KV]
//	'o' CID                        an object, see [Object]
//	'v'                            the version of this layout, one byte
//
// Nothing here is secret by itself: blocks are ciphertext, and names, keys and
// shares are sealed by their owners before they arrive.
//
// # Failure
//
// The first write, sync or rename that the disk refuses (full, I/O error) makes
// the store read-only: it answers [ErrReadOnly] to every write until it is opened
// again, and its pebble files stay as they were at that moment, as after a crash.
// disk.go says how and why. What was acknowledged before stays readable, then and
// after opening again.
//
// With a [Reserve] it does not come to that when the store itself fills the disk:
// blocks are refused with [ErrFull] before, nothing is broken by it, and they are
// taken again as soon as there is room.
//
// # Garbage
//
// A block that nothing names is garbage: an add was cut off, a transfer given up, an
// object forgotten. The store does not know names. Its caller marks what is needed,
// and a [Sweep] frees the rest beside writers that are at work. Why it takes nothing
// from them:
//
// Whoever stores blocks that nothing names yet does so in a [Draft], and closes it
// when their name (an object's entry, say) is durable. The draft takes each block as
// its own before it is looked whether the block is here. The sweep (0) begins, (1) has
// names read and all that they lead to marked, (2) lists what is neither marked nor in
// a draft, (3) frees of that what is in no draft then. For a block of a draft:
//
//   - The draft was closed before 0: the name was there at 1, and the block is marked.
//   - It was open at 0, or opened later: its blocks are spared at 3 even if it has
//     closed, because closed drafts are kept until the sweep has ended.
//   - It took the block only after 3 had looked: 3 looks with the block's claim in its
//     hand and gives it back when the block is gone. The writer, which needs the claim
//     to look for the block, finds it missing and writes it.
//
// Names that move are read in the order in which they move: what is on its way before
// what is whole, so that one of the two is seen. A crash leaves nothing to repair: an
// unfinished sweep has freed garbage, and drafts live in memory, so that what a crash
// leaves of them is garbage of the next sweep.
//
// # Use
//
//	lock, err := store.AcquireLock(home)            // one process a home
//	s, err := store.Open(store.Config{Dir: filepath.Join(home, "store"), Log: log})
//	err = s.PutMany(ctx, blocks)                    // all on disk
//	deposits := s.KV("deposits")
//	err = deposits.Apply([]kv.Op{{Key: id, Value: raw}})
//	err = s.PutObject(store.Object{Address: c.Bytes(), Origin: store.OriginAdded})
//	...
//	err = s.Close()                                 // waits for calls under way
//	err = lock.Release()
package store

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cerebrum.dev/cerebrum/acl/kv"
)

// Errors that callers branch on.
var (
	// ErrNotFound reports a block, entry or object that is not there.
	ErrNotFound = kv.ErrNotFound
	// ErrCorrupt reports bytes on disk that are not what was written. Where a
	// block is concerned the error is a [*CorruptError].
	ErrCorrupt = errors.New("stored data is damaged")
	// ErrReadOnly reports a store that refuses writes because the disk refused
	// one before. The error is a [*ReadOnlyError].
	ErrReadOnly = errors.New("store is read-only until it is opened again")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("store is closed")
)

// Config says where a store is. Only Dir is needed.
type Config struct {
	Dir   string       // created with mode 0700 if it does not exist
	Log   *slog.Logger // nil: silent
	Cache int64        // bytes of pebble's block cache; 0: 32 MiB

	Reserve Reserve // what blocks leave free on the disk; zero: nothing

	// The disks under the two halves, and how much pebble writes at once. Tests
	// put failing disks here.
	fs       vfs.FS
	large    func(dir string) (largeBlocks, error)
	memTable uint64
	free     func(dir string) free
}

// defaultCache includes what pebble's memtables take out of the cache: up to two of
// them. With no more than that, filters and indexes are read again for each block.
const defaultCache = 2*memTable + 16<<20

// layout is the version of what the package comment describes.
const layout = 1

// Store is an open store. Its methods are safe for concurrent use.
type Store struct {
	broken *breaker    // why writes are refused, if they are
	disk   *freezer    // pebble's view of the file system
	index  *pebble.DB  // small blocks and metadata
	large  largeBlocks // large blocks
	calls  gate        // holds Close back until calls have left
	claims claims      // keys that a PutMany or Delete is working on
	drafts drafts      // blocks that nothing names yet
	proven proven

	dir     string
	reserve Reserve
	free    func(dir string) free

	compacted signal       // pebble finished a compaction
	unsampled atomic.Int64 // bytes of blocks since flow looked
}

// Open opens the store in cfg.Dir, or makes a new one there. Leftovers of writes
// that a crash interrupted are removed. The caller holds the [Lock] of the home:
// Open relies on being the only one. Pebble and flatfs each start a few
// goroutines of their own, which Close ends.
func Open(cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Cache == 0 {
		cfg.Cache = defaultCache
	}
	if cfg.fs == nil {
		cfg.fs = vfs.Default
	}
	if cfg.memTable == 0 {
		cfg.memTable = memTable
	}
	if cfg.large == nil {
		cfg.large = openFlat
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's folder: %w", err)
	}
	if cfg.free == nil {
		cfg.free = diskFree
	}
	s := &Store{broken: newBreaker(cfg.Log), dir: cfg.Dir, reserve: cfg.Reserve, free: cfg.free}
	if err := s.openHalves(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Store) openHalves(cfg Config) (err error) {
	s.disk = newFreezer(cfg.fs, s.broken)
	if s.index, err = s.openIndex(cfg); err != nil {
		return fmt.Errorf("open the store's index: %w", cmp.Or(s.broken.check(), err))
	}
	defer func() {
		if err != nil {
			s.disk.release()
			s.index.Close() // err says more
		}
	}()
	// A disk that failed while pebble opened did not stop it, see freezer.
	if err = s.broken.check(); err != nil {
		return fmt.Errorf("open the store's index: %w", err)
	}
	if err = s.checkLayout(); err != nil {
		return err
	}
	root := filepath.Join(cfg.Dir, "blocks")
	if s.large, err = cfg.large(root); err != nil {
		return fmt.Errorf("open the store's folder of blocks: %w", err)
	}
	// The folders just made are on disk only once their parents are.
	for _, dir := range []string{root, cfg.Dir, filepath.Dir(cfg.Dir)} {
		if err = syncFolder(dir); err != nil {
			s.large.Close()
			return fmt.Errorf("sync the store's folder: %w", err)
		}
	}
	return nil
}

func (s *Store) checkLayout() error {
	v, err := s.read([]byte{keyLayout})
	if errors.Is(err, ErrNotFound) {
		return s.apply([]kv.Op{{Key: []byte{keyLayout}, Value: []byte{layout}}})
	}
	if err != nil {
		return err
	}
	if len(v) != 1 || v[0] != layout {
		return fmt.Errorf("store has layout %x, this program knows layout %d", v, layout)
	}
	return nil
}

// Close waits for calls under way, refuses further ones with ErrClosed, and
// closes the files. Nothing is lost if the process dies before: what was
// acknowledged is on disk. A second Close returns ErrClosed.
func (s *Store) Close() error {
	if !s.calls.shut() {
		return ErrClosed
	}
	s.disk.release()
	return errors.Join(s.index.Close(), s.large.Close())
}

// begin lets a call in; end must follow if err is nil.
func (s *Store) begin() error {
	if !s.calls.enter() {
		return ErrClosed
	}
	return nil
}

func (s *Store) end() { s.calls.leave() }

// ReadOnly reports why the store refuses writes, a [*ReadOnlyError], or nil.
func (s *Store) ReadOnly() error { return s.broken.check() }
