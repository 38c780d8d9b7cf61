// Package detect finds what identifies people in a table, and proposes what to do about
// it.
//
// An [Inspector] looks at every cell once, in one pass, and keeps counts:
//
//	in, err := detect.NewInspector(header, detect.Config{Now: now})
//	for each row {
//		err = in.Add(row)
//	}
//	report := in.Report()
//	plan := report.Propose(detect.General)
//
// # Kinds
//
// A detector validates: digits alone are no card number, but digits in the range of an
// issuer with a check digit may be ([Recognise], [Kind]). Each is linear in the cell, and
// none goes back in it more than a bounded number of bytes. A column is of a kind if
//
//   - at least half of its cells that are not empty validate ([Threshold]), and
//   - the name of the column says so too, or chance does not explain it: were each cell
//     valid with the chance that the kind's checksum leaves, that many would be less likely
//     than one in a million (a Chernoff bound). Ten digits pass one checksum in ten, so a
//     column of order numbers has a tenth of its cells valid and is no column of NHS numbers.
//
// Forms that plain numbers share, such as an SSN or a phone number without separators,
// count only under a name that says so. Where fewer cells validate, but at least one
// in two hundred ([Trace]) of a kind that chance hardly makes, the column holds identifiers
// among other things and is to be redacted.
//
// # What is not found
//
// Names of people have no pattern: they are found by the name of their column only, and in
// free text not at all, so that free text needs a person's review. Nor is what a column
// hides behind codes of its own.
//
// # Quasi-identifiers
//
// Columns are ranked by how they tell rows apart (Motwani and Xu, Efficient Algorithms for
// Masking and Finding Quasi-Identifiers, 2007): the distinction of a set of columns is the
// share of combinations that are distinct among the rows, its separation the share of
// pairs of rows that it tells apart. See [Ranking] for what is measured on a sample.
//
// Reports hold counts and names of columns, and no value of any cell.
package detect

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"
)

// Thresholds of the verdicts.
const (
	Threshold = 0.5   // the share of a column's cells that validate, at least
	Trace     = 0.005 // the share that makes a column hold some identifiers
	// improbable is the chance that a verdict is by accident, at most.
	improbable = 1e-6
	// Of a kind that chance hardly makes, each trace is reported; of one that it makes now
	// and then, what chance does not explain.
	hardly, rare = 1e-3, 0.05
)

// Free text is cells that have so many bytes and spaces on average.
const (
	textLength = 30
	textSpaces = 4
)

// Config is how a table is inspected. Only Now is needed.
type Config struct {
	// Now bounds the years of birth.
	Now time.Time
	// SampleRows is how many rows are kept to rank columns, 8 bytes for each cell; 0 is
	// [DefaultSample].
	SampleRows int
}

// MaxColumns bounds the columns of a table.
const MaxColumns = 10_000

// Inspector looks at rows as they come. It is not for several goroutines at a time.
type Inspector struct {
	config  Config
	columns []column
	rows    int
	sample  sample
}

// column is what is counted of a column.
type column struct {
	name    string
	subject Subject

	filled, length, spaces int
	shortest, longest      int
	classes                class
	wholes, decimals       int // cells that are whole numbers, and other decimal numbers
	largest                int // of whole numbers up to 3 digits
	long                   int // whole numbers of more than 3 digits
	sure, possible, within [kinds]uint32
	oldest, newest         int // years of dates
}

// NewInspector begins with the names of the columns.
func NewInspector(columns []string, c Config) (*Inspector, error) {
	switch {
	case len(columns) == 0:
		return nil, errors.New("the table has no columns")
	case len(columns) > MaxColumns:
		return nil, fmt.Errorf("the table has %d columns, at most %d are inspected", len(columns), MaxColumns)
	case c.Now.IsZero():
		return nil, errors.New("there is no time by which births can be told from dates to come")
	case c.SampleRows < 0:
		return nil, fmt.Errorf("a sample cannot have %d rows", c.SampleRows)
	case c.SampleRows == 0:
		c.SampleRows = DefaultSample
	}
	in := &Inspector{config: c, columns: make([]column, len(columns))}
	for i, name := range columns {
		in.columns[i] = column{name: name, subject: SubjectOf(name), shortest: math.MaxInt}
	}
	in.sample.begin(len(columns), c.SampleRows)
	return in, nil
}

// Add looks at a row. The cells are not kept. The error says that their number is
// not that of the columns.
func (in *Inspector) Add(row [][]byte) error {
	in.rows++
	if len(row) != len(in.columns) {
		return fmt.Errorf("row %d has %d cells for %d columns", in.rows, len(row), len(in.columns))
	}
	for i := range row {
		in.columns[i].add(row[i])
	}
	in.sample.add(row)
	return nil
}

