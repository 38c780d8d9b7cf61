package witness

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// namePrefix is followed by half of the witness key in hexadecimal: nobody finds
// another key with the same half, and proofs carry a name for every cosignature.
const namePrefix = "cerebrum.dev/witness/"

// algorithm is that of Ed25519 cosignatures with a time (C2SP tlog-cosignature).
const algorithm = 4

// Name is the name of the witness with a key in signed notes.
func Name(key statement.PublicKey) string { return namePrefix + hex.EncodeToString(key[:16]) }

// Key is a witness's verifier key as C2SP signed-note writes it, for policies of
// other tools.
func Key(key statement.PublicKey) string {
	return fmt.Sprintf("%s+%08x+%s", Name(key), keyHash(key), base64.StdEncoding.EncodeToString(append([]byte{algorithm}, key[:]...)))
}

// Verifier verifies the cosignatures of a witness.
func Verifier(key statement.PublicKey) (note.Verifier, error) {
	return torchwood.NewCosignatureVerifier(Key(key))
}

func keyHash(key statement.PublicKey) uint32 {
	sum := sha256.Sum256(append(append([]byte(Name(key)), '\n', algorithm), key[:]...))
	return binary.BigEndian.Uint32(sum[:])
}

// cosigner implements [note.Signer] as torchwood's does, with the clock that it is
// given.
type cosigner struct {
	public statement.PublicKey
	key    ed25519.PrivateKey
	now    func() time.Time
}

func newCosigner(key statement.PrivateKey, now func() time.Time) *cosigner {
	return &cosigner{key.Public(), ed25519.NewKeyFromSeed(key.Seed()), now}
}

// Name implements [note.Signer].
func (s *cosigner) Name() string { return Name(s.public) }

// KeyHash implements [note.Signer].
func (s *cosigner) KeyHash() uint32 { return keyHash(s.public) }

// Sign implements [note.Signer]: the time and the signature on it and the checkpoint.
func (s *cosigner) Sign(text []byte) ([]byte, error) {
	t := uint64(max(0, s.now().Unix()))
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, text)
	return append(binary.BigEndian.AppendUint64(nil, t), ed25519.Sign(s.key, message)...), nil
}

// signatureLine signs the text of a checkpoint and gives the signature's line alone.
func (s *cosigner) signatureLine(text string) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return nil, err
	}
	return signed[len(text)+1:], nil
}
