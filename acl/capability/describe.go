package capability

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

const shortened = 8 // hexadecimal digits of an id that a person compares

// Describe says in words what a chain lets whom do: the grant, the consent that
// it rests on, and each link, one sentence a line, caveats indented below. Ids
// are shortened, so that a line is for reading and never for deciding. Texts that
// the signers chose are quoted.
func (v *Verified) Describe() []string { return v.DescribeWith(short) }

// DescribeWith is Describe with the caller's names for identities.
func (v *Verified) DescribeWith(name func(statement.ID) string) []string {
	g := v.grants[0]
	out := g.DescribeWith(v.path[0], name)
	if v.standing == nil {
		out = append(out, fmt.Sprintf("The owner consented to this grant alone (consent %s).", short(v.consent)))
	} else {
		out = append(out, fmt.Sprintf("The owner consented beforehand (standing consent %s):", short(v.consent)))
		for _, line := range v.standing.describe(name) {
			out = append(out, "  "+line)
		}
	}
	for i, g := range v.grants[1:] {
		out = append(out, fmt.Sprintf("Link %d, %s: %s lets %s %s the same.",
			i+1, short(v.path[i+1]), name(v.grants[i].Audience), audience(g, name), words(g.Abilities)))
		out = append(out, g.terms()...)
	}
	return out
}

// DescribeWith says in words what a root grant of this id lets whom do, whoever has
// signed it.
func (g *Grant) DescribeWith(id statement.ID, name func(statement.ID) string) []string {
	return append([]string{fmt.Sprintf("Grant %s: owner %s lets %s %s %s.",
		short(id), name(g.Owner), audience(g, name), words(g.Abilities), g.Target)}, g.terms()...)
}

// Describe says in words what a standing consent agrees to.
func (s *Standing) Describe() []string { return s.describe(short) }

func (s *Standing) describe(name func(statement.ID) string) []string {
	to := "whoever holds the role " + fmt.Sprintf("%q", s.Role)
	if s.Role == "" {
		ids := make([]string, len(s.Audience))
		for i, id := range s.Audience {
			ids[i] = name(id)
		}
		to = strings.Join(ids, ", ")
	}
	out := []string{
		fmt.Sprintf("grants to %s, to %s %s", to, words(s.Abilities), s.Target),
		fmt.Sprintf("each for at most %s, none after %s", time.Duration(min(s.Lifetime, maxSeconds))*time.Second, stamp(s.Until)),
	}
	return append(out, caveats(s.MaxClass, s.Purposes, s.Regions, s.Attestation, s.Offline, s.Depth)...)
}

// maxSeconds fit into a duration.
const maxSeconds = int64(1<<63-1) / int64(time.Second)

func (g *Grant) terms() []string {
	c := &g.Caveats
	lines := append([]string{fmt.Sprintf("from %s until %s", stamp(c.NotBefore), stamp(c.Expires))},
		caveats(c.MaxClass, c.Purposes, c.Regions, c.Attestation, c.Offline, g.Depth)...)
	if g.Subject == SubjectEnclave && len(c.Attestation) == 0 {
		lines = append(lines, "only inside an attested enclave")
	}
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	return lines
}

func caveats(class uint8, purposes, regions []string, measurements [][]byte, offline bool, depth uint8) (out []string) {
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	if len(purposes) > 0 {
		add("only for %s", quoted(purposes))
	}
	if class < 255 {
		add("only what is classified %d or lower", class)
	}
	if len(regions) > 0 {
		add("only in %s", quoted(regions))
	}
	if len(measurements) > 0 {
		digests := make([]string, len(measurements))
		for i, m := range measurements {
			digests[i] = hex.EncodeToString(m[:min(len(m), shortened/2)])
		}
		add("only inside an enclave that measures %s", strings.Join(digests, " or "))
	}
	if offline {
		add("the key may be kept until then, out of reach of a revocation")
	}
	switch depth {
	case 0:
		add("not to be handed on")
	case 1:
		add("to be handed on once")
	default:
		add("to be handed on, %d times over", depth)
	}
	return out
}

func short(id statement.ID) string { return hex.EncodeToString(id[:shortened/2]) }

func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05 UTC") }

func audience(g *Grant, name func(statement.ID) string) string {
	kind := identity.Kind(g.Subject).String()
	if g.Subject == SubjectEnclave {
		kind = "an enclave of"
	}
	return kind + " " + name(g.Audience)
}

// words is a list of abilities as a sentence has it.
func words(a Abilities) string {
	list := strings.Split(a.String(), ",")
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
	return list[0]
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(out, " or ")
}

// String is the target in words, its reference shortened.
func (t Target) String() string {
	ref := hex.EncodeToString(t.Ref[:shortened/2])
	switch t.Kind {
	case Version:
		return "the one version " + ref
	case Lineage:
		return "all versions of the object " + ref
	case Scope:
		return "everything in the directory or collection " + ref
	}
	return "nothing that is known"
}
