package envelope

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ipfs/go-cid"
)

// Node is an interior node of a payload.
type Node struct {
	Children []Child // in the order of the file, 1 to [MaxWidth]
}

// Child is what a node says about one child. Whoever walks on checks the child's
// bytes against CID, and their size against Size.
type Child struct {
	CID  cid.Cid
	Size int64 // file bytes below it; for a leaf its own size, at most [LeafSize]
	Leaf bool  // a raw leaf, otherwise another interior node
}

// ParseNode reads an interior node and refuses everything that a balanced layout
// does not write: other hashes and codecs, inline bytes, names, sizes that do not
// add up, more than [MaxWidth] children, any second encoding. A walker bounds the
// depth itself ([MaxDepth]) and compares each node's sum with what its parent said.
func ParseNode(data []byte) (Node, error) {
	links, err := parseLinks(data)
	if err != nil {
		return Node{}, err
	}
	n := Node{Children: make([]Child, len(links))}
	for i, l := range links {
		leaf := l.cid.Type() == CodecRaw
		if leaf && (l.dag != l.size || l.size > LeafSize) || !leaf && l.dag <= l.size {
			return Node{}, fmt.Errorf("%w: a child's sizes contradict one another", errNode)
		}
		n.Children[i] = Child{CID: l.cid, Size: int64(l.size), Leaf: leaf}
	}
	return n, nil
}

// Size is the number of file bytes below the node.
func (n Node) Size() int64 {
	var sum int64
	for _, c := range n.Children {
		sum += c.Size
	}
	return sum
}

// ParseFileRoot reads the root that [FileRoot] makes, exactly: two links, a raw
// header of at most [MaxHeader] bytes and a payload of a possible size, and no
// other encoding of the same.
func ParseFileRoot(data []byte) (header, payload cid.Cid, headerSize, payloadSize int64, err error) {
	fail := func(why string) (cid.Cid, cid.Cid, int64, int64, error) {
		return cid.Undef, cid.Undef, 0, 0, fmt.Errorf("%w: %s", errNode, why)
	}
	links, err := parseLinks(data)
	if err != nil {
		return cid.Undef, cid.Undef, 0, 0, err
	}
	if len(links) != 2 || links[0].cid.Type() != CodecRaw || links[1].cid.Type() != CodecDagPB {
		return fail("a file's root links a header and a payload")
	}
	headerSize, payloadSize = int64(links[0].size), int64(links[1].size)
	if headerSize > MaxHeader {
		return fail("the header is too large")
	}
	if _, err := PlainSize(payloadSize); err != nil {
		return fail("no payload has the size that the root claims")
	}
	header, payload = links[0].cid, links[1].cid
	if links[0].dag != links[0].size || links[1].dag != dagSize(payloadSize, MaxWidth) {
		return fail("the sizes contradict one another")
	}
	return header, payload, headerSize, payloadSize, nil
}

// parseLinks reads the one form that encodeNode writes. Integers that are longer
// than needed, and sums that are wrong, show when the links are encoded again.
func parseLinks(data []byte) ([]link, error) {
	if len(data) > maxNode {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errNode, len(data), maxNode)
	}
	d := decoder{rest: data}
	var links []link
	for d.skip(0x12) {
		if len(links) == MaxWidth {
			return nil, fmt.Errorf("%w: more than %d children", errNode, MaxWidth)
		}
		l, ok := parseLink(d.bytes(d.uvarint()))
		if !ok {
			return nil, fmt.Errorf("%w: a link is not one of ours", errNode)
		}
		links = append(links, l)
	}
	ok := len(links) > 0 && d.skip(0x0a)
	d.uvarint() // the length of what follows: it shows below, as all integers do
	ok = ok && d.skip(0x08, 2, 0x18)
	d.uvarint() // the file's size
	var sum uint64
	for i := range links {
		ok = ok && d.skip(0x20)
		links[i].size = d.uvarint()
		ok = ok && links[i].size > 0 && links[i].size <= math.MaxInt64-sum
		if !ok {
			break
		}
		sum += links[i].size
	}
	if !ok || d.failed || len(d.rest) > 0 || !bytes.Equal(encodeNode(links), data) {
		return nil, fmt.Errorf("%w: it does not decode to sizes that add up", errNode)
	}
	return links, nil
}

func parseLink(raw []byte) (link, bool) {
	d := decoder{rest: raw}
	if !d.skip(0x0a, cidSize) {
		return link{}, false
	}
	b := d.bytes(cidSize)
	c, err := castCID(b, CodecRaw)
	if err != nil {
		c, err = castCID(b, CodecDagPB)
	}
	if err != nil || !d.skip(0x12, 0, 0x18) {
		return link{}, false
	}
	l := link{cid: c, dag: d.uvarint()}
	return l, !d.failed && len(d.rest) == 0
}

// decoder walks over protocol buffer bytes; after a failure it yields nothing.
type decoder struct {
	rest   []byte
	failed bool
}

// skip consumes want if it comes next.
func (d *decoder) skip(want ...byte) bool {
	if !bytes.HasPrefix(d.rest, want) {
		return false
	}
	d.rest = d.rest[len(want):]
	return true
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.failed, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}
