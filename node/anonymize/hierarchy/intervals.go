package hierarchy

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

// A ValueError says which value of a column a hierarchy cannot be made for.
type ValueError struct {
	Value string
	Want  string // what the values have to be, such as "a number"
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("the value %s is not %s", quote.Value(e.Value), e.Want)
}

// Intervals makes a hierarchy over numbers: level i groups them into intervals of
// widths[i-1] that begin at multiples of it above base. Each width is a whole
// multiple of the one before. Labels of whole numbers are "20-24", of others
// "[0.5, 1)". Missing values are a group of their own below the top.
func Intervals(values []string, base float64, widths ...float64) (*Hierarchy, error) {
	if err := checkWidths(base, widths); err != nil {
		return nil, err
	}
	whole := base == math.Trunc(base)
	numbers := make([]float64, len(values))
	for i, v := range values {
		if v == "" {
			continue
		}
		f, ok := Number(v)
		if !ok {
			return nil, &ValueError{Value: v, Want: "a number"}
		}
		if math.Abs(f-base)/widths[0] >= 1<<52 {
			return nil, &ValueError{Value: v, Want: "near enough to the first interval"}
		}
		numbers[i] = f
		whole = whole && f == math.Trunc(f)
	}
	for _, w := range widths {
		whole = whole && w == math.Trunc(w)
	}
	rows := make([][]string, len(values))
	for i, v := range values {
		rows[i] = intervalRow(v, numbers[i], base, widths, whole)
	}
	return New(rows)
}

func checkWidths(base float64, widths []float64) error {
	if len(widths) == 0 || len(widths) > MaxLevels-2 {
		return fmt.Errorf("intervals need 1 to %d widths", MaxLevels-2)
	}
	if math.IsNaN(base) || math.IsInf(base, 0) {
		return fmt.Errorf("intervals cannot begin at %v", base)
	}
	for i, w := range widths {
		if !(w > 0) || math.IsInf(w, 0) {
			return fmt.Errorf("the width %v of an interval is not above 0", w)
		}
		if i > 0 && (w <= widths[i-1] || !near(w/widths[i-1], math.Round(w/widths[i-1]))) {
			return fmt.Errorf("the width %v of an interval is not a multiple of the width %v below it", w, widths[i-1])
		}
	}
	return nil
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) }

// intervalRow counts in units of the smallest width, so that intervals nest
// whatever the rounding of their bounds.
func intervalRow(value string, f, base float64, widths []float64, whole bool) []string {
	row := make([]string, 0, len(widths)+2)
	row = append(row, value)
	unit := math.Floor((f - base) / widths[0])
	for _, w := range widths {
		if value == "" {
			row = append(row, "")
			continue
		}
		n := math.Round(w / widths[0])
		low := base + math.Floor(unit/n)*n*widths[0]
		row = append(row, intervalLabel(low, w, whole))
	}
	return append(row, Any)
}

func intervalLabel(low, width float64, whole bool) string {
	if whole && width == 1 {
		return decimal(low)
	}
	if whole {
		return decimal(low) + "-" + decimal(low+width-1)
	}
	return "[" + decimal(low) + ", " + decimal(low+width) + ")"
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'g', 15, 64) }

// Flat makes a hierarchy of the values and one group of all of them.
func Flat(values []string) (*Hierarchy, error) {
	rows := make([][]string, len(values))
	for i, v := range values {
		rows[i] = []string{v, Any}
	}
	return New(rows)
}

// Automatic makes the hierarchy that fits the values of a column: intervals for
// numbers, calendar units for dates, prefixes for codes of one length, and nothing
// between the value and everything for others, of which it cannot know what they
// have in common. The values are distinct.
func Automatic(values []string) (*Hierarchy, error) {
	if len(values) == 0 {
		return nil, ErrEmpty
	}
	if codes(values) {
		if h, err := Prefixes(values); err == nil {
			return h, nil
		}
	}
	if h, err := automaticIntervals(values); err == nil {
		return h, nil
	}
	if h, err := Dates(values); err == nil {
		return h, nil
	}
	return Flat(values)
}

// codes says whether all values have one length, from 3 on, and at least one digit,
// and letters or leading zeros that keep them from being numbers.
func codes(values []string) bool {
	length, number := 0, true
	for _, v := range values {
		if v == "" {
			continue
		}
		if length == 0 {
			length = len(v)
		}
		digits := 0
		for _, c := range []byte(v) {
			switch {
			case '0' <= c && c <= '9':
				digits++
			case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z':
				number = false
			default:
				return false
			}
		}
		if digits == 0 || len(v) != length || length < 3 {
			return false
		}
		number = number && v[0] != '0'
	}
	return length > 0 && !number
}

// automaticIntervals doubles or more from level to level through 1, 2, 5, 10, 20,
// 50 and so on, as far as each width is a multiple of the one before, from intervals
// that hold two values on average to a handful of them.
func automaticIntervals(values []string) (*Hierarchy, error) {
	var numbers []float64
	for _, v := range values {
		if v == "" {
			continue
		}
		f, ok := Number(v)
		if !ok {
			return nil, &ValueError{Value: v, Want: "a number"}
		}
		numbers = append(numbers, f)
	}
	if len(numbers) < 3 {
		return Flat(values)
	}
	low, high := slices.Min(numbers), slices.Max(numbers)
	reach := high - low
	if !(reach > 0) || math.IsInf(reach, 0) {
		return Flat(values)
	}
	var widths []float64
	for exponent := math.Floor(math.Log10(reach/float64(len(numbers)))) - 1; len(widths) < MaxLevels-2; exponent++ {
		for _, digit := range []float64{1, 2.5, 5} {
			w := digit * math.Pow(10, exponent)
			if w > reach/3 {
				return intervalsFrom(values, low, widths)
			}
			if w*float64(len(numbers)) >= 2*reach && w == math.Trunc(w) == allWhole(numbers) {
				widths = appendMultiple(widths, w)
			}
		}
	}
	return intervalsFrom(values, low, widths)
}

func intervalsFrom(values []string, low float64, widths []float64) (*Hierarchy, error) {
	if len(widths) == 0 {
		return Flat(values)
	}
	widest := widths[len(widths)-1]
	return Intervals(values, math.Floor(low/widest)*widest, widths...)
}

func appendMultiple(widths []float64, w float64) []float64 {
	if n := len(widths); n > 0 && (w < 2*widths[n-1] || !near(w/widths[n-1], math.Round(w/widths[n-1]))) {
		return widths
	}
	return append(widths, w)
}

func allWhole(numbers []float64) bool {
	return !slices.ContainsFunc(numbers, func(f float64) bool { return f != math.Trunc(f) })
}
