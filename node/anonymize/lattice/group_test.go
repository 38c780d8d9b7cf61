package lattice

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// drawn is a table of five columns of numbers with a sensitive column.
func drawn(t *testing.T, r *rand.Rand, values int) *table.Table {
	t.Helper()
	names := []string{"a", "b", "c", "d", "e"}
	b, err := table.NewBuilder(names, []string{"s"})
	if err != nil {
		t.Fatal(err)
	}
	hierarchies := map[string]*hierarchy.Hierarchy{}
	var all []string
	for i := range values {
		all = append(all, fmt.Sprint(i))
	}
	for _, n := range names {
		if hierarchies[n], err = hierarchy.Intervals(all, 0, 2, 10, 50); err != nil {
			t.Fatal(err)
		}
	}
	for range 500 {
		var row [][]byte
		for range names {
			row = append(row, fmt.Append(nil, r.IntN(1+r.IntN(values))))
		}
		if err := b.Add(row, [][]byte{fmt.Append(nil, r.IntN(7))}); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Build(hierarchies)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// split moves every other field of a space into a second word.
func split(s *space) *space {
	long := *s
	long.words = 2
	long.fields = append([]field(nil), s.fields...)
	for q := range long.fields {
		long.fields[q].word = q % 2
	}
	return &long
}

// summary is the classes of a node in an order of their own: rows, cost and how many of
// each sensitive value.
func summary(c *classes) map[string]int {
	m := map[string]int{}
	for i := range c.len() {
		var values [7]uint32
		leaf, count := c.beside[0].Of(i)
		for j, l := range leaf {
			values[l] = count[j]
		}
		m[fmt.Sprintf("%d rows at %.9f with %d", c.rows[i], c.cost[i], values)]++
	}
	return m
}

// The classes of a node are the same whether they are grouped from the combinations or
// from a node below it, in whatever memory, and whether keys have one word or two.
func TestGroupingAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 30 {
		built := drawn(t, r, 20+r.IntN(200))
		req, err := guarantee.Bind(built, guarantee.Distinct{Column: "s", L: 2})
		if err != nil {
			t.Fatal(err)
		}
		var want []map[string]int
		for _, s := range []*space{newSpace(built, req), split(newSpace(built, req))} {
			g, at := newGrouper(s), make(Node, len(s.fields))
			c := s.base()
			var got []map[string]int
			walk := rand.New(rand.NewPCG(4, 4))
			for range 12 {
				if q := walk.IntN(len(at)); at[q] < s.tops[q] {
					at[q]++
				}
				direct, again := summary(g.group(s.base(), at)), g.group(c, at)
				if !reflect.DeepEqual(direct, summary(again)) {
					t.Fatalf("node %v has other classes from the node below it", at)
				}
				got = append(got, direct)
				c = again
			}
			if want == nil {
				want = got
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatal("keys of two words have other classes")
			}
		}
	}
}

// Memory that was given back makes no difference to what is grouped in it.
func TestMemoryThatIsUsedAgain(t *testing.T) {
	built := drawn(t, rand.New(rand.NewPCG(2, 9)), 100)
	req, err := guarantee.Bind(built, guarantee.Entropy{Column: "s", L: 2})
	if err != nil {
		t.Fatal(err)
	}
	s := newSpace(built, req)
	g, base := newGrouper(s), s.base()
	first := g.group(base, Node{1, 1, 1, 1, 1})
	want := summary(first)
	g.free(first)
	for _, at := range []Node{{2, 0, 0, 0, 0}, {4, 4, 4, 4, 4}, {0, 0, 0, 0, 3}} {
		g.free(g.group(base, at))
		g.free(g.sizes(base, at))
	}
	if got := summary(g.group(base, Node{1, 1, 1, 1, 1})); !reflect.DeepEqual(got, want) {
		t.Error("a node has other classes in memory that was used before")
	}
}

// The bound of a branch is true: no node in it that may be published loses less.
func TestBoundIsABound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	cut, kept := 0, 0
	for range 20 {
		built := drawn(t, r, 10+r.IntN(60))
		req, err := guarantee.Bind(built, guarantee.K(2+r.IntN(20)))
		if err != nil {
			t.Fatal(err)
		}
		s := newSpace(built, req)
		search := newSearch(s, s.base(), Limits{Suppressed: []int{500, 50}[r.IntN(2)]})
		g, at := newGrouper(s), make(Node, len(s.fields))
		for q := range at {
			at[q] = uint8(r.IntN(2))
		}
		place := 1 + r.IntN(3)
		c := g.group(s.base(), at)
		best := leastAbove(search, g, c, place)
		if best.node != nil { // a bound just above the best of the branch keeps the branch
			search.keep(candidate{node: best.node, loss: best.loss * (1 + 1e-6), suppressed: best.suppressed})
			if search.hopeless(g, c, place) {
				t.Fatalf("the branch above %v was cut, in which %v loses %v", at, best.node, best.loss)
			}
			kept++
		}
		search.keep(candidate{node: at, loss: search.least(at)})
		if search.hopeless(g, c, place) {
			cut++
		}
	}
	if cut == 0 || kept == 0 {
		t.Errorf("%d branches were cut and %d kept", cut, kept)
	}
}

// Levels that group no two values that the table has are not looked at: the lattice has
// more than a million nodes, of which all but the 2^8 at the ends are like one of these.
func TestLevelsThatChangeNothing(t *testing.T) {
	var names []string
	hierarchies := map[string]*hierarchy.Hierarchy{}
	for q := range 8 {
		name := fmt.Sprint("q", q)
		h, err := hierarchy.New([][]string{{"a", "a", "a", "a", "a", "*"}, {"b", "b", "b", "b", "b", "*"}, {"c", "c", "d", "d", "d", "*"}, {"e", "e", "d", "d", "d", "*"}})
		if err != nil {
			t.Fatal(err)
		}
		names, hierarchies[name] = append(names, name), h
	}
	b, err := table.NewBuilder(names, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(6, 9))
	for range 200 {
		var row [][]byte
		for range names {
			row = append(row, []byte{"abc"[r.IntN(3)]}) // and never e
		}
		if err := b.Add(row, nil); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Build(hierarchies)
	if err != nil {
		t.Fatal(err)
	}
	req, err := guarantee.Bind(built, guarantee.K(3))
	if err != nil {
		t.Fatal(err)
	}
	found, err := Optimum(t.Context(), built, req, Limits{Suppressed: 20})
	if err != nil {
		t.Fatal(err)
	}
	if !found.Finished || found.Checked > 1000 {
		t.Errorf("finished %t, %d nodes checked", found.Finished, found.Checked)
	}
	for _, lv := range found.Node {
		if lv != 0 && lv != 5 {
			t.Errorf("node %v has a level that changes nothing", found.Node)
		}
	}
}

// leastAbove tries all nodes above c that raise columns from a place on.
func leastAbove(r *search, g *grouper, c *classes, place int) (best candidate) {
	var visit func(at Node, place int)
	visit = func(at Node, place int) {
		if place == len(r.order) {
			n := g.group(c, at)
			loss, suppressed, ok := r.score(g, n)
			if ok && (best.node == nil || loss < best.loss) {
				best = candidate{append(Node(nil), at...), loss, suppressed}
			}
			g.free(n)
			return
		}
		q := r.order[place]
		for low := at[q]; at[q] <= r.space.tops[q]; at[q]++ {
			visit(at, place+1)
			if at[q] == r.space.tops[q] {
				at[q] = low
				return
			}
		}
	}
	visit(append(Node(nil), c.at...), place)
	return best
}
