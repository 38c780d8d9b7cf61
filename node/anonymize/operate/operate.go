// Package operate rewrites the cells of a table, each column by an operator of its own.
//
// The words are those of ISO/IEC 20889:2018, section 8 and 9:
//
//	suppression         [Suppress], [Mask], [Redact], and [Drop] for a whole column
//	generalisation      [Generalise], [Bucket] (rounding), [Code] (top and bottom coding), [Year], [ZIP3]
//	pseudonymisation    [Pseudonym]; [Reversible] and [Format] can be undone with the key
//	randomisation       [Noise], [DateShift]
//	microaggregation    [Microaggregate], over all rows at once
//
// None of them is a guarantee by itself. A pseudonym keeps rows of one person together,
// noise on one cell is no differential privacy (that is package dp), and what others know
// beside the column still tells rows apart (that is what package anonymize is for).
//
// A [Rewriter] applies the operators to rows as they come:
//
//	rw, err := operate.New(header, []operate.Step{
//		{Column: "name", Operator: operate.Drop{}},
//		{Column: "admitted", Operator: shift, Subject: "patient"},
//		{Column: "patient", Operator: pseudonym},
//	})
//	for each row {
//		out, err := rw.Rewrite(row)
//	}
//
// [Steps] makes the steps of a plan that package detect proposes, and [Parse] those that a
// person writes down, such as bucket:10. Operators that have to see the whole table first
// are a [Looker]; those that depend on the row are a [Rewinder].
//
// An empty cell is a missing value and stays empty, but under [Suppress]. An error says
// column and row, never the value; keys come in as a [Key] and are in no error either.
package operate

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

// What is wrong with a value. The value is not part of the error.
var (
	ErrNumber    = errors.New("the value is not a number")
	ErrWhole     = errors.New("the value is not a whole number")
	ErrBounds    = errors.New("the value is outside of the bounds")
	ErrDate      = errors.New("the value is not a date of a known form")
	ErrHierarchy = errors.New("the hierarchy does not have the value")
	ErrSubject   = errors.New("the column that names the subject is empty")
)

// Cell is what an operator sees of a row.
type Cell struct {
	Value   []byte
	Subject []byte // the cell of the column that says whose row it is, or nil
}

// Operator rewrites one cell.
type Operator interface {
	// Append appends what is published instead of the cell to dst. It keeps neither. The
	// error does not contain the value.
	Append(dst []byte, cell Cell) ([]byte, error)
}

// Reverser is an operator that whoever has its key can undo: [Reversible], whose values
// say whether the key is theirs, and [Format], whose do not.
type Reverser interface {
	Operator
	// Reverse appends the cell of which value was made.
	Reverse(dst, value []byte) ([]byte, error)
}

// Step is what happens to one column.
type Step struct {
	Column   string
	Operator Operator
	// Subject is the column that says whose row it is, which [DateShift] needs. It is read
	// before any operator changes it.
	Subject string
	// Name is what a report calls the step, and Leaves what it leaves open, as in [Form].
	Name, Leaves string
}

// CellError says where an operator failed.
type CellError struct {
	Column string
	Row    int // the first row below the header is 1
	Err    error
}

func (e *CellError) Error() string {
	return fmt.Sprintf("column %s, row %d: %v", quote.Name(e.Column), e.Row, e.Err)
}

func (e *CellError) Unwrap() error { return e.Err }

// Drop leaves the column out of the result.
type Drop struct{}

// Append implements [Operator] for those who apply it to a single cell.
func (Drop) Append(dst []byte, _ Cell) ([]byte, error) { return dst, nil }

// Rewriter applies steps to rows. It is not for several goroutines at a time.
type Rewriter struct {
	header  []string
	kept    []int      // columns of the input that are in the result
	steps   []Operator // of each column of the input, or nil
	subject []int      // of each column of the input, or -1
	rows    int
	cells   []byte
	ends    []int
	out     [][]byte
}

// New checks steps against a header: columns exist and are named once, at most one step
// changes a column, and a step that needs a subject has one.
func New(header []string, steps []Step) (*Rewriter, error) {
	at := map[string]int{}
	for i, name := range header {
		if _, twice := at[name]; twice {
			return nil, fmt.Errorf("column %s is there twice: rename one of them", quote.Name(name))
		}
		at[name] = i
	}
	rw := &Rewriter{header: header, steps: make([]Operator, len(header)), subject: make([]int, len(header))}
	for _, s := range steps {
		i, ok := at[s.Column]
		if !ok {
			return nil, fmt.Errorf("there is no column %s: the columns are %s", quote.Name(s.Column), quote.Names(header))
		}
		if s.Operator == nil {
			return nil, fmt.Errorf("column %s has a step without an operator", quote.Name(s.Column))
		}
		if rw.steps[i] != nil {
			return nil, fmt.Errorf("column %s has two operators: choose one", quote.Name(s.Column))
		}
		rw.steps[i], rw.subject[i] = s.Operator, -1
		if s.Subject != "" {
			if rw.subject[i], ok = at[s.Subject]; !ok {
				return nil, fmt.Errorf("there is no column %s, which is to say whose row it is", quote.Name(s.Subject))
			}
		} else if _, needs := s.Operator.(*DateShift); needs {
			return nil, fmt.Errorf("dates of %s are shifted by subject: name the column that says whose row it is", quote.Name(s.Column))
		}
	}
	for i, op := range rw.steps {
		if _, drop := op.(Drop); !drop {
			rw.kept = append(rw.kept, i)
		}
	}
	if len(rw.kept) == 0 {
		return nil, errors.New("every column is dropped: keep at least one")
	}
	return rw, nil
}

// Header is the columns of the result.
func (rw *Rewriter) Header() []string {
	out := make([]string, len(rw.kept))
	for i, c := range rw.kept {
		out[i] = rw.header[c]
	}
	return out
}

// Rewrite makes a row of the result, valid until the next call. The error is a
// [*CellError], or says that the row has another number of cells than the header.
func (rw *Rewriter) Rewrite(row [][]byte) ([][]byte, error) {
	rw.rows++
	if len(row) != len(rw.header) {
		return nil, fmt.Errorf("row %d has %d cells for %d columns", rw.rows, len(row), len(rw.header))
	}
	rw.cells, rw.ends, rw.out = rw.cells[:0], rw.ends[:0], rw.out[:0]
	for _, c := range rw.kept {
		var err error
		if rw.cells, err = rw.cell(row, c); err != nil {
			return nil, &CellError{Column: rw.header[c], Row: rw.rows, Err: err}
		}
		rw.ends = append(rw.ends, len(rw.cells))
	}
	begin := 0
	for _, end := range rw.ends {
		rw.out = append(rw.out, rw.cells[begin:end:end])
		begin = end
	}
	return rw.out, nil
}

func (rw *Rewriter) cell(row [][]byte, c int) ([]byte, error) {
	op, cell := rw.steps[c], Cell{Value: row[c]}
	if op == nil {
		return append(rw.cells, cell.Value...), nil
	}
	if s := rw.subject[c]; s >= 0 {
		cell.Subject = row[s]
	}
	return op.Append(rw.cells, cell)
}
