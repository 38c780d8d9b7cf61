package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// IdentityEntry makes the entry of an identity's record out of the identity with
// the record in it, which is what shows that its author spoke for the identity.
func IdentityEntry(r *identity.Record, after *identity.Identity) (Entry, error) {
	if !slices.ContainsFunc(after.Records(), func(o *identity.Record) bool { return o.ID() == r.ID() }) {
		return Entry{}, errors.New("the record does not count for the identity")
	}
	return Entry{Statement: r.Bytes(), Identity: after.Record()}, nil
}

// identityFact takes a record that counts in the document beside it. Whether it
// counts beside all others is found out by whoever folds them together.
func identityFact(e Entry, _ *trust.Chain) (*Fact, error) {
	r, err := identity.ParseRecord(e.Statement)
	if err != nil {
		return nil, err
	}
	id, err := identity.Parse(e.Identity)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(id.Records(), func(o *identity.Record) bool { return o.ID() == r.ID() }) {
		return nil, fmt.Errorf("%w: the record does not count in the document beside it", ErrEntry)
	}
	return &Fact{Kind: r.Kind(), ID: r.ID(), Subjects: []statement.ID{id.ID()}, Signer: id.ID(), Body: id.Records()}, nil
}

// IdentityRecords are the records of an identity that the logs hold, with those
// that stand before them, sorted by id: what [identity.Identity.With] takes.
func (s *Set) IdentityRecords(id statement.ID) []*identity.Record {
	var out []*identity.Record
	for _, kind := range []statement.Kind{identity.KindDevice, identity.KindRecovery} {
		for _, f := range s.Facts(kind, id) {
			out = append(out, f.Body.([]*identity.Record)...)
		}
	}
	slices.SortFunc(out, func(a, b *identity.Record) int {
		x, y := a.ID(), b.ID()
		return bytes.Compare(x[:], y[:])
	})
	return slices.CompactFunc(out, func(a, b *identity.Record) bool { return a.ID() == b.ID() })
}
