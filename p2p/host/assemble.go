package host

import (
	"errors"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/config"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	libp2pconnmgr "github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// acceptBacklog is how many streams a peer may open before we accept them. Each
// may fill a window of 256 KiB unseen, so libp2p's default of 256 is a hole of
// 64 MiB for each connection of a stranger.
const acceptBacklog = 16

// guards switches the lines of defence one by one, so that tests can prove that
// each of them matters. There is no way to switch one off from outside.
type guards struct {
	admission bool // the wrapped transports
	relayed   bool // the wrapped transport of relayed connections
	upgraded  bool // the swarm's refusal of connections without a session
	tripwire  bool
	relayACL  bool // our relay's question whether a peer is a member
	dialing   bool // the refusal to dial whoever and wherever peers say
}

var everyGuard = guards{admission: true, relayed: true, upgraded: true, tripwire: true, relayACL: true, dialing: true}

// assemble puts the libp2p host together. Transports are named one by one: the
// defaults would bring WebSocket, WebTransport and WebRTC. announce may add to the
// addresses that others are told.
func assemble(cfg Config, admitter *admission.Admitter, announce config.AddrsFactory, on guards) (libp2phost.Host, error) {
	rm, err := cfg.Limits.resourceManager(cfg.LocalNetwork)
	if err != nil {
		return nil, err
	}
	cm, err := libp2pconnmgr.NewConnManager(cfg.Limits.Connections*3/4, cfg.Limits.Connections)
	if err != nil {
		return nil, errors.Join(err, rm.Close())
	}
	muxers := []tptu.StreamMuxer{{ID: yamux.ID, Muxer: frugalYamux()}}
	gate := newGater(cfg, on)
	wrap := func(t transport.Transport) transport.Transport {
		if !on.admission {
			return t
		}
		return admitter.Wrap(t)
	}
	overTCP := func() (transport.Transport, error) {
		t, err := newTCP(cfg, muxers, rm, gate)
		if err != nil {
			return nil, err
		}
		return wrap(t), nil
	}
	overQUIC := func(key crypto.PrivKey, qm *quicreuse.ConnManager, psk pnet.PSK) (transport.Transport, error) {
		t, err := libp2pquic.NewTransport(key, qm, psk, gate, rm)
		if err != nil {
			return nil, err
		}
		return wrap(t), nil
	}
	h, err := libp2p.New(
		datagrams(cfg.Packets),
		libp2p.Identity(cfg.Key),
		libp2p.NoListenAddrs,
		libp2p.Transport(overTCP),
		libp2p.Transport(overQUIC),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, frugalYamux()),
		libp2p.ConnectionGater(gate),
		libp2p.ResourceManager(rm),
		libp2p.ConnectionManager(cm),
		libp2p.SwarmOpts(swarm.WithDialRanker(rank)),
		libp2p.DisableRelay(), // libp2p's own relay transport would not be wrapped
		libp2p.AddrsFactory(announce),
		// Reachability is stated, so that nothing asks peers to dial back.
		libp2p.ForceReachabilityPublic(),
		// A refused admission is a failed dial; it says nothing about the network.
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.IPv6BlackHoleSuccessCounter(nil),
		libp2p.DisableMetrics(), // they would go to a global registry
		libp2p.UserAgent("cerebrum"),
		libp2p.ProtocolVersion("cerebrum/1"),
	)
	if err != nil {
		return nil, errors.Join(err, cm.Close(), rm.Close())
	}
	return h, nil
}

// datagrams has QUIC use the network that was given.
func datagrams(p Packets) libp2p.Option {
	if p == nil {
		return func(*libp2p.Config) error { return nil }
	}
	// A manager that is not libp2p's own is not closed with the host unless we ask.
	manager := func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			l.Append(fx.StopHook(m.Close))
		}
		return m, err
	}
	return libp2p.QUICReuse(manager,
		quicreuse.OverrideListenUDP(p.ListenUDP),
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return p, nil }))
}

// newUpgrader secures raw connections: TLS only, with our timeout.
func newUpgrader(cfg Config, muxers []tptu.StreamMuxer, rm network.ResourceManager, gate connmgr.ConnectionGater) (transport.Upgrader, error) {
	security, err := libp2ptls.New(libp2ptls.ID, cfg.Key, muxers)
	if err != nil {
		return nil, err
	}
	return tptu.New([]sec.SecureTransport{security}, muxers, nil, rm, gate,
		tptu.WithAcceptTimeout(cfg.Limits.Handshake))
}

// newTCP builds the TCP transport with an upgrader of its own, and with the
// half-open connections bounded.
func newTCP(cfg Config, muxers []tptu.StreamMuxer, rm network.ResourceManager, gate connmgr.ConnectionGater) (transport.Transport, error) {
	inner, err := newUpgrader(cfg, muxers, rm, gate)
	if err != nil {
		return nil, err
	}
	return tcp.NewTCPTransport(upgrader{inner, newHalfOpen(cfg.Limits.HalfOpen)}, rm, nil)
}

func frugalYamux() *yamux.Transport {
	config := *yamux.DefaultTransport
	config.AcceptBacklog = acceptBacklog
	return &config
}
