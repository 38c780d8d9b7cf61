// Package publish makes a release of a file: it reads a table twice, finds the best
// release that keeps a guarantee, and writes it with its report.
//
//	report, err := publish.Job{
//		Input: "patients.csv", Output: "release.csv",
//		Quasi: []string{"age", "zip"}, Sensitive: []string{"diagnosis"},
//		Models: []guarantee.Model{guarantee.K(5), guarantee.Distinct{Column: "diagnosis", L: 3}},
//		Reports: []string{"report.html"},
//	}.Run(ctx)
//
// The first pass counts distinct combinations of quasi-identifiers, the second replaces
// them; memory grows with the combinations and not with the file. Steps beforehand that
// have to see the whole table look at it once more before that, and keep the numbers that
// they microaggregate, of [operate.MaxRows] rows at most. All passes hash the file, and a
// file that changed between them is refused.
//
// Rows that a release suppresses are left out. The release and its reports appear under
// their names together, when all of them are on the disk, or not at all.
//
// Errors are faults (package fault): a sentence, a next step, an exit code. The only
// value of a cell that one of them has is the one that a given hierarchy lacks.
package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/anonymize/table"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
)

// Threshold is the chance of being found above which a row counts as at risk.
const Threshold = 0.2

// Rewrite appends what is published instead of a cell that is no quasi-identifier.
type Rewrite func(dst, cell []byte) ([]byte, error)

// Job is a release to be made. Input, Output, Quasi and Models have to be there.
type Job struct {
	Input, Output string
	Reading       tabular.Options
	Writing       tabular.Format // Automatic: by Output's name, or as Input is

	Quasi, Sensitive, Drop []string
	Rewrite                map[string]Rewrite // pseudonyms, by column
	// Beforehand is what is done to cells as they are read, before anything else looks at
	// them: what it takes away is in no part of the release, a quasi-identifier included.
	// Its operators are for one job only.
	Beforehand []operate.Step
	// Hierarchies is a file or a rule for columns: see [Hierarchy].
	Hierarchies map[string]string

	Models []guarantee.Model
	// Population is a table of everybody of whom the rows are a sample, with the same
	// quasi-identifiers; read as Input is, in whatever format it has. Empty: the rows are
	// the population.
	Population string
	Method     anonymize.Method
	Suppress   float64
	Budget     time.Duration // of the search; 0: none

	Shuffle bool
	Reports []string // files that end in .json or .html
	Replace bool     // files that are there

	Now     func() time.Time // nil: time.Now
	Version string
}

// run is a job under way.
type run struct {
	Job
	file    *os.File
	source  *tabular.Source
	at      map[string]int // the number of each column
	quasi   []int
	read    [sha256.Size]byte // the hash that the first pass saw
	people  report.File       // the population
	table   *table.Table
	made    []report.Hierarchy
	steps   map[string]operate.Step         // Beforehand, by column
	above   map[string]*hierarchy.Hierarchy // of columns that are generalised beforehand
	looked  *[sha256.Size]byte              // the hash that the look before the first pass saw
	release *anonymize.Release
	began   time.Time
	took    time.Duration // of the search
}

// Run makes the release. When it returns nil, release and reports are on the disk.
func (j Job) Run(ctx context.Context) (*report.Report, error) {
	if j.Now == nil {
		j.Now = time.Now
	}
	r := &run{Job: j, began: j.Now(), above: map[string]*hierarchy.Hierarchy{}}
	if err := r.names(); err != nil {
		return nil, err
	}
	defer r.close()
	for _, step := range []func(context.Context) error{r.open, r.look, r.count, r.search} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	out, err := r.write(ctx)
	return out, Told(err)
}

