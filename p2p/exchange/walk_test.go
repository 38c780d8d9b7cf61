package exchange

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// child is a link as a hostile owner may write it.
type child struct {
	cid  cid.Cid
	size int64
	dag  int64 // Tsize
}

// encodeNode writes a dag-pb UnixFS file node (dag-pb and UnixFS
// specifications) that says whatever the test wants.
func encodeNode(children ...child) []byte {
	field := func(b []byte, tag byte, v []byte) []byte {
		b = binary.AppendUvarint(append(b, tag), uint64(len(v)))
		return append(b, v...)
	}
	var out, sizes []byte
	var total int64
	for _, c := range children {
		l := field(nil, 0x0a, c.cid.Bytes())
		l = field(l, 0x12, nil)
		l = binary.AppendUvarint(append(l, 0x18), uint64(c.dag))
		out = field(out, 0x12, l)
		sizes = binary.AppendUvarint(append(sizes, 0x20), uint64(c.size))
		total += c.size
	}
	data := binary.AppendUvarint([]byte{0x08, 2, 0x18}, uint64(total))
	return field(out, 0x0a, append(data, sizes...))
}

// fakeLeaf is a link to a leaf that nobody has; n tells it from others.
func fakeLeaf(n int, size int64) child {
	return child{envelope.CIDOf(binary.AppendVarint([]byte("leaf "), int64(n)), envelope.CodecRaw), size, size}
}

// addNode puts a node over children into m and returns the link to it.
func addNode(m *memory, children ...child) child {
	data := encodeNode(children...)
	c := child{cid: envelope.CIDOf(data, envelope.CodecDagPB), dag: int64(len(data))}
	for _, x := range children {
		c.size += x.size
		c.dag += x.dag
	}
	m.put(envelope.Block{CID: c.cid, Data: data})
	return c
}

// claim seals a payload root, whatever it is, as an object of size bytes.
func claim(t testing.TB, m *memory, root child, size int64) object {
	return seal(t, m, []byte("a header"), envelope.Payload{Root: root.cid, Size: size})
}

// fullLeaves are n links to full leaves, numbered from first; leaf 0 is the nonce.
func fullLeaves(first, n int) []child {
	out := make([]child, n)
	for i := range out {
		out[i] = fakeLeaf(first+i, leafSize)
		if first+i == 0 {
			out[i] = fakeLeaf(0, 16)
		}
	}
	return out
}

// A payload of more than a node's width has nodes below its root; a range
// visits the ones on its way and no others.
func TestDeepPayload(t *testing.T) {
	const width = envelope.MaxWidth
	m := newMemory()
	last := make([]byte, 100+16)
	m.put(envelope.Block{CID: envelope.CIDOf(last, envelope.CodecRaw), Data: last})
	left := addNode(m, fullLeaves(0, width)...)
	right := addNode(m, append(fullLeaves(width, 2), child{envelope.CIDOf(last, envelope.CodecRaw), 116, 116})...)
	root := addNode(m, left, right)
	o := claim(t, m, root, root.size)
	p := serve(t, m, &policy{}, Limits{})
	var g got
	end := uint64(root.size)
	res, err := p.fetch(g.sink, o.ranges(Range{From: end - 1, To: end}))
	if err != nil || !res.Done[0] {
		t.Fatal(err)
	}
	want := []cid.Cid{o.address, o.file, o.header, root.cid, right.cid, envelope.CIDOf(last, envelope.CodecRaw)}
	if !slices.Equal(g.cids(), want) {
		t.Errorf("blocks %v, want %v", g.cids(), want)
	}
	if got := g.blocks[4].Offset; got != left.size {
		t.Errorf("the second node is at %d, want %d", got, left.size)
	}
	if got := g.blocks[5].Offset; got != root.size-116 {
		t.Errorf("the last leaf is at %d, want %d", got, root.size-116)
	}
}

