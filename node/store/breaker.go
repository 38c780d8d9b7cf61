package store

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// ReadOnlyError says what made the store refuse writes. It is [ErrReadOnly] and
// also what the disk said, so errors.Is(err, syscall.ENOSPC) tells a full disk.
type ReadOnlyError struct {
	Op     string // what the store was doing, such as "sync 000004.log"
	Reason error  // what the disk said
}

// Error names the operation and the reason.
func (e *ReadOnlyError) Error() string {
	return fmt.Sprintf("%v: %s: %v", ErrReadOnly, e.Op, e.Reason)
}

// Unwrap makes the error match [ErrReadOnly] and its reason.
func (e *ReadOnlyError) Unwrap() []error { return []error{ErrReadOnly, e.Reason} }

// breaker remembers the first failure of the disk, for good. A disk that failed
// one sync may report success for the next although the data is gone, so there
// is no way back but to open the store again and read what is really there.
type breaker struct {
	log   *slog.Logger
	first atomic.Pointer[ReadOnlyError]
	once  sync.Once
	done  chan struct{} // closed by the first trip
}

func newBreaker(log *slog.Logger) *breaker { return &breaker{log: log, done: make(chan struct{})} }

// trip records a failure and logs the first. Whoever returns after trip finds
// check failing, in every goroutine.
func (b *breaker) trip(op string, reason error) {
	b.first.CompareAndSwap(nil, &ReadOnlyError{Op: op, Reason: reason})
	b.once.Do(func() {
		close(b.done)
		b.log.Error("the disk failed; the store refuses writes until it is opened again", "op", op, "reason", reason)
	})
}

func (b *breaker) tripped() bool { return b.first.Load() != nil }

func (b *breaker) check() error {
	if e := b.first.Load(); e != nil {
		return e
	}
	return nil
}
