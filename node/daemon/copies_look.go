package daemon

import (
	"context"
	"math/rand/v2"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"
)

// A challenge is a request like any reader's: for random leaves of random objects,
// chosen anew each time. A mirror that passes could serve those leaves at that moment,
// whether from its own disk or by asking another mirror for them; of one that lost a
// share p of its leaves a challenge of s leaves misses it with (1-p)^s.
const (
	challengeObjects = 8
	challengeTime    = 30 * time.Second
)

// lookAt challenges the mirrors of a goal, asks further ones where copies are
// missing, and saves what it found. Whoever calls has the goal's lock. Where this
// node itself hears nobody it judges nobody.
func (n *Node) lookAt(ctx context.Context, c cid.Cid, g *goal) error {
	h, err := n.library.Find(ctx, c)
	if err != nil {
		return err
	}
	if h.State == object.StateErased {
		return n.copies.drop(c)
	}
	owner := n.principalOf(h.Manifest.Claims().Owner)
	if owner == nil {
		return fault.New(fault.Denied, "", "the owner of %s is no identity of this home", c)
	}
	if err := mayAct(owner); err != nil {
		return err
	}
	if !n.tracker.Fresh() {
		return fault.New(fault.Unavailable, "see `cerebrum status`", "too few validators answer")
	}
	peers, err := n.mirrorsOf(ctx, owner, c)
	if err != nil {
		return err
	}
	now := n.now().Unix()
	if away := now - g.Checked; g.Checked > 0 && away > 3*int64(g.period()/time.Second)+int64(challengeTime/time.Second) {
		for i := range g.Mirrors { // nobody was watching
			if g.Mirrors[i].Failing > 0 {
				g.Mirrors[i].Failing = now
			}
		}
	}
	if err := n.challengeAll(ctx, owner, h, g, peers); err != nil {
		return err
	}
	g.Checked, g.Problem = now, ""
	err = n.askFurther(ctx, owner, c, g)
	if serr := n.copies.save(c, g); serr != nil {
		return serr
	}
	return err
}

// mirrorsOf asks validators where the carriers of an object are. None are known
// where no validator knows the object yet.
func (n *Node) mirrorsOf(ctx context.Context, owner *home.Principal, c cid.Cid) (mirrorPeers, error) {
	named, err := n.quorum.AskCarriers(ctx, quorum.CarryAsk{Principal: owner, Address: c.Bytes()})
	if err != nil {
		return nil, err
	}
	out := mirrorPeers{}
	for _, m := range named.Carriers {
		id, err := peerID(m.Peer)
		if err != nil || id == n.host.ID() {
			continue
		}
		info := peer.AddrInfo{ID: id}
		for _, s := range m.Addresses {
			a, err := multiaddr.NewMultiaddr(s)
			if err != nil {
				continue
			}
			if i, err := peer.AddrInfoFromP2pAddr(a); err == nil && i.ID == id {
				info.Addrs = append(info.Addrs, i.Addrs...)
			}
		}
		out[m.Identity] = append(out[m.Identity], info)
	}
	return out, nil
}

