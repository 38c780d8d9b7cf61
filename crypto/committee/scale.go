package committee

import (
	"fmt"
	"slices"

	"github.com/cloudflare/circl/group"
)

// Scaled are commitments to a scaled sharing. A share of the validator at x fits if
//
//	Scale*Value*G + Scale*Blinding*H = Points[0] + x*Points[1] + ...
//
// The scale is public. A dealing by its owner has the scale 1 (see [Unscaled]);
// re-sharing multiplies it by a small integer, which spares divisions of points.
type Scaled struct {
	Scale  [size]byte
	Points Commitments
}

// Unscaled are the commitments of an owner's dealing, whose scale is 1.
func Unscaled(c Commitments) Scaled { return Scaled{[size]byte{1}, c} }

// Parsed are [Scaled] that were decoded and found canonical. They are read only,
// so goroutines may share them.
type Parsed struct {
	scale  group.Scalar
	points points
}

// Parse decodes the commitments of a sharing in which t shares are needed. It
// returns [ErrCommitments] for a scale that is zero or not canonical and for
// points that [Commitments.Valid] refuses.
func (s Scaled) Parse(t int) (*Parsed, error) {
	if len(s.Points) != t {
		return nil, s.Points.Valid(t)
	}
	scale, err := scalarFrom(s.Scale[:])
	if err != nil || scale.IsZero() {
		return nil, fmt.Errorf("%w: the scale is not a non-zero canonical scalar", ErrCommitments)
	}
	p, err := s.Points.points()
	if err != nil {
		return nil, err
	}
	return &Parsed{scale, p}, nil
}

// Check reports whether s is the share of the validator with a 0-based index; if
// not, the error is [ErrShare].
func (p *Parsed) Check(index int, s Share) error {
	if index < 0 || index >= MaxHolders {
		return fmt.Errorf("%w: no validator has the index %d", ErrShare, index)
	}
	value, blinding, err := p.scaled(s)
	if err != nil {
		return err
	}
	if !commit(value, blinding).IsEqual(p.points.at(uint(index) + 1)) {
		return ErrShare
	}
	return nil
}

// scaled are both scalars of a share times the scale.
func (p *Parsed) scaled(s Share) (value, blinding group.Scalar, err error) {
	if value, err = scalarFrom(s.Value[:]); err != nil {
		return nil, nil, err
	}
	if blinding, err = scalarFrom(s.Blinding[:]); err != nil {
		return nil, nil, err
	}
	return value.Mul(value, p.scale), blinding.Mul(blinding, p.scale), nil
}

// equal reports whether both are the same commitments with the same scale.
func (p *Parsed) equal(o *Parsed) bool {
	return p == o || p.scale.IsEqual(o.scale) && slices.EqualFunc(p.points, o.points, group.Element.IsEqual)
}
