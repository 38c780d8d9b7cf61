package operate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Microaggregate groups rows of k or more that are alike, and replaces the numbers of
// each row by the mean of its group: k-anonymity for numbers, with the means kept.
// columns[c][i] is the number of row i in column c; columns are scaled by their standard
// deviation before distances are taken.
//
// It is MDAV (Domingo-Ferrer and Torra, Ordinal, Continuous and Heterogeneous
// k-Anonymity Through Microaggregation, 2005, algorithm 1), which takes time of order
// rows squared over k: 20,000 rows are a matter of seconds, a million are not. The error
// names no number; ctx ends it.
func Microaggregate(ctx context.Context, columns [][]float64, k int) (means [][]float64, group []int, err error) {
	m, err := newMDAV(columns, k)
	if err != nil {
		return nil, nil, err
	}
	for len(m.left) >= 3*k {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		r := m.farthest(m.centroid())
		// s is found before the first group leaves.
		at := slices.Clone(m.at(r))
		s := m.farthest(at)
		far := slices.Clone(m.at(s))
		m.take(at, k)
		m.take(far, k)
	}
	if len(m.left) >= 2*k {
		m.take(slices.Clone(m.at(m.farthest(m.centroid()))), k)
	}
	m.close(m.left)
	return m.means(columns), m.group, nil
}

// maxGrouped keeps squares finite.
const maxGrouped = 1e150

type mdav struct {
	width  int
	points []float64 // width for each row, scaled
	left   []int     // rows without a group
	group  []int
	groups int
	near   []neighbour
}

type neighbour struct {
	distance float64
	row      int
}

func newMDAV(columns [][]float64, k int) (*mdav, error) {
	if len(columns) == 0 {
		return nil, errors.New("there is no column to microaggregate")
	}
	n := len(columns[0])
	if k < 2 || k > n {
		return nil, fmt.Errorf("groups of %d rows cannot be made of %d rows: choose 2 to %d", k, n, n)
	}
	m := &mdav{width: len(columns), points: make([]float64, n*len(columns)), left: make([]int, n), group: make([]int, n)}
	for c, column := range columns {
		if len(column) != n {
			return nil, fmt.Errorf("column %d has %d rows and the first has %d", c+1, len(column), n)
		}
		mean, deviation := 0.0, 0.0
		for i, f := range column {
			if math.IsNaN(f) || math.Abs(f) > maxGrouped {
				return nil, &CellError{Column: fmt.Sprint(c + 1), Row: i + 1, Err: ErrNumber}
			}
			d := f - mean
			mean += d / float64(i+1) // Welford
			deviation += d * (f - mean)
		}
		deviation = math.Sqrt(deviation / float64(n))
		for i, f := range column {
			if deviation > 0 {
				m.points[i*m.width+c] = (f - mean) / deviation
			}
		}
	}
	for i := range m.left {
		m.left[i] = i
	}
	return m, nil
}

func (m *mdav) at(row int) []float64 { return m.points[row*m.width:][:m.width] }

func (m *mdav) distance(row int, from []float64) (sum float64) {
	for c, f := range m.at(row) {
		sum += (f - from[c]) * (f - from[c])
	}
	return sum
}

func (m *mdav) centroid() []float64 {
	mean := make([]float64, m.width)
	for _, row := range m.left {
		for c, f := range m.at(row) {
			mean[c] += f
		}
	}
	for c := range mean {
		mean[c] /= float64(len(m.left))
	}
	return mean
}

func (m *mdav) farthest(from []float64) (row int) {
	best := -1.0
	for _, r := range m.left {
		if d := m.distance(r, from); d > best {
			best, row = d, r
		}
	}
	return row
}

// take makes a group of the k rows nearest to a point.
func (m *mdav) take(from []float64, k int) {
	m.near = m.near[:0]
	for _, row := range m.left {
		d := m.distance(row, from)
		if len(m.near) == k && d >= m.near[k-1].distance {
			continue
		}
		if len(m.near) < k {
			m.near = append(m.near, neighbour{})
		}
		i := len(m.near) - 1
		for ; i > 0 && m.near[i-1].distance > d; i-- {
			m.near[i] = m.near[i-1]
		}
		m.near[i] = neighbour{d, row}
	}
	rows := make([]int, len(m.near))
	for i, n := range m.near {
		rows[i] = n.row
	}
	m.close(rows)
	m.left = slices.DeleteFunc(m.left, func(row int) bool { return m.group[row] != 0 })
}

// close gives rows a group, numbered from 1 until means counts them from 0.
func (m *mdav) close(rows []int) {
	m.groups++
	for _, row := range rows {
		m.group[row] = m.groups
	}
}

func (m *mdav) means(columns [][]float64) [][]float64 {
	size := make([]float64, m.groups)
	for i := range m.group {
		m.group[i]--
		size[m.group[i]]++
	}
	out := make([][]float64, len(columns))
	for c, column := range columns {
		mean := make([]float64, m.groups)
		for i, f := range column {
			mean[m.group[i]] += f / size[m.group[i]]
		}
		out[c] = make([]float64, len(column))
		for i := range column {
			out[c][i] = mean[m.group[i]]
		}
	}
	return out
}
