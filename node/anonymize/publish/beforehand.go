package publish

import (
	"context"
	"crypto/sha256"
	"slices"
	"strconv"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// Operation is done to the cells of a column as they are read, before anything else looks
// at them: what it takes away is in no part of the release, a quasi-identifier included.
type Operation struct {
	Name    string // for the report
	Rewrite Rewrite
	// Text says that the column is free text, in which something may be left.
	Text bool
}

// operations checks that each has a column that is published.
func (r *run) operations(part map[string]string) error {
	for _, name := range keys(r.Beforehand) {
		if _, ok := r.at[name]; !ok {
			return r.noColumn(name)
		}
		if what := part[name]; slices.Contains(r.Drop, name) || r.Rewrite[name] != nil {
			return fault.New(fault.Usage, "give each column one part", "column %s is named twice: it is %s, and %s", name, what, r.Beforehand[name].Name)
		}
	}
	return nil
}

// each shows the rows of a table whose cells have been operated on.
func (r *run) each(ctx context.Context, s *tabular.Source, visit func(*tabular.Row) error) ([sha256.Size]byte, error) {
	type column struct {
		at   int
		name string
	}
	var columns []column
	for i, c := range s.Columns() {
		if r.Beforehand[c.Name].Rewrite != nil {
			columns = append(columns, column{i, c.Name})
		}
	}
	if len(columns) == 0 {
		return s.Each(ctx, visit)
	}
	var room []byte
	return s.Each(ctx, func(row *tabular.Row) (err error) {
		room = room[:0]
		for _, c := range columns {
			if len(row.Cells[c.at]) == 0 {
				continue
			}
			begin := len(room)
			if room, err = r.Beforehand[c.name].Rewrite(room, row.Cells[c.at]); err != nil {
				return fault.New(fault.Failed, "correct it, name a text that means a missing value with --missing, or drop the column",
					"%s %d has in column %s what cannot be published as %s: %v", s.Unit(), row.Number, c.name, r.Beforehand[c.name].Name, err)
			}
			row.Cells[c.at] = room[begin:len(room):len(room)]
			if row.Kinds != nil {
				row.Kinds[c.at] = tabular.Text
			}
		}
		return visit(row)
	})
}

// openEnded is the hierarchy of a column of numbers in which an operation has put one text
// for all beyond a limit, such as 90+: the text is a group of its own until all are one.
func openEnded(values []string) (*hierarchy.Hierarchy, error) {
	var numbers, others []string
	for _, v := range values {
		if _, err := strconv.ParseFloat(v, 64); err == nil {
			numbers = append(numbers, v)
		} else if v != "" {
			others = append(others, v)
		}
	}
	if len(numbers) == 0 || len(others) == 0 {
		return nil, nil
	}
	h, err := hierarchy.Automatic(numbers)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for i := range h.Len() {
		rows = append(rows, h.Row(uint32(i)))
	}
	for _, v := range others {
		row := slices.Repeat([]string{v}, h.Levels())
		row[h.Levels()-1] = h.Label(h.Levels()-1, 0)
		rows = append(rows, row)
	}
	return hierarchy.New(rows)
}
