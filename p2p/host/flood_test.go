package host

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

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

// victimGuards says in the environment that this process is a victim, and whether it
// has its guards: see TestVictim.
const victimGuards = "CEREBRUM_TEST_VICTIM"

// TestVictim is no test: it is the process that strangers attack, so that its memory
// is its own. It tells where it listens, and then, for each line that it reads, how
// much memory it has and had at most, its connections, and those that wait.
func TestVictim(t *testing.T) {
	kind := os.Getenv(victimGuards)
	if kind == "" {
		t.Skip("it is started by another test")
	}
	on := everyGuard
	if kind == "none" {
		on = guards{}
	}
	key, id := newKey(t)
	h, err := build(Config{Key: key, Gate: member{newClub(t), id}, Desk: echoDesk{}, LocalNetwork: true}, on)
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	for _, a := range h.Addrs() {
		fmt.Printf("victim %s/p2p/%s\n", a, h.ID())
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		now, most := memory()
		fmt.Printf("victim memory %d %d %d %d\n", now, most, len(h.Libp2p().Network().Conns()), h.Pending())
	}
}

// memory is what this process has and had at most in memory, in bytes.
func memory() (now, most int64) {
	raw, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(raw)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			now = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			most = kib << 10
		}
	}
	return now, most
}

// victim is the process of TestVictim.
type victim struct {
	t     *testing.T
	in    io.Writer
	out   *bufio.Scanner
	addrs []peer.AddrInfo // by transport, TCP first
}

func startVictim(t *testing.T, kind string) *victim {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestVictim$")
	c.Env = append(os.Environ(), victimGuards+"="+kind)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // ends it
		c.Wait()
	})
	v := &victim{t: t, in: in, out: bufio.NewScanner(out)}
	for range 2 {
		info, err := peer.AddrInfoFromString(strings.TrimSpace(v.line("/")))
		if err != nil {
			t.Fatal(err)
		}
		v.addrs = append(v.addrs, *info)
	}
	return v
}

// line is the rest of the victim's next line with this beginning.
func (v *victim) line(begins string) string {
	v.t.Helper()
	for v.out.Scan() {
		if rest, ok := strings.CutPrefix(v.out.Text(), "victim "); ok && strings.HasPrefix(rest, begins) {
			return rest
		}
	}
	v.t.Fatal("the victim has ended")
	return ""
}

func (v *victim) state() (now, most int64, conns, pending int) {
	v.t.Helper()
	fmt.Fprintln(v.in)
	if _, err := fmt.Sscanf(v.line("memory"), "memory %d %d %d %d", &now, &most, &conns, &pending); err != nil {
		v.t.Fatal(err)
	}
	return now, most, conns, pending
}

// TestStrangersWhoPush (IA-03): 64 hostile connections, each with as many streams
// as it can open and as many bytes as it can push, cost no more than 64 MiB, and
// none of them is kept.
func TestStrangersWhoPush(t *testing.T) {
	if now, _ := memory(); now == 0 || testing.Short() {
		t.Skip("this system does not tell how much memory a process has, or there is no time")
	}
	v := startVictim(t, "all")
	before, _, _, _ := v.state()
	for i, name := range []string{"tcp", "quic"} {
		attack(t, v.addrs[i], 64, 2*time.Minute)
		_, most, conns, pending := v.state()
		t.Logf("%s: %d MiB more at most", name, (most-before)>>20)
		if most-before > 64<<20 {
			t.Errorf("%s: it took %d MiB more", name, (most-before)>>20)
		}
		if conns != 0 || pending != 0 {
			t.Errorf("%s: %d connections are kept, %d wait", name, conns, pending)
		}
	}
}

// TestStrangersWhoPushAnOpenNode is the control: where nothing stands before the
// swarm, the same strangers stay as long as they like.
func TestStrangersWhoPushAnOpenNode(t *testing.T) {
	v := startVictim(t, "none")
	for i, name := range []string{"tcp", "quic"} {
		s := stock(t)
		if err := s.Connect(background(t), v.addrs[i]); err != nil {
			t.Fatal(err)
		}
		if _, _, conns, _ := v.state(); conns == 0 {
			t.Errorf("%s: the control was hung up on", name)
		}
		s.Close()
	}
}

// attack has so many strangers push, and returns when all were hung up on. The time
// ends those that were not.
func attack(t *testing.T, to peer.AddrInfo, strangers int, within time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var hostile sync.WaitGroup
	for range strangers {
		s := stock(t)
		hostile.Go(func() { push(ctx, s, to) })
	}
	hostile.Wait()
	if ctx.Err() != nil {
		t.Error("strangers were not hung up on")
	}
}

// push connects as a stranger, opens streams and writes into all of them until it is
// hung up on.
func push(ctx context.Context, s libp2phost.Host, to peer.AddrInfo) {
	defer s.Close()
	if err := s.Connect(ctx, to); err != nil {
		return
	}
	var writing sync.WaitGroup
	for range 64 {
		stream, err := s.Network().NewStream(ctx, to.ID)
		if err != nil {
			break
		}
		deadline, _ := ctx.Deadline()
		stream.SetDeadline(deadline)
		writing.Go(func() {
			defer stream.Reset()
			for junk := make([]byte, 64<<10); ; {
				if _, err := stream.Write(junk); err != nil {
					return
				}
			}
		})
	}
	writing.Wait()
}

// BenchmarkAdmissionUnderAttack is how long an honest member needs to be admitted,
// from nothing to a connection, while 64 strangers connect again and again.
func BenchmarkAdmissionUnderAttack(b *testing.B) {
	for name, via := range transports {
		b.Run(name, func(b *testing.B) {
			c := newClub(b)
			key, id := newKey(b)
			h, err := New(Config{Key: key, Gate: member{c, id}, Desk: echoDesk{}, LocalNetwork: true})
			if err != nil {
				b.Fatal(err)
			}
			run(b, h)
			honest, to := running(b, c, everyGuard), by(h, via)
			ctx, cancel := context.WithCancel(b.Context())
			var hostile sync.WaitGroup
			for range 64 {
				s := stock(b)
				hostile.Go(func() {
					for ctx.Err() == nil {
						s.Network().(*swarm.Swarm).Backoff().Clear(to.ID)
						s.Connect(ctx, to)
					}
				})
			}
			for b.Loop() {
				for honest.Connect(b.Context(), to) != nil { // it lost its place to the crowd: it tries again
					honest.Libp2p().Network().(*swarm.Swarm).Backoff().Clear(to.ID)
				}
				b.StopTimer()
				honest.Drop(h.ID())
				b.StartTimer()
			}
			cancel()
			hostile.Wait()
		})
	}
}
