package dossier

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"golang.org/x/mod/sumdb/tlog"
)

// maxLine bounds the line of one event, in bytes: 24 claims of 1 KiB with as many
// disclosures, and a proof of 72 KiB, where JSON writes a byte with up to six. Decoded,
// members that no event has take many times their length.
const maxLine = 1 << 20

// Event is one entry of the audit log as a data subject is given it.
type Event struct {
	Index       int64             `json:"index"`
	Time        string            `json:"time"`
	Action      string            `json:"action"`
	Outcome     string            `json:"outcome"`
	Rule        string            `json:"rule,omitempty"`
	Pseudonym   string            `json:"pseudonym,omitempty"` // of who acted, in hexadecimal
	Claims      map[string]string `json:"claims"`              // what the disclosures say
	Withheld    int               `json:"withheld,omitempty"`  // claims that concern other persons
	Forgotten   int               `json:"forgotten,omitempty"` // persons whose claims are destroyed
	Leaf        []byte            `json:"leaf"`
	Disclosures []string          `json:"disclosures"`
	Proof       string            `json:"proof"` // C2SP tlog-proof; empty: no checkpoint covers it yet
}

// Checked says what [Check] found.
type Checked struct {
	Origin   string `json:"origin"` // of the log
	Peer     string `json:"peer"`   // key of the node whose log it is
	Events   int    `json:"events"`
	Proved   int    `json:"proved"`   // of them, that stand under a signed checkpoint
	Unproved int    `json:"unproved"` // that came without a proof
}

// Check holds every event of a file's parts against its leaf, and the leaf against a
// checkpoint that the log's key signed. Each line must be the one that an export writes,
// and they stand in the order of the log. It needs nothing but the file; that the peer is
// the one which it should be, the caller compares. Every error is [ErrDossier], in one
// short line.
func Check(parts map[string][]byte) (*Checked, error) {
	b, err := audit.VerifyBinding(parts[BindingName])
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrDossier, BindingName, brief(err))
	}
	lines, ok := parts[EventsName]
	if !ok {
		return nil, fmt.Errorf("%w: it has no %s", ErrDossier, EventsName)
	}
	out := &Checked{Origin: b.Origin, Peer: b.Peer.String()}
	last := int64(-1)
	for len(lines) > 0 {
		line, rest, ended := bytes.Cut(lines, []byte("\n")) // bufio.Scanner would take "\r\n" too
		if !ended || len(line) > maxLine {
			return nil, fmt.Errorf("%w: line %d of %s has no end, or more than %d bytes", ErrDossier, out.Events+1, EventsName, maxLine)
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil { // whose text quotes what it read, of any length
			return nil, fmt.Errorf("%w: line %d of %s is no event", ErrDossier, out.Events+1, EventsName)
		}
		if err := e.check(line); err != nil {
			return nil, fmt.Errorf("%w: event %d: %s", ErrDossier, e.Index, brief(err))
		}
		if e.Index <= last {
			return nil, fmt.Errorf("%w: event %d does not stand in the order of the log, or stands twice", ErrDossier, e.Index)
		}
		lines, last = rest, e.Index
		out.Events++
		if e.Proof == "" {
			out.Unproved++
			continue
		}
		if _, err := b.CheckProof(e.Index, tlog.RecordHash(e.Leaf), []byte(e.Proof)); err != nil {
			return nil, fmt.Errorf("%w: event %d: its proof does not hold: %s", ErrDossier, e.Index, brief(err))
		}
		out.Proved++
	}
	return out, nil
}

// Say is a leaf with claims in words.
func Say(leaf *event.Leaf, claims []event.Claim) *Event {
	e := &Event{
		Time: time.UnixMilli(leaf.Time).UTC().Format(time.RFC3339Nano), Action: string(leaf.Action), Outcome: leaf.Outcome.String(),
		Rule: leaf.Rule, Claims: map[string]string{}, Disclosures: []string{},
	}
	if leaf.Actor != (event.Pseudonym{}) {
		e.Pseudonym = hex.EncodeToString(leaf.Actor[:])
	}
	for _, c := range claims {
		e.Claims[c.Name] = c.Value
	}
	return e
}

// check compares what an event says in words with what its leaf and its disclosures
// say, and its line with the one that an export writes. Other readers of JSON than ours
// take the first of two members of one name, or tell capital letters from small ones:
// they would read something else on a line that we call proved.
func (e *Event) check(line []byte) error {
	leaf, err := event.ParseLeaf(e.Leaf)
	if err != nil {
		return err
	}
	claims, err := event.Open(leaf, e.Disclosures)
	if err != nil {
		return err
	}
	said := Say(leaf, claims)
	if said.Time != e.Time || said.Action != e.Action || said.Outcome != e.Outcome || said.Rule != e.Rule || said.Pseudonym != e.Pseudonym {
		return errors.New("its words are not those of its leaf")
	}
	if !maps.Equal(said.Claims, e.Claims) {
		return errors.New("its claims are not what it discloses")
	}
	if e.Index < 0 || e.Forgotten < 0 || e.Withheld < 0 || e.Withheld > len(leaf.Digests)-len(claims) {
		return errors.New("it counts what cannot be")
	}
	said.Index, said.Withheld, said.Forgotten, said.Leaf, said.Proof = e.Index, e.Withheld, e.Forgotten, e.Leaf, e.Proof
	said.Disclosures = append(said.Disclosures, e.Disclosures...)
	again, err := json.Marshal(said)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, line) {
		return errors.New("its line is not written as an export writes it")
	}
	return nil
}
