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
	"text/tabwriter"

	"cerebrum.dev/cerebrum/node/anonymize/dp"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
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
	ranks        []float64
	bins         []string
	edges        []float64
}

// answered is an answer and what is left of the budget.
type answered struct {
	*one
	Quantiles []quantile `json:"quantiles,omitempty"`
	Bins      []bin      `json:"bins,omitempty"`
	Epsilon   float64    `json:"epsilon"`
	Left      float64    `json:"epsilon_left"`
	Budget    string     `json:"budget"` // the file
}

// one is a number. The true one lies between low and high with 95 % confidence.
type one struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

type quantile struct {
	Rank  float64 `json:"rank"`
	Value float64 `json:"value"`
}

type bin struct {
	Bin string `json:"bin"`
	one
}

// question is a command that asks for something.
type question struct {
	use, short string
	column     string // what the column is of, empty for none
	bounded    bool   // by --min and --max
	further    string // of its help
	flags      func(*privateFlags, *cobra.Command)
	check      func(*privateFlags) error
	ask        func(*dp.Budget, *privateFlags, dp.Rows) (answered, error)
}

// single makes a question for one number.
func single(ask func(*dp.Budget, *privateFlags, dp.Rows) (dp.Answer, error)) func(*dp.Budget, *privateFlags, dp.Rows) (answered, error) {
	return func(b *dp.Budget, f *privateFlags, rows dp.Rows) (answered, error) {
		a, err := ask(b, f, rows)
		return answered{one: &one{a.Value, a.Low, a.High}}, err
	}
}

func anonymizeCount(e *Env) *cobra.Command {
	return privateCommand(e, question{use: "count FILE --epsilon E", short: "Count rows with differential privacy",
		ask: single(func(b *dp.Budget, f *privateFlags, rows dp.Rows) (dp.Answer, error) { return b.Count(f.query, rows) })})
}

func anonymizeSum(e *Env) *cobra.Command {
	return privateCommand(e, question{use: "sum FILE --column C --min A --max B --epsilon E", short: "Add up a column with differential privacy",
		column: "numbers", bounded: true,
		ask: single(func(b *dp.Budget, f *privateFlags, rows dp.Rows) (dp.Answer, error) {
			return b.Sum(f.query, f.lower, f.upper, rows)
		})})
}

func anonymizeMean(e *Env) *cobra.Command {
	return privateCommand(e, question{use: "mean FILE --column C --min A --max B --epsilon E", short: "The mean of a column with differential privacy",
		column: "numbers", bounded: true,
		ask: single(func(b *dp.Budget, f *privateFlags, rows dp.Rows) (dp.Answer, error) {
			return b.Mean(f.query, f.lower, f.upper, rows)
		})})
}

func anonymizeQuantiles(e *Env) *cobra.Command {
	return privateCommand(e, question{use: "quantiles FILE --column C --ranks 0.25,0.5,0.75 --min A --max B --epsilon E",
		short: "Quantiles of a column with differential privacy", column: "numbers", bounded: true,
		further: "\n\nOne epsilon is for all ranks together. How far an answer is off depends on the numbers\naround it, and is not told.",
		flags: func(f *privateFlags, c *cobra.Command) {
			c.Flags().Float64SliceVar(&f.ranks, "ranks", []float64{0.5}, "the shares of rows that are below; 0.5 is the median")
		},
		check: func(f *privateFlags) error {
			for _, r := range f.ranks {
				if !(r >= 0 && r <= 1) {
					return fault.New(fault.Usage, "0.5 is the median", "a rank is a share between 0 and 1")
				}
			}
			if len(f.ranks) == 0 {
				return fault.New(fault.Usage, "0.5 is the median", "--ranks names none")
			}
			return nil
		},
		ask: func(b *dp.Budget, f *privateFlags, rows dp.Rows) (a answered, err error) {
			values, err := b.Quantiles(f.query, f.lower, f.upper, f.ranks, rows)
			for i, v := range values {
				a.Quantiles = append(a.Quantiles, quantile{f.ranks[i], v})
			}
			return a, err
		}})
}

func anonymizeHistogram(e *Env) *cobra.Command {
	return privateCommand(e, question{use: "histogram FILE --column C --bins A,B,C --epsilon E",
		short: "Count the people of each value with differential privacy", column: "values",
		further: "\n\nThe bins are the values that are possible: those that are there would tell of somebody\nwho is alone in one. For numbers, --edges 0,18,65 makes intervals. Rows of no bin count\nnowhere. One epsilon is for all bins together.",
		flags: func(f *privateFlags, c *cobra.Command) {
			listVar(c, &f.bins, "bins", "the values that are counted")
			c.Flags().Float64SliceVar(&f.edges, "edges", nil, "where intervals of numbers begin and end, ascending")
		},
		check: (*privateFlags).checkBins,
		ask: func(b *dp.Budget, f *privateFlags, rows dp.Rows) (a answered, err error) {
			bins, err := b.Histogram(f.query, f.bins, rows)
			for _, n := range bins {
				a.Bins = append(a.Bins, bin{n.Category, one{n.Value, n.Low, n.High}})
			}
			return a, err
		}})
}

