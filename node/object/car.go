package object

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"filippo.io/age"
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
)

// ExportAge writes a plain age file: a header for recipients in front of the
// payload as it is stored. Stock age decrypts it.
func (l *Library) ExportAge(ctx context.Context, o *Opened, w io.Writer, to ...age.Recipient) error {
	header, err := envelope.RecipientHeader(o.Key, to...)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	payload, err := l.Ciphertext(ctx, o.Manifest)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(w, payload, make([]byte, 1<<20))
	return err
}

// ExportCAR writes a CAR (version 1) with two roots: the manifest, and the file
// whose bytes are an age file for recipients. The blocks under the manifest's
// own file root are there too, so that import restores the object.
func (l *Library) ExportCAR(ctx context.Context, h *Held, o *Opened, w io.Writer, to ...age.Recipient) (file cid.Cid, err error) {
	header, err := envelope.RecipientHeader(o.Key, to...)
	if err != nil {
		return cid.Undef, err
	}
	root, err := cid.Cast(o.Manifest.Payload)
	if err != nil {
		return cid.Undef, err
	}
	plain, err := envelope.PlainSize(int64(o.Manifest.Size))
	if err != nil {
		return cid.Undef, err
	}
	leaf, fileRoot, err := envelope.FileRoot(header, envelope.Payload{Root: root, Size: int64(o.Manifest.Size), PlainSize: plain})
	if err != nil {
		return cid.Undef, err
	}
	buffered := bufio.NewWriterSize(w, 1<<20)
	out, err := storage.NewWritable(buffered, []cid.Cid{h.CID, fileRoot.CID}, car.WriteAsCarV1(true))
	if err != nil {
		return cid.Undef, err
	}
	put := func(c cid.Cid, data []byte) error { return out.Put(ctx, c.KeyString(), data) }
	for _, b := range []envelope.Block{{CID: h.CID, Data: h.Block}, fileRoot, leaf} {
		if err := put(b.CID, b.Data); err != nil {
			return cid.Undef, err
		}
	}
	if err := walkOwn(ctx, o.Manifest, func(c cid.Cid) ([]byte, error) { return l.block(ctx, c) }, put); err != nil {
		return cid.Undef, err
	}
	if err := out.Finalize(); err != nil {
		return cid.Undef, err
	}
	return fileRoot.CID, buffered.Flush()
}

// errBad is what get returns to walkOwn for a block that was reported as bad, and
// beside which the walk goes on.
var errBad = errors.New("bad block")

// walkOwn visits the blocks below a manifest in the order of the DAG: its file
// root, header and payload. get brings a block, visit sees it. No block of a
// payload is like another, so one that stands twice is refused: a few nodes that
// name one another many times would keep the walk busy for years.
func walkOwn(ctx context.Context, m envelope.Manifest, get func(cid.Cid) ([]byte, error), visit func(cid.Cid, []byte) error) error {
	w := walker{get: get, visit: visit, seen: map[cid.Cid]bool{}}
	root, err := cid.Cast(m.File)
	if err != nil {
		return err
	}
	file, err := w.step(ctx, root)
	if err != nil {
		return err
	}
	header, payload, headerSize, size, err := envelope.ParseFileRoot(file)
	if err != nil {
		return err
	}
	if string(header.Bytes()) != string(m.Header) || string(payload.Bytes()) != string(m.Payload) || size != int64(m.Size) {
		return errors.New("the manifest and its file do not agree")
	}
	if err := w.leaf(ctx, header, headerSize); err != nil {
		return err
	}
	return w.payload(ctx, payload, size, 0)
}

type walker struct {
	get   func(cid.Cid) ([]byte, error)
	visit func(cid.Cid, []byte) error
	seen  map[cid.Cid]bool
}

func (w *walker) step(ctx context.Context, c cid.Cid) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w.seen[c] {
		return nil, errors.New("a block stands twice")
	}
	w.seen[c] = true
	data, err := w.get(c)
	if err != nil {
		return nil, err
	}
	return data, w.visit(c, data)
}

