package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/event"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Relays says what part a host has in relayed connections. The zero value has
// none, and can still dial an address that goes through a relay.
type Relays struct {
	// Serve makes the host a relay between members. What it relays it cannot read.
	Serve bool
	// Via are relays through which others may reach this host: members that it can
	// reach, with their addresses. It reserves a place at each, and renews it.
	Via []peer.AddrInfo
	// Auto reserves at up to two of the connected members that are relays.
	Auto bool
	// Member tells members from others; Serve needs it. Only members reserve a place
	// or connect through us, and only to members.
	Member func(peer.ID) bool
}

func (r Relays) reachable() bool { return r.Auto || len(r.Via) > 0 }

func (r Relays) names(p peer.ID) bool {
	return slices.ContainsFunc(r.Via, func(i peer.AddrInfo) bool { return i.ID == p })
}

// What a relay gives. Its connections have no limit of time or volume, or libp2p
// would let only chosen protocols use them: they are as many as the limits allow,
// and each has buffers of fixed size.
const (
	relayPlaces      = 128 // reservations
	relayCircuits    = 16  // connections of one peer, as either end
	relayBuffer      = 32 << 10
	relayReservation = time.Hour
)

// holePunchAddresses bounds what a peer can have us dial for a direct connection.
const holePunchAddresses = 16

var anyRelay = multiaddr.StringCast("/p2p-circuit")

// isRelayed reports an address, or a connection's, that goes through a relay.
func isRelayed(a multiaddr.Multiaddr) bool {
	_, err := a.ValueForProtocol(multiaddr.P_CIRCUIT)
	return err == nil
}

// circuits is a host's part in relayed connections.
type circuits struct {
	cfg    Relays
	listen []multiaddr.Multiaddr
	limits Limits
	local  bool
	checks bool // whether our relay asks for membership
	log    *slog.Logger

	// Set by attach, and never changed.
	host   libp2phost.Host
	client *client.Client

	// Set by open, used by close; Run owns them.
	relay   *relay.Relay
	punch   *holepunch.Service
	changed event.Emitter

	mu       sync.Mutex
	held     map[peer.ID]reservation           // owned by mu
	observed map[peer.ID][]multiaddr.Multiaddr // owned by mu; where relays that we hold see us
}

func newCircuits(cfg Config, on guards) (*circuits, error) {
	if cfg.Relays.Serve && cfg.Relays.Member == nil {
		return nil, errors.New("a relay needs a way to tell members")
	}
	for _, a := range cfg.Listen {
		if isRelayed(a) {
			return nil, fmt.Errorf("%s is no address to listen on: name the relay among Relays.Via", a)
		}
	}
	for _, r := range cfg.Relays.Via {
		if len(r.Addrs) == 0 {
			return nil, fmt.Errorf("the relay %s has no address", r.ID)
		}
		if slices.ContainsFunc(r.Addrs, isRelayed) {
			return nil, fmt.Errorf("the relay %s must be reached directly", r.ID)
		}
	}
	return &circuits{
		cfg: cfg.Relays, listen: cfg.Listen, limits: cfg.Limits, local: cfg.LocalNetwork, checks: on.relayACL, log: cfg.Log,
		held: map[peer.ID]reservation{}, observed: map[peer.ID][]multiaddr.Multiaddr{},
	}, nil
}

// attach adds the relay transport, wrapped like the others. It answers nobody.
func (c *circuits) attach(h libp2phost.Host, cfg Config, admitter *admission.Admitter, on guards) error {
	sw, ok := h.Network().(transport.TransportNetwork)
	if !ok {
		return errors.New("libp2p's network takes no transport")
	}
	muxers := []tptu.StreamMuxer{{ID: yamux.ID, Muxer: frugalYamux()}}
	up, err := newUpgrader(cfg, muxers, h.Network().ResourceManager(), newGater(cfg, on))
	if err != nil {
		return err
	}
	if c.client, err = client.New(h, up); err != nil {
		return err
	}
	c.host = h
	if !on.relayed {
		return sw.AddTransport(c.client)
	}
	return sw.AddTransport(admitter.Wrap(c.client))
}

