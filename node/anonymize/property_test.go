package anonymize_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/measure"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// randomModels are k-anonymity or nothing, and up to two others.
func randomModels(r *rand.Rand) (models []guarantee.Model) {
	if r.IntN(3) > 0 {
		models = append(models, guarantee.K(1+r.IntN(8)))
	}
	ground := guarantee.Ground(r.IntN(3))
	others := []guarantee.Model{
		guarantee.KMap(1 + r.IntN(10)),
		guarantee.Distinct{Column: "s", L: 1 + r.IntN(3)},
		guarantee.Entropy{Column: "s", L: 1 + 1.5*r.Float64()},
		guarantee.Recursive{Column: "s", C: 0.5 + 3*r.Float64(), L: 1 + r.IntN(3)},
		guarantee.Closeness{Column: "s", T: 0.05 + 0.4*r.Float64(), Ground: ground},
		guarantee.Likeness{Column: "s", Beta: 0.3 + 2*r.Float64(), Enhanced: r.IntN(2) == 0},
		guarantee.Presence{Min: 0.2 * float64(r.IntN(2)) * r.Float64(), Max: 0.4 + 0.6*r.Float64()},
	}
	for _, i := range r.Perm(len(others))[:r.IntN(3)] {
		models = append(models, others[i])
	}
	if len(models) == 0 {
		return []guarantee.Model{guarantee.K(2)}
	}
	return models
}

// peopleOf is the population of each class by its labels.
func peopleOf(built *table.Table, p *partition.Partition) map[string]int {
	n := map[string]int{}
	for i, people := range built.Population() {
		if text, ok := p.Text(nil, i); ok {
			n[strings.Join(text, "\x00")] += int(people)
		}
	}
	return n
}

// labelsTrue finds a label that does not stand for the value behind it, or for another
// number of values than it says.
func labelsTrue(p *people, built *table.Table, r *anonymize.Release) error {
	for _, row := range slices.Concat(p.rows, p.population) {
		i, _ := built.Find(cells(row[:len(p.quasi)]))
		class := r.Partition.Class[i]
		if class == partition.Suppressed {
			continue
		}
		for q, c := range built.Quasi() {
			l, h := r.Partition.Label(class, q), c.Hierarchy
			leaf, _ := h.Leaf(row[q])
			ok := r.Plan.Method == anonymize.Boxes
			for lv := range h.Levels() {
				ok = ok || l.Text == h.Label(lv, h.Group(lv, leaf)) && l.Leaves == h.Size(lv, h.Group(lv, leaf)) && (r.Levels == nil || r.Levels[q] == lv)
			}
			if !ok || l.Leaves < 1 || l.Leaves > h.Len() {
				return fmt.Errorf("%s: %q is published as %q, one of %d", c.Name, row[q], l.Text, l.Leaves)
			}
		}
	}
	return nil
}

// Whatever the table and the models, what is published keeps them, as a checker says
// that knows nothing of the search; and the optimum is that of trying everything.
func TestReleasesKeepWhatTheyPromise(t *testing.T) {
	released := map[anonymize.Method]int{}
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 6))
		p, plan := random(r), anonymize.Plan{Models: randomModels(r), Method: anonymize.Method(r.IntN(3)), Workers: 1 + r.IntN(3)}
		plan.Suppress = []float64{0, 0.05, 0.3, 1}[r.IntN(4)]
		built := p.build(t)
		release, err := plan.Run(t.Context(), built)
		if err != nil {
			refusal(t, seed, built, plan, err)
			continue
		}
		released[plan.Method]++
		rows, suppressed := publish(t, p, built, release)
		if broken := violated(p, plan.Models, rows, peopleOf(built, release.Partition)); len(broken) > 0 {
			t.Fatalf("seed %d, %s: %s", seed, plan.Method, broken[0])
		}
		if limit := plan.Suppress * float64(len(p.rows)); float64(suppressed) > limit+1e-6 || len(rows) == 0 || suppressed != release.Partition.Suppressed() {
			t.Fatalf("seed %d, %s: %d of %d rows are suppressed, and %v may be", seed, plan.Method, suppressed, len(p.rows), limit)
		}
		if err := labelsTrue(p, built, release); err != nil {
			t.Fatalf("seed %d, %s: %v", seed, plan.Method, err)
		}
		u := measure.UtilityOf(release.Partition)
		for _, share := range []float64{u.GCP, u.Granularity, u.Entropy} {
			if !(-1e-9 <= share && share <= 1+1e-9) || !(u.KL > -1e-9) {
				t.Fatalf("seed %d, %s: %+v", seed, plan.Method, u)
			}
		}
		if plan.Method != anonymize.Columns {
			continue
		}
		if best, _ := exhaustive(t, built, plan); math.Abs(u.GCP-best) > 1e-9 {
			t.Fatalf("seed %d: the optimum has a GCP of %v, and trying everything finds %v", seed, u.GCP, best)
		}
	}
	for _, m := range []anonymize.Method{anonymize.Columns, anonymize.Rows, anonymize.Boxes} {
		if released[m] < 100 {
			t.Errorf("only %d tables were released by %s", released[m], m)
		}
	}
}

