package validator

import (
	"errors"

	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds are the statements of this package's network that travel in the
// validators' logs beside those of package revocation: a validator that was away
// when a role was given or taken away, or that joined later, learns of it there.
// Every party's set is opened with them.
func Kinds() revocation.Kinds { return revocation.Kinds{policy.KindRole: roleFact} }

func roleFact(e revocation.Entry, chain *trust.Chain) (*revocation.Fact, error) {
	if len(e.Identity) > 0 {
		return nil, errors.New("a role is signed by validators, and comes with nobody's record")
	}
	r, err := policy.VerifyRole(e.Statement, chain)
	if err != nil {
		return nil, err
	}
	return &revocation.Fact{
		Kind: policy.KindRole, ID: r.ID(), Subjects: []statement.ID{r.Identity}, Record: r.Record, Body: e.Statement,
	}, nil
}

// takeRoles keeps the role statements that other validators' logs brought.
func (j *Judge) takeRoles() error {
	var errs []error
	for _, f := range j.Set.OfKind(policy.KindRole) {
		if kept, err := j.Book.Has(f.ID); kept || err != nil {
			errs = append(errs, err)
			continue
		}
		raw, ok := f.Body.([]byte)
		if !ok {
			continue
		}
		if _, _, err := j.Book.Take(raw); err != nil && !errors.Is(err, policy.ErrRole) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// logRole puts a role statement that is kept into this validator's log.
func (j *Judge) logRole(raw []byte) error {
	_, err := j.Log.Append(revocation.Entry{Statement: raw})
	if errors.Is(err, revocation.ErrStarting) { // the others that keep it have it in theirs
		return nil
	}
	return err
}
