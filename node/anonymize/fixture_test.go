package anonymize_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// people is a table as a test writes it down.
type people struct {
	quasi, sensitive []string
	rows             [][]string // quasi-identifiers, then sensitive values
	population       [][]string
	hierarchies      map[string]*hierarchy.Hierarchy
}

func (p *people) build(t testing.TB) *table.Table {
	t.Helper()
	b, err := table.NewBuilder(p.quasi, p.sensitive)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.rows {
		if err := b.Add(cells(r[:len(p.quasi)]), cells(r[len(p.quasi):])); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range p.population {
		if err := b.AddPopulation(cells(r)); err != nil {
			t.Fatal(err)
		}
	}
	built, err := b.Build(p.hierarchies)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func cells(row []string) (b [][]byte) {
	for _, v := range row {
		b = append(b, []byte(v))
	}
	return b
}

// adultFolder has the Adult table and the hierarchies that ARX ships for it, where it
// lies beside the repository.
const adultFolder = "../../../shared/data/adult"

var adultQuasi = []string{"age", "education", "marital-status", "native-country", "race", "salary-class", "sex", "workclass"}

func adult(t testing.TB, sensitive ...string) *people {
	t.Helper()
	if _, err := os.Stat(adultFolder); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the Adult table is not here")
	}
	return read(t, filepath.Join(adultFolder, "adult.csv"), filepath.Join(adultFolder, "adult_hierarchy_"), adultQuasi, sensitive)
}

// patients is the small table of testdata: 400 made-up people.
func patients(t testing.TB) *people {
	t.Helper()
	return read(t, "testdata/patients.csv", "testdata/patients_hierarchy_", []string{"age", "zip", "sex", "job"}, []string{"diagnosis"})
}

// read reads a table without quotes, and the hierarchies that there are for its columns.
func read(t testing.TB, file, hierarchies string, quasi, sensitive []string) *people {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &people{quasi: quasi, sensitive: sensitive, hierarchies: map[string]*hierarchy.Hierarchy{}}
	var at []int
	for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		values := strings.Split(strings.TrimRight(line, "\r"), ";")
		if i == 0 {
			for _, name := range slices.Concat(quasi, sensitive) {
				at = append(at, slices.Index(values, name))
			}
			continue
		}
		row := make([]string, len(at))
		for c, from := range at {
			row[c] = values[from]
		}
		p.rows = append(p.rows, row)
	}
	for _, name := range slices.Concat(quasi, sensitive) {
		f, err := os.Open(hierarchies + name + ".csv")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := hierarchy.Read(f)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.Close()
		p.hierarchies[name] = h
	}
	return p
}

// random is a table of any shape: columns, trees, values that are missing, rare values
// and many rows alike, with a population around it now and then.
func random(r *rand.Rand) *people {
	p := &people{sensitive: []string{"s"}, hierarchies: map[string]*hierarchy.Hierarchy{"s": randomTree(r, 2+r.IntN(5))}}
	columns := 1 + r.IntN(4)
	for q := range columns {
		name := fmt.Sprintf("q%d", q)
		p.quasi = append(p.quasi, name)
		p.hierarchies[name] = randomTree(r, 1+r.IntN(9))
	}
	for range 1 + r.IntN(120) {
		var row []string
		for _, name := range append(slices.Clone(p.quasi), "s") {
			row = append(row, randomValue(r, p.hierarchies[name]))
		}
		for range 1 + r.IntN(3) {
			p.rows = append(p.rows, row)
		}
	}
	if r.IntN(2) == 0 {
		return p
	}
	for _, row := range p.rows {
		p.population = append(p.population, row[:columns])
		for range r.IntN(3) {
			var other []string
			for _, name := range p.quasi {
				other = append(other, randomValue(r, p.hierarchies[name]))
			}
			p.population = append(p.population, other)
		}
	}
	return p
}

func randomValue(r *rand.Rand, h *hierarchy.Hierarchy) string {
	if r.IntN(40) == 0 {
		return ""
	}
	return h.Value(uint32(min(r.IntN(h.Len()), r.IntN(h.Len()))))
}

func randomTree(r *rand.Rand, leaves int) *hierarchy.Hierarchy {
	rows := make([][]string, leaves)
	for i := range rows {
		rows[i] = []string{fmt.Sprint(i)}
		if leaves%2 == 0 {
			rows[i][0] = fmt.Sprintf("v%d", i)
		}
	}
	for lv := 1 + r.IntN(3); lv > 0; lv-- {
		group := map[string]string{}
		for i, row := range rows {
			below := row[len(row)-1]
			if _, ok := group[below]; !ok {
				group[below] = fmt.Sprintf("g%d.%d", len(row), r.IntN(1+leaves/len(row)))
			}
			rows[i] = append(row, group[below])
		}
	}
	h, err := hierarchy.New(rows)
	if err != nil {
		panic(err)
	}
	return h
}
