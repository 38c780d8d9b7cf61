// Package host builds and owns the libp2p host of a node.
//
// # What it is
//
// A host speaks TCP with TLS 1.3 and QUIC, nothing else: no Noise, because only
// Go's TLS agrees on a key that stays secret from a quantum computer
// (X25519MLKEM768); no plaintext, WebSocket, WebTransport or WebRTC; no NAT port
// mapping and no AutoNAT, because they talk to whoever answers. Peer keys are
// Ed25519.
//
// # Relays
//
// A member behind a NAT can be reached through a relay (circuit relay v2) that is
// a member too. A relayed connection has its own TLS between the two ends, and
// its own admission inside of that: the relay sees ciphertext, and cannot bring a
// stranger. Being a relay and being reachable through one are off unless
// [Config] says so, and then no protocol of theirs answers anybody. Dialing an
// address that goes through a relay is always possible: it opens no door here.
// Where relays are on, two members that met through one try for a direct
// connection (hole punching), which is admitted like any other.
//
// # How nobody unauthorised gets a byte
//
// Four things stand in a row, and each would do alone:
//
//   - peers that were removed or banned are refused as soon as the secure channel
//     tells who they are;
//   - the transports are wrapped by package admission, so that the swarm, and with
//     it identify, ping and every protocol, sees admitted connections only;
//   - the swarm refuses a connection that comes without an admission session;
//   - a tripwire before the protocol router closes the connection of a stream that
//     has none, and counts it: [Host.Tripped] is zero for ever, or there is a bug.
//
// # Where peers can send us
//
// Most addresses come from peers, and a private network may live anywhere, on
// 10.0.0.0/8 as well as on public addresses. So it is not the address that makes a dial
// harmless, but three other things:
//
//   - only members are dialed, and relays that are members ([Config.Known]);
//   - what answers must prove, in TLS, that it is the very member that was meant, and
//     then be admitted: whatever else listens there gets the beginning of libp2p's
//     handshake, no byte of a peer's choice, and the peer does not learn how it ended;
//   - never dialed are addresses where no member can be: unspecified, multicast,
//     broadcast, reserved and metadata addresses, also as IPv6 forms of IPv4 ones;
//     loopback, unless the network is local or we listen on loopback alone; link-local
//     ones, unless we listen on one, and those of IPv4 never.
//
// # Under a flood
//
// A TCP connection that has not finished its TLS handshake costs a stranger
// nothing. At most [Limits.HalfOpen] of them are kept; a newcomer takes the place
// of the oldest. They, and the exchanges of package admission, end after three
// seconds. The resource manager bounds connections, streams and memory for each
// peer, and streams and memory for each protocol of each peer.
//
// # Use
//
//	h, err := host.New(host.Config{Key: key, Gate: gate})
//	go func() { done <- h.Run(ctx) }()
//	<-h.Listening()
//	fmt.Println(h.ID(), h.Addrs())
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
)

// Errors that callers branch on.
var (
	// ErrKey reports a peer key that is missing or not Ed25519.
	ErrKey = errors.New("the host needs an Ed25519 peer key")
	// ErrRan reports a host that was run or closed before; make a new one.
	ErrRan = errors.New("the host was already run or closed")
)

// Config says how to build a host. Key and Gate are required.
type Config struct {
	// Key is the libp2p Ed25519 key whose public half is the peer id.
	Key crypto.PrivKey
	// Listen are the addresses to listen on; those of TCP and QUIC are possible.
	// Default: /ip4/127.0.0.1/tcp/0 and /ip4/127.0.0.1/udp/0/quic-v1.
	Listen []multiaddr.Multiaddr
	// Gate decides whom to admit.
	Gate admission.Gate
	// Desk answers peers that are not admitted; nil answers nobody.
	Desk admission.Desk
	// Refused is told of peers that were not admitted; see [admission.Config].
	Refused func(remote peer.ID, err error)
	// Known says who may be dialed: members, as far as they are known here. Nil is
	// everybody. Relays.Via may be dialed in any case.
	Known func(peer.ID) bool
	// Log gets what an operator should know; nil is silent.
	Log *slog.Logger
	// Limits bound what peers can make us hold.
	Limits Limits
	// LocalNetwork is for networks whose nodes all run on this machine: loopback is
	// exempt from the limits per address, and may be dialed whatever Listen says.
	// Without it loopback is dialed only by hosts that listen nowhere else.
	LocalNetwork bool
	// Relays is our part in relayed connections; the zero value has none.
	Relays Relays
	// Packets carries QUIC's datagrams. Nil is the machine's network; a simulation
	// brings its own.
	Packets Packets
}

// Packets is a network of datagrams. It is safe for concurrent use.
type Packets interface {
	// ListenUDP binds a socket to an address.
	ListenUDP(network string, local *net.UDPAddr) (net.PacketConn, error)
	// PreferredSourceIPForDestination is the address that packets for another one
	// leave from.
	PreferredSourceIPForDestination(to *net.UDPAddr) (net.IP, error)
}

// Host owns a libp2p host. It is safe for use by many goroutines.
type Host struct {
	inner     libp2phost.Host
	admitter  *admission.Admitter
	dialable  *gater
	log       *slog.Logger
	listen    []multiaddr.Multiaddr
	circuits  *circuits
	limiter   rcmgr.Limiter // says what the resource manager enforces
	listening chan struct{} // closed by Run
	ran       atomic.Bool
	tripped   atomic.Uint64
	close     func() error // once
}

