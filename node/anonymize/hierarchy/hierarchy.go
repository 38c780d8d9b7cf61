// Package hierarchy describes how the values of a column may be coarsened.
//
// A hierarchy is a tree whose leaves are the values of a column. Level 0 holds
// the values themselves, each higher level groups those below it, and the last
// level is one group of everything, usually written "*":
//
//	level 0   level 1          level 2
//	Private   Non-Government   *
//	State     Government       *
//	Local     Government       *
//
// That table is also the form of a file, one line for each value, with ";", ","
// or tabs between the levels: the form in which ARX keeps hierarchies. [Read]
// reads it; [Intervals], [Dates], [Prefixes], [Flat] and [Automatic] make
// hierarchies from the values of a column.
//
// Leaves have an order, by which ranges are published and ordered distances are
// taken: numbers ascend, and everything else stands as in the file, with the
// members of each group moved together. The empty string is a missing value.
package hierarchy

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

// Bounds of a hierarchy, which keep what a file can make of memory within reason.
const (
	MaxLeaves = 1 << 21
	MaxLevels = 64
	MaxCells  = 1 << 23 // leaves times levels
)

// Any is the label of the group of everything where a hierarchy does not name it.
const Any = "*"

// ErrEmpty means that there are no values to make a hierarchy of.
var ErrEmpty = errors.New("the hierarchy has no values")

// TreeError says which value keeps the levels from being a tree.
type TreeError struct {
	Value string // the value or group in question
	Level int    // its level, 0 for a value of the column
	// Parents are the two groups one level up that both claim it. Both are empty
	// when a value of the column stands in the hierarchy twice.
	Parents [2]string
}

func (e *TreeError) Error() string {
	if e.Parents[0] == e.Parents[1] {
		return fmt.Sprintf("the value %s stands in the hierarchy twice", quote.Value(e.Value))
	}
	return fmt.Sprintf("the hierarchy is not a tree: %s at level %d belongs to both %s and %s", quote.Value(e.Value), e.Level, quote.Value(e.Parents[0]), quote.Value(e.Parents[1]))
}

// Hierarchy is an immutable tree over the values of a column. Leaves and groups
// are numbered from 0 in the order of the leaves.
type Hierarchy struct {
	levels  []level
	leaf    map[string]uint32
	numeric bool
}

// level is one way to group the leaves.
type level struct {
	group  []uint32 // of each leaf
	first  []uint32 // leaf of each group
	size   []uint32 // leaves of each group
	labels []string // of each group
}

// New makes a hierarchy of rows: a value and its groups from level 1 to the top.
// All rows have the same length. Where the top is more than one group or is the
// values themselves, a level [Any] is put over it. The error is a [*TreeError] if the rows are not a tree.
func New(rows [][]string) (*Hierarchy, error) {
	if len(rows) == 0 {
		return nil, ErrEmpty
	}
	depth := len(rows[0])
	if depth == 0 || depth > MaxLevels || len(rows) > MaxLeaves || len(rows)*depth > MaxCells {
		return nil, fmt.Errorf("a hierarchy has 1 to %d levels, at most %d values and at most %d of both multiplied; this one has %d levels and %d values", MaxLevels, MaxLeaves, MaxCells, depth, len(rows))
	}
	for i, r := range rows {
		if len(r) != depth {
			return nil, fmt.Errorf("row %d of the hierarchy (%s) has %d levels and the first has %d", i+1, quote.Value(first(r)), len(r), depth)
		}
	}
	return build(rows)
}

// build makes a hierarchy of rows that are all as long.
func build(rows [][]string) (*Hierarchy, error) {
	if err := checkTree(rows); err != nil {
		return nil, err
	}
	depth := len(rows[0])
	h := &Hierarchy{leaf: make(map[string]uint32, len(rows))}
	rows, h.numeric = ordered(rows)
	for i, r := range rows {
		h.leaf[r[0]] = uint32(i)
	}
	for l := range depth {
		h.levels = append(h.levels, newLevel(rows, l))
	}
	if depth == 1 || len(h.levels[depth-1].labels) > 1 {
		root := level{group: make([]uint32, len(rows)), first: []uint32{0}, size: []uint32{uint32(len(rows))}, labels: []string{Any}}
		h.levels = append(h.levels, root)
	}
	return h, nil
}

func first(row []string) string {
	if len(row) == 0 {
		return ""
	}
	return row[0]
}

func newLevel(rows [][]string, l int) level {
	v := level{group: make([]uint32, len(rows))}
	known := map[string]uint32{}
	for i, r := range rows {
		g, ok := known[r[l]]
		if !ok {
			g = uint32(len(v.labels))
			known[r[l]] = g
			v.first, v.size, v.labels = append(v.first, uint32(i)), append(v.size, 0), append(v.labels, r[l])
		}
		v.group[i] = g
		v.size[g]++
	}
	return v
}

func checkTree(rows [][]string) error {
	seen := make(map[string]bool, len(rows))
	for _, r := range rows {
		if seen[r[0]] {
			if len(r) == 1 {
				return &TreeError{Value: r[0]}
			}
			continue // two parents, or the same twice: found below
		}
		seen[r[0]] = true
	}
	for l := 0; l+1 < len(rows[0]); l++ {
		parent := map[string]string{}
		for _, r := range rows {
			p, ok := parent[r[l]]
			if ok && (p != r[l+1] || l == 0) {
				return &TreeError{Value: r[l], Level: l, Parents: [2]string{p, r[l+1]}}
			}
			parent[r[l]] = r[l+1]
		}
	}
	return nil
}

