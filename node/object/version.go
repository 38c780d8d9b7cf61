package object

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// A version is an object of its own, with a file key, a key id and a secret of
// its own; it shares lineage, scopes and labels with the one that it follows.
// Its index entry and the mark of the version before, which names it, are
// written in one batch.

// Base is an owned object that a new version may follow.
type Base struct {
	Address  cid.Cid
	manifest envelope.Manifest
	labels   []validator.Label
	class    uint8
}

// Base checks that a new version may follow an owned object: it is a file, and
// the newest version that this home made. Otherwise the error names the newer one.
func (h *Held) Base() (*Base, error) {
	loc, err := h.local()
	switch {
	case !h.Owned:
		return nil, fault.New(fault.Denied, "add it as an object of your own", "only the owner of %s writes versions of it", h.CID)
	case err != nil:
		return nil, err
	case loc.Kind == KindDirectory:
		return nil, fault.New(fault.Usage, "add the folder without --update and grant the new address", "%s is a directory, and a directory has no versions yet", h.CID)
	case h.State == StateErased:
		return nil, erasedFault(h.CID)
	case h.State == StateConflict, len(loc.Next) > 0:
		return nil, notNewest(h.Object, h.CID, loc)
	}
	return &Base{Address: h.CID, manifest: h.Manifest.Claims(), labels: loc.Labels, class: loc.Class}, nil
}

// notNewest says why no version may follow an object.
func notNewest(o store.Object, address cid.Cid, loc local) error {
	if o.State == StateConflict {
		return fault.New(fault.Failed, "get the newest version with `cerebrum get ADDRESS --latest`, and update that one", "validators took another version before %s", address)
	}
	next, err := cid.Cast(loc.Next)
	if err != nil {
		return err
	}
	return fault.New(fault.Failed, "name the newer one", "%s has a newer version, %s", address, next)
}

// input is what a version takes over from the one that it follows.
func (b *Base) input() Input {
	in := Input{Labels: b.labels, Class: b.class, After: b}
	in.Scopes = append(in.Scopes, b.manifest.Scopes...)
	return in
}

// relabel puts other labels in the place of the base's; nil keeps those.
func (b *Base) relabel(labels *Labels) Input {
	in := b.input()
	if labels != nil {
		in.Labels, in.Class = labels.Labels, labels.Class
	}
	return in
}

// UpdatePath makes a new version of base from a file. labels nil: those of base.
func (l *Library) UpdatePath(ctx context.Context, owner *home.Principal, base *Base, path string, labels *Labels) (*Added, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, addError(path, err)
	}
	if info.IsDir() {
		return nil, fault.New(fault.Usage, "add the folder without --update", "%s is a folder, and %s is a file", path, base.Address)
	}
	in := base.relabel(labels)
	in.Name = baseName(path)
	return l.addRegular(ctx, owner, path, info, in)
}

// UpdateStream makes a new version of base from what r yields. labels nil: those of base.
func (l *Library) UpdateStream(ctx context.Context, owner *home.Principal, base *Base, name string, r io.Reader, labels *Labels) (*Added, error) {
	in := base.relabel(labels)
	in.Name = name
	return l.addStream(ctx, owner, r, in)
}

// Rekey makes a new version of an owned object with the same content under a new
// key. The plaintext goes from the one cipher to the other leaf by leaf and is
// nowhere on disk. The object itself stays as it is.
func (l *Library) Rekey(ctx context.Context, owner *home.Principal, h *Held) (*Added, error) {
	const anew = "add the folder again, which gives every file a new key, grant that one, and `cerebrum erase` the old one"
	if h.IsDirectory() {
		return nil, fault.New(fault.Usage, anew, "%s is a directory, and only single files are put under a new key", h.CID)
	}
	base, err := h.Base()
	if err != nil {
		return nil, err
	}
	if len(base.manifest.Scopes) > 0 {
		return nil, fault.New(fault.Usage, anew, "%s belongs to a directory, which would go on naming the version under the old key", h.CID)
	}
	o, err := l.Open(ctx, h)
	if err != nil {
		return nil, err
	}
	content, err := l.Read(ctx, o)
	if err != nil {
		return nil, err
	}
	progress := ProgressOf(ctx)
	progress.Total.Store(int64(o.Details.Plain))
	in := base.input()
	in.Rekey, in.Name, in.Kind, in.Content, in.Origin = true, o.Details.Name, o.Details.Kind, progress.Count(content), o.Details.Origin
	if o.Details.Modified != 0 {
		in.Modified = time.Unix(o.Details.Modified, 0)
	}
	draft := l.Store.Draft()
	defer draft.Close()
	m, err := l.makeAlone(ctx, owner, in, draft)
	if err != nil {
		return nil, err
	}
	return l.single(owner, m)
}

