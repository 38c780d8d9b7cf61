package daemon

import (
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"github.com/ipfs/go-cid"
)

// registerOf is a node's register by object.
func registerOf(t *testing.T, n *Node) map[string]api.ProcessingRecord {
	t.Helper()
	all, err := n.ProcessingRecords(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]api.ProcessingRecord{}
	for _, r := range all.Records {
		out[r.Object] = r
	}
	return out
}

// servedTo logs that ciphertext went to somebody.
func servedTo(t *testing.T, n *Node, who statement.ID, c cid.Cid, outcome event.Outcome) {
	t.Helper()
	if err := n.record(t.Context(), event.Serve, outcome, event.Act{Actor: who, Object: c.Bytes(), Owner: idOf(n)}); err != nil {
		t.Fatal(err)
	}
}

// revokeHere has a node know that a grant which it gave is revoked.
func revokeHere(t *testing.T, n *Node, grant statement.ID) {
	t.Helper()
	p := n.home.Principals()[0]
	entry, err := revocation.Sign(revocation.Revocation{Network: n.trust.Network(), Target: grant, Time: n.now().Unix()}, p.Identity, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.tracker.Take([]revocation.Entry{entry}); err != nil {
		t.Fatal(err)
	}
}

// Article 30 asks to whom data have been disclosed: who read it stays in the register
// when the grant is gone, marked as past, and so does who may have read it elsewhere.
func TestTheRegisterKeepsPastRecipients(t *testing.T) {
	t.Parallel()
	m := found(t, 3)
	m.refresh()
	owner, reader, stranger := m.nodes[0], m.nodes[1], m.nodes[2]
	read, _ := addSmall(t, owner, "read")
	granted, _ := addSmall(t, owner, "granted")
	private, _ := addSmall(t, owner, "private")
	var leaves []statement.ID
	for _, c := range []cid.Cid{read, granted} {
		leaf, err := chainFor(t, m, c, "read").Leaf()
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
	}
	servedTo(t, owner, idOf(reader), read, event.OK)
	servedTo(t, owner, idOf(stranger), read, event.Denied)
	if err := owner.record(t.Context(), event.Get, event.OK, event.Act{Actor: idOf(owner), Object: private.Bytes()}); err != nil {
		t.Fatal(err)
	}
	before := registerOf(t, owner)
	if r := before[read.String()]; len(r.Recipients) != 1 || len(r.PastRecipients) != 0 || !strings.HasSuffix(r.Transfers, ": 1 grant names no region") {
		t.Errorf("while the grant is in force: %+v", r)
	}

	revokeHere(t, owner, leaves[0]) // one is revoked, and the other one ends
	m.skew.Add(7200)
	m.refresh()
	after := registerOf(t, owner)
	r := after[read.String()]
	if len(r.Recipients) != 0 || len(r.PastRecipients) != 1 || r.PastRecipients[0].Identity != idOf(reader).String() || r.PastRecipients[0].LastRead != r.LastAccess ||
		r.LastAccess == "" || r.Transfers != "none now: nobody has a grant in force, and 1 past recipient may keep what was got" {
		t.Errorf("who read it: %+v", r)
	}
	if r := after[granted.String()]; len(r.PastRecipients) != 1 || r.PastRecipients[0].LastRead != "" {
		t.Errorf("who had a grant, and read it elsewhere or not at all: %+v", r)
	}
	if r := after[private.String()]; len(r.PastRecipients) != 0 || r.Transfers != "none: nobody has a grant in force" || r.Releases != 1 {
		t.Errorf("its owner alone read it: %+v", r)
	}

	chainFor(t, m, read, "read") // and got another grant
	if r := registerOf(t, owner)[read.String()]; len(r.Recipients) != 1 || len(r.PastRecipients) != 0 {
		t.Errorf("a recipient is past and present: %+v", r)
	}
}

// A grant of one version names a recipient of the object, also once there is another.
func TestTheRegisterKnowsGrantsOfOldVersions(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	first, _ := addSmall(t, owner, "one")
	p, h := owner.home.Principals()[0], heldHere(t, owner, first)
	g, to, err := owner.newGrant(api.GrantRequest{To: m.nodes[1].home.Principals()[0].Identity.Contact(), Can: "read", Seconds: 3600}, p)
	if err != nil {
		t.Fatal(err)
	}
	claims := h.Manifest.Claims()
	if g.Target, err = targetOf(first, &claims, h, true); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.mint(t.Context(), p, to, g, first, ""); err != nil {
		t.Fatal(err)
	}
	next, _ := updateSmall(t, owner, first, "two")
	if r := registerOf(t, owner)[next.String()]; !slices.Equal(r.Recipients, []string{idOf(m.nodes[1]).String()}) {
		t.Errorf("%+v", r)
	}
}

// What was erased has been processed: it stays in the register, with whose it was, when
// it went, and who may have got it; a version that went does not end the others.
func TestTheRegisterKeepsWhatWasErased(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader := m.nodes[0], m.nodes[1]
	ctx := t.Context()
	gone, dealt := addSmall(t, owner, "gone")
	if _, err := owner.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	old, dealt := addSmall(t, owner, "old")
	if _, err := owner.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	next, dealt := updateSmall(t, owner, old, "next")
	if _, err := owner.outbox.deliver(ctx, dealt); err != nil {
		t.Fatal(err)
	}
	chainFor(t, m, gone, "read")
	servedTo(t, owner, idOf(reader), gone, event.OK)
	owner.running.Store(true)
	at := stamp(owner.now().Unix())
	_, err := owner.Erase(ctx, api.EraseRequest{Address: gone.String()})
	if err == nil {
		err = owner.library.MarkShared([]cid.Cid{old, next})
	}
	if err == nil {
		_, err = owner.Erase(ctx, api.EraseRequest{Address: old.String(), ThisVersion: true})
	}
	owner.running.Store(false)
	if err != nil {
		t.Fatal(err)
	}
	all := registerOf(t, owner)
	r, there := all[gone.String()]
	if !there || len(all) != 2 {
		t.Fatalf("it vanished: %+v", all)
	}
	if !r.Erased || r.ErasedAt < at || r.Controller != idOf(owner).String() || r.Versions != 1 || r.Releases != 1 || len(r.Recipients) != 0 ||
		len(r.PastRecipients) != 1 || r.PastRecipients[0].Identity != idOf(reader).String() || !strings.HasPrefix(r.Transfers, "none now: it is erased") {
		t.Errorf("%+v", r)
	}
	if r := all[next.String()]; r.Erased || r.ErasedAt != "" || r.Versions != 1 {
		t.Errorf("a version of it is left: %+v", r)
	}
}
