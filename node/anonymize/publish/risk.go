package publish

import (
	"context"
	"crypto/sha256"

	"cerebrum.dev/cerebrum/node/anonymize/measure"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// RiskOfTable is how easily people are found in a table as it is.
type RiskOfTable struct {
	Rows      int            `json:"rows"`
	Classes   int            `json:"classes"`
	Threshold float64        `json:"threshold"`
	Risk      report.Attacks `json:"risk"`
	Sizes     []report.Size  `json:"sizes"`
	// Population is how many people journalists and marketers look among, 0 for the rows.
	Population int `json:"population,omitempty"`
}

// Risk measures a table by its quasi-identifiers. The population is a table of everybody of
// whom the rows are a sample, or empty if they are everybody.
func Risk(ctx context.Context, path string, o tabular.Options, quasi []string, population string) (*RiskOfTable, error) {
	f, s, err := Open(path, o)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	at := map[string]int{}
	for i, c := range s.Columns() {
		at[c.Name] = i
	}
	columns := make([]int, len(quasi))
	for i, name := range quasi {
		c, ok := at[name]
		if !ok {
			return nil, NoColumn(name, s)
		}
		columns[i] = c
	}
	b, err := table.NewBuilder(quasi, nil)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "the table")
	}
	row := make([][]byte, len(columns))
	if _, err := s.Each(ctx, func(r *tabular.Row) error {
		for i, c := range columns {
			row[i] = r.Cells[c]
		}
		return b.Add(row, nil)
	}); err != nil {
		return nil, Told(err)
	}
	people := 0
	if population != "" {
		f, err := populate(ctx, b, population, o, quasi, func(ctx context.Context, s *tabular.Source, visit func(*tabular.Row) error) ([sha256.Size]byte, error) {
			return s.Each(ctx, visit)
		})
		if err != nil {
			return nil, err
		}
		people = f.Rows
	}
	t, err := b.Build(nil)
	if err != nil {
		return nil, Told(err)
	}
	sizes := measure.SizesBefore(t)
	classes := 0 // with rows: the population has others
	for _, size := range sizes {
		classes += size.Classes
	}
	return &RiskOfTable{
		Rows: t.Rows(), Classes: classes, Threshold: Threshold,
		Risk:  report.AttacksOf(measure.Before(t, Threshold), sizes),
		Sizes: report.SizesOf(sizes), Population: people,
	}, nil
}
