package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// QueueSize is how many events may wait for the writer.
const QueueSize = 4096

// checkpointEvery is how many records may pass without a checkpoint. More
// would leave a longer tail that can be cut off unseen; fewer would cost
// throughput.
const checkpointEvery = 1024

// Errors that callers branch on; see also [ErrTampered] and [ErrEvent].
var (
	// ErrFull reports a queue without room. The act that was to be logged must
	// not happen.
	ErrFull = errors.New("the audit log's queue is full")
	// ErrClosed reports a log without a writer: Run has not started or has ended.
	ErrClosed = errors.New("the audit log is not running")
	// ErrFailed reports a log that refuses to write because a write or flush
	// failed, until it is opened again.
	ErrFailed = errors.New("the audit log failed and writes nothing until it is opened again")
	// ErrLocked reports a log that another process has open.
	ErrLocked = disk.ErrLocked
)

// file is the disk that the log needs. What was written is durable only once
// Sync returned nil; after an error of WriteAt, Truncate or Sync nothing is known.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
	Close() error
}

// request is one caller's leaves. first and err belong to the writer until done is closed.
type request struct {
	leaves [][]byte
	beside [][]byte // nil, or one for each leaf
	first  int64    // index of the first leaf
	err    error
	done   chan struct{}
}

// Log is an open log: any number of callers append and read, one writer, Run,
// writes.
type Log struct {
	dir     string
	file    file
	replace func(path string, data []byte) error // disk.Replace, or a test's failing disk
	wake    chan struct{}                        // one token: the queue is not empty
	quit    chan struct{}                        // closed by Close
	begun   chan struct{}                        // closed when Run takes events
	ended   chan struct{}                        // closed when Run has returned

	mu      sync.Mutex // guards what follows
	state   state
	closing bool
	queue   []*request
	queued  int   // events in queue
	durable mark  // what callers may be told
	failed  error // why nothing is written any more

	promised mark   // of the last checkpoint; owned by Open, then by Run
	beside   Beside // set before Run, or nil
}

type state uint8

const (
	opened state = iota
	running
	stopped
)

// Open opens the log in dir, makes it where there is none, and locks it
// ([ErrLocked]). It reads and verifies every record. It cuts off a write that a
// crash left unfinished, of which nobody was told that it is durable, and
// refuses everything else that is not as it was written with a [TamperError].
// Open starts nothing: call [Log.Run].
func Open(dir string) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := disk.Open(filepath.Join(dir, entriesName))
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	l, err := open(dir, f, disk.Replace)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	return l, nil
}

func open(dir string, f file, replace func(string, []byte) error) (*Log, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	promised, err := readCheckpoint(dir, size)
	if err != nil {
		return nil, err
	}
	end, err := verify(f, size, promised, func(int64, []byte) error { return nil })
	if err != nil {
		return nil, err
	}
	l := &Log{
		dir: dir, file: f, replace: replace, durable: end, promised: promised,
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
		begun: make(chan struct{}), ended: make(chan struct{}),
	}
	return l, l.recover(size)
}

// recover cuts a torn tail and makes certain that the rest is on the disk
// before anybody relies on it.
func (l *Log) recover(size int64) error {
	if size > l.durable.offset {
		if err := l.file.Truncate(l.durable.offset); err != nil {
			return err
		}
	}
	if err := l.rewrite(); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	return l.promise()
}