// names refuses outputs that cannot be before anything is read.
func (r *run) names() error {
	seen := map[string]bool{}
	named := append([]string{r.Input, r.Output}, r.Reports...)
	if r.Population != "" {
		named = append(named, r.Population)
	}
	for _, path := range named {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if seen[abs] {
			return fault.New(fault.Usage, "name another file", "%s is named twice", path)
		}
		seen[abs] = true
	}
	for _, path := range r.Reports {
		if report.KindOf(path) == "" {
			return fault.New(fault.Usage, "name it R.json or R.html", "the report %s is neither JSON nor HTML", path)
		}
	}
	for _, path := range append([]string{r.Output}, r.Reports...) {
		if _, err := os.Lstat(path); err == nil && !r.Replace {
			return exists(path)
		}
	}
	return nil
}

func exists(path string) error {
	return fault.New(fault.Failed, "choose another name, or replace it with --force", "%s exists", path)
}

func (r *run) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// open recognises the input and finds the columns.
func (r *run) open(context.Context) error {
	var err error
	if r.file, r.source, err = Open(r.Input, r.Reading); err != nil {
		return err
	}
	r.at = map[string]int{}
	for i, c := range r.source.Columns() {
		r.at[c.Name] = i
	}
	part := map[string]string{}
	for _, p := range []struct {
		what  string
		names []string
	}{{"a quasi-identifier", r.Quasi}, {"sensitive", r.Sensitive}, {"dropped", r.Drop}, {"replaced by pseudonyms", keys(r.Rewrite)}} {
		for _, name := range p.names {
			if _, ok := r.at[name]; !ok {
				return r.noColumn(name)
			}
			if other, twice := part[name]; twice {
				return fault.New(fault.Usage, "give each column one part", "column %s is named twice: it is %s and %s", quote.Name(name), other, p.what)
			}
			part[name] = p.what
		}
	}
	for _, name := range keys(r.Hierarchies) {
		if _, ok := r.at[name]; !ok {
			return r.noColumn(name)
		}
		if part[name] != "a quasi-identifier" && part[name] != "sensitive" && !r.generalised(name) {
			return fault.New(fault.Usage, "name it with --quasi or --sensitive", "column %s has a hierarchy and is neither a quasi-identifier nor sensitive", quote.Name(name))
		}
	}
	if err := r.operations(part); err != nil {
		return err
	}
	for _, name := range r.Quasi {
		r.quasi = append(r.quasi, r.at[name])
	}
	return nil
}

// generalised says that a level of the column's hierarchy is published beforehand.
func (r *run) generalised(name string) bool {
	return slices.ContainsFunc(r.Beforehand, func(s operate.Step) bool {
		_, level := s.Operator.(*operate.Generalise)
		return level && s.Column == name
	})
}

func (r *run) noColumn(name string) error {
	return NoColumn(name, r.source)
}

// NoColumn is the refusal of a name that no column of a table has, with those that it has.
func NoColumn(name string, s *tabular.Source) error {
	var all []string
	for _, c := range s.Columns() {
		all = append(all, c.Name)
	}
	return fault.New(fault.Usage, "the columns are "+quote.Names(all), "the table has no column %s", quote.Name(name))
}

// Open opens a table. The file is the caller's to close.
func Open(path string, o tabular.Options) (*os.File, *tabular.Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Failed, err, "name a file that is there", "the table")
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fault.New(fault.Failed, "write it to a file first: it is read twice", "%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Failed, err, "", "the table")
	}
	s, err := tabular.Open(f, info.Size(), o)
	if err != nil {
		f.Close()
		return nil, nil, Told(err)
	}
	return f, s, nil
}

