package operate

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/detect"
)

// ErrPostal means that a value is no ZIP code of the United States.
var ErrPostal = errors.New("the value is not a ZIP code")

// sparse is the three-digit ZIP codes with 20,000 people or fewer by the census of 2000
// (HHS, Guidance Regarding Methods for De-identification of Protected Health Information,
// 2012, section 3.1).
var sparse = map[string]bool{"036": true, "059": true, "063": true, "102": true, "203": true, "556": true, "692": true, "790": true, "821": true,
	"823": true, "830": true, "831": true, "878": true, "879": true, "884": true, "890": true, "893": true}

// ZIP3 keeps the first three digits of a ZIP code where more than 20,000 people live, and
// publishes 000 otherwise (45 CFR 164.514(b)(2)(i)(B)).
type ZIP3 struct {
	// Sparse is the three-digit codes with 20,000 people or fewer; nil is those of the
	// census of 2000, which HHS gives.
	Sparse map[string]bool
}

// Append implements [Operator]. The error is [ErrPostal]. A code of four digits is taken
// for one whose leading zero a spreadsheet has lost.
func (z ZIP3) Append(dst []byte, cell Cell) ([]byte, error) {
	v := cell.Value
	if len(v) == 0 {
		return dst, nil
	}
	if len(v) == 10 && v[5] == '-' {
		v = append(append(make([]byte, 0, 9), v[:5]...), v[6:]...)
	}
	if n := len(v); n != 9 && n != 4 && n != 5 {
		return dst, ErrPostal
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return dst, ErrPostal
		}
	}
	five := v
	if len(v) == 4 {
		five = append([]byte("0"), v...)
	}
	few := z.Sparse
	if few == nil {
		few = sparse
	}
	if few[string(five[:3])] {
		return append(dst, "000"...), nil
	}
	return append(dst, five[:3]...), nil
}

// Year keeps the year of a date, and one category for all years before the first: a year
// of birth of more than 89 years ago tells an age above 89
// (45 CFR 164.514(b)(2)(i)(C)).
type Year struct {
	first   int
	layouts []string
	any     bool
}

// NewYear takes the first year that is published, and the forms of dates as
// [NewDateShift] does, or all that [detect.YearOf] reads besides. A cell of four digits is
// a year.
func NewYear(first int, layout ...string) (*Year, error) {
	if first < 0 || first > 9999 {
		return nil, fmt.Errorf("the year %d is not one of four digits", first)
	}
	if len(layout) == 0 {
		return &Year{first, layouts, true}, nil
	}
	return &Year{first, layout, false}, nil
}

// Append implements [Operator]. The error is [ErrDate].
func (y *Year) Append(dst []byte, cell Cell) ([]byte, error) {
	if len(cell.Value) == 0 {
		return dst, nil
	}
	year, ok := y.year(string(cell.Value))
	switch {
	case !ok:
		return dst, ErrDate
	case year < y.first:
		return strconv.AppendInt(append(dst, "before "...), int64(y.first), 10), nil
	}
	return fmt.Appendf(dst, "%04d", year), nil
}

func (y *Year) year(text string) (int, bool) {
	if t, err := time.Parse("2006", text); err == nil {
		return t.Year(), true
	}
	for _, l := range y.layouts {
		if t, err := time.Parse(l, text); err == nil {
			return t.Year(), true
		}
	}
	if y.any { // which of two numbers is the month makes no difference to the year
		return detect.YearOf([]byte(text))
	}
	return 0, false
}

// Redact replaces the identifiers with a pattern in free text by their kind in brackets.
// Names remain: a person has to review what it publishes ([detect.Redact]).
type Redact struct{}

// Append implements [Operator].
func (Redact) Append(dst []byte, cell Cell) ([]byte, error) {
	dst, _ = detect.Redact(dst, cell.Value)
	return dst, nil
}
