package home

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
)

func checkName(name string) error {
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fault.New(fault.Usage, "", "an identity's name has 1 to 64 visible characters")
	}
	return nil
}

func newIdentity(name string, kind identity.Kind) (*keystore.Identity, string, error) {
	if err := checkName(name); err != nil {
		return nil, "", err
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
	return &keystore.Identity{Name: name, Document: id.Record(), Device: device.Seed(), Recipient: []byte(secret)}, recoveryText(recovery), nil
}

// Principals are the identities of this home, the default first. The list does
// not change; a home whose identities have changed has another one.
func (h *Home) Principals() []*Principal {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.principals
}

// Principal finds an identity by name; the empty name is the default.
func (h *Home) Principal(name string) (*Principal, error) {
	all := h.Principals()
	if name == "" {
		return all[0], nil
	}
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fault.New(fault.Usage, "see `cerebrum id list`", "this home has no identity named %q", name)
}

// Pending reports a device that has asked to speak for the identity and, as far
// as the home knows, never did.
func (p *Principal) Pending() bool {
	return !slices.Contains(p.Identity.Ever(), p.Device.Public())
}

// change edits the stored identities; durable on return.
func (h *Home) change(edit func([]keystore.Identity) ([]keystore.Identity, error)) error {
	return h.changeKeys(func(c *keystore.Contents) (err error) {
		c.Identities, err = edit(c.Identities)
		return err
	})
}

// changeKeys edits the stored keys; durable on return.
func (h *Home) changeKeys(edit func(*keystore.Contents) error) error {
	h.saving.Lock()
	defer h.saving.Unlock()
	c := h.keys.Contents()
	if err := edit(c); err != nil {
		return err
	}
	if err := h.keys.Save(c); err != nil {
		return err
	}
	return h.load()
}

func nameTaken(all []keystore.Identity, name string) error {
	if slices.ContainsFunc(all, func(k keystore.Identity) bool { return k.Name == name }) {
		return fault.New(fault.Failed, "choose another name", "this home has an identity named %q already", name)
	}
	return nil
}

// NewIdentity adds an identity to the home and returns its recovery secret once.
func (h *Home) NewIdentity(name string, kind identity.Kind) (*Principal, string, error) {
	k, recovery, err := newIdentity(name, kind)
	if err != nil {
		return nil, "", err
	}
	err = h.change(func(all []keystore.Identity) ([]keystore.Identity, error) {
		return append(all, *k), nameTaken(all, name)
	})
	if err != nil {
		return nil, "", err
	}
	p, err := h.Principal(name)
	return p, recovery, err
}

// Enrol makes keys with which this home can become a device of an identity, and
// keeps them under a name; durable on return. Nothing can be done with them before
// the identity lists the device. Where the home has asked before, the same keys
// are returned; where its device was removed, it gets new ones.
func (h *Home) Enrol(name string, of *identity.Identity) (*Principal, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	secret, _, err := keystore.GenerateHybrid()
	if err != nil {
		return nil, err
	}
	fresh := keystore.Identity{Name: name, Document: of.Record(), Device: statement.GenerateKey().Seed(), Recipient: []byte(secret)}
	for _, p := range h.Principals() {
		if p.Identity.ID() != of.ID() {
			continue
		}
		if p.Current {
			return nil, fault.New(fault.Failed, "see `cerebrum id devices`", "this home is a device of that identity already, as %q", p.Name)
		}
		if name = p.Name; p.Pending() {
			return p, nil
		}
	}
	err = h.change(func(all []keystore.Identity) ([]keystore.Identity, error) {
		for i, k := range all {
			if id, err := identity.IDOf(k.Document); err == nil && id == of.ID() {
				all[i].Device, all[i].Recipient = fresh.Device, fresh.Recipient
				return all, nil
			}
		}
		return append(all, fresh), nameTaken(all, name)
	})
	if err != nil {
		return nil, err
	}
	return h.Principal(name)
}

// Forget drops the keys of a device that never spoke for its identity.
func (h *Home) Forget(name string) error {
	p, err := h.Principal(name)
	if err != nil {
		return err
	}
	if !p.Pending() || name == "" {
		return fault.New(fault.Failed, "", "the device speaks or spoke for %q, and its keys are kept", p.Name)
	}
	return h.change(func(all []keystore.Identity) ([]keystore.Identity, error) {
		return slices.DeleteFunc(all, func(k keystore.Identity) bool { return k.Name == name }), nil
	})
}

// Recipient is the public half of what answers to this device are sealed to.
func (p *Principal) Recipient() (string, error) { return keystore.HybridRecipient(p.Secret()) }

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
	if merged, err := p.Identity.With(newer.Records()...); err == nil && bytes.Equal(merged.Record(), p.Identity.Record()) {
		return nil
	}
	return h.change(func(all []keystore.Identity) ([]keystore.Identity, error) {
		for i, k := range all {
			if k.Name != p.Name {
				continue
			}
			old, err := identity.Parse(k.Document)
			if err != nil {
				return nil, err
			}
			merged, err := old.With(newer.Records()...)
			if err != nil {
				return nil, fault.Wrap(fault.Failed, err, "recover the identity: that makes room", "the identity %q", p.Name)
			}
			all[i].Document = merged.Record()
		}
		return all, nil
	})
}
