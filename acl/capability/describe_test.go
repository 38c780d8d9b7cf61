package capability

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestDescribe(t *testing.T) {
	w := newWorld(t)
	l := w.link(w.grant())
	l.Abilities, l.Caveats.Purposes, l.Caveats.Offline, l.Subject = Read, []string{"audit"}, false, SubjectEnclave
	l.Caveats.Attestation = nil
	g := w.grant()
	g.Caveats.Attestation, g.Caveats.MaxClass = nil, 255
	l.Caveats.MaxClass = 3
	v := w.accept(t, "link", w.chain(t, g, l))
	got := strings.Join(v.Describe(), "\n")
	id := func(i int) string { return short(v.Path()[i]) }
	want := `Grant ` + id(0) + `: owner ` + short(w.owner.ID()) + ` lets agent ` + short(w.reader.ID()) + ` read, delegate and revoke all versions of the object 01000000.
  from 2030-03-17 18:45:40 UTC until 2030-03-17 19:46:40 UTC
  only for "audit" or "research"
  only in "eu" or "ch"
  the key may be kept until then, out of reach of a revocation
  to be handed on, 2 times over
The owner consented to this grant alone (consent ` + short(v.Consent()) + `).
Link 1, ` + id(1) + `: ` + short(w.reader.ID()) + ` lets an enclave of ` + short(w.friend.ID()) + ` read the same.
  from 2030-03-17 18:45:40 UTC until 2030-03-17 19:46:40 UTC
  only for "audit"
  only what is classified 3 or lower
  only in "eu" or "ch"
  not to be handed on
  only inside an attested enclave`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	named := strings.Join(v.DescribeWith(func(id statement.ID) string { return "<" + short(id) + ">" }), "\n")
	for _, p := range []*trusttest.Person{w.owner, w.reader, w.friend} {
		want = strings.ReplaceAll(want, short(p.ID()), "<"+short(p.ID())+">")
	}
	if named != want {
		t.Errorf("with names, got\n%s\nwant\n%s", named, want)
	}
}

func TestDescribeAStandingConsent(t *testing.T) {
	w := newWorld(t)
	s := w.standing()
	v := w.accept(t, "by a list", w.under(t, s, w.grant()))
	text := strings.Join(v.Describe(), "\n")
	for _, part := range []string{
		"consented beforehand (standing consent " + short(v.Consent()) + "):",
		"  grants to " + short(w.friend.ID()) + ", " + short(w.reader.ID()) + ", to read, delegate and revoke all versions",
		"  each for at most 1h1m0s, none after 2030-03-17 19:46:40 UTC",
		"  only inside an enclave that measures 0102 or 0304",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in\n%s", part, text)
		}
	}
	s.Audience, s.Role, s.Lifetime = nil, "physician", 1<<63-1
	text = strings.Join(w.accept(t, "by a role", w.under(t, s, w.grant())).Describe(), "\n")
	if !strings.Contains(text, `whoever holds the role "physician"`) || strings.Contains(text, "most -") {
		t.Error(text)
	}
}

// Whatever the signers wrote, a line is one line, says whose word it is, and
// shows no whole id: short forms are for reading, never for deciding.
func TestDescriptionsAreSafeToShow(t *testing.T) {
	w := newWorld(t)
	c := w.long(t, MaxLinks)
	v := w.accept(t, "eight statements", c)
	lines := v.Describe()
	links := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "Link ") {
			links++
		}
		if strings.ContainsAny(line, "\n\r\x1b") {
			t.Errorf("%q is not one line", line)
		}
		if regexp.MustCompile(`[0-9a-f]{9}`).MatchString(line) {
			t.Errorf("%q shows more than a short id", line)
		}
	}
	if links != MaxLinks {
		t.Errorf("%d links are described", links)
	}
	g := w.grant()
	g.Caveats.Purposes = []string{`x" and everything else`}
	text := strings.Join(w.accept(t, "a purpose with a quote", w.root(t, g)).Describe(), "\n")
	if !strings.Contains(text, `only for "x\" and everything else"`) {
		t.Error(text)
	}
	if stamp(trusttest.Start.In(time.FixedZone("east", 7200)).Unix()) != "2030-03-17 17:46:40 UTC" {
		t.Error("times are not UTC")
	}
	for kind, want := range map[TargetKind]string{Version: "the one version 01", Scope: "everything in the directory or collection 01", 9: "nothing that is known"} {
		if got := (Target{Kind: kind, Ref: [32]byte{1}}).String(); !strings.HasPrefix(got, want) {
			t.Errorf("%q", got)
		}
	}
}
