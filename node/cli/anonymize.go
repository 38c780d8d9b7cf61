package cli

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// readingFlags are how a table's file is to be read where that is not recognised.
type readingFlags struct {
	delimiter, encoding string
	missing             []string
}

func (r *readingFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.delimiter, "delimiter", "", "what separates the cells of CSV, if it is not recognised; tab for tabs")
	f.StringVar(&r.encoding, "encoding", "", "utf-8, utf-16le, utf-16be or windows-1252, if it is not recognised")
	f.StringArrayVar(&r.missing, "missing", nil, "a text that means a missing value, such as ? or NA")
}

func (r *readingFlags) options() (o tabular.Options, err error) {
	o.Missing = r.missing
	switch d := r.delimiter; {
	case d == "tab" || d == `\t`:
		o.Comma = '\t'
	case len(d) == 1 && d != `"` && d[0] >= ' ' && d[0] < 0x7f || d == "\t":
		o.Comma = d[0]
	case d != "":
		return o, fault.New(fault.Usage, "such as ; or tab", "--delimiter is one character")
	}
	if o.Encoding, err = tabular.EncodingNamed(r.encoding); err != nil {
		return o, fault.Wrap(fault.Usage, err, "", "--encoding")
	}
	return o, nil
}

// anonymizeFlags are what becomes of a job.
type anonymizeFlags struct {
	job         publish.Job
	reading     readingFlags
	promise     modelFlags
	method      string
	hierarchies []string
	hash        []string
	key         keyFlags
	beforehand  operationFlags
	share       shareFlags
}

func anonymizeCommand(e *Env) *cobra.Command {
	var a anonymizeFlags
	c := &cobra.Command{
		Use: "anonymize IN -o OUT --quasi A,B,C", Short: "Make a release with a stated guarantee of a table of people", Args: cobra.ExactArgs(1),
		Long: `Publish a table so that nobody in it can be told apart from at least k-1 others by
what is known of people anyway: the quasi-identifiers, such as age, place and
profession. Their values are coarsened no further than that takes. Rows for which
nothing else helps are left out, up to --suppress-limit.

IN is CSV (any delimiter; UTF-8, UTF-16 or Windows-1252), JSON lines or Parquet. OUT
is of the same form, unless its name ends in .csv, .tsv, .jsonl or .parquet.

A --hierarchy says how the values of a column may be coarsened: a file with a line for
each value and its groups, from the finest to the coarsest, separated by ";", or one
of flat, prefix, dates and intervals:BASE,WIDTH,WIDTH. Without one it is made of the
values.

Further guarantees hold together with --k: --model recursive-l=3,2 of each sensitive
column, or --model recursive-l=3,2@diagnosis of one; k-map and delta-presence are about
the people of --population, everybody who has a row included. t-closeness takes equal,
ordered or hierarchical as its DISTANCE. The report says what each leaves open.

Methods: columns coarsens each column to one level, the best there is; rows coarsens
different rows differently, which keeps far more; boxes publishes ranges and sets,
which keeps most and is fastest, and suppresses nothing.

What --apply does is done first, to quasi-identifiers as well, so that the guarantee is
about what is published. Operators, for COLUMN=OPERATOR, or COLUMN,COLUMN=OPERATOR:

` + operatorTable() + `
None of them is a guarantee by itself; the report says what each leaves open.

It needs neither a home nor a network, except for --share.`,
		Example: `  cerebrum anonymize patients.csv -o release.csv --quasi age,zip,sex --sensitive diagnosis \
      --drop name --k 5 --l 3 --report report.html
  cerebrum anonymize visits.csv -o release.csv --quasi age,zip --k 5 --key-file key \
      --apply age=bucket:10 --apply admitted,discharged=shift:30,patient --apply patient=reversible`,
		RunE: func(c *cobra.Command, args []string) error {
			a.job.Input = args[0]
			return e.anonymize(c.Context(), &a)
		},
	}
	f := c.Flags()
	outputFlag(c, &a.job.Output, "output", "o", "the release")
	listVar(c, &a.job.Quasi, "quasi", "columns that others may know of a person")
	listVar(c, &a.job.Sensitive, "sensitive", "columns that must not be learned of a person")
	a.promise.add(c)
	f.StringArrayVar(&a.hierarchies, "hierarchy", nil, "COLUMN=FILE, or a rule instead of a file")
	listVar(c, &a.job.Drop, "drop", "columns to leave out")
	listVar(c, &a.hash, "hash", "columns to replace by pseudonyms")
	f.StringArrayVar(&a.job.Reports, "report", nil, "write a report: R.json or R.html")
	f.Float64Var(&a.job.Suppress, "suppress-limit", 0.02, "share of rows that may be left out, from 0 to 1")
	f.StringVar(&a.method, "method", "columns", "columns, rows or boxes")
	f.DurationVar(&a.job.Budget, "budget", 0, "time for the search, such as 30s; then the best release so far counts")
	f.BoolVar(&a.job.Shuffle, "shuffle", false, "put the rows into a random order")
	f.BoolVar(&a.job.Replace, "force", false, "replace existing files")
	a.reading.add(c)
	a.key.add(c)
	a.beforehand.add(c)
	a.share.add(c)
	for _, name := range []string{"output", "quasi"} {
		c.MarkFlagRequired(name)
	}
	c.AddCommand(anonymizeInspect(e), anonymizeRisk(e), anonymizeReverse(e), anonymizeCount(e), anonymizeSum(e), anonymizeMean(e), anonymizeQuantiles(e), anonymizeHistogram(e))
	return c
}

