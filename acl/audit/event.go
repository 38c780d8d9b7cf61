package audit

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits of an [Event], in bytes. They bound what a batch of the writer holds
// in memory.
const (
	MaxWord   = 64  // Action, Outcome
	MaxBytes  = 128 // Actor, Subject, Object, Grant, Policy
	MaxReason = 256
	maxLeaf   = 2048 // the encoding of an event, with room to spare
)

// ErrEvent reports an event that does not fit the log. It is refused rather
// than shortened: shortened evidence is other evidence.
var ErrEvent = errors.New("the event cannot be logged")

// Event is one decision, as the log keeps it for ever. It must hold nothing
// about a person that cannot be erased: people appear as commitments
// ([Commit]) whose salt is kept elsewhere and destroyed on request, and Reason
// names a rule, not the data that it was applied to.
type Event struct {
	_       struct{} `cbor:",toarray"`
	Time    int64    // Unix milliseconds, by the clock of whoever decided
	Action  string   // what was asked: "release", "deposit", "grant", "revoke", "add", "get", ...
	Outcome string   // "ok" or "denied"; "pending" where a person will decide
	Actor   []byte   // who asked: a salted commitment, or an id that names no person
	Subject []byte   // about whom: likewise
	Object  []byte   // on what: an address or id
	Grant   []byte   // by which grant
	Policy  []byte   // under which policy bundle: its hash
	Reason  string   // which rule decided
}

func (e Event) encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return statement.Marshal(e)
}

func decodeEvent(leaf []byte) (Event, error) {
	var e Event
	if err := statement.Unmarshal(leaf, &e); err != nil {
		return Event{}, err
	}
	return e, e.check()
}

func (e Event) check() error {
	if e.Action == "" || e.Outcome == "" {
		return fmt.Errorf("%w: action and outcome are needed", ErrEvent)
	}
	for _, f := range []struct {
		name, text string
		max        int
	}{{"action", e.Action, MaxWord}, {"outcome", e.Outcome, MaxWord}, {"reason", e.Reason, MaxReason}} {
		// Control characters would act on the terminal of whoever reads the log.
		if len(f.text) > f.max || !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, unicode.IsControl) {
			return fmt.Errorf("%w: its %s is not plain UTF-8 of at most %d bytes", ErrEvent, f.name, f.max)
		}
	}
	for _, b := range [][]byte{e.Actor, e.Subject, e.Object, e.Grant, e.Policy} {
		if len(b) > MaxBytes {
			return fmt.Errorf("%w: an id of %d bytes, at most %d", ErrEvent, len(b), MaxBytes)
		}
	}
	return nil
}

// Commit binds a value, a person's identity say, without showing it: whoever
// has the salt and guesses the value can check the guess, and nobody can once
// every copy of the salt is destroyed. kind keeps commitments to different
// things apart. The salt is random and of one use per person and log, because
// equal salts make equal values recognisable.
func Commit(salt [32]byte, kind string, value []byte) statement.ID {
	return statement.Hash("audit-commitment", salt[:], []byte(kind), value)
}

// Clean makes a Reason of a text that was not written for the log, such as an
// error's: control characters become spaces, and what is too long is cut at a
// character and marked with an ellipsis.
func Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	const mark = "…"
	if len(text) <= MaxReason {
		return text
	}
	cut := MaxReason - len(mark)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
