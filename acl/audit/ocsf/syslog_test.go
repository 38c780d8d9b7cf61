package ocsf

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
)

// message is a message of RFC 5424.
type message struct {
	pri                   int
	at                    time.Time
	host, app, proc, id   string
	sdID                  string
	params                map[string]string
	body                  string
	hasTime, hasStructure bool
}

// parseSyslog reads the grammar of RFC 5424, section 6, and nothing more lenient.
func parseSyslog(s string) (*message, error) {
	m := &message{params: map[string]string{}}
	rest, ok := strings.CutPrefix(s, "<")
	if !ok {
		return nil, errors.New("no PRI")
	}
	pri, rest, ok := strings.Cut(rest, ">")
	n, err := strconv.Atoi(pri)
	if !ok || err != nil || n < 0 || n > 191 || pri != strconv.Itoa(n) {
		return nil, errors.New("PRIVAL")
	}
	m.pri = n
	if rest, ok = strings.CutPrefix(rest, "1 "); !ok {
		return nil, errors.New("VERSION")
	}
	fields := []struct {
		to   *string
		most int
	}{{new(string), 32}, {&m.host, 255}, {&m.app, 48}, {&m.proc, 128}, {&m.id, 32}}
	for _, f := range fields {
		*f.to, rest, ok = strings.Cut(rest, " ")
		if !ok || *f.to == "" || len(*f.to) > f.most {
			return nil, fmt.Errorf("the header ends at %q", *f.to)
		}
		for _, c := range []byte(*f.to) {
			if c < 33 || c > 126 {
				return nil, errors.New("PRINTUSASCII")
			}
		}
	}
	if stamp := *fields[0].to; stamp != "-" {
		if m.at, err = time.Parse("2006-01-02T15:04:05.999999Z07:00", stamp); err != nil {
			return nil, err
		}
		m.hasTime = true
	}
	if rest, err = m.structured(rest); err != nil {
		return nil, err
	}
	if m.body, ok = strings.CutPrefix(rest, " "); !ok && rest != "" {
		return nil, errors.New("no blank before MSG")
	}
	return m, nil
}

func (m *message) structured(rest string) (string, error) {
	if after, nil_ := strings.CutPrefix(rest, "-"); nil_ {
		return after, nil
	}
	rest, ok := strings.CutPrefix(rest, "[")
	if !ok {
		return "", errors.New("no SD-ELEMENT")
	}
	end := strings.IndexAny(rest, " ]")
	if end < 1 || !sdName(rest[:end]) {
		return "", errors.New("SD-ID")
	}
	m.sdID, rest, m.hasStructure = rest[:end], rest[end:], true
	for strings.HasPrefix(rest, " ") {
		name, after, ok := strings.Cut(rest[1:], `="`)
		if !ok || !sdName(name) {
			return "", fmt.Errorf("SD-NAME %q", name)
		}
		var value strings.Builder
		i := 0
		for ; ; i++ {
			if i >= len(after) {
				return "", errors.New("PARAM-VALUE does not end")
			}
			switch c := after[i]; {
			case c == '\\' && i+1 < len(after) && strings.IndexByte(`"\]`, after[i+1]) >= 0:
				i++
				value.WriteByte(after[i])
				continue
			case c == '"':
			case c == ']' || c == '\\':
				return "", errors.New("a character that must be escaped")
			default:
				value.WriteByte(c)
				continue
			}
			break
		}
		if _, twice := m.params[name]; twice {
			return "", errors.New("a parameter twice")
		}
		m.params[name], rest = value.String(), after[i+1:]
	}
	rest, ok = strings.CutPrefix(rest, "]")
	if !ok {
		return "", errors.New("the element does not end")
	}
	return rest, nil
}

func sdName(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if c < 33 || c > 126 || strings.IndexByte(`= ]"`, c) >= 0 {
			return false
		}
	}
	return true
}

func TestSyslogIsRFC5424AndItsBodyTheJSON(t *testing.T) {
	for _, action := range event.Actions() {
		for outcome, pri := range map[event.Outcome]int{event.OK: 110, event.Pending: 109, event.Denied: 108, event.Failed: 107} {
			r := record(t, action, outcome)
			raw, err := r.Syslog("node.example")
			if err != nil {
				t.Fatal(err)
			}
			m, err := parseSyslog(string(raw))
			if err != nil {
				t.Fatalf("%v: %s", err, raw)
			}
			body, _ := r.JSON()
			if m.pri != pri || m.host != "node.example" || m.app != "cerebrum" || m.body != string(body) || !json.Valid([]byte(m.body)) || !m.hasStructure {
				t.Errorf("%s", raw)
			}
			if m.at.UnixMilli() != r.Leaf.Time || m.params["rule"] != r.Leaf.Rule || m.params["outcome"] != outcome.String() || m.params["index"] != "7" {
				t.Errorf("%+v", m)
			}
			if c := classes[r.Leaf.Type.Class()]; m.id != c.word || m.id != strings.ReplaceAll(c.caption, " ", "") {
				t.Errorf("MSGID is %s", m.id)
			}
		}
	}
}

func TestSyslogOfOddThings(t *testing.T) {
	r := record(t, event.Get, event.OK)
	for _, host := range []string{"", "a b\n<0>1 - evil", strings.Repeat("h", 300), "höst"} {
		raw, err := r.Syslog(host)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := parseSyslog(string(raw)); err != nil || len(m.host) > 255 || strings.Contains(string(raw), "\n") {
			t.Errorf("%q: %v, %s", host, err, raw)
		}
	}
	r.Leaf.Time, r.Leaf.Type, r.Leaf.Action = 1<<62, 999901, "later"
	raw, err := r.Syslog("h")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := parseSyslog(string(raw)); err != nil || m.hasTime || m.id != "Event" {
		t.Errorf("%v: %s", err, raw)
	}
	for _, bad := range []string{ // control: the parser is strict
		"", "<200>1 - h a - m - x", "<110>2 - h a - m - x", "<110>1 yesterday h a - m - x", `<110>1 - h a - m [x@1 a="]"] x`, `<110>1 - h a - m [x@1 a="b"]x`,
		`<110>1 - h a - m [x@1 a="b" x`, `<110>1 - h  a - m - x`,
	} {
		if _, err := parseSyslog(bad); err == nil {
			t.Errorf("%q parses", bad)
		}
	}
}

// Whatever a leaf and its claims hold, the forms stay what they are.
func FuzzForms(f *testing.F) {
	f.Add("release", "rule", "object", "=cmd|' /C calc'!A0", int64(5), uint32(600510))
	f.Add("x", "]\\\"", "", "\x1b[31m\u2028", int64(-1), uint32(0))
	f.Fuzz(func(t *testing.T, action, rule, name, value string, at int64, kind uint32) {
		l := &event.Leaf{Action: event.Action(event.Rule(action)), Rule: event.Rule(rule), Time: max(at, 0), Type: event.Type(kind), Outcome: event.OK, Actor: event.Pseudonym{1}}
		r := &Record{Origin: value, Leaf: l, Claims: []event.Claim{{Name: name, Value: value}, {Name: event.Object, Value: value}}}
		raw, err := r.Syslog(value)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseSyslog(string(raw))
		if err != nil || !json.Valid([]byte(m.body)) || m.params["rule"] != l.Rule {
			t.Fatalf("%v: %q", err, raw)
		}
		for _, s := range append(r.Row(), r.Words(nil), string(raw)) {
			for _, c := range s {
				if c < ' ' || c >= 0x7f && c < 0xa0 {
					t.Fatalf("%q holds %q", s, c)
				}
			}
		}
	})
}
