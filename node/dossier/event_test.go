package dossier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// lied are the ways in which a line can read differently from its leaf, to one reader or
// another, while its leaf, disclosures and proof are real. Each changes a good line.
func lied(t testing.TB, e *Event) map[string]string {
	t.Helper()
	good := string(line(t, e))
	with := func(change func(e *Event)) string {
		bad := *e
		change(&bad)
		return string(line(t, &bad))
	}
	swap := func(old, now string) string {
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is not once in %s", old, good)
		}
		return strings.Replace(good, old, now, 1)
	}
	return map[string]string{
		"another index":                with(func(e *Event) { e.Index = 4711 }),
		"an index below nothing":       with(func(e *Event) { e.Index, e.Proof = -1, "" }),
		"the same twice":               good + good,
		"a second action, capitalized": swap(`"action":"get"`, `"action":"erase","Action":"get"`),
		"a second action":              swap(`"action":"get"`, `"action":"erase","action":"get"`),
		"a capital letter":             swap(`"action"`, `"Action"`),
		"a second claim of one name":   swap(`"purpose":"care"`, `"purpose":"sale","purpose":"care"`),
		"a rule that is empty":         swap(`"claims"`, `"rule":"","claims"`),
		"nothing withheld":             swap(`"leaf"`, `"withheld":0,"leaf"`),
		"less than nothing withheld":   with(func(e *Event) { e.Withheld = -1 }),
		"less than nobody forgotten":   with(func(e *Event) { e.Forgotten = -1 }),
		"more withheld than there is":  with(func(e *Event) { e.Withheld = 7 }),
		"far more withheld":            with(func(e *Event) { e.Withheld = math.MaxInt }),
		"an extra line in its proof":   with(func(e *Event) { e.Proof = strings.Replace(e.Proof, "\nindex", "\nextra aGVsbG8=\nindex", 1) }),
		"a sign in its proof":          with(func(e *Event) { e.Proof = strings.Replace(e.Proof, "\nindex ", "\nindex +0", 1) }),
		"null for no claims":           with(func(e *Event) { e.Claims, e.Disclosures = nil, []string{} }),
		"null for no disclosures":      with(func(e *Event) { e.Claims, e.Disclosures = map[string]string{}, nil }),
		"a line end in its leaf":       swap(`"leaf":"`, `"leaf":"\n`),
		"a space":                      swap(`"action":`, `"action": `),
		"a space at the end":           strings.TrimSuffix(good, "\n") + " \n",
		"an escaped letter":            swap(`"action":"get"`, `"action":"\u0067et"`),
		"two characters that end it":   strings.TrimSuffix(good, "\n") + "\r\n",
		"no end":                       strings.TrimSuffix(good, "\n"),
		"an empty line":                "\n" + good,
		"an empty line behind it":      good + "\n",
		"two values":                   strings.TrimSuffix(good, "\n") + "{}\n",
		"not even JSON":                "hello\n",
	}
}

// What counts as proved is what every reader of the line reads: it is the line that an
// export writes for the leaf, at the place that the proof is for.
func TestALineThatReadsDifferentlyFromItsLeafIsFound(t *testing.T) {
	parts, e := logged(t)
	check := func(lines string) (*Checked, error) {
		return Check(map[string][]byte{EventsName: []byte(lines), BindingName: parts[1].Content})
	}
	if c, err := check(string(line(t, e))); err != nil || c.Proved != 1 { // control
		t.Fatalf("%+v, %v", c, err)
	}
	for name, bad := range lied(t, e) {
		if c, err := check(bad); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %+v, %v", name, c, err)
		} else if s := err.Error(); len(s) > 1000 || strings.Contains(s, "\n") {
			t.Errorf("%s: the refusal is no line: %.1000q", name, s)
		}
	}
}

