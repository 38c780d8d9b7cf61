package daemon

import (
	"bufio"
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/audit/ocsf"
	"cerebrum.dev/cerebrum/acl/validator"
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
	f, err := n.auditFilter(ctx, r)
	if err != nil {
		return err
	}
	if r.Follow && !n.running.Load() {
		return fault.New(fault.Unavailable, "start it with `cerebrum run` in another terminal, or leave --follow out", "nothing new is logged: no node runs on this home")
	}
	out := bufio.NewWriterSize(w, 64<<10)
	form, err := ocsf.Writer(out, ocsf.Form{Format: r.Format, Host: hostname(), Name: n.nameIn(ctx)})
	if err != nil {
		return fault.Wrap(fault.Usage, err, "see `cerebrum audit log --help`", "the format")
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
func (n *Node) auditFilter(ctx context.Context, r api.AuditLogRequest) (*ocsf.Filter, error) {
	f := &ocsf.Filter{Since: r.Since, Action: r.Action, Outcome: r.Outcome, Object: r.Object, Identity: r.Identity}
	if i := slices.IndexFunc(n.home.Principals(), func(p *home.Principal) bool { return p.Name == r.Identity }); i >= 0 {
		f.Identity = n.home.Principals()[i].Identity.ID().String()
	}
	if err := f.Check(); err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum audit log --help`", "the filter")
	}
	if address, err := cid.Decode(f.Object); err == nil {
		if f.Same, err = n.namesOf(ctx, address); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// namesOf are the ids under which grants, holds and orders name an object, as far as it is
// known here.
func (n *Node) namesOf(ctx context.Context, address cid.Cid) ([]statement.ID, error) {
	if h, err := n.library.Find(ctx, address); err == nil {
		m := h.Manifest.Claims()
		return validator.NamesOf(h.CID, &m), nil
	}
	if n.judge == nil {
		return nil, nil
	}
	return n.judge.Names(address)
}

// auditRecord is what can be shown of an entry; nil where it is not asked for.
func (n *Node) auditRecord(f *ocsf.Filter, e *journal.Entry) (*ocsf.Record, error) {
	if e.Leaf == nil || !f.Leaf(e.Leaf) {
		return nil, nil
	}
	opened, err := e.Open()
	if err != nil {
		n.log.Warn("what an entry of the audit log is about cannot be read", "err", err)
		opened = &journal.Opened{Lost: true}
	}
	if !f.Claims(opened.Claims) {
		return nil, nil
	}
	return &ocsf.Record{
		Origin: n.audit.Log().Binding().Origin, Index: e.Index, LeafHash: tlog.RecordHash(e.Raw), Leaf: e.Leaf,
		Claims: opened.Claims, Erased: opened.Erased, Lost: opened.Lost,
	}, nil
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

// hostname is this machine's name for syslog; it may be empty.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
