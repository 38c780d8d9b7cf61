package operate

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/operate/ff1"
)

// Pseudonyms of one value agree where they are meant to, and nowhere else.
func TestPseudonymsAreBoundToTheirPlace(t *testing.T) {
	one, two := testKey(t, 1), testKey(t, 2)
	for name, make := range map[string]func(Key, Place) (Operator, error){
		"pseudonym":  func(k Key, p Place) (Operator, error) { return NewPseudonym(k, p) },
		"reversible": func(k Key, p Place) (Operator, error) { return NewReversible(k, p) },
		"format":     func(k Key, p Place) (Operator, error) { return NewFormat(k, p, Digits) },
	} {
		at := func(k Key, dataset, column string) string {
			return apply(t, must[Operator](t)(make(k, Place{dataset, column})), "123456789012")
		}
		home := at(one, "trial", "patient")
		if again := at(one, "trial", "patient"); again != home {
			t.Errorf("%s: %s and %s are pseudonyms of one value in one place", name, home, again)
		}
		for what, other := range map[string]string{
			"another key":       at(two, "trial", "patient"),
			"another dataset":   at(one, "trial2", "patient"),
			"another column":    at(one, "trial", "doctor"),
			"the border moved":  at(one, "trialp", "atient"),
			"the value as such": "123456789012",
		} {
			if other == home {
				t.Errorf("%s: the pseudonym is the same under %s", name, what)
			}
		}
	}
}

// The first and the last were computed a second time by another program, from the text.
const (
	frozenPseudonym  = "gwnxw4pqhrzyoq245stkhus2mm"
	frozenReversible = "ccqswgpjdlukpoodoj467jldki7m6prmfu7i5rka"
	frozenFormat     = "3986-5944"
	frozenShift      = "2024-01-22"
)

// Frozen pseudonyms: what is released today joins with those of next year.
func TestPseudonymsDoNotChange(t *testing.T) {
	k, p := testKey(t, 1), Place{"trial", "patient"}
	for want, op := range map[string]Operator{
		frozenPseudonym:  must[*Pseudonym](t)(NewPseudonym(k, p)),
		frozenReversible: must[*Reversible](t)(NewReversible(k, p)),
		frozenFormat:     must[*Format](t)(NewFormat(k, p, Digits)),
		frozenShift:      datedBy{must[*DateShift](t)(NewDateShift(k, "trial", 365))},
	} {
		if got := apply(t, op, "2024-0229"); got != want {
			t.Errorf("%T: %s, want %s", op, got, want)
		}
	}
}

// datedBy shifts one fixed day.
type datedBy struct{ *DateShift }

func (d datedBy) Append(dst []byte, c Cell) ([]byte, error) {
	return d.DateShift.Append(dst, Cell{Value: []byte("2024-02-29"), Subject: c.Subject})
}

func TestReversiblePseudonymsReverse(t *testing.T) {
	r := must[*Reversible](t)(NewReversible(testKey(t, 1), Place{"trial", "patient"}))
	foreign := must[*Reversible](t)(NewReversible(testKey(t, 1), Place{"trial", "doctor"}))
	for n := 1; n < 60; n++ {
		value := strings.Repeat("ü", n)
		p := apply(t, r, value)
		if got, err := r.Reverse(nil, []byte(p)); err != nil || string(got) != value {
			t.Fatalf("it reverses to %q, %v", got, err)
		}
		if _, err := foreign.Reverse(nil, []byte(p)); !errors.Is(err, ErrReverse) {
			t.Errorf("it reverses in another column: %v", err)
		}
		for _, bad := range []string{p + "a", p[1:], strings.ToUpper(p), p[:len(p)-1] + "7", "\n" + p, p + "\n"} {
			if got, err := r.Reverse(nil, []byte(bad)); err == nil && bad != p {
				t.Errorf("%q reverses to %q", bad, got)
			}
		}
	}
}

