package testnet_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// withoutDHT has members learn of holders from validators alone, as where the DHT is
// censored.
func (w *world) withoutDHT(members ...string) {
	w.Helper()
	for _, m := range members {
		w.stop(m)
		f, err := os.OpenFile(filepath.Join(w.dir, m, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			w.Fatal(err)
		}
		_, err = f.WriteString("\nno_dht = true\n")
		if cerr := f.Close(); err != nil || cerr != nil {
			w.Fatal(err, cerr)
		}
		w.restart(m)
	}
}

func (w *world) peer(member string) string { return w.ok(member, "status").str("peer_id") }

// mirrored is what a member's list of mirrors says of an address.
func (w *world) mirrored(member, address string) facts {
	w.Helper()
	for _, m := range w.ok(member, "mirror", "--list").list("mirrored") {
		if f := facts(m.(map[string]any)); f.str("address") == address {
			return f
		}
	}
	return nil
}

// TestMirror: node2 carries what it cannot read, and with the owner dead and a DHT
// that tells nothing, node3 reads from it.
func TestMirror(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "4")
	w.withoutDHT("node1", "node2", "node3")
	const canary = "CANARY-carried-7b1e"
	content := bytes.Repeat([]byte(canary+" in plain words\n"), 100_000)
	path := filepath.Join(w.tmp, "carried.txt")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	address := w.ok("node1", "add", path).str("address")
	w.grant("node1", address, "node3", "read")
	w.refuse(3, "node2", "mirror", address)
	w.refuse(3, "node4", "mirror", unknown())
	w.refuse(2, "node1", "mirror", address)
	w.refuse(2, "node2", "mirror", address, "--list")
	w.refuse(4, "node2", "unmirror", address)

	w.stop("node1") // control: nobody else has it
	w.denied(5, "node3", address)
	w.restart("node1")
	carry := w.grant("node1", address, "node2", "carry")
	if got := w.ok("node2", "mirror", address); got.num("objects") != 1 || got.num("bytes") < float64(len(content)) || got.str("state") != "carried" {
		t.Fatalf("mirrored: %v", got)
	}
	if o := w.object("node2", address); o.str("state") != "carried" || o["owned"] == true {
		t.Errorf("listed as %v", o)
	}
	w.denied(3, "node2", address)
	w.refuse(3, "node2", "export", address, "--car", w.path("stolen.car"))

	w.kill("node1")
	if got := w.reads("node3", address, content); fmt.Sprint(got.list("from")) != fmt.Sprint([]any{w.peer("node2")}) {
		t.Errorf("read from %v", got.list("from"))
	}
	w.noKeyAt("node2", "node1", canary)

	// Once it may not carry any more it serves nothing, and keeps the ciphertext.
	w.restart("node1")
	w.ok("node1", "revoke", carry)
	w.eventually("the mirror knows", func() bool { return w.mirrored("node2", address).str("state") == "ended" })
	w.kill("node1")
	if r := w.run("node3", "get", address, "-o", w.path("after")); r.code != 4 && r.code != 5 {
		t.Errorf("a mirror whose grant was revoked serves: %s", r)
	}
	w.restart("node1")
	w.grant("node1", address, "node2", "carry")
	if got := w.ok("node2", "mirror", address); got.num("new") != 0 || got.str("state") != "carried" {
		t.Errorf("with another grant: %v", got)
	}
	w.kill("node1")
	w.reads("node3", address, content)

	// What its owner erases goes.
	w.restart("node1")
	w.ok("node1", "erase", address)
	w.eventually("the mirror has forgotten it", func() bool {
		return w.object("node2", address) == nil && w.mirrored("node2", address) == nil
	})
	if left, _ := filepath.Glob(filepath.Join(w.dir, "node2", "store", "blocks", "*", "*.data")); len(left) > 0 {
		t.Errorf("blocks are left: %v", left)
	}
}

// noKeyAt greps a mirror's home for plaintext and for the owner's secret. The owner's
// process has ended.
func (w *world) noKeyAt(mirror, owner, canary string) {
	w.Helper()
	secrets, err := openAll(w.T, filepath.Join(w.dir, owner), secretsIn(w.T, filepath.Join(w.dir, owner)))
	if err != nil || len(secrets) == 0 {
		w.Fatalf("the owner's secrets: %d, %v", len(secrets), err)
	}
	for _, what := range append(secrets, []byte(canary)) {
		if found := filesWith(w.T, filepath.Join(w.dir, mirror), what); len(found) > 0 {
			w.Errorf("a mirror has %.20q in %v", what, found)
		}
	}
	control := filepath.Join(w.dir, mirror, "control")
	if err := os.WriteFile(control, append([]byte("x"), secrets[0]...), 0o600); err != nil {
		w.Fatal(err)
	}
	if found := filesWith(w.T, filepath.Join(w.dir, mirror), secrets[0]); len(found) != 1 {
		w.Errorf("the search finds %v", found)
	}
	if err := os.Remove(control); err != nil {
		w.Fatal(err)
	}
}

