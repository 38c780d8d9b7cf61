package daemon

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
)

const tokenPrefix = "cerebrum-grant-1."

// maxGrant is the longest that a grant may last.
const maxGrant = 30 * 24 * time.Hour

// maxGrantReason is the longest reason that validators take, in bytes.
const maxGrantReason = 256

// Grant implements api.Service: the owner consents, validators sign, the chain
// goes to its audience's mailbox.
func (n *Node) Grant(ctx context.Context, r api.GrantRequest) (*api.Granted, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	owner, target, err := n.toGrant(ctx, r, address)
	if err != nil {
		return nil, err
	}
	g, to, err := n.newGrant(r, owner)
	if err != nil {
		return nil, err
	}
	g.Target = target
	return n.mint(ctx, owner, to, g, address, r.Reason)
}

// newGrant fills in what grants and links have in common.
func (n *Node) newGrant(r api.GrantRequest, from *home.Principal) (*capability.Grant, *identity.Identity, error) {
	to, err := identity.ParseContact(r.To)
	if err != nil {
		if p, perr := n.home.Principal(r.To); perr == nil && r.To != "" {
			to = p.Identity
		} else {
			return nil, nil, fault.Wrap(fault.Usage, err, "a contact is what `cerebrum id show` prints", "--to is no contact and no identity of this home")
		}
	}
	can, err := capability.ParseAbilities(r.Can)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Usage, err, "", "--can")
	}
	lasts := time.Duration(r.Seconds) * time.Second
	if lasts <= 0 || lasts > maxGrant {
		return nil, nil, fault.New(fault.Usage, "", "--for is a time of at most %d days, such as 24h", int(maxGrant.Hours()/24))
	}
	can, depth, err := handedOn(can, r.Depth)
	if err != nil {
		return nil, nil, err
	}
	class, err := maxClass(r.MaxClass)
	if err != nil {
		return nil, nil, err
	}
	now, record := n.now().Unix(), n.trust.Current()
	g := &capability.Grant{
		Network: n.trust.Network(), Record: record.ID(), Audience: to.ID(), Subject: uint8(to.Kind()),
		Abilities: can, Depth: depth,
		Caveats: capability.Caveats{
			Purposes: r.Purposes, NotBefore: now - int64(capability.ClockSkew/time.Second),
			Expires: min(now+r.Seconds, record.Expires), MaxClass: class, Regions: r.Regions, Offline: r.Offline,
		},
	}
	rand.Read(g.Nonce[:])
	if err := g.CheckCaveats(); err != nil {
		return nil, nil, fault.Wrap(fault.Usage, err, "", "the grant cannot be made")
	}
	return g, to, nil
}

// handedOn puts the ability to delegate and a depth together: each implies the other,
// and the ability without a depth gives depth 1.
func handedOn(can capability.Abilities, depth int) (capability.Abilities, uint8, error) {
	if depth < 0 || depth > capability.MaxLinks {
		return 0, 0, fault.New(fault.Usage, "", "--depth is 0 to %d, not %d", capability.MaxLinks, depth)
	}
	if can&capability.Delegate != 0 && depth == 0 {
		depth = 1
	}
	if depth > 0 {
		can |= capability.Delegate
	}
	return can, uint8(depth), nil
}

// maxClass reads the highest classification; where none is named, any.
func maxClass(n *int) (uint8, error) {
	switch {
	case n == nil:
		return 255, nil
	case *n < 0 || *n > 255:
		return 0, fault.New(fault.Usage, "", "--classification is 0, which is public, to 255, not %d", *n)
	}
	return uint8(*n), nil
}