// checkBins takes intervals for bins where there are edges.
func (f *privateFlags) checkBins() error {
	if (len(f.bins) == 0) == (len(f.edges) == 0) {
		return fault.New(fault.Usage, "name the values that are possible with --bins, or intervals of numbers with --edges", "a histogram has either bins or edges")
	}
	seen := map[string]bool{}
	for _, b := range f.bins {
		if seen[b] {
			return fault.New(fault.Usage, "name each value once", "--bins has %.80q twice", b)
		}
		seen[b] = true
	}
	if len(f.edges) == 0 {
		return nil
	}
	for i, x := range f.edges {
		if math.IsNaN(x) || math.IsInf(x, 0) || i > 0 && x <= f.edges[i-1] || len(f.edges) < 2 {
			return fault.New(fault.Usage, "such as --edges 0,18,65,120", "--edges are two numbers or more, ascending")
		}
	}
	for i := range len(f.edges) - 1 {
		f.bins = append(f.bins, f.interval(i))
	}
	return nil
}

// interval is the name of a bin between edges.
func (f *privateFlags) interval(i int) string {
	end := ")"
	if i == len(f.edges)-2 {
		end = "]"
	}
	return fmt.Sprintf("[%v, %v%s", f.edges[i], f.edges[i+1], end)
}

// bin is the interval in which a number is, or nothing.
func (f *privateFlags) bin(x float64) string {
	last := len(f.edges) - 1
	if !(x >= f.edges[0] && x <= f.edges[last]) {
		return ""
	}
	i, _ := slices.BinarySearch(f.edges, math.Nextafter(x, math.Inf(1)))
	return f.interval(min(i-1, last-1))
}

func privateCommand(e *Env, q question) *cobra.Command {
	var f privateFlags
	choose := ""
	if q.bounded {
		choose = "\n\nChoose --min and --max by what values can be, not by looking at the table."
	}
	c := &cobra.Command{
		Use: q.use, Short: q.short, Args: cobra.ExactArgs(1),
		Long: q.short + `: the answer is about as likely whether or not any one person
is in the table. Each answer spends epsilon of the table's budget, which is kept in a
file and never grows. --limit sets it with the first question.` + choose + q.further,
		RunE: func(c *cobra.Command, args []string) error {
			a, err := e.answer(c.Context(), args[0], &f, q)
			if err != nil {
				return err
			}
			return e.print(a, func(w io.Writer) { e.printAnswer(w, a) })
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
	required := []string{"epsilon"}
	if q.column != "" {
		fs.StringVar(&f.column, "column", "", "the column of "+q.column)
		required = append(required, "column")
	}
	if q.bounded {
		fs.Float64Var(&f.lower, "min", 0, "the least that a value can be; lower ones count as this")
		fs.Float64Var(&f.upper, "max", 0, "the most that a value can be; higher ones count as this")
		required = append(required, "min", "max")
	}
	if q.flags != nil {
		q.flags(&f, c)
	}
	for _, name := range required {
		c.MarkFlagRequired(name)
	}
	return c
}

func (e *Env) printAnswer(w io.Writer, a *answered) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, q := range a.Quantiles {
		fmt.Fprintf(t, "%v\t%.6g\n", q.Rank, q.Value)
	}
	for _, b := range a.Bins {
		fmt.Fprintf(t, "%s\t%.6g\t%.6g to %.6g\n", plain(b.Bin), b.Value, b.Low, b.High)
	}
	if a.one != nil {
		fmt.Fprintf(t, "%.6g\n", a.Value)
	}
	t.Flush()
	if e.Quiet {
		return
	}
	if a.one != nil {
		fmt.Fprintf(e.Err, "%.6g to %.6g with 95 %% confidence; ", a.Low, a.High)
	}
	fmt.Fprintf(e.Err, "epsilon %.4g spent, %.4g left\n", a.Epsilon, a.Left)
}

func (e *Env) answer(ctx context.Context, path string, f *privateFlags, q question) (*answered, error) {
	o, err := f.reading.options()
	if err != nil {
		return nil, err
	}
	if q.check != nil {
		if err := q.check(f); err != nil {
			return nil, err
		}
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
	a, err := q.ask(b, f, rows)
	if err != nil {
		return nil, privateFault(err)
	}
	left, err := b.Left()
	if err != nil {
		return nil, privateFault(err)
	}
	a.Epsilon, a.Left, a.Budget = f.query.Epsilon, left.Epsilon, f.budget
	return &a, nil
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
			return nil, publish.NoColumn(column, s)
		}
		if _, twice := want[c]; twice {
			return nil, fault.New(fault.Usage, "", "--where names column %s twice", quote.Name(column))
		}
		want[c] = value
	}
	for _, name := range []string{f.column, f.person} {
		if name != "" && !slices.Contains(names, name) {
			return nil, publish.NoColumn(name, s)
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
			if value >= 0 && len(f.bins) > 0 && len(f.edges) == 0 {
				row.Category = string(r.Cells[value])
			} else if value >= 0 {
				var err error
				if row.Value, err = number(r.Cells[value]); err != nil {
					return &tabular.RowError{Number: r.Number, Unit: s.Unit(), Err: fmt.Errorf("has in column %s %w", f.column, err)}
				}
				if len(f.edges) > 0 {
					row.Category = f.bin(row.Value)
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
