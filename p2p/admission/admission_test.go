package admission

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ttransport "github.com/libp2p/go-libp2p/p2p/transport/testsuite"
	ma "github.com/multiformats/go-multiaddr"
)

func TestWrappedTCPPassesTheTransportSuite(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	ttransport.SubtestTransport(t, a.member(t, c, onTCP), b.member(t, c, onTCP), onTCP, a.id)
}

func TestMembersShareTheSession(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a, b := newClub(t), newNode(t), newNode(t)
			at, accepted := listening(t, a.member(t, c, addr), addr)
			dialed, err := b.member(t, c, addr).Dial(background(t), at, a.id)
			if err != nil {
				t.Fatal(err)
			}
			defer dialed.Close()
			ours, theirs := sessionOf(t, dialed), sessionOf(t, <-accepted)
			if ours.Given() != theirs.Received() || theirs.Given() != ours.Received() {
				t.Error("the challenges did not cross")
			}
			if ours.Given() == ours.Received() || ours.Given() == [32]byte{} {
				t.Error("a challenge is not random")
			}
		})
	}
}

func TestEachConnectionHasItsOwnChallenges(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	at, _ := listening(t, a.member(t, c, onTCP), onTCP)
	tb := b.member(t, c, onTCP)
	seen := make(map[[32]byte]bool)
	for range 3 {
		dialed, err := tb.Dial(background(t), at, a.id)
		if err != nil {
			t.Fatal(err)
		}
		defer dialed.Close()
		s := sessionOf(t, dialed)
		seen[s.Given()], seen[s.Received()] = true, true
	}
	if len(seen) != 6 {
		t.Errorf("3 connections had %d different challenges, want 6", len(seen))
	}
}

// A credential that belongs to somebody else opens nothing; the control shows
// that only the gate's binding stands between.
func TestStolenCredentialIsRefused(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a, thief, victim := newClub(t), newNode(t), newNode(t), newNode(t)
			stolen := Config{Gate: member{c, c.credential(victim.id)}, LocalNetwork: true}
			at, _ := listening(t, a.member(t, c, addr), addr)
			_, err := thief.wrapped(t, addr, stolen).Dial(background(t), at, a.id)
			if !errors.Is(err, ErrNotAdmitted) {
				t.Errorf("error is %v, want ErrNotAdmitted", err)
			}

			control := Config{Gate: careless{member{c, c.credential(a.id)}}, LocalNetwork: true}
			at, _ = listening(t, a.wrapped(t, addr, control), addr)
			got, err := thief.wrapped(t, addr, stolen).Dial(background(t), at, a.id)
			if err != nil {
				t.Fatalf("control: a careless gate admits anybody, got %v", err)
			}
			got.Close()
		})
	}
}

// A member that meets a false node where it expected the club refuses it, and
// the false node never gets to use the connection.
func TestDialerRefusesAFalseResponder(t *testing.T) {
	c, impostor, b := newClub(t), newNode(t), newNode(t)
	false_ := Config{Gate: careless{member{c, []byte("trust me")}}, LocalNetwork: true}
	at, accepted := listening(t, impostor.wrapped(t, onTCP, false_), onTCP)
	_, err := b.member(t, c, onTCP).Dial(background(t), at, impostor.id)
	if !errors.Is(err, ErrRefused) {
		t.Errorf("error is %v, want ErrRefused", err)
	}
	select {
	case <-accepted:
		t.Error("the responder delivered a connection that the dialer had refused")
	default:
	}
}

func TestOversizeCredentialIsNeverSent(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	at, _ := listening(t, a.member(t, c, onTCP), onTCP)
	big := Config{Gate: member{c, make([]byte, MaxCredential+1)}, LocalNetwork: true}
	_, err := b.wrapped(t, onTCP, big).Dial(background(t), at, a.id)
	if !errors.Is(err, ErrCredentialSize) {
		t.Errorf("error is %v, want ErrCredentialSize", err)
	}
}

func TestLargestCredentialFits(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	open := Config{Gate: careless{member{c, make([]byte, MaxCredential)}}, LocalNetwork: true}
	at, _ := listening(t, a.wrapped(t, onTCP, open), onTCP)
	got, err := b.wrapped(t, onTCP, open).Dial(background(t), at, a.id)
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
}

