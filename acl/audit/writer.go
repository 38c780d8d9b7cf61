package audit

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// wait queues a request and waits until it is dealt with.
func (l *Log) wait(ctx context.Context, r *request) error {
	if err := l.enqueue(r); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Log) enqueue(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return l.failed
	case l.state != running || l.closing:
		return ErrClosed
	case l.queued+max(1, len(r.leaves)) > QueueSize:
		return ErrFull
	}
	l.queue = append(l.queue, r)
	l.queued += max(1, len(r.leaves))
	select {
	case l.wake <- struct{}{}:
	default: // the writer has been called already
	}
	return nil
}

// Run writes what is appended until ctx ends, [Log.Close] is called, or the
// disk fails. Before it returns it writes what is queued and a checkpoint. It
// returns the cause of ctx's end, nil after Close, or the disk's error; a log
// runs once.
func (l *Log) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.state != opened || l.closing {
		l.mu.Unlock()
		return ErrClosed
	}
	l.state = running
	l.mu.Unlock()
	close(l.begun)
	defer close(l.ended)

	due := time.NewTimer(l.every)
	due.Stop()
	waiting := false // the timer runs
	var reason error
	for open := true; open; {
		publish := false
		select {
		case <-l.wake:
		case <-due.C:
			publish, waiting = true, false
		case <-l.quit:
			open = false
		case <-ctx.Done():
			reason, open = context.Cause(ctx), false
		}
		if !open {
			l.mu.Lock()
			l.state = stopped // nothing is queued from here on
			l.mu.Unlock()
		}
		grown, err := l.commit(publish || !open)
		if err != nil {
			return l.fail(err)
		}
		if grown && !waiting {
			due.Reset(l.every)
			waiting = true
		}
	}
	due.Stop()
	return reason
}

// commit makes everything that is queued durable with one write and one flush,
// then tells the callers; a checkpoint follows where one is due or asked for. It
// reports whether records lack a checkpoint.
func (l *Log) commit(publish bool) (grown bool, err error) {
	l.mu.Lock()
	batch := l.queue
	l.queue, l.queued = nil, 0
	now := l.durable
	l.mu.Unlock()
	if err := l.Disowned(); err != nil {
		for _, r := range batch {
			r.end(err)
		}
		return false, nil
	}

	var wishes []*request
	err = l.write(batch, &now)
	if err == nil {
		l.advance(now)
		if slices.ContainsFunc(batch, func(r *request) bool { return r.rotate }) && now.offset > 0 {
			if err = l.rotate(&now); err == nil {
				l.advance(now)
			}
		}
	}
	for _, r := range batch {
		if err == nil && len(r.leaves) == 0 && !r.rotate {
			wishes = append(wishes, r)
			continue
		}
		r.end(failure(err))
	}
	if err != nil {
		return false, err
	}
	if publish || len(wishes) > 0 {
		err = l.publish()
	}
	for _, r := range wishes {
		r.end(failure(err))
	}
	return now.n > l.Published().N, err
}

// advance says that everything before a mark is durable.
func (l *Log) advance(now mark) {
	l.mu.Lock()
	l.durable = now
	l.mu.Unlock()
}

func (r *request) end(err error) {
	r.err = err
	close(r.done)
}

// failure is what callers are told of an error of the disk.
func failure(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// fail ends the log and everybody who waits for it.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	l.failed, l.state = failure(err), stopped
	batch, failed := l.queue, l.failed
	l.queue, l.queued = nil, 0
	l.mu.Unlock()
	for _, r := range batch {
		r.end(failed)
	}
	return failed
}

// write puts a batch behind the mark and moves it. The records are durable when it
// returns; the hashes that follow from them need not be.
func (l *Log) write(batch []*request, at *mark) error {
	if at.offset >= l.segment {
		if err := l.rotate(at); err != nil {
			return err
		}
	}
	var buf []byte
	var hashes []tlog.Hash
	first := at.n
	for _, r := range batch {
		r.first = at.n
		for _, leaf := range r.leaves {
			buf = appendRecord(buf, at.n, first, leaf)
			hashes = at.tree.add(at.n, 0, tlog.RecordHash(leaf), hashes)
			at.n++
		}
	}
	if len(buf) == 0 {
		return nil
	}
	if _, err := l.last.WriteAt(buf, at.offset); err != nil {
		return err
	}
	if err := l.flush(first, batch); err != nil {
		return err
	}
	at.offset, at.first = at.offset+int64(len(buf)), first
	_, err := l.hashes.WriteAt(flat(hashes), tlog.StoredHashIndex(0, first)*tlog.HashSize)
	return err
}

// rotate begins another segment. A checkpoint comes before it, so that no segment
// but the last can have a torn tail or records that nothing promises.
func (l *Log) rotate(at *mark) error {
	if err := l.publish(); err != nil {
		return err
	}
	f, err := l.folder.open(segmentName(at.n))
	if err != nil {
		return err
	}
	old := l.last
	l.last = f
	at.segment, at.offset = at.n, 0
	l.mu.Lock()
	l.segs = append(l.segs, at.n)
	l.mu.Unlock()
	return old.Close()
}

func flat(hashes []tlog.Hash) []byte {
	out := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// rewriter compares the file of stored hashes with what the records say, and where
// it may write, and they differ, it writes that.
type rewriter struct {
	file    file
	write   bool
	differs bool
	offset  int64 // of buf in the file
	buf     []byte
}

func (w *rewriter) add(hashes []tlog.Hash) error {
	for _, h := range hashes {
		w.buf = append(w.buf, h[:]...)
	}
	if len(w.buf) < 1<<18 {
		return nil
	}
	return w.flush()
}

func (w *rewriter) flush() error {
	there := make([]byte, len(w.buf))
	n, _ := w.file.ReadAt(there, w.offset) // what cannot be read differs
	if n < len(there) || !bytes.Equal(there, w.buf) {
		w.differs = true
		if w.write {
			if _, err := w.file.WriteAt(w.buf, w.offset); err != nil {
				return err
			}
		}
	}
	w.offset, w.buf = w.offset+int64(len(w.buf)), w.buf[:0]
	return nil
}
