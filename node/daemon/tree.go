package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"
)

// folder restores a tree below a root that nothing can leave.
type folder struct {
	root    *os.Root
	naming  sync.Mutex // held while a file is made
	entries []object.Entry
	size    atomic.Int64
	files   atomic.Int64

	progress *object.Progress
}

// openFolder makes the folder beside the caller's file and the folders in it.
func openFolder(ctx context.Context, o *object.Opened, index io.Reader, to *target, got *api.Got) (*folder, error) {
	if to.w != nil {
		return nil, fault.New(fault.Usage, "name a folder with -o FOLDER", "%s is a directory", o.Address)
	}
	entries, err := object.ReadTree(index)
	if err != nil {
		return nil, err
	}
	path := to.path + FolderSuffix
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	f := &folder{root: root, entries: entries, progress: object.ProgressOf(ctx)}
	for _, e := range entries {
		f.progress.Total.Add(int64(e.Size))
		if e.Folder {
			if err := root.Mkdir(filepath.FromSlash(e.Path), 0o700); err != nil {
				root.Close()
				return nil, err
			}
		}
	}
	got.Directory, got.Name = true, o.Details.Name
	return f, nil
}

// create makes one file. One at a time: the system lets only one name be added to a
// folder at once, and has those who wait for that burn a processor.
func (f *folder) create(name string) (*os.File, error) {
	f.naming.Lock()
	defer f.naming.Unlock()
	return f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// write makes one file, with its mode and time.
func (f *folder) write(e object.Entry, content io.Reader) error {
	name := filepath.FromSlash(e.Path)
	out, err := f.create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	n, err := io.Copy(f.progress.CountWriter(out), content)
	if mode := fs.FileMode(e.Mode) & 0o777; err == nil && mode != 0o600 {
		err = out.Chmod(mode)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	f.size.Add(n)
	f.files.Add(1)
	at := time.Unix(e.Modified, 0)
	return f.root.Chtimes(name, at, at)
}

// finish gives folders their modes and times, innermost first, and makes the
// whole tree durable.
func (f *folder) finish(to *target, got *api.Got) error {
	for _, e := range slices.Backward(f.entries) {
		if !e.Folder {
			continue
		}
		name := filepath.FromSlash(e.Path)
		at := time.Unix(e.Modified, 0)
		if err := errors.Join(f.root.Chtimes(name, at, at), f.root.Chmod(name, fs.FileMode(e.Mode)&0o777)); err != nil {
			return err
		}
	}
	got.Size, got.Files = f.size.Load(), int(f.files.Load())
	return syncTree(to.path + FolderSuffix)
}

// restoreOwn restores a directory of this home.
func (n *Node) restoreOwn(ctx context.Context, o *object.Opened, to *target, got *api.Got) error {
	index, err := n.library.Read(ctx, o)
	if err != nil {
		return err
	}
	f, err := openFolder(ctx, o, index, to, got)
	if err != nil {
		return err
	}
	defer f.root.Close()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, e := range f.entries {
		if !e.Folder {
			g.Go(func() error { return n.restoreFile(gctx, f, e) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return f.finish(to, got)
}

func (n *Node) restoreFile(ctx context.Context, f *folder, e object.Entry) error {
	c, err := cid.Cast(e.Address)
	if err != nil {
		return object.ErrTree
	}
	h, err := n.library.Find(ctx, c)
	if err != nil {
		return err
	}
	o, err := n.library.Open(ctx, h)
	if err != nil {
		return err
	}
	content, err := n.library.Read(ctx, o)
	if err != nil {
		return err
	}
	return f.write(e, content)
}

// readTree restores a directory that was granted: keys and ciphertext in
// batches, the keys of the next batch on their way while one is fetched.
func (r *reading) readTree(ctx context.Context, o *object.Opened, index io.Reader, to *target) error {
	f, err := openFolder(ctx, o, index, to, r.got)
	if err != nil {
		return err
	}
	defer f.root.Close()
	var files []object.Entry
	for _, e := range f.entries {
		if !e.Folder {
			files = append(files, e)
		}
	}
	batches := slices.Collect(slices.Chunk(files, validator.MaxBatch))
	type released struct {
		keys *quorum.Keys
		err  error
	}
	ask := func(batch []object.Entry) <-chan released {
		out := make(chan released, 1)
		go func() {
			objects := make([][]byte, len(batch))
			for i, e := range batch {
				objects[i] = e.Address
			}
			keys, err := r.askKeys(ctx, objects)
			out <- released{keys, err}
		}()
		return out
	}
	var ahead <-chan released
	if len(batches) > 0 {
		ahead = ask(batches[0])
	}
	for i, batch := range batches {
		got := <-ahead
		if got.err != nil {
			return got.err
		}
		if i+1 < len(batches) {
			ahead = ask(batches[i+1])
		}
		r.use(got.keys)
		if err := r.readBatch(ctx, o.Address, f, batch); err != nil {
			return err
		}
	}
	return f.finish(to, r.got)
}

// batch is the state of one batch of files. Blocks arrive on one goroutine;
// small files are decrypted and written by workers.
type batch struct {
	r       *reading
	folder  *folder
	entries []object.Entry
	arrived []bool

	workers *errgroup.Group
	small   *smallFile
	large   *incoming
}

// smallFile is a file whose payload fits into one leaf.
type smallFile struct {
	index            int
	manifest, header []byte
	payload          []byte
}

func (r *reading) readBatch(ctx context.Context, address cid.Cid, f *folder, entries []object.Entry) error {
	workers, wctx := errgroup.WithContext(ctx)
	workers.SetLimit(2 * runtime.GOMAXPROCS(0))
	b := &batch{r: r, folder: f, entries: entries, arrived: make([]bool, len(entries)), workers: workers}
	err := r.fetch(wctx, address, func() (*exchange.Request, func(exchange.Block) error) {
		var items []exchange.Item
		var which []int
		for i, e := range entries {
			if !b.arrived[i] {
				items, which = append(items, exchange.Item{Address: e.Address, Whole: true}), append(which, i)
			}
		}
		if len(items) == 0 {
			return nil, nil
		}
		b.reset()
		return &exchange.Request{Items: items}, func(blk exchange.Block) error { return b.take(wctx, which[blk.Item], blk) }
	})
	if b.large != nil {
		err = b.large.abort(errOr(err, errors.New("the file did not arrive whole")))
	}
	if werr := workers.Wait(); werr != nil {
		return werr
	}
	return err
}

// reset forgets a file that one holder did not finish.
func (b *batch) reset() {
	if b.large != nil {
		b.large.abort(errors.New("its holder stopped"))
		b.folder.root.Remove(filepath.FromSlash(b.entries[b.large.index].Path))
	}
	b.small, b.large = nil, nil
}

func (b *batch) take(ctx context.Context, i int, blk exchange.Block) error {
	if blk.Kind == exchange.Manifest {
		b.reset()
		b.small = &smallFile{index: i, manifest: slices.Clone(blk.Data)}
		return nil
	}
	if b.large != nil {
		return b.takeLarge(ctx, blk)
	}
	s := b.small
	if s == nil {
		if blk.Kind == exchange.Leaf { // its file was complete, by the index
			return fmt.Errorf("%w: %s is longer than it says", object.ErrTree, b.entries[i].Path)
		}
		return nil
	}
	switch blk.Kind {
	case exchange.Header:
		s.header = slices.Clone(blk.Data)
		if b.entries[i].Size > envelope.LeafSize/2 {
			return b.startLarge(ctx, i, blk)
		}
	case exchange.Leaf:
		s.payload = append(s.payload, blk.Data...)
		if int64(len(s.payload)) < envelope.PayloadSize(int64(b.entries[i].Size)) {
			return nil
		}
		b.arrived[i], b.small = true, nil
		b.workers.Go(func() error { return b.writeSmall(ctx, s) })
	}
	return ctx.Err()
}

func (b *batch) writeSmall(ctx context.Context, s *smallFile) error {
	e := b.entries[s.index]
	address, err := cid.Cast(e.Address)
	if err != nil {
		return object.ErrTree
	}
	o, err := b.r.unlockListed(ctx, s.index, address, s.manifest, s.header)
	if err != nil {
		return err
	}
	// Not with age's reader: its buffers of 64 KiB are many times what a small file is.
	size := int64(o.Manifest.Size)
	if size != int64(len(s.payload)) {
		return fmt.Errorf("%w: the index gives %s another size than its manifest", object.ErrTree, e.Path)
	}
	leaves, err := envelope.OpenLeaves(o.Header, o.Key, s.payload[:envelope.NonceSize], size)
	if err != nil {
		return err
	}
	plain, err := leaves.Decrypt(make([]byte, 0, size), envelope.NonceSize, s.payload[envelope.NonceSize:])
	if err != nil {
		return err
	}
	return b.folder.write(e, bytes.NewReader(plain))
}

func (b *batch) startLarge(ctx context.Context, i int, header exchange.Block) error {
	e := b.entries[i]
	address, err := cid.Cast(e.Address)
	if err != nil {
		return object.ErrTree
	}
	b.large = &incoming{r: b.r, index: i, address: address, manifest: b.small.manifest}
	b.large.consume = func(_ *object.Opened, content io.Reader) error { return b.folder.write(e, content) }
	b.small = nil
	return b.large.take(ctx, header)
}

func (b *batch) takeLarge(ctx context.Context, blk exchange.Block) error {
	in := b.large
	if err := in.take(ctx, blk); err != nil || !in.complete() {
		return err
	}
	b.large = nil
	if err := in.finish(); err != nil {
		return err
	}
	b.arrived[in.index] = true
	return nil
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
