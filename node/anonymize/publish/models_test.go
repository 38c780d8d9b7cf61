package publish_test

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
)

// reader is somebody who has a release, and the table, population and hierarchies it was
// made of, and checks models by their definitions and nothing else.
type reader struct {
	release, whole [][]string // quasi-identifiers, then the sensitive value
	population     [][]string // quasi-identifiers
	trees          []map[string][]string
	order          [][]string // of the sensitive values: a line of the hierarchy each
}

// broken is the classes that break a model, and people of whom the release tells more
// than delta-presence lets it.
func (r *reader) broken(m guarantee.Model) (found []string) {
	width := len(r.trees)
	class, table := map[string]map[string]float64{}, map[string]float64{}
	for _, row := range r.whole {
		table[row[width]] += 1 / float64(len(r.whole))
	}
	for _, row := range r.release {
		key := strings.Join(row[:width], "\x00")
		if class[key] == nil {
			class[key] = map[string]float64{}
		}
		class[key][row[width]]++
	}
	rows, people := map[string]float64{}, map[string]float64{}
	for key, values := range class {
		for _, c := range values {
			rows[key] += c
		}
	}
	for _, person := range r.population {
		among := 0.0
		for key := range class {
			if r.covers(strings.Split(key, "\x00"), person) {
				people[key]++
				among = rows[key]
			}
		}
		if p, ok := m.(guarantee.Presence); ok && among == 0 && p.Min > 0 {
			found = append(found, fmt.Sprintf("%q is known to be absent", person))
		}
	}
	for key, values := range class {
		if !r.keeps(m, values, table, rows[key], people[key]) {
			found = append(found, fmt.Sprintf("%q: %v of %v people", key, values, people[key]))
		}
	}
	return found
}

func (r *reader) covers(labels, person []string) bool {
	for q, value := range person {
		if !slices.Contains(r.trees[q][value], labels[q]) {
			return false
		}
	}
	return true
}

func (r *reader) keeps(m guarantee.Model, values, table map[string]float64, n, people float64) bool {
	const rounding = 1e-6
	var counts []float64
	entropy, gain, capped := 0.0, 0.0, 0.0
	for v, c := range values {
		counts = append(counts, c)
		entropy -= c / n * math.Log(c/n)
		more := (c/n - table[v]) / table[v]
		gain, capped = max(gain, more), max(capped, more+math.Log(table[v]))
	}
	slices.Sort(counts)
	switch m := m.(type) {
	case guarantee.K:
		return n >= float64(m)
	case guarantee.KMap:
		return people >= float64(m)
	case guarantee.Presence:
		return n/people >= m.Min-rounding && n/people <= m.Max+rounding
	case guarantee.Distinct:
		return len(counts) >= m.L
	case guarantee.Entropy:
		return entropy >= math.Log(m.L)-rounding
	case guarantee.Recursive:
		rare := 0.0
		for _, c := range counts[:max(0, len(counts)-m.L+1)] {
			rare += c
		}
		return counts[len(counts)-1] < m.C*rare
	case guarantee.Closeness:
		return r.moved(m.Ground, values, table, n) <= m.T+rounding
	case guarantee.Likeness:
		return gain <= m.Beta+rounding && (!m.Enhanced || capped <= rounding)
	}
	return false
}

// moved is the earth mover's distance of a class from the table: over the edges of the
// tree, or along the line.
func (r *reader) moved(g guarantee.Ground, values, table map[string]float64, n float64) (sum float64) {
	if g == guarantee.Ordered {
		ahead := 0.0
		for _, line := range r.order {
			ahead += values[line[0]]/n - table[line[0]]
			sum += math.Abs(ahead) / float64(len(r.order)-1)
		}
		return sum
	}
	levels := len(r.order[0]) - 1
	if g == guarantee.Equal {
		levels = 1
	}
	for level := range levels {
		extra := map[string]float64{}
		for _, line := range r.order {
			extra[line[level]] += values[line[0]]/n - table[line[0]]
		}
		for _, e := range extra {
			sum += math.Abs(e) / 2 / float64(levels)
		}
	}
	return sum
}

// studied is a job on files, and who checks it.
type studied struct {
	job   publish.Job
	comma rune
	reader
}

func writeTable(t *testing.T, path string, comma rune, rows [][]string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	w.Comma = comma
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
}

