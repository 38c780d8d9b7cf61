package ocsf

import (
	"bytes"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestFiltersLetThroughWhatIsAskedFor(t *testing.T) {
	r := record(t, event.Release, event.Denied)
	id, address := statement.Hash("an id").String(), "bafyreibhmi3al7obypx6iwleyxwauyzjtw7qzghlp74s3b3j43vyd4xrla"
	for name, c := range map[string]struct {
		f    Filter
		want bool
	}{
		"everything":            {Filter{}, true},
		"the action":            {Filter{Action: "release"}, true},
		"another action":        {Filter{Action: "add"}, false},
		"the outcome":           {Filter{Outcome: "denied"}, true},
		"another outcome":       {Filter{Outcome: "ok"}, false},
		"since before":          {Filter{Since: r.Leaf.Time}, true},
		"since after":           {Filter{Since: r.Leaf.Time + 1}, false},
		"who acted":             {Filter{Identity: bob.String()}, true},
		"for whom":              {Filter{Identity: statement.Hash("carol").String()}, true},
		"somebody else":         {Filter{Identity: statement.Hash("dan").String()}, false},
		"the object":            {Filter{Object: id}, true},
		"another object":        {Filter{Object: statement.Hash("x").String()}, false},
		"its other name":        {Filter{Object: statement.Hash("x").String(), Same: []statement.ID{statement.Hash("y"), statement.Hash("an id")}}, true},
		"other names":           {Filter{Object: statement.Hash("x").String(), Same: []statement.ID{statement.Hash("y")}}, false},
		"a name, not the actor": {Filter{Object: id, Same: []statement.ID{statement.Hash("an id")}, Identity: statement.Hash("dan").String()}, false},
		"all of them":           {Filter{Action: "release", Outcome: "denied", Identity: bob.String(), Object: id}, true},
		"all of them but 1":     {Filter{Action: "release", Outcome: "ok", Identity: bob.String(), Object: id}, false},
		"an address":            {Filter{Object: address}, false},
	} {
		if err := c.f.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.f.Leaf(r.Leaf) && c.f.Claims(r.Claims); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, f := range map[string]Filter{"an action": {Action: "fly"}, "an outcome": {Outcome: "good"}, "an identity": {Identity: "ann"},
		"an object": {Object: "foo"}, "half an id": {Object: id[:32]}, "an address cut short": {Object: address[:40]}} {
		if f.Check() == nil {
			t.Errorf("%s that nobody knows passes", name)
		}
	}
	ann := trusttest.NewPerson(t, "ann", identity.User)
	f := Filter{Identity: ann.Contact()}
	if err := f.Check(); err != nil || f.Identity != ann.ID().String() {
		t.Errorf("a contact becomes %q: %v", f.Identity, err)
	}
}

func TestWritersWriteALineEach(t *testing.T) {
	for format, lines := range map[string]int{"words": 2, "json": 2, "syslog": 2, "csv": 3} {
		var out bytes.Buffer
		put, err := Writer(&out, Form{Format: format, Host: "host"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := put(record(t, event.Get, event.OK)); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Count(out.String(), "\n"); got != lines || !strings.HasSuffix(out.String(), "\n") {
			t.Errorf("%s has %d lines", format, got)
		}
	}
	if _, err := Writer(new(bytes.Buffer), Form{Format: "xml"}); err == nil {
		t.Error("a format that nobody knows passes")
	}
}
