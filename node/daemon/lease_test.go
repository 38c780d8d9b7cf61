package daemon

import (
	"context"
	"errors"
	"slices"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
)

// granted has the owner (node 0) grant an object to node 1, and opens a lease on
// the owner's side.
func granted(t *testing.T, m *members, address cid.Cid, can string) *lease {
	t.Helper()
	owner := m.nodes[0]
	v, err := owner.verifier.Verify(chainFor(t, m, address, can))
	if err != nil {
		t.Fatal(err)
	}
	l := &lease{n: owner, v: v}
	l.seen.Store(owner.set.Changes())
	return l
}

// chainFor is what the owner (node 0) grants to node 1.
func chainFor(t *testing.T, m *members, address cid.Cid, can string) *capability.Chain {
	t.Helper()
	ctx := context.Background()
	owner := m.nodes[0]
	h, err := owner.library.Find(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	p := owner.home.Principals()[0]
	g, to, err := owner.newGrant(api.GrantRequest{To: m.nodes[1].home.Principals()[0].Identity.Contact(), Can: can, Seconds: 3600}, p)
	if err != nil {
		t.Fatal(err)
	}
	claims := h.Manifest.Claims()
	if g.Target, err = targetOf(address, &claims, h, false); err != nil {
		t.Fatal(err)
	}
	out, err := owner.mint(ctx, p, to, g, address, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeToken(out.Token)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := capability.ParseChain(d.Chain)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func manifestOf(t *testing.T, n *Node, c cid.Cid) []byte {
	t.Helper()
	raw, err := n.store.Get(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// CA-08: a node that may read fetches for nobody else. Whoever shows the node's
// own grant, with a proof by anybody but the node's identity or on another's
// connection, gets nothing from it, although the node has the object.
func TestAReaderFetchesForNobodyElse(t *testing.T) {
	t.Parallel()
	m := found(t, 3)
	m.refresh()
	owner, reader, other := m.nodes[0], m.nodes[1], m.nodes[2]
	address, _ := addSmall(t, owner, "for one reader")
	chain := chainFor(t, m, address, "read")
	ask := func(holder, by, from *Node) error {
		s := quorum.Session{Server: holder.home.PeerKey(), Client: by.home.PeerKey(), Challenge: [32]byte{1}, Counter: func() uint64 { return 1 }}
		raw, err := by.quorum.ProveChain(by.home.Principals()[0], chain, s, statement.ID{9})
		if err != nil {
			return err
		}
		a, err := capability.ParseAuthority(raw)
		if err != nil {
			return err
		}
		_, _, err = holder.verifier.Open(a, capability.Expectation{
			Request: statement.ID{9}, Server: s.Server, Client: from.home.PeerKey(), Network: holder.trust.Network(),
			Challenge: s.Challenge, UseCounter: func(uint64) bool { return true }, Now: m.now(),
		})
		return err
	}
	for name, c := range map[string]struct{ holder, by, from *Node }{
		"another member asks the reader":                      {reader, other, other},
		"another member asks the owner":                       {owner, other, other},
		"another member has the reader's proof, at the owner": {owner, reader, other},
		"another member has its proof back, at the reader":    {reader, reader, other},
	} {
		if err := ask(c.holder, c.by, c.from); !errors.Is(err, capability.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := ask(owner, reader, reader); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestLeaseAllows serves what the chain covers and this home obtained as an
// object, and nothing else.
func TestLeaseAllows(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	address, _ := addSmall(t, owner, "granted")
	other, _ := addSmall(t, owner, "not granted")
	l := granted(t, m, address, "carry")
	manifest := manifestOf(t, owner, address)
	if err := l.Allows(address, manifest); err != nil {
		t.Fatalf("what was granted: %v", err)
	}
	if err := l.Allows(other, manifestOf(t, owner, other)); err == nil {
		t.Error("an object without a grant is served")
	}
	if err := l.Allows(address, manifestOf(t, owner, other)); err == nil {
		t.Error("another object's manifest passes")
	}
	if err := l.Allows(envelope.CIDOf([]byte("x"), cid.DagCBOR), manifest); err == nil {
		t.Error("an object that is not here is served")
	}
	// A home that has the same blocks, but never as an object, serves nothing.
	without := &lease{n: m.nodes[1], v: l.v}
	if err := without.Allows(address, manifest); err == nil {
		t.Error("an object that this home never obtained is served")
	}
}

// BX-11: a reader that was revoked signs a manifest of its own over the owner's payload
// and grants itself that. The chain is valid, and the blocks are all here; but this home
// never obtained the object under that manifest. The control is a home that did.
func TestAManifestOverSomebodysPayload(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := found(t, 2)
	m.refresh()
	owner, thief := m.nodes[0], m.nodes[1]
	address, _ := addSmall(t, owner, "somebody's")
	h, err := owner.library.Find(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	p := thief.home.Principals()[0]
	claims := h.Manifest.Claims()
	claims.Owner, claims.Author = p.Identity.ID(), p.Identity.ID()
	forged, err := envelope.SignManifest(claims, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.store.PutMany(ctx, []envelope.Block{forged}); err != nil { // as a carrier would
		t.Fatal(err)
	}
	g, to, err := thief.newGrant(api.GrantRequest{To: p.Identity.Contact(), Can: "read", Seconds: 3600}, p)
	if err != nil {
		t.Fatal(err)
	}
	g.Target = capability.Target{Kind: capability.Lineage, Ref: claims.Lineage}
	out, err := thief.mint(ctx, p, to, g, forged.CID, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeToken(out.Token)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := capability.ParseChain(d.Chain)
	if err != nil {
		t.Fatal(err)
	}
	v, err := owner.verifier.Verify(chain)
	if err != nil {
		t.Fatal(err)
	}
	l := &lease{n: owner, v: v}
	if err := l.Allows(forged.CID, forged.Data); err == nil {
		t.Error("somebody's payload is served under another's manifest")
	}
	if err := owner.store.PutObject(store.Object{Address: forged.CID.Bytes(), Origin: store.OriginImported}); err != nil {
		t.Fatal(err)
	}
	if err := l.Allows(forged.CID, forged.Data); err != nil {
		t.Errorf("the control, a home that obtained it as an object: %v", err)
	}
}

// TestLeaseEnds ends a transfer for each of the reasons there are.
func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	address, _ := addSmall(t, owner, "granted")
	unrelated := granted(t, m, address, "read")
	l := granted(t, m, address, "read")
	live := func(what string, l *lease, want error) {
		t.Helper()
		if err := l.Live(); !errors.Is(err, want) {
			t.Errorf("%s: %v, not %v", what, err, want)
		}
	}
	live("fresh and in force", l, nil)

	// Some other grant's revocation changes nothing.
	revoke(t, owner, unrelated)
	live("another was revoked", l, nil)
	live("it was revoked", unrelated, capability.ErrRevoked)
	revoke(t, owner, l)
	live("revoked", l, capability.ErrRevoked)
	live("still revoked", l, capability.ErrRevoked)

	// Without news for long enough nothing is served at all, and with news again it is.
	third := granted(t, m, address, "read")
	live("a new grant", third, nil)
	m.setDown(0, 1)
	m.skew.Add(301)
	m.refresh()
	if owner.tracker.Fresh() || third.Live() == nil {
		t.Error("an old view is served from")
	}
	if _, err := (&guard{owner}).Open(context.Background(), nil, &exchange.Request{}); err == nil {
		t.Error("a request is looked at without a fresh view")
	}
	m.setDown()
	m.refresh()
	live("fresh again", third, nil)
	m.skew.Add(3601)
	m.refresh()
	live("expired", third, capability.ErrExpired)
}

func revoke(t *testing.T, n *Node, l *lease) {
	t.Helper()
	p := n.home.Principals()[0]
	entry, err := revocation.Sign(revocation.Revocation{Network: n.trust.Network(), Target: l.v.Leaf(), Time: n.now().Unix()}, p.Identity, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.tracker.Take([]revocation.Entry{entry}); err != nil {
		t.Fatal(err)
	}
}

// TestTokens survive a copy and nothing else.
func TestTokens(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, reader := m.nodes[0], m.nodes[1]
	address, _ := addSmall(t, owner, "granted")
	l := granted(t, m, address, "read")
	ds, err := reader.quorum.PullMailbox(context.Background(), reader.home.Principals()[0], nil, false)
	if err != nil || len(ds) != 1 {
		t.Fatal(len(ds), err)
	}
	token, err := encodeToken(ds[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, good := range []string{token, " " + token + "\n"} {
		if g, err := reader.Accept(ctx, api.AcceptRequest{Token: good}); err != nil || g.Grant != l.v.Leaf().String() {
			t.Errorf("a good token: %v %v", g, err)
		}
	}
	step := len(token)/64 + 1
	for i := 0; i < len(token); i += step {
		bad := []byte(token)
		bad[i] ^= 1
		if _, err := reader.Accept(ctx, api.AcceptRequest{Token: string(bad)}); err == nil {
			t.Errorf("damaged at %d and accepted", i)
		}
		if _, err := reader.Accept(ctx, api.AcceptRequest{Token: token[:i]}); err == nil {
			t.Errorf("cut off at %d and accepted", i)
		}
	}
	if _, err := owner.Accept(ctx, api.AcceptRequest{Token: token}); err == nil {
		t.Error("somebody else's token was accepted")
	}
}

func FuzzDecodeToken(f *testing.F) {
	f.Add("")
	f.Add(tokenPrefix)
	f.Add(tokenPrefix + "AAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := decodeToken(s)
		if err != nil {
			return
		}
		again, err := encodeToken(d)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeToken(again); err != nil || string(back.Chain) != string(d.Chain) {
			t.Fatalf("it does not come back: %v", err)
		}
	})
}

// A home takes the manifest of what it made itself for its owner's, whose signature it
// does not verify again; of anything else it does. Nobody's manifest passes for
// another's, and no block for the one at an address.
func TestOnlyOwnManifestsAreKnown(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	n := m.nodes[0]
	address, _ := addSmall(t, n, "made here")
	o, err := n.store.Object(address)
	if err != nil {
		t.Fatal(err)
	}
	block := manifestOf(t, n, address)
	owner, other := n.home.Principals()[0].Identity, m.nodes[1].home.Principals()[0].Identity
	forged := slices.Clone(block)
	forged[len(forged)-1] ^= 1 // in its signature
	elsewhere := store.Object{Address: envelope.CIDOf(forged, envelope.CodecDagCBOR).Bytes(), Origin: store.OriginTransferred}
	here := elsewhere
	here.Origin, here.Owned = store.OriginAdded, true
	imported := o
	imported.Origin, imported.Owned = store.OriginImported, false
	for name, c := range map[string]struct {
		o     store.Object
		block []byte
		owner *identity.Identity
		good  bool
	}{
		"made here":                        {o, block, owner, true},
		"from elsewhere":                   {imported, block, owner, true},
		"not verified where it was made":   {here, forged, owner, true}, // the control
		"from elsewhere, signed by nobody": {elsewhere, forged, owner, false},
		"another block than it says":       {o, forged, owner, false},
		"of another owner":                 {o, block, other, false},
		"from elsewhere, of another owner": {imported, block, other, false},
	} {
		if got, err := manifestHere(c.o, c.block, c.owner); (err == nil) != c.good || c.good && got.Owner != owner.ID() {
			t.Errorf("%s: %v", name, err)
		}
	}
}
