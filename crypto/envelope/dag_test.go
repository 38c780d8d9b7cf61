package envelope

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/ipld/merkledag"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// cutter hands boxo the same leaves that we make.
type cutter struct {
	rest []byte
	size []int
}

func (c *cutter) Reader() io.Reader { return bytes.NewReader(c.rest) }

func (c *cutter) NextBytes() ([]byte, error) {
	if len(c.rest) == 0 {
		return nil, io.EOF
	}
	n := min(c.size[0], len(c.rest))
	if len(c.size) > 1 {
		c.size = c.size[1:]
	}
	leaf := c.rest[:n]
	c.rest = c.rest[n:]
	return leaf, nil
}

func stockDAG() ipld.DAGService {
	bs := blockstore.NewBlockstore(dssync.MutexWrap(ds.NewMapDatastore()))
	return merkledag.NewDAGService(blockservice.New(bs, offline.Exchange(bs)))
}

var dagPB = cid.V1Builder{Codec: cid.DagProtobuf, MhType: mh.SHA2_256}

func stockLayout(t *testing.T, dag ipld.DAGService, data []byte, width int, first, leaf int) ipld.Node {
	t.Helper()
	p := helpers.DagBuilderParams{Dagserv: dag, Maxlinks: width, RawLeaves: true, CidBuilder: dagPB}
	b, err := p.New(&cutter{data, []int{first, leaf}})
	if err != nil {
		t.Fatal(err)
	}
	root, err := balanced.Layout(b)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestTreeIsBoxosBalancedLayout(t *testing.T) {
	for _, c := range []struct{ width, from, to int }{{2, 2, 40}, {3, 2, 60}, {5, 120, 130}, {1024, 1020, 1030}, {1024, 2048, 2050}} {
		for n := c.from; n <= c.to; n++ {
			dag := stockDAG()
			data := plaintext(4 + (n-1)*5 - 2) // a short first and a short last leaf
			want := stockLayout(t, dag, data, c.width, 4, 5)
			emitted := make(map[cid.Cid][]byte)
			tr := tree{width: c.width, emit: func(b Block) { emitted[b.CID] = b.Data }}
			cut := &cutter{data, []int{4, 5}}
			for leaf, err := cut.NextBytes(); err == nil; leaf, err = cut.NextBytes() {
				tr.add(0, link{CIDOf(leaf, CodecRaw), uint64(len(leaf)), uint64(len(leaf))})
			}
			got := tr.finish()
			if got.cid != want.Cid() || got.size != uint64(len(data)) {
				t.Fatalf("width %d, %d leaves: root %s of %d bytes, boxo has %s", c.width, n, got.cid, got.size, want.Cid())
			}
			if size, _ := want.Size(); got.dag != size {
				t.Errorf("width %d, %d leaves: all blocks have %d bytes, boxo says %d", c.width, n, got.dag, size)
			}
			if !bytes.Equal(emitted[got.cid], want.RawData()) {
				t.Errorf("width %d, %d leaves: the root has another encoding", c.width, n)
			}
		}
	}
}

// The size of a DAG is computed from its shape; here it is counted.
func TestDAGSizeMatchesTheTree(t *testing.T) {
	for _, width := range []int{2, 3, 7, 1024} {
		for _, rest := range []int64{1, 16, LeafSize - 1, LeafSize, LeafSize + 1, 2 * LeafSize, 5*LeafSize + 20,
			6 * LeafSize, 7*LeafSize + 3, 48 * LeafSize, 49*LeafSize + 1, 1022 * LeafSize, 1023 * LeafSize, 1023*LeafSize + 17,
			1024 * LeafSize, 3000*LeafSize + 99} {
			tr := tree{width: width, emit: func(Block) {}}
			c := CIDOf(nil, CodecRaw)
			tr.add(0, link{c, NonceSize, NonceSize})
			for left := rest; left > 0; left -= LeafSize {
				n := uint64(min(left, LeafSize))
				tr.add(0, link{c, n, n})
			}
			want := tr.finish()
			if got := dagSize(NonceSize+rest, int64(width)); got != want.dag {
				t.Errorf("width %d, %d bytes: %d, counted %d", width, rest, got, want.dag)
			}
		}
	}
	dagSize(math.MaxInt64, MaxWidth) // ends, and soon
}

// A stock IPFS reader gets a stock age file from the blocks alone.
func TestStockReaderReadsTheFile(t *testing.T) {
	ctx := context.Background()
	o := newObject(t, plaintext(2*LeafSize+5))
	leaf, root, err := FileRoot(o.header, o.payload)
	if err != nil {
		t.Fatal(err)
	}
	bs := blockstore.NewBlockstore(dssync.MutexWrap(ds.NewMapDatastore()))
	for c, data := range o.blocks.blocks {
		put(t, bs, c, data)
	}
	put(t, bs, leaf.CID, leaf.Data)
	put(t, bs, root.CID, root.Data)
	dag := merkledag.NewDAGService(blockservice.New(bs, offline.Exchange(bs)))
	node, err := dag.Get(ctx, root.CID)
	if err != nil {
		t.Fatal(err)
	}
	r, err := uio.NewDagReader(ctx, node, dag)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, append(bytes.Clone(o.header), o.cipher...)) {
		t.Errorf("the file has %d bytes, error %v", len(got), err)
	}
	// And boxo, given the same payload and header, would have made the same blocks.
	payload := stockLayout(t, stockDAG(), o.cipher, MaxWidth, NonceSize, LeafSize)
	if payload.Cid() != o.payload.Root {
		t.Errorf("boxo lays the payload out as %s, we as %s", payload.Cid(), o.payload.Root)
	}
	if want := stockRoot(t, o.header, payload, o.payload.Size); !bytes.Equal(want, root.Data) {
		t.Error("boxo encodes the file root in another way")
	}
}

