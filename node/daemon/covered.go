package daemon

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Whoever carries a directory cannot read its index, and so does not know what is in
// it. It asks a holder which objects its grant covers. The answer is a claim: each
// object is checked by its own manifest when it comes.

const (
	coveredPage  = 4096
	coveredPages = 256 // that are read of one holder
)

var covered = rpc.Method{
	Protocol: "/cerebrum/covered/1", MaxRequest: capability.MaxChain + (64 << 10), MaxResponse: 256 << 10, Timeout: 20 * time.Second, PerPeer: 2,
}

// coveredRequest asks for the addresses of objects that the holder has and that the
// authority lets its audience carry, those after one.
type coveredRequest struct {
	_         struct{} `cbor:",toarray"`
	After     []byte
	Authority []byte
}

func (r coveredRequest) digest() statement.ID {
	r.Authority = nil
	raw, err := statement.Marshal(r)
	if err != nil {
		panic("daemon: own request does not encode: " + err.Error()) // a struct of plain fields
	}
	return statement.Hash("covered-request", raw)
}

// coveredReply is a page of addresses in ascending order.
type coveredReply struct {
	_         struct{} `cbor:",toarray"`
	Addresses [][]byte
	More      bool
}

func (n *Node) serveCovered() {
	n.server().Serve(covered, func(ctx context.Context, c rpc.Caller, raw []byte) ([]byte, error) {
		client, err := peerKey(c.Peer)
		if err != nil {
			return nil, err
		}
		var r coveredRequest
		if err := statement.Unmarshal(raw, &r); err != nil {
			return nil, &rpc.Error{Code: rpc.Malformed, Message: "that is no request for what is covered", Offence: true}
		}
		if !n.freshSoon() {
			return nil, &rpc.Error{Code: rpc.Unavailable, Message: "this node's view of revocations is not fresh"}
		}
		v, err := n.openCovered(&r, capability.Expectation{
			Request: r.digest(), Server: n.home.PeerKey(), Client: client, Network: n.trust.Network(),
			Challenge: c.Session.Given(), UseCounter: c.Session.UseCounter, Now: n.now(),
		})
		if err != nil {
			n.log.Info("what is covered was refused", "peer", c.Peer, "err", err)
			if err := n.record(ctx, event.List, event.Denied, event.Act{Rule: validator.RuleOf(err), Reason: err.Error()}); err != nil {
				return nil, err
			}
			return nil, &rpc.Error{Code: rpc.Denied, Message: "denied"}
		}
		leaf := v.Leaf()
		if err := n.record(ctx, event.List, event.OK, event.Act{Actor: v.Audience().ID(), Grant: leaf[:]}); err != nil {
			return nil, err
		}
		reply, err := n.listCovered(ctx, v, r.After)
		if err != nil {
			return nil, err
		}
		return statement.Marshal(reply)
	})
}

func (n *Node) openCovered(r *coveredRequest, want capability.Expectation) (*capability.Verified, error) {
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return nil, err
	}
	v, _, err := n.verifier.Open(a, want)
	if err != nil {
		return nil, err
	}
	if v.Grant().Abilities.Implied()&capability.Carry == 0 {
		return nil, capability.ErrScope
	}
	return v, nil
}

// listCovered is a page of what this home has under a chain and would serve.
func (n *Node) listCovered(ctx context.Context, v *capability.Verified, after []byte) (*coveredReply, error) {
	out := &coveredReply{}
	err := n.eachCovered(ctx, v, func(o store.Object, _ *envelope.Manifest) (bool, error) {
		if bytes.Compare(o.Address, after) <= 0 {
			return true, nil
		}
		if len(out.Addresses) == coveredPage {
			out.More = true
			return false, nil
		}
		out.Addresses = append(out.Addresses, o.Address)
		return true, nil
	})
	return out, err
}