// randomStudy makes a table of people, the population around it, and trees.
func randomStudy(t *testing.T, r *rand.Rand) *studied {
	t.Helper()
	folder := t.TempDir()
	s := &studied{comma: ',', job: publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Population: filepath.Join(folder, "all.csv"),
		Sensitive: []string{"s"}, Hierarchies: map[string]string{}, Suppress: []float64{0, 0.1, 0.5}[r.IntN(3)]}}
	tree := func(column string, leaves, wide int) (lines [][]string) {
		for i := range leaves {
			lines = append(lines, []string{fmt.Sprintf("%s%d", column, i), fmt.Sprintf("%s.%d", column, i/wide), "*"})
		}
		path := filepath.Join(folder, column+".csv")
		writeTable(t, path, ';', lines)
		s.job.Hierarchies[column] = path
		return lines
	}
	var columns [][][]string
	for q := range 1 + r.IntN(3) {
		name := fmt.Sprintf("q%d", q)
		lines, of := tree(name, 2+r.IntN(6), 1+r.IntN(3)), map[string][]string{}
		for _, l := range lines {
			of[l[0]] = l
		}
		s.job.Quasi, s.trees, columns = append(s.job.Quasi, name), append(s.trees, of), append(columns, lines)
	}
	s.order = tree("s", 3+r.IntN(3), 2)
	for range 40 + r.IntN(160) {
		var person []string
		for _, lines := range columns {
			person = append(person, lines[min(r.IntN(len(lines)), r.IntN(len(lines)))][0])
		}
		s.population = append(s.population, person)
		if r.IntN(3) > 0 {
			value := s.order[min(r.IntN(len(s.order)), r.IntN(len(s.order)))][0]
			s.whole = append(s.whole, append(slices.Clone(person), value))
		}
	}
	writeTable(t, s.job.Input, ',', append([][]string{append(slices.Clone(s.job.Quasi), "s")}, s.whole...))
	writeTable(t, s.job.Population, '\t', append([][]string{s.job.Quasi}, s.population...))
	return s
}

// released runs the job; false where nothing can be released.
func (s *studied) released(t *testing.T, m ...guarantee.Model) bool {
	t.Helper()
	s.job.Models, s.job.Replace = m, true
	if _, err := s.job.Run(t.Context()); err != nil {
		if !strings.Contains(err.Error(), "nothing can be released") && !strings.Contains(err.Error(), "different values") {
			t.Fatalf("%v: %v", m, err)
		}
		return false
	}
	_, s.release = readBack(t, s.job.Output, s.comma)
	return true
}

func randomModel(r *rand.Rand, form int) string {
	distance := []string{"equal", "ordered", "hierarchical"}[r.IntN(3)]
	return []string{
		fmt.Sprintf("k-map=%d", 2+r.IntN(12)),
		fmt.Sprintf("delta-presence=%.2f,%.2f", 0.3*float64(r.IntN(2)), 0.7+0.2*r.Float64()),
		fmt.Sprintf("distinct-l=%d", 2+r.IntN(2)),
		fmt.Sprintf("entropy-l=%.2f", 1.2+1.5*r.Float64()),
		fmt.Sprintf("recursive-l=%.2f,%d", 0.5+2*r.Float64(), 2+r.IntN(2)),
		fmt.Sprintf("t-closeness=%.2f,%s@s", 0.1+0.3*r.Float64(), distance),
		fmt.Sprintf("beta-likeness=%.2f", 0.3+2*r.Float64()),
		fmt.Sprintf("enhanced-beta=%.2f@s", 0.3+2*r.Float64()),
	}[form]
}

// Every model that can be asked for holds of what is written, on tables made at random,
// alone and beside another, as who checks it by the definitions finds. The control: the
// same tables released without the model break it often, which the check sees.
func TestEveryModelHoldsOfTheFile(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	forms := len(guarantee.Forms())
	held, broke := make([]int, forms), make([]int, forms)
	for round := range 40 * forms {
		form := round % forms
		s := randomStudy(t, r)
		text := randomModel(r, form)
		models, err := guarantee.Parse(text, s.job.Sensitive)
		if err != nil {
			t.Fatal(err)
		}
		if s.job.Method = anonymize.Method(r.IntN(2)); form == 1 {
			s.job.Method = anonymize.Columns // delta-presence asks for it
		}
		if r.IntN(2) == 0 {
			models = append(models, guarantee.K(2+r.IntN(3)))
		}
		if s.released(t, models...) {
			held[form]++
			for _, m := range models {
				if found := s.broken(m); len(found) > 0 {
					t.Fatalf("round %d, %s by %s: %s", round, m, s.job.Method, found[0])
				}
			}
		}
		if s.released(t, guarantee.K(1)) && len(s.broken(models[0])) > 0 {
			broke[form]++
		}
	}
	for form, name := range guarantee.Forms() {
		if held[form] < 12 || broke[form] < 12 {
			t.Errorf("%s was held by %d releases, and broken by %d without it", name, held[form], broke[form])
		}
	}
}

