package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// operationFlags are what is done to cells before anything else.
type operationFlags struct{ apply, redact, zip3, year, ages []string }

func (o *operationFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&o.apply, "apply", nil, "COLUMNS=OPERATOR:ARGS, done to cells before anything else; see above for the operators")
	listVar(c, &o.redact, "redact", "columns of free text: identifiers that have a pattern become [e-mail] and the like; names are not found")
	listVar(c, &o.zip3, "zip3", "columns of US ZIP codes: the first three digits, or 000 where at most 20,000 people live")
	listVar(c, &o.year, "year", "columns of dates: the year, and one text for all before those who are 89 were born")
	listVar(c, &o.ages, "ages-to-89", "columns of ages: 90+ for all above 89")
}

// operation is what one flag asks for.
type operation struct {
	columns    []string
	text, name string // the operator, and what a report calls it if not that
}

// all are those of --apply, and those for which it has shorter forms.
func (o *operationFlags) all() (all []operation, err error) {
	for _, short := range []operation{
		{o.redact, "redact", "redacted by pattern"},
		{o.zip3, "zip3", "first three digits of a ZIP code"},
		{o.year, "year", "year only"},
		{o.ages, "ages-to-89", "ages to 89"},
	} {
		if len(short.columns) > 0 {
			all = append(all, short)
		}
	}
	for _, text := range o.apply {
		names, operator, ok := strings.Cut(text, "=")
		if !ok || names == "" || operator == "" {
			return nil, fault.New(fault.Usage, "such as age=bucket:10, or income,rent=microaggregate:5", "--apply is COLUMNS=OPERATOR:ARGS, not %.80q", text)
		}
		columns, err := listOf("--apply", names)
		if err != nil {
			return nil, err
		}
		all = append(all, operation{columns: columns, text: operator})
	}
	return all, nil
}

// keyed says whether an operator uses a key, and whether one has to be kept in a file.
func (o *operationFlags) keyed() (key, kept bool, err error) {
	all, err := o.all()
	if err != nil {
		return false, false, err
	}
	for _, op := range all {
		f, err := operate.FormOf(op.text)
		if err != nil {
			return false, false, applyFault(err)
		}
		key, kept = key || f.Key, kept || f.Kept
	}
	return key, kept, nil
}

func applyFault(err error) error {
	return fault.Wrap(fault.Usage, err, "see `cerebrum anonymize --help` for the operators", "--apply")
}

// steps are what is done, in the words of package operate.
func (o *operationFlags) steps(key operate.Key, dataset string, now time.Time) (steps []operate.Step, err error) {
	all, err := o.all()
	if err != nil {
		return nil, err
	}
	for _, op := range all {
		more, err := operate.Parse(op.text, op.columns, operate.Setting{Key: key, Dataset: dataset, Now: now})
		if err != nil {
			return nil, applyFault(err)
		}
		form, err := operate.FormOf(op.text)
		if err != nil {
			return nil, applyFault(err)
		}
		for i := range more {
			switch {
			case op.name != "":
				more[i].Name = op.name
			case form.Key: // what somebody needs beside the key, for more of them or to undo it
				more[i].Name += ", dataset " + dataset
			}
		}
		steps = append(steps, more...)
	}
	return steps, nil
}

// operatorTable is the operators, for people.
func operatorTable() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range operate.Forms() {
		fmt.Fprintf(t, "  %s%s\t%s\n", f.Name, f.Args, f.Does)
	}
	t.Flush()
	return b.String()
}
