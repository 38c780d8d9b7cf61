package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// QueueSize is how many leaves may wait for the writer.
const QueueSize = 4096

// Errors that callers branch on; see also [ErrTampered].
var (
	// ErrLeaf reports a leaf that is empty, or longer than 8 KiB.
	ErrLeaf = errors.New("the leaf does not fit the audit log")
	// ErrFull reports a queue without room. The act that was to be logged must
	// not happen.
	ErrFull = errors.New("the audit log's queue is full")
	// ErrClosed reports a log without a writer: Run has not started or has ended.
	ErrClosed = errors.New("the audit log is not running")
	// ErrFailed reports a log that refuses to write because a write or flush
	// failed, until it is opened again.
	ErrFailed = errors.New("the audit log failed and writes nothing until it is opened again")
	// ErrLocked reports a log that somebody else has open, in this process or
	// another.
	ErrLocked = disk.ErrLocked
)

// Config is how a log is opened.
type Config struct {
	Binding []byte               // whose log it is: see [Bind]
	Key     statement.PrivateKey // the log's, which the binding names
	Known   [][]byte             // checkpoints of this log that others have; it must live up to them

	Segment int64         // bytes after which another file begins; 0: 64 MiB
	Every   time.Duration // most time that a durable record waits for a checkpoint; 0: 2 s
}

// request is one caller's leaves, or a wish for a checkpoint or another segment. first and err belong
// to the writer until done is closed.
type request struct {
	leaves [][]byte
	items  [][]byte // beside them: nil, or one for each
	first  int64
	rotate bool // a wish for another segment
	err    error
	done   chan struct{}
}

// Log is an open log: any number of callers append and read; one at a time writes, Run
// or a caller in its place.
type Log struct {
	folder  folder
	release func() error
	binding *Binding
	raw     []byte // the binding as it was signed
	signer  *signer
	segment int64
	every   time.Duration
	hashes  file          // derived: never flushed, made anew by Open; but for those of removed records
	wake    chan struct{} // one token: Run has something to do
	quit    chan struct{} // closed by Close
	begun   chan struct{} // closed when Run takes events
	ended   chan struct{} // closed when Run has returned

	turn   sync.Mutex // held by whoever writes: Run, or a caller in its place; before mu
	last   file       // the segment that is written; owned by Open, then by who has the turn
	beside Beside     // set before Run, or nil

	cosigning sync.Mutex // held from reading the cosigned checkpoint to replacing it; before mu

	mu        sync.Mutex // guards what follows
	state     state
	closing   bool
	queue     []*request
	queued    int        // events in queue
	timed     bool       // Run's timer for the next checkpoint runs; changed by who has the turn
	start     mark       // before the first record that is there
	segs      []int64    // segments by the index of their first record
	durable   mark       // what callers may be told
	published Checkpoint // durable too
	cosigned  Checkpoint // durable too; its Note is nil where there is none
	failed    error      // why nothing is written any more
}

type state uint8

const (
	opened state = iota
	running
	stopped
)

// Open opens the log in dir, makes it where there is none, and locks it
// ([ErrLocked]). It reads every record and verifies them against the checkpoints
// that the log signed. It cuts off a write that a crash left unfinished, of which
// nobody was told that it is durable, and refuses everything else that is not as
// it was written with a [TamperError]. When it returns, everything that is there
// is durable and under a checkpoint. Open starts nothing: call [Log.Run].
func Open(dir string, c Config) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	release, err := hold(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	l, err := open(osFolder(dir), c, release)
	if err != nil {
		release()
		return nil, fmt.Errorf("audit log %s: %w", dir, err)
	}
	return l, nil
}

func open(d folder, c Config, release func() error) (l *Log, err error) {
	b, err := VerifyBinding(c.Binding)
	if err != nil {
		return nil, err
	}
	if c.Key.IsZero() || c.Key.Public() != b.Log {
		return nil, fmt.Errorf("%w: it names another key than this one", ErrBinding)
	}
	l = &Log{
		folder: d, release: release, binding: b, raw: c.Binding, signer: newSigner(b.Origin, c.Key), segment: c.Segment, every: c.Every,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), begun: make(chan struct{}), ended: make(chan struct{}),
	}
	if l.segment <= 0 {
		l.segment = 64 << 20
	}
	if l.every <= 0 {
		l.every = 2 * time.Second
	}
	if l.segs, err = segments(d); err != nil {
		return nil, err
	}
	if err := l.bind(c.Binding); err != nil {
		return nil, err
	}
	if l.start, err = readStart(d, b); err != nil {
		return nil, err
	}
	var old []int64
	if old, l.segs = l.start.split(l.segs); len(old) > 0 {
		if err := removeSegments(d, old); err != nil {
			return nil, err
		}
	}
	if l.hashes, err = d.open(hashesName); err != nil {
		return nil, err
	}
	if err := l.recover(c.Known); err != nil {
		l.closeFiles()
		return nil, err
	}
	return l, nil
}

// bind puts the binding beside the log, for whoever verifies it from outside.
func (l *Log) bind(raw []byte) error {
	old, err := read(l.folder, bindingName, maxCheckpoint)
	if err != nil || bytes.Equal(old, raw) {
		return err
	}
	if old != nil {
		return fmt.Errorf("%w: this folder holds the log of another key or peer: restore the keys that belong to it", ErrBinding)
	}
	return l.folder.replace(bindingName, raw)
}

