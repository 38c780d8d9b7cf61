// Package partition describes what is published instead of a table's
// quasi-identifiers: classes of rows that look the same, with one label a column.
package partition

import (
	"encoding/binary"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Suppressed stands for the class of combinations that are not published.
const Suppressed = -1

// Label is what stands in a cell.
type Label struct {
	Text   string
	Leaves int // how many values of the column it may stand for
}

// Partition says what is published for each combination of a table.
type Partition struct {
	Table *table.Table
	// Class is the class of each combination of the table, or [Suppressed].
	Class []int32

	labels []labels // of each column
	cells  []uint32 // of each class, a label for each column
	known  map[string]int32
	buffer []byte
}

// labels are the distinct labels of a column.
type labels struct {
	all    []Label
	number map[Label]uint32
}

// New begins a partition that suppresses everything.
func New(t *table.Table) *Partition {
	p := &Partition{Table: t, Class: make([]int32, t.Len()), labels: make([]labels, len(t.Quasi())), known: map[string]int32{}}
	for i := range p.Class {
		p.Class[i] = Suppressed
	}
	for q := range p.labels {
		p.labels[q].number = map[Label]uint32{}
	}
	return p
}

// Add is the class with these labels, one for each column, a new one unless a class
// has them already: rows that look the same are one class, however they came to.
func (p *Partition) Add(row []Label) int32 {
	p.buffer = p.buffer[:0]
	for q, l := range row {
		n, ok := p.labels[q].number[l]
		if !ok {
			n = uint32(len(p.labels[q].all))
			p.labels[q].number[l] = n
			p.labels[q].all = append(p.labels[q].all, l)
		}
		p.buffer = binary.LittleEndian.AppendUint32(p.buffer, n)
	}
	if class, ok := p.known[string(p.buffer)]; ok {
		return class
	}
	class := int32(p.Classes())
	p.known[string(p.buffer)] = class
	for q := range row {
		p.cells = append(p.cells, binary.LittleEndian.Uint32(p.buffer[4*q:]))
	}
	return class
}

// Classes is the number of classes.
func (p *Partition) Classes() int { return len(p.cells) / len(p.labels) }

// Label is what a class publishes in quasi-identifier q.
func (p *Partition) Label(class int32, q int) Label { return p.labels[q].all[p.Number(class, q)] }

// Labels is the distinct labels of quasi-identifier q, in the order of their numbers.
func (p *Partition) Labels(q int) []Label { return p.labels[q].all }

// Number is the number among [Partition.Labels] of what a class publishes in
// quasi-identifier q.
func (p *Partition) Number(class int32, q int) uint32 { return p.cells[int(class)*len(p.labels)+q] }

// Text is what is published for a combination, one text for each quasi-identifier,
// appended to row, and whether it is published at all. The texts of a suppressed one
// are [hierarchy.Any]. A suppressed row is published without its sensitive values or
// not at all: its own class may be too small for any guarantee.
func (p *Partition) Text(row []string, combination int) ([]string, bool) {
	class := p.Class[combination]
	for q := range p.labels {
		if class == Suppressed {
			row = append(row, hierarchy.Any)
			continue
		}
		row = append(row, p.Label(class, q).Text)
	}
	return row, class != Suppressed
}

// Sizes is the number of rows and of people of the population in each class.
func (p *Partition) Sizes() (rows, people []int) {
	rows, people = make([]int, p.Classes()), make([]int, p.Classes())
	for i, class := range p.Class {
		if class != Suppressed {
			rows[class] += int(p.Table.Count()[i])
			people[class] += int(p.Table.Population()[i])
		}
	}
	return rows, people
}

// Suppressed is the number of rows that are not published.
func (p *Partition) Suppressed() int {
	n := 0
	for i, class := range p.Class {
		if class == Suppressed {
			n += int(p.Table.Count()[i])
		}
	}
	return n
}
