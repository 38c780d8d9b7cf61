package publish

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/fault"
)

// hierarchiesOf reads or makes the hierarchies that were asked for.
func hierarchiesOf(b *table.Builder, specs map[string]string) (map[string]*hierarchy.Hierarchy, []report.Hierarchy, error) {
	found, made := map[string]*hierarchy.Hierarchy{}, []report.Hierarchy(nil)
	for _, name := range keys(specs) {
		h, file, err := Hierarchy(specs[name], b.Values(name))
		var tree *hierarchy.TreeError
		switch {
		case errors.Is(err, hierarchy.ErrEmpty) && file == "":
			return nil, nil, Told(table.ErrEmpty)
		case errors.As(err, &tree):
			return nil, nil, fault.Wrap(fault.Failed, err, "give each value and each group one group above it", "column %s", name)
		case err != nil:
			return nil, nil, fault.Wrap(fault.Failed, err, "one line for each value, with its groups from the finest to the coarsest, separated by ;", "the hierarchy of %s", name)
		}
		found[name] = h
		source := specs[name]
		if file != "" {
			source = filepath.Base(source)
		}
		made = append(made, report.Hierarchy{Column: name, Source: source, FileSHA256: file})
	}
	return found, made, nil
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
	return all
}

func intervals(numbers string, values []string) (*hierarchy.Hierarchy, error) {
	var all []float64
	for _, text := range strings.Split(numbers, ",") {
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("intervals are made by numbers such as intervals:0,5,10, and %q is none", text)
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
		if _, err := strconv.ParseFloat(v, 64); err == nil {
			numbers++
		} else if v != "" {
			others++
		}
	}
	if others == 0 || numbers <= others {
		return nil
	}
	return fault.New(fault.Failed, "name texts that mean a missing value with --missing, correct them, or give the column a --hierarchy",
		"column %s mixes numbers and other texts: %d different numbers and %d others", name, numbers, others)
}
