package daemon

import (
	"context"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

const (
	provideEvery = 12 * time.Hour // records last 24 to 48 hours
	provideTime  = 30 * time.Second
	provideFirst = 2 * time.Second
	provideMoved = 10 * time.Second // after a change of addresses, which come in several
)

// provideSoon announces an object to the members' DHT in the background.
func (n *Node) provideSoon(c cid.Cid) {
	if !n.running.Load() || n.home.Config.NoDHT {
		return
	}
	go func() { // ends within provideTime
		ctx, cancel := context.WithTimeout(context.Background(), provideTime)
		defer cancel()
		if err := n.discovery.Provide(ctx, c.Bytes()); err != nil {
			n.log.Debug("provide", "object", c, "err", err)
		}
	}()
}

// provideLoop announces every object again, well before its record expires, and
// when this node has another address than it told: a relay was lost or found.
// Files of a directory are found through the directory.
func (n *Node) provideLoop(ctx context.Context) error {
	if n.home.Config.NoDHT {
		return nil
	}
	moved, err := n.host.Libp2p().EventBus().Subscribe(new(event.EvtLocalAddressesUpdated), eventbus.Name("provide"))
	if err != nil {
		return err
	}
	defer moved.Close()
	next := time.Now().Add(provideFirst)
	for {
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-moved.Out():
			timer.Stop()
			if soon := time.Now().Add(provideMoved); soon.Before(next) {
				next = soon
			}
			continue
		case <-timer.C:
		}
		next = time.Now().Add(provideEvery)
		var all []cid.Cid
		err := n.store.Objects(func(o store.Object) (bool, error) {
			c, err := cid.Cast(o.Address)
			if err == nil && (len(o.Scope) == 0 || !o.Owned && !belowRoot(&o)) && o.State != object.StateErased {
				all = append(all, c)
			}
			return true, err
		})
		if err != nil {
			return err
		}
		for _, c := range all {
			if ctx.Err() != nil {
				return nil
			}
			if err := n.discovery.Provide(ctx, c.Bytes()); err != nil {
				n.log.Debug("provide", "object", c, "err", err)
			}
		}
	}
}

// Peers implements api.Service.
func (n *Node) Peers(context.Context) (*api.Peers, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	out := &api.Peers{Peers: []api.Peer{}}
	at := map[peer.ID]int{}
	for _, c := range n.host.Libp2p().Network().Conns() {
		id := c.RemotePeer()
		i, seen := at[id]
		if seen && !strings.Contains(out.Peers[i].Address, "/p2p-circuit") {
			continue
		}
		if !seen { // of several connections a direct one counts
			i = len(out.Peers)
			at[id] = i
			out.Peers = append(out.Peers, api.Peer{})
		}
		direction := "out"
		if c.Stat().Direction == network.DirInbound {
			direction = "in"
		}
		out.Peers[i] = api.Peer{ID: id.String(), Role: n.gate.role(id), Address: c.RemoteMultiaddr().String(), Direction: direction}
	}
	for _, b := range n.gate.bans.List() {
		out.Banned = append(out.Banned, api.Banned{ID: b.Peer.String(), Score: b.Score, Until: stamp(b.Until.Unix()), Why: b.Why})
	}
	return out, nil
}
