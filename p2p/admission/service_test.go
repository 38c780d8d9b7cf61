package admission

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
)

// deskFunc is a desk.
type deskFunc func(ctx context.Context, remote peer.ID, request []byte, verified func()) ([]byte, error)

func (f deskFunc) Answer(ctx context.Context, remote peer.ID, request []byte, verified func()) ([]byte, error) {
	return f(ctx, remote, request, verified)
}

var errNotOwed = errors.New("not owed an answer")

// mirror answers a request with itself, but for "no".
var mirror = deskFunc(func(_ context.Context, _ peer.ID, request []byte, verified func()) ([]byte, error) {
	if string(request) == "no" {
		return nil, errNotOwed
	}
	verified()
	return request, nil
})

// withDesk is a member with a desk, and its address.
func (n node) withDesk(c club, desk Desk, change func(*Config)) Config {
	cfg := Config{Gate: member{c, c.credential(n.id)}, LocalNetwork: true, Limits: patient, Desk: desk}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// TestADeskAnswersBeforeAdmission: a peer without a credential gets one answer and
// no connection.
func TestADeskAnswersBeforeAdmission(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a, newcomer := newClub(t), newNode(t), newNode(t)
			var asked peer.ID
			desk := deskFunc(func(ctx context.Context, remote peer.ID, request []byte, verified func()) ([]byte, error) {
				asked = remote
				return mirror(ctx, remote, request, verified)
			})
			tr := a.wrapped(t, addr, a.withDesk(c, desk, nil))
			at, accepted := listening(t, tr, addr)
			asks := newcomer.wrapped(t, addr, Config{Gate: member{c, nil}, Limits: patient})
			for _, request := range [][]byte{{}, []byte("hello"), make([]byte, MaxRequest)} {
				got, err := asks.Ask(background(t), at, a.id, request)
				if err != nil || !bytes.Equal(got, request) {
					t.Errorf("a request of %d bytes: %d bytes, %v", len(request), len(got), err)
				}
			}
			if asked != newcomer.id {
				t.Errorf("the desk was told that %s asks", asked)
			}
			if got, err := asks.Ask(background(t), at, a.id, []byte("no")); !errors.Is(err, ErrNoAnswer) || got != nil {
				t.Errorf("refused: %q, %v", got, err)
			}
			if _, err := asks.Ask(background(t), at, a.id, make([]byte, MaxRequest+1)); !errors.Is(err, ErrRequestSize) {
				t.Errorf("a request that is too long: %v", err)
			}
			if _, err := asks.Dial(background(t), at, a.id); err == nil {
				t.Error("who was answered is admitted")
			}
			if len(accepted) != 0 {
				t.Error("a connection for a service was delivered")
			}
			if _, err := asks.Ask(background(t), at, newNode(t).id, nil); err == nil {
				t.Error("another peer's answer is taken")
			}
		})
	}
}

func TestTheLongestAnswerArrivesWhole(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a := newClub(t), newNode(t)
			size := MaxAnswer
			desk := deskFunc(func(context.Context, peer.ID, []byte, func()) ([]byte, error) { return make([]byte, size), nil })
			at, _ := listening(t, a.wrapped(t, addr, a.withDesk(c, desk, nil)), addr)
			asks := newNode(t).wrapped(t, addr, Config{Gate: member{c, nil}, Limits: patient})
			if got, err := asks.Ask(background(t), at, a.id, nil); err != nil || len(got) != size {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			size++
			if _, err := asks.Ask(background(t), at, a.id, nil); !errors.Is(err, ErrNoAnswer) {
				t.Errorf("a longer one: %v", err)
			}
		})
	}
}