func (e *Env) anonymize(ctx context.Context, a *anonymizeFlags) error {
	if err := a.complete(e.Now()); err != nil {
		return err
	}
	a.job.Now, a.job.Version = e.Now, version()
	if err := a.share.check(); err != nil {
		return err
	}
	r, err := a.job.Run(ctx)
	if err != nil {
		return err
	}
	result := released{Output: a.job.Output, Reports: a.job.Reports, Report: r}
	if a.share.on {
		if result.Shared, err = e.share(ctx, a, r); err != nil {
			return err
		}
	}
	return e.print(result, func(w io.Writer) { e.printReleased(w, result) })
}

// version of the program, as far as its build knows.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}

// complete makes the job of the flags.
func (a *anonymizeFlags) complete(now time.Time) (err error) {
	if a.job.Reading, err = a.reading.options(); err != nil {
		return err
	}
	if a.job.Hierarchies, err = hierarchyFlags(a.hierarchies); err != nil {
		return err
	}
	switch {
	case !(a.job.Suppress >= 0 && a.job.Suppress <= 1):
		return fault.New(fault.Usage, "0.02 is two rows of a hundred", "--suppress-limit is a share between 0 and 1")
	case a.job.Budget < 0:
		return fault.New(fault.Usage, "", "--budget is a time, such as 30s")
	}
	if err := a.operations(now); err != nil {
		return err
	}
	if a.job.Method, err = method(a.method); err != nil {
		return err
	}
	a.job.Population = a.promise.population
	a.job.Models, err = a.promise.models(a.job.Sensitive)
	return err
}

// operations are what is done to cells, before the search and after it.
func (a *anonymizeFlags) operations(now time.Time) error {
	wanted, kept, err := a.beforehand.keyed()
	if err != nil {
		return err
	}
	key, dataset, err := a.key.keyOf(a.job.Input, wanted || len(a.hash) > 0, kept)
	if err != nil {
		return err
	}
	if a.job.Rewrite, err = pseudonyms(a.hash, key, dataset); err != nil {
		return err
	}
	a.job.Beforehand, err = a.beforehand.steps(key, dataset, now)
	return err
}

