package ocsf

import (
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// Filter is which events are asked for. Empty fields ask for any.
type Filter struct {
	Since    int64  // Unix milliseconds
	Action   string // Cerebrum's word
	Outcome  string
	Identity string // who acted, or for whom: an id or a contact
	Object   string // what it was done to, or the grant: an address or an id
	// Same are other ids of what Object names, and of what it is part of: grants and holds
	// name a key, a lineage or a scope, not an address.
	Same []statement.ID
}

// Check refuses a filter that could match nothing, and writes its ids as claims have
// them.
func (f *Filter) Check() error {
	if _, known := event.Action(f.Action).Type(); f.Action != "" && !known {
		var all []string
		for _, a := range event.Actions() {
			all = append(all, string(a))
		}
		return fmt.Errorf("there is no action %q; actions are %s", f.Action, strings.Join(all, ", "))
	}
	if f.Outcome != "" && !slices.Contains(event.Outcomes(), f.Outcome) {
		return fmt.Errorf("there is no outcome %q; outcomes are %s", f.Outcome, strings.Join(event.Outcomes(), ", "))
	}
	if c, err := cid.Decode(f.Object); err == nil {
		f.Object = c.String()
	} else if _, err := statement.ParseID(f.Object); f.Object != "" && err != nil {
		return fmt.Errorf("%.40q is neither an address nor an id, which is 64 lower-case hexadecimal digits", f.Object)
	}
	if _, err := statement.ParseID(f.Identity); f.Identity == "" || err == nil {
		return nil
	}
	id, err := identity.ParseContact(f.Identity)
	if err != nil {
		return fmt.Errorf("%.40q is neither an identity's id nor a contact", f.Identity)
	}
	f.Identity = id.ID().String()
	return nil
}

// Leaf is whether an event may be asked for, by what everybody can see of it.
func (f *Filter) Leaf(l *event.Leaf) bool {
	return l.Time >= f.Since && (f.Action == "" || string(l.Action) == f.Action) && (f.Outcome == "" || l.Outcome.String() == f.Outcome)
}

// Claims is whether it is asked for, by what is shown of it.
func (f *Filter) Claims(all []event.Claim) bool {
	says := func(value string, names ...string) bool {
		return value == "" || slices.ContainsFunc(all, func(c event.Claim) bool { return c.Value == value && slices.Contains(names, c.Name) })
	}
	return says(f.Identity, event.Actor, event.Subject) &&
		(says(f.Object, event.Object, event.Grant) || slices.ContainsFunc(f.Same, func(id statement.ID) bool { return says(id.String(), event.Object) }))
}
