package detect

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
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
	s.w *= math.Exp(math.Log(1-rand.Float64()) / float64(s.size))
	jump := math.Floor(math.Log(1-rand.Float64()) / math.Log1p(-s.w))
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

// classes numbers the rows of a sample so that rows that are equal in some columns have
// one number.
type partition struct {
	class  []uint32
	number int
}

// refined tells rows apart by one more column.
func (s *sample) refined(p partition, c int) partition {
	type key struct {
		class uint32
		hash  uint64
	}
	out := partition{class: make([]uint32, s.len())}
	seen := make(map[key]uint32, p.number)
	for i := range out.class {
		k := key{p.class[i], s.row(i)[c]}
		n, ok := seen[k]
		if !ok {
			n = uint32(len(seen))
			seen[k] = n
		}
		out.class[i] = n
	}
	out.number = len(seen)
	return out
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
// more. It gives the sets on the way.
func (s *sample) greedy(names []string, candidates []int) (sets []Ranking) {
	now := partition{class: make([]uint32, s.len()), number: 1}
	var members []string
	var separation float64
	left := append([]int(nil), candidates...)
	for len(members) < mostMembers && len(left) > 0 && separation < 1 {
		best, at := Ranking{}, -1
		var then partition
		for i, c := range left {
			p := s.refined(now, c)
			if r := p.ranking(); at < 0 || r.Separation > best.Separation {
				best, at, then = r, i, p
			}
		}
		if best.Separation <= separation {
			break
		}
		members = append(members, names[left[at]])
		best.Columns = append([]string(nil), members...)
		sets = append(sets, best)
		now, separation = then, best.Separation
		left = append(left[:at], left[at+1:]...)
	}
	return sets
}