func TestFormatKeepsTheForm(t *testing.T) {
	f := must[*Format](t)(NewFormat(testKey(t, 1), Place{"trial", "card"}, Digits))
	in := "4111-1111 1111.1111"
	out := apply(t, f, in)
	for i := range in {
		digit := in[i] >= '0' && in[i] <= '9'
		if digit != (out[i] >= '0' && out[i] <= '9') || !digit && in[i] != out[i] {
			t.Errorf("%s became %s", in, out)
		}
	}
	if back, err := f.Reverse(nil, []byte(out)); err != nil || string(back) != in {
		t.Errorf("it comes back as %q, %v", back, err)
	}
	var length *ff1.LengthError
	if _, err := f.Append(nil, Cell{Value: []byte("12-345")}); !errors.As(err, &length) {
		t.Errorf("five digits give %v", err)
	}
}

// Dates of one subject keep their distance, and none stays where it was.
func TestShiftsKeepIntervals(t *testing.T) {
	s := must[*DateShift](t)(NewDateShift(testKey(t, 1), "trial", 10))
	shifts := map[int]int{}
	for i := range 2000 {
		subject := fmt.Sprint("patient", i)
		first := apply(t, subjectOf{s, subject}, "2024-02-20")
		second := apply(t, subjectOf{s, subject}, "03.03.2024")
		a, err := time.Parse(time.DateOnly, first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := time.Parse("02.01.2006", second)
		if err != nil {
			t.Fatal(err)
		}
		if days := b.Sub(a).Hours() / 24; days != 12 {
			t.Fatalf("%s and %s are %v days apart", first, second, days)
		}
		shifts[int(a.Sub(time.Date(2024, 2, 20, 0, 0, 0, 0, time.UTC)).Hours()/24)]++
	}
	if len(shifts) != 20 || shifts[0] != 0 || shifts[-11] != 0 || shifts[11] != 0 {
		t.Errorf("the shifts are %v", shifts)
	}
	for days, n := range shifts {
		if n < 50 || n > 160 { // 100 are expected; six deviations are 60
			t.Errorf("%d subjects are shifted by %d days", n, days)
		}
	}
	// Another dataset moves the same people otherwise.
	other, same := must[*DateShift](t)(NewDateShift(testKey(t, 1), "study", 10)), 0
	for i := range 1000 {
		subject := []byte(fmt.Sprint("patient", i))
		if other.shift(subject) == s.shift(subject) {
			same++
		}
	}
	if same > 120 { // 50 are expected
		t.Errorf("%d of 1000 are shifted alike in another dataset", same)
	}
}

func TestDatesThatCannotBeShifted(t *testing.T) {
	s := must[*DateShift](t)(NewDateShift(testKey(t, 1), "trial", MaxShift))
	for _, text := range []string{"01/02/2006", "2024-02-30", "yesterday", "0000-01-01x", " 2024-01-01"} {
		if _, err := s.Append(nil, Cell{Value: []byte(text), Subject: []byte("a")}); !errors.Is(err, ErrDate) {
			t.Errorf("%q gives %v", text, err)
		}
	}
	if _, err := s.Append(nil, Cell{Value: []byte("2024-01-01")}); !errors.Is(err, ErrSubject) {
		t.Errorf("a date without a subject gives %v", err)
	}
	american := must[*DateShift](t)(NewDateShift(testKey(t, 1), "trial", 1, "01/02/2006"))
	if got := apply(t, american, "12/15/2006"); got != "12/14/2006" && got != "12/16/2006" {
		t.Errorf("it is %s", got)
	}
	edge := 0
	for i := range 100 {
		if _, err := s.Append(nil, Cell{Value: []byte("9999-12-31"), Subject: fmt.Append(nil, i)}); errors.Is(err, ErrDate) {
			edge++
		}
	}
	if edge == 0 {
		t.Error("the year 10000 is written")
	}
}

// Noise has the distribution that it is said to have: moments and quantiles of 40,000
// draws, with bounds that chance breaks once in millions of runs, and a negative control.
func TestNoiseHasItsDistribution(t *testing.T) {
	const n = 40_000
	for shape, want := range map[Shape]struct{ variance, fourth, beyond float64 }{
		// Fourth moments over squared variance: 6 and 3. P(|x| > 2): exp(-2), and 2(1 - Phi(2)).
		Laplace:  {2, 6, 0.1353},
		Gaussian: {1, 3, 0.0455},
	} {
		op := must[*Noise](t)(NewNoise(shape, 1, math.Inf(-1), math.Inf(1), 15))
		var sum, square, fourth, beyond float64
		for range n {
			x := op.draw()
			sum += x
			square += x * x
			fourth += x * x * x * x
			if math.Abs(x) > 2 {
				beyond++
			}
		}
		check := func(what string, got, want, within float64) {
			t.Helper()
			if math.Abs(got-want) > within {
				t.Errorf("shape %d: %s is %v, want %v", shape, what, got, want)
			}
		}
		check("the mean", sum/n, 0, 6*math.Sqrt(want.variance/n))
		check("the variance", square/n, want.variance, 6*want.variance*math.Sqrt((want.fourth-1)/n))
		check("the share beyond 2", beyond/n, want.beyond, 6*math.Sqrt(want.beyond/n))
		if wrong := math.Abs(square/n - want.variance*1.2); wrong < 6*want.variance*math.Sqrt((want.fourth-1)/n)/2 {
			t.Errorf("shape %d: a scale that is wrong by a tenth would pass", shape)
		}
	}
}

func TestNoiseStaysWithinItsBounds(t *testing.T) {
	op := must[*Noise](t)(NewNoise(Laplace, 5, 0, 10, 0))
	edge := 0
	for range 3000 {
		out := apply(t, op, "0")
		if len(out) > 2 || out == "" || out[0] == '-' && out != "-0" {
			t.Fatalf("0 became %s", out)
		}
		if out == "10" {
			edge++
		}
	}
	if edge > 300 { // clamping would put exp(-2)/2 of them there, and rounding takes a few
		t.Errorf("%d of 3000 lie at the bound", edge)
	}
	if _, err := op.Append(nil, Cell{Value: []byte("11")}); !errors.Is(err, ErrBounds) {
		t.Errorf("a value outside gives %v", err)
	}
}

func FuzzCells(f *testing.F) {
	for _, s := range []string{"", "2024-02-29", "12345678", "-1e3", "zoë\xff", "flu"} {
		f.Add([]byte(s))
	}
	ops := everyOperator(f)
	r := must[*Reversible](f)(NewReversible(testKey(f, 1), Place{"trial", "id"}))
	fpe := must[*Format](f)(NewFormat(testKey(f, 1), Place{"trial", "id"}, Digits))
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		for _, op := range ops {
			out, err := op.Append([]byte("x"), Cell{Value: value, Subject: value})
			if !bytes.HasPrefix(out, []byte("x")) || !bytes.Equal(before, value) {
				t.Fatalf("%T changed what is not its own", op)
			}
			if err != nil && len(out) != 1 {
				t.Fatalf("%T leaves something behind", op)
			}
		}
		if got, err := r.Append(nil, Cell{Value: value}); err != nil {
			t.Fatal(err)
		} else if back, err := r.Reverse(nil, got); err != nil || !bytes.Equal(back, value) {
			t.Fatalf("%q comes back as %q, %v", value, back, err)
		}
		if _, err := r.Reverse(nil, value); err == nil && len(value) > 0 {
			t.Fatal("somebody guessed a pseudonym")
		}
		if got, err := fpe.Append(nil, Cell{Value: value}); err == nil {
			if back, err := fpe.Reverse(nil, got); err != nil || !bytes.Equal(back, value) {
				t.Fatalf("%q comes back as %q, %v", value, back, err)
			}
		}
	})
}

func BenchmarkOperators(b *testing.B) {
	for _, op := range everyOperator(b) {
		value := "12345678"
		switch op.(type) {
		case *DateShift, *Year:
			value = "2024-02-29"
		case *Generalise:
			value = "flu"
		case *Noise:
			value = "50"
		case ZIP3:
			value = "02139"
		}
		b.Run(strings.TrimPrefix(fmt.Sprintf("%T", op), "*"), func(b *testing.B) {
			var out []byte
			var err error
			for b.Loop() {
				if out, err = op.Append(out[:0], Cell{Value: []byte(value), Subject: []byte("someone")}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
