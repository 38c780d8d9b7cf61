package home

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/config"
	"cerebrum.dev/cerebrum/node/fault"
)

func plainKeys() Options {
	return Options{Name: "me", Kind: identity.User, Protection: keystore.Protection{Plain: true}}
}

func makeHome(t *testing.T) *Home {
	t.Helper()
	h, _, err := Init(filepath.Join(t.TempDir(), "home"), plainKeys())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func noPassphrase() ([]byte, error) { return nil, errors.New("nobody is asked here") }

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

// files lists a folder with sizes, so that a test sees any change.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		out = append(out, fmt.Sprintf("%s %x", p, statement.Hash("test", raw)))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

func TestInitAndOpen(t *testing.T) {
	o := plainKeys()
	o.Config = config.Config{Listen: []string{"/ip4/127.0.0.1/tcp/4801"}, Log: "warn"}
	dir := filepath.Join(t.TempDir(), "a", "home")
	h, recovery, err := Init(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(recovery, recoveryPrefix) || h.Network != nil || h.Committee != nil {
		t.Errorf("%.10s..., %v", recovery, h.Network)
	}
	again, err := Open(dir, noPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	a, b := h.Principals()[0], again.Principals()[0]
	if a.Name != "me" || a.Identity.ID() != b.Identity.ID() || a.Secret() != b.Secret() || h.PeerKey() != again.PeerKey() || !bytes.Equal(h.Master(), again.Master()) {
		t.Error("the home that is opened is another one")
	}
	if again.Config.Log != "warn" || len(again.Config.Listen) != 1 {
		t.Errorf("%+v", again.Config)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	h := makeHome(t)
	before := files(t, h.Dir)
	_, recovery, err := Init(h.Dir, plainKeys())
	if f := wantExit(t, err, fault.Failed); !strings.Contains(f.Message, "initialised already") || recovery != "" {
		t.Errorf("%s", f.Message)
	}
	o := plainKeys() // nor beside keys of the other protection
	o.Protection = keystore.Protection{Passphrase: []byte("secret"), WorkFactor: keystore.MinWorkFactor}
	_, _, err = Init(h.Dir, o)
	wantExit(t, err, fault.Failed)
	if after := files(t, h.Dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("before\n%v\nafter\n%v", before, after)
	}
}

// What another home left is not adopted by new keys.
func TestInitBesideRemainsOfAHome(t *testing.T) {
	for _, name := range []string{config.File, NetworkFile, "slots", "store/x", "audit/x"} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("log = 'debug'"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := files(t, dir)
		_, _, err := Init(dir, plainKeys())
		wantExit(t, err, fault.Failed)
		if after := files(t, dir); fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%s: before\n%v\nafter\n%v", name, before, after)
		}
	}
}

func TestInitThatFailsLeavesNothing(t *testing.T) {
	badConfig, badName, badWork := plainKeys(), plainKeys(), plainKeys()
	badConfig.Config.Listen = []string{"nowhere"}
	badName.Name = "two words"
	badWork.Protection = keystore.Protection{Passphrase: []byte("x"), WorkFactor: 1}
	for name, o := range map[string]Options{"configuration": badConfig, "name": badName, "work": badWork} {
		dir := filepath.Join(t.TempDir(), "home")
		if _, _, err := Init(dir, o); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the folder is there: %v", name, files(t, dir))
		}
	}
	// A failure after the keys were written: the configuration's temporary file
	// cannot be replaced.
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o700), os.MkdirAll(filepath.Join(dir, config.File+".tmp", "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Init(dir, plainKeys()); err == nil {
		t.Fatal("no error")
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := os.RemoveAll(filepath.Join(dir, config.File+".tmp")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Init(dir, plainKeys()); err != nil { // so that it can be done again
		t.Error(err)
	}
}

func TestLooseModes(t *testing.T) {
	h := makeHome(t)
	keys := filepath.Join(h.Dir, "keys.plain")
	for _, c := range []struct {
		path        string
		loose, good fs.FileMode
	}{{h.Dir, 0o750, 0o700}, {h.Dir, 0o701, 0o700}, {keys, 0o640, 0o600}, {keys, 0o604, 0o600}} {
		if err := os.Chmod(c.path, c.loose); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(h.Dir, noPassphrase); !errors.Is(err, keystore.ErrModes) {
			t.Errorf("%s with mode %o: %v", filepath.Base(c.path), c.loose, err)
		}
		if err := os.Chmod(c.path, c.good); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(h.Dir, noPassphrase); err != nil {
		t.Error(err)
	}
	loose := t.TempDir() // 0755
	if err := os.Chmod(loose, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Init(loose, plainKeys()); !errors.Is(err, keystore.ErrModes) {
		t.Errorf("%v", err)
	}
	if left := files(t, loose); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPathOfTheSocket(t *testing.T) {
	base := "/" + strings.Repeat("d", maxSocket-len("/")-len("/"+Socket))
	if err := CheckDir(base); err != nil { // 107 bytes
		t.Error(err)
	}
	f := wantExit(t, CheckDir(base+"d"), fault.Failed)
	if !strings.Contains(f.Message, "108 bytes") || !strings.Contains(f.Message, "at most 107") || f.Hint == "" {
		t.Errorf("%s; %s", f.Message, f.Hint)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	_, _, err := Init(long, plainKeys())
	wantExit(t, err, fault.Failed)
	_, err = Open(long, noPassphrase)
	wantExit(t, err, fault.Failed)
	if _, err := os.Lstat(long); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

func TestNoHome(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none"), noPassphrase)
	if f := wantExit(t, err, fault.Failed); !strings.Contains(f.Hint, "cerebrum init") {
		t.Errorf("%s; %s", f.Message, f.Hint)
	}
}

func TestPassphrase(t *testing.T) {
	o := plainKeys()
	o.Protection = keystore.Protection{Passphrase: []byte("correct horse"), WorkFactor: keystore.MinWorkFactor}
	dir := filepath.Join(t.TempDir(), "home")
	if _, _, err := Init(dir, o); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, func() ([]byte, error) { return []byte("wrong"), nil }); !errors.Is(err, keystore.ErrPassphrase) {
		t.Errorf("%v", err)
	}
	if _, err := Open(dir, func() ([]byte, error) { return []byte("correct horse"), nil }); err != nil {
		t.Error(err)
	}
}

// The recovery secret takes an identity back from whoever stole the home, so it
// is in no file of the home: not as text, not as the key that it encodes.
func TestRecoverySecretIsInNoFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	h, recovery, err := Init(dir, plainKeys())
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := h.NewIdentity("bot", identity.Agent)
	if err != nil {
		t.Fatal(err)
	}
	if recovery == second {
		t.Error("both identities have one recovery secret")
	}
	for _, secret := range []string{recovery, second} {
		seed := decodeRecovery(t, secret)
		if hit := grep(t, dir, []byte(strings.TrimPrefix(secret, recoveryPrefix)), seed); hit != "" {
			t.Errorf("it is in %s", hit)
		}
	}
	if grep(t, dir, h.PeerSeed()) == "" { // the control: plain keys are found
		t.Error("the search finds nothing at all")
	}
}

func decodeRecovery(t *testing.T, s string) []byte {
	t.Helper()
	key, err := ParseRecovery(s)
	if err != nil {
		t.Fatal(err)
	}
	return key.Seed()
}

func grep(t *testing.T, dir string, texts ...[]byte) (found string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		for _, text := range texts {
			if bytes.Contains(raw, text) {
				found = p
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestIdentities(t *testing.T) {
	h := makeHome(t)
	p, _, err := h.NewIdentity("bot", identity.Agent)
	if err != nil || p.Name != "bot" || p.Identity.Kind() != identity.Agent {
		t.Fatalf("%+v, %v", p, err)
	}
	_, _, err = h.NewIdentity("bot", identity.User)
	wantExit(t, err, fault.Failed)
	for _, name := range []string{"", "a b", "a\nb", "\x7f", strings.Repeat("x", 65)} {
		_, _, err := h.NewIdentity(name, identity.User)
		wantExit(t, err, fault.Usage)
	}
	again, err := Open(h.Dir, noPassphrase)
	if err != nil || len(again.Principals()) != 2 {
		t.Fatalf("%d identities, %v", len(again.Principals()), err)
	}
	for name, want := range map[string]string{"": "me", "me": "me", "bot": "bot"} {
		if p, err := again.Principal(name); err != nil || p.Name != want {
			t.Errorf("%q: %v, %v", name, p, err)
		}
	}
	_, err = again.Principal("nobody")
	wantExit(t, err, fault.Usage)
}

func TestValidatorKeysAreMadeOnce(t *testing.T) {
	h := makeHome(t)
	if v, err := h.ValidatorKeys(false); v != nil || err != nil {
		t.Fatalf("%v, %v", v, err)
	}
	v, err := h.ValidatorKeys(true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(h.Dir, noPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	w, err := again.ValidatorKeys(true)
	if err != nil || w.Signing.Public() != v.Signing.Public() || w.Recipient != v.Recipient {
		t.Errorf("the keys changed: %v", err)
	}
}

func TestCards(t *testing.T) {
	h := makeHome(t)
	for _, validator := range []bool{true, false} {
		raw, err := h.Card(validator, []string{"/ip4/127.0.0.1/tcp/4801"})
		if err != nil {
			t.Fatal(err)
		}
		c, id, err := trust.ParseCard(raw)
		if err != nil || id.ID() != h.Principals()[0].Identity.ID() || c.Peer != h.PeerKey() || (len(c.Validator) == 1) != validator {
			t.Errorf("%+v, %v", c, err)
		}
		for i := 0; i < len(raw); i += 31 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1
			if _, _, err := trust.ParseCard(bad); err == nil {
				t.Errorf("a card with byte %d flipped is taken", i)
			}
		}
	}
}

// draft founds a network of one validator; sign says whether it is signed.
func draft(t *testing.T, h *Home, name string, now time.Time, sign bool) *trust.File {
	t.Helper()
	v, err := h.ValidatorKeys(true)
	if err != nil {
		t.Fatal(err)
	}
	p := h.Principals()[0]
	g := trust.Founding{
		Name: name, Numbers: trust.Default(1), Roots: []statement.PublicKey{p.Device.Public()},
		Validators: []trust.Validator{{
			Identity: p.Identity.ID(), Signing: v.Signing.Public(), Recipient: v.Recipient, Peer: h.PeerKey(),
			Addresses: []string{"/ip4/127.0.0.1/tcp/4801"}, Log: v.Log.Public(), Witness: v.Witness.Public(),
		}},
	}
	f, _, err := g.Draft(policy.Builtin(), now)
	if err != nil {
		t.Fatal(err)
	}
	keys := []statement.PrivateKey{p.Device, v.Signing}
	if !sign {
		keys = keys[:1]
	}
	for _, k := range keys {
		if _, err := f.Sign(k); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestUseNetwork(t *testing.T) {
	h, now := makeHome(t), time.Now()
	wantExit(t, h.UseNetwork(draft(t, h, "lab", now, false), now), fault.Integrity)
	wantExit(t, h.UseNetwork(draft(t, h, "lab", now.Add(-2*trust.Lifetime), true), now), fault.Denied)
	wantExit(t, h.UseNetwork(draft(t, h, "lab", now.Add(48*time.Hour), true), now), fault.Denied)
	if h.Network != nil || grepName(t, h.Dir) {
		t.Fatal("a network that was refused was adopted")
	}
	f := draft(t, h, "lab", now, true)
	if err := h.UseNetwork(f, now); err != nil {
		t.Fatal(err)
	}
	if err := h.UseNetwork(f, now); err != nil { // again does no harm
		t.Error(err)
	}
	again, err := Open(h.Dir, noPassphrase)
	if err != nil || again.Committee == nil || again.Committee.Name != "lab" {
		t.Fatalf("%v", err)
	}
	other := draft(t, h, "other", now, true)
	if f := wantExit(t, again.UseNetwork(other, now), fault.Failed); !strings.Contains(f.Message, "lab") {
		t.Error(f.Message)
	}
	if again, err = Open(h.Dir, noPassphrase); err != nil || again.Committee.Name != "lab" {
		t.Errorf("%v", err)
	}
}

func grepName(t *testing.T, dir string) bool {
	t.Helper()
	_, err := os.Lstat(filepath.Join(dir, NetworkFile))
	return err == nil
}

func TestNetworkFileSurvivesMailAndNotDamage(t *testing.T) {
	h := makeHome(t)
	f := draft(t, h, "lab", time.Now(), true)
	text, err := EncodeNetwork(f)
	if err != nil {
		t.Fatal(err)
	}
	for name, mailed := range map[string][]byte{
		"as it is": text, "CRLF": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "blank lines": []byte("\n\n" + string(text) + "\n \n"),
	} {
		got, err := DecodeNetwork(mailed)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c, err := got.Committee(); err != nil || c.Name != "lab" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "twice": append(bytes.Clone(text), text...), "cut": text[:len(text)/2], "text": []byte("hello"),
		"another type": bytes.ReplaceAll(text, []byte("CEREBRUM NETWORK"), []byte("CERTIFICATE")),
		"words before": []byte("signed by everybody\n" + string(text)), "words after": []byte(string(text) + "signed by everybody\n"),
		"a header":              bytes.Replace(text, []byte("-----\n"), []byte("-----\nSigned-By: all\n\n"), 1),
		"a broken block before": []byte("-----BEGIN CEREBRUM NETWORK-----\n!\n-----END CEREBRUM NETWORK-----\n" + string(text)),
		"a blank line inside":   bytes.Replace(text, []byte("\n"), []byte("\n\n"), 1),
	} {
		if _, err := DecodeNetwork(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	good, err := f.Committee()
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.IndexByte(text, '\n') + 1
	for i := body; i < len(text)-40; i += 61 {
		bad := bytes.Clone(text)
		if bad[i] == '\n' {
			continue
		}
		if bad[i]++; bad[i] == 'Z'+1 || bad[i] == 'z'+1 || bad[i] == '9'+1 {
			bad[i] = 'A'
		}
		got, err := DecodeNetwork(bad)
		if err != nil {
			continue
		}
		if c, err := got.Committee(); err == nil && !bytes.Equal(c.Raw(), good.Raw()) {
			t.Errorf("a change of byte %d makes another committee", i)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// A file that is no network file is not read into memory to find that out.
func TestAFileThatIsNoNetworkFileIsNotReadToItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "film")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skipf("this file system has no such files: %v", err)
	}
	text, err := NetworkText(path)
	if err != nil || len(text) > maxNetworkText+1 {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	if _, err := DecodeNetwork(text); err == nil || !strings.Contains(err.Error(), "it is no network file") {
		t.Errorf("%v", err)
	}
}

// A home whose network file was damaged says so and how to repair it.
func TestHomeWithADamagedNetworkFile(t *testing.T) {
	h := makeHome(t)
	if err := h.UseNetwork(draft(t, h, "lab", time.Now(), true), time.Now()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.Dir, NetworkFile)
	unsigned := must(EncodeNetwork(draft(t, h, "lab", time.Now(), false)))
	for name, text := range map[string][]byte{"garbage": []byte("x"), "unsigned": unsigned} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(h.Dir, noPassphrase)
		if f := wantExit(t, err, fault.Integrity); !strings.Contains(f.Hint, "network use") {
			t.Errorf("%s: %s; %s", name, f.Message, f.Hint)
		}
	}
	if err := os.WriteFile(filepath.Join(h.Dir, config.File), []byte("nonsense = 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(h.Dir, noPassphrase); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v", err)
	}
}

func FuzzDecodeNetwork(f *testing.F) {
	f.Add([]byte("-----BEGIN CEREBRUM NETWORK-----\nAAAA\n-----END CEREBRUM NETWORK-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := DecodeNetwork(text)
		if err != nil {
			return
		}
		if lines := bytes.Count(bytes.TrimSpace(text), []byte("\n")); lines != bytes.Count(must(EncodeNetwork(file)), []byte("\n"))-1 {
			t.Fatalf("there is more in it: %q", text)
		}
		again, err := EncodeNetwork(file)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeNetwork(again); err != nil || !bytes.Equal(must(statement.Marshal(back)), must(statement.Marshal(file))) {
			t.Fatalf("it reads differently after writing: %v", err)
		}
	})
}

// A home made before homes had a log key gets one when its log is first opened, and
// keeps it: the log's checkpoints verify under no other. A validator's is the one
// that its network knows.
func TestAHomeOfFormat1GetsALogKeyOnce(t *testing.T) {
	for _, validator := range []bool{false, true} {
		h := makeHome(t)
		if validator {
			if _, err := h.ValidatorKeys(true); err != nil {
				t.Fatal(err)
			}
		}
		err := h.changeKeys(func(c *keystore.Contents) error { c.Format, c.Log = 1, nil; return nil })
		if err != nil {
			t.Fatal(err)
		}
		h, err = Open(h.Dir, noPassphrase)
		if err != nil {
			t.Fatal(err)
		}
		first, err := h.AuditLog()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Open(h.Dir, noPassphrase)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.AuditLog()
		if err != nil {
			t.Fatal(err)
		}
		if first.Key.Public() != second.Key.Public() || !bytes.Equal(first.Binding, second.Binding) {
			t.Error("the home has another log key now")
		}
		b, err := audit.VerifyBinding(first.Binding)
		if err != nil || b.Peer != h.PeerKey() || b.Log != first.Key.Public() {
			t.Errorf("the binding says %+v, %v", b, err)
		}
		if !validator {
			continue
		}
		if v, err := again.ValidatorKeys(false); err != nil || v.Log.Public() != b.Log {
			t.Errorf("the network knows another log key: %v", err)
		}
	}
}
