package publish_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// Whoever made the table chose its names and values. A refusal repeats so much of them that
// a person knows which is meant: it neither fills the screen, nor acts on it, nor has lines
// that are not ours.
func TestRefusalsAreShortWhateverTheTableHas(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	evil := "age\ncerebrum: it holds\x1b[2J\u202e"
	long, wordy := strings.Repeat("x", 1<<20), strings.Repeat("x", 100_000) // of a cell, of a header
	evilCell, longCell := `"`+evil+`"`, `"`+long+`"`
	wide := "age"
	for i := range 4000 {
		wide += fmt.Sprintf(",%s%d", strings.Repeat("y", 100), i)
	}
	wide += "\n" + strings.Repeat(",", 4000) + "\n"
	for name, c := range map[string]struct {
		header string // of a table whose rows are below
		rows   string
		change func(*publish.Job)
		says   string
	}{
		"many columns":       {wide, "", func(j *publish.Job) { j.Quasi = []string{"ago"} }, "the table has no column ago"},
		"one long name":      {"age," + wordy, "1,2", func(j *publish.Job) { j.Quasi = []string{"ago"} }, "the table has no column ago"},
		"a name that acts":   {evilCell, "1", func(j *publish.Job) { j.Quasi = []string{"ago"} }, "the table has no column ago"},
		"asked for":          {"age", "1", func(j *publish.Job) { j.Quasi = []string{long} }, `the table has no column "xxx`},
		"two of a name":      {wordy + "," + wordy, "1,2", nil, `two columns are named "xxx`},
		"two parts":          {evilCell, "1", func(j *publish.Job) { j.Quasi, j.Drop = []string{evil}, []string{evil} }, `column "age\ncerebrum`},
		"two operators":      {evilCell, "1", func(j *publish.Job) { j.Quasi, j.Beforehand = []string{evil}, append(buckets(evil), buckets(evil)...) }, `column "age\ncerebrum`},
		"no number":          {evilCell, "x", func(j *publish.Job) { j.Quasi, j.Beforehand = []string{evil}, buckets(evil) }, `in column "age\ncerebrum`},
		"mixed":              {evilCell, "1\n2\n3\nx", func(j *publish.Job) { j.Quasi = []string{evil} }, `column "age\ncerebrum`},
		"a stray hierarchy":  {"age," + evilCell, "1,2", func(j *publish.Job) { j.Hierarchies = map[string]string{evil: "flat"} }, `column "age\ncerebrum`},
		"no hierarchy file":  {evilCell, "1", func(j *publish.Job) { j.Quasi, j.Hierarchies = []string{evil}, map[string]string{evil: "none.csv"} }, `the hierarchy of "age\ncerebrum`},
		"a value is missing": {"age", longCell, func(j *publish.Job) { j.Hierarchies = map[string]string{"age": file("other.csv", "M;*\n")} }, `the hierarchy of age has no value "xxx`},
		"a value acts":       {"age", evilCell, func(j *publish.Job) { j.Hierarchies = map[string]string{"age": file("other.csv", "M;*\n")} }, `has no value "age\ncerebrum`},
		"no date":            {"age", longCell, func(j *publish.Job) { j.Hierarchies = map[string]string{"age": "dates"} }, `the value "xxx`},
		"not a tree": {"age", "1", func(j *publish.Job) {
			j.Hierarchies = map[string]string{"age": file("tree.csv", "M;"+longCell+";1\nF;"+longCell+";2\n")}
		}, `not a tree: "xxx`},
		"other parents": {"age", "1", func(j *publish.Job) {
			j.Hierarchies = map[string]string{"age": file("tree.csv", "M;x"+long+"\nM;y"+long+"\n")}
		}, `belongs to both "xxx`},
		"a value twice": {"age", "1", func(j *publish.Job) {
			j.Hierarchies = map[string]string{"age": file("twice.csv", "M;1\n"+longCell+";x\n"+longCell+";x\n")}
		}, "twice"},
		"one level": {"age", "1", func(j *publish.Job) {
			j.Hierarchies = map[string]string{"age": file("level.csv", "M;x\n"+longCell+"\n")}
		}, `line 2 of the hierarchy ("xxx`},
		"no width": {"age", "1", func(j *publish.Job) { j.Hierarchies = map[string]string{"age": "intervals:" + long} }, `and "xxx`},
		"sensitive": {"age," + evilCell, "1,2", func(j *publish.Job) {
			j.Sensitive, j.Models = []string{evil}, []guarantee.Model{guarantee.Distinct{Column: evil, L: 9}}
		}, `9-diversity of "age\ncerebrum`},
		"a field of JSON": {`{"age":1}` + "\n" + strings.Repeat(`{"age":1}`+"\n", 200_000), `{"` + long + `":1}`, nil, `has a field "xxx`},
		"fields of JSON":  {`{"` + wordy + `":{}}`, "", nil, `field "xxx`},
		"a field twice":   {`{"` + wordy + `":1,"` + wordy + `":1}`, "", func(j *publish.Job) { j.Quasi = []string{wordy} }, `has the field "xxx`},
	} {
		t.Run(name, func(t *testing.T) {
			j := publish.Job{Input: file("in", c.header+"\n"+c.rows+"\n"), Output: filepath.Join(t.TempDir(), "out.csv"), Quasi: []string{"age"},
				Models: []guarantee.Model{guarantee.K(1)}, Reading: tabular.Options{Encoding: tabular.UTF8}}
			if c.change != nil {
				c.change(&j)
			}
			_, err := j.Run(t.Context())
			f := fault.Of(err)
			if err == nil || !strings.Contains(f.Message, c.says) {
				t.Errorf("%.200q, and not %q", f.Message, c.says)
			}
			for _, text := range []string{f.Message, f.Hint} {
				if len(text) > 4000 || strings.ContainsAny(text, "\n\x1b\u202e") {
					t.Errorf("%d bytes: %.300q", len(text), text)
				}
			}
		})
	}
}

// buckets puts the numbers of a column into buckets.
func buckets(column string) []operate.Step {
	b, err := operate.NewBucket(10, 0, true)
	if err != nil {
		panic(err)
	}
	return []operate.Step{step(column, "bucket:10", b)}
}
