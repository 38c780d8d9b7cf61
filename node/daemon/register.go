package daemon

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// registered is one lineage in the register while it is put together.
type registered struct {
	row      api.ProcessingRecord
	sequence uint64
	object   capability.Object
	held     *object.Held
}

// ProcessingRecords implements api.Compliance.
func (n *Node) ProcessingRecords(ctx context.Context) (*api.ProcessingRecords, error) {
	if n.trust == nil {
		return nil, n.needsNetwork()
	}
	all, versions, err := n.lineages(ctx)
	if err != nil {
		return nil, err
	}
	grants, err := n.registeredGrants(ctx)
	if err != nil {
		return nil, err
	}
	if err := n.countReads(ctx, all, versions); err != nil {
		return nil, err
	}
	out := &api.ProcessingRecords{
		Made: stamp(n.now().Unix()), Node: PeerID(n.home.PeerKey()), Network: n.trust.Network().String(),
		Records: []api.ProcessingRecord{}, Measures: n.measures(), NotKnown: append(registerLimits(), n.prunedLimit()...),
	}
	for _, r := range all {
		n.fillIn(ctx, r, grants)
		out.Records = append(out.Records, r.row)
	}
	slices.SortFunc(out.Records, func(a, b api.ProcessingRecord) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Object, b.Object))
	})
	return out, nil
}

// lineages groups this home's objects by lineage, each with its newest version that is
// here, and tells which lineage an address is of. What was erased is left out.
func (n *Node) lineages(ctx context.Context) (map[statement.ID]*registered, map[string]statement.ID, error) {
	all, versions := map[statement.ID]*registered{}, map[string]statement.ID{}
	err := n.store.Objects(func(o store.Object) (bool, error) {
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := n.library.Find(ctx, c)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // damaged: `verify` says so
		}
		if h.State == object.StateErased {
			return true, nil
		}
		m := h.Manifest.Claims()
		line := m.LineageID()
		versions[c.String()] = line
		r := all[line]
		if r == nil {
			r = &registered{row: api.ProcessingRecord{Created: stamp(m.Created)}}
			all[line] = r
		}
		r.row.Versions++
		if r.held == nil || m.Sequence > r.sequence {
			r.sequence, r.held, r.object = m.Sequence, h, validator.ObjectOf(c, &m)
			r.row.Object, r.row.Controller = c.String(), m.Owner.String()
		}
		return true, nil
	})
	return all, versions, err
}

// registeredGrants are the grants in force that identities of this home gave or hold.
func (n *Node) registeredGrants(ctx context.Context) ([]inForce, error) {
	out, err := n.grantsInForce(ctx, "", false)
	if err != nil {
		return nil, err
	}
	return out, n.eachChain(func(_ []byte, d validator.Delivery) error {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			return nil
		}
		v, err := n.verifier.Verify(c)
		if err != nil || slices.ContainsFunc(out, func(o inForce) bool { return o.v.Leaf() == v.Leaf() }) {
			return nil
		}
		out = append(out, inForce{v, d.Hint})
		return nil
	})
}

// countReads counts what this node's log knows of reads of each lineage.
func (n *Node) countReads(ctx context.Context, all map[statement.ID]*registered, versions map[string]statement.ID) error {
	return n.audit.Scan(func(e *journal.Entry) error {
		if err := ctx.Err(); err != nil || e.Leaf == nil || !isUse(e.Leaf) || e.Leaf.Action == event.Carry {
			return err
		}
		opened, err := e.Open()
		if err != nil {
			return err
		}
		at, _ := event.Find(opened.Claims, event.Object)
		if c, err := envelope.ParseAddress(at); err == nil {
			if r := all[versions[c.String()]]; r != nil {
				r.row.Releases++
				r.row.LastAccess = stamp(e.Time().Unix())
			}
		}
		return nil
	})
}

// fillIn writes what manifest, labels and grants say of a lineage.
func (n *Node) fillIn(ctx context.Context, r *registered, grants []inForce) {
	row := &r.row
	row.Name = n.ownName(ctx, r.held.CID)
	row.Categories, row.Purposes, row.Recipients, row.Regions = []string{}, []string{}, []string{}, []string{}
	row.Retention = "as its owner says: its labels are not known here"
	if labels, err := r.held.Labels(); err == nil && r.held.Owned {
		row.Classification = int(labels.Class)
		for _, l := range labels.Labels {
			row.Categories = append(row.Categories, l.Key+"="+l.Value)
		}
		if kept, err := validator.ReadRetention(labels.Labels); err == nil {
			row.Retention = kept.String()
		}
	}
	m := r.held.Manifest.Claims()
	if n.set.Held(idsOf(&m)...) {
		row.Retention += "; under a legal hold"
	}
	var resident []string
	if labels, err := r.held.Labels(); err == nil && r.held.Owned {
		resident, _ = validator.ReadResidency(labels.Labels)
	}
	anywhere := 0
	for _, g := range grants {
		claims := g.v.Grant()
		if claims.Owner != r.object.Owner || !claims.Target.Matches(r.object) {
			continue
		}
		row.Recipients = append(row.Recipients, claims.Audience.String())
		if row.Purposes = append(row.Purposes, claims.Caveats.Purposes...); len(claims.Caveats.Purposes) == 0 {
			row.Purposes = append(row.Purposes, "any that its holder states")
		}
		if row.Regions = append(row.Regions, claims.Caveats.Regions...); len(claims.Caveats.Regions) == 0 {
			anywhere++
		}
	}
	for _, list := range []*[]string{&row.Purposes, &row.Recipients, &row.Regions} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	switch {
	case len(row.Recipients) == 0:
		row.Transfers = "none: nobody has a grant in force"
	case len(resident) > 0:
		row.Transfers = "keys within " + strings.Join(resident, ", ") + " alone, by the label residency"
	case anywhere > 0:
		row.Transfers = fmt.Sprintf("to anywhere: %d grants name no region", anywhere)
	default:
		row.Transfers = "to people whose signed role places them in the regions named"
	}
}

// measures are the technical ones that hold for every object of the network.
func (n *Node) measures() []string {
	m := n.trust.Current().Numbers
	return []string{
		"each object is encrypted before it is stored (age: ChaCha20-Poly1305 with a key of its own)",
		fmt.Sprintf("its key is split among %d validators, of whom any %d release it and fewer learn nothing", m.N, m.T),
		fmt.Sprintf("a grant needs its owner's consent and the signatures of %d validators, has an end, and is checked at each release", m.K),
		"connections are TLS 1.3 with a hybrid post-quantum key exchange, between admitted members alone",
		"every release, denial, grant and erasure is in an append-only log with signed checkpoints",
		"erasure destroys the shares of the key and is shown by signed receipts",
	}
}

func registerLimits() []string {
	return []string{
		"contact details, the legal basis, the categories of data subjects and of data beyond the labels: people write those",
		"grants that others handed on are listed while the node runs and its validators answer; what readers do with plaintext is in no register",
		"a region is what a signed role says of a person, not where bytes are: ciphertext may be anywhere that a mirror is",
	}
}
