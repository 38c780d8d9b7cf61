package event

import (
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Act is an act in the words of whoever logs it. What is empty is not said. It knows
// which claim is forgotten with whom: ids of persons, and ids by which persons can be
// found, concern somebody.
type Act struct {
	Actor, Subject statement.ID // who did it, and for or about whom
	Object         []byte       // an address or id
	Owner          statement.ID // of the object, whom it concerns; zero: the actor
	Grant          []byte       // or another statement; it concerns the subject, or else the actor
	Bundle         statement.ID // of policy that was in force
	Rule           string       // the name of what decided
	Purpose        string       // in the actor's words
	Reason         string       // likewise, or why it was refused
	Role           string       // of the subject
	Peer           []byte       // key of a node; it concerns the subject, or else the actor
	Detail         string       // nothing about a person
}

// Event is the event of an act at a time.
func (a Act) Event(at time.Time, action Action, outcome Outcome) Event {
	e := Event{Time: at.UnixMilli(), Action: action, Outcome: outcome, Rule: Rule(a.Rule), Actor: a.Actor}
	say := func(name, value string, of statement.ID) {
		if value != "" {
			e.Claims = append(e.Claims, Claim{Name: name, Value: Clean(value), Of: of})
		}
	}
	identity := func(name string, who, of statement.ID) {
		if who != (statement.ID{}) {
			say(name, who.String(), of)
		}
	}
	identity(Actor, a.Actor, a.Actor)
	identity(Subject, a.Subject, a.Subject)
	say(Object, Ref(a.Object), first(a.Owner, a.Actor))
	say(Grant, Ref(a.Grant), first(a.Subject, a.Actor))
	say(Purpose, a.Purpose, a.Actor)
	say(Reason, a.Reason, a.Actor)
	say(RoleNamed, a.Role, a.Subject)
	say(Peer, Ref(a.Peer), first(a.Subject, a.Actor))
	say(Detail, a.Detail, statement.ID{})
	identity(Policy, a.Bundle, statement.ID{})
	return e
}

// first is the first of two persons who is somebody.
func first(a, b statement.ID) statement.ID {
	if a != (statement.ID{}) {
		return a
	}
	return b
}
