package publish

import (
	"context"
	"path/filepath"

	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// Reversal gives back the values that operators replaced which a key can undo.
type Reversal struct {
	Input, Output string
	Reading       tabular.Options
	// Steps are those of the release: each operator is an [operate.Reverser].
	Steps   []operate.Step
	Replace bool // a file that is there
}

// Run reads the release once and writes it with the values. The output appears under its
// name when all of it is on the disk. A pseudonym that was not made with the key is an
// integrity failure.
func (r Reversal) Run(ctx context.Context) (rows int, err error) {
	in, err := filepath.Abs(r.Input)
	if err != nil {
		return 0, err
	}
	if out, err := filepath.Abs(r.Output); err != nil {
		return 0, err
	} else if out == in {
		return 0, fault.New(fault.Usage, "name another file", "%s is named twice", r.Output)
	}
	f, s, err := Open(r.Input, r.Reading)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	columns, steps, err := r.columns(s)
	if err != nil {
		return 0, err
	}
	out, err := tabular.Create(r.Output, r.Replace)
	if err != nil {
		return 0, noPlace(r.Output, err)
	}
	defer out.Discard()
	format := tabular.FormatOf(r.Output)
	if format == tabular.Automatic {
		format = s.Format()
	}
	to, err := tabular.NewWriter(out, tabular.WriteOptions{Format: format, Comma: commaOf(r.Output, s), Columns: columns})
	if err != nil {
		return 0, err
	}
	var room []byte
	if _, err = s.Each(ctx, func(row *tabular.Row) (err error) {
		rows++
		if room, err = undo(room[:0], s, steps, row); err != nil {
			return err
		}
		return to.Write(row)
	}); err != nil {
		return 0, Told(err)
	}
	for _, finish := range []func() error{to.Close, out.Flush, ctx.Err, out.Commit} {
		if err := finish(); err != nil {
			return 0, Told(err)
		}
	}
	return rows, nil
}

// undoing is a step whose operator can be undone.
type undoing struct {
	operate.Step
	at      int
	reverse func(dst, value []byte) ([]byte, error)
}

func (r Reversal) columns(s *tabular.Source) (columns []tabular.Column, steps []undoing, err error) {
	columns = append(columns, s.Columns()...)
	seen := map[string]bool{}
	for _, step := range r.Steps {
		at, err := column(step.Column, s)
		if err != nil {
			return nil, nil, err
		}
		op, ok := step.Operator.(operate.Reverser)
		if !ok {
			return nil, nil, fault.New(fault.Usage, "only reversible and ff1 can be undone", "nobody can undo %s", step.Name)
		}
		if seen[step.Column] {
			return nil, nil, fault.New(fault.Usage, "give each column one operator", "column %s is named twice", quote.Name(step.Column))
		}
		seen[step.Column], columns[at].Type = true, tabular.TextType
		steps = append(steps, undoing{step, at, op.Reverse})
	}
	return columns, steps, nil
}

// undo puts the values into a row.
func undo(room []byte, s *tabular.Source, steps []undoing, row *tabular.Row) (_ []byte, err error) {
	for _, step := range steps {
		if len(row.Cells[step.at]) == 0 {
			continue
		}
		begin := len(room)
		if room, err = step.reverse(room, row.Cells[step.at]); err != nil {
			return room, fault.New(fault.Integrity, "name the key file, the --dataset and the columns with which the release was made",
				"%s %d has in column %s what cannot be undone as %s: %v", s.Unit(), row.Number, quote.Name(step.Column), step.Name, err)
		}
		row.Cells[step.at] = room[begin:len(room):len(room)]
		if row.Kinds != nil {
			row.Kinds[step.at] = tabular.Text
		}
	}
	return room, nil
}
