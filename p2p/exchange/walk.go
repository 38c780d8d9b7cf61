package exchange

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/ipfs/go-cid"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// Kind is the place of a block in its object.
type Kind uint8

// The kinds of block, in the order in which an item starts.
const (
	Manifest Kind = iota + 1 // the signed manifest; its CID is the address
	FileRoot                 // UnixFS root over the header and the payload
	Header                   // the age header
	Interior                 // a node of the payload's DAG; its root comes first
	Leaf                     // payload bytes
)

// String is the kind in words.
func (k Kind) String() string {
	switch k {
	case Manifest:
		return "manifest"
	case FileRoot:
		return "file root"
	case Header:
		return "header"
	case Interior:
		return "interior node"
	case Leaf:
		return "leaf"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// The most bytes that a block may have where its length does not follow from
// the blocks before it.
const (
	maxFileRoot = 1 << 10
	maxInterior = 128 << 10 // 1024 links with the longest integers, and a little
)

// place is one step of a walk: the block that comes next and what is already
// known about it.
type place struct {
	kind   Kind
	cid    cid.Cid
	exact  int   // its length in bytes where known (Header, Leaf), else 0
	leaf   int64 // index of the first leaf below it (Interior, Leaf)
	height int   // levels below it; 0 is a leaf (Interior, Leaf)
}

// checkLength tells whether a block of n bytes can stand at this place, before
// anybody allocates memory for it.
func (p place) checkLength(n int64) error {
	if p.exact > 0 {
		if n != int64(p.exact) {
			return fmt.Errorf("the %s has %d bytes, not %d", p.kind, n, p.exact)
		}
		return nil
	}
	most := int64(maxInterior)
	switch p.kind {
	case Manifest:
		most = envelope.MaxManifest
	case FileRoot:
		most = maxFileRoot
	}
	if n < 1 || n > most {
		return fmt.Errorf("the %s has %d bytes, at most %d", p.kind, n, most)
	}
	return nil
}

// walk goes through the blocks of one item in the one order that holder and
// receiver agree on: manifest, file root, header, root of the payload, then
// depth first, links in order, leaving out what no wanted range touches.
//
// It is the only place that knows the order, and the only one that bounds the
// DAG: the shape of a payload follows from its size alone (package envelope), so
// the walk computes what each child must be - node or leaf, and of how many
// bytes - and refuses a node that says anything else. Depth, width and number of
// blocks are those of an honest payload of the declared size. A block that occurs
// twice is refused too, since no payload of age repeats itself: a huge size cannot be
// made of few blocks.
//
// The caller alternates next and feed. A receiver must not feed a block, other
// than a leaf, that it has not verified.
type walk struct {
	item    *Item
	todo    []place // a stack: the next place is the last
	header  cid.Cid // as the manifest claims
	payload cid.Cid
	size    int64                // of the payload
	leaves  int64                // of the payload
	nodes   map[cid.Cid]struct{} // interior nodes that were queued
}

// newWalk starts a walk of an item that has passed check.
func newWalk(item *Item) (*walk, error) {
	c, err := item.address()
	if err != nil {
		return nil, err
	}
	return &walk{item: item, todo: []place{{kind: Manifest, cid: c}}}, nil
}

// next is the place whose block comes next; false at the end of the item.
func (w *walk) next() (place, bool) {
	if len(w.todo) == 0 {
		return place{}, false
	}
	p := w.todo[len(w.todo)-1]
	w.todo = w.todo[:len(w.todo)-1]
	return p, true
}

// done reports that no block is left.
func (w *walk) done() bool { return len(w.todo) == 0 }

// feed takes the block of the place that next returned last.
func (w *walk) feed(p place, data []byte) error {
	if err := p.checkLength(int64(len(data))); err != nil {
		return err
	}
	switch p.kind {
	case Manifest:
		return w.feedManifest(p, data)
	case FileRoot:
		return w.feedFileRoot(data)
	case Interior:
		return w.feedInterior(p, data)
	}
	return nil // headers and leaves lead nowhere
}

func (w *walk) feedManifest(p place, data []byte) error {
	m, err := envelope.ParseManifest(p.cid, data)
	if err != nil {
		return err
	}
	claims := m.Claims()
	var file cid.Cid
	file, w.header, w.payload = claims.Links()
	for _, l := range []struct {
		cid   cid.Cid
		codec uint64
	}{{file, envelope.CodecDagPB}, {w.header, envelope.CodecRaw}, {w.payload, envelope.CodecDagPB}} {
		if err := checkCID(l.cid, l.codec); err != nil {
			return err
		}
	}
	w.size = int64(claims.Size) // ParseManifest keeps it within an int64
	w.todo = append(w.todo, place{kind: FileRoot, cid: file})
	return nil
}

func (w *walk) feedFileRoot(data []byte) error {
	header, payload, headerSize, payloadSize, err := envelope.ParseFileRoot(data)
	if err != nil {
		return err
	}
	switch {
	case header != w.header || payload != w.payload:
		return errors.New("the file root links to another header or payload than the manifest")
	case headerSize < 1 || headerSize > envelope.MaxHeader:
		return fmt.Errorf("the header declares %d bytes, at most %d", headerSize, envelope.MaxHeader)
	case payloadSize != w.size:
		return errors.New("the file root declares another size than the manifest")
	case payloadSize <= envelope.NonceSize:
		return errors.New("the payload has no chunk")
	}
	w.leaves = 1 + (w.size-envelope.NonceSize+envelope.LeafSize-1)/envelope.LeafSize
	height := 1
	for fanout(height) < w.leaves {
		height++
	}
	if height > envelope.MaxDepth {
		return fmt.Errorf("the payload is more than %d nodes deep", envelope.MaxDepth)
	}
	w.nodes = map[cid.Cid]struct{}{payload: {}}
	w.todo = append(w.todo,
		place{kind: Interior, cid: payload, height: height},
		place{kind: Header, cid: header, exact: int(headerSize)})
	return nil
}

// fanout is the number of leaves below a full node of a height.
func fanout(height int) int64 {
	n := int64(1)
	for range height {
		n *= envelope.MaxWidth
	}
	return n
}

// offset is the payload offset at which the leaf of an index begins; for
// indexes past the last leaf it is the size of the payload.
func (w *walk) offset(leaf int64) int64 {
	switch {
	case leaf <= 0:
		return 0
	case leaf >= w.leaves:
		return w.size
	}
	return envelope.NonceSize + (leaf-1)*envelope.LeafSize
}

func (w *walk) feedInterior(p place, data []byte) error {
	node, err := envelope.ParseNode(data)
	if err != nil {
		return err
	}
	step := fanout(p.height - 1)
	end := min(p.leaf+fanout(p.height), w.leaves)
	if n := (end - p.leaf + step - 1) / step; int64(len(node.Children)) != n {
		return fmt.Errorf("a node has %d children, not %d", len(node.Children), n)
	}
	seen := make(map[cid.Cid]struct{}, len(node.Children))
	first := len(w.todo)
	for i, c := range node.Children {
		child := place{kind: Interior, cid: c.CID, leaf: p.leaf + int64(i)*step, height: p.height - 1}
		from, to := w.offset(child.leaf), w.offset(child.leaf+step)
		if err := child.fit(c, to-from); err != nil {
			return err
		}
		if _, twice := seen[c.CID]; twice {
			return errors.New("a node links to a block twice")
		}
		seen[c.CID] = struct{}{}
		if !w.item.wants(uint64(from), uint64(to)) {
			continue
		}
		if err := w.once(child); err != nil {
			return err
		}
		w.todo = append(w.todo, child)
	}
	slices.Reverse(w.todo[first:]) // a stack: the first child on top
	return nil
}

// fit checks what a node says about a child against what the shape demands, and
// completes the place of a leaf.
func (p *place) fit(c envelope.Child, span int64) error {
	codec := uint64(envelope.CodecDagPB)
	if p.height == 0 {
		p.kind, p.exact, codec = Leaf, int(span), envelope.CodecRaw
	}
	switch {
	case c.Leaf != (p.height == 0):
		return errors.New("leaves lie at the wrong depth")
	case c.Size != span:
		return fmt.Errorf("a child declares %d bytes, not %d", c.Size, span)
	}
	return checkCID(c.CID, codec)
}

// once refuses an interior node that was queued before.
func (w *walk) once(p place) error {
	if p.kind != Interior {
		return nil
	}
	if _, twice := w.nodes[p.cid]; twice {
		return errors.New("a node occurs twice in one payload")
	}
	w.nodes[p.cid] = struct{}{}
	return nil
}

// wants reports whether the item asks for a payload byte in [from, to).
func (it *Item) wants(from, to uint64) bool {
	if it.Whole {
		return true
	}
	i := sort.Search(len(it.Ranges), func(i int) bool { return it.Ranges[i].To > from })
	return i < len(it.Ranges) && it.Ranges[i].From < to
}
