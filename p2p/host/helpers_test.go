package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

const echo = "/test/echo/1"

// club signs peer ids; its signature is the membership credential of the tests.
type club struct {
	key ed25519.PrivateKey

	mu     sync.Mutex
	barred map[peer.ID]bool
}

func newClub(t testing.TB) *club {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &club{key: key, barred: make(map[peer.ID]bool)}
}

func (c *club) bar(p peer.ID, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.barred[p] = yes
}

// member is a gate that admits what the club signed for the remote peer.
type member struct {
	*club
	self peer.ID
}

func (m member) Credential() []byte { return ed25519.Sign(m.key, []byte(m.self)) }
func (m member) Check(remote peer.ID, credential []byte) error {
	if !ed25519.Verify(m.key.Public().(ed25519.PublicKey), []byte(remote), credential) {
		return errors.New("not signed by the club for this peer")
	}
	return nil
}

func (m member) Barred(p peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.barred[p]
}

func newKey(t testing.TB) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, id
}

func background(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// patient keeps a crowded test machine from looking like a slow peer.
var patient = Limits{Handshake: time.Minute, Admission: admission.Limits{Timeout: time.Minute}}

// running builds a member of the club, listening on loopback by TCP and QUIC.
func running(t testing.TB, c *club, on guards) *Host {
	t.Helper()
	key, id := newKey(t)
	h, err := build(Config{
		Key: key, Gate: member{c, id}, LocalNetwork: true, Limits: patient,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}, on)
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	h.Libp2p().SetStreamHandler(echo, func(s network.Stream) {
		defer s.Close()
		buf := make([]byte, 64)
		n, _ := s.Read(buf)
		s.Write(buf[:n])
	})
	return h
}

// run runs h until the end of the test and waits until it listens.
func run(t testing.TB, h *Host) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	select {
	case <-h.Listening():
	case err := <-ended:
		ended <- err
		t.Fatalf("Run ended early with %v", err)
	}
}

// by keeps those of h's addresses that have the protocol.
func by(h *Host, protocol int) peer.AddrInfo {
	info := peer.AddrInfo{ID: h.ID()}
	for _, a := range h.Addrs() {
		if _, err := a.ValueForProtocol(protocol); err == nil {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info
}

var transports = map[string]int{"tcp": multiaddr.P_TCP, "quic": multiaddr.P_QUIC_V1}
