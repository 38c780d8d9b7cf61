package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"
)

var dealers = runtime.GOMAXPROCS(0)

// Labels go with everything that one add makes.
type Labels struct {
	Labels []validator.Label
	Class  uint8
	Origin envelope.Origin // of a file that is a release; readers see it, validators do not
}

// Added is what add made: the object that stands for the input, and everything
// to be dealt, in batches, that one included.
type Added struct {
	Root    *Made
	Batches [][]*Made
	Files   int
	Size    int64 // plaintext of all files
	Stored  int64
	Skipped []string // what is neither a file nor a folder
}

// AddStream makes an object of a stream.
func (l *Library) AddStream(ctx context.Context, owner *home.Principal, name string, r io.Reader, labels Labels) (*Added, error) {
	return l.addStream(ctx, owner, r, Input{Name: name, Labels: labels.Labels, Class: labels.Class, Origin: labels.Origin})
}

func (l *Library) addStream(ctx context.Context, owner *home.Principal, r io.Reader, in Input) (*Added, error) {
	in.Content, in.Modified = ProgressOf(ctx).Count(r), l.Now()
	draft := l.Store.Draft()
	defer draft.Close()
	m, err := l.makeAlone(ctx, owner, in, draft)
	if err != nil {
		return nil, addError(in.Name, err)
	}
	return l.single(owner, m)
}

// AddPath makes an object of a file, or of a folder and everything in it.
func (l *Library) AddPath(ctx context.Context, owner *home.Principal, path string, labels Labels) (*Added, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe waits for a writer
	if err != nil {
		return nil, addError(path, err)
	}
	if info.IsDir() {
		return l.addFolder(ctx, owner, path, baseName(path), info, labels)
	}
	return l.addRegular(ctx, owner, path, info, Input{Name: baseName(path), Labels: labels.Labels, Class: labels.Class, Origin: labels.Origin})
}

func baseName(path string) string { return filepath.Base(filepath.Clean(path)) }

// addRegular makes an object of a file. info is from before it was opened.
func (l *Library) addRegular(ctx context.Context, owner *home.Principal, path string, info fs.FileInfo, in Input) (*Added, error) {
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, "use `cerebrum add -` to add what a program writes", "%s is neither a file nor a folder", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, addError(path, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, addError(path, err)
	}
	progress := ProgressOf(ctx)
	progress.Total.Store(info.Size())
	in.Content, in.Modified = progress.Count(exactly(f, info)), info.ModTime()
	draft := l.Store.Draft()
	defer draft.Close()
	m, err := l.makeAlone(ctx, owner, in, draft)
	if err != nil {
		return nil, addError(path, err)
	}
	return l.single(owner, m)
}

func (l *Library) single(owner *home.Principal, m *Made) (*Added, error) {
	made := []*Made{m}
	if err := l.Keep(owner, made); err != nil {
		return nil, err
	}
	return &Added{Root: m, Batches: [][]*Made{made}, Files: 1, Size: m.Size, Stored: m.Stored}, nil
}

func addError(path string, err error) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.Failed, err, "nothing was added", "%s is not there, or vanished while it was added", path)
	}
	return fault.Wrap(fault.Failed, err, "nothing was added", "adding %s", path)
}

// exactly reads a file and reports one that became shorter meanwhile.
func exactly(f *os.File, info fs.FileInfo) io.Reader {
	return &exactReader{f: f, left: info.Size()}
}

type exactReader struct {
	f    *os.File
	left int64
}

func (r *exactReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		return n, fmt.Errorf("it became shorter while it was read")
	}
	return n, err
}

// found is one entry of a folder that is being added.
type found struct {
	entry Entry
	made  *Made
}