// TestAStrangerHearsNothingFromADesk: whatever is not a well-formed request that is
// owed an answer gets no byte, and neither does anything on a node without a desk.
func TestAStrangerHearsNothingFromADesk(t *testing.T) {
	frame := func(length uint32, body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte(entering), length), body...)
	}
	for name, addr := range everyTransport {
		for what, c := range map[string]struct {
			desk  Desk
			first []byte
			said  string
		}{
			"not owed an answer": {mirror, frame(2, "no"), ""},
			"an oversize length": {mirror, frame(MaxRequest+1, ""), ""},
			"half a request":     {mirror, frame(9, "half"), ""},
			"only the opening":   {mirror, []byte(entering), ""},
			"a mixed opening":    {mirror, append([]byte(opening[:11]), entering[11:]...), ""},
			"no desk":            {nil, frame(2, "hi"), ""},
			"control":            {mirror, frame(2, "hi"), "\x00\x00\x00\x02hi"},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				club, a := newClub(t), newNode(t)
				at, accepted := listening(t, a.wrapped(t, addr, a.withDesk(club, c.desk, func(cfg *Config) {
					cfg.Limits = Limits{Timeout: 300 * time.Millisecond}
				})), addr)
				conn, s := stranger(t, addr, at, a.id)
				if _, err := s.Write(c.first); err != nil {
					t.Fatal(err)
				}
				if got := said(s); string(got) != c.said {
					t.Errorf("it was told %q, want %q", got, c.said)
				}
				if second, err := conn.OpenStream(background(t)); err == nil { // one request a connection
					second.Write(frame(2, "hi"))
					if got := said(second); len(got) != 0 {
						t.Errorf("a second request was told %q", got)
					}
				}
				if len(accepted) != 0 {
					t.Error("a stranger's connection was delivered")
				}
			})
		}
	}
}

// TestWhoIsOwedAnAnswerTakesNoStrangersPlace, and everybody else does, however long
// the desk thinks.
func TestWhoIsOwedAnAnswerTakesNoStrangersPlace(t *testing.T) {
	c, a := newClub(t), newNode(t)
	thinking, done := make(chan struct{}), make(chan struct{})
	desk := deskFunc(func(_ context.Context, _ peer.ID, request []byte, verified func()) ([]byte, error) {
		if string(request) == "owed" {
			verified()
			verified() // once or twice is the same
		}
		thinking <- struct{}{}
		<-done
		return nil, errNotOwed
	})
	tr := a.wrapped(t, onTCP, a.withDesk(c, desk, nil))
	at, _ := listening(t, tr, onTCP)
	asks := newNode(t).wrapped(t, onTCP, Config{Gate: member{c, nil}, Limits: patient})
	for request, want := range map[string]int{"owed": 0, "stranger": 1} {
		ended := make(chan struct{})
		go func() {
			asks.Ask(background(t), at, a.id, []byte(request))
			close(ended)
		}()
		<-thinking
		if got := tr.admitter.Pending(); got != want {
			t.Errorf("%s: %d places are taken, want %d", request, got, want)
		}
		done <- struct{}{}
		<-ended
		for ctx := background(t); tr.admitter.Pending() != 0; runtime.Gosched() {
			if ctx.Err() != nil {
				t.Fatal("the place is not given back")
			}
		}
	}
	for ctx := background(t); len(tr.admitter.answering) != 0; runtime.Gosched() {
		if ctx.Err() != nil {
			t.Fatal("the answer's place is not given back")
		}
	}
}

// TestAnAddressAsksAtAPace over real sockets; loopback in a local network may ask
// as often as it likes.
func TestAnAddressAsksAtAPace(t *testing.T) {
	for _, local := range []bool{false, true} {
		c, a := newClub(t), newNode(t)
		at, _ := listening(t, a.wrapped(t, onTCP, a.withDesk(c, mirror, func(cfg *Config) {
			cfg.LocalNetwork, cfg.Limits.RequestsPerAddress = local, 2
		})), onTCP)
		asks := newNode(t).wrapped(t, onTCP, Config{Gate: member{c, nil}, Limits: patient})
		answered := 0
		for range 5 {
			if _, err := asks.Ask(background(t), at, a.id, []byte("hi")); err == nil {
				answered++
			}
		}
		if want := map[bool]int{false: 2, true: 5}[local]; answered != want {
			t.Errorf("local %v: %d of 5 requests were answered, want %d", local, answered, want)
		}
	}
}

