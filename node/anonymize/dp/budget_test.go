package dp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

func fixed() time.Time { return time.Unix(1_700_000_000, 0) }

func open(t testing.TB, path string, epsilon float64) *Budget {
	t.Helper()
	b, err := Open(path, "trial", Cost{Epsilon: epsilon}, fixed)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func people(n int) Rows {
	return func(yield func(Row, error) bool) {
		for i := range n {
			if !yield(Row{Value: float64(i % 100)}, nil) {
				return
			}
		}
	}
}

func ask(b *Budget, epsilon float64) error {
	_, err := b.Count(Query{Cost: Cost{Epsilon: epsilon}}, people(10))
	return err
}

// Ten tenths are one, exactly, and the eleventh is refused; also after the budget was
// opened again, and whatever else is asked.
func TestABudgetIsSpentOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "budget")
	b := open(t, path, 1)
	for i := range 10 {
		if i == 5 {
			b = open(t, path, 1)
		}
		if err := ask(b, 0.1); err != nil {
			t.Fatalf("question %d: %v", i+1, err)
		}
	}
	left, err := b.Left()
	if err != nil || left != (Cost{}) {
		t.Errorf("%v is left, %v", left, err)
	}
	again, err := Open(path, "trial", Cost{}, fixed)
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Cost: Cost{Epsilon: MinEpsilon}}
	_, err1 := again.Sum(q, 0, 1, people(3))
	_, err2 := again.Mean(q, 0, 1, people(3))
	_, err3 := again.Quantiles(q, 0, 1, []float64{0.5}, people(3))
	_, err4 := again.Histogram(q, []string{"a"}, people(3))
	for _, err := range []error{ask(again, 0.1), ask(b, MinEpsilon), err1, err2, err3, err4} {
		if !errors.Is(err, ErrSpent) {
			t.Errorf("a question out of an empty budget gives %v", err)
		}
	}
	if err := ask(b, 0.1); err == nil || strings.Count(err.Error(), "\n") != 0 || !strings.Contains(err.Error(), "epsilon 0 of epsilon 1 is left of trial, and the question costs epsilon 0.1; ask for less") {
		t.Errorf("the refusal is %q", err)
	}
}

// A question that cannot be asked, and a table that cannot be read, cost nothing.
func TestFailuresBeforeTheAnswerCostNothing(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "budget"), 1)
	broken := func(yield func(Row, error) bool) { yield(Row{}, errors.New("row 7 is ragged")) }
	ok := Query{Cost: Cost{Epsilon: 0.1}}
	for name, ask := range map[string]func() error{
		"a broken table":     func() error { _, err := b.Count(ok, broken); return err },
		"a broken sum":       func() error { _, err := b.Sum(ok, 0, 1, broken); return err },
		"a broken mean":      func() error { _, err := b.Mean(ok, 0, 1, broken); return err },
		"a broken histogram": func() error { _, err := b.Histogram(ok, []string{"a"}, broken); return err },
		"no epsilon":         func() error { _, err := b.Count(Query{}, people(1)); return err },
		"too much epsilon":   func() error { _, err := b.Count(Query{Cost: Cost{Epsilon: 21}}, people(1)); return err },
		"NaN":                func() error { _, err := b.Count(Query{Cost: Cost{Epsilon: math.NaN()}}, people(1)); return err },
		"a large delta":      func() error { _, err := b.Count(Query{Cost: Cost{0.1, 0.1}}, people(1)); return err },
		"bounds in disorder": func() error { _, err := b.Sum(ok, 1, 1, people(1)); return err },
		"infinite bounds":    func() error { _, err := b.Mean(ok, 0, math.Inf(1), people(1)); return err },
		"no rank":            func() error { _, err := b.Quantiles(ok, 0, 1, nil, people(1)); return err },
		"a rank of 50":       func() error { _, err := b.Quantiles(ok, 0, 1, []float64{50}, people(1)); return err },
		"no bins":            func() error { _, err := b.Histogram(ok, nil, people(1)); return err },
		"a bin twice":        func() error { _, err := b.Histogram(ok, []string{"a", "a"}, people(1)); return err },
		"rows of nobody": func() error {
			_, err := b.Count(Query{Cost: Cost{Epsilon: 0.1}, RowsEach: 2}, people(1))
			return err
		},
		"too many rows": func() error {
			_, err := b.Count(Query{Cost: Cost{Epsilon: 0.1}, RowsEach: MaxRowsEach + 1}, people(1))
			return err
		},
	} {
		if ask() == nil {
			t.Errorf("%s is answered", name)
		}
	}
	if left, err := b.Left(); err != nil || left.Epsilon != 1 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// The cost is on disk when the rows have been read and before there is an answer: while
