package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// eachOf shows the rows of a table that may have been operated on.
type eachOf func(context.Context, *tabular.Source, func(*tabular.Row) error) ([sha256.Size]byte, error)

// countPopulation adds the people of whom the rows are a sample. Their table is read once:
// only their numbers get into the release.
func (r *run) countPopulation(ctx context.Context, b *table.Builder) (err error) {
	if r.Population == "" {
		return nil
	}
	r.people, err = populate(ctx, b, r.Population, r.Reading, r.Quasi, func(ctx context.Context, s *tabular.Source, visit func(*tabular.Row) error) ([sha256.Size]byte, error) {
		return r.each(ctx, s, r.stepsOf(s, r.isQuasi), visit)
	})
	return err
}

// populate adds the people of a table to what is counted, by their quasi-identifiers.
func populate(ctx context.Context, b *table.Builder, path string, o tabular.Options, quasi []string, each eachOf) (people report.File, err error) {
	f, s, err := Open(path, o)
	if err != nil {
		return people, ofPopulation(err)
	}
	defer f.Close()
	at := make([]int, len(quasi))
	for i, name := range quasi {
		if at[i], err = column(name, s); err != nil {
			return people, ofPopulation(err)
		}
	}
	person, rows := make([][]byte, len(at)), 0
	sum, err := each(ctx, s, func(row *tabular.Row) error {
		rows++
		for i, c := range at {
			person[i] = row.Cells[c]
		}
		return b.AddPopulation(person)
	})
	if err != nil {
		return people, ofPopulation(Told(err))
	}
	if rows == 0 {
		return people, fault.New(fault.Failed, "give it everybody of whom the table is a sample", "the population has nobody in it")
	}
	people = report.File{Name: filepath.Base(path), Format: s.Format().String(), Encoding: s.Encoding().String(),
		Bytes: s.Size(), SHA256: hex.EncodeToString(sum[:]), Rows: rows, Columns: []string{}}
	for _, c := range s.Columns() {
		people.Columns = append(people.Columns, c.Name)
	}
	return people, nil
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
	return 0, NoColumn(name, s)
}
