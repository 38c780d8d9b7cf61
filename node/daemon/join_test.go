package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/config"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// ask is an asker for a peer: a function call stands in for each connection.
func (m *members) ask(peer statement.PublicKey) asker {
	return func(ctx context.Context, to trust.Reach, request []byte) ([]byte, error) {
		i := slices.IndexFunc(m.validators, func(n *Node) bool { return n.home.PeerKey() == to.Peer })
		m.mu.Lock()
		down := i < 0 || m.down[i]
		m.mu.Unlock()
		if down {
			return nil, errors.New("it does not answer")
		}
		owed := false
		raw, err := m.validators[i].door().Answer(ctx, peer, request, func() { owed = true })
		if err == nil && !owed {
			return nil, errors.New("who is owed nothing was answered")
		}
		return raw, err
	}
}

// newcomer makes a home that belongs to no network.
func newcomer(t *testing.T) *home.Home {
	t.Helper()
	dir, err := os.MkdirTemp("", "dm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h, _, err := home.Init(filepath.Join(dir, "h"), home.Options{
		Name: "me", Kind: identity.User, Protection: keystore.Protection{Plain: true},
		Config: config.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Local: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// invites has a member make an invite.
func (m *members) invites(t *testing.T, by *Node) (*trust.Invite, *trust.Invitation) {
	t.Helper()
	out, err := by.Invite(t.Context(), api.InviteRequest{Role: "node", Seconds: 3600, Name: "guest"})
	if err != nil {
		t.Fatal(err)
	}
	v, i, err := home.DecodeInvite([]byte(out.Text))
	if err != nil {
		t.Fatal(err)
	}
	return v, i
}

func (m *members) joins(t *testing.T, h *home.Home, v *trust.Invite, i *trust.Invitation) (*trust.File, error) {
	t.Helper()
	return join(t.Context(), h, v, i, m.ask(h.PeerKey()), m.now)
}

func TestJoining(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	keys := m.keys(t)
	h, thief := newcomer(t), newcomer(t)
	v, i := m.invites(t, m.validators[0])
	if _, err := m.nodes[0].Invite(t.Context(), api.InviteRequest{Role: "node", Seconds: 3600}); fault.Of(err).Exit != fault.Denied {
		t.Errorf("a node's identity invites: %v", err)
	}
	// The committee moves on before the invitation is used: it leads to the newest.
	if err := adopt(t, m.validators[0], m.next(t, m.validators[0], nil, keys[:3]...)); err != nil {
		t.Fatal(err)
	}
	for _, n := range append(m.validators[1:], m.nodes...) {
		if err := n.pullRecords(t.Context(), from(m.validators[0])); err != nil {
			t.Fatal(err)
		}
	}
	m.refresh()
	m.setDown(3) // f may be silent
	f, err := m.joins(t, h, v, i)
	if err != nil || len(f.Records) != 2 {
		t.Fatalf("%v", err)
	}
	if _, err := m.joins(t, h, v, i); err != nil { // it may be repeated
		t.Errorf("%v", err)
	}
	if _, err := m.joins(t, thief, v, i); fault.Of(err).Exit != fault.Denied || !strings.Contains(err.Error(), "used") {
		t.Errorf("a second home: %v", err)
	}
	m.setDown(2, 3)
	if _, err := m.joins(t, newcomer(t), v, i); fault.Of(err).Exit != fault.Denied {
		t.Errorf("two of four say that it is used: %v", err)
	}
	fresh, freshOf := m.invites(t, m.validators[0])
	if _, err := m.joins(t, newcomer(t), fresh, freshOf); fault.Of(err).Exit != fault.Unavailable {
		t.Errorf("two of four: %v", err)
	}
	m.setDown(0, 1, 2, 3)
	if _, err := m.joins(t, newcomer(t), fresh, freshOf); fault.Of(err).Exit != fault.Unavailable {
		t.Errorf("nobody: %v", err)
	}
	m.setDown()

	// The home is a member: everybody lets it in, learns of it, and the next record
	// renews it with the others.
	if err := h.UseNetwork(f, m.now()); err != nil {
		t.Fatal(err)
	}
	n := m.open(t, h)
	credential := (&gate{n: n}).Credential()
	for _, other := range append(m.validators, m.nodes...) {
		if role, err := other.admits(h.PeerKey(), credential); err != nil || role != trust.RoleNode {
			t.Errorf("%v", err)
		}
		other.enrolShown(h.PeerKey(), credential)
	}
	if file, err := m.validators[1].networkFile(); err != nil || len(file.Memberships) != 2 {
		t.Errorf("%d members, %v", len(file.Memberships), err)
	}
	l, err := m.validators[0].Invitations(t.Context())
	if err != nil || len(l.Invitations) != 2 || !slices.ContainsFunc(l.Invitations, func(i api.Invitation) bool { return i.State == "used" && i.Peer == PeerID(h.PeerKey()) }) {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestInvitationsToOtherHistories: an invitation pins a record, so that validators
// of an old branch, or of another network, lead nobody anywhere.
func TestInvitationsToOtherHistories(t *testing.T) {
	t.Parallel()
	m, other := found(t, 0), found(t, 0)
	m.refresh()
	other.refresh()
	v, i := m.invites(t, m.validators[0])
	h := newcomer(t)
	// Validators of m that lie: they show what is another network's.
	lying := func(_ context.Context, _ trust.Reach, request []byte) ([]byte, error) {
		d := other.validators[0].door()
		r := d.Trust.After(statement.ID{}, 1)
		return statement.Marshal(struct {
			_       struct{} `cbor:",toarray"`
			Refusal uint8
			Records [][]byte
			Member  []byte
			Signed  []byte
		}{Records: r})
	}
	if _, err := join(t.Context(), h, v, i, lying, m.now); err == nil {
		t.Error("another network is joined")
	}
	unknown := *i
	unknown.Pin = trust.Pin{Version: 2, Record: statement.Hash("a record that they do not show")}
	if _, err := join(t.Context(), h, v, &unknown, m.ask(h.PeerKey()), m.now); fault.Of(err).Exit != fault.Integrity {
		t.Errorf("a history without the pinned record: %v", err)
	}
	if _, err := m.joins(t, h, v, i); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestRenewal: a membership is renewed before it is over, not early, and by nobody
// else; who is connected then knows the new one.
func TestRenewal(t *testing.T) {
	t.Parallel()
	m := found(t, 0)
	m.refresh()
	h := newcomer(t)
	v, i := m.invites(t, m.validators[0])
	f, err := m.joins(t, h, v, i)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.UseNetwork(f, m.now()); err != nil {
		t.Fatal(err)
	}
	n := m.open(t, h)
	asked := 0
	ask := func(ctx context.Context, to trust.Reach, request []byte) ([]byte, error) {
		m.mu.Lock()
		asked++
		m.mu.Unlock()
		return m.ask(h.PeerKey())(ctx, to, request)
	}
	if err := n.stay(t.Context(), ask); err != nil || asked > 0 {
		t.Fatalf("it asks at once: %d, %v", asked, err)
	}
	first, err := n.myMembership()
	if err != nil {
		t.Fatal(err)
	}
	at := renewAt(first)
	if lasts := first.Expires - first.NotBefore; at.Unix() > first.NotBefore+lasts*2/3 || at.Unix() < first.NotBefore+lasts*7/12-1 {
		t.Errorf("it would be renewed at %v", at)
	}
	m.skew.Store(int64(time.Until(at)/time.Second) + 1)
	m.refresh()
	if err := n.stay(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	second, err := n.myMembership()
	if err != nil || second.Expires <= first.Expires || second.Nonce != first.Nonce {
		t.Fatalf("%v, until %d", err, second.Expires)
	}
	asked = 0
	if err := n.stay(t.Context(), ask); err != nil || asked > 0 {
		t.Errorf("it asks again: %d, %v", asked, err)
	}
	// Who admitted it by the first one is told of the second and lets it stay.
	w := m.validators[2]
	if raw, ok := n.membership(h.PeerKey()); !ok {
		t.Error("it has none")
	} else {
		w.enrolShown(h.PeerKey(), raw)
	}
	m.skew.Store(int64(time.Until(time.Unix(first.Expires, 0))/time.Second) + 60)
	if _, err := w.admits(h.PeerKey(), nil); err != nil {
		t.Errorf("%v", err)
	}
	if _, err := m.validators[1].admits(h.PeerKey(), nil); err == nil {
		t.Error("control: who does not know the second one admits it by the first")
	}
}

// TestAMemberThatSleptIsLetInAgain: it misses two changes of the committee and the
// end of its membership, and nobody who knows it is left but one validator.
func TestAMemberThatSleptIsLetInAgain(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	keys := m.keys(t)
	h := newcomer(t)
	v, i := m.invites(t, m.validators[0])
	f, err := m.joins(t, h, v, i)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.UseNetwork(f, m.now()); err != nil {
		t.Fatal(err)
	}
	slept, left := m.open(t, h), m.nodes[0]
	for range 2 {
		m.skew.Add(int64(40 * 24 * time.Hour / time.Second))
		file := m.next(t, m.validators[0], nil, keys[:3]...)
		file.Memberships = nil // nobody is in it: the guest came later, the node is left out
		for _, k := range keys[:3] {
			if _, err := file.SignGuarded(k, m.validators[0].guards); err != nil && !errors.Is(err, trust.ErrSecond) {
				t.Fatal(err)
			}
		}
		if err := adopt(t, m.validators[0], file); err != nil {
			t.Fatal(err)
		}
		for _, w := range m.validators[1:] {
			if err := w.pullRecords(t.Context(), from(m.validators[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.skew.Add(int64(20 * 24 * time.Hour / time.Second)) // the first record is over too
	m.refresh()
	if _, err := m.validators[1].admits(h.PeerKey(), (&gate{n: slept}).Credential()); err == nil {
		t.Fatal("control: it is let in with what it has")
	}
	if err := slept.stay(t.Context(), m.ask(h.PeerKey())); err != nil {
		t.Fatal(err)
	}
	if slept.trust.Current().ID() != m.validators[0].trust.Current().ID() {
		t.Error("it did not catch up")
	}
	if _, err := m.validators[1].admits(h.PeerKey(), (&gate{n: slept}).Credential()); err != nil {
		t.Errorf("it is not let in: %v", err)
	}
	// Who was in a file, and in no later one, was left out: it catches up and is told.
	err = left.stay(t.Context(), m.ask(left.home.PeerKey()))
	if fault.Of(err).Exit != fault.Denied || !strings.Contains(err.Error(), "left") {
		t.Errorf("who was left out: %v", err)
	}
	if left.trust.Current().Version != 3 {
		t.Error("who was left out is not told of the records")
	}
}

// TestRemoval: two validators' words end a membership, for ever and everywhere.
func TestRemoval(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	a, b, w := m.nodes[0], m.nodes[1], m.validators[3]
	peer, credential := a.home.PeerKey(), (&gate{n: a}).Credential()
	for _, n := range m.validators {
		n.running.Store(true)
		n.host = nil
	}
	remove := func(by *Node) *api.RemovedMember {
		t.Helper()
		defer by.running.Store(false)
		out, err := by.RemoveMember(t.Context(), api.RemoveMemberRequest{Peer: PeerID(peer), Reason: "it is gone"})
		if err != nil {
			t.Fatal(err)
		}
		m.refresh()
		return out
	}
	if out := remove(m.validators[0]); out.State != "waits" || out.Said != 1 || out.Need != 2 {
		t.Errorf("%+v", out)
	}
	if _, err := w.admits(peer, credential); err != nil {
		t.Errorf("one validator removes a member: %v", err)
	}
	if out := remove(m.validators[1]); out.State != "removed" || out.Said != 2 {
		t.Errorf("%+v", out)
	}
	for _, n := range []*Node{w, b} {
		if _, err := n.admits(peer, credential); err == nil {
			t.Error("it is admitted still")
		}
		if _, err := n.admits(b.home.PeerKey(), (&gate{n: b}).Credential()); err != nil {
			t.Errorf("control: %v", err)
		}
		file, err := n.networkFile()
		if err != nil || len(file.Memberships) != 1 || file.Members()[0].Peer != b.home.PeerKey() {
			t.Errorf("the next record would have %d members, %v", len(file.Memberships), err)
		}
	}
	m.skew.Add(int64(80 * 24 * time.Hour / time.Second))
	m.refresh()
	if _, err := w.door().Answer(t.Context(), peer, nil, func() {}); err == nil {
		t.Error("it is answered before admission")
	}
	for name, who := range map[string]string{"no peer": "x", "a validator": PeerID(w.home.PeerKey())} {
		m.validators[0].running.Store(true)
		if _, err := m.validators[0].RemoveMember(t.Context(), api.RemoveMemberRequest{Peer: who}); err == nil {
			t.Errorf("%s is removed", name)
		}
		m.validators[0].running.Store(false)
	}
}
