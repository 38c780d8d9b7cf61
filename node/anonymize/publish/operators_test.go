package publish_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/fault"
)

// applied are steps as a person writes them, COLUMNS=OPERATOR.
func applied(t testing.TB, all ...string) (steps []operate.Step) {
	t.Helper()
	key, err := operate.NewKey(bytes.Repeat([]byte{7}, operate.MinKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range all {
		columns, operator, _ := strings.Cut(text, "=")
		more, err := operate.Parse(operator, strings.Split(columns, ","), operate.Setting{Key: key, Dataset: "trial", Now: time.Unix(1_800_000_000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, more...)
	}
	return steps
}

// visits is a random table of people with several rows each.
func visits(r *rand.Rand, rows int) [][]string {
	table := [][]string{{"who", "age", "weight", "zip", "born", "card", "illness"}}
	for range rows {
		who := r.IntN(1 + rows/2)
		table = append(table, []string{fmt.Sprint("p", who), fmt.Sprint(20 + who%60), fmt.Sprintf("%.1f", 50+40*r.Float64()), fmt.Sprintf("%04d", 8000+r.IntN(40)),
			fmt.Sprintf("19%02d-%02d-%02d", 30+who%60, 1+who%12, 1+who%28), fmt.Sprintf("%08d", 10_000_000+who), []string{"flu", "gout", "cold"}[r.IntN(3)]})
	}
	return table
}

// Whatever operators do to quasi-identifiers, the guarantee is about what is published: a
// naive check of the written file finds it kept. The table itself keeps none of it.
func TestGuaranteesHoldWithOperators(t *testing.T) {
	operators := map[string][]string{
		"age":    {"bucket:10", "code:30,60", "noise:laplace,2,0,120,0", "noise:gaussian,5", "suppress", "generalise:1", "microaggregate:3"},
		"weight": {"bucket:2.5", "microaggregate:4,1", "noise:laplace,1,,,0", "code:,80"},
		"zip":    {"mask:2,first", "generalise:2", "pseudonym", "suppress:any", "bucket:10,8000"},
		"born":   {"shift:30,who", "year", "mask:4,first"},
		"card":   {"ff1:digits", "reversible", "mask:2,last", "pseudonym"},
	}
	released, gone := 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 11))
		folder, table := t.TempDir(), visits(r, 30+r.IntN(150))
		k := 2 + r.IntN(5)
		j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Sensitive: []string{"illness"}, Drop: []string{"who"}, Suppress: 1,
			Models: []guarantee.Model{guarantee.K(k), guarantee.Distinct{Column: "illness", L: 2}}, Method: anonymize.Method(r.IntN(3)), Shuffle: r.IntN(2) == 0, Hierarchies: map[string]string{}}
		var texts []string
		if r.IntN(4) == 0 {
			texts = append(texts, "age,weight=microaggregate:5,1")
		}
		for _, c := range table[0][1:6] {
			if some := operators[c]; r.IntN(3) > 0 && (len(texts) == 0 || !strings.HasPrefix(texts[0], "age,") || c != "age" && c != "weight") {
				text := c + "=" + some[r.IntN(len(some))]
				if texts = append(texts, text); strings.Contains(text, "generalise") {
					j.Hierarchies[c] = map[string]string{"age": "intervals:0,5,20", "zip": "prefix"}[c]
				}
			}
			if r.IntN(2) == 0 || c == "age" {
				j.Quasi = append(j.Quasi, c)
			}
		}
		for c := range j.Hierarchies {
			if !slices.Contains(j.Quasi, c) && r.IntN(2) == 0 {
				j.Quasi = append(j.Quasi, c)
			}
		}
		j.Beforehand = applied(t, texts...)
		writeTable(t, j.Input, ',', table)
		if _, err := j.Run(t.Context()); err != nil {
			if f := fault.Of(err); !strings.Contains(f.Message, "mixes numbers") && !strings.Contains(f.Message, "no release") && f.Exit != fault.Usage && !strings.Contains(f.Message, "suppress") {
				t.Fatalf("seed %d, %q: %v", seed, texts, err)
			}
			continue
		}
		released++
		header, rows := readBack(t, j.Output, ',')
		checked(t, header, rows, table, j, k, 2, 0)
		if t.Failed() {
			t.Fatalf("seed %d, %q of %q by %s", seed, texts, j.Quasi, j.Method)
		}
		for _, text := range texts {
			c, _, _ := strings.Cut(text, "=")
			if strings.Contains(text, "ff1") || strings.Contains(text, "reversible") || strings.Contains(text, "pseudonym") || strings.Contains(text, "shift") {
				gone++
				for _, row := range rows {
					if was := slices.Index(table[0], c); slices.ContainsFunc(table[1:], func(of []string) bool { return of[was] == row[slices.Index(header, c)] }) && !strings.Contains(text, "shift") {
						t.Fatalf("seed %d, %q: a value of %s is published", seed, texts, c)
					}
				}
			}
		}
	}
	if released < 100 || gone < 50 {
		t.Errorf("only %d were released, and %d columns encrypted", released, gone)
	}
	before := visits(rand.New(rand.NewPCG(1, 11)), 100)
	few := 0
	for _, values := range classes(before[0], before[1:], []string{"age", "weight"}, "illness") {
		few = max(few, len(values))
	}
	if few > 1 {
		t.Errorf("the control keeps 2-diversity by itself")
	}
}

