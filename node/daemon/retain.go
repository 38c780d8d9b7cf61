package daemon

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// Retain implements api.Service. The labels of a retention stand in dealings, so the
// objects are dealt again; what a validator has not taken yet waits in the outbox.
func (n *Node) Retain(ctx context.Context, r api.RetainRequest) (*api.Retained, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	n.erasing.Lock() // an object is not erased while its retention changes
	defer n.erasing.Unlock()
	h, p, err := n.owned(ctx, r.Address, "")
	if err != nil {
		return nil, err
	}
	if err := mayAct(p); err != nil {
		return nil, err
	}
	targets := []cid.Cid{h.CID}
	if !r.ThisVersion {
		if targets, err = n.library.Family(h); err != nil {
			return nil, err
		}
	}
	held, before, err := n.retainable(ctx, p, r, targets)
	if err != nil {
		return nil, err
	}
	out := &api.Retained{Address: h.CID.String(), Objects: len(held), Until: stamp(r.Until)}
	if len(held) == 0 {
		return nil, fault.New(fault.Failed, "", "%s is erased, or another version of it was taken", h.CID)
	}
	if err := n.record(ctx, event.Retain, event.OK, event.Act{Actor: p.Identity.ID(), Object: h.CID.Bytes(), Reason: r.Reason, Detail: "until " + out.Until}); err != nil {
		return nil, err
	}
	if err := n.library.Relabel(held, func(_ cid.Cid, old []validator.Label) ([]validator.Label, error) {
		labels, mode := relabelled(old, r)
		out.Mode = mode
		return labels, nil
	}); err != nil {
		return nil, err
	}
	t, err := n.dealNow(ctx, p, held)
	if err != nil {
		return nil, err
	}
	m := n.trust.Current().Numbers
	out.Deposits = api.Deposits{Acknowledged: t.least(), Of: int(m.N), Safe: t.least() >= int(m.T+m.F)}
	if slices.Max(t.conflicts) > int(m.N)-int(m.T) { // so many refuse that it will never count: back to what they all take
		if err := n.library.Relabel(held, func(c cid.Cid, _ []validator.Label) ([]validator.Label, error) { return before[c], nil }); err != nil {
			return nil, err
		}
		if _, err := n.dealNow(ctx, p, held); err != nil {
			return nil, err
		}
		return nil, n.mayNotRetain(ctx, p, h.CID, fault.New(fault.Denied, "who has the role "+validator.RoleRetention+" may, in the mode governance", "the validators do not shorten the retention of %s", h.CID))
	}
	return out, nil
}

// retainable are the objects of targets whose retention can change, and their labels
// now. In the mode governance the validators judge who may shorten it: they know the
// roles.
func (n *Node) retainable(ctx context.Context, p *home.Principal, r api.RetainRequest, targets []cid.Cid) (held []cid.Cid, before map[cid.Cid][]validator.Label, err error) {
	before = map[cid.Cid][]validator.Label{}
	for _, c := range targets {
		h, err := n.library.Find(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		labels, err := h.Labels()
		if err != nil {
			return nil, nil, err
		}
		if h.State >= object.StateConflict {
			continue
		}
		old, err := validator.ReadRetention(labels.Labels)
		if err != nil {
			old = validator.Retention{}
		}
		changed, mode := relabelled(labels.Labels, r)
		if mode == "" {
			return nil, nil, fault.New(fault.Usage, "name its mode with --mode governance or --mode compliance", "%s is not retained yet", c)
		}
		next, err := validator.ReadRetention(changed)
		if err != nil {
			return nil, nil, fault.Wrap(fault.Usage, err, "name a later --expire-at too where it expires before", "%s", c)
		}
		if err := next.Follows(old, n.now()); err != nil && old.Mode == validator.RetainCompliance {
			return nil, nil, n.mayNotRetain(ctx, p, c, fault.New(fault.Denied, "name a later time", "%s is retained until %s in the mode compliance, and nobody shortens that", c, stamp(old.Until)))
		}
		held, before[c] = append(held, c), labels.Labels
	}
	return held, before, nil
}

// mayNotRetain logs a denial and gives it.
func (n *Node) mayNotRetain(ctx context.Context, p *home.Principal, c cid.Cid, why *fault.Error) error {
	if err := n.record(ctx, event.Retain, event.Denied, event.Act{Actor: p.Identity.ID(), Object: c.Bytes(), Rule: "retention"}); err != nil {
		return err
	}
	return why
}

// relabelled are an object's labels with another retention, and its mode.
func relabelled(old []validator.Label, r api.RetainRequest) (out []validator.Label, mode string) {
	mode = r.Mode
	for _, l := range old {
		switch l.Key {
		case validator.LabelRetention:
			if mode == "" {
				mode = l.Value
			}
		case validator.LabelRetainUntil:
		case validator.LabelExpireAt:
			if r.Expire == 0 {
				out = append(out, l)
			}
		default:
			out = append(out, l)
		}
	}
	add := func(key, value string) { out = append(out, validator.Label{Key: key, Value: value}) }
	add(validator.LabelRetention, mode)
	add(validator.LabelRetainUntil, validator.StampRetention(time.Unix(r.Until, 0)))
	if r.Expire > 0 {
		add(validator.LabelExpireAt, validator.StampRetention(time.Unix(r.Expire, 0)))
	}
	slices.SortFunc(out, func(a, b validator.Label) int { return strings.Compare(a.Key, b.Key) })
	return out, mode
}

// dealNow deals objects again, in batches, and counts what validators said to each.
func (n *Node) dealNow(ctx context.Context, p *home.Principal, targets []cid.Cid) (*taken, error) {
	held, fits := make([]*object.Held, len(targets)), validator.MaxBatch
	for i, c := range targets {
		h, err := n.library.Find(ctx, c)
		if err != nil {
			return nil, err
		}
		held[i], fits = h, min(fits, h.DealSize())
	}
	slices.SortStableFunc(held, bySequence)
	all := newTaken(0)
	for batch := range slices.Chunk(held, fits) {
		t, err := n.outbox.dealBatch(ctx, p.Identity.ID(), batch)
		if err != nil {
			return nil, err
		}
		all.acks, all.conflicts = append(all.acks, t.acks...), append(all.conflicts, t.conflicts...)
	}
	return all, nil
}

// bySequence puts a version after the one that it follows.
func bySequence(a, b *object.Held) int {
	return cmp.Compare(a.Manifest.Claims().Sequence, b.Manifest.Claims().Sequence)
}
