package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/measure"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// write is the second pass: release and reports, beside their names, then under them.
func (r *run) write(ctx context.Context) (_ *report.Report, err error) {
	var outputs []*tabular.Output
	defer func() {
		for _, o := range outputs {
			if err != nil {
				o.Undo()
			}
			o.Discard()
		}
	}()
	create := func(path string) (*tabular.Output, error) {
		o, err := tabular.Create(path, r.Replace)
		if err != nil {
			return nil, noPlace(path, err)
		}
		outputs = append(outputs, o)
		return o, nil
	}
	out, err := create(r.Output)
	if err != nil {
		return nil, err
	}
	written := &counted{to: out, hash: sha256.New()}
	file, err := r.rows(ctx, written)
	if err != nil {
		return nil, err
	}
	rep := r.report(file)
	for _, path := range r.Reports {
		o, err := create(path)
		if err != nil {
			return nil, err
		}
		if err := rep.Write(o, report.KindOf(path)); err != nil {
			return nil, err
		}
	}
	for _, o := range outputs {
		if err := o.Flush(); err != nil {
			return nil, err
		}
	}
	for _, o := range outputs {
		if err := o.Commit(); err != nil {
			return nil, err
		}
	}
	return rep, nil
}

// noPlace says why an output cannot begin, without the name of its temporary file.
func noPlace(path string, err error) error {
	var at *fs.PathError
	switch {
	case errors.Is(err, tabular.ErrExists):
		return exists(path)
	case errors.As(err, &at):
		err = at.Err
	}
	return fault.Wrap(fault.Failed, err, "choose a folder that exists and that you may write to", "%s cannot be written", path)
}

