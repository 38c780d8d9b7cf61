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
// owned, that they were ever here. Blocks that another object here has too stay.
// Manifests of owned objects stay, which name what was erased. It may be repeated.
func (l *Library) Forget(ctx context.Context, doomed []cid.Cid) error {
	others, err := l.rootsBeside(ctx, doomed)
	if err != nil {
		return err
	}
	for _, c := range doomed {
		h, err := l.Find(ctx, c)
		if err != nil {
			if fault.Of(err).Exit == fault.NotFound {
				continue
			}
			return err
		}
		if err := l.forget(ctx, h, others); err != nil {
			return err
		}
	}
	return nil
}

// rootsBeside are the file roots, headers and payloads of the other objects.
func (l *Library) rootsBeside(ctx context.Context, doomed []cid.Cid) (map[string]bool, error) {
	skip := map[string]bool{}
	for _, c := range doomed {
		skip[c.KeyString()] = true
	}
	out := map[string]bool{}
	err := l.Store.Objects(func(o store.Object) (bool, error) {
		if skip[string(o.Address)] || o.State == StateErased {
			return true, ctx.Err()
		}
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := l.Find(ctx, c)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // a damaged one names nothing that could be read
		}
		m := h.Manifest.Claims()
		for _, root := range [][]byte{m.File, m.Header, m.Payload} {
			out[string(root)] = true
		}
		return true, nil
	})
	return out, err
}

func (l *Library) forget(ctx context.Context, h *Held, others map[string]bool) error {
	m := h.Manifest.Claims()
	file, header, payload := m.Links()
	var leaves, inner []cid.Cid
	if payload.Defined() && !others[payload.KeyString()] {
		var err error
		if leaves, inner, err = l.below(ctx, payload); err != nil {
			return err
		}
		slices.Reverse(inner)
	}
	for _, c := range []cid.Cid{header, file} {
		if c.Defined() && !others[c.KeyString()] {
			inner = append(inner, c)
		}
	}
	if !h.Owned {
		inner = append(inner, h.CID)
	}
	// From below: what an interruption leaves is found from above.
	for _, part := range [][]cid.Cid{leaves, inner} {
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