// Means are shared by as many rows as they say, with and without a search, and in Parquet
// and JSON lines too.
func TestMicroaggregatedColumns(t *testing.T) {
	folder := t.TempDir()
	table := visits(rand.New(rand.NewPCG(3, 3)), 400)
	in := filepath.Join(folder, "in.csv")
	writeTable(t, in, ',', table)
	for _, ending := range []string{".csv", ".jsonl", ".parquet"} {
		out, back := filepath.Join(folder, "out"+ending), filepath.Join(folder, "back"+ending+".csv")
		run(t, publish.Job{Input: in, Output: out, Quasi: []string{"zip"}, Models: []guarantee.Model{guarantee.K(1)}, Beforehand: applied(t, "age,weight=microaggregate:6", "zip=suppress")})
		run(t, publish.Job{Input: out, Output: back, Quasi: []string{"age", "weight"}, Models: []guarantee.Model{guarantee.K(6)}})
		header, rows := readBack(t, back, ',')
		if len(rows) != 400 {
			t.Errorf("%s has %d rows", ending, len(rows))
		}
		for means, values := range classes(header, rows, []string{"age", "weight"}, "none") {
			if values[""] < 6 || strings.ContainsAny(means, "*-[") {
				t.Errorf("%s: %q is shared by %d rows", ending, means, values[""])
			}
		}
	}
}

// A level that is published beforehand is where the search begins, and the report says so.
func TestLevelsBeforehand(t *testing.T) {
	j := job(t)
	j.Hierarchies["zip"] = "prefix"
	j.Hierarchies["diagnosis"] = "flat"
	j.Reports = []string{filepath.Join(filepath.Dir(j.Output), "r.json")}
	j.Beforehand = applied(t, "age=generalise:2", "zip=generalise:1", "diagnosis=generalise:0")
	run(t, j)
	raw, err := os.ReadFile(j.Reports[0])
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Hierarchies) != 5 || r.Hierarchies[0].Source != "patients_hierarchy_age.csv, from level 2" || r.Hierarchies[1].Source != "prefix, from level 1" {
		t.Errorf("%+v", r.Hierarchies)
	}
	header, rows := readBack(t, j.Output, ';')
	for _, row := range rows {
		if zip := row[slices.Index(header, "zip")]; !strings.HasSuffix(zip, "*") {
			t.Fatalf("%q is published", zip)
		}
	}
}