// The small table: each model is kept with it and broken without, and both reports name
// it and what it leaves open.
func TestEachModelOfASmallTable(t *testing.T) {
	j := job(t)
	j.Quasi, j.Drop, j.Suppress, j.Method = []string{"age", "job"}, []string{"name", "zip", "sex"}, 0.3, anonymize.Columns
	j.Hierarchies["diagnosis"] = "../testdata/patients_hierarchy_diagnosis.csv"
	s := &studied{job: j, comma: ';'}
	header, rows := readBack(t, patients, ';')
	for i, row := range rows {
		person := []string{row[slices.Index(header, "age")], row[slices.Index(header, "job")]}
		s.whole = append(s.whole, append(person, row[slices.Index(header, "diagnosis")]))
		for range 1 + i%3 {
			s.population = append(s.population, person)
		}
	}
	s.job.Population = filepath.Join(t.TempDir(), "all.csv")
	writeTable(t, s.job.Population, ';', append([][]string{s.job.Quasi}, s.population...))
	for _, column := range []string{"age", "job", "diagnosis"} {
		first, rest := readBack(t, j.Hierarchies[column], ';')
		s.order = append([][]string{first}, rest...)
		of := map[string][]string{"": {"", "*"}} // a missing value is its own until everything is one
		for _, l := range s.order {
			of[l[0]] = l
		}
		s.trees = append(s.trees, of)
	}
	s.trees = s.trees[:2]
	for _, text := range []string{"k-map=30", "delta-presence=0.4,0.6", "distinct-l=5", "entropy-l=5", "recursive-l=1,3", "t-closeness=0.2,equal",
		"t-closeness=0.1,ordered", "t-closeness=0.15,hierarchical", "beta-likeness=1", "enhanced-beta=1"} {
		t.Run(text, func(t *testing.T) {
			models, err := guarantee.Parse(text, s.job.Sensitive)
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			s.job.Reports = []string{filepath.Join(folder, "r.json"), filepath.Join(folder, "r.html")}
			if !s.released(t, models[0]) {
				t.Fatal("nothing is released")
			}
			if found := s.broken(models[0]); len(found) > 0 {
				t.Errorf("it does not hold: %s", found[0])
			}
			for _, path := range s.job.Reports {
				if raw, err := os.ReadFile(path); err != nil || !strings.Contains(string(raw), models[0].String()+" leaves open ") || !strings.Contains(string(raw), "all.csv") {
					t.Errorf("%s does not say what it leaves open: %v", path, err)
				}
			}
			if s.job.Reports = nil; !s.released(t, guarantee.K(2)) || len(s.broken(models[0])) == 0 {
				t.Error("a release without it keeps it as well, so nothing was shown")
			}
		})
	}
}

// What a population lacks is said without the values of anybody.
func TestPopulationsThatAreRefused(t *testing.T) {
	s := randomStudy(t, rand.New(rand.NewPCG(1, 1)))
	s.job.Models = []guarantee.Model{guarantee.KMap(2)}
	for name, c := range map[string]struct {
		rows [][]string
		exit int
		says string
	}{
		"lacks people": {append([][]string{s.job.Quasi}, s.population[:3]...), 1, "the population lacks the people of "},
		"no column":    {[][]string{{"age"}, {"3"}}, 2, "the population has no column q0"},
		"nobody":       {[][]string{s.job.Quasi}, 1, "the population has nobody in it"},
		"ragged":       {[][]string{{"q0", "q1", "q2"}, {"q00"}}, 1, "the population: line 2 has 1 cells"},
		"new values":   {append([][]string{s.job.Quasi}, append(slices.Clone(s.population), slices.Repeat([]string{"other"}, len(s.job.Quasi)))...), 1, `the hierarchy of q0 has no value "other"`},
	} {
		t.Run(name, func(t *testing.T) {
			j := s.job
			j.Population, j.Output = filepath.Join(t.TempDir(), "p.csv"), filepath.Join(t.TempDir(), "out.csv")
			writeTable(t, j.Population, ',', c.rows)
			refused(t, j, c.exit, c.says)
		})
	}
	j := s.job
	j.Output = filepath.Join(t.TempDir(), "out.csv")
	j.Population = filepath.Join(t.TempDir(), "none.csv")
	refused(t, j, 1, "the population: stat ")
	j.Population = j.Input
	refused(t, j, 2, "is named twice")
}
