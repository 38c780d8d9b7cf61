// Package forward streams a node's audit log to a syslog server.
//
// The log on the disk is the buffer: what the server has not taken is read again from
// there, also after a restart. So a server that is gone costs neither memory nor
// entries, and never holds up the node.
// Only so many entries are kept for it, though: where it was gone for longer, the
// oldest are passed over, and one message says how many and which
// ([Config.Backlog]). They are in the log all the same.
//
// # Targets
//
//	tcp://host:port   octet counting (RFC 6587, section 3.4.1)
//	tls://host:port   the same over TLS (RFC 5425), against the system's roots
//	udp://host:port   a datagram for each message (RFC 5426): see below
//	unix:///path      a datagram for each message, or a stream with octet counting
//
// # What it cannot promise
//
// Syslog has no acknowledgements. What a connection had taken when it ended may be
// lost on the way; so the next one begins with the last entries once more
// ([Config.Again]), and with the mark of a gap that they follow, also where the node was
// started in between: what the disk keeps is where a next connection would begin. A
// message names its entry's index: whoever collects them drops what it has.
//
// A datagram over UDP to another machine is taken whether somebody receives it or not:
// nothing breaks when the server is away, nothing is sent once more, and no gap is
// marked. Whoever must have every entry takes a stream.
package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/ocsf"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Log is the log that is forwarded.
type Log interface {
	// Size is how many entries there were.
	Size() int64
	// First is the first of them that is still there.
	First() int64
	// Messages hands the messages of the entries behind the cursor, but none before
	// from, to fn, and moves the cursor; where fn gives an error it stands behind the
	// entry that fn was given. A message is nil where an entry has none.
	Messages(c *audit.Cursor, from int64, fn func(index int64, message []byte) error) error
}

// Target is where to.
type Target struct {
	scheme, address string
}

// ParseTarget reads a target.
func ParseTarget(s string) (Target, error) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Target{}, fmt.Errorf("%q is no target for syslog", s)
	}
	t := Target{u.Scheme, u.Host}
	switch u.Scheme {
	case "tcp", "tls", "udp":
		_, port, err := net.SplitHostPort(u.Host)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || u.Hostname() == "" || u.Path != "" {
			return Target{}, fmt.Errorf("%q is not of the form %s://host:port", s, u.Scheme)
		}
	case "unix":
		if t.address = u.Path; u.Host != "" || !filepath.IsAbs(u.Path) {
			return Target{}, fmt.Errorf("%q is not of the form unix:///path", s)
		}
	default:
		return Target{}, fmt.Errorf("%q does not begin with tcp://, tls://, udp:// or unix:///", s)
	}
	return t, nil
}

// String is the target as it is configured.
func (t Target) String() string { return t.scheme + "://" + t.address }

// Config says how a log is forwarded. The zero value of each field after Logger is the
// usual.
type Config struct {
	Target Target
	Log    Log
	Store  kv.Store // of its own; keeps where to go on
	Host   string   // of this node, for the message about a gap
	Now    func() time.Time
	Logger *slog.Logger

	TLS     *tls.Config   // nil: the system's roots
	Backlog int64         // most entries that wait for the target; 0: 100,000
	Again   int64         // entries that are sent once more after a break or a start; 0: 1,000
	Every   time.Duration // between looks at the log; 0: 200 ms
	Retry   time.Duration // before the second try to connect, doubled up to a minute; 0: 1 s
}

const (
	dialTime  = 10 * time.Second
	writeTime = 10 * time.Second
	maxRetry  = time.Minute
	batch     = 256 // entries between notes of how far the target is
)

// State is how forwarding goes.
type State struct {
	Behind  int64     // entries still to be sent, those that are sent once more among them
	LeftOut int64     // entries that marks of gaps stand for, since New
	Failing time.Time // since when it fails; zero: it does not
	Err     error     // why
}

// Forwarder forwards a log. [Forwarder.Run] is its one goroutine, and owns what is not
// in Config; others read under mu, which it holds where it writes, what [Forwarder.State]
// tells.
type Forwarder struct {
	c    Config
	back int64                      // where the next connection begins
	gap  struct{ first, end int64 } // entries that marks stand for which may be lost too

	mu      sync.Mutex
	next    int64 // the first entry that this connection, or the last one, did not take
	leftOut int64
	failing time.Time
	err     error
}

// New makes a forwarder that goes on where the last one for the same target was.
func New(c Config) (*Forwarder, error) {
	if c.Backlog <= 0 {
		c.Backlog = 100_000
	}
	if c.Again <= 0 {
		c.Again = 1000
	}
	if c.Every <= 0 {
		c.Every = 200 * time.Millisecond
	}
	if c.Retry <= 0 {
		c.Retry = time.Second
	}
	f := &Forwarder{c: c}
	raw, err := c.Store.Get(f.key())
	if errors.Is(err, kv.ErrNotFound) {
		return f, nil
	}
	if err == nil {
		err = statement.Unmarshal(raw, &f.back)
	}
	if err != nil {
		return nil, fmt.Errorf("how far the syslog target is: %w", err)
	}
	f.back = max(0, min(f.back, c.Log.Size())) // a log that was put back in its place
	f.next = f.back
	return f, nil
}

func (f *Forwarder) key() []byte {
	id := statement.Hash("syslog target", []byte(f.c.Target.String()))
	return id[:]
}

