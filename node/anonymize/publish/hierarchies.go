package publish

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/fault"
)

// hierarchyOf reads or makes the hierarchy that was asked for of a column. The hash is of
// its file, empty for a rule.
func hierarchyOf(column, spec string, values []string) (*hierarchy.Hierarchy, string, error) {
	h, file, err := Hierarchy(spec, values)
	var tree *hierarchy.TreeError
	switch {
	case errors.Is(err, hierarchy.ErrEmpty) && file == "":
		return nil, "", Told(table.ErrEmpty)
	case errors.As(err, &tree):
		return nil, "", fault.Wrap(fault.Failed, err, "give each value and each group one group above it", "column %s", quote.Name(column))
	case err != nil:
		return nil, "", fault.Wrap(fault.Failed, err, "one line for each value, with its groups from the finest to the coarsest, separated by ;", "the hierarchy of %s", quote.Name(column))
	}
	return h, file, nil
}

// madeOf is what a report says of a hierarchy that was asked for.
func madeOf(column, spec, file string) report.Hierarchy {
	if file != "" {
		spec = filepath.Base(spec)
	}
	return report.Hierarchy{Column: column, Source: spec, FileSHA256: file}
}

// hierarchies reads or makes those that were asked for. A column that is generalised
// beforehand has what is above of its own already.
func (r *run) hierarchies(b *table.Builder) (map[string]*hierarchy.Hierarchy, error) {
	found := map[string]*hierarchy.Hierarchy{}
	for _, name := range keys(r.Hierarchies) {
		if r.above[name] != nil {
			if r.isQuasi(name) || slices.Contains(r.Sensitive, name) {
				found[name] = r.above[name]
			}
			continue
		}
		h, file, err := hierarchyOf(name, r.Hierarchies[name], b.Values(name))
		if err != nil {
			return nil, err
		}
		found[name] = h
		r.made = append(r.made, madeOf(name, r.Hierarchies[name], file))
	}
	return found, nil
}

// complete adds what the table knows, and the hierarchies that were made without asking.
func (r *run) complete() []report.Hierarchy {
	given := map[string]report.Hierarchy{}
	for _, h := range r.made {
		given[h.Column] = h
	}
	var all []report.Hierarchy
	add := func(c table.Column, level int, otherwise string) {
		h, ok := given[c.Name]
		if !ok {
			h = report.Hierarchy{Column: c.Name, Source: otherwise}
		}
		if g, ok := r.steps[c.Name].Operator.(*operate.Generalise); ok {
			h.Source = fmt.Sprintf("%s, from level %d", h.Source, g.Level())
		}
		sum := c.Hierarchy.Hash()
		h.SHA256, h.Levels, h.Values, h.Level = hex.EncodeToString(sum[:]), c.Hierarchy.Levels(), c.Hierarchy.Len(), level
		all = append(all, h)
	}
	for q, c := range r.table.Quasi() {
		level := -1
		if q < len(r.release.Levels) {
			level = r.release.Levels[q]
		}
		add(c, level, "made of the values")
	}
	for _, c := range r.table.Sensitive() {
		if _, ok := given[c.Name]; ok {
			add(c, -1, "")
		}
	}
	for _, name := range keys(r.above) {
		if !r.isQuasi(name) && !slices.Contains(r.Sensitive, name) {
			add(table.Column{Name: name, Hierarchy: r.above[name]}, -1, "")
		}
	}
	return all
}

func intervals(numbers string, values []string) (*hierarchy.Hierarchy, error) {
	var all []float64
	for _, text := range strings.Split(numbers, ",") {
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("intervals are made by numbers such as intervals:0,5,10, and %.80q is none", text)
		}
		all = append(all, x)
	}
	return hierarchy.Intervals(values, all[0], all[1:]...)
}

// mixed refuses a column most of whose values are numbers and some are not: they have
// no order, so a hierarchy made of them would group nothing.
func mixed(name string, values []string) error {
	numbers, others := 0, 0
	for _, v := range values {
		if _, ok := hierarchy.Number(v); ok {
			numbers++
		} else if v != "" {
			others++
		}
	}
	if others == 0 || numbers <= others {
		return nil
	}
	return fault.New(fault.Failed, "name texts that mean a missing value with --missing, correct them, or give the column a --hierarchy",
		"column %s mixes numbers and other texts: %d different numbers and %d others", quote.Name(name), numbers, others)
}