// Whatever a stranger says first, it hears nothing and is hung up on.
func TestResponderSaysNothingToStrangers(t *testing.T) {
	garbage := append([]byte(opening), make([]byte, challenge)...)
	tooLong := binary.BigEndian.AppendUint16(bytes.Clone(garbage), MaxCredential+1)
	forged := append(binary.BigEndian.AppendUint16(bytes.Clone(garbage), 64), make([]byte, 64)...)
	openings := map[string][]byte{
		"nothing":            nil,
		"multistream":        []byte("\x13/multistream/1.0.0\n"),
		"http":               []byte("GET / HTTP/1.1\r\n\r\n"),
		"another version":    []byte("/cerebrum/admit/2\n"),
		"half an opening":    []byte(opening[:9]),
		"an oversize length": tooLong,
		"a forged signature": forged,
	}
	for name, addr := range everyTransport {
		for what, first := range openings {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				c, a := newClub(t), newNode(t)
				at, accepted := listening(t, a.wrapped(t, addr, Config{
					Gate: member{c, c.credential(a.id)}, LocalNetwork: true,
					Limits: Limits{Timeout: 300 * time.Millisecond},
				}), addr)
				_, s := stranger(t, addr, at, a.id)
				if first != nil {
					if _, err := s.Write(first); err != nil {
						t.Fatal(err)
					}
				}
				if got := said(s); len(got) != 0 {
					t.Errorf("a stranger was told %q", got)
				}
				if len(accepted) != 0 {
					t.Error("a stranger's connection was delivered")
				}
			})
		}
	}
}

// The control for the test above: the same bare dialer with a true credential is
// answered, so silence there is refusal and not a broken test.
func TestResponderAnswersATrueCredential(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a, b := newClub(t), newNode(t), newNode(t)
			at, accepted := listening(t, a.member(t, c, addr), addr)
			conn, err := b.bare(t, addr).Dial(background(t), at, a.id)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			s, err := conn.OpenStream(background(t))
			if err != nil {
				t.Fatal(err)
			}
			credential := c.credential(b.id)
			hello := append([]byte(opening), make([]byte, challenge)...)
			hello = append(binary.BigEndian.AppendUint16(hello, uint16(len(credential))), credential...)
			if _, err := s.Write(hello); err != nil {
				t.Fatal(err)
			}
			var theirs Session
			answer, err := readShown(s, &theirs)
			if err != nil || !bytes.Equal(answer, c.credential(a.id)) {
				t.Fatalf("answer is %x, error %v", answer, err)
			}
			if _, err := s.Write([]byte{admitted}); err != nil {
				t.Fatal(err)
			}
			if got := sessionOf(t, <-accepted); got.Given() != theirs.Received() {
				t.Error("the challenge differs from the session's")
			}
		})
	}
}

// One attempt: after a wrong opening, a right one on a second stream is too late.
func TestThereIsNoSecondAttempt(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	at, accepted := listening(t, a.member(t, c, onTCP), onTCP)
	conn, err := b.bare(t, onTCP).Dial(background(t), at, a.id)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first, err := conn.OpenStream(background(t))
	if err != nil {
		t.Fatal(err)
	}
	first.Write([]byte("/cerebrum/admit/9\n"))
	said(first)
	second, err := conn.OpenStream(background(t))
	if err == nil {
		second.Write([]byte(opening))
		if got := said(second); len(got) != 0 {
			t.Errorf("a second stream was told %q", got)
		}
	}
	if len(accepted) != 0 {
		t.Error("the connection was delivered")
	}
}

// The dialer answers last; one that stays silent there is not delivered.
func TestResponderWaitsForTheDialersVerdict(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	tr := a.wrapped(t, onTCP, Config{
		Gate: member{c, c.credential(a.id)}, LocalNetwork: true,
		Limits: Limits{Timeout: 300 * time.Millisecond},
	})
	at, accepted := listening(t, tr, onTCP)
	conn, err := b.bare(t, onTCP).Dial(background(t), at, a.id)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := conn.OpenStream(background(t))
	if err != nil {
		t.Fatal(err)
	}
	credential := c.credential(b.id)
	hello := append([]byte(opening), make([]byte, challenge)...)
	s.Write(append(binary.BigEndian.AppendUint16(hello, uint16(len(credential))), credential...))
	said(s) // until the deadline closes it
	if len(accepted) != 0 {
		t.Error("a half admitted connection was delivered")
	}
}

func TestSimultaneousDials(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a, b := newClub(t), newNode(t), newNode(t)
			ta, tb := a.member(t, c, addr), b.member(t, c, addr)
			atA, acceptedA := listening(t, ta, addr)
			atB, acceptedB := listening(t, tb, addr)
			const rounds = 5
			var wg sync.WaitGroup
			dial := func(tr *Transport, at ma.Multiaddr, id peer.ID) {
				got, err := tr.Dial(background(t), at, id)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { got.Close() })
			}
			for range rounds {
				wg.Go(func() { dial(ta, atB, b.id) })
				wg.Go(func() { dial(tb, atA, a.id) })
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			for range rounds {
				for _, accepted := range []<-chan transport.CapableConn{acceptedA, acceptedB} {
					got := <-accepted
					defer got.Close()
				}
			}
		})
	}
}

