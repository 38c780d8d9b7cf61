package publish

import (
	"context"

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
}

// Risk measures a table by its quasi-identifiers.
func Risk(ctx context.Context, path string, o tabular.Options, quasi []string) (*RiskOfTable, error) {
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
			return nil, noColumn(name, s)
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
	t, err := b.Build(nil)
	if err != nil {
		return nil, Told(err)
	}
	sizes := measure.SizesBefore(t)
	return &RiskOfTable{
		Rows: t.Rows(), Classes: t.Len(), Threshold: Threshold,
		Risk:  report.AttacksOf(measure.Before(t, Threshold), sizes),
		Sizes: report.SizesOf(sizes),
	}, nil
}
