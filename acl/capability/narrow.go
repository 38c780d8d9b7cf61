package capability

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Within checks that a link is no wider than its parent in any field. The error
// names the field.
//
// The target stays the parent's. A version lies within its lineage, and a lineage
// within a scope, but only the manifest says so, and a chain is verified where
// nobody has the manifest: a link could name a version of something else.
func (g *Grant) Within(parent *Grant) error {
	switch {
	case g.Network != parent.Network || g.Record != parent.Record || g.Owner != parent.Owner:
		return errors.New("it leaves the network, the committee record or the owner of its parent")
	case parent.Subject == SubjectEnclave && g.Subject != SubjectEnclave:
		return errors.New("its parent is for an enclave and it is not")
	case parent.Abilities&Delegate == 0 || parent.Depth == 0:
		return errors.New("its parent may not be delegated")
	case g.Depth >= parent.Depth:
		return errors.New("its depth is not smaller than its parent's")
	case g.Target != parent.Target:
		return errors.New("its target is not its parent's")
	case g.Caveats.NotBefore < parent.Caveats.NotBefore || g.Caveats.Expires > parent.Caveats.Expires:
		return errors.New("its time is not within its parent's")
	}
	return g.narrower(parent.Abilities, &parent.Caveats, "its parent")
}

// narrower checks everything but target, depth and time, which a grant and a
// standing consent say in ways of their own. The name of what is above stands in
// the error.
func (g *Grant) narrower(above Abilities, p *Caveats, name string) error {
	c := &g.Caveats
	switch extra := g.Abilities.Implied() &^ above.Implied(); {
	case extra != 0:
		return fmt.Errorf("it has abilities that %s lacks: %s", name, extra)
	case c.MaxClass > p.MaxClass:
		return fmt.Errorf("its classification is above %s's", name)
	case c.Offline && !p.Offline:
		return fmt.Errorf("it allows offline use and %s does not", name)
	case !subset(c.Purposes, p.Purposes, func(a, b string) bool { return a == b }):
		return fmt.Errorf("its purposes are wider than %s's", name)
	case !subset(c.Regions, p.Regions, func(a, b string) bool { return a == b }):
		return fmt.Errorf("its regions are wider than %s's", name)
	case !subset(c.Attestation, p.Attestation, bytes.Equal):
		return fmt.Errorf("its measurements are wider than %s's", name)
	}
	return nil
}

// subset compares lists of which an empty one allows everything.
func subset[T any](child, parent []T, equal func(a, b T) bool) bool {
	if len(parent) == 0 {
		return true
	}
	return len(child) > 0 && !slices.ContainsFunc(child, func(w T) bool {
		return !slices.ContainsFunc(parent, func(p T) bool { return equal(p, w) })
	})
}
