// Package lattice finds the best way to coarsen whole columns.
//
// A node of the lattice is a level for each quasi-identifier; it publishes every value
// as its group at that level and suppresses the rows of classes that do not hold. The
// [Optimum] is the node that loses least by the global certainty penalty: the mean over
// all cells of the normalised certainty penalty, a suppressed cell counting 1. That is
// the node that ARX finds with its loss metric.
//
// The search is exact. A node's classes are grouped from those of a node below it, which
// are fewer than the table's combinations. It leaves out a branch where a lower bound of
// the loss is no less than the best loss found: what the node itself loses on all rows,
// and more closely, counting rows as suppressed that are in a class below the floor even
// if all columns that the branch may still raise are at their tops. A greedy climb comes
// first, and in large lattices a walk from neighbour to neighbour, so that there is a good
// node early.
//
// [Local] coarsens different rows differently: it publishes the classes of the node that
// loses least among those that publish a good part, and goes on with the other rows.
package lattice

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Limits of a search.
type Limits struct {
	// Suppressed is the most rows that may be suppressed.
	Suppressed int
	// Workers is how many goroutines look for an optimum; 0 is one. The rounds of local
	// recoding follow from one another and have one.
	Workers int
}

// Found is what a search found.
type Found struct {
	Partition *partition.Partition
	// Node is the levels of the optimum, in the order of the quasi-identifiers; nil
	// for local recoding, which has many.
	Node Node
	// Finished says that the search came to its end before its time. The optimum is then
	// the best there is.
	Finished bool
	// Checked is how many nodes were grouped.
	Checked int
}

// Optimum finds the best node. When ctx ends, what is best until then is returned, and
// ctx's error only if that is nothing. The error is a [*guarantee.NothingError] if no
// node may be published.
func Optimum(ctx context.Context, t *table.Table, req *guarantee.Requirement, limits Limits) (*Found, error) {
	s := newSpace(t, req)
	r := newSearch(s, s.base(), limits)
	r.run(ctx)
	if r.best.node == nil {
		return nil, r.nothing(ctx)
	}
	p := partition.New(t)
	r.publish(p)
	return &Found{Partition: p, Node: r.best.node, Finished: !r.cut.Load(), Checked: int(r.checked.Load())}, nil
}

// search looks for the node of least loss among the nodes that suppress few enough rows.
type search struct {
	space   *space
	base    *classes
	limit   int         // rows that may be suppressed
	columns [][]float64 // see space.means
	order   []int       // columns, those with most leaves first
	idle    chan *grouper
	running sync.WaitGroup
	checked atomic.Int64
	bound   atomic.Uint64 // bits of the best loss
	cut     atomic.Bool   // time was up before the end

	mu   sync.Mutex
	best candidate
}

type candidate struct {
	node       Node
	loss       float64 // summed over cells
	suppressed int
}

func newSearch(s *space, base *classes, limits Limits) *search {
	r := &search{space: s, base: base, limit: limits.Suppressed, columns: s.means(base), idle: make(chan *grouper, max(1, limits.Workers))}
	for range cap(r.idle) {
		r.idle <- newGrouper(s)
	}
	r.order = make([]int, len(s.fields))
	for q := range r.order {
		r.order[q] = q
	}
	// columns of few leaves have few levels: raised last, they make the branches that are
	// visited most short
	slices.SortStableFunc(r.order, func(a, b int) int { return cmp.Compare(s.fields[b].used, s.fields[a].used) })
	r.bound.Store(math.Float64bits(math.Inf(1)))
	return r
}

func (r *search) run(ctx context.Context) {
	g := <-r.idle
	r.climb(ctx, g)
	if nodes(r.space.tops) > large {
		r.polish(ctx, g)
	}
	r.descend(ctx, g, make(Node, len(r.space.fields)), 0, r.base)
	r.idle <- g
	r.running.Wait()
}

// over says that time is up.
func (r *search) over(ctx context.Context) bool {
	if ctx.Err() == nil {
		return false
	}
	r.cut.Store(true)
	return true
}

// least is what the rows of the base lose at a node if none is suppressed, and no node
// above it loses less.
func (r *search) least(at Node) float64 {
	sum := 0.0
	for q, lv := range at {
		sum += r.columns[q][lv]
	}
	return sum
}

// beaten says that a lower bound leaves no hope. Equal losses are looked at, so that the
// result does not depend on which of them is met first.
func (r *search) beaten(lower float64) bool {
	best := math.Float64frombits(r.bound.Load())
	return lower > best+same(best)
}

// same is what sums of losses may differ by in rounding.
func same(loss float64) float64 { return 1e-9 * loss }

// visit groups a node and keeps it if it is the best so far. The loss is that of the
// node, whether it may be published or not.
func (r *search) visit(g *grouper, from *classes, at Node) (*classes, float64) {
	r.checked.Add(1)
	c := g.group(from, at)
	loss, suppressed, ok := r.score(g, c)
	if ok {
		r.keep(candidate{node: at, loss: loss, suppressed: suppressed})
	}
	return c, loss
}

func (r *search) keep(c candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.best.node != nil && !better(c, r.best) {
		return
	}
	c.node = slices.Clone(c.node)
	r.best = c
	r.bound.Store(math.Float64bits(c.loss))
}

// better decides equal losses by suppression and then by the lower node.
func better(a, b candidate) bool {
	if math.Abs(a.loss-b.loss) > same(b.loss) {
		return a.loss < b.loss
	}
	return cmp.Or(cmp.Compare(a.suppressed, b.suppressed), slices.Compare(a.node, b.node)) < 0
}

