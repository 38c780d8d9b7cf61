package table

import (
	"cmp"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
)

// Column is a column and the hierarchy of its values.
type Column struct {
	Name      string
	Hierarchy *hierarchy.Hierarchy
}

// Table is a finished table. It does not change, and what its methods return is not
// to be changed; several goroutines may use it.
type Table struct {
	quasi, sensitive []Column
	rows, people     int
	leaves           [][]uint32 // of each quasi-identifier, of each combination
	count            []uint32
	population       []uint32
	beside           []Histograms
	combinations     combinations
	dictionaries     []dictionary
}

// Quasi is the quasi-identifiers.
func (t *Table) Quasi() []Column { return t.quasi }

// Sensitive is the sensitive columns.
func (t *Table) Sensitive() []Column { return t.sensitive }

// Rows is the number of rows.
func (t *Table) Rows() int { return t.rows }

// People is the size of the population.
func (t *Table) People() int { return t.people }

// Len is the number of distinct combinations, those of the population included.
func (t *Table) Len() int { return len(t.count) }

// Leaves is the leaf of each combination in the hierarchy of quasi-identifier q.
func (t *Table) Leaves(q int) []uint32 { return t.leaves[q] }

// Count is the number of rows of each combination; 0 for one that only the
// population has.
func (t *Table) Count() []uint32 { return t.count }

// Population is the number of people of each combination.
func (t *Table) Population() []uint32 { return t.population }

// Beside is how often each value of sensitive column s stands beside each combination.
func (t *Table) Beside(s int) *Histograms { return &t.beside[s] }

// Find is the combination of a row.
func (t *Table) Find(quasi [][]byte) (int, bool) {
	if len(quasi) != len(t.quasi) {
		return 0, false
	}
	var room [16]uint32
	row := room[:0]
	for q, v := range quasi {
		code, ok := t.dictionaries[q].code[string(v)]
		if !ok {
			return 0, false
		}
		row = append(row, code)
	}
	i := t.combinations.index[t.combinations.slot(row)]
	return int(i) - 1, i != 0
}

// Histograms is a sparse histogram for each of many classes: entries Start[i] up to
// Start[i+1] are those of class i, each a leaf and how often it is there.
type Histograms struct {
	Start []uint32
	Leaf  []uint32
	Count []uint32
}

// Of is the histogram of one class.
func (h *Histograms) Of(class int) (leaf, count []uint32) {
	a, b := h.Start[class], h.Start[class+1]
	return h.Leaf[a:b], h.Count[a:b]
}

// Subset is the histograms of some classes.
func (h *Histograms) Subset(classes []uint32) Histograms {
	out := Histograms{Start: make([]uint32, len(classes)+1)}
	for i, c := range classes {
		leaf, count := h.Of(int(c))
		out.Leaf, out.Count = append(out.Leaf, leaf...), append(out.Count, count...)
		out.Start[i+1] = uint32(len(out.Leaf))
	}
	return out
}

// histograms orders what a builder counted by combination, then by leaf.
func histograms(n int, counted map[uint64]uint32, leaf []uint32) Histograms {
	type entry struct {
		key   uint64 // combination<<32 | leaf
		count uint32
	}
	entries := make([]entry, 0, len(counted))
	for k, c := range counted {
		entries = append(entries, entry{k>>32<<32 | uint64(leaf[uint32(k)]), c})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	h := Histograms{Start: make([]uint32, n+1), Leaf: make([]uint32, len(entries)), Count: make([]uint32, len(entries))}
	for i, e := range entries {
		h.Leaf[i], h.Count[i] = uint32(e.key), e.count
		h.Start[e.key>>32+1]++
	}
	for i := range n {
		h.Start[i+1] += h.Start[i]
	}
	return h
}
