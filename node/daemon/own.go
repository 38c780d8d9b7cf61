package daemon

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
)

// ownLasts is how long an owner's grant to itself lasts. Another one costs a
// device nothing but a question.
const ownLasts = time.Hour

// grantSelf is how an owner reads what this home has no key of: a device that was
// enrolled, or that an identity was recovered on. The owner consents, validators
// sign, and the key comes from the committee as it does to any other reader. The
// error is [quorum.ErrNotOwned] where the validators know another owner, or none.
func (n *Node) grantSelf(ctx context.Context, p *home.Principal, address cid.Cid) (*capability.Verified, error) {
	var m *envelope.Manifest
	_, err := n.quorum.FindOwned(ctx, p, address.Bytes(), func(block []byte) (err error) {
		m, err = validator.VerifyManifest(address.Bytes(), block, p.Identity)
		return err
	})
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
	made, err := n.mint(ctx, p, p.Identity, g, address)
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
