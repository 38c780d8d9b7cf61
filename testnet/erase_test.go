package testnet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/testnet/localnet"
)

// sealedSecret is a secret of a home's erasable store, with what opens it.
type sealedSecret struct {
	sealed keystore.Sealed
	aad    []byte
}

// secretsIn finds the sealed shares of a validator's home, or the sealed wraps of
// an owner's. The home's process must have ended.
func secretsIn(t *testing.T, dir string) (out []sealedSecret) {
	t.Helper()
	s, err := store.Open(store.Config{Dir: filepath.Join(dir, "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.KV("validator").Scan([]byte("deposit/"), nil, func(key, raw []byte) (bool, error) {
		var d struct {
			_                          struct{} `cbor:",toarray"`
			Address, Manifest, Dealing []byte
			Shares                     []struct {
				_             struct{} `cbor:",toarray"`
				Epoch, Record statement.ID
				Share         keystore.Sealed
				Scale         []byte
				Points        [][]byte
				Made, Dealt   []byte
			}
			Holders []string
		}
		if err := statement.Unmarshal(raw, &d); err != nil {
			return false, err
		}
		for _, h := range d.Shares {
			out = append(out, sealedSecret{h.Share, append(bytes.Clone(key[len("deposit/"):]), h.Epoch[:]...)})
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Objects(func(o store.Object) (bool, error) {
		if !o.Owned {
			return true, nil
		}
		var l struct {
			_         struct{} `cbor:",toarray"`
			Key, Line [32]byte
			Kind      uint8
			Labels    []struct {
				_    struct{} `cbor:",toarray"`
				K, V string
			}
			Class  uint8
			Secret keystore.Sealed
			Next   []byte
			Rekey  bool
		}
		if err := statement.Unmarshal(o.Local, &l); err != nil {
			return false, err
		}
		if len(l.Secret.Ciphertext) > 0 {
			out = append(out, sealedSecret{l.Secret, o.Address})
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// openAll opens secrets with the slot file of a home; the error is of the last
// that does not open.
func openAll(t *testing.T, dir string, secrets []sealedSecret) (open [][]byte, last error) {
	t.Helper()
	h, err := home.Open(dir, func() ([]byte, error) { return nil, fmt.Errorf("keys of a test are plain") })
	if err != nil {
		t.Fatal(err)
	}
	e, err := keystore.OpenErasable(filepath.Join(dir, "slots"), h.Master())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, s := range secrets {
		secret, err := e.Open(s.sealed, s.aad)
		if err != nil {
			last = err
			continue
		}
		open = append(open, secret)
	}
	return open, last
}

// slotOf are the bytes of a secret's slot, which hold its key.
func slotOf(t *testing.T, dir string, s sealedSecret) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "slots"))
	if err != nil {
		t.Fatal(err)
	}
	return raw[4096+128*s.sealed.Slot:][:128]
}

// filesWith are the files below a folder that hold some bytes.
func filesWith(t *testing.T, dir string, what []byte) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(name)
		if err == nil && bytes.Contains(raw, what) {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// members are the names of all processes.
func (w *world) members() (out []string) {
	for _, p := range w.network().Processes {
		out = append(out, p.Name)
	}
	return out
}

// copyHomes stops everybody, copies all homes, and starts everybody again.
func (w *world) copyHomes() (to string) {
	w.Helper()
	to = w.path("before")
	names := w.members()
	for _, name := range names {
		w.stop(name)
	}
	for _, name := range names {
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(filepath.Join(w.dir, name))); err != nil {
			w.Fatal(err)
		}
		if err := filepath.WalkDir(filepath.Join(to, name), func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return os.Chmod(p, 0o600)
			}
			return os.Chmod(p, 0o700)
		}); err != nil {
			w.Fatal(err)
		}
	}
	w.restart(names...)
	return to
}

// TestErasure erases an object while a validator is down, and looks for what is
// left of it in every file of every home, before and after.
func TestErasure(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	gone, content := w.add("node1", "gone.bin", 300_000)
	before := w.copyHomes() // one object: every secret in the copies is of it
	stays, other := w.add("node1", "stays.bin", 1000)
	w.grant("node1", gone, "node2", "read")
	w.grant("node1", stays, "node2", "read")
	w.comesToRead("node2", gone, content)
	car := w.path("gone.car")
	w.ok("node1", "export", gone, "--car", car)
	w.ok("node2", "import", car) // a holder of the ciphertext

	w.kill("validator4")
	receipts := w.path("receipts.json")
	r := w.ok("node1", "erase", gone, "--reason", "it was asked for", "--receipts", receipts)
	if r["erased"] != true || len(r.list("receipts")) != 3 || len(r.list("residue")) < 4 {
		t.Errorf("erase says %v", r)
	}
	if said := w.denied(3, "node1", gone); !strings.Contains(said, "erased") {
		t.Errorf("the owner is told: %s", said)
	}
	w.denied(3, "node2", gone)
	w.eventually("node2 forgets the ciphertext", func() bool { return w.object("node2", gone) == nil })
	w.reads("node2", stays, other)
	w.refuse(3, "node1", "export", gone, "--car", w.path("again.car"))
	w.checkReceipts(receipts)
	w.eventually("receipts of the erasure, by the address that is gone", func() bool {
		return len(w.ok("node1", "audit", "receipts", "--object", gone).list("receipts")) > 0
	})

	w.restart("validator4") // it was down, and destroys by itself
	slot := slotOf(t, filepath.Join(before, "validator4"), secretsIn(t, filepath.Join(before, "validator4"))[0])
	w.eventually("validator 4 destroys its share", func() bool {
		return len(filesWith(t, filepath.Join(w.dir, "validator4"), slot)) == 0
	})
	for _, name := range w.members() {
		w.stop(name)
	}
	for _, name := range []string{"validator1", "validator2", "validator3", "validator4", "node1"} {
		w.nothingLeft(before, name)
	}
}

// nothingLeft checks that what opened in the copy of a home is not in any home.
func (w *world) nothingLeft(before, name string) {
	w.Helper()
	was, is := filepath.Join(before, name), filepath.Join(w.dir, name)
	secrets := secretsIn(w.T, was)
	if len(secrets) != 1 {
		w.Fatalf("%s had %d secrets of one object", name, len(secrets))
	}
	slot := slotOf(w.T, was, secrets[0])
	open, err := openAll(w.T, was, secrets)
	if err != nil || len(open) != 1 {
		w.Fatalf("the control: what %s had does not open: %v", name, err)
	}
	if found := filesWith(w.T, was, slot); len(found) != 1 {
		w.Errorf("the control: the slot of %s stands in %v", name, found)
	}
	for what, b := range map[string][]byte{"secret": open[0], "half of the secret": open[0][:min(32, len(open[0]))], "slot": slot} {
		if found := filesWith(w.T, w.dir, b); len(found) > 0 {
			w.Errorf("the %s of %s is in %v", what, name, found)
		}
	}
	if open, _ := openAll(w.T, is, secrets); len(open) != 0 {
		w.Errorf("what was kept of the records of %s opens with its slots of today", name)
	}
	if n := len(secretsIn(w.T, is)); n > 1 {
		w.Errorf("%s has %d secrets, and one object is left", name, n)
	}
}

// checkReceipts has somebody who has nothing but two files check the receipts.
func (w *world) checkReceipts(path string) {
	w.Helper()
	network := filepath.Join(w.dir, localnet.NetworkFile)
	c := w.ok("", "erase", "--check", path, "--network", network)
	if len(c.list("proves")) == 0 || len(c.list("not_proved")) == 0 || c.num("keys") != 1 {
		w.Errorf("the check says %v", c)
	}
	if own := w.ok("node1", "erase", "--check", path, "--network", c.str("network")); own.num("keys") != 1 {
		w.Errorf("against the network of a home, named by its id, the check says %v", own)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(raw, &file); err != nil {
		w.Fatal(err)
	}
	all := file["receipts"].([]any)
	for name, changed := range map[string][]any{
		"too few":       all[:2],
		"one repeated":  {all[0], all[1], all[1]},
		"none":          {},
		"bits of noise": {all[0], all[1], all[2].(string)[:len(all[2].(string))-8] + "AAAAAAA="},
	} {
		file["receipts"] = changed
		bad := w.path("bad.json")
		raw, err := json.Marshal(file)
		if err != nil {
			w.Fatal(err)
		}
		if err := os.WriteFile(bad, raw, 0o600); err != nil {
			w.Fatal(err)
		}
		if r := w.run("", "erase", "--check", bad, "--network", network); r.code != 6 {
			w.Errorf("%s: %s", name, r)
		}
	}
}

// An erasure with too few validators goes on by itself, also after a crash of the
// owner's node, and nobody reads meanwhile.
func TestAnErasureThatGoesOn(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "gone", 50_000)
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
	w.kill("validator3", "validator4")
	r := w.run("node1", "--json", "erase", address)
	if r.code != 5 || !strings.Contains(r.err, "2 of 4") {
		t.Fatalf("with two validators: %s", r)
	}
	if n := w.ok("node1", "status").num("erasing"); n != 1 {
		t.Errorf("status shows %v orders", n)
	}
	w.kill("node1")
	w.restart("node1", "validator3", "validator4")
	w.eventually("it is finished by itself", func() bool { return w.ok("node1", "status").num("erasing") == 0 })
	if r := w.ok("node1", "erase", address); r["erased"] != true {
		t.Errorf("and then erase says %v", r)
	}
	w.denied(3, "node1", address)
	w.denied(3, "node2", address)
}

// A directory goes with everything in it, a file of it only by itself.
func TestErasingADirectory(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "1")
	dir := w.path("tree")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := w.ok("node1", "add", dir).str("address")
	r := w.ok("node1", "erase", address)
	if r["erased"] != true || r.num("objects") != 6 {
		t.Errorf("erase says %v", r)
	}
	w.denied(3, "node1", address)
	if left := w.ok("node1", "status").num("erasing"); left != 0 {
		t.Errorf("%v orders go on", left)
	}
}

// TestLegalHold keeps an owner from erasing, and a rekey from destroying the old
// key, until the hold is released.
func TestLegalHold(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "evidence", 50_000)
	w.refuse(3, "node2", "hold", "place", address, "--reason", "I would like to")
	hold := w.ok("validator1", "hold", "place", address, "--reason", "case 7").str("hold")
	if said := w.refuse(3, "node1", "erase", address); !strings.Contains(said, "legal hold") {
		t.Errorf("the owner is told: %s", said)
	}
	w.reads("node1", address, content)
	if l := w.ok("node1", "hold", "list").list("holds"); len(l) != 1 || facts(l[0].(map[string]any)).str("hold") != hold {
		t.Errorf("holds: %v", l)
	}
	k := w.ok("node1", "rekey", address)
	if k["retired"] != true || k["erased"] != false || !strings.Contains(k.str("kept"), "legal hold") {
		t.Errorf("rekey under a hold: %v", k)
	}
	w.refuse(3, "node2", "hold", "release", hold)
	w.refuse(4, "validator2", "hold", "release", strings.Repeat("0", 64))
	w.ok("validator2", "hold", "release", hold)
	if r := w.ok("node1", "erase", address); r["erased"] != true || r.num("objects") != 2 {
		t.Errorf("after the release: %v", r)
	}
	w.denied(3, "node1", address)
	w.denied(3, "node1", k.str("address"))
}

// A rekey that went through destroys the old key.
func TestRekeyErasesTheOldKey(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "1")
	address, content := w.add("node1", "secret", 50_000)
	k := w.ok("node1", "rekey", address)
	if k["retired"] != true || k["erased"] != true {
		t.Errorf("rekey: %v", k)
	}
	w.reads("node1", k.str("address"), content)
	w.denied(3, "node1", address)
}
