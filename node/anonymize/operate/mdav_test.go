package operate

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// spread is the sum of squared distances to the means of groups.
func spread(columns [][]float64, means [][]float64) (sum float64) {
	for c := range columns {
		for i, f := range columns[c] {
			sum += (f - means[c][i]) * (f - means[c][i])
		}
	}
	return sum
}

// On random tables every group has k to 2k-1 rows, members share the mean of their
// numbers, and the means of columns stay what they are.
func TestMicroaggregationKeepsItsPromises(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		n, width, k := 2+random.IntN(150), 1+random.IntN(4), 0
		k = 2 + random.IntN(min(n-1, 12))
		columns := make([][]float64, width)
		for c := range columns {
			columns[c] = make([]float64, n)
			for i := range columns[c] {
				columns[c][i] = math.Round(random.NormFloat64() * 10) // with ties
			}
		}
		means, group, err := Microaggregate(context.Background(), columns, k)
		if err != nil {
			if k > n {
				continue
			}
			t.Fatal(err)
		}
		size, sum := map[int]int{}, map[int][]float64{}
		for i, g := range group {
			size[g]++
			if sum[g] == nil {
				sum[g] = make([]float64, width)
			}
			for c := range columns {
				sum[g][c] += columns[c][i]
			}
		}
		for g, rows := range size {
			if rows < k || rows > 2*k-1 {
				t.Fatalf("n=%d k=%d: a group has %d rows", n, k, rows)
			}
			for i := range group {
				for c := range columns {
					if group[i] == g && math.Abs(means[c][i]-sum[g][c]/float64(rows)) > 1e-9 {
						t.Fatal("a row does not have the mean of its group")
					}
				}
			}
		}
	}
}

// Groups are of rows that are alike: they lose far less than groups of anybody would.
func TestMicroaggregationGroupsWhatIsAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	x, y := make([]float64, 600), make([]float64, 600)
	for i := range x {
		x[i], y[i] = random.Float64(), 1000*random.Float64() // the scale of y does not rule
	}
	columns := [][]float64{x, y}
	means, _, err := Microaggregate(context.Background(), columns, 5)
	if err != nil {
		t.Fatal(err)
	}
	for c := range columns {
		arbitrary := make([]float64, 600)
		for i := range arbitrary {
			for j := i / 5 * 5; j < i/5*5+5; j++ {
				arbitrary[i] += columns[c][j] / 5
			}
		}
		got, anybody := spread(columns[c:c+1], means[c:c+1]), spread(columns[c:c+1], [][]float64{arbitrary})
		if got > anybody/20 {
			t.Errorf("column %d: a spread of %v, and %v with arbitrary groups", c, got, anybody)
		}
	}
}

// Two clusters of k are found as such: the example can be checked by eye.
func TestMicroaggregationByHand(t *testing.T) {
	means, group, err := Microaggregate(context.Background(), [][]float64{{1, 101, 2, 102, 3, 103, 51, 52, 53}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{2, 102, 2, 102, 2, 102, 52, 52, 52} {
		if math.Abs(means[0][i]-want) > 1e-9 {
			t.Errorf("row %d has %v, want %v (group %d)", i, means[0][i], want, group[i])
		}
	}
}

func TestMicroaggregationRefuses(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		columns [][]float64
		k       int
	}{
		"no column":      {nil, 3},
		"k of 1":         {[][]float64{{1, 2, 3}}, 1},
		"k above n":      {[][]float64{{1, 2, 3}}, 4},
		"ragged":         {[][]float64{{1, 2, 3}, {1, 2}}, 2},
		"not a number":   {[][]float64{{1, math.NaN(), 3}}, 2},
		"an infinite":    {[][]float64{{1, math.Inf(1), 3}}, 2},
		"an enormous":    {[][]float64{{1, 1e200, 3}}, 2},
		"an empty table": {[][]float64{{}}, 2},
	} {
		if _, _, err := Microaggregate(ctx, c.columns, c.k); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	var cell *CellError
	if _, _, err := Microaggregate(ctx, [][]float64{{1, math.NaN(), 3}}, 2); !errors.As(err, &cell) || cell.Row != 2 {
		t.Errorf("the error is %v", err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, _, err := Microaggregate(ended, [][]float64{make([]float64, 100)}, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

func BenchmarkMicroaggregate(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	columns := [][]float64{make([]float64, 5000), make([]float64, 5000), make([]float64, 5000)}
	for _, c := range columns {
		for i := range c {
			c[i] = random.NormFloat64()
		}
	}
	for b.Loop() {
		if _, _, err := Microaggregate(context.Background(), columns, 5); err != nil {
			b.Fatal(err)
		}
	}
}
