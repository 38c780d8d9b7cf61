package capability

import (
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Allows checks that the chain gives abilities on an object, all of them. The
// error says what is missing. The leaf alone is asked, here and below: it is no
// wider than anything above it.
func (v *Verified) Allows(want Abilities, o Object) error {
	leaf := v.leaf()
	switch {
	case leaf.Owner != o.Owner || leaf.Network != o.Network:
		return fmt.Errorf("%w: another owner's object", ErrScope)
	case !leaf.Target.Matches(o):
		return fmt.Errorf("%w: another object", ErrScope)
	case want&^leaf.Abilities.Implied() != 0:
		return fmt.Errorf("%w: it does not give %s", ErrScope, want&^leaf.Abilities.Implied())
	}
	return nil
}

// AllowsPurpose checks a stated purpose. Nobody can check that a reader means it;
// it stands in the audit log.
func (v *Verified) AllowsPurpose(purpose string) error {
	if ps := v.leaf().Caveats.Purposes; len(ps) > 0 && !slices.Contains(ps, purpose) {
		return fmt.Errorf("%w: it is for another purpose (state one with --purpose)", ErrScope)
	}
	return nil
}

// AllowsRegion checks the regions that the caller has established for whoever
// asks: one of them is enough. Nobody is anywhere by saying so, and who is nowhere
// gets nothing of a grant that names regions.
func (v *Verified) AllowsRegion(regions []string) error {
	allowed := v.leaf().Caveats.Regions
	if len(allowed) > 0 && !slices.ContainsFunc(regions, func(r string) bool { return slices.Contains(allowed, r) }) {
		return fmt.Errorf("%w: it is for another region", ErrScope)
	}
	return nil
}

// AllowsClass checks the classification of an object, as its dealing says it.
func (v *Verified) AllowsClass(class uint8) error {
	if v.leaf().Caveats.MaxClass < class {
		return fmt.Errorf("%w: the object's classification is above the grant's", ErrScope)
	}
	return nil
}

// NeedsAttestation reports a chain that gives a key to evidence alone: to an
// enclave, or to one that shows one of the measurements in the leaf. The caller
// verifies evidence, and where it does not, it refuses.
func (v *Verified) NeedsAttestation() bool {
	leaf := v.leaf()
	return leaf.Subject == SubjectEnclave || len(leaf.Caveats.Attestation) > 0
}

// MayKeep reports whether the audience may keep the key until the leaf expires,
// to read where no validator answers. A revocation does not reach it there.
func (v *Verified) MayKeep() bool { return v.leaf().Caveats.Offline }

// MayRevoke reports whether an identity stands above a statement of the chain:
// the owner above all of them and its consent, each audience above the links
// below it, with the ability [Revoke] or without.
func (v *Verified) MayRevoke(who, target statement.ID) bool {
	if target == v.consent {
		return who == v.owner.ID()
	}
	above := []statement.ID{v.owner.ID()}
	for i, id := range v.path {
		if id == target {
			return slices.Contains(above, who)
		}
		above = append(above, v.grants[i].Audience)
	}
	return false
}
