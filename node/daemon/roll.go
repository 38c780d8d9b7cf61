package daemon

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// roll is what a home knows of the network's members: for each peer the verified
// membership that lasts longest. They come from network files and, like records,
// from other members.
type roll struct {
	file  atomic.Pointer[trust.File] // the home's own
	store kv.Store                   // member/<peer> -> signed membership
}

var memberPrefix = []byte("member/")

const maxMemberPage = 1 << 20 // bytes of memberships in one page, but at least one

func memberKey(peer statement.PublicKey) []byte {
	return append(slices.Clone(memberPrefix), peer[:]...)
}

// enrol keeps memberships that verify; others in a file are passed over.
func (n *Node) enrol(all [][]byte) error {
	for _, raw := range all {
		m, _, err := n.readMembership(raw)
		if err != nil {
			continue
		}
		if _, err := n.keepMembership(raw, m); err != nil {
			return err
		}
	}
	return nil
}

// readMembership verifies a membership whenever it may be valid: one that is over
// is renewed with the others.
func (n *Node) readMembership(raw []byte) (*trust.Membership, *trust.Committee, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, nil, err
	}
	var m trust.Membership
	if err := s.Peek(trust.KindMembership, &m); err != nil {
		return nil, nil, err
	}
	if had, err := n.roll.store.Get(memberKey(m.Peer)); err != nil || !bytes.Equal(had, raw) { // that one was verified
		if _, err := n.trust.VerifyMembership(raw, m.Peer, time.Unix(m.NotBefore, 0)); err != nil {
			return nil, nil, err
		}
	}
	r, err := n.trust.ByID(m.Record)
	return &m, r, err
}

// keepMembership keeps a verified membership, durably, if it names a later record
// than the one that is known of the peer, or the same and lasts longer.
func (n *Node) keepMembership(raw []byte, m *trust.Membership) (isNew bool, err error) {
	record, err := n.trust.ByID(m.Record)
	if err != nil {
		return false, nil // it was retired meanwhile
	}
	if had, err := n.roll.store.Get(memberKey(m.Peer)); err == nil {
		if old, r, err := n.readMembership(had); err == nil && (r.Version > record.Version || r.Version == record.Version && old.Expires >= m.Expires) {
			return false, nil
		}
	}
	return true, n.roll.store.Apply([]kv.Op{{Key: memberKey(m.Peer), Value: raw}})
}

// membership finds the valid credential of a peer.
func (n *Node) membership(of statement.PublicKey) ([]byte, bool) {
	raw, err := n.roll.store.Get(memberKey(of))
	if err != nil {
		return nil, false
	}
	if _, err := n.trust.VerifyMembership(raw, of, n.now()); err != nil {
		return nil, false
	}
	return raw, true
}

// memberIdentity is the identity that a member's peer key belongs to; zero where no
// membership is known of it.
func (n *Node) memberIdentity(of statement.PublicKey) statement.ID {
	raw, ok := n.membership(of)
	if !ok {
		return statement.ID{}
	}
	var m trust.Membership
	s, err := statement.Parse(raw)
	if err != nil || s.Peek(trust.KindMembership, &m) != nil {
		return statement.ID{}
	}
	return m.Identity
}

// wasMember reports whether this node belongs to the network, or did: it may have
// been renewed while it was away, and asks.
func (n *Node) wasMember() bool {
	if _, err := n.admits(n.home.PeerKey(), nil); err == nil {
		return true
	}
	_, err := n.roll.store.Get(memberKey(n.home.PeerKey()))
	return err == nil
}

// enrolShown keeps what a peer was admitted by, if that was a membership which is
// not known here: a newcomer's, or one that was renewed. So it is renewed with the
// others. A failure is no reason to refuse the peer.
func (n *Node) enrolShown(of statement.PublicKey, shown []byte) {
	if len(shown) == 0 {
		return
	}
	if had, ok := n.lastMembership(of); ok && bytes.Equal(had, shown) {
		return
	}
	m, _, err := n.readMembership(shown)
	if err == nil && m.Peer == of {
		_, err = n.keepMembership(bytes.Clone(shown), m)
	}
	if err != nil {
		n.log.Debug("a member's credential is not kept", "peer", PeerID(of), "err", err)
	}
}

// removed reports whether a peer was removed from the network.
func (n *Node) removed(of statement.PublicKey) bool {
	return n.trust.Removed(n.set.Revokers(trust.Removal(n.trust.Network(), of)))
}

// membersAfter are memberships of now in the order of their peers' keys, at most
// so many bytes but at least one. Who was left out of the newest record is not
// among them.
func (n *Node) membersAfter(peer statement.PublicKey, most int) (out [][]byte, err error) {
	record, size := n.trust.Current().Enrols().ID(), 0
	err = n.roll.store.Scan(memberPrefix, memberKey(peer), func(_, raw []byte) (bool, error) {
		s, err := statement.Parse(raw)
		var m trust.Membership
		if err == nil {
			err = s.Peek(trust.KindMembership, &m)
		}
		if err != nil {
			return false, fmt.Errorf("stored membership: %w", err)
		}
		if m.Record != record || n.removed(m.Peer) {
			return true, nil
		}
		if size += len(raw); size > most && len(out) > 0 {
			return false, nil
		}
		out = append(out, slices.Clone(raw))
		return true, nil
	})
	return out, err
}

// networkFile is the file that a newcomer could be handed now: the records that
// lead to the newest one, and the members of now.
func (n *Node) networkFile() (*trust.File, error) {
	f := *n.roll.file.Load()
	f.Records = nil
	for r, ok := n.trust.Current(), true; ok; r, ok = r.Before() {
		f.Records = append(f.Records, r.Raw())
	}
	slices.Reverse(f.Records)
	var err error
	f.Memberships, err = n.membersAfter(statement.PublicKey{}, trust.MaxFile)
	return &f, err
}
