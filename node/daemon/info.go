package daemon

import (
	"context"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// Info implements api.Service.
func (n *Node) Info(ctx context.Context, r api.InfoRequest) (*api.Info, error) {
	c, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	h, err := n.library.Find(ctx, c)
	if err != nil {
		return nil, err
	}
	m := h.Manifest.Claims()
	out := &api.Info{
		Object: n.describe(ctx, c, h.Object), Owner: m.Owner.String(), Network: m.Network.String(), Sequence: m.Sequence,
		KeyID:   envelope.KeyID(m.Network, m.Owner, m.KeyNonce).String(),
		Lineage: envelope.LineageID(m.Network, m.Owner, m.Lineage).String(),
		Created: time.Unix(m.Created, 0).UTC().Format(time.RFC3339),
	}
	if previous, ok := m.PreviousAddress(); ok {
		out.Previous = previous.String()
	}
	for _, s := range m.Scopes {
		out.Scopes = append(out.Scopes, envelope.ScopeID(m.Network, m.Owner, s).String())
	}
	for _, x := range []struct {
		to  *string
		raw []byte
	}{{&out.File, m.File}, {&out.Header, m.Header}, {&out.Payload, m.Payload}} {
		if c, err := cid.Cast(x.raw); err == nil {
			*x.to = c.String()
		}
	}
	if opened, err := n.library.Open(ctx, h); err == nil {
		out.MediaType, out.Origin = opened.Details.MediaType, originShown(opened.Details.Origin)
	}
	n.describeBinding(h, out)
	return out, nil
}

// describeBinding adds what binds an object: its labels, where they are known here, and
// the legal holds that this home knows of.
func (n *Node) describeBinding(h *object.Held, out *api.Info) {
	m := h.Manifest.Claims()
	if n.trust != nil {
		for _, id := range idsOf(&m) {
			for _, f := range n.set.Holds(id) {
				out.Holds = append(out.Holds, f.ID.String())
			}
		}
		slices.Sort(out.Holds)
		out.Holds = slices.Compact(out.Holds)
	}
	labels, err := h.Labels()
	if err != nil || !h.Owned {
		return
	}
	class := int(labels.Class)
	out.Labels, out.Classification = labelMap(labels.Labels), &class
	if regions, err := validator.ReadResidency(labels.Labels); err == nil {
		out.Residency = regions
	}
	kept, err := validator.ReadRetention(labels.Labels)
	if err != nil || kept == (validator.Retention{}) {
		return // labels that no validator takes retain nothing
	}
	out.Retention = &api.Retention{Mode: kept.Mode, Says: kept.String()}
	if kept.Mode != "" {
		out.Retention.Until = stamp(kept.Until)
	}
	if kept.Expire > 0 {
		out.Retention.Expire = stamp(kept.Expire)
	}
}
