package validator

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// Deliver keeps a finished chain in its audience's mailbox. Durable on return.
func (j *Judge) Deliver(ctx context.Context, raw []byte) error {
	var d Delivery
	if err := decode(raw, &d); err != nil {
		return err
	}
	c, err := capability.ParseChain(d.Chain)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	v, err := j.Verifier.Verify(c)
	if err != nil {
		return j.deny(ctx, event.Deliver, event.Act{}, err)
	}
	if len(d.Hint) > 0 {
		address, err := cid.Cast(d.Hint)
		if err == nil {
			_, err = envelope.ParseAddress(address.String())
		}
		if err != nil {
			return fmt.Errorf("%w: its hint is no address", ErrMalformed)
		}
	}
	leaf, audience, issuer := v.Leaf(), v.Audience().ID(), IssuerOf(v)
	if err := j.note(ctx, j.event(event.Deliver, event.OK, event.Act{Actor: issuer, Subject: audience, Grant: leaf[:]})); err != nil {
		return err
	}
	if err := j.Store.Apply(mailboxOps(v, raw)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// mailboxOps keep a verified chain where its audience, its issuer and a reader
// of its target find it.
func mailboxOps(v *capability.Verified, raw []byte) []kv.Op {
	leaf, audience, target := v.Leaf(), v.Audience().ID(), v.Grant().Target.Ref
	ops := append(acceptedOps(append(v.Path()[1:], v.Consent())...), []kv.Op{
		{Key: slices.Concat(chainPrefix, leaf[:]), Value: raw},
		{Key: slices.Concat(boxPrefix, audience[:], leaf[:]), Value: []byte{1}},
		{Key: slices.Concat(targetPrefix, audience[:], target[:], leaf[:]), Value: []byte{1}},
	}...)
	// Everybody above may revoke it, and any device of theirs has to find it.
	above := v.Grants()[0].Owner
	for _, g := range v.Grants() {
		ops = append(ops, kv.Op{Key: slices.Concat(issuedPrefix, above[:], leaf[:]), Value: []byte{1}})
		above = g.Audience
	}
	return ops
}

// IssuerOf is the identity that gave the leaf of a chain.
func IssuerOf(v *capability.Verified) statement.ID {
	gs := v.Grants()
	if len(gs) == 1 {
		return gs[0].Owner
	}
	return gs[len(gs)-2].Audience
}

// Mailbox lists an identity's chains.
func (j *Judge) Mailbox(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r MailboxRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if err := checkPage(r.Address, r.After); err != nil {
		return nil, err
	}
	who, err := j.caller(ctx, c, event.Mailbox, r.Authority, r.Digest(), nil)
	if err != nil {
		return nil, err
	}
	prefix := boxPrefix
	if r.Issued {
		prefix = issuedPrefix
	}
	id := who.ID()
	var reply MailboxReply
	if len(r.Address) > 0 && !r.Issued {
		reply, err = j.covering(id, r.Address)
	} else {
		reply, err = j.list(slices.Concat(prefix, id[:]), r)
	}
	if err != nil {
		return nil, err
	}
	return encode(reply), nil
}

// checkPage holds what a request for a page of a list names: an address or none, and
// the id after which it goes on or none.
func checkPage(address, after []byte) error {
	if len(address) > maxAddress || (len(after) != 0 && len(after) != len(statement.ID{})) {
		return fmt.Errorf("%w: what it asks for is no address, or no id", ErrMalformed)
	}
	return nil
}

// covering finds the chains of an audience that cover an address and are in
// force, by what they name: the version, the lineage, or a scope. It returns one
// page of them; a reader needs one. Chains that do not cover it take no room:
// anybody may deliver grants of their own that name the same.
func (j *Judge) covering(who statement.ID, address []byte) (MailboxReply, error) {
	var reply MailboxReply
	d, _, err := j.load(address)
	if err != nil {
		return reply, nil // the same answer as to somebody who holds nothing
	}
	o, err := d.object()
	if err != nil {
		return reply, err
	}
	if o.Owner == who {
		reply.Manifest = d.Manifest
	}
	covers := j.filter(address)
	found, size := map[statement.ID]Delivery{}, 0
	for _, ref := range append([][32]byte{o.Version, o.Lineage}, o.Scopes...) {
		err := j.Store.Scan(slices.Concat(targetPrefix, who[:], ref[:]), nil, func(key, _ []byte) (bool, error) {
			d, raw, err := j.delivery(key)
			if err != nil || !covers(d) {
				return err == nil, err
			}
			if size += len(raw); len(found) == maxDeliveries || size > MaxMailbox-4096 {
				return false, nil
			}
			found[statement.ID(key[len(key)-len(statement.ID{}):])] = d
			return true, nil
		})
		if err != nil {
			return reply, err
		}
	}
	for _, leaf := range slices.SortedFunc(maps.Keys(found), func(a, b statement.ID) int { return bytes.Compare(a[:], b[:]) }) {
		reply.Deliveries = append(reply.Deliveries, found[leaf])
	}
	return reply, nil
}

// delivery reads the chain that an entry of an index ends with.
func (j *Judge) delivery(key []byte) (d Delivery, raw []byte, err error) {
	raw, err = j.Store.Get(slices.Concat(chainPrefix, key[len(key)-len(statement.ID{}):]))
	if err != nil {
		return d, nil, err
	}
	return d, raw, statement.Unmarshal(raw, &d)
}

func (j *Judge) list(prefix []byte, r MailboxRequest) (MailboxReply, error) {
	var reply MailboxReply
	covers := j.filter(r.Address)
	var after []byte
	if len(r.After) > 0 {
		after = slices.Concat(prefix, r.After)
	}
	size := 0
	err := j.Store.Scan(prefix, after, func(key, _ []byte) (bool, error) {
		d, raw, err := j.delivery(key)
		if err != nil {
			return false, err
		}
		if !covers(d) {
			return true, nil
		}
		if len(reply.Deliveries) == maxDeliveries || size+len(raw) > MaxMailbox-4096 {
			reply.More = true
			return false, nil
		}
		size += len(raw)
		reply.Deliveries = append(reply.Deliveries, d)
		return true, nil
	})
	return reply, err
}

// filter keeps the chains that are in force and cover an address; without an
// address it keeps all.
func (j *Judge) filter(address []byte) func(Delivery) bool {
	if len(address) == 0 {
		return func(Delivery) bool { return true }
	}
	d, _, err := j.load(address)
	if err != nil {
		return func(Delivery) bool { return false }
	}
	o, err := d.object()
	if err != nil {
		return func(Delivery) bool { return false }
	}
	return func(del Delivery) bool {
		c, err := capability.ParseChain(del.Chain)
		if err != nil {
			return false
		}
		v, err := j.Verifier.Verify(c)
		return err == nil && v.Allows(0, o) == nil
	}
}

// object is what a stored deposit is about; its manifest was verified before it
// was stored.
func (d *deposit) object() (capability.Object, error) {
	m, address, err := d.manifest()
	if err != nil {
		return capability.Object{}, err
	}
	return ObjectOf(address, m), nil
}
