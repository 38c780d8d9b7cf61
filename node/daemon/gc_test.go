package daemon

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

func collect(t *testing.T, n *Node, r api.GCRequest) *api.Collected {
	t.Helper()
	out, err := n.GC(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// leftOver is an add that was killed before its index entry: all its blocks, no name.
func leftOver(t *testing.T, n *Node, size int) cid.Cid {
	t.Helper()
	address := addLarge(t, n, size)
	if err := n.store.DeleteObject(address); err != nil {
		t.Fatal(err)
	}
	return address
}

func wantWhole(t *testing.T, n *Node, address cid.Cid) {
	t.Helper()
	if whole, err := n.isWhole(t.Context(), address); !whole || err != nil {
		t.Errorf("%s is not whole: %v", address, err)
	}
}

func wantGone(t *testing.T, n *Node, address cid.Cid) {
	t.Helper()
	if here, err := n.store.Has(t.Context(), address); here || err != nil {
		t.Errorf("%s is here: %v", address, err)
	}
}

// What an add left that was cut off goes, and is counted; every version that `ls`
// shows stays, what is carried too, and what is on its way.
func TestGC(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, mirror := m.nodes[0], m.nodes[1]
	address := addLarge(t, owner, 3<<20)
	next, err := owner.AddStream(t.Context(), api.AddRequest{Name: "x", Update: address.String()}, bytes.NewReader([]byte("newer")))
	if err != nil {
		t.Fatal(err)
	}
	left := leftOver(t, owner, 2<<20)
	dry := collect(t, owner, api.GCRequest{DryRun: true})
	if dry.Freed < 2<<20 || dry.Freed > 3<<20 || dry.Blocks < 5 || len(dry.Objects) != 1 || dry.Objects[0].Address != left.String() {
		t.Errorf("a dry run: %+v", dry)
	}
	wantWhole(t, owner, left)
	got := collect(t, owner, api.GCRequest{})
	if got.Freed != dry.Freed || got.Blocks != dry.Blocks || got.DryRun || len(got.Objects) != 1 {
		t.Errorf("freed %+v, and a dry run said %+v", got, dry)
	}
	wantGone(t, owner, left)
	newer, err := parseAddress(next.Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []cid.Cid{address, newer} {
		wantWhole(t, owner, a)
	}
	if got := collect(t, owner, api.GCRequest{}); got.Blocks != 0 || got.Freed != 0 || len(got.Objects) != 0 {
		t.Errorf("again: %+v", got)
	}

	v := carryGrant(t, m, address)
	first := mayCopy(t, m, v, address)
	if err := copyFrom(t, owner, first, 7); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	first.close() // as in another process: the transfer is a part on disk, and no draft
	if got := collect(t, mirror, api.GCRequest{}); got.Blocks != 0 {
		t.Errorf("of a transfer that goes on: %+v", got)
	}
	if err := copyFrom(t, owner, mayCopy(t, m, v, address), 1<<20); err != nil {
		t.Fatal(err)
	}
	collect(t, mirror, api.GCRequest{})
	wantWhole(t, mirror, address)
}

// Where a block is lost it is not known what it named: nothing is freed, unless that
// is asked for.
func TestGCBesideDamage(t *testing.T) {
	t.Parallel()
	n := found(t, 1).nodes[0]
	address, left := addLarge(t, n, 3<<20), leftOver(t, n, 1000)
	h, err := n.library.Find(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	claims := h.Manifest.Claims()
	_, _, payload := claims.Links()
	if err := n.store.Delete(t.Context(), []cid.Cid{payload}); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		if _, err := n.GC(t.Context(), api.GCRequest{DryRun: dry}); err == nil || fault.Of(err).Exit != fault.Integrity {
			t.Errorf("beside damage: %v", err)
		}
	}
	wantWhole(t, n, left)
	if got := collect(t, n, api.GCRequest{Force: true}); got.Freed < 3<<20 {
		t.Errorf("by force: %+v", got)
	}
	wantGone(t, n, left)
	if here, err := n.store.Has(t.Context(), address); !here || err != nil {
		t.Errorf("the manifest went with it: %v", err)
	}
	sweep, err := n.store.Sweep()
	if err != nil {
		t.Fatal(err)
	}
	defer sweep.Close()
	if _, err := n.GC(t.Context(), api.GCRequest{}); !errors.Is(err, store.ErrSweeping) {
		t.Errorf("two at once: %v", err)
	}
}

// Beside a collector that never stops, adds, reads, imports and transfers lose
// nothing. The control: what has no name, and no draft, is lost meanwhile.
func TestGCBesideEverything(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner, mirror := m.nodes[0], m.nodes[1]
	shared := addLarge(t, owner, 3<<20)
	v := carryGrant(t, m, shared)
	car := exportedCAR(t, owner, shared)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var collectors sync.WaitGroup
	var rounds [2]atomic.Int64
	for i, n := range m.nodes {
		collectors.Go(func() {
			for ctx.Err() == nil {
				if _, err := n.GC(ctx, api.GCRequest{}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				rounds[i].Add(1)
			}
		})
	}
	var work sync.WaitGroup
	work.Go(func() { addAndRead(t, owner) })
	work.Go(func() { addAndRead(t, owner) })
	work.Go(func() { importAndForget(t, mirror, car, shared) })
	work.Wait()
	for range 5 {
		c := mayCopy(t, m, v, shared)
		if err := copyFrom(t, owner, c, 1<<20); err != nil {
			t.Error(err)
		}
		c.close()
		wantWhole(t, mirror, shared)
		if err := mirror.forgetHere(t.Context(), []cid.Cid{shared}); err != nil {
			t.Error(err)
		}
	}
	if !losesWithoutDraft(t, owner, &rounds[0]) {
		t.Error("control: what has no draft is not lost either")
	}
	stop()
	collectors.Wait()
	t.Logf("%d and %d collections", rounds[0].Load(), rounds[1].Load())
}

// addAndRead adds objects one after another, and reads all of them each time.
func addAndRead(t *testing.T, n *Node) {
	all, times := map[string][]byte{}, 12
	if testing.Short() {
		times = 5
	}
	for range times {
		content := make([]byte, 2<<20)
		rand.Read(content)
		added, err := n.AddStream(t.Context(), api.AddRequest{Name: "x"}, bytes.NewReader(content))
		if err != nil {
			t.Error(err)
			return
		}
		all[added.Address] = content
		for address, want := range all {
			var got bytes.Buffer
			if _, err := n.GetStream(t.Context(), api.GetRequest{Address: address}, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s: %d bytes of %d, %v", address, got.Len(), len(want), err)
			}
		}
	}
}

// importAndForget imports an object and takes its name away, so that the next import
// finds blocks that are garbage, or becoming so.
func importAndForget(t *testing.T, n *Node, car string, address cid.Cid) {
	for range 20 {
		if _, err := n.Import(t.Context(), api.ImportRequest{Path: car}); err != nil {
			t.Error(err)
			return
		}
		wantWhole(t, n, address)
		if err := n.store.DeleteObject(address); err != nil {
			t.Error(err)
		}
	}
}

// losesWithoutDraft leaves an object's blocks as an add does between its blocks and
// its index entry, but without the draft, while the collectors go on.
func losesWithoutDraft(t *testing.T, n *Node, rounds *atomic.Int64) bool {
	address := leftOver(t, n, 2<<20)
	for began := rounds.Load(); rounds.Load() < began+8; {
		if whole, err := n.isWhole(t.Context(), address); err != nil || !whole {
			return err == nil
		}
	}
	return false
}

func exportedCAR(t *testing.T, n *Node, address cid.Cid) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.car")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Export(t.Context(), api.ExportRequest{Address: address.String(), Format: "car", Into: path}); err != nil {
		t.Fatal(err)
	}
	return path
}

// Evidence under a legal hold stays, though nothing lists it.
func TestGCSparesEvidence(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n, officer := m.nodes[0], m.validators[0]
	n.running.Store(true)
	defer n.running.Store(false)
	address := addRetained(t, n, nil)
	h, err := n.library.Find(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	claims := h.Manifest.Claims()
	officer.running.Store(true)
	defer officer.running.Store(false)
	if _, err := officer.Hold(t.Context(), api.HoldRequest{Address: address.String(), Reason: "case 7"}); err != nil {
		t.Fatal(err)
	}
	m.refresh()
	if !n.set.Held(idsOf(&claims)...) {
		t.Fatal("the hold is not known here")
	}
	if err := n.store.DeleteObject(address); err != nil {
		t.Fatal(err)
	}
	left := leftOver(t, n, 1000)
	if got := collect(t, n, api.GCRequest{}); got.Blocks == 0 {
		t.Errorf("control: %+v", got)
	}
	wantGone(t, n, left)
	wantWhole(t, n, address)
}

// pinnedAway is an object that a pin of node 1 has brought from node 0.
func pinnedAway(t *testing.T, m *members, size int) (cid.Cid, *capability.Verified) {
	t.Helper()
	n := m.nodes[1]
	address := addLarge(t, m.nodes[0], size)
	v := carryGrant(t, m, address)
	at := root{Audience: v.Audience().ID(), Since: 1}
	if err := errors.Join(n.pins.put(pinKey(address), pin{Since: 1, Brought: true}, looseKey(address)), n.carry.put(rootKey(address), at)); err != nil {
		t.Fatal(err)
	}
	c := mayCopy(t, m, v, address)
	defer c.close()
	if err := copyFrom(t, m.nodes[0], c, 1<<20); err != nil {
		t.Fatal(err)
	}
	return address, v
}

func pinned(t *testing.T, n *Node, address cid.Cid) bool {
	t.Helper()
	i, err := n.Info(t.Context(), api.InfoRequest{Address: address.String()})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range listed(t, n) {
		if o.Address == address.String() && o.Pinned != i.Pinned {
			t.Error("ls and info do not agree")
		}
	}
	return i.Pinned
}

// A pin keeps what it brought; without it the next collection lets it go, unless it
// is a mirror's by now.
func TestPin(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	n := m.nodes[1]
	address, _ := pinnedAway(t, m, 1<<20)
	unpin := func() error {
		_, err := n.Unpin(t.Context(), api.UnpinRequest{Address: address.String()})
		return err
	}
	again := func() error {
		_, err := n.Pin(t.Context(), api.PinRequest{Address: address.String()})
		return err
	}
	if !pinned(t, n, address) {
		t.Error("it is not shown as pinned")
	}
	if _, err := n.Unmirror(t.Context(), api.UnmirrorRequest{Address: address.String()}); err == nil || fault.Of(err).Exit != fault.Failed {
		t.Errorf("taken from under its pin: %v", err)
	}
	collect(t, n, api.GCRequest{})
	wantWhole(t, n, address)
	if err := errors.Join(unpin(), again(), again()); err != nil || !pinned(t, n, address) {
		t.Errorf("pinned again: %v", err)
	}
	collect(t, n, api.GCRequest{})
	wantWhole(t, n, address)

	// As a mirror's it stays without the pin.
	if err := errors.Join(unpin(), n.pins.keepAsMirror(address)); err != nil || pinned(t, n, address) {
		t.Error(err)
	}
	collect(t, n, api.GCRequest{})
	wantWhole(t, n, address)
	if _, err := n.Unmirror(t.Context(), api.UnmirrorRequest{Address: address.String()}); err != nil {
		t.Error(err)
	}

	address, _ = pinnedAway(t, m, 1<<20)
	if err := unpin(); err != nil {
		t.Fatal(err)
	}
	if err := unpin(); err == nil || fault.Of(err).Exit != fault.NotFound {
		t.Errorf("unpinned twice: %v", err)
	}
	wantWhole(t, n, address)
	if dry := collect(t, n, api.GCRequest{DryRun: true}); dry.Freed < 1<<20 {
		t.Errorf("a dry run: %+v", dry)
	}
	wantWhole(t, n, address)
	if got := collect(t, n, api.GCRequest{}); got.Freed < 1<<20 || len(got.Objects) != 1 {
		t.Errorf("freed: %+v", got)
	}
	wantGone(t, n, address)
	if l := listed(t, n); len(l) != 0 {
		t.Errorf("listed: %v", l)
	}
	if roots, _, err := n.carry.roots(); len(roots) != 0 || err != nil {
		t.Errorf("it would be fetched again: %v, %v", roots, err)
	}
}

func TestPinRefuses(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	owner := m.nodes[0]
	address := addLarge(t, owner, 1000)
	nothing := envelope.CIDOf([]byte("nothing"), cid.DagCBOR).String()
	for _, c := range []struct {
		n       *Node
		address string
		exit    int
	}{{owner, "bafynonsense", fault.Usage}, {owner, nothing, fault.Unavailable}, {m.nodes[1], address.String(), fault.Unavailable}} {
		if _, err := c.n.Pin(t.Context(), api.PinRequest{Address: c.address}); err == nil || fault.Of(err).Exit != c.exit {
			t.Errorf("%s: %v", c.address, err)
		}
	}
	m.nodes[1].running.Store(true)
	_, err := m.nodes[1].Pin(t.Context(), api.PinRequest{Address: address.String()})
	m.nodes[1].running.Store(false)
	if err == nil || fault.Of(err).Exit != fault.Denied {
		t.Errorf("without a grant: %v", err)
	}
	if is, err := m.nodes[1].pins.isPinned(address); is || err != nil {
		t.Errorf("a pin of what was denied is left: %v", err)
	}
	for a, exit := range map[string]int{"x": fault.Usage, nothing: fault.NotFound, address.String(): fault.NotFound} {
		if _, err := owner.Unpin(t.Context(), api.UnpinRequest{Address: a}); err == nil || fault.Of(err).Exit != exit {
			t.Errorf("unpin %s: %v", a, err)
		}
	}
	if _, err := owner.Pin(t.Context(), api.PinRequest{Address: address.String()}); err != nil || !pinned(t, owner, address) {
		t.Errorf("control: %v", err)
	}
	if err := owner.library.Erase([]cid.Cid{address}); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Pin(t.Context(), api.PinRequest{Address: address.String()}); err == nil || fault.Of(err).Exit != fault.Denied {
		t.Errorf("what was erased: %v", err)
	}
}

// BenchmarkGC looks through a home of many small objects and one of 256 MiB, of which
// nothing is garbage.
func BenchmarkGC(b *testing.B) {
	n := found(b, 1).nodes[0]
	p := n.home.Principals()[0]
	add := func(size int) {
		if _, err := n.library.AddStream(b.Context(), p, "x", io.LimitReader(rand.Reader, int64(size)), object.Labels{}); err != nil {
			b.Fatal(err)
		}
	}
	add(256 << 20)
	for range 1000 {
		add(1000)
	}
	for b.Loop() {
		if got, err := n.GC(b.Context(), api.GCRequest{}); err != nil || got.Blocks != 0 {
			b.Fatal(got, err)
		}
	}
}
