package lattice

import (
	"math"
	"math/bits"
	"slices"

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

	// sums is by sensitive column and leaf what is added up, all zero between uses; for
	// the others see gather.
	sums           [][]uint32
	start, members []uint32
}

func newGrouper(s *space) *grouper {
	return &grouper{space: s, sums: make([][]uint32, len(s.table.Sensitive()))}
}

// group coarsens the classes of c to a node that is nowhere below c's. What it returns
// may be given back to free once nothing looks at it any more.
func (g *grouper) group(c *classes, at Node) *classes {
	out := g.sizes(c, at)
	if c.beside == nil {
		return out
	}
	if out.beside == nil {
		out.beside = make([]table.Histograms, len(c.beside))
	}
	g.gather(c.len(), out.len())
	for _, s := range g.space.req.Sensitive() {
		out.beside[s] = g.merge(s, &c.beside[s], out.len(), out.beside[s])
	}
	return out
}

// sizes is group without sensitive values, where only sizes are looked at.
func (g *grouper) sizes(c *classes, at Node) *classes {
	out := g.room(c.len())
	out.at = append(out.at[:0], at...)
	if len(c.keys) == 1 {
		g.number(c, out)
	} else {
		g.numberLong(c, out)
	}
	if c.people != nil {
		out.people = append(out.people[:0], make([]uint32, out.len())...)
		for i, n := range c.people {
			out.people[g.to[i]] += n
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
		if cap(c.rows) >= n {
			return c
		}
	}
	c := &classes{keys: make([][]uint64, g.space.words), rows: make([]uint32, 0, n), cost: make([]float64, 0, n)}
	for w := range c.keys {
		c.keys[w] = make([]uint64, 0, n)
	}
	return c
}

// rise is a column that a group raises: the new field of each number, nil for a column
// that goes to its top, whose field is 0; and what a cell costs more than before.
type rise struct {
	*field
	up   []uint64
	more []float64
}

// rises compares two nodes. The fields that stay as they are come as a mask of each word.
func (g *grouper) rises(from, to Node) (raised []rise, keep []uint64) {
	s := g.space
	for range s.words {
		keep = append(keep, math.MaxUint64)
	}
	for q, lv := range to {
		if lv == from[q] {
			continue
		}
		f := &s.fields[q]
		r := rise{field: f, more: f.more[from[q]][lv-from[q]]}
		if lv != s.tops[q] {
			r.up = f.up[lv]
		}
		raised = append(raised, r)
		keep[f.word] &^= f.mask
	}
	return raised, keep
}

// number fills the keys, rows and costs of out, which has room for them, where keys have
// one word. A row costs more than before only in the columns that are raised, so the
// others are not looked at. The upper bits of a product spread keys well (Knuth, The Art
// of Computer Programming 3, 6.4).
func (g *grouper) number(c, out *classes) {
	raised, keep := g.rises(c.at, out.at)
	mask, turn := g.begin(c.len())
	spread, shift := g.space.spread, bits.LeadingZeros64(mask)
	old, kept := c.keys[0], keep[0]
	keys, rows, cost := out.keys[0][:cap(out.rows)], out.rows[:cap(out.rows)], out.cost[:cap(out.rows)]
	slots, to, oldRows, n := g.slots[:mask+1], g.to[:len(old)], c.rows[:len(old)], uint32(0)
	for i, k := range old {
		key := k & kept
		for r := range raised {
			if up := raised[r].up; up != nil {
				key |= up[raised[r].of(k)]
			}
		}
		at := key * spread >> shift
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
				sum += raised[r].more[raised[r].of(k)]
			}
			keys[n], rows[n], cost[n] = key, 0, sum
			n++
		}
		rows[class] += oldRows[i]
		to[i] = class
	}
	out.keys[0], out.rows, out.cost = keys[:n], rows[:n], cost[:n]
}

