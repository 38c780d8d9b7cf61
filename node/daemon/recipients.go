package daemon

import (
	"cmp"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// recipient is somebody who got, or may get, what a person owns (Article 15(1)(c)
// GDPR: the person is told who).
type recipient struct {
	Identity string   `json:"identity"`
	Because  []string `json:"because"`
	Events   int      `json:"events"` // of this log in which it acted on the person's objects
	Last     string   `json:"last,omitempty"`
}

type recipients map[string]*recipient

func (r recipients) add(who, because string) *recipient {
	if r[who] == nil {
		r[who] = &recipient{Identity: who}
	}
	if !slices.Contains(r[who].Because, because) {
		r[who].Because = append(r[who].Because, because)
	}
	return r[who]
}

// gave are the actions that give somebody a key or ciphertext.
var gave = map[event.Action]string{
	event.Release: "was released a share of a key", event.Serve: "was sent ciphertext", event.Get: "read an object here", event.Range: "read a part of an object here",
}

// seen takes an event into account whose object is the person's.
func (r recipients) seen(who statement.ID, e *journal.Entry, opened *journal.Opened) {
	because, ok := gave[e.Leaf.Action]
	actor, known := e.Actor()
	owns := slices.ContainsFunc(opened.Claims, func(c event.Claim) bool { return c.Name == event.Object && c.Of == who })
	if !ok || e.Leaf.Outcome != event.OK || !known || actor == who || !owns || who == (statement.ID{}) {
		return
	}
	got := r.add(actor.String(), because)
	got.Events++
	got.Last = e.Time().UTC().Format("2006-01-02T15:04:05Z")
}

func (r recipients) sorted() []*recipient {
	out := []*recipient{}
	for _, x := range r {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *recipient) int { return cmp.Compare(a.Identity, b.Identity) })
	return out
}
