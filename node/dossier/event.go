package dossier

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
)

// maxLine bounds the line of one event.
const maxLine = 4 << 20

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
// checkpoint that the log's key signed. It needs nothing but the file; that the peer
// is the one which it should be, the caller compares.
func Check(parts map[string][]byte) (*Checked, error) {
	b, err := audit.VerifyBinding(parts[BindingName])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDossier, err)
	}
	policy, err := b.Policy()
	if err != nil {
		return nil, err
	}
	out := &Checked{Origin: b.Origin, Peer: b.Peer.String()}
	lines := bufio.NewScanner(bytes.NewReader(parts[EventsName]))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e Event
		if err := strict(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("%w: event %d: %w", ErrDossier, e.Index, err)
		}
		out.Events++
		if e.Proof == "" {
			out.Unproved++
			continue
		}
		if err := audit.VerifyInclusion(policy, e.Leaf, []byte(e.Proof)); err != nil {
			return nil, fmt.Errorf("%w: event %d: its proof does not hold: %w", ErrDossier, e.Index, err)
		}
		out.Proved++
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDossier, err)
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
// say.
func (e *Event) check() error {
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
	if len(said.Claims) != len(e.Claims) {
		return errors.New("it claims what it does not disclose")
	}
	for name, value := range said.Claims {
		if e.Claims[name] != value {
			return fmt.Errorf("its %s is not what it discloses", name)
		}
	}
	return nil
}