func method(name string) (anonymize.Method, error) {
	for _, m := range []anonymize.Method{anonymize.Columns, anonymize.Rows, anonymize.Boxes} {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, fault.New(fault.Usage, "the methods are columns, rows and boxes", "there is no method %q", name)
}

func hierarchyFlags(in []string) (map[string]string, error) {
	out := map[string]string{}
	for _, h := range in {
		column, file, ok := strings.Cut(h, "=")
		if !ok || column == "" || file == "" {
			return nil, fault.New(fault.Usage, "", "a hierarchy is COLUMN=FILE, not %.80q", h)
		}
		if _, twice := out[column]; twice {
			return nil, fault.New(fault.Usage, "", "column %s has two hierarchies", quote.Name(column))
		}
		out[column] = file
	}
	return out, nil
}

// released is the result of the command.
type released struct {
	Output  string         `json:"output"`
	Reports []string       `json:"reports,omitempty"`
	Shared  *shared        `json:"shared,omitempty"`
	Report  *report.Report `json:"report"`
}

func (e *Env) printReleased(w io.Writer, r released) {
	u := r.Report.Utility
	fmt.Fprintf(w, "%s\n", plain(r.Output))
	if r.Shared != nil {
		fmt.Fprintln(w, r.Shared.Address)
		if !e.Quiet {
			fmt.Fprintf(e.Err, "shared, and its report as %s\n", r.Shared.Report)
		}
	}
	if e.Quiet {
		return
	}
	fmt.Fprintf(e.Err, "%s: %s of %s rows in %s classes, %.0f %% of the detail left\n", r.Report.Guarantee,
		humanize.Comma(int64(r.Report.Output.Rows)), humanize.Comma(int64(u.Rows)), humanize.Comma(int64(u.Classes)), 100*(1-u.GCP))
	risk := r.Report.Risk
	fmt.Fprintf(e.Err, "highest chance to be found %.2g (%.2g before), average %.2g (%.2g before)\n",
		risk.After.Prosecutor.Highest, risk.Before.Prosecutor.Highest, risk.After.Prosecutor.Average, risk.Before.Prosecutor.Average)
	for _, warning := range r.Report.Warnings {
		fmt.Fprintf(e.Err, "note: %s\n", plain(warning))
	}
}

func anonymizeRisk(e *Env) *cobra.Command {
	var quasi []string
	var population string
	var reading readingFlags
	c := &cobra.Command{
		Use: "risk FILE --quasi A,B,C", Short: "How easily people are found in a table as it is", Args: cobra.ExactArgs(1),
		Long: `Measure the risk of a table as it is, or of a release, if somebody knows the
quasi-identifiers of people: of a prosecutor, who knows that a person has a row; of a
journalist, who wants to find anybody; of a marketer, who guesses everybody. The latter
two look among the people of --population, or among the rows.`,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := reading.options()
			if err != nil {
				return err
			}
			r, err := publish.Risk(c.Context(), args[0], o, quasi, population)
			if err != nil {
				return err
			}
			return e.print(r, func(w io.Writer) { printRisk(w, r) })
		},
	}
	listVar(c, &quasi, "quasi", "columns that others may know of a person")
	c.Flags().StringVar(&population, "population", "", "the people of whom the table is a sample: a table with the same quasi-identifiers")
	reading.add(c)
	c.MarkFlagRequired("quasi")
	return c
}

func printRisk(w io.Writer, r *publish.RiskOfTable) {
	fmt.Fprintf(w, "%s rows, %s of them alone, in %s classes of %d and more\n", humanize.Comma(int64(r.Rows)), humanize.Comma(int64(r.Risk.Unique)),
		humanize.Comma(int64(r.Classes)), r.Risk.Prosecutor.Smallest)
	fmt.Fprintf(w, "prosecutor  highest %.3g, average %.3g; %.3g of the rows above %.3g\n", r.Risk.Prosecutor.Highest, r.Risk.Prosecutor.Average, r.Risk.Prosecutor.AtRisk, r.Threshold)
	among := ""
	if r.Population > 0 {
		among = ", among " + humanize.Comma(int64(r.Population)) + " people"
	}
	fmt.Fprintf(w, "journalist  highest %.3g, average %.3g%s\n", r.Risk.Journalist.Highest, r.Risk.Journalist.Average, among)
	fmt.Fprintf(w, "marketer    %.3g%s\n", r.Risk.Marketer, among)
}
