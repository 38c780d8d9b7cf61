package api

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
)

// A client that has a file may hand it over, and the node writes it itself: content
// then does not pass through the socket, which costs as much as its encryption. The
// open file, and with it the right to write it, comes as ancillary data with the
// first bytes of a connection (unix(7), SCM_RIGHTS), so nothing is opened by name and
// nobody's rights but the sender's are used.

var (
	errNoHandover = errors.New("no open file came with the request")
	errWaits      = errors.New("the open file that came with the request is no regular file")
)

// ErrHandover reports a system, or a connection, that cannot hand over open files.
var ErrHandover = errors.New("open files cannot be handed over here")

// carrier is a connection that takes one open file with its first bytes.
type carrier struct {
	*net.UnixConn
	first sync.Once

	mu   sync.Mutex // guards file
	file *os.File
}

// Read implements net.Conn. A file comes with the first byte; what follows is read as
// on any connection.
func (c *carrier) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.first.Do(func() {
		var file *os.File
		if n, file, err = receiveFile(c.UnixConn, p[:1]); file != nil {
			c.mu.Lock()
			c.file = file
			c.mu.Unlock()
		}
	})
	if err != nil || n == len(p) {
		return n, err
	}
	more, err := c.UnixConn.Read(p[n:])
	return n + more, err
}

// take gives the file, once.
func (c *carrier) take() *os.File {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.file
	c.file = nil
	return f
}

// Close implements net.Conn.
func (c *carrier) Close() error {
	if f := c.take(); f != nil {
		f.Close()
	}
	return c.UnixConn.Close()
}

// carrying makes carriers of what a listener accepts.
type carrying struct{ net.Listener }

func (l carrying) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if u, ok := c.(*net.UnixConn); ok && err == nil {
		return &carrier{UnixConn: u}, nil
	}
	return c, err
}

type carrierKey struct{}

func withCarrier(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, carrierKey{}, c)
}

// NeverWaits reports a file that takes bytes at once: a regular one, or the system's
// place for what nobody wants. A pipe or a terminal may make the writer wait for as
// long as its reader likes; that is the command's to bear, not the node's.
func NeverWaits(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return info.Mode().IsRegular() || err == nil && os.SameFile(info, null)
}

// handedOver is the file that came with a request, which the caller closes. It never
// waits, whatever the client thinks of it.
func handedOver(ctx context.Context) (*os.File, error) {
	c, ok := ctx.Value(carrierKey{}).(*carrier)
	if !ok {
		return nil, errNoHandover
	}
	f := c.take()
	if f == nil {
		return nil, errNoHandover
	}
	if !NeverWaits(f) {
		f.Close()
		return nil, errWaits
	}
	return f, nil
}

// WithFile makes a connection to a node that carries an open file with the first
// bytes that are written, or says [ErrHandover].
func WithFile(conn net.Conn, f *os.File) (net.Conn, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok || !canHandOver {
		return nil, ErrHandover
	}
	return &sender{UnixConn: u, file: f}, nil
}

// sender sends a file with the first bytes.
type sender struct {
	*net.UnixConn
	file *os.File // nil once it is sent
}

// Write implements net.Conn.
func (s *sender) Write(p []byte) (int, error) {
	if s.file == nil || len(p) == 0 {
		return s.UnixConn.Write(p)
	}
	n, err := sendFile(s.UnixConn, p, s.file)
	if err != nil {
		return n, err
	}
	s.file = nil
	if n == len(p) {
		return n, nil
	}
	more, err := s.UnixConn.Write(p[n:])
	return n + more, err
}
