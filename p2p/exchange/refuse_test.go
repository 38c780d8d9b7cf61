package exchange

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// Absent, forbidden, unreadable, malformed, and a grant that does not hold at
// all: to the peer they are the same bytes.
func TestRefusalsAreTheSameBytes(t *testing.T) {
	m := newMemory()
	here, malformed := addObject(t, m, leafSize), addObject(t, m, 10)
	m.blocks[malformed.address] = []byte("not a manifest")
	absent := addObject(t, newMemory(), 10)
	var forbidAll atomic.Bool
	var forbid atomic.Bool
	no := errors.New("no")
	p := serve(t, m, &policy{
		open: func(network.Conn, *Request) error {
			if forbidAll.Load() {
				return no
			}
			return nil
		},
		allows: func(cid.Cid) error {
			if forbid.Load() {
				return no
			}
			return nil
		},
	}, Limits{})
	want := []byte{statusRefused, statusRefused}
	if got := p.ask(t, absent.whole(), absent.whole()); !bytes.Equal(got, want) {
		t.Errorf("absent: %x, want %x", got, want)
	}
	if got := p.ask(t, malformed.whole(), malformed.whole()); !bytes.Equal(got, want) {
		t.Errorf("malformed: %x, want %x", got, want)
	}
	control := p.ask(t, here.whole(), here.whole())
	if len(control) < 2*leafSize {
		t.Errorf("the control got %d bytes", len(control))
	}
	forbid.Store(true)
	if got := p.ask(t, here.whole(), here.ranges()); !bytes.Equal(got, want) {
		t.Errorf("forbidden: %x, want %x", got, want)
	}
	forbidAll.Store(true)
	if got := p.ask(t, here.whole(), absent.whole()); !bytes.Equal(got, want) {
		t.Errorf("refused as a whole: %x, want %x", got, want)
	}
}

// pipe is a network.Stream in memory: it delivers a request and takes the
// response, at most room bytes of it.
type pipe struct {
	network.Stream
	request *bytes.Reader

	mu       sync.Mutex
	room     int // -1: unlimited
	response []byte
	wrote    []time.Time // of each write that was taken
	deadline time.Time
	ended    string
}

func newPipe(t testing.TB, room int, items ...Item) *pipe {
	t.Helper()
	req := Request{Items: items}
	body, err := req.encode()
	if err != nil {
		t.Fatal(err)
	}
	return &pipe{request: bytes.NewReader(framed(body)), room: room}
}

type pipeConn struct{ network.Conn }

func (pipeConn) RemotePeer() peer.ID { return "receiver" }

type timeout struct{}

func (timeout) Error() string   { return "deadline reached" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(b)
	if p.room >= 0 {
		n = min(n, p.room)
		p.room -= n
	}
	p.response = append(p.response, b[:n]...)
	p.wrote = append(p.wrote, time.Now())
	if n == len(b) {
		return n, nil
	}
	time.Sleep(time.Until(p.deadline))
	return n, timeout{}
}

func (p *pipe) end(how string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == "" {
		p.ended = how
	}
	return nil
}

func (p *pipe) Read(b []byte) (int, error)         { return p.request.Read(b) }
func (p *pipe) SetReadDeadline(time.Time) error    { return nil }
func (p *pipe) SetWriteDeadline(t time.Time) error { p.deadline = t; return nil }
func (p *pipe) Close() error                       { return p.end("closed") }
func (p *pipe) Conn() network.Conn                 { return pipeConn{} }
func (p *pipe) ResetWithError(c network.StreamErrorCode) error {
	if c == codeStopped {
		return p.end("stopped")
	}
	return p.end("reset")
}

// slow is a source that takes its time to find what it has.
type slow struct {
	*memory
	found time.Duration
}

func (s slow) Get(ctx context.Context, c cid.Cid, into []byte) ([]byte, error) {
	data, err := s.memory.Get(ctx, c, into)
	if err == nil {
		time.Sleep(s.found)
	}
	return data, err
}

