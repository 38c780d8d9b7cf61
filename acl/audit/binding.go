package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// KindBinding is the kind of statements that say whose log an origin is.
const KindBinding statement.Kind = "audit-log"

// originPrefix is followed by the peer key in hexadecimal.
const originPrefix = "cerebrum.dev/log/"

// ErrBinding reports a statement that does not say whose log it is.
var ErrBinding = errors.New("the statement of whose log it is does not verify")

// Binding says that the log of an origin is written by a peer and signed with a
// key. Both sign it: the peer, because it answers for the log, and the log's key,
// so that nobody claims a key of somebody else.
type Binding struct {
	_      struct{} `cbor:",toarray"`
	Origin string
	Peer   statement.PublicKey // libp2p key of the node
	Log    statement.PublicKey // signs checkpoints
}

// Origin names the log of a node in every checkpoint: a name without a scheme,
// as C2SP tlog-checkpoint wants it, that the peer key alone determines. It is no
// address; nothing is served there.
func Origin(peer statement.PublicKey) string { return originPrefix + peer.String() }

// Bind makes the signed binding of a node's log.
func Bind(peer, log statement.PrivateKey) ([]byte, error) {
	s, err := statement.Sign(KindBinding, Binding{Origin: Origin(peer.Public()), Peer: peer.Public(), Log: log.Public()}, peer, log)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}

// VerifyBinding verifies a binding. It proves that the peer key wanted this, not
// who that is: the caller compares [Binding.Peer] with the peer that it expects,
// and for a validator [Binding.Log] with the committee record. It fails with
// [ErrBinding].
func VerifyBinding(raw []byte) (*Binding, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBinding, err)
	}
	var b Binding
	if err := s.Peek(KindBinding, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBinding, err)
	}
	if b.Origin != Origin(b.Peer) || b.Peer == b.Log {
		return nil, fmt.Errorf("%w: the origin is not of its peer", ErrBinding)
	}
	if err := s.Verify(KindBinding, []statement.PublicKey{b.Peer, b.Log}, 2); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBinding, err)
	}
	return &b, nil
}

// Key is the log's verifier key as C2SP signed-note writes it, for policies of
// other tools.
func (b *Binding) Key() (string, error) {
	return note.NewEd25519VerifierKey(b.Origin, b.Log[:])
}

// Verifier verifies the signatures of the log.
func (b *Binding) Verifier() (note.Verifier, error) {
	key, err := b.Key()
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(key)
}

// Policy wants a checkpoint of this origin, signed by the log. More, such as a
// quorum of witnesses, is added with [torchwood.ThresholdPolicy].
func (b *Binding) Policy() (torchwood.Policy, error) {
	v, err := b.Verifier()
	if err != nil {
		return nil, err
	}
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(b.Origin), torchwood.SingleVerifierPolicy(v)), nil
}

// signer signs notes with a log's key; it implements [note.Signer]. The same key
// signs statements, which begin with another text than any note of an origin.
type signer struct {
	name string
	hash uint32
	key  statement.PrivateKey
}

// newSigner makes the signer of an origin; the key's number is that of C2SP
// signed-note: the first bytes of SHA-256(name || "\n" || 0x01 || key).
func newSigner(origin string, key statement.PrivateKey) *signer {
	public := key.Public()
	sum := sha256.Sum256(append(append([]byte(origin), '\n', 1), public[:]...))
	return &signer{name: origin, hash: binary.BigEndian.Uint32(sum[:]), key: key}
}

// Name implements [note.Signer].
func (s *signer) Name() string { return s.name }

// KeyHash implements [note.Signer].
func (s *signer) KeyHash() uint32 { return s.hash }

// Sign implements [note.Signer].
func (s *signer) Sign(text []byte) ([]byte, error) {
	return ed25519.Sign(ed25519.NewKeyFromSeed(s.key.Seed()), text), nil
}
