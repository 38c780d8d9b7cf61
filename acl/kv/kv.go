// Package kv is what the packages of acl ask of a disk: a few ordered keys that
// survive a crash. Deposits, grants, mailboxes and statement logs are kept
// behind [Store]; a node hands in a namespace of its own store, a test hands in
// [Memory].
//
// Keys are ordered as bytes, so numbers in a key are written big-endian:
//
//	key := binary.BigEndian.AppendUint64([]byte("entry/"), n)
//	err := s.Apply([]kv.Op{
//		{Key: key, Value: raw},
//		{Key: []byte("head"), Value: head},
//	}) // both or neither, and on disk once err is nil
//	err = s.Scan([]byte("entry/"), nil, func(key, value []byte) (bool, error) { ... })
//
// Package kvtest holds the one suite that every implementation passes.
package kv

import (
	"errors"
	"fmt"
)

// Limits on one entry. They keep a peer's request from becoming a memory bill;
// larger things are blocks, not entries.
const (
	MaxKey   = 1 << 10 // bytes; a key has at least one
	MaxValue = 4 << 20 // bytes; a value may be empty
)

var (
	// ErrNotFound reports a key that is not there.
	ErrNotFound = errors.New("no such entry")
	// ErrLimit reports a key or value outside [MaxKey] and [MaxValue].
	ErrLimit = errors.New("entry is outside the limits")
)

// Op writes or deletes one key.
type Op struct {
	Key, Value []byte
	Delete     bool // Value is ignored; deleting what is not there is no error
}

// Store keeps ordered entries. All methods are safe for concurrent use.
type Store interface {
	// Get returns a copy of the value that the caller may keep and change. The
	// error is ErrNotFound if the key is not there. An empty value is not nil.
	Get(key []byte) ([]byte, error)

	// Apply does all of ops or none, in their order: of two ops on one key the
	// later counts. On a nil return they are durable and visible; on an error
	// the outcome is unknown until the store is opened again (a write may fail
	// after it reached the disk), except for ErrLimit, which changes nothing.
	// The caller may reuse ops and all that it points to.
	Apply(ops []Op) error

	// Scan calls fn with the entries whose key starts with prefix, in ascending
	// order of bytes, and skips those up to and including after (nil: none).
	// It sees the store as it was when Scan began; fn may call Get and Apply.
	// Key and value are valid only until fn returns and must not be changed.
	// Scan ends without an error when fn says that it wants no more; an error
	// of fn ends it and is returned as it is.
	Scan(prefix, after []byte, fn func(key, value []byte) (more bool, err error)) error
}

// Check returns ErrLimit, with the figure, if an op is outside the limits.
// Implementations call it before they do anything.
func Check(ops []Op) error {
	for _, op := range ops {
		if n := len(op.Key); n == 0 || n > MaxKey {
			return fmt.Errorf("%w: a key of %d bytes, from 1 to %d are allowed", ErrLimit, n, MaxKey)
		}
		if n := len(op.Value); !op.Delete && n > MaxValue {
			return fmt.Errorf("%w: a value of %d bytes, at most %d are allowed", ErrLimit, n, MaxValue)
		}
	}
	return nil
}
