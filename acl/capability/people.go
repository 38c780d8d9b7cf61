package capability

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// People tells what the validators' logs know of identities.
type People interface {
	// Records lists the records of an identity after its inception, in the same
	// order as long as nothing was added. It must be cheap, since it is asked for
	// every identity of every chain, and its result is not changed.
	Records(id statement.ID) []*identity.Record
}

var errNotAccepted = errors.New("the device that signed it was removed, and it was not accepted before that")

// person is an identity as it stands with all that is known of it.
type person struct {
	*identity.Identity
	state statement.ID // another one where devices may be others
}

// shown is an identity document that came with a request. Nobody has verified
// it, unless a memory knows it.
type shown struct {
	raw   []byte
	id    statement.ID // that it would prove
	alone statement.ID // key of the document by itself
	key   statement.ID // key of the document with later folded in
	later []*identity.Record
	base  *person // what the document alone was verified to be before; nil: not yet
	known *person // the same with later folded in
}

// lookAt finds out whose document it is and what else is known of that identity.
func (vf *Verifier) lookAt(doc []byte) (*shown, error) {
	if len(doc) > identity.MaxDocument {
		return nil, fmt.Errorf("an identity document has more than %d bytes", identity.MaxDocument)
	}
	sh := &shown{raw: doc, alone: statement.Hash("identity document", doc)}
	if p, ok := vf.people.get(sh.alone, rememberedPeople); ok {
		sh.id, sh.base = p.ID(), p
	} else {
		var err error
		if sh.id, err = identity.IDOf(doc); err != nil {
			return nil, fmt.Errorf("identity document: %w", err)
		}
	}
	sh.key, sh.known = sh.alone, sh.base
	if vf.People == nil {
		return sh, nil
	}
	if sh.later = vf.People.Records(sh.id); len(sh.later) > 0 {
		sh.key = keyWith(sh.alone, sh.later)
		sh.known = nil
		if p, ok := vf.people.get(sh.key, rememberedPeople); ok {
			sh.known = p
		}
	}
	return sh, nil
}

// keyWith names a document and what is folded in: a record that becomes known
// makes another key, so that it takes effect at once.
func keyWith(document statement.ID, later []*identity.Record) statement.ID {
	ids := make([]byte, 0, len(later)*len(document))
	for _, r := range later {
		id := r.ID()
		ids = append(ids, id[:]...)
	}
	return statement.Hash("identity document with later records", document[:], ids)
}

// meet verifies a document that was looked at and folds in what else is known.
func (vf *Verifier) meet(sh *shown) (*person, error) {
	if sh.known != nil {
		return sh.known, nil
	}
	if sh.base == nil {
		id, err := identity.Parse(sh.raw)
		if err != nil {
			return nil, err
		}
		sh.base = &person{id, sh.alone}
	}
	sh.known = sh.base
	if len(sh.later) > 0 {
		id, err := sh.base.With(sh.later...)
		if err != nil {
			return nil, err
		}
		sh.known = &person{id, sh.key}
	}
	return sh.known, nil
}

// remember keeps a person who was met. Only of whole chains that hold, or of who
// proves possession: anybody can make identities, to fill a memory.
func (vf *Verifier) remember(sh *shown) {
	vf.people.add(sh.alone, sh.base, rememberedPeople)
	if sh.key != sh.alone {
		vf.people.add(sh.key, sh.known, rememberedPeople)
	}
}

// Identity verifies an identity document and folds in what the logs know beyond
// it. What it says of devices is as new as the verifier's [People].
func (vf *Verifier) Identity(doc []byte) (*identity.Identity, error) {
	sh, err := vf.lookAt(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	p, err := vf.meet(sh)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	return p.Identity, nil
}

// signedBy checks that a device of an identity signed a statement, and whether
// the device speaks for it still.
func signedBy(kind statement.Kind, s *statement.Statement, who *identity.Identity) (current bool, err error) {
	if err = who.Verify(kind, s); err == nil {
		return true, nil
	}
	if len(who.Ever()) == len(who.Devices()) { // do not verify twice what is forged
		return false, err
	}
	return false, who.VerifyEver(kind, s)
}

// accepted decides about a statement that is validly signed: by a device that
// speaks still, or else taken by this party when the device did.
func (vf *Verifier) accepted(current bool, id statement.ID) error {
	if current || vf.Accepted == nil || vf.Accepted(id) {
		return nil
	}
	return errNotAccepted
}