// TestMirrorOfADirectory: who cannot read an index carries what it names all the
// same, repairs what rots, and keeps what a hold is on.
func TestMirrorOfADirectory(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "3")
	folder := filepath.Join(w.tmp, "data")
	if err := os.MkdirAll(filepath.Join(folder, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		_, content := w.file("part", 300_000+i)
		if err := os.WriteFile(filepath.Join(folder, "below", fmt.Sprint(i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := w.ok("node1", "add", folder).str("address")
	w.grant("node1", address, "node2", "carry")
	w.grant("node1", address, "node3", "read")
	if got := w.ok("node2", "mirror", address); got.num("objects") != 7 || got.num("missing") != 0 {
		t.Fatalf("mirrored: %v", got)
	}
	rot(t, filepath.Join(w.dir, "node2", "store", "blocks"))
	if got := w.ok("node2", "mirror", "--check"); len(got.list("damaged")) != 1 || len(got.list("repaired")) != 1 || got.num("objects") != 7 {
		t.Errorf("checked: %v", got)
	}
	if got := w.ok("node2", "mirror", "--check", address); len(got.list("damaged")) != 0 || got.num("checked") < 14 {
		t.Errorf("checked again: %v", got)
	}
	w.kill("node1")
	out := w.path("restored")
	if got := w.ok("node3", "get", address, "-o", out); got.num("files") != 6 {
		t.Errorf("restored: %v", got)
	}
	rot(t, filepath.Join(w.dir, "node2", "store", "blocks")) // and nobody is left to repair it from
	if r := w.run("node2", "mirror", "--check"); r.code != 6 {
		t.Errorf("damage that nobody repairs: %s", r)
	}
	hold := w.ok("validator1", "hold", "place", address, "--directory", "--reason", "case-1").str("hold")
	w.eventually("the mirror knows of the hold", func() bool { return len(w.ok("node2", "hold", "list").list("holds")) == 1 })
	w.refuse(3, "node2", "unmirror", address)
	w.ok("validator1", "hold", "release", hold)
	w.eventually("the mirror knows of its end", func() bool { return len(w.ok("node2", "hold", "list").list("holds")) == 0 })
	if got := w.ok("node2", "unmirror", address); got.num("objects") != 7 {
		t.Errorf("unmirrored: %v", got)
	}
	if o := w.object("node2", address); o != nil || w.mirrored("node2", address) != nil {
		t.Errorf("left: %v", o)
	}
}

// BX-11: node2, which may read no more, signs its own manifest over node1's payload
// and has node3, which carries that payload for node1, mirror it. Every block that it
// needs is on node3's disk; node3 takes none of them, and asks node2, which has none.
func TestMirrorTakesNothingFromAnotherObject(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "4")
	address, content := w.add("node1", "victim.bin", 3_000_000)
	w.grant("node1", address, "node3", "carry")
	w.grant("node1", address, "node4", "read")
	w.ok("node3", "mirror", address)
	ended := w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
	w.ok("node1", "revoke", ended)

	w.stop("node3")
	nodes, leaves := objectAt(t, filepath.Join(w.dir, "node3"), address)
	w.restart("node3")
	forged := w.forge("node2", nodes)
	token := w.ok("node2", "grant", forged, "--to", w.contact("node3"), "--can", "carry", "--for", "1h").str("token")
	w.ok("node3", "grant-accept", token)
	if r := w.run("node3", "mirror", forged); r.code != 4 && r.code != 5 {
		t.Fatalf("a forged manifest is mirrored: %s", r)
	}
	if o := w.object("node3", forged); o != nil {
		t.Errorf("it is listed: %v", o)
	}
	if r := w.run("node3", "unmirror", forged); r.code != 0 && r.code != 4 {
		t.Errorf("%s", r)
	}
	w.ok("node3", "verify", address) // what they share stays
	w.kill("node1")
	w.reads("node4", address, content)

	// Control: a peer that has every block itself gives nothing away.
	w.stop("node2")
	putBlocks(t, filepath.Join(w.dir, "node2"), leaves)
	w.restart("node2")
	w.eventually("with blocks of its own it is carried", func() bool { return w.run("node3", "mirror", forged).code == 0 })
	w.ok("node3", "unmirror", forged)
	w.ok("node3", "verify", address)
}

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{Dir: filepath.Join(dir, "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// objectAt reads the blocks of an object whose payload has one node: manifest, file
// root, header and node, and the leaves.
func objectAt(t *testing.T, dir, address string) (nodes, leaves []envelope.Block) {
	t.Helper()
	s := openStore(t, dir)
	defer s.Close()
	get := func(c cid.Cid) envelope.Block {
		data, err := s.Get(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return envelope.Block{CID: c, Data: data}
	}
	c, err := cid.Decode(address)
	if err != nil {
		t.Fatal(err)
	}
	manifest := get(c)
	u, err := envelope.ParseManifest(c, manifest.Data)
	if err != nil {
		t.Fatal(err)
	}
	m := u.Claims()
	file, header, payload := m.Links()
	root := get(payload)
	nodes = []envelope.Block{manifest, get(file), get(header), root}
	node, err := envelope.ParseNode(root.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range node.Children {
		leaves = append(leaves, get(ch.CID))
	}
	return nodes, leaves
}

func putBlocks(t *testing.T, dir string, blocks []envelope.Block) {
	t.Helper()
	s := openStore(t, dir)
	defer s.Close()
	if err := s.PutMany(t.Context(), blocks); err != nil {
		t.Fatal(err)
	}
}

// forge makes a member the owner of an object over somebody else's payload, of which
// it has no leaf.
func (w *world) forge(member string, nodes []envelope.Block) (address string) {
	w.Helper()
	dir := filepath.Join(w.dir, member)
	w.stop(member)
	h, err := home.Open(dir, func() ([]byte, error) { return nil, fmt.Errorf("keys of a test are plain") })
	if err != nil {
		w.Fatal(err)
	}
	p := h.Principals()[0]
	u, err := envelope.ParseManifest(nodes[0].CID, nodes[0].Data)
	if err != nil {
		w.Fatal(err)
	}
	m := u.Claims()
	m.KeyNonce, m.Lineage, m.Owner, m.Author = envelope.NewNonce(), envelope.NewNonce(), p.Identity.ID(), p.Identity.ID()
	block, err := envelope.SignManifest(m, p.Device)
	if err != nil {
		w.Fatal(err)
	}
	local, err := statement.Marshal(struct {
		_                 struct{} `cbor:",toarray"`
		KeyNonce, Lineage envelope.Nonce
		Kind              uint8
		Labels            []string
		Class             uint8
		Secret            keystore.Sealed
		Next              []byte
		Rekey             bool
	}{KeyNonce: m.KeyNonce, Lineage: m.Lineage})
	if err != nil {
		w.Fatal(err)
	}
	putBlocks(w.T, dir, append([]envelope.Block{block}, nodes[1:]...))
	s := openStore(w.T, dir)
	err = s.PutObject(store.Object{Address: block.CID.Bytes(), Origin: store.OriginAdded, Owned: true, Added: 1, Stored: m.Size, State: 1, Local: local})
	if cerr := s.Close(); err != nil || cerr != nil {
		w.Fatal(err, cerr)
	}
	w.restart(member)
	return block.CID.String()
}

// TestReplication: two of three mirrors have copies; one is lost, and nobody but the
// nodes does anything about it.
func TestReplication(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "5")
	address, content := w.add("node1", "kept.bin", 2_000_000)
	lonely, _ := w.add("node1", "lonely.bin", 1000)
	w.grant("node1", address, "node5", "read")
	on := []string{}
	names := map[string]string{}
	for _, m := range []string{"node2", "node3", "node4"} {
		w.ok(m, "mirror", "--offer", "1GiB", "--from", w.contact("node1"))
		on = append(on, "--on", w.contact(m))
		names[w.ok(m, "status").str("identity")] = m
	}
	w.refuse(2, "node1", append([]string{"replicate", address, "--copies", "4"}, on...)...)
	w.refuse(4, "node5", append([]string{"replicate", address, "--copies", "1"}, on...)...)
	w.ok("node1", append([]string{"replicate", address, "--copies", "2", "--within", "15s"}, on...)...)
	states := func() map[string]string {
		out := map[string]string{}
		for _, r := range w.ok("node1", "replicate", "--list").list("replicas") {
			if f := facts(r.(map[string]any)); f.str("address") == address {
				for _, m := range f.list("mirrors") {
					f := facts(m.(map[string]any))
					out[names[f.str("identity")]] = f.str("state")
				}
			}
		}
		return out
	}
	w.eventually("two mirrors have proved copies", func() bool {
		s := states()
		return s["node2"] == "healthy" && s["node3"] == "healthy"
	})

	// One that nobody carries is named, in words and in JSON.
	w.ok("node1", "replicate", lonely, "--copies", "1", "--on", w.contact("node5"))
	short := w.ok("node1", "status").list("under_replicated")
	if len(short) != 1 || facts(short[0].(map[string]any)).str("name") != "lonely.bin" {
		t.Errorf("under-replicated: %v", short)
	}
	if r := w.run("node1", "status"); !strings.Contains(r.out, "1 of 2 targets lack copies") || !strings.Contains(r.out, "lonely.bin") {
		t.Errorf("in words: %s", r)
	}
	w.ok("node1", "replicate", lonely, "--stop")
	if short := w.ok("node1", "status").list("under_replicated"); len(short) != 0 {
		t.Errorf("afterwards: %v", short)
	}

	w.kill("node2")
	w.eventually("the next one took its place", func() bool {
		s := states()
		return s["node2"] == "lost" && s["node4"] == "healthy"
	})
	w.kill("node1", "node3")
	if got := w.reads("node5", address, content); fmt.Sprint(got.list("from")) != fmt.Sprint([]any{w.peer("node4")}) {
		t.Errorf("read from %v", got.list("from"))
	}
}