// Whoever signs a manifest may claim anything. Each of these objects would cost
// a walker more than its size says, or confuse it.
func TestBombs(t *testing.T) {
	const width = envelope.MaxWidth
	m := newMemory()
	nonce := fakeLeaf(0, 16)
	honest := addNode(m, nonce, fakeLeaf(1, 116))
	weak := func(codec uint64, hash uint64, length int) cid.Cid {
		sum, err := mh.Sum([]byte("x"), hash, length)
		if err != nil {
			t.Fatal(err)
		}
		return cid.NewCidV1(codec, sum)
	}
	chain := honest // one child a node, deeper than any payload
	for range envelope.MaxDepth + 1 {
		chain = addNode(m, chain)
	}
	full := addNode(m, fullLeaves(0, width)...)
	repeated := addNode(m, fullLeaves(width, width)...)
	tail := addNode(m, fullLeaves(3*width, 1)...)
	wide := fullLeaves(0, width+1)
	fileRoot := func(size int64) object { // a manifest of another size than its file root
		o := claim(t, m, honest, honest.size)
		o.size = size
		return sign(t, m, o)
	}
	otherLinks := func() object {
		o := claim(t, m, honest, honest.size)
		o.header = envelope.CIDOf([]byte("another"), envelope.CodecRaw)
		return sign(t, m, o)
	}
	bombs := map[string]object{
		"a chain of nodes":             claim(t, m, chain, chain.size),
		"one leaf per level":           claim(t, m, addNode(m, nonce, addNode(m, fakeLeaf(1, 116))), 132),
		"leaves where nodes belong":    claim(t, m, addNode(m, fullLeaves(0, 2)...), 16+leafSize*width),
		"too wide":                     claim(t, m, addNode(m, wide...), 16+leafSize*width),
		"small leaves":                 claim(t, m, addNode(m, nonce, fakeLeaf(1, 58), fakeLeaf(2, 58)), 132),
		"no nonce":                     claim(t, m, addNode(m, fakeLeaf(1, 66), fakeLeaf(2, 66)), 132),
		"a leaf declared larger":       claim(t, m, honest, honest.size+1),
		"a leaf declared smaller":      claim(t, m, honest, honest.size-1),
		"a huge size over little":      claim(t, m, honest, 1<<50+32),
		"a leaf twice":                 claim(t, m, addNode(m, nonce, fakeLeaf(1, leafSize), fakeLeaf(1, leafSize)), 16+2*leafSize),
		"a node twice in a node":       claim(t, m, addNode(m, full, repeated, repeated, tail), 16+leafSize*3*width),
		"a leaf missing":               claim(t, m, addNode(m, nonce, fakeLeaf(1, leafSize)), 16+2*leafSize),
		"no children":                  claim(t, m, addNode(m), 132),
		"manifest declares more":       fileRoot(honest.size + 1),
		"manifest declares less":       fileRoot(honest.size - 1),
		"manifest names other links":   otherLinks(),
		"a leaf under a weak hash":     claim(t, m, addNode(m, nonce, child{weak(cid.Raw, mh.SHA1, -1), 116, 116}), 132),
		"a leaf under identity":        claim(t, m, addNode(m, nonce, child{weak(cid.Raw, mh.IDENTITY, -1), 116, 116}), 132),
		"a leaf under a short hash":    claim(t, m, addNode(m, nonce, child{weak(cid.Raw, mh.SHA2_256, 16), 116, 116}), 132),
		"a manifest as a leaf":         claim(t, m, addNode(m, nonce, child{weak(cid.DagCBOR, mh.SHA2_256, -1), 116, 116}), 132),
		"the payload is the file root": claim(t, m, child{cid: claim(t, m, honest, honest.size).file}, honest.size),
	}
	p := serve(t, m, &policy{}, Limits{})
	for name, o := range bombs {
		// A range of one byte walks every check down to the leaf before it.
		for _, item := range []Item{o.whole(), o.ranges(Range{From: 20, To: 21})} {
			var g got
			_, err := p.fetch(g.sink, item)
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%s: an honest holder carries it: %v", name, err)
			}
			if len(g.blocks) > 3 {
				t.Errorf("%s: the holder sent its root", name)
			}
			response := careless(m, item)
			_, err = receive([]Item{item}, response, nil, g.sink)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Errorf("%s: a receiver takes it: %v", name, err)
			} else if corrupt.Own {
				t.Errorf("%s: the holder is blamed for what the owner made: %v", name, err)
			}
		}
	}
	// The control: made by the same means, but honest; only its leaves are
	// missing.
	o := claim(t, m, honest, honest.size)
	var g got
	if _, err := p.fetch(g.sink, o.whole()); !errors.Is(err, ErrRefused) || len(g.blocks) != 4 {
		t.Errorf("an honest object: %v after %d blocks", err, len(g.blocks))
	}
	if _, err := receive([]Item{o.whole()}, careless(m, o.whole()), nil, (&got{}).sink); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an honest object: %v", err)
	}
}

// One node under two parents would be walked twice; the second time is refused.
func TestNodeUnderTwoParents(t *testing.T) {
	const width = envelope.MaxWidth
	w := &walk{item: &Item{Whole: true}, size: 16 + leafSize*(2*width*width-1), leaves: 2 * width * width, nodes: map[cid.Cid]struct{}{}}
	nodes := make([]child, width)
	for i := range nodes {
		nodes[i] = fakeLeaf(i, width*leafSize)
		nodes[i].cid = cid.NewCidV1(cid.DagProtobuf, nodes[i].cid.Hash())
		nodes[i].dag++
	}
	second := encodeNode(nodes...)
	nodes[0].size -= leafSize - 16
	first := encodeNode(nodes...)
	if err := w.feed(place{kind: Interior, height: 2}, first); err != nil {
		t.Fatal(err)
	}
	if err := w.feed(place{kind: Interior, height: 2, leaf: width * width}, second); err == nil {
		t.Error("a node was queued twice")
	}
	clear(w.nodes) // the control: only the repetition was wrong
	if err := w.feed(place{kind: Interior, height: 2, leaf: width * width}, second); err != nil {
		t.Error(err)
	}
}

// careless is the response of a holder that sends what the links say and checks
// nothing: it has no walk.
func careless(m *memory, item Item) []byte {
	out := []byte{statusGiven}
	send := func(c cid.Cid) []byte {
		data := m.blocks[c]
		out = append(out, framed(data)...)
		return data
	}
	address, _ := item.address()
	u, err := envelope.ParseManifest(address, send(address))
	if err != nil {
		return out
	}
	claims := u.Claims()
	file, header, payload := claims.Links()
	send(file)
	send(header)
	var down func(c cid.Cid, budget int)
	down = func(c cid.Cid, budget int) {
		node, err := envelope.ParseNode(send(c))
		if err != nil {
			return
		}
		for _, child := range node.Children {
			if _, ok := m.blocks[child.CID]; ok && budget > 0 {
				down(child.CID, budget-1)
			}
		}
	}
	down(payload, 10)
	return out
}
