package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/dp"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// privateFlags are a question that is answered with differential privacy.
type privateFlags struct {
	reading      readingFlags
	query        dp.Query
	limit        float64
	budget       string
	column       string
	lower, upper float64
	person       string
	where        []string
}

// answered is an answer and what is left of the budget.
type answered struct {
	Value   float64 `json:"value"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Epsilon float64 `json:"epsilon"`
	Left    float64 `json:"epsilon_left"`
	Budget  string  `json:"budget"` // the file
}

type ask func(b *dp.Budget, f *privateFlags, rows dp.Rows) (dp.Answer, error)

func anonymizeCount(e *Env) *cobra.Command {
	return privateCommand(e, "count FILE --epsilon E", "Count rows with differential privacy", false,
		func(b *dp.Budget, f *privateFlags, rows dp.Rows) (dp.Answer, error) { return b.Count(f.query, rows) })
}

func anonymizeSum(e *Env) *cobra.Command {
	return privateCommand(e, "sum FILE --column C --min A --max B --epsilon E", "Add up a column with differential privacy", true,
		func(b *dp.Budget, f *privateFlags, rows dp.Rows) (dp.Answer, error) {
			return b.Sum(f.query, f.lower, f.upper, rows)
		})
}

func anonymizeMean(e *Env) *cobra.Command {
	return privateCommand(e, "mean FILE --column C --min A --max B --epsilon E", "The mean of a column with differential privacy", true,
		func(b *dp.Budget, f *privateFlags, rows dp.Rows) (dp.Answer, error) {
			return b.Mean(f.query, f.lower, f.upper, rows)
		})
}

func privateCommand(e *Env, use, short string, numbers bool, do ask) *cobra.Command {
	var f privateFlags
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		Long: short + `: the answer is about as likely whether or not any one person
is in the table. Each answer spends epsilon of the table's budget, which is kept in a
file and never grows. --limit sets it with the first question.

Choose --min and --max by what values can be, not by looking at the table.`,
		RunE: func(c *cobra.Command, args []string) error {
			a, err := e.answer(c.Context(), args[0], &f, do)
			if err != nil {
				return err
			}
			return e.print(a, func(w io.Writer) {
				fmt.Fprintf(w, "%.6g\n", a.Value)
				if !e.Quiet {
					fmt.Fprintf(e.Err, "%.6g to %.6g with 95 %% confidence; epsilon %.4g spent, %.4g left\n", a.Low, a.High, a.Epsilon, a.Left)
				}
			})
		},
	}
	fs := c.Flags()
	fs.Float64Var(&f.query.Epsilon, "epsilon", 0, "what the answer may tell of one person; 0.1 is little, 1 is usual, 10 is much")
	fs.Float64Var(&f.limit, "limit", 0, "the epsilon that the table may ever spend; set once")
	fs.StringVar(&f.budget, "budget-file", "", "where the budget is kept (default FILE.budget)")
	fs.StringArrayVar(&f.where, "where", nil, "only rows whose COLUMN=VALUE")
	fs.StringVar(&f.person, "person", "", "the column that says whose row it is, if people have several")
	fs.IntVar(&f.query.RowsEach, "rows-each", 1, "how many rows of a person count")
	f.reading.add(c)
	c.MarkFlagRequired("epsilon")
	if numbers {
		fs.StringVar(&f.column, "column", "", "the column of numbers")
		fs.Float64Var(&f.lower, "min", 0, "the least that a value can be; lower ones count as this")
		fs.Float64Var(&f.upper, "max", 0, "the most that a value can be; higher ones count as this")
		for _, name := range []string{"column", "min", "max"} {
			c.MarkFlagRequired(name)
		}
	}
	return c
}

func (e *Env) answer(ctx context.Context, path string, f *privateFlags, do ask) (*answered, error) {
	o, err := f.reading.options()
	if err != nil {
		return nil, err
	}
	file, s, err := publish.Open(path, o)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	rows, err := f.rows(ctx, s)
	if err != nil {
		return nil, err
	}
	if f.budget == "" {
		f.budget = path + ".budget"
	}
	b, err := dp.Open(f.budget, filepath.Base(path), dp.Cost{Epsilon: f.limit}, e.Now)
	if err != nil {
		if f.limit == 0 && !errors.Is(err, dp.ErrDamaged) && !errors.Is(err, dp.ErrOther) && !errors.Is(err, dp.ErrBusy) {
			return nil, fault.Wrap(fault.Usage, err, "set one with --limit, such as --limit 1", "the table has no budget yet")
		}
		return nil, privateFault(err)
	}
	a, err := do(b, f, rows)
	if err != nil {
		return nil, privateFault(err)
	}
	left, err := b.Left()
	if err != nil {
		return nil, privateFault(err)
	}
	return &answered{Value: a.Value, Low: a.Low, High: a.High, Epsilon: f.query.Epsilon, Left: left.Epsilon, Budget: f.budget}, nil
}

func privateFault(err error) error {
	switch {
	case errors.Is(err, dp.ErrSpent):
		return fault.Wrap(fault.Denied, err, "ask for less with a smaller --epsilon, or not at all: more would tell of people", "no answer")
	case errors.Is(err, dp.ErrOther):
		return fault.Wrap(fault.Failed, err, "leave --limit away, or name the table's own --budget-file", "the budget")
	case errors.Is(err, dp.ErrDamaged):
		return fault.Wrap(fault.Integrity, err, "restore it from a backup; nothing is answered without it", "the budget")
	}
	return publish.Told(err)
}

// rows are the rows that the question is about.
func (f *privateFlags) rows(ctx context.Context, s *tabular.Source) (dp.Rows, error) {
	at := map[string]int{"": -1}
	var names []string
	for i, c := range s.Columns() {
		at[c.Name] = i
		names = append(names, c.Name)
	}
	want := map[int]string{}
	for _, w := range f.where {
		column, value, ok := strings.Cut(w, "=")
		if !ok || column == "" {
			return nil, fault.New(fault.Usage, "", "--where is COLUMN=VALUE")
		}
		c, ok := at[column]
		if !ok {
			return nil, fault.New(fault.Usage, "the columns are "+strings.Join(names, ", "), "the table has no column %s", column)
		}
		if _, twice := want[c]; twice {
			return nil, fault.New(fault.Usage, "", "--where names column %s twice", column)
		}
		want[c] = value
	}
	for _, name := range []string{f.column, f.person} {
		if name != "" && !slices.Contains(names, name) {
			return nil, fault.New(fault.Usage, "the columns are "+strings.Join(names, ", "), "the table has no column %s", name)
		}
	}
	value, person := at[f.column], at[f.person]
	return func(yield func(dp.Row, error) bool) {
		stopped := errors.New("stopped")
		_, err := s.Each(ctx, func(r *tabular.Row) error {
			for c, v := range want {
				if string(r.Cells[c]) != v {
					return nil
				}
			}
			row := dp.Row{}
			if person >= 0 {
				row.Person = r.Cells[person]
			}
			if value >= 0 {
				var err error
				if row.Value, err = number(r.Cells[value]); err != nil {
					return &tabular.RowError{Number: r.Number, Unit: s.Unit(), Err: fmt.Errorf("has in column %s %w", f.column, err)}
				}
			}
			if !yield(row, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && err != stopped {
			yield(dp.Row{}, err)
		}
	}, nil
}

// number reads a cell; an empty one is missing.
func number(cell []byte) (float64, error) {
	if len(cell) == 0 {
		return math.NaN(), nil
	}
	x, err := strconv.ParseFloat(string(cell), 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0, errors.New("a text that is no number")
	}
	return x, nil
}
