package discovery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

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

	retry := min(firstRetry, d.cfg.Interval)
	for {
		gained, missing := d.connect(ctx)
		if gained > 0 {
			d.table.RefreshRoutingTable() // its channel is buffered: the result is in the log
			retry = min(firstRetry, d.cfg.Interval)
		}
		wait := d.cfg.Interval
		if missing > 0 {
			wait = retry
			retry = min(2*retry, d.cfg.Interval/2) // a partition may end any time
		}
		if !pause(ctx, jittered(wait), lost, missing == 0) {
			return
		}
	}
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

// connect dials the bootstrap peers that are not connected, side by side, and
// tells how many it gained and how many are still missing.
func (d *Discovery) connect(ctx context.Context) (gained, missing int) {
	var (
		dials sync.WaitGroup
		mu    sync.Mutex // guards the results
		slots = make(chan struct{}, dialsAtOnce)
	)
	for _, p := range d.cfg.Bootstrap() {
		if p.ID == d.cfg.Host.ID() || d.cfg.Host.Network().Connectedness(p.ID) == network.Connected {
			continue
		}
		slots <- struct{}{}
		dials.Go(func() {
			defer func() { <-slots }()
			err := d.dial(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				missing++
				d.log.Debug("a bootstrap peer cannot be reached", "peer", p.ID, "error", err)
				return
			}
			gained++
			d.log.Info("connected to a bootstrap peer", "peer", p.ID)
		})
	}
	dials.Wait()
	return gained, missing
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
