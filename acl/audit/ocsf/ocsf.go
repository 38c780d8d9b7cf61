// Package ocsf shows events of an audit log in the forms that other tools read:
//
//   - JSON, one line for an event, in the terms of OCSF 1.8.0 (schema.ocsf.io);
//   - CSV with fixed columns, whose cells no spreadsheet takes for a formula;
//   - syslog messages of RFC 5424, for the facility "log audit";
//   - words, one line for a person at a terminal.
//
// A [Record] holds what is to be shown: a leaf, its place in the log, and the claims
// that were opened of it. What was forgotten is shown as forgotten, and never guessed
// from what is left. Nothing that is shown acts on a terminal, whoever wrote it.
//
//	r := &ocsf.Record{Origin: origin, Index: i, LeafHash: hash, Leaf: leaf, Claims: opened.Claims, Erased: opened.Erased}
//	line, err := r.JSON()
//
// In JSON, what OCSF has no field for stands under "unmapped": "tlog" says where the
// leaf is proved, "cerebrum" has the action in Cerebrum's own word, the rule, the
// pseudonym, every claim, and how many persons were forgotten.
package ocsf

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
)

// Version is the version of the OCSF schema.
const Version = "1.8.0"

const product = "Cerebrum"

// Record is an event with what can be shown of it.
type Record struct {
	Origin   string   // names the log
	Index    int64    // of the leaf in the log
	LeafHash [32]byte // RFC 6962: SHA-256 of 0x00 and the leaf
	Leaf     *event.Leaf
	Claims   []event.Claim
	Erased   int  // persons whose claims were forgotten
	Lost     bool // the claims were lost by damage or a crash
}

// class is what OCSF says of a class that is used.
type class struct {
	caption    string
	word       string // the caption as one word
	category   string
	activities map[int]string
}

const (
	iam = "Identity & Access Management"
	app = "Application Activity"
)

var classes = map[int]class{
	3004: {"Entity Management", "EntityManagement", iam, map[int]string{1: "Create", 2: "Read", 3: "Update", 4: "Delete", 6: "Enroll", 7: "Unenroll", 8: "Enable", 12: "Suspend"}},
	3005: {"User Access Management", "UserAccessManagement", iam, map[int]string{1: "Assign Privileges", 2: "Revoke Privileges"}},
	6002: {"Application Lifecycle", "ApplicationLifecycle", app, map[int]string{1: "Install", 3: "Start", 4: "Stop"}},
	6003: {"API Activity", "APIActivity", app, map[int]string{1: "Create", 2: "Read", 3: "Update", 4: "Delete"}},
	6005: {"Datastore Activity", "DatastoreActivity", app, map[int]string{1: "Read", 2: "Update", 4: "Query", 5: "Write", 6: "Create", 7: "Delete", 8: "List", 9: "Encrypt", 10: "Decrypt"}},
	6006: {"File Hosting Activity", "FileHostingActivity", app, map[int]string{1: "Upload", 2: "Download", 6: "Copy", 12: "Share", 15: "Sync", 16: "Unsync", 17: "Access Check"}},
}

// severity is OCSF's severity_id of an outcome, its caption, and that of syslog.
func severity(o event.Outcome) (id int, caption string, syslog int) {
	switch o {
	case event.Denied:
		return 2, "Low", 4
	case event.Failed:
		return 3, "Medium", 3
	case event.Pending:
		return 1, "Informational", 5
	default:
		return 1, "Informational", 6
	}
}

func status(o event.Outcome) (id int, caption string) {
	switch o {
	case event.OK:
		return 1, "Success"
	case event.Denied, event.Failed:
		return 2, "Failure"
	default:
		return 99, "Pending"
	}
}

// claim is a claim that may be shown, or empty.
func (r *Record) claim(name string) string {
	value, _ := event.Find(r.Claims, name)
	return event.Clean(value)
}

// gone is what stands for something that is not there.
func (r *Record) gone() string {
	switch {
	case r.Lost:
		return "lost"
	case r.Erased > 0:
		return "erased"
	}
	return "none"
}

func (r *Record) claimOr(names ...string) string {
	for _, name := range names {
		if v := r.claim(name); v != "" {
			return v
		}
	}
	return r.gone()
}

func (r *Record) pseudonym() string {
	if r.Leaf.Actor == (event.Pseudonym{}) {
		return ""
	}
	return hex.EncodeToString(r.Leaf.Actor[:])
}

func (r *Record) hash() string { return hex.EncodeToString(r.LeafHash[:]) }

// object is a JSON object; encoding/json sorts its keys.
type object map[string]any

