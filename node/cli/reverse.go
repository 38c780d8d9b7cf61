package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// reverseFlags are what is to be undone.
type reverseFlags struct {
	job     publish.Reversal
	reading readingFlags
	key     keyFlags
	apply   []string
}

// reversed is the result of the command.
type reversed struct {
	Output  string   `json:"output"`
	Rows    int      `json:"rows"`
	Columns []string `json:"columns"`
	// Unchecked are those in which a wrong key goes unnoticed.
	Unchecked []string `json:"unchecked"`
}

func anonymizeReverse(e *Env) *cobra.Command {
	var f reverseFlags
	c := &cobra.Command{
		Use: "reverse IN -o OUT --apply COLUMN=OPERATOR --key-file F --dataset D", Short: "Give back what a key can undo", Args: cobra.ExactArgs(1),
		Long: `Give back the values of a release that reversible and ff1 replaced, with the key, the
dataset and the operators with which it was made: the report names them. A pseudonym
that was not made with this key is refused; ff1 has no such check, and another key
gives other values.`,
		Example: `  cerebrum anonymize reverse release.csv -o patients.csv --apply patient=reversible \
      --apply card=ff1:digits --key-file key --dataset trial`,
		RunE: func(c *cobra.Command, args []string) error {
			f.job.Input = args[0]
			return e.reverse(c.Context(), &f)
		},
	}
	fs := c.Flags()
	outputFlag(c, &f.job.Output, "output", "o", "the table with the values")
	fs.StringArrayVar(&f.apply, "apply", nil, "COLUMNS=OPERATOR, as when the release was made")
	fs.BoolVar(&f.job.Replace, "force", false, "replace an existing file")
	f.reading.add(c)
	f.key.add(c)
	for _, name := range []string{"output", "apply", "key-file", "dataset"} {
		c.MarkFlagRequired(name)
	}
	return c
}

func (e *Env) reverse(ctx context.Context, f *reverseFlags) (err error) {
	if f.job.Reading, err = f.reading.options(); err != nil {
		return err
	}
	undo := operationFlags{apply: f.apply}
	if wanted, _, err := undo.keyed(); err != nil {
		return err
	} else if !wanted {
		return fault.New(fault.Usage, "only reversible and ff1 can be undone", "nobody can undo %s", strings.Join(f.apply, ", "))
	}
	key, dataset, err := f.key.keyOf(f.job.Input, true, true)
	if err != nil {
		return err
	}
	if f.job.Steps, err = undo.steps(key, dataset, e.Now()); err != nil {
		return err
	}
	r := reversed{Output: f.job.Output, Columns: []string{}, Unchecked: []string{}}
	for _, step := range f.job.Steps {
		r.Columns = append(r.Columns, step.Column)
		if _, ff1 := step.Operator.(*operate.Format); ff1 {
			r.Unchecked = append(r.Unchecked, step.Column)
		}
	}
	if r.Rows, err = f.job.Run(ctx); err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) {
		fmt.Fprintln(w, plain(r.Output))
		if e.Quiet {
			return
		}
		fmt.Fprintf(e.Err, "%s the values of %s again\n", counted(r.Rows, "row has", "rows have"), plain(strings.Join(r.Columns, ", ")))
		if len(r.Unchecked) > 0 {
			fmt.Fprintf(e.Err, "note: %s: nothing tells whether the key is the right one\n", plain(strings.Join(r.Unchecked, ", ")))
		}
	})
}
