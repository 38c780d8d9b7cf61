package daemon

import (
	"context"
	"errors"
	"io"
	"slices"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// A grant that allows offline use lets its holder keep a key until the grant
// expires. The key lies in the erasable store, so that it can be destroyed; the
// keys of all other grants never touch the disk.

// keptKey is what is kept of an object under a grant for offline use.
type keptKey struct {
	_      struct{} `cbor:",toarray"`
	Leaf   statement.ID
	Key    statement.ID // its id, by which an erasure finds it
	Chain  []byte
	Secret keystore.Sealed
}

// keptName is where the key of an object is kept for an identity.
func keptName(who statement.ID, address cid.Cid) []byte {
	return slices.Concat(who[:], address.Bytes())
}

// keepKey keeps an object's key where its grant allows that.
func (n *Node) keepKey(who statement.ID, v *capability.Verified, address cid.Cid, key statement.ID, secret committee.Secret) error {
	if !v.MayKeep() {
		return nil
	}
	name := keptName(who, address)
	if k, err := n.keptKey(name); err == nil && k.Leaf == v.Leaf() {
		return nil
	}
	sealed, err := n.secrets.SealMany([]keystore.Item{{AAD: name, Secret: secret.Bytes()}})
	if err != nil {
		return err
	}
	old, err := n.keptKey(name)
	raw, merr := statement.Marshal(keptKey{Leaf: v.Leaf(), Key: key, Chain: v.Chain().Bytes(), Secret: sealed[0]})
	if merr != nil {
		return merr
	}
	if aerr := n.kept.Apply([]kv.Op{{Key: name, Value: raw}}); aerr != nil {
		return aerr
	}
	if err == nil {
		return n.secrets.Erase(old.Secret)
	}
	return nil
}

func (n *Node) keptKey(name []byte) (*keptKey, error) {
	raw, err := n.kept.Get(name)
	if err != nil {
		return nil, err
	}
	var k keptKey
	return &k, statement.Unmarshal(raw, &k)
}

// openKept gives a key that is kept and may be used now. One whose grant has
// ended is destroyed.
func (n *Node) openKept(p *home.Principal, address cid.Cid) (*capability.Verified, committee.Secret, error) {
	name := keptName(p.Identity.ID(), address)
	k, err := n.keptKey(name)
	if err != nil {
		return nil, committee.Secret{}, err
	}
	c, err := capability.ParseChain(k.Chain)
	if err != nil {
		return nil, committee.Secret{}, err
	}
	v, err := n.verifier.Verify(c)
	if err == nil && n.set.Barred(k.Key) {
		err = errErased
	}
	if err != nil {
		return nil, committee.Secret{}, errors.Join(err, n.dropKept(name, k))
	}
	raw, err := n.secrets.Open(k.Secret, name)
	if err != nil {
		return nil, committee.Secret{}, err
	}
	secret, err := committee.SecretFromBytes(raw)
	return v, secret, err
}

// dropKept destroys a key that was kept: first the record, then the slot, which
// the next start reclaims where a crash comes in between.
func (n *Node) dropKept(name []byte, k *keptKey) error {
	if err := n.kept.Apply([]kv.Op{{Key: name, Delete: true}}); err != nil {
		return err
	}
	return n.secrets.Erase(k.Secret)
}

// sweepKept destroys the keys whose grants have ended and those that were erased,
// and lists the slots of the others.
func (n *Node) sweepKept() (slots map[uint64]bool, err error) {
	slots = map[uint64]bool{}
	type ended struct {
		name []byte
		key  *keptKey
	}
	var over []ended
	err = n.kept.Scan(nil, nil, func(name, raw []byte) (bool, error) {
		var k keptKey
		if err := statement.Unmarshal(raw, &k); err != nil {
			return false, err
		}
		c, err := capability.ParseChain(k.Chain)
		if err == nil {
			_, err = n.verifier.Verify(c)
		}
		if err == nil && n.set.Barred(k.Key) {
			err = errErased
		}
		if err != nil {
			over = append(over, ended{slices.Clone(name), &k})
			return true, nil
		}
		slots[k.Secret.Slot] = true
		return true, nil
	})
	for _, e := range over {
		err = errors.Join(err, n.dropKept(e.name, e.key))
	}
	return slots, err
}

// offline goes on with a kept key where the validators cannot be reached.
func (r *reading) offline(address cid.Cid, why error) error {
	if fault.Of(why).Exit != fault.Unavailable {
		return why
	}
	v, secret, err := r.n.openKept(r.p, address)
	if err != nil || v.Leaf() != r.v.Leaf() {
		return why
	}
	r.kept = &secret
	return nil
}

// getKept reads an object whose ciphertext and key are both in this home: no
// network is needed. It reports false where one of them is not.
func (n *Node) getKept(ctx context.Context, p *home.Principal, h *object.Held, r api.GetRequest, to *target, got *api.Got) (bool, error) {
	v, secret, err := n.openKept(p, h.CID)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return true, n.noAuthority(h.CID, err)
	}
	if err := v.AllowsPurpose(r.Purpose); err != nil {
		return true, fault.Wrap(fault.Denied, err, "state the purpose with --purpose", "%s", h.CID)
	}
	o, err := n.library.OpenWith(ctx, h, v.Owner(), secret)
	if err != nil {
		return true, err
	}
	if o.Details.Kind == object.KindDirectory {
		return false, nil
	}
	var content io.Reader
	if r.Ranged {
		content, err = n.library.ReadRange(ctx, o, object.Range{First: r.First, Last: r.Last})
	} else {
		content, err = n.library.Read(ctx, o)
	}
	if err != nil {
		return true, err
	}
	got.From, got.Name, got.Origin = append(got.From, "local"), o.Details.Name, originShown(o.Details.Origin)
	got.Size, err = to.write(ctx, content, wanted(r, o))
	return true, err
}
