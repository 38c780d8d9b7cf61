package daemon

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/dossier"
	"cerebrum.dev/cerebrum/node/fault"
)

func idOf(n *Node) statement.ID { return n.home.Principals()[0].Identity.ID() }

// exported writes and checks an export of a person.
func exported(t *testing.T, n *Node, of, format string) (*api.SubjectExported, map[string][]byte) {
	t.Helper()
	into := filepath.Join(t.TempDir(), "x."+format)
	if err := os.WriteFile(into, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := n.SubjectExport(t.Context(), api.SubjectExportRequest{Subject: of, Format: format, Into: into})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(into)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := dossier.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dossier.Check(parts)
	if err != nil {
		t.Fatal(err)
	}
	if c.Events != x.Events || c.Proved != x.Proved || c.Peer != n.home.PeerKey().String() {
		t.Errorf("the file says %+v, the answer %+v", c, x)
	}
	return x, parts
}

func eventLines(t *testing.T, parts map[string][]byte) (out []dossier.Event) {
	t.Helper()
	for _, line := range bytes.Split(bytes.TrimSpace(parts[dossier.EventsName]), []byte("\n")) {
		var e dossier.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// A person gets every entry that concerns them, each proved, and nothing that the
// same entries say of somebody else.
func TestAPersonGetsWhatConcernsThemAndNoMore(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader := m.nodes[0], m.nodes[1]
	address, _ := addSmall(t, owner, "secret")
	chainFor(t, m, address, "read")
	var plain bytes.Buffer
	if _, err := owner.GetStream(t.Context(), api.GetRequest{Address: address.String()}, &plain); err != nil {
		t.Fatal(err)
	}

	x, parts := exported(t, owner, reader.home.Principals()[0].Identity.Contact(), "zip")
	if x.Events < 2 || x.Proved != x.Events || x.Grants != 1 || x.Objects != 0 || x.Withheld == 0 {
		t.Errorf("of the reader: %+v", x)
	}
	for _, e := range eventLines(t, parts) {
		if e.Action == string(event.Get) {
			t.Error("the reader is told of what the owner read")
		}
	}
	mine := idOf(owner)
	for _, secret := range [][]byte{[]byte(mine.String()), []byte(address.String())} {
		if bytes.Contains(parts[dossier.EventsName], secret) {
			t.Errorf("the reader's events say %s of the owner", secret)
		}
	}
	if !strings.Contains(string(parts["grants-held.json"]), address.String()) {
		t.Error("the grant to the reader is missing")
	}

	x, parts = exported(t, owner, mine.String(), "json")
	if x.Objects != 1 || x.Grants != 1 || x.Recipients != 1 {
		t.Errorf("of the owner: %+v", x)
	}
	if !slices.ContainsFunc(eventLines(t, parts), func(e dossier.Event) bool {
		return e.Action == string(event.Get) && e.Claims[event.Object] == address.String()
	}) {
		t.Error("the owner is not told of what they read")
	}
	theirs := idOf(reader)
	if !bytes.Contains(parts["recipients.json"], []byte(theirs.String())) {
		t.Error("the owner is not told who may read")
	}
	if bytes.Contains(parts[dossier.EventsName], []byte(theirs.String())) {
		t.Error("the owner's events name the reader")
	}
	if len(x.NotKnown) < 4 {
		t.Errorf("it claims to know nearly everything: %q", x.NotKnown)
	}
	for part := range parts {
		if bytes.Contains(parts[part], []byte("secret")) {
			t.Errorf("%s has the plaintext", part)
		}
	}
}

// A validator answers for its mailbox, its roles and the objects whose shares it holds.
func TestAValidatorAnswersForWhatItKeeps(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader, judge := m.nodes[0], m.nodes[1], m.validators[0]
	address, dealt := addSmall(t, owner, "x")
	if got := owner.quorum.SendDeposits(t.Context(), dealt.Requests); len(got) < 3 {
		t.Fatalf("%v", got)
	}
	chainFor(t, m, address, "read")
	judge.running.Store(true)
	if _, err := judge.RoleAssign(t.Context(), api.RoleRequest{To: idOf(reader).String(), Role: "nurse", Seconds: 3600}); err != nil {
		t.Fatal(err)
	}
	judge.running.Store(false)
	x, parts := exported(t, judge, idOf(owner).String(), "zip")
	if x.Objects != 1 || x.Grants != 1 || !bytes.Contains(parts["objects.json"], []byte("a share of its key")) {
		t.Errorf("of the owner: %+v\n%s", x, parts["objects.json"])
	}
	x, parts = exported(t, judge, idOf(reader).String(), "zip")
	if x.Objects != 0 || x.Grants != 1 || !bytes.Contains(parts["memberships.json"], []byte(PeerID(reader.home.PeerKey()))) {
		t.Errorf("of the reader: %+v\n%s", x, parts["memberships.json"])
	}
}

func TestForgettingAPerson(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader := m.nodes[0], m.nodes[1]
	address, _ := addSmall(t, owner, "x")
	v, err := owner.verifier.Verify(chainFor(t, m, address, "read"))
	if err != nil {
		t.Fatal(err)
	}
	who := idOf(reader)
	row := owner.people.Row(who)
	x, _ := exported(t, owner, who.String(), "zip")
	before := owner.audit.Log().Head()

	f, err := owner.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: who.String(), Reason: "request 7"})
	if err != nil {
		t.Fatal(err)
	}
	if !f.Known || f.Events != x.Events || f.Grants != 0 || !strings.Contains(strings.Join(f.Remains, "\n"), v.Leaf().String()) {
		t.Errorf("%+v; the export had %d events", f, x.Events)
	}
	mustLog(t, owner, event.Configure, event.OK, map[string]string{event.Reason: "request 7"})
	if owner.people.Row(who) != nil {
		t.Error("the person's key is still here")
	}
	if owner.audit.Log().Head().N <= before.N {
		t.Error("it is not in the log")
	}
	for _, e := range eventsOf(t, owner) {
		for _, c := range e.claims {
			if c.Of == who || c.Value == who.String() {
				t.Errorf("%s still says %s of the person", e.Action, c.Name)
			}
		}
	}
	// The pseudonym that the person has from an earlier export finds what is left, and
	// no more than that.
	var as event.Pseudonym
	if err := owner.audit.Leaves(func(e *journal.Entry) error {
		if e.Leaf != nil && e.Leaf.Action == event.Forget {
			as = e.Leaf.Actor
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if row == nil || as == (event.Pseudonym{}) {
		t.Fatal("no entry says that somebody was forgotten")
	}
	x, parts := exported(t, owner, hex.EncodeToString(as[:]), "zip")
	if x.Events == 0 || x.Objects+x.Grants+x.Consents != 0 || bytes.Contains(parts[dossier.EventsName], []byte(who.String())) {
		t.Errorf("under the pseudonym: %+v", x)
	}
	f, err = owner.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: hex.EncodeToString(as[:])})
	if err != nil || f.Known {
		t.Errorf("again: %+v, %v", f, err)
	}

	// Once the grant is over it is deleted too.
	m.skew.Add(7200)
	f, err = owner.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: who.String()})
	if err != nil || f.Grants != 1 {
		t.Errorf("after the grant has ended: %+v, %v", f, err)
	}
	if _, _, err := owner.stored(issuedPrefix, idOf(owner), v.Leaf()); err == nil {
		t.Error("a grant that is over still names the person")
	}
}

