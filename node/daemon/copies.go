package daemon

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// copies are the owner's targets of replication, durable:
//
//	goal/<address>  -> goal
//
// The mirrors are named by identity. Each is granted `carry`, which its node takes up
// if it offers to; where its node is, validators say, because a carrier has itself
// named. A grant is renewed long before it ends.
type copies struct {
	store *store.KV
	busy  keyedLocks // goals that somebody works on
	poke  chan struct{}
}

var goalPrefix = []byte("goal/")

// goal is so many copies on some of these mirrors, in their order.
type goal struct {
	_       struct{} `cbor:",toarray"`
	Copies  uint16
	Within  int64 // seconds that a mirror may be silent before the next one takes its place
	Checked int64 // Unix seconds of the last look that could tell anything
	Problem string
	Mirrors []copyOn
}

// copyOn is one mirror of a goal.
type copyOn struct {
	_        struct{} `cbor:",toarray"`
	Identity statement.ID
	Contact  string
	Leaf     []byte // of the grant to carry; empty: a spare, not asked yet
	Expires  int64  // of it
	Seen     int64  // when it last proved to have a copy
	Failing  int64  // since when it does not; 0: it does
	Peer     string // that proved it
}

const (
	maxMirrors    = 32
	defaultWithin = int64(3600)
	leastWithin   = int64(5)
	carryLasts    = int64(maxGrant / time.Second)
)

func newCopies(s *store.KV) *copies { return &copies{store: s, poke: make(chan struct{}, 1)} }

func goalKey(c cid.Cid) []byte { return slices.Concat(goalPrefix, c.Bytes()) }

func (g *goal) healthy() (count int) {
	for _, m := range g.Mirrors {
		if m.Seen > 0 && m.Failing == 0 {
			count++
		}
	}
	return count
}

func (c *copies) load(address cid.Cid) (*goal, error) {
	raw, err := c.store.Get(goalKey(address))
	if err == kv.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := &goal{}
	return g, statement.Unmarshal(raw, g)
}

func (c *copies) save(address cid.Cid, g *goal) error {
	raw, err := statement.Marshal(g)
	if err != nil {
		return err
	}
	return c.store.Apply([]kv.Op{{Key: goalKey(address), Value: raw}})
}

func (c *copies) drop(address cid.Cid) error {
	return c.store.Apply([]kv.Op{{Key: goalKey(address), Delete: true}})
}

func (c *copies) all() (addresses []cid.Cid, goals []*goal, err error) {
	err = c.store.Scan(goalPrefix, nil, func(key, value []byte) (bool, error) {
		a, err := cid.Cast(bytes.Clone(key[len(goalPrefix):]))
		if err != nil {
			return false, err
		}
		g := &goal{}
		if err := statement.Unmarshal(value, g); err != nil {
			return false, err
		}
		addresses, goals = append(addresses, a), append(goals, g)
		return true, nil
	})
	return addresses, goals, err
}

// Replicate implements api.Service.
func (n *Node) Replicate(ctx context.Context, r api.ReplicateRequest) (*api.Replica, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	h, err := n.library.Find(ctx, address)
	if err != nil {
		return nil, err
	}
	m := h.Manifest.Claims()
	owner := n.principalOf(m.Owner)
	switch {
	case owner == nil || !h.Owned:
		return nil, fault.New(fault.Denied, "have its owner do it", "only the owner of %s has it replicated", address)
	case h.State == object.StateErased:
		return nil, fault.New(fault.Denied, "nothing brings it back", "%s was erased by its owner", address)
	}
	if err := mayAct(owner); err != nil {
		return nil, err
	}
	wanted, err := newGoal(r, m.Owner)
	if err != nil {
		return nil, err
	}
	giveBack, err := n.copies.busy.take(ctx, address.KeyString())
	if err != nil {
		return nil, err
	}
	defer giveBack()
	old, err := n.copies.load(address)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := n.dismiss(ctx, old, wanted); err != nil {
			return nil, err
		}
	}
	if err := n.record(ctx, event.Replicate, event.OK, event.Act{Actor: m.Owner, Object: address.Bytes()}); err != nil {
		return nil, err
	}
	if err := n.copies.save(address, wanted); err != nil {
		return nil, diskFault(err)
	}
	if err := n.lookAt(ctx, address, wanted); err != nil {
		if old == nil && !slices.ContainsFunc(wanted.Mirrors, func(m copyOn) bool { return len(m.Leaf) > 0 }) {
			if derr := n.copies.drop(address); derr != nil { // nobody was asked: as if nothing had been said
				return nil, derr
			}
		}
		return nil, err
	}
	pokeOnce(n.copies.poke)
	return n.describeGoal(ctx, address, wanted), nil
}

