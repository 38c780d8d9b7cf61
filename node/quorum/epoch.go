package quorum

import (
	"bytes"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// epoch are the shares of one object in one epoch. Shares of different epochs
// never mix: they lie on different polynomials.
type epoch struct {
	record *trust.Committee // gives each share its place, and T
	shares map[int]entry    // by place in the record
	fits   *committee.Parsed
}

// entry is a share and who sent it.
type entry struct {
	from  int // as the committee counts servers
	share committee.Share
	claim *committee.Scaled // what its sender says that it fits, after a rotation
}

func (e *epoch) need() int { return int(e.record.Numbers.T) }

// enough reports T shares. Once it is known what they must fit, only those that
// do are counted.
func (e *epoch) enough() bool { return len(e.shares) >= e.need() }

// add keeps a share. The place comes from the record and the connection.
func (e *epoch) add(server statement.PublicKey, from int, s validator.ReleasedShare) error {
	at, ok := e.record.ByPeer(server)
	if !ok || len(s.Share) != 64 {
		return errors.New("what it released is no share of this committee")
	}
	got := entry{from: from, share: committee.Share{Value: [32]byte(s.Share[:32]), Blinding: [32]byte(s.Share[32:])}}
	if len(s.Scale) == 32 && len(s.Points) > 0 {
		got.claim = &committee.Scaled{Scale: [32]byte(s.Scale), Points: s.Points}
	}
	if e.fits != nil && e.fits.Check(at, got.share) != nil {
		return committee.ErrShare
	}
	e.shares[at] = got
	return nil
}

// agree finds what the shares of a later epoch fit: commitments that more than F
// validators name, one of whom is honest. It drops the shares that do not fit
// and returns who sent them.
func (e *epoch) agree() (liars []int) {
	if e.fits != nil {
		return nil
	}
	for _, a := range e.shares {
		if a.claim == nil {
			continue
		}
		same := 0
		for _, b := range e.shares {
			if b.claim != nil && a.claim.Scale == b.claim.Scale && slices.EqualFunc(a.claim.Points, b.claim.Points, bytes.Equal) {
				same++
			}
		}
		if same <= int(e.record.Numbers.F) {
			continue
		}
		p, err := a.claim.Parse(e.need())
		if err != nil {
			continue
		}
		return e.settle(p)
	}
	return nil
}

// settle fixes what shares must fit and drops those that do not.
func (e *epoch) settle(p *committee.Parsed) (liars []int) {
	e.fits = p
	for at, got := range e.shares {
		if p.Check(at, got.share) != nil {
			liars = append(liars, got.from)
			delete(e.shares, at)
		}
	}
	return liars
}

// secret recovers from the shares that are here.
func (e *epoch) secret(r *committee.Recovery) (committee.Secret, error) {
	all := make(map[int]committee.Share, len(e.shares))
	for at, got := range e.shares {
		all[at] = got.share
	}
	return r.Recover(e.need(), all)
}
