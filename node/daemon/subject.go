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
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/dossier"
	"cerebrum.dev/cerebrum/node/fault"
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
	out.NotKnown = append(n.subjectLimits(s), n.prunedLimit()...)
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