// refusal holds a refusal against what trying everything finds.
func refusal(t *testing.T, seed uint64, built *table.Table, plan anonymize.Plan, err error) {
	t.Helper()
	var nothing *guarantee.NothingError
	if !errors.As(err, &nothing) {
		if _, bad := guarantee.Bind(built, plan.Models...); bad == nil && plan.Method != anonymize.Rows {
			t.Fatalf("seed %d: %v", seed, err)
		}
		return
	}
	if plan.Method == anonymize.Boxes {
		return // it suppresses nothing
	}
	if _, found := exhaustive(t, built, plan); found {
		t.Fatalf("seed %d: %v, and trying everything finds a release", seed, err)
	}
}

// exhaustive tries every node on its own, from the combinations up.
func exhaustive(t *testing.T, built *table.Table, plan anonymize.Plan) (best float64, found bool) {
	t.Helper()
	req := must(guarantee.Bind(built, plan.Models...))
	at, best := make([]int, len(built.Quasi())), math.Inf(1)
	for {
		if gcp, ok := tried(built, req, at, int(plan.Suppress*float64(built.Rows())+1e-9)); ok {
			best, found = min(best, gcp), true
		}
		q := 0
		for q < len(at) && at[q] == built.Quasi()[q].Hierarchy.Levels()-1 {
			at[q] = 0
			q++
		}
		if q == len(at) {
			return best, found
		}
		at[q]++
	}
}

func tried(built *table.Table, req *guarantee.Requirement, at []int, limit int) (gcp float64, ok bool) {
	type class struct {
		rows, people int
		loss         float64
		values       map[uint32]uint32
	}
	classes := map[string]*class{}
	for i := range built.Len() {
		key, loss := "", 0.0
		for q, c := range built.Quasi() {
			g := c.Hierarchy.Group(at[q], built.Leaves(q)[i])
			key += fmt.Sprintf("%d,", g)
			loss += c.Hierarchy.Penalty(c.Hierarchy.Size(at[q], g))
		}
		if classes[key] == nil {
			classes[key] = &class{loss: loss, values: map[uint32]uint32{}}
		}
		c := classes[key]
		c.rows += int(built.Count()[i])
		c.people += int(built.Population()[i])
		leaf, count := built.Beside(0).Of(i)
		for j := range leaf {
			c.values[leaf[j]] += count[j]
		}
	}
	sum, suppressed, published := 0.0, 0, false
	for _, c := range classes {
		view := guarantee.Class{Rows: c.rows, People: c.people, Leaf: [][]uint32{nil}, Count: [][]uint32{nil}}
		for leaf, count := range c.values {
			view.Leaf[0], view.Count[0] = append(view.Leaf[0], leaf), append(view.Count[0], count)
		}
		if c.rows > 0 && req.Holds(&view) {
			sum, published = sum+c.loss*float64(c.rows), true
			continue
		}
		if req.Everybody() {
			return 0, false
		}
		suppressed += c.rows
		sum += float64(len(at) * c.rows)
	}
	return sum / float64(built.Rows()*len(at)), published && suppressed <= limit
}

// However many workers search, and however often, they find the same.
func TestWorkersAgree(t *testing.T) {
	p := patients(t)
	built := p.build(t)
	for _, k := range []int{2, 5, 20} {
		var first []int32
		for workers := range 8 {
			plan := anonymize.Plan{Models: []guarantee.Model{guarantee.K(k)}, Suppress: 0.1, Workers: workers}
			r, err := plan.Run(context.Background(), built)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = r.Partition.Class
			}
			if !slices.Equal(r.Partition.Class, first) {
				t.Errorf("k=%d: %d workers publish other classes than one", k, workers)
			}
		}
	}
}
