package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

var (
	chainPrefix  = []byte("chain/")  // + leaf id -> Delivery
	boxPrefix    = []byte("box/")    // + audience + leaf id
	issuedPrefix = []byte("issued/") // + issuer of it or of what it hangs on + leaf id
	targetPrefix = []byte("target/") // + audience + target's ref + leaf id
)

// Sign judges a root grant and signs it: its form, the owner's consent, policy.
// What policy leaves open waits on the desk. The decision is in the audit log
// before the signature leaves.
func (j *Judge) Sign(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r SignRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if len(r.Reason) > maxWords {
		return nil, fmt.Errorf("%w: a reason has at most %d bytes", ErrMalformed, maxWords)
	}
	if !j.Fresh.Fresh() {
		return nil, fmt.Errorf("%w: it does not hear enough other validators", ErrUnavailable)
	}
	_, seat, err := j.sitting()
	if err != nil {
		return nil, err
	}
	d, err := j.readGrant(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	mayKnow := j.askedBy(c, r, d.asker)
	if d.asker != d.owner && !mayKnow { // a reason in another's name would be worth nothing
		id, of := d.audience.ID(), d.statement.ID()
		return nil, j.deny(ctx, "grant", id[:], of[:], errors.New("under a standing consent the audience asks by itself"))
	}
	j.desk.mu.Lock() // two requests for one grant must not both begin to wait
	defer j.desk.mu.Unlock()
	if reply, err := j.decided(d, mayKnow); reply != nil || err != nil {
		return reply, err
	}
	v, err := j.decideGrant(d, r.Reason)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Allow:
		return j.signGrant(ctx, d, seat, v.Bundle)
	case v.Settled:
		return nil, j.denyGrant(ctx, d, v, mayKnow)
	}
	return j.wait(ctx, c, r, d, v)
}

// askedBy reports whether a request carries the proof of an identity.
func (j *Judge) askedBy(c Conn, r SignRequest, asker *identity.Identity) bool {
	if len(r.Authority) == 0 {
		return false
	}
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return false
	}
	who, _, err := j.Verifier.OpenIdentity(a, j.expect(c, r.Digest()))
	return err == nil && who.ID() == asker.ID()
}

func (j *Judge) signGrant(ctx context.Context, d *draft, seat int, bundle statement.ID) ([]byte, error) {
	asker, id := d.asker.ID(), d.statement.ID()
	if err := j.Audit.Append(ctx, under(j.event("grant", "ok", asker[:], d.Audience[:], d.Target.Ref[:], id[:], ""), bundle)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := j.leave(id); err != nil { // policy has changed while it waited
		return nil, err
	}
	if err := j.Store.Apply(acceptedOps(d.consent)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	d.statement.AddSignature(uint16(seat), j.Signing)
	return encode(SignReply{Grant: d.statement.Bytes()}), nil
}

// denyGrant records a denial by policy, and tells whoever asks what was wanting.
func (j *Judge) denyGrant(ctx context.Context, d *draft, v *verdict, mayKnow bool) error {
	asker, id := d.asker.ID(), d.statement.ID()
	if err := j.Audit.Append(ctx, under(j.event("grant", "denied", asker[:], d.Audience[:], d.Target.Ref[:], id[:], v.Rule()), v.Bundle)); err != nil {
		return ErrUnavailable
	}
	if err := j.leave(id); err != nil {
		return err
	}
	if mayKnow {
		return &PolicyError{Wants: v.wants}
	}
	return ErrDenied
}

// draft is a root grant that lacks nothing but validators' signatures.
type draft struct {
	capability.Grant
	statement       *statement.Statement
	owner, audience *identity.Identity
	// asker is whom policy is asked about: the owner, or under a standing consent
	// the audience, which asks by itself.
	asker   *identity.Identity
	consent statement.ID // that the owner signed
}

// readGrant checks a root grant and the owner's consent to it.
func (j *Judge) readGrant(r SignRequest) (*draft, error) {
	bad := func(err error) (*draft, error) { return nil, err }
	in, err := statement.Parse(r.Grant)
	if err != nil {
		return bad(err)
	}
	var g capability.Grant
	if err := in.Peek(capability.KindGrant, &g); err != nil {
		return bad(err)
	}
	if err := g.Check(); err != nil {
		return bad(err)
	}
	if len(r.Identities) != 2 {
		return bad(errors.New("the records of owner and audience are needed"))
	}
	owner, err := j.Verifier.Identity(r.Identities[0])
	if err != nil {
		return bad(err)
	}
	audience, err := j.Verifier.Identity(r.Identities[1])
	if err != nil {
		return bad(err)
	}
	now := j.Now().Unix()
	switch {
	case len(g.Parent) != 0 || g.Network != j.Trust.Network() || g.Record != j.Trust.Current().ID():
		return bad(errors.New("it is for another network or committee record"))
	case g.Owner != owner.ID() || g.Audience != audience.ID() || g.Subject != uint8(audience.Kind()):
		return bad(errors.New("its owner or audience is another identity"))
	case g.Caveats.Expires <= now || g.Caveats.Expires > j.Trust.Current().Expires:
		return bad(errors.New("it expires in the past or after the committee record"))
	}
	standing, err := j.Verifier.Consented(in.ID(), &g, r.Consent, owner)
	if err != nil {
		return bad(err)
	}
	if standing != nil && standing.Role != "" && !slices.Contains(j.Roles.Roles(audience.ID(), j.Now()), standing.Role) {
		return bad(errors.New("its owner consents to the holders of a role, of whom its audience is none"))
	}
	if slices.Contains(j.Set.Revokers(in.ID()), owner.ID()) {
		return bad(errors.New("its owner has revoked it"))
	}
	// Sign our own copy: whatever signatures came with it are not ours to pass on.
	out, err := statement.New(capability.KindGrant, g)
	if err != nil {
		return bad(err)
	}
	consent, err := statement.Parse(r.Consent)
	if err != nil {
		return bad(err)
	}
	d := &draft{Grant: g, statement: out, owner: owner, audience: audience, asker: owner, consent: consent.ID()}
	if standing != nil {
		d.asker = audience
	}
	return d, nil
}

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
		return j.deny(ctx, "deliver", nil, nil, err)
	}
	if len(d.Hint) > 0 {
		if _, err := cid.Cast(d.Hint); err != nil || len(d.Hint) > 64 {
			return fmt.Errorf("%w: its hint is no address", ErrMalformed)
		}
	}
	leaf, audience, issuer := v.Leaf(), v.Audience().ID(), IssuerOf(v)
	if err := j.Audit.Append(ctx, j.event("deliver", "ok", issuer[:], audience[:], nil, leaf[:], "")); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
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
	if len(r.Address) > maxAddress || (len(r.After) != 0 && len(r.After) != len(statement.ID{})) {
		return nil, fmt.Errorf("%w: what it asks for is no address, or no id", ErrMalformed)
	}
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	who, _, err := j.Verifier.OpenIdentity(a, j.expect(c, r.Digest()))
	if err != nil {
		return nil, j.deny(ctx, "mailbox", nil, nil, err)
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

func principalKind(k identity.Kind) string {
	switch k {
	case identity.Agent:
		return "Agent"
	case identity.Service:
		return "Service"
	}
	return "User"
}
