package anonymize_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/measure"
)

func TestPlansThatMakeNoSenseAreRefused(t *testing.T) {
	built := patients(t).build(t)
	k := []guarantee.Model{guarantee.K(5)}
	for _, c := range []struct {
		plan anonymize.Plan
		want string
	}{
		{anonymize.Plan{}, "no guarantee to give"},
		{anonymize.Plan{Models: k, Suppress: -0.1}, "between 0 and 1"},
		{anonymize.Plan{Models: k, Suppress: 1.1}, "between 0 and 1"},
		{anonymize.Plan{Models: k, Method: 7}, "no method 7"},
		{anonymize.Plan{Models: []guarantee.Model{guarantee.K(401)}}, "the table has 400 rows, and no class may have fewer than 401"},
		{anonymize.Plan{Models: []guarantee.Model{guarantee.KMap(401)}}, "the population has 400 people"},
		{anonymize.Plan{Models: []guarantee.Model{guarantee.Presence{Max: 0.5}}, Method: anonymize.Rows}, "coarsen whole columns"},
	} {
		if _, err := c.plan.Run(t.Context(), built); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.plan, err, c.want)
		}
	}
}

// Where every release would break the guarantee, the error says so and what to do, by
// every method, and where only suppressing everything would keep it, that is no release.
func TestNothingToReleaseIsAnError(t *testing.T) {
	built := patients(t).build(t)
	impossible := guarantee.Recursive{Column: "diagnosis", C: 0.05, L: 2}
	for _, m := range []anonymize.Method{anonymize.Columns, anonymize.Rows, anonymize.Boxes} {
		for _, suppress := range []float64{0, 0.1, 1} {
			plan := anonymize.Plan{Method: m, Models: []guarantee.Model{guarantee.K(300), impossible}, Suppress: suppress}
			r, err := plan.Run(t.Context(), built)
			var nothing *guarantee.NothingError
			if !errors.As(err, &nothing) || r != nil {
				t.Fatalf("%s: %v, %v", m, r, err)
			}
			want := "while at most"
			switch {
			case m == anonymize.Boxes:
				want = "not even all 400 rows as one class keep it"
			case suppress == 1:
				want = "all 400 rows would have to be suppressed"
			}
			if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "300-anonymity, recursive") {
				t.Errorf("%s: %v, want %q", m, err, want)
			}
		}
	}
}

// until is a context whose time is up when it was asked so many times.
type until struct{ left *atomic.Int64 }

