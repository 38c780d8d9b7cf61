package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

const (
	sealedName = "keys.age"
	plainName  = "keys.plain"
	lockName   = "keys.lock"
)

// Errors that callers branch on. None of them carries a secret.
var (
	// ErrExists reports a home that has keys already.
	ErrExists = errors.New("keys exist already and are never overwritten")
	// ErrNone reports a home without keys; it is also [fs.ErrNotExist].
	ErrNone = fmt.Errorf("there are no keys here: %w", fs.ErrNotExist)
	// ErrPassphrase reports a wrong passphrase. A file whose key stanza was
	// changed looks the same.
	ErrPassphrase = errors.New("the passphrase does not open the keys")
	// ErrWorkFactor reports a key file that asks for too little or too much work.
	ErrWorkFactor = errors.New("the work that the key file asks of a passphrase is out of bounds")
	// ErrDamaged reports a file that is not what this package wrote.
	ErrDamaged = errors.New("the file is damaged or was changed")
	// ErrChanged reports keys that somebody else saved since they were opened.
	ErrChanged = errors.New("the keys were changed since they were opened; open them again")
	// ErrFailed reports a store that refuses to write because an earlier write
	// failed. Opening it again shows what is on the disk.
	ErrFailed = errors.New("an earlier write failed, so nothing more is written until it is opened again")
	// ErrModes reports a file or folder that others on this machine may open;
	// the text says which chmod repairs it.
	ErrModes = disk.ErrModes
	// ErrLocked reports a file that another process is using.
	ErrLocked = disk.ErrLocked
)

// Store is an opened key file. It may be used by several goroutines.
type Store struct {
	dir        string
	protection Protection
	replace    func(path string, data []byte) error // disk.Replace, or a test's failing disk

	mu       sync.Mutex // guards what follows
	contents *Contents
	file     []byte // as on disk; not secret where a passphrase protects it
	failed   error
}

// Create writes the first keys of a home, durably on return. The folder is made
// with mode 0700 where it is missing. Create fails with [ErrExists] where there
// are keys of either protection, and with [ErrModes] where the folder is open
// to others.
func Create(dir string, c *Contents, p Protection) error {
	p, err := p.check()
	if err != nil {
		return err
	}
	contents, err := c.encode()
	if err != nil {
		return err
	}
	defer clear(contents)
	if err := makeFolder(dir); err != nil {
		return err
	}
	if _, err := find(dir); !errors.Is(err, ErrNone) {
		return existing(err)
	}
	file, err := p.seal(contents) // slow, so before the lock
	if err != nil {
		return err
	}
	return underLock(dir, func() error {
		if _, err := find(dir); !errors.Is(err, ErrNone) {
			return existing(err)
		}
		return disk.Replace(filepath.Join(dir, p.name()), file)
	})
}

// Open opens the keys of a home. It calls passphrase, once, only for a file
// that a passphrase protects and only after the modes of folder and file and
// the work that the file asks for were found in order. Errors: [ErrNone],
// [ErrModes], [ErrWorkFactor], [ErrPassphrase], [ErrDamaged], or what
// passphrase returned.
func Open(dir string, passphrase func() ([]byte, error)) (*Store, error) {
	if err := disk.Folder(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNone
		}
		return nil, err
	}
	name, err := find(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	file, err := readFile(path)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, file: file, protection: Protection{Plain: true}, replace: disk.Replace}
	if name == sealedName {
		if s.protection, err = ask(file, passphrase); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if s.contents, err = s.protection.read(file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// ask learns how a keys.age file is protected and with which passphrase.
func ask(file []byte, passphrase func() ([]byte, error)) (Protection, error) {
	factor, err := sealedWork(file)
	if err != nil {
		return Protection{}, err
	}
	if passphrase == nil {
		return Protection{}, errors.New("a passphrase is needed, and nobody is there to ask")
	}
	secret, err := passphrase()
	if err != nil {
		return Protection{}, err
	}
	if len(secret) == 0 || len(secret) > MaxPassphrase {
		return Protection{}, ErrPassphrase
	}
	return Protection{Passphrase: secret, WorkFactor: factor}.check()
}

// read gives the contents of a key file of either protection.
func (p Protection) read(file []byte) (*Contents, error) {
	open := p.open
	if p.Plain {
		open = decodePlain
	}
	raw, err := open(file)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	c, err := decodeContents(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return c, nil
}

// Plain reports keys that no passphrase protects. A node whose configuration
// says otherwise must not start: somebody put another file in the place.
func (s *Store) Plain() bool { return s.protection.Plain }

// Contents is a copy of the keys; changing it changes nothing until it is saved.
func (s *Store) Contents() *Contents {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contents.Clone()
}

// Save replaces the keys under the same protection, durably on return. It fails
// with [ErrChanged] when the file is no longer the one that was opened or last
// saved. After any other failure to write, every Save fails with [ErrFailed]
// until the keys are opened again. The former file's blocks are left to the
// file system, encrypted where a passphrase protects them.
func (s *Store) Save(c *Contents) error {
	contents, err := c.encode()
	if err != nil {
		return err
	}
	defer clear(contents)
	kept, err := decodeContents(contents)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	file, err := s.protection.seal(contents)
	if err != nil {
		return err
	}
	if err := underLock(s.dir, func() error { return s.swap(file) }); err != nil {
		return err
	}
	s.contents, s.file = kept, file
	return nil
}

// swap replaces the file if it still is the one that the store knows.
func (s *Store) swap(file []byte) error {
	path := filepath.Join(s.dir, s.protection.name())
	now, err := readFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, s.file) {
		return ErrChanged
	}
	if err := s.replace(path, file); err != nil {
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		return s.failed
	}
	return nil
}

// find names the key file of a home. Two files are refused rather than ranked:
// whoever can add a plain one beside the sealed one must not thereby choose.
func find(dir string) (string, error) {
	var found []string
	for _, name := range []string{sealedName, plainName} {
		switch _, err := os.Lstat(filepath.Join(dir, name)); {
		case err == nil:
			found = append(found, name)
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	switch len(found) {
	case 0:
		return "", ErrNone
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%s holds both %s and %s: remove the one that is not yours", dir, sealedName, plainName)
}

func existing(err error) error {
	if err == nil {
		return ErrExists
	}
	return fmt.Errorf("%w: %w", ErrExists, err)
}

func makeFolder(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := disk.SyncFolder(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return disk.Folder(dir)
}

func readFile(path string) ([]byte, error) {
	if err := disk.Regular(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %w: it has %d bytes, at most %d", path, ErrDamaged, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// underLock keeps two processes from writing the keys of one home at once. The
// lock has a file of its own, because the key file is replaced.
func underLock(dir string, write func() error) error {
	l, err := disk.Open(filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer l.Close()
	return write()
}
