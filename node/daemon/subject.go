package daemon

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/dossier"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// subject is a person as a log knows it. who is zero where only a pseudonym is left.
type subject struct {
	who statement.ID
	as  event.Pseudonym
}

func (s subject) String() string {
	if s.who == (statement.ID{}) {
		return hex.EncodeToString(s.as[:])
	}
	return s.who.String()
}

// concerns reports whether an entry is of the subject's acts, or says something of
// the subject. opened is nil where there is nothing to open.
func (s subject) concerns(e *journal.Entry, opened *journal.Opened) bool {
	if s.who == (statement.ID{}) {
		return e.Leaf.Actor == s.as
	}
	if who, known := e.Actor(); known && who == s.who {
		return true
	}
	return slices.ContainsFunc(opened.Claims, func(c event.Claim) bool { return c.Of == s.who || c.Value == s.who.String() })
}

// subject reads whom a request is about.
func (n *Node) subject(ctx context.Context, text string) (subject, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(event.Pseudonym{}) {
		who, _, err := n.identityID(text)
		if err != nil {
			return subject{}, err
		}
		return subject{who: who}, nil
	}
	s, found := subject{as: event.Pseudonym(raw)}, false
	err = n.audit.Leaves(func(e *journal.Entry) error {
		if e.Leaf == nil || e.Leaf.Actor != s.as {
			return ctx.Err()
		}
		found = true
		if who, known := e.Actor(); known {
			s.who = who
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	if !found {
		return s, fault.New(fault.NotFound, "name the person by a contact", "no entry of this node's log has the pseudonym %s", text)
	}
	return s, nil
}

// entries calls fn with every event that concerns a subject.
func (n *Node) entries(ctx context.Context, s subject, fn func(*journal.Entry, *journal.Opened) error) error {
	return n.audit.Scan(func(e *journal.Entry) error {
		if err := ctx.Err(); err != nil || e.Leaf == nil {
			return err
		}
		opened, err := e.Open()
		if err != nil {
			return fault.Wrap(fault.Integrity, err, "keep a copy of the folder audit as evidence before anything else", "what belongs to entry %d of the audit log", e.Index)
		}
		if !s.concerns(e, opened) {
			return nil
		}
		return fn(e, opened)
	})
}

// SubjectExport implements api.Compliance.
func (n *Node) SubjectExport(ctx context.Context, r api.SubjectExportRequest) (*api.SubjectExported, error) {
	if r.Format != "zip" && r.Format != "json" {
		return nil, fault.New(fault.Usage, "", "an export of a data subject is FILE.zip or FILE.json")
	}
	s, err := n.subject(ctx, r.Subject)
	if err != nil {
		return nil, err
	}
	if err := n.record(ctx, event.Export, event.OK, event.Act{
		Actor: n.home.Principals()[0].Identity.ID(), Subject: s.who, Detail: "a data subject, " + r.Format,
	}); err != nil {
		return nil, err
	}
	out := &api.SubjectExported{File: r.Into, Subject: s.String()}
	parts, err := n.dossier(ctx, s, out)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(r.Into, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := dossier.Write(f, r.Format == "zip", n.now(), parts)
	if err != nil {
		return nil, err
	}
	for _, p := range m.Parts {
		out.Parts = append(out.Parts, api.SubjectPart(p))
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	return out, f.Close()
}

// dossier gathers the parts of an export and counts them.
func (n *Node) dossier(ctx context.Context, s subject, out *api.SubjectExported) ([]dossier.Part, error) {
	if _, err := n.audit.Log().Checkpoint(ctx); err != nil {
		return nil, err
	}
	logged, with, err := n.subjectEvents(ctx, s, out)
	if err != nil {
		return nil, err
	}
	objects, err := n.subjectObjects(ctx, s.who)
	if err != nil {
		return nil, err
	}
	held, given, err := n.subjectGrants(s.who)
	if err != nil {
		return nil, err
	}
	consents, err := n.subjectConsents(ctx, s.who)
	if err != nil {
		return nil, err
	}
	members, err := n.subjectMemberships(s.who)
	if err != nil {
		return nil, err
	}
	for _, g := range given {
		with.add(g.Audience, "may "+g.Can+", by a grant that is "+g.State)
	}
	out.Objects, out.Consents, out.Grants, out.Recipients = len(objects), len(consents), len(held)+len(given), len(with)
	out.NotKnown = n.subjectLimits(s)
	log, err := n.home.AuditLog()
	if err != nil {
		return nil, err
	}
	parts := []dossier.Part{{Name: dossier.EventsName, Content: logged}, {Name: dossier.BindingName, Content: log.Binding}}
	for _, p := range []struct {
		name string
		v    any
	}{
		{"subject.json", n.aboutExport(s, out)}, {"objects.json", objects}, {"grants-held.json", held}, {"grants-given.json", given},
		{"consents.json", consents}, {"roles.json", n.subjectRoles(s.who)}, {"memberships.json", members}, {"recipients.json", with.sorted()},
	} {
		raw, err := json.MarshalIndent(p.v, "", "  ")
		if err != nil {
			return nil, err
		}
		parts = append(parts, dossier.Part{Name: p.name, Content: raw})
	}
	return parts, nil
}

// subjectEvents are the lines of the events that concern a subject, and who got what
// the subject owns according to them.
func (n *Node) subjectEvents(ctx context.Context, s subject, out *api.SubjectExported) ([]byte, recipients, error) {
	var lines bytes.Buffer
	with := recipients{}
	write := json.NewEncoder(&lines)
	err := n.entries(ctx, s, func(e *journal.Entry, opened *journal.Opened) error {
		line, err := n.eventFor(s, e, opened)
		if err != nil {
			return err
		}
		if line.Proof != "" {
			out.Proved++
		}
		out.Events++
		out.Withheld += line.Withheld
		with.seen(s.who, e, opened)
		return write.Encode(line)
	})
	return lines.Bytes(), with, err
}

// eventFor is an event as its subject is shown it: what concerns the subject or
// nobody is disclosed, what concerns others is not.
func (n *Node) eventFor(s subject, e *journal.Entry, opened *journal.Opened) (*dossier.Event, error) {
	var claims []event.Claim
	var texts []string
	withheld := 0
	for i, c := range opened.Claims {
		if c.Of != (statement.ID{}) && c.Of != s.who {
			withheld++
			continue
		}
		claims, texts = append(claims, c), append(texts, opened.Disclosures[i])
	}
	line := dossier.Say(e.Leaf, claims)
	line.Index, line.Leaf, line.Withheld, line.Forgotten = e.Index, slices.Clone(e.Raw), withheld, opened.Erased
	line.Disclosures = append(line.Disclosures, texts...)
	proof, err := n.audit.Log().ProveInclusion(e.Index)
	if err != nil && !errors.Is(err, audit.ErrUnsigned) {
		return nil, err
	}
	line.Proof = string(proof)
	return line, nil
}

// subjectObject is an object that a person owns.
type subjectObject struct {
	Address        string            `json:"address"`
	Name           string            `json:"name,omitempty"`
	Size           uint64            `json:"ciphertext_size"`
	Created        string            `json:"created"`
	State          string            `json:"state"`
	Classification int               `json:"classification"`
	Labels         map[string]string `json:"labels,omitempty"`
	Holders        []string          `json:"holders,omitempty"` // that its depositor named
}

// subjectObjects are the objects of a person in this home and, at a validator, those
// of which it holds a share.
func (n *Node) subjectObjects(ctx context.Context, who statement.ID) ([]subjectObject, error) {
	out := []subjectObject{}
	if who == (statement.ID{}) {
		return out, nil
	}
	here := map[string]int{}
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
		if m.Owner != who {
			return true, nil
		}
		d := n.describe(ctx, c, o)
		row := subjectObject{Address: d.Address, Name: d.Name, Size: m.Size, Created: stamp(m.Created), State: d.State}
		if l, err := h.Labels(); err == nil {
			row.Labels, row.Classification = labelMap(l.Labels), int(l.Class)
		}
		here[d.Address] = len(out)
		out = append(out, row)
		return true, nil
	})
	if err != nil || n.judge == nil {
		return out, err
	}
	return out, n.judge.EachDeposit(who, func(d validator.Deposited) error {
		row := subjectObject{Address: d.Address.String(), Size: d.Manifest.Size, Created: stamp(d.Manifest.Created), State: "a share of its key"}
		if i, ok := here[row.Address]; ok {
			row = out[i]
		}
		row.Labels, row.Classification, row.Holders = labelMap(d.Labels), int(d.Class), d.Holders
		if i, ok := here[row.Address]; ok {
			out[i] = row
			return nil
		}
		out = append(out, row)
		return nil
	})
}

func labelMap(labels []validator.Label) map[string]string {
	out := map[string]string{}
	for _, l := range labels {
		out[l.Key] = l.Value
	}
	return out
}

// subjectGrants are the grants to a person and from a person that are kept here.
func (n *Node) subjectGrants(who statement.ID) (held, given []api.GrantInfo, err error) {
	held, given = []api.GrantInfo{}, []api.GrantInfo{}
	if who == (statement.ID{}) || n.trust == nil {
		return held, given, nil
	}
	seen := map[string]bool{}
	take := func(d validator.Delivery) error {
		info, issuer, err := n.describeGrant(d)
		if err != nil || seen[info.Grant] {
			return nil // junk, or from two places
		}
		seen[info.Grant] = true
		if info.Audience == who.String() {
			held = append(held, *info)
		}
		if issuer == who || info.Owner == who.String() {
			given = append(given, *info)
		}
		return nil
	}
	if err := n.eachChain(func(_ []byte, d validator.Delivery) error { return take(d) }); err != nil {
		return nil, nil, err
	}
	if n.judge == nil {
		return held, given, nil
	}
	return held, given, errors.Join(n.judge.EachGrant(who, false, take), n.judge.EachGrant(who, true, take))
}

// eachChain calls fn with every chain that this home keeps, whoever holds it or gave it.
func (n *Node) eachChain(fn func(key []byte, d validator.Delivery) error) error {
	for _, prefix := range [][]byte{heldPrefix, issuedPrefix} {
		err := n.grants.Scan(prefix, nil, func(key, value []byte) (bool, error) {
			var d validator.Delivery
			if err := statement.Unmarshal(value, &d); err != nil {
				return false, err
			}
			return true, fn(slices.Clone(key), d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// subjectConsents are the standing consents of a person: at a validator those that it
// keeps, and for an identity of this home, while the node runs, those of all.
func (n *Node) subjectConsents(ctx context.Context, who statement.ID) ([]api.ConsentInfo, error) {
	out := []api.ConsentInfo{}
	if n.trust == nil {
		return out, nil
	}
	seen := map[statement.ID]bool{}
	if n.judge != nil {
		err := n.judge.EachConsent(who, func(k validator.KeptConsent) error {
			b, id, _, err := k.Parse(n.trust.Network(), n.verifier.Identity)
			if err == nil && !seen[id] {
				seen[id] = true
				out = append(out, n.consentInfo(id, b))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	p := n.principalOf(who)
	if p == nil || !p.Current || !n.running.Load() {
		return out, nil
	}
	own, err := n.ownConsents(ctx, p)
	for _, c := range own {
		if !seen[c.id] {
			out = append(out, n.consentInfo(c.id, c.body))
		}
	}
	return out, err
}

// subjectRoles are the roles of a person, which validators alone know.
func (n *Node) subjectRoles(who statement.ID) []api.Role {
	out := []api.Role{}
	if n.judge == nil {
		return out
	}
	for _, given := range n.judge.Book.Assignments(who) {
		out = append(out, n.roleRow(&given.Assignment, given.ID()))
	}
	return out
}

type subjectMembership struct {
	Peer    string `json:"peer_id"`
	Role    string `json:"role"`
	From    string `json:"from"`
	Expires string `json:"expires"`
}

// subjectMemberships are the peers that are known here as a person's.
func (n *Node) subjectMemberships(who statement.ID) ([]subjectMembership, error) {
	out := []subjectMembership{}
	if who == (statement.ID{}) || n.trust == nil {
		return out, nil
	}
	if i, sits := n.trust.Current().ByIdentity(who); sits {
		r := n.trust.Current()
		out = append(out, subjectMembership{PeerID(r.Validators[i].Peer), "validator", "", stamp(r.Expires)})
	}
	return out, n.roll.store.Scan(memberPrefix, nil, func(_, raw []byte) (bool, error) {
		s, err := statement.Parse(raw)
		if err != nil {
			return false, err
		}
		var m trust.Membership
		if err := s.Peek(trust.KindMembership, &m); err != nil {
			return false, err
		}
		if m.Identity == who {
			out = append(out, subjectMembership{PeerID(m.Peer), m.Role.String(), stamp(m.NotBefore), stamp(m.Expires)})
		}
		return true, nil
	})
}

// aboutExport says what a file is and is not.
func (n *Node) aboutExport(s subject, out *api.SubjectExported) any {
	c := n.audit.Log().Published()
	about := map[string]any{
		"subject": s.String(), "made": n.now().UTC().Format("2006-01-02T15:04:05Z"), "node": PeerID(n.home.PeerKey()),
		"log":    map[string]any{"origin": audit.Origin(n.home.PeerKey()), "entries": c.N, "root": fmt.Sprint(c.Hash), "checkpoint": string(c.Note)},
		"events": out.Events, "proved": out.Proved, "withheld_claims_of_others": out.Withheld, "not_known": out.NotKnown,
	}
	if n.trust != nil {
		about["network"] = n.trust.Network().String()
	}
	return about
}

// subjectLimits says what a node cannot know.
func (n *Node) subjectLimits(s subject) []string {
	out := []string{
		"other nodes keep logs and tables of their own: ask each validator, mirror and node that the person dealt with",
		"objects are ciphertext to this node unless it holds their key: what they say about the person it has not looked at",
		"whoever was granted an object may have kept its plaintext",
		"claims about other persons in the same events are withheld; that no event was left out, no proof shows",
		"events that concern the person without naming the identity, under a peer key or an address alone, are not found",
	}
	if n.judge == nil {
		out = append(out, "roles are known to validators alone, and so are standing consents of others than this home's identities")
	}
	if s.who == (statement.ID{}) {
		out = append(out, "this log has forgotten who stands behind the pseudonym: it finds the acts of one quarter, and no objects, grants or consents")
	}
	return out
}
