package table_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

func builder(t testing.TB, quasi, sensitive string) *table.Builder {
	t.Helper()
	b, err := table.NewBuilder(strings.Fields(quasi), strings.Fields(sensitive))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func row(values ...string) (b [][]byte) {
	for _, v := range values {
		b = append(b, []byte(v))
	}
	return b
}

func flat(t testing.TB, values ...string) *hierarchy.Hierarchy {
	t.Helper()
	h, err := hierarchy.Flat(values)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRowsThatAgreeAreOneCombination(t *testing.T) {
	b := builder(t, "age sex", "illness")
	for _, r := range [][]string{{"9", "F", "flu"}, {"10", "F", "flu"}, {"9", "F", "flu"}, {"9", "F", "cold"}, {"", "M", "flu"}} {
		if err := b.Add(row(r[:2]...), row(r[2])); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := b.Values("age"), []string{"9", "10", ""}; !reflect.DeepEqual(got, want) {
		t.Errorf("values %q", got)
	}
	built, err := b.Build(map[string]*hierarchy.Hierarchy{"sex": flat(t, "M", "F", "X")})
	if err != nil {
		t.Fatal(err)
	}
	if built.Rows() != 5 || built.People() != 5 || built.Len() != 3 {
		t.Errorf("%d rows of %d people in %d combinations", built.Rows(), built.People(), built.Len())
	}
	if got, want := built.Count(), []uint32{3, 1, 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("counts %v", got)
	}
	// ages in the order of numbers, the missing one last; sexes in that of the hierarchy
	if got, want := [][]uint32{built.Leaves(0), built.Leaves(1)}, [][]uint32{{0, 1, 2}, {1, 1, 0}}; !reflect.DeepEqual(got, want) {
		t.Errorf("leaves %v, want %v", got, want)
	}
	if leaf, count := built.Beside(0).Of(0); !reflect.DeepEqual([][]uint32{leaf, count}, [][]uint32{{0, 1}, {2, 1}}) {
		t.Errorf("beside the first: %v %v", leaf, count)
	}
	subset := built.Beside(0).Subset([]uint32{2, 0})
	if leaf, count := subset.Of(1); len(leaf) != 2 || count[0] != 2 {
		t.Errorf("beside the first, of a subset: %v %v", leaf, count)
	}
	for i, r := range [][]string{{"9", "F"}, {"10", "F"}, {"", "M"}} {
		if got, ok := built.Find(row(r...)); !ok || got != i {
			t.Errorf("%q is combination %d, %t", r, got, ok)
		}
	}
	for _, r := range [][]string{{"10", "M"}, {"11", "F"}, {"9"}, {"9", "X"}} {
		if got, ok := built.Find(row(r...)); ok {
			t.Errorf("%q is combination %d", r, got)
		}
	}
}

// The index grows with the table and loses nothing.
func TestManyCombinations(t *testing.T) {
	b := builder(t, "a b", "")
	const n = 20_000
	for i := range n {
		if err := b.Add(row(fmt.Sprint(i%200), fmt.Sprint(i/200)), nil); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	if built.Len() != n {
		t.Fatalf("%d combinations", built.Len())
	}
	for i := range n {
		if got, ok := built.Find(row(fmt.Sprint(i%200), fmt.Sprint(i/200))); !ok || got != i {
			t.Fatalf("row %d is combination %d, %t", i, got, ok)
		}
	}
}

func TestPopulation(t *testing.T) {
	b := builder(t, "zip", "")
	for _, v := range []string{"1", "2", "2", "3"} {
		if err := b.AddPopulation(row(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(row("2"), nil); err != nil {
		t.Fatal(err)
	}
	built, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(built.Count(), []uint32{0, 1, 0}) || !reflect.DeepEqual(built.Population(), []uint32{1, 2, 1}) || built.People() != 4 {
		t.Errorf("rows %v of %v", built.Count(), built.Population())
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	if _, err := table.NewBuilder(nil, []string{"s"}); err == nil || !strings.Contains(err.Error(), "no quasi-identifier") {
		t.Errorf("without columns: %v", err)
	}
	if _, err := table.NewBuilder([]string{"a", "b"}, []string{"a"}); err == nil || !strings.Contains(err.Error(), "column a is named twice") {
		t.Errorf("a column twice: %v", err)
	}
	if _, err := builder(t, "a", "").Build(nil); !errors.Is(err, table.ErrEmpty) {
		t.Errorf("without rows: %v", err)
	}
	b := builder(t, "a", "s")
	for _, r := range [][][]byte{nil, row("1", "2")} {
		if b.Add(r, row("s")) == nil || b.AddPopulation(r) == nil {
			t.Errorf("a row of %d values was taken", len(r))
		}
	}
	if b.Add(row("1"), nil) == nil {
		t.Error("a row without its sensitive value was taken")
	}
}

func TestHierarchiesThatDoNotFit(t *testing.T) {
	filled := func() *table.Builder {
		b := builder(t, "a", "s")
		if err := b.Add(row("north"), row("flu")); err != nil {
			t.Fatal(err)
		}
		return b
	}
	var missing *table.MissingValueError
	_, err := filled().Build(map[string]*hierarchy.Hierarchy{"a": flat(t, "south")})
	if !errors.As(err, &missing) || missing.Column != "a" || missing.Value != "north" || !strings.Contains(err.Error(), `of a has no value "north"`) {
		t.Errorf("%v", err)
	}
	if _, err = filled().Build(map[string]*hierarchy.Hierarchy{"s": flat(t, "cold")}); !errors.As(err, &missing) || missing.Column != "s" {
		t.Errorf("%v", err)
	}
	var column *table.ColumnError
	if _, err = filled().Build(map[string]*hierarchy.Hierarchy{"b": flat(t, "x")}); !errors.As(err, &column) || column.Column != "b" {
		t.Errorf("%v", err)
	}
	b := filled()
	if err := b.AddPopulation(row("south")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(nil); err == nil || !strings.Contains(err.Error(), "lacks the people of 1 rows") || strings.Contains(err.Error(), "north") {
		t.Errorf("a row of nobody: %v", err)
	}
}