func (n *Node) mint(ctx context.Context, owner *home.Principal, to *identity.Identity, g *capability.Grant, hint cid.Cid, reason string) (*api.Granted, error) {
	if len(reason) > maxGrantReason {
		return nil, fault.New(fault.Usage, "", "a reason has at most %d bytes", maxGrantReason)
	}
	g.Owner = owner.Identity.ID()
	unsigned, err := statement.New(capability.KindGrant, g)
	if err != nil {
		return nil, err
	}
	consent, err := signAs(owner, capability.KindConsent, capability.Consent{Network: g.Network, Grant: unsigned.ID()})
	if err != nil {
		return nil, err
	}
	p := &pendingGrant{
		Owner: g.Owner, Grant: unsigned.Bytes(), Consent: consent, Hint: hint.Bytes(), Reason: reason,
		Identities: [][]byte{owner.Identity.Record(), to.Record()},
	}
	return n.signed(ctx, owner, p)
}

// signed gathers signatures under a grant for who asks and delivers it, or keeps it
// until persons have decided.
func (n *Node) signed(ctx context.Context, asker *home.Principal, p *pendingGrant) (*api.Granted, error) {
	done, err := n.collect(ctx, asker, p)
	if err != nil {
		return nil, err
	}
	if !done {
		return n.keepPending(ctx, p)
	}
	return n.complete(ctx, p)
}

func signAs(p *home.Principal, kind statement.Kind, body any) ([]byte, error) {
	s, err := identity.Sign(kind, body, p.Device)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}

// deliver verifies a finished chain as everybody will, records it, hands it to
// the mailbox of its audience and keeps it for a later revocation.
func (n *Node) deliver(ctx context.Context, chain *capability.Chain, issuer statement.ID, hint cid.Cid, action event.Action) (*api.Granted, error) {
	v, err := n.verifier.Verify(chain)
	if err != nil {
		return nil, fault.Wrap(fault.Denied, err, "grant or delegate less", "what was made")
	}
	leaf := v.Leaf()
	if err := n.record(ctx, action, event.OK, event.Act{Actor: issuer, Subject: v.Audience().ID(), Object: hint.Bytes(), Owner: v.Grants()[0].Owner, Grant: leaf[:]}); err != nil {
		return nil, err
	}
	if err := n.keep(issuedPrefix, issuer, v, hint.Bytes()); err != nil {
		return nil, err
	}
	d := validator.Delivery{Chain: chain.Bytes(), Hint: hint.Bytes()}
	if err := n.quorum.SendDelivery(ctx, d); err != nil {
		return nil, err
	}
	token, err := encodeToken(d)
	if err != nil {
		return nil, err
	}
	return &api.Granted{
		Grant: leaf.String(), Expires: stamp(v.Grant().Caveats.Expires), State: "granted", Token: token,
	}, nil
}

// A token is a Delivery for people to carry. What it grants is signed, its hint
// is not, so a checksum over both tells what a hand or a mail client damaged.
const tokenSum = 8

func encodeToken(d validator.Delivery) (string, error) {
	raw, err := statement.Marshal(d)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(raw, sum[:tokenSum]...)), nil
}

// decodeToken reads what encodeToken writes. Space around it and line breaks inside it,
// which mail programs add, are ignored.
func decodeToken(token string) (d validator.Delivery, err error) {
	const hint = "copy the whole token, in one line"
	text, ok := strings.CutPrefix(strings.TrimSpace(token), tokenPrefix)
	if !ok {
		return d, fault.New(fault.Usage, hint, "a token begins with %q", tokenPrefix)
	}
	damaged := fault.New(fault.Usage, hint, "the token is damaged")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < tokenSum {
		return d, damaged
	}
	body, tail := raw[:len(raw)-tokenSum], raw[len(raw)-tokenSum:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:tokenSum], tail) {
		return d, damaged
	}
	if err := statement.Unmarshal(body, &d); err != nil {
		return d, damaged
	}
	return d, nil
}

func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