// numberLong does the same for keys of several words.
func (g *grouper) numberLong(c, out *classes) {
	raised, keep := g.rises(c.at, out.at)
	mask, turn := g.begin(c.len())
	key := make([]uint64, len(keep))
	for w := range out.keys {
		out.keys[w] = out.keys[w][:0]
	}
	out.rows, out.cost = out.rows[:0], out.cost[:0]
	for i, rows := range c.rows {
		sum := c.cost[i]
		for w := range key {
			key[w] = c.keys[w][i] & keep[w]
		}
		for _, r := range raised {
			number := r.of(c.keys[r.word][i])
			sum += r.more[number]
			if r.up != nil {
				key[r.word] |= r.up[number]
			}
		}
		at := g.find(out, key, mask, turn)
		if g.slots[at]&^math.MaxUint32 != turn {
			g.slots[at] = turn | uint64(out.len())
			for w := range key {
				out.keys[w] = append(out.keys[w], key[w])
			}
			out.rows, out.cost = append(out.rows, 0), append(out.cost, sum)
		}
		class := uint32(g.slots[at])
		out.rows[class] += rows
		g.to[i] = class
	}
}

// find is the slot of a key of several words, or an empty one.
func (g *grouper) find(out *classes, key []uint64, mask, turn uint64) uint64 {
	mixed := uint64(0)
	for _, word := range key {
		mixed = bits.RotateLeft64(mixed*g.space.spread, 32) ^ word
	}
	for at := mixed * g.space.spread >> bits.LeadingZeros64(mask); ; at = (at + 1) & mask {
		if g.slots[at]&^math.MaxUint32 != turn || out.has(uint32(g.slots[at]), key) {
			return at
		}
	}
}

func (c *classes) has(class uint32, key []uint64) bool {
	for w, word := range key {
		if c.keys[w][class] != word {
			return false
		}
	}
	return true
}

// begin empties as much of the slots as n classes need and returns the mask of places,
// and the turn in the upper half of a word. A small table stays in the cache, whatever
// the slots were used for before.
func (g *grouper) begin(n int) (mask, turn uint64) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	if g.turn++; len(g.slots) < size || g.turn == 0 {
		g.slots, g.turn = make([]uint64, size), 1
	}
	return uint64(size - 1), uint64(g.turn) << 32
}

// merge adds up the histograms of a sensitive column along g.to, into the memory of out.
func (g *grouper) merge(column int, from *table.Histograms, n int, out table.Histograms) table.Histograms {
	if g.sums[column] == nil {
		g.sums[column] = make([]uint32, g.space.table.Sensitive()[column].Hierarchy.Len())
	}
	sums, start, members := g.sums[column], g.start, g.members
	out.Start = append(out.Start[:0], 0)
	leaves, counts := slices.Grow(out.Leaf[:0], len(from.Leaf)), slices.Grow(out.Count[:0], len(from.Leaf))
	for class := range n {
		first := len(leaves)
		for _, m := range members[start[class]:start[class+1]] {
			leaf, count := from.Of(int(m))
			for i, l := range leaf {
				if sums[l] == 0 {
					leaves = append(leaves, l)
				}
				sums[l] += count[i]
			}
		}
		for _, l := range leaves[first:] {
			counts = append(counts, sums[l])
			sums[l] = 0
		}
		out.Start = append(out.Start, uint32(len(leaves)))
	}
	out.Leaf, out.Count = leaves, counts
	return out
}

// gather lists the old classes of each new one: members from start[class] up to
// start[class+1].
func (g *grouper) gather(old, n int) {
	g.start = append(g.start[:0], make([]uint32, n+1)...)
	g.members = append(g.members[:0], make([]uint32, old)...)
	for _, class := range g.to[:old] {
		g.start[class]++
	}
	sum := uint32(0)
	for class := range g.start {
		sum += g.start[class]
		g.start[class] = sum // where the class ends
	}
	for i := old - 1; i >= 0; i-- {
		class := g.to[i]
		g.start[class]--
		g.members[g.start[class]] = uint32(i)
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
	for i := range c.rows {
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