// challengeAll notes of each mirror that was asked whether it has a copy.
func (n *Node) challengeAll(ctx context.Context, owner *home.Principal, h *object.Held, g *goal, peers mirrorPeers) error {
	var rd *reading
	for i := range g.Mirrors {
		m := &g.Mirrors[i]
		if len(m.Leaf) == 0 {
			continue
		}
		proved := false
		for _, info := range peers[m.Identity] {
			if rd == nil {
				v, err := n.ownCarry(ctx, owner, h.CID)
				if err != nil {
					return err
				}
				rd = &reading{n: n, p: owner, v: v, got: &api.Got{}}
			}
			n.host.Libp2p().Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
			items, err := n.challengeOf(h, g)
			if err == nil {
				err = rd.challenge(ctx, info.ID, items)
			}
			if err == nil {
				proved, m.Peer = true, info.ID.String()
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n.log.Info("a mirror failed its challenge", "object", h.CID, "peer", info.ID, "err", err)
			n.hintMailTo(ctx, info.ID) // there may be something new for it
		}
		now := n.now().Unix()
		switch {
		case proved:
			m.Seen, m.Failing = now, 0
		case m.Failing == 0:
			m.Failing = now
		}
	}
	return nil
}

func (n *Node) hintMailTo(ctx context.Context, p peer.ID) {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	n.hintPeer(ctx, p, []byte{hintMail})
}

// challengeOf chooses what a mirror has to serve: one leaf of each of some objects,
// of those that it had the time to fetch.
func (n *Node) challengeOf(h *object.Held, g *goal) ([]exchange.Item, error) {
	all, err := n.library.Family(h)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	before := n.now().Unix() - g.Within
	var items, young []exchange.Item
	for _, c := range all {
		o, err := n.store.Object(c)
		if err != nil {
			return nil, err
		}
		if o.State == object.StateErased || o.State == object.StateRetired || o.State == object.StateConflict {
			continue
		}
		from := rand.Uint64N(max(o.Stored, 1)) // the header is counted in, so this may lie past the end: then the last leaf
		if from > o.Stored/2 && from+(64<<10) > o.Stored {
			from = o.Stored / 2
		}
		it := exchange.Item{Address: c.Bytes(), Ranges: []exchange.Range{{From: from, To: from + 1}}}
		if o.Added > before {
			young = append(young, it)
			continue
		}
		if items = append(items, it); len(items) == challengeObjects {
			break
		}
	}
	if len(items) == 0 { // all of it is new: a mirror that has it proves it all the same
		items = young[:min(len(young), challengeObjects)]
	}
	if len(items) == 0 {
		return nil, fault.New(fault.NotFound, "", "nothing is left of %s to be replicated", h.CID)
	}
	return items, nil
}

// challenge asks one peer for items; what comes is checked as always.
func (r *reading) challenge(ctx context.Context, p peer.ID, items []exchange.Item) error {
	ctx, cancel := context.WithTimeout(ctx, challengeTime)
	defer cancel()
	_, err := r.askHolder(ctx, p, exchange.Request{Items: items}, func(exchange.Block) error { return nil })
	return err
}

// ownCarry is a grant of the owner to itself, under which it may ask its mirrors.
func (n *Node) ownCarry(ctx context.Context, owner *home.Principal, c cid.Cid) (*capability.Verified, error) {
	held, _, err := n.held(owner, c)
	if err != nil {
		return nil, err
	}
	if v := longestCarry(held); v != nil {
		return v, nil
	}
	made, err := n.Grant(ctx, api.GrantRequest{Address: c.String(), To: owner.Identity.Contact(), Can: "carry", Seconds: carryLasts})
	if err != nil {
		return nil, err
	}
	leaf, err := statement.ParseID(made.Grant)
	if err != nil {
		return nil, err
	}
	_, chain, err := n.stored(issuedPrefix, owner.Identity.ID(), leaf)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "see `cerebrum grants --issued`", "the owner's own grant for %s is not in force yet", c)
	}
	v, err := n.verifier.Verify(chain)
	if err != nil {
		return nil, err
	}
	return v, n.keep(heldPrefix, owner.Identity.ID(), v, c.Bytes())
}

// askFurther grants `carry` to spares while copies are missing that no mirror is
// given time for, and renews grants that end soon. A lost mirror keeps its grant:
// when it comes back it is a copy more.
func (n *Node) askFurther(ctx context.Context, owner *home.Principal, c cid.Cid, g *goal) error {
	now := n.now().Unix()
	hopeful := 0
	var refused error // the last denial
	for i := range g.Mirrors {
		m := &g.Mirrors[i]
		if len(m.Leaf) == 0 {
			continue
		}
		if m.Failing == 0 || now-m.Failing < g.Within {
			hopeful++
		}
		if m.Expires-now < carryLasts/4 && m.Expires < n.trust.Current().Expires {
			if err := n.grantCarry(ctx, c, m); isDenied(err) {
				if m.Failing == 0 || now-m.Failing < g.Within {
					hopeful-- // its grant ends, and another takes its place
				}
				refused = err
			} else if err != nil {
				return err
			}
		}
	}
	for i := range g.Mirrors {
		if hopeful >= int(g.Copies) {
			break
		}
		m := &g.Mirrors[i]
		if len(m.Leaf) > 0 {
			continue
		}
		if err := n.grantCarry(ctx, c, m); isDenied(err) {
			refused = err // such as one outside of the object's regions: others may do
			continue
		} else if err != nil {
			return err
		}
		m.Failing = now
		hopeful++
	}
	if hopeful < int(g.Copies) && refused != nil {
		return fault.Wrap(fault.Denied, refused, "name mirrors with --on whom policy allows and whom a role places in a region of the label residency",
			"of the mirrors that may carry it, %d are left and %d are wanted", hopeful, g.Copies)
	}
	return nil
}

func isDenied(err error) bool { return err != nil && fault.Of(err).Exit == fault.Denied }

// grantCarry lets a mirror carry, and tells whoever is connected that there is mail.
func (n *Node) grantCarry(ctx context.Context, c cid.Cid, m *copyOn) error {
	made, err := n.Grant(ctx, api.GrantRequest{Address: c.String(), To: m.Contact, Can: "carry", Seconds: carryLasts, Reason: "replication"})
	if err != nil {
		return err
	}
	leaf, err := statement.ParseID(made.Grant)
	if err != nil {
		return err
	}
	expires, err := time.Parse(time.RFC3339, made.Expires)
	if err != nil {
		return err
	}
	m.Leaf, m.Expires = leaf[:], expires.Unix()
	for _, p := range n.host.Libp2p().Network().Peers() {
		go n.hintMailTo(context.WithoutCancel(ctx), p) // ends within hintTime
	}
	return nil
}
