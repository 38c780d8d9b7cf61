// Package mondrian divides the people of a table into boxes.
//
// It cuts the table in two along one quasi-identifier, at the median in the order of
// the column's leaves, and goes on with the halves for as long as both keep the
// guarantees: LeFevre, DeWitt and Ramakrishnan, Mondrian Multidimensional
// k-Anonymity, ICDE 2006. Numbers are published as ranges and other values as sets,
// which loses much less than the groups of a hierarchy and takes a fraction of the time
// of a search, but leaves labels that were made for this table alone.
//
// Nothing is suppressed. The class of a person follows from the person's values, so
// models that look at the population hold as they do where columns are coarsened.
package mondrian

import (
	"cmp"
	"context"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Partition divides a table. When ctx ends, the boxes are published as they are then;
// finished says that none could be divided further. The error is a
// [*guarantee.NothingError] if even the whole table as one class does not hold.
func Partition(ctx context.Context, t *table.Table, req *guarantee.Requirement) (p *partition.Partition, finished bool, err error) {
	d := newDivision(t, req)
	all := make([]uint32, t.Len())
	for i := range all {
		all[i] = uint32(i)
	}
	if !d.holds(all) {
		return nil, false, &guarantee.NothingError{Guarantees: req.String(), Rows: t.Rows(), Whole: true}
	}
	finished = true
	for boxes := [][]uint32{all}; len(boxes) > 0; {
		box := boxes[len(boxes)-1]
		boxes = boxes[:len(boxes)-1]
		over := ctx.Err() != nil
		finished = finished && !over
		if low, high, ok := d.cut(box); ok && !over {
			boxes = append(boxes, high, low)
			continue
		}
		d.publish(box)
	}
	return d.out, finished, nil
}

// division is the work on one table.
type division struct {
	table  *table.Table
	req    *guarantee.Requirement
	out    *partition.Partition
	width  int
	leaves []uint32 // width for each combination, side by side
	rows   []uint32
	people []uint32

	low, high []uint32 // of the box at hand, by column
	order     []int    // columns by which the box can be cut, the widest first
	counts    []size   // by leaf, from the box's lowest on
	tallies   []tally
	label     []partition.Label
	view      guarantee.Class
	sums      [][]uint32 // by sensitive column and leaf, all zero between uses
}

// size is how many rows and people of the population there are.
type size struct{ rows, people int }

// tally is the size of what has a leaf.
type tally struct {
	leaf uint32
	size
}

func newDivision(t *table.Table, req *guarantee.Requirement) *division {
	d := &division{table: t, req: req, out: partition.New(t), width: len(t.Quasi()), rows: t.Count(), people: t.Population()}
	d.leaves = make([]uint32, t.Len()*d.width)
	for q := range d.width {
		for i, leaf := range t.Leaves(q) {
			d.leaves[i*d.width+q] = leaf
		}
	}
	d.low, d.high = make([]uint32, d.width), make([]uint32, d.width)
	d.label = make([]partition.Label, d.width)
	d.sums = make([][]uint32, len(t.Sensitive()))
	d.view.Leaf, d.view.Count = make([][]uint32, len(d.sums)), make([][]uint32, len(d.sums))
	for _, s := range req.Sensitive() {
		d.sums[s] = make([]uint32, t.Sensitive()[s].Hierarchy.Len())
	}
	return d
}

func (d *division) leaf(combination uint32, q int) uint32 {
	return d.leaves[int(combination)*d.width+q]
}

// bounds finds the lowest and highest leaf of the box in each column.
func (d *division) bounds(box []uint32) {
	copy(d.low, d.leaves[int(box[0])*d.width:])
	copy(d.high, d.low)
	for _, i := range box[1:] {
		row := d.leaves[int(i)*d.width:][:d.width]
		for q, leaf := range row {
			if leaf < d.low[q] {
				d.low[q] = leaf
			} else if leaf > d.high[q] {
				d.high[q] = leaf
			}
		}
	}
}

// cut divides a box in place along the widest column along which it can be.
func (d *division) cut(box []uint32) (low, high []uint32, ok bool) {
	total := d.size(box)
	rows, people := d.req.Floor()
	if total.rows < 2*rows || total.people < 2*people {
		return nil, nil, false
	}
	d.bounds(box)
	d.order = d.order[:0]
	for q := range d.width {
		if d.low[q] < d.high[q] {
			d.order = append(d.order, q)
		}
	}
	slices.SortStableFunc(d.order, func(a, b int) int { return cmp.Compare(d.extent(b), d.extent(a)) })
	for _, q := range d.order {
		at, ok := d.median(box, q, total)
		if !ok {
			continue
		}
		n := d.arrange(box, q, at)
		if low, high = box[:n:n], box[n:]; d.req.Simple() || d.holds(low) && d.holds(high) {
			return low, high, true
		}
	}
	return nil, nil, false
}

// extent is how much of the column the box takes.
func (d *division) extent(q int) float64 {
	return d.table.Quasi()[q].Hierarchy.Penalty(int(d.high[q]-d.low[q]) + 1)
}

func (d *division) size(box []uint32) (n size) {
	for _, i := range box {
		n.rows += int(d.rows[i])
		n.people += int(d.people[i])
	}
	return n
}

// median is the highest leaf of the lower half, of the cuts that leave both halves
// their floor the one nearest to the middle.
func (d *division) median(box []uint32, q int, total size) (at uint32, ok bool) {
	rows, people := d.req.Floor()
	below, nearest := size{}, total.rows+1
	for _, t := range d.tally(box, q) {
		below.rows += t.rows
		below.people += t.people
		if below.rows < rows || below.people < people {
			continue
		}
		if total.rows-below.rows < rows || total.people-below.people < people {
			break
		}
		if off := max(2*below.rows-total.rows, total.rows-2*below.rows); off < nearest {
			nearest, at, ok = off, t.leaf, true
		}
	}
	return at, ok
}

// tally counts the box by leaf, ascending. A few people among many leaves are sorted, as
// going through the leaves would take longer.
func (d *division) tally(box []uint32, q int) []tally {
	d.tallies = d.tallies[:0]
	reach := int(d.high[q]-d.low[q]) + 1
	if reach > 8*len(box) {
		for _, i := range box {
			d.tallies = append(d.tallies, tally{d.leaf(i, q), size{int(d.rows[i]), int(d.people[i])}})
		}
		slices.SortFunc(d.tallies, func(a, b tally) int { return cmp.Compare(a.leaf, b.leaf) })
		return joined(d.tallies)
	}
	counts := slices.Grow(d.counts[:0], reach)[:reach]
	clear(counts)
	for _, i := range box {
		c := &counts[d.leaf(i, q)-d.low[q]]
		c.rows += int(d.rows[i])
		c.people += int(d.people[i])
	}
	for leaf, n := range counts {
		if n != (size{}) {
			d.tallies = append(d.tallies, tally{d.low[q] + uint32(leaf), n})
		}
	}
	d.counts = counts
	return d.tallies
}

// joined adds up neighbours of one leaf, in place.
func joined(sorted []tally) []tally {
	n := 0
	for _, t := range sorted[1:] {
		if t.leaf == sorted[n].leaf {
			sorted[n].rows += t.rows
			sorted[n].people += t.people
			continue
		}
		n++
		sorted[n] = t
	}
	return sorted[:n+1]
}

// arrange moves the combinations up to a leaf to the front and says how many they are.
func (d *division) arrange(box []uint32, q int, at uint32) int {
	i, j := 0, len(box)
	for i < j {
		if d.leaf(box[i], q) <= at {
			i++
			continue
		}
		j--
		box[i], box[j] = box[j], box[i]
	}
	return i
}

// holds judges a box as one class.
func (d *division) holds(box []uint32) bool {
	n := d.size(box)
	d.view.Rows, d.view.People = n.rows, n.people
	for _, s := range d.req.Sensitive() {
		leaf, count := d.view.Leaf[s][:0], d.view.Count[s][:0]
		beside, sums := d.table.Beside(s), d.sums[s]
		for _, i := range box {
			l, c := beside.Of(int(i))
			for j := range l {
				if sums[l[j]] == 0 {
					leaf = append(leaf, l[j])
				}
				sums[l[j]] += c[j]
			}
		}
		for _, l := range leaf {
			count = append(count, sums[l])
			sums[l] = 0
		}
		d.view.Leaf[s], d.view.Count[s] = leaf, count
	}
	return d.req.Holds(&d.view)
}
