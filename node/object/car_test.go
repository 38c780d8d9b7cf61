package object

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"filippo.io/age"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/ipld/merkledag"
	unixfs "github.com/ipfs/boxo/ipld/unixfs/io"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
)

func (x *lab) recipients() (out []age.Recipient) {
	x.t.Helper()
	for _, s := range x.owner.Identity.Recipients() {
		r, err := age.ParseHybridRecipient(s)
		if err != nil {
			x.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// decryptWithAge reads a file as the stock age command would, with the identity
// that `id export --age-identity` prints.
func (x *lab) decryptWithAge(file io.Reader) []byte {
	x.t.Helper()
	id, err := age.ParseHybridIdentity(x.owner.Secret())
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := age.Decrypt(file, id)
	if err != nil {
		x.t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

func (x *lab) exportCAR(address cid.Cid) (raw []byte, file cid.Cid) {
	x.t.Helper()
	var b bytes.Buffer
	file, err := x.ExportCAR(x.t.Context(), x.held(address), x.open(address), &b, x.recipients()...)
	if err != nil {
		x.t.Fatal(err)
	}
	return b.Bytes(), file
}

// carFile is a CAR taken apart, to be put together wrongly.
type carFile struct {
	roots  []cid.Cid
	blocks []blocks.Block
}

func takeApart(t testing.TB, raw []byte) (c carFile) {
	t.Helper()
	r, err := car.NewBlockReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 1 {
		t.Errorf("CAR version %d", r.Version)
	}
	c.roots = r.Roots
	for {
		b, err := r.Next()
		if err == io.EOF {
			return c
		}
		if err != nil {
			t.Fatal(err)
		}
		c.blocks = append(c.blocks, b)
	}
}

func (c carFile) bytes(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := storage.NewWritable(&out, c.roots, car.WriteAsCarV1(true), car.AllowDuplicatePuts(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range c.blocks {
		if err := w.Put(t.Context(), b.Cid().KeyString(), b.RawData()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finalize(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestExportAgeIsAPlainAgeFile(t *testing.T) {
	x := newLab(t)
	for _, size := range []int{0, 1, 64 << 10, 2*envelope.PlainLeaf + 5} {
		content := bytesOf(size)
		var out bytes.Buffer
		if err := x.ExportAge(t.Context(), x.open(x.add(content).Root.Address), &out, x.recipients()...); err != nil {
			t.Fatal(err)
		}
		if got := x.decryptWithAge(bytes.NewReader(out.Bytes())); !bytes.Equal(got, content) {
			t.Errorf("%d bytes: age gives %d", size, len(got))
		}
		stranger, err := age.GenerateHybridIdentity()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := age.Decrypt(bytes.NewReader(out.Bytes()), stranger); err == nil {
			t.Error("a stranger opens it")
		}
	}
}

func TestExportForAnotherRecipient(t *testing.T) {
	x := newLab(t)
	friend, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := x.ExportAge(t.Context(), x.open(x.add([]byte("hi")).Root.Address), &out, friend.Recipient()); err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(&out, friend)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "hi" {
		t.Errorf("%q, %v", got, err)
	}
}

// IPFS tools read the second root as a file, and age opens that file.
func TestExportCARIsReadByStockTools(t *testing.T) {
	x := newLab(t)
	content := bytesOf(3*envelope.PlainLeaf + 5)
	a := x.add(content)
	raw, file := x.exportCAR(a.Root.Address)
	c := takeApart(t, raw)
	if len(c.roots) != 2 || c.roots[0] != a.Root.Address || c.roots[1] != file {
		t.Fatalf("roots %v; want %s and %s", c.roots, a.Root.Address, file)
	}
	bs := blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	if err := bs.PutMany(t.Context(), c.blocks); err != nil {
		t.Fatal(err)
	}
	dag := merkledag.NewDAGService(blockservice.New(bs, offline.Exchange(bs)))
	root, err := dag.Get(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := unixfs.NewDagReader(t.Context(), root, dag)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.decryptWithAge(r); !bytes.Equal(got, content) {
		t.Errorf("%d bytes, or others", len(got))
	}
}

func TestImportRestoresTheObjectElsewhere(t *testing.T) {
	x, y := newLab(t), newLab(t)
	for _, size := range []int{0, 1, 2*envelope.PlainLeaf + 5} {
		content := bytesOf(size)
		a := x.add(content)
		raw, _ := x.exportCAR(a.Root.Address)
		before := y.blocks()
		h, err := y.Import(t.Context(), bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if h.CID != a.Root.Address || h.Owned || h.Origin != store.OriginImported {
			t.Errorf("%+v", h.Object)
		}
		if got, want := y.blocks()-before, len(x.below(a.Root.Address)); got != want {
			t.Errorf("%d blocks came, the object has %d", got, want)
		}
		if _, err := y.held(h.CID).Verify(x.owner.Identity); err != nil {
			t.Error(err)
		}
		_, err = y.Open(t.Context(), y.held(h.CID)) // its key is not in the file
		wantExit(t, err, fault.Denied)
		y.checkContent(h.CID, a.Root, content)
		if again, err := y.Import(t.Context(), bytes.NewReader(raw)); err != nil || again.CID != h.CID {
			t.Errorf("importing twice: %v", err)
		}
	}
}

// checkContent reads an imported object as somebody who was released its secret.
func (x *lab) checkContent(address cid.Cid, m *Made, want []byte) {
	x.t.Helper()
	h := x.held(address)
	claims := h.Manifest.Claims()
	header, err := cid.Cast(claims.Header)
	if err != nil {
		x.t.Fatal(err)
	}
	raw, err := x.Store.Get(x.t.Context(), header)
	if err != nil {
		x.t.Fatal(err)
	}
	o, err := Unlock(address, claims, raw, m.secret)
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := x.Read(x.t.Context(), o)
	if err != nil {
		x.t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		x.t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
	}
}

func TestImportAtHomeKeepsTheOwner(t *testing.T) {
	x := newLab(t)
	a := x.add([]byte("mine"))
	raw, _ := x.exportCAR(a.Root.Address)
	before := x.blocks()
	h, err := x.Import(t.Context(), bytes.NewReader(raw))
	if err != nil || !h.Owned {
		t.Fatalf("owned %v, %v", h != nil && h.Owned, err)
	}
	if got := x.read(a.Root.Address); string(got) != "mine" || x.blocks() != before {
		t.Errorf("%q, %d blocks, before %d", got, x.blocks(), before)
	}
}

// refuse imports a CAR that must be refused, and nothing of it may stay.
func (x *lab) refuse(what string, raw []byte) {
	x.t.Helper()
	blocks, objects := x.blocks(), x.objects()
	_, err := x.Import(x.t.Context(), bytes.NewReader(raw))
	if err == nil {
		x.t.Errorf("%s: it was imported", what)
	} else if f := fault.Of(err); f.Exit != fault.Integrity {
		x.t.Errorf("%s: exit code %d: %v", what, f.Exit, err)
	}
	if b, o := x.blocks(), x.objects(); b != blocks || o != objects {
		x.t.Fatalf("%s: %d blocks and %d objects stayed", what, b-blocks, o-objects)
	}
}

func TestDamagedCARs(t *testing.T) {
	x, y := newLab(t), newLab(t)
	raw, _ := x.exportCAR(x.add([]byte("hello")).Root.Address)
	for i := 0; i < len(raw); i += 1 + i/4 { // densely where the structure is
		y.refuse("truncated", raw[:i])
	}
	for _, section := range []int{1, 40, len(raw) - 1} {
		y.refuse("truncated", raw[:section])
	}
	header, n := binary.Uvarint(raw)
	for i := 0; i < len(raw); i += 23 {
		y.refuse("bit flipped", flip(raw, i))
	}
	for i := range int(header) + n { // every byte of the CAR's own header
		y.refuse("header flipped", flip(raw, i))
	}
	y.refuse("followed by garbage", append(bytes.Clone(raw), 5, 1, 2, 3))
	y.refuse("huge section", append(bytes.Clone(raw), 0xff, 0xff, 0xff, 0xff, 0x7f))
	y.refuse("no CAR", []byte("age-encryption.org/v1\n"))
	if _, err := y.Import(t.Context(), bytes.NewReader(raw)); err != nil { // and the sound one is taken
		t.Error(err)
	}
}

func flip(raw []byte, i int) []byte {
	out := bytes.Clone(raw)
	out[i] ^= 1 << (i % 8)
	return out
}

func TestForeignAndIncompleteCARs(t *testing.T) {
	x, y := newLab(t), newLab(t)
	raw, file := x.exportCAR(x.add(bytesOf(2 * envelope.PlainLeaf)).Root.Address)
	otherRaw, otherFile := x.exportCAR(x.add([]byte("other")).Root.Address)
	c, other := takeApart(t, raw), takeApart(t, otherRaw)
	for i, b := range c.blocks {
		less := carFile{c.roots, append(append([]blocks.Block{}, c.blocks[:i]...), c.blocks[i+1:]...)}
		y.refuse("without "+b.Cid().String(), less.bytes(t))
	}
	swapped := append([]blocks.Block{}, c.blocks...)
	last := len(swapped) - 1
	swapped[last] = must(t)(blocks.NewBlockWithCid(c.blocks[last-1].RawData(), c.blocks[last].Cid()))
	swapped[last-1] = must(t)(blocks.NewBlockWithCid(c.blocks[last].RawData(), c.blocks[last-1].Cid()))
	junk := blocks.NewBlock([]byte("junk under CIDv0"))
	raw1 := envelope.Block{CID: envelope.CIDOf([]byte("junk"), cid.Raw), Data: []byte("junk")}
	for what, bad := range map[string]carFile{
		"leaves in each other's place": {c.roots, swapped},
		"roots in the other order":     {[]cid.Cid{file, c.roots[0]}, c.blocks},
		"only the file's root":         {[]cid.Cid{file}, c.blocks},
		"a root that is not there":     {[]cid.Cid{c.roots[0], otherFile}, c.blocks},
		"the root of another object":   {[]cid.Cid{c.roots[0], otherFile}, append(append([]blocks.Block{}, c.blocks...), other.blocks...)},
		"two objects":                  {c.roots, append(append([]blocks.Block{}, c.blocks...), other.blocks...)},
		"a block of nobody":            {c.roots, append(append([]blocks.Block{}, c.blocks...), must(t)(blocks.NewBlockWithCid(raw1.Data, raw1.CID)))},
		"another hash":                 {c.roots, append(append([]blocks.Block{}, c.blocks...), junk)},
		"nothing":                      {c.roots, nil},
	} {
		y.refuse(what, bad.bytes(t))
	}
	// The order of the sections carries no meaning: CAR promises none.
	for i, j := 0, last; i < j; i, j = i+1, j-1 {
		c.blocks[i], c.blocks[j] = c.blocks[j], c.blocks[i]
	}
	if _, err := y.Import(t.Context(), bytes.NewReader(c.bytes(t))); err != nil {
		t.Errorf("sections in another order: %v", err)
	}
}

func must(t *testing.T) func(blocks.Block, error) blocks.Block {
	return func(b blocks.Block, err error) blocks.Block {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// A block that is here under another object does not count: a holder may serve
// only what it was given under this one.
func TestCARMustHoldWhatTheHomeHasAnyway(t *testing.T) {
	x := newLab(t)
	a := x.add(bytesOf(envelope.PlainLeaf + 1))
	raw, _ := x.exportCAR(a.Root.Address)
	c := takeApart(t, raw)
	for i := range c.blocks {
		less := carFile{c.roots, append(append([]blocks.Block{}, c.blocks[:i]...), c.blocks[i+1:]...)}
		x.refuse("the home has it", less.bytes(t))
	}
	if got := x.read(a.Root.Address); len(got) != envelope.PlainLeaf+1 {
		t.Error("undoing an import took blocks that were here before")
	}
}

// A few nodes that name one another a thousand times each would describe more
// leaves than anybody could visit, so no block may stand twice in a payload, and
// payloads are not nested without end.
func TestPayloadsAreNotWalkedForEver(t *testing.T) {
	x := newLab(t)
	a := x.add(bytesOf(2 * envelope.PlainLeaf))
	m := x.held(a.Root.Address).Manifest.Claims()
	payload, err := cid.Cast(m.Payload)
	if err != nil {
		t.Fatal(err)
	}
	walk := func() *walker {
		return &walker{
			seen:  map[cid.Cid]bool{},
			get:   func(c cid.Cid) ([]byte, error) { return x.Store.Get(t.Context(), c) },
			visit: func(cid.Cid, []byte) error { return nil },
		}
	}
	w := walk()
	if err := w.payload(t.Context(), payload, int64(m.Size), 0); err != nil {
		t.Fatal(err)
	}
	if err := w.payload(t.Context(), payload, int64(m.Size), 1); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same node again: %v", err)
	}
	if err := walk().payload(t.Context(), payload, int64(m.Size), envelope.MaxDepth); err == nil || !strings.Contains(err.Error(), "deeply") {
		t.Errorf("one level too deep: %v", err)
	}
	if err := walk().payload(t.Context(), payload, int64(m.Size)+1, 0); err == nil || !strings.Contains(err.Error(), "add up") {
		t.Errorf("another size: %v", err)
	}
}

func TestObjectOfAnotherNetwork(t *testing.T) {
	x, y := newLab(t), newLab(t)
	elsewhere, err := foundAs("elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	y.Trust = trust.Fixed(elsewhere.committee)
	raw, _ := x.exportCAR(x.add([]byte("x")).Root.Address)
	_, err = y.Import(t.Context(), bytes.NewReader(raw))
	if f := wantExit(t, err, fault.Failed); !strings.Contains(f.Message, "another network") || f.Hint == "" {
		t.Errorf("%s; %s", f.Message, f.Hint)
	}
	if n := y.blocks() + y.objects(); n != 0 {
		t.Errorf("%d blocks and objects stayed", n)
	}
}

func TestImportThatIsInterrupted(t *testing.T) {
	x, y := newLab(t), newLab(t)
	raw, _ := x.exportCAR(x.add(bytesOf(20 << 20)).Root.Address) // more than one batch
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := io.MultiReader(bytes.NewReader(raw[:19<<20]), readerFunc(func([]byte) (int, error) { cancel(); return 0, errors.New("gone") }))
	if _, err := y.Import(ctx, r); err == nil {
		t.Fatal("no error")
	}
	if n := y.blocks() + y.objects(); n != 0 {
		t.Errorf("%d blocks and objects stayed", n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// corruptFile damages the file of a large block in the store.
func (x *lab) corruptFile(c cid.Cid) {
	x.t.Helper()
	var found bool
	data, err := x.Store.Get(x.t.Context(), c)
	if err != nil {
		x.t.Fatal(err)
	}
	filepath.WalkDir(filepath.Join(x.dir, "store"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || found {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if i := bytes.Index(raw, data[100:200]); i >= 0 && len(raw) >= len(data) {
			raw[i] ^= 1
			os.Chmod(path, 0o600)
			found = os.WriteFile(path, raw, 0o600) == nil
		}
		return nil
	})
	if !found {
		x.t.Fatalf("block %s is in no file", c)
	}
}

func TestCorruptBlockOnDisk(t *testing.T) {
	x := newLab(t)
	content := bytesOf(3 * envelope.PlainLeaf)
	a := x.add(content)
	raw, _ := x.exportCAR(a.Root.Address)
	cids := x.below(a.Root.Address)
	bad := []cid.Cid{cids[len(cids)-3], cids[len(cids)-1]}
	for _, c := range bad {
		x.corruptFile(c)
	}
	o := x.open(a.Root.Address)
	r, err := x.Read(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, r)
	if f := wantExit(t, err, fault.Integrity); !strings.Contains(f.Message, bad[0].String()) {
		t.Errorf("the error does not name the block: %s", f.Message)
	}
	var out bytes.Buffer
	wantExit(t, x.ExportAge(t.Context(), o, &out, x.recipients()...), fault.Integrity)
	_, err = x.ExportCAR(t.Context(), x.held(a.Root.Address), o, io.Discard, x.recipients()...)
	wantExit(t, err, fault.Integrity)
	if got := x.check(a.Root.Address); len(got) != 2 || got[0] != bad[0] || got[1] != bad[1] {
		t.Errorf("check finds %v, want %v", got, bad)
	}
	// The hint says to import the object again.
	if _, err := x.Import(t.Context(), bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	if got := x.check(a.Root.Address); len(got) != 0 || !bytes.Equal(x.read(a.Root.Address), content) {
		t.Errorf("after the import %v is bad", got)
	}
}

func (x *lab) check(address cid.Cid) (bad []cid.Cid) {
	x.t.Helper()
	n := 0
	err := x.Check(x.t.Context(), x.held(address), func(c cid.Cid, err error) {
		if n++; err != nil {
			wantExitOf(x.t, err, fault.Integrity)
			bad = append(bad, c)
		}
	})
	if err != nil || n == 0 {
		x.t.Fatalf("%d blocks checked, %v", n, err)
	}
	return bad
}

func wantExitOf(t testing.TB, err error, exit int) {
	t.Helper()
	if f := fault.Of(err); f.Exit != exit {
		t.Errorf("exit code %d, want %d: %v", f.Exit, exit, err)
	}
}

func TestCheckFindsWhatIsMissing(t *testing.T) {
	x := newLab(t)
	a := x.add(bytesOf(3 * envelope.PlainLeaf))
	cids := x.below(a.Root.Address)
	if got := x.check(a.Root.Address); len(got) != 0 {
		t.Errorf("%v is bad", got)
	}
	for _, i := range []int{len(cids) - 1, 2, 1} { // a leaf, the header, the file root
		if err := x.Store.Delete(t.Context(), cids[i:i+1]); err != nil {
			t.Fatal(err)
		}
		if got := x.check(a.Root.Address); len(got) == 0 || !contains(got, cids[i]) {
			t.Errorf("without block %d, check finds %v", i, got)
		}
	}
	_, err := x.Open(t.Context(), x.held(a.Root.Address))
	if f := wantExit(t, err, fault.Integrity); !strings.Contains(f.Message, cids[2].String()) {
		t.Error(f.Message)
	}
}

func contains(in []cid.Cid, c cid.Cid) bool {
	for _, x := range in {
		if x == c {
			return true
		}
	}
	return false
}
