package revocation

import (
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindRevocation is the kind of a [Revocation], signed by a device of its signer.
const KindRevocation statement.Kind = "revocation"

// Revocation says that a grant, a link or a consent no longer counts. One signer
// revokes a target once: another wording of it is no news.
type Revocation struct {
	_       struct{} `cbor:",toarray"`
	Network statement.ID
	Target  statement.ID // grant, link or consent
	Signer  statement.ID // identity
	Reason  string
	Time    int64 // unix seconds, informative
}

// Sign makes the entry of a revocation.
func Sign(r Revocation, signer *identity.Identity, device statement.PrivateKey) (Entry, error) {
	r.Signer = signer.ID()
	return sign(KindRevocation, r, signer, device)
}

// Verify checks the form and signature of a revocation. It does not say that the
// signer had the right to revoke.
func (e Entry) Verify(network statement.ID) (*Revocation, error) {
	r, _, err := e.revocation(network)
	return r, err
}

func (e Entry) revocation(network statement.ID) (*Revocation, statement.ID, error) {
	var r Revocation
	id, err := e.signedBy(KindRevocation, &r, &r.Signer)
	if err != nil {
		return nil, statement.ID{}, err
	}
	if r.Network != network || len(r.Reason) > maxReason {
		return nil, statement.ID{}, fmt.Errorf("%w: it is for another network, or its reason is too long", ErrEntry)
	}
	return &r, id, nil
}

func revocationFact(e Entry, chain *trust.Chain) (*Fact, error) {
	r, id, err := e.revocation(chain.Network())
	if err != nil {
		return nil, err
	}
	return &Fact{
		Kind: KindRevocation, ID: id, Slot: slices.Concat(r.Target[:], r.Signer[:]), Subjects: []statement.ID{r.Target}, Signer: r.Signer, Body: r,
	}, nil
}