// newGoal reads a request.
func newGoal(r api.ReplicateRequest, owner statement.ID) (*goal, error) {
	g := &goal{Within: r.Seconds}
	if g.Within == 0 {
		g.Within = defaultWithin
	}
	if g.Within < leastWithin || g.Within > carryLasts {
		return nil, fault.New(fault.Usage, "", "--within is a time from %d seconds to %d days", leastWithin, carryLasts/86400)
	}
	for _, s := range r.On {
		id, err := identity.ParseContact(s)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, "a contact is what `cerebrum id show` prints", "--on is no contact")
		}
		switch {
		case id.ID() == owner:
			return nil, fault.New(fault.Usage, "name others", "the owner's own copy is counted for nothing")
		case slices.ContainsFunc(g.Mirrors, func(m copyOn) bool { return m.Identity == id.ID() }):
			return nil, fault.New(fault.Usage, "", "a mirror stands twice in --on")
		}
		g.Mirrors = append(g.Mirrors, copyOn{Identity: id.ID(), Contact: s})
	}
	if r.Copies < 1 || r.Copies > len(g.Mirrors) || len(g.Mirrors) > maxMirrors {
		return nil, fault.New(fault.Usage, "name as many mirrors with --on, and some more to take their place", "--copies is from 1 to the number of mirrors, of which there are at most %d", maxMirrors)
	}
	g.Copies = uint16(r.Copies)
	return g, nil
}

