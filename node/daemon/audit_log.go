package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/audit/ocsf"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/tlog"
)

// tailEvery is how often the log is looked at for new entries.
const tailEvery = 200 * time.Millisecond

// AuditLog implements api.Service.
func (n *Node) AuditLog(ctx context.Context, r api.AuditLogRequest, w io.Writer) error {
	f, err := n.auditFilter(r)
	if err != nil {
		return err
	}
	if r.Follow && !n.running.Load() {
		return fault.New(fault.Unavailable, "start it with `cerebrum run` in another terminal, or leave --follow out", "nothing new is logged: no node runs on this home")
	}
	out := bufio.NewWriterSize(w, 64<<10)
	form, err := n.auditForm(ctx, r.Format, out)
	if err != nil {
		return err
	}
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for at := new(audit.Cursor); ; {
		err := n.audit.Tail(at, func(e *journal.Entry) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			rec, err := n.auditRecord(f, e)
			if rec == nil || err != nil {
				return err
			}
			return form(rec)
		})
		if err == nil {
			err = out.Flush()
		}
		if ctx.Err() != nil && r.Follow {
			return nil
		}
		if err != nil || !r.Follow {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// auditFilter is which entries are asked for.
type auditFilter struct {
	since    int64
	action   event.Action
	outcome  string
	identity string
	object   string
}

func (n *Node) auditFilter(r api.AuditLogRequest) (*auditFilter, error) {
	f := &auditFilter{since: r.Since, action: event.Action(r.Action), outcome: r.Outcome, object: r.Object}
	if _, known := f.action.Type(); r.Action != "" && !known {
		var all []string
		for _, a := range event.Actions() {
			all = append(all, string(a))
		}
		return nil, fault.New(fault.Usage, "actions are "+strings.Join(all, ", "), "there is no action %q", r.Action)
	}
	if f.outcome != "" && !slices.Contains(event.Outcomes(), f.outcome) {
		return nil, fault.New(fault.Usage, "outcomes are "+strings.Join(event.Outcomes(), ", "), "there is no outcome %q", r.Outcome)
	}
	if c, err := cid.Decode(r.Object); err == nil {
		f.object = c.String()
	}
	if r.Identity == "" {
		return f, nil
	}
	if i := slices.IndexFunc(n.home.Principals(), func(p *home.Principal) bool { return p.Name == r.Identity }); i >= 0 {
		f.identity = n.home.Principals()[i].Identity.ID().String()
		return f, nil
	}
	if id, err := statement.ParseID(r.Identity); err == nil {
		f.identity = id.String()
		return f, nil
	}
	id, err := readContact(r.Identity)
	if err != nil {
		return nil, err
	}
	f.identity = id.ID().String()
	return f, nil
}

// leaf is whether an entry may be asked for, by what everybody can see of it.
func (f *auditFilter) leaf(l *event.Leaf) bool {
	return l != nil && l.Time >= f.since && (f.action == "" || l.Action == f.action) && (f.outcome == "" || l.Outcome.String() == f.outcome)
}

// claims is whether it is asked for.
func (f *auditFilter) claims(all []event.Claim) bool {
	says := func(value string, names ...string) bool {
		return value == "" || slices.ContainsFunc(all, func(c event.Claim) bool { return c.Value == value && slices.Contains(names, c.Name) })
	}
	return says(f.object, event.Object, event.Grant) && says(f.identity, event.Actor, event.Subject)
}

// auditRecord is what can be shown of an entry; nil where it is not asked for.
func (n *Node) auditRecord(f *auditFilter, e *journal.Entry) (*ocsf.Record, error) {
	if !f.leaf(e.Leaf) {
		return nil, nil
	}
	opened, err := e.Open()
	if err != nil {
		n.log.Warn("what an entry of the audit log is about cannot be read", "err", err)
		opened = &journal.Opened{Lost: true}
	}
	if !f.claims(opened.Claims) {
		return nil, nil
	}
	return &ocsf.Record{
		Origin: n.audit.Log().Binding().Origin, Index: e.Index, LeafHash: tlog.RecordHash(e.Raw), Leaf: e.Leaf,
		Claims: opened.Claims, Erased: opened.Erased, Lost: opened.Lost,
	}, nil
}

// auditForm writes records in a format, one line each.
func (n *Node) auditForm(ctx context.Context, format string, w *bufio.Writer) (func(*ocsf.Record) error, error) {
	line := func(b []byte, err error) error {
		if err != nil {
			return err
		}
		w.Write(b)
		return w.WriteByte('\n') // an error stays with the writer
	}
	switch format {
	case "words":
		name := n.nameIn(ctx)
		return func(r *ocsf.Record) error { return line([]byte(r.Words(name)), nil) }, nil
	case "json":
		return func(r *ocsf.Record) error { return line(r.JSON()) }, nil
	case "syslog":
		host, err := os.Hostname()
		if err != nil {
			host = ""
		}
		return func(r *ocsf.Record) error { return line(r.Syslog(host)) }, nil
	case "csv":
		var row bytes.Buffer
		c := csv.NewWriter(&row)
		put := func(cells []string) error {
			row.Reset()
			if err := c.Write(cells); err != nil {
				return err
			}
			c.Flush()
			_, err := w.Write(row.Bytes())
			return err
		}
		return func(r *ocsf.Record) error { return put(r.Row()) }, put(ocsf.Columns())
	}
	return nil, fault.New(fault.Usage, "", "the format is words, json, csv or syslog, not %q", format)
}

// nameIn gives the names by which this home knows identities and objects.
func (n *Node) nameIn(ctx context.Context) func(id string) string {
	names := map[string]string{}
	for _, p := range n.home.Principals() {
		names[p.Identity.ID().String()] = p.Name
	}
	if n.trust != nil {
		for i, v := range n.trust.Current().Validators {
			if id := v.Identity.String(); names[id] == "" {
				names[id] = "validator " + strconv.Itoa(i+1)
			}
		}
	}
	return func(id string) string {
		name, known := names[id]
		if !known {
			name = n.objectName(ctx, id)
			names[id] = name
		}
		if name == "" {
			return ""
		}
		return name + " (" + short(id) + ")"
	}
}

// objectName is the name of an object of this home; empty where it has none.
func (n *Node) objectName(ctx context.Context, id string) string {
	c, err := cid.Decode(id)
	if err != nil {
		return ""
	}
	h, err := n.library.Find(ctx, c)
	if err != nil || !h.Owned {
		return ""
	}
	o, err := n.library.Open(ctx, h)
	if err != nil {
		return ""
	}
	return o.Details.Name
}

// short is enough of an id to recognise it.
func short(id string) string { return "…" + id[max(0, len(id)-8):] }
