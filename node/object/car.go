package object

import (
	"bufio"
	"context"
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

// walkOwn visits the blocks below a manifest in the order of the DAG: its file
// root, header and payload. get brings a block, visit sees it.
func walkOwn(ctx context.Context, m envelope.Manifest, get func(cid.Cid) ([]byte, error), visit func(cid.Cid, []byte) error) error {
	step := func(raw []byte) ([]byte, error) {
		c, err := cid.Cast(raw)
		if err != nil {
			return nil, err
		}
		data, err := get(c)
		if err != nil {
			return nil, err
		}
		return data, visit(c, data)
	}
	file, err := step(m.File)
	if err != nil {
		return err
	}
	header, payload, _, size, err := envelope.ParseFileRoot(file)
	if err != nil {
		return err
	}
	if string(header.Bytes()) != string(m.Header) || string(payload.Bytes()) != string(m.Payload) || size != int64(m.Size) {
		return errors.New("the manifest and its file do not agree")
	}
	if _, err := step(m.Header); err != nil {
		return err
	}
	return walkPayload(ctx, payload, size, 0, get, visit)
}

func walkPayload(ctx context.Context, c cid.Cid, size int64, depth int, get func(cid.Cid) ([]byte, error), visit func(cid.Cid, []byte) error) error {
	if depth > envelope.MaxDepth {
		return errors.New("the payload is nested too deeply")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := get(c)
	if err != nil {
		return err
	}
	if err := visit(c, data); err != nil {
		return err
	}
	node, err := envelope.ParseNode(data)
	if err != nil {
		return err
	}
	var sum int64
	for _, ch := range node.Children {
		sum += ch.Size
		if !ch.Leaf {
			if err := walkPayload(ctx, ch.CID, ch.Size, depth+1, get, visit); err != nil {
				return err
			}
			continue
		}
		data, err := get(ch.CID)
		if err != nil {
			return err
		}
		if int64(len(data)) != ch.Size {
			return errors.New("a leaf is not as long as its parent says")
		}
		if err := visit(ch.CID, data); err != nil {
			return err
		}
	}
	if sum != size {
		return errors.New("the payload's sizes do not add up")
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
	br, err := car.NewBlockReader(bufio.NewReaderSize(r, 1<<20), car.MaxAllowedHeaderSize(maxCARHeader), car.MaxAllowedSectionSize(maxCARBlock))
	if err != nil {
		return nil, damaged(err)
	}
	if len(br.Roots) == 0 || br.Roots[0].Prefix().Codec != cid.DagCBOR {
		return nil, fault.New(fault.Integrity, "import what `cerebrum export --car` wrote", "the CAR file holds no object of Cerebrum")
	}
	im := &importer{l: l, seen: map[cid.Cid]bool{}}
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

// importer stores the blocks of one CAR file and remembers which of them were
// new, so that a failed import can be undone.
type importer struct {
	l     *Library
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
	return im.hold(ctx, br.Roots[0])
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
	has, err := im.l.Store.Has(ctx, c)
	if err != nil || has {
		return err
	}
	im.batch = append(im.batch, envelope.Block{CID: c, Data: data})
	if im.bytes += len(data); im.bytes < importBatch {
		return nil
	}
	return im.flush(ctx)
}

func (im *importer) flush(ctx context.Context) error {
	if len(im.batch) == 0 {
		return nil
	}
	for _, b := range im.batch {
		im.added = append(im.added, b.CID)
	}
	err := im.l.Store.PutMany(ctx, im.batch)
	im.batch, im.bytes = nil, 0
	return err
}

// hold checks that the object is whole within the file and indexes it. Blocks
// that were in this home before count only if the file has them too: a holder
// serves what it obtained under this object.
func (im *importer) hold(ctx context.Context, address cid.Cid) (*Held, error) {
	get := func(c cid.Cid) ([]byte, error) {
		if !im.seen[c] {
			return nil, fmt.Errorf("block %s is not in the file", c)
		}
		return im.l.block(ctx, c)
	}
	block, err := get(address)
	if err != nil {
		return nil, err
	}
	u, err := envelope.ParseManifest(address, block)
	if err != nil {
		return nil, err
	}
	m := u.Claims()
	if im.l.Committee != nil && m.Network != im.l.Committee.Network() {
		return nil, fault.New(fault.Failed, "import it into a home of that network", "the object belongs to another network")
	}
	if err := walkOwn(ctx, m, get, func(cid.Cid, []byte) error { return nil }); err != nil {
		return nil, err
	}
	if old, err := im.l.Find(ctx, address); err == nil {
		return old, nil // already here, perhaps as its owner
	}
	o := store.Object{
		Address: address.Bytes(), Origin: OriginImported, Added: im.l.Now().Unix(), Stored: m.Size,
	}
	if err := im.l.Store.PutObject(o); err != nil {
		return nil, err
	}
	return &Held{Object: o, CID: address, Manifest: u, Block: block}, nil
}

func (im *importer) undo(ctx context.Context) error {
	im.batch = nil
	if len(im.added) == 0 {
		return nil
	}
	return im.l.Store.Delete(ctx, im.added)
}
