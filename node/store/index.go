package store

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"cerebrum.dev/cerebrum/acl/kv"
)

// The first byte of every pebble key, see the package comment.
const (
	keyBlock  = 'b'
	keySpace  = 'k'
	keyObject = 'o'
	keyLayout = 'v'
)

// openIndex opens pebble with small buffers: a node that idles should not hold
// memory for writes that it does not make. Memtables start at 256 KiB and double
// as writes come; nothing is compressed because nearly all of it is ciphertext,
// hashes and signatures.
func (s *Store) openIndex(cfg Config) (*pebble.DB, error) {
	cache := pebble.NewCache(cfg.Cache)
	defer cache.Unref() // the DB holds its own reference
	logger := &indexLogger{log: cfg.Log, broken: s.broken}
	opts := &pebble.Options{
		FS:                 s.disk,
		Logger:             logger,
		Cache:              cache,
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       cfg.memTable,
		MaxOpenFiles:       256,
		// A writer that waits inside pebble cannot be told that the disk failed,
		// so pebble never makes one wait for compactions; flow does.
		L0StopWritesThreshold:       1 << 20,
		MemTableStopWritesThreshold: 4,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { logger.Errorf("background: %v", err) },
			// A damaged table would fail every compaction that meets it.
			DataCorruption: func(i pebble.DataCorruptionInfo) { s.broken.trip("read "+i.Path, ErrCorrupt) },
			CompactionEnd:  func(pebble.CompactionInfo) { s.compacted.send() },
		},
	}
	// All levels take these from the first. Blocks of 16 KiB keep the index of a
	// table of small blocks small enough to stay in the cache, and a read of one
	// small block from moving many others.
	opts.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	opts.Levels[0].BlockSize = 16 << 10
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return pebble.Open(filepath.Join(cfg.Dir, "index"), opts)
}

const memTable = 8 << 20

// indexLogger passes pebble's log on, for those who look for it.
type indexLogger struct {
	log    *slog.Logger
	broken *breaker
}

// Infof implements pebble.Logger.
func (l *indexLogger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (l *indexLogger) Errorf(format string, args ...any) {
	if l.broken.tripped() {
		l.Infof(format, args...) // the breaker has said it, and these repeat
		return
	}
	l.log.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. Pebble expects the process to end here. The
// store freezes its disk instead and returns: whatever pebble does next, with an
// index in memory that it has given up on, changes nothing on disk.
func (l *indexLogger) Fatalf(format string, args ...any) {
	l.broken.trip("use the index", fmt.Errorf(format, args...))
}

// read returns a copy of the value at key. A file that pebble finds damaged is
// ErrCorrupt.
func (s *Store) read(key []byte) ([]byte, error) {
	v, closer, err := s.index.Get(key)
	if err != nil {
		return nil, indexError(err)
	}
	out := make([]byte, len(v))
	copy(out, v)
	if err := closer.Close(); err != nil {
		return nil, indexError(err)
	}
	return out, nil
}

// finder looks blocks up. Pebble's own Get never asks the Bloom filters of the
// lowest level, where nearly all blocks lie, and so reads a piece of a table for
// each block that is not there; an iterator does ask them if told to.
type finder struct{ it *pebble.Iterator }

func (s *Store) find() (finder, error) {
	it, err := s.index.NewIter(&pebble.IterOptions{
		LowerBound:   []byte{keyBlock},
		UpperBound:   []byte{keyBlock + 1},
		UseL6Filters: true,
	})
	return finder{it}, indexError(err)
}

// has reports whether key is there, as of the call of find.
func (f finder) has(key []byte) (bool, error) {
	here := f.it.SeekPrefixGE(key) // the prefix of a key is all of it
	return here, indexError(f.it.Error())
}

// value returns a copy of the value at key, or ErrNotFound.
func (f finder) value(key []byte) ([]byte, error) {
	if here, err := f.has(key); err != nil || !here {
		return nil, cmp.Or(err, ErrNotFound)
	}
	v, err := f.it.ValueAndErr()
	if err != nil {
		return nil, indexError(err)
	}
	out := make([]byte, len(v))
	copy(out, v)
	return out, nil
}

func (f finder) close() error { return indexError(f.it.Close()) }

// apply writes ops as one batch, durable on a nil return.
func (s *Store) apply(ops []kv.Op) error {
	if err := s.broken.check(); err != nil {
		return err
	}
	if len(ops) == 0 {
		return nil
	}
	b := s.index.NewBatchWithSize(batchSize(ops))
	defer b.Close()
	for _, op := range ops {
		var err error
		if op.Delete {
			err = b.Delete(op.Key, nil)
		} else {
			err = b.Set(op.Key, op.Value, nil)
		}
		if err != nil {
			return indexError(err)
		}
	}
	return s.commit(b, pebble.Sync)
}

// commit writes a batch. Pebble does not hear of a failing disk (see freezer),
// so its word counts only while the breaker has not tripped.
func (s *Store) commit(b *pebble.Batch, how *pebble.WriteOptions) error {
	if err := b.Commit(how); err != nil {
		s.broken.trip("write to the index", err)
	}
	return s.broken.check()
}

func batchSize(ops []kv.Op) int {
	n := 12 // pebble's batch header
	for _, op := range ops {
		n += len(op.Key) + len(op.Value) + 11 // kind and two lengths
	}
	return n
}

// scan calls fn with the entries from low, before high, of a moment. Key and
// value are pebble's, valid until fn returns.
func (s *Store) scan(low, high []byte, fn func(key, value []byte) (bool, error)) (err error) {
	it, err := s.index.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return indexError(err)
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = indexError(cerr)
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return indexError(err)
		}
		if more, err := fn(it.Key(), v); err != nil || !more {
			return err
		}
	}
	return indexError(it.Error())
}

func indexError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrNotFound):
		return ErrNotFound
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("the store's index: %w", err)
}

// keyAfter is the first key behind all that start with prefix; nil if there is none.
func keyAfter(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			out := append([]byte(nil), prefix[:i+1]...)
			out[i]++
			return out
		}
	}
	return nil
}
