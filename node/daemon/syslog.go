package daemon

import (
	"context"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/audit/ocsf"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/forward"
)

// syslogLag is for how long the syslog server may be away before it is a problem: a
// server that starts again is no news.
const syslogLag = 5 * time.Minute

// forwarding is what became of forwarding the audit log: one of the two is nil.
type forwarding struct {
	to  *forward.Forwarder
	err error // why it could not begin
}

// forwarded is the audit log as package forward reads it.
type forwarded struct {
	n    *Node
	host string
}

// Size implements forward.Log.
func (f forwarded) Size() int64 { return f.n.audit.Size() }

// First implements forward.Log.
func (f forwarded) First() int64 { return f.n.audit.Log().First() }

// Messages implements forward.Log.
func (f forwarded) Messages(c *audit.Cursor, from int64, fn func(index int64, message []byte) error) error {
	return f.n.audit.Tail(c, func(e *journal.Entry) error {
		if e.Index < from {
			return nil
		}
		rec, err := f.n.auditRecord(new(ocsf.Filter), e)
		if err != nil {
			return err
		}
		if rec == nil { // a note of the log itself
			return fn(e.Index, nil)
		}
		message, err := rec.Syslog(f.host)
		if err != nil {
			return err
		}
		return fn(e.Index, message)
	})
}

// runForward streams the audit log to where the configuration says, if it does.
func (n *Node) runForward(ctx context.Context) error {
	target, wanted, err := n.home.Config.Syslog()
	if err != nil || !wanted {
		return err
	}
	host := hostname()
	f, err := forward.New(forward.Config{
		Target: target, Log: forwarded{n, host}, Store: n.store.KV("syslog"), Host: host, Now: n.now, Logger: n.log,
	})
	n.forwarding.Store(&forwarding{f, err})
	if err != nil { // no reason for the node to stop
		n.log.Error("the audit log is not forwarded", "err", err)
		return nil
	}
	return f.Run(ctx)
}

// describeSyslog says how forwarding the audit log goes, of a node that runs.
func (n *Node) describeSyslog(out *api.Status) {
	target, wanted, err := n.home.Config.Syslog()
	at := n.forwarding.Load()
	if err != nil || !wanted || at == nil {
		return
	}
	s := &api.Syslog{Target: target.String()}
	out.Syslog = s
	if at.err != nil {
		s.Stopped, s.Error = true, fault.Of(at.err).Message
		out.Problems = append(out.Problems, fmt.Sprintf("the audit log is not sent to %s: %s: start the node again; where that does not help, "+
			"write audit_syslog in another way, such as with the server's IP address, and sending begins anew", s.Target, s.Error))
		return
	}
	state := at.to.State()
	s.Behind, s.LeftOut = state.Behind, state.LeftOut
	if state.Err == nil {
		return
	}
	failing := max(0, n.now().Sub(state.Failing))
	s.FailingSeconds, s.Error = failing.Seconds(), fault.Of(state.Err).Message
	if failing > syslogLag {
		out.Problems = append(out.Problems, fmt.Sprintf("nothing of the audit log has reached %s for %d minutes, and %d entries wait: %s: see whether the server runs and can be reached",
			s.Target, int(failing.Minutes()), s.Behind, s.Error))
	}
}
