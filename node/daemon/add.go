package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"strconv"
	"time"

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
	return n.add(ctx, r, func(p *home.Principal, labels object.Labels) (*object.Added, error) {
		return n.library.AddPath(ctx, p, r.Path, labels)
	})
}

// AddStream implements api.Service.
func (n *Node) AddStream(ctx context.Context, r api.AddRequest, content io.Reader) (*api.Added, error) {
	ctx, done := n.operation(ctx, r.Op)
	defer done()
	return n.add(ctx, r, func(p *home.Principal, labels object.Labels) (*object.Added, error) {
		return n.library.AddStream(ctx, p, r.Name, content, labels)
	})
}

func (n *Node) add(ctx context.Context, r api.AddRequest, make func(*home.Principal, object.Labels) (*object.Added, error)) (*api.Added, error) {
	began := time.Now()
	n.busy.Add(1)
	defer n.busy.Add(-1)
	if n.trust == nil {
		return nil, fault.New(fault.Usage, "adopt one with `cerebrum network use FILE`; an object's ids are bound to its network", "this home belongs to no network yet")
	}
	p, err := n.actor(r.As)
	if err != nil {
		return nil, err
	}
	labels, err := parseLabels(r.Labels)
	if err != nil {
		return nil, err
	}
	added, err := make(p, labels)
	if err != nil {
		return nil, diskFault(err)
	}
	if err := n.record(ctx, "add", "ok", p.Identity.ID(), added.Root.Address.Bytes(), nil, fmt.Sprintf("%d files", added.Files)); err != nil {
		return nil, err
	}
	acks, err := n.deposit(ctx, p, added)
	if err != nil {
		return nil, err
	}
	m := n.trust.Current().Numbers
	out := &api.Added{
		Address: added.Root.Address.String(), File: added.Root.File.String(), Size: added.Size, StoredSize: added.Stored,
		Files: added.Files, Skipped: added.Skipped, State: "local",
		Deposits: api.Deposits{Acknowledged: acks, Of: int(m.N), Safe: acks >= int(m.T+m.F)},
	}
	out.Directory = len(added.Batches) > 1 || added.Files != 1 || len(added.Batches[0]) > 1
	if acks >= int(m.T) {
		out.State = "shared"
		n.provideSoon(added.Root.Address)
	}
	out.Seconds = time.Since(began).Seconds()
	return out, nil
}

// diskFault gives a person the sentence for what the store reports.
func diskFault(err error) error {
	if errors.Is(err, store.ErrReadOnly) {
		return fault.Wrap(fault.Failed, err, "free space or replace the disk, then start the node again; what was stored before is sound", "the disk refused a write")
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
			if err != nil {
				return out, fault.New(fault.Usage, "0 is public, 255 the highest", "the label classification is a number from 0 to 255")
			}
			out.Class = uint8(c)
		}
		out.Labels = append(out.Labels, validator.Label{Key: k, Value: v})
	}
	if len(out.Labels) > 32 {
		return out, fault.New(fault.Usage, "", "an object has at most 32 labels")
	}
	return out, nil
}

// deposit deals what was made and returns how many validators hold all of it.
// What could not be delivered stays in the outbox; an add without a network
// stays local and is dealt when the node runs.
func (n *Node) deposit(ctx context.Context, p *home.Principal, added *object.Added) (acks int, err error) {
	if !n.running.Load() {
		return 0, nil
	}
	perBatch := make([]int, len(added.Batches))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // one batch is dealt while another is on its way
	for i, batch := range added.Batches {
		g.Go(func() error {
			dealt, err := n.library.Deal(p, batch, n.addresses())
			if err != nil {
				return err
			}
			perBatch[i], err = n.outbox.deliver(gctx, dealt)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	acks = perBatch[0]
	for _, a := range perBatch {
		acks = min(acks, a)
	}
	return acks, nil
}
