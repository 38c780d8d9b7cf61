package hierarchy_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
)

const work = "Private;Non-Government;*\nState;Government;*\nInc;Non-Government;*\nLocal;Government;*\n"

func read(t *testing.T, text string) *hierarchy.Hierarchy {
	t.Helper()
	h, err := hierarchy.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func rows(h *hierarchy.Hierarchy) (all []string) {
	for i := range h.Len() {
		all = append(all, strings.Join(h.Row(uint32(i)), ";"))
	}
	return all
}

func TestReadMovesGroupsTogether(t *testing.T) {
	h := read(t, work)
	want := []string{"Private;Non-Government;*", "Inc;Non-Government;*", "State;Government;*", "Local;Government;*"}
	if got := rows(h); !reflect.DeepEqual(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	local, ok := h.Leaf("Local")
	if !ok || h.Label(1, h.Group(1, local)) != "Government" || h.Size(1, h.Group(1, local)) != 2 {
		t.Errorf("Local is leaf %d, %t, of a group of %d", local, ok, h.Size(1, h.Group(1, local)))
	}
	if got := h.Penalty(h.Size(1, h.Group(1, local))); got != 1.0/3 {
		t.Errorf("penalty %v", got)
	}
	if _, ok := h.Leaf("Federal"); ok {
		t.Error("a value that is not in the file was found")
	}
	if h.Numeric() {
		t.Error("words are numbers")
	}
}

func TestNumbersAscend(t *testing.T) {
	h := read(t, "10;*\n9;*\n-1;*\n2.5;*\n")
	if got, want := rows(h), []string{"-1;*", "2.5;*", "9;*", "10;*"}; !h.Numeric() || !reflect.DeepEqual(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

func TestSeparatorsQuotesAndByteOrderMark(t *testing.T) {
	for _, text := range []string{"a;x;*\nb;x;*\n", "a\tx\t*\nb\tx\t*\n", "a,x,*\r\nb,x,*\r\n", "\ufeffa;x;*\nb;x;*\n", "\"a\";x;*\nb;\"x\";*"} {
		if got, want := rows(read(t, text)), []string{"a;x;*", "b;x;*"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: rows %q", text, got)
		}
	}
}

// A forest has a top all the same, so that there is always a way to publish less.
func TestForestGetsATop(t *testing.T) {
	h := read(t, "a;x\nb;y\n")
	if got, want := rows(h), []string{"a;x;*", "b;y;*"}; !reflect.DeepEqual(got, want) {
		t.Errorf("rows %q", got)
	}
}

func TestWhatIsNoTreeIsRefusedByName(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no values"},
		{"a;x;*\nb;x;*\na;y;*\n", `"a" at level 0 belongs to both "x" and "y"`},
		{"a;x;north;*\nb;x;south;*\n", `"x" at level 1 belongs to both "north" and "south"`},
		{"a;x;*\na;x;*\n", `"a" stands in the hierarchy twice`},
		{"a\na\n", `"a" stands in the hierarchy twice`},
		{"a;x;*\nb;*\n", `line 2 of the hierarchy ("b") has 2 levels and the first has 3`},
		{"a;\"x\nb;*\n", "not a table"},
		{"a;\xff;*\n", "line 1 of the hierarchy is not UTF-8"},
		{strings.Repeat("a;", hierarchy.MaxLevels) + "*\n", "more than 64 levels"},
	} {
		if _, err := hierarchy.Read(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v, want %q", c.text, err, c.want)
		}
	}
	var tree *hierarchy.TreeError
	if _, err := hierarchy.Read(strings.NewReader("a;x;n\nb;x;s\n")); !errors.As(err, &tree) || tree.Value != "x" || tree.Level != 1 {
		t.Errorf("%v", tree)
	}
	if _, err := hierarchy.New([][]string{{"a", "*"}, {"b"}}); err == nil {
		t.Error("ragged rows became a hierarchy")
	}
}

// endless repeats a line for ever.
type endless struct {
	line string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	for n := range p {
		p[n] = e.line[e.at]
		e.at = (e.at + 1) % len(e.line)
	}
	return len(p), nil
}

// A file without end ends at a limit of what it would take of memory.
func TestEndlessFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads long")
	}
	long := strings.Repeat("x;", hierarchy.MaxLevels-1) + "x\n"
	if _, err := hierarchy.Read(&endless{line: long}); err == nil || !strings.Contains(err.Error(), "values times levels") {
		t.Errorf("many lines: %v", err)
	}
	if _, err := hierarchy.Read(&endless{line: "x;"}); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("one line: %v", err)
	}
	if _, err := hierarchy.Read(&endless{line: "x"}); err == nil || !strings.Contains(err.Error(), "no separator") {
		t.Errorf("one value: %v", err)
	}
}