// counted hashes what is written.
type counted struct {
	to   io.Writer
	hash hash.Hash
	n    int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// rows writes the rows that are released.
func (r *run) rows(ctx context.Context, to *counted) (report.File, error) {
	format := r.Writing
	if format == tabular.Automatic {
		format = tabular.FormatOf(r.Output)
	}
	if format == tabular.Automatic {
		format = r.source.Format()
	}
	columns, kept := r.kept()
	out, err := tabular.NewWriter(to, tabular.WriteOptions{Format: format, Comma: commaOf(r.Output, r.source), Columns: columns})
	if err != nil {
		return report.File{}, err
	}
	if r.Shuffle {
		s, err := tabular.Shuffle(out, filepath.Dir(r.Output), len(columns))
		if err != nil {
			return report.File{}, err
		}
		defer s.Discard()
		out = s
	}
	p := r.rewriting(kept)
	sum, err := r.each(ctx, r.source, r.stepsOf(r.source, everyColumn), func(row *tabular.Row) error {
		next, err := p.row(row)
		if next == nil || err != nil {
			return err
		}
		return out.Write(next)
	})
	if err == nil && sum != r.read {
		err = errChanged
	}
	if err != nil {
		return report.File{}, err
	}
	if err := out.Close(); err != nil {
		return report.File{}, err
	}
	f := report.File{Name: filepath.Base(r.Output), Format: format.String(), Encoding: tabular.UTF8.String(), Bytes: to.n,
		SHA256: hex.EncodeToString(to.hash.Sum(nil)), Rows: p.written}
	for _, c := range columns {
		f.Columns = append(f.Columns, c.Name)
	}
	return f, nil
}

var errChanged = fault.New(fault.Failed, "begin again when nobody writes to it", "the table changed while it was read")

// commaOf is what separates cells of an output: tabs by its name, or what the input has.
func commaOf(output string, s *tabular.Source) byte {
	if strings.HasSuffix(strings.ToLower(output), ".tsv") {
		return '\t'
	}
	return s.Comma()
}

// kept is the columns of the release and where they are in the table. What is made of
// a quasi-identifier, and a pseudonym, is text whatever the column was.
func (r *run) kept() (columns []tabular.Column, kept []int) {
	for i, c := range r.source.Columns() {
		if slices.Contains(r.Drop, c.Name) {
			continue
		}
		if _, operated := r.steps[c.Name]; operated || slices.Contains(r.Quasi, c.Name) || r.Rewrite[c.Name] != nil {
			c.Type = tabular.TextType
		}
		columns, kept = append(columns, c), append(kept, i)
	}
	return columns, kept
}

// rewriter makes a row of the release of a row of the table.
type rewriter struct {
	run     *run
	kept    []int
	quasi   map[int]int // of a column of the table: the number of the quasi-identifier
	rewrite map[int]Rewrite
	labels  [][][]byte // of each quasi-identifier, of each number of a label
	out     tabular.Row
	find    [][]byte
	room    []byte
	written int
}

func (r *run) rewriting(kept []int) *rewriter {
	p := &rewriter{run: r, kept: kept, quasi: map[int]int{}, rewrite: map[int]Rewrite{}, find: make([][]byte, len(r.quasi))}
	for q, c := range r.quasi {
		p.quasi[c] = q
		var texts [][]byte
		for _, l := range r.release.Partition.Labels(q) {
			texts = append(texts, []byte(l.Text))
		}
		p.labels = append(p.labels, texts)
	}
	for name, f := range r.Rewrite {
		p.rewrite[r.at[name]] = f
	}
	p.out.Cells = make([][]byte, len(kept))
	return p
}

// row returns nil for a row that is suppressed.
func (p *rewriter) row(row *tabular.Row) (*tabular.Row, error) {
	for q, c := range p.run.quasi {
		p.find[q] = row.Cells[c]
	}
	i, ok := p.run.table.Find(p.find)
	if !ok {
		return nil, errChanged
	}
	release := p.run.release.Partition
	class := release.Class[i]
	if class == partition.Suppressed {
		return nil, nil
	}
	if p.out.Kinds = p.out.Kinds[:0]; row.Kinds == nil {
		p.out.Kinds = nil
	}
	p.room = p.room[:0]
	for o, c := range p.kept {
		cell, kind := row.Cells[c], tabular.Text
		if row.Kinds != nil {
			kind = row.Kinds[c]
		}
		if q, ok := p.quasi[c]; ok {
			cell, kind = p.labels[q][release.Number(class, q)], tabular.Text
		} else if f := p.rewrite[c]; f != nil {
			begin := len(p.room)
			var err error
			if p.room, err = f(p.room, cell); err != nil {
				return nil, fmt.Errorf("column %s: %w", quote.Name(p.run.source.Columns()[c].Name), err)
			}
			cell, kind = p.room[begin:len(p.room):len(p.room)], tabular.Text
		}
		if len(cell) == 0 && kind != tabular.Text || len(cell) == 0 && p.isQuasi(c) {
			kind = tabular.Missing
		}
		p.out.Cells[o] = cell
		if row.Kinds != nil {
			p.out.Kinds = append(p.out.Kinds, kind)
		}
	}
	p.written++
	return &p.out, nil
}

func (p *rewriter) isQuasi(c int) bool { _, ok := p.quasi[c]; return ok }

// report measures the release.
func (r *run) report(output report.File) *report.Report {
	p := r.release.Partition
	before, after := measure.SizesBefore(r.table), measure.SizesOf(p)
	k := 0
	for _, m := range r.release.Plan.Models {
		if size, ok := m.(guarantee.K); ok {
			k = int(size)
		}
	}
	rep := &report.Report{
		Format: report.Format, Version: r.Version, Created: r.Now().UTC(), Guarantee: r.release.Guarantee,
		Input: report.File{Name: filepath.Base(r.Input), Format: r.source.Format().String(), Encoding: r.source.Encoding().String(),
			Bytes: r.source.Size(), SHA256: hex.EncodeToString(r.read[:]), Rows: r.table.Rows()},
		Output:      output,
		Population:  r.populationFile(),
		Hierarchies: r.complete(),
		Search:      report.Search{Finished: r.release.Finished, Checked: r.release.Checked, Seconds: r.took.Seconds()},
		Risk: report.Risk{Threshold: Threshold, Before: report.AttacksOf(measure.Before(r.table, Threshold), before),
			After: report.AttacksOf(measure.After(p, Threshold), after)},
		Utility: report.UtilityOf(measure.UtilityOf(p), k),
		Classes: report.Classes{Before: report.SizesOf(before), After: report.SizesOf(after)},
		Parameters: report.Parameters{Quasi: r.Quasi, Sensitive: list(r.Sensitive), Dropped: list(r.Drop), Pseudonyms: list(keys(r.Rewrite)),
			Operations: []report.Operation{}, Unchanged: []string{}, Method: r.Method.String(), SuppressLimit: r.Suppress, Budget: r.Budget.Seconds(), Shuffled: r.Shuffle, Missing: list(r.Reading.Missing)},
	}
	for _, c := range r.source.Columns() {
		rep.Input.Columns = append(rep.Input.Columns, c.Name)
		n := c.Name
		if _, operated := r.steps[n]; !operated && !slices.Contains(r.Quasi, n) && !slices.Contains(r.Sensitive, n) && !slices.Contains(r.Drop, n) && r.Rewrite[n] == nil {
			rep.Parameters.Unchanged = append(rep.Parameters.Unchanged, n)
		}
	}
	for _, m := range r.Models {
		rep.Parameters.Models = append(rep.Parameters.Models, m.String())
	}
	for _, name := range keys(r.steps) {
		step := r.steps[name]
		_, text := step.Operator.(operate.Redact)
		_, byRow := step.Operator.(operate.Rewinder)
		rep.Parameters.Operations = append(rep.Parameters.Operations, report.Operation{Column: name, Name: step.Name, Text: text, Leaves: step.Leaves,
			Parts: byRow || step.Subject != ""})
	}
	rep.Explain(r.Models)
	return rep
}

// list is never nil, so that it is a list in JSON too.
func list(names []string) []string { return append([]string{}, names...) }
