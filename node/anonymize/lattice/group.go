package lattice

import (
	"math"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// grouper makes the classes of a node from those of a node below it. It is the
// memory of one goroutine.
type grouper struct {
	space *space
	slots []uint64 // turn<<32 | class; slots of earlier turns are empty
	turn  uint32
	to    []uint32   // the new class of each old one, after group
	held  []bool     // the classes that hold, after score
	spare []*classes // to be used again
	// of each sensitive column, what is added up of a histogram; and in which leaves
	sums  [][]uint32
	found []uint32
}

// group coarsens the classes of c to a node that is nowhere below c's. What it returns
// may be given back to free once nothing looks at it any more.
func (g *grouper) group(c *classes, at Node) *classes {
	out := g.room(len(c.keys))
	out.at = append(out.at[:0], at...)
	g.number(c, out)
	if c.people != nil {
		out.people = append(out.people[:0], make([]uint32, len(out.keys))...)
		for i, n := range c.people {
			out.people[g.to[i]] += n
		}
	}
	if c.beside != nil {
		out.beside = make([]table.Histograms, len(c.beside))
		for _, s := range g.space.req.Sensitive() {
			out.beside[s] = g.merge(s, &c.beside[s], len(out.keys))
		}
	}
	return out
}

func (g *grouper) free(c *classes) { g.spare = append(g.spare, c) }

// room is classes with space for n.
func (g *grouper) room(n int) *classes {
	if len(g.to) < n {
		g.to = make([]uint32, n)
	}
	if last := len(g.spare) - 1; last >= 0 {
		c := g.spare[last]
		g.spare = g.spare[:last]
		if cap(c.keys) >= n {
			return c
		}
	}
	return &classes{keys: make([]uint64, 0, n), rows: make([]uint32, 0, n), cost: make([]float64, 0, n)}
}

// rise is a column that a group raises: where its field is, the new field of each
// number, and what a cell costs more than before.
type rise struct {
	mask  uint64
	shift uint
	up    []uint64 // nil for a column that goes to its top, whose field is 0
	more  []float64
}

// rises compares two nodes. The fields that are kept as they are come as a mask.
func (g *grouper) rises(from, to Node) (raised []rise, keep uint64) {
	s := g.space
	keep = math.MaxUint64
	for q, lv := range to {
		if lv == from[q] {
			continue
		}
		r := rise{mask: s.mask[q], shift: s.shift[q], more: s.more[q][from[q]][lv-from[q]]}
		if lv != s.tops[q] {
			r.up = s.up[q][lv]
		}
		raised, keep = append(raised, r), keep&^s.mask[q]
	}
	return raised, keep
}

// number fills the keys, rows and costs of out, which has room for them. A row costs
// more than before only in the columns that are raised, so the others are not looked at.
func (g *grouper) number(c, out *classes) {
	raised, keep := g.rises(c.at, out.at)
	mask := g.begin(len(c.keys))
	turn := uint64(g.turn) << 32
	keys, rows, cost := out.keys[:cap(out.keys)], out.rows[:cap(out.rows)], out.cost[:cap(out.cost)]
	slots, to, oldRows, n := g.slots[:mask+1], g.to[:len(c.keys)], c.rows[:len(c.keys)], uint32(0)
	for i, k := range c.keys {
		key := k & keep
		for r := range raised {
			if up := raised[r].up; up != nil {
				key |= up[(k&raised[r].mask)>>raised[r].shift]
			}
		}
		at := hash(key) & mask
		class := uint32(slots[at])
		for slots[at]&^math.MaxUint32 == turn && keys[class] != key {
			at = (at + 1) & mask
			class = uint32(slots[at])
		}
		if slots[at]&^math.MaxUint32 != turn {
			class = n
			slots[at] = turn | uint64(class)
			sum := c.cost[i]
			for r := range raised {
				sum += raised[r].more[(k&raised[r].mask)>>raised[r].shift]
			}
			keys[n], rows[n], cost[n] = key, 0, sum
			n++
		}
		rows[class] += oldRows[i]
		to[i] = class
	}
	out.keys, out.rows, out.cost = keys[:n], rows[:n], cost[:n]
}

// hash spreads keys by multiplication (Knuth, The Art of Computer Programming 3, 6.4).
func hash(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 >> 24 }

// begin empties as much of the slots as n classes need and returns the mask of places.
// A small table stays in the cache, whatever it was used for before.
func (g *grouper) begin(n int) uint64 {
	size := 16
	for size < 2*n {
		size *= 2
	}
	if g.turn++; len(g.slots) < size || g.turn == 0 {
		g.slots, g.turn = make([]uint64, size), 1
	}
	return uint64(size - 1)
}

// merge adds histograms of sensitive column s up along g.to.
func (g *grouper) merge(s int, from *table.Histograms, n int) table.Histograms {
	if g.sums == nil {
		g.sums = make([][]uint32, len(g.space.table.Sensitive()))
	}
	if g.sums[s] == nil {
		g.sums[s] = make([]uint32, g.space.table.Sensitive()[s].Hierarchy.Len())
	}
	old := len(from.Start) - 1
	start := make([]uint32, n+1) // of each new class among the old ones in the order of the new
	for _, class := range g.to[:old] {
		start[class+1]++
	}
	for i := range n {
		start[i+1] += start[i]
	}
	members, next := make([]uint32, old), append([]uint32(nil), start...)
	for i, class := range g.to[:old] {
		members[next[class]] = uint32(i)
		next[class]++
	}
	out := table.Histograms{Start: make([]uint32, n+1)}
	for class := range n {
		g.add(from, members[start[class]:start[class+1]], g.sums[s], &out)
		out.Start[class+1] = uint32(len(out.Leaf))
	}
	return out
}

// add appends the sum of some histograms and leaves sums as it was, all zero.
func (g *grouper) add(from *table.Histograms, members, sums []uint32, out *table.Histograms) {
	g.found = g.found[:0]
	for _, m := range members {
		leaf, count := from.Of(int(m))
		for i, l := range leaf {
			if sums[l] == 0 {
				g.found = append(g.found, l)
			}
			sums[l] += count[i]
		}
	}
	for _, l := range g.found {
		out.Leaf, out.Count = append(out.Leaf, l), append(out.Count, sums[l])
		sums[l] = 0
	}
}

// small says whether a class is below the floor of the guarantees.
func (s *space) small(c *classes, i int) bool {
	rows, people := s.req.Floor()
	return int(c.rows[i]) < rows || c.peopleOf(i) < people
}

func (c *classes) peopleOf(i int) int {
	if c.people == nil {
		return int(c.rows[i])
	}
	return int(c.people[i])
}

// holds says which classes may be published, into ok, which it returns.
func (s *space) holds(c *classes, ok []bool) []bool {
	ok = ok[:0]
	var view guarantee.Class
	if c.beside != nil {
		view.Leaf, view.Count = make([][]uint32, len(c.beside)), make([][]uint32, len(c.beside))
	}
	simple := s.req.Simple()
	for i := range c.keys {
		held := !s.small(c, i)
		if held && !simple {
			view.Rows, view.People = int(c.rows[i]), c.peopleOf(i)
			for _, column := range s.req.Sensitive() {
				view.Leaf[column], view.Count[column] = c.beside[column].Of(i)
			}
			held = s.req.Holds(&view)
		}
		ok = append(ok, held)
	}
	return ok
}
