package lattice

import (
	"context"
	"fmt"
	"math"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// share of the rows that are left which each round of local recoding publishes at
// least. Less takes more rounds and loses a little less.
const share = 0.02

// Local coarsens different rows differently. Each round looks for the node that would
// lose least on the rows that are left, among those that publish a good part of them;
// its classes that hold are published, and the next round has the others. Rows that are
// left at the end are suppressed. Where these are more than the limit, the last rounds
// are taken back and their rows published as the [Optimum] of them would.
//
// When ctx ends, the rows that are left are coarsened in few rounds, as a climb finds
// without looking further. Errors are as for [Optimum].
func Local(ctx context.Context, t *table.Table, req *guarantee.Requirement, limits Limits) (*Found, error) {
	if req.Global() {
		return nil, fmt.Errorf("%s is defined where a class follows from the values of a person alone: coarsen whole columns, or publish boxes", req)
	}
	s := newSpace(t, req)
	l := &local{space: s, grouper: newGrouper(s), base: s.base(), node: make(Node, len(s.fields))}
	l.index()
	rest := l.all()
	for l.round(ctx, &rest) {
	}
	if l.rows(rest) > limits.Suppressed || len(l.rounds) == 0 {
		if err := l.takeBack(ctx, rest, limits); err != nil {
			return nil, err
		}
	}
	return &Found{Partition: l.partition(), Finished: ctx.Err() == nil, Checked: l.checked}, nil
}

// local is the work of local recoding.
type local struct {
	space   *space
	grouper *grouper
	base    *classes
	rounds  []round
	checked int
	node    Node // that the last round published

	// Each node has a place in the lattice: the sum of its levels times the strides. A
	// node above another has the higher place.
	stride []int
	// most is by place how many rows can be in classes that hold, as far as is known. It
	// is true of all nodes below as well, and stays true as rows are published; nil for
	// lattices that are too large.
	most []uint32
}

// round is what one round publishes: combinations and the class of each.
type round struct {
	at      Node
	numbers []uint32
	classes []uint32
}

// part is some combinations: their numbers and classes.
type part struct {
	numbers []uint32
	*classes
}

func (l *local) index() {
	n := 1
	for _, top := range l.space.tops {
		l.stride = append(l.stride, n)
		if n *= int(top) + 1; n > exhaustive {
			return
		}
	}
	l.most = make([]uint32, n)
	for i := range l.most {
		l.most[i] = math.MaxUint32
	}
}

func (l *local) all() part {
	p := part{classes: l.base, numbers: make([]uint32, l.base.len())}
	for i := range p.numbers {
		p.numbers[i] = uint32(i)
	}
	return p
}

// subset is the combinations of the base with these numbers.
func (l *local) subset(numbers []uint32) part {
	b, n := l.base, len(numbers)
	c := &classes{at: b.at, keys: make([][]uint64, len(b.keys)), rows: make([]uint32, n), cost: make([]float64, n)}
	for w := range c.keys {
		c.keys[w] = make([]uint64, n)
		for i, from := range numbers {
			c.keys[w][i] = b.keys[w][from]
		}
	}
	if b.people != nil {
		c.people = make([]uint32, n)
	}
	for i, from := range numbers {
		c.rows[i], c.cost[i] = b.rows[from], b.cost[from]
		if b.people != nil {
			c.people[i] = b.people[from]
		}
	}
	if b.beside != nil {
		c.beside = make([]table.Histograms, len(b.beside))
		for _, s := range l.space.req.Sensitive() {
			c.beside[s] = b.beside[s].Subset(numbers)
		}
	}
	return part{classes: c, numbers: numbers}
}

func (l *local) rows(p part) int {
	n := 0
	for _, r := range p.classes.rows {
		n += int(r)
	}
	return n
}

// round publishes classes of the best node and keeps the others in rest. It says
// whether there were any.
func (l *local) round(ctx context.Context, rest *part) bool {
	left := l.rows(*rest)
	floor, _ := l.space.req.Floor()
	if left < floor {
		return false
	}
	b := &best{local: l, rest: *rest, columns: l.space.means(rest.classes)}
	shares := []float64{share, share / 10} // less where the rows do not go well together
	if ctx.Err() != nil {
		shares = append([]float64{0.5}, shares...)
	}
	for _, part := range shares {
		if b.need = max(floor, int(math.Ceil(part*float64(left)))); b.climb() {
			break
		}
	}
	if b.at == nil {
		return false
	}
	b.improve(ctx)
	l.node = b.at
	*rest = l.publish(*rest, b.at)
	return true
}

// publish makes a round of a node's classes that hold, and returns the rest.
func (l *local) publish(from part, at Node) part {
	c := l.grouper.group(from.classes, at)
	held := l.space.holds(c, nil)
	r := round{at: slices.Clone(at)}
	var left []uint32
	for i, n := range from.numbers {
		if class := l.grouper.to[i]; held[class] {
			r.numbers, r.classes = append(r.numbers, n), append(r.classes, class)
		} else {
			left = append(left, n)
		}
	}
	l.grouper.free(c)
	l.rounds = append(l.rounds, r)
	return l.subset(left)
}

// takeBack undoes the last round, then two more, four more and so on, until the rows of
// these and the rest have an optimum within the limit.
func (l *local) takeBack(ctx context.Context, rest part, limits Limits) error {
	numbers := rest.numbers
	for back := 1; ; back *= 2 {
		keep := max(0, len(l.rounds)-back)
		for _, r := range l.rounds[keep:] {
			numbers = append(numbers, r.numbers...)
		}
		l.rounds = l.rounds[:keep]
		slices.Sort(numbers)
		again := l.subset(numbers)
		r := newSearch(l.space, again.classes, limits)
		r.run(ctx)
		l.checked += int(r.checked.Load())
		if r.best.node != nil {
			l.publish(again, r.best.node)
			return nil
		}
		if keep == 0 {
			return r.nothing(ctx)
		}
	}
}

// partition is what all rounds publish.
func (l *local) partition() *partition.Partition {
	p := partition.New(l.space.table)
	for _, r := range l.rounds {
		class := map[uint32]int32{}
		for i, n := range r.numbers {
			c, ok := class[r.classes[i]]
			if !ok {
				c = p.Add(l.space.labels(r.at, int(n)))
				class[r.classes[i]] = c
			}
			p.Class[n] = c
		}
	}
	return p
}