// Evidence that a hold protects is not forgotten; what the hold is not on may be.
func TestALegalHoldForbidsForgetting(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader, officer := m.nodes[0], m.nodes[1], m.validators[0]
	address, dealt := addSmall(t, owner, "evidence")
	if got := owner.quorum.SendDeposits(t.Context(), dealt.Requests); len(got) < 3 {
		t.Fatalf("%v", got)
	}
	chainFor(t, m, address, "read")
	officer.running.Store(true)
	defer officer.running.Store(false)
	held, err := officer.Hold(t.Context(), api.HoldRequest{Address: address.String(), Reason: "case 7"})
	if err != nil {
		t.Fatal(err)
	}
	m.refresh()
	for _, who := range []statement.ID{idOf(owner), idOf(reader)} {
		before := owner.people.Row(who)
		_, err := owner.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: who.String()})
		wantExit(t, "under a hold", err, fault.Denied)
		if owner.people.Row(who) != before {
			t.Error("the person was forgotten all the same")
		}
	}
	mustLog(t, owner, event.Forget, event.Denied, nil)
	if _, err := owner.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: idOf(m.validators[1]).String()}); err != nil {
		t.Errorf("somebody whom the hold does not concern: %v", err)
	}
	if _, err := officer.Unhold(t.Context(), api.UnholdRequest{Hold: held.Hold}); err != nil {
		t.Fatal(err)
	}
	m.refresh()
	if _, err := owner.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: idOf(reader).String()}); err != nil {
		t.Errorf("after the hold was released: %v", err)
	}
}

func TestSubjectsThatAreRefused(t *testing.T) {
	t.Parallel()
	n := found(t, 1).nodes[0]
	_, err := n.SubjectExport(t.Context(), api.SubjectExportRequest{Subject: "nobody at all", Format: "zip"})
	wantExit(t, "no contact", err, fault.Usage)
	_, err = n.SubjectExport(t.Context(), api.SubjectExportRequest{Subject: "me", Format: "pdf"})
	wantExit(t, "no format", err, fault.Usage)
	_, err = n.SubjectExport(t.Context(), api.SubjectExportRequest{Subject: strings.Repeat("ab", 16), Format: "zip"})
	wantExit(t, "no pseudonym", err, fault.NotFound)
	_, err = n.SubjectForget(t.Context(), api.SubjectForgetRequest{Subject: "me", Reason: strings.Repeat("x", 257)})
	wantExit(t, "a long reason", err, fault.Usage)
}