// recover verifies what is there, cuts a torn tail, and makes certain that the
// rest is on the disk before anybody relies on it.
func (l *Log) recover(known [][]byte) error {
	promises, err := readPromises(l.folder, l.binding, known)
	if err != nil {
		return err
	}
	for _, p := range promises {
		switch p.name {
		case checkpointName:
			l.published = p.Checkpoint
		case cosignedName:
			l.cosigned = p.Checkpoint
		}
	}
	if len(promises) == 0 && len(l.segs) == 0 && l.start.n == 0 { // the log begins here
		if err := l.publish(); err != nil {
			return err
		}
		promises = append(promises, promise{checkpointName, l.published})
	}
	if l.published.Note == nil {
		return tamperedFile(checkpointName, "it is missing, and there are records or promises of them")
	}
	if len(l.segs) == 0 {
		if l.published.N > 0 {
			return tampered(place{}, fmt.Sprintf("there are no records, but the checkpoint promises %d", l.published.N))
		}
		l.segs = []int64{0}
	}
	if l.start.n > l.published.N {
		return tamperedFile(prunedName, fmt.Sprintf("it says that %d records were removed, but the checkpoint promises %d", l.start.n, l.published.N))
	}
	if l.last, err = l.folder.open(segmentName(l.segs[len(l.segs)-1])); err != nil {
		return err
	}
	derived := &rewriter{file: l.hashes, offset: l.start.stored()} // only looks: until all is verified, the hashes are evidence
	var signed place                                               // where the records behind the checkpoint begin
	l.durable, err = verify(l.folder, l.start, l.segs, promises, func(r record) error {
		if r.n == l.published.N {
			signed = r.place
		}
		return derived.add(r.hashes)
	})
	if err != nil {
		return err
	}
	if err := derived.flush(); err != nil {
		return err
	}
	if derived.differs {
		if err := l.derive(); err != nil {
			return err
		}
	}
	return l.settle(signed)
}

// derive makes the file of stored hashes say what the records say.
func (l *Log) derive() error {
	w := &rewriter{file: l.hashes, write: true, offset: l.start.stored()}
	_, err := walk(l.folder, l.start, l.segs, l.durable.offset, func(r record) error { return w.add(r.hashes) })
	if err != nil {
		return err
	}
	return w.flush()
}

// settle cuts what is behind the last whole record and writes the records behind
// the checkpoint once more, as they are. The process before may have ended because
// a flush failed; then they are in the system's cache, marked clean, and no further
// flush would carry them to the disk.
func (l *Log) settle(signed place) error {
	size, err := l.last.Size()
	if err != nil {
		return err
	}
	end := l.durable.offset
	if size > end {
		if err := l.last.Truncate(end); err != nil {
			return err
		}
	}
	from := end
	switch {
	case l.published.N == l.durable.n: // nothing is behind it
	case signed.segment == l.durable.segment:
		from = signed.offset
	default:
		from = 0
	}
	buf := make([]byte, 1<<18)
	for from < end {
		part := buf[:min(int64(len(buf)), end-from)]
		if n, err := l.last.ReadAt(part, from); n < len(part) {
			return err
		}
		if _, err := l.last.WriteAt(part, from); err != nil {
			return err
		}
		from += int64(len(part))
	}
	if err := l.last.Sync(); err != nil {
		return err
	}
	return l.publish()
}

// Running is closed once [Log.Run] takes events; before, Append is refused.
func (l *Log) Running() <-chan struct{} { return l.begun }

// Append logs leaves, in order; what they say is the caller's. On nil they are
// durable. [ErrFull] and [ErrLeaf] log nothing; so does [ErrClosed], before Run or
// after it. After any other error, and when ctx ends first, the leaves may be logged
// or not. Whatever the error, the act that was to be logged must not happen. A caller
// that finds nobody writing writes itself, and for the disk it waits whatever ctx says.
func (l *Log) Append(ctx context.Context, leaves ...[]byte) error {
	_, err := l.Record(ctx, leaves, nil)
	return err
}

// Record is [Log.Append] with an item beside each leaf (see [Log.Attach]; nil: none),
// durable together with it. It says at which index the first leaf stands; the others
// follow it.
func (l *Log) Record(ctx context.Context, leaves, items [][]byte) (first int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if len(leaves) == 0 {
		return l.Size(), nil
	}
	if items != nil && len(items) != len(leaves) {
		return 0, fmt.Errorf("%w: %d items are beside %d", ErrLeaf, len(items), len(leaves))
	}
	for _, leaf := range leaves {
		if len(leaf) == 0 || len(leaf) > maxRecord {
			return 0, fmt.Errorf("%w: it has %d bytes, from 1 to %d are allowed", ErrLeaf, len(leaf), maxRecord)
		}
	}
	r := &request{leaves: leaves, items: items, done: make(chan struct{})}
	if err := l.wait(ctx, r); err != nil {
		return 0, err
	}
	return r.first, nil
}

// Checkpoint publishes a checkpoint of everything that is durable now, and
// returns it once it is durable itself.
func (l *Log) Checkpoint(ctx context.Context) (Checkpoint, error) {
	l.mu.Lock()
	idle := l.state != running && l.failed == nil // then nothing grows behind the published one
	l.mu.Unlock()
	if idle {
		return l.Published(), nil
	}
	if err := l.wait(ctx, &request{done: make(chan struct{})}); err != nil {
		return Checkpoint{}, err
	}
	return l.Published(), nil
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
	return errors.Join(l.closeFiles(), l.release())
}

func (l *Log) closeFiles() error {
	var errs []error
	for _, f := range []file{l.last, l.hashes} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