func TestMissingValuesGetALeafOfTheirOwn(t *testing.T) {
	h := read(t, work).WithMissing()
	leaf, ok := h.Leaf("")
	if !ok || h.Len() != 5 || h.Size(1, h.Group(1, leaf)) != 1 || h.Size(2, h.Group(2, leaf)) != 5 {
		t.Errorf("leaf %d of %d, %t", leaf, h.Len(), ok)
	}
	if again := h.WithMissing(); again != h {
		t.Error("a second leaf for missing values")
	}
	if h := read(t, "a;;*\nb;x;*\n").WithMissing(); h.Size(1, h.Group(1, uint32(h.Len()-1))) != 1 {
		t.Error("missing values joined a group that has no name")
	}
	if h := read(t, "a\n").WithMissing(); h.Len() != 2 || h.Groups(h.Levels()-1) != 1 {
		t.Errorf("%q", rows(h))
	}
}

func TestIntervals(t *testing.T) {
	h, err := hierarchy.Intervals([]string{"3", "12", "", "-4", "7"}, 0, 5, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"-4;-5--1;-10--1;*", "3;0-4;0-9;*", "7;5-9;0-9;*", "12;10-14;10-19;*", ";;;*"}
	if got := rows(h); !reflect.DeepEqual(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	h, err = hierarchy.Intervals([]string{"0.25", "1"}, 0, 0.5)
	if got, want := rows(h), []string{"0.25;[0, 0.5);*", "1;[1, 1.5);*"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("rows %q, %v", got, err)
	}
	for _, bad := range [][]float64{{}, {0}, {-1}, {2, 3}, {2, 2}} {
		if _, err := hierarchy.Intervals([]string{"1"}, 0, bad...); err == nil {
			t.Errorf("widths %v were taken", bad)
		}
	}
	var value *hierarchy.ValueError
	for _, bad := range []string{"twelve", "NaN", "Inf", "0x1p4", "1e300"} {
		if _, err := hierarchy.Intervals([]string{"1", bad}, 0, 1); !errors.As(err, &value) || value.Value != bad {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDates(t *testing.T) {
	h, err := hierarchy.Dates([]string{"2009-12-31", "1999-02-03", ""})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1999-02-03;1999-02;1999-Q1;1999;1990-1999;*", "2009-12-31;2009-12;2009-Q4;2009;2000-2009;*", ";;;;;*"}
	got := rows(h)
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	h, err = hierarchy.Dates([]string{"2009-12-31 10:00:00", "2009-12-31 11:00:00"})
	if err != nil || h.Label(1, 0) != "2009-12-31" || h.Size(1, 0) != 2 {
		t.Errorf("times of a day: %q, %v", rows(h), err)
	}
	if _, err := hierarchy.Dates([]string{"12/31/2009"}, "01/02/2006"); err != nil {
		t.Error(err)
	}
	var value *hierarchy.ValueError
	if _, err := hierarchy.Dates([]string{"2009-02-30"}); !errors.As(err, &value) || value.Value != "2009-02-30" {
		t.Errorf("30 February: %v", err)
	}
}

func TestPrefixes(t *testing.T) {
	h, err := hierarchy.Prefixes([]string{"8001", "8002", "80", ""})
	if err != nil {
		t.Fatal(err)
	}
	zip, _ := h.Leaf("8002")
	if got, want := h.Row(zip), []string{"8002", "800*", "80**", "8***", "*"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	short, _ := h.Leaf("80")
	if h.Group(2, short) != h.Group(2, zip) || h.Group(1, short) == h.Group(1, zip) {
		t.Errorf("a shorter code is %q", h.Row(short))
	}
	if _, err := hierarchy.Prefixes([]string{strings.Repeat("8", hierarchy.MaxLevels)}); err == nil {
		t.Error("prefixes of a text")
	}
}

func TestAutomatic(t *testing.T) {
	var ages, days, codes []string
	for i := range 60 {
		ages = append(ages, fmt.Sprint(20+i))
		days = append(days, fmt.Sprintf("20%02d-01-15", i))
		codes = append(codes, fmt.Sprintf("%05d", 1000+i*37))
	}
	for _, c := range []struct {
		values []string
		leaf   string
		want   []string
	}{
		{ages, "43", []string{"43", "40-44", "40-49", "*"}},
		{days, "2043-01-15", []string{"2043-01-15", "2043-01", "2043-Q1", "2043", "2040-2049", "*"}},
		{codes, "01037", []string{"01037", "0103*", "010**", "01***", "0****", "*"}},
		{[]string{"red", "green", ""}, "red", []string{"red", "*"}},
		{[]string{"7", "7.0"}, "7", []string{"7", "*"}},
		{[]string{"only"}, "only", []string{"only", "*"}},
	} {
		h, err := hierarchy.Automatic(c.values)
		if err != nil {
			t.Fatal(err)
		}
		leaf, _ := h.Leaf(c.leaf)
		if got := h.Row(leaf); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q, want %q", c.leaf, got, c.want)
		}
	}
	if _, err := hierarchy.Automatic(nil); !errors.Is(err, hierarchy.ErrEmpty) {
		t.Errorf("no values: %v", err)
	}
}

func TestHashChangesWithTheTree(t *testing.T) {
	a, b, c := read(t, work), read(t, strings.ReplaceAll(work, ";", ",")), read(t, strings.ReplaceAll(work, "Inc;Non-", "Inc;"))
	if a.Hash() != b.Hash() {
		t.Error("one tree in two files has two hashes")
	}
	if a.Hash() == c.Hash() {
		t.Error("two trees have one hash")
	}
}

// A separator is found behind a long value, and where none comes for a mebibyte that is
// said.
func TestALongFirstValue(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	if h, err := hierarchy.Read(strings.NewReader(long + ";*\ny;*\n")); err != nil || h.Levels() != 2 {
		t.Fatalf("%v", err)
	}
	if _, err := hierarchy.Read(strings.NewReader(strings.Repeat(long, 16) + ";*\ny;*\n")); err == nil || !strings.Contains(err.Error(), "no separator") {
		t.Fatalf("%v", err)
	}
}

// What CSV would not give back is refused; a carriage return alone is kept.
func TestCarriageReturns(t *testing.T) {
	if _, err := hierarchy.Read(strings.NewReader("\"a\r\r\nb\";*\n")); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Fatalf("%v", err)
	}
	if _, err := hierarchy.Read(strings.NewReader("\"a\rb\";*\n")); err != nil {
		t.Fatal(err)
	}
}

// What is written is read again as the same tree.
func FuzzRead(f *testing.F) {
	for _, s := range []string{work, "10;*\n9;*\n", "a,x,*\nb,x,*\n", "\"a;b\";*\n", "a\tb\n", ";x;*\nb;x;*\n", "a;x;n\nb;x;s\n", "a\n", "\"\"\n", "\ufeffa;b\n", "a;\"\n\";c\n"} {
		f.Add([]byte(s))
	}
	if all, err := filepath.Glob("../testdata/*_hierarchy_*.csv"); err == nil {
		for _, p := range all {
			if raw, err := os.ReadFile(p); err == nil {
				f.Add(raw)
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := hierarchy.Read(bytes.NewReader(raw))
		if err != nil {
			return
		}
		if top := h.Levels() - 1; h.Groups(top) != 1 || h.Size(top, 0) != h.Len() {
			t.Fatalf("%d groups at the top", h.Groups(top))
		}
		var out bytes.Buffer
		if _, err := h.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		again, err := hierarchy.Read(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatalf("%v: wrote %q", err, out.Bytes())
		}
		if again.Hash() != h.Hash() {
			t.Fatalf("%q, then %q", rows(h), rows(again))
		}
		h.WithMissing()
	})
}

// Whatever the values are, what is made of them is a tree over all of them.
func FuzzAutomatic(f *testing.F) {
	for _, s := range []string{"1\n2\n3\n4\n", "0.1\n0.25\n7e9\n", "1e308\n-1e308\n0\n", "2001-01-01\n20010102\n", "A01\nB02\n\n", "x\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		seen := map[string]bool{}
		var values []string
		for v := range strings.SplitSeq(text, "\n") {
			if !seen[v] {
				seen[v], values = true, append(values, v)
			}
		}
		h, err := hierarchy.Automatic(values)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if leaf, ok := h.Leaf(v); !ok || h.Value(leaf) != v {
				t.Fatalf("%q is leaf %d, %t", v, leaf, ok)
			}
		}
	})
}
