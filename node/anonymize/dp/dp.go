// Package dp answers questions about a table with differential privacy, out of a budget
// that is spent once.
//
// An answer is (epsilon, delta)-differentially private if it is about as likely, up to a
// factor of exp(epsilon) and but for a chance of delta, whether or not any one person's
// rows are there (Dwork and Roth, The Algorithmic Foundations of Differential Privacy,
// 2014, definition 2.4). Answers add up: what is known after several of them is bounded by
// the sums of their epsilons and deltas (theorem 3.16). A [Budget] is the sum that a
// dataset may ever come to, in a file:
//
//	b, err := dp.Open(path, "trial-7", dp.Cost{Epsilon: 1}, time.Now)
//	answer, err := b.Mean(dp.Query{Cost: dp.Cost{Epsilon: 0.1}}, 0, 120, rows)
//	if errors.Is(err, dp.ErrSpent) { ... never again ... }
//
// A question is checked and all rows are read first; then its cost is recorded and made
// durable; then the answer is computed. A crash in between costs budget and tells
// nothing. The mechanisms, and noise that is safe against attacks on floating-point
// numbers, are those of Google's library (github.com/google/differential-privacy, v3).
//
// The guarantee is for people: who has several rows needs [Query.RowsEach] and
// [Row.Person]. It does not cover bounds, bins or ranks that were chosen by looking at the
// data, another dataset with the same people, or the time that an answer takes.
package dp

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/google/differential-privacy/go/v3/dpagg"
	"github.com/google/differential-privacy/go/v3/noise"
)

// Query is what a question costs and whom it protects.
type Query struct {
	Cost
	// RowsEach is how many rows of one person are looked at, and 1 where it is 0. A
	// person's further rows are left out. More rows mean more noise.
	RowsEach int
}

// Confidence is the chance with which an [Answer] lies within its bounds.
const Confidence = 0.95

// MaxRowsEach bounds [Query.RowsEach].
const MaxRowsEach = 1 << 20

// maxBound keeps sums of bounds far from where the library's numbers overflow.
const maxBound = 1e15

// Row is one row of a table.
type Row struct {
	// Person says whose row it is. Without it, each row is another person.
	Person []byte
	// Value is a number for sums, means and quantiles; NaN is a missing value.
	Value float64
	// Category is the bin of a histogram.
	Category string
}

// Rows are the rows of a table. An error ends them, and nothing is spent. Person is read
// until the next row only.
type Rows = iter.Seq2[Row, error]

// Answer is a private number. Low and High contain the true one, for values within the
// bounds asked for, with probability [Confidence].
type Answer struct {
	Value, Low, High float64
}

// Bin is a private count of the people that have a row of a category.
type Bin struct {
	Category string
	Answer
}

// noise is Laplace for pure differential privacy and Gaussian where there is a delta.
func (q Query) noise() noise.Noise {
	if q.Delta > 0 {
		return noise.Gaussian()
	}
	return noise.Laplace()
}

func (q *Query) check() error {
	if q.RowsEach == 0 {
		q.RowsEach = 1
	}
	if q.RowsEach < 1 || q.RowsEach > MaxRowsEach {
		return fmt.Errorf("a person has %d rows: 1 to %d are possible", q.RowsEach, MaxRowsEach)
	}
	return q.Cost.check()
}

func checkBounds(lower, upper float64) error {
	if !(lower < upper) || math.Abs(lower) > maxBound || math.Abs(upper) > maxBound {
		return fmt.Errorf("the bounds %v and %v have to be in order, and within %g: take what the values can be, not what they are", lower, upper, maxBound)
	}
	return nil
}

