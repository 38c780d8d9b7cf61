package publish

import (
	"context"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// countPopulation adds the people of whom the rows are a sample. Their table is read once:
// only their numbers get into the release.
func (r *run) countPopulation(ctx context.Context, b *table.Builder) error {
	if r.Population == "" {
		return nil
	}
	f, s, err := Open(r.Population, r.Reading)
	if err != nil {
		return ofPopulation(err)
	}
	defer f.Close()
	at := make([]int, len(r.Quasi))
	for i, name := range r.Quasi {
		if at[i], err = column(name, s); err != nil {
			return ofPopulation(err)
		}
	}
	person, rows := make([][]byte, len(at)), 0
	sum, err := r.each(ctx, s, r.stepsOf(s, r.isQuasi), func(row *tabular.Row) error {
		rows++
		for i, c := range at {
			person[i] = row.Cells[c]
		}
		return b.AddPopulation(person)
	})
	if err != nil {
		return ofPopulation(Told(err))
	}
	if rows == 0 {
		return fault.New(fault.Failed, "give it everybody of whom the table is a sample", "the population has nobody in it")
	}
	r.people = report.File{Name: filepath.Base(r.Population), Format: s.Format().String(), Encoding: s.Encoding().String(),
		Bytes: s.Size(), SHA256: hex.EncodeToString(sum[:]), Rows: rows, Columns: []string{}}
	for _, c := range s.Columns() {
		r.people.Columns = append(r.people.Columns, c.Name)
	}
	return nil
}

// ofPopulation says of which of two tables an error is.
func ofPopulation(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	f := fault.Of(err)
	sentence, ok := strings.CutPrefix(f.Message, "the table")
	if !ok {
		sentence = ": " + f.Message
	}
	return fault.New(f.Exit, f.Hint, "the population%s", sentence)
}

func (r *run) populationFile() *report.File {
	if r.Population == "" {
		return nil
	}
	return &r.people
}

// column finds a column by name.
func column(name string, s *tabular.Source) (int, error) {
	for i, c := range s.Columns() {
		if c.Name == name {
			return i, nil
		}
	}
	return 0, noColumn(name, s)
}
