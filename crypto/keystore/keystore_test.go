package keystore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
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
		id.Document = []byte("signed document of " + name)
		c.Identities = append(c.Identities, id)
	}
	v, err := NewValidator(c.Log)
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
