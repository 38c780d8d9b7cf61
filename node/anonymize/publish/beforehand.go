package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// operations checks that each step has a column that is published, and what it needs.
func (r *run) operations(part map[string]string) error {
	r.steps = map[string]operate.Step{}
	for _, step := range r.Beforehand {
		name := step.Column
		if _, ok := r.at[name]; !ok {
			return r.noColumn(name)
		}
		if other, twice := r.steps[name]; twice {
			return fault.New(fault.Usage, "give each column one part", "column %s is named twice: %s, and %s", quote.Name(name), other.Name, step.Name)
		}
		if what := part[name]; slices.Contains(r.Drop, name) || r.Rewrite[name] != nil {
			return fault.New(fault.Usage, "give each column one part", "column %s is named twice: it is %s, and %s", quote.Name(name), what, step.Name)
		}
		if _, ok := r.at[step.Subject]; step.Subject != "" && !ok {
			return r.noColumn(step.Subject)
		}
		if _, level := step.Operator.(*operate.Generalise); level && r.Hierarchies[name] == "" {
			return fault.New(fault.Usage, "give it a --hierarchy", "column %s has no hierarchy of which %s could be published", quote.Name(name), step.Name)
		}
		_, byRow := step.Operator.(operate.Rewinder)
		if r.Population != "" && slices.Contains(r.Quasi, name) && (byRow || step.Subject != "") {
			return fault.New(fault.Usage, "choose an operator that does the same to equal values, or no --population",
				"column %s is a quasi-identifier, and %s would do something else to the people of the population than to their rows", quote.Name(name), step.Name)
		}
		r.steps[name] = step
	}
	return nil
}

// stepAt is a step and where in a table its columns are.
type stepAt struct {
	operate.Step
	at, subject int // subject is -1 for none
}

// stepsOf are the steps for some columns of a table, in its order.
func (r *run) stepsOf(s *tabular.Source, among func(column string) bool) (steps []stepAt) {
	at := map[string]int{"": -1}
	for i, c := range s.Columns() {
		at[c.Name] = i
	}
	for i, c := range s.Columns() {
		if step, ok := r.steps[c.Name]; ok && among(c.Name) {
			steps = append(steps, stepAt{step, i, at[step.Subject]})
		}
	}
	return steps
}

func everyColumn(string) bool { return true }

func (r *run) isQuasi(column string) bool { return slices.Contains(r.Quasi, column) }

// each shows the rows of a table whose cells have been operated on.
func (r *run) each(ctx context.Context, s *tabular.Source, steps []stepAt, visit func(*tabular.Row) error) ([sha256.Size]byte, error) {
	if len(steps) == 0 {
		return s.Each(ctx, visit)
	}
	for _, step := range steps {
		if again, ok := step.Operator.(operate.Rewinder); ok {
			again.Rewind()
		}
	}
	var room []byte
	whole := make([][]byte, len(s.Columns())) // subjects are read before any operator changes them
	return s.Each(ctx, func(row *tabular.Row) (err error) {
		room = room[:0]
		copy(whole, row.Cells)
		for _, step := range steps {
			cell := operate.Cell{Value: whole[step.at]}
			if step.subject >= 0 {
				cell.Subject = whole[step.subject]
			}
			begin := len(room)
			if room, err = step.Operator.Append(room, cell); err != nil {
				return r.refuse(s, row, step, err)
			}
			if begin == len(room) && len(cell.Value) == 0 {
				continue
			}
			row.Cells[step.at] = room[begin:len(room):len(room)]
			if row.Kinds != nil {
				row.Kinds[step.at] = tabular.Text
			}
		}
		return visit(row)
	})
}

// refuse says which cell an operator cannot take, without the cell.
func (r *run) refuse(s *tabular.Source, row *tabular.Row, step stepAt, err error) error {
	switch {
	case errors.Is(err, operate.ErrOther):
		return errChanged
	case errors.Is(err, operate.ErrRows):
		return fault.New(fault.Failed, "take fewer rows, or noise or a bucket instead", "column %s has too many rows: %v", quote.Name(step.Column), err)
	case errors.Is(err, operate.ErrSubject):
		return fault.New(fault.Failed, "fill in column "+quote.Name(step.Subject)+", or drop the column",
			"%s %d has in column %s a date, and does not say in column %s whose it is", s.Unit(), row.Number, quote.Name(step.Column), quote.Name(step.Subject))
	}
	return fault.New(fault.Failed, hintOn(step, err), "%s %d has in column %s what cannot be published as %s: %v", s.Unit(), row.Number, quote.Name(step.Column), step.Name, err)
}

// hintOn is what to do about a cell that an operator cannot take.
func hintOn(step stepAt, err error) string {
	_, looks := step.Operator.(operate.Looker)
	_, form := step.Operator.(*operate.Format)
	switch {
	case looks:
		return "give every row a number there, or choose noise or a bucket instead"
	case form:
		return "choose another alphabet, or reversible, which takes every text"
	case errors.Is(err, operate.ErrWhole):
		return "write the width with decimals, such as bucket:10.0"
	case errors.Is(err, operate.ErrHierarchy):
		return "add it to the hierarchy's file, or name a text that means a missing value with --missing"
	}
	return "correct it, name a text that means a missing value with --missing, or drop the column"
}

