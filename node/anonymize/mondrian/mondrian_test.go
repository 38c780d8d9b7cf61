package mondrian_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/mondrian"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// published is the labels of one column with the leaves that they stand for, in order.
func published(t *testing.T, k int, values ...string) (texts []string, leaves []int) {
	t.Helper()
	return publishedBy(t, nil, k, values...)
}

func publishedBy(t *testing.T, h map[string]*hierarchy.Hierarchy, k int, values ...string) (texts []string, leaves []int) {
	t.Helper()
	b, err := table.NewBuilder([]string{"c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := b.Add([][]byte{[]byte(v)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Build(h)
	if err != nil {
		t.Fatal(err)
	}
	req, err := guarantee.Bind(built, guarantee.K(k))
	if err != nil {
		t.Fatal(err)
	}
	p, finished, err := mondrian.Partition(t.Context(), built, req)
	if err != nil || !finished {
		t.Fatalf("finished %t, %v", finished, err)
	}
	labels := slices.Clone(p.Labels(0))
	slices.SortFunc(labels, func(a, b partition.Label) int { return strings.Compare(a.Text, b.Text) })
	for _, l := range labels {
		texts, leaves = append(texts, l.Text), append(leaves, l.Leaves)
	}
	return texts, leaves
}

func TestLabels(t *testing.T) {
	for _, c := range []struct {
		values, texts string
		k             int
		leaves        []int
	}{
		{"17 20 23 40", "17-20 | 23-40", 2, []int{2, 2}},
		{"17 17 23 40", "17 | 23-40", 2, []int{1, 2}},
		{"-1.5 2 3 4", "3-4 | [-1.5, 2]", 2, []int{2, 2}},
		// a missing age is the last leaf, and no end of a range
		{"17 20 23 _", "17-20 | 23 or missing", 2, []int{2, 2}},
		{"17 20 23 24 25 _", "17-23 | 24-25 or missing", 3, []int{3, 3}},
		{"red green blue pink", "{blue, pink} | {red, green}", 2, []int{2, 2}},
		{"red green blue", "*", 2, []int{3}},
		{"a,b c {d} _", `{"a,b", c} | {"{d}", ""}`, 2, []int{2, 2}},
	} {
		var values []string
		for v := range strings.FieldsSeq(c.values) {
			values = append(values, strings.ReplaceAll(v, "_", ""))
		}
		texts, leaves := published(t, c.k, values...)
		if got := strings.Join(texts, " | "); got != c.texts || !slices.Equal(leaves, c.leaves) {
			t.Errorf("%s: %s %v, want %s %v", c.values, got, leaves, c.texts, c.leaves)
		}
	}
}

// A few people among very many values are cut where they would be among their own.
func TestFewPeopleAmongManyValues(t *testing.T) {
	var all, some []string
	for i := range 20_000 {
		all = append(all, fmt.Sprint(i))
		if i%997 == 5 {
			some = append(some, fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(i+i%3))
		}
	}
	h, err := hierarchy.Flat(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []int{2, 3, 7} {
		texts, leaves := publishedBy(t, map[string]*hierarchy.Hierarchy{"c": h}, k, some...)
		want, own := published(t, k, some...)
		if !slices.Equal(texts, want) || len(texts) < 5 {
			t.Errorf("k=%d: %q, want %q", k, texts, want)
		}
		if slices.Max(leaves) <= slices.Max(own) {
			t.Errorf("k=%d: labels stand for %v values of many and %v of few", k, leaves, own)
		}
	}
}
