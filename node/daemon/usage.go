package daemon

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/p2p/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Usage implements api.Service.
func (n *Node) Usage(context.Context) (*api.Usage, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	scopes, err := n.host.Usage()
	if err != nil {
		return nil, err
	}
	out := &api.Usage{Pending: n.host.Pending(), Tripped: n.host.Tripped(), Scopes: []api.UsageScope{}}
	for _, s := range scopes {
		u := api.UsageScope{
			Kind: s.Kind, Name: s.Name, Connections: api.Use(s.Connections), StreamsIn: api.Use(s.Inbound),
			StreamsOut: api.Use(s.Outbound), Memory: api.Use(s.Memory), StreamsInPerPeer: s.InboundPerPeer,
		}
		if s.Kind == host.ScopePeer {
			if id, err := peer.Decode(s.Name); err == nil {
				u.Role = n.gate.role(id)
			}
		}
		out.Scopes = append(out.Scopes, u)
	}
	return out, nil
}
