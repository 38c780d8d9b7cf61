// Package table holds what anonymisation needs to know of a table of people.
//
// The quasi-identifiers of a row are what others may know of the person already:
// age, place, profession. Rows that agree on all of them cannot be told apart by
// them, so a [Table] keeps each distinct combination once, with the number of its
// rows, the number of people in the population that have it, and how often each
// sensitive value stands beside it. A table of a million rows is as large in memory
// as its distinct combinations are many.
//
// A [Builder] takes the rows one by one, in a first pass over the file; a second
// pass finds each row's combination again with [Table.Find].
package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

// ErrEmpty means that no row was added.
var ErrEmpty = errors.New("the table has no rows")

// ErrTooLarge means that there are more rows, or more sensitive values, than 32 bits count.
var ErrTooLarge = errors.New("the table has more than 4,294,967,295 rows")

// A MissingValueError says which value of a column its hierarchy lacks.
type MissingValueError struct{ Column, Value string }

func (e *MissingValueError) Error() string {
	return fmt.Sprintf("the hierarchy of %s has no value %s", quote.Name(e.Column), quote.Value(e.Value))
}

// A ColumnError says what is wrong with a column.
type ColumnError struct {
	Column string
	Err    error
}

func (e *ColumnError) Error() string {
	return fmt.Sprintf("column %s: %v", quote.Name(e.Column), e.Err)
}

func (e *ColumnError) Unwrap() error { return e.Err }

// A PopulationError says how many rows have nobody in the population whose row they
// can be.
type PopulationError struct{ Rows int }

func (e *PopulationError) Error() string {
	return fmt.Sprintf("the population lacks the people of %d rows of the table", e.Rows)
}

// dictionary numbers the values of a column as they come.
type dictionary struct {
	column string
	code   map[string]uint32
	values []string
}

func (d *dictionary) add(value []byte) uint32 {
	if c, ok := d.code[string(value)]; ok {
		return c
	}
	c := uint32(len(d.values))
	text := string(value)
	d.code[text], d.values = c, append(d.values, text)
	return c
}

// Builder makes a [Table] of rows. It is not for several goroutines at a time.
type Builder struct {
	quasi, sensitive []dictionary
	combinations     combinations
	rows, people     uint64
	count            []uint32            // rows of each combination
	population       []uint32            // people of each combination
	beside           []map[uint64]uint32 // for each sensitive column: combination<<32 | value, how often
	row              []uint32
}

// NewBuilder begins a table with these columns, at least one of them a
// quasi-identifier, and none named twice.
func NewBuilder(quasi, sensitive []string) (*Builder, error) {
	if len(quasi) == 0 {
		return nil, errors.New("there is no quasi-identifier: name the columns that others may know of a person")
	}
	named := map[string]bool{}
	b := &Builder{row: make([]uint32, len(quasi))}
	for i, name := range slices.Concat(quasi, sensitive) {
		if named[name] {
			return nil, fmt.Errorf("column %s is named twice", quote.Name(name))
		}
		named[name] = true
		d := dictionary{column: name, code: map[string]uint32{}}
		if i < len(quasi) {
			b.quasi = append(b.quasi, d)
			continue
		}
		b.sensitive = append(b.sensitive, d)
		b.beside = append(b.beside, map[uint64]uint32{})
	}
	b.combinations.init(len(quasi))
	return b, nil
}

// Add takes a row that is to be released. The values are in the order of the columns
// and are copied where needed.
func (b *Builder) Add(quasi, sensitive [][]byte) error {
	if len(quasi) != len(b.quasi) || len(sensitive) != len(b.sensitive) {
		return fmt.Errorf("a row has %d and %d values for %d and %d columns", len(quasi), len(sensitive), len(b.quasi), len(b.sensitive))
	}
	if b.rows == math.MaxUint32 {
		return ErrTooLarge
	}
	b.rows++
	i := b.combination(quasi)
	b.count[i]++
	for s := range b.sensitive {
		b.beside[s][uint64(i)<<32|uint64(b.sensitive[s].add(sensitive[s]))]++
	}
	return nil
}

// AddPopulation takes a person of the population that the rows are a sample of. Who
// adds a population adds everybody in it, those who have a row included. Without
// one, the rows are the population.
func (b *Builder) AddPopulation(quasi [][]byte) error {
	if len(quasi) != len(b.quasi) {
		return fmt.Errorf("a person of the population has %d values for %d columns", len(quasi), len(b.quasi))
	}
	if b.people == math.MaxUint32 {
		return ErrTooLarge
	}
	b.people++
	b.population[b.combination(quasi)]++
	return nil
}

func (b *Builder) combination(values [][]byte) uint32 {
	for q := range b.quasi {
		b.row[q] = b.quasi[q].add(values[q])
	}
	i, added := b.combinations.add(b.row)
	if added {
		b.count, b.population = append(b.count, 0), append(b.population, 0)
	}
	return i
}

