package tabular_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/tabular"
)

func names(t *testing.T, folder string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestNothingIsThereBeforeItIsWhole(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "out.csv")
	o, err := tabular.Create(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("a half file is under the name")
	}
	o.Discard()
	if left := names(t, folder); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	if o, err = tabular.Create(path, false); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("theirs"), 0o600), o.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := o.Commit(); !errors.Is(err, tabular.ErrExists) {
		t.Errorf("a file that came meanwhile: %v", err)
	}
	o.Discard()
	if raw, err := os.ReadFile(path); string(raw) != "theirs" || err != nil {
		t.Errorf("it has %q, %v", raw, err)
	}
	if _, err := tabular.Create(path, false); !errors.Is(err, tabular.ErrExists) {
		t.Errorf("a file that is there: %v", err)
	}
	if o, err = tabular.Create(path, true); err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteString("ours"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.Flush(), o.Commit()); err != nil {
		t.Fatal(err)
	}
	o.Discard() // does nothing now
	if raw, err := os.ReadFile(path); string(raw) != "ours" || err != nil {
		t.Errorf("it has %q, %v", raw, err)
	}
	if _, err := tabular.Create(folder, true); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: %v", err)
	}
}

// collected keeps what is written.
type collected struct {
	rows   []string
	kinds  int
	closed bool
	fail   error
}

func (c *collected) Write(r *tabular.Row) error {
	c.rows = append(c.rows, string(r.Cells[0])+"/"+string(r.Cells[1]))
	c.kinds += len(r.Kinds)
	return c.fail
}

func (c *collected) Close() error { c.closed = true; return nil }

func TestShuffleLosesNothing(t *testing.T) {
	folder := t.TempDir()
	out := &collected{}
	s, err := tabular.Shuffle(out, folder, 2)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 5000
	for i := range rows {
		r := tabular.Row{Cells: [][]byte{[]byte(strconv.Itoa(i)), []byte(strings.Repeat("x", i%300))}}
		if i%2 == 0 {
			r.Kinds = []tabular.Kind{tabular.Number, tabular.Text}
		}
		if err := s.Write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil || !out.closed {
		t.Fatal(err)
	}
	seen, inPlace := map[string]bool{}, 0
	for i, row := range out.rows {
		seen[row] = true
		if strings.HasPrefix(row, fmt.Sprintf("%d/", i)) {
			inPlace++
		}
	}
	if len(out.rows) != rows || len(seen) != rows || out.kinds != rows {
		t.Errorf("%d rows, %d of them different, %d kinds", len(out.rows), len(seen), out.kinds)
	}
	if inPlace > 20 { // one is expected; 21 have a chance of 1e-20
		t.Errorf("%d rows are where they were", inPlace)
	}
	if left := names(t, folder); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// Every order of three rows comes about as often as any other.
func TestShuffleIsFair(t *testing.T) {
	folder, orders := t.TempDir(), map[string]int{}
	const tries = 300
	for range tries {
		out := &collected{}
		s, err := tabular.Shuffle(out, folder, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"a", "b", "c"} {
			if err := s.Write(&tabular.Row{Cells: [][]byte{[]byte(v), nil}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		orders[strings.Join(out.rows, "")]++
	}
	if len(orders) != 6 {
		t.Errorf("%d orders", len(orders))
	}
	for order, n := range orders { // 50 are expected, and 6.5 is the standard deviation
		if n < 5 || n > 100 {
			t.Errorf("%s came %d times of %d", order, n, tries)
		}
	}
}

func TestShuffleThatFailsLeavesNothing(t *testing.T) {
	folder, full := t.TempDir(), errors.New("full")
	s, err := tabular.Shuffle(&collected{fail: full}, folder, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(&tabular.Row{Cells: [][]byte{nil, nil}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != full {
		t.Errorf("%v", err)
	}
	s.Discard()
	if left := names(t, folder); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	if _, err := tabular.Shuffle(&collected{}, filepath.Join(folder, "none"), 2); err == nil {
		t.Error("a folder that is not there was taken")
	}
}
