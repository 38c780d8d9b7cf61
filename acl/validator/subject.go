package validator

import (
	"slices"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// Deposited is what a validator knows of an object.
type Deposited struct {
	Address  cid.Cid
	Manifest envelope.Manifest // the owner signed it
	Labels   []Label
	Class    uint8
	Holders  []string // multiaddrs that its depositor named
}

// EachGrant calls fn with the grants and links that this validator keeps for an
// identity: those that it may use, or, with issued, those that it stands above.
func (j *Judge) EachGrant(who statement.ID, issued bool, fn func(Delivery) error) error {
	prefix := boxPrefix
	if issued {
		prefix = issuedPrefix
	}
	return j.Store.Scan(slices.Concat(prefix, who[:]), nil, func(key, _ []byte) (bool, error) {
		d, _, err := j.delivery(key)
		if err != nil {
			return false, err
		}
		return true, fn(d)
	})
}

// EachChain calls fn with every grant and link that this validator keeps.
func (j *Judge) EachChain(fn func(Delivery) error) error {
	return j.Store.Scan(chainPrefix, nil, func(_, value []byte) (bool, error) {
		var d Delivery
		if err := statement.Unmarshal(value, &d); err != nil {
			return false, err
		}
		return true, fn(d)
	})
}

// EachConsent calls fn with the standing consents of an owner that this validator
// keeps.
func (j *Judge) EachConsent(owner statement.ID, fn func(KeptConsent) error) error {
	return j.Store.Scan(slices.Concat(consentPrefix, owner[:]), nil, func(_, value []byte) (bool, error) {
		var k KeptConsent
		if err := statement.Unmarshal(value, &k); err != nil {
			return false, err
		}
		return true, fn(k)
	})
}

// EachDeposit calls fn with the objects of an owner of which this validator holds a
// share. It looks at all that are here.
func (j *Judge) EachDeposit(owner statement.ID, fn func(Deposited) error) error {
	return j.Store.Scan(depositPrefix, nil, func(_, value []byte) (bool, error) {
		var dep deposit
		if err := statement.Unmarshal(value, &dep); err != nil {
			return false, err
		}
		d, err := dep.describe()
		if err != nil || d.Manifest.Owner != owner {
			return err == nil, err
		}
		return true, fn(*d)
	})
}

// Deposited is what this validator knows of the object at an address. The error is
// kv.ErrNotFound where it was not deposited here.
func (j *Judge) Deposited(address cid.Cid) (*Deposited, error) {
	dep, _, err := j.load(address.Bytes())
	if err != nil {
		return nil, err
	}
	return dep.describe()
}

func (dep *deposit) describe() (*Deposited, error) {
	m, address, err := dep.manifest()
	if err != nil {
		return nil, err
	}
	d, _, err := readDealing(dep.Dealing)
	if err != nil {
		return nil, err
	}
	return &Deposited{Address: address, Manifest: *m, Labels: d.Labels, Class: d.Class, Holders: dep.Holders}, nil
}