// In a coordinated connect both sides dial the same connection: the one that
// plays the server must listen, or both would speak first and hang.
func TestCoordinatedConnectHasOneDialer(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	ta, tb := a.member(t, c, onQUIC), b.member(t, c, onQUIC)
	atA, _ := listening(t, ta, onQUIC)
	atB, _ := listening(t, tb, onQUIC)
	ctx := background(t)
	var wg sync.WaitGroup
	var server, client transport.CapableConn
	var serverErr, clientErr error
	wg.Go(func() {
		server, serverErr = ta.Dial(network.WithSimultaneousConnect(ctx, false, "test"), atB, b.id)
	})
	wg.Go(func() {
		client, clientErr = tb.Dial(network.WithSimultaneousConnect(ctx, true, "test"), atA, a.id)
	})
	wg.Wait()
	if clientErr != nil {
		t.Fatal(clientErr)
	}
	defer client.Close()
	if serverErr != nil {
		// The client was faster than the server's first step and arrived as an
		// ordinary connection; there is nothing coordinated to look at.
		t.Skip(serverErr)
	}
	defer server.Close()
	if sessionOf(t, server).Given() != sessionOf(t, client).Received() {
		t.Error("the two ends are not of one session")
	}
}

// Silent strangers fill every place again and again; a member still gets in.
func TestMemberGetsInThroughAFlood(t *testing.T) {
	c, a, b := newClub(t), newNode(t), newNode(t)
	tr := a.member(t, c, onTCP)
	at, accepted := listening(t, tr, onTCP)
	crowd := newNode(t).bare(t, onTCP)
	for range 40 {
		silent, err := crowd.Dial(background(t), at, a.id)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	got, err := b.member(t, c, onTCP).Dial(background(t), at, a.id)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if in := <-accepted; in.RemotePeer() != b.id {
		t.Errorf("%s got in, want the member", in.RemotePeer())
	}
	if n := tr.admitter.Pending(); n > 16 {
		t.Errorf("%d connections are pending, want at most 16", n)
	}
}

// Closing a listener takes the pending connections with it.
func TestCloseLeavesNothingBehind(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a := newClub(t), newNode(t)
			tr := a.member(t, c, addr)
			l, err := tr.Listen(ma.StringCast(addr))
			if err != nil {
				t.Fatal(err)
			}
			_, s := stranger(t, addr, l.Multiaddr(), a.id)
			s.Write([]byte(opening[:3]))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if got := said(s); len(got) != 0 {
				t.Errorf("the stranger was told %q", got)
			}
			if n := tr.admitter.Pending(); n != 0 {
				t.Errorf("%d connections are still pending", n)
			}
			buf := make([]byte, 1<<20)
			stacks := string(buf[:runtime.Stack(buf, true)])
			if strings.Contains(stacks, "admission.(*listener)") {
				t.Errorf("a goroutine of the listener is left:\n%s", stacks)
			}
			if _, err := l.Accept(); err == nil {
				t.Error("a closed listener accepts")
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	c, deaf, b := newClub(t), newNode(t), newNode(t)
	// The other side accepts and never answers: it has no admission at all.
	at, accepted := listening(t, deaf.bare(t, onTCP), onTCP)
	ctx, cancel := context.WithCancel(background(t))
	go func() {
		<-accepted
		cancel()
	}()
	_, err := b.member(t, c, onTCP).Dial(ctx, at, deaf.id)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestNewNeedsAGate(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an admitter without a gate was made")
	}
}

func BenchmarkDial(b *testing.B) {
	c, a, d := newClub(b), newNode(b), newNode(b)
	for name, addr := range everyTransport {
		run := func(name string, listen, dial transport.Transport) {
			b.Run(name, func(b *testing.B) {
				at, accepted := listening(b, listen, addr)
				for b.Loop() {
					got, err := dial.Dial(context.Background(), at, a.id)
					if err != nil {
						b.Fatal(err)
					}
					(<-accepted).Close()
					got.Close()
				}
			})
		}
		run(name+"/bare", a.bare(b, addr), d.bare(b, addr))
		run(name+"/admitted", a.member(b, c, addr), d.member(b, c, addr))
	}
}