// Intervals of a quasi-identifier become wider ones, and not everything at once; a missing
// value stays missing, or is in everything.
func TestBucketsAreCoarsened(t *testing.T) {
	for _, op := range []string{"age=bucket:5", "age=bucket:2.5,0.5"} {
		folder := t.TempDir()
		j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Quasi: []string{"age", "sex"}, Models: []guarantee.Model{guarantee.K(40)}, Suppress: 0.2,
			Beforehand: applied(t, op)}
		table := [][]string{{"age", "sex"}}
		for i := range 800 {
			table = append(table, []string{fmt.Sprint(i % 80), []string{"F", "M"}[i%2]})
		}
		table = append(table, []string{"", "F"})
		writeTable(t, j.Input, ',', table)
		r := run(t, j)
		_, rows := readBack(t, j.Output, ',')
		ages := map[string]int{}
		for _, row := range rows {
			ages[row[0]]++
		}
		if len(ages) < 4 || r.Utility.GCP > 0.6 || len(rows) < 780 {
			t.Errorf("%s: %v, GCP %.2f", op, ages, r.Utility.GCP)
		}
	}
}

// Levels are published of the population's values too, those that only it has included, and
// k-map holds with them. What only the population does to another column is left alone.
func TestLevelsOfAPopulation(t *testing.T) {
	folder := t.TempDir()
	j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Population: filepath.Join(folder, "all.csv"), Quasi: []string{"zip"},
		Models: []guarantee.Model{guarantee.KMap(10)}, Hierarchies: map[string]string{"zip": "prefix"}, Beforehand: applied(t, "zip=generalise:1", "pay=microaggregate:3")}
	everybody, rows := [][]string{{"zip", "pay"}}, [][]string{{"zip", "pay"}}
	people := map[string]int{}
	for i := range 300 {
		zip := fmt.Sprintf("%03d", i%60)
		everybody, people[zip[:2]] = append(everybody, []string{zip, "secret"}), people[zip[:2]]+1
		if i%7 == 0 && i%60 < 40 {
			rows = append(rows, []string{zip, fmt.Sprint(i)})
		}
	}
	writeTable(t, j.Input, ',', rows)
	writeTable(t, j.Population, ',', everybody)
	run(t, j)
	_, got := readBack(t, j.Output, ',')
	for _, row := range got {
		if among := people[strings.TrimRight(row[0], "*")]; !strings.HasSuffix(row[0], "*") || len(row[0]) == 3 && among < 10 {
			t.Errorf("%q is published, of %d people", row, among)
		}
	}
	if len(got) != len(rows)-1 {
		t.Errorf("%d of %d rows", len(got), len(rows)-1)
	}
}

// A subject is read before any operator changes it, and may be dropped.
func TestShiftsFollowTheSubject(t *testing.T) {
	folder := t.TempDir()
	j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Quasi: []string{"sex"}, Models: []guarantee.Model{guarantee.K(1)},
		Beforehand: applied(t, "who=suppress", "in,out=shift:20,who")}
	table := [][]string{{"who", "sex", "in", "out"}}
	for i := range 50 {
		table = append(table, []string{fmt.Sprint("p", i), "F", "2024-03-01", "2024-03-08"})
	}
	writeTable(t, j.Input, ',', table)
	run(t, j)
	_, rows := readBack(t, j.Output, ',')
	days := map[string]bool{}
	for _, row := range rows {
		in, err := time.Parse(time.DateOnly, row[2])
		if err != nil {
			t.Fatal(err)
		}
		if out, err := time.Parse(time.DateOnly, row[3]); err != nil || out.Sub(in) != 7*24*time.Hour || row[2] == "2024-03-01" || row[0] != "*" {
			t.Errorf("%q, %v", row, err)
		}
		days[row[2]] = true
	}
	if len(days) < 20 {
		t.Errorf("all are shifted by %d different days: the subject was changed before", len(days))
	}
}

