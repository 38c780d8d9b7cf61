package daemon

import (
	"crypto/rand"
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
)

// addLarge adds an object with several leaves.
func addLarge(t *testing.T, n *Node, size int) cid.Cid {
	t.Helper()
	content := make([]byte, size)
	rand.Read(content)
	address, _ := addSmall(t, n, string(content))
	return address
}

// mayCopy is a copying on node 1 of what node 0 grants it.
func mayCopy(t *testing.T, m *members, v *capability.Verified, address cid.Cid) *copying {
	t.Helper()
	c, err := m.nodes[1].newCopying(v, address, -1, []cid.Cid{address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

var errCut = errors.New("the line was cut")

// copyFrom has a copying ask once, and be cut off after some blocks.
func copyFrom(t *testing.T, from *Node, c *copying, blocks int) error {
	t.Helper()
	req, sink := c.next()
	if req == nil {
		return nil
	}
	_, err := exchange.Walk(t.Context(), ownBlocks{from}, *req, func(b exchange.Block) error {
		if blocks--; blocks < 0 {
			return errCut
		}
		return sink(b)
	})
	return errors.Join(err, c.flush(t.Context()))
}

func carryGrant(t *testing.T, m *members, address cid.Cid) *capability.Verified {
	t.Helper()
	v, err := m.nodes[1].verifier.Verify(chainFor(t, m, address, "carry"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.nodes[1].keep(heldPrefix, v.Audience().ID(), v, address.Bytes()); err != nil {
		t.Fatal(err)
	}
	return v
}

func listed(t *testing.T, n *Node) (out []api.Object) {
	t.Helper()
	l, err := n.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l.Objects
}

// A transfer that was cut goes on where it was, in another process; until it is whole
// the object is neither listed nor served.
func TestMirrorGoesOnWhereItWasCut(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, mirror := m.nodes[0], m.nodes[1]
	address := addLarge(t, owner, 5<<20)
	v := carryGrant(t, m, address)
	if err := copyFrom(t, owner, mayCopy(t, m, v, address), 7); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if got := listed(t, mirror); len(got) != 0 {
		t.Errorf("listed before it is whole: %v", got)
	}
	l := &lease{n: mirror, v: v}
	if err := l.Allows(address, manifestOf(t, mirror, address)); err == nil {
		t.Error("served before it is whole")
	}
	again := mayCopy(t, m, v, address)
	req, _ := again.next()
	if req == nil || req.Items[0].Whole || req.Items[0].Ranges[0].From < envelope.LeafSize {
		t.Fatalf("it begins anew: %+v", req)
	}
	if err := copyFrom(t, owner, again, 1<<20); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, mirror); len(got) != 1 || got[0].State != "carried" {
		t.Errorf("listed: %v", got)
	}
	if err := l.Allows(address, manifestOf(t, mirror, address)); err != nil {
		t.Errorf("not served: %v", err)
	}
	if whole, err := mirror.isWhole(t.Context(), address); !whole || err != nil {
		t.Errorf("whole: %v, %v", whole, err)
	}
	if parts, err := mirror.carry.parts(address); len(parts) != 0 || err != nil {
		t.Errorf("parts are left: %v, %v", parts, err)
	}
}

// What was deleted between two attempts is noticed before the object is held.
func TestMirrorNoticesWhatIsGone(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, mirror := m.nodes[0], m.nodes[1]
	address := addLarge(t, owner, 5<<20)
	v := carryGrant(t, m, address)
	if err := copyFrom(t, owner, mayCopy(t, m, v, address), 7); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	h, err := owner.library.Find(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	var first cid.Cid
	if _, err := exchange.Walk(t.Context(), ownBlocks{owner}, wholeOf(address), func(b exchange.Block) error {
		if b.Kind == exchange.Leaf && !first.Defined() && len(b.Data) > 1000 {
			first = b.CID
		}
		return nil
	}); err != nil || !first.Defined() {
		t.Fatal(err, h.CID)
	}
	if err := mirror.store.Delete(t.Context(), []cid.Cid{first}); err != nil {
		t.Fatal(err)
	}
	c := mayCopy(t, m, v, address)
	if err := copyFrom(t, owner, c, 1<<20); err != nil || c.left() != 1 || len(listed(t, mirror)) != 0 {
		t.Fatalf("held with a hole in it: %v, %d left", err, c.left())
	}
	if err := copyFrom(t, owner, c, 1<<20); err != nil || c.left() != 0 || len(listed(t, mirror)) != 1 {
		t.Errorf("not held: %v, %d left", err, c.left())
	}
}

func wholeOf(c cid.Cid) exchange.Request {
	return exchange.Request{Items: []exchange.Item{{Address: c.Bytes(), Whole: true}}}
}

// forgedOver is another manifest over the payload of an object.
func forgedOver(t *testing.T, n *Node, address cid.Cid) envelope.Block {
	t.Helper()
	h, err := n.library.Find(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	claims := h.Manifest.Claims()
	p := n.home.Principals()[0]
	claims.KeyNonce = envelope.NewNonce() // the lineage stays, so that the grant covers it
	b, err := envelope.SignManifest(claims, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// BX-11, as a mirror sees it: what is here under one object counts for nothing under
// another. The control shows that every block of the forged object is here.
func TestMirrorCountsNothingOfAnotherObject(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, mirror := m.nodes[0], m.nodes[1]
	address := addLarge(t, owner, 3<<20)
	v := carryGrant(t, m, address)
	if err := copyFrom(t, owner, mayCopy(t, m, v, address), 1<<20); err != nil {
		t.Fatal(err)
	}
	forged := forgedOver(t, owner, address)
	for _, n := range []*Node{owner, mirror} {
		if err := n.store.PutMany(t.Context(), []envelope.Block{forged}); err != nil {
			t.Fatal(err)
		}
	}
	if whole, err := mirror.isWhole(t.Context(), forged.CID); !whole || err != nil {
		t.Fatalf("control: %v, %v", whole, err)
	}
	c := mayCopy(t, m, v, forged.CID)
	req, _ := c.next()
	if req == nil || !req.Items[0].Whole {
		t.Errorf("it asks for less than everything: %+v", req)
	}
	if err := copyFrom(t, owner, c, 4); !errors.Is(err, errCut) || len(listed(t, mirror)) != 1 { // manifest, file root, header, root of the payload
		t.Errorf("%v, %v", err, listed(t, mirror))
	}
	if _, err := mirror.store.Object(forged.CID); err == nil {
		t.Error("the forged object is held")
	}
	// To forget it takes nothing from the object that it was forged over.
	if err := mirror.forgetHere(t.Context(), []cid.Cid{forged.CID}); err != nil {
		t.Fatal(err)
	}
	if whole, err := mirror.isWhole(t.Context(), address); !whole || err != nil {
		t.Errorf("it took blocks with it: %v, %v", whole, err)
	}
	if here, err := mirror.store.Has(t.Context(), forged.CID); here || err != nil {
		t.Errorf("its manifest is left: %v", err)
	}
}

// What the grant does not cover, and what was erased, is not carried.
func TestMirrorRefuses(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, mirror := m.nodes[0], m.nodes[1]
	address, other := addLarge(t, owner, 1000), addLarge(t, owner, 1000)
	v := carryGrant(t, m, address)
	c := mayCopy(t, m, v, other)
	if err := copyFrom(t, owner, c, 1<<20); err != nil || c.left() != 0 || !errors.Is(c.all[0].refused, capability.ErrScope) {
		t.Errorf("not granted: %v, %v", err, c.all[0].refused)
	}
	c = mayCopy(t, m, v, address)
	c.room = 10
	if err := copyFrom(t, owner, c, 1<<20); err != nil || !errors.Is(c.all[0].refused, errFull) {
		t.Errorf("too large: %v, %v", err, c.all[0].refused)
	}
	if got := listed(t, mirror); len(got) != 0 {
		t.Errorf("listed: %v", got)
	}
	if err := copyFrom(t, owner, mayCopy(t, m, v, address), 1<<20); err != nil || len(listed(t, mirror)) != 1 {
		t.Errorf("control: %v", err)
	}
}

// A mirror serves while it may carry, and no longer, also in the middle.
func TestMirrorServesWhileItMayCarry(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, mirror := m.nodes[0], m.nodes[1]
	address := addLarge(t, owner, 1000)
	v := carryGrant(t, m, address)
	if err := copyFrom(t, owner, mayCopy(t, m, v, address), 1<<20); err != nil {
		t.Fatal(err)
	}
	reader, err := mirror.verifier.Verify(chainFor(t, m, address, "read"))
	if err != nil {
		t.Fatal(err)
	}
	l := &lease{n: mirror, v: reader}
	if err := errors.Join(l.Allows(address, manifestOf(t, mirror, address)), l.Live()); err != nil {
		t.Fatal(err)
	}
	end(t, owner, mirror, v)
	if err := l.Live(); !errors.Is(err, capability.ErrRevoked) {
		t.Errorf("in the middle: %v", err)
	}
	if err := (&lease{n: mirror, v: reader}).Allows(address, manifestOf(t, mirror, address)); !errors.Is(err, errNotCarried) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := mirror.store.Object(address); err != nil {
		t.Errorf("the ciphertext is gone: %v", err)
	}
}

// end revokes a grant of the owner's, and has a node hear of it.
func end(t *testing.T, owner, n *Node, v *capability.Verified) {
	t.Helper()
	p := owner.home.Principals()[0]
	entry, err := revocation.Sign(revocation.Revocation{Network: n.trust.Network(), Target: v.Leaf(), Time: n.now().Unix()}, p.Identity, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.tracker.Take([]revocation.Entry{entry}); err != nil {
		t.Fatal(err)
	}
}

func FuzzCovered(f *testing.F) {
	c := envelope.CIDOf([]byte("x"), cid.DagCBOR)
	for _, r := range []coveredReply{{}, {Addresses: [][]byte{c.Bytes()}, More: true}, {Addresses: [][]byte{c.Bytes(), c.Bytes()}}, {Addresses: [][]byte{{1}}}} {
		raw, err := statement.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, []byte{})
		f.Add(raw, c.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw, after []byte) {
		page, _, err := readCovered(raw, after)
		last := string(after)
		for _, c := range page {
			if err == nil && c.KeyString() <= last {
				t.Error("a page goes back")
			}
			last = c.KeyString()
		}
	})
}
