package admission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"

	ma "github.com/multiformats/go-multiaddr"
)

// Transport is a transport whose connections have all been admitted. It keeps
// the optional powers of the one it wraps: progress of dials, order of listeners,
// names left unresolved, closing.
type Transport struct {
	transport.Transport
	admitter *Admitter
}

var (
	_ transport.Transport    = (*Transport)(nil)
	_ transport.DialUpdater  = (*Transport)(nil)
	_ transport.SkipResolver = (*Transport)(nil)
	_ io.Closer              = (*Transport)(nil)
)

// Dial connects and returns once both sides have admitted each other. A
// connection that was not admitted is closed before Dial returns.
func (t *Transport) Dial(ctx context.Context, raddr ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	return t.DialWithUpdates(ctx, raddr, p, nil)
}

// DialWithUpdates is Dial that tells the swarm about the progress of the
// network connection, where the wrapped transport can.
func (t *Transport) DialWithUpdates(ctx context.Context, raddr ma.Multiaddr, p peer.ID, updates chan<- transport.DialUpdate) (transport.CapableConn, error) {
	// In a coordinated simultaneous connect both sides dial; the one that plays the
	// server also plays the responder, so that exactly one speaks first.
	simultaneous, isClient, _ := network.GetSimultaneousConnect(ctx)
	playsServer := simultaneous && !isClient
	if playsServer && !yield(ctx) {
		return nil, ctx.Err()
	}
	c, err := t.dialInner(ctx, raddr, p, updates)
	if err != nil {
		return nil, err
	}
	exchange := t.admitter.present
	if playsServer {
		exchange = func(ctx context.Context, c transport.CapableConn) (*Session, error) {
			return t.admitter.receive(ctx, c, func() {})
		}
	}
	session, err := exchange(ctx, c)
	if err != nil {
		c.CloseWithError(network.ConnGated)
		return nil, fmt.Errorf("admission with %s: %w", p, err)
	}
	return &conn{CapableConn: c, transport: t, session: session}, nil
}

// yieldTime is more than what the two sides of a simultaneous connect usually miss each
// other by.
const yieldTime = 200 * time.Millisecond

