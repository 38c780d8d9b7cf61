package home

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
)

func newIdentity(name string, kind identity.Kind) (*keystore.Identity, string, error) {
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, "", fault.New(fault.Usage, "", "an identity's name has 1 to 64 visible characters")
	}
	device, recovery := statement.GenerateKey(), statement.GenerateKey()
	secret, recipient, err := keystore.GenerateHybrid()
	if err != nil {
		return nil, "", err
	}
	var nonce [16]byte
	rand.Read(nonce[:])
	id, err := identity.Incept(kind, device, recipient, recovery.Public(), nonce)
	if err != nil {
		return nil, "", err
	}
	text := recoveryPrefix + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(recovery.Seed())
	return &keystore.Identity{Name: name, Document: id.Record(), Device: device.Seed(), Recipient: []byte(secret)}, text, nil
}

// Principals are the identities of this home, the default first.
func (h *Home) Principals() []*Principal { return h.principals }

// Principal finds an identity by name; the empty name is the default.
func (h *Home) Principal(name string) (*Principal, error) {
	if name == "" {
		return h.principals[0], nil
	}
	for _, p := range h.principals {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fault.New(fault.Usage, "see `cerebrum id list`", "this home has no identity named %q", name)
}

// NewIdentity adds an identity to the home and returns its recovery secret once.
func (h *Home) NewIdentity(name string, kind identity.Kind) (*Principal, string, error) {
	if slices.ContainsFunc(h.principals, func(p *Principal) bool { return p.Name == name }) {
		return nil, "", fault.New(fault.Failed, "choose another name", "this home has an identity named %q already", name)
	}
	k, recovery, err := newIdentity(name, kind)
	if err != nil {
		return nil, "", err
	}
	c := h.keys.Contents()
	c.Identities = append(c.Identities, *k)
	if err := h.keys.Save(c); err != nil {
		return nil, "", err
	}
	if err := h.load(); err != nil {
		return nil, "", err
	}
	p, err := h.Principal(name)
	return p, recovery, err
}

// UpdateIdentity merges what another copy of an identity's document knows into
// the home's own; nothing that the home knows is lost. It is durable on return.
// A document of another identity is refused. One that ends this home's device is
// taken, for that is how the home learns it: [Principal.Current] says so then,
// in principals got from now on.
func (h *Home) UpdateIdentity(name string, newer *identity.Identity) error {
	p, err := h.Principal(name)
	if err != nil {
		return err
	}
	if newer.ID() != p.Identity.ID() {
		return fault.New(fault.Failed, "", "the document belongs to another identity than %q", p.Name)
	}
	merged, err := p.Identity.With(newer.Records()...)
	if err != nil {
		return fault.Wrap(fault.Failed, err, "recover the identity: that makes room", "the identity %q", p.Name)
	}
	if bytes.Equal(merged.Record(), p.Identity.Record()) {
		return nil
	}
	c := h.keys.Contents()
	for i := range c.Identities {
		if c.Identities[i].Name == p.Name {
			c.Identities[i].Document = merged.Record()
		}
	}
	if err := h.keys.Save(c); err != nil {
		return err
	}
	return h.load()
}
