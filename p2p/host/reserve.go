package host

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	autoRelays       = 2 // how many Relays.Auto looks for
	relayAddresses   = 8 // told of one relay
	relayTag         = "our-relay"
	reserveTime      = 10 * time.Second
	reserveFirst     = time.Second // after a failure, then growing
	reserveLast      = 30 * time.Second
	reserveMinimum   = 5 * time.Second // between renewals, whatever the relay says
	observedPerRelay = 4
)

// reservation is a place at a relay.
type reservation struct {
	renew   time.Time
	expires time.Time
	addrs   []multiaddr.Multiaddr // ours, through the relay
}

// keep reserves places at relays, and renews them, until ctx ends. A place is lost
// with the connection to the relay; then it is taken again.
func (c *circuits) keep(ctx context.Context) {
	wake := make(chan struct{}, 1)
	poke := func() {
		select {
		case wake <- struct{}{}:
		default: // one is enough
		}
	}
	lost := &network.NotifyBundle{DisconnectedF: func(n network.Network, conn network.Conn) {
		if p := conn.RemotePeer(); n.Connectedness(p) != network.Connected && c.forget(p) {
			poke()
		}
	}}
	c.host.Network().Notify(lost)
	defer c.host.Network().StopNotify(lost)
	met, err := c.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.Name("relays"))
	if err != nil {
		c.log.Error("no relay can be used", "error", err)
		return
	}
	defer met.Close()

	failed := map[peer.ID]time.Time{} // when a relay last refused, of connected ones
	retry := reserveFirst
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-met.Out():
			if ok && !c.meet(e.(event.EvtPeerIdentificationCompleted)) {
				continue
			}
		case <-wake:
		case <-timer.C:
		}
		next, missing := c.round(ctx, failed)
		if missing {
			next = min(next, retry-retry/4+rand.N(retry/2))
			retry = min(2*retry, reserveLast)
		} else {
			retry = reserveFirst
		}
		timer.Reset(next)
	}
}

// meet notes where a relay of ours sees us, and is true of one that may become ours.
func (c *circuits) meet(e event.EvtPeerIdentificationCompleted) bool {
	c.mu.Lock()
	_, ours := c.held[e.Peer]
	offers := slices.Contains(e.Protocols, proto.ProtoIDv2Hop)
	if a := e.ObservedAddr; a != nil && offers && (ours || c.mayUse(e.Peer)) && c.tellsOurPort(e.Conn, a) {
		seen := c.observed[e.Peer]
		if !multiaddr.Contains(seen, a) {
			c.observed[e.Peer] = append([]multiaddr.Multiaddr{a}, seen[:min(len(seen), observedPerRelay-1)]...)
		}
	}
	wanting := c.cfg.Auto && len(c.held) < len(c.cfg.Via)+autoRelays
	c.mu.Unlock()
	return !ours && wanting && offers
}

// mayUse is true of relays that we may reserve at. Only they may say where we are
// seen, for it is what others will dial.
func (c *circuits) mayUse(p peer.ID) bool {
	return c.cfg.Auto || c.cfg.names(p)
}

// tellsOurPort is true of an observation that is good for others: the connection
// left from a port that we listen on, so that a NAT may map that port alike.
func (c *circuits) tellsOurPort(conn network.Conn, observed multiaddr.Multiaddr) bool {
	if isRelayed(conn.RemoteMultiaddr()) || isRelayed(observed) || !manet.IsThinWaist(observed) {
		return false
	}
	for _, l := range c.host.Network().ListenAddresses() {
		for _, protocol := range []int{multiaddr.P_TCP, multiaddr.P_UDP} {
			ours, err := l.ValueForProtocol(protocol)
			if err != nil {
				continue
			}
			if used, err := conn.LocalMultiaddr().ValueForProtocol(protocol); err == nil && used == ours {
				return true
			}
		}
	}
	return false
}

// forget gives a place up, and is true if there was one.
func (c *circuits) forget(p peer.ID) bool {
	c.mu.Lock()
	_, had := c.held[p]
	delete(c.held, p)
	delete(c.observed, p)
	c.mu.Unlock()
	if had {
		c.host.ConnManager().Unprotect(p, relayTag)
		c.log.Warn("lost the place at a relay", "relay", p)
		c.tell()
	}
	return had
}

// tell has libp2p look at our addresses again, and tell the peers.
func (c *circuits) tell() {
	if err := c.changed.Emit(event.EvtAutoRelayAddrsUpdated{RelayAddrs: c.announce(nil)}); err != nil {
		c.log.Debug("telling our addresses", "error", err)
	}
}

