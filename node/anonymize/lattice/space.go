package lattice

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Node is a level for each quasi-identifier.
type Node []uint8

// space is a table prepared for the search. A combination is a key of one or more
// words: a field of bits for each quasi-identifier, within one word, with a number for
// each leaf that the table uses. A class of a node has the key of the first leaves of
// its groups, so classes can be grouped again at any node above. It does not change.
type space struct {
	table  *table.Table
	req    *guarantee.Requirement
	tops   Node
	words  int // of a key
	fields []field
	// spread is the odd factor that spreads keys over a table. It is drawn at random, so
	// that nobody can write a table whose keys all meet in one place.
	spread uint64
}

// field is a column's place in the key, and what the levels make of its numbers.
type field struct {
	word   int
	shift  uint
	mask   uint64   // in place
	number []uint64 // of each leaf of the hierarchy, in place
	used   int      // numbers
	// up is the field of the first used leaf of the group, by level and number.
	up [][]uint64
	// above is by level the next level that groups the used leaves otherwise, or 0: the
	// levels between publish the same classes for no less.
	above []uint8
	// loss is the penalty of a cell, by level and number.
	loss [][]float64
	// more is what a cell loses more at a level than at a lower one, by the lower level,
	// the difference of levels, and number.
	more [][][]float64
}

// of is the number in a word.
func (f *field) of(word uint64) uint64 { return (word & f.mask) >> f.shift }

// classes are the classes of a node, or some of them, with what the guarantees look
// at. They are not changed once they are made.
type classes struct {
	at     Node
	keys   [][]uint64 // by word, then by class
	rows   []uint32
	people []uint32 // nil if the rows are the population
	// cost is what a row of the class loses, summed over its cells.
	cost []float64
	// beside is a histogram for each sensitive column that a guarantee looks at.
	beside []table.Histograms
}

func (c *classes) len() int { return len(c.rows) }

func newSpace(t *table.Table, req *guarantee.Requirement) *space {
	s := &space{table: t, req: req, words: 1, spread: rand.Uint64() | 1}
	shift := uint(0)
	for q, c := range t.Quasi() {
		h := c.Hierarchy
		used := usedLeaves(t.Leaves(q), h.Len())
		width := uint(bits.Len(uint(len(used) - 1)))
		if shift+width > 64 {
			s.words, shift = s.words+1, 0
		}
		f := field{word: s.words - 1, shift: shift, mask: (1<<width - 1) << shift, number: make([]uint64, h.Len()), used: len(used)}
		for i, leaf := range used {
			f.number[leaf] = uint64(i) << shift
		}
		for lv := range h.Levels() {
			up, loss := levelOf(h, lv, used, shift)
			f.up, f.loss = append(f.up, up), append(f.loss, loss)
		}
		f.above, f.more = coarser(f.up), differences(f.loss)
		s.fields, s.tops = append(s.fields, f), append(s.tops, uint8(h.Levels()-1))
		shift += width
	}
	return s
}

// usedLeaves lists each leaf once, ascending.
func usedLeaves(leaves []uint32, n int) (used []uint32) {
	seen := make([]bool, n)
	for _, l := range leaves {
		seen[l] = true
	}
	for l, s := range seen {
		if s {
			used = append(used, uint32(l))
		}
	}
	return used
}

func levelOf(h *hierarchy.Hierarchy, lv int, used []uint32, shift uint) (up []uint64, loss []float64) {
	up, loss = make([]uint64, len(used)), make([]float64, len(used))
	first := map[uint32]int{}
	for i, leaf := range used {
		g := h.Group(lv, leaf)
		f, ok := first[g]
		if !ok {
			first[g], f = i, i
		}
		up[i], loss[i] = uint64(f)<<shift, h.Penalty(h.Size(lv, g))
	}
	return up, loss
}

// coarser finds for each level the next one that is not the same.
func coarser(up [][]uint64) []uint8 {
	above := make([]uint8, len(up))
	for lv := len(up) - 2; lv >= 0; lv-- {
		above[lv] = above[lv+1]
		if !slices.Equal(up[lv], up[lv+1]) {
			above[lv] = uint8(lv + 1)
		}
	}
	return above
}

// differences of what is lost at each level and the levels above it.
func differences(loss [][]float64) [][][]float64 {
	more := make([][][]float64, len(loss))
	for low := range loss {
		for _, high := range loss[low:] {
			d := make([]float64, len(high))
			for i := range d {
				d[i] = high[i] - loss[low][i]
			}
			more[low] = append(more[low], d)
		}
	}
	return more
}

// base is the classes of the lowest node: the combinations as they are.
func (s *space) base() *classes {
	n := s.table.Len()
	c := &classes{at: make(Node, len(s.fields)), keys: make([][]uint64, s.words), rows: s.table.Count(), cost: make([]float64, n)}
	for w := range c.keys {
		c.keys[w] = make([]uint64, n)
	}
	for q := range s.fields {
		f := &s.fields[q]
		for i, leaf := range s.table.Leaves(q) {
			c.keys[f.word][i] |= f.number[leaf]
			c.cost[i] += f.loss[0][f.number[leaf]>>f.shift]
		}
	}
	if s.table.People() != s.table.Rows() {
		c.people = s.table.Population()
	}
	if columns := s.req.Sensitive(); len(columns) > 0 {
		c.beside = make([]table.Histograms, len(s.table.Sensitive()))
		for _, i := range columns {
			c.beside[i] = *s.table.Beside(i)
		}
	}
	return c
}

// means is what all rows of c would lose in each column at each level.
func (s *space) means(c *classes) [][]float64 {
	sum := make([][]float64, len(s.fields))
	for q := range sum {
		f := &s.fields[q]
		rows := make([]float64, f.used) // of each number
		for i, word := range c.keys[f.word] {
			rows[f.of(word)] += float64(c.rows[i])
		}
		sum[q] = make([]float64, len(f.loss))
		for lv, loss := range f.loss {
			for number, n := range rows {
				sum[q][lv] += loss[number] * n
			}
		}
	}
	return sum
}

// labels is what a node publishes for a combination.
func (s *space) labels(at Node, combination int) []partition.Label {
	row := make([]partition.Label, len(s.fields))
	for q, c := range s.table.Quasi() {
		lv := int(at[q])
		g := c.Hierarchy.Group(lv, s.table.Leaves(q)[combination])
		row[q] = partition.Label{Text: c.Hierarchy.Label(lv, g), Leaves: c.Hierarchy.Size(lv, g)}
	}
	return row
}
