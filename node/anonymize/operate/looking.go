package operate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Looker is an operator that sees all cells of its column before it rewrites any.
type Looker interface {
	Operator
	// Look takes the next cell. The error does not contain it.
	Look(cell []byte) error
	// Ready is called when every Looker of the table has seen its last cell.
	Ready(ctx context.Context) error
}

// Rewinder is an operator whose result depends on the row. It gives the same results in
// each pass over the same rows if it is rewound before.
type Rewinder interface {
	Operator
	Rewind()
}

// Bounds of [Groups]: they take time of order rows squared, half a minute for so many of
// three columns, and keep every number.
const (
	MaxRows    = 100_000
	MaxColumns = 32
)

var (
	// ErrRows means that a table has more rows than groups are made of.
	ErrRows = fmt.Errorf("it is microaggregated, which is for %d rows at most", MaxRows)
	// ErrOther means that a row is none of those that were looked at.
	ErrOther = errors.New("there are other rows than those that were looked at")
)

// Groups are rows that [Microaggregate] finds to be alike in some columns, and their
// means. Each row needs a number in each of the columns.
type Groups struct {
	k, decimals int
	columns     [][]float64
	means       [][]float64
}

// NewGroups makes groups of k rows and more, whose means are rounded to decimals.
func NewGroups(k, decimals, columns int) (*Groups, error) {
	switch {
	case k < 2:
		return nil, fmt.Errorf("groups of %d rows share nothing: choose 2 or more", k)
	case decimals < 0 || decimals > 15:
		return nil, fmt.Errorf("there may be 0 to 15 decimals, not %d", decimals)
	case columns < 1 || columns > MaxColumns:
		return nil, fmt.Errorf("1 to %d columns are microaggregated together, not %d", MaxColumns, columns)
	}
	return &Groups{k: k, decimals: decimals, columns: make([][]float64, columns)}, nil
}

// Column is the operator of one of the columns. It is a [Looker] and a [Rewinder].
func (g *Groups) Column(i int) Operator { return &grouped{groups: g, column: i} }

type grouped struct {
	groups *Groups
	column int
	row    int // the next one
}

func (o *grouped) Look(cell []byte) error {
	f, err := number(cell)
	if err != nil || math.Abs(f) > maxGrouped {
		return ErrNumber
	}
	column := &o.groups.columns[o.column]
	if len(*column) == MaxRows {
		return ErrRows
	}
	*column = append(*column, f)
	return nil
}

// Ready makes the groups for all columns at the first of them.
func (o *grouped) Ready(ctx context.Context) (err error) {
	g := o.groups
	if g.means == nil {
		g.means, _, err = Microaggregate(ctx, g.columns, g.k)
	}
	return err
}

func (o *grouped) Rewind() { o.row = 0 }

// Append implements [Operator]. The error is [ErrOther].
func (o *grouped) Append(dst []byte, _ Cell) ([]byte, error) {
	g := o.groups
	if g.means == nil || o.row == len(g.means[o.column]) {
		return dst, ErrOther
	}
	o.row++
	return appendRounded(dst, g.means[o.column][o.row-1], g.decimals), nil
}

// appendRounded has one text for zero: the sign of what was rounded to it is not published.
func appendRounded(dst []byte, f float64, decimals int) []byte {
	if math.Abs(f) < 1 && math.Abs(f)*math.Pow10(decimals) <= 0.5 {
		f = 0
	}
	return strconv.AppendFloat(dst, f, 'f', decimals, 64)
}
