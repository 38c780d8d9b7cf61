package publish_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
)

func step(column, name string, op operate.Operator) operate.Step {
	return operate.Step{Column: column, Name: name, Operator: op}
}

// What is taken away beforehand is nowhere in the release, not even where k-anonymity would
// let it be; what is left of it is a quasi-identifier like another. The control is the same
// release without.
func TestWhatIsDoneBeforehand(t *testing.T) {
	year, err := operate.NewYear(1937)
	if err != nil {
		t.Fatal(err)
	}
	table := [][]string{{"zip", "born", "age", "note"}}
	for i := range 60 {
		table = append(table, []string{[]string{"02139", "03601", "89301-1234"}[i%3], fmt.Sprintf("%02d/03/%d", 1+i%12, 1930+i%20/10*20), fmt.Sprint(75 + i%20),
			fmt.Sprintf("Jane Doe wrote from p%d@example.com", i)})
	}
	folder := t.TempDir()
	j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Quasi: []string{"zip", "born", "age"}, Suppress: 0.2,
		Models: []guarantee.Model{guarantee.K(3)}, Reports: []string{filepath.Join(folder, "r.html")}, Beforehand: []operate.Step{
			step("zip", "three digits", operate.ZIP3{}), step("born", "year only", year), step("age", "ages to 89", operate.AgesOf90()), step("note", "redacted", operate.Redact{})}}
	writeTable(t, j.Input, ',', table)
	r := run(t, j)
	header, rows := readBack(t, j.Output, ',')
	seen := map[string]bool{}
	for key, values := range classes(header, rows, j.Quasi, "none") {
		if values[""] < 3 {
			t.Errorf("%q has %d rows", key, values[""])
		}
		for _, label := range strings.Split(key, "\x00") {
			seen[label] = true
		}
	}
	for _, row := range rows {
		if row[3] != "Jane Doe wrote from [e-mail]" {
			t.Fatalf("not redacted: %q", row)
		}
	}
	raw, err := os.ReadFile(j.Output)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"02139", "036", "893", "1930", "/03/", "@"} {
		if strings.Contains(string(raw), gone) {
			t.Errorf("%s is in the release", gone)
		}
	}
	page, err := os.ReadFile(j.Reports[0])
	if err != nil || !strings.Contains(string(page), "note: redacted") || !strings.Contains(string(page), "names of people in free text are not found") {
		t.Errorf("the report does not say what was done: %v", err)
	}
	if ops := r.Parameters.Operations; len(ops) != 4 || slices.Contains(r.Parameters.Unchanged, "note") {
		t.Errorf("%+v, unchanged %q", ops, r.Parameters.Unchanged)
	}
	j.Beforehand, j.Reports, j.Replace, j.Hierarchies = nil, nil, true, map[string]string{"zip": "flat"}
	run(t, j)
	if raw, err = os.ReadFile(j.Output); err != nil || !strings.Contains(string(raw), "@example.com") {
		t.Errorf("the control has no e-mail address: %v", err)
	}
}

// Ages of 90 and more are a group of their own beside intervals of the others.
func TestOpenEndedColumnsHaveIntervals(t *testing.T) {
	folder := t.TempDir()
	table := [][]string{{"age"}}
	for i := range 100 {
		table = append(table, []string{fmt.Sprint(i)})
	}
	j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Quasi: []string{"age"}, Models: []guarantee.Model{guarantee.K(5)},
		Beforehand: []operate.Step{step("age", "ages to 89", operate.AgesOf90())}}
	writeTable(t, j.Input, ',', table)
	r := run(t, j)
	_, rows := readBack(t, j.Output, ',')
	n := map[string]int{}
	for _, row := range rows {
		n[row[0]]++
	}
	if n["90+"] != 10 || len(n) < 5 || r.Utility.GCP > 0.3 {
		t.Errorf("%v, GCP %.2f", n, r.Utility.GCP)
	}
}

// What is a number is said once: texts that only Go takes for numbers are groups of their
// own like 90+, and blanks around a number change nothing. If two parts of the program
// differed, no intervals would be made, and the column would be published as *.
func TestTextsThatOnlyLookLikeNumbers(t *testing.T) {
	folder := t.TempDir()
	for name, others := range map[string][]string{
		"NaN":       {"90+", "NaN"},
		"infinity":  {"90+", "inf", "-Infinity"},
		"hex":       {"90+", "0x1p4"},
		"none":      {"90+"},
		"no others": nil,
	} {
		t.Run(name, func(t *testing.T) {
			table := [][]string{{"age"}}
			for i := range 90 {
				table = append(table, []string{[]string{"", " "}[i%2] + fmt.Sprint(i)})
			}
			for _, text := range others {
				table = append(table, slices.Repeat([][]string{{text}}, 5)...)
			}
			j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(folder, "out.csv"), Quasi: []string{"age"}, Models: []guarantee.Model{guarantee.K(5)},
				Beforehand: []operate.Step{step("age", "redacted", operate.Redact{})}, Replace: true}
			writeTable(t, j.Input, ',', table)
			r := run(t, j)
			_, rows := readBack(t, j.Output, ',')
			n := map[string]int{}
			for _, row := range rows {
				n[row[0]]++
			}
			if len(n) < 5 || r.Utility.GCP > 0.3 {
				t.Errorf("%v, GCP %.2f", n, r.Utility.GCP)
			}
			for _, text := range others {
				if text[0] == '-' {
					text = "'" + text // as everywhere, against formulas
				}
				if n[text] != 5 {
					t.Errorf("%d rows of %q: %v", n[text], text, n)
				}
			}
		})
	}
}

// Without an operation, such a text is refused beside numbers: it has no place in their order.
func TestMixedColumns(t *testing.T) {
	folder := t.TempDir()
	for text, others := range map[string]int{"x": 1, "NaN": 1, "nan": 1, "inf": 1, "+Inf": 1, "Infinity": 1, "0x1p4": 1, " 5": 0, "7 ": 0, "1e3": 0, "": 0} {
		t.Run(text, func(t *testing.T) {
			table := [][]string{{"age", "sex"}, {text, "f"}}
			for i := range 40 {
				table = append(table, []string{fmt.Sprint(100 + i), "f"})
			}
			j := publish.Job{Input: filepath.Join(folder, "in.csv"), Output: filepath.Join(t.TempDir(), "out.csv"), Quasi: []string{"age"},
				Models: []guarantee.Model{guarantee.K(5)}, Suppress: 0.1}
			writeTable(t, j.Input, ',', table)
			if others > 0 {
				refused(t, j, 1, "column age mixes numbers and other texts: 40 different numbers and 1 others")
				return
			}
			if r := run(t, j); r.Utility.GCP > 0.5 {
				t.Errorf("GCP %.2f", r.Utility.GCP)
			}
		})
	}
}

func TestOperationsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*publish.Job)
		exit   int
		says   string
	}{
		"no column":       {func(j *publish.Job) { j.Beforehand = append(j.Beforehand, step("height", "x", operate.Redact{})) }, 2, "no column height"},
		"dropped as well": {func(j *publish.Job) { j.Beforehand = append(j.Beforehand, step("name", "redacted", operate.Redact{})) }, 2, "column name is named twice: it is dropped, and redacted"},
		"no ZIP code":     {func(j *publish.Job) { j.Beforehand = append(j.Beforehand, step("job", "three digits", operate.ZIP3{})) }, 1, "in column job what cannot be published as three digits: the value is not a ZIP code"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t)
			c.change(&j)
			refused(t, j, c.exit, c.says)
		})
	}
}
