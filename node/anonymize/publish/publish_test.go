package publish_test

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

const patients = "../testdata/patients.csv"

// job is one on the shipped table, with its output in a folder of its own.
func job(t *testing.T) publish.Job {
	return publish.Job{
		Input: patients, Output: filepath.Join(t.TempDir(), "out.csv"), Quasi: []string{"age", "zip", "sex", "job"}, Sensitive: []string{"diagnosis"},
		Drop: []string{"name"}, Models: []guarantee.Model{guarantee.K(5)}, Suppress: 0.05,
		Hierarchies: map[string]string{"age": "../testdata/patients_hierarchy_age.csv", "job": "../testdata/patients_hierarchy_job.csv"},
		Now:         func() time.Time { return time.Unix(1_800_000_000, 0) },
	}
}

func run(t *testing.T, j publish.Job) *report.Report {
	t.Helper()
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readBack reads a release as somebody else would.
func readBack(t *testing.T, path string, comma rune) (header []string, rows [][]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.Comma = comma
	all, err := in.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all[0], all[1:]
}

// classes is the sensitive values of the rows that look the same in the quasi-identifiers.
func classes(header []string, rows [][]string, quasi []string, sensitive string) map[string]map[string]int {
	out := map[string]map[string]int{}
	for _, row := range rows {
		var key []string
		for _, q := range quasi {
			key = append(key, row[slices.Index(header, q)])
		}
		k := strings.Join(key, "\x00")
		if out[k] == nil {
			out[k] = map[string]int{}
		}
		value := ""
		if s := slices.Index(header, sensitive); s >= 0 {
			value = row[s]
		}
		out[k][value]++
	}
	return out
}

// checked is a naive check of a written file: k, l and t by their definitions.
func checked(t *testing.T, header []string, rows, table [][]string, j publish.Job, k, l int, closeness float64) {
	t.Helper()
	sensitive := j.Sensitive[0]
	whole := map[string]float64{}
	for _, row := range table[1:] {
		whole[row[slices.Index(table[0], sensitive)]] += 1 / float64(len(table)-1)
	}
	for key, values := range classes(header, rows, j.Quasi, sensitive) {
		n := 0
		for _, c := range values {
			n += c
		}
		moved := 0.0
		for v, share := range whole {
			moved += math.Abs(float64(values[v])/float64(n)-share) / 2
		}
		if n < k || len(values) < l || closeness > 0 && moved > closeness+1e-9 {
			t.Errorf("%q has %d rows, %d values, distance %.3f", key, n, len(values), moved)
		}
	}
}

func TestReleaseOfAFile(t *testing.T) {
	j := job(t)
	j.Models = append(j.Models, guarantee.Distinct{Column: "diagnosis", L: 2})
	j.Reports = []string{strings.TrimSuffix(j.Output, "out.csv") + "r.json", strings.TrimSuffix(j.Output, "out.csv") + "r.html"}
	r := run(t, j)
	header, rows := readBack(t, j.Output, ';')
	if want := []string{"age", "zip", "sex", "job", "diagnosis"}; !reflect.DeepEqual(header, want) {
		t.Errorf("columns %q", header)
	}
	_, input := readBack(t, patients, ';')
	table := append([][]string{{"name", "age", "zip", "sex", "job", "diagnosis"}}, input...)
	checked(t, header, rows, table, j, 5, 2, 0)
	if len(rows) != 400-r.Utility.Suppressed || r.Output.Rows != len(rows) || r.Input.Rows != 400 || r.Utility.Suppressed > 20 {
		t.Errorf("%d rows; the report has %d of %d, %d suppressed", len(rows), r.Output.Rows, r.Input.Rows, r.Utility.Suppressed)
	}
	for path, sum := range map[string]string{patients: r.Input.SHA256, j.Output: r.Output.SHA256, "../testdata/patients_hierarchy_age.csv": r.Hierarchies[0].FileSHA256} {
		raw, err := os.ReadFile(path)
		if got := sha256.Sum256(raw); err != nil || hex.EncodeToString(got[:]) != sum {
			t.Errorf("the hash of %s is not in the report", path)
		}
	}
	var again report.Report
	raw, err := os.ReadFile(j.Reports[0])
	if err != nil || json.Unmarshal(raw, &again) != nil || !reflect.DeepEqual(again, *r) {
		t.Errorf("the report on the disk is another one: %v", err)
	}
	// a report has no value of the table, not even of a column that is published as it is
	page, err := os.ReadFile(j.Reports[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"P00", "asthma", "8006", "doctor", "cancer"} {
		if strings.Contains(string(page), v) || strings.Contains(string(raw), v) {
			t.Errorf("a report has the value %q", v)
		}
	}
	left, err := os.ReadDir(filepath.Dir(j.Output))
	if err != nil || len(left) != 3 {
		t.Errorf("%v, %v", left, err)
	}
}

// Every guarantee holds of what is written, on tables made at random, by every method,
// and in every format.
func TestEveryReleaseHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	released := 0
	for round := range 60 {
		folder := t.TempDir()
		j := publish.Job{Input: filepath.Join(folder, "in.csv"), Quasi: []string{"q0", "q1", "q2"}, Sensitive: []string{"s"},
			Method: anonymize.Method(round % 3), Suppress: float64(r.IntN(4)) / 10, Shuffle: round%2 == 0}
		table := [][]string{{"q0", "s", "q1", "id", "q2"}}
		n, spread := 20+r.IntN(200), 2+r.IntN(20)
		for i := range n {
			row := []string{fmt.Sprint(r.IntN(spread) - 3), string(rune('a' + r.IntN(4))), []string{"=x", "y\"z", "", "a,b", "ä"}[r.IntN(5)], fmt.Sprint(i), fmt.Sprintf("%04d", r.IntN(30))}
			table = append(table, row)
		}
		f, err := os.Create(j.Input)
		if err != nil {
			t.Fatal(err)
		}
		if err := csv.NewWriter(f).WriteAll(table); err != nil {
			t.Fatal(err)
		}
		f.Close()
		k, l, c := 2+r.IntN(8), 1+r.IntN(3), []float64{0, 0.4, 0.6}[r.IntN(3)]
		j.Models = []guarantee.Model{guarantee.K(k), guarantee.Distinct{Column: "s", L: l}}
		if c > 0 {
			j.Models = append(j.Models, guarantee.Closeness{Column: "s", T: c})
		}
		format := []tabular.Format{tabular.CSV, tabular.JSONLines, tabular.Parquet}[r.IntN(3)]
		j.Output = filepath.Join(folder, "out."+map[tabular.Format]string{tabular.CSV: "csv", tabular.JSONLines: "jsonl", tabular.Parquet: "parquet"}[format])
		rep, err := j.Run(t.Context())
		if err != nil {
			if !strings.Contains(err.Error(), "nothing can be released") {
				t.Errorf("round %d: %v", round, err)
			}
			if left, _ := os.ReadDir(folder); len(left) != 1 {
				t.Errorf("round %d: %v are left", round, left)
			}
			continue
		}
		released++
		_, s, err := publish.Open(j.Output, tabular.Options{})
		if err != nil || s.Format() != format {
			t.Fatalf("round %d: %v", round, err)
		}
		var header []string
		for _, c := range s.Columns() {
			header = append(header, c.Name)
		}
		var rows [][]string
		ids := map[string]bool{}
		if _, err := s.Each(t.Context(), func(r *tabular.Row) error {
			var row []string
			for _, c := range r.Cells {
				row = append(row, string(c))
			}
			rows, ids[row[3]] = append(rows, row), true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		checked(t, header, rows, table, j, k, l, c)
		if len(rows) != rep.Output.Rows || len(ids) != len(rows) || float64(n-len(rows)) > j.Suppress*float64(n)+1e-9 {
			t.Errorf("round %d: %d of %d rows, %d of them different", round, len(rows), n, len(ids))
		}
		for _, row := range rows { // the other columns of a row stay with it
			var i int
			fmt.Sscan(row[3], &i)
			if row[1] != table[i+1][1] {
				t.Errorf("round %d: row %d has the sensitive value of another", round, i)
			}
		}
	}
	if released < 30 {
		t.Errorf("only %d tables could be released", released)
	}
}

// The checker finds what is broken: a table is no release of itself.
func TestCheckerSeesASmallClass(t *testing.T) {
	header, rows := readBack(t, patients, ';')
	smallest := len(rows)
	for _, values := range classes(header, rows, []string{"age", "zip"}, "diagnosis") {
		n := 0
		for _, c := range values {
			n += c
		}
		smallest = min(smallest, n)
	}
	if smallest != 1 {
		t.Errorf("the smallest class of the table has %d rows", smallest)
	}
}

func TestPseudonymsAndOrder(t *testing.T) {
	j := job(t)
	j.Drop, j.Shuffle = nil, true
	j.Rewrite = map[string]publish.Rewrite{"name": func(dst, cell []byte) ([]byte, error) { return append(append(dst, "person "...), cell[1:]...), nil }}
	run(t, j)
	_, rows := readBack(t, j.Output, ';')
	_, input := readBack(t, patients, ';')
	inOrder := 0
	for i, row := range rows {
		if !strings.HasPrefix(row[0], "person ") {
			t.Fatalf("no pseudonym: %q", row)
		}
		if row[0][7:] == input[i][0][1:] {
			inOrder++
		}
	}
	if inOrder > 20 {
		t.Errorf("%d rows are where they were", inOrder)
	}
	j.Output += "2"
	j.Rewrite["name"] = func([]byte, []byte) ([]byte, error) { return nil, errors.New("no key") }
	if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "column name: no key") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(j.Output); !os.IsNotExist(err) {
		t.Error("a release without pseudonyms is there")
	}
}

// refused runs a job that must not release anything.
func refused(t *testing.T, j publish.Job, exit int, says string) {
	t.Helper()
	_, err := j.Run(t.Context())
	f := fault.Of(err)
	if err == nil || f.Exit != exit || !strings.Contains(f.Message, says) {
		t.Errorf("exit %d: %v; want %d: %s", f.Exit, err, exit, says)
	}
	if left, _ := os.ReadDir(filepath.Dir(j.Output)); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestJobsThatAreRefused(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct {
		change func(*publish.Job)
		exit   int
		says   string
	}{
		"no such file":      {func(j *publish.Job) { j.Input = "none.csv" }, 1, "none.csv"},
		"a folder":          {func(j *publish.Job) { j.Input = folder }, 1, "is no file"},
		"no such column":    {func(j *publish.Job) { j.Quasi[0] = "height" }, 2, "the table has no column height"},
		"one part too many": {func(j *publish.Job) { j.Drop = []string{"zip"} }, 2, "column zip is named twice: it is a quasi-identifier and dropped"},
		"no quasi":          {func(j *publish.Job) { j.Quasi, j.Hierarchies = nil, nil }, 2, "there is no quasi-identifier"},
		"no place":          {func(j *publish.Job) { j.Output = filepath.Join(folder, "none", "out.csv") }, 1, "out.csv cannot be written: no such file"},
		"the input":         {func(j *publish.Job) { j.Reports = []string{j.Output, j.Input} }, 2, "is named twice"},
		"another report":    {func(j *publish.Job) { j.Reports = []string{"r.pdf"} }, 2, "neither JSON nor HTML"},
		"an old report":     {func(j *publish.Job) { j.Reports = []string{file("old.json", "{}")} }, 1, "old.json exists"},
		"k over rows":       {func(j *publish.Job) { j.Models[0] = guarantee.K(401) }, 2, "the table has 400 rows, and no class may have fewer than 401"},
		"l over values":     {func(j *publish.Job) { j.Models = append(j.Models, guarantee.Distinct{Column: "diagnosis", L: 99}) }, 2, "99-diversity"},
		"all suppressed": {func(j *publish.Job) {
			j.Models = append(j.Models, guarantee.Recursive{Column: "diagnosis", C: 0.001, L: 2})
			j.Suppress = 1
		}, 1, "nothing can be released"},
		"a stray hierarchy":  {func(j *publish.Job) { j.Hierarchies["name"] = "flat" }, 2, "column name has a hierarchy and is neither"},
		"no such hierarchy":  {func(j *publish.Job) { j.Hierarchies["age"] = "none.csv" }, 1, "the hierarchy of age"},
		"a value is missing": {func(j *publish.Job) { j.Hierarchies["sex"] = file("sex.csv", "M;*\n") }, 1, `the hierarchy of sex has no value "F"`},
		"not a tree":         {func(j *publish.Job) { j.Hierarchies["sex"] = file("tree.csv", "M;x;1\nF;x;2\n") }, 1, "column sex: the hierarchy is not a tree"},
		"not a table":        {func(j *publish.Job) { j.Hierarchies["sex"] = file("level.csv", "M;x\nF\n") }, 1, "line 2 of the hierarchy"},
		"no widths":          {func(j *publish.Job) { j.Hierarchies["age"] = "intervals:x" }, 1, "intervals:0,5,10"},
		"only a header":      {func(j *publish.Job) { j.Input, j.Drop = file("empty.csv", "age;zip;sex;job;diagnosis\n"), nil }, 1, "the table has no rows"},
		"ragged":             {func(j *publish.Job) { j.Input, j.Drop = file("ragged.csv", "age;zip;sex;job;diagnosis\n1;2\n"), nil }, 1, "line 2 has 2 cells, and the header has 5"},
		"mixed": {func(j *publish.Job) {
			j.Input, j.Drop, j.Hierarchies, j.Quasi, j.Sensitive = file("mixed.csv", "age\n1\n2\n3\nold\n"), nil, nil, []string{"age"}, nil
		}, 1, "column age mixes numbers and other texts: 3 different numbers and 1 others"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t)
			c.change(&j)
			if name == "no place" {
				if _, err := j.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v", err)
				}
				return
			}
			refused(t, j, c.exit, c.says)
		})
	}
}

