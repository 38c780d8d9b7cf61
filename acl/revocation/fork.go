package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// maxForks bounds the proofs that are kept, one for each validator's key.
const maxForks = trust.MaxValidators

// Fork is the proof that a validator keeps two logs: two answers with one segment
// and one seq and two heads, both signed by it.
type Fork struct {
	_      struct{} `cbor:",toarray"`
	Signer statement.PublicKey
	A, B   []byte // signed [Fresh] statements
}

// Check verifies a proof. That the key was a validator's says the record that
// either answer names.
func (f *Fork) Check() error {
	a, err := freshOf(f.A, f.Signer)
	if err != nil {
		return err
	}
	b, err := freshOf(f.B, f.Signer)
	if err != nil {
		return err
	}
	if a.At.Segment != b.At.Segment || a.At.Seq != b.At.Seq || a.At.Head == b.At.Head {
		return errors.New("the two answers are of one log")
	}
	return nil
}

// Forks are the proofs that this party has met, one for each validator.
func (t *Tracker) Forks() []Fork {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.forks)
}

var forkPrefix = []byte("fork/")

func (t *Tracker) openForks() error {
	err := t.Store.Scan(forkPrefix, nil, func(key, value []byte) (bool, error) {
		var f Fork
		if err := statement.Unmarshal(value, &f); err != nil {
			return false, err
		}
		if !bytes.HasSuffix(key, f.Signer[:]) {
			return false, errPlace
		}
		t.forks = append(t.forks, f)
		return true, f.Check()
	})
	if err != nil {
		return fmt.Errorf("stored proofs of two logs: %w", err)
	}
	return nil
}

// keepFork keeps the first proof against a validator, durably.
func (t *Tracker) keepFork(f Fork) error {
	if err := f.Check(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.forks) >= maxForks || slices.ContainsFunc(t.forks, func(o Fork) bool { return o.Signer == f.Signer }) {
		return nil
	}
	raw, err := statement.Marshal(f)
	if err != nil {
		return err
	}
	if err := t.Store.Apply([]kv.Op{{Key: slices.Concat(forkPrefix, f.Signer[:]), Value: raw}}); err != nil {
		return err
	}
	t.forks = append(t.forks, f)
	return nil
}
