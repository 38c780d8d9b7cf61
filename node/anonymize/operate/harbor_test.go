package operate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/detect"
)

func TestOperatorsOfSafeHarbor(t *testing.T) {
	year := must[*Year](t)(NewYear(1937))
	for _, c := range []struct {
		op        Operator
		in, want  string
		otherwise error
	}{
		{op: ZIP3{}, in: "02139", want: "021"},
		{op: ZIP3{}, in: "02139-4307", want: "021"},
		{op: ZIP3{}, in: "021394307", want: "021"},
		{op: ZIP3{}, in: "2139", want: "021"}, // a spreadsheet lost the zero
		{op: ZIP3{}, in: "03601", want: "000"},
		{op: ZIP3{}, in: "3601", want: "000"},
		{op: ZIP3{}, in: "89301", want: "000"},
		{op: ZIP3{Sparse: map[string]bool{"021": true}}, in: "02139", want: "000"},
		{op: ZIP3{Sparse: map[string]bool{"021": true}}, in: "89301", want: "893"},
		{op: ZIP3{}, in: "", want: ""},
		{op: ZIP3{}, in: "021", otherwise: ErrPostal},
		{op: ZIP3{}, in: "SW1A 1AA", otherwise: ErrPostal},
		{op: ZIP3{}, in: "02139 4307", otherwise: ErrPostal},
		{op: year, in: "1985-04-12", want: "1985"},
		{op: year, in: "31.12.1937", want: "1937"},
		{op: year, in: "1936-12-31", want: "before 1937"},
		{op: year, in: "1900", want: "before 1937"},
		{op: year, in: "2001", want: "2001"},
		{op: year, in: "2001-02-29", otherwise: ErrDate},
		{op: year, in: "04/12/1985", want: "1985"}, // a year needs no order of day and month
		{op: year, in: "12 Apr 1985", want: "1985"},
		{op: year, in: "1985", want: "1985"},
		{op: year, in: "04/12/85", otherwise: ErrDate},
		{op: must[*Year](t)(NewYear(1937, "01/02/2006")), in: "13/01/1985", otherwise: ErrDate},
		{op: must[*Year](t)(NewYear(1937, "01/02/2006")), in: "04/12/1985", want: "1985"},
		{op: Redact{}, in: "call jane@example.com", want: "call [e-mail]"},
	} {
		got, err := c.op.Append(nil, Cell{Value: []byte(c.in)})
		if !errors.Is(err, c.otherwise) || string(got) != c.want {
			t.Errorf("%T of %q is %q, %v; want %q, %v", c.op, c.in, got, err, c.want, c.otherwise)
		}
	}
	if _, err := NewYear(-1); err == nil {
		t.Error("a year before all years is taken")
	}
}

// From a table to what Safe Harbor leaves of it: the plan is carried out, and looking
// again finds no identifier. The control is that the first look finds them.
func TestWhatSafeHarborLeavesHasNoIdentifiers(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	header := []string{"patient id", "name", "e-mail", "zip", "city", "state", "date of birth", "age", "ssn", "diagnosis", "notes", "host"}
	var rows [][][]byte
	for i := range 200 {
		born := now.AddDate(0, 0, -170*i-1)
		row := []string{fmt.Sprint(5000 + i), "Jane Doe", fmt.Sprintf("p%d@example.com", i), fmt.Sprintf("%05d", 2101+i), "Boston", "MA", born.Format(time.DateOnly),
			fmt.Sprint(170 * i / 365), fmt.Sprintf("457-55-%04d", 1+i), "flu", fmt.Sprintf("Jane Doe came to ward %d with her two children", i), fmt.Sprintf("192.0.2.%d", i)}
		cells := make([][]byte, len(row))
		for c := range row {
			cells[c] = []byte(row[c])
		}
		rows = append(rows, cells)
	}
	look := func(header []string, rows [][][]byte) *detect.Report {
		in, err := detect.NewInspector(header, detect.Config{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if err := in.Add(row); err != nil {
				t.Fatal(err)
			}
		}
		return in.Report()
	}
	identifiers := func(r *detect.Report) (found []string) {
		for _, c := range r.Columns {
			if c.Role == detect.Direct || c.Role == detect.Text || c.Kind != detect.None {
				found = append(found, c.Name)
			}
		}
		return found
	}
	before := look(header, rows)
	if got := identifiers(before); len(got) != 7 {
		t.Errorf("the control: it finds %q", got)
	}
	steps, err := Steps(before.Propose(detect.SafeHarbor), Key{}, "ward", now)
	if err != nil {
		t.Fatal(err)
	}
	rw, err := New(header, steps)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rw.Header(), ", "); got != "zip, state, date of birth, age, diagnosis" {
		t.Errorf("what is left is %s", got)
	}
	var left [][][]byte
	old := 0
	for _, row := range rows {
		out, err := rw.Rewrite(row)
		if err != nil {
			t.Fatal(err)
		}
		if string(out[2]) == "before 1937" != (string(out[3]) == "90+") && string(out[3]) != "89" {
			t.Errorf("a birth in %q and an age of %q", out[2], out[3])
		}
		if string(out[3]) == "90+" {
			old++
		}
		var kept [][]byte
		for _, cell := range out {
			kept = append(kept, append([]byte(nil), cell...))
		}
		left = append(left, kept)
	}
	if got := identifiers(look(rw.Header(), left)); len(got) != 0 {
		t.Errorf("identifiers are left: %q", got)
	}
	if old == 0 {
		t.Error("the control: nobody is 90")
	}
}

// The general plan needs a key for its pseudonyms, and says so.
func TestAPlanWithPseudonymsNeedsAKey(t *testing.T) {
	plan := &detect.Plan{Steps: []detect.Step{{Column: "patient", Action: detect.Pseudonymise}, {Column: "note", Action: detect.RedactText}, {Column: "age", Action: detect.Generalise}}}
	if _, err := Steps(plan, Key{}, "trial", time.Now()); err == nil || !strings.Contains(err.Error(), "column patient: there is no key") {
		t.Errorf("without a key: %v", err)
	}
	if steps, err := Steps(plan, testKey(t, 1), "trial", time.Now()); err != nil || len(steps) != 2 {
		t.Errorf("%v, %v", steps, err)
	}
	plan.Steps[0].Action = detect.Action(99)
	if _, err := Steps(plan, testKey(t, 1), "trial", time.Now()); err == nil {
		t.Error("an unknown action is carried out")
	}
}
