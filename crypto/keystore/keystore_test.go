package keystore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// quick is the cheapest protection that is allowed.
func quick(pass string) Protection {
	return Protection{Passphrase: []byte(pass), WorkFactor: MinWorkFactor}
}

func says(pass string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(pass), nil }
}

func neverAsked(t *testing.T) func() ([]byte, error) {
	return func() ([]byte, error) {
		t.Error("somebody was asked for a passphrase")
		return nil, errors.New("nobody here")
	}
}

func home(t *testing.T) string { return filepath.Join(t.TempDir(), "home") }

func fullContents(t testing.TB) *Contents {
	t.Helper()
	c := NewContents()
	for _, name := range []string{"ada", "backup agent"} {
		id, err := NewIdentity(name)
		if err != nil {
			t.Fatal(err)
		}
		id.Inception = []byte("signed inception of " + name)
		c.Identities = append(c.Identities, id)
	}
	v, err := NewValidator()
	if err != nil {
		t.Fatal(err)
	}
	c.Validators = []Validator{v}
	return c
}

func TestKeysComeBackUnderEitherProtection(t *testing.T) {
	for name, p := range map[string]Protection{sealedName: quick("correct horse"), plainName: {Plain: true}} {
		dir, want := home(t), fullContents(t)
		want.Format = 0 // means the current one
		if err := Create(dir, want, p); err != nil {
			t.Fatal(err)
		}
		ask := neverAsked(t)
		if !p.Plain {
			ask = says("correct horse")
		}
		s, err := Open(dir, ask)
		if err != nil {
			t.Fatal(err)
		}
		want.Format = Format
		if got := s.Contents(); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: other keys came back", name)
		}
		if s.Plain() != p.Plain {
			t.Fatalf("%s: Plain is %v", name, s.Plain())
		}
		file, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		// The plain file is the control: there the search does find the keys.
		if found := bytes.Contains(file, want.Peer); found != p.Plain {
			t.Fatalf("%s: peer key in the clear: %v", name, found)
		}
		checkPrivate(t, filepath.Join(dir, name), 0o600)
		checkPrivate(t, dir, 0o700)
	}
}

func checkPrivate(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); runtime.GOOS != "windows" && got != want {
		t.Fatalf("%s has mode %o, want %o", path, got, want)
	}
}

func TestKeysAreNeverOverwritten(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, plainName))
	for _, p := range []Protection{{Plain: true}, quick("x")} {
		if err := Create(dir, NewContents(), p); !errors.Is(err, ErrExists) {
			t.Fatalf("second create: %v, want ErrExists", err)
		}
	}
	after, _ := os.ReadFile(filepath.Join(dir, plainName))
	if !bytes.Equal(before, after) {
		t.Fatal("the keys changed")
	}
}

func TestOfManyWhoCreateAtOnceOneWins(t *testing.T) {
	dir := home(t)
	var wg sync.WaitGroup
	won := make(chan *Contents, 8)
	for range 8 {
		wg.Go(func() {
			c := NewContents()
			switch err := Create(dir, c, Protection{Plain: true}); {
			case err == nil:
				won <- c
			case !errors.Is(err, ErrExists) && !errors.Is(err, ErrLocked):
				t.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d creators think they won", len(won))
	}
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Contents().Master, (<-won).Master) {
		t.Fatal("the winner's keys are not the ones on the disk")
	}
}

func TestAProtectionMustBeChosen(t *testing.T) {
	for name, p := range map[string]Protection{
		"none":        {},
		"both":        {Passphrase: []byte("x"), Plain: true},
		"empty":       {Passphrase: []byte{}},
		"long":        {Passphrase: make([]byte, MaxPassphrase+1)},
		"weak work":   {Passphrase: []byte("x"), WorkFactor: MinWorkFactor - 1},
		"absurd work": {Passphrase: []byte("x"), WorkFactor: MaxWorkFactor + 1},
	} {
		dir := home(t)
		if err := Create(dir, NewContents(), p); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestAWrongPassphraseIsNamedAndOpensNothing(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), quick("right")); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"wrong", "right ", "", strings.Repeat("x", MaxPassphrase+1)} {
		if _, err := Open(dir, says(wrong)); !errors.Is(err, ErrPassphrase) {
			t.Errorf("passphrase of %d bytes: %v, want ErrPassphrase", len(wrong), err)
		}
	}
	if _, err := Open(dir, nil); err == nil {
		t.Error("opened without anybody to ask")
	}
	cancelled := errors.New("cancelled at the prompt")
	if _, err := Open(dir, func() ([]byte, error) { return nil, cancelled }); !errors.Is(err, cancelled) {
		t.Errorf("the prompt's own error is lost: %v", err)
	}
	if _, err := Open(dir, says("right")); err != nil { // control
		t.Errorf("the right passphrase: %v", err)
	}
}

func TestAHomeWithoutKeys(t *testing.T) {
	missing := home(t)
	for _, dir := range []string{missing, filepath.Join(missing, "deeper")} {
		_, err := Open(dir, neverAsked(t))
		if !errors.Is(err, ErrNone) || !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%v, want ErrNone", err)
		}
	}
	os.Mkdir(missing, 0o700)
	if _, err := Open(missing, neverAsked(t)); !errors.Is(err, ErrNone) {
		t.Fatalf("empty folder: %v, want ErrNone", err)
	}
}

