package validator

import (
	"bytes"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// MaxEpochs is how many shares of one object a validator holds at most: that of
// the epoch before, and those of the plans of a rotation that was begun again.
const MaxEpochs = 8

// held is a validator's share of an object's secret in one epoch. The first epoch
// of a dealing is the dealing itself; each rotation of the committee makes
// another one (see rotation.go). Shares of different epochs never mix.
type held struct {
	_      struct{}     `cbor:",toarray"`
	Epoch  statement.ID // the dealing's id, or [nextEpoch]
	Record statement.ID // committee record in which this validator's place gives the share's
	Share  keystore.Sealed
	Scale  []byte                // of Points; empty in the first epoch
	Points committee.Commitments // empty in the first epoch, whose dealing has them
	Made   []byte                // [madeBy]; empty in the first epoch
	Dealt  []byte                // a digest of what each dealer sent, eight bytes each
}

// madeBy names what a plan makes of the shares of an epoch, whatever comes out:
// the plan's id, then the epoch's.
func madeBy(plan, epoch statement.ID) []byte { return slices.Concat(plan[:], epoch[:]) }

// nextEpoch names shares that were re-shared. The commitments are in it: a dealer
// that shows receivers different polynomials makes shares that do not belong
// together, and those must not be counted together.
func nextEpoch(made []byte, s committee.Scaled) statement.ID {
	return statement.Hash("epoch", append([][]byte{made, s.Scale[:]}, s.Points...)...)
}

// dealtDigest is what a receiver remembers of one dealer's sub-dealing.
func dealtDigest(c committee.Commitments) []byte {
	d := statement.Hash("sub-dealing", c...)
	return d[:8]
}

// shareAAD ties a sealed share to its place.
func shareAAD(keyID, epoch statement.ID) []byte { return slices.Concat(keyID[:], epoch[:]) }

// commitments are what the shares of an epoch fit. d is the deposit's dealing.
func (h *held) commitments(d *Dealing) (committee.Scaled, error) {
	if len(h.Points) == 0 {
		return committee.Unscaled(d.Commitments), nil
	}
	if len(h.Scale) != 32 {
		return committee.Scaled{}, fmt.Errorf("stored epoch: %w", committee.ErrCommitments)
	}
	return committee.Scaled{Scale: [32]byte(h.Scale), Points: h.Points}, nil
}

// made finds out whether a plan's shares of an epoch are here.
func (d *deposit) made(by []byte) bool {
	return slices.ContainsFunc(d.Shares, func(h held) bool { return bytes.Equal(h.Made, by) })
}

// in finds the share of an epoch.
func (d *deposit) in(epoch statement.ID) *held {
	for i := range d.Shares {
		if d.Shares[i].Epoch == epoch {
			return &d.Shares[i]
		}
	}
	return nil
}

// seat is this validator's place in a record, -1 where it has none.
func (j *Judge) seat(r *trust.Committee) int {
	key := j.Signing.Public()
	return slices.IndexFunc(r.Validators, func(v trust.Validator) bool { return v.Signing == key })
}

// sitting is the newest record and this validator's place in it. A validator
// that was replaced judges nothing new; it releases what it still holds.
func (j *Judge) sitting() (*trust.Committee, int, error) {
	r := j.Trust.Current()
	i := j.seat(r)
	if i < 0 {
		return nil, 0, fmt.Errorf("%w: it is not in the committee any more", ErrUnavailable)
	}
	return r, i, nil
}
