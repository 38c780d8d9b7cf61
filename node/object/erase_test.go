package object

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

func TestEraseDestroysTheWrapAndForgetTheCiphertext(t *testing.T) {
	x := newLab(t)
	gone, stays := x.add(bytesOf(700_000)).Root.Address, x.add(bytesOf(10_000)).Root.Address
	rest := x.below(stays)
	loc, err := x.held(gone).local()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Secrets.Open(loc.Secret, gone.Bytes()); err != nil {
		t.Fatalf("the control: %v", err)
	}
	for range 2 { // it may be repeated
		if err := x.Erase([]cid.Cid{gone}); err != nil {
			t.Fatal(err)
		}
		if err := x.Forget(t.Context(), []cid.Cid{gone}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Secrets.Open(loc.Secret, gone.Bytes()); !errors.Is(err, keystore.ErrErased) {
		t.Errorf("the wrap opens: %v", err)
	}
	_, err = x.Open(t.Context(), x.held(gone))
	wantExit(t, err, fault.Denied)
	_, err = x.held(gone).Base()
	wantExit(t, err, fault.Denied)
	if n := x.blocks(); n != len(rest)+1 { // and the manifest of what is gone
		t.Errorf("%d blocks, want %d", n, len(rest)+1)
	}
	if got := x.read(stays); !bytes.Equal(got, bytesOf(10_000)) {
		t.Error("the other object is lost")
	}
	used, err := x.Slots()
	if err != nil || len(used) != 1 {
		t.Errorf("%d slots: %v", len(used), err)
	}
	if err := x.MarkShared([]cid.Cid{gone}); err != nil || x.held(gone).State != StateErased {
		t.Errorf("an answer that came late brings it back: state %d, %v", x.held(gone).State, err)
	}
}

// An erasure that was killed after the index entry says so is finished by the next.
func TestAnInterruptedEraseIsFinished(t *testing.T) {
	x := newLab(t)
	gone := x.add(bytesOf(100)).Root.Address
	o, loc, err := x.entry(gone)
	if err != nil {
		t.Fatal(err)
	}
	o.State = StateErased
	if err := x.Store.PutObject(o); err != nil {
		t.Fatal(err)
	}
	_, err = x.Open(t.Context(), x.held(gone)) // barred already
	wantExit(t, err, fault.Denied)
	if err := x.Erase([]cid.Cid{gone}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Secrets.Open(loc.Secret, gone.Bytes()); !errors.Is(err, keystore.ErrErased) {
		t.Errorf("the wrap opens: %v", err)
	}
}

// Family is what an address means: versions for a file, everything for a folder.
func TestFamily(t *testing.T) {
	x := newLab(t)
	first := x.add([]byte("one")).Root.Address
	base, err := x.held(first).Base()
	if err != nil {
		t.Fatal(err)
	}
	second, err := x.UpdateStream(t.Context(), x.owner, base, "x", bytes.NewReader([]byte("two")), nil)
	if err != nil {
		t.Fatal(err)
	}
	x.add([]byte("another"))
	dir := filepath.Join(t.TempDir(), "d")
	for _, name := range []string{"a", "b", "sub/c"} {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), []byte(name))
	}
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := x.AddPath(t.Context(), x.owner, dir, Labels{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of   cid.Cid
		want int
	}{"first version": {first, 2}, "last version": {second.Root.Address, 2}, "directory": {tree.Root.Address, 4}} {
		got, err := x.Family(x.held(c.of))
		if err != nil || len(got) != c.want {
			t.Errorf("%s: %d objects, want %d: %v", name, len(got), c.want, err)
		}
	}
	file := x.tree(tree.Root.Address)
	for _, e := range file {
		if e.Folder {
			continue
		}
		a, err := cid.Cast(e.Address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x.Family(x.held(a)); err != nil || len(got) != 1 {
			t.Errorf("a file of the directory: %d objects: %v", len(got), err)
		}
		break
	}
}

// Somebody may sign a manifest over blocks of another object, or over a node of its
// own that leads to some of them. To forget that object takes none of them away.
func TestForgetSparesBlocksOfOthers(t *testing.T) {
	x := newLab(t)
	stays := x.add(bytesOf(3_000_000)).Root.Address
	h := x.held(stays)
	m := h.Manifest.Claims()
	_, _, payload := m.Links()
	raw, err := x.Store.Get(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	node, err := envelope.ParseNode(raw)
	if err != nil {
		t.Fatal(err)
	}
	own := envelope.Block{CID: envelope.CIDOf([]byte("a leaf of its own"), envelope.CodecRaw), Data: []byte("a leaf of its own")}
	// The node with one leaf replaced, by its bytes: it need not be one that anybody reads.
	other := bytes.Replace(raw, node.Children[1].CID.Bytes(), own.CID.Bytes(), 1)
	root := envelope.Block{CID: envelope.CIDOf(other, envelope.CodecDagPB), Data: other}
	if err := x.Store.PutMany(t.Context(), []envelope.Block{own, root}); err != nil {
		t.Fatal(err)
	}
	var manifests []envelope.Block
	for _, over := range []cid.Cid{payload, root.CID} {
		m.KeyNonce, m.Payload = envelope.NewNonce(), over.Bytes()
		manifest, err := envelope.SignManifest(m, x.owner.Device)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Store.PutMany(t.Context(), []envelope.Block{manifest}); err != nil {
			t.Fatal(err)
		}
		if err := x.Store.PutObject(store.Object{Address: manifest.CID.Bytes(), Origin: store.OriginTransferred, Added: 1}); err != nil {
			t.Fatal(err)
		}
		if err := x.Forget(t.Context(), []cid.Cid{manifest.CID}); err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, manifest)
	}
	if got := x.read(stays); !bytes.Equal(got, bytesOf(3_000_000)) {
		t.Error("the other object is damaged")
	}
	for _, b := range append(manifests, own, root) { // control: what nobody else has is gone
		if here, err := x.Store.Has(t.Context(), b.CID); here || err != nil {
			t.Errorf("block %s is left: %v", b.CID, err)
		}
	}
}