// announce adds the addresses through relays to those that others are told.
func (c *circuits) announce(direct []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(direct)
	for _, r := range c.held {
		out = append(out, r.addrs...)
	}
	return out
}

// open begins to answer, as far as the configuration wants it.
func (c *circuits) open() (err error) {
	if c.cfg.Serve {
		if c.relay, err = relay.New(c.host, relay.WithACL(relayACL{c}), relay.WithResources(c.resources()),
			relay.WithReservationAddressFilter(c.worthTelling)); err != nil {
			return err
		}
	}
	if !c.cfg.reachable() {
		return c.openPunch()
	}
	if c.changed, err = c.host.EventBus().Emitter(new(event.EvtAutoRelayAddrsUpdated)); err != nil {
		return err
	}
	if err := c.host.Network().Listen(anyRelay); err != nil {
		return err
	}
	c.client.Start()
	return c.openPunch()
}

func (c *circuits) resources() relay.Resources {
	r := relay.Resources{
		ReservationTTL: relayReservation, MaxReservations: relayPlaces, MaxCircuits: relayCircuits, BufferSize: relayBuffer,
		MaxReservationsPerIP: c.limits.ConnectionsPerAddress, MaxReservationsPerASN: relayPlaces,
	}
	if c.local {
		r.MaxReservationsPerIP = relayPlaces
	}
	return r
}

// openPunch answers and starts attempts at direct connections between members that
// met through a relay.
func (c *circuits) openPunch() error {
	if !c.cfg.Serve && !c.cfg.reachable() {
		return nil
	}
	h, ok := c.host.(interface {
		IDService() identify.IDService
		AllAddrs() []multiaddr.Multiaddr
	})
	if !ok {
		return errors.New("libp2p's host does not tell its addresses")
	}
	var err error
	c.punch, err = holepunch.NewService(c.host, h.IDService(), func() []multiaddr.Multiaddr {
		return c.direct(h.AllAddrs())
	}, holepunch.WithAddrFilter(punchFilter{}))
	return err
}

// direct are the addresses at which a direct connection may be tried: those that
// we listen on, and those that relays of ours see us at.
func (c *circuits) direct(listening []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []multiaddr.Multiaddr
	for _, seen := range c.observed {
		out = append(out, seen...)
	}
	return slices.DeleteFunc(multiaddr.Unique(append(out, listening...)), func(a multiaddr.Multiaddr) bool {
		return isRelayed(a) || !c.worthTelling(a)
	})
}

// worthTelling is true of addresses that mean the same elsewhere.
func (c *circuits) worthTelling(a multiaddr.Multiaddr) bool {
	return !manet.IsIPUnspecified(a) && (c.local || !manet.IsIPLoopback(a))
}

// close ends what open began; the host is closed after it.
func (c *circuits) close() error {
	var errs []error
	if c.punch != nil {
		errs = append(errs, c.punch.Close())
	}
	if c.relay != nil {
		errs = append(errs, c.relay.Close())
	}
	if c.changed != nil {
		errs = append(errs, c.changed.Close())
	}
	return errors.Join(errs...)
}

// run keeps reservations until ctx ends.
func (c *circuits) run(ctx context.Context) {
	if c.cfg.reachable() {
		c.keep(ctx)
	}
	<-ctx.Done()
}

// relayACL lets members use our relay. Their connections were admitted; a peer that
// was removed since is refused here before its connections are closed.
type relayACL struct{ c *circuits }

func (r relayACL) AllowReserve(p peer.ID, _ multiaddr.Multiaddr) bool {
	return !r.c.checks || r.c.cfg.Member(p)
}

func (r relayACL) AllowConnect(from peer.ID, _ multiaddr.Multiaddr, to peer.ID) bool {
	return !r.c.checks || (r.c.cfg.Member(from) && r.c.cfg.Member(to))
}

// punchFilter bounds how much one peer can have another dial.
type punchFilter struct{}

func (punchFilter) FilterLocal(_ peer.ID, addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	return addrs[:min(len(addrs), holePunchAddresses)]
}

func (punchFilter) FilterRemote(_ peer.ID, addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	return addrs[:min(len(addrs), holePunchAddresses)]
}