func (u until) Err() error {
	if u.left.Add(-1) < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func (until) Deadline() (time.Time, bool) { return time.Time{}, false }

func (until) Done() <-chan struct{} { return nil }

func (until) Value(any) any { return nil }

func within(asked int64) until {
	u := until{&atomic.Int64{}}
	u.left.Store(asked)
	return u
}

// wide is a table with so many columns that nobody could visit all nodes: 5^14.
func wide(rows int) *people {
	r := rand.New(rand.NewPCG(3, 3))
	p := &people{}
	for q := range 14 {
		p.quasi = append(p.quasi, fmt.Sprintf("q%d", q))
	}
	for range rows {
		row := make([]string, len(p.quasi))
		for q := range row {
			row[q] = fmt.Sprintf("%05d", r.IntN(1+r.IntN(30000)))
		}
		p.rows = append(p.rows, row)
	}
	return p
}

// When time is up, the best that was found keeps the guarantee all the same.
func TestBestFoundInTime(t *testing.T) {
	p := wide(200)
	built := p.build(t)
	models := []guarantee.Model{guarantee.K(4)}
	for _, m := range []anonymize.Method{anonymize.Columns, anonymize.Rows} {
		plan := anonymize.Plan{Method: m, Models: models, Suppress: 0.5, Workers: 2}
		r, err := plan.Run(within(150), built)
		if err != nil {
			t.Fatal(err)
		}
		rows, suppressed := publish(t, p, built, r)
		broken := violated(p, models, rows, nil)
		// rows of so large a lattice are coarsened by climbing alone, which does not ask
		if len(broken) > 0 || suppressed > 100 || r.Finished != (m == anonymize.Rows) {
			t.Errorf("%s: finished %t, %d suppressed, %v", m, r.Finished, suppressed, broken)
		}
	}
}

func TestNoTimeForAnything(t *testing.T) {
	p := patients(t)
	built := p.build(t)
	plan := anonymize.Plan{Models: []guarantee.Model{guarantee.K(5)}}
	r, err := plan.Run(within(0), built)
	if !errors.Is(err, context.DeadlineExceeded) || r != nil {
		t.Errorf("%v, %v", r, err)
	}
	plan.Method = anonymize.Boxes // the whole table is a box at once
	r, err = plan.Run(within(0), built)
	if err != nil || r.Finished || r.Partition.Classes() != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Keys of more than 64 bits are several words, and find the same as trying everything.
func TestOptimumOfLongKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	p := &people{sensitive: []string{"s"}}
	for q := range 5 {
		p.quasi = append(p.quasi, fmt.Sprintf("q%d", q))
	}
	for i := range 4200 { // 13 bits a column, 65 in all
		base := fmt.Sprintf("x%d", i%700)
		row := []string{fmt.Sprintf("x%d", i), base, base, fmt.Sprintf("x%d", r.IntN(4200)), fmt.Sprintf("x%d", i), "s"}
		if i%3 > 0 {
			row[0], row[4] = fmt.Sprintf("x%d", i/6*6), "x0"
		}
		row[1], row[2] = fmt.Sprintf("x%d", (i*7)%4200), fmt.Sprintf("x%d", (i*11)%4200)
		if i%5 > 0 {
			row[1], row[2], row[3] = "x1", "x2", "x3"
		}
		p.rows = append(p.rows, row)
	}
	for i := range 4200 { // every value is there, however the rows above were drawn
		v := fmt.Sprintf("x%d", i)
		p.rows = append(p.rows, []string{v, v, v, v, v, "s"})
	}
	built := p.build(t)
	for _, k := range []int{2, 40} {
		plan := anonymize.Plan{Models: []guarantee.Model{guarantee.K(k)}, Suppress: 1}
		release, err := plan.Run(t.Context(), built)
		if err != nil {
			t.Fatal(err)
		}
		best, _ := exhaustive(t, built, plan)
		if got := measure.UtilityOf(release.Partition).GCP; got > best+1e-9 || got < best-1e-9 {
			t.Errorf("k=%d: GCP %v, and trying everything finds %v", k, got, best)
		}
		plan.Method = anonymize.Rows
		if release, err = plan.Run(t.Context(), built); err != nil {
			t.Fatal(err)
		}
		rows, _ := publish(t, p, built, release)
		if broken := violated(p, plan.Models, rows, nil); len(broken) > 0 || len(rows) == 0 {
			t.Errorf("k=%d: %d rows, %.1q", k, len(rows), broken)
		}
	}
}

// What the small table of testdata becomes, by each method, keeps guarantees of all kinds.
func TestPatients(t *testing.T) {
	p := patients(t)
	built := p.build(t)
	models := []guarantee.Model{guarantee.K(4), guarantee.Distinct{Column: "diagnosis", L: 3},
		guarantee.Closeness{Column: "diagnosis", T: 0.35, Ground: guarantee.Hierarchical}}
	last := 1.0
	for _, m := range []anonymize.Method{anonymize.Columns, anonymize.Rows, anonymize.Boxes} {
		plan := anonymize.Plan{Method: m, Models: models, Suppress: 0.05}
		r, err := plan.Run(t.Context(), built)
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := publish(t, p, built, r)
		if broken := violated(p, models, rows, nil); len(broken) > 0 {
			t.Errorf("%s: %s", m, broken[0])
		}
		before, after := measure.Before(built, 0.2), measure.After(r.Partition, 0.3)
		if before.Prosecutor.Highest != 1 || after.Prosecutor.Highest > 0.25 || after.Prosecutor.AtRisk != 0 {
			t.Errorf("%s: risks %+v, then %+v", m, before, after)
		}
		u := measure.UtilityOf(r.Partition)
		if u.GCP >= last {
			t.Errorf("%s has a GCP of %v and the method before it %v", m, u.GCP, last)
		}
		last = u.GCP
		if !strings.HasPrefix(r.Guarantee, "4-anonymity, distinct 3-diversity of diagnosis, 0.35-closeness") || !slices.Equal(r.Plan.Models, models) {
			t.Errorf("the release says %q", r.Guarantee)
		}
	}
}
