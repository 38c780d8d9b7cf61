package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/libp2p/go-libp2p/core/peer"
)

// keys are the signing keys of the validators, in order.
func (m *members) keys(t *testing.T) (out []statement.PrivateKey) {
	t.Helper()
	for _, n := range m.validators {
		v, err := n.home.ValidatorKeys(false)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v.Signing)
	}
	return out
}

// next is the file of the record that follows the newest one of a member, changed
// and signed by keys, with guards that permit anything once.
func (m *members) next(t *testing.T, n *Node, change func(*trust.Record), keys ...statement.PrivateKey) *trust.File {
	t.Helper()
	r := n.trust.Current().Record
	r.NotBefore, r.Expires = m.now().Unix()-60, m.now().Add(trust.Lifetime-time.Minute).Unix()
	if change != nil {
		change(&r)
	}
	f, err := n.networkFile()
	if err != nil {
		t.Fatal(err)
	}
	f, err = f.DraftNext(r, f.Policy, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if _, err := f.SignGuarded(k, trust.NewGuard(&kv.Memory{})); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// adopt has a member take a file, and follow what is new in it.
func adopt(t *testing.T, n *Node, f *trust.File) error {
	t.Helper()
	text, err := home.EncodeNetwork(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "file.network")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = n.Adopt(t.Context(), api.AdoptRequest{Path: path})
	return err
}

// from is a connection from one member to another.
func from(server *Node) recordSource {
	return func(_ context.Context, request []byte) ([]byte, error) { return server.answerRecords(request) }
}

// TestRecordsTravel renews the record at one member; another one takes it over
// with its own renewed membership, keeps both, and passes them on.
func TestRecordsTravel(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	keys := m.keys(t)
	a, b, v := m.nodes[0], m.nodes[1], m.validators[3]
	if err := b.pullRecords(t.Context(), from(a)); err != nil || b.trust.Current().Version != 1 {
		t.Fatalf("nothing is new: %v", err)
	}
	m.skew.Add(int64(80 * 24 * time.Hour / time.Second))
	if err := adopt(t, a, m.next(t, a, nil, keys[:3]...)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{b, v} {
		if err := n.pullRecords(t.Context(), from(a)); err != nil || n.trust.Current().ID() != a.trust.Current().ID() {
			t.Fatalf("the renewal does not travel: %v", err)
		}
	}
	// After the first record's time: members go on by what they pulled.
	m.skew.Add(int64(20 * 24 * time.Hour / time.Second))
	late := b.home.Network // it has the first memberships only
	for _, raw := range late.Memberships {
		if _, err := b.trust.VerifyMembership(raw, b.home.PeerKey(), m.now()); err == nil {
			t.Fatal("control: an old membership lasts")
		}
	}
	credential := (&gate{n: b}).Credential()
	if _, err := v.admits(b.home.PeerKey(), credential); err != nil {
		t.Errorf("a renewed member is refused: %v", err)
	}
	if _, err := v.admits(trusttest.Key("stranger").Public(), credential); err == nil {
		t.Error("somebody else's membership admits")
	}
	// Whoever took it over knows all members, and drafts the next record for them.
	if f, err := b.networkFile(); err != nil || len(f.Memberships) != 2 {
		t.Errorf("%d members are known, %v", len(f.Memberships), err)
	}
	// A start finds in the store what came from the network.
	again, err := trust.OpenChain(b.store.KV("records"), m.genesis(t))
	if err != nil || again.Current().Version != 2 {
		t.Errorf("what came is not kept: %v", err)
	}
}

func (m *members) genesis(t *testing.T) *trust.Committee {
	t.Helper()
	g, err := trust.Genesis(m.nodes[0].home.Network.Records[0])
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestASleepingNetworkWakes lets every record expire. Validators still admit one
// another, a renewal is signed and travels, and members are let in again.
func TestASleepingNetworkWakes(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	keys := m.keys(t)
	member := (&gate{n: m.nodes[0]}).Credential()
	peer := m.nodes[0].home.PeerKey()
	v, w := m.validators[0], m.validators[1]
	if _, err := v.admits(peer, member); err != nil {
		t.Fatalf("control: %v", err)
	}
	m.skew.Add(int64(200 * 24 * time.Hour / time.Second))
	if s, err := v.Status(t.Context()); err != nil || !strings.Contains(strings.Join(s.Problems, " "), "expired") {
		t.Errorf("asleep, it says %v, %v", s.Problems, err)
	}
	if _, err := v.admits(peer, member); err == nil {
		t.Error("a member is let in by an expired record")
	}
	if role, err := v.admits(w.home.PeerKey(), nil); err != nil || role != trust.RoleValidator {
		t.Fatalf("validators do not find one another: %v", err)
	}
	f := m.next(t, v, nil, keys[1:]...)
	if err := adopt(t, v, f); err != nil {
		t.Fatal(err)
	}
	if err := w.pullRecords(t.Context(), from(v)); err != nil || w.trust.Current().Live(m.now()) != nil {
		t.Fatalf("the network does not wake: %v", err)
	}
	// A member knows nothing of it and has only what is over. It is let in by what
	// is known of it, nobody else is, and it lets in the validators that it knows.
	n := m.nodes[0]
	if _, err := w.admits(peer, member); err != nil {
		t.Errorf("a member is refused by the network that woke: %v", err)
	}
	if _, err := w.admits(trusttest.Key("stranger").Public(), member); err == nil {
		t.Error("a stranger is let in by it")
	}
	if !n.wasMember() || n.trust.Current().Version != 1 {
		t.Error("the member does not start")
	}
	if _, err := n.admits(w.home.PeerKey(), nil); err != nil {
		t.Errorf("the member lets nobody in: %v", err)
	}
	if err := n.pullRecords(t.Context(), from(w)); err != nil || n.trust.Current().Live(m.now()) != nil {
		t.Fatalf("the member does not wake: %v", err)
	}
	if _, err := w.trust.VerifyMembership((&gate{n: n}).Credential(), peer, m.now()); err != nil {
		t.Errorf("it has no membership that lasts: %v", err)
	}
	for _, other := range m.validators[2:] { // a view is fresh by answers under the newest record
		if err := other.pullRecords(t.Context(), from(w)); err != nil {
			t.Fatal(err)
		}
	}
	m.refresh()
	m.refresh()
	if !m.nodes[0].tracker.Fresh() || !v.tracker.Fresh() {
		t.Error("awake, and nobody hears enough validators")
	}
}

// TestSeatsFollowTheRecord replaces a validator: who comes has a seat, who goes
// has none and is admitted while the record before its end counts, and no longer.
func TestSeatsFollowTheRecord(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	keys := m.keys(t)
	v, goes, comes := m.validators[0], m.validators[3], m.nodes[0]
	if _, err := comes.home.ValidatorKeys(true); err != nil {
		t.Fatal(err)
	}
	card, err := comes.home.Card(true, []string{"/ip4/127.0.0.1/tcp/1"})
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, err := trust.ParseCard(card)
	if err != nil {
		t.Fatal(err)
	}
	f := m.next(t, v, func(r *trust.Record) {
		r.Validators = slices.Clone(r.Validators)
		r.Validators[3] = parsed.Validator[0]
	}, keys[:3]...)
	if err := adopt(t, v, f); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{goes, comes} {
		if err := n.pullRecords(t.Context(), from(v)); err != nil {
			t.Fatal(err)
		}
	}
	if v.seat() != 0 || goes.seat() != -1 {
		t.Errorf("seats %d and %d", v.seat(), goes.seat())
	}
	// It had no keys when it was opened: it says what is needed, and judges after.
	if s, err := comes.Status(t.Context()); err != nil || s.Role != "validator" || !strings.Contains(strings.Join(s.Problems, " "), "start the node again") {
		t.Errorf("%v, %v", s, err)
	}
	if err := comes.openJudge(comes.store.KV("revocations")); err != nil || comes.seat() != 3 {
		t.Errorf("seat %d, %v", comes.seat(), err)
	}
	if !slices.ContainsFunc(v.bootstrap(), func(p peer.AddrInfo) bool { return p.ID.String() == PeerID(comes.home.PeerKey()) }) {
		t.Error("the new validator is not looked for")
	}
	if _, err := v.admits(comes.home.PeerKey(), nil); err != nil {
		t.Errorf("who comes is refused: %v", err)
	}
	if role, err := v.admits(goes.home.PeerKey(), nil); err != nil || role != trust.RoleValidator {
		t.Errorf("who goes is refused at once: %v", err)
	}
	if err := adopt(t, v, m.next(t, v, nil, keys[:3]...)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.admits(goes.home.PeerKey(), nil); err == nil {
		t.Error("who went is admitted for ever")
	}
}

// TestARecoveryShutsOutWhoWasReplaced: the validators before a recovery are those
// that it is there against.
func TestARecoveryShutsOutWhoWasReplaced(t *testing.T) {
	t.Parallel()
	m := found(t, 0)
	keys := m.keys(t)
	root := m.validators[0].home.Principals()[0].Device
	v, thief := m.validators[0], m.validators[3]
	f := m.next(t, v, func(r *trust.Record) {
		r.RootEpoch++
		r.Validators = r.Validators[:3]
		r.Numbers = trust.Default(3)
	}, append(keys[:3], root)...)
	if err := adopt(t, v, f); err != nil {
		t.Fatal(err)
	}
	if _, err := v.admits(thief.home.PeerKey(), nil); err == nil {
		t.Error("a validator that a recovery removed is admitted")
	}
	if _, err := v.admits(m.validators[1].home.PeerKey(), nil); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestAProofTravels has a validator sign two records for one version. Whoever
// meets both keeps a proof, passes it on, and says who it was.
func TestAProofTravels(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	keys := m.keys(t)
	a, b := m.validators[0], m.validators[3]
	one := m.next(t, a, nil, keys[0], keys[1], keys[2])
	two := m.next(t, b, func(r *trust.Record) { r.Expires -= 5 }, keys[1], keys[2], keys[3])
	if err := adopt(t, a, one); err != nil {
		t.Fatal(err)
	}
	if s, err := a.Status(t.Context()); err != nil || strings.Contains(strings.Join(s.Problems, " "), "signed two") {
		t.Fatalf("control: %v, %v", s.Problems, err)
	}
	err := adopt(t, a, two)
	if f := fault.Of(err); f.Exit != fault.Integrity || !strings.Contains(f.Message, "forks the network") {
		t.Fatalf("a fork: %v", err)
	}
	if n := m.nodes[0]; n.pullRecords(t.Context(), from(a)) != nil || len(n.trust.Proofs()) != 2 {
		t.Fatalf("%d proofs came", len(n.trust.Proofs()))
	}
	s, err := m.nodes[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"validator 2 signed two committee records for one version; proof kept", "validator 3 signed two"} {
		if !strings.Contains(strings.Join(s.Problems, "\n"), want) {
			t.Errorf("%q is not in %q", want, s.Problems)
		}
	}
	if strings.Contains(strings.Join(s.Problems, "\n"), "validator 1 signed") {
		t.Error("an honest validator is accused")
	}
}

// TestPagesThatLie come from a member that makes things up.
func TestPagesThatLie(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	keys := m.keys(t)
	n, v := m.nodes[0], m.validators[0]
	good := m.next(t, v, nil, keys[:3]...).Records[1]
	unsigned := m.next(t, v, nil).Records[1]
	foreign := trusttest.New(t, "other", 4)
	page := func(p recordsPage) recordSource {
		sent := false
		return func(context.Context, []byte) ([]byte, error) {
			if sent {
				p = recordsPage{}
			}
			sent = true
			return statement.Marshal(p)
		}
	}
	for name, lie := range map[string]recordsPage{
		"a draft":                   {Records: [][]byte{unsigned}},
		"another network's":         {Records: [][]byte{foreign.Raw()}},
		"one that follows it":       {Records: [][]byte{foreign.Succeed(t, nil).Bytes()}},
		"junk":                      {Records: [][]byte{{1, 2, 3}}},
		"too many":                  {Records: slices.Repeat([][]byte{good}, maxRecordPage+1)},
		"a membership that is none": {Members: [][]byte{good}},
		"an unsigned membership":    {Members: m.next(t, v, nil).Memberships},
		"a proof that is none":      {Proofs: [][]byte{good}},
		"a proof about a record":    {Proofs: [][]byte{(&trust.Proof{First: good, Second: unsigned}).Bytes()}},
	} {
		if err := n.pullRecords(t.Context(), page(lie)); err == nil || n.trust.Current().Version != 1 || len(n.trust.Proofs()) > 0 {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	if err := n.pullRecords(t.Context(), func(context.Context, []byte) ([]byte, error) { return []byte("junk"), nil }); err == nil {
		t.Error("a page that does not decode is taken")
	}
	// Pages without an end are given up, and what was right in them stays.
	pages := 0
	endless := func(context.Context, []byte) ([]byte, error) {
		pages++
		return statement.Marshal(recordsPage{Records: [][]byte{good}})
	}
	if err := n.pullRecords(t.Context(), endless); err != nil || pages != maxPages || n.trust.Current().Version != 2 {
		t.Errorf("%d pages, version %d, %v", pages, n.trust.Current().Version, err)
	}
}

// TestAdoptRefuses says which file is wrong, and how.
func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	m, other := found(t, 0), found(t, 0)
	keys := m.keys(t)
	v := m.validators[0]
	check := func(name string, f *trust.File, exit int, says string) {
		t.Helper()
		before, err := os.ReadFile(filepath.Join(v.home.Dir, home.NetworkFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := adopt(t, v, f); err == nil || fault.Of(err).Exit != exit || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(filepath.Join(v.home.Dir, home.NetworkFile)); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the home's file has changed", name)
		}
	}
	foreign, err := other.validators[0].networkFile()
	if err != nil {
		t.Fatal(err)
	}
	check("another network", foreign, fault.Failed, "belongs to the network test")
	check("a draft", m.next(t, v, nil), fault.Integrity, "3 more of")
	check("a draft that lacks one", m.next(t, v, nil, keys[:2]...), fault.Integrity, "1 more of")
	good := m.next(t, v, nil, keys[:3]...)
	gap := *good
	gap.Records = [][]byte{good.Records[0], good.Records[1], good.Records[1]}
	check("the same twice", &gap, fault.Integrity, "not one line")
	pinned := *good
	pinned.Root = []byte("junk")
	check("a pin that is none", &pinned, fault.Integrity, "pin")
	if err := adopt(t, v, good); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestPermit keeps a validator from signing twice, also after a restart.
func TestPermit(t *testing.T) {
	t.Parallel()
	m := found(t, 0)
	n := m.validators[0]
	a, b := statement.Hash("a").String(), statement.Hash("b").String()
	ask := func(id string, version uint64) error {
		_, err := n.Permit(t.Context(), api.PermitRequest{Kind: "committee", Version: version, ID: id})
		return err
	}
	if err := errors.Join(ask(a, 2), ask(a, 2), ask(b, 3)); err != nil {
		t.Fatal(err)
	}
	n.guards = trust.NewGuard(n.store.KV("guard"))
	if err := ask(b, 2); err == nil || fault.Of(err).Exit != fault.Denied || !strings.Contains(err.Error(), a) {
		t.Errorf("a second record: %v", err)
	}
	if err := ask("nonsense", 4); fault.Of(err).Exit != fault.Usage {
		t.Errorf("no id: %v", err)
	}
}

func FuzzRecordsPage(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	for _, p := range []recordsPage{{}, {Records: [][]byte{net.Succeed(f, nil).Bytes()}, Members: [][]byte{{1}}}} {
		raw, err := statement.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p recordsPage
		if statement.Unmarshal(raw, &p) != nil {
			return
		}
		if again, err := statement.Marshal(p); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("it does not come back: %v", err)
		}
	})
}

func FuzzRecordsRequest(f *testing.F) {
	raw, err := statement.Marshal(recordsRequest{Limit: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r recordsRequest
		if statement.Unmarshal(raw, &r) != nil {
			return
		}
		if again, err := statement.Marshal(r); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("it does not come back: %v", err)
		}
	})
}

// TestWhoIsLeftOutStaysOut: a member that a record does not renew is admitted to
// the end of what it has, and no later record brings it back.
func TestWhoIsLeftOutStaysOut(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	keys := m.keys(t)
	v, w, out := m.validators[0], m.validators[1], m.nodes[1]
	credential := (&gate{n: out}).Credential()
	m.skew.Add(int64(time.Hour / time.Second))
	f, err := v.networkFile()
	if err != nil {
		t.Fatal(err)
	}
	r := v.trust.Current().Record
	r.NotBefore, r.Expires = m.now().Unix(), m.now().Add(trust.Lifetime).Unix()
	if f, err = f.DraftNext(r, f.Policy, []statement.PublicKey{out.home.PeerKey()}); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys[:3] {
		if _, err := f.SignGuarded(k, trust.NewGuard(&kv.Memory{})); err != nil {
			t.Fatal(err)
		}
	}
	if err := adopt(t, v, f); err != nil {
		t.Fatal(err)
	}
	if err := w.pullRecords(t.Context(), from(v)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{v, w} {
		if _, err := n.admits(out.home.PeerKey(), credential); err != nil {
			t.Errorf("its time is not over: %v", err)
		}
		again := m.next(t, n, nil, keys[:3]...)
		if len(again.Memberships) != 1 || again.Members()[0].Peer != m.nodes[0].home.PeerKey() {
			t.Errorf("the next record would have %d members", len(again.Memberships))
		}
	}
	m.skew.Add(int64(trust.Lifetime/time.Second) - 1800)
	if _, err := w.admits(out.home.PeerKey(), credential); err == nil {
		t.Error("it is admitted after its time")
	}
	kept, ok := w.membership(m.nodes[0].home.PeerKey())
	if !ok {
		t.Fatal("control: who stays has nothing")
	}
	if _, err := w.admits(m.nodes[0].home.PeerKey(), kept); err != nil {
		t.Errorf("control: who stays: %v", err)
	}
}
