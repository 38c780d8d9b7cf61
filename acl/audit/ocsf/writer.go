package ocsf

import (
	"encoding/csv"
	"fmt"
	"io"
)

// Form is how records are written.
type Form struct {
	Format string                 // words, json, csv or syslog
	Host   string                 // of syslog messages; may be empty
	Name   func(id string) string // for words: see [Record.Words]; may be nil
}

// Writer gives a function that writes records to w, each in one line; CSV has a line
// with the columns before them, which Writer writes.
func Writer(w io.Writer, f Form) (func(*Record) error, error) {
	line := func(b []byte, err error) error {
		if err == nil {
			_, err = w.Write(append(b, '\n'))
		}
		return err
	}
	switch f.Format {
	case "words":
		return func(r *Record) error { return line([]byte(r.Words(f.Name)), nil) }, nil
	case "json":
		return func(r *Record) error { return line(r.JSON()) }, nil
	case "syslog":
		return func(r *Record) error { return line(r.Syslog(f.Host)) }, nil
	case "csv":
		put := func(row []string) error {
			c := csv.NewWriter(w)
			if err := c.Write(row); err != nil {
				return err
			}
			c.Flush()
			return c.Error()
		}
		return func(r *Record) error { return put(r.Row()) }, put(Columns())
	}
	return nil, fmt.Errorf("it is words, json, csv or syslog, not %q", f.Format)
}
