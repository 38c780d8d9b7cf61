package host

import (
	"flag"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// flood is how many connections and streams hostile peers open. The catalogue's
// number is 10000.
var flood = flag.Int("flood", 1500, "connections, and streams, of the tests of exhaustion")

// limited is a member with limits, for peers from anywhere or for loopback alone.
func limited(t *testing.T, c *club, local bool, l Limits) *Host {
	t.Helper()
	key, id := newKey(t)
	h, err := New(Config{Key: key, Gate: member{c, id}, LocalNetwork: local, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	h.Libp2p().SetStreamHandler(echo, func(s network.Stream) {
		defer s.Close()
		io.Copy(s, s)
	})
	return h
}

// echoes asks a member for a word.
func echoes(t *testing.T, from, to *Host) error {
	t.Helper()
	if err := from.Connect(background(t), info(to)); err != nil {
		return err
	}
	s, err := from.Libp2p().NewStream(background(t), to.ID(), echo)
	if err != nil {
		return err
	}
	defer s.Reset()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := s.Write([]byte("word")); err != nil {
		return err
	}
	_, err = io.ReadFull(s, make([]byte, 4))
	return err
}

// descriptors is how many this process has open, or -1.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

// besiege opens n TCP connections from as many addresses as there are, and keeps them.
// Every other one sends something. It returns those that could be opened.
func besiege(t *testing.T, h *Host, n, addresses int) (open []net.Conn) {
	t.Helper()
	_, at, err := manet.DialArgs(by(h, multiaddr.P_TCP).Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				from := i % addresses
				d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(from>>8), byte(from))}}
				c, err := d.Dial("tcp", at)
				if err != nil {
					continue // the backlog is full, as it should be
				}
				if i%2 == 0 {
					c.Write([]byte("\x13/multistream/1.0.0\n")) // whatever becomes of it
				}
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return open
}

// TestTenThousandConnections (RE-01): strangers' connections, from one address or from
// a thousand, hold a bounded number of descriptors, and none for long; a member comes in
// among them. The control is a member with larger limits, where they hold more.
func TestTenThousandConnections(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system has no thousand loopback addresses, or does not count descriptors")
	}
	generous := Limits{HalfOpen: 1 << 20, ConnectionsPerAddress: 1 << 20, Connections: 1 << 20}
	for _, f := range []struct {
		name      string
		addresses int
		limits    Limits
		most      int
	}{
		{"one address", 1, Limits{}, 64},
		{"many addresses", 1000, Limits{}, 256},
		{"control", 1000, generous, 0},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := newClub(t)
			h, friend := limited(t, c, false, f.limits), limited(t, c, false, Limits{})
			before := descriptors()
			open := besiege(t, h, *flood, f.addresses)
			defer func() {
				for _, c := range open {
					c.Close()
				}
			}()
			held := descriptors() - before - len(open)
			t.Logf("%d were opened, %d of them are held", len(open), held)
			if f.most > 0 && held > f.most+16 {
				t.Errorf("%d are held, at most %d should be", held, f.most)
			}
			if f.most == 0 {
				if held <= 256+16 {
					t.Errorf("%d are held without limits: the test sees nothing", held)
				}
				return
			}
			if err := echoes(t, friend, h); err != nil {
				t.Errorf("a member does not come in: %v", err)
			}
			for _, c := range open { // each is ended by the other side, or the test hangs
				c.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.Copy(io.Discard, c); os.IsTimeout(err) {
					t.Fatal("a connection that says nothing is kept")
				}
			}
			if h.Tripped() != 0 {
				t.Errorf("tripped %d times", h.Tripped())
			}
		})
	}
}

// TestConnectionsOfOneMember (RE-01): who was admitted has its share of connections,
// however often it comes.
func TestConnectionsOfOneMember(t *testing.T) {
	for _, most := range []int{8, 64} { // the second is the control
		c := newClub(t)
		h := limited(t, c, true, Limits{ConnectionsPerPeer: most})
		key, id := newKey(t)
		for range 20 { // as many processes with one key
			g, err := New(Config{Key: key, Gate: member{c, id}, LocalNetwork: true, Limits: patient})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { g.Close() })
			g.Connect(background(t), by(h, multiaddr.P_TCP)) // or not
		}
		if got := len(h.Libp2p().Network().ConnsToPeer(id)); (got > 8) == (most == 8) {
			t.Errorf("%d connections of one peer, of which %d are allowed", got, most)
		}
		if err := echoes(t, running(t, c, everyGuard), h); err != nil {
			t.Errorf("another member: %v", err)
		}
	}
}