// eachCovered calls fn with the objects of this home that a chain lets its audience
// carry and that this home serves, in the order of their addresses.
func (n *Node) eachCovered(ctx context.Context, v *capability.Verified, fn func(store.Object, *envelope.Manifest) (more bool, err error)) error {
	target := v.Grant().Target
	return n.store.Objects(func(o store.Object) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		a, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		switch { // without reading anything
		case target.Kind == capability.Scope && len(o.Scope) > 0 && !bytes.Equal(o.Scope, target.Ref[:]):
			return true, nil
		case target.Kind == capability.Version && !bytes.HasSuffix(a.Hash(), target.Ref[:]):
			return true, nil
		case o.Owned && (o.State == object.StateErased || o.State == object.StateRetired || o.State == object.StateConflict):
			return true, nil // nobody is to keep it
		}
		h, err := n.library.Find(ctx, a)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // damaged: whoever asks for it finds out
		}
		m, err := h.Verify(v.Owner())
		if err != nil || v.Allows(capability.Carry, validator.ObjectOf(a, m)) != nil || n.set.Barred(m.KeyID()) {
			return true, nil
		}
		if _, err := n.mayCarry(o, m); err != nil {
			return true, nil
		}
		return fn(o, m)
	})
}

// askCovered asks one holder for all that it has under the reading's chain.
func (r *reading) askCovered(ctx context.Context, h peer.AddrInfo) (out []cid.Cid, err error) {
	r.introduce(ctx, h)
	server, err := peerKey(h.ID)
	if err != nil {
		return nil, err
	}
	var after []byte
	for range coveredPages {
		raw, err := r.n.call(network.WithDialPeerTimeout(ctx, dialTime), h.ID, covered, func(s *admission.Session) ([]byte, error) {
			q := coveredRequest{After: after}
			var err error
			if q.Authority, err = r.n.quorum.ProveChain(r.p, r.v.Chain(), quorum.Session{
				Server: server, Client: r.n.home.PeerKey(), Challenge: s.Received(), Counter: s.NextCounter,
			}, q.digest()); err != nil {
				return nil, err
			}
			return statement.Marshal(q)
		})
		if err != nil {
			return out, err
		}
		page, more, err := readCovered(raw, after)
		if err != nil {
			r.n.gate.blame(h.ID, admission.PointsProtocol, "its list of what a grant covers is none")
			return out, err
		}
		out = append(out, page...)
		if !more || len(page) == 0 {
			return out, nil
		}
		after = page[len(page)-1].Bytes()
	}
	return out, errors.New("its list does not end")
}

// readCovered decodes a page and checks that it goes on where the last one ended.
func readCovered(raw, after []byte) (page []cid.Cid, more bool, err error) {
	var r coveredReply
	if err := statement.Unmarshal(raw, &r); err != nil {
		return nil, false, err
	}
	if len(r.Addresses) > coveredPage {
		return nil, false, errors.New("its page is too long")
	}
	for _, a := range r.Addresses {
		c, err := envelope.ParseAddress(addressText(a))
		if err != nil || bytes.Compare(a, after) <= 0 {
			return nil, false, errors.New("its page has no address, or one out of order")
		}
		after = a
		page = append(page, c)
	}
	return page, r.More, nil
}

func addressText(raw []byte) string {
	c, err := cid.Cast(raw)
	if err != nil {
		return ""
	}
	return c.String()
}

// listed asks holders for what they have under a chain, until some have answered:
// one of them may keep silent about an object.
func (r *reading) listed(ctx context.Context) (out []cid.Cid, answers int) {
	const enough, most = 2, 8
	seen := map[cid.Cid]bool{}
	for _, h := range r.holders[:min(len(r.holders), most)] {
		page, err := r.askCovered(ctx, h)
		if err != nil {
			r.n.log.Debug("a holder did not list what it has", "peer", h.ID, "err", err)
		}
		for _, c := range page {
			if !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
		if err == nil {
			answers++
		}
		if answers == enough || ctx.Err() != nil {
			break
		}
	}
	slices.SortFunc(out, func(a, b cid.Cid) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
	return out, answers
}
