package host

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// Use is how much of something is used, and how much may be.
type Use struct{ Used, Limit int64 }

// Kinds of scopes.
const (
	ScopeSystem    = "system"    // everything
	ScopeTransient = "transient" // connections and streams whose peer or protocol is not known yet
	ScopeService   = "service"   // one of libp2p's services; Name says which
	ScopeProtocol  = "protocol"  // all streams of one protocol; Name says which
	ScopePeer      = "peer"      // everything of one peer; Name is its id
)

// Scope is what something or somebody makes us hold. Connections and streams are
// counted, memory is in bytes.
type Scope struct {
	Kind, Name  string
	Connections Use
	Inbound     Use // streams that peers opened
	Outbound    Use // streams that we opened
	Memory      Use
	// InboundPerPeer is how many streams of this protocol or service one peer may
	// open; 0 for other scopes.
	InboundPerPeer int64
}

// Usage tells what peers make us hold, against the limits: the system first, then
// services, protocols and peers, each by what it uses most of its share.
func (h *Host) Usage() ([]Scope, error) {
	manager, ok := h.inner.Network().ResourceManager().(rcmgr.ResourceManagerState)
	if !ok {
		return nil, errors.New("libp2p's resource manager does not tell its state")
	}
	stat := manager.Stat()
	out := []Scope{
		scope(ScopeSystem, "", stat.System, h.limiter.GetSystemLimits()),
		scope(ScopeTransient, "", stat.Transient, h.limiter.GetTransientLimits()),
	}
	for _, name := range slices.Sorted(maps.Keys(stat.Services)) {
		s := scope(ScopeService, name, stat.Services[name], h.limiter.GetServiceLimits(name))
		s.InboundPerPeer = int64(h.limiter.GetServicePeerLimits(name).GetStreamLimit(network.DirInbound))
		out = append(out, s)
	}
	for _, id := range slices.Sorted(maps.Keys(stat.Protocols)) {
		s := scope(ScopeProtocol, string(id), stat.Protocols[id], h.limiter.GetProtocolLimits(id))
		s.InboundPerPeer = int64(h.limiter.GetProtocolPeerLimits(id).GetStreamLimit(network.DirInbound))
		out = append(out, s)
	}
	var peers []Scope
	for id, st := range stat.Peers {
		peers = append(peers, scope(ScopePeer, id.String(), st, h.limiter.GetPeerLimits(id)))
	}
	slices.SortFunc(peers, func(a, b Scope) int {
		return cmp.Or(cmp.Compare(b.share(), a.share()), strings.Compare(a.Name, b.Name))
	})
	return append(out, peers...), nil
}

func scope(kind, name string, st network.ScopeStat, l rcmgr.Limit) Scope {
	return Scope{
		Kind: kind, Name: name,
		Connections: Use{int64(st.NumConnsInbound + st.NumConnsOutbound), int64(l.GetConnTotalLimit())},
		Inbound:     Use{int64(st.NumStreamsInbound), int64(l.GetStreamLimit(network.DirInbound))},
		Outbound:    Use{int64(st.NumStreamsOutbound), int64(l.GetStreamLimit(network.DirOutbound))},
		Memory:      Use{st.Memory, l.GetMemoryLimit()},
	}
}

// share is the largest part of a limit that is used.
func (s Scope) share() (most float64) {
	for _, u := range []Use{s.Connections, s.Inbound, s.Outbound, s.Memory} {
		if u.Limit > 0 {
			most = max(most, float64(u.Used)/float64(u.Limit))
		}
	}
	return most
}
