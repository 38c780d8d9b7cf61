package store

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	flatfs "github.com/ipfs/go-ds-flatfs"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// largeBlocks keeps blocks too large for the index.
type largeBlocks interface {
	// PutMany stores blocks with distinct CIDs that no other call works on. On a
	// nil return they are durable, those that were there before too. It does not
	// return before it is done with their Data.
	PutMany(ctx context.Context, blocks []envelope.Block) error
	// Get returns a copy, or ErrNotFound: in the memory of into where that has room.
	Get(ctx context.Context, c cid.Cid, into []byte) ([]byte, error)
	Has(ctx context.Context, c cid.Cid) (bool, error)
	// Size is a block's length in bytes; the error of one that is not there is fs.ErrNotExist.
	Size(c cid.Cid) (int64, error)
	// Delete removes blocks durably; one that is not there is no error.
	Delete(ctx context.Context, cids []cid.Cid) error
	// Walk calls fn with the CID of every block. A file that is no block gives an
	// undefined CID and an error.
	Walk(ctx context.Context, fn func(cid.Cid, error)) error
	Close() error
}

// flatBatch is how many blocks go to flatfs at once: fewer sync a folder for
// each file, more wait longer for a full queue to drain. Measured, see
// BenchmarkPutManyLarge.
const flatBatch = 32

// flatSuffix ends the names of flatfs's files.
const flatSuffix = ".data"

// flat keeps each block in a file of its own, in one of 32 folders by the
// last but one character of its name: each new folder costs a sync of the root,
// and a folder holds many thousand files well. Flatfs writes to a temporary file, syncs,
// renames and syncs the folder.
type flat struct {
	ds    *flatfs.Datastore
	root  string
	shard flatfs.ShardFunc

	mu     sync.Mutex
	synced map[string]bool // folders whose entries this process knows to be on disk
}

// names are base32 in upper case, which is all that flatfs takes.
var names = base32.StdEncoding.WithPadding(base32.NoPadding)

// openFlat opens or makes the folder. A new one is prepared aside and renamed, so
// that a crash leaves none without its description. Flatfs itself removes the
// temporary files of an earlier crash.
func openFlat(root string) (largeBlocks, error) {
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := createFlat(root); err != nil {
			return nil, err
		}
	}
	ds, err := flatfs.Open(root, true)
	if err != nil {
		return nil, err
	}
	layout := flatfs.NextToLast(1)
	if ds.ShardStr() != layout.String() {
		ds.Close()
		return nil, fmt.Errorf("blocks are laid out as %s, this program knows %s", ds.ShardStr(), layout)
	}
	return &flat{ds: ds, root: root, shard: layout.Func(), synced: make(map[string]bool)}, nil
}

func createFlat(root string) error {
	aside := root + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := flatfs.Create(aside, flatfs.NextToLast(1)); err != nil {
		return err
	}
	for _, name := range []string{flatfs.SHARDING_FN, flatfs.README_FN} {
		// Flatfs describes only the layout of IPFS nodes in a README.
		if err := syncFile(filepath.Join(aside, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncFolder(aside); err != nil {
		return err
	}
	if err := os.Rename(aside, root); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(root))
}

func (f *flat) PutMany(ctx context.Context, blocks []envelope.Block) error {
	missing := make([]envelope.Block, 0, len(blocks))
	for _, b := range blocks {
		here, err := f.Has(ctx, b.CID)
		if err != nil {
			return err
		}
		if !here {
			missing = append(missing, b)
		} else if err := f.settle(b.CID); err != nil {
			return err
		}
	}
	for len(missing) > 0 {
		n := min(flatBatch, len(missing))
		if err := f.write(ctx, missing[:n]); err != nil {
			return err
		}
		missing = missing[n:]
	}
	return nil
}

// settle makes sure that a block that is here will be here after a power cut. A
// process that was killed may have renamed a file and not synced its folder.
func (f *flat) settle(c cid.Cid) error {
	dir := f.folder(c)
	f.mu.Lock()
	done := f.synced[dir]
	f.mu.Unlock()
	if done {
		return nil
	}
	if err := errors.Join(syncFolder(dir), syncFolder(f.root)); err != nil {
		return err
	}
	f.mu.Lock()
	f.synced[dir] = true
	f.mu.Unlock()
	return nil
}

// write stores blocks as one batch of flatfs, which writes and syncs them side by
// side straight from the caller's Data.
func (f *flat) write(ctx context.Context, blocks []envelope.Block) error {
	batch, err := f.ds.Batch(ctx)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if err = batch.Put(ctx, fileKey(b.CID), b.Data); err != nil {
			break
		}
	}
	if err == nil {
		err = batch.Commit(ctx)
	}
	if err != nil {
		// Discard waits for writes under way, which still read the Data.
		if d, ok := batch.(flatfs.DiscardableBatch); ok {
			err = errors.Join(err, d.Discard(context.WithoutCancel(ctx)))
		}
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range blocks {
		f.synced[f.folder(b.CID)] = true // Commit did
	}
	return nil
}

// Get reads the file itself: flatfs would take new memory for each block, and at a
// gigabyte a second the collector would have more to do than the disk.
func (f *flat) Get(_ context.Context, c cid.Cid, into []byte) (data []byte, err error) {
	file, err := os.Open(filepath.Join(f.folder(c), names.EncodeToString([]byte(c.KeyString()))+flatSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if size := info.Size(); int64(cap(into)) < size {
		into = make([]byte, size)
	} else {
		into = into[:size]
	}
	_, err = io.ReadFull(file, into)
	return into, err
}

func (f *flat) Has(ctx context.Context, c cid.Cid) (bool, error) {
	return f.ds.Has(ctx, fileKey(c))
}

func (f *flat) Size(c cid.Cid) (int64, error) {
	info, err := os.Stat(filepath.Join(f.folder(c), names.EncodeToString([]byte(c.KeyString()))+flatSuffix))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *flat) Delete(ctx context.Context, cids []cid.Cid) error {
	dirs := make(map[string]bool)
	for _, c := range cids {
		here, err := f.Has(ctx, c)
		if err != nil {
			return err
		}
		if !here {
			continue
		}
		if err := f.ds.Delete(ctx, fileKey(c)); err != nil {
			return err
		}
		dirs[f.folder(c)] = true
	}
	for dir := range dirs {
		if err := syncFolder(dir); err != nil {
			return err
		}
	}
	return nil
}

func (f *flat) Walk(ctx context.Context, fn func(cid.Cid, error)) error {
	results, err := f.ds.Query(ctx, query.Query{KeysOnly: true})
	if err != nil {
		return err
	}
	defer results.Close()
	for r := range results.Next() {
		if r.Error != nil {
			return r.Error
		}
		raw, err := names.DecodeString(r.Key[1:])
		if err != nil {
			fn(cid.Undef, fmt.Errorf("the file %q is no block: %w", r.Key[1:], err))
			continue
		}
		c, err := cid.Cast(raw)
		if err != nil {
			err = fmt.Errorf("the file %q is no block: %w", r.Key[1:], err)
		}
		fn(c, err)
	}
	return ctx.Err()
}

func (f *flat) Close() error { return f.ds.Close() }

func (f *flat) folder(c cid.Cid) string {
	return filepath.Join(f.root, f.shard(names.EncodeToString([]byte(c.KeyString()))))
}

func fileKey(c cid.Cid) datastore.Key {
	return datastore.RawKey("/" + names.EncodeToString([]byte(c.KeyString())))
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0) // Windows syncs only what is open for writing
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
