package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// wait queues a request and has it dealt with: by Run, or, where there is something to
// write and nobody is writing, here and now. At a low rate that saves two changes of
// goroutine and what they wake: a tenth of the processor time of a lone append.
func (l *Log) wait(ctx context.Context, r *request) error {
	if err := l.enqueue(r); err != nil {
		return err
	}
	if len(r.leaves) > 0 && l.turn.TryLock() {
		l.lead()
	} else {
		l.call() // Run waits for whoever writes now
	}
	if r.over() { // although ctx may have ended too
		return r.err
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
	return nil
}

// call has Run look at the queue, the timer, and whether the log failed.
func (l *Log) call() {
	select {
	case l.wake <- struct{}{}:
	default: // it has been called already
	}
}

// lead is one commit by a caller, whose turn it ends. Run may have served the caller
// before, and ended: a commit of nothing touches no file.
func (l *Log) lead() {
	more := true // after a panic too
	defer func() {
		l.turn.Unlock()
		if more {
			l.call()
		}
	}()
	grown, err := l.commit(false)
	l.mu.Lock()
	more = err != nil || grown && !l.timed
	l.mu.Unlock()
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
	var reason error
	for open := true; open; {
		publish := false
		select {
		case <-l.wake:
		case <-due.C:
			publish = true
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
		l.turn.Lock()
		grown, err := l.commit(publish || !open)
		begins := l.timer(grown, publish)
		l.turn.Unlock()
		if err != nil {
			return err
		}
		if begins {
			due.Reset(l.every)
		}
	}
	due.Stop()
	return reason
}

// timer reports whether the time until the next checkpoint begins: records lack one,
// and it does not run already. rang says that it ran out. That is decided before the
// turn ends, or a caller's record could come between and find a timer that has ended.
func (l *Log) timer(grown, rang bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	begins := grown && (rang || !l.timed)
	l.timed = begins || l.timed && !rang
	return begins
}

// commit makes everything that is queued durable with one write and one flush,
// then tells the callers; a checkpoint follows where one is due or asked for. It
// reports whether records lack a checkpoint. After an error of the disk, which it
// gives ever after, and after a panic, which whoever serves a caller may catch, the log
// is at its end. The caller has the turn.
func (l *Log) commit(publish bool) (grown bool, err error) {
	l.mu.Lock()
	batch, failed := l.queue, l.failed
	l.queue, l.queued = nil, 0
	now := l.durable
	l.mu.Unlock()
	if failed != nil {
		for _, r := range batch {
			r.end(failed)
		}
		if errors.Is(failed, ErrFailed) {
			return false, failed
		}
		return false, nil // a disowned log runs on and takes nothing
	}

	sound := false
	defer func() {
		if !sound {
			l.fail(errPanic, slices.DeleteFunc(batch, (*request).over))
		}
	}()
	grown, err = l.serve(batch, now, publish)
	sound = true
	return grown, err
}

var errPanic = errors.New("the program failed while it wrote")

// serve does what a batch asks for; a mark says what was durable before.
func (l *Log) serve(batch []*request, now mark, publish bool) (grown bool, err error) {
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
	if err != nil {
		return false, l.refuse(err, batch)
	}
	for _, r := range batch {
		if len(r.leaves) == 0 && !r.rotate {
			wishes = append(wishes, r)
			continue
		}
		r.end(nil)
	}
	if publish || len(wishes) > 0 {
		if err := l.publish(); err != nil {
			return false, l.refuse(err, wishes)
		}
	}
	for _, r := range wishes {
		r.end(nil)
	}
	return now.n > l.Published().N, nil
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

// over reports that it was ended.
func (r *request) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// refuse tells a batch why it is not done. A log that was disowned in that moment runs on
// and takes nothing; any other error ends it.
func (l *Log) refuse(err error, batch []*request) error {
	if !errors.Is(err, ErrDisowned) {
		return l.fail(err, batch)
	}
	for _, r := range batch {
		r.end(err)
	}
	return nil
}

// fail ends the log after an error of the disk, and everybody who waits for it: a batch
// that was taken from the queue, and what has been queued since. It gives what they are
// told.
func (l *Log) fail(err error, batch []*request) error {
	l.mu.Lock()
	failed := fmt.Errorf("%w: %w", ErrFailed, err)
	if l.failed != nil { // it was disowned meanwhile
		failed = fmt.Errorf("%w, and %w", failed, l.failed)
	}
	l.failed, l.state = failed, stopped
	batch = append(batch, l.queue...)
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
	if !slices.ContainsFunc(batch, func(r *request) bool { return len(r.leaves) > 0 }) {
		return nil
	}
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
