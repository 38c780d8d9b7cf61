package audit

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Beside keeps what belongs to leaves and must not be in the tree, by the leaf's
// index: package sidecar. The log's writer calls it, one call at a time.
type Beside interface {
	// Append writes one item for each leaf from first on. It need not be durable.
	Append(first int64, items [][]byte) error
	// Sync makes what was appended durable.
	Sync() error
}

// Attach has the log keep items in b from now on, as many as leaves, before it says
// that a leaf is durable. It is called before [Log.Run], with a b that was opened for
// [Log.Size] leaves.
func (l *Log) Attach(b Beside) { l.beside = b }

// AppendBeside logs leaves, in order, with an item beside each; items may be nil. It
// gives the index of the first. On nil both are durable. For errors see [Log.Append].
func (l *Log) AppendBeside(ctx context.Context, leaves, items [][]byte) (first int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if items != nil && len(items) != len(leaves) {
		return 0, fmt.Errorf("%w: %d items beside %d leaves", ErrEvent, len(items), len(leaves))
	}
	for _, leaf := range leaves {
		if len(leaf) == 0 || len(leaf) > maxLeaf {
			return 0, fmt.Errorf("%w: a leaf of %d bytes, at most %d", ErrEvent, len(leaf), maxLeaf)
		}
	}
	r := &request{leaves: leaves, beside: items, done: make(chan struct{})}
	if err := l.enqueue(r); err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.first, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// flush makes a batch durable that has been written from first on: the entries, and
// at the same time what is beside them.
func (l *Log) flush(first int64, batch []*request) error {
	if l.beside == nil {
		return l.file.Sync()
	}
	var items [][]byte
	for _, r := range batch {
		if r.beside == nil {
			items = append(items, make([][]byte, len(r.leaves))...)
		}
		items = append(items, r.beside...)
	}
	var both errgroup.Group
	both.Go(func() error {
		if err := l.beside.Append(first, items); err != nil {
			return err
		}
		return l.beside.Sync()
	})
	both.Go(l.file.Sync)
	return both.Wait()
}
