package discovery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

const (
	firstRetry  = time.Second      // after a connection was lost or could not be made
	dialTimeout = 10 * time.Second // for one bootstrap peer
	dialsAtOnce = 8
)

// keepConnected looks after the bootstrap peers until ctx ends.
func (d *Discovery) keepConnected(ctx context.Context) {
	lost := make(chan struct{}, 1)
	notifiee := &network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) {
		select {
		case lost <- struct{}{}:
		default: // one wake-up is enough for any number of losses
		}
	}}
	d.cfg.Host.Network().Notify(notifiee)
	defer d.cfg.Host.Network().StopNotify(notifiee)

	kept := protected{manager: d.cfg.Host.ConnManager()}
	defer kept.only(nil)
	retry, cutOff := min(firstRetry, d.cfg.Interval), true
	for {
		peers := d.cfg.Bootstrap()
		kept.only(peers)
		r := d.connect(ctx, peers)
		cutOff = cutOff || r.held == 0
		if r.worthLookingAround(cutOff, d.table.RoutingTable().Size()) {
			cutOff = false
			d.looked.Add(1)
			d.table.RefreshRoutingTable() // its channel is buffered: the result is in the log
		}
		if r.gained > 0 {
			retry = min(firstRetry, d.cfg.Interval)
		}
		wait := d.cfg.Interval
		if r.missing > 0 {
			wait = retry
			retry = min(2*retry, d.cfg.Interval/2) // a partition may end any time
		}
		if !pause(ctx, jittered(wait), lost, r.missing == 0) {
			return
		}
	}
}

// round is what one look after the bootstrap peers found: how many were connected
// already, how many were gained, how many are still missing.
type round struct{ held, gained, missing int }

// thin is the size of a routing table that has room in its first bucket.
const thin = 20

// worthLookingAround reports whether to fill the routing table now: when we were cut
// off from all bootstrap peers, or have a new one and know few members. Otherwise the
// DHT's own rounds do. Looking around pings the whole table and dials whom a lookup
// names, and when a bootstrap peer of many members restarts, all of them would at once.
func (r round) worthLookingAround(cutOff bool, known int) bool {
	return cutOff && r.held+r.gained > 0 || r.gained > 0 && known < thin
}

// protected are the bootstrap peers whose connections are not closed to make room for
// others. The loop of keepConnected owns it.
type protected struct {
	manager connmgr.ConnManager
	peers   map[peer.ID]bool
}

const protectedTag = "bootstrap"

// only protects peers, and nobody else any longer.
func (k *protected) only(peers []peer.AddrInfo) {
	now := make(map[peer.ID]bool, len(peers))
	for _, p := range peers {
		now[p.ID] = true
		k.manager.Protect(p.ID, protectedTag)
	}
	for p := range k.peers {
		if !now[p] {
			k.manager.Unprotect(p, protectedTag)
		}
	}
	k.peers = now
}

// pause waits, or less where a loss is news; it is false when ctx has ended.
// After a loss it still waits a moment, so that nodes which lost the same peer do
// not all come back to it at once.
func pause(ctx context.Context, wait time.Duration, lost <-chan struct{}, news bool) bool {
	if !news {
		lost = nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-lost:
		timer.Reset(jittered(min(firstRetry, wait)))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// jittered is d give or take a quarter.
func jittered(d time.Duration) time.Duration {
	return d - d/4 + rand.N(d/2+1)
}

// connect dials those of the peers that are not connected, side by side.
func (d *Discovery) connect(ctx context.Context, peers []peer.AddrInfo) (r round) {
	var (
		dials sync.WaitGroup
		mu    sync.Mutex // guards r
		slots = make(chan struct{}, dialsAtOnce)
	)
	for _, p := range peers {
		if p.ID == d.cfg.Host.ID() {
			continue
		}
		if d.cfg.Host.Network().Connectedness(p.ID) == network.Connected {
			mu.Lock()
			r.held++
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		dials.Go(func() {
			defer func() { <-slots }()
			err := d.dial(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.missing++
				d.log.Debug("a bootstrap peer cannot be reached", "peer", p.ID, "error", err)
				return
			}
			r.gained++
			d.log.Info("connected to a bootstrap peer", "peer", p.ID)
		})
	}
	dials.Wait()
	return r
}

func (d *Discovery) dial(ctx context.Context, p peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// Our own schedule is gentle enough; the swarm's would make it guesswork.
	if sw, ok := d.cfg.Host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		sw.Backoff().Clear(p.ID)
	}
	return d.cfg.Host.Connect(ctx, p)
}
