package cli

import (
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// operationFlags are what is done to cells before anything else.
type operationFlags struct{ redact, zip3, year, ages []string }

func (o *operationFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&o.redact, "redact", nil, "columns of free text: identifiers that have a pattern become [e-mail] and the like; names are not found")
	f.StringSliceVar(&o.zip3, "zip3", nil, "columns of US ZIP codes: the first three digits, or 000 where at most 20,000 people live")
	f.StringSliceVar(&o.year, "year", nil, "columns of dates: the year, and one text for all before those who are 89 were born")
	f.StringSliceVar(&o.ages, "ages-to-89", nil, "columns of ages: 90+ for all above 89")
}

// operations are publish's, by column.
func (o *operationFlags) operations(now time.Time) (map[string]publish.Operation, error) {
	year, err := operate.NewYear(now.Year() - operate.OldestAge)
	if err != nil {
		return nil, err
	}
	out := map[string]publish.Operation{}
	for _, f := range []struct {
		columns []string
		name    string
		op      operate.Operator
	}{
		{o.redact, "redacted by pattern", operate.Redact{}},
		{o.zip3, "first three digits of a ZIP code", operate.ZIP3{}},
		{o.year, "year only", year},
		{o.ages, "ages to 89", operate.AgesOf90()},
	} {
		for _, c := range f.columns {
			if other, twice := out[c]; twice {
				return nil, fault.New(fault.Usage, "give each column one part", "column %s is named twice: %s and %s", c, other.Name, f.name)
			}
			_, text := f.op.(operate.Redact)
			out[c] = publish.Operation{Name: f.name, Text: text, Rewrite: func(dst, cell []byte) ([]byte, error) {
				return f.op.Append(dst, operate.Cell{Value: cell})
			}}
		}
	}
	return out, nil
}
