package dp

import (
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/differential-privacy/go/v3/noise"
)

// many asks a question again and again, out of a new budget every ten times.
func many(t testing.TB, n int, ask func(*Budget) (float64, error)) []float64 {
	t.Helper()
	dir := t.TempDir()
	out := make([]float64, n)
	var b *Budget
	for i := range out {
		if i%10 == 0 {
			var err error
			if b, err = Open(filepath.Join(dir, fmt.Sprint(i)), "trial", Cost{MaxEpsilon, MaxDelta}, fixed); err != nil {
				t.Fatal(err)
			}
		}
		f, err := ask(b)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = f
	}
	return out
}

func moments(x []float64) (mean, variance float64) {
	for _, f := range x {
		mean += f / float64(len(x))
	}
	for _, f := range x {
		variance += (f - mean) * (f - mean) / float64(len(x))
	}
	return mean, variance
}

// The noise of a count is that of its epsilon: the mean is the truth, and the variance
// 2/epsilon^2, of Laplace noise. Both bounds are six standard deviations of what is
// measured. Half the noise, which would be half the promise, does not pass.
func TestCountsHaveTheNoiseOfTheirEpsilon(t *testing.T) {
	const n = 400
	for _, c := range []struct {
		q         Query
		deviation float64
	}{
		{Query{Cost: Cost{Epsilon: 1}}, math.Sqrt2},
		{Query{Cost: Cost{Epsilon: 0.25}}, math.Sqrt2 * 4},
		{Query{Cost: Cost{Epsilon: 1, Delta: 1e-5}}, noise.SigmaForGaussian(1, 1, 1, 1e-5)},
	} {
		got := many(t, n, func(b *Budget) (float64, error) {
			a, err := b.Count(c.q, people(50))
			if err == nil && !(a.Low < a.Value && a.Value < a.High) {
				t.Fatalf("%v is not within its bounds", a)
			}
			return a.Value, err
		})
		mean, variance := moments(got)
		want := c.deviation * c.deviation
		if math.Abs(mean-50) > 6*c.deviation/math.Sqrt(n) {
			t.Errorf("%v: the mean is %v", c.q, mean)
		}
		within := 6 * want * math.Sqrt(5.0/n)
		if math.Abs(variance-want) > within {
			t.Errorf("%v: the variance is %v, want %v", c.q, variance, want)
		}
		if math.Abs(want/4-want) < within {
			t.Errorf("%v: half the noise would pass", c.q)
		}
	}
}

// A person with a thousand rows moves an answer by no more than RowsEach of them.
func TestOnePersonCountsAsOftenAsAsked(t *testing.T) {
	crowd := func(yield func(Row, error) bool) {
		for range 1000 {
			if !yield(Row{Person: []byte("one"), Value: 10, Category: "a"}, nil) {
				return
			}
		}
	}
	for rows, want := range map[int]float64{0: 1, 1: 1, 3: 3} {
		q := Query{Cost: Cost{Epsilon: 2}, RowsEach: rows}
		within := 6 * want * math.Sqrt2 / q.Epsilon / math.Sqrt(30) // of the mean of 30 counts
		count := many(t, 30, func(b *Budget) (float64, error) { a, err := b.Count(q, crowd); return a.Value, err })
		if mean, _ := moments(count); math.Abs(mean-want) > within {
			t.Errorf("%d rows each: the count is %v", rows, mean)
		}
		sum := many(t, 30, func(b *Budget) (float64, error) { a, err := b.Sum(q, -5, 20, crowd); return a.Value, err })
		if mean, _ := moments(sum); math.Abs(mean-10*want) > 20*within {
			t.Errorf("%d rows each: the sum is %v", rows, mean)
		}
		histogram := many(t, 30, func(b *Budget) (float64, error) {
			bins, err := b.Histogram(q, []string{"a", "b", "c"}, crowd)
			if err != nil {
				return 0, err
			}
			return bins[0].Value, nil
		})
		if mean, _ := moments(histogram); math.Abs(mean-1) > within {
			t.Errorf("%d rows each: %v people are in the bin", rows, mean)
		}
	}
}