func (w *walker) leaf(ctx context.Context, c cid.Cid, size int64) error {
	data, err := w.step(ctx, c)
	switch {
	case errors.Is(err, errBad):
		return nil
	case err == nil && int64(len(data)) != size:
		return errors.New("a leaf is not as long as its parent says")
	}
	return err
}

func (w *walker) payload(ctx context.Context, c cid.Cid, size int64, depth int) error {
	if depth >= envelope.MaxDepth {
		return errors.New("the payload is nested too deeply")
	}
	data, err := w.step(ctx, c)
	if errors.Is(err, errBad) {
		return nil
	} else if err != nil {
		return err
	}
	node, err := envelope.ParseNode(data)
	if err != nil {
		return err
	}
	if node.Size() != size {
		return errors.New("the payload's sizes do not add up")
	}
	for _, ch := range node.Children {
		if ch.Leaf {
			err = w.leaf(ctx, ch.CID, ch.Size)
		} else {
			err = w.payload(ctx, ch.CID, ch.Size, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Limits of an import.
const (
	maxCARHeader = 1 << 10
	maxCARBlock  = 2 << 20
	importBatch  = 16 << 20
)

// Import stores the object of a CAR file. It holds the object only if every
// block of it was in the file; otherwise it stores nothing.
func (l *Library) Import(ctx context.Context, r io.Reader) (*Held, error) {
	damaged := func(err error) error {
		return fault.Wrap(fault.Integrity, err, "get the file again; nothing was imported", "the CAR file is damaged or truncated")
	}
	in := bufio.NewReaderSize(r, 1<<20)
	head, _ := in.Peek(maxCARHeader + binary.MaxVarintLen16) // less is less of a file
	head = bytes.Clone(head)
	br, err := car.NewBlockReader(in, car.MaxAllowedHeaderSize(maxCARHeader), car.MaxAllowedSectionSize(maxCARBlock))
	if err != nil {
		return nil, damaged(err)
	}
	if len(br.Roots) == 0 || br.Roots[0].Prefix().Codec != cid.DagCBOR {
		return nil, fault.New(fault.Integrity, "import what `cerebrum export --car` wrote", "the CAR file holds no object of Cerebrum")
	}
	if want, err := carHeader(br.Roots); err != nil || !bytes.HasPrefix(head, want) {
		return nil, damaged(errors.New("its header is not as CAR version 1 has it"))
	}
	im := &importer{l: l, draft: l.Store.Draft(), seen: map[cid.Cid]bool{}}
	defer im.draft.Close()
	held, err := im.run(ctx, br)
	if err != nil {
		if uerr := im.undo(context.WithoutCancel(ctx)); uerr != nil {
			return nil, uerr
		}
		var f *fault.Error
		if errors.As(err, &f) || errors.Is(err, store.ErrReadOnly) || ctx.Err() != nil {
			return nil, err
		}
		return nil, damaged(err)
	}
	return held, nil
}

// carHeader is what a CAR with these roots begins with. The library that reads
// headers takes other spellings too; damage must not pass for one.
func carHeader(roots []cid.Cid) ([]byte, error) {
	var out bytes.Buffer
	_, err := storage.NewWritable(&out, roots, car.WriteAsCarV1(true))
	return out.Bytes(), err
}

// importer stores the blocks of one CAR file and remembers which of them were
// new, so that a failed import can be undone.
type importer struct {
	l     *Library
	draft *store.Draft
	seen  map[cid.Cid]bool
	added []cid.Cid
	batch []envelope.Block
	bytes int
}

func (im *importer) run(ctx context.Context, br *car.BlockReader) (*Held, error) {
	for {
		b, err := br.Next() // checks the bytes against the CID
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := im.take(ctx, b.Cid(), b.RawData()); err != nil {
			return nil, err
		}
	}
	if err := im.flush(ctx); err != nil {
		return nil, err
	}
	return im.hold(ctx, br.Roots)
}

func (im *importer) take(ctx context.Context, c cid.Cid, data []byte) error {
	p := c.Prefix()
	if p.Version != 1 || p.MhType != 0x12 || p.MhLength != 32 {
		return fmt.Errorf("block %s is named by another hash than sha2-256", c)
	}
	if im.seen[c] {
		return nil
	}
	im.seen[c] = true
	if here, err := im.here(ctx, c); err != nil || here {
		return err
	}
	im.batch = append(im.batch, envelope.Block{CID: c, Data: data})
	if im.bytes += len(data); im.bytes < importBatch {
		return nil
	}
	return im.flush(ctx)
}

// here reports whether the home has a sound block. A damaged one is removed, so
// that the file's takes its place.
func (im *importer) here(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := im.draft.GetVerified(ctx, c)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case errors.Is(err, store.ErrCorrupt):
		return false, im.l.Store.Delete(ctx, []cid.Cid{c})
	}
	return err == nil, err
}

func (im *importer) flush(ctx context.Context) error {
	if len(im.batch) == 0 {
		return nil
	}
	for _, b := range im.batch {
		im.added = append(im.added, b.CID)
	}
	err := im.draft.PutMany(ctx, im.batch)
	im.batch, im.bytes = nil, 0
	return err
}

// hold checks that the object is whole within the file, that the file holds
// nothing else, and indexes the object. Blocks that were in this home before
// count only if the file has them too: a holder serves what it obtained under
// this object.
func (im *importer) hold(ctx context.Context, roots []cid.Cid) (*Held, error) {
	address := roots[0]
	block, err := im.get(ctx, address)
	if err != nil {
		return nil, err
	}
	u, err := envelope.ParseManifest(address, block)
	if err != nil {
		return nil, err
	}
	m := u.Claims()
	if im.l.Trust != nil && m.Network != im.l.Trust.Network() {
		return nil, fault.New(fault.Failed, "import it into a home of that network", "the object belongs to another network")
	}
	own := map[cid.Cid]bool{address: true}
	get := func(c cid.Cid) ([]byte, error) { return im.get(ctx, c) }
	mark := func(c cid.Cid, _ []byte) error { own[c] = true; return nil }
	if err := walkOwn(ctx, m, get, mark); err != nil {
		return nil, err
	}
	if err := im.dropRest(ctx, m, roots[1:], own); err != nil {
		return nil, err
	}
	if old, err := im.l.Find(ctx, address); err == nil {
		return old, nil // already here, perhaps as its owner
	}
	o := store.Object{
		Address: address.Bytes(), Origin: store.OriginImported, Added: im.l.Now().Unix(), Stored: m.Size,
	}
	if err := im.l.Store.PutObject(o); err != nil {
		return nil, err
	}
	return &Held{Object: o, CID: address, Manifest: u, Block: block}, nil
}

func (im *importer) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if !im.seen[c] {
		return nil, fmt.Errorf("block %s is not in the file", c)
	}
	return im.l.block(ctx, c)
}

// dropRest checks what is in the file beside the object: further roots, which
// are other headers in front of the same payload, and nothing more. Export writes
// them anew, so they do not stay.
func (im *importer) dropRest(ctx context.Context, m envelope.Manifest, roots []cid.Cid, own map[cid.Cid]bool) error {
	rest := map[cid.Cid]bool{}
	for _, root := range roots {
		block, err := im.get(ctx, root)
		if err != nil {
			return err
		}
		header, payload, _, _, err := envelope.ParseFileRoot(block)
		if err != nil {
			return err
		}
		if string(payload.Bytes()) != string(m.Payload) || !im.seen[header] {
			return errors.New("a root of the file is not of the object")
		}
		rest[root], rest[header] = true, true
	}
	for c := range im.seen {
		if !own[c] && !rest[c] {
			return fmt.Errorf("block %s belongs to no root of the file", c)
		}
	}
	var drop []cid.Cid
	for _, c := range im.added {
		if !own[c] {
			drop = append(drop, c)
		}
	}
	return im.l.Store.Delete(ctx, drop)
}

func (im *importer) undo(ctx context.Context) error {
	im.batch = nil
	if len(im.added) == 0 {
		return nil
	}
	return im.l.Store.Delete(ctx, im.added)
}
