package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// This file has how a node stays a member: it renews its membership before it is
// over, and after, when it slept too long for anybody to let it in.

const (
	// stayEvery is how often a node looks. The timer stands still while a machine
	// sleeps, and goes off within this time after it woke; what is due is then decided
	// by the wall clock.
	stayEvery = time.Minute
	// stayFirst is how long a node waits after its start and after a failure, if
	// nobody admits it; it doubles up to stayEvery.
	stayFirst = 2 * time.Second
	stayTime  = 20 * time.Second // for one attempt
)

// stayMember keeps this node's membership good until ctx ends.
func (n *Node) stayMember(ctx context.Context) error {
	wait := stayFirst
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		err := n.stay(ctx, n.askHost)
		if wait = min(2*wait, stayEvery); err == nil {
			wait = stayEvery
		} else if ctx.Err() == nil {
			n.log.Info("this node's membership is not renewed yet", "err", err)
		}
	}
}

// stay catches up and renews, as far as that is due.
func (n *Node) stay(ctx context.Context, ask asker) error {
	due, over := n.renewalDue()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stayTime)
	defer cancel()
	mine, _ := n.lastMembership(n.home.PeerKey())
	v := &visitor{ask: ask, right: validator.EnterRequest{Membership: mine}}
	if over { // members that admit us tell us of records; now nobody does
		if err := n.catchUpOutside(ctx, v); err != nil {
			return err
		}
		if due, _ = n.renewalDue(); !due {
			n.log.Info("this node is a member again")
			return nil
		}
	}
	return n.renew(ctx, v)
}

// renewalDue reports whether this node should ask for another membership, and
// whether the one that it has does not admit it any more.
func (n *Node) renewalDue() (due, over bool) {
	me, now, record := n.home.PeerKey(), n.now(), n.trust.Current()
	if _, sits := record.ByPeer(me); sits {
		return false, false
	}
	raw, ok := n.membership(me)
	if !ok {
		return true, true
	}
	m, err := membershipOf(raw)
	if err != nil {
		return true, true
	}
	if record.Live(now) != nil { // it has been renewed, and we do not know
		return true, true
	}
	if m.Record != record.Enrols().ID() {
		return true, false
	}
	if better := min(now.Add(trust.MembershipLifetime).Unix(), record.Expires); better <= m.Expires {
		return false, false // another one would not last longer
	}
	return !now.Before(renewAt(m)), false
}

// myMembership is this node's own, over or not.
func (n *Node) myMembership() (*trust.Membership, error) {
	raw, ok := n.lastMembership(n.home.PeerKey())
	if !ok {
		return nil, errors.New("this node never was a member")
	}
	return membershipOf(raw)
}

func membershipOf(raw []byte) (*trust.Membership, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, err
	}
	var m trust.Membership
	return &m, s.Peek(trust.KindMembership, &m)
}

// renewAt is when a membership is renewed: after two thirds of its time, and up to
// a twelfth earlier, differently for each peer, so that members who joined together
// do not all come together.
func renewAt(m *trust.Membership) time.Time {
	lasts := m.Expires - m.NotBefore
	h := statement.Hash("renewal", m.Peer[:], m.Nonce[:])
	early := int64(binary.BigEndian.Uint32(h[:4])) * (lasts / 12) >> 32
	return time.Unix(m.NotBefore+lasts*2/3-early, 0)
}

// catchUpOutside gets the records that this node lacks from validators that do not
// admit it: those that it knows, and then those that the records name.
func (n *Node) catchUpOutside(ctx context.Context, v *visitor) error {
	for range joinRounds {
		before := n.trust.Current()
		known, answered, err := v.pullAll(ctx, reaches(before), before.ID(), addTo(n.trust))
		if answered == 0 {
			return fmt.Errorf("no validator answers: %w", err)
		}
		if err := n.enrol(known); err != nil {
			return err
		}
		if n.trust.Current() == before {
			return nil
		}
	}
	return nil
}

// renew has the validators of the newest record sign another membership.
func (n *Node) renew(ctx context.Context, v *visitor) error {
	m, err := n.myMembership()
	if err != nil {
		return err
	}
	record := n.trust.Current()
	draft, err := record.DraftMembership(trust.Member{Peer: m.Peer, Identity: m.Identity, Role: m.Role}, m.Nonce, n.now())
	if err != nil {
		return err
	}
	signed, asked := v.sign(ctx, record, draft)
	if signed == nil {
		if asked.refusals[validator.RefusedBehind] > 0 {
			return n.catchUpOutside(ctx, v)
		}
		return asked.fault(record)
	}
	renewed, err := membershipOf(signed)
	if err != nil {
		return err
	}
	if _, err := n.keepMembership(signed, renewed); err != nil {
		return err
	}
	n.log.Info("this node's membership was renewed", "until", stamp(renewed.Expires))
	if n.running.Load() {
		n.hintOfRecords() // who is connected learns of it, and lets us stay
	}
	return nil
}
