package lattice

import (
	"fmt"
	"math/bits"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// A TooWideError says that the distinct values of the quasi-identifiers do not fit
// into the key that the search works on.
type TooWideError struct{ Bits int }

func (e *TooWideError) Error() string {
	return fmt.Sprintf("the values of the quasi-identifiers need %d bits, and the lattice works on 64: name fewer quasi-identifiers, round the ones with most values, or use Mondrian", e.Bits)
}

// Node is a level for each quasi-identifier.
type Node []uint8

// space is a table prepared for the search. A combination is one word: a field of
// bits for each quasi-identifier, with a number for each leaf that the table uses.
// A class of a node is the word of the first leaves of its groups, so classes can be
// grouped again at any node above. It does not change.
type space struct {
	table *table.Table
	req   *guarantee.Requirement
	width int
	tops  Node
	shift []uint
	mask  []uint64 // of each field, in place
	// up is the field of the first used leaf of the group, by column, level and leaf.
	up [][][]uint64
	// loss is the penalty of a cell, by column, level and leaf.
	loss [][][]float64
	// more is what a cell loses more at a level than at a lower one, by column, the lower
	// level, the difference of levels, and leaf.
	more [][][][]float64
	leaf [][]uint32 // of the hierarchy, by column and number
}

// classes are the classes of a node, or some of them, with what the guarantees look
// at. They are not changed once they are made.
type classes struct {
	at     Node
	keys   []uint64
	rows   []uint32
	people []uint32 // nil if the rows are the population
	// cost is what a row of the class loses, summed over its cells.
	cost []float64
	// beside is a histogram for each sensitive column that a guarantee looks at.
	beside []table.Histograms
}

func newSpace(t *table.Table, req *guarantee.Requirement) (*space, error) {
	s := &space{table: t, req: req, width: len(t.Quasi())}
	var at uint
	for q, c := range t.Quasi() {
		used := usedLeaves(t.Leaves(q), c.Hierarchy.Len())
		field := uint(bits.Len(uint(len(used) - 1)))
		s.leaf = append(s.leaf, used)
		s.shift, s.mask = append(s.shift, at), append(s.mask, (1<<field-1)<<at)
		s.tops = append(s.tops, uint8(c.Hierarchy.Levels()-1))
		up, loss := make([][]uint64, c.Hierarchy.Levels()), make([][]float64, c.Hierarchy.Levels())
		for lv := range up {
			up[lv], loss[lv] = levelOf(c.Hierarchy, lv, used, at)
		}
		s.up, s.loss, s.more = append(s.up, up), append(s.loss, loss), append(s.more, differences(loss))
		at += field
	}
	if at > 64 {
		return nil, &TooWideError{Bits: int(at)}
	}
	return s, nil
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
	c := &classes{at: make(Node, s.width), keys: make([]uint64, n), rows: s.table.Count(), cost: make([]float64, n)}
	for q := range s.width {
		number := make([]uint64, s.table.Quasi()[q].Hierarchy.Len())
		for i, l := range s.leaf[q] {
			number[l] = uint64(i) << s.shift[q]
		}
		for i, l := range s.table.Leaves(q) {
			c.keys[i] |= number[l]
		}
	}
	for i, k := range c.keys {
		for q := range s.width {
			c.cost[i] += s.cell(q, 0, k)
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

// cell is what a cell of column q loses at a level.
func (s *space) cell(q int, lv uint8, key uint64) float64 {
	return s.loss[q][lv][(key&s.mask[q])>>s.shift[q]]
}

// means is what all of c would lose in each column at each level.
func (s *space) means(c *classes) [][]float64 {
	sum := make([][]float64, s.width)
	for q := range sum {
		sum[q] = make([]float64, s.tops[q]+1)
		for lv := range sum[q] {
			for i, k := range c.keys {
				sum[q][lv] += s.cell(q, uint8(lv), k) * float64(c.rows[i])
			}
		}
	}
	return sum
}

// labels is what a class of a node publishes.
func (s *space) labels(at Node, key uint64) []partition.Label {
	row := make([]partition.Label, s.width)
	for q, c := range s.table.Quasi() {
		lv := int(at[q])
		g := c.Hierarchy.Group(lv, s.leaf[q][(key&s.mask[q])>>s.shift[q]])
		row[q] = partition.Label{Text: c.Hierarchy.Label(lv, g), Leaves: c.Hierarchy.Size(lv, g)}
	}
	return row
}
