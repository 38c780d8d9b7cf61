// Package guarantee holds the promises that a release can make, each as it was
// published:
//
//   - [K] k-anonymity: nobody is among fewer than k rows.
//   - [KMap] k-map: nobody is among fewer than k people of a population.
//   - [Distinct], [Entropy], [Recursive] l-diversity: rows that look the same have
//     different sensitive values.
//   - [Closeness] t-closeness: their sensitive values are distributed nearly as in the
//     whole table.
//   - [Likeness] beta-likeness: no sensitive value is much likelier among them.
//   - [Presence] delta-presence: it stays uncertain who is in the table at all.
//
// Several hold together as a [Requirement] that is bound to a table and judges classes
// of rows. What a search may skip depends on what the models promise about unions of
// classes, see [Requirement.Lasting].
package guarantee

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Model is one promise. The types of this package are the models there are.
type Model interface {
	// String is the promise in a few words, such as "5-anonymity".
	String() string
	// valid says what is wrong with the parameters, whatever the table.
	valid() error
	// bind is only called of a model that is valid.
	bind(*table.Table) (check, error)
}

// check is a model bound to a table.
type check struct {
	holds func(*Class) bool
	// floor is a number of rows below which no class holds.
	floor int
	// people is the same of the population.
	people int
	// lasting says that a class that holds still holds after any union with others.
	lasting bool
	// column is the sensitive column that is looked at, or -1.
	column int
	// everybody says that people of whom no row is published count as well.
	everybody bool
}

// Class is what a model may know of rows that look the same.
type Class struct {
	Rows   int
	People int // of the population
	// Leaf and Count are the sensitive values of each sensitive column of the table:
	// leaves in the column's hierarchy, ascending or not, each once.
	Leaf, Count [][]uint32
}

// Requirement is models that have to hold together on one table. It does not change
// and several goroutines may use it.
type Requirement struct {
	models  []Model
	checks  []check
	floor   int
	people  int
	columns []int
}

// Bind makes a requirement. The error names the model whose parameters make no sense
// or whose column the table lacks. A table that is smaller than the smallest class
// that is allowed is refused.
func Bind(t *table.Table, models ...Model) (*Requirement, error) {
	if len(models) == 0 {
		return nil, errors.New("there is no guarantee to give: name one, such as k-anonymity with k = 5")
	}
	r := &Requirement{models: slices.Clone(models), floor: 1, people: 1}
	for _, m := range models {
		err := m.valid()
		var c check
		if err == nil {
			c, err = m.bind(t)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
		if c.floor > t.Rows() {
			return nil, fmt.Errorf("%s: the table has %d rows, and no class may have fewer than %d", m, t.Rows(), c.floor)
		}
		if c.people > t.People() {
			return nil, fmt.Errorf("%s: the population has %d people, and no class may have fewer than %d", m, t.People(), c.people)
		}
		r.checks = append(r.checks, c)
		r.floor, r.people = max(r.floor, c.floor), max(r.people, c.people)
		if c.column >= 0 && !slices.Contains(r.columns, c.column) {
			r.columns = append(r.columns, c.column)
		}
	}
	slices.Sort(r.columns)
	return r, nil
}

// Models is what was bound.
func (r *Requirement) Models() []Model { return r.models }

func (r *Requirement) String() string {
	all := make([]string, len(r.models))
	for i, m := range r.models {
		all[i] = m.String()
	}
	return strings.Join(all, ", ")
}

// Holds says whether a class of at least one row may be published.
func (r *Requirement) Holds(c *Class) bool {
	if c.Rows < r.floor || c.People < r.people {
		return false
	}
	for i := range r.checks {
		if k := &r.checks[i]; k.holds != nil && !k.holds(c) {
			return false
		}
	}
	return true
}

// Floor is the smallest number of rows, and of people of the population, that a class
// needs, whatever its sensitive values: a class below it becomes one that holds only
// by growing.
func (r *Requirement) Floor() (rows, people int) { return r.floor, r.people }

// Simple says that a class holds as soon as it has its floor, so that nothing but
// sizes is looked at.
func (r *Requirement) Simple() bool {
	return !slices.ContainsFunc(r.checks, func(c check) bool { return c.holds != nil })
}

// Sensitive is the sensitive columns that are looked at, ascending.
func (r *Requirement) Sensitive() []int { return r.columns }

// Lasting says that a class that holds still holds after any union with others, so
// that coarser labels never suppress more rows. Of the others only this is true: where
// all classes hold, unions of them hold.
func (r *Requirement) Lasting() bool {
	return !slices.ContainsFunc(r.checks, func(c check) bool { return !c.lasting })
}

// Everybody says that the models are about all people of the population, so that no row
// may be suppressed and no class may be without rows.
func (r *Requirement) Everybody() bool {
	return slices.ContainsFunc(r.checks, func(c check) bool { return c.everybody })
}

// Global says that the models are defined only where the class of every person of the
// population follows from the person's values alone, as it does where all rows are
// coarsened alike.
func (r *Requirement) Global() bool {
	return slices.ContainsFunc(r.models, func(m Model) bool { _, ok := m.(Presence); return ok })
}

// column finds a sensitive column by name.
func column(t *table.Table, name string) (int, error) {
	i := slices.IndexFunc(t.Sensitive(), func(c table.Column) bool { return c.Name == name })
	if i < 0 {
		return 0, fmt.Errorf("%s is not a sensitive column of the table", quote.Value(name))
	}
	return i, nil
}

// A NothingError says that no release keeps the guarantees.
type NothingError struct {
	Guarantees string
	Rows       int
	// Suppressed is how many rows might have been suppressed.
	Suppressed int
	// Whole says that not even the whole table is a class that holds, and that the method
	// suppresses nothing.
	Whole bool
}

func (e *NothingError) Error() string {
	if e.Whole {
		return fmt.Sprintf("nothing can be released with %s: not even all %d rows as one class keep it; ask for less, or coarsen columns or rows, which can suppress some", e.Guarantees, e.Rows)
	}
	if e.Suppressed >= e.Rows {
		return fmt.Sprintf("nothing can be released with %s: all %d rows would have to be suppressed; ask for less, or name fewer quasi-identifiers", e.Guarantees, e.Rows)
	}
	return fmt.Sprintf("nothing can be released with %s while at most %d of %d rows are suppressed: allow more suppression, ask for less, or name fewer quasi-identifiers", e.Guarantees, e.Suppressed, e.Rows)
}
