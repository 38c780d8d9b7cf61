package anonymize_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// published is what a reader of a release has: rows of texts, and their sensitive value.
type published struct {
	quasi     []string
	sensitive string
}

// publish does what a second pass over the file does.
func publish(t *testing.T, p *people, built *table.Table, r *anonymize.Release) (rows []published, suppressed int) {
	t.Helper()
	for _, row := range p.rows {
		i, ok := built.Find(cells(row[:len(p.quasi)]))
		if !ok {
			t.Fatalf("the row %q is not found again", row)
		}
		text, ok := r.Partition.Text(nil, i)
		if !ok {
			suppressed++
			continue
		}
		rows = append(rows, published{text, strings.Join(row[len(p.quasi):], "")})
	}
	return rows, suppressed
}

// violated is the models that a release breaks, by their definitions alone. The names
// of a class's people in the population come from the release's own assignment, which
// labelsTrue holds against the labels.
func violated(p *people, models []guarantee.Model, rows []published, people map[string]int) (broken []string) {
	class, whole := map[string]map[string]float64{}, map[string]float64{}
	for _, r := range p.rows {
		whole[strings.Join(r[len(p.quasi):], "")]++
	}
	for _, r := range rows {
		key := strings.Join(r.quasi, "\x00")
		if class[key] == nil {
			class[key] = map[string]float64{}
		}
		class[key][r.sensitive]++
	}
	for _, m := range models {
		for key, counts := range class {
			n, top, rest, entropy, values := 0.0, 0.0, 0.0, 0.0, []float64{}
			for _, c := range counts {
				n, values = n+c, append(values, c)
			}
			slices.Sort(values)
			slices.Reverse(values)
			for i, c := range values {
				top, entropy = values[0], entropy-c/n*math.Log(c/n)
				if r, ok := m.(guarantee.Recursive); ok && i >= r.L-1 {
					rest += c
				}
			}
			ok := true
			switch m := m.(type) {
			case guarantee.K:
				ok = n >= float64(m)
			case guarantee.KMap:
				ok = people[key] >= int(m)
			case guarantee.Distinct:
				ok = len(values) >= m.L
			case guarantee.Entropy:
				ok = entropy >= math.Log(m.L)-1e-6
			case guarantee.Recursive:
				ok = top < m.C*rest
			case guarantee.Presence:
				ok = n/float64(people[key]) >= m.Min && n/float64(people[key]) <= m.Max
			case guarantee.Likeness:
				for v, c := range counts {
					q := whole[v] / float64(len(p.rows))
					bound := m.Beta
					if m.Enhanced {
						bound = math.Min(bound, -math.Log(q))
					}
					ok = ok && (c/n-q)/q <= bound+1e-6
				}
			case guarantee.Closeness:
				ok = moved(p.hierarchies[m.Column].WithMissing(), m.Ground, counts, whole) <= m.T+1e-6
			}
			if !ok {
				broken = append(broken, fmt.Sprintf("%s in %q: %v", m, key, counts))
			}
		}
	}
	return broken
}

