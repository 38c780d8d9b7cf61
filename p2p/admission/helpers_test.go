package admission

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

const (
	onTCP  = "/ip4/127.0.0.1/tcp/0"
	onQUIC = "/ip4/127.0.0.1/udp/0/quic-v1"
)

var everyTransport = map[string]string{"tcp": onTCP, "quic": onQUIC}

// club signs peer ids; its signature is the membership credential of the tests.
type club struct{ key ed25519.PrivateKey }

func newClub(t testing.TB) club {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return club{key}
}

func (c club) credential(p peer.ID) []byte { return ed25519.Sign(c.key, []byte(p)) }

// member is a gate that admits what the club signed for the remote peer.
type member struct {
	club club
	show []byte
}

func (m member) Credential() []byte  { return m.show }
func (m member) Barred(peer.ID) bool { return false }
func (m member) Check(remote peer.ID, credential []byte) error {
	if !ed25519.Verify(m.club.key.Public().(ed25519.PublicKey), []byte(remote), credential) {
		return errors.New("not signed by the club for this peer")
	}
	return nil
}

// careless is a gate that forgets to bind the credential to the peer.
type careless struct{ member }

func (careless) Check(peer.ID, []byte) error { return nil }

// patient keeps a crowded test machine from looking like a slow peer.
var patient = Limits{Timeout: time.Minute}

type node struct {
	key crypto.PrivKey
	id  peer.ID
}

func newNode(t testing.TB) node {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return node{key, id}
}

// bare is the transport that listens on addr, without admission.
func (n node) bare(t testing.TB, addr string) transport.Transport {
	t.Helper()
	if addr == onQUIC {
		cm, err := quicreuse.NewConnManager(quic.StatelessResetKey{}, quic.TokenGeneratorKey{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cm.Close() })
		tr, err := libp2pquic.NewTransport(n.key, cm, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	config := *yamux.DefaultTransport
	config.AcceptBacklog = 16
	muxers := []tptu.StreamMuxer{{ID: yamux.ID, Muxer: &config}}
	security, err := libp2ptls.New(libp2ptls.ID, n.key, muxers)
	if err != nil {
		t.Fatal(err)
	}
	upgrader, err := tptu.New([]sec.SecureTransport{security}, muxers, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := tcp.NewTCPTransport(upgrader, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (n node) wrapped(t testing.TB, addr string, cfg Config) *Transport {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a.Wrap(n.bare(t, addr))
}

func (n node) member(t testing.TB, c club, addr string) *Transport {
	t.Helper()
	return n.wrapped(t, addr, Config{
		Gate: member{c, c.credential(n.id)}, LocalNetwork: true,
		Limits: patient,
	})
}

// listening starts a listener and delivers what it accepts.
func listening(t testing.TB, tr transport.Transport, addr string) (ma.Multiaddr, <-chan transport.CapableConn) {
	t.Helper()
	l, err := tr.Listen(ma.StringCast(addr))
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan transport.CapableConn, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			out <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for {
			select {
			case c := <-out:
				c.Close()
			default:
				return
			}
		}
	})
	return l.Multiaddr(), out
}

func background(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func sessionOf(t testing.TB, c transport.CapableConn) *Session {
	t.Helper()
	var s *Session
	if !c.As(&s) || s == nil {
		t.Fatal("an admitted connection has no session")
	}
	return s
}

// stranger connects without admission and opens one stream.
func stranger(t testing.TB, addr string, to ma.Multiaddr, id peer.ID) (transport.CapableConn, network.MuxedStream) {
	t.Helper()
	c, err := newNode(t).bare(t, addr).Dial(background(t), to, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := c.OpenStream(background(t))
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// said is everything that the other side writes until it hangs up.
func said(s network.MuxedStream) []byte {
	s.SetReadDeadline(time.Now().Add(15 * time.Second))
	b, _ := io.ReadAll(s)
	return b
}
