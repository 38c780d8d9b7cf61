package publish

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// hints are the next steps for what can be wrong with a table.
var hints = []struct {
	is   error
	hint string
}{
	{tabular.ErrRagged, "correct the line, or name the delimiter with --delimiter"},
	{tabular.ErrTooLong, "check that the file is a table, and that every quote is closed"},
	{tabular.ErrEncoding, "name the file's encoding with --encoding, such as windows-1252, or correct the line"},
	{tabular.ErrQuote, "close the quote, and write quotes within quotes twice"},
	{tabular.ErrNested, "make a column of each value that is within: a table is flat"},
	{tabular.ErrArray, "write one object on each line: `jq -c '.[]' FILE`"},
	{tabular.ErrEmpty, "give it a header and rows"},
	{tabular.ErrExists, "choose another name, or replace it with --force"},
	{table.ErrEmpty, "give it rows below the header"},
	{syscall.ENOSPC, "make room; nothing was written"},
	{syscall.EFBIG, "choose a place for larger files; nothing was written"},
}

// Told makes a fault of what reading, counting or writing a table ended with.
func Told(err error) error {
	var known *fault.Error
	var missing *table.MissingValueError
	var people *table.PopulationError
	var path *fs.PathError
	switch {
	case err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &missing):
		return fault.New(fault.Failed, "add it to the hierarchy's file", "%s", missing.Error())
	case errors.As(err, &people):
		return fault.New(fault.Failed, "add everybody who has a row, with the same texts in the quasi-identifiers", "%s", people.Error())
	}
	for _, h := range hints {
		if errors.Is(err, h.is) {
			if errors.As(err, &path) { // without the name of a temporary file
				return fault.New(fault.Failed, h.hint, "the release cannot be written: %v", path.Err)
			}
			if h.is == table.ErrEmpty { // is about the table already
				return fault.New(fault.Failed, h.hint, "%s", h.is)
			}
			return fault.Wrap(fault.Failed, err, h.hint, "the table")
		}
	}
	return fault.Wrap(fault.Failed, err, "", "the table")
}
