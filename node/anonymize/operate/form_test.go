package operate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func setting(t testing.TB) Setting {
	return Setting{Key: testKey(t, 1), Dataset: "trial", Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// What a person writes is what is done.
func TestOperatorsAsTheyAreWritten(t *testing.T) {
	for _, c := range []struct{ text, in, out string }{
		{"suppress", "x", "*"},
		{"suppress:not, given", "x", "not, given"},
		{"bucket:10", "37", "30-39"},
		{"bucket:10,5", "37", "35-44"},
		{"bucket:0.5", "1.2", "[1, 1.5)"},
		{"bucket:10.0", "37.5", "[30, 40)"},
		{"code:,89", "90", ">89"},
		{"code:18,89", "17", "<18"},
		{"code:18", "90", "90"},
		{"mask:4,last", "4111-1111", "*****1111"},
		{"mask:1,first", "Ann", "A**"},
		{"zip3", "02139-1234", "021"},
		{"ages-to-89", "95", "90+"},
		{"year", "1980-05-01", "1980"},
		{"redact", "to ann@example.com", "to [e-mail]"},
		{"noise:laplace,0.000001", "5", "5.00"},
		{"noise:gaussian,0.000001,0,10,0", "0", "0"},
		{"noise:laplace,1e-9,-1,,1", "-0.0", "0.0"},
	} {
		steps, err := Parse(c.text, []string{"a", "b"}, setting(t))
		if err != nil || len(steps) != 2 || steps[1].Column != "b" || steps[1].Name != c.text {
			t.Errorf("%s gives %+v, %v", c.text, steps, err)
			continue
		}
		if got := apply(t, steps[1].Operator, c.in); got != c.out {
			t.Errorf("%s makes %q of %q, want %q", c.text, got, c.in, c.out)
		}
	}
	// Keyed ones are bound to the column, as those that programs make are.
	for text, op := range map[string]Operator{
		"pseudonym":  must[*Pseudonym](t)(NewPseudonym(testKey(t, 1), Place{"trial", "b"})),
		"reversible": must[*Reversible](t)(NewReversible(testKey(t, 1), Place{"trial", "b"})),
		"ff1:digits": must[*Format](t)(NewFormat(testKey(t, 1), Place{"trial", "b"}, Digits)),
	} {
		steps, err := Parse(text, []string{"a", "b"}, setting(t))
		if err != nil {
			t.Fatal(err)
		}
		want := apply(t, op, "12345678")
		if a, b := apply(t, steps[0].Operator, "12345678"), apply(t, steps[1].Operator, "12345678"); b != want || a == b {
			t.Errorf("%s: %s and %s, want %s", text, a, b, want)
		}
	}
	steps, err := Parse("shift:30,patient", []string{"born"}, setting(t))
	if err != nil || steps[0].Subject != "patient" || steps[0].Leaves == "" {
		t.Errorf("%+v, %v", steps, err)
	}
}

func TestOperatorsThatAreNotWrittenSo(t *testing.T) {
	for text, says := range map[string]string{
		"":                          `there is no operator ""`,
		"encrypt":                   "the operators are suppress, generalise, ",
		"Bucket:10":                 "there is no operator",
		"bucket":                    "bucket is written bucket:WIDTH[,BASE]",
		"bucket:ten":                "bucket is written",
		"bucket:10,0,1":             "bucket is written",
		"bucket:NaN":                "bucket is written",
		"bucket:0":                  "the width has to be above 0",
		"generalise:":               "generalise is written",
		"generalise:1.5":            "generalise is written",
		"generalise:-1":             "no level -1",
		"code":                      "there is no limit",
		"code:9,1":                  "not in order",
		"code:Inf,":                 "code is written",
		"mask:4":                    "mask is written mask:SHOWN,SIDE",
		"mask:4,middle":             "mask is written",
		"mask:-1,last":              "0 hides all",
		"shift:30":                  "shift is written shift:DAYS,SUBJECT",
		"shift:0,patient":           "1 to 36525 days",
		"shift:30,patient,x":        "shift is written",
		"pseudonym:x":               "pseudonym is written pseudonym, ",
		"ff1":                       "ff1 is written ff1:ALPHABET",
		"ff1:greek":                 `no alphabet "greek"`,
		"noise:laplace":             "noise is written",
		"noise:uniform,1":           "noise is written",
		"noise:laplace,0":           "above 0",
		"noise:laplace,5,0,1":       "one scale of noise",
		"noise:laplace,1,0,9,16":    "0 to 15 decimals",
		"noise:laplace,1,,,2,2":     "noise is written",
		"microaggregate":            "microaggregate is written",
		"microaggregate:1":          "share nothing",
		"microaggregate:3,-1":       "0 to 15 decimals",
		"microaggregate:3,2,income": "microaggregate is written",
	} {
		if steps, err := Parse(text, []string{"a"}, setting(t)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q gives %+v, %v; want %q", text, steps, err, says)
		}
	}
	if _, err := Parse("reversible", []string{"a"}, Setting{Dataset: "trial"}); err == nil {
		t.Error("a pseudonym without a key")
	}
	if _, err := Parse("pseudonym", []string{"a"}, Setting{Key: testKey(t, 1)}); err == nil {
		t.Error("a pseudonym without a dataset")
	}
}

// A letter beside the digits that are encrypted would be published as it is.
func TestFormatRefusesWhatItsAlphabetLacks(t *testing.T) {
	f := must[*Format](t)(NewFormat(testKey(t, 1), Place{"trial", "id"}, Digits))
	for _, text := range []string{"AB12345678", "12345678é", "1234567٣8"} {
		if out, err := f.Append(nil, Cell{Value: []byte(text)}); !errors.Is(err, ErrAlphabet) || len(out) > 0 {
			t.Errorf("%q becomes %q, %v", text, out, err)
		}
	}
	if out := apply(t, f, "12/34-56 78"); out[2] != '/' || out[5] != '-' || out[8] != ' ' {
		t.Errorf("separators are gone: %q", out)
	}
}

// The second pass over a table gets the noise of the first, and another job another.
func TestNoiseIsTheSameInEachPass(t *testing.T) {
	draw := func(n *Noise) (all string) {
		for i := range 200 {
			all += apply(t, n, fmt.Sprint(i)) + " "
		}
		return all
	}
	n := must[*Noise](t)(NewNoise(Laplace, 3, 0, 200, 3))
	first := draw(n)
	if draw(n) == first {
		t.Error("noise begins again by itself")
	}
	n.Rewind()
	if draw(n) != first {
		t.Error("the second pass has other noise")
	}
	if draw(must[*Noise](t)(NewNoise(Laplace, 3, 0, 200, 3))) == first {
		t.Error("two jobs have the same noise")
	}
}

// Every mean is that of K rows or more, in all columns together and in each pass.
func TestGroupsOfRows(t *testing.T) {
	steps, err := Parse("microaggregate:3,1", []string{"a", "b"}, setting(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := steps[0].Operator.Append(nil, Cell{Value: []byte("1")}); !errors.Is(err, ErrOther) {
		t.Errorf("before it has looked: %v", err)
	}
	const rows = 50
	for i := range rows {
		for c, s := range steps {
			if err := s.Operator.(Looker).Look(fmt.Append(nil, (i*(c+7))%rows)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range steps {
		if err := s.Operator.(Looker).Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		seen := map[string]int{}
		for _, s := range steps {
			s.Operator.(Rewinder).Rewind()
		}
		for range rows {
			seen[apply(t, steps[0].Operator, "1")+" "+apply(t, steps[1].Operator, "1")]++
		}
		for means, n := range seen {
			if n < 3 || len(seen) < 5 {
				t.Errorf("%s is shared by %d rows, of %d groups", means, n, len(seen))
			}
		}
	}
	if _, err := steps[0].Operator.Append(nil, Cell{Value: []byte("1")}); !errors.Is(err, ErrOther) {
		t.Errorf("a row that was not looked at: %v", err)
	}
}

func TestGroupsThatCannotBeMade(t *testing.T) {
	g, err := NewGroups(3, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, columns := range []int{0, MaxColumns + 1} {
		if _, err := NewGroups(3, 0, columns); err == nil {
			t.Errorf("%d columns are grouped", columns)
		}
	}
	o := g.Column(0).(Looker)
	for _, bad := range []string{"", "x", "NaN", "1e200"} {
		if err := o.Look([]byte(bad)); !errors.Is(err, ErrNumber) {
			t.Errorf("%q gives %v", bad, err)
		}
	}
	o.Look([]byte("1"))
	if err := o.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "of 1 rows") {
		t.Errorf("one row gives %v", err)
	}
	for i := 1; i < MaxRows; i++ {
		if err := o.Look([]byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Look([]byte("1")); !errors.Is(err, ErrRows) {
		t.Errorf("row %d gives %v", MaxRows+1, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := o.Ready(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits, and it gives %v", err)
	}
}

// Nothing that is written makes an operator that panics, or that is called by another name.
func FuzzParse(f *testing.F) {
	for _, form := range Forms() {
		f.Add(form.Name+":1,2,3", "12345678")
	}
	f.Add("noise:laplace,1e308,,,15", "1e308")
	f.Add("bucket:1e-300,1e300", "-1")
	f.Add("mask:2147483647,last", "x")
	s := setting(f)
	f.Fuzz(func(t *testing.T, text, cell string) {
		steps, err := Parse(text, []string{"a"}, s)
		if err != nil {
			return
		}
		if form, err := FormOf(text); err != nil || !strings.HasPrefix(text, form.Name) || len(steps) != 1 {
			t.Fatalf("%q: %v", text, err)
		}
		for range 2 {
			out, err := steps[0].Operator.Append([]byte("x"), Cell{Value: []byte(cell), Subject: []byte("s")})
			if !strings.HasPrefix(string(out), "x") || err != nil && len(out) != 1 {
				t.Fatalf("%q leaves %q, %v", text, out, err)
			}
		}
	})
}

// An interval is within that of its label, whatever base, width and sign.
func TestBucketsWithinWiderOnes(t *testing.T) {
	for _, c := range []struct {
		width, base float64
		whole       bool
	}{{10, 0, true}, {1, 0, true}, {7, 3, true}, {0.1, 0, false}, {2.5, -1, false}, {1e-5, 0, false}, {10, 0, false}} {
		b := must[*Bucket](t)(NewBucket(c.width, c.base, c.whole))
		wide := must[*Bucket](t)(NewBucket(c.width*4, c.base, c.whole))
		for i := -50; i < 50; i++ {
			value := c.base + float64(i)*c.width
			if !c.whole {
				value += c.width / 3
			}
			text := strconv.FormatFloat(value, 'g', -1, 64)
			if got, ok := b.Wider(apply(t, b, text), 4); !ok || got != apply(t, wide, text) {
				t.Fatalf("%+v: %s is in %s, and that in %s, %v; want %s", c, text, apply(t, b, text), got, ok, apply(t, wide, text))
			}
		}
		for _, bad := range []string{"", "x", "-", "20-28", "[1, 2)", "[20, 31)", "5-", "--5"} {
			if got, ok := b.Wider(bad, 2); ok {
				t.Errorf("%+v: %q is in %s", c, bad, got)
			}
		}
	}
}