func TestBudgetAndInterrupt(t *testing.T) {
	j := job(t)
	j.Budget = time.Nanosecond
	if _, err := j.Run(t.Context()); err != nil && !strings.Contains(err.Error(), "no release was found in 1ns") {
		t.Errorf("%v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	j = job(t)
	if _, err := j.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A file that somebody writes to meanwhile is not released.
func TestATableThatChanges(t *testing.T) {
	raw, err := os.ReadFile(patients)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"a value":    func(b []byte) []byte { return []byte(strings.Replace(string(b), "asthma", "Asthma", 1)) },
		"a quasi":    func(b []byte) []byte { return []byte(strings.Replace(string(b), ";8006;", ";9999;", 1)) },
		"a line end": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		j := job(t)
		j.Input = filepath.Join(t.TempDir(), "in.csv")
		if err := os.WriteFile(j.Input, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		calls := 0
		j.Now = func() time.Time { // is asked between the passes
			if calls++; calls == 3 {
				if err := os.WriteFile(j.Input, change(raw), 0o600); err != nil {
					t.Error(err)
				}
			}
			return time.Time{}
		}
		t.Run(name, func(t *testing.T) { refused(t, j, 1, "the table") })
	}
}

func TestRiskOfATable(t *testing.T) {
	r, err := publish.Risk(t.Context(), patients, tabular.Options{}, []string{"sex"}, "")
	if err != nil || r.Rows != 400 || r.Classes != 2 || r.Risk.Unique != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := publish.Risk(t.Context(), patients, tabular.Options{}, []string{"sex", "height"}, ""); err == nil || !strings.Contains(fault.Of(err).Hint, "diagnosis") {
		t.Errorf("%v", err)
	}
}
