package host

import (
	"math"
	"net/netip"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Limits bound what peers can make us hold. A zero field takes its default.
type Limits struct {
	// Admission bounds what strangers can make us hold.
	Admission admission.Limits
	// Handshake bounds a TCP connection from accept to the end of its TLS handshake.
	// Default 3 s.
	Handshake time.Duration
	// HalfOpen is how many TCP connections may be in their TLS handshake. Default 256.
	HalfOpen int
	// Connections is how many connections we keep; above it idle ones are closed,
	// and at twice the number none is accepted. Default 512.
	Connections int
	// ConnectionsPerPeer is the same for one peer, each way. Default 8.
	ConnectionsPerPeer int
	// ConnectionsPerAddress is how many connections, both ways, there may be with
	// one IPv4 address or IPv6 /64; loopback is exempt in a local network. Default 64.
	ConnectionsPerAddress int
	// StreamsPerPeer is how many inbound streams a peer may hold. Default 256.
	StreamsPerPeer int
	// StreamsPerProtocol is how many of them may be of one protocol. Default 64.
	StreamsPerProtocol int
	// MemoryPerPeer is how many bytes of buffers a peer may take: the windows of
	// its streams (256 KiB each at least) and messages being read. Default 64 MiB.
	MemoryPerPeer int64
}

func (l Limits) withDefaults() Limits {
	for field, value := range map[*int]int{
		&l.HalfOpen: 256, &l.Connections: 512, &l.ConnectionsPerPeer: 8, &l.ConnectionsPerAddress: 64,
		&l.StreamsPerPeer: 256, &l.StreamsPerProtocol: 64,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	if l.Handshake <= 0 {
		l.Handshake = 3 * time.Second
	}
	if l.MemoryPerPeer <= 0 {
		l.MemoryPerPeer = 64 << 20
	}
	return l
}

// resourceManager starts libp2p's accounting with our limits.
func (l Limits) resourceManager(local bool) (network.ResourceManager, error) {
	return rcmgr.NewResourceManager(l.limiter(), l.perAddress(local)...)
}

// limiter is our limits as libp2p has them. What is not named here scales with the
// machine.
func (l Limits) limiter() rcmgr.Limiter {
	count := func(n int) rcmgr.LimitVal { return rcmgr.LimitVal(n) }
	// Connections are transient until their peer is known. Half-open TCP has its own
	// bound; the other half is for QUIC.
	transient := 2 * l.HalfOpen
	perPeer := rcmgr.ResourceLimits{
		Streams:         count(2 * l.StreamsPerPeer),
		StreamsInbound:  count(l.StreamsPerPeer),
		StreamsOutbound: count(2 * l.StreamsPerPeer),
		Memory:          rcmgr.LimitVal64(l.MemoryPerPeer),
	}
	perProtocol := perPeer
	perProtocol.StreamsInbound = count(l.StreamsPerProtocol)
	perPeer.Conns = count(2 * l.ConnectionsPerPeer)
	perPeer.ConnsInbound = count(l.ConnectionsPerPeer)
	perPeer.ConnsOutbound = count(l.ConnectionsPerPeer)
	perPeer.FD = perPeer.Conns
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns:         count(2*l.Connections + transient),
			ConnsInbound:  count(2*l.Connections + transient),
			ConnsOutbound: count(2 * l.Connections),
			Streams:       count(32 * l.Connections), StreamsInbound: count(16 * l.Connections), StreamsOutbound: count(32 * l.Connections),
		},
		Transient: rcmgr.ResourceLimits{
			Conns: count(2 * transient), ConnsInbound: count(transient), ConnsOutbound: count(transient),
		},
		PeerDefault:         perPeer,
		ProtocolPeerDefault: perProtocol,
		ProtocolDefault: rcmgr.ResourceLimits{
			Streams: count(32 * l.Connections), StreamsInbound: count(16 * l.Connections), StreamsOutbound: count(32 * l.Connections),
		},
		Conn:   rcmgr.ResourceLimits{Memory: rcmgr.LimitVal64(l.MemoryPerPeer)},
		Stream: rcmgr.ResourceLimits{Memory: rcmgr.LimitVal64(l.MemoryPerPeer)},
	}
	return rcmgr.NewFixedLimiter(limits.Build(rcmgr.DefaultLimits.AutoScale()))
}

// perAddress replaces libp2p's limits per address, which exempt loopback always.
func (l Limits) perAddress(local bool) []rcmgr.Option {
	exempt4, exempt6 := []rcmgr.NetworkPrefixLimit{}, []rcmgr.NetworkPrefixLimit{}
	var exemptRates []rate.PrefixLimit
	if local {
		loopback4, loopback6 := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")
		exempt4 = append(exempt4, rcmgr.NetworkPrefixLimit{Network: loopback4, ConnCount: math.MaxInt})
		exempt6 = append(exempt6, rcmgr.NetworkPrefixLimit{Network: loopback6, ConnCount: math.MaxInt})
		exemptRates = []rate.PrefixLimit{{Prefix: loopback4}, {Prefix: loopback6}}
	}
	// A burst of twice the limit, refilled in 80 s: enough for everybody behind an
	// address to reconnect after an outage.
	pace := rate.Limit{RPS: float64(l.ConnectionsPerAddress) / 40, Burst: 2 * l.ConnectionsPerAddress}
	return []rcmgr.Option{
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(exempt4, exempt6),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: l.ConnectionsPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: l.ConnectionsPerAddress}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: exemptRates,
			SubnetRateLimiter: rate.SubnetLimiter{
				GracePeriod:      time.Minute,
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: pace}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 64, Limit: pace}},
			},
		}),
	}
}
