package committee

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cloudflare/circl/group"
)

// Recover interpolates the secret from the t shares with the lowest indexes;
// shares are keyed by the 0-based index of their validator in the committee
// record. It checks nothing: a wrong share gives a wrong secret without an
// error, so what the secret opens has to tell (see [Open]). It returns
// [ErrNotEnough] for fewer than t shares and [ErrShare] for a share that cannot
// be one.
func Recover(t int, shares map[int]Share) (Secret, error) {
	use, err := choose(t, shares)
	if err != nil {
		return Secret{}, err
	}
	return interpolate(use, weights(use), shares)
}

// choose picks the T holders whose shares are used: those of the lowest indexes.
func choose(t int, shares map[int]Share) (use []int, err error) {
	if t < 1 || t > MaxHolders {
		return nil, fmt.Errorf("cannot recover from %d shares: want 1 to %d", t, MaxHolders)
	}
	if len(shares) < t {
		return nil, ErrNotEnough{Need: t, Good: len(shares)}
	}
	use = slices.Sorted(maps.Keys(shares))[:t]
	if use[0] < 0 || use[t-1] >= MaxHolders {
		return nil, fmt.Errorf("%w: an index is out of range", ErrShare)
	}
	return use, nil
}

// Recovery recovers many secrets from the shares of the same holders: the weights of
// the interpolation, which cost more than all the rest, are computed once for each set
// of holders. The zero value works; it may be used by many goroutines.
type Recovery struct {
	mu   sync.Mutex
	sets map[string][]group.Scalar // by the indexes; nobody changes the scalars
}

// maxSets bounds what a Recovery keeps: T of N holders can be chosen in many ways.
const maxSets = 64

// Recover is [Recover].
func (r *Recovery) Recover(t int, shares map[int]Share) (Secret, error) {
	use, err := choose(t, shares)
	if err != nil {
		return Secret{}, err
	}
	return interpolate(use, r.weights(use), shares)
}

func (r *Recovery) weights(use []int) []group.Scalar {
	key := make([]byte, len(use))
	for i, index := range use {
		key[i] = byte(index) // below MaxHolders
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.sets[string(key)]; ok {
		return w
	}
	if r.sets == nil || len(r.sets) >= maxSets {
		r.sets = map[string][]group.Scalar{}
	}
	w := weights(use)
	r.sets[string(key)] = w
	return w
}

func interpolate(use []int, weights []group.Scalar, shares map[int]Share) (Secret, error) {
	sum, term := curve.NewScalar(), curve.NewScalar()
	for i, weight := range weights {
		b := shares[use[i]].Value
		y, err := scalarFrom(b[:])
		if err != nil {
			return Secret{}, err
		}
		sum.Add(sum, term.Mul(y, weight))
	}
	if sum.IsZero() { // a dealer never shares zero
		return Secret{}, fmt.Errorf("%w: together they give no secret", ErrShare)
	}
	return secretOf(sum), nil
}

// weights are the Lagrange coefficients at 0 of distinct indexes: for each x the
// product of x'/(x'-x) over the others. They depend on public indexes only. An
// inversion costs as much as 280 products, so there is one for all of them
// (Montgomery's trick).
func weights(indexes []int) []group.Scalar {
	n := len(indexes)
	num, den := make([]group.Scalar, n), make([]group.Scalar, n)
	before := make([]group.Scalar, n) // product of the denominators before i
	all, diff := curve.NewScalar().SetUint64(1), curve.NewScalar()
	for i, index := range indexes {
		x := position(index)
		num[i], den[i] = curve.NewScalar().SetUint64(1), curve.NewScalar().SetUint64(1)
		for j, other := range indexes {
			if i == j {
				continue
			}
			y := position(other)
			num[i].Mul(num[i], y)
			den[i].Mul(den[i], diff.Sub(y, x))
		}
		before[i] = all.Copy()
		all.Mul(all, den[i])
	}
	inverse := curve.NewScalar().Inv(all)
	for i := n - 1; i >= 0; i-- {
		num[i].Mul(num[i], before[i])
		num[i].Mul(num[i], inverse)
		inverse.Mul(inverse, den[i])
	}
	return num
}

// Open recovers a secret from the answers of validators and tries it, without
// checking any share first: the usual case costs one interpolation. Only if try
// fails, every share is checked against the commitments, those that do not match
// are named, and the rest is tried once more.
//
// The liars are 0-based indexes in ascending order; they are also returned where
// the second attempt succeeds. A liar among shares that the first attempt did
// not need goes unnoticed. Errors:
//
//   - [ErrNotEnough] where fewer than t shares are good;
//   - [ErrCommitments] where the commitments themselves are bad, so that nobody can be blamed;
//   - what try returned, where it fails on good shares: then the dealer or the
//     sealed bytes are wrong, not the validators.
//
// try must authenticate what it opens; it is called at most twice.
func Open(c Commitments, t int, shares map[int]Share, try func(Secret) error) (liars []int, err error) {
	return OpenScaled(Unscaled(c), t, shares, try)
}

// OpenScaled is [Open] for shares that may have been dealt again. All of them must
// be of one epoch, the one whose commitments are c: a holder that answers from
// another looks like a liar.
func OpenScaled(c Scaled, t int, shares map[int]Share, try func(Secret) error) (liars []int, err error) {
	if len(c.Points) != t {
		return nil, c.Points.Valid(t)
	}
	if len(shares) < t {
		return nil, ErrNotEnough{Need: t, Good: len(shares)}
	}
	s, err := Recover(t, shares)
	if err == nil {
		if err = try(s); err == nil {
			return nil, nil
		}
	}
	first := err
	p, err := c.Parse(t)
	if err != nil {
		return nil, fmt.Errorf("%w, after: %w", err, first)
	}
	good := make(map[int]Share, len(shares))
	for index, share := range shares {
		if p.Check(index, share) == nil {
			good[index] = share
		} else {
			liars = append(liars, index)
		}
	}
	slices.Sort(liars)
	if len(good) < t {
		return liars, ErrNotEnough{Need: t, Good: len(good)}
	}
	if used := slices.Sorted(maps.Keys(shares))[t-1]; len(liars) == 0 || liars[0] > used {
		return liars, first // it failed on good shares: trying them again changes nothing
	}
	if s, err = Recover(t, good); err != nil {
		return liars, err
	}
	return liars, try(s)
}
