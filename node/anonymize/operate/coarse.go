package operate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Suppress puts one text in the place of every value.
type Suppress struct {
	With string // "*" if empty
}

// Append implements [Operator].
func (s Suppress) Append(dst []byte, _ Cell) ([]byte, error) {
	if s.With == "" {
		return append(dst, '*'), nil
	}
	return append(dst, s.With...), nil
}

// Mask hides the characters of a value and shows some at its ends. A value that has no
// more characters than are shown is hidden whole. The length remains visible.
type Mask struct {
	First, Last int  // how many characters are shown at either end
	With        rune // '*' if 0
	// Separators leaves everything but letters and digits as it is.
	Separators bool
}

// Append implements [Operator].
func (m Mask) Append(dst []byte, cell Cell) ([]byte, error) {
	with := m.With
	if with == 0 {
		with = '*'
	}
	length := utf8.RuneCount(cell.Value)
	first, last := max(m.First, 0), max(m.Last, 0)
	if length <= first+last {
		first, last = 0, 0
	}
	i := 0
	for rest := cell.Value; len(rest) > 0; i++ {
		c, size := utf8.DecodeRune(rest)
		shown := i < first || i >= length-last || m.Separators && !unicode.IsLetter(c) && !unicode.IsNumber(c) && c != utf8.RuneError
		if shown {
			dst = append(dst, rest[:size]...)
		} else {
			dst = utf8.AppendRune(dst, with)
		}
		rest = rest[size:]
	}
	return dst, nil
}

// Hierarchy is what [Generalise] asks of a hierarchy.
type Hierarchy interface {
	// Levels is the number of levels, that of the values and the top included.
	Levels() int
	// Leaf finds a value.
	Leaf(value string) (uint32, bool)
	// Group is the group of a leaf at a level.
	Group(level int, leaf uint32) uint32
	// Label is the text that is published for a group.
	Label(level int, group uint32) string
}

// Generalise publishes the group of a value at one level of a hierarchy. One that [Parse]
// made has none before [Generalise.Use].
type Generalise struct {
	hierarchy Hierarchy
	level     int
}

// NewGeneralise checks that the hierarchy has the level.
func NewGeneralise(h Hierarchy, level int) (*Generalise, error) {
	g := &Generalise{level: level}
	return g, g.Use(h)
}

// Use takes the hierarchy, which has to have the level.
func (g *Generalise) Use(h Hierarchy) error {
	if g.level < 0 || g.level >= h.Levels() {
		return fmt.Errorf("the hierarchy has no level %d: its levels are 0 to %d", g.level, h.Levels()-1)
	}
	g.hierarchy = h
	return nil
}

// Level is which one is published.
func (g *Generalise) Level() int { return g.level }

// Append implements [Operator]. The error is [ErrHierarchy].
func (g *Generalise) Append(dst []byte, cell Cell) ([]byte, error) {
	if g.hierarchy == nil {
		return dst, ErrHierarchy
	}
	leaf, ok := g.hierarchy.Leaf(string(cell.Value))
	if !ok {
		if len(cell.Value) == 0 {
			return dst, nil
		}
		return dst, ErrHierarchy
	}
	return append(dst, g.hierarchy.Label(g.level, g.hierarchy.Group(g.level, leaf))...), nil
}

// number reads a finite decimal number.
func number(value []byte) (float64, error) {
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, ErrNumber
	}
	return f, nil
}

// exact is up to which number a float64 has every whole number.
const exact = 1 << 53

// Bucket publishes the interval in which a number is.
type Bucket struct {
	width, base float64
	whole       bool
}

// NewBucket makes intervals of a width that begin at base and at multiples of the width
// from there. Columns of whole numbers have labels such as "20-29" and refuse other
// numbers; without whole, labels are such as "[20, 30)".
func NewBucket(width, base float64, whole bool) (*Bucket, error) {
	if !(width > 0) || math.IsInf(width, 0) || math.IsNaN(base) || math.IsInf(base, 0) {
		return nil, fmt.Errorf("intervals of width %v from %v: the width has to be above 0, and both numbers finite", width, base)
	}
	if whole && (width != math.Trunc(width) || base != math.Trunc(base)) {
		return nil, fmt.Errorf("intervals of whole numbers cannot have the width %v from %v", width, base)
	}
	return &Bucket{width, base, whole}, nil
}

