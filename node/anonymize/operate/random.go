package operate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	mrand "math/rand/v2"
	"time"
)

// layouts of dates that are read without being told, of which no two read one text as
// different days.
var layouts = []string{time.DateOnly, "2006/01/02", "20060102", time.DateTime, time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04", "02.01.2006"}

// MaxShift is the largest number of days by which dates are shifted: a century.
const MaxShift = 36525

// DateShift moves all dates of one subject by one secret number of days, from 1 to a
// limit, back or forth. Time between the events of one subject stays what it is; the
// subject's days do not. Times of day, and who was earlier than whom within the limit,
// are published as before. It is not for several goroutines at a time.
type DateShift struct {
	mac     hash.Hash
	days    uint64
	layouts []string
	sum     [sha256.Size]byte
}

// NewDateShift derives shifts of 1 to days days from the key for subjects of a dataset:
// columns of one dataset move together. Dates are read by the layouts given, in the form
// of package time, or else as ISO 8601 or as 31.12.2006; 01/02/2006 is one day here and
// another there, and needs its layout.
func NewDateShift(k Key, dataset string, days int, layout ...string) (*DateShift, error) {
	if dataset == "" {
		return nil, errors.New("shifts are bound to a dataset: name it")
	}
	if days < 1 || days > MaxShift {
		return nil, fmt.Errorf("dates may be shifted by 1 to %d days, not %d", MaxShift, days)
	}
	key, err := k.derive("date shift", Place{Dataset: dataset}, 32)
	if err != nil {
		return nil, err
	}
	if len(layout) == 0 {
		layout = layouts
	}
	return &DateShift{mac: hmac.New(sha256.New, key), days: uint64(days), layouts: layout}, nil
}

// Append implements [Operator]. The error is [ErrDate], or [ErrSubject] for a date
// without a subject.
func (s *DateShift) Append(dst []byte, cell Cell) ([]byte, error) {
	if len(cell.Value) == 0 {
		return dst, nil
	}
	if len(cell.Subject) == 0 {
		return dst, ErrSubject
	}
	text := string(cell.Value)
	for _, l := range s.layouts {
		t, err := time.Parse(l, text)
		if err != nil {
			continue
		}
		t = t.AddDate(0, 0, s.shift(cell.Subject))
		if t.Year() < 0 || t.Year() > 9999 {
			return dst, ErrDate
		}
		return t.AppendFormat(dst, l), nil
	}
	return dst, ErrDate
}

// shift is never 0, so that no date is published as it is.
func (s *DateShift) shift(subject []byte) int {
	s.mac.Reset()
	s.mac.Write(subject)
	n := int(binary.BigEndian.Uint64(s.mac.Sum(s.sum[:0])) % (2 * s.days))
	if n < int(s.days) {
		return n - int(s.days)
	}
	return n - int(s.days) + 1
}

// Shape is a distribution of noise.
type Shape int

const (
	// Laplace has the density exp(-|x|/scale) / (2 scale).
	Laplace Shape = iota
	// Gaussian has the scale for its standard deviation.
	Gaussian
)

// Noise adds a random number to a number. It hides small differences between rows and
// is no differential privacy. It is not for several goroutines at a time.
type Noise struct {
	shape     Shape
	scale     float64
	low, high float64
	decimals  int
	seed      [32]byte
	random    *mrand.ChaCha8 // a secure generator, with a seed that nobody keeps
}

// NewNoise takes a shape, its scale above 0, and bounds of what is published, which may
// be infinite: noise that leads out of them is drawn again, so that values do not pile up
// at the bounds, which have to be at least one scale apart. Results are rounded to 0 to 15
// decimals.
func NewNoise(shape Shape, scale, low, high float64, decimals int) (*Noise, error) {
	switch {
	case shape != Laplace && shape != Gaussian:
		return nil, errors.New("noise is Laplace or Gaussian")
	case !(scale > 0) || math.IsInf(scale, 0):
		return nil, fmt.Errorf("the scale of noise is %v and has to be above 0", scale)
	case !(high-low >= scale):
		return nil, fmt.Errorf("the bounds %v and %v have to be at least one scale of noise (%v) apart", low, high, scale)
	case decimals < 0 || decimals > 15:
		return nil, fmt.Errorf("there may be 0 to 15 decimals, not %d", decimals)
	}
	n := &Noise{shape: shape, scale: scale, low: low, high: high, decimals: decimals}
	rand.Read(n.seed[:]) // never fails
	n.random = mrand.NewChaCha8(n.seed)
	return n, nil
}

// Rewind implements [Rewinder]: the same noise once more, so that nobody gets two draws
// for one cell.
func (n *Noise) Rewind() { n.random.Seed(n.seed) }

// Append implements [Operator]. The error is [ErrNumber] or [ErrBounds].
func (n *Noise) Append(dst []byte, cell Cell) ([]byte, error) {
	if len(cell.Value) == 0 {
		return dst, nil
	}
	f, err := number(cell.Value)
	if err != nil {
		return dst, err
	}
	if f < n.low || f > n.high {
		return dst, ErrBounds
	}
	for {
		g := f + n.scale*n.draw()
		if n.low <= g && g <= n.high && !math.IsInf(g, 0) {
			return appendRounded(dst, g, n.decimals), nil
		}
	}
}

// draw is one number of scale 1.
func (n *Noise) draw() float64 {
	if n.shape == Laplace {
		u := n.uniform()
		if u < 0.5 {
			return math.Log(2 * u)
		}
		return -math.Log(2 * (1 - u))
	}
	// Box and Muller, A Note on the Generation of Random Normal Deviates, 1958.
	return math.Sqrt(-2*math.Log(n.uniform())) * math.Cos(2*math.Pi*n.uniform())
}

// uniform is above 0 and below 1.
func (n *Noise) uniform() float64 {
	return (float64(n.random.Uint64()>>12) + 0.5) / (1 << 52)
}
