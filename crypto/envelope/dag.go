package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/ipfs/go-cid"
)

const (
	// MaxWidth is the most children that an interior node has.
	MaxWidth = 1024
	// MaxDepth is the most levels of interior nodes in a payload, its root
	// counted. 1024^4 leaves are already an exbibyte.
	MaxDepth = 5

	// maxNode bounds the bytes of an interior node before they are parsed:
	// 1024 links with the longest integers, and a little.
	maxNode = 128 << 10
)

// Block is one content-addressed block.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// link is a child as its parent records it.
type link struct {
	cid  cid.Cid
	size uint64 // file bytes below it (UnixFS blocksizes)
	dag  uint64 // bytes of all blocks below it, itself included (dag-pb Tsize)
}

// encodeNode writes an interior node: a dag-pb node whose data is a UnixFS file
// without bytes of its own. Order of fields and empty names are those of boxo
// (dag-pb specification: links before data).
func encodeNode(links []link) []byte {
	var file uint64
	sizes := 0
	for _, l := range links {
		file += l.size
		sizes += 1 + uvarintLen(l.size)
	}
	unixfs := 2 + 1 + uvarintLen(file) + sizes
	b := make([]byte, 0, len(links)*linkLen(1<<40)+unixfs+8)
	for _, l := range links {
		b = append(b, 0x12) // PBNode.Links
		b = binary.AppendUvarint(b, uint64(linkBodyLen(l.dag)))
		b = append(b, 0x0a, cidSize) // PBLink.Hash
		b = append(b, l.cid.KeyString()...)
		b = append(b, 0x12, 0, 0x18) // PBLink.Name, empty; PBLink.Tsize
		b = binary.AppendUvarint(b, l.dag)
	}
	b = append(b, 0x0a) // PBNode.Data
	b = binary.AppendUvarint(b, uint64(unixfs))
	b = append(b, 0x08, 2, 0x18) // UnixFS Type: file; filesize
	b = binary.AppendUvarint(b, file)
	for _, l := range links {
		b = append(b, 0x20) // UnixFS blocksizes
		b = binary.AppendUvarint(b, l.size)
	}
	return b
}

func linkBodyLen(dag uint64) int { return 2 + cidSize + 2 + 1 + uvarintLen(dag) }

func linkLen(dag uint64) int {
	n := linkBodyLen(dag)
	return 1 + uvarintLen(uint64(n)) + n
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// tree builds a balanced DAG bottom up from leaves that come in order. A node is
// closed when a further child arrives for it, so a DAG grows a level only when
// it must, as in boxo's balanced layout.
type tree struct {
	width  int
	levels [][]link
	emit   func(Block)
}

func (t *tree) add(level int, l link) {
	if level == len(t.levels) {
		t.levels = append(t.levels, nil)
	}
	if len(t.levels[level]) == t.width {
		t.add(level+1, t.close(level))
	}
	t.levels[level] = append(t.levels[level], l)
}

// close emits the open node of a level and leaves an empty one.
func (t *tree) close(level int) link {
	links := t.levels[level]
	data := encodeNode(links)
	up := link{cid: CIDOf(data, CodecDagPB), dag: uint64(len(data))}
	for _, l := range links {
		up.size += l.size
		up.dag += l.dag
	}
	t.levels[level] = links[:0]
	t.emit(Block{up.cid, data})
	return up
}

// finish closes all levels; the last node is the root.
func (t *tree) finish() link {
	for level := 0; ; level++ {
		up := t.close(level)
		if level == len(t.levels)-1 {
			return up
		}
		t.add(level+1, up)
	}
}

// run is count equal neighbours on one level of a DAG.
type run struct {
	count     int64
	size, dag uint64
}

// dagSize is the size of all blocks of a payload of size bytes, computed from
// the shape alone: on each level all nodes but the first and the last are equal.
func dagSize(size int64, width int64) uint64 {
	rest := size - NonceSize
	level := []run{{1, NonceSize, NonceSize}, {rest / LeafSize, LeafSize, LeafSize}}
	if last := uint64(rest % LeafSize); last > 0 {
		level = append(level, run{1, last, last})
	}
	for {
		var up []run
		for len(level) > 0 {
			if full := level[0].count / width; full > 0 {
				up = append(up, parent(full, []run{{width, level[0].size, level[0].dag}}))
				level[0].count -= full * width
			}
			var group []run
			group, level = take(level, width)
			if len(group) > 0 {
				up = append(up, parent(1, group))
			}
		}
		if len(up) == 1 && up[0].count == 1 {
			return up[0].dag
		}
		level = up
	}
}

// take cuts the next width nodes, or what is left, off a level.
func take(level []run, width int64) (group, rest []run) {
	for len(level) > 0 && width > 0 {
		n := min(level[0].count, width)
		if n > 0 {
			group = append(group, run{n, level[0].size, level[0].dag})
		}
		width -= n
		if level[0].count -= n; level[0].count > 0 {
			break
		}
		level = level[1:]
	}
	return group, level
}

func parent(count int64, children []run) run {
	p := run{count: count}
	node, sizes := 0, 0
	for _, c := range children {
		n := uint64(c.count)
		p.size += n * c.size
		p.dag += n * c.dag
		node += int(n) * linkLen(c.dag)
		sizes += int(n) * (1 + uvarintLen(c.size))
	}
	unixfs := 2 + 1 + uvarintLen(p.size) + sizes
	node += 1 + uvarintLen(uint64(unixfs)) + unixfs
	p.dag += uint64(node)
	return p
}

// FileRoot makes the leaf of a header and the root that joins it to a payload:
// the bytes below the root are a valid age file. Of p only Root and Size are
// used. The same header and payload always give the same root.
func FileRoot(header []byte, p Payload) (headerLeaf, root Block, err error) {
	if len(header) == 0 || len(header) > MaxHeader {
		return Block{}, Block{}, fmt.Errorf("%w: %d bytes, at most %d", ErrHeader, len(header), MaxHeader)
	}
	if _, err := PlainSize(p.Size); err != nil {
		return Block{}, Block{}, err
	}
	if _, err := castCID(p.Root.Bytes(), CodecDagPB); err != nil {
		return Block{}, Block{}, fmt.Errorf("the payload's root is %w", err)
	}
	leaf := Block{CIDOf(header, CodecRaw), header}
	data := encodeNode(fileLinks(leaf.CID, p.Root, int64(len(header)), p.Size))
	return leaf, Block{CIDOf(data, CodecDagPB), data}, nil
}

func fileLinks(header, payload cid.Cid, headerSize, payloadSize int64) []link {
	return []link{
		{header, uint64(headerSize), uint64(headerSize)},
		{payload, uint64(payloadSize), dagSize(payloadSize, MaxWidth)},
	}
}

// errNode reports a block that is not an interior node as this package writes them.
var errNode = errors.New("malformed node")
