package measure

import (
	"math"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/partition"
)

// coding gives each combination a number by which it is counted.
type coding func(combination int) uint64

// unknown is what there is to learn of the values of column q, in bits over all rows.
func unknown(p *partition.Partition, q int) float64 {
	leaves := p.Table.Leaves(q)
	return gained(p, everyone, func(i int) uint64 { return uint64(leaves[i]) }, func(int) uint64 { return 0 })
}

// lost is how much of that there still is to learn from what is published.
//
// A row at a level of the hierarchy learns its way down through the levels that other
// rows are at, suppressed rows from the top, at each step by how frequent the groups are
// among the rows that are as high: what is not published of some rows is not held
// against the others. Labels that are no groups are one step away from the values.
func lost(p *partition.Partition, q int) float64 {
	h, leaves := p.Table.Quasi()[q].Hierarchy, p.Table.Leaves(q)
	levels, ok := levelsOf(p, q)
	if !ok {
		label := func(i int) uint64 { return uint64(labelOf(p, q, i)) }
		return gained(p, everyone, func(i int) uint64 { return label(i)<<32 | uint64(leaves[i]) }, label)
	}
	sum, below := 0.0, 0
	for _, lv := range slices.Compact(slices.Sorted(slices.Values(levels))) {
		from, to := below, lv
		sum += gained(p, func(i int) bool { return levels[i] >= to },
			func(i int) uint64 { return uint64(h.Group(from, leaves[i])) },
			func(i int) uint64 { return uint64(h.Group(to, leaves[i])) })
		below = lv
	}
	return sum
}

func everyone(int) bool { return true }

// gained is what the rows that count learn when they go from one coding to a finer one.
func gained(p *partition.Partition, counts func(int) bool, fine, coarse coding) float64 {
	of, in := map[uint64]float64{}, map[uint64]float64{}
	for i, n := range p.Table.Count() {
		if counts(i) {
			of[fine(i)] += float64(n)
			in[coarse(i)] += float64(n)
		}
	}
	bits := 0.0
	for i, n := range p.Table.Count() {
		if n > 0 && counts(i) {
			bits -= float64(n) * math.Log2(of[fine(i)]/in[coarse(i)])
		}
	}
	return bits
}

// labelOf is the number of what is published for a combination, with one more for what
// is suppressed.
func labelOf(p *partition.Partition, q, combination int) int {
	if class := p.Class[combination]; class != partition.Suppressed {
		return int(p.Number(class, q))
	}
	return len(p.Labels(q))
}

// levelsOf finds the level that each combination is published at, if all labels are
// groups of the hierarchy.
func levelsOf(p *partition.Partition, q int) (levels []int, ok bool) {
	h, labels := p.Table.Quasi()[q].Hierarchy, p.Labels(q)
	known := make([]int, len(labels)+1) // 1 + the level of each label
	known[len(labels)] = h.Levels()
	levels = make([]int, p.Table.Len())
	for i, leaf := range p.Table.Leaves(q) {
		n := labelOf(p, q, i)
		for lv := 0; lv < h.Levels() && known[n] == 0; lv++ {
			g := h.Group(lv, leaf)
			if labels[n] == (partition.Label{Text: h.Label(lv, g), Leaves: h.Size(lv, g)}) {
				known[n] = lv + 1
			}
		}
		if known[n] == 0 {
			return nil, false
		}
		levels[i] = known[n] - 1
	}
	return levels, true
}
