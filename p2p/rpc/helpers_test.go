package rpc

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/host"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// club is a gate that admits the peers whose id its key signed.
type club struct {
	key  ed25519.PrivateKey
	self peer.ID
}

func (c club) Credential() []byte  { return ed25519.Sign(c.key, []byte(c.self)) }
func (c club) Barred(peer.ID) bool { return false }
func (c club) Check(remote peer.ID, credential []byte) error {
	if !ed25519.Verify(c.key.Public().(ed25519.PublicKey), []byte(remote), credential) {
		return errors.New("not a member")
	}
	return nil
}

// pair is two members that run and know each other's addresses.
func pair(t testing.TB) (a, b libp2phost.Host) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ha, hb := running(t, key), running(t, key)
	ha.Libp2p().Peerstore().AddAddrs(hb.ID(), hb.Addrs(), time.Hour)
	hb.Libp2p().Peerstore().AddAddrs(ha.ID(), ha.Addrs(), time.Hour)
	return ha.Libp2p(), hb.Libp2p()
}

// patient keeps a crowded test machine from looking like a slow peer.
var patient = host.Limits{Handshake: time.Minute, Admission: admission.Limits{Timeout: time.Minute}}

func running(t testing.TB, clubKey ed25519.PrivateKey) *host.Host {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Config{Key: key, Gate: club{clubKey, id}, LocalNetwork: true, Limits: patient})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	<-h.Listening()
	return h
}

func background(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func body(b []byte) func(*admission.Session) ([]byte, error) {
	return func(*admission.Session) ([]byte, error) { return b, nil }
}

// logbook is a log that a test can read.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func codeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}
