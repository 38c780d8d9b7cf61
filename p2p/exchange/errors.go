package exchange

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Errors that callers branch on with [errors.Is].
var (
	// ErrNotFound is what a [BlockSource] returns for a block it does not have.
	ErrNotFound = errors.New("block not found")
	// ErrRequest reports a request outside the limits; it was not sent.
	ErrRequest = errors.New("request for blocks is not valid")
	// ErrRefused reports that the holder did not give at least one of the
	// objects. "I do not have it" and "it is not for you" are deliberately one
	// answer. Result.Done tells which objects came all the same.
	ErrRefused = errors.New("the holder refused, or does not have what was asked")
	// ErrRevoked reports that the holder stopped in the middle, because the
	// authority no longer holds or the holder no longer knows that it does.
	ErrRevoked = errors.New("the holder stopped: the authority no longer holds, or the holder cannot tell")
	// ErrCorrupt reports bytes that are not what was asked for; the error is a
	// [*CorruptError] and names the peer.
	ErrCorrupt = errors.New("the holder sent wrong bytes")
	// ErrUnavailable reports a stream that could not be opened, ended too early
	// or made no progress in time. Another attempt may succeed.
	ErrUnavailable = errors.New("the holder is not available")
)

// CorruptError says which block of which peer was wrong. The peer may be lying,
// or carry in good faith an object whose owner made it malformed: Own tells the
// two apart, Reason does so for a person.
type CorruptError struct {
	Peer   peer.ID
	Item   int     // index into Request.Items
	Block  cid.Cid // the block that was expected; undefined between blocks
	Reason string
	// Own is true where the fault is the peer's own, whatever it was asked for: bytes
	// of another hash, or what is not of the protocol. A disk that rots does the
	// former; nothing that others made does either.
	Own bool
}

// Error names the peer, the block and the reason.
func (e *CorruptError) Error() string {
	if !e.Block.Defined() {
		return fmt.Sprintf("peer %s sent a malformed response at item %d: %s", e.Peer, e.Item, e.Reason)
	}
	return fmt.Sprintf("peer %s sent wrong bytes for block %s of item %d: %s", e.Peer, e.Block, e.Item, e.Reason)
}

// Is makes a CorruptError an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