// addFolder adds a folder: its files first, in parallel and in batches, then the
// index that stands for the whole. Nothing exists before all of it is stored.
func (l *Library) addFolder(ctx context.Context, owner *home.Principal, path, name string, info fs.FileInfo, labels Labels) (*Added, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, addError(path, err)
	}
	defer root.Close()
	entries, skipped, err := list(ctx, root)
	if err != nil {
		return nil, addError(path, err)
	}
	scope := []envelope.Nonce{envelope.NewNonce()}
	draft := l.Store.Draft()
	defer draft.Close()
	to, stored := &undoable{to: draft, store: l.Store}, false
	defer func() {
		if !stored {
			to.undo(ctx)
		}
	}()
	sink := &gather{to: to}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(dealers)
	for i := range entries {
		e := &entries[i]
		if e.entry.Folder {
			continue
		}
		g.Go(func() (err error) {
			e.made, err = l.addFile(gctx, owner, root, e.entry, scope, labels, sink)
			return addErrorIn(path, e.entry.Path, err)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	index, err := l.addIndex(ctx, owner, name, info, entries, scope, labels, sink)
	if err != nil {
		return nil, addError(path, err)
	}
	if err := sink.flush(ctx); err != nil {
		return nil, addError(path, err)
	}
	stored = true
	return l.keepFolder(owner, index, entries, skipped)
}

func (l *Library) keepFolder(owner *home.Principal, index *Made, entries []found, skipped []string) (*Added, error) {
	out := &Added{Root: index, Skipped: skipped}
	var all []*Made
	for _, e := range entries {
		if e.made != nil {
			all = append(all, e.made)
			out.Files++
			out.Size += e.made.Size
			out.Stored += e.made.Stored
		}
	}
	all = append(all, index) // last: it names the others
	out.Stored += index.Stored
	for batch := range slices.Chunk(all, batchSize(index.in.Labels)) {
		if err := l.Keep(owner, batch); err != nil {
			return nil, err
		}
		out.Batches = append(out.Batches, batch)
	}
	return out, nil
}

// batchSize is how many objects fit into one deposit: labels count for each.
func batchSize(labels []validator.Label) int {
	each := 2 << 10 // manifest, dealing and share, with room to spare
	for _, l := range labels {
		each += len(l.Key) + len(l.Value) + 8
	}
	return max(1, min(validator.MaxBatch, (validator.MaxDeposit-(64<<10))/each))
}

func addErrorIn(folder, file string, err error) error {
	if err == nil {
		return nil
	}
	return addError(filepath.Join(folder, filepath.FromSlash(file)), err)
}

// list walks a folder without following links. Paths come in the order of their
// bytes, which is the order of the index.
func list(ctx context.Context, root *os.Root) (entries []found, skipped []string, err error) {
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p == "." {
			return nil
		}
		if len(entries) >= MaxTree {
			return fmt.Errorf("it has more than %d entries", MaxTree)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir(), info.Mode().IsRegular():
			if err := checkName(p); err != nil {
				return err
			}
			if !d.IsDir() {
				ProgressOf(ctx).Total.Add(info.Size())
			}
			entries = append(entries, found{entry: Entry{
				Path: p, Folder: d.IsDir(), Mode: uint32(info.Mode().Perm()), Modified: info.ModTime().Unix(),
			}})
		default:
			skipped = append(skipped, p)
		}
		return nil
	})
	slices.SortFunc(entries, func(a, b found) int { return strings.Compare(a.entry.Path, b.entry.Path) })
	return entries, skipped, err
}

// checkName refuses what an index cannot hold, before anything is encrypted:
// an index that nobody could read back would cost the owner the whole folder.
func checkName(p string) error {
	if err := checkPath(p); err != nil {
		return fault.New(fault.Usage, "rename it, or add the rest without it; nothing was added", "the name %q cannot be restored everywhere: %s", p, err)
	}
	return nil
}

func (l *Library) addFile(ctx context.Context, owner *home.Principal, root *os.Root, e Entry, scope []envelope.Nonce, labels Labels, sink envelope.Sink) (*Made, error) {
	f, err := root.Open(filepath.FromSlash(e.Path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it changed while the folder was added")
	}
	return l.Make(ctx, owner, Input{
		Name: filepath.Base(e.Path), Modified: info.ModTime(), Content: ProgressOf(ctx).Count(exactly(f, info)), Scopes: scope,
		Labels: labels.Labels, Class: labels.Class,
	}, sink)
}

func (l *Library) addIndex(ctx context.Context, owner *home.Principal, name string, info fs.FileInfo, found []found, scope []envelope.Nonce, labels Labels, sink envelope.Sink) (*Made, error) {
	entries := make([]Entry, len(found))
	for i, f := range found {
		entries[i] = f.entry
		if f.made != nil {
			entries[i].Address, entries[i].Size = f.made.Address.Bytes(), uint64(f.made.Size)
		}
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(WriteTree(w, entries)) }() // ends when Make has read or failed
	defer r.Close()
	return l.Make(ctx, owner, Input{
		Name: name, Modified: info.ModTime(), Kind: KindDirectory, Content: r, Scopes: scope,
		Labels: labels.Labels, Class: labels.Class,
	}, sink)
}

// gather collects the small blocks of many files, so that they share a sync.
// They are durable after flush. It is safe for concurrent use.
type gather struct {
	to envelope.Sink

	mu     sync.Mutex
	blocks []envelope.Block
	bytes  int
}

const (
	gatherBytes  = 8 << 20
	gatherBlocks = 4096
	gatherLarge  = 256 << 10 // a batch with larger blocks goes through at once
)

// PutMany copies small blocks and passes large ones on.
func (g *gather) PutMany(ctx context.Context, blocks []envelope.Block) error {
	size := 0
	for _, b := range blocks {
		size += len(b.Data)
	}
	if size > gatherLarge {
		return g.to.PutMany(ctx, blocks)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range blocks {
		g.blocks = append(g.blocks, envelope.Block{CID: b.CID, Data: slices.Clone(b.Data)})
	}
	if g.bytes += size; g.bytes < gatherBytes && len(g.blocks) < gatherBlocks {
		return nil
	}
	return g.flushLocked(ctx)
}

func (g *gather) flush(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flushLocked(ctx)
}

func (g *gather) flushLocked(ctx context.Context) error {
	if len(g.blocks) == 0 {
		return nil
	}
	err := g.to.PutMany(ctx, g.blocks)
	g.blocks, g.bytes = g.blocks[:0], 0
	return err
}

// Addresses are the addresses of made objects.
func Addresses(made []*Made) []cid.Cid {
	out := make([]cid.Cid, len(made))
	for i, m := range made {
		out[i] = m.Address
	}
	return out
}