// count is the first pass.
func (r *run) count(ctx context.Context) error {
	b, err := table.NewBuilder(r.Quasi, r.Sensitive)
	if err != nil {
		return fault.Wrap(fault.Usage, err, "see `cerebrum anonymize --help`", "the table")
	}
	sensitive := make([]int, len(r.Sensitive))
	for i, name := range r.Sensitive {
		sensitive[i] = r.at[name]
	}
	q, s := make([][]byte, len(r.quasi)), make([][]byte, len(sensitive))
	r.read, err = r.each(ctx, r.source, r.stepsOf(r.source, everyColumn), func(row *tabular.Row) error {
		for i, c := range r.quasi {
			q[i] = row.Cells[c]
		}
		for i, c := range sensitive {
			s[i] = row.Cells[c]
		}
		return b.Add(q, s)
	})
	if err == nil && r.looked != nil && *r.looked != r.read {
		err = errChanged
	}
	if err != nil {
		return Told(err)
	}
	if err := r.countPopulation(ctx, b); err != nil {
		return err
	}
	hierarchies, err := r.hierarchies(b)
	if err != nil {
		return err
	}
	for _, name := range r.Quasi {
		if step, operated := r.steps[name]; hierarchies[name] == nil && operated {
			if h, err := hierarchyAfter(step, b.Values(name)); err != nil {
				return Told(err)
			} else if h != nil {
				hierarchies[name] = h
			}
		} else if hierarchies[name] == nil {
			if err := mixed(name, b.Values(name)); err != nil {
				return err
			}
		}
	}
	if r.table, err = b.Build(hierarchies); err != nil {
		return Told(err)
	}
	return nil
}

// search finds the release.
func (r *run) search(ctx context.Context) error {
	limited := ctx
	if r.Budget > 0 {
		var stop context.CancelFunc
		limited, stop = context.WithTimeout(ctx, r.Budget)
		defer stop()
	}
	plan := anonymize.Plan{Method: r.Method, Models: r.Models, Suppress: r.Suppress, Workers: runtime.GOMAXPROCS(0)}
	begin := r.Now()
	var err error
	r.release, err = plan.Run(limited, r.table)
	r.took = r.Now().Sub(begin)
	switch nothing := (*guarantee.NothingError)(nil); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && limited.Err() != nil:
		return fault.New(fault.Failed, "give it a larger --budget, name fewer quasi-identifiers, or take --method boxes", "no release was found in %s", r.Budget)
	case errors.As(err, &nothing):
		return r.nothing(nothing)
	case err != nil:
		return fault.Wrap(fault.Usage, err, "ask for less, or take more rows or people", "the guarantee cannot be given")
	}
	if r.release.Partition.Suppressed() == r.table.Rows() {
		return r.nothing(&guarantee.NothingError{Guarantees: r.release.Guarantee, Rows: r.table.Rows(), Suppressed: r.table.Rows()})
	}
	return nil
}

// nothing says what would help when there is nothing to release.
func (r *run) nothing(e *guarantee.NothingError) error {
	hint := "ask for a weaker guarantee, name fewer quasi-identifiers, or give hierarchies that group more"
	if e.Suppressed < e.Rows {
		hint = "raise --suppress-limit, ask for a weaker guarantee, or name fewer quasi-identifiers"
	}
	sentence, _, _ := strings.Cut(e.Error(), "; ")
	sentence, _, _ = strings.Cut(sentence, ": allow")
	return fault.New(fault.Failed, hint, "%s", sentence)
}

func keys[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Hierarchy reads the hierarchy of a column from a file, or makes it by a rule:
//
//	flat                    the values, and everything
//	prefix                  codes, one character less at each level
//	dates                   days, months, quarters, years, decades
//	intervals:BASE,W1,W2    numbers, in intervals of those widths above BASE
//
// A file with such a name is ./flat. The hash is of the file, empty for a rule.
func Hierarchy(spec string, values []string) (h *hierarchy.Hierarchy, hash string, err error) {
	switch rule, numbers, _ := strings.Cut(spec, ":"); {
	case spec == "flat":
		h, err = hierarchy.Flat(values)
	case spec == "prefix":
		h, err = hierarchy.Prefixes(values)
	case spec == "dates":
		h, err = hierarchy.Dates(values)
	case rule == "intervals" && numbers != "":
		h, err = intervals(numbers, values)
	default:
		return readHierarchy(spec)
	}
	return h, "", err
}

func readHierarchy(path string) (*hierarchy.Hierarchy, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	hash := sha256.New()
	h, err := hierarchy.Read(io.TeeReader(f, hash))
	return h, hex.EncodeToString(hash.Sum(nil)), err
}
