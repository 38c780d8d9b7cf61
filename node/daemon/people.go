package daemon

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// followEvery is how often a node looks whether the logs have told it something
// of its own identities. It looks at a counter.
const followEvery = time.Second

// followIdentities keeps the home's own documents current until ctx ends.
func (n *Node) followIdentities(ctx context.Context) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		n.syncIdentities()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// syncIdentities folds what the logs know of this home's identities into the home:
// a device that another one took in learns it, and one that was removed too.
func (n *Node) syncIdentities() {
	if n.set == nil {
		return
	}
	changes := n.set.Changes() + 1 // before the look, so that nothing falls between
	if n.synced.Load() == changes {
		return
	}
	for _, p := range n.home.Principals() {
		newer, err := p.Identity.With(n.set.IdentityRecords(p.Identity.ID())...)
		if err == nil && !bytes.Equal(newer.Record(), p.Identity.Record()) {
			err = n.home.UpdateIdentity(p.Name, newer)
		}
		if err != nil {
			n.log.Error("an identity of this home cannot be brought up to date", "identity", p.Name, "err", err)
			return // looked at again
		}
	}
	n.synced.Store(changes)
}

// principal finds an identity of this home, as it stands now.
func (n *Node) principal(name string) (*home.Principal, error) {
	n.syncIdentities()
	return n.home.Principal(name)
}

// actor finds an identity that this home may act for.
func (n *Node) actor(name string) (*home.Principal, error) {
	p, err := n.principal(name)
	if err != nil {
		return nil, err
	}
	return p, mayAct(p)
}

func mayAct(p *home.Principal) error {
	switch {
	case p.Current:
		return nil
	case p.Pending():
		return fault.New(fault.Denied, "run `cerebrum id add-device` on a device that speaks for it, then `cerebrum id adopt` here", "this device does not speak for the identity %q yet", p.Name)
	}
	return fault.New(fault.Denied, "take it back with `cerebrum id recover`, or enrol again with `cerebrum id enrol`", "this device was removed from the identity %q", p.Name)
}

// fingerprint is how people compare device keys: 80 bits of the key's digest, in
// groups that can be read aloud.
func fingerprint(key statement.PublicKey) string {
	d := key.Digest()
	text := hex.EncodeToString(d[:10])
	var groups []string
	for ; len(text) > 0; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, "-")
}

// findDevice finds who speaks or spoke for an identity by a fingerprint, or by
// its beginning where that is enough.
func findDevice(id *identity.Identity, text string) (key statement.PublicKey, err error) {
	const least = 4
	text = strings.ToLower(strings.TrimSpace(text))
	found := 0
	for _, k := range id.Ever() {
		if len(text) >= least && strings.HasPrefix(fingerprint(k), text) {
			key = k
			found++
		}
	}
	if found != 1 {
		return key, fault.New(fault.NotFound, "see `cerebrum id devices`", "%d devices of the identity have the fingerprint %q", found, text)
	}
	return key, nil
}
