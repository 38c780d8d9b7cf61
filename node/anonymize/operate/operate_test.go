package operate

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func testKey(t testing.TB, b byte) Key {
	t.Helper()
	k, err := NewKey(bytes.Repeat([]byte{b}, MinKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func apply(t testing.TB, op Operator, value string) string {
	t.Helper()
	out, err := op.Append([]byte("<"), Cell{Value: []byte(value), Subject: []byte("someone")})
	if err != nil {
		t.Fatalf("%T: %v", op, err)
	}
	return strings.TrimPrefix(string(out), "<")
}

// patients is a small hierarchy, by hand.
type patients map[string][]string

func (p patients) Levels() int { return 3 }
func (p patients) Leaf(v string) (uint32, bool) {
	for i, name := range []string{"flu", "cold", "fracture"} {
		if name == v {
			return uint32(i), true
		}
	}
	return 0, false
}
func (p patients) Group(level int, leaf uint32) uint32 { return []uint32{leaf, leaf / 2, 0}[level] }
func (p patients) Label(level int, group uint32) string {
	return [][]string{{"flu", "cold", "fracture"}, {"infection", "injury"}, {"*"}}[level][group]
}

func TestOperatorsOnSingleCells(t *testing.T) {
	bucket := must[*Bucket](t)
	code := must[*Code](t)
	for _, c := range []struct {
		op        Operator
		in, want  string
		otherwise error
	}{
		{op: Suppress{}, in: "x", want: "*"},
		{op: Suppress{}, in: "", want: "*"},
		{op: Suppress{With: "withheld"}, in: "x", want: "withheld"},
		{op: Mask{}, in: "secret", want: "******"},
		{op: Mask{First: 1, Last: 2}, in: "Zoë Müller", want: "Z*******er"},
		{op: Mask{Last: 4, Separators: true}, in: "4111-1111-1111-1111", want: "****-****-****-1111"},
		{op: Mask{First: 2, Last: 2}, in: "abcd", want: "****"}, // nothing would be hidden
		{op: Mask{First: 2, Last: 2}, in: "abcde", want: "ab*de"},
		{op: Mask{With: '·'}, in: "\xff\xfe", want: "··"},
		{op: bucket(NewBucket(10, 0, true)), in: "29", want: "20-29"},
		{op: bucket(NewBucket(10, 0, true)), in: "-1", want: "-10--1"},
		{op: bucket(NewBucket(1, 0, true)), in: "7", want: "7"},
		{op: bucket(NewBucket(10, 0, true)), in: "29.5", otherwise: ErrWhole},
		{op: bucket(NewBucket(0.5, 0, false)), in: "1.2", want: "[1, 1.5)"},
		{op: bucket(NewBucket(10, 18, true)), in: "18", want: "18-27"},
		{op: bucket(NewBucket(10, 0, true)), in: "1e300", otherwise: ErrNumber},
		{op: bucket(NewBucket(10, 0, true)), in: "NaN", otherwise: ErrNumber},
		{op: code(NewCode(18, 89, "", "90+")), in: "17", want: "<18"},
		{op: code(NewCode(18, 89, "", "90+")), in: "89", want: "89"},
		{op: code(NewCode(18, 89, "", "90+")), in: "103", want: "90+"},
		{op: AgesOf90(), in: "90", want: "90+"},
		{op: AgesOf90(), in: "089", want: "089"},
		{op: AgesOf90(), in: "old", otherwise: ErrNumber},
		{op: must[*Generalise](t)(NewGeneralise(patients{}, 1)), in: "cold", want: "infection"},
		{op: must[*Generalise](t)(NewGeneralise(patients{}, 2)), in: "fracture", want: "*"},
		{op: must[*Generalise](t)(NewGeneralise(patients{}, 1)), in: "gout", otherwise: ErrHierarchy},
	} {
		got, err := c.op.Append([]byte("kept "), Cell{Value: []byte(c.in)})
		if !errors.Is(err, c.otherwise) || err == nil && string(got) != "kept "+c.want {
			t.Errorf("%T of %q is %q, %v; want %q, %v", c.op, c.in, got, err, c.want, c.otherwise)
		}
		if err != nil && string(got) != "kept " {
			t.Errorf("%T of %q leaves %q behind", c.op, c.in, got)
		}
	}
}

// Every operator leaves a missing value missing, but suppression.
func TestMissingValuesStayMissing(t *testing.T) {
	for _, op := range everyOperator(t) {
		want := ""
		if _, ok := op.(Suppress); ok {
			want = "*"
		}
		if got := apply(t, op, ""); got != want {
			t.Errorf("%T makes %q of nothing", op, got)
		}
	}
}

func everyOperator(t testing.TB) []Operator {
	k, p := testKey(t, 1), Place{"trial", "id"}
	return []Operator{
		Suppress{}, Mask{}, Drop{}, AgesOf90(), ZIP3{}, Redact{}, must[*Year](t)(NewYear(1937)),
		must[*Bucket](t)(NewBucket(10, 0, true)),
		must[*Generalise](t)(NewGeneralise(patients{}, 1)),
		must[*Pseudonym](t)(NewPseudonym(k, p)),
		must[*Reversible](t)(NewReversible(k, p)),
		must[*Format](t)(NewFormat(k, p, Digits)),
		must[*DateShift](t)(NewDateShift(k, "trial", 30)),
		must[*Noise](t)(NewNoise(Laplace, 1, 0, 100, 1)),
	}
}

// An error is read by people who may not see the data: it says where, and never what.
func TestErrorsSayWhereAndNeverWhat(t *testing.T) {
	const secret = "Jane-Doe\xff"
	failed := 0
	for _, op := range everyOperator(t) {
		rw, err := New([]string{"who", "value"}, []Step{{Column: "value", Operator: op, Subject: "who"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rw.Rewrite([][]byte{[]byte("a"), {}}); err != nil {
			t.Fatal(err)
		}
		_, err = rw.Rewrite([][]byte{[]byte("b"), []byte(secret)})
		if err == nil {
			continue
		}
		failed++
		var cell *CellError
		if !errors.As(err, &cell) || cell.Column != "value" || cell.Row != 2 {
			t.Errorf("%T: %v", op, err)
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "Jane") || strings.Contains(text, "Doe") {
			t.Errorf("%T: the error has the value: %s", op, text)
		}
	}
	if failed < 5 {
		t.Errorf("only %d operators refused it", failed)
	}
}

func TestRowsAreRewritten(t *testing.T) {
	shift := must[*DateShift](t)(NewDateShift(testKey(t, 1), "trial", 30))
	rw, err := New([]string{"name", "age", "note", "in", "patient"}, []Step{
		{Column: "name", Operator: Drop{}},
		{Column: "age", Operator: AgesOf90()},
		{Column: "in", Operator: shift, Subject: "patient"},
		{Column: "patient", Operator: must[*Pseudonym](t)(NewPseudonym(testKey(t, 1), Place{"trial", "patient"}))},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rw.Header(), " "); got != "age note in patient" {
		t.Errorf("the header is %s", got)
	}
	out, err := rw.Rewrite([][]byte{[]byte("Ann"), []byte("97"), []byte("as it was"), []byte("2024-03-01"), []byte("17")})
	if err != nil {
		t.Fatal(err)
	}
	if string(out[0]) != "90+" || string(out[1]) != "as it was" || string(out[2]) == "2024-03-01" || len(out[3]) != 26 {
		t.Errorf("the row is %q", out)
	}
	// The subject is read before its own column is replaced, so dates of one person move alike.
	want := apply(t, subjectOf{shift, "17"}, "2024-03-01")
	if string(out[2]) != want {
		t.Errorf("the date is %s, want %s", out[2], want)
	}
	if _, err := rw.Rewrite([][]byte{[]byte("Ann")}); err == nil || !strings.Contains(err.Error(), "row 2 has 1 cells for 5 columns") {
		t.Errorf("a ragged row gives %v", err)
	}
}

type subjectOf struct {
	op      Operator
	subject string
}

func (s subjectOf) Append(dst []byte, c Cell) ([]byte, error) {
	return s.op.Append(dst, Cell{Value: c.Value, Subject: []byte(s.subject)})
}

func TestStepsThatDoNotFit(t *testing.T) {
	shift := must[*DateShift](t)(NewDateShift(testKey(t, 1), "trial", 30))
	for want, c := range map[string]struct {
		header []string
		steps  []Step
	}{
		"no column zip":      {[]string{"a", "b"}, []Step{{Column: "zip", Operator: Drop{}}}},
		"a is there twice":   {[]string{"a", "a"}, nil},
		"two operators":      {[]string{"a", "b"}, []Step{{Column: "a", Operator: Mask{}}, {Column: "a", Operator: Drop{}}}},
		"without an operato": {[]string{"a", "b"}, []Step{{Column: "a"}}},
		"whose row it is":    {[]string{"a", "b"}, []Step{{Column: "a", Operator: shift}}},
		"no column who":      {[]string{"a", "b"}, []Step{{Column: "a", Operator: shift, Subject: "who"}}},
		"every column":       {[]string{"a"}, []Step{{Column: "a", Operator: Drop{}}}},
	} {
		if _, err := New(c.header, c.steps); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A header comes from whoever made the table: what is said of it is short, and one line.
func TestLongHeadersAreCutInErrors(t *testing.T) {
	header := []string{"age\n\x1b[2J"}
	for i := range 4000 {
		header = append(header, fmt.Sprint(strings.Repeat("y", 1000), i))
	}
	evil, long := header[0], header[1]
	for name, c := range map[string]struct {
		header []string
		steps  []Step
		says   string
	}{
		"no such column": {header, []Step{{Column: "ago", Operator: Redact{}}}, `there is no column ago: the columns are "age\n\x1b[2J", "yyy`},
		"asked for":      {header[:2], []Step{{Column: long + long, Operator: Redact{}}}, `there is no column "yyy`},
		"two columns":    {[]string{long, long}, nil, `column "yyy`},
		"no operator":    {header, []Step{{Column: evil}}, `column "age\n\x1b[2J" has a step`},
		"two operators":  {header, []Step{{Column: evil, Operator: Redact{}}, {Column: evil, Operator: Redact{}}}, `column "age\n\x1b[2J" has two`},
		"no subject":     {header, []Step{{Column: evil, Operator: Redact{}, Subject: evil + long}}, `there is no column "age\n\x1b[2Jyyy`},
	} {
		if _, err := New(c.header, c.steps); err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 4000 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

func TestArgumentsThatDoNotFit(t *testing.T) {
	inf := math.Inf(1)
	k, p := testKey(t, 1), Place{"d", "c"}
	refuse := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	_, err := NewBucket(0, 0, false)
	refuse("a width of 0", err)
	_, err = NewBucket(0.5, 0, true)
	refuse("half a whole number", err)
	_, err = NewCode(5, 4, "", "")
	refuse("a bottom above the top", err)
	_, err = NewCode(-inf, inf, "", "")
	refuse("no limit", err)
	_, err = NewGeneralise(patients{}, 3)
	refuse("a level above the top", err)
	_, err = NewKey(make([]byte, 31))
	refuse("a short key", err)
	_, err = NewPseudonym(k, Place{"d", ""})
	refuse("a place without a column", err)
	_, err = NewPseudonym(Key{}, p)
	refuse("no key", err)
	_, err = NewReversible(Key{}, p)
	refuse("no key", err)
	_, err = NewFormat(k, p, "0120")
	refuse("an alphabet with a digit twice", err)
	_, err = NewFormat(k, p, "0")
	refuse("an alphabet of one", err)
	_, err = NewDateShift(k, "", 3)
	refuse("a shift without a dataset", err)
	_, err = NewDateShift(k, "d", 0)
	refuse("a shift of nothing", err)
	_, err = NewNoise(Gaussian, 0, 0, 1, 0)
	refuse("noise of scale 0", err)
	_, err = NewNoise(Laplace, 5, 0, 1, 0)
	refuse("bounds closer than the noise", err)
	_, err = NewNoise(Shape(9), 1, 0, 10, 0)
	refuse("an unknown shape", err)
}

func TestKeysDoNotPrint(t *testing.T) {
	k, err := NewKey([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "key" {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, struct{ K Key }{k}); strings.Contains(got, "0123") || strings.Contains(got, "3031") || strings.Contains(got, "48 49") {
			t.Errorf("%s in a struct prints %s", verb, got)
		}
	}
}

// On random numbers: an interval contains its number, neighbours share no number, and a
// mask shows no more than it is to.
func TestCoarseOperatorsOnRandomValues(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	for range 5000 {
		width, base := float64(1+random.IntN(50)), float64(random.IntN(100)-50)
		whole := must[*Bucket](t)(NewBucket(width, base, true))
		n := random.IntN(2000) - 1000
		var low, high int
		label := apply(t, whole, fmt.Sprint(n))
		if _, err := fmt.Sscanf(label, "%d-%d", &low, &high); width > 1 && (err != nil || n < low || n > high || high-low+1 != int(width)) {
			t.Fatalf("%d is in %s (width %v from %v), %v", n, label, width, base, err)
		}
		f := random.NormFloat64() * 100
		var from, to float64
		label = apply(t, must[*Bucket](t)(NewBucket(width/8, base, false)), fmt.Sprint(f))
		if _, err := fmt.Sscanf(label, "[%g, %g)", &from, &to); err != nil || f < from || f >= to {
			t.Fatalf("%v is in %s, %v", f, label, err)
		}
		text := make([]rune, random.IntN(12))
		for i := range text {
			text[i] = []rune("aé日 -7")[random.IntN(6)]
		}
		m := Mask{First: random.IntN(4), Last: random.IntN(4)}
		masked := []rune(apply(t, m, string(text)))
		shown := 0
		for i, c := range masked {
			if c != '*' {
				shown++
				if c != text[i] {
					t.Fatalf("%q is masked as %q", string(text), string(masked))
				}
			}
		}
		if len(masked) != len(text) || shown > m.First+m.Last || len(text) > 0 && shown == len(text) {
			t.Fatalf("%+v shows %q of %q", m, string(masked), string(text))
		}
	}
}
