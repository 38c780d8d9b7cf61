package daemon

import (
	"context"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/libp2p/go-libp2p/core/peer"
)

// RemoveMember implements api.Service: this validator's identity says, for ever,
// that a peer belongs to the network no more. It counts once more than F have said so.
func (n *Node) RemoveMember(ctx context.Context, r api.RemoveMemberRequest) (*api.RemovedMember, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	if len(r.Reason) > 256 {
		return nil, fault.New(fault.Usage, "", "a reason has at most 256 bytes")
	}
	id, err := peer.Decode(r.Peer)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum peers`", "that is no peer id")
	}
	key, err := peerKey(id)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum peers`", "that is no peer of a network")
	}
	record := n.trust.Current()
	if _, sits := record.ByPeer(key); sits {
		return nil, fault.New(fault.Denied, "draft a record without it with `cerebrum network rotate --remove N`", "the peer %s is a validator", id)
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	if _, sits := record.ByIdentity(p.Identity.ID()); !sits {
		return nil, fault.New(fault.Denied, "ask the people at more than f validators", "only validators remove a member")
	}
	target := trust.Removal(n.trust.Network(), key)
	who := p.Identity.ID()
	entry, err := revocation.Sign(revocation.Revocation{Network: n.trust.Network(), Target: target, Reason: r.Reason, Time: n.now().Unix()}, p.Identity, p.Device)
	if err != nil {
		return nil, err
	}
	if err := n.record(ctx, event.Remove, event.OK, event.Act{Actor: who, Subject: n.memberIdentity(key), Peer: key[:], Grant: target[:], Reason: r.Reason}); err != nil {
		return nil, err
	}
	if err := n.tracker.Take([]revocation.Entry{entry}); err != nil {
		return nil, err
	}
	acks, err := n.quorum.SendRevocation(ctx, entry, target, nil)
	if err != nil {
		return nil, err
	}
	if err := n.tracker.Refresh(ctx); err != nil {
		n.log.Warn("what other validators said of the peer may not be known here", "err", err)
	}
	out := &api.RemovedMember{Peer: id.String(), Acks: acks, Need: int(record.Numbers.F) + 1, State: "waits"}
	revokers := n.set.Revokers(target)
	for _, v := range record.Validators {
		if slices.Contains(revokers, v.Identity) {
			out.Said++
		}
	}
	if n.removed(key) {
		out.State = "removed"
	}
	return out, nil
}