func put(t *testing.T, bs blockstore.Blockstore, c cid.Cid, data []byte) {
	t.Helper()
	b, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := bs.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func stockRoot(t *testing.T, header []byte, payload ipld.Node, size int64) []byte {
	t.Helper()
	leaf, err := merkledag.NewRawNodeWPrefix(header, cid.V1Builder{Codec: cid.Raw, MhType: mh.SHA2_256})
	if err != nil {
		t.Fatal(err)
	}
	fs := ft.NewFSNode(ft.TFile)
	fs.AddBlockSize(uint64(len(header)))
	fs.AddBlockSize(uint64(size))
	data, err := fs.GetBytes()
	if err != nil {
		t.Fatal(err)
	}
	n := merkledag.NodeWithData(data)
	n.SetCidBuilder(dagPB)
	for _, child := range []ipld.Node{leaf, payload} {
		if err := n.AddNodeLink("", child); err != nil {
			t.Fatal(err)
		}
	}
	return n.RawData()
}

func TestFileRootRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, LeafSize} {
		o := newObject(t, plaintext(size))
		leaf, root, err := FileRoot(o.header, o.payload)
		if err != nil {
			t.Fatal(err)
		}
		h, p, hn, pn, err := ParseFileRoot(root.Data)
		if err != nil || h != leaf.CID || p != o.payload.Root || hn != int64(len(o.header)) || pn != o.payload.Size {
			t.Errorf("%d bytes: got %s (%d), %s (%d), error %v", size, h, hn, p, pn, err)
		}
	}
}

func TestTwoHeadersOverOnePayload(t *testing.T) {
	o := newObject(t, plaintext(100))
	other, err := CommitteeHeader(o.key, CommitteeStanza{KeyID: testStanza.KeyID, Network: testNetwork, Sealed: bytes.Repeat([]byte{9}, 48)})
	if err != nil {
		t.Fatal(err)
	}
	_, a, err := FileRoot(o.header, o.payload)
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := FileRoot(other, Payload{Root: o.payload.Root, Size: o.payload.Size})
	if err != nil {
		t.Fatal(err)
	}
	if a.CID == b.CID {
		t.Error("two headers gave one root")
	}
	for _, h := range [][]byte{o.header, other} {
		r, err := Decrypt(h, o.key, bytes.NewReader(o.cipher))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, o.plain) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	}
}

