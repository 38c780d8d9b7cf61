package lattice

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// exhaustive is the largest lattice of which each round looks at all nodes. In larger
// ones it takes what a climb finds.
const exhaustive = 1 << 20

// patience is how many nodes a round checks in vain where a node that publishes too
// little may be above one that publishes enough, so that no check rules others out.
const patience = 50

// best is the best node of a round.
type best struct {
	*local
	rest    part
	columns [][]float64 // see space.means
	need    int         // rows that a node has to publish
	at      Node        // nil while there is none
	loss    float64     // of at, on all rows that are left
}

// serves says whether a node publishes enough. It remembers how much the node and those
// below it can publish.
func (b *best) serves(at Node) bool {
	b.checked++
	c := b.grouper.group(b.rest.classes, at)
	defer b.grouper.free(c)
	most, published := 0, 0
	for i, held := range b.held(c) {
		if held {
			published += int(c.rows[i])
		}
		if !b.space.small(c, i) {
			most += int(c.rows[i])
		}
	}
	if b.space.req.Lasting() {
		most = published
	}
	if b.most != nil {
		place := b.place(at)
		b.most[place] = min(b.most[place], uint32(most))
	}
	return published >= b.need
}

// held says which classes hold.
func (b *best) held(c *classes) []bool {
	b.grouper.held = b.space.holds(c, b.grouper.held)
	return b.grouper.held
}

func (b *best) place(at Node) int {
	n := 0
	for q, lv := range at {
		n += int(lv) * b.stride[q]
	}
	return n
}

// climb goes up from the last round's node by what costs least until a node serves, and
// down again from there by what saves most as long as it serves. It says whether one
// does.
func (b *best) climb() bool {
	at := slices.Clone(b.node)
	for !b.serves(at) {
		q := b.cheapest(at)
		if q < 0 {
			return false
		}
		at[q]++
	}
	b.at = at
	order := make([]int, len(at))
	for q := range order {
		order[q] = q
	}
	saved := func(q int) float64 {
		if at[q] == 0 {
			return 0
		}
		return b.columns[q][at[q]] - b.columns[q][at[q]-1]
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(saved(y), saved(x)) })
	for _, q := range order {
		for at[q] > 0 {
			if at[q]--; !b.serves(at) {
				at[q]++
				break
			}
		}
	}
	b.loss = b.lossOf(at)
	return true
}

func (b *best) cheapest(at Node) int {
	least, raised := math.Inf(1), -1
	for q, lv := range at {
		if lv == b.space.tops[q] {
			continue
		}
		if more := b.columns[q][lv+1] - b.columns[q][lv]; more < least {
			least, raised = more, q
		}
	}
	return raised
}

func (b *best) lossOf(at Node) float64 {
	sum := 0.0
	for q, lv := range at {
		sum += b.columns[q][lv]
	}
	return sum
}

// improve goes through the lattice from the top down. A node that loses less than the
// best is checked unless one above it is known to publish too little, so that what is
// checked are nodes with none above them that would lose less than the best.
func (b *best) improve(ctx context.Context) {
	if b.most == nil {
		return
	}
	at, vain := slices.Clone(b.space.tops), 0
	for place := len(b.most) - 1; place >= 0; place-- {
		most := b.most[place]
		for q, lv := range at {
			if lv < b.space.tops[q] {
				most = min(most, b.most[place+b.stride[q]])
			}
		}
		b.most[place] = most
		if most >= uint32(b.need) {
			if loss := b.lossOf(at); loss < b.loss {
				if b.serves(at) {
					b.at, b.loss = slices.Clone(at), loss
				} else if b.most[place] >= uint32(b.need) {
					vain++
				}
			}
			if ctx.Err() != nil || vain == patience {
				return
			}
		}
		b.space.before(at)
	}
}

// before goes from a node to the one at the place before.
func (s *space) before(at Node) {
	for q := range at {
		if at[q] > 0 {
			at[q]--
			return
		}
		at[q] = s.tops[q]
	}
}