// dismiss carries what is known of mirrors over to a new goal, and revokes the grants
// of those that are not in it.
func (n *Node) dismiss(ctx context.Context, old, wanted *goal) error {
	for _, m := range old.Mirrors {
		i := slices.IndexFunc(wanted.Mirrors, func(w copyOn) bool { return w.Identity == m.Identity })
		switch {
		case i >= 0:
			wanted.Mirrors[i] = m
		case len(m.Leaf) > 0:
			if err := n.revokeCarry(ctx, m.Leaf); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Node) revokeCarry(ctx context.Context, leaf []byte) error {
	if len(leaf) != len(statement.ID{}) {
		return nil
	}
	_, err := n.Revoke(ctx, api.RevokeRequest{Grant: statement.ID(leaf).String(), Reason: "replication ended"})
	return err
}

// Unreplicate implements api.Service.
func (n *Node) Unreplicate(ctx context.Context, r api.UnreplicateRequest) (*api.Replica, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	giveBack, err := n.copies.busy.take(ctx, address.KeyString())
	if err != nil {
		return nil, err
	}
	defer giveBack()
	g, err := n.copies.load(address)
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, fault.New(fault.NotFound, "see `cerebrum replicate --list`", "%s is not replicated", address)
	}
	act := event.Act{Object: address.Bytes()}
	if h, err := n.library.Find(ctx, address); err == nil {
		act.Actor = h.Manifest.Claims().Owner
	}
	if err := n.record(ctx, event.Unreplicate, event.OK, act); err != nil {
		return nil, err
	}
	if err := n.dismiss(ctx, g, &goal{}); err != nil {
		return nil, err
	}
	return n.describeGoal(ctx, address, g), n.copies.drop(address)
}

// Replicas implements api.Service.
func (n *Node) Replicas(ctx context.Context) (*api.Replicas, error) {
	out := &api.Replicas{Replicas: []api.Replica{}}
	addresses, goals, err := n.copies.all()
	for i, c := range addresses {
		out.Replicas = append(out.Replicas, *n.describeGoal(ctx, c, goals[i]))
	}
	return out, err
}

func (n *Node) describeGoal(ctx context.Context, c cid.Cid, g *goal) *api.Replica {
	out := &api.Replica{
		Address: c.String(), Name: n.ownName(ctx, c), Copies: int(g.Copies), Healthy: g.healthy(), Within: g.Within,
		Mirrors: []api.ReplicaState{}, Problem: g.Problem,
	}
	if g.Checked > 0 {
		out.Checked = stamp(g.Checked)
	}
	now := n.now().Unix()
	for _, m := range g.Mirrors {
		s := api.ReplicaState{Identity: m.Identity.String(), Peer: m.Peer, State: "spare"}
		if m.Seen > 0 {
			s.Seen = stamp(m.Seen)
		}
		if len(m.Leaf) == len(statement.ID{}) {
			s.Grant = statement.ID(m.Leaf).String()
			switch {
			case m.Seen > 0 && m.Failing == 0:
				s.State = "healthy"
			case now-m.Failing >= g.Within:
				s.State = "lost"
			case m.Seen == 0:
				s.State = "asked"
			default:
				s.State = "silent"
			}
		}
		out.Mirrors = append(out.Mirrors, s)
	}
	return out
}

func (n *Node) ownName(ctx context.Context, c cid.Cid) string {
	h, err := n.library.Find(ctx, c)
	if err != nil || !h.Owned {
		return ""
	}
	o, err := n.library.Open(ctx, h)
	if err != nil {
		return ""
	}
	return o.Details.Name
}

// describeCopies fills in what status says of replication.
func (n *Node) describeCopies(ctx context.Context, out *api.Status) error {
	out.UnderReplicated = []api.Short{}
	addresses, goals, err := n.copies.all()
	for i, c := range addresses {
		out.Replicated++
		if h := goals[i].healthy(); h < int(goals[i].Copies) {
			out.UnderReplicated = append(out.UnderReplicated, api.Short{
				Address: c.String(), Name: n.ownName(ctx, c), Healthy: h, Copies: int(goals[i].Copies),
			})
		}
	}
	return err
}

// runCopies looks after the goals until ctx ends.
func (n *Node) runCopies(ctx context.Context) error {
	wait := mirrorFirst
	for {
		if _, ok := waitFor(ctx, wait, n.copies.poke); !ok {
			return nil
		}
		addresses, goals, err := n.copies.all()
		if err != nil {
			n.log.Warn("replication", "err", err)
		}
		wait = time.Minute
		for i, c := range addresses {
			wait = min(wait, goals[i].period())
			if time.Duration(n.now().Unix()-goals[i].Checked)*time.Second < goals[i].period() {
				continue
			}
			if err := n.lookAgain(ctx, c); err != nil && ctx.Err() == nil {
				n.log.Info("copies were not looked after", "object", c, "err", fault.Of(err).Message)
			}
		}
	}
}

// period is how often the mirrors of a goal are challenged.
func (g *goal) period() time.Duration {
	return min(max(time.Duration(g.Within)*time.Second/4, time.Second), time.Minute)
}

func (n *Node) lookAgain(ctx context.Context, c cid.Cid) error {
	giveBack, err := n.copies.busy.take(ctx, c.KeyString())
	if err != nil {
		return err
	}
	defer giveBack()
	g, err := n.copies.load(c)
	if err != nil || g == nil {
		return err
	}
	err = n.lookAt(ctx, c, g)
	if err != nil && ctx.Err() == nil {
		g.Problem = strings.ToValidUTF8(fault.Of(err).Message, "?")
		if serr := n.copies.save(c, g); serr != nil {
			return serr
		}
	}
	return err
}

// mirrorPeers are the peers that validators name as carriers for an identity.
type mirrorPeers map[statement.ID][]peer.AddrInfo
