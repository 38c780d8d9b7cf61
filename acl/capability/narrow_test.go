package capability

import (
	"slices"
	"strings"
	"testing"
)

// variant is what a link does with one field of its parent.
type variant struct {
	name, rule    string // no rule: it is narrower, or the same
	parent, child func(g *Grant)
}

func same(*Grant) {}

// abilityVariants keep, drop and add an ability. Delegate cannot be added: where
// the parent lacks it there is no link at all.
func abilityVariants(a Abilities) []variant {
	drop := func(g *Grant) {
		g.Abilities &^= a
		if a == Delegate {
			g.Depth = 0
		}
	}
	out := []variant{
		{"keeps " + a.String(), "", same, same},
		{"drops " + a.String(), "", same, drop},
	}
	switch a {
	case Delegate:
		return append(out, variant{"adds delegate", "its parent may not be delegated", drop, same})
	case Carry: // it comes with read and deploy, so that both must be gone above
		alone := func(g *Grant) { g.Abilities &^= Carry | Read | Deploy }
		return append(out, variant{"adds carry", "abilities that its parent lacks: carry", alone, func(g *Grant) { alone(g); g.Abilities |= Carry }})
	}
	return append(out, variant{"adds " + a.String(), "abilities that its parent lacks: " + a.String(), drop, func(g *Grant) { g.Abilities |= a }})
}

// caveatVariants keep, narrow, widen and drop each caveat.
func caveatVariants() map[string][]variant {
	v := func(name, rule string, child func(g *Grant)) variant { return variant{name, rule, same, child} }
	const time, class, purposes, regions, measurements = "time is not within", "classification is above", "purposes are wider", "regions are wider", "measurements are wider"
	return map[string][]variant{
		"beginning": {
			v("keeps", "", same),
			v("narrows", "", func(g *Grant) { g.Caveats.NotBefore++ }),
			v("widens", time, func(g *Grant) { g.Caveats.NotBefore-- }),
			v("drops", time, func(g *Grant) { g.Caveats.NotBefore = 0 }),
		},
		"end": {
			v("narrows", "", func(g *Grant) { g.Caveats.Expires-- }),
			v("widens", time, func(g *Grant) { g.Caveats.Expires++ }),
			v("drops", time, func(g *Grant) { g.Caveats.Expires = 1<<63 - 1 }),
		},
		"classification": {
			v("narrows", "", func(g *Grant) { g.Caveats.MaxClass-- }),
			v("widens", class, func(g *Grant) { g.Caveats.MaxClass++ }),
			v("drops", class, func(g *Grant) { g.Caveats.MaxClass = 255 }),
		},
		"purposes": {
			v("narrows", "", func(g *Grant) { g.Caveats.Purposes = g.Caveats.Purposes[1:] }),
			v("widens", purposes, func(g *Grant) { g.Caveats.Purposes = append(g.Caveats.Purposes, "sale") }),
			v("drops", purposes, func(g *Grant) { g.Caveats.Purposes = nil }),
		},
		"regions": {
			v("narrows", "", func(g *Grant) { g.Caveats.Regions = g.Caveats.Regions[1:] }),
			v("widens", regions, func(g *Grant) { g.Caveats.Regions = append(g.Caveats.Regions, "us") }),
			v("drops", regions, func(g *Grant) { g.Caveats.Regions = nil }),
		},
		"attestation": {
			v("narrows", "", func(g *Grant) { g.Caveats.Attestation = g.Caveats.Attestation[1:] }),
			v("widens", measurements, func(g *Grant) { g.Caveats.Attestation = append(g.Caveats.Attestation, []byte{5}) }),
			v("drops", measurements, func(g *Grant) { g.Caveats.Attestation = nil }),
		},
		"offline use": {
			v("narrows", "", func(g *Grant) { g.Caveats.Offline = false }),
			{"widens", "offline use", func(g *Grant) { g.Caveats.Offline = false }, func(g *Grant) { g.Caveats.Offline = true }},
			{"keeps without", "", func(g *Grant) { g.Caveats.Offline = false }, same},
		},
		"depth": {
			v("narrows", "", func(g *Grant) { g.Abilities &^= Delegate; g.Depth = 0 }),
			v("keeps", "depth is not smaller", func(g *Grant) { g.Abilities |= Delegate; g.Depth = 2 }),
			v("widens", "depth is not smaller", func(g *Grant) { g.Abilities |= Delegate; g.Depth = 3 }),
			{"drops", "depth is not smaller", same, func(g *Grant) { g.Abilities |= Delegate; g.Depth = MaxDepth }},
		},
		"subject": {
			v("narrows", "", func(g *Grant) { g.Subject = SubjectEnclave }),
			{"keeps an enclave", "", func(g *Grant) { g.Subject = SubjectEnclave }, func(g *Grant) { g.Subject = SubjectEnclave }},
			{"widens", "its parent is for an enclave", func(g *Grant) { g.Subject = SubjectEnclave }, same},
		},
		"target": {
			v("widens", "target is not its parent's", func(g *Grant) { g.Target.Kind = Scope }),
			v("narrows without proof", "target is not its parent's", func(g *Grant) { g.Target = Target{Kind: Version, Ref: [32]byte{7}} }),
		},
	}
}

// CA-04: every ability, kept, dropped and added, together with every caveat, kept,
// narrowed, widened and dropped. A link passes if it is narrower in both, and is
// refused by the field that is not, although its issuer signed it and its root holds.
func TestEveryAbilityWithEveryCaveat(t *testing.T) {
	w := newWorld(t)
	walked, passed := 0, 0
	for a := Carry; a <= Audit; a <<= 1 {
		if a == Write {
			continue
		}
		for _, can := range abilityVariants(a) {
			for field, variants := range caveatVariants() {
				for _, c := range variants {
					parent := w.grant()
					parent.Abilities = all &^ Write
					can.parent(&parent)
					c.parent(&parent)
					link := w.link(parent)
					if parent.Depth > 1 {
						link.Abilities, link.Depth = link.Abilities|Delegate, 1
					}
					can.child(&link)
					c.child(&link)
					name := can.name + ", " + c.name + " " + field
					walked++
					if can.rule == "" && c.rule == "" {
						w.vf.mustTake(t, name, w.chain(t, parent, link))
						passed++
						continue
					}
					_, err := w.vf.Verify(w.chain(t, parent, link))
					if err == nil || !named(err.Error(), can.rule, c.rule) {
						t.Errorf("%s: %v, want %q or %q", name, err, can.rule, c.rule)
					}
				}
			}
		}
	}
	if walked < 7*3*25 || passed < 100 || passed > walked/2 {
		t.Errorf("control: %d combinations, of which %d passed", walked, passed)
	}
}

func named(err string, rules ...string) bool {
	return slices.ContainsFunc(rules, func(r string) bool { return r != "" && strings.Contains(err, r) })
}

func (vf *Verifier) mustTake(t *testing.T, name string, c *Chain) {
	t.Helper()
	if _, err := vf.Verify(c); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
