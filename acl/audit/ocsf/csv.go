package ocsf

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
)

// named are the claims that have a column of their own, in this order.
var named = []string{
	event.Actor, event.Subject, event.Object, event.Grant, event.Policy, event.Purpose, event.Reason, event.RoleNamed, event.Detail, event.Peer,
}

// Columns are the names of the columns, for the first line of a CSV file. Later
// versions add columns behind them.
func Columns() []string {
	out := []string{"time", "index", "action", "outcome", "rule", "type_uid", "class_uid", "activity_id", "pseudonym"}
	out = append(out, named...)
	return append(out, "other", "erased", "lost", "origin", "leaf_hash")
}

// Row is the event in the order of [Columns], for [encoding/csv]. A cell that a
// spreadsheet might take for a formula begins with a single quotation mark. Claims
// without a column of their own are a JSON object in the column "other".
func (r *Record) Row() []string {
	l := r.Leaf
	out := []string{
		r.stamp(), strconv.FormatInt(r.Index, 10), string(l.Action), l.Outcome.String(), l.Rule, strconv.Itoa(int(l.Type)),
		strconv.Itoa(l.Type.Class()), strconv.Itoa(l.Type.Activity()), r.pseudonym(),
	}
	for _, name := range named {
		out = append(out, r.claim(name))
	}
	out = append(out, r.others(), strconv.Itoa(r.Erased), strconv.FormatBool(r.Lost), r.Origin, r.hash())
	for i := range out {
		out[i] = Guard(event.Clean(out[i]))
	}
	return out
}

// stamp is the time in RFC 3339 with milliseconds, in UTC, or the bare number where
// there is no such time.
func (r *Record) stamp() string {
	t, ok := r.when()
	if !ok {
		return strconv.FormatInt(r.Leaf.Time, 10)
	}
	return t.Format("2006-01-02T15:04:05.000Z07:00")
}

func (r *Record) others() string {
	rest := map[string]string{}
	for _, c := range r.Claims {
		rest[c.Name] = c.Value
	}
	for _, name := range named {
		delete(rest, name)
	}
	if len(rest) == 0 {
		return ""
	}
	raw, err := json.Marshal(rest)
	if err != nil {
		return "" // strings always marshal
	}
	return string(ascii(raw))
}

// Guard keeps a spreadsheet from running a cell (OWASP, CSV injection). Spreadsheets
// also take the wide forms of the signs, and drop blanks before them.
func Guard(cell string) string {
	if strings.IndexAny(strings.TrimLeft(cell, " \u00a0\u3000"), "=+-@\t\r\n＝＋－＠") == 0 {
		return "'" + cell
	}
	return cell
}

// Words is the event in one line for a person. name gives a name that the reader
// knows an identity or address by, or empty; it may be nil.
func (r *Record) Words(name func(id string) string) string {
	l := r.Leaf
	show := func(claim string) string {
		v := r.claim(claim)
		if v == "" || name == nil {
			return v
		}
		if n := event.Clean(name(v)); n != "" {
			return n
		}
		return v
	}
	var b strings.Builder
	if t, ok := r.when(); ok {
		b.WriteString(t.Format(time.DateTime) + "Z ")
	} else {
		b.WriteString(r.stamp() + " ")
	}
	b.WriteString(string(l.Action) + " " + l.Outcome.String())
	if l.Rule != "" {
		b.WriteString(" (" + l.Rule + ")")
	}
	switch p := r.pseudonym(); {
	case r.claim(event.Actor) != "":
		b.WriteString(" by " + show(event.Actor))
	case p != "":
		b.WriteString(" by " + r.unknown() + " (pseudonym " + p + ")")
	}
	for _, part := range []struct{ claim, before string }{
		{event.Object, "on"}, {event.Subject, "for"}, {event.Grant, "under"}, {event.Purpose, "purpose:"},
		{event.RoleNamed, "role:"}, {event.Reason, "reason:"}, {event.Peer, "peer:"}, {event.Detail, "-"},
	} {
		if v := show(part.claim); v != "" {
			b.WriteString(" " + part.before + " " + v)
		}
	}
	switch {
	case r.Lost:
		b.WriteString(" [what it is about is lost]")
	case r.Erased == 1:
		b.WriteString(" [one person is erased]")
	case r.Erased > 1:
		b.WriteString(" [" + strconv.Itoa(r.Erased) + " persons are erased]")
	}
	return b.String()
}

// unknown is a person whose identity is not shown.
func (r *Record) unknown() string {
	switch {
	case r.Lost:
		return "somebody"
	case r.Erased > 0:
		return "an erased person"
	}
	return "somebody who is not shown"
}
