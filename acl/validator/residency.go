package validator

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// LabelResidency is the label that says where an object may be read and carried: names
// of regions with commas between them, such as "ch,eu". Who is where, a signed role
// says (policy.RegionPrefix), and no address that somebody has.
const LabelResidency = "residency"

// ErrResidency reports a label of residency that does not read.
var ErrResidency = errors.New("the label residency is wrong")

// ReadResidency reads the regions of an object strictly: at most one label, names as
// roles have them, sorted, each once. None: anywhere. Every error is [ErrResidency].
func ReadResidency(labels []Label) (regions []string, err error) {
	for _, l := range labels {
		if l.Key != LabelResidency {
			continue
		}
		if regions != nil {
			return nil, fmt.Errorf("%w: it stands twice", ErrResidency)
		}
		regions = strings.Split(l.Value, ",")
		for i, r := range regions {
			if r == "" || policy.CheckRole(policy.RegionPrefix+r) != nil || i > 0 && r <= regions[i-1] {
				return nil, fmt.Errorf("%w: it names regions in order, with commas, like \"ch,eu\"", ErrResidency)
			}
		}
	}
	return regions, nil
}

var errElsewhere = &broken{"residency", "no signed role places who asks in a region of the object"}

// resides checks that somebody with roles is in a region of an object. Its owner put
// it where it is and is everywhere.
func resides(d *Dealing, who statement.ID, roles []string) error {
	regions, err := ReadResidency(d.Labels)
	if err != nil || len(regions) == 0 || who == d.Owner {
		return nil // no validator took a label that does not read
	}
	if slices.ContainsFunc(policy.Regions(roles), func(r string) bool { return slices.Contains(regions, r) }) {
		return nil
	}
	return errElsewhere
}

// placed checks that the audience of a grant is in a region of each object under its
// target that is deposited here, as many as are looked at. Objects that come later are
// judged by themselves, at each release and when somebody carries them.
func (j *Judge) placed(g *capability.Grant) error {
	roles := j.Roles.Roles(g.Audience, j.Now())
	looked := 0
	var elsewhere error
	err := j.Store.Scan(withinKey(g.Owner, g.Target), nil, func(key, _ []byte) (bool, error) {
		dep, err := j.loadKey(statement.ID(key[len(key)-len(statement.ID{}):]))
		if errors.Is(err, kv.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		d, _, err := readDealing(dep.Dealing)
		if err != nil {
			return false, err
		}
		looked++
		elsewhere = resides(d, g.Audience, roles)
		return elsewhere == nil && looked < maxFacts, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return elsewhere
}

// carriedHere checks that a peer may be named as a carrier of an object.
func (j *Judge) carriedHere(dep *deposit, who statement.ID) error {
	d, _, err := readDealing(dep.Dealing)
	if err != nil {
		return err
	}
	return resides(d, who, j.Roles.Roles(who, j.Now()))
}
