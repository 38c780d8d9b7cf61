package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits of an event, in bytes where nothing else is said. They bound what a log
// holds in memory for each waiting caller.
const (
	MaxClaims = 24 // claims of one event
	MaxName   = 32
	MaxValue  = 1024
	MaxRule   = 96
	maxAction = 32
)

// ErrEvent reports an event that cannot be logged as it is. It is refused rather
// than shortened: shortened evidence is other evidence.
var ErrEvent = errors.New("the event cannot be logged")

// Outcome is how an act ended.
type Outcome uint8

// Outcomes. The numbers stand in leaves.
const (
	OK      Outcome = 1 // it was done, or is about to be
	Denied  Outcome = 2 // a rule forbade it
	Pending Outcome = 3 // a person will decide
	Failed  Outcome = 4 // it was allowed and did not succeed
)

var outcomes = [...]string{OK: "ok", Denied: "denied", Pending: "pending", Failed: "failed"}

// String is one lower-case word.
func (o Outcome) String() string {
	if !o.valid() {
		return "unknown"
	}
	return outcomes[o]
}

// Outcomes are the words for all of them.
func Outcomes() []string { return slices.Clone(outcomes[OK:]) }

func (o Outcome) valid() bool { return o >= OK && int(o) < len(outcomes) }

// Names of the claims that Cerebrum makes. An event has at most one of a name.
const (
	Actor     = "actor"   // identity of who did it
	Subject   = "subject" // identity of whom it was done for or about
	Object    = "object"  // what it was done to: an address, or another id
	Grant     = "grant"   // the grant or other statement under which, or which, it was done
	Policy    = "policy"  // the bundle that was in force
	Purpose   = "purpose" // as stated by the actor
	Reason    = "reason"  // as stated by the actor, or why it was refused
	Detail    = "detail"  // what else there is to say, of no person
	Peer      = "peer"    // the peer key of a node
	RoleNamed = "role"    // a role, and whether it was given or taken
)

// Claim is one thing that an event says, and whom it concerns.
type Claim struct {
	Name  string
	Value string
	Of    statement.ID // the person it is forgotten with; zero: nobody
}

// Event is one act as whoever decided on it knows it. Only [Event.Commit] turns
// it into what is kept.
type Event struct {
	Time    int64 // Unix milliseconds, by the clock of whoever decided
	Action  Action
	Outcome Outcome
	Rule    string       // names the rule that decided; see [Rule]
	Actor   statement.ID // the person who acted; zero: none, the node by itself
	Claims  []Claim
}

// People are the persons whom an event concerns, the actor first, each once.
func (e *Event) People() []statement.ID {
	var out []statement.ID
	add := func(who statement.ID) {
		if who == (statement.ID{}) {
			return
		}
		for _, had := range out {
			if had == who {
				return
			}
		}
		out = append(out, who)
	}
	add(e.Actor)
	for _, c := range e.Claims {
		add(c.Of)
	}
	return out
}

// Claim is the value of the claim with a name.
func (e *Event) Claim(name string) (value string, ok bool) { return Find(e.Claims, name) }

// Find is the value of the claim with a name, among several.
func Find(claims []Claim, name string) (value string, ok bool) {
	for _, c := range claims {
		if c.Name == name {
			return c.Value, true
		}
	}
	return "", false
}

func (e *Event) check() error {
	if _, known := types[e.Action]; !known {
		return fmt.Errorf("%w: its action is not in the table", ErrEvent)
	}
	if !e.Outcome.valid() {
		return fmt.Errorf("%w: it has no outcome", ErrEvent)
	}
	if e.Time < 0 {
		return fmt.Errorf("%w: its time is before 1970", ErrEvent)
	}
	if !validRule(e.Rule) {
		return fmt.Errorf("%w: its rule is not a name of at most %d bytes", ErrEvent, MaxRule)
	}
	if len(e.Claims) > MaxClaims {
		return fmt.Errorf("%w: %d claims, at most %d", ErrEvent, len(e.Claims), MaxClaims)
	}
	for i, c := range e.Claims {
		if err := c.check(); err != nil {
			return fmt.Errorf("%w: %w", ErrEvent, err)
		}
		if _, twice := Find(e.Claims[:i], c.Name); twice {
			return fmt.Errorf("%w: two claims are called %q", ErrEvent, c.Name)
		}
	}
	return nil
}

func (c *Claim) check() error {
	if !word(c.Name, MaxName) {
		return fmt.Errorf("a claim's name is 1 to %d lower-case letters, digits, dots, dashes and underscores", MaxName)
	}
	if len(c.Value) > MaxValue || !plain(c.Value) {
		return fmt.Errorf("the claim %s is not plain UTF-8 of at most %d bytes", c.Name, MaxValue)
	}
	return nil
}

// word is a name of the log's own: it needs no escaping anywhere.
func word(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for _, r := range []byte(s) {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_') {
			return false
		}
	}
	return true
}

func validRule(s string) bool {
	if len(s) > MaxRule {
		return false
	}
	for _, r := range []byte(s) {
		if r < ' ' || r > '~' {
			return false
		}
	}
	return true
}

// plain text acts on no terminal: no control or formatting characters, which
// would also let a line look like another one.
func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unprintable) }

func unprintable(r rune) bool {
	if r < 0x7f { // nearly always
		return r < ' '
	}
	return unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029'
}

// Clean makes a claim's value of a text that was not written for the log, such as
// an error's or a person's: what is not printable becomes a space, and what is too
// long is cut at a character and marked with an ellipsis.
func Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unprintable(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	return cut(text, MaxValue, "…")
}

// Rule makes a name of a rule: printable ASCII, the rest replaced by question
// marks, at most [MaxRule] bytes. It does not see whether text holds data of a
// person; the caller gives it the name of a rule and nothing else.
func Rule(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return cut(text, MaxRule, "...")
}

func cut(text string, most int, mark string) string {
	if len(text) <= most {
		return text
	}
	at := most - len(mark)
	for !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + mark
}