func TestPacesRefillAndAreBounded(t *testing.T) {
	p, now := paces{limits: Limits{RequestsPerAddress: 60}}, time.Unix(1_000_000, 0)
	one := netip.MustParsePrefix("192.0.2.1/32")
	count := func(at time.Time) (n int) {
		for p.take(one, at) {
			n++
		}
		return n
	}
	for after, want := range map[time.Duration]int{0: 60} {
		if got := count(now.Add(after)); got != want {
			t.Errorf("%d at first, want %d", got, want)
		}
	}
	if got := count(now.Add(10 * time.Second)); got != 10 {
		t.Errorf("%d after ten seconds, want 10", got)
	}
	if got := count(now.Add(-time.Hour)); got != 0 {
		t.Errorf("a clock that is set back gives %d", got)
	}
	if got := count(now.Add(time.Hour)); got != 60 {
		t.Errorf("%d after an hour, want 60", got)
	}
	now = now.Add(2 * time.Hour)
	for i := range maxPaces + 10 {
		p.take(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), now)
	}
	if len(p.left) > maxPaces {
		t.Errorf("%d addresses are remembered", len(p.left))
	}
	if p.take(netip.MustParsePrefix("198.51.100.1/32"), now) {
		t.Error("a flood of addresses pushes out those that have nothing left")
	}
	if !p.take(netip.MustParsePrefix("198.51.100.1/32"), now.Add(time.Hour)) {
		t.Error("those that have all their requests again are not forgotten")
	}
}

// FuzzDeskResponder: what reaches a desk is exactly what was framed, and nothing is
// written unless the desk answers.
func FuzzDeskResponder(f *testing.F) {
	frame := func(body string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte(entering), uint32(len(body))), body...)
	}
	f.Add(frame("hello"))
	f.Add(frame("no"))
	f.Add(frame(""))
	f.Add([]byte(entering))
	f.Add([]byte(opening))
	var seen []byte
	desk := deskFunc(func(ctx context.Context, p peer.ID, request []byte, verified func()) ([]byte, error) {
		seen = request
		return mirror(ctx, p, request, verified)
	})
	a, err := New(Config{Gate: passphrase("open sesame"), Desk: desk, LocalNetwork: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var s script
		s.Reader.Reset(input)
		seen = nil
		err := a.responderSteps(t.Context(), anyPeer{}, &s, newSession(), func() {})
		if seen != nil && !bytes.HasPrefix(input, frame(string(seen))) {
			t.Fatalf("the desk was shown %q", seen)
		}
		if got := s.written.Bytes(); len(got) > 0 && !bytes.HasPrefix(input, []byte(opening)) && !bytes.Equal(append([]byte(entering), got...), frame(string(seen))) {
			t.Fatalf("%q was written, error %v", got, err)
		}
	})
}

// anyPeer is a connection over loopback.
type anyPeer struct{ transport.CapableConn }

func (anyPeer) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast("/ip4/127.0.0.1/tcp/1") }

func (anyPeer) RemotePeer() peer.ID { return "" }

// TestAReplayedTranscriptIsOfNoUse: all that a member says when it comes, heard and
// said again by another peer, opens nothing; said again by itself, it does.
func TestAReplayedTranscriptIsOfNoUse(t *testing.T) {
	for name, addr := range everyTransport {
		t.Run(name, func(t *testing.T) {
			c, a, b, thief := newClub(t), newNode(t), newNode(t), newNode(t)
			at, accepted := listening(t, a.wrapped(t, addr, a.withDesk(c, mirror, nil)), addr)
			credential := c.credential(b.id)
			heard := append([]byte(opening), make([]byte, challenge)...)
			heard = append(binary.BigEndian.AppendUint16(heard, uint16(len(credential))), credential...)
			heard = append(heard, admitted)
			for _, who := range []node{b, thief, b} {
				conn, err := who.bare(t, addr).Dial(background(t), at, a.id)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				s, err := conn.OpenStream(background(t))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write(heard); err != nil {
					t.Fatal(err)
				}
				if who.id == b.id {
					<-accepted
				} else if got := said(s); len(got) != 0 || len(accepted) != 0 {
					t.Errorf("a thief was told %q", got)
				}
			}
		})
	}
}