// Append implements [Operator]. The error is [ErrNumber] or [ErrWhole].
func (b *Bucket) Append(dst []byte, cell Cell) ([]byte, error) {
	if len(cell.Value) == 0 {
		return dst, nil
	}
	f, err := number(cell.Value)
	if err != nil || math.Abs(f-b.base)/b.width >= exact {
		return dst, ErrNumber
	}
	if b.whole && f != math.Trunc(f) {
		return dst, ErrWhole
	}
	low := b.base + math.Floor((f-b.base)/b.width)*b.width
	high := low + b.width
	if b.whole {
		dst = strconv.AppendFloat(dst, low, 'f', 0, 64)
		if b.width == 1 {
			return dst, nil
		}
		return strconv.AppendFloat(append(dst, '-'), high-1, 'f', 0, 64), nil
	}
	dst = strconv.AppendFloat(append(dst, '['), low, 'g', 12, 64)
	return append(strconv.AppendFloat(append(dst, ", "...), high, 'g', 12, 64), ')'), nil
}

// Wider is the label of the interval in which that of a label is, if intervals are so many
// times as wide. It is false for what is no label of these intervals.
func (b *Bucket) Wider(label string, times int) (string, bool) {
	low, ok := b.low(label)
	if !ok {
		return "", false
	}
	if !b.whole {
		low += b.width / 2 // labels are rounded, and the middle is in no other interval
	}
	wide := &Bucket{b.width * float64(times), b.base, b.whole}
	out, err := wide.Append(nil, Cell{Value: strconv.AppendFloat(nil, low, 'g', -1, 64)})
	return string(out), err == nil
}

// low is where the interval of a label begins.
func (b *Bucket) low(label string) (float64, bool) {
	text := label
	if b.whole && b.width > 1 {
		end := strings.IndexByte(strings.TrimPrefix(label, "-"), '-')
		if end < 0 {
			return 0, false
		}
		text = label[:len(label)-len(strings.TrimPrefix(label, "-"))+end]
	} else if !b.whole {
		text, _, _ = strings.Cut(strings.TrimPrefix(label, "["), ", ")
	}
	low, err := number([]byte(text))
	if err != nil {
		return 0, false
	}
	middle := low
	if !b.whole {
		middle += b.width / 2
	}
	again, err := b.Append(nil, Cell{Value: strconv.AppendFloat(nil, middle, 'g', -1, 64)})
	return low, err == nil && string(again) == label
}

// Code replaces numbers outside limits: those above Top by one text, those below Bottom
// by another. Numbers between them stay as they are. HIPAA's rule on ages is
// [AgesOf90].
type Code struct {
	bottom, top         float64
	bottomText, topText string
}

// NewCode takes limits, of which infinite ones code nothing, and the texts for what is
// below and above them: "<18" and ">89" where they are empty.
func NewCode(bottom, top float64, bottomText, topText string) (*Code, error) {
	if math.IsNaN(bottom) || math.IsNaN(top) || bottom > top {
		return nil, fmt.Errorf("the limits %v and %v are not in order", bottom, top)
	}
	if math.IsInf(bottom, -1) && math.IsInf(top, 1) {
		return nil, errors.New("there is no limit: give a lower or an upper one")
	}
	if bottomText == "" {
		bottomText = "<" + strconv.FormatFloat(bottom, 'f', -1, 64)
	}
	if topText == "" {
		topText = ">" + strconv.FormatFloat(top, 'f', -1, 64)
	}
	return &Code{bottom, top, bottomText, topText}, nil
}

// AgesOf90 puts all ages over 89 into one category (45 CFR 164.514(b)(2)(i)(C)).
func AgesOf90() *Code {
	return &Code{bottom: math.Inf(-1), top: 89, topText: "90+"}
}

// Append implements [Operator]. The error is [ErrNumber].
func (c *Code) Append(dst []byte, cell Cell) ([]byte, error) {
	if len(cell.Value) == 0 {
		return dst, nil
	}
	f, err := number(cell.Value)
	switch {
	case err != nil:
		return dst, err
	case f > c.top:
		return append(dst, c.topText...), nil
	case f < c.bottom:
		return append(dst, c.bottomText...), nil
	}
	return append(dst, cell.Value...), nil
}