// New builds the host and starts no listener: until Run nobody can reach it. It
// can dial at once. libp2p itself starts its own background work here (event
// bus, address and connection managers, identify), which is unavoidable and ends
// with Run or Close; whoever does not call Run must call Close.
func New(cfg Config) (*Host, error) { return build(cfg, everyGuard) }

func build(cfg Config, on guards) (*Host, error) {
	if cfg.Key == nil || cfg.Key.Type() != crypto.Ed25519 {
		return nil, ErrKey
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Listen) == 0 {
		cfg.Listen = defaultListen()
	}
	cfg.Limits = cfg.Limits.withDefaults()
	admitter, err := admission.New(admission.Config{
		Gate: cfg.Gate, Desk: cfg.Desk, Refused: cfg.Refused,
		Limits: cfg.Limits.Admission, LocalNetwork: cfg.LocalNetwork, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	circuits, err := newCircuits(cfg, on)
	if err != nil {
		return nil, err
	}
	inner, err := assemble(cfg, admitter, circuits.announce, on)
	if err != nil {
		return nil, fmt.Errorf("building the libp2p host: %w", err)
	}
	if err := circuits.attach(inner, cfg, admitter, on); err != nil {
		return nil, errors.Join(fmt.Errorf("adding the relay transport: %w", err), inner.Close())
	}
	h := &Host{
		inner: inner, admitter: admitter, dialable: newGater(cfg, on), log: cfg.Log, listen: cfg.Listen,
		circuits: circuits, limiter: cfg.Limits.limiter(), listening: make(chan struct{}), close: sync.OnceValue(inner.Close),
	}
	if on.tripwire {
		if err := h.layTripwire(); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

func defaultListen() []multiaddr.Multiaddr {
	return []multiaddr.Multiaddr{
		multiaddr.StringCast("/ip4/127.0.0.1/tcp/0"),
		multiaddr.StringCast("/ip4/127.0.0.1/udp/0/quic-v1"),
	}
}

// layTripwire puts a check before the protocol router. No listener runs yet, so
// no stream can come before it.
func (h *Host) layTripwire() error {
	sw, ok := h.inner.Network().(*swarm.Swarm)
	if !ok {
		return errors.New("libp2p's network is not a swarm")
	}
	route := sw.StreamHandler()
	sw.SetStreamHandler(func(s network.Stream) {
		if _, ok := admission.SessionOf(s.Conn()); !ok {
			h.tripped.Add(1)
			h.log.Error("a stream came over a connection that was never admitted; closing it",
				"peer", s.Conn().RemotePeer(), "address", s.Conn().RemoteMultiaddr())
			s.Reset()
			s.Conn().CloseWithError(network.ConnGated)
			return
		}
		route(s)
	})
	return nil
}

// Run listens, blocks until ctx ends and then closes everything: listeners,
// connections, libp2p's background work. It returns nil after a clean end, and
// at once with an error if any of the addresses cannot be listened on. A host
// runs once.
func (h *Host) Run(ctx context.Context) error {
	if !h.ran.CompareAndSwap(false, true) {
		return ErrRan
	}
	for _, a := range h.listen {
		if err := h.inner.Network().Listen(a); err != nil {
			return errors.Join(fmt.Errorf("listening on %s: %w", a, err), h.close())
		}
	}
	if err := h.circuits.open(); err != nil {
		return errors.Join(fmt.Errorf("opening for relays: %w", err), h.close())
	}
	close(h.listening)
	h.log.Info("listening", "peer", h.ID(), "addresses", h.Addrs())
	h.circuits.run(ctx)
	return errors.Join(h.circuits.close(), h.close())
}

// Close closes a host that is not to be run, or ends one whose Run cannot be
// reached by its context. It is idempotent.
func (h *Host) Close() error {
	h.ran.Store(true)
	return h.close()
}

// Listening is closed once Run listens on every address.
func (h *Host) Listening() <-chan struct{} { return h.listening }

// Addrs are the bound addresses with their resolved ports, without a /p2p part;
// none before Run. An unspecified address stays as it was asked for: what others
// should dial then is Libp2p().Addrs(), which has those through relays too.
func (h *Host) Addrs() []multiaddr.Multiaddr {
	return slices.DeleteFunc(h.inner.Network().ListenAddresses(), isRelayed)
}

// Libp2p is the host for libraries that want one. Whoever holds it must not close it.
func (h *Host) Libp2p() libp2phost.Host { return h.inner }

// ID is our peer id.
func (h *Host) ID() peer.ID { return h.inner.ID() }

// Connect makes sure of an admitted connection to a peer. The error wraps
// admission's, or the network's.
func (h *Host) Connect(ctx context.Context, to peer.AddrInfo) error {
	return h.inner.Connect(ctx, to)
}

// Drop closes all connections to p and forgets its addresses, protocols and
// keys. It does not keep p from coming back: that is the gate's Barred.
func (h *Host) Drop(p peer.ID) {
	if err := h.inner.Network().ClosePeer(p); err != nil {
		h.log.Debug("closing a dropped peer's connections", "peer", p, "error", err)
	}
	h.inner.Peerstore().RemovePeer(p)
	h.inner.Peerstore().ClearAddrs(p)
}

// Tripped counts the streams of connections that were never admitted. Anything
// but zero is a bug, and the streams were refused all the same.
func (h *Host) Tripped() uint64 { return h.tripped.Load() }

// Pending is the number of inbound connections that wait for their admission.
func (h *Host) Pending() int { return h.admitter.Pending() }
