package audit

import (
	"errors"
	"fmt"
)

// ErrDisowned reports a log that does not live up to a checkpoint which its own key
// signed: it was rolled back, or is not the log that signed it. It takes no further
// records and signs no further checkpoint.
var ErrDisowned = errors.New("the audit log does not continue what it signed before")

// Confront shows the log a checkpoint that somebody kept of it. Where the log does
// not live up to it, as when an old copy of its folder was restored, it writes and
// signs nothing from then on until it is opened again: every further checkpoint would
// be evidence of a fork. Then, and ever after, the error is [ErrDisowned]; it is
// [ErrCheckpoint] for a checkpoint that this log's key did not sign, which changes
// nothing. Config.Known does the same at once, but with it the log does not open.
func (l *Log) Confront(checkpoint []byte) error {
	c, err := l.binding.OpenCheckpoint(checkpoint)
	if err != nil {
		return err
	}
	if now := l.Published(); c.N > now.N { // what is signed was published before it was shown to anybody
		return l.disown("it has %d records, and its key signed %d of them before: it was rolled back", now.N, c.N)
	}
	root, err := l.rootAt(c.N)
	if err != nil {
		return err
	}
	if root != c.Hash {
		return l.disown("its key signed other first %d records before: it was rolled back and went on, or somebody else has the key", c.N)
	}
	return nil
}

func (l *Log) disown(format string, a ...any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.failed, ErrDisowned) {
		return l.failed
	}
	err := fmt.Errorf("%w: %s", ErrDisowned, fmt.Sprintf(format, a...))
	if l.failed != nil { // Run has not ended of it yet, or has
		err = fmt.Errorf("%w, and %w", err, l.failed)
	}
	l.failed = err
	return err
}

// Disowned is why the log takes nothing any more, if [Log.Confront] found a reason:
// an [ErrDisowned].
func (l *Log) Disowned() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.failed, ErrDisowned) {
		return l.failed
	}
	return nil
}