// With much epsilon and many people the answers are near the truth.
func TestAnswersAreAboutTheTable(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "budget"), 20)
	q := Query{Cost: Cost{Epsilon: 4}}
	sum, err := b.Sum(q, 0, 100, people(20_000))
	if err != nil || math.Abs(sum.Value-990_000) > 1000 {
		t.Errorf("the sum is %v, %v", sum, err)
	}
	mean, err := b.Mean(q, 0, 100, people(20_000))
	if err != nil || math.Abs(mean.Value-49.5) > 0.5 {
		t.Errorf("the mean is %v, %v", mean, err)
	}
	quantiles, err := b.Quantiles(q, 0, 100, []float64{0.25, 0.5, 0.75}, people(20_000))
	if err != nil || !slices.EqualFunc(quantiles, []float64{24.5, 49.5, 74.5}, func(a, b float64) bool { return math.Abs(a-b) < 2 }) {
		t.Errorf("the quantiles are %v, %v", quantiles, err)
	}
	sexes := func(yield func(Row, error) bool) {
		for i := range 3000 {
			if !yield(Row{Category: []string{"f", "m", "m", "elsewhere"}[i%4]}, nil) {
				return
			}
		}
	}
	bins, err := b.Histogram(q, []string{"f", "m", "x"}, sexes)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{750, 1500, 0} {
		if math.Abs(bins[i].Value-want) > 20 || bins[i].Category != []string{"f", "m", "x"}[i] {
			t.Errorf("the bins are %v", bins)
		}
	}
	missing := func(yield func(Row, error) bool) { yield(Row{Value: math.NaN()}, nil) }
	if got, err := b.Mean(q, 0, 1, missing); err != nil || math.IsNaN(got.Value) {
		t.Errorf("the mean of missing values is %v, %v", got, err)
	}
}

// The library logs by glog, which writes files of its own accord. No question that is
// asked here makes it, with the least and the largest arguments.
func TestTheLibraryStaysSilent(t *testing.T) {
	dir := t.TempDir()
	if f := flag.Lookup("log_dir"); f == nil {
		t.Fatal("the library does not log by glog any more: this test is idle")
	} else if err := f.Value.Set(dir); err != nil {
		t.Fatal(err)
	}
	b := open(t, filepath.Join(t.TempDir(), "budget"), 20)
	for _, q := range []Query{{Cost: Cost{Epsilon: MinEpsilon}}, {Cost: Cost{Epsilon: 3}, RowsEach: 1}} {
		for _, err := range []error{
			second(b.Count(q, people(3))), second(b.Sum(q, -maxBound, maxBound, people(3))), second(b.Mean(q, 0, 1e-9, people(3))),
			second(b.Quantiles(q, -1, 1, []float64{0, 1}, people(3))), second(b.Histogram(q, []string{""}, people(3))),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 0 {
		t.Errorf("it wrote %v, %v", files, err)
	}
}

func second[T any](_ T, err error) error { return err }

func BenchmarkAnswers(b *testing.B) {
	budget := func() *Budget {
		x, err := Open(filepath.Join(b.TempDir(), "budget"), "trial", Cost{Epsilon: MaxEpsilon}, fixed)
		if err != nil {
			b.Fatal(err)
		}
		return x
	}
	q := Query{Cost: Cost{Epsilon: MinEpsilon}}
	for name, ask := range map[string]func(*Budget) error{
		"count":     func(x *Budget) error { return second(x.Count(q, people(30_000))) },
		"sum":       func(x *Budget) error { return second(x.Sum(q, 0, 100, people(30_000))) },
		"quantiles": func(x *Budget) error { return second(x.Quantiles(q, 0, 100, []float64{0.5}, people(30_000))) },
	} {
		b.Run(name, func(b *testing.B) {
			x := budget()
			for b.Loop() {
				if err := ask(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
