package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"github.com/ipfs/go-cid"
)

// ownLasts is how long an owner's grant to itself lasts. Another one costs a
// device nothing but a question.
const ownLasts = time.Hour

// toGrant finds the owner of an object among this home's identities, and what a
// grant of it names. A device of the owner need not hold the object.
func (n *Node) toGrant(ctx context.Context, r api.GrantRequest, address cid.Cid) (*home.Principal, capability.Target, error) {
	n.syncIdentities()
	fail := func(err error) (*home.Principal, capability.Target, error) { return nil, capability.Target{}, err }
	h, err := n.library.Find(ctx, address)
	if err != nil && fault.Of(err).Exit != fault.NotFound {
		return fail(err)
	}
	if err != nil {
		owner, m, ferr := n.ownedElsewhere(ctx, r.As, address)
		if errors.Is(ferr, quorum.ErrNotOwned) {
			return fail(err)
		}
		if ferr != nil {
			return fail(ferr)
		}
		target, err := targetOf(address, m, nil, r.ThisVersion)
		return owner, target, err
	}
	m := h.Manifest.Claims()
	owner := n.principalOf(m.Owner)
	if owner == nil {
		return fail(fault.New(fault.Denied, "use `cerebrum delegate GRANT` to hand on a grant that you hold", "only the owner of %s may grant it", address))
	}
	if err := mayAct(owner); err != nil {
		return fail(err)
	}
	target, err := targetOf(address, &m, h, r.ThisVersion)
	return owner, target, err
}

// ownedElsewhere asks the validators which identity of this home owns an object
// that the home does not hold. The error is [quorum.ErrNotOwned] where none does.
func (n *Node) ownedElsewhere(ctx context.Context, as string, address cid.Cid) (*home.Principal, *envelope.Manifest, error) {
	var who []*home.Principal
	for _, p := range n.home.Principals() {
		if as == "" && p.Current || as == p.Name {
			who = append(who, p)
		}
	}
	for _, p := range who {
		if err := mayAct(p); err != nil {
			return nil, nil, err
		}
		if m, err := n.ownedManifest(ctx, p, address); !errors.Is(err, quorum.ErrNotOwned) {
			return p, m, err
		}
	}
	return nil, nil, quorum.ErrNotOwned
}

func (n *Node) ownedManifest(ctx context.Context, p *home.Principal, address cid.Cid) (m *envelope.Manifest, err error) {
	_, err = n.quorum.FindOwned(ctx, p, address.Bytes(), func(block []byte) (err error) {
		m, err = validator.VerifyManifest(address.Bytes(), block, p.Identity)
		return err
	})
	return m, err
}

// targetOf is the object's lineage, a directory's scope, or this version. h is nil
// where the home does not hold it.
func targetOf(address cid.Cid, m *envelope.Manifest, h *object.Held, thisVersion bool) (capability.Target, error) {
	owned := h != nil && h.Owned
	switch {
	// Whether it is the directory or a file in it, only who has its key knows, and
	// a file's scope is the whole directory's.
	case !owned && len(m.Scopes) > 0 && !thisVersion:
		return capability.Target{}, fault.New(fault.Failed, "grant it from the device that added it, or one file of it with --this-version", "this home has no key of the directory that %s belongs to", address)
	case owned && h.IsDirectory() && len(m.Scopes) > 0:
		return capability.Target{Kind: capability.Scope, Ref: m.Scopes[0]}, nil
	case thisVersion:
		return capability.Target{Kind: capability.Version, Ref: validator.ObjectOf(address, m).Version}, nil
	}
	return capability.Target{Kind: capability.Lineage, Ref: m.Lineage}, nil
}

// grantSelf is how an owner reads what this home has no key of: a device that was
// enrolled, or that an identity was recovered on. The owner consents, validators
// sign, and the key comes from the committee as it does to any other reader. The
// error is [quorum.ErrNotOwned] where the validators know another owner, or none.
func (n *Node) grantSelf(ctx context.Context, p *home.Principal, address cid.Cid) (*capability.Verified, error) {
	m, err := n.ownedManifest(ctx, p, address)
	if err != nil {
		return nil, err
	}
	now := n.now()
	g := &capability.Grant{
		Network: n.trust.Network(), Record: n.trust.Current().ID(), Audience: p.Identity.ID(), Subject: uint8(p.Identity.Kind()),
		Target: capability.Target{Kind: capability.Lineage, Ref: m.Lineage}, Abilities: capability.Read,
		Caveats: capability.Caveats{
			NotBefore: now.Add(-capability.ClockSkew).Unix(), Expires: min(now.Add(ownLasts).Unix(), n.trust.Current().Expires), MaxClass: 255,
		},
	}
	if len(m.Scopes) > 0 { // a directory, or a file in one: one grant for all of it
		g.Target = capability.Target{Kind: capability.Scope, Ref: m.Scopes[0]}
	}
	rand.Read(g.Nonce[:])
	made, err := n.mint(ctx, p, p.Identity, g, address, "")
	if err != nil {
		return nil, err
	}
	leaf, err := statement.ParseID(made.Grant)
	if err != nil {
		return nil, err
	}
	_, chain, err := n.stored(issuedPrefix, p.Identity.ID(), leaf)
	if err != nil {
		return nil, fmt.Errorf("the grant that was just kept: %w", err)
	}
	v, err := n.verifier.Verify(chain)
	if err != nil {
		return nil, err
	}
	return v, n.keep(heldPrefix, p.Identity.ID(), v, address.Bytes())
}
