package event

import (
	"testing"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestEveryActionHasATypeOfAClassThatIsUsed(t *testing.T) {
	classes := map[int]bool{6002: true, 6003: true, 6005: true, 6006: true, 3004: true, 3005: true}
	for _, a := range Actions() {
		typ, ok := a.Type()
		if !ok || !classes[typ.Class()] || typ.Activity() < 1 || !word(string(a), maxAction) {
			t.Errorf("%s has the type %d", a, typ)
		}
	}
	if _, ok := Action("teleport").Type(); ok {
		t.Error("the table is not closed")
	}
}

func TestWhatPointsAtAPersonIsForgottenWithIt(t *testing.T) {
	id := statement.Hash("an id")
	a := Act{
		Actor: bob, Subject: alice, Object: id[:], Owner: statement.Hash("owner"), Grant: id[:], Bundle: statement.Hash("bundle"),
		Purpose: "care", Reason: "a\nreason", Role: "nurse", Peer: id[:], Detail: "3 objects", Rule: "r\x1b",
	}
	e := a.Event(time.UnixMilli(5), GrantIssue, OK)
	of := map[string]statement.ID{
		Actor: bob, Subject: alice, Object: a.Owner, Grant: alice, Purpose: bob, Reason: bob, RoleNamed: alice, Peer: alice, Detail: {}, Policy: {},
	}
	for _, c := range e.Claims {
		if c.Of != of[c.Name] {
			t.Errorf("%s concerns %v", c.Name, c.Of)
		}
		delete(of, c.Name)
	}
	if len(of) > 0 {
		t.Errorf("not said: %v", of)
	}
	if _, _, err := e.Commit(pen); err != nil {
		t.Error(err)
	}
	alone := Act{Actor: bob, Object: []byte("x"), Grant: id[:]}.Event(time.UnixMilli(5), Get, OK)
	for _, c := range alone.Claims {
		if c.Of != bob {
			t.Errorf("%s concerns %v", c.Name, c.Of)
		}
	}
	if empty := (Act{}).Event(time.UnixMilli(5), Start, OK); len(empty.Claims) != 0 {
		t.Errorf("%+v", empty)
	}
}
