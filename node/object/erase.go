package object

import (
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// Erase destroys the owner's wraps of objects, durably on return: the index
// entries say so first, and lose the sealed wraps last, so that an erasure that
// was interrupted is finished by the next one. What is not here, or is not owned,
// is passed over. The ciphertext goes with [Library.Forget].
func (l *Library) Erase(addresses []cid.Cid) error {
	l.entries.Lock()
	defer l.entries.Unlock()
	var marked, bare []store.Object
	var wraps []keystore.Sealed
	for _, a := range addresses {
		o, err := l.Store.Object(a)
		if errors.Is(err, store.ErrNotFound) || err == nil && !o.Owned {
			continue
		}
		if err != nil {
			return err
		}
		var loc local
		if err := statement.Unmarshal(o.Local, &loc); err != nil {
			return err
		}
		if len(loc.Secret.Ciphertext) == 0 {
			continue
		}
		o.State = StateErased
		marked = append(marked, o)
		wraps = append(wraps, loc.Secret)
		loc.Secret = keystore.Sealed{}
		if o.Local, err = statement.Marshal(loc); err != nil {
			return err
		}
		bare = append(bare, o)
	}
	if len(marked) == 0 {
		return nil
	}
	if err := l.Store.PutObjects(marked); err != nil {
		return err
	}
	if err := l.Secrets.Erase(wraps...); err != nil {
		return err
	}
	return l.Store.PutObjects(bare)
}

func erasedFault(c cid.Cid) error {
	return fault.New(fault.Denied, "nothing brings it back", "%s was erased by its owner", c)
}

// Family are the addresses of owned objects that an erasure of one means: all of
// its scope for a directory, otherwise the versions of its lineage that this home
// made. Those that are erased already are among them.
func (l *Library) Family(h *Held) ([]cid.Cid, error) {
	loc, err := h.local()
	if err != nil {
		return nil, err
	}
	m := h.Manifest.Claims()
	var out []cid.Cid
	err = l.Store.Objects(func(o store.Object) (bool, error) {
		if !o.Owned {
			return true, nil
		}
		var other local
		if err := statement.Unmarshal(o.Local, &other); err != nil {
			return false, err
		}
		same := other.Lineage == loc.Lineage
		if loc.Kind == KindDirectory && len(m.Scopes) > 0 {
			same = string(o.Scope) == string(m.Scopes[0][:])
		}
		if !same {
			return true, nil
		}
		c, err := cid.Cast(o.Address)
		out = append(out, c)
		return true, err
	})
	return out, err
}

// Forget deletes the ciphertext of objects from this home and, where they are not
// owned, that they were ever here; what is here of one that is not in the index goes
// too. Blocks that another object here has stay: owners of two objects that share
// some need not be friends. Manifests of owned objects stay, which name what was
// erased. It may be repeated.
func (l *Library) Forget(ctx context.Context, doomed []cid.Cid) error {
	var held []*Held
	var parts []*blocksOf
	all := map[string]bool{}
	for _, c := range doomed {
		h, err := l.findAny(ctx, c)
		if err != nil {
			return err
		}
		if h == nil {
			continue
		}
		p, err := l.blocksOf(ctx, h)
		if err != nil {
			return err
		}
		for _, part := range [][]cid.Cid{p.leaves, p.inner} {
			for _, b := range part {
				all[b.KeyString()] = true
			}
		}
		held, parts = append(held, h), append(parts, p)
	}
	if err := l.spareOthers(ctx, doomed, all); err != nil {
		return err
	}
	for i, h := range held {
		if err := l.forget(ctx, h, parts[i], all); err != nil {
			return err
		}
	}
	return nil
}

// findAny is Find, and for an object that is not in the index what its manifest
// says, where that is here: a copy that is not whole. It is nil where nothing is.
func (l *Library) findAny(ctx context.Context, c cid.Cid) (*Held, error) {
	h, err := l.Find(ctx, c)
	if err == nil {
		return h, nil
	}
	if fault.Of(err).Exit != fault.NotFound {
		return nil, err
	}
	block, err := l.Store.GetVerified(ctx, c)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := envelope.ParseManifest(c, block)
	if err != nil {
		return nil, nil // some other block
	}
	return &Held{CID: c, Manifest: u, Block: block}, nil
}

// blocksOf are an object's blocks, without its manifest: inner ones from below.
type blocksOf struct{ leaves, inner []cid.Cid }

func (l *Library) blocksOf(ctx context.Context, h *Held) (*blocksOf, error) {
	m := h.Manifest.Claims()
	file, header, payload := m.Links()
	out := &blocksOf{}
	if payload.Defined() {
		var err error
		if out.leaves, out.inner, err = l.below(ctx, payload); err != nil {
			return nil, err
		}
		slices.Reverse(out.inner)
	}
	for _, c := range []cid.Cid{header, file} {
		if c.Defined() {
			out.inner = append(out.inner, c)
		}
	}
	return out, nil
}

// spareOthers takes out of all the blocks that objects beside the doomed ones have.
// Leaves are not read for that.
func (l *Library) spareOthers(ctx context.Context, doomed []cid.Cid, all map[string]bool) error {
	skip := map[string]bool{}
	for _, c := range doomed {
		skip[c.KeyString()] = true
	}
	return l.Store.Objects(func(o store.Object) (bool, error) {
		if skip[string(o.Address)] || o.State == StateErased || len(all) == 0 {
			return len(all) > 0 && ctx.Err() == nil, ctx.Err()
		}
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := l.Find(ctx, c)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // a damaged one names nothing that could be read
		}
		p, err := l.blocksOf(ctx, h)
		if err != nil {
			return false, err
		}
		for _, part := range [][]cid.Cid{p.leaves, p.inner} {
			for _, b := range part {
				delete(all, b.KeyString())
			}
		}
		return true, ctx.Err()
	})
}

// forget deletes those of an object's blocks that are in all.
func (l *Library) forget(ctx context.Context, h *Held, p *blocksOf, all map[string]bool) error {
	others := func(c cid.Cid) bool { return !all[c.KeyString()] }
	inner := slices.DeleteFunc(p.inner, others)
	if !h.Owned {
		inner = append(inner, h.CID)
	}
	// From below: what an interruption leaves is found from above.
	for _, part := range [][]cid.Cid{slices.DeleteFunc(p.leaves, others), inner} {
		if err := l.deleteBlocks(ctx, part); err != nil {
			return err
		}
	}
	if h.Owned {
		return nil
	}
	return l.Store.DeleteObject(h.CID)
}

func (l *Library) deleteBlocks(ctx context.Context, cids []cid.Cid) error {
	const batch = 4096
	for len(cids) > 0 {
		n := min(len(cids), batch)
		if err := l.Store.Delete(ctx, cids[:n]); err != nil {
			return err
		}
		cids = cids[n:]
	}
	return nil
}

// below lists the blocks of a payload that are here, parents before children
// among inner; those that are missing or damaged end their branch.
func (l *Library) below(ctx context.Context, root cid.Cid) (leaves, inner []cid.Cid, err error) {
	seen := map[cid.Cid]bool{}
	var walk func(c cid.Cid, depth int) error
	walk = func(c cid.Cid, depth int) error {
		if depth > envelope.MaxDepth || seen[c] {
			return nil
		}
		seen[c] = true
		data, err := l.Store.Get(ctx, c)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		inner = append(inner, c)
		node, err := envelope.ParseNode(data)
		if err != nil {
			return nil
		}
		for _, ch := range node.Children {
			if ch.Leaf {
				leaves = append(leaves, ch.CID)
			} else if err := walk(ch.CID, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return leaves, inner, walk(root, 0)
}