// somebody else holds the file, there is none.
func TestNothingIsAnsweredThatIsNotRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "budget")
	b := open(t, path, 1)
	f, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := b.Count(Query{Cost: Cost{Epsilon: 0.5}}, people(1000))
	if !errors.Is(err, ErrBusy) || answer != (Answer{}) {
		t.Errorf("while the file is locked: %v, %v", answer, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	answer, err = b.Count(Query{Cost: Cost{Epsilon: 0.5}}, people(1000))
	if err != nil || answer == (Answer{}) {
		t.Errorf("after it: %v, %v", answer, err)
	}
	if runtime.GOOS == "windows" {
		return // files have no modes there
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if answer, err := b.Count(Query{Cost: Cost{Epsilon: 0.5}}, people(1000)); !errors.Is(err, disk.ErrModes) || answer != (Answer{}) {
		t.Errorf("with a file that others may write: %v, %v", answer, err)
	}
}

// Several processes spend one budget until each of them is refused. Together they have
// spent what there is, and not a question more.
func TestProcessesCannotSpendTheSame(t *testing.T) {
	if path := os.Getenv("DP_TEST_BUDGET"); path != "" {
		spendAll(path)
	}
	path := filepath.Join(t.TempDir(), "budget")
	open(t, path, 1)
	var group sync.WaitGroup
	out := make([][]byte, 4)
	for i := range out {
		group.Go(func() {
			c := exec.Command(os.Args[0], "-test.run=^TestProcessesCannotSpendTheSame$")
			c.Env = append(os.Environ(), "DP_TEST_BUDGET="+path)
			var err error
			if out[i], err = c.Output(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	total := 0
	for _, o := range out {
		total += bytes.Count(o, []byte("answered"))
	}
	if total != 50 {
		t.Errorf("%d questions of 0.02 were answered out of 1", total)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(raw, []byte("\n")); lines != 51 {
		t.Errorf("the file has %d lines", lines)
	}
}

func spendAll(path string) {
	b, err := Open(path, "trial", Cost{}, fixed)
	for errors.Is(err, ErrBusy) {
		b, err = Open(path, "trial", Cost{}, fixed)
	}
	for err == nil || errors.Is(err, ErrBusy) {
		if err = ask(b, 0.02); err == nil {
			fmt.Println("answered")
		}
	}
	if !errors.Is(err, ErrSpent) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A crash leaves the last line unfinished at any byte: what was acknowledged counts, and
// what comes next is written over the rest.
func TestACrashKeepsWhatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "budget")
	b := open(t, path, 1)
	if err := ask(b, 0.25); err != nil {
		t.Fatal(err)
	}
	acknowledged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(b, 0.5); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := len(acknowledged); n <= len(whole); n++ {
		torn := filepath.Join(dir, fmt.Sprint("torn", n))
		if err := os.WriteFile(torn, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, torn, 1)
		want := 0.75
		if n == len(whole) {
			want = 0.25
		}
		if left, err := b.Left(); err != nil || left.Epsilon != want {
			t.Fatalf("after %d bytes %v is left, %v", n, left, err)
		}
		if err := ask(b, 0.125); err != nil {
			t.Fatal(err)
		}
		if left, err := open(t, torn, 1).Left(); err != nil || left.Epsilon != want-0.125 {
			t.Fatalf("after %d bytes and a question %v is left, %v", n, left, err)
		}
	}
}

// Any changed byte of an acknowledged line is found, and nothing is answered then. The
// negative control is the file as it was.
func TestDamageIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "budget")
	b := open(t, path, 1)
	for range 3 {
		if err := ask(b, 0.25); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(raw []byte) {
		t.Helper()
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range len(whole) - 1 { // without the last newline, the line is unfinished
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		write(bad)
		if err := ask(b, 0.01); !errors.Is(err, ErrDamaged) {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	write(bytes.Join([][]byte{lines[0], lines[2], lines[3]}, nil))
	if err := ask(b, 0.01); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a line taken out: %v", err)
	}
	write(append(bytes.Clone(whole), bytes.Repeat([]byte("x"), maxLine+1)...))
	if err := ask(b, 0.01); !errors.Is(err, ErrDamaged) {
		t.Errorf("with a long line: %v", err)
	}
	write(nil)
	if err := ask(b, 0.01); !errors.Is(err, ErrOther) {
		t.Errorf("with an empty file: %v", err)
	}
	write(whole)
	if err := ask(b, 0.01); err != nil {
		t.Errorf("with the file as it was: %v", err)
	}
}

func TestALimitIsSetOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "budget")
	if _, err := Open(path, "trial", Cost{}, fixed); err == nil {
		t.Error("a budget without a limit is opened")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("it left a file behind")
	}
	open(t, path, 1)
	if _, err := Open(path, "trial", Cost{Epsilon: 2}, fixed); !errors.Is(err, ErrOther) {
		t.Errorf("the limit is raised: %v", err)
	}
	if _, err := Open(path, "other", Cost{Epsilon: 1}, fixed); !errors.Is(err, ErrOther) {
		t.Errorf("it is another's budget: %v", err)
	}
	for _, c := range []Cost{{Epsilon: -1}, {Epsilon: math.Inf(1)}, {Epsilon: 100}, {1, 0.5}, {1, math.NaN()}} {
		if _, err := Open(filepath.Join(t.TempDir(), "b"), "trial", c, fixed); err == nil {
			t.Errorf("a budget of %v is made", c)
		}
	}
}

func FuzzBudget(f *testing.F) {
	line := head + " " + "747269616c" + " 1000000000 0"
	first := line + " " + chained("", line) + "\n"
	spent := "1700000000 count 500000000 0"
	f.Add([]byte(first))
	f.Add([]byte(first + spent + " " + chained(chained("", line), spent) + "\n" + "1700"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := parse(raw)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || s != (state{}) {
				t.Fatalf("%v, %v", s, err)
			}
			return
		}
		if s.end > int64(len(raw)) || s.spent.epsilon > s.limit.epsilon || s.spent.delta > s.limit.delta {
			t.Fatalf("%+v", s)
		}
		again, err := parse(raw[:s.end])
		if err != nil || again != s {
			t.Fatalf("whole lines alone say %+v, %v", again, err)
		}
	})
}
