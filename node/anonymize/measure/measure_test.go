package measure_test

import (
	"math"
	"reflect"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/measure"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// grades are four rows of 1, two of 2, one of 3 and one of 4, for each of whom the
// population has one person more if wanted.
func grades(t *testing.T, population bool) *table.Table {
	t.Helper()
	b, err := table.NewBuilder([]string{"grade"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for value, n := range map[string]int{"1": 4, "2": 2, "3": 1, "4": 1} {
		for range n {
			if err := b.Add([][]byte{[]byte(value)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; population && i <= n; i++ {
			if err := b.AddPopulation([][]byte{[]byte(value)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	h, err := hierarchy.New([][]string{{"1", "low", "*"}, {"2", "low", "*"}, {"3", "high", "*"}, {"4", "high", "*"}})
	if err != nil {
		t.Fatal(err)
	}
	built, err := b.Build(map[string]*hierarchy.Hierarchy{"grade": h})
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// lowOnly publishes the low grades as one class.
func lowOnly(built *table.Table) *partition.Partition {
	p := partition.New(built)
	for i, leaf := range built.Leaves(0) {
		if leaf < 2 {
			p.Class[i] = p.Add([]partition.Label{{Text: "low", Leaves: 2}})
		}
	}
	return p
}

func close(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

// The figures are worked out by hand.
func TestUtility(t *testing.T) {
	u := measure.UtilityOf(lowOnly(grades(t, false)))
	if u.Rows != 8 || u.Suppressed != 2 || u.Classes != 1 || u.AverageClass != 6 || u.CAvg(2) != 3 {
		t.Errorf("%+v", u)
	}
	if want := 6.0/8/3 + 2.0/8; !close(u.GCP, want) {
		t.Errorf("GCP %v, want %v", u.GCP, want)
	}
	if u.Discernibility != 6*6+2*8 {
		t.Errorf("discernibility %v", u.Discernibility)
	}
	// all learn their value from "low" or "high", and two first which of these it is; both
	// are high, so that is nothing
	bits := 4*math.Log2(6.0/4) + 2*math.Log2(6.0/2) + 2*math.Log2(2.0/1)
	if want := bits / (4*1 + 2*2 + 2*3); !close(u.Entropy, want) {
		t.Errorf("entropy %v, want %v", u.Entropy, want)
	}
	if !close(u.Granularity, u.GCP) { // of one column; the order of the rows, and so of the sums, may differ
		t.Errorf("granularity %v, GCP %v", u.Granularity, u.GCP)
	}
	kl := 0.5*math.Log(0.5/0.375) + 0.25*math.Log(0.25/0.375) + 2*0.125*math.Log(0.125/0.0625)
	if !close(u.KL, kl) {
		t.Errorf("divergence %v, want %v", u.KL, kl)
	}
	if len(u.Columns) != 1 || u.Columns[0].Name != "grade" || u.Columns[0].Labels != 1 || u.Columns[0].NCP != u.GCP {
		t.Errorf("columns %+v", u.Columns)
	}
}

// The table itself loses nothing, and what suppresses everything loses all.
func TestUtilityAtItsEnds(t *testing.T) {
	built := grades(t, false)
	whole := partition.New(built)
	nothing := measure.UtilityOf(whole)
	if nothing.GCP != 1 || !close(nothing.Entropy, 1) || nothing.Classes != 0 || nothing.AverageClass != 0 || nothing.Discernibility != 64 {
		t.Errorf("nothing: %+v", nothing)
	}
	for i, leaf := range built.Leaves(0) {
		whole.Class[i] = whole.Add([]partition.Label{{Text: built.Quasi()[0].Hierarchy.Value(leaf), Leaves: 1}})
	}
	all := measure.UtilityOf(whole)
	if all.GCP != 0 || all.Entropy != 0 || !close(all.KL, 0) || all.Classes != 4 || all.Discernibility != 16+4+1+1 {
		t.Errorf("everything: %+v", all)
	}
}

func TestRisks(t *testing.T) {
	built := grades(t, true)
	before := measure.Before(built, 0.3)
	if want := (measure.Risk{Highest: 1, Average: 4.0 / 8, AtRisk: 0.5, Smallest: 1}); before.Prosecutor != want {
		t.Errorf("prosecutor before %+v, want %+v", before.Prosecutor, want)
	}
	// 4 of 5, 2 of 3, and each one of 2: all but the first four can be found too easily
	average := (4.0/5 + 2.0/3 + 1.0/2 + 1.0/2) / 8
	if j := before.Journalist; j.Highest != 0.5 || !close(j.Average, average) || j.AtRisk != 0.5 || j.Smallest != 2 || before.Marketer != j.Average {
		t.Errorf("journalist before %+v", j)
	}
	after := measure.After(lowOnly(built), 0.3)
	if want := (measure.Risk{Highest: 1.0 / 6, Average: 1.0 / 6, Smallest: 6}); after.Rows != 6 || after.Prosecutor != want {
		t.Errorf("prosecutor after %+v of %d, want %+v", after.Prosecutor, after.Rows, want)
	}
	if j := after.Journalist; j.Highest != 1.0/8 || j.Smallest != 8 {
		t.Errorf("journalist after %+v", j)
	}
	if none := measure.After(partition.New(built), 0.3); none.Rows != 0 || none.Prosecutor != (measure.Risk{}) {
		t.Errorf("nothing published: %+v", none)
	}
}

func TestSizes(t *testing.T) {
	built := grades(t, false)
	if got, want := measure.SizesBefore(built), (measure.Sizes{{1, 2}, {2, 1}, {4, 1}}); !reflect.DeepEqual(got, want) {
		t.Errorf("before %v, want %v", got, want)
	}
	if got, want := measure.SizesOf(lowOnly(built)), (measure.Sizes{{6, 1}}); !reflect.DeepEqual(got, want) {
		t.Errorf("after %v, want %v", got, want)
	}
}
