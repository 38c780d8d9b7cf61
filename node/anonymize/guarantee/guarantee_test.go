package guarantee_test

import (
	"math"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// salaries is the table of Li, Li and Venkatasubramanian, t-Closeness, section 4: nine
// people with the salaries 3k to 11k.
func salaries(t *testing.T) *table.Table {
	t.Helper()
	b, err := table.NewBuilder([]string{"zip"}, []string{"salary", "disease"})
	if err != nil {
		t.Fatal(err)
	}
	diseases := strings.Fields("ulcer gastritis cancer gastritis flu bronchitis bronchitis pneumonia cancer")
	for i, salary := range strings.Fields("3 4 5 6 11 8 7 9 10") {
		if err := b.Add([][]byte{{byte('a' + i/3)}}, [][]byte{[]byte(salary), []byte(diseases[i])}); err != nil {
			t.Fatal(err)
		}
	}
	h, err := hierarchy.New([][]string{
		{"ulcer", "stomach", "*"}, {"gastritis", "stomach", "*"}, {"cancer", "stomach", "*"},
		{"flu", "airways", "*"}, {"bronchitis", "airways", "*"}, {"pneumonia", "airways", "*"}})
	if err != nil {
		t.Fatal(err)
	}
	built, err := b.Build(map[string]*hierarchy.Hierarchy{"disease": h})
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func class(leaves, counts []uint32) *guarantee.Class {
	c := &guarantee.Class{Leaf: [][]uint32{leaves, leaves}, Count: [][]uint32{counts, counts}}
	for _, n := range counts {
		c.Rows += int(n)
	}
	c.People = c.Rows
	return c
}

func ones(leaves ...uint32) *guarantee.Class {
	counts := make([]uint32, len(leaves))
	for i := range counts {
		counts[i] = 1
	}
	return class(leaves, counts)
}

// The distances are those of the paper: 0.375 from {3k,4k,5k} and 0.167 from
// {6k,8k,11k} to all salaries.
func TestClosenessIsThatOfThePaper(t *testing.T) {
	built := salaries(t)
	for _, c := range []struct {
		class    *guarantee.Class
		column   string
		ground   guarantee.Ground
		distance float64
	}{
		{ones(0, 1, 2), "salary", guarantee.Ordered, 0.375},
		{ones(3, 5, 8), "salary", guarantee.Ordered, 1.0 / 6},
		{ones(0, 1, 2), "salary", guarantee.Equal, 2.0 / 3},
		{ones(0, 1, 2), "disease", guarantee.Equal, 4.0 / 9},
		// each disease of the stomach is too frequent, and all of that comes from the airways
		{ones(0, 1, 2), "disease", guarantee.Hierarchical, 4.0 / 9},
		// 1/9 comes from the airways, and the rest moves within the groups, half as far
		{ones(0, 1, 4), "disease", guarantee.Hierarchical, 1.0/9 + 0.5*(2.0/9+1.0/9)},
	} {
		for _, off := range []float64{-1e-6, 1e-6} {
			r, err := guarantee.Bind(built, guarantee.Closeness{Column: c.column, T: c.distance + off, Ground: c.ground})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Holds(c.class); got != (off > 0) {
				t.Errorf("%s: %v holds: %t", r, c.class.Leaf[0], got)
			}
		}
	}
}

func TestModelsAtTheirEdges(t *testing.T) {
	built := salaries(t)
	const s = "disease"
	for _, c := range []struct {
		name          string
		class         *guarantee.Class
		holds, breaks guarantee.Model
	}{
		{"two rows", ones(0, 1), guarantee.K(2), guarantee.K(3)},
		{"two people", ones(0, 1), guarantee.KMap(2), guarantee.KMap(3)},
		{"two values", class([]uint32{0, 1}, []uint32{5, 1}), guarantee.Distinct{Column: s, L: 2}, guarantee.Distinct{Column: s, L: 3}},
		{"three values evenly", class([]uint32{0, 1, 2}, []uint32{3, 3, 3}), guarantee.Entropy{Column: s, L: 3}, guarantee.Entropy{Column: s, L: 3.01}},
		{"a frequent value", class([]uint32{0, 1, 2}, []uint32{6, 2, 1}), guarantee.Recursive{Column: s, C: 2.1, L: 2}, guarantee.Recursive{Column: s, C: 2, L: 2}},
		{"a rare third", class([]uint32{0, 1, 2}, []uint32{6, 2, 1}), guarantee.Recursive{Column: s, C: 6.1, L: 3}, guarantee.Recursive{Column: s, C: 6, L: 3}},
		// one ninth of the table are ulcers, a third of the class
		{"an ulcer in three", ones(0, 1, 2), guarantee.Likeness{Column: s, Beta: 2}, guarantee.Likeness{Column: s, Beta: 1.9}},
		{"half bronchitis", class([]uint32{3, 4}, []uint32{3, 3}), guarantee.Likeness{Column: s, Beta: 3.6}, guarantee.Likeness{Column: s, Beta: 3.6, Enhanced: true}},
		{"all have rows", ones(0, 1), guarantee.Presence{Max: 1}, guarantee.Presence{Max: 0.99}},
	} {
		for want, m := range map[bool]guarantee.Model{true: c.holds, false: c.breaks} {
			r, err := guarantee.Bind(built, m)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Holds(c.class); got != want {
				t.Errorf("%s: %s holds: %t", c.name, m, got)
			}
			if got := r.Models(); len(got) != 1 || got[0] != m {
				t.Errorf("%v became %v", m, got)
			}
		}
	}
}

func TestParametersThatMakeNoSense(t *testing.T) {
	built := salaries(t)
	nan := math.NaN()
	for _, c := range []struct {
		model guarantee.Model
		want  string
	}{
		{guarantee.K(0), "0-anonymity: k is at least 1"},
		{guarantee.KMap(-1), "k is at least 1"},
		{guarantee.K(10), "the table has 9 rows"},
		{guarantee.KMap(10), "the population has 9 people"},
		{guarantee.Distinct{Column: "disease"}, "l is at least 1"},
		{guarantee.Distinct{Column: "zip", L: 2}, `"zip" is not a sensitive column`},
		{guarantee.Distinct{Column: "disease", L: 7}, "the column has 6 different values"},
		{guarantee.Entropy{Column: "disease", L: nan}, "l is at least 1"},
		{guarantee.Entropy{Column: "disease", L: 6.5}, "the column has 6 different values"},
		{guarantee.Entropy{Column: "x", L: 2}, "not a sensitive column"},
		{guarantee.Recursive{Column: "disease", L: 2}, "c above 0"},
		{guarantee.Recursive{Column: "disease", C: 1, L: 7}, "the column has 6 different values"},
		{guarantee.Recursive{Column: "x", C: 1, L: 2}, "not a sensitive column"},
		{guarantee.Closeness{Column: "disease", T: 1.5}, "t is between 0 and 1"},
		{guarantee.Closeness{Column: "disease", T: nan}, "t is between 0 and 1"},
		{guarantee.Closeness{Column: "disease", Ground: 9}, "there is no ground 9 distance"},
		{guarantee.Closeness{Column: "x"}, "not a sensitive column"},
		{guarantee.Likeness{Column: "disease"}, "beta is above 0"},
		{guarantee.Likeness{Column: "x", Beta: 1}, "not a sensitive column"},
		{guarantee.Presence{Min: 0.5, Max: 0.4}, "the lower one first"},
		{guarantee.Presence{Min: nan, Max: 1}, "between 0 and 1"},
	} {
		if _, err := guarantee.Bind(built, guarantee.K(1), c.model); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.model, err, c.want)
		}
	}
	if _, err := guarantee.Bind(built); err == nil {
		t.Error("a release without a guarantee")
	}
}