// TestTenThousandStreams (RE-02): a member opens streams without end, closes its half
// and reads nothing, while the handler would write for ever. It gets its share of
// streams and memory, another member is answered, and with its connection everything
// ends. The control has larger limits.
func TestTenThousandStreams(t *testing.T) {
	const chatter = "/test/chatter/1"
	for _, l := range []Limits{{}, {StreamsPerPeer: 1 << 20, StreamsPerProtocol: 1 << 20, MemoryPerPeer: 1 << 40}} {
		c := newClub(t)
		h := limited(t, c, true, l)
		var at atomic.Int64 // handlers at work
		ended := make(chan struct{}, *flood)
		h.Libp2p().SetStreamHandler(chatter, func(s network.Stream) {
			at.Add(1)
			defer func() { at.Add(-1); ended <- struct{}{} }()
			defer s.Reset()
			for piece := make([]byte, 64<<10); ; {
				if _, err := s.Write(piece); err != nil {
					return
				}
			}
		})
		hostile := limited(t, c, true, Limits{StreamsPerPeer: 1 << 20, MemoryPerPeer: 1 << 40, StreamsPerProtocol: 1 << 20, Connections: 1 << 16})
		if err := hostile.Connect(background(t), by(h, multiaddr.P_TCP)); err != nil {
			t.Fatal(err)
		}
		for range *flood {
			s, err := hostile.Libp2p().NewStream(background(t), h.ID(), chatter)
			if err != nil {
				continue
			}
			s.CloseWrite() // and never read, never reset
		}
		var used network.ScopeStat
		if err := h.Libp2p().Network().ResourceManager().ViewPeer(hostile.ID(), func(s network.PeerScope) error {
			used = s.Stat()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d streams, %d MiB, %d handlers", used.NumStreamsInbound, used.Memory>>20, at.Load())
		bounded := used.NumStreamsInbound <= 256 && at.Load() <= 64 && used.Memory <= 64<<20
		if bounded != (l.StreamsPerPeer == 0) {
			t.Errorf("limits %+v: %d streams, %d bytes, %d handlers", l, used.NumStreamsInbound, used.Memory, at.Load())
		}
		// Without the limits so many may take all that there is.
		if err := echoes(t, running(t, c, everyGuard), h); err != nil && l.StreamsPerPeer == 0 {
			t.Errorf("another member: %v", err)
		}
		hostile.Close()
		until(t, "the streams end with the connection", func() bool { return at.Load() == 0 })
		if len(ended) == 0 {
			t.Error("no stream came")
		}
	}
}

// TestARelayIsNotUsedUp: a member reserves again and again, and has a relay open
// connections without end. It gets its share of them, and another member's way works.
// The control: as many connections of different members are let through.
func TestARelayIsNotUsedUp(t *testing.T) {
	const many = 12 // one peer may have 8 with another, and 16 through a relay
	for _, hostile := range []bool{true, false} {
		c := newClub(t)
		r := actor{of(c), Relays{Serve: true, Member: everybody}, everyGuard}.run(t)
		to := reachable(t, actor{of(c), Relays{Via: []peer.AddrInfo{info(r)}}, everyGuard}.run(t))
		key, id := newKey(t)
		got, refused := 0, map[string]bool{}
		for range many {
			if !hostile {
				key, id = newKey(t)
			}
			h, err := New(Config{Key: key, Gate: member{c, id}, LocalNetwork: true, Limits: patient})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.Close() })
			for range 3 {
				client.Reserve(background(t), h.Libp2p(), info(r)) // renews its one place, or is refused
			}
			if err := h.Connect(background(t), to); err != nil {
				refused[err.Error()] = true
			} else {
				got++
			}
		}
		if all := got == many; got == 0 || all == hostile {
			t.Errorf("hostile %v: %d of %d connections, refused with %v", hostile, got, many, refused)
		}
		if err := running(t, c, everyGuard).Connect(background(t), to); err != nil {
			t.Errorf("another member does not get through: %v", err)
		}
	}
}
