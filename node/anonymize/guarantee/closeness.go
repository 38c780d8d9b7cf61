package guarantee

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Ground says how far two sensitive values are from one another.
type Ground int

const (
	// Equal: all values are equally far apart.
	Equal Ground = iota
	// Ordered: by the number of values between them in the order of the hierarchy.
	Ordered
	// Hierarchical: by the level at which the hierarchy joins them.
	Hierarchical
)

func (g Ground) String() string {
	switch g {
	case Equal:
		return "equal"
	case Ordered:
		return "ordered"
	case Hierarchical:
		return "hierarchical"
	}
	return fmt.Sprintf("ground %d", int(g))
}

// Closeness is t-closeness: in each class the sensitive values are distributed as in
// the whole table, within an earth mover's distance of T, from 0 to 1. Li, Li and
// Venkatasubramanian, t-Closeness: Privacy Beyond k-Anonymity and l-Diversity, ICDE
// 2007, sections 4 and 5. The whole table includes the rows that are suppressed. Not
// lasting: the distance of a union is at most the mean of its parts'.
type Closeness struct {
	Column string
	T      float64
	Ground Ground
}

func (c Closeness) String() string {
	return fmt.Sprintf("%v-closeness of %s (%s distance)", c.T, quote.Name(c.Column), c.Ground)
}

func (c Closeness) valid() error {
	if !(0 <= c.T && c.T <= 1) {
		return errors.New("t is between 0 and 1")
	}
	return nil
}

func (c Closeness) bind(t *table.Table) (check, error) {
	s, err := column(t, c.Column)
	if err != nil {
		return check{}, err
	}
	whole, h := shares(t, s), t.Sensitive()[s].Hierarchy
	var distance func(leaf, count []uint32, n float64) float64
	switch c.Ground {
	case Equal:
		distance = func(leaf, count []uint32, n float64) float64 { return equalDistance(whole, leaf, count, n) }
	case Ordered:
		distance = newLine(whole).distance
	case Hierarchical:
		distance = func(leaf, count []uint32, n float64) float64 {
			return hierarchicalDistance(h, extra(whole, leaf, count, n))
		}
	default:
		return check{}, fmt.Errorf("there is no %s distance", c.Ground)
	}
	holds := func(k *Class) bool { return within(distance(k.Leaf[s], k.Count[s], float64(k.Rows)), c.T) }
	return check{holds: holds, column: s}, nil
}

// shares is how much of the table each leaf of sensitive column s has.
func shares(t *table.Table, s int) []float64 {
	total := totals(t, s)
	share := make([]float64, len(total))
	for i, n := range total {
		share[i] = float64(n) / float64(t.Rows())
	}
	return share
}

// extra is how much more of a class than of the table each leaf has.
func extra(whole []float64, leaf, count []uint32, n float64) []float64 {
	d := make([]float64, len(whole))
	for i, q := range whole {
		d[i] = -q
	}
	for i, l := range leaf {
		d[l] += float64(count[i]) / n
	}
	return d
}

// equalDistance is half of what the distributions differ by.
func equalDistance(whole []float64, leaf, count []uint32, n float64) float64 {
	more := 0.0
	for i, l := range leaf {
		more += math.Max(0, float64(count[i])/n-whole[l])
	}
	return more
}

// line is the whole table's distribution along the order of the leaves. The distance of
// a class is the area between the cumulated shares of both, which is summed for all
// leaves between two of the class at once: a class may be small and the leaves many.
type line struct {
	below []float64 // share of the leaves up to each
	area  []float64 // sum of below before each, and at last of all
}

func newLine(whole []float64) *line {
	l := &line{area: make([]float64, 1, len(whole)+1)}
	sum := 0.0
	for i, share := range whole {
		sum += share
		l.below = append(l.below, sum)
		l.area = append(l.area, l.area[i]+sum)
	}
	return l
}

func (l *line) distance(leaf, count []uint32, n float64) float64 {
	last := len(l.below) - 1
	if last < 1 {
		return 0
	}
	order := make([]int, len(leaf))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(leaf[a], leaf[b]) })
	moved, below, at := 0.0, 0.0, 0
	for _, i := range order {
		moved += l.between(at, int(leaf[i]), below)
		below, at = below+float64(count[i])/n, int(leaf[i])
	}
	moved += l.between(at, last, below) // at the last leaf all are cumulated
	return moved / float64(last)
}

// between is the area from leaf a up to leaf b against a share that stays the same.
func (l *line) between(a, b int, share float64) float64 {
	if a >= b {
		return 0
	}
	x := a + sort.Search(b-a, func(i int) bool { return l.below[a+i] > share })
	return share*float64(x-a) - (l.area[x] - l.area[a]) + (l.area[b] - l.area[x]) - share*float64(b-x)
}

// hierarchicalDistance sums over the inner nodes what has to move between the children
// of a node, times the node's height.
func hierarchicalDistance(h *hierarchy.Hierarchy, extra []float64) float64 {
	top := h.Levels() - 1
	below, moved := extra, 0.0
	for lv := 1; lv <= top; lv++ {
		groups := h.Groups(lv)
		here, gain, lack := make([]float64, groups), make([]float64, groups), make([]float64, groups)
		for child, e := range below {
			g := h.Group(lv, h.First(lv-1, uint32(child)))
			here[g] += e
			gain[g] += math.Max(0, e)
			lack[g] += math.Max(0, -e)
		}
		for g := range here {
			moved += float64(lv) / float64(top) * math.Min(gain[g], lack[g])
		}
		below = here
	}
	return moved
}

// Likeness is beta-likeness: no sensitive value's share of a class exceeds its share of
// the table by more than Beta times the latter. Cao and Karras, Publishing Microdata
// with a Robust Privacy Guarantee, VLDB 2012. Enhanced also bounds the excess by
// -ln of the share in the table, which keeps frequent values from becoming certain. Not
// lasting: shares of a union average.
type Likeness struct {
	Column   string
	Beta     float64
	Enhanced bool
}

func (l Likeness) String() string {
	if l.Enhanced {
		return fmt.Sprintf("enhanced %v-likeness of %s", l.Beta, quote.Name(l.Column))
	}
	return fmt.Sprintf("%v-likeness of %s", l.Beta, quote.Name(l.Column))
}

func (l Likeness) valid() error {
	if !(l.Beta > 0) {
		return errors.New("beta is above 0")
	}
	return nil
}

func (l Likeness) bind(t *table.Table) (check, error) {
	s, err := column(t, l.Column)
	if err != nil {
		return check{}, err
	}
	whole := shares(t, s)
	holds := func(c *Class) bool {
		for i, leaf := range c.Leaf[s] {
			q, bound := whole[leaf], l.Beta
			if l.Enhanced {
				bound = math.Min(bound, -math.Log(q))
			}
			if !within((float64(c.Count[s][i])/float64(c.Rows)-q)/q, bound) {
				return false
			}
		}
		return true
	}
	return check{holds: holds, column: s}, nil
}