// Values is what a quasi-identifier or sensitive column held so far, each value once.
func (b *Builder) Values(column string) []string {
	for _, d := range slices.Concat(b.quasi, b.sensitive) {
		if d.column == column {
			return slices.Clone(d.values)
		}
	}
	return nil
}

// Build makes the table. A column without a hierarchy gets [hierarchy.Automatic] if
// it is a quasi-identifier, and [hierarchy.Flat] otherwise; missing values are added
// to hierarchies that lack them. Errors are [ErrEmpty], a [*MissingValueError], a
// [*PopulationError] or a [*ColumnError]. The builder is not used again.
func (b *Builder) Build(hierarchies map[string]*hierarchy.Hierarchy) (*Table, error) {
	if b.rows == 0 {
		return nil, ErrEmpty
	}
	for name := range hierarchies {
		if b.Values(name) == nil {
			return nil, &ColumnError{Column: name, Err: errors.New("it has a hierarchy and is no column of the table")}
		}
	}
	t := &Table{rows: int(b.rows), people: int(b.people), count: b.count, population: b.population,
		combinations: b.combinations, dictionaries: b.quasi}
	if b.people == 0 {
		t.population, t.people = b.count, int(b.rows)
	} else if err := b.checkPopulation(); err != nil {
		return nil, err
	}
	for q := range b.quasi {
		c, leaf, err := b.quasi[q].resolve(hierarchies, hierarchy.Automatic)
		if err != nil {
			return nil, err
		}
		t.quasi = append(t.quasi, c)
		t.leaves = append(t.leaves, b.combinations.column(q, leaf))
	}
	for s := range b.sensitive {
		c, leaf, err := b.sensitive[s].resolve(hierarchies, hierarchy.Flat)
		if err != nil {
			return nil, err
		}
		t.sensitive = append(t.sensitive, c)
		t.beside = append(t.beside, histograms(len(b.count), b.beside[s], leaf))
	}
	return t, nil
}

// checkPopulation names no values: they are those of a person.
func (b *Builder) checkPopulation() error {
	lacking := 0
	for i, n := range b.count {
		if n > b.population[i] {
			lacking += int(n - b.population[i])
		}
	}
	if lacking > 0 {
		return &PopulationError{Rows: lacking}
	}
	return nil
}

// resolve finds the column's hierarchy and the leaf of each code.
func (d *dictionary) resolve(hierarchies map[string]*hierarchy.Hierarchy, otherwise func([]string) (*hierarchy.Hierarchy, error)) (Column, []uint32, error) {
	h := hierarchies[d.column]
	if h == nil {
		made, err := otherwise(d.values)
		if err != nil {
			return Column{}, nil, &ColumnError{Column: d.column, Err: err}
		}
		h = made
	}
	if _, missing := d.code[""]; missing {
		h = h.WithMissing()
	}
	leaf := make([]uint32, len(d.values))
	for code, value := range d.values {
		l, ok := h.Leaf(value)
		if !ok {
			return Column{}, nil, &MissingValueError{Column: d.column, Value: value}
		}
		leaf[code] = l
	}
	return Column{Name: d.column, Hierarchy: h}, leaf, nil
}

// combinations numbers distinct rows of codes. The index is open-addressed and keeps
// 1 + the number of a combination, or 0.
type combinations struct {
	width int
	seed  maphash.Seed
	codes []uint32 // width for each combination
	index []uint32
}

func (c *combinations) init(width int) {
	c.width, c.seed, c.index = width, maphash.MakeSeed(), make([]uint32, 1024)
}

func (c *combinations) len() int { return len(c.codes) / c.width }

func (c *combinations) at(i uint32) []uint32 { return c.codes[int(i)*c.width:][:c.width] }

// slot is where a combination is, or would be put.
func (c *combinations) slot(row []uint32) int {
	mask := len(c.index) - 1
	i := int(c.hash(row)) & mask
	for c.index[i] != 0 && !slices.Equal(c.at(c.index[i]-1), row) {
		i = (i + 1) & mask
	}
	return i
}

// hash mixes with a seed of this process, so that nobody can write a table whose
// rows all fall into one slot.
func (c *combinations) hash(row []uint32) uint64 {
	var room [64]byte
	b := room[:0]
	for _, v := range row {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return maphash.Bytes(c.seed, b)
}

func (c *combinations) add(row []uint32) (number uint32, added bool) {
	i := c.slot(row)
	if c.index[i] != 0 {
		return c.index[i] - 1, false
	}
	c.codes = append(c.codes, row...)
	c.index[i] = uint32(c.len())
	number = c.index[i] - 1
	if 2*c.len() > len(c.index) {
		c.grow()
	}
	return number, true
}

func (c *combinations) grow() {
	c.index = make([]uint32, 2*len(c.index))
	for i := range c.len() {
		c.index[c.slot(c.at(uint32(i)))] = uint32(i) + 1
	}
}

// column is one code of each combination, translated.
func (c *combinations) column(q int, leaf []uint32) []uint32 {
	out := make([]uint32, c.len())
	for i := range out {
		out[i] = leaf[c.codes[i*c.width+q]]
	}
	return out
}