// Delegate implements api.Service.
func (n *Node) Delegate(ctx context.Context, r api.GrantRequest) (*api.Granted, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	id, err := statement.ParseID(r.Parent)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum grants --mine`", "that is no grant")
	}
	d, parent, err := n.heldGrant(ctx, p, id)
	if err != nil {
		return nil, err
	}
	g, to, err := n.newGrant(r, p)
	if err != nil {
		return nil, err
	}
	v, err := n.verifier.Verify(parent)
	if err != nil {
		return nil, fault.Wrap(fault.Denied, err, "ask its issuer for another", "the grant %s", id)
	}
	above := v.Grant()
	g.Parent, g.Owner, g.Target, g.Record = id[:], above.Owner, above.Target, above.Record
	g.Caveats.NotBefore = max(g.Caveats.NotBefore, above.Caveats.NotBefore)
	g.Caveats.Attestation = above.Caveats.Attestation
	if r.MaxClass == nil {
		g.Caveats.MaxClass = above.Caveats.MaxClass
	}
	if len(r.Regions) == 0 {
		g.Caveats.Regions = above.Caveats.Regions
	}
	if len(r.Purposes) == 0 {
		g.Caveats.Purposes = above.Caveats.Purposes
	}
	if err := g.Within(&above); err != nil {
		return nil, fault.Wrap(fault.Denied, err, "delegate less, or ask its issuer for more", "the delegation is wider than the grant")
	}
	link, err := signAs(p, capability.KindLink, g)
	if err != nil {
		return nil, err
	}
	chain := &capability.Chain{Grant: parent.Grant, Consent: parent.Consent, Links: append(slices.Clip(parent.Links), link), Identities: slices.Clip(parent.Identities)}
	known := v.Owner().ID() == to.ID() || slices.ContainsFunc(v.Grants(), func(g *capability.Grant) bool { return g.Audience == to.ID() })
	if !known {
		chain.Identities = append(chain.Identities, to.Record())
	}
	hint, err := cid.Cast(d.Hint)
	if err != nil {
		hint = cid.Undef
	}
	out, err := n.deliver(ctx, chain, p.Identity.ID(), hint, event.Delegate)
	if err != nil {
		return nil, err
	}
	out.Signatures = 1
	return out, nil
}

// heldGrant finds a grant of an identity here or in its mailbox.
func (n *Node) heldGrant(ctx context.Context, p *home.Principal, id statement.ID) (*validator.Delivery, *capability.Chain, error) {
	if d, c, err := n.stored(heldPrefix, p.Identity.ID(), id); err == nil {
		return d, c, nil
	}
	ds, err := n.quorum.PullMailbox(ctx, p, nil, false)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range ds {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			continue
		}
		if leaf, err := c.Leaf(); err != nil || leaf != id {
			continue
		}
		if _, err := n.verifier.VerifyPast(c); err == nil { // one validator's broken copy does not hide another's
			return &d, c, nil
		}
	}
	return nil, nil, fault.New(fault.NotFound, "see `cerebrum grants --mine`", "you hold no grant %s", id)
}

// Accept implements api.Service.
func (n *Node) Accept(ctx context.Context, r api.AcceptRequest) (*api.Granted, error) {
	if n.trust == nil {
		return nil, n.needsNetwork()
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	d, err := decodeToken(r.Token)
	if err != nil {
		return nil, err
	}
	const hint = "ask its issuer to send it again"
	c, err := capability.ParseChain(d.Chain)
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, hint, "the token")
	}
	v, err := n.verifier.Verify(c)
	switch {
	case errors.Is(err, capability.ErrExpired), errors.Is(err, capability.ErrRevoked):
		return nil, fault.Wrap(fault.Denied, err, "ask its issuer for a new one", "the token")
	case err != nil:
		return nil, fault.Wrap(fault.Integrity, err, hint, "the token")
	case v.Audience().ID() != p.Identity.ID():
		return nil, fault.New(fault.Denied, "name the identity that it is for with --as", "the grant is for another identity")
	}
	leaf := v.Leaf()
	if err := n.record(ctx, event.Accept, event.OK, event.Act{Actor: p.Identity.ID(), Object: d.Hint, Owner: v.Grants()[0].Owner, Grant: leaf[:]}); err != nil {
		return nil, err
	}
	if err := n.keep(heldPrefix, p.Identity.ID(), v, d.Hint); err != nil {
		return nil, err
	}
	return &api.Granted{Grant: leaf.String(), Expires: stamp(v.Grant().Caveats.Expires), State: "granted", Signatures: int(n.trust.Current().Numbers.K)}, nil
}
