package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/dustin/go-humanize/english"
	"github.com/ipfs/go-cid"
)

// registered is one lineage in the register while it is put together.
type registered struct {
	row      api.ProcessingRecord
	sequence uint64
	objects  []capability.Object // its versions, erased ones too: a grant may be of one of them
	held     *object.Held        // the newest that is left, or else the newest
	erased   int                 // versions
	reads    map[statement.ID]time.Time
}

// left reports whether a version is not erased.
func (r *registered) left() bool { return r.erased < len(r.objects) }

// covers reports whether a grant is of the lineage, or of one of its versions.
func (r *registered) covers(g *capability.Grant) bool {
	return slices.ContainsFunc(r.objects, func(o capability.Object) bool { return g.Owner == o.Owner && g.Target.Matches(o) })
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
	grants, past, err := n.registeredGrants(ctx)
	if err != nil {
		return nil, err
	}
	unread, err := n.countReads(ctx, all, versions)
	if err != nil {
		return nil, err
	}
	out := &api.ProcessingRecords{
		Made: stamp(n.now().Unix()), Node: PeerID(n.home.PeerKey()), Network: n.trust.Network().String(),
		Records: []api.ProcessingRecord{}, Measures: n.measures(), NotKnown: slices.Concat(registerLimits(), n.prunedLimit(), unreadLimit(unread)),
	}
	for _, r := range all {
		n.fillIn(ctx, r, grants)
		r.fillInPast(grants, past)
		out.Records = append(out.Records, r.row)
	}
	slices.SortFunc(out.Records, func(a, b api.ProcessingRecord) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Object, b.Object))
	})
	return out, nil
}

// lineages groups this home's objects by lineage, each with its newest version that is
// left here, and tells which lineage an address is of. What this home owned and was
// erased is among them: its manifest stays.
func (n *Node) lineages(ctx context.Context) (map[statement.ID]*registered, map[string]statement.ID, error) {
	all, versions := map[statement.ID]*registered{}, map[string]statement.ID{}
	ordered := n.erasedAt()
	err := n.store.Objects(func(o store.Object) (bool, error) {
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := n.library.Find(ctx, c)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // damaged: `verify` says so
		}
		m := h.Manifest.Claims()
		line := m.LineageID()
		versions[c.String()] = line
		r := all[line]
		if r == nil {
			r = &registered{row: api.ProcessingRecord{Created: stamp(m.Created)}, reads: map[statement.ID]time.Time{}}
			all[line] = r
		}
		better := r.held == nil || m.Sequence > r.sequence
		if gone := h.State == object.StateErased; gone {
			r.row.ErasedAt = max(r.row.ErasedAt, ordered[m.KeyID()])
			better = better && !r.left()
			r.erased++
		} else {
			better = better || !r.left()
		}
		r.objects = append(r.objects, validator.ObjectOf(c, &m))
		if better {
			r.sequence, r.held = m.Sequence, h
			r.row.Object, r.row.Controller = c.String(), m.Owner.String()
		}
		return true, nil
	})
	for _, r := range all {
		if r.row.Erased = !r.left(); r.row.Erased {
			r.row.Versions = r.erased
			continue
		}
		r.row.Versions, r.row.ErasedAt = len(r.objects)-r.erased, ""
	}
	return all, versions, err
}

// erasedAt is when the owners of keys ordered their erasure, as they say.
func (n *Node) erasedAt() map[statement.ID]string {
	out := map[statement.ID]string{}
	for _, f := range n.set.OfKind(revocation.KindErasure) {
		for _, key := range f.Subjects {
			out[key] = max(out[key], stamp(f.Body.(*revocation.Erasure).Time))
		}
	}
	return out
}

