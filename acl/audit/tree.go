package audit

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// maxLevels is enough for every size that an int64 can count.
const maxLevels = 63

// edge is the right edge of a Merkle tree (RFC 6962, section 2.1): for each bit
// of the size the root of the complete subtree of that many leaves. It is all
// that a writer, or a reader who goes from leaf to leaf, needs in memory.
type edge [maxLevels]tlog.Hash

// add puts a leaf, or from level 1 a complete subtree of 2^level leaves, behind
// the n leaves that are there, and appends to out the hashes that become known:
// those to be stored from tlog.StoredHashIndex(level, n>>level).
func (e *edge) add(n int64, level int, h tlog.Hash, out []tlog.Hash) []tlog.Hash {
	out = append(out, h)
	for ; n>>level&1 == 1; level++ {
		h = tlog.NodeHash(e[level], h)
		out = append(out, h)
	}
	e[level] = h
	return out
}

// root is the root of the tree of n leaves.
func (e *edge) root(n int64) tlog.Hash {
	if n == 0 {
		empty, _ := tlog.TreeHash(0, nil) // reads nothing
		return empty
	}
	low := bits.TrailingZeros64(uint64(n))
	return e.under(n>>(low+1)<<(low+1), e[low])
}

// under is the root of a tree whose first n leaves are these and whose rest is
// the subtree h. n is a multiple of what a complete subtree there would have.
func (e *edge) under(n int64, h tlog.Hash) tlog.Hash {
	for rest := uint64(n); rest != 0; rest &= rest - 1 {
		h = tlog.NodeHash(e[bits.TrailingZeros64(rest)], h)
	}
	return h
}

// list gives the hashes of an edge of n leaves, the largest subtree first.
func (e *edge) list(n int64) []tlog.Hash {
	var out []tlog.Hash
	for level := maxLevels - 1; level >= 0; level-- {
		if n>>level&1 == 1 {
			out = append(out, e[level])
		}
	}
	return out
}

// edgeOf is the inverse of list.
func edgeOf(n int64, hashes []tlog.Hash) (e edge, err error) {
	if n < 0 || bits.OnesCount64(uint64(n)) != len(hashes) {
		return e, fmt.Errorf("%d hashes are not the edge of a tree of %d leaves", len(hashes), n)
	}
	for level := maxLevels - 1; level >= 0; level-- {
		if n>>level&1 == 1 {
			e[level], hashes = hashes[0], hashes[1:]
		}
	}
	return e, nil
}

// hashFile reads the file of stored hashes, which are derived from the leaves:
// whatever is made of them is checked against a root before it is given out.
type hashFile struct{ file file }

// ReadHashes implements [tlog.HashReader].
func (f hashFile) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if _, err := f.file.ReadAt(out[i][:], x*tlog.HashSize); err != nil {
			return nil, errors.Join(errors.New("a derived hash cannot be read; open the log again to make it anew"), err)
		}
	}
	return out, nil
}