// Events come in the order of the log, so that none counts twice under another wording:
// one of them without its proof would be a second event.
func TestEventsStandInTheOrderOfTheLog(t *testing.T) {
	parts, events := several(t, 3)
	check := func(chosen ...*Event) (*Checked, error) {
		var lines []byte
		for _, e := range chosen {
			lines = append(lines, line(t, e)...)
		}
		return Check(map[string][]byte{EventsName: lines, BindingName: parts[1].Content})
	}
	unproved := *events[1]
	unproved.Proof = ""
	last := *events[2]
	last.Proof = ""
	for name, good := range map[string][]*Event{
		"all": events, "some": {events[0], events[2]}, "one without a proof between them": {events[0], &unproved, events[2]},
		"one without a proof at the end": {events[0], events[1], &last},
	} {
		if c, err := check(good...); err != nil || c.Events != len(good) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for name, bad := range map[string][]*Event{
		"backwards": {events[1], events[0]}, "again later": {events[0], events[1], events[0]},
		"again without a proof": {events[1], &unproved}, "first without a proof": {&unproved, events[1]},
	} {
		if c, err := check(bad...); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// An export of nobody's events has the part all the same: a file without it would look
// as if nothing was logged.
func TestEventsThatAreMissingAreNotNone(t *testing.T) {
	parts, _ := logged(t)
	if _, err := Check(map[string][]byte{BindingName: parts[1].Content}); !errors.Is(err, ErrDossier) {
		t.Errorf("no part: %v", err)
	}
	if c, err := Check(map[string][]byte{BindingName: parts[1].Content, EventsName: nil}); err != nil || c.Events != 0 {
		t.Errorf("no events: %+v, %v", c, err)
	}
}

// The limit of a line leaves room for the longest that is written.
func TestTheLongestEventIsRead(t *testing.T) {
	parts, _ := logged(t)
	long := event.Event{Time: 1, Action: event.Get, Outcome: event.OK, Rule: "r", Actor: statement.Hash("ada")}
	for i := range event.MaxClaims {
		long.Claims = append(long.Claims, event.Claim{Name: fmt.Sprintf("%0*d", event.MaxName, i), Value: strings.Repeat("<", event.MaxValue)})
	}
	leaf, open, err := long.Commit(event.Pseudonym{1})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := event.ParseLeaf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	e := Say(parsed, long.Claims)
	e.Leaf = leaf
	for _, d := range open {
		e.Disclosures = append(e.Disclosures, d.Text)
	}
	raw := line(t, e)
	if most := len(raw) + 6*72<<10; most > maxLine {
		t.Errorf("with a proof, it has up to %d bytes", most)
	}
	if c, err := Check(map[string][]byte{EventsName: raw, BindingName: parts[1].Content}); err != nil || c.Unproved != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// A refusal is shown to a person: it does not repeat a megabyte that a stranger wrote.
func TestRefusalsOfLinesAreShort(t *testing.T) {
	parts, e := logged(t)
	long := strings.Repeat("x", 1<<20)
	check := func(lines []byte) error {
		_, err := Check(map[string][]byte{EventsName: lines, BindingName: parts[1].Content})
		return err
	}
	claimed := *e
	claimed.Claims = map[string]string{long: ""}
	for name, err := range map[string]error{
		"a member":           check([]byte(`{"` + long + `":1}` + "\n")),
		"a number":           check([]byte(`{"index":` + strings.Repeat("1", 1<<20) + "}\n")),
		"a word":             check(bytes.Replace(line(t, e), []byte(`"action":"get"`), []byte(`"action":"`+long+`"`), 1)),
		"a claim":            check(line(t, &claimed)),
		"a proof":            check(bytes.Replace(line(t, e), []byte(`"proof":"`), []byte(`"proof":"`+long), 1)),
		"a line without end": check(bytes.Repeat([]byte("x"), maxLine+1)),
	} {
		if !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %.200v", name, err)
		} else if s := err.Error(); len(s) > 1000 || strings.ContainsAny(s, "\n\x1b") {
			t.Errorf("%s: %d bytes: %.200q", name, len(s), s)
		}
	}
}

// Whatever counts as an event is written again as the same bytes. The keys are those of a
// file: each process that fuzzes would make others, under which no seed holds.
func FuzzCheck(f *testing.F) {
	raw, err := os.ReadFile(filepath.Join("testdata", "events.json"))
	if err != nil {
		f.Fatal(err)
	}
	parts, err := Open(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(parts[EventsName])
	var first Event
	if err := json.NewDecoder(bytes.NewReader(parts[EventsName])).Decode(&first); err != nil {
		f.Fatal(err)
	}
	for _, bad := range lied(f, &first) {
		f.Add([]byte(bad))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		c, err := Check(map[string][]byte{EventsName: lines, BindingName: parts[BindingName]})
		if err != nil {
			if s := err.Error(); !errors.Is(err, ErrDossier) || len(s) > 1000 || strings.Contains(s, "\n") {
				t.Errorf("%.1000q", s)
			}
			return
		}
		var again bytes.Buffer
		write := json.NewEncoder(&again)
		d := json.NewDecoder(bytes.NewReader(lines))
		for range c.Events {
			var e Event
			if err := d.Decode(&e); err != nil {
				t.Fatal(err)
			}
			if err := write.Encode(e); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again.Bytes(), lines) {
			t.Errorf("it takes %q for %q", lines, again.Bytes())
		}
	})
}