// registeredGrants are the grants that identities of this home gave or hold: those in
// force, and those that are over.
func (n *Node) registeredGrants(ctx context.Context) (now, past []inForce, err error) {
	if now, err = n.grantsInForce(ctx, "", false); err != nil {
		return nil, nil, err
	}
	err = n.eachChain(func(_ []byte, d validator.Delivery) error {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			return nil
		}
		v, err := n.verifier.VerifyPast(c)
		if err != nil {
			return nil
		}
		switch state, _ := n.stateOf(v); {
		case state == "early": // nobody could use it yet
		case state != "valid":
			past = append(past, inForce{v, d.Hint})
		case !slices.ContainsFunc(now, func(o inForce) bool { return o.v.Leaf() == v.Leaf() }):
			now = append(now, inForce{v, d.Hint})
		}
		return nil
	})
	return now, past, err
}

// countReads counts what this node's log knows of reads of each lineage, and by whom, and
// the reads of which it does not know what was read.
func (n *Node) countReads(ctx context.Context, all map[statement.ID]*registered, versions map[string]statement.ID) (unread int, err error) {
	err = n.audit.Scan(func(e *journal.Entry) error {
		if err := ctx.Err(); err != nil || e.Leaf == nil || !isUse(e.Leaf) || e.Leaf.Action == event.Carry {
			return err
		}
		claims, known := n.claimsOf(e)
		if !known {
			unread++
		}
		at, _ := event.Find(claims, event.Object)
		c, err := envelope.ParseAddress(at)
		if err != nil {
			return nil
		}
		r := all[versions[c.String()]]
		if r == nil {
			return nil
		}
		r.row.Releases++
		r.row.LastAccess = stamp(e.Time().Unix())
		if who, known := e.Actor(); known {
			r.reads[who] = e.Time()
		}
		return nil
	})
	return unread, err
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
	if row.Erased {
		row.Retention = "over: its owner ordered its erasure"
	}
	var resident []string
	if labels, err := r.held.Labels(); err == nil && r.held.Owned {
		resident, _ = validator.ReadResidency(labels.Labels)
	}
	anywhere := 0
	for _, g := range grants {
		claims := g.v.Grant()
		if row.Erased || !r.covers(&claims) { // what is erased is released to nobody, whatever grants say
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
		row.Transfers = fmt.Sprintf("to anywhere: %s no region", english.Plural(anywhere, "grant names", "grants name"))
	default:
		row.Transfers = "to people whose signed role places them in the regions named"
	}
}

// fillInPast writes who had access and has none now.
func (r *registered) fillInPast(grants, past []inForce) {
	who := map[string]string{}
	add := func(id statement.ID, read string) {
		if s := id.String(); s != r.row.Controller && !slices.Contains(r.row.Recipients, s) {
			who[s] = max(who[s], read)
		}
	}
	for _, g := range slices.Concat(past, grants) {
		if claims := g.v.Grant(); r.covers(&claims) {
			add(claims.Audience, "")
		}
	}
	for id, at := range r.reads {
		add(id, stamp(at.Unix()))
	}
	r.row.PastRecipients = []api.PastRecipient{}
	for _, id := range slices.Sorted(maps.Keys(who)) {
		r.row.PastRecipients = append(r.row.PastRecipients, api.PastRecipient{Identity: id, LastRead: who[id]})
	}
	then := ""
	if k := len(who); k > 0 {
		then = fmt.Sprintf(", and %s may keep what was got", english.Plural(k, "past recipient", "past recipients"))
	}
	switch {
	case r.row.Erased:
		r.row.Transfers = "none now: it is erased" + then
	case len(r.row.Recipients) == 0 && then != "":
		r.row.Transfers = "none now: nobody has a grant in force" + then
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
		"past recipients are those of grants that this home keeps and of reads in this node's log, where a request for several objects stands with the first: a reader under a grant that was handed on and is over, who got the bytes elsewhere, is in validators' logs alone (`cerebrum audit log` there)",
		"whom `subject forget` has forgotten is no past recipient here any more",
		"objects of others that are not here any more, because they were erased or dropped; and those whose manifest is damaged, which `cerebrum verify` names",
		"a region is what a signed role says of a person, not where bytes are: ciphertext may be anywhere that a mirror is",
	}
}
