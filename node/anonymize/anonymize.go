// Package anonymize turns a table of people into a release with a stated guarantee.
//
// Rows go into a [table.Builder], which makes a [table.Table]; a [Plan] says how it is
// to be published and makes a [Release] of it, whose partition has the labels of each
// combination of quasi-identifiers:
//
//	b, err := table.NewBuilder([]string{"age", "zip"}, []string{"diagnosis"})
//	for each row of the file {
//		err = b.Add(quasi, sensitive)
//	}
//	t, err := b.Build(map[string]*hierarchy.Hierarchy{"zip": zip})
//	plan := anonymize.Plan{
//		Models: []guarantee.Model{guarantee.K(5), guarantee.Distinct{Column: "diagnosis", L: 3}},
//		Suppress: 0.02,
//	}
//	release, err := plan.Run(ctx, t)
//	for each row of the file, again {
//		i, ok := t.Find(quasi)
//		text, published := release.Partition.Text(nil, i)
//	}
//
// What a guarantee does not cover: columns that are not named as quasi-identifiers are
// published as they are; two releases of one table may tell together what neither tells
// alone; and k-anonymity says nothing about what rows of a class have in common, for
// which there are the models over sensitive columns.
package anonymize

import (
	"context"
	"fmt"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/lattice"
	"cerebrum.dev/cerebrum/node/anonymize/mondrian"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Method is how a table is coarsened.
type Method int

const (
	// Columns coarsens each column to one level of its hierarchy, the best there is.
	Columns Method = iota
	// Rows coarsens different rows to different levels, which keeps far more.
	Rows
	// Boxes publishes ranges and sets instead of groups of a hierarchy, which keeps most
	// and is fastest. It suppresses nothing.
	Boxes
)

var methods = map[Method]string{Columns: "columns", Rows: "rows", Boxes: "boxes"}

func (m Method) String() string {
	if name, ok := methods[m]; ok {
		return name
	}
	return fmt.Sprintf("method %d", int(m))
}

// Plan is how a table is to be published. Its zero value lacks only models.
type Plan struct {
	Method Method
	// Models all hold of the release.
	Models []guarantee.Model
	// Suppress is the largest share of rows that may be left out, from 0 to 1.
	Suppress float64
	// Workers is how many goroutines search; 0 is one.
	Workers int
}

// Release is a table's partition, and how it came about.
type Release struct {
	Partition *partition.Partition
	Plan      Plan
	// Guarantee is the models in words.
	Guarantee string
	// Levels is the level of each quasi-identifier where columns are coarsened.
	Levels []int
	// Finished says that the search came to its end before its time: what it publishes
	// with [Columns] is the best there is.
	Finished bool
	// Checked is how many nodes of the lattice were looked at.
	Checked int
}

// Run makes the release. When ctx ends, the best release until then is returned with
// Finished false, and an error only if there is none. A table of which nothing can be
// published gives a [*guarantee.NothingError].
func (p Plan) Run(ctx context.Context, t *table.Table) (*Release, error) {
	if !(0 <= p.Suppress && p.Suppress <= 1) {
		return nil, fmt.Errorf("the share of rows that may be suppressed is %v and has to be between 0 and 1", p.Suppress)
	}
	req, err := guarantee.Bind(t, p.Models...)
	if err != nil {
		return nil, err
	}
	r := &Release{Plan: p, Guarantee: req.String()}
	limits := lattice.Limits{Suppressed: int(p.Suppress*float64(t.Rows()) + 1e-9), Workers: p.Workers}
	switch p.Method {
	case Columns:
		return r.searched(lattice.Optimum(ctx, t, req, limits))
	case Rows:
		return r.searched(lattice.Local(ctx, t, req, limits))
	case Boxes:
		r.Partition, r.Finished, err = mondrian.Partition(ctx, t, req)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	return nil, fmt.Errorf("there is no %s: the methods are columns, rows and boxes", p.Method)
}

func (r *Release) searched(f *lattice.Found, err error) (*Release, error) {
	if err != nil {
		return nil, err
	}
	r.Partition, r.Finished, r.Checked = f.Partition, f.Finished, f.Checked
	for _, lv := range f.Node {
		r.Levels = append(r.Levels, int(lv))
	}
	return r, nil
}
