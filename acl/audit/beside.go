package audit

import "golang.org/x/sync/errgroup"

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

// flush makes a batch durable that has been written from first on: the records, and
// at the same time what is beside them.
func (l *Log) flush(first int64, batch []*request) error {
	if l.beside == nil {
		return l.last.Sync()
	}
	var items [][]byte
	for _, r := range batch {
		if r.items == nil {
			items = append(items, make([][]byte, len(r.leaves))...)
		}
		items = append(items, r.items...)
	}
	var both errgroup.Group
	both.Go(func() error {
		if err := l.beside.Append(first, items); err != nil {
			return err
		}
		return l.beside.Sync()
	})
	both.Go(l.last.Sync)
	return both.Wait()
}