// JSON is the event as one OCSF object, without a line break, in ASCII.
func (r *Record) JSON() ([]byte, error) {
	raw, err := json.Marshal(r.object())
	if err != nil {
		return nil, err
	}
	return ascii(raw), nil
}

func (r *Record) object() object {
	l := r.Leaf
	sev, sevCaption, _ := severity(l.Outcome)
	st, stCaption := status(l.Outcome)
	uid, activity := l.Type.Class(), l.Type.Activity()
	o := object{
		"activity_id": activity, "class_uid": uid, "category_uid": uid / 1000, "type_uid": int(l.Type), "time": l.Time,
		"severity_id": sev, "severity": sevCaption, "status_id": st, "status": stCaption, "message": r.Words(nil),
		"metadata": object{"version": Version, "product": object{"name": product, "vendor_name": product}},
		"unmapped": r.unmapped(),
	}
	if l.Rule != "" {
		o["status_detail"] = l.Rule
	}
	if c, ok := classes[uid]; ok {
		o["class_name"], o["category_name"], o["activity_name"] = c.caption, c.category, c.activities[activity]
		o["type_name"] = c.caption + ": " + c.activities[activity]
	}
	for k, v := range r.details() {
		o[k] = v
	}
	return o
}

func (r *Record) unmapped() object {
	own := object{"action": string(r.Leaf.Action), "outcome": r.Leaf.Outcome.String(), "rule": r.Leaf.Rule, "erased": r.Erased, "lost": r.Lost}
	if p := r.pseudonym(); p != "" {
		own["pseudonym"] = p
	}
	claims := object{}
	for _, c := range r.Claims {
		claims[event.Clean(c.Name)] = event.Clean(c.Value)
	}
	own["claims"] = claims
	return object{
		"tlog":     object{"origin": event.Clean(r.Origin), "index": r.Index, "leaf_hash": r.hash()},
		"cerebrum": own,
	}
}

// details are the attributes that a class has besides those of every event.
func (r *Record) details() object {
	o := object{"actor": r.actor(), "src_endpoint": object{"name": event.Clean(r.Origin)}}
	switch r.Leaf.Type.Class() {
	case 6005:
		o["databucket"] = object{"type_id": 99, "type": "Object", "uid": r.claimOr(event.Object)}
	case 6006:
		o["file"] = object{"name": r.claimOr(event.Object), "type_id": 0}
	case 6003:
		o["api"] = object{"operation": string(r.Leaf.Action)}
		o["resources"] = []object{{"uid": r.claimOr(event.Object)}}
	case 3005:
		o["user"] = object{"uid": r.claimOr(event.Subject, event.Actor)}
		o["privileges"] = []string{r.claimOr(event.RoleNamed, event.Grant)}
		o["resources"] = []object{{"uid": r.claimOr(event.Object)}}
	case 3004:
		o["entity"] = object{"name": string(r.Leaf.Action), "uid": r.claimOr(event.Grant, event.Object, event.Peer, event.Policy)}
		if why := r.claim(event.Reason); why != "" {
			o["comment"] = why
		}
	case 6002:
		return object{"app": object{"name": product, "vendor_name": product}}
	}
	return o
}

// actor is the person that acted, by its identity, or by its pseudonym where the
// identity is not shown; or the program itself.
func (r *Record) actor() object {
	p := r.pseudonym()
	if p == "" {
		return object{"app_name": product}
	}
	if id := r.claim(event.Actor); id != "" {
		return object{"user": object{"uid": id, "uid_alt": p}}
	}
	return object{"user": object{"name": r.gone(), "uid": p}}
}

// ascii escapes what is not ASCII in JSON, so that no reader, terminal or line of
// syslog has to know its encoding.
func ascii(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for _, c := range string(raw) {
		switch {
		case c < 0x7f:
			out = append(out, byte(c))
		case c > 0xffff:
			c -= 0x10000
			out = escape(escape(out, 0xd800+c>>10), 0xdc00+c&0x3ff)
		default:
			out = escape(out, c)
		}
	}
	return out
}

func escape(out []byte, c rune) []byte {
	const digits = "0123456789abcdef"
	return append(out, '\\', 'u', digits[c>>12&15], digits[c>>8&15], digits[c>>4&15], digits[c&15])
}

// when is a leaf's time, or false where no calendar of four digits has it.
func (r *Record) when() (time.Time, bool) {
	t := time.UnixMilli(r.Leaf.Time).UTC()
	return t, r.Leaf.Time < maxTime
}

// maxTime is the end of the year 9999, in Unix milliseconds.
const maxTime = 253402300800000
