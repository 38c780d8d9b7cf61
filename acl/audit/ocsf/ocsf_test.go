package ocsf

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var bob = statement.Hash("bob")

// schema is testdata/ocsf-1.8.0.json: what the published schema (github.com/ocsf/
// ocsf-schema, tag 1.8.0, Apache-2.0) says of the classes and objects that are used.
type schema struct {
	Version string
	Classes map[string]struct {
		Caption, Category string
		CategoryUID       int `json:"category_uid"`
		Activities        map[string]string
		Required          []string
		AtLeastOne        []string          `json:"at_least_one"`
		Attributes        map[string]string // and their types
	}
	Objects map[string]struct {
		Required   []string
		AtLeastOne []string `json:"at_least_one"`
		Attributes map[string]string
	}
}

func published(t *testing.T) *schema {
	t.Helper()
	raw, err := os.ReadFile("testdata/ocsf-1.8.0.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if s.Version != Version {
		t.Fatalf("the facts are of version %s", s.Version)
	}
	return &s
}

// record is an event of an action with every claim that there is.
func record(t testing.TB, action event.Action, outcome event.Outcome) *Record {
	t.Helper()
	id := statement.Hash("an id")
	e := event.Act{
		Actor: bob, Subject: statement.Hash("carol"), Object: id[:], Grant: id[:], Bundle: id, Rule: `a "rule" [1] \ 2`,
		Purpose: "research", Reason: `because "x"`, Role: "nurse", Detail: "3 files", Peer: id[:],
	}.Event(time.UnixMilli(1_790_000_000_123), action, outcome)
	raw, _, err := e.Commit(event.Pseudonym{0xab})
	if err != nil {
		t.Fatal(err)
	}
	l, err := event.ParseLeaf(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &Record{Origin: "cerebrum.dev/log/abc", Index: 7, LeafHash: [32]byte{0xcd}, Leaf: l, Claims: e.Claims}
}

// bare is an event of which nothing is left to be shown.
func bare(t testing.TB, action event.Action) *Record {
	r := record(t, action, event.OK)
	r.Claims, r.Erased = nil, 2
	return r
}

// check compares one object with the schema.
func (s *schema) check(at string, got map[string]any, required, atLeastOne []string, attributes map[string]string) (wrong []string) {
	for _, name := range required {
		if _, ok := got[name]; !ok {
			wrong = append(wrong, at+" lacks "+name)
		}
	}
	if len(atLeastOne) > 0 && !slices.ContainsFunc(atLeastOne, func(name string) bool { return got[name] != nil }) {
		wrong = append(wrong, at+" has none of "+strings.Join(atLeastOne, ", "))
	}
	for name, value := range got {
		kind, known := attributes[name]
		if !known {
			wrong = append(wrong, at+" has the unknown attribute "+name)
			continue
		}
		values, list := value.([]any)
		if !list {
			values = []any{value}
		}
		for _, v := range values {
			wrong = append(wrong, s.checkValue(at+"."+name, v, kind)...)
		}
	}
	return wrong
}

func (s *schema) checkValue(at string, v any, kind string) []string {
	switch v := v.(type) {
	case string:
		if !strings.HasSuffix(kind, "_t") || slices.Contains([]string{"integer_t", "long_t", "timestamp_t", "boolean_t"}, kind) {
			return []string{at + " is a string and not " + kind}
		}
	case float64:
		if !slices.Contains([]string{"integer_t", "long_t", "timestamp_t"}, kind) {
			return []string{at + " is a number and not " + kind}
		}
	case map[string]any:
		o, ok := s.Objects[kind]
		if !ok && kind != "object" { // "unmapped" may hold anything
			return []string{at + " is an object of the kind " + kind}
		}
		if ok {
			return s.check(at, v, o.Required, o.AtLeastOne, o.Attributes)
		}
	}
	return nil
}

func (s *schema) validate(t *testing.T, line []byte) (wrong []string) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	uid := int(got["class_uid"].(float64))
	c, ok := s.Classes[strconv.Itoa(uid)]
	if !ok {
		return []string{fmt.Sprintf("class %d is not known", uid)}
	}
	wrong = s.check(c.Caption, got, c.Required, c.AtLeastOne, c.Attributes)
	activity := int(got["activity_id"].(float64))
	caption, ok := c.Activities[strconv.Itoa(activity)]
	if !ok || got["activity_name"] != caption || got["class_name"] != c.Caption || got["category_name"] != c.Category {
		wrong = append(wrong, fmt.Sprintf("%s has no activity %d, %v", c.Caption, activity, got["activity_name"]))
	}
	if int(got["type_uid"].(float64)) != uid*100+activity || int(got["category_uid"].(float64)) != c.CategoryUID {
		wrong = append(wrong, "type_uid or category_uid do not follow from the class")
	}
	return wrong
}

func TestEveryEventIsOneThatTheSchemaKnows(t *testing.T) {
	s := published(t)
	for _, action := range event.Actions() {
		for _, outcome := range []event.Outcome{event.OK, event.Denied, event.Pending, event.Failed} {
			for _, r := range []*Record{record(t, action, outcome), bare(t, action)} {
				line, err := r.JSON()
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range s.validate(t, line) {
					t.Errorf("%s %s: %s", action, outcome, w)
				}
			}
		}
	}
	// Control: the check finds what is wrong.
	for name, edit := range map[string]func(object){
		"no metadata": func(o object) { delete(o, "metadata") }, "no version": func(o object) { o["metadata"] = object{"product": object{"name": "x"}} },
		"a wrong type": func(o object) { o["type_uid"] = 1 }, "an unknown attribute": func(o object) { o["colour"] = "red" },
		"a bucket without a name": func(o object) { o["databucket"] = object{"type_id": 99} }, "no bucket": func(o object) { delete(o, "databucket") },
		"text for a number": func(o object) { o["severity_id"] = "high" }, "another activity": func(o object) { o["activity_id"], o["type_uid"] = 42, 600542 },
	} {
		o := record(t, event.Release, event.OK).object()
		edit(o)
		line, _ := json.Marshal(o)
		if len(s.validate(t, line)) == 0 {
			t.Errorf("%s: the check finds nothing", name)
		}
	}
}