func TestFileRootRefuses(t *testing.T) {
	good := Payload{Root: CIDOf(nil, CodecDagPB), Size: 32}
	for name, c := range map[string]struct {
		header []byte
		p      Payload
	}{
		"no header":        {nil, good},
		"large header":     {make([]byte, MaxHeader+1), good},
		"no root":          {[]byte("h"), Payload{Size: 32}},
		"raw root":         {[]byte("h"), Payload{Root: CIDOf(nil, CodecRaw), Size: 32}},
		"impossible size":  {[]byte("h"), Payload{Root: good.Root, Size: 31}},
		"negative size":    {[]byte("h"), Payload{Root: good.Root, Size: -1}},
		"version 0 root":   {[]byte("h"), Payload{Root: cid.NewCidV0(CIDOf(nil, CodecDagPB).Hash()), Size: 32}},
		"blake3, not sha2": {[]byte("h"), Payload{Root: otherHash(t, mh.BLAKE3, 32), Size: 32}},
	} {
		if _, _, err := FileRoot(c.header, c.p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, _, err := FileRoot([]byte("h"), good); err != nil {
		t.Errorf("the control is refused: %v", err)
	}
}

func otherHash(t *testing.T, code uint64, n int) cid.Cid {
	t.Helper()
	h, err := mh.Encode(make([]byte, n), code)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(CodecDagPB, h)
}

// node writes a node whose parts need not agree, for refusals.
type badNode struct {
	cids           [][]byte
	name           string
	tsizes, blocks []uint64
	file           uint64
	kind           byte
	data           []byte // UnixFS inline bytes
	tail           []byte
}

func (n badNode) encode() []byte {
	var out []byte
	for i, c := range n.cids {
		l := append([]byte{0x0a, byte(len(c))}, c...)
		l = append(l, 0x12, byte(len(n.name)))
		l = append(append(l, n.name...), 0x18)
		l = binary.AppendUvarint(l, n.tsizes[i])
		out = append(binary.AppendUvarint(append(out, 0x12), uint64(len(l))), l...)
	}
	fs := []byte{0x08, n.kind}
	if n.data != nil {
		fs = append(append(fs, 0x12, byte(len(n.data))), n.data...)
	}
	fs = binary.AppendUvarint(append(fs, 0x18), n.file)
	for _, b := range n.blocks {
		fs = binary.AppendUvarint(append(fs, 0x20), b)
	}
	out = append(binary.AppendUvarint(append(out, 0x0a), uint64(len(fs))), fs...)
	return append(out, n.tail...)
}

func goodNode() badNode {
	return badNode{
		cids:   [][]byte{CIDOf([]byte("a"), CodecRaw).Bytes(), CIDOf([]byte("b"), CodecDagPB).Bytes()},
		tsizes: []uint64{16, 500}, blocks: []uint64{16, 400}, file: 416, kind: 2,
	}
}

func TestParseNodeRefuses(t *testing.T) {
	n, err := ParseNode(goodNode().encode())
	if err != nil || len(n.Children) != 2 || n.Size() != 416 || !n.Children[0].Leaf || n.Children[1].Leaf {
		t.Fatalf("the control: %+v, %v", n, err)
	}
	for name, spoil := range map[string]func(*badNode){
		"a sum that is too large":    func(n *badNode) { n.file++ },
		"a sum that overflows":       func(n *badNode) { n.blocks[1] = math.MaxUint64; n.file = 15 },
		"a sum beyond an int64":      func(n *badNode) { n.blocks[1] = math.MaxInt64; n.tsizes[1] = 1 << 63; n.file = math.MaxInt64 + 16 },
		"an empty child":             func(n *badNode) { n.blocks[0], n.tsizes[0], n.file = 0, 0, 400 },
		"a leaf with two sizes":      func(n *badNode) { n.tsizes[0]++ },
		"a leaf that is too large":   func(n *badNode) { n.tsizes[0], n.blocks[0], n.file = LeafSize+1, LeafSize+1, LeafSize+401 },
		"a subtree below its bytes":  func(n *badNode) { n.tsizes[1] = 400 },
		"a directory":                func(n *badNode) { n.kind = 1 },
		"inline bytes":               func(n *badNode) { n.data = []byte("x"); n.file++ },
		"a name":                     func(n *badNode) { n.name = "x" },
		"a manifest as a child":      func(n *badNode) { n.cids[0] = CIDOf(nil, CodecDagCBOR).Bytes() },
		"a child with blake3":        func(n *badNode) { n.cids[1] = otherHash(t, mh.BLAKE3, 32).Bytes() },
		"a child with a short hash":  func(n *badNode) { n.cids[1] = otherHash(t, mh.SHA2_256, 20).Bytes() },
		"a child with identity hash": func(n *badNode) { n.cids[1] = otherHash(t, mh.IDENTITY, 32).Bytes() },
		"a child of version 0":       func(n *badNode) { n.cids[1] = n.cids[1][2:] },
		"fewer sizes than children":  func(n *badNode) { n.blocks = n.blocks[:1]; n.file = 16 },
		"more sizes than children":   func(n *badNode) { n.blocks = append(n.blocks, 1); n.file++ },
		"no children":                func(n *badNode) { *n = badNode{kind: 2} },
		"bytes at the end":           func(n *badNode) { n.tail = []byte{0} },
		"too many children": func(n *badNode) {
			*n = badNode{kind: 2, file: MaxWidth + 1}
			for range MaxWidth + 1 {
				n.cids = append(n.cids, CIDOf(nil, CodecRaw).Bytes())
				n.tsizes, n.blocks = append(n.tsizes, 1), append(n.blocks, 1)
			}
		},
	} {
		n := goodNode()
		spoil(&n)
		if got, err := ParseNode(n.encode()); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
	long := goodNode().encode()
	at := bytes.Index(long, []byte{0x18, 16}) // Tsize 16 written with two bytes
	long = append(append(bytes.Clone(long[:at]), 0x18, 0x90, 0), long[at+2:]...)
	long[1]++
	if _, err := ParseNode(long); err == nil {
		t.Error("an integer longer than needed: accepted")
	}
	for i := range goodNode().encode() {
		if _, err := ParseNode(goodNode().encode()[:i]); err == nil {
			t.Errorf("cut to %d bytes: accepted", i)
		}
	}
	if _, err := ParseNode(make([]byte, 1<<20)); !errors.Is(err, errNode) {
		t.Errorf("a megabyte: %v", err)
	}
}

func TestWidestNodeIsAccepted(t *testing.T) {
	var links []link
	for range MaxWidth {
		links = append(links, link{CIDOf(nil, CodecDagPB), 1 << 52, 1<<52 + 1<<44})
	}
	if _, err := ParseNode(encodeNode(links)); err != nil {
		t.Error(err)
	}
}

func TestParseFileRootRefuses(t *testing.T) {
	good := func() badNode {
		return badNode{
			cids:   [][]byte{CIDOf([]byte("a"), CodecRaw).Bytes(), CIDOf([]byte("b"), CodecDagPB).Bytes()},
			tsizes: []uint64{200, dagSize(432, MaxWidth)}, blocks: []uint64{200, 432}, file: 632, kind: 2,
		}
	}
	if _, _, h, p, err := ParseFileRoot(good().encode()); err != nil || h != 200 || p != 432 {
		t.Fatalf("the control: %d, %d, %v", h, p, err)
	}
	for name, spoil := range map[string]func(*badNode){
		"one link": func(n *badNode) { n.cids, n.tsizes, n.blocks, n.file = n.cids[:1], n.tsizes[:1], n.blocks[:1], 200 },
		"three links": func(n *badNode) {
			n.cids, n.tsizes, n.blocks, n.file = append(n.cids, n.cids[0]), append(n.tsizes, 1), append(n.blocks, 1), 633
		},
		"links exchanged":     func(n *badNode) { n.cids[0], n.cids[1] = n.cids[1], n.cids[0] },
		"two leaves":          func(n *badNode) { n.cids[1] = n.cids[0] },
		"a large header":      func(n *badNode) { n.tsizes[0], n.blocks[0], n.file = MaxHeader+1, MaxHeader+1, MaxHeader+433 },
		"an impossible size":  func(n *badNode) { n.blocks[1], n.file = 31, 231 },
		"another total":       func(n *badNode) { n.tsizes[1]++ },
		"a header's two ends": func(n *badNode) { n.tsizes[0]++ },
		"sizes off":           func(n *badNode) { n.file-- },
	} {
		n := good()
		spoil(&n)
		if _, _, _, _, err := ParseFileRoot(n.encode()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