// The moment at which a refusal leaves does not tell whether the object was
// found and judged before. In a bubble of fake time it is the same to the
// nanosecond; without the grid it is not, which is the control.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	m := newMemory()
	here, absent := addObject(t, m, 10), addObject(t, newMemory(), 10)
	took := func(tick time.Duration, o object) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			g := &policy{allows: func(cid.Cid) error {
				time.Sleep(3 * time.Millisecond)
				return errors.New("no")
			}}
			p := newPipe(t, -1, o.whole(), o.whole())
			start := time.Now()
			NewServer(slow{m, 500 * time.Microsecond}, g, nil, Limits{RefusalTick: tick}).Handle(p)
			if !bytes.Equal(p.response, []byte{statusRefused, statusRefused}) || len(p.wrote) != 1 {
				t.Errorf("response %x in %d writes", p.response, len(p.wrote))
			}
			d = p.wrote[0].Sub(start)
		})
		return d
	}
	if a, b := took(0, absent), took(0, here); a != b {
		t.Errorf("absent took %v, forbidden %v", a, b)
	}
	if a, b := took(1, absent), took(1, here); a == b {
		t.Errorf("without the grid both took %v: the test sees no difference", a)
	}
}

// A receiver that stops reading holds the holder up for its write timeout, and
// costs it no more memory than the read-ahead.
func TestReceiverThatStopsReading(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 20*leafSize)
	synctest.Test(t, func(t *testing.T) {
		m.read = nil
		p := newPipe(t, 2*leafSize, o.whole())
		start := time.Now()
		NewServer(m, &policy{}, nil, Limits{WriteTimeout: 7 * time.Second}).Handle(p)
		if got := time.Since(start); got != 7*time.Second {
			t.Errorf("the holder gave up after %v", got)
		}
		if p.ended != "reset" {
			t.Errorf("the stream was %s", p.ended)
		}
		// 2 leaves went through; one more is being written, 4 MiB are read
		// ahead, one waits for room, and the 4 small blocks and the nonce.
		if n := len(m.read); n > 5+2+1+4+1 {
			t.Errorf("%d blocks were read for 2 leaves that went through", n)
		}
	})
	// The control: with room there is nothing to give up.
	p := newPipe(t, -1, o.whole())
	NewServer(m, &policy{}, nil, Limits{}).Handle(p)
	if p.ended != "closed" || int64(len(p.response)) < o.size {
		t.Errorf("with room the stream was %s after %d bytes", p.ended, len(p.response))
	}
}

// A revoked receiver cannot keep its place by not reading: the holder asks the
// lease while it waits, and hangs up long before the write timeout.
func TestRevokedWhileStalled(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 5*leafSize)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		g := &policy{live: func() error {
			if time.Since(start) > 2*time.Second {
				return errors.New("revoked")
			}
			return nil
		}}
		p := newPipe(t, leafSize, o.whole())
		NewServer(m, g, nil, Limits{WriteTimeout: time.Hour}).Handle(p)
		if got := time.Since(start); got > 3*time.Second {
			t.Errorf("the stream stayed open for %v", got)
		}
		if p.ended != "stopped" {
			t.Errorf("the stream was %s", p.ended)
		}
	})
}

// One peer does not take the places of the others, and a place is free again
// when its request is over.
func TestStreamsAreLimited(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 10)
	entered, release := make(chan struct{}), make(chan struct{})
	g := &policy{open: func(_ network.Conn, r *Request) error {
		if len(r.Items) == 2 {
			entered <- struct{}{}
			<-release
		}
		return nil
	}}
	p := serve(t, m, g, Limits{StreamsPerPeer: 2, Streams: 3})
	other := newHost(t)
	q := pair{p.holder, other}
	q.over(t, "tcp")
	results := make(chan error, 3)
	hold := func(p pair) {
		go func() {
			_, err := p.fetch((&got{}).sink, o.whole(), o.whole())
			results <- err
		}()
		<-entered
	}
	one := func(p pair) error {
		_, err := p.fetch(func(Block) error { return nil }, o.whole())
		return err
	}
	hold(p)
	if err := one(p); err != nil {
		t.Errorf("second stream of a peer: %v", err)
	}
	hold(p)
	if err := one(p); !errors.Is(err, ErrUnavailable) {
		t.Errorf("third stream of a peer: %v", err)
	}
	if err := one(q); err != nil {
		t.Errorf("another peer: %v", err)
	}
	hold(q)
	if err := one(q); !errors.Is(err, ErrUnavailable) {
		t.Errorf("fourth stream in all: %v", err)
	}
	close(release)
	for range 3 {
		if err := <-results; err != nil {
			t.Errorf("a held request: %v", err)
		}
	}
	if err := one(p); err != nil {
		t.Errorf("after all ended: %v", err)
	}
}

