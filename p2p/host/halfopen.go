package host

import (
	"container/list"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
	manet "github.com/multiformats/go-multiaddr/net"
)

// halfOpenGrace is how long a TCP connection may take for its TLS handshake
// while others wait for its place. An honest handshake takes a few milliseconds
// of work and one round trip; a slow one gets the rest of Limits.Handshake
// whenever there is no crowd.
const halfOpenGrace = 50 * time.Millisecond

// halfOpen holds the inbound TCP connections whose TLS handshake has not ended,
// oldest first.
type halfOpen struct {
	limit int

	mu    sync.Mutex // guards the list
	conns *list.List // of *rawConn
}

func newHalfOpen(limit int) *halfOpen { return &halfOpen{limit: limit, conns: list.New()} }

// add takes a place for c, if need be that of the oldest. It waits while that one
// is within its grace; meanwhile newcomers wait in the kernel's backlog.
func (h *halfOpen) add(c manet.Conn) *rawConn {
	for {
		h.mu.Lock()
		if h.conns.Len() < h.limit {
			raw := &rawConn{Conn: c, owner: h, since: time.Now()}
			raw.place = h.conns.PushBack(raw)
			h.mu.Unlock()
			return raw
		}
		oldest := h.conns.Front().Value.(*rawConn)
		h.mu.Unlock()
		if wait := halfOpenGrace - time.Since(oldest.since); wait > 0 {
			select {
			case <-oldest.left():
			case <-time.After(wait):
			}
			continue
		}
		oldest.Close()
	}
}

func (h *halfOpen) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns.Len()
}

// rawConn is an accepted TCP connection. Its place is given up when the secure
// channel stands or the connection is closed.
type rawConn struct {
	manet.Conn
	owner *halfOpen
	since time.Time
	place *list.Element // nil once given up; guarded by owner.mu
	gone  chan struct{} // made by left, closed by secured; guarded by owner.mu
}

// left is closed when the place is given up.
func (c *rawConn) left() <-chan struct{} {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	if c.gone == nil {
		c.gone = make(chan struct{})
		if c.place == nil {
			close(c.gone)
		}
	}
	return c.gone
}

func (c *rawConn) secured() {
	c.owner.mu.Lock()
	defer c.owner.mu.Unlock()
	if c.place == nil {
		return
	}
	c.owner.conns.Remove(c.place)
	c.place = nil
	if c.gone != nil {
		close(c.gone)
	}
}

func (c *rawConn) Close() error {
	c.secured()
	return c.Conn.Close()
}

// upgrader puts the bound between accept and handshake.
type upgrader struct {
	transport.Upgrader
	halfOpen *halfOpen
}

func (u upgrader) UpgradeGatedMaListener(t transport.Transport, l transport.GatedMaListener) transport.Listener {
	return u.Upgrader.UpgradeGatedMaListener(t, boundedListener{l, u.halfOpen})
}

type boundedListener struct {
	transport.GatedMaListener
	halfOpen *halfOpen
}

func (l boundedListener) Accept() (manet.Conn, network.ConnManagementScope, error) {
	c, scope, err := l.GatedMaListener.Accept()
	if err != nil {
		return nil, nil, err
	}
	return l.halfOpen.add(c), scope, nil
}
