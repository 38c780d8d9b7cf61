package dossier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// logged makes the parts of an export: one event of a real log, with its proof.
func logged(t testing.TB) ([]Part, *Event) {
	t.Helper()
	parts, events := several(t, 1)
	return parts, events[0]
}

// several is logged for so many events.
func several(t testing.TB, n int) ([]Part, []*Event) {
	t.Helper()
	key := statement.GenerateKey()
	binding, err := audit.Bind(statement.GenerateKey(), key)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.TempDir(), audit.Config{Binding: binding, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Run(ctx) }()
	<-log.Running()
	t.Cleanup(func() { stop(); <-done; log.Close() })
	var lines []byte
	var events []*Event
	for range n {
		made := event.Event{
			Time: 1_800_000_000_000, Action: event.Get, Outcome: event.OK, Actor: statement.Hash("ada"),
			Claims: []event.Claim{{Name: event.Object, Value: "an address"}, {Name: event.Purpose, Value: "care"}},
		}
		leaf, open, err := made.Commit(event.Pseudonym{1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Record(ctx, [][]byte{leaf}, [][]byte{nil}); err != nil {
			t.Fatal(err)
		}
		if _, err := log.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
		proof, err := log.ProveInclusion(log.Size() - 1)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := event.ParseLeaf(leaf)
		if err != nil {
			t.Fatal(err)
		}
		e := Say(parsed, made.Claims)
		e.Index, e.Leaf, e.Proof = log.Size()-1, leaf, string(proof)
		for _, d := range open {
			e.Disclosures = append(e.Disclosures, d.Text)
		}
		events, lines = append(events, e), append(lines, line(t, e)...)
	}
	return []Part{{EventsName, lines}, {BindingName, binding}, {"roles.json", []byte("[]")}}, events
}

func line(t testing.TB, e *Event) []byte {
	t.Helper()
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return append(raw, '\n')
}

func written(t testing.TB, asZIP bool, parts []Part) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := Write(&out, asZIP, time.Unix(1_800_000_000, 0), parts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBothFormsComeBackAndTheirEventsHold(t *testing.T) {
	parts, _ := logged(t)
	for _, asZIP := range []bool{true, false} {
		got, err := Open(written(t, asZIP, parts))
		if err != nil || len(got) != len(parts) {
			t.Fatalf("zip %v: %d parts, %v", asZIP, len(got), err)
		}
		for _, p := range parts {
			if !bytes.Equal(got[p.Name], p.Content) {
				t.Errorf("zip %v: %s is another", asZIP, p.Name)
			}
		}
		c, err := Check(got)
		if err != nil || c.Events != 1 || c.Proved != 1 {
			t.Errorf("zip %v: %+v, %v", asZIP, c, err)
		}
	}
}

func TestAChangedPartIsFound(t *testing.T) {
	parts, _ := logged(t)
	var d document
	if err := json.Unmarshal(written(t, false, parts), &d); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*document){
		"a byte":               func(d *document) { d.Parts["roles.json"] = []byte("{}") },
		"a byte more":          func(d *document) { d.Parts["roles.json"] = []byte("[] ") },
		"another digest":       func(d *document) { d.Manifest.Parts[2].SHA256 = d.Manifest.Parts[1].SHA256 },
		"a digest in capitals": func(d *document) { d.Manifest.Parts[2].SHA256 = strings.ToUpper(d.Manifest.Parts[2].SHA256) },
		"a part gone":          func(d *document) { delete(d.Parts, "roles.json") },
		"a part more":          func(d *document) { d.Parts["more.json"] = nil },
		"not listed":           func(d *document) { d.Manifest.Parts = d.Manifest.Parts[1:] },
		"listed twice":         func(d *document) { d.Manifest.Parts[1] = d.Manifest.Parts[0] },
		"another format":       func(d *document) { d.Manifest.Format = "cerebrum-subject-2" },
	} {
		bad := document{Manifest{d.Manifest.Format, slices.Clone(d.Manifest.Parts)}, maps.Clone(d.Parts)}
		spoil(&bad)
		var raw bytes.Buffer
		if err := json.NewEncoder(&raw).Encode(bad); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(raw.Bytes()); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raw := range map[string][]byte{
		"nothing": nil, "words": []byte("hello"), "two documents": append(written(t, false, parts), "{}"...), "an unknown member": []byte(`{"x":1}`),
		"cut off": written(t, true, parts)[:200],
	} {
		if _, err := Open(raw); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadNamesAreNotWritten(t *testing.T) {
	for _, parts := range [][]Part{{{Name: ManifestName}}, {{Name: "../x"}}, {{Name: "a"}, {Name: "a"}}, {{Name: ""}}, make([]Part, MaxParts+1)} {
		if _, err := Write(&bytes.Buffer{}, true, time.Time{}, parts); !errors.Is(err, ErrDossier) {
			t.Errorf("%d parts: %v", len(parts), err)
		}
	}
}

// Words that are not the leaf's, claims that nobody disclosed, disclosures of another
// leaf and proofs of another log are all found.
func TestAForgedEventIsFound(t *testing.T) {
	parts, good := logged(t)
	others, other := logged(t)
	with := func(binding []byte, e *Event) map[string][]byte {
		return map[string][]byte{EventsName: line(t, e), BindingName: binding}
	}
	if _, err := Check(with(parts[1].Content, good)); err != nil { // control
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Event){
		"another time":       func(e *Event) { e.Time = "2020-01-01T00:00:00Z" },
		"another action":     func(e *Event) { e.Action = "erase" },
		"another outcome":    func(e *Event) { e.Outcome = "denied" },
		"another pseudonym":  func(e *Event) { e.Pseudonym = "" },
		"a rule":             func(e *Event) { e.Rule = "x" },
		"another claim":      func(e *Event) { e.Claims = map[string]string{"object": "other", "purpose": "care"} },
		"a claim too many":   func(e *Event) { e.Claims = map[string]string{"object": "an address", "purpose": "care", "reason": "x"} },
		"others disclosures": func(e *Event) { e.Disclosures = other.Disclosures },
		"another leaf":       func(e *Event) { e.Leaf = other.Leaf },
		"no leaf":            func(e *Event) { e.Leaf = nil },
		"anothers proof":     func(e *Event) { e.Proof = other.Proof },
		"half a proof":       func(e *Event) { e.Proof = e.Proof[:len(e.Proof)/2] },
	} {
		bad := *good
		spoil(&bad)
		if _, err := Check(with(parts[1].Content, &bad)); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Check(with(others[1].Content, good)); !errors.Is(err, ErrDossier) {
		t.Errorf("under another log's key: %v", err)
	}
	if _, err := Check(with(nil, good)); !errors.Is(err, ErrDossier) {
		t.Errorf("without a key: %v", err)
	}
	unproved := *good
	unproved.Proof = ""
	if c, err := Check(with(parts[1].Content, &unproved)); err != nil || c.Unproved != 1 || c.Proved != 0 {
		t.Errorf("an event without a proof counts: %+v, %v", c, err)
	}
}
