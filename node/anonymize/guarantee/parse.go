package guarantee

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// form is how a model is written down.
type form struct {
	name, numbers string
	sensitive     bool
	make          func(w *words, column string) Model
}

var forms = []form{
	{"k-map", "K", false, func(w *words, _ string) Model { return KMap(w.whole()) }},
	{"delta-presence", "MIN,MAX", false, func(w *words, _ string) Model { return Presence{Min: w.real(), Max: w.real()} }},
	{"distinct-l", "L", true, func(w *words, c string) Model { return Distinct{Column: c, L: w.whole()} }},
	{"entropy-l", "L", true, func(w *words, c string) Model { return Entropy{Column: c, L: w.real()} }},
	{"recursive-l", "C,L", true, func(w *words, c string) Model { return Recursive{Column: c, C: w.real(), L: w.whole()} }},
	{"t-closeness", "T,DISTANCE", true, func(w *words, c string) Model { return Closeness{Column: c, T: w.real(), Ground: w.ground()} }},
	{"beta-likeness", "BETA", true, func(w *words, c string) Model { return Likeness{Column: c, Beta: w.real()} }},
	{"enhanced-beta", "BETA", true, func(w *words, c string) Model { return Likeness{Column: c, Beta: w.real(), Enhanced: true} }},
}

// Forms is what [Parse] reads, one for each kind of model.
func Forms() (all []string) {
	for _, f := range forms {
		all = append(all, f.name+"="+f.numbers)
	}
	return all
}

// Parse reads a model as a person writes it, NAME=NUMBERS as in [Forms], such as
// recursive-l=3,2@diagnosis. Models over sensitive columns name one after @; without it
// there is a model for each of them. DISTANCE is equal, ordered or hierarchical.
func Parse(text string, sensitive []string) ([]Model, error) {
	name, rest, _ := strings.Cut(text, "=")
	i := slices.IndexFunc(forms, func(f form) bool { return f.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no model %q: the models are %s", name, strings.Join(Forms(), ", "))
	}
	f := forms[i]
	numbers, column, one := strings.Cut(rest, "@")
	columns := sensitive
	switch {
	case one && !f.sensitive:
		return nil, fmt.Errorf("%s is about no sensitive column: write it without @%s", f.name, column)
	case one && !slices.Contains(sensitive, column):
		return nil, fmt.Errorf("%s is about column %q, which is not named as sensitive", f.name, column)
	case one:
		columns = []string{column}
	case f.sensitive && len(sensitive) == 0:
		return nil, fmt.Errorf("%s is about sensitive columns, and none is named", f.name)
	case !f.sensitive:
		columns = []string{""}
	}
	var models []Model
	for _, c := range columns {
		w := &words{rest: strings.Split(numbers, ",")}
		m := f.make(w, c)
		if w.bad || len(w.rest) > 0 {
			return nil, fmt.Errorf("%s is written %s=%s, and not %q", f.name, f.name, f.numbers, text)
		}
		if err := m.valid(); err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		models = append(models, m)
	}
	return models, nil
}

// OfPopulation says that a model is about the people of a population of which the rows
// are a sample, so that it promises little where the rows are taken for the population.
func OfPopulation(m Model) bool {
	switch m.(type) {
	case KMap, Presence:
		return true
	}
	return false
}

// words are parameters that are taken one by one. A bad one is remembered.
type words struct {
	rest []string
	bad  bool
}

func (w *words) next() string {
	if len(w.rest) == 0 {
		w.bad = true
		return ""
	}
	word := w.rest[0]
	w.rest = w.rest[1:]
	return strings.TrimSpace(word)
}

func (w *words) whole() int {
	n, err := strconv.ParseInt(w.next(), 10, 32)
	w.bad = w.bad || err != nil
	return int(n)
}

func (w *words) real() float64 {
	x, err := strconv.ParseFloat(w.next(), 64)
	w.bad = w.bad || err != nil || math.IsNaN(x) || math.IsInf(x, 0)
	return x
}

func (w *words) ground() Ground {
	g, err := GroundNamed(w.next())
	w.bad = w.bad || err != nil
	return g
}

// GroundNamed finds a distance by its name.
func GroundNamed(name string) (Ground, error) {
	for _, g := range []Ground{Equal, Ordered, Hierarchical} {
		if g.String() == name {
			return g, nil
		}
	}
	return 0, errors.New("the distances are equal, ordered and hierarchical")
}
