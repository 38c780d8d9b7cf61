package capability

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Abilities is a set of what a grant allows.
type Abilities uint16

// The abilities. Whoever holds a key or an answer can copy it: what stands here
// decides who gets one, no more.
const (
	// Carry is to fetch, check, hold, repair and serve the ciphertext, never to
	// read it.
	Carry Abilities = 1 << iota
	// Read is to obtain the key from the validators. It implies Carry.
	Read
	// Write is reserved and refused everywhere: an object has one writer, its owner.
	Write
	// Infer is to send inputs to a deployed model and get its outputs. It implies
	// nothing: who may ask a model may fetch no block of it, not as ciphertext either.
	Infer
	// Deploy is to obtain a model's key inside an attested enclave. It implies
	// Carry, since the enclave's host fetches the ciphertext, and not Read: the key
	// goes to the enclave, never to a device of the audience.
	Deploy
	// Delegate is to hand on, narrower, as often as the depth says.
	Delegate
	// Revoke is to revoke below this statement. An issuer may take back what stands
	// below it without this ability, since revoking is easier than granting; with
	// it, a grant says in its own words that its audience answers for what it hands
	// on. It never reaches the statement itself, nor what others were given.
	Revoke
	// Audit is to read the entries about the target in the audit logs. It opens
	// nothing else.
	Audit
	all = 1<<iota - 1
)

var abilityNames = []string{"carry", "read", "write", "infer", "deploy", "delegate", "revoke", "audit"}

// ParseAbilities reads a comma-separated list such as "read,delegate".
func ParseAbilities(s string) (Abilities, error) {
	var a Abilities
	for _, w := range strings.Split(s, ",") {
		i := slices.Index(abilityNames, strings.TrimSpace(w))
		if i < 0 {
			return 0, fmt.Errorf("unknown ability %q; the abilities are %s", w, strings.Join(abilityNames, ", "))
		}
		a |= 1 << i
	}
	if a&Write != 0 {
		return 0, errors.New("the ability write is reserved: an object has one writer, its owner")
	}
	return a, nil
}

// String lists the abilities, comma-separated.
func (a Abilities) String() string {
	var out []string
	for i, n := range abilityNames {
		if a&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// Implied adds what the abilities bring with them.
func (a Abilities) Implied() Abilities {
	if a&(Read|Deploy) != 0 {
		a |= Carry
	}
	return a
}