// follow prepares the entries of versions that made ones follow: each names its
// successor from now on. The caller holds l.entries.
func (l *Library) follow(made []*Made) (out []store.Object, err error) {
	for _, m := range made {
		if m.in.After == nil {
			continue
		}
		o, loc, err := l.entry(m.in.After.Address)
		if err != nil {
			return nil, err
		}
		if o.State == StateConflict || len(loc.Next) > 0 { // since this one began to be encrypted
			return nil, notNewest(o, m.in.After.Address, loc)
		}
		loc.Next = m.Address.Bytes()
		if o.Local, err = statement.Marshal(loc); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func (l *Library) entry(address cid.Cid) (o store.Object, loc local, err error) {
	if o, err = l.Store.Object(address); err != nil {
		return o, loc, err
	}
	return o, loc, statement.Unmarshal(o.Local, &loc)
}

// MarkConflict records that validators will not take a version, because they took
// another one first, nor those made here that follow it. The version before it
// may be followed by another again.
func (l *Library) MarkConflict(ctx context.Context, address cid.Cid) error {
	h, err := l.Find(ctx, address)
	if err != nil {
		return err
	}
	l.entries.Lock()
	defer l.entries.Unlock()
	m := h.Manifest.Claims()
	var out []store.Object
	if previous, ok := m.PreviousAddress(); ok {
		if out, err = l.unfollow(previous, address); err != nil {
			return err
		}
	}
	for next := address.Bytes(); len(next) > 0; {
		c, err := cid.Cast(next)
		if err != nil {
			return err
		}
		o, loc, err := l.entry(c)
		if err != nil {
			return err
		}
		if o.State != StateErased {
			o.State = StateConflict
		}
		out, next = append(out, o), loc.Next
	}
	return l.Store.PutObjects(out)
}

// unfollow prepares the entry of a version that another no longer follows.
func (l *Library) unfollow(previous, next cid.Cid) ([]store.Object, error) {
	o, loc, err := l.entry(previous)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // made in another home
	}
	if err != nil || string(loc.Next) != next.KeyString() {
		return nil, err
	}
	loc.Next = nil
	o.Local, err = statement.Marshal(loc)
	return []store.Object{o}, err
}

// Retire records that a version was replaced by one under another key.
func (l *Library) Retire(address cid.Cid) error { return l.mark([]cid.Cid{address}, StateRetired) }

// Sequence is the version's number; 0 is the first.
func (m *Made) Sequence() uint64 {
	if m.in.After == nil {
		return 0
	}
	return m.in.After.manifest.Sequence + 1
}

// Previous is the address of the version that it follows; empty for the first.
func (m *Made) Previous() string {
	if m.in.After == nil {
		return ""
	}
	return m.in.After.Address.String()
}

// Next is the version made here that follows an owned object; false where it is
// the newest.
func (h *Held) Next() (cid.Cid, bool) {
	loc, err := h.local()
	if err != nil || len(loc.Next) == 0 {
		return cid.Undef, false
	}
	c, err := cid.Cast(loc.Next)
	return c, err == nil
}

// IsRekey reports whether an owned object is the version that a rekey made.
func (h *Held) IsRekey() bool {
	loc, err := h.local()
	return h.Owned && err == nil && loc.Rekey
}

// Newest follows the versions made here from an owned object to the last one.
func (l *Library) Newest(ctx context.Context, h *Held) (*Held, error) {
	for {
		next, ok := h.Next()
		if !ok {
			return h, nil
		}
		n, err := l.Find(ctx, next)
		if err != nil {
			return nil, err
		}
		if n.Manifest.Claims().Sequence <= h.Manifest.Claims().Sequence {
			return nil, corrupt(next, errors.New("its sequence is not above that of the version before"))
		}
		h = n
	}
}
