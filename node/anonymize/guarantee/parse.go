package guarantee

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/words"
)

// form is how a model is written down.
type form struct {
	name, numbers string
	sensitive     bool
	make          func(w *words.Words, column string) Model
}

var forms = []form{
	{"k-map", "K", false, func(w *words.Words, _ string) Model { return KMap(w.Whole()) }},
	{"delta-presence", "MIN,MAX", false, func(w *words.Words, _ string) Model { return Presence{Min: w.Real(), Max: w.Real()} }},
	{"distinct-l", "L", true, func(w *words.Words, c string) Model { return Distinct{Column: c, L: w.Whole()} }},
	{"entropy-l", "L", true, func(w *words.Words, c string) Model { return Entropy{Column: c, L: w.Real()} }},
	{"recursive-l", "C,L", true, func(w *words.Words, c string) Model { return Recursive{Column: c, C: w.Real(), L: w.Whole()} }},
	{"t-closeness", "T,DISTANCE", true, func(w *words.Words, c string) Model { return Closeness{Column: c, T: w.Real(), Ground: ground(w)} }},
	{"beta-likeness", "BETA", true, func(w *words.Words, c string) Model { return Likeness{Column: c, Beta: w.Real()} }},
	{"enhanced-beta", "BETA", true, func(w *words.Words, c string) Model { return Likeness{Column: c, Beta: w.Real(), Enhanced: true} }},
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
		return nil, fmt.Errorf("there is no model %.80q: the models are %s", name, strings.Join(Forms(), ", "))
	}
	f := forms[i]
	numbers, column, one := strings.Cut(rest, "@")
	columns := sensitive
	switch {
	case one && !f.sensitive:
		return nil, fmt.Errorf("%s is about no sensitive column: write it without %.80q", f.name, "@"+column)
	case one && !slices.Contains(sensitive, column):
		return nil, fmt.Errorf("%s is about column %s, which is not named as sensitive", f.name, quote.Value(column))
	case one:
		columns = []string{column}
	case f.sensitive && len(sensitive) == 0:
		return nil, fmt.Errorf("%s is about sensitive columns, and none is named", f.name)
	case !f.sensitive:
		columns = []string{""}
	}
	var models []Model
	for _, c := range columns {
		w := words.Split(numbers)
		m := f.make(w, c)
		if w.Bad || len(w.Rest) > 0 {
			return nil, fmt.Errorf("%s is written %s=%s, and not %.80q", f.name, f.name, f.numbers, text)
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

func ground(w *words.Words) Ground {
	g, err := GroundNamed(w.Next())
	w.Bad = w.Bad || err != nil
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