// What a search may rely on: a union of classes that hold holds, for all models; and a
// union with any class, for those that say that they last. The control: those that do
// not say so have a union that does not hold.
func TestUnions(t *testing.T) {
	built := salaries(t)
	const s = "disease"
	for _, m := range []guarantee.Model{
		guarantee.K(2), guarantee.KMap(2), guarantee.Distinct{Column: s, L: 2},
		guarantee.Entropy{Column: s, L: 2}, guarantee.Recursive{Column: s, C: 1.5, L: 2},
		guarantee.Closeness{Column: s, T: 0.5}, guarantee.Closeness{Column: s, T: 0.4, Ground: guarantee.Ordered},
		guarantee.Closeness{Column: s, T: 0.4, Ground: guarantee.Hierarchical},
		guarantee.Likeness{Column: s, Beta: 1.5}, guarantee.Presence{Min: 0.3, Max: 0.6},
	} {
		r, err := guarantee.Bind(built, m)
		if err != nil {
			t.Fatal(err)
		}
		lost := false
		classes := small()
		for _, a := range classes {
			for _, b := range classes {
				union := r.Holds(unite(a, b))
				if r.Holds(a) && r.Holds(b) && !union {
					t.Fatalf("%s: %v and %v hold, and their union does not", m, a, b)
				}
				lost = lost || r.Holds(a) && !union
			}
		}
		if lost == r.Lasting() {
			t.Errorf("%s says it lasts: %t, and a class that held stopped to: %t", m, r.Lasting(), lost)
		}
	}
}

// small is all classes of up to two rows of each of the first four leaves.
func small() (all []*guarantee.Class) {
	for code := 1; code < 81; code++ {
		var leaves, counts []uint32
		for leaf, rest := uint32(0), code; rest > 0; leaf, rest = leaf+1, rest/3 {
			if n := rest % 3; n > 0 {
				leaves, counts = append(leaves, leaf), append(counts, uint32(n))
			}
		}
		c := class(leaves, counts)
		c.People += code % 7
		all = append(all, c)
	}
	return all
}

func unite(a, b *guarantee.Class) *guarantee.Class {
	sum := map[uint32]uint32{}
	for _, c := range []*guarantee.Class{a, b} {
		for i, leaf := range c.Leaf[0] {
			sum[leaf] += c.Count[0][i]
		}
	}
	var leaves, counts []uint32
	for leaf, n := range sum {
		leaves, counts = append(leaves, leaf), append(counts, n)
	}
	c := class(leaves, counts)
	c.People = a.People + b.People
	return c
}
