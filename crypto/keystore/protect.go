package keystore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Bounds on scrypt's work, as log2 of N. Less than the lower one is a file that
// somebody weakened; more than the upper one (1 GiB of memory) is a bomb.
const (
	MinWorkFactor     = 14
	MaxWorkFactor     = 20
	DefaultWorkFactor = 18 // about a second and 256 MiB
)

// MaxPassphrase is the longest passphrase, in bytes.
const MaxPassphrase = 1024

// maxFile bounds a key file: all identities with the longest documents fit.
const maxFile = 3 << 20

// Protection says how the key file is protected: by a passphrase, or by nothing
// but the file's mode. Exactly one must be chosen; forgetting to choose is an
// error, not plain keys.
type Protection struct {
	Passphrase []byte
	Plain      bool
	// WorkFactor is log2 of scrypt's N, from MinWorkFactor to MaxWorkFactor; 0
	// means DefaultWorkFactor. Networks that live for a test may go lower.
	WorkFactor int
}

func (p Protection) check() (Protection, error) {
	switch {
	case p.Plain && len(p.Passphrase) > 0:
		return p, errors.New("keys are protected by a passphrase or kept plain, not both")
	case p.Plain:
		return Protection{Plain: true}, nil
	case len(p.Passphrase) == 0:
		return p, errors.New("no passphrase was given, and plain keys were not asked for")
	case len(p.Passphrase) > MaxPassphrase:
		return p, fmt.Errorf("a passphrase has at most %d bytes", MaxPassphrase)
	}
	if p.WorkFactor == 0 {
		p.WorkFactor = DefaultWorkFactor
	}
	if err := checkWork(p.WorkFactor); err != nil {
		return p, err
	}
	p.Passphrase = bytes.Clone(p.Passphrase)
	return p, nil
}

func checkWork(factor int) error {
	if factor < MinWorkFactor || factor > MaxWorkFactor {
		return fmt.Errorf("%w: 2^%d, not 2^%d to 2^%d", ErrWorkFactor, factor, MinWorkFactor, MaxWorkFactor)
	}
	return nil
}

func (p Protection) name() string {
	if p.Plain {
		return plainName
	}
	return sealedName
}

// seal gives the bytes of the key file.
func (p Protection) seal(contents []byte) ([]byte, error) {
	if p.Plain {
		return encodePlain(contents)
	}
	r, err := age.NewScryptRecipient(string(p.Passphrase))
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(p.WorkFactor)
	var file bytes.Buffer
	w, err := age.Encrypt(&file, r)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(contents); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return file.Bytes(), nil
}

// sealedWork reads the work factor of keys.age before anybody is asked for a
// passphrase, so that a hostile file costs neither memory nor a secret.
func sealedWork(file []byte) (int, error) {
	h, err := scanHeader(file)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	factor, err := h.workFactor()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return factor, checkWork(factor)
}

// open is the inverse of seal for keys.age.
func (p Protection) open(file []byte) ([]byte, error) {
	id, err := age.NewScryptIdentity(string(p.Passphrase))
	if err != nil {
		return nil, ErrPassphrase
	}
	id.SetMaxWorkFactor(MaxWorkFactor)
	r, err := age.Decrypt(bytes.NewReader(file), id)
	if err != nil {
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			return nil, ErrPassphrase
		}
		return nil, ErrDamaged
	}
	contents, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return nil, ErrDamaged
	}
	return contents, nil
}

// plainFile is keys.plain. The digest is no protection against people, only
// against the disk: one flipped bit in a seed would otherwise be another,
// perfectly valid, key.
type plainFile struct {
	_        struct{} `cbor:",toarray"`
	Note     string
	Contents []byte
	Digest   []byte
}

const plainNote = "cerebrum keys, NOT encrypted: whoever reads this file is this node"

func encodePlain(contents []byte) ([]byte, error) {
	sum := sha256.Sum256(contents)
	return statement.Marshal(plainFile{Note: plainNote, Contents: contents, Digest: sum[:]})
}

func decodePlain(file []byte) ([]byte, error) {
	var p plainFile
	if err := statement.Unmarshal(file, &p); err != nil {
		return nil, ErrDamaged
	}
	sum := sha256.Sum256(p.Contents)
	if p.Note != plainNote || !bytes.Equal(p.Digest, sum[:]) {
		return nil, ErrDamaged
	}
	return p.Contents, nil
}