// The lease is asked before every block. Whenever it says no, nothing but the
// end mark follows, and what waited is dropped. The control is the last round,
// in which the lease never says no.
func TestNoBlockAfterTheLeaseDies(t *testing.T) {
	m := newMemory()
	items := []Item{addObject(t, m, 10).whole(), addObject(t, m, leafSize).whole(), addObject(t, m, 10).whole()}
	full := newPipe(t, -1, items...)
	NewServer(m, &policy{}, nil, Limits{}).Handle(full)
	finished := false
	for death := 1; !finished; death++ {
		p := newPipe(t, -1, items...)
		asked, lastSeen := 0, -1
		g := &policy{live: func() error {
			if asked++; asked < death {
				return nil
			}
			if lastSeen < 0 {
				lastSeen = len(p.response)
			}
			return errors.New("revoked")
		}}
		NewServer(m, g, nil, Limits{}).Handle(p)
		finished = lastSeen < 0
		if finished {
			if asked < 15 || !bytes.Equal(p.response, full.response) {
				t.Errorf("the control asked %d times and sent %d bytes", asked, len(p.response))
			}
			break
		}
		sent, tail := p.response[:lastSeen], p.response[lastSeen:]
		if !bytes.HasPrefix(full.response, sent) {
			t.Errorf("death %d: what came before is not a prefix", death)
		}
		switch mark := []byte{0xFF, 0xFF, 0xFF, 0xFF, endStopped}; {
		case p.ended == "closed" && bytes.Equal(tail, mark):
		case p.ended == "stopped" && len(tail) == 0:
		default:
			t.Errorf("death %d: the stream was %s and %d bytes followed", death, p.ended, len(tail))
		}
		checkReceiverStops(t, items, p)
	}
}

// What waits in the buffer is not sent once the lease has died, although it was
// alive when it went in.
func TestLeaseDiesWhileABlockWaits(t *testing.T) {
	var dead error
	p := newPipe(t, -1, Item{Address: someAddress()})
	out := newOutbox(p, Limits{}.withDefaults())
	out.lease = &policy{live: func() error { return dead }}
	if err := out.put(piece{kind: pieceFirst, data: []byte("a block")}); err != nil {
		t.Fatal(err)
	}
	dead = errors.New("revoked")
	if err := out.idle(); !errors.Is(err, errStopped) || len(p.response) != 0 {
		t.Errorf("%v, and %q was sent", err, p.response)
	}
	dead = nil // the control
	if err := out.idle(); err != nil || !bytes.Contains(p.response, []byte("a block")) {
		t.Errorf("%v, and %q was sent", err, p.response)
	}
}

// A large block is not one act: a lease that dies within it cuts it off.
func TestLeaseDiesWithinABlock(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, leafSize)
	p := newPipe(t, -1, o.whole())
	const at = leafSize / 2
	g := &policy{live: func() error {
		if len(p.response) > at {
			return errors.New("revoked")
		}
		return nil
	}}
	NewServer(m, g, nil, Limits{}).Handle(p)
	if n := len(p.response); n > at+chunkSize || p.ended != "stopped" {
		t.Errorf("%d bytes came, the stream was %s", n, p.ended)
	}
}

// checkReceiverStops reads a response that ended early as a receiver does.
func checkReceiverStops(t *testing.T, items []Item, p *pipe) {
	t.Helper()
	var end error = &network.StreamError{Remote: true, ErrorCode: codeStopped}
	if p.ended == "closed" {
		end = nil
	}
	res, err := receive(items, p.response, end, (&got{}).sink)
	if !errors.Is(err, ErrRevoked) || res.Done[len(items)-1] {
		t.Errorf("the receiver says %v, %+v", err, res)
	}
}

// A transfer over a real connection, of either transport, stops when the lease
// dies.
func TestRevokedInMidTransfer(t *testing.T) {
	for _, transport := range []string{"tcp", "quic-v1"} {
		t.Run(transport, func(t *testing.T) { revokeInMidTransfer(t, transport) })
	}
}

func revokeInMidTransfer(t *testing.T, transport string) {
	m := newMemory()
	o := addObject(t, m, 30*leafSize)
	var revoked atomic.Bool
	p := serve(t, m, &policy{live: func() error {
		if revoked.Load() {
			return errors.New("revoked")
		}
		return nil
	}}, Limits{})
	p.over(t, transport)
	leaves := 0
	res, err := p.fetch(func(b Block) error {
		if b.Kind == Leaf {
			if leaves++; leaves == 3 {
				revoked.Store(true)
			}
		}
		return nil
	}, o.whole())
	if !errors.Is(err, ErrRevoked) || res.Done[0] || leaves == 31 {
		t.Errorf("%v after %d leaves, %+v", err, leaves, res)
	}
}

var _ envelope.Sink = (*memory)(nil)