// rewrite writes the records behind the checkpoint once more, as they are. The
// process before may have ended because a flush failed; then they are in the
// system's cache, marked clean, and no further flush would carry them to the disk.
func (l *Log) rewrite() error {
	buf := make([]byte, 1<<18)
	for at := l.promised.offset; at < l.durable.offset; {
		part := buf[:min(int64(len(buf)), l.durable.offset-at)]
		if _, err := l.file.ReadAt(part, at); err != nil {
			return err
		}
		if _, err := l.file.WriteAt(part, at); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

// promise writes a checkpoint of what is durable, durably.
func (l *Log) promise() error {
	path := filepath.Join(l.dir, checkpointName)
	if l.promised == l.durable && l.durable.n > 0 {
		return nil
	}
	raw, err := l.durable.encode()
	if err != nil {
		return err
	}
	if err := l.replace(path, raw); err != nil {
		return err
	}
	l.promised = l.durable
	return nil
}

// Running is closed once [Log.Run] takes events; before, Append is refused.
func (l *Log) Running() <-chan struct{} { return l.begun }

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

	var reason error
	for open := true; open; {
		select {
		case <-l.wake:
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
		if err := l.commit(!open); err != nil {
			return err
		}
	}
	return reason
}

// commit makes everything that is queued durable with one write and one flush,
// then tells the callers. A checkpoint follows when one is due, or at the end.
func (l *Log) commit(last bool) error {
	l.mu.Lock()
	batch := l.queue
	l.queue, l.queued = nil, 0
	now := l.durable
	l.mu.Unlock()

	err := l.write(batch, &now)
	l.mu.Lock()
	if err == nil {
		l.durable = now
	} else {
		l.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		l.state = stopped
		batch = append(batch, l.queue...) // whoever came meanwhile
		l.queue, l.queued = nil, 0
	}
	failed := l.failed
	l.mu.Unlock()
	for _, r := range batch {
		r.err = failed
		close(r.done)
	}
	if failed != nil {
		return failed
	}
	if last || now.n-l.promised.n >= checkpointEvery {
		if err := l.promise(); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

// fail ends the log and everybody who waits for it.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	l.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	l.state = stopped
	batch, failed := l.queue, l.failed
	l.queue, l.queued = nil, 0
	l.mu.Unlock()
	for _, r := range batch {
		r.err = failed
		close(r.done)
	}
	return failed
}

// write puts a batch behind the end and moves the mark.
func (l *Log) write(batch []*request, at *mark) error {
	if len(batch) == 0 {
		return nil
	}
	var buf []byte
	from, first := at.offset, at.n
	for _, r := range batch {
		r.first = at.n
		for _, leaf := range r.leaves {
			at.chain = link(at.chain, leaf)
			buf = appendRecord(buf, first, at.chain, leaf)
			at.n++
		}
	}
	at.offset, at.first = from+int64(len(buf)), first
	if _, err := l.file.WriteAt(buf, from); err != nil {
		return err
	}
	return l.flush(first, batch)
}

// Append logs events, in order. On nil they are durable. [ErrFull] and
// [ErrEvent] log nothing; so does [ErrClosed], before Run or after it. After
// any other error, and when ctx ends first, the events may be logged or not.
// Whatever the error, the act that was to be logged must not happen.
func (l *Log) Append(ctx context.Context, events ...Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(events) == 0 {
		return nil
	}
	leaves := make([][]byte, len(events))
	for i, e := range events {
		var err error
		if leaves[i], err = e.encode(); err != nil {
			return err
		}
	}
	_, err := l.AppendBeside(ctx, leaves, nil)
	return err
}

func (l *Log) enqueue(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return l.failed
	case l.state != running || l.closing:
		return ErrClosed
	case l.queued+len(r.leaves) > QueueSize:
		return ErrFull
	}
	l.queue = append(l.queue, r)
	l.queued += len(r.leaves)
	select {
	case l.wake <- struct{}{}:
	default: // the writer has been called already
	}
	return nil
}

// Size is the number of durable records.
func (l *Log) Size() int64 {
	n, _ := l.Head()
	return n
}

// Head is the number of durable records and the chain after the last.
func (l *Log) Head() (n int64, h statement.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable.n, l.durable.chain
}

// Leaves reads the records that are durable now, verifying them again, and hands
// each to fn; a leaf is valid until fn returns. It stops at fn's first error and
// returns it. It does not hold up the writer.
func (l *Log) Leaves(fn func(i int64, leaf []byte) error) error {
	l.mu.Lock()
	end := l.durable
	l.mu.Unlock()
	s := newScanner(bufio.NewReaderSize(io.NewSectionReader(l.file, 0, end.offset), 1<<18), end.offset)
	for s.at.n < end.n {
		before := s.at
		leaf, err := s.next()
		var bad errBad
		if errors.As(err, &bad) || errors.Is(err, io.EOF) {
			return tampered(before, err.Error())
		}
		if err != nil {
			return fmt.Errorf("reading record %d: %w", before.n, err)
		}
		if err := fn(before.n, leaf); err != nil {
			return err
		}
	}
	if s.at.chain != end.chain {
		return tampered(s.at, "the records before it are not those that were written")
	}
	return nil
}

// Close ends Run, waits for it, and releases the log. Without it the log stays
// locked until the process ends.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return nil
	}
	l.closing = true
	ran := l.state != opened
	l.mu.Unlock()
	close(l.quit)
	if ran {
		<-l.ended
	}
	return l.file.Close()
}
