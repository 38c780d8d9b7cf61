package ocsf

import (
	"fmt"
	"strings"
	"time"
)

// facility is "log audit" of RFC 5424.
const facility = 13

// enterprise is the number behind the @ of our structured data. Cerebrum has no
// number of its own; this one is reserved for documentation (RFC 5612), and no
// product that is on the market uses it.
const enterprise = 32473

// Syslog is the event as one message of RFC 5424 without a line break, with the JSON
// as its body. host names this node and may be empty. Over TCP or TLS the sender puts
// the length before it (RFC 6587, RFC 5425: octet counting).
func (r *Record) Syslog(host string) ([]byte, error) {
	body, err := r.JSON()
	if err != nil {
		return nil, err
	}
	_, _, sev := severity(r.Leaf.Outcome)
	stamp := "-"
	if t, ok := r.when(); ok {
		stamp = t.Format("2006-01-02T15:04:05.000Z07:00")
	}
	id := "Event"
	if c, ok := classes[r.Leaf.Type.Class()]; ok {
		id = c.word
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>1 %s %s cerebrum - %s [cerebrum@%d", facility*8+sev, stamp, header(host, 255), id, enterprise)
	for _, p := range [][2]string{
		{"index", fmt.Sprint(r.Index)}, {"leaf", r.hash()}, {"action", string(r.Leaf.Action)}, {"outcome", r.Leaf.Outcome.String()}, {"rule", r.Leaf.Rule},
	} {
		b.WriteString(" " + p[0] + `="` + parameter.Replace(p[1]) + `"`)
	}
	b.WriteString("] ")
	b.Write(body)
	return []byte(b.String()), nil
}

// SyslogGap is a message of the same kind that says that the entries from first to last
// were not sent.
func SyslogGap(host string, at time.Time, first, last int64) []byte {
	const warning = 4
	return fmt.Appendf(nil, `<%d>1 %s %s cerebrum - Gap [cerebrum@%d first="%d" last="%d" count="%d"] %d entries of the audit log were not sent, from %d to %d; they are in the log`,
		facility*8+warning, at.UTC().Format("2006-01-02T15:04:05.000Z07:00"), header(host, 255), enterprise, first, last, last-first+1, last-first+1, first, last)
}

// parameter escapes a value of structured data (RFC 5424, section 6.3.3).
var parameter = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

// header is a field of the header: printable ASCII without blanks, or a dash.
func header(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}
