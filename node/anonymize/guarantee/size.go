package guarantee

import (
	"errors"
	"fmt"
	"math"

	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// K is k-anonymity: each class has at least that many rows. Samarati and Sweeney,
// Protecting Privacy when Disclosing Information: k-Anonymity and its Enforcement
// through Generalization and Suppression, SRI-CSL-98-04, 1998. Lasting: unions grow.
type K int

func (k K) String() string { return fmt.Sprintf("%d-anonymity", int(k)) }

func (k K) valid() error { return sized(int(k)) }

func (k K) bind(*table.Table) (check, error) {
	return check{floor: int(k), lasting: true, column: -1}, nil
}

// KMap is k-map: each class that has a row has at least that many people of the
// population. Sweeney, Computational Disclosure Control: A Primer on Data Privacy
// Protection, MIT 2001, section 4.3. Lasting: unions grow.
type KMap int

func (k KMap) String() string { return fmt.Sprintf("%d-map", int(k)) }

func (k KMap) valid() error { return sized(int(k)) }

func (k KMap) bind(*table.Table) (check, error) {
	return check{people: int(k), lasting: true, column: -1}, nil
}

// Presence is delta-presence: for everybody in the population, the chance of having a
// row, as the release shows it, is at least Min and at most Max. Nergiz, Atzori and
// Clifton, Hiding the Presence of Individuals from Shared Databases, SIGMOD 2007.
// Suppressed rows are taken as not published, so people whose rows are suppressed, and
// classes of people without rows, have a chance of 0: where Min is above 0 nothing may
// be suppressed. Not lasting: unions average.
type Presence struct{ Min, Max float64 }

func (p Presence) String() string { return fmt.Sprintf("(%v, %v)-presence", p.Min, p.Max) }

func (p Presence) valid() error {
	if !(0 <= p.Min && p.Min <= p.Max && p.Max <= 1) {
		return errors.New("the bounds are between 0 and 1, the lower one first")
	}
	return nil
}

func (p Presence) bind(*table.Table) (check, error) {
	holds := func(c *Class) bool {
		chance := float64(c.Rows) / float64(c.People)
		return p.Min <= chance && chance <= p.Max
	}
	return check{holds: holds, column: -1, everybody: p.Min > 0}, nil
}

func sized(k int) error {
	if k < 1 {
		return errors.New("k is at least 1")
	}
	return nil
}

// within allows for rounding where a bound is met exactly.
func within(x, bound float64) bool { return x <= bound+1e-9*math.Max(1, math.Abs(bound)) }