func (c *column) add(cell []byte) {
	if len(cell) > 0 && (cell[0] <= ' ' || cell[len(cell)-1] <= ' ') {
		cell = bytes.TrimSpace(cell)
	}
	if len(cell) == 0 {
		return
	}
	c.filled++
	c.length += len(cell)
	c.shortest, c.longest = min(c.shortest, len(cell)), max(c.longest, len(cell))
	var m class
	if len(cell) >= 8 && classes[cell[7]] == digit {
		m = classOfCell(cell)
	} else {
		m = classOf(cell)
	}
	c.classes |= m
	switch {
	case m == digit:
		c.whole(cell)
		if len(cell) >= 8 {
			sure, possible := bare(cell)
			c.valid(cell, sure, possible)
		}
		return
	case m&(digit|at|colon) == 0 && m&dot == 0:
		if m&space != 0 {
			c.spaces += bytes.Count(cell, []byte(" "))
		}
		return
	case m&^(digit|dot|dash) == 0 && isDecimal(cell):
		c.decimals++
		if c.subject == Position && isDegrees(cell, 180) {
			c.possible[Coordinates]++
		}
		return
	}
	if m&space != 0 {
		c.spaces += bytes.Count(cell, []byte(" "))
	}
	c.kinds(cell, m)
}

func (c *column) kinds(cell []byte, m class) {
	var sure, possible Set
	if len(cell) <= maxCell {
		sure, possible = recognise(cell, m)
	}
	switch {
	case sure != 0:
	case len(cell) > maxCell || m&(space|other|comma|paren) != 0 || m&at != 0:
		var some Set
		for f := range Find(cell) {
			if f.Kind == URL && f.Start == 0 && f.End == len(cell) {
				c.sure[URL]++
				return
			}
			some |= of(f.Kind)
		}
		count(&c.within, some)
	}
	c.valid(cell, sure, possible)
}

// valid counts the kinds of a cell as a whole.
func (c *column) valid(cell []byte, sure, possible Set) {
	count(&c.sure, sure)
	count(&c.possible, possible)
	if sure.Has(Date) {
		c.year(cell)
	}
}

func (c *column) whole(cell []byte) {
	c.wholes++
	if len(cell) > 3 {
		c.long++
		return
	}
	n := 0
	for _, d := range cell {
		n = 10*n + int(d-'0')
	}
	c.largest = max(c.largest, n)
}

func (c *column) year(cell []byte) {
	y, ok := dateOf(cell)
	if !ok {
		return
	}
	if c.oldest == 0 || y < c.oldest {
		c.oldest = y
	}
	c.newest = max(c.newest, y)
}

// isDecimal is a sign, digits and one dot among them.
func isDecimal(cell []byte) bool {
	digits, dots := 0, 0
	for i, c := range cell {
		switch {
		case classes[c] == digit:
			digits++
		case c == '.':
			dots++
		case i > 0: // a dash is a sign in front only
			return false
		}
	}
	return digits > 0 && dots <= 1
}

// verdict is the kind of a column and the share of its cells that validate.
func (c *column) verdict() (best Kind, share float64) {
	if c.filled == 0 {
		return None, 0
	}
	for k := Email; k < kinds; k++ {
		named := expected[c.subject].Has(k)
		valid := c.sure[k]
		if named {
			valid += c.possible[k]
		}
		s := float64(valid) / float64(c.filled)
		if s < Threshold || !named && !unlikely(s, about[k].chance, c.filled) {
			continue
		}
		if better := s > share+0.1 || s > share-0.1 && about[k].chance < about[best].chance; best == None || better {
			best, share = k, s
		}
	}
	return best, share
}

// unlikely says whether so large a share of n cells is improbable if each has the
// chance: Pr <= exp(-n KL(share || chance)) (Chernoff; Hoeffding 1963, theorem 1).
func unlikely(share, chance float64, n int) bool {
	if share <= chance {
		return false
	}
	kl := share * math.Log(share/chance)
	if share < 1 {
		kl += (1 - share) * math.Log((1-share)/(1-chance))
	}
	return float64(n)*kl > -math.Log(improbable)
}

// traces are the kinds that some cells of the column hold, as a whole or within.
func (c *column) traces(verdict Kind) []Trait {
	var out []Trait
	for k := Email; k < kinds; k++ {
		share := float64(c.sure[k]+c.within[k]) / float64(max(1, c.filled))
		if k != verdict && k.Direct() && about[k].chance <= rare && share >= Trace && (about[k].chance <= hardly || unlikely(share, about[k].chance, c.filled)) {
			out = append(out, Trait{k, share})
		}
	}
	return out
}