func TestOperatorsThatCannotBeApplied(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*publish.Job)
		exit   int
		says   string
	}{
		"no subject column":      {func(j *publish.Job) { j.Beforehand = applied(t, "age=shift:3,patient") }, 2, "no column patient"},
		"no hierarchy":           {func(j *publish.Job) { j.Beforehand = applied(t, "zip=generalise:1") }, 2, "zip has no hierarchy"},
		"no such level":          {func(j *publish.Job) { j.Beforehand = applied(t, "age=generalise:9") }, 2, "has no level 9"},
		"twice":                  {func(j *publish.Job) { j.Beforehand = applied(t, "age=suppress", "age=bucket:10") }, 2, "column age is named twice: suppress, and bucket:10"},
		"no numbers":             {func(j *publish.Job) { j.Beforehand = applied(t, "job=bucket:10") }, 1, "line 2 has in column job what cannot be published as bucket:10: the value is not a number"},
		"no numbers to group":    {func(j *publish.Job) { j.Beforehand = applied(t, "job=microaggregate:3") }, 1, "line 2 has in column job what cannot be published as microaggregate:3"},
		"groups above the table": {func(j *publish.Job) { j.Beforehand = applied(t, "age=microaggregate:500") }, 2, "groups of 500 rows cannot be made of 400 rows"},
		"too few to encrypt":     {func(j *publish.Job) { j.Beforehand = applied(t, "age=ff1:digits") }, 1, "there are 2 characters to encrypt and have to be 6"},
		"letters beside digits":  {func(j *publish.Job) { j.Beforehand = applied(t, "job=ff1:digits") }, 1, "not in the alphabet"},
		"outside of bounds":      {func(j *publish.Job) { j.Beforehand = applied(t, "age=noise:laplace,1,0,10") }, 1, "the value is outside of the bounds"},
		"noise on a population": {func(j *publish.Job) {
			j.Population, j.Beforehand = patients, applied(t, "age=noise:laplace,1")
			j.Input = copied(t, patients)
		}, 2, "would do something else to the people of the population"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t)
			c.change(&j)
			refused(t, j, c.exit, c.says)
		})
	}
}

func copied(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy.csv")
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// Models count values after noise, which makes all of them different: the report says so,
// and does not where an operator keeps equal values equal.
func TestNoiseOnSensitiveColumns(t *testing.T) {
	for op, warned := range map[string]bool{"visits=noise:laplace,1,,,6": true, "visits=bucket:2": false, "sex=noise:laplace,1": false} {
		j := job(t)
		table := [][]string{{"zip", "sex", "visits"}}
		for i := range 60 {
			table = append(table, []string{fmt.Sprint(i % 3), "1", fmt.Sprint(i % 6)})
		}
		j.Input = filepath.Join(t.TempDir(), "in.csv")
		j.Quasi, j.Sensitive, j.Drop, j.Hierarchies = []string{"zip"}, []string{"visits"}, nil, nil
		j.Models, j.Beforehand = []guarantee.Model{guarantee.Distinct{Column: "visits", L: 2}}, applied(t, op)
		writeTable(t, j.Input, ',', table)
		r := run(t, j)
		if got := strings.Contains(strings.Join(r.Warnings, "\n"), "models of visits are about"); got != warned {
			t.Errorf("%s: %q", op, r.Warnings)
		}
	}
}

// A date without a person names both columns and no value.
func TestDatesOfNobody(t *testing.T) {
	folder := t.TempDir()
	j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(t.TempDir(), "out.csv"), Quasi: []string{"sex"}, Models: []guarantee.Model{guarantee.K(1)},
		Beforehand: applied(t, "in=shift:20,who")}
	writeTable(t, j.Input, ',', [][]string{{"who", "sex", "in"}, {"p", "F", "2024-03-01"}, {"", "F", "2024-03-02"}})
	refused(t, j, 1, "line 3 has in column in a date, and does not say in column who whose it is")
}

// A table that grows between the look and the first pass is refused.
func TestTableChangesAfterTheLook(t *testing.T) {
	folder := t.TempDir()
	in := filepath.Join(folder, "in.csv")
	writeTable(t, in, ',', visits(rand.New(rand.NewPCG(4, 4)), 50))
	steps := applied(t, "age=microaggregate:5")
	steps[0].Operator = meddler{steps[0].Operator.(operate.Looker), func() {
		f, err := os.OpenFile(in, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("q"), 60)
			f.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}}
	refused(t, publish.Job{Input: in, Output: filepath.Join(t.TempDir(), "out.csv"), Quasi: []string{"zip"}, Models: []guarantee.Model{guarantee.K(1)}, Beforehand: steps}, 1, "the table changed")
}

// meddler does something when the look is over.
type meddler struct {
	operate.Looker
	then func()
}

func (m meddler) Ready(ctx context.Context) error {
	m.then()
	return m.Looker.Ready(ctx)
}

func (m meddler) Rewind() { m.Looker.(operate.Rewinder).Rewind() }