// round reserves where a place is wanted or due. It tells how long nothing is due,
// and whether a place is missing.
func (c *circuits) round(ctx context.Context, failed map[peer.ID]time.Time) (next time.Duration, missing bool) {
	for _, r := range c.wanted(failed) {
		now := time.Now()
		c.mu.Lock()
		place, held := c.held[r.ID]
		c.mu.Unlock()
		if held && now.Before(place.renew) {
			continue
		}
		err := c.reserve(ctx, r)
		if ctx.Err() != nil {
			return reserveLast, false
		}
		if err == nil {
			delete(failed, r.ID)
			continue
		}
		failed[r.ID] = now
		missing = true
		c.log.Info("a relay gives us no place", "relay", r.ID, "error", err)
		if held && now.After(place.expires) {
			c.forget(r.ID)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next = reserveLast
	for _, place := range c.held {
		next = min(next, max(time.Until(place.renew), reserveMinimum))
	}
	return next, missing || (c.cfg.Auto && len(c.held) == 0)
}

// wanted are the relays to have places at: those that were named, those that we
// hold, and as many more as Auto wants, those that refused longest ago first.
func (c *circuits) wanted(failed map[peer.ID]time.Time) []peer.AddrInfo {
	out := slices.Clone(c.cfg.Via)
	named := func(p peer.ID) bool {
		return slices.ContainsFunc(out, func(i peer.AddrInfo) bool { return i.ID == p })
	}
	c.mu.Lock()
	held := slices.Collect(maps.Keys(c.held))
	c.mu.Unlock()
	for _, p := range held {
		if !named(p) {
			out = append(out, peer.AddrInfo{ID: p})
		}
	}
	if !c.cfg.Auto {
		return out
	}
	var more []peer.ID
	for _, p := range c.host.Network().Peers() {
		if offered, err := c.host.Peerstore().SupportsProtocols(p, proto.ProtoIDv2Hop); err == nil && len(offered) > 0 && !named(p) {
			more = append(more, p)
		}
	}
	slices.SortFunc(more, func(a, b peer.ID) int { return failed[a].Compare(failed[b]) })
	maps.DeleteFunc(failed, func(p peer.ID, _ time.Time) bool { return !slices.Contains(more, p) && !named(p) })
	for _, p := range more[:min(len(more), max(0, len(c.cfg.Via)+autoRelays-len(out)))] {
		out = append(out, peer.AddrInfo{ID: p})
	}
	return out
}

func (c *circuits) reserve(ctx context.Context, r peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(network.WithForceDirectDial(ctx, "reserving at a relay"), reserveTime)
	defer cancel()
	if sw, ok := c.host.Network().(*swarm.Swarm); ok {
		sw.Backoff().Clear(r.ID) // our own schedule is gentle enough
	}
	if err := c.host.Connect(ctx, r); err != nil {
		return err
	}
	got, err := client.Reserve(ctx, c.host, r)
	if err != nil {
		return err
	}
	place := reservation{expires: got.Expiration, addrs: c.through(r, got.Addrs)}
	if len(place.addrs) == 0 {
		return fmt.Errorf("the relay has no address that others could use")
	}
	now := time.Now()
	if lasts := now.Add(relayReservation); place.expires.After(lasts) {
		place.expires = lasts
	}
	place.renew = now.Add(place.expires.Sub(now) / 2)
	c.mu.Lock()
	before, had := c.held[r.ID]
	c.held[r.ID] = place
	c.mu.Unlock()
	if c.host.Network().Connectedness(r.ID) != network.Connected {
		c.forget(r.ID) // it was lost before it was noted
		return fmt.Errorf("the connection to the relay was lost")
	}
	if !had {
		c.host.ConnManager().Protect(r.ID, relayTag)
		c.log.Info("reachable through a relay", "relay", r.ID, "addresses", place.addrs)
	}
	if !slices.EqualFunc(before.addrs, place.addrs, multiaddr.Multiaddr.Equal) {
		c.tell()
	}
	return nil
}

// through are our addresses by way of a relay: by the addresses of it that we know
// to work, then by those that it says.
func (c *circuits) through(r peer.AddrInfo, told []multiaddr.Multiaddr) (out []multiaddr.Multiaddr) {
	by := slices.Clone(r.Addrs)
	for _, a := range told {
		direct, id := peer.SplitAddr(a)
		if direct != nil && id == r.ID {
			by = append(by, direct)
		}
	}
	if len(by) == 0 {
		for _, conn := range c.host.Network().ConnsToPeer(r.ID) {
			by = append(by, conn.RemoteMultiaddr())
		}
	}
	end, err := multiaddr.NewMultiaddr("/p2p/" + r.ID.String() + "/p2p-circuit")
	if err != nil {
		return nil
	}
	for _, a := range multiaddr.Unique(by) {
		if len(out) < relayAddresses && !isRelayed(a) && c.worthTelling(a) {
			out = append(out, a.Encapsulate(end))
		}
	}
	return out
}
