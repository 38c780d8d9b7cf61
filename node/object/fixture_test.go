package object

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// network is a founded network of four validators: real keys, a record that all
// of them have signed. Making it costs many hybrid keys, so tests share it.
type network struct {
	committee *trust.Committee
	homes     []*home.Home
}

var founded = sync.OnceValues(func() (*network, error) { return foundAs("lab") })

func foundNetwork(t testing.TB) *network {
	t.Helper()
	n, err := founded()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func foundAs(name string) (*network, error) {
	dir, err := os.MkdirTemp("", "object-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the keys are in memory
	n := &network{}
	g := trust.Founding{Name: name, Numbers: trust.Default(4)}
	var keys []statement.PrivateKey
	for i := range 4 {
		h, _, err := home.Init(filepath.Join(dir, fmt.Sprint(i)), home.Options{
			Name: "me", Kind: identity.User, Protection: keystore.Protection{Plain: true},
		})
		if err != nil {
			return nil, err
		}
		v, err := h.ValidatorKeys(true)
		if err != nil {
			return nil, err
		}
		n.homes = append(n.homes, h)
		keys = append(keys, v.Signing)
		g.Validators = append(g.Validators, trust.Validator{
			Identity: h.Principals()[0].Identity.ID(), Signing: v.Signing.Public(), Recipient: v.Recipient, Peer: h.PeerKey(),
			Addresses: []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 4801+i)}, Log: v.Log.Public(), Witness: v.Witness.Public(),
		})
	}
	root := n.homes[0].Principals()[0].Device
	g.Roots = []statement.PublicKey{root.Public()}
	file, _, err := g.Draft(policy.Builtin(), time.Now())
	if err != nil {
		return nil, err
	}
	for _, k := range append(keys, root) {
		if _, err := file.Sign(k); err != nil {
			return nil, err
		}
	}
	n.committee, err = file.Committee()
	return n, err
}

// lab is a library with a real store and a real erasable store in a folder.
type lab struct {
	*Library
	t     testing.TB
	dir   string
	owner *home.Principal
}

func newLab(t testing.TB) *lab {
	t.Helper()
	n := foundNetwork(t)
	x := &lab{t: t, dir: t.TempDir(), owner: n.homes[0].Principals()[0]}
	s, err := store.Open(store.Config{Dir: filepath.Join(x.dir, "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := keystore.OpenErasable(filepath.Join(x.dir, "slots"), n.homes[0].Master())
	if err != nil {
		t.Fatal(err)
	}
	x.Library = &Library{Store: s, Secrets: secrets, Trust: trust.Fixed(n.committee), Now: time.Now}
	t.Cleanup(func() { x.close() })
	return x
}

// close may be called twice; a test that looks at the files calls it early.
func (x *lab) close() {
	if x.Store == nil {
		return
	}
	if err := x.Store.Close(); err != nil {
		x.t.Error(err)
	}
	if err := x.Secrets.Close(); err != nil {
		x.t.Error(err)
	}
	x.Store = nil
}

func (x *lab) add(content []byte) *Added {
	x.t.Helper()
	a, err := x.AddStream(x.t.Context(), x.owner, "x.bin", bytes.NewReader(content), Labels{})
	if err != nil {
		x.t.Fatal(err)
	}
	return a
}

func (x *lab) held(address cid.Cid) *Held {
	x.t.Helper()
	h, err := x.Find(x.t.Context(), address)
	if err != nil {
		x.t.Fatal(err)
	}
	return h
}

func (x *lab) open(address cid.Cid) *Opened {
	x.t.Helper()
	o, err := x.Open(x.t.Context(), x.held(address))
	if err != nil {
		x.t.Fatal(err)
	}
	return o
}

func (x *lab) read(address cid.Cid) []byte {
	x.t.Helper()
	r, err := x.Read(x.t.Context(), x.open(address))
	if err != nil {
		x.t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

func (x *lab) tree(address cid.Cid) []Entry {
	x.t.Helper()
	entries, err := ReadTree(bytes.NewReader(x.read(address)))
	if err != nil {
		x.t.Fatal(err)
	}
	return entries
}

// blocks counts what the store holds, whoever refers to it.
func (x *lab) blocks() int {
	x.t.Helper()
	n, err := x.Store.CheckAll(context.Background(), func(c cid.Cid, err error) { x.t.Errorf("%s: %v", c, err) })
	if err != nil {
		x.t.Fatal(err)
	}
	return n
}

func (x *lab) objects() (n int) {
	x.t.Helper()
	err := x.Store.Objects(func(store.Object) (bool, error) { n++; return true, nil })
	if err != nil {
		x.t.Fatal(err)
	}
	return n
}

// below lists the CIDs of an object, its manifest first.
func (x *lab) below(address cid.Cid) (out []cid.Cid) {
	x.t.Helper()
	h := x.held(address)
	out = append(out, address)
	get := func(c cid.Cid) ([]byte, error) { return x.Store.Get(x.t.Context(), c) }
	err := walkOwn(x.t.Context(), h.Manifest.Claims(), get, func(c cid.Cid, _ []byte) error { out = append(out, c); return nil })
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

// bytesOf makes content that no compression or deduplication makes smaller.
func bytesOf(size int) []byte {
	out := make([]byte, size)
	c := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)})
	c.Read(out)
	return out
}

func wantExit(t *testing.T, err error, exit int) *fault.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want exit code %d", exit)
	}
	f := fault.Of(err)
	if f.Exit != exit {
		t.Fatalf("exit code %d, want %d: %v", f.Exit, exit, err)
	}
	return f
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