// Run forwards until ctx ends, which is no error. What goes wrong with the target is
// logged, and tried again.
func (f *Forwarder) Run(ctx context.Context) error {
	wait := f.c.Retry
	for said := ""; ctx.Err() == nil; {
		before := f.next
		err := f.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if f.next > before { // it took something: the next try is the first
			wait, said = f.c.Retry, ""
		}
		f.failed(err)
		if text := err.Error(); text != said {
			f.c.Logger.Warn("the audit log cannot be forwarded; it is tried again", "target", f.c.Target, "err", err)
			said = text
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, maxRetry)
	}
	return nil
}

// State is how forwarding goes. Any goroutine may ask.
func (f *Forwarder) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return State{max(0, f.c.Log.Size()-f.next), f.leftOut, f.failing, f.err}
}

// failed goes back to where the next connection begins.
func (f *Forwarder) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next, f.err = f.back, err; f.failing.IsZero() {
		f.failing = f.c.Now()
	}
}

// holds says that a connection made at a time has worked until now. One that breaks at
// once, as to a proxy with nobody behind it, has not: that is a failure which goes on.
func (f *Forwarder) holds(made time.Time) {
	if time.Since(made) < f.c.Every {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing, f.err = time.Time{}, nil
}

// session connects once and forwards until something breaks.
func (f *Forwarder) session(ctx context.Context) error {
	conn, framed, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	gone := watch(conn, framed)
	f.c.Logger.Info("the audit log is forwarded", "target", f.c.Target, "from", f.next)
	tick := time.NewTicker(f.c.Every)
	defer tick.Stop()
	at, made := new(audit.Cursor), time.Now()
	for {
		if err := f.catchUp(conn, framed, at, made); err != nil {
			return err
		}
		select {
		case <-tick.C:
			f.holds(made)
		case err := <-gone:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch tells when a stream's other end has gone, which writing tells too late.
func watch(conn net.Conn, framed bool) <-chan error {
	gone := make(chan error, 1)
	if !framed {
		return gone
	}
	go func() { // ends with the connection
		if _, err := io.Copy(io.Discard, conn); err != nil {
			gone <- err
			return
		}
		gone <- errors.New("the target closed the connection")
	}()
	return gone
}

// errBatch ends a batch.
var errBatch = errors.New("that is a batch")

// catchUp sends what the target has not, and notes after each batch where to go on.
func (f *Forwarder) catchUp(conn net.Conn, framed bool, at *audit.Cursor, made time.Time) error {
	for f.next < f.c.Log.Size() {
		var out [][]byte
		from := f.next
		if end := max(f.c.Log.Size()-f.c.Backlog, f.c.Log.First()); end > from {
			out = append(out, f.mark(from, end-1))
			from = end
		}
		next := from
		err := f.c.Log.Messages(at, from, func(index int64, message []byte) error {
			if next = index + 1; message != nil {
				out = append(out, bytes.Clone(message))
			}
			if len(out) >= batch {
				return errBatch
			}
			return nil
		})
		if err != nil && !errors.Is(err, errBatch) {
			return err
		}
		if next = max(next, at.Next()); next == f.next {
			return nil
		}
		if err := send(conn, framed, out); err != nil {
			return err
		}
		f.took(from, next)
		f.holds(made)
		if err := f.note(); err != nil {
			return err
		}
	}
	return nil
}

// took says that a connection took the entries from one to before another, and the mark
// of a gap where the first is not the next one. It moves where the next connection
// begins: so far back that it sends once more what may be lost, but not before where
// this one began. A gap does not count as sent: where its mark may be lost, that is made
// anew, however many entries it stands for.
func (f *Forwarder) took(from, next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from > f.next {
		f.leftOut += from - max(f.next, f.gap.end)
		if f.gap.end <= max(0, f.next-f.c.Again) { // the mark of an earlier one is safe; else both are one
			f.gap.first = f.next
		}
		f.gap.end = from
	}
	f.next = next
	back := next - f.c.Again
	if back < f.gap.end {
		back -= f.gap.end - f.gap.first
	}
	f.back = max(f.back, back)
}

// mark is the message about entries that are passed over.
func (f *Forwarder) mark(first, last int64) []byte {
	f.c.Logger.Warn("entries of the audit log are not forwarded: the target was gone for too long", "target", f.c.Target, "first", first, "last", last)
	return ocsf.SyslogGap(f.c.Host, f.c.Now(), first, last)
}

func (f *Forwarder) note() error {
	raw, err := statement.Marshal(f.back)
	if err != nil {
		return err
	}
	return f.c.Store.Apply([]kv.Op{{Key: f.key(), Value: raw}})
}

// send writes messages, all within the time for one.
func send(conn net.Conn, framed bool, messages [][]byte) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if !framed {
		for _, m := range messages {
			if _, err := conn.Write(m); err != nil {
				return err
			}
		}
		return nil
	}
	var all bytes.Buffer
	for _, m := range messages {
		fmt.Fprintf(&all, "%d ", len(m))
		all.Write(m)
	}
	_, err := conn.Write(all.Bytes())
	return err
}

// dial connects; framed says that messages need their lengths before them.
func (f *Forwarder) dial(ctx context.Context) (conn net.Conn, framed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var d net.Dialer
	t := f.c.Target
	switch t.scheme {
	case "udp":
		conn, err = d.DialContext(ctx, "udp", t.address)
		return conn, false, err
	case "unix":
		if conn, err = d.DialContext(ctx, "unixgram", t.address); err == nil {
			return conn, false, nil
		}
		conn, err = d.DialContext(ctx, "unix", t.address)
		return conn, true, err
	case "tls":
		conn, err = (&tls.Dialer{Config: f.c.TLS}).DialContext(ctx, "tcp", t.address)
		return conn, true, err
	}
	conn, err = d.DialContext(ctx, "tcp", t.address)
	return conn, true, err
}
