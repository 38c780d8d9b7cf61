package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// logged is an event of a node's log with what can be shown of it.
type logged struct {
	*event.Leaf
	claims []event.Claim
}

func eventsOf(t *testing.T, n *Node) (out []logged) {
	t.Helper()
	if err := n.audit.Scan(func(e *journal.Entry) error {
		o, err := e.Open()
		if err != nil {
			return err
		}
		out = append(out, logged{e.Leaf, o.Claims})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// signer is a validator that has signed a grant: K of N did.
func signer(t *testing.T, validators []*Node) *Node {
	t.Helper()
	i := slices.IndexFunc(validators, func(v *Node) bool {
		return slices.ContainsFunc(eventsOf(t, v), func(e logged) bool { return e.Action == event.GrantIssue && e.Outcome == event.OK })
	})
	if i < 0 {
		t.Fatal("no validator has signed a grant")
	}
	return validators[i]
}

// mustLog finds the newest event of an action and outcome, and compares claims.
func mustLog(t *testing.T, n *Node, action event.Action, outcome event.Outcome, claims map[string]string) {
	t.Helper()
	all := eventsOf(t, n)
	slices.Reverse(all)
	for _, e := range all {
		if e.Action != action || e.Outcome != outcome {
			continue
		}
		for name, want := range claims {
			if got, _ := event.Find(e.claims, name); got != want {
				t.Errorf("%s: %s is %q, want %q", action, name, got, want)
			}
		}
		return
	}
	t.Errorf("%s %s is not in the log", action, outcome)
}

// AU-01: who did what on which object under which grant stands in the logs of those
// who did it, and the folder of the log names nobody.
func TestActsAreLoggedWhereTheyHappen(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader := m.nodes[0], m.nodes[1]
	who := func(n *Node) string { return n.home.Principals()[0].Identity.ID().String() }
	address, elsewhere := addRetained(t, owner, nil), addRetained(t, owner, map[string]string{"project": "another"})
	object := event.Ref(address.Bytes())

	chain := chainFor(t, m, address, "read")
	v, err := owner.verifier.Verify(chain)
	if err != nil {
		t.Fatal(err)
	}
	grant := v.Leaf().String()
	judge := signer(t, m.validators)
	mustLog(t, owner, event.GrantIssue, event.OK, map[string]string{
		event.Actor: who(owner), event.Subject: who(reader), event.Object: object, event.Grant: grant,
	})
	mustLog(t, judge, event.GrantIssue, event.OK, map[string]string{event.Actor: who(owner), event.Subject: who(reader)})
	for of, want := range map[string]bool{address.String(): true, elsewhere.String(): false} { // a grant names a key or a lineage
		var found bytes.Buffer
		if err := judge.AuditLog(t.Context(), api.AuditLogRequest{Object: of, Action: "grant", Format: "words"}, &found); err != nil || found.Len() > 0 != want {
			t.Errorf("who was granted %s: %q, %v", of, found.String(), err)
		}
	}

	var plain bytes.Buffer
	reader.running.Store(true)
	_, err = reader.GetStream(t.Context(), api.GetRequest{Address: elsewhere.String()}, &plain)
	wantExit(t, "not granted", err, fault.Denied)
	reader.running.Store(false)
	for _, e := range eventsOf(t, reader) {
		if e.Action == event.Get && (e.Outcome != event.Denied || e.Rule != "no-grant") { // it asked no validator
			t.Errorf("denied by the rule %q", e.Rule)
		}
	}
	mustLog(t, reader, event.Get, event.Denied, map[string]string{event.Actor: who(reader), event.Object: event.Ref(elsewhere.Bytes())})
	if _, err := owner.GetStream(t.Context(), api.GetRequest{Address: address.String()}, &plain); err != nil {
		t.Fatal(err)
	}
	mustLog(t, owner, event.Get, event.OK, map[string]string{event.Actor: who(owner), event.Object: object})

	if _, err := judge.Permit(t.Context(), api.PermitRequest{Kind: "committee", Version: 2, ID: statement.Hash("a record").String()}); err != nil {
		t.Fatal(err)
	}
	mustLog(t, judge, event.Committee, event.Pending, map[string]string{event.Actor: who(judge), event.Grant: statement.Hash("a record").String()})

	judge.running.Store(true)
	if _, err := judge.RoleAssign(t.Context(), api.RoleRequest{To: who(reader), Role: "nurse", Seconds: 3600}); err != nil {
		t.Fatal(err)
	}
	mustLog(t, judge, event.Role, event.OK, map[string]string{event.Actor: who(judge), event.Subject: who(reader)})
	judge.host = nil
	if _, err := judge.RemoveMember(t.Context(), api.RemoveMemberRequest{Peer: PeerID(reader.home.PeerKey()), Reason: "it is gone"}); err != nil {
		t.Fatal(err)
	}
	judge.running.Store(false)
	mustLog(t, judge, event.Remove, event.OK, map[string]string{event.Actor: who(judge), event.Reason: "it is gone"})

	for _, n := range []*Node{owner, reader, judge} {
		for i := range m.nodes {
			id := m.nodes[i].home.Principals()[0].Identity.ID()
			mustNotHold(t, filepath.Join(n.home.Dir, "audit"), id[:], []byte(id.String()), address.Bytes(), []byte(object))
		}
	}
}

// mustNotHold checks that no file of a folder contains any of some bytes.
func mustNotHold(t *testing.T, dir string, what ...[]byte) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range what {
			if bytes.Contains(raw, w) {
				t.Errorf("%s holds %q", f.Name(), w)
			}
		}
	}
}

// A node says under which configuration it worked, and when; a peer that it barred
// stands in its log too.
func TestStartsStopsAndBansAreLogged(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.validators[0]
	n.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	member, err := peerID(m.nodes[0].home.PeerKey())
	if err != nil {
		t.Fatal(err)
	}
	err = n.serve(t.Context(), func(context.Context) error {
		for range 10 {
			n.gate.refused(member, statement.ErrSignature)
		}
		return nil
	}, func(Ready) {})
	if err != nil {
		t.Fatal(err)
	}
	key, id := m.nodes[0].home.PeerKey(), m.nodes[0].home.Principals()[0].Identity.ID()
	mustLog(t, n, event.Start, event.OK, nil)
	mustLog(t, n, event.Configure, event.OK, nil)
	mustLog(t, n, event.Ban, event.OK, map[string]string{event.Peer: event.Ref(key[:]), event.Subject: id.String()})
	mustLog(t, n, event.Stop, event.OK, nil)
	for _, e := range eventsOf(t, n) {
		for _, c := range e.claims {
			if e.Action == event.Ban && c.Name == event.Peer && c.Of != id {
				t.Errorf("the ban concerns %v and not the member", c.Of)
			}
			if e.Action == event.Configure && c.Name == event.Detail && !bytes.Contains([]byte(c.Value), []byte("listen")) {
				t.Errorf("the configuration is %q", c.Value)
			}
		}
	}
}

// An erased person's acts stay in the log of a node as those of a pseudonym.
func TestANodeForgetsAPersonInItsLog(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader := m.nodes[0], m.nodes[1]
	address, _ := addSmall(t, owner, "granted")
	chainFor(t, m, address, "read")
	judge := signer(t, m.validators)
	gone := reader.home.Principals()[0].Identity.ID()
	knows := func() (n int) {
		for _, e := range eventsOf(t, judge) {
			for _, c := range e.claims {
				if c.Of == gone {
					n++
				}
			}
		}
		return n
	}
	if knows() == 0 {
		t.Fatal("control: the validator knows nothing of the reader")
	}
	before := judge.audit.Size()
	if err := judge.audit.Forget(t.Context(), gone, m.now(), "request of the person"); err != nil {
		t.Fatal(err)
	}
	if n := knows(); n != 0 {
		t.Errorf("%d claims of the reader are left", n)
	}
	if judge.audit.Size() != before+1 {
		t.Errorf("%d entries more", judge.audit.Size()-before)
	}
	mustLog(t, judge, event.Forget, event.OK, map[string]string{event.Actor: "", event.Subject: ""})
	mustLog(t, judge, event.GrantIssue, event.OK, map[string]string{
		event.Actor: owner.home.Principals()[0].Identity.ID().String(), event.Subject: "",
	})
}
