package cli

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// listFlag is a flag of columns or values, which may be repeated. The flags of lists that
// pflag has read the first line of what they are given and forget the others: a column that
// was to be dropped would be published.
type listFlag struct {
	flag string // with its dashes
	list *[]string
}

// listVar adds a flag that takes a list.
func listVar(c *cobra.Command, list *[]string, name, usage string) {
	c.Flags().Var(&listFlag{"--" + name, list}, name, usage)
}

// Set adds what one use of the flag names. An empty text names nothing.
func (l *listFlag) Set(text string) error {
	if text == "" {
		return nil
	}
	more, err := listOf(l.flag, text)
	if err != nil {
		return err
	}
	*l.list = append(*l.list, more...)
	return nil
}

// String is the list as the flag takes it; none is empty, so that the help shows no default.
func (l *listFlag) String() string {
	if l.list == nil {
		return ""
	}
	return csvLine(*l.list)
}

// Type is pflag's name for lists: the help shows it as strings, and shells complete the flag
// more than once.
func (l *listFlag) Type() string { return "stringSlice" }

// listOf reads a list that a flag was given: one line of CSV. A line break within quotes is
// part of a name, and empty lines are nothing.
func listOf(flag, text string) ([]string, error) {
	const hint = "write all of them in one line, with commas between them; what has a comma or a line break in it stands in double quotes"
	in := csv.NewReader(strings.NewReader(text))
	in.FieldsPerRecord = -1 // a second line is told as such, whatever is in it
	list, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Usage, hint, "%s names nothing", flag)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, hint, "%s is no line of CSV", flag)
	}
	if _, err := in.Read(); !errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Usage, hint, "%s takes one line, and was given more", flag)
	}
	return list, nil
}
