package cli

import (
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// modelFlags are what a release promises.
type modelFlags struct {
	k, l       int
	t          float64
	ground     string
	others     []string
	population string
}

func (m *modelFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&m.k, "k", 5, "rows that look the same, at least; with 1 only the other models count")
	f.IntVar(&m.l, "l", 0, "different values of each sensitive column among them, at least")
	f.Float64Var(&m.t, "t", 0, "how far each sensitive column's distribution among them may be from the whole table's, from 0 to 1")
	f.StringVar(&m.ground, "distance", "equal", "between sensitive values, for --t: equal, ordered or hierarchical")
	f.StringArrayVar(&m.others, "model", nil, "a further guarantee, NAME=NUMBERS or NAME=NUMBERS@COLUMN: "+strings.Join(guarantee.Forms(), ", "))
	f.StringVar(&m.population, "population", "", "the people of whom the table is a sample: a table with the same quasi-identifiers, for k-map and delta-presence")
}

// models are all of them, which hold together.
func (m *modelFlags) models(sensitive []string) (all []guarantee.Model, err error) {
	switch {
	case m.k < 1:
		return nil, fault.New(fault.Usage, "5 is usual", "--k is 1 at least")
	case m.l < 0 || !(m.t >= 0 && m.t <= 1):
		return nil, fault.New(fault.Usage, "", "--l is a number of values, and --t is between 0 and 1")
	case (m.l > 0 || m.t > 0) && len(sensitive) == 0:
		return nil, fault.New(fault.Usage, "name them with --sensitive", "--l and --t are about sensitive columns, and none is named")
	}
	ground, err := guarantee.GroundNamed(m.ground)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "there is no distance %q", m.ground)
	}
	if m.k > 1 || m.l == 0 && m.t == 0 && len(m.others) == 0 {
		all = append(all, guarantee.K(m.k))
	}
	for _, s := range sensitive {
		if m.l > 0 {
			all = append(all, guarantee.Distinct{Column: s, L: m.l})
		}
		if m.t > 0 {
			all = append(all, guarantee.Closeness{Column: s, T: m.t, Ground: ground})
		}
	}
	for _, text := range m.others {
		more, err := guarantee.Parse(text, sensitive)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, "name columns with --sensitive, and see `cerebrum anonymize --help` for the models", "--model")
		}
		for _, one := range more {
			if guarantee.OfPopulation(one) && m.population == "" {
				return nil, fault.New(fault.Usage, "name its table with --population", "%s is about a population of which the table is a sample, and none is named", one)
			}
		}
		all = append(all, more...)
	}
	return all, nil
}
