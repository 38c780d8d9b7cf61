package partition_test

import (
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Classes that look the same are one class, whoever adds them, and what is in none is
// suppressed.
func TestClassesThatLookTheSame(t *testing.T) {
	b, err := table.NewBuilder([]string{"age", "sex"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"1F", "2F", "2F", "3M"} {
		if err := b.Add([][]byte{[]byte(r[:1]), []byte(r[1:])}, nil); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := partition.New(built)
	low := []partition.Label{{Text: "1-2", Leaves: 2}, {Text: "F", Leaves: 1}}
	p.Class[0], p.Class[1] = p.Add(low), p.Add(slices.Clone(low))
	if p.Class[0] != p.Class[1] || p.Classes() != 1 {
		t.Errorf("classes %v", p.Class)
	}
	low[0].Leaves = 3 // the same text for more values is another label
	if p.Add(low) == p.Class[0] {
		t.Error("two labels of one text were taken for one")
	}
	for i, want := range [][]string{{"1-2", "F"}, {"1-2", "F"}, {"*", "*"}} {
		if got, ok := p.Text(nil, i); !slices.Equal(got, want) || ok != (i < 2) {
			t.Errorf("combination %d is published as %q, %t", i, got, ok)
		}
	}
	rows, people := p.Sizes()
	if p.Suppressed() != 1 || !slices.Equal(rows, []int{3, 0}) || !slices.Equal(people, []int{3, 0}) {
		t.Errorf("%d suppressed, classes of %v rows and %v people", p.Suppressed(), rows, people)
	}
	if l := p.Label(0, 0); l.Text != "1-2" || p.Labels(0)[p.Number(0, 0)] != l {
		t.Errorf("label %+v", l)
	}
}