// limited passes on so many rows of each person as the question looks at.
func (q Query) limited(rows Rows) Rows {
	return func(yield func(Row, error) bool) {
		seen := map[string]int{}
		for r, err := range rows {
			if err == nil && r.Person == nil && q.RowsEach > 1 {
				err = errors.New("a row does not say whose it is, and a person may have several")
			}
			if err == nil && r.Person != nil {
				if seen[string(r.Person)] == q.RowsEach {
					continue
				}
				seen[string(r.Person)]++
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// totals adds up per person what of gives for each row, and hands each sum to add.
func (q Query) totals(rows Rows, of func(Row) float64, add func(float64) error) error {
	persons := map[string]float64{}
	for r, err := range q.limited(rows) {
		if err != nil {
			return err
		}
		f := of(r)
		switch {
		case math.IsNaN(f):
		case r.Person == nil:
			if err := add(f); err != nil {
				return err
			}
		default:
			persons[string(r.Person)] += f
		}
	}
	for _, f := range persons {
		if err := add(f); err != nil {
			return err
		}
	}
	return nil
}

// Count is the number of rows.
func (b *Budget) Count(q Query, rows Rows) (Answer, error) {
	if err := q.check(); err != nil {
		return Answer{}, err
	}
	sum, err := dpagg.NewBoundedSumInt64(&dpagg.BoundedSumInt64Options{Epsilon: q.Epsilon, Delta: q.Delta,
		MaxPartitionsContributed: 1, Lower: 0, Upper: int64(q.RowsEach), Noise: q.noise()})
	if err != nil {
		return Answer{}, err
	}
	one := func(Row) float64 { return 1 }
	if err := q.totals(rows, one, func(f float64) error { return sum.Add(int64(f)) }); err != nil {
		return Answer{}, err
	}
	if err := b.spend(q.Cost, "count"); err != nil {
		return Answer{}, err
	}
	n, err := sum.Result()
	if err != nil {
		return Answer{}, err
	}
	return bounded(float64(n), sum)
}

// Sum is the sum of the values, each taken into the bounds first.
func (b *Budget) Sum(q Query, lower, upper float64, rows Rows) (Answer, error) {
	if err := cmp.Or(q.check(), checkBounds(lower, upper)); err != nil {
		return Answer{}, err
	}
	n := float64(q.RowsEach)
	sum, err := dpagg.NewBoundedSumFloat64(&dpagg.BoundedSumFloat64Options{Epsilon: q.Epsilon, Delta: q.Delta,
		MaxPartitionsContributed: 1, Lower: min(lower, n*lower), Upper: max(upper, n*upper), Noise: q.noise()})
	if err != nil {
		return Answer{}, err
	}
	within := func(r Row) float64 { return min(max(r.Value, lower), upper) }
	if err := q.totals(rows, within, sum.Add); err != nil {
		return Answer{}, err
	}
	if err := b.spend(q.Cost, "sum"); err != nil {
		return Answer{}, err
	}
	f, err := sum.Result()
	if err != nil {
		return Answer{}, err
	}
	return bounded(f, sum)
}

// Mean is the mean of the values, each taken into the bounds first.
func (b *Budget) Mean(q Query, lower, upper float64, rows Rows) (Answer, error) {
	if err := cmp.Or(q.check(), checkBounds(lower, upper)); err != nil {
		return Answer{}, err
	}
	mean, err := dpagg.NewBoundedMean(&dpagg.BoundedMeanOptions{Epsilon: q.Epsilon, Delta: q.Delta,
		MaxPartitionsContributed: 1, MaxContributionsPerPartition: int64(q.RowsEach), Lower: lower, Upper: upper, Noise: q.noise()})
	if err != nil {
		return Answer{}, err
	}
	if err := q.addTo(mean, rows); err != nil {
		return Answer{}, err
	}
	if err := b.spend(q.Cost, "mean"); err != nil {
		return Answer{}, err
	}
	f, err := mean.Result()
	if err != nil {
		return Answer{}, err
	}
	return bounded(f, mean)
}

// Quantiles is the values below which the shares in ranks lie, 0.5 for the median. One
// cost is for all of them together.
func (b *Budget) Quantiles(q Query, lower, upper float64, ranks []float64, rows Rows) ([]float64, error) {
	if err := cmp.Or(q.check(), checkBounds(lower, upper)); err != nil {
		return nil, err
	}
	if len(ranks) == 0 {
		return nil, errors.New("there is no rank: 0.5 is the median")
	}
	for _, rank := range ranks {
		if !(0 <= rank && rank <= 1) {
			return nil, fmt.Errorf("the rank %v has to be between 0 and 1: 0.5 is the median", rank)
		}
	}
	tree, err := dpagg.NewBoundedQuantiles(&dpagg.BoundedQuantilesOptions{Epsilon: q.Epsilon, Delta: q.Delta,
		MaxPartitionsContributed: 1, MaxContributionsPerPartition: int64(q.RowsEach), Lower: lower, Upper: upper, Noise: q.noise()})
	if err != nil {
		return nil, err
	}
	if err := q.addTo(tree, rows); err != nil {
		return nil, err
	}
	if err := b.spend(q.Cost, "quantiles"); err != nil {
		return nil, err
	}
	out := make([]float64, len(ranks))
	for i, rank := range ranks {
		if out[i], err = tree.Result(rank); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Histogram counts the people of each bin. The bins are what the categories can be, not
// what they are: to name those that are there would tell of somebody who is alone in
// one. A person counts once in each of [Query.RowsEach] bins at most, and rows of other
// categories count nowhere.
func (b *Budget) Histogram(q Query, bins []string, rows Rows) ([]Bin, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if len(bins) == 0 {
		return nil, errors.New("there are no bins: name the categories that are possible")
	}
	counts := make([]*dpagg.Count, len(bins))
	at := map[string]int{}
	for i, name := range bins {
		if _, twice := at[name]; twice {
			return nil, fmt.Errorf("the bin %.80q is there twice", name)
		}
		at[name] = i
		var err error
		// Each bin has the whole cost: what one person can change is bounded over all bins.
		if counts[i], err = dpagg.NewCount(&dpagg.CountOptions{Epsilon: q.Epsilon, Delta: q.Delta,
			MaxPartitionsContributed: int64(min(q.RowsEach, len(bins))), Noise: q.noise()}); err != nil {
			return nil, err
		}
	}
	if err := q.addToBins(counts, at, rows); err != nil {
		return nil, err
	}
	if err := b.spend(q.Cost, "histogram"); err != nil {
		return nil, err
	}
	out := make([]Bin, len(bins))
	for i, c := range counts {
		n, err := c.Result()
		if err != nil {
			return nil, err
		}
		out[i].Category = bins[i]
		if out[i].Answer, err = bounded(float64(n), c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (q Query) addToBins(counts []*dpagg.Count, at map[string]int, rows Rows) error {
	type seen struct {
		person string
		bin    int
	}
	once := map[seen]bool{}
	for r, err := range q.limited(rows) {
		if err != nil {
			return err
		}
		i, ok := at[r.Category]
		if !ok {
			continue
		}
		if r.Person != nil {
			s := seen{string(r.Person), i}
			if once[s] {
				continue
			}
			once[s] = true
		}
		if err := counts[i].Increment(); err != nil {
			return err
		}
	}
	return nil
}

func (q Query) addTo(a interface{ Add(float64) error }, rows Rows) error {
	for r, err := range q.limited(rows) {
		if err != nil {
			return err
		}
		if math.IsNaN(r.Value) {
			continue
		}
		if err := a.Add(r.Value); err != nil {
			return err
		}
	}
	return nil
}

func bounded(value float64, of interface {
	ComputeConfidenceInterval(alpha float64) (noise.ConfidenceInterval, error)
}) (Answer, error) {
	c, err := of.ComputeConfidenceInterval(1 - Confidence)
	if err != nil {
		return Answer{}, err
	}
	return Answer{value, c.LowerBound, c.UpperBound}, nil
}