// score is the loss of a node, the rows it suppresses, and whether it may be published.
func (r *search) score(g *grouper, c *classes) (loss float64, suppressed int, ok bool) {
	g.held = r.space.holds(c, g.held)
	published := false
	for i, held := range g.held {
		if held {
			loss += c.cost[i] * float64(c.rows[i])
			published = true
			continue
		}
		suppressed += int(c.rows[i])
	}
	ok = published && suppressed <= r.limit && !(r.space.req.Everybody() && slices.Contains(g.held, false))
	return loss + r.suppressing()*float64(suppressed), suppressed, ok
}

// suppressing is what a suppressed row costs: all of its cells.
func (r *search) suppressing() float64 { return float64(len(r.space.fields)) }

// climb raises from the bottom the column whose node loses least, for a first bound.
func (r *search) climb(ctx context.Context, g *grouper) {
	at := make(Node, len(r.space.fields))
	c, _ := r.visit(g, r.base, at)
	for !r.over(ctx) && !r.beaten(r.least(at)) {
		best, raised := math.Inf(1), -1
		var next *classes
		for q := range at {
			level := at[q]
			higher := r.space.fields[q].above[level]
			if higher == 0 {
				continue
			}
			at[q] = higher
			above, loss := r.visit(g, c, at)
			if loss < best {
				best, raised, next, above = loss, q, above, next
			}
			if above != nil {
				g.free(above)
			}
			at[q] = level
		}
		g.free(c)
		if raised < 0 {
			return
		}
		at[raised] = r.space.fields[raised].above[at[raised]]
		c = next
	}
}

// large is a number of nodes of which time may not allow to look at all.
const large = 1 << 16

// nodes is how many nodes there are, or a little more than [large].
func nodes(tops Node) int {
	n := 1
	for _, top := range tops {
		if n *= int(top) + 1; n > large {
			break
		}
	}
	return n
}

// polish goes from the best node to a better one as long as there is one that differs by
// one level up in a column, one down in another, or both, so that what is found in time
// is good even if most of the lattice is never seen. No other goroutine searches yet.
func (r *search) polish(ctx context.Context, g *grouper) {
	for from := r.best.node; from != nil; {
		for up := -1; up < len(from); up++ {
			for down := -1; down < len(from); down++ {
				at, ok := r.space.moved(from, up, down)
				if r.over(ctx) {
					return
				}
				if ok && !r.beaten(r.least(at)) {
					c, _ := r.visit(g, r.base, at)
					g.free(c)
				}
			}
		}
		if slices.Equal(from, r.best.node) {
			return
		}
		from = r.best.node
	}
}

// moved is a node with one column a level up and another one down; -1 is none.
func (s *space) moved(from Node, up, down int) (Node, bool) {
	if up == down || up >= 0 && from[up] == s.tops[up] || down >= 0 && from[down] == 0 {
		return nil, false
	}
	at := slices.Clone(from)
	if up >= 0 {
		at[up]++
	}
	if down >= 0 {
		at[down]--
	}
	return at, true
}

// descend visits a node and what is above it by raising columns from place from in the
// order on. Each node is reached in one way.
func (r *search) descend(ctx context.Context, g *grouper, at Node, from int, below *classes) {
	if r.over(ctx) || r.beaten(r.least(at)) {
		return
	}
	c, _ := r.visit(g, below, at)
	shared := false
	for place := from; place < len(r.order); place++ {
		q := r.order[place]
		level := at[q]
		above := r.space.fields[q].above[level]
		if above == 0 {
			continue
		}
		if place > from && r.hopeless(g, c, place) {
			break // and so are the later places, which raise fewer columns
		}
		at[q] = above
		shared = r.branch(ctx, g, at, place, c) || shared
		at[q] = level
	}
	if !shared {
		g.free(c)
	}
}

// branch descends, in a goroutine of its own if a worker is idle, which it then says.
func (r *search) branch(ctx context.Context, g *grouper, at Node, place int, c *classes) bool {
	select {
	case free := <-r.idle:
		own := slices.Clone(at)
		r.running.Go(func() {
			r.descend(ctx, free, own, place, c)
			r.idle <- free
		})
		return true
	default:
		r.descend(ctx, g, at, place, c)
		return false
	}
}

// closely is in how many places of the order the closer bound is worth its grouping.
const closely = 3

// hopeless says that no node above c that differs from it only in columns from place on
// can be published and beat the best: rows that are in a class below the floor even with
// all of these columns at their tops are suppressed in all of them.
func (r *search) hopeless(g *grouper, c *classes, place int) bool {
	limited := r.limit < r.space.table.Rows()
	if place > closely && !limited {
		return false
	}
	at := slices.Clone(c.at)
	for _, q := range r.order[place:] {
		at[q] = r.space.tops[q]
	}
	top := g.sizes(c, at)
	defer g.free(top)
	suppressed := 0
	for i := range top.rows {
		if r.space.small(top, i) {
			suppressed += int(top.rows[i])
		}
	}
	if suppressed > r.limit {
		return true
	}
	if !r.beaten(r.least(c.at) + r.suppressing()*float64(suppressed)) {
		return false
	}
	lower := 0.0
	for i, n := range c.rows {
		cost := c.cost[i]
		if r.space.small(top, int(g.to[i])) {
			cost = r.suppressing()
		}
		lower += cost * float64(n)
	}
	return r.beaten(lower)
}
