package witness

import "golang.org/x/mod/sumdb/tlog"

// rootsOf computes, from a proof that a tree of old leaves is how one of size leaves
// begins, the roots that it proves this for (RFC 9162, section 2.1.4.2). Where old is
// a power of two the proof leaves the old root out and ok is false, as it is for
// a proof of another shape.
func rootsOf(p tlog.TreeProof, old, size int64) (before, after tlog.Hash, ok bool) {
	if old <= 0 || old >= size || old&(old-1) == 0 || len(p) == 0 {
		return before, after, false
	}
	n, last := old-1, size-1 // indexes of the last leaves, from the level that the proof begins at
	for n&1 == 1 {
		n, last = n>>1, last>>1
	}
	before, after = p[0], p[0]
	for _, h := range p[1:] {
		if last == 0 {
			return before, after, false
		}
		if n&1 == 1 || n == last {
			before, after = tlog.NodeHash(h, before), tlog.NodeHash(h, after)
			for n&1 == 0 && n != 0 {
				n, last = n>>1, last>>1
			}
		} else {
			after = tlog.NodeHash(after, h)
		}
		n, last = n>>1, last>>1
	}
	return before, after, last == 0
}