// moved is the earth mover's distance: by a transport plan along the line for ordered
// values, and over the edges of the tree, half a step each, for hierarchical ones.
func moved(h *hierarchy.Hierarchy, g guarantee.Ground, a, b map[string]float64) float64 {
	na, nb := 0.0, 0.0
	for _, n := range a {
		na += n
	}
	for _, n := range b {
		nb += n
	}
	if _, missing := b[""]; !missing && h.Value(uint32(h.Len()-1)) == "" {
		h = without(h)
	}
	sum := 0.0
	switch g {
	case guarantee.Equal:
		for v := range b {
			sum += math.Abs(a[v]/na-b[v]/nb) / 2
		}
	case guarantee.Ordered:
		from, to := make([]float64, h.Len()), make([]float64, h.Len())
		for i := range from {
			from[i], to[i] = a[h.Value(uint32(i))]/na, b[h.Value(uint32(i))]/nb
		}
		for i, j := 0, 0; i < len(from) && j < len(to); {
			m := min(from[i], to[j])
			sum += m * math.Abs(float64(i-j)) / math.Max(1, float64(h.Len()-1))
			from[i], to[j] = from[i]-m, to[j]-m
			if from[i] <= to[j] {
				i++
			} else {
				j++
			}
		}
	case guarantee.Hierarchical:
		for lv := range h.Levels() - 1 {
			extra := make([]float64, h.Groups(lv))
			for i := range h.Len() {
				extra[h.Group(lv, uint32(i))] += a[h.Value(uint32(i))]/na - b[h.Value(uint32(i))]/nb
			}
			for _, e := range extra {
				sum += math.Abs(e) / 2 / float64(h.Levels()-1)
			}
		}
	}
	return sum
}

// without is a hierarchy without its missing value.
func without(h *hierarchy.Hierarchy) *hierarchy.Hierarchy {
	var rows [][]string
	for i := range h.Len() - 1 {
		rows = append(rows, h.Row(uint32(i)))
	}
	less, err := hierarchy.New(rows)
	if err != nil {
		panic(err)
	}
	return less
}

// The checker sees what it is there to see.
func TestCheckerFindsWhatIsBroken(t *testing.T) {
	h := map[string]*hierarchy.Hierarchy{"s": must(hierarchy.New([][]string{{"0", "l", "*"}, {"1", "l", "*"}, {"2", "r", "*"}, {"3", "r", "*"}}))}
	p := &people{quasi: []string{"q"}, sensitive: []string{"s"}, hierarchies: h,
		rows: [][]string{{"a", "0"}, {"a", "0"}, {"a", "1"}, {"b", "2"}, {"b", "3"}, {"b", "3"}, {"b", "3"}}}
	var rows []published
	for _, r := range p.rows {
		rows = append(rows, published{r[:1], r[1]})
	}
	people := map[string]int{"a": 4, "b": 10}
	s := "s"
	for _, c := range []struct {
		holds, breaks guarantee.Model
	}{
		{guarantee.K(3), guarantee.K(4)},
		{guarantee.KMap(4), guarantee.KMap(5)},
		{guarantee.Distinct{Column: s, L: 2}, guarantee.Distinct{Column: s, L: 3}},
		{guarantee.Entropy{Column: s, L: 1.7}, guarantee.Entropy{Column: s, L: 1.8}},
		{guarantee.Recursive{Column: s, C: 3.1, L: 2}, guarantee.Recursive{Column: s, C: 3, L: 2}},
		{guarantee.Presence{Min: 0.4, Max: 0.75}, guarantee.Presence{Min: 0.4, Max: 0.7}},
		{guarantee.Likeness{Column: s, Beta: 1.34}, guarantee.Likeness{Column: s, Beta: 1.3}},
		{guarantee.Likeness{Column: s, Beta: 1.34}, guarantee.Likeness{Column: s, Beta: 1.34, Enhanced: true}},
		{guarantee.Closeness{Column: s, T: 0.58}, guarantee.Closeness{Column: s, T: 0.57}},
		{guarantee.Closeness{Column: s, T: 0.48, Ground: guarantee.Ordered}, guarantee.Closeness{Column: s, T: 0.46, Ground: guarantee.Ordered}},
		{guarantee.Closeness{Column: s, T: 0.58, Ground: guarantee.Hierarchical}, guarantee.Closeness{Column: s, T: 0.57, Ground: guarantee.Hierarchical}},
	} {
		if b := violated(p, []guarantee.Model{c.holds}, rows, people); len(b) > 0 {
			t.Errorf("%s holds: %q", c.holds, b)
		}
		if b := violated(p, []guarantee.Model{c.breaks}, rows, people); len(b) == 0 {
			t.Errorf("%s does not hold", c.breaks)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