// ordered sorts rows by number where all values are numbers, and otherwise by the
// first appearance of their groups from the top down. Missing values go last.
func ordered(rows [][]string) ([][]string, bool) {
	numbers, numeric := numbersOf(rows)
	place := make([]int, len(rows))
	for i := range place {
		place[i] = i
	}
	if numeric {
		slices.SortStableFunc(place, func(a, b int) int { return cmp.Compare(numbers[a], numbers[b]) })
	} else {
		rank := ranks(rows)
		slices.SortStableFunc(place, func(a, b int) int { return slices.Compare(rank[a], rank[b]) })
	}
	sorted := make([][]string, len(rows))
	for i, p := range place {
		sorted[i] = rows[p]
	}
	return sorted, numeric
}

// ranks gives each row the places of its groups, from the top down.
func ranks(rows [][]string) [][]int {
	depth := len(rows[0])
	rank := make([][]int, len(rows))
	for i := range rank {
		rank[i] = make([]int, 0, depth)
	}
	for l := depth - 1; l >= 0; l-- {
		place := map[string]int{}
		for i, r := range rows {
			p, ok := place[r[l]]
			if !ok {
				p = len(place)
				place[r[l]] = p
			}
			rank[i] = append(rank[i], p)
		}
	}
	return rank
}

func numbersOf(rows [][]string) ([]float64, bool) {
	numbers, some := make([]float64, len(rows)), false
	for i, r := range rows {
		if r[0] == "" {
			numbers[i] = math.Inf(1)
			continue
		}
		f, ok := Number(r[0])
		if !ok {
			return nil, false
		}
		numbers[i], some = f, true
	}
	return numbers, some
}

// Number reads a finite decimal number, which blanks may surround. Whoever sorts numbers out
// of the values of a column asks it: one other text, such as NaN, and there are no intervals.
func Number(text string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(text, "xX_pP") {
		return 0, false
	}
	return f, true
}

// Len is the number of leaves.
func (h *Hierarchy) Len() int { return len(h.levels[0].group) }

// Levels is the number of levels, the values' own and the top included.
func (h *Hierarchy) Levels() int { return len(h.levels) }

// Numeric says whether all values that are not missing are numbers.
func (h *Hierarchy) Numeric() bool { return h.numeric }

// Leaf finds a value.
func (h *Hierarchy) Leaf(value string) (uint32, bool) {
	l, ok := h.leaf[value]
	return l, ok
}

// Value is the text of a leaf.
func (h *Hierarchy) Value(leaf uint32) string { return h.levels[0].labels[leaf] }

// Groups is the number of groups at a level.
func (h *Hierarchy) Groups(lv int) int { return len(h.levels[lv].labels) }

// Group is the group of a leaf at a level.
func (h *Hierarchy) Group(lv int, leaf uint32) uint32 { return h.levels[lv].group[leaf] }

// First is the first leaf of a group, which can stand for the group: its own
// groups at higher levels are those of the group.
func (h *Hierarchy) First(lv int, group uint32) uint32 { return h.levels[lv].first[group] }

// Size is the number of leaves in a group.
func (h *Hierarchy) Size(lv int, group uint32) int { return int(h.levels[lv].size[group]) }

// Label is the text that is published for a group.
func (h *Hierarchy) Label(lv int, group uint32) string { return h.levels[lv].labels[group] }

// Penalty is what one cell loses that is published as one of so many leaves, from
// 0 for a value to 1 for everything: the normalised certainty penalty (Xu et al.,
// Utility-Based Anonymization Using Local Recoding, KDD 2006).
func (h *Hierarchy) Penalty(leaves int) float64 {
	if h.Len() < 2 {
		return 0
	}
	return float64(leaves-1) / float64(h.Len()-1)
}

// Row is a value and its groups from level 1 to the top.
func (h *Hierarchy) Row(leaf uint32) []string {
	row := make([]string, len(h.levels))
	for l := range h.levels {
		row[l] = h.Label(l, h.Group(l, leaf))
	}
	return row
}

// WithMissing is the hierarchy with a leaf for the missing value, which is in no
// group but the top. It is h itself if h has such a leaf.
func (h *Hierarchy) WithMissing() *Hierarchy {
	if _, ok := h.leaf[""]; ok {
		return h
	}
	top := len(h.levels) - 1
	rows := make([][]string, 0, h.Len()+1)
	for i := range h.Len() {
		rows = append(rows, h.Row(uint32(i)))
	}
	missing := make([]string, top+1)
	missing[top] = h.Label(top, 0)
	for l := 1; l < top; l++ {
		missing[l] = h.unused(l)
	}
	with, err := build(append(rows, missing))
	if err != nil {
		panic("hierarchy: a leaf beside a tree: " + err.Error()) // no label of it is in use
	}
	return with
}

// unused is a label for missing values that no group of a level has.
func (h *Hierarchy) unused(lv int) string {
	label := ""
	for slices.Contains(h.levels[lv].labels, label) {
		label += "?"
	}
	return label
}

// Hash identifies the hierarchy in a report: SHA-256 of what [Hierarchy.WriteTo] writes.
func (h *Hierarchy) Hash() [sha256.Size]byte {
	d := sha256.New()
	if _, err := h.WriteTo(d); err != nil {
		panic("hierarchy: " + err.Error()) // a hash takes every write
	}
	return [sha256.Size]byte(d.Sum(nil))
}