func TestJSONSaysWhereTheLeafIsProvedAndWhatIsErased(t *testing.T) {
	r := record(t, event.Release, event.Denied)
	r.Claims[4].Value = "grün 🎈"
	line, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Time     int64
		Status   string `json:"status_detail"`
		Actor    struct{ User struct{ UID string } }
		Unmapped struct {
			Tlog struct {
				Origin   string
				Index    int64
				LeafHash string `json:"leaf_hash"`
			}
			Cerebrum struct {
				Action, Outcome, Rule string
				Erased                int
				Claims                map[string]string
			}
		}
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	u := got.Unmapped
	if u.Tlog.Index != 7 || u.Tlog.Origin != r.Origin || !strings.HasPrefix(u.Tlog.LeafHash, "cd00") || got.Time != r.Leaf.Time {
		t.Errorf("%s", line)
	}
	if u.Cerebrum.Action != "release" || u.Cerebrum.Outcome != "denied" || u.Cerebrum.Rule != r.Leaf.Rule || got.Status != r.Leaf.Rule {
		t.Errorf("%s", line)
	}
	if u.Cerebrum.Claims[r.Claims[4].Name] != "grün 🎈" || got.Actor.User.UID != bob.String() {
		t.Errorf("%s", line)
	}
	for _, b := range line {
		if b < ' ' || b > '~' {
			t.Fatalf("the byte %#x is in the line", b)
		}
	}
	line, _ = bare(t, event.Release).JSON()
	if !bytes.Contains(line, []byte(`"erased":2`)) || !bytes.Contains(line, []byte(`"name":"erased"`)) || bytes.Contains(line, []byte(bob.String())) {
		t.Errorf("erased: %s", line)
	}
}

func TestNoCellIsAFormulaAndAllComeBack(t *testing.T) {
	r := record(t, event.Get, event.OK)
	bad := []string{
		`=HYPERLINK("http://x")`, "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "\u3000＋1", `"=1"`, "a,b;c", "line\nline", `"`, "plain",
	}
	for _, value := range bad {
		r.Claims[2].Value, r.Claims[5].Value, r.Origin = value, value, value
		r.Claims = append(r.Claims[:8:8], event.Claim{Name: "unheard", Value: value})
		row := r.Row()
		if len(row) != len(Columns()) {
			t.Fatalf("%d cells, %d columns", len(row), len(Columns()))
		}
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.UseCRLF = true
		w.Write(Columns())
		w.Write(row)
		w.Flush()
		if err := w.Error(); err != nil {
			t.Fatal(err)
		}
		back, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(back) != 2 || !slices.Equal(back[1], row) {
			t.Errorf("%q: %q, %v", value, back, err)
		}
		for i, cell := range row {
			if c := strings.TrimSpace(cell); c != "" && strings.ContainsAny(c[:1], "=+-@") || strings.ContainsAny(cell, "\t\r\n\x1b") || strings.HasPrefix(c, "＝") || strings.HasPrefix(c, "＋") {
				t.Errorf("%q: the cell %s is %q", value, Columns()[i], cell)
			}
		}
		if !strings.Contains(row[slices.Index(Columns(), "other")], "unheard") {
			t.Error("a claim without a column is not shown")
		}
	}
}

func TestWordsActOnNoTerminal(t *testing.T) {
	r := record(t, event.Release, event.OK)
	r.Leaf.Rule = "rule"
	r.Claims = append(r.Claims[:0:0], event.Claim{Name: event.Actor, Value: "\x1b[2J\x07evil"}, event.Claim{Name: event.Object, Value: "a\r\nb\u202e"})
	for _, got := range []string{r.Words(nil), r.Words(func(string) string { return "\x1b]0;title\x07" })} {
		for _, c := range got {
			if c < ' ' || c == 0x7f || c == '\u202e' || c >= 0x80 && c < 0xa0 {
				t.Errorf("%q", got)
			}
		}
	}
	r = record(t, event.Release, event.OK)
	got := r.Words(func(id string) string {
		if id == bob.String() {
			return "bob"
		}
		return ""
	})
	for _, want := range []string{"2026-09-21 14:13:20Z", "release ok", "by bob", "research", "nurse"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if got := bare(t, event.Release).Words(nil); !strings.Contains(got, "erased") || !strings.Contains(got, "ab00") {
		t.Errorf("%q", got)
	}
	r.Claims, r.Lost = nil, true
	if got := r.Words(nil); !strings.Contains(got, "lost") {
		t.Errorf("%q", got)
	}
	r.Lost, r.Leaf.Actor, r.Leaf.Time = false, event.Pseudonym{}, 1<<62
	if got := r.Words(nil); !strings.HasPrefix(got, strconv.FormatInt(1<<62, 10)+" release ok") {
		t.Errorf("%q", got)
	}
}

func BenchmarkJSON(b *testing.B) {
	r := record(b, event.Release, event.OK)
	for b.Loop() {
		if _, err := r.JSON(); err != nil {
			b.Fatal(err)
		}
	}
}