func TestLooseModesRefuseAndSayWhichChmodHelps(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no mode bits")
	}
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, plainName)
	for _, c := range []struct {
		path  string
		loose fs.FileMode
		tight fs.FileMode
		hint  string
	}{
		{dir, 0o750, 0o700, "chmod 700 " + dir},
		{dir, 0o701, 0o700, "chmod 700 " + dir},
		{file, 0o640, 0o600, "chmod 600 " + file},
		{file, 0o602, 0o600, "chmod 600 " + file},
	} {
		os.Chmod(c.path, c.loose)
		_, err := Open(dir, neverAsked(t))
		if !errors.Is(err, ErrModes) || !strings.Contains(err.Error(), c.hint) {
			t.Errorf("mode %o: %v", c.loose, err)
		}
		os.Chmod(c.path, c.tight)
		if _, err := Open(dir, nil); err != nil { // control
			t.Errorf("after the chmod: %v", err)
		}
	}
	other := home(t)
	os.Mkdir(other, 0o755)
	if err := Create(other, NewContents(), Protection{Plain: true}); !errors.Is(err, ErrModes) {
		t.Errorf("create in an open folder: %v", err)
	}
}

// A thief with write access swaps or weakens the key file.
func TestAPlainFileBesideTheSealedOneIsRefused(t *testing.T) {
	dir, thief := home(t), home(t)
	if err := Create(dir, NewContents(), quick("x")); err != nil {
		t.Fatal(err)
	}
	if err := Create(thief, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(thief, plainName), filepath.Join(dir, plainName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, neverAsked(t)); err == nil || !strings.Contains(err.Error(), "both") {
		t.Fatalf("two key files: %v", err)
	}
	// Alone, the thief's file opens: that is what Plain is there to tell.
	os.Remove(filepath.Join(dir, sealedName))
	s, err := Open(dir, neverAsked(t))
	if err != nil || !s.Plain() {
		t.Fatalf("plain file alone: %v", err)
	}
}

func TestASymbolicLinkInPlaceOfTheKeysIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege")
	}
	dir, elsewhere := home(t), home(t)
	if err := Create(elsewhere, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(dir, 0o700)
	if err := os.Symlink(filepath.Join(elsewhere, plainName), filepath.Join(dir, plainName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, neverAsked(t)); err == nil {
		t.Fatal("keys were read through a link")
	}
}

// sealWith writes keys.age with a work factor of the attacker's choice.
func sealWith(t *testing.T, factor int) string {
	t.Helper()
	dir := home(t)
	contents, err := NewContents().encode()
	if err != nil {
		t.Fatal(err)
	}
	file, err := Protection{Passphrase: []byte("x"), WorkFactor: factor}.seal(contents)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, dir, file)
}

