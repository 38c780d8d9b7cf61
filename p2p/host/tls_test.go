package host

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"
)

func rawDial(t *testing.T, h *Host) net.Conn {
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

// The key agreement of a connection that we accept is post-quantum, and so the
// traffic recorded today stays secret tomorrow. The control, a client that offers
// the classic curve only, shows that the test can tell the difference.
func TestAcceptedTCPIsPostQuantum(t *testing.T) {
	h := running(t, newClub(t), everyGuard)
	for _, c := range []struct {
		offer []tls.CurveID
		want  tls.CurveID
	}{
		{nil, tls.X25519MLKEM768},
		{[]tls.CurveID{tls.X25519}, tls.X25519},
	} {
		raw := rawDial(t, h)
		if err := multistream.SelectProtoOrFail(libp2ptls.ID, raw); err != nil {
			t.Fatal(err)
		}
		key, _ := newKey(t)
		identity, err := libp2ptls.NewIdentity(key)
		if err != nil {
			t.Fatal(err)
		}
		config, _ := identity.ConfigForPeer(h.ID())
		config.CurvePreferences = c.offer
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(background(t)); err != nil {
			t.Fatal(err)
		}
		state := secure.ConnectionState()
		if state.CurveID != c.want || state.Version != tls.VersionTLS13 {
			t.Errorf("negotiated %s with TLS %x, want %s", state.CurveID, state.Version, c.want)
		}
	}
}

func TestDialedTCPIsPostQuantum(t *testing.T) {
	h := running(t, newClub(t), everyGuard)
	key, id := newKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		group tls.CurveID
		err   error
	}
	seen := make(chan result, 1)
	go func() {
		group, err := acceptOnce(l, key)
		seen <- result{group, err}
	}()
	h.Connect(background(t), peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{at}}) // fails after the handshake
	if got := <-seen; got.err != nil || got.group != tls.X25519MLKEM768 {
		t.Errorf("negotiated %s, error %v", got.group, got.err)
	}
}

func TestQUICIsPostQuantum(t *testing.T) {
	c := newClub(t)
	a, b := running(t, c, everyGuard), running(t, c, everyGuard)
	if err := b.Connect(background(t), by(a, multiaddr.P_QUIC_V1)); err != nil {
		t.Fatal(err)
	}
	var q *quic.Conn
	if !b.Libp2p().Network().ConnsToPeer(a.ID())[0].As(&q) {
		t.Fatal("no QUIC connection inside")
	}
	if got := q.ConnectionState().TLS.CurveID; got != tls.X25519MLKEM768 {
		t.Errorf("negotiated %s", got)
	}
}

// Neither Noise nor plaintext is on offer; TLS, the control, is.
func TestNoOtherSecureChannel(t *testing.T) {
	h := running(t, newClub(t), everyGuard)
	for protocol, want := range map[string]bool{"/noise": false, "/plaintext/2.0.0": false, "/secio/1.0.0": false, libp2ptls.ID: true} {
		err := multistream.SelectProtoOrFail(protocol, rawDial(t, h))
		if (err == nil) != want {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

// acceptOnce plays libp2p's TLS server for one connection.
func acceptOnce(l net.Listener, key crypto.PrivKey) (tls.CurveID, error) {
	raw, err := l.Accept()
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	mux := multistream.NewMultistreamMuxer[string]()
	mux.AddHandler(libp2ptls.ID, nil)
	if _, _, err := mux.Negotiate(raw); err != nil {
		return 0, err
	}
	identity, err := libp2ptls.NewIdentity(key)
	if err != nil {
		return 0, err
	}
	config, _ := identity.ConfigForPeer("")
	secure := tls.Server(raw, config)
	err = secure.Handshake()
	return secure.ConnectionState().CurveID, err
}