// look shows the table to the steps that have to see all of it before they rewrite a cell:
// numbers that are microaggregated, and values of which hierarchies are made.
func (r *run) look(ctx context.Context) error {
	all, values := r.stepsOf(r.source, everyColumn), distinct{}
	wait := false
	for _, step := range all {
		_, looks := step.Operator.(operate.Looker)
		if _, level := step.Operator.(*operate.Generalise); level {
			values[step.Column], looks = map[string]bool{}, true
		}
		wait = wait || looks
	}
	if !wait {
		return nil
	}
	rows := 0
	sum, err := r.source.Each(ctx, func(row *tabular.Row) error {
		rows++
		for _, step := range all {
			values.add(step.Column, row.Cells[step.at])
			if l, ok := step.Operator.(operate.Looker); ok {
				if err := l.Look(row.Cells[step.at]); err != nil {
					return r.refuse(r.source, row, step, err)
				}
			}
		}
		return nil
	})
	if err == nil && rows == 0 {
		err = table.ErrEmpty
	}
	if err != nil {
		return Told(err)
	}
	r.looked = &sum
	if err := r.lookAround(ctx, values); err != nil {
		return err
	}
	for _, step := range all {
		if err := r.ready(ctx, step, values[step.Column]); err != nil {
			return err
		}
	}
	return nil
}

// distinct is the values of columns, of those of which it has a set.
type distinct map[string]map[string]bool

func (d distinct) add(column string, cell []byte) {
	if seen := d[column]; seen != nil && len(cell) > 0 && !seen[string(cell)] {
		seen[string(cell)] = true
	}
}

// lookAround adds the values that only the population has, so that a hierarchy that is made
// of values has them too.
func (r *run) lookAround(ctx context.Context, values distinct) error {
	if r.Population == "" || len(values) == 0 {
		return nil
	}
	f, s, err := Open(r.Population, r.Reading)
	if err != nil {
		return ofPopulation(err)
	}
	defer f.Close()
	steps := r.stepsOf(s, r.isQuasi)
	_, err = s.Each(ctx, func(row *tabular.Row) error {
		for _, step := range steps {
			values.add(step.Column, row.Cells[step.at])
		}
		return nil
	})
	if err != nil {
		return ofPopulation(Told(err))
	}
	return nil
}

// ready prepares a step by what it saw.
func (r *run) ready(ctx context.Context, step stepAt, values map[string]bool) error {
	if l, ok := step.Operator.(operate.Looker); ok {
		if err := l.Ready(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fault.Wrap(fault.Usage, err, "choose smaller groups, or give the table more rows", "%s of column %s", step.Name, quote.Name(step.Column))
		}
	}
	g, ok := step.Operator.(*operate.Generalise)
	if !ok {
		return nil
	}
	spec := r.Hierarchies[step.Column]
	h, file, err := hierarchyOf(step.Column, spec, keys(values))
	if err != nil {
		return err
	}
	if err := g.Use(h); err != nil {
		return fault.Wrap(fault.Usage, err, "choose one of them", "column %s", quote.Name(step.Column))
	}
	above, err := upwards(h, g.Level())
	if err != nil {
		return fault.Wrap(fault.Failed, err, "", "the hierarchy of %s", quote.Name(step.Column))
	}
	r.above[step.Column] = above
	r.made = append(r.made, madeOf(step.Column, spec, file))
	return nil
}

// upwards is what is left of a hierarchy when values are published at a level: its groups,
// and theirs.
func upwards(h *hierarchy.Hierarchy, level int) (*hierarchy.Hierarchy, error) {
	var rows [][]string
	for g := range h.Groups(level) {
		rows = append(rows, h.Row(h.First(level, uint32(g)))[level:])
	}
	return hierarchy.New(rows)
}

// hierarchyAfter is the hierarchy of a column whose values a step made, or nil where one is
// made of any values.
func hierarchyAfter(step operate.Step, values []string) (*hierarchy.Hierarchy, error) {
	if b, ok := step.Operator.(*operate.Bucket); ok {
		return doubled(b, values)
	}
	return openEnded(values)
}

// doubled is the hierarchy of intervals: twice as wide at each level, until all are one.
func doubled(b *operate.Bucket, labels []string) (*hierarchy.Hierarchy, error) {
	var rows [][]string
	for _, label := range labels {
		if label != "" { // a missing value is beside them
			rows = append(rows, []string{label})
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	for times := 2; times <= 1<<30; times *= 2 {
		seen := map[string]bool{}
		for i := range rows {
			wide, ok := b.Wider(rows[i][0], times)
			if !ok {
				return nil, nil
			}
			rows[i] = append(rows[i], wide)
			seen[wide] = true
		}
		if len(seen) <= 2 { // intervals on both sides of the base are never one
			break
		}
	}
	return hierarchy.New(rows)
}

// openEnded is the hierarchy of a column of numbers in which an operation has put one text
// for all beyond a limit, such as 90+: the text is a group of its own until all are one.
func openEnded(values []string) (*hierarchy.Hierarchy, error) {
	var numbers, others []string
	for _, v := range values {
		if _, ok := hierarchy.Number(v); ok {
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
