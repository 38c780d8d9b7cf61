package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"golang.org/x/sync/errgroup"
)

// Add implements api.Service.
func (n *Node) Add(ctx context.Context, r api.AddRequest) (*api.Added, error) {
	if !filepath.IsAbs(r.Path) {
		return nil, fault.New(fault.Usage, "", "the path to add must be absolute")
	}
	ctx, done := n.operation(ctx, r.Op)
	defer done()
	return n.add(ctx, r, making{
		first: func(p *home.Principal, labels object.Labels) (*object.Added, error) {
			return n.library.AddPath(ctx, p, r.Path, labels)
		},
		later: func(p *home.Principal, b *object.Base, labels *object.Labels) (*object.Added, error) {
			return n.library.UpdatePath(ctx, p, b, r.Path, labels)
		},
	})
}

// AddStream implements api.Service.
func (n *Node) AddStream(ctx context.Context, r api.AddRequest, content io.Reader) (*api.Added, error) {
	ctx, done := n.operation(ctx, r.Op)
	defer done()
	return n.add(ctx, r, making{
		first: func(p *home.Principal, labels object.Labels) (*object.Added, error) {
			return n.library.AddStream(ctx, p, r.Name, content, labels)
		},
		later: func(p *home.Principal, b *object.Base, labels *object.Labels) (*object.Added, error) {
			return n.library.UpdateStream(ctx, p, b, r.Name, content, labels)
		},
	})
}

// making makes the first version of an object, or a later one.
type making struct {
	first func(*home.Principal, object.Labels) (*object.Added, error)
	later func(*home.Principal, *object.Base, *object.Labels) (*object.Added, error)
}

func (n *Node) add(ctx context.Context, r api.AddRequest, with making) (*api.Added, error) {
	began := time.Now()
	n.busy.Add(1)
	defer n.busy.Add(-1)
	if n.trust == nil {
		return nil, fault.New(fault.Usage, "adopt one with `cerebrum network use FILE`; an object's ids are bound to its network", "this home belongs to no network yet")
	}
	labels, err := parseLabels(r.Labels)
	if err != nil {
		return nil, err
	}
	if labels.Origin, err = parseOrigin(r); err != nil {
		return nil, err
	}
	var p *home.Principal
	var added *object.Added
	if r.Update != "" {
		p, added, err = n.makeVersion(ctx, r, labels, with)
	} else if p, err = n.actor(r.As); err == nil {
		added, err = with.first(p, labels)
	}
	if err != nil {
		return nil, diskFault(err)
	}
	if err := n.record(ctx, event.Add, event.OK, event.Act{Actor: p.Identity.ID(), Object: added.Root.Address.Bytes(), Detail: fmt.Sprintf("%d files", added.Files)}); err != nil {
		return nil, err
	}
	if r.Origin != nil {
		if err := n.record(ctx, event.Anonymise, event.OK, event.Act{Actor: p.Identity.ID(), Object: added.Root.Address.Bytes(), Detail: r.Origin.Method}); err != nil {
			return nil, err
		}
	}
	out, err := n.share(ctx, p, added)
	if err != nil {
		return nil, err
	}
	out.Directory = len(added.Batches) > 1 || added.Files != 1 || len(added.Batches[0]) > 1
	out.Seconds = time.Since(began).Seconds()
	return out, nil
}

// share deals what was made and says where it stands. A version that lost to
// another one is an error.
func (n *Node) share(ctx context.Context, p *home.Principal, added *object.Added) (*api.Added, error) {
	t, err := n.deposit(ctx, p, added)
	if err != nil {
		return nil, err
	}
	if t.lost {
		return nil, fault.New(fault.Failed, "get the newest with `cerebrum get ADDRESS --latest`, and update that version",
			"another version was deposited first: validators do not take %s, which stays in this home alone", added.Root.Address)
	}
	m := n.trust.Current().Numbers
	out := &api.Added{
		Address: added.Root.Address.String(), File: added.Root.File.String(), Size: added.Size, StoredSize: added.Stored,
		Files: added.Files, Skipped: added.Skipped, State: "local",
		Sequence: added.Root.Sequence(), Previous: added.Root.Previous(),
		Deposits: api.Deposits{Acknowledged: t.acks, Of: int(m.N), Safe: t.acks >= int(m.T+m.F)},
	}
	if t.acks >= int(m.T) {
		out.State = "shared"
		n.provideSoon(added.Root.Address)
	}
	return out, nil
}

// diskFault gives a person the sentence for what the store reports.
func diskFault(err error) error {
	if errors.Is(err, store.ErrReadOnly) {
		return fault.Wrap(fault.Failed, err, "free space or replace the disk, then start the node again; what was stored before is sound", "the disk refused a write")
	}
	if errors.Is(err, store.ErrFull) {
		return fault.Wrap(fault.Failed, err, "free space, then try again; the node goes on by itself", "the disk takes nothing more")
	}
	return err
}

func parseLabels(in map[string]string) (object.Labels, error) {
	var out object.Labels
	keys := make([]string, 0, len(in))
	for k := range in {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		v := in[k]
		if k == "" || len(k) > 64 || len(v) > 256 {
			return out, fault.New(fault.Usage, "", "a label is KEY=VALUE with at most 64 and 256 bytes")
		}
		if k == "classification" {
			c, err := strconv.ParseUint(v, 10, 8)
			if err != nil || strconv.FormatUint(c, 10) != v { // policies compare the text too
				return out, fault.New(fault.Usage, "0 is public, 255 the highest", "the label classification is a number from 0 to 255 without zeros before it")
			}
			out.Class = uint8(c)
		}
		out.Labels = append(out.Labels, validator.Label{Key: k, Value: v})
	}
	if len(out.Labels) > 32 {
		return out, fault.New(fault.Usage, "", "an object has at most 32 labels")
	}
	if _, err := validator.ReadRetention(out.Labels); err != nil {
		return out, fault.Wrap(fault.Usage, err, "see `cerebrum add --help`", "nothing was added")
	}
	if _, err := validator.ReadResidency(out.Labels); err != nil {
		return out, fault.Wrap(fault.Usage, err, "", "nothing was added")
	}
	return out, nil
}

// deposited is how many validators hold all of what was made, and whether some
// of it lost to another version.
type deposited struct {
	acks int
	lost bool
}

// deposit deals what was made. What could not be delivered stays in the outbox;
// an add without a network stays local and is dealt when the node runs.
func (n *Node) deposit(ctx context.Context, p *home.Principal, added *object.Added) (out deposited, err error) {
	if !n.running.Load() {
		return out, nil
	}
	perBatch := make([]*taken, len(added.Batches))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // one batch is dealt while another is on its way
	for i, batch := range added.Batches {
		g.Go(func() error {
			dealt, err := n.library.Deal(p, batch, n.holderAddresses())
			if err != nil {
				return err
			}
			perBatch[i], err = n.outbox.deliver(gctx, dealt)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return out, err
	}
	out.acks = perBatch[0].least()
	for _, t := range perBatch {
		out.acks = min(out.acks, t.least())
		out.lost = out.lost || slices.Contains(t.lost, true)
	}
	return out, nil
}