func put(t *testing.T, dir string, file []byte) string {
	t.Helper()
	os.Mkdir(dir, 0o700)
	if err := os.WriteFile(filepath.Join(dir, sealedName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAWeakenedKDFIsRefusedBeforeAnybodyTypesAPassphrase(t *testing.T) {
	for _, factor := range []int{1, MinWorkFactor - 1} {
		if _, err := Open(sealWith(t, factor), neverAsked(t)); !errors.Is(err, ErrWorkFactor) {
			t.Errorf("2^%d: %v, want ErrWorkFactor", factor, err)
		}
	}
	if _, err := Open(sealWith(t, MinWorkFactor), says("x")); err != nil { // control
		t.Errorf("2^%d: %v", MinWorkFactor, err)
	}
}

func TestAKDFBombIsRefusedBeforeAnyWork(t *testing.T) {
	dir := sealWith(t, MinWorkFactor)
	path := filepath.Join(dir, sealedName)
	file, _ := os.ReadFile(path)
	for _, factor := range []string{"21", "30", "99", "999999999999999999999", "014", "+14", "-1", "1e3", ""} {
		bomb := bytes.Replace(file, []byte(" 14\n"), []byte(" "+factor+"\n"), 1)
		if bytes.Equal(bomb, file) {
			t.Fatal("the work factor was not found in the file")
		}
		put(t, dir, bomb)
		_, err := Open(dir, neverAsked(t))
		if !errors.Is(err, ErrWorkFactor) && !errors.Is(err, ErrDamaged) {
			t.Errorf("factor %q: %v", factor, err)
		}
	}
}

func TestASecondStanzaIsRefused(t *testing.T) {
	dir := home(t)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w, _ := age.Encrypt(&file, id.Recipient())
	w.Close()
	put(t, dir, file.Bytes())
	if _, err := Open(dir, neverAsked(t)); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a key file without a passphrase: %v", err)
	}
}

func TestEveryFlippedByteOfAKeyFileIsNoticed(t *testing.T) {
	plainDir := home(t)
	if err := Create(plainDir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(plainDir, plainName)
	file, _ := os.ReadFile(path)
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		os.WriteFile(path, bad, 0o600)
		if _, err := Open(plainDir, nil); !errors.Is(err, ErrDamaged) {
			t.Fatalf("plain, byte %d of %d: %v", i, len(file), err)
		}
	}
	// Sealed: every flip past the key stanza; each costs a scrypt, so a sample.
	dir := home(t)
	if err := Create(dir, NewContents(), quick("x")); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, sealedName)
	file, _ = os.ReadFile(path)
	for i := 3; i < len(file); i += len(file)/5 + 1 {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		os.WriteFile(path, bad, 0o600)
		if _, err := Open(dir, says("x")); err == nil {
			t.Fatalf("sealed, byte %d of %d: accepted", i, len(file))
		}
	}
	for _, n := range []int{0, 10, len(file) / 2, len(file) - 1} {
		os.WriteFile(path, file[:n], 0o600)
		if _, err := Open(dir, says("x")); err == nil {
			t.Fatalf("cut to %d of %d bytes: accepted", n, len(file))
		}
	}
}

func TestAGiantKeyFileIsNotRead(t *testing.T) {
	dir := home(t)
	os.Mkdir(dir, 0o700)
	f, err := os.OpenFile(filepath.Join(dir, plainName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(1 << 40) // sparse; reading it would end the test
	f.Close()
	if _, err := Open(dir, nil); !errors.Is(err, ErrDamaged) {
		t.Fatalf("%v, want ErrDamaged", err)
	}
}

func TestSaveKeepsTheProtectionAndSurvivesReopening(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), quick("pass")); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, says("pass"))
	if err != nil {
		t.Fatal(err)
	}
	want := fullContents(t)
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	want.Peer[0] ^= 1 // the store kept a copy, not the caller's memory
	if reflect.DeepEqual(s.Contents(), want) {
		t.Fatal("the store shares memory with its caller")
	}
	want.Peer[0] ^= 1
	s.Contents().Peer[0] ^= 1
	again, err := Open(dir, says("pass"))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*Contents{s.Contents(), again.Contents()} {
		if !reflect.DeepEqual(got, want) {
			t.Fatal("the saved keys did not come back")
		}
	}
	if again.protection.WorkFactor != MinWorkFactor {
		t.Fatalf("work factor became %d", again.protection.WorkFactor)
	}
}

func TestTwoStoresDoNotUndoEachOther(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	a, _ := Open(dir, nil)
	b, _ := Open(dir, nil)
	if err := a.Save(fullContents(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Save(NewContents()); !errors.Is(err, ErrChanged) {
		t.Fatalf("saving over somebody's keys: %v, want ErrChanged", err)
	}
	if err := a.Save(fullContents(t)); err != nil { // control: its own last save is no change
		t.Fatal(err)
	}
}

func TestConcurrentSavesLeaveOneOfThem(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := s.Save(NewContents()); err != nil {
				t.Errorf("save: %v", err)
			}
			s.Contents()
		})
	}
	wg.Wait()
	again, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.Contents(), s.Contents()) {
		t.Fatal("memory and disk disagree")
	}
}

func TestAfterAFailedWriteNothingIsWrittenUntilReopened(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	s, _ := Open(dir, nil)
	before := s.Contents()
	good, broken := s.replace, errors.New("no space left")
	s.replace = func(string, []byte) error { return broken }
	if err := s.Save(NewContents()); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
		t.Fatalf("save on a failing disk: %v", err)
	}
	s.replace = good
	if err := s.Save(NewContents()); !errors.Is(err, ErrFailed) {
		t.Fatalf("save after a failure: %v, want ErrFailed", err)
	}
	if !reflect.DeepEqual(s.Contents(), before) {
		t.Fatal("keys that were not saved are shown as if they were")
	}
	again, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Save(NewContents()); err != nil {
		t.Fatalf("after reopening: %v", err)
	}
}

func TestContentsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(c *Contents){
		"future format":       func(c *Contents) { c.Format = Format + 1 },
		"short peer key":      func(c *Contents) { c.Peer = c.Peer[1:] },
		"zero peer key":       func(c *Contents) { clear(c.Peer) },
		"no master":           func(c *Contents) { c.Master = nil },
		"zero master":         func(c *Contents) { clear(c.Master) },
		"two validators":      func(c *Contents) { c.Validators = append(c.Validators, c.Validators[0]) },
		"one key twice":       func(c *Contents) { c.Validators[0].Log = c.Validators[0].Signing },
		"zero witness key":    func(c *Contents) { clear(c.Validators[0].Witness) },
		"validator recipient": func(c *Contents) { c.Validators[0].Recipient = []byte("age1...") },
		"same name":           func(c *Contents) { c.Identities[1].Name = c.Identities[0].Name },
		"no name":             func(c *Contents) { c.Identities[0].Name = "" },
		"long name":           func(c *Contents) { c.Identities[0].Name = strings.Repeat("n", MaxName+1) },
		"name not UTF-8":      func(c *Contents) { c.Identities[0].Name = "\xff" },
		"huge inception":      func(c *Contents) { c.Identities[0].Inception = make([]byte, maxInception+1) },
		"short device key":    func(c *Contents) { c.Identities[0].Device = []byte{1} },
		"recipient in place":  func(c *Contents) { c.Identities[0].Recipient = publicHalf(t, c) },
		"too many identities": func(c *Contents) {
			for i := range MaxIdentities {
				id := c.Identities[0]
				id.Name = fmt.Sprint(i)
				c.Identities = append(c.Identities, id)
			}
		},
	} {
		c := fullContents(t)
		spoil(c)
		if err := Create(home(t), c, Protection{Plain: true}); err == nil {
			t.Errorf("%s: kept", name)
		}
		if raw, err := statement.Marshal(c); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _, err := decodeContents(raw); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if err := Create(home(t), nil, Protection{Plain: true}); err == nil {
		t.Error("nothing at all: kept")
	}
	if err := Create(home(t), fullContents(t), Protection{Plain: true}); err != nil { // control
		t.Errorf("sound contents: %v", err)
	}
}

func publicHalf(t *testing.T, c *Contents) []byte {
	r, err := HybridRecipient(string(c.Identities[0].Recipient))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(r)
}

func TestTheLargestAllowedContentsFitTheFile(t *testing.T) {
	c := fullContents(t)
	one := c.Identities[0]
	one.Inception = bytes.Repeat([]byte{1}, maxInception)
	c.Identities = nil
	for i := range MaxIdentities {
		one.Name = fmt.Sprintf("%0*d", MaxName, i)
		c.Identities = append(c.Identities, one)
	}
	dir := home(t)
	if err := Create(dir, c, Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c := fullContents(t)
	p := Protection{Passphrase: []byte("CANARY")}
	canaries := []string{"CANARY", "AGE-SECRET-KEY", fmt.Sprintf("%x", c.Identities[0].Device), fmt.Sprint(c.Identities[0].Device), "AGFnZ"}
	o, err := NewOpener(string(c.Identities[0].Recipient))
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{contents: c, protection: p}
	for _, v := range []any{c, *c, c.Identities, c.Identities[0], c.Validators[0], p, &p, o, s} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
			fmt.Fprintf(&out, verb, v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		for _, canary := range canaries {
			if strings.Contains(out.String(), canary) {
				t.Errorf("%T shows a secret", v)
			}
		}
	}
	if !strings.Contains(fmt.Sprint(c.Identities[0].Device), canaries[3]) { // control
		t.Error("the search would not find a printed key")
	}
}

func TestTypedKeysMatchTheirSeeds(t *testing.T) {
	c := fullContents(t)
	k, err := c.Identities[0].DeviceKey()
	if err != nil || !bytes.Equal(k.Seed(), c.Identities[0].Device) {
		t.Fatalf("device key: %v", err)
	}
	k, err = c.Validators[0].SigningKey()
	if err != nil || !bytes.Equal(k.Seed(), c.Validators[0].Signing) {
		t.Fatalf("signing key: %v", err)
	}
}

func FuzzContents(f *testing.F) {
	raw, err := fullContents(f).encode()
	if err != nil {
		f.Fatal(err)
	}
	plain, err := encodePlain(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(plain)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeContents(b); err == nil {
			if again, err := c.encode(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("contents re-encode differently: %v", err)
			}
		}
		if inner, err := decodePlain(b); err == nil {
			if again, err := encodePlain(inner); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("the plain file re-encodes differently: %v", err)
			}
		}
	})
}