// yield lets the other side's first packet leave before ours. Where its NAT lets ours in
// already, because it tried to reach us before, a TCP connection would otherwise be
// taken by its listener: then both sides play the server, and wait for each other. In
// the other order there is one client in any case, whether the packets cross or not. It
// is false when ctx ended.
func yield(ctx context.Context) bool {
	timer := time.NewTimer(yieldTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *Transport) dialInner(ctx context.Context, raddr ma.Multiaddr, p peer.ID, updates chan<- transport.DialUpdate) (transport.CapableConn, error) {
	if u, ok := t.Transport.(transport.DialUpdater); ok {
		return u.DialWithUpdates(ctx, raddr, p, updates)
	}
	return t.Transport.Dial(ctx, raddr, p)
}

// Listen listens with the wrapped transport and admits what it accepts.
func (t *Transport) Listen(laddr ma.Multiaddr) (transport.Listener, error) {
	inner, err := t.Transport.Listen(laddr)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{
		Listener:  inner,
		transport: t,
		out:       make(chan transport.CapableConn),
		done:      make(chan struct{}),
		stop:      stop,
	}
	go l.run(ctx)
	return l, nil
}

// ListenOrder is that of the wrapped transport, 0 if it has none.
func (t *Transport) ListenOrder() int {
	if o, ok := t.Transport.(interface{ ListenOrder() int }); ok {
		return o.ListenOrder()
	}
	return 0
}

// SkipResolve is the answer of the wrapped transport, false if it has none: the
// relay transport resolves the names in an address itself, when it dials.
func (t *Transport) SkipResolve(ctx context.Context, addr ma.Multiaddr) bool {
	r, ok := t.Transport.(transport.SkipResolver)
	return ok && r.SkipResolve(ctx, addr)
}

// Close closes the wrapped transport.
func (t *Transport) Close() error {
	if c, ok := t.Transport.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// String names the wrapped transport.
func (t *Transport) String() string {
	if s, ok := t.Transport.(fmt.Stringer); ok {
		return "admitted " + s.String()
	}
	return fmt.Sprintf("admitted %T", t.Transport)
}

// conn is an admitted connection.
type conn struct {
	transport.CapableConn
	transport *Transport
	session   *Session
}

func (c *conn) Transport() transport.Transport { return c.transport }

// As answers for the session and passes everything else on.
func (c *conn) As(target any) bool {
	if s, ok := target.(**Session); ok {
		*s = c.session
		return true
	}
	return c.CapableConn.As(target)
}

// Stat keeps what the wrapped connection knows about itself, such as that it is
// limited: the swarm asks for it by type.
func (c *conn) Stat() network.ConnStats {
	if s, ok := c.CapableConn.(network.ConnStat); ok {
		return s.Stat()
	}
	return network.ConnStats{}
}

// listener admits connections side by side and delivers them one by one. run
// owns err, which is read only after done is closed.
type listener struct {
	transport.Listener
	transport *Transport
	out       chan transport.CapableConn
	done      chan struct{} // closed when run and all it started have ended
	stop      context.CancelFunc
	err       error
}

func (l *listener) run(ctx context.Context) {
	var pending sync.WaitGroup
	defer close(l.done)
	defer pending.Wait()
	defer l.stop()
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			return
		}
		s := &seat{
			address: addressOf(c.RemoteMultiaddr(), l.transport.admitter.local),
			// Closing may block on a peer that does not read. Whoever holds the seat
			// keeps the group from ending, so it may still grow here.
			drop: func() { pending.Go(func() { c.CloseWithError(network.ConnResourceLimitExceeded) }) },
		}
		if !l.takeSeat(ctx, s) {
			pending.Go(func() { c.CloseWithError(network.ConnRateLimited) })
			continue
		}
		pending.Go(func() { l.welcome(ctx, c, s) })
	}
}

// takeSeat waits while the room is full; the listener's backlog waits with it.
func (l *listener) takeSeat(ctx context.Context, s *seat) bool {
	a := l.transport.admitter
	for came := time.Now(); ; {
		now := time.Now()
		v, changed := a.waiting.enter(s, now, now.Sub(came) >= a.limits.Grace)
		if v != full {
			return v == seated
		}
		timer := time.NewTimer(max(a.limits.Grace-now.Sub(came), time.Millisecond))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// welcome admits one connection and delivers it.
func (l *listener) welcome(ctx context.Context, c transport.CapableConn, s *seat) {
	a := l.transport.admitter
	leave := func() { a.waiting.leave(s) }
	session, err := a.receive(ctx, c, leave)
	leave()
	if errors.Is(err, errServed) {
		c.CloseWithError(network.ConnNoError)
		return
	}
	if err != nil {
		a.refused(c.RemotePeer(), err)
		a.log.Debug("connection was not admitted", "peer", c.RemotePeer(), "address", c.RemoteMultiaddr(), "error", err)
		c.CloseWithError(network.ConnGated)
		return
	}
	select {
	case l.out <- &conn{CapableConn: c, transport: l.transport, session: session}:
	case <-ctx.Done():
		c.Close()
	}
}

// Accept returns the next admitted connection.
func (l *listener) Accept() (transport.CapableConn, error) {
	select {
	case c := <-l.out:
		return c, nil
	case <-l.done:
		return nil, l.err
	}
}

// Close stops listening, drops the connections that are still pending and
// returns when none of them is left. Delivered connections stay open.
func (l *listener) Close() error {
	l.stop()
	err := l.Listener.Close()
	<-l.done
	if errors.Is(err, transport.ErrListenerClosed) {
		return nil
	}
	return err
}
