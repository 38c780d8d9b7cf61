// Package words takes apart the arguments of models and operators that a person writes
// as one text: words between commas.
package words

import (
	"math"
	"strconv"
	"strings"
)

// Words are arguments that are taken one by one. A bad one is remembered. The zero value
// has none.
type Words struct {
	Rest []string // what is left
	Bad  bool     // one was missing, or is not what it should be
}

// Split gives the words of a text.
func Split(text string) *Words { return &Words{Rest: strings.Split(text, ",")} }

// Next takes one word.
func (w *Words) Next() string {
	if len(w.Rest) == 0 {
		w.Bad = true
		return ""
	}
	word := w.Rest[0]
	w.Rest = w.Rest[1:]
	return strings.TrimSpace(word)
}

// Whole takes a whole number of 32 bits.
func (w *Words) Whole() int {
	n, err := strconv.ParseInt(w.Next(), 10, 32)
	w.Bad = w.Bad || err != nil
	return int(n)
}

// Real takes a finite number.
func (w *Words) Real() float64 {
	x, err := strconv.ParseFloat(w.Next(), 64)
	w.Bad = w.Bad || err != nil || math.IsNaN(x) || math.IsInf(x, 0)
	return x
}
