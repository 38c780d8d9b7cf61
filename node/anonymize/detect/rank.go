package detect

import (
	"hash/maphash"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// DefaultSample is how many rows are kept to rank columns.
const DefaultSample = 1 << 15

// Ranking is how a set of columns tells the rows of a table apart.
//
// Of a table with more rows than the sample, separation is within
// [Report.SeparationError] of the table's with a probability of 95 %, and distinction is
// that of the sample: with more rows it can only fall, on average.
type Ranking struct {
	Columns []string
	// Distinction is the number of distinct combinations over the number of rows: 1 for a key.
	Distinction float64
	// Separation is the share of pairs of rows that differ: 1 for a key.
	Separation float64
	// Unique is the share of rows that no other row equals.
	Unique float64
}

// sample is rows drawn uniformly, of each cell a hash with a key of this process. The
// rows to come are chosen by Li, Reservoir-Sampling Algorithms of Time Complexity
// O(n(1 + log(N/n))), 1994, algorithm L.
type sample struct {
	width, size int
	seed        maphash.Seed
	blocks      [][]uint64 // blockRows rows each, width hashes a row
	rows, next  int
	w           float64
}

const blockRows = 256

// mostHashes is how many cells a sample has at most: of a table with more than 256
// columns fewer rows are kept.
const mostHashes = 1 << 23

func (s *sample) begin(width, size int) {
	s.width, s.size, s.seed, s.w = width, min(size, mostHashes/width), maphash.MakeSeed(), 1
}

// row is the hashes of one row of the sample.
func (s *sample) row(i int) []uint64 { return s.blocks[i/blockRows][i%blockRows*s.width:][:s.width] }

func (s *sample) put(i int, row [][]byte) {
	if i/blockRows == len(s.blocks) {
		s.blocks = append(s.blocks, make([]uint64, blockRows*s.width))
	}
	hashes := s.row(i)
	for c, cell := range row {
		hashes[c] = maphash.Bytes(s.seed, cell)
	}
}

func (s *sample) add(row [][]byte) {
	i := s.rows
	s.rows++
	switch {
	case i < s.size:
		s.put(i, row)
		if i == s.size-1 {
			s.skip()
		}
	case i == s.next:
		s.put(rand.IntN(s.size), row)
		s.skip()
	}
}

// skip chooses the next row that comes into the sample.
func (s *sample) skip() {
	s.w *= math.Exp(-rand.ExpFloat64() / float64(s.size))
	jump := math.Floor(-rand.ExpFloat64() / math.Log1p(-s.w))
	s.next = math.MaxInt
	if jump < 1e15 {
		s.next = s.rows + int(jump)
	}
}

func (s *sample) len() int { return min(s.rows, s.size) }

// separationError is t with 2 exp(-2 floor(n/2) t^2) = 0.05 (Hoeffding, Probability
// Inequalities for Sums of Bounded Random Variables, 1963, section 5a: a mean over pairs
// of n rows; section 6: drawn without replacement).
func (s *sample) separationError() float64 {
	if s.rows <= s.size {
		return 0
	}
	return math.Sqrt(math.Log(2/0.05) / float64(2*(s.size/2)))
}

// partition numbers rows so that rows that are equal in some columns have one number.
type partition struct {
	class  []uint32
	number int
}

// numbering gives equal keys one number each. Its table is used again: a slot counts
// only if it has the stamp of this use.
type numbering struct {
	key          []uint64
	value, stamp []uint32
	now          uint32
	shift        int
}

func newNumbering(rows int) *numbering {
	size := bits.Len(uint(2*rows) | 1023)
	n := 1 << size
	return &numbering{key: make([]uint64, n), value: make([]uint32, n), stamp: make([]uint32, n), shift: 64 - size}
}

func (t *numbering) partition(rows int, key func(i int) uint64) partition {
	p := partition{class: make([]uint32, rows)}
	t.now++
	for i := range rows {
		k := key(i)
		// Fibonacci hashing (Knuth, volume 3, section 6.4): hashes of cells have a secret
		// seed, and pairs of numbers are not for others to choose.
		at := int(k * 0x9e3779b97f4a7c15 >> t.shift)
		for t.stamp[at] == t.now && t.key[at] != k {
			at = (at + 1) & (len(t.key) - 1)
		}
		if t.stamp[at] != t.now {
			t.stamp[at], t.key[at], t.value[at] = t.now, k, uint32(p.number)
			p.number++
		}
		p.class[i] = t.value[at]
	}
	return p
}

// column tells rows apart by one column.
func (s *sample) column(t *numbering, c int) partition {
	return t.partition(s.len(), func(i int) uint64 { return s.row(i)[c] })
}

// refined tells rows apart by what two partitions do.
func (t *numbering) refined(a, b partition) partition {
	return t.partition(len(a.class), func(i int) uint64 { return uint64(a.class[i])<<32 | uint64(b.class[i]) })
}

func (p partition) ranking(columns ...string) Ranking {
	r := Ranking{Columns: columns}
	n := float64(len(p.class))
	if n == 0 {
		return r
	}
	size := make([]int, p.number)
	for _, c := range p.class {
		size[c]++
	}
	same := 0.0
	for _, k := range size {
		same += float64(k) * float64(k-1)
		if k == 1 {
			r.Unique += 1 / n
		}
	}
	r.Distinction = float64(p.number) / n
	if n > 1 {
		r.Separation = 1 - same/(n*(n-1))
	}
	return r
}

// Bounds of the greedy search, which looks at each candidate once for each member.
const (
	mostMembers    = 8
	mostCandidates = 64
)

// greedy adds, one by one, the column that tells most pairs apart that are not yet
// (Motwani and Xu, section 4: the greedy cover), until next to all are, or no column tells
// more. It gives the sets on the way, and changes both slices.
func (t *numbering) greedy(names []string, columns []partition) (sets []Ranking) {
	var now partition
	var members []string
	separation := 0.0
	for len(members) < mostMembers && len(columns) > 0 && separation < 1 {
		best, at := Ranking{}, -1
		var then partition
		for i, c := range columns {
			p := c
			if len(members) > 0 {
				p = t.refined(now, c)
			}
			if r := p.ranking(); at < 0 || r.Separation > best.Separation {
				best, at, then = r, i, p
			}
		}
		if best.Separation <= separation {
			break
		}
		members = append(members, names[at])
		best.Columns = slices.Clone(members)
		sets = append(sets, best)
		now, separation = then, best.Separation
		names, columns = slices.Delete(names, at, at+1), slices.Delete(columns, at, at+1)
	}
	return sets
}
