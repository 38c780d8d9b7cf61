package daemon

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
)

// syslogStatus is what status says of the syslog server, and among its problems.
func syslogStatus(n *Node) (*api.Syslog, string) {
	var s api.Status
	n.describeSyslog(&s)
	return s.Syslog, strings.Join(s.Problems, "\n")
}

// A collector that is gone is noticed by nobody but whoever asks the node. After a few
// minutes it is a problem; when the collector is back it is none.
func TestStatusSaysWhenTheSyslogServerIsAway(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	if s, _ := syslogStatus(n); s != nil {
		t.Errorf("without a server: %+v", s)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	n.home.Config.AuditSyslog = "tcp://" + gone.Addr().String()
	if s, _ := syslogStatus(n); s != nil {
		t.Errorf("before it began: %+v", s)
	}
	if err := n.record(t.Context(), event.Add, event.OK, event.Act{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.runForward(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	comesTrue(t, "the failure is known", func() bool {
		s, _ := syslogStatus(n)
		return s != nil && s.Error != ""
	})
	s, problems := syslogStatus(n)
	if s.Target != n.home.Config.AuditSyslog || s.Behind != n.audit.Size() || s.Behind == 0 || s.Stopped || !strings.Contains(s.Error, "connect") || problems != "" {
		t.Errorf("at first: %+v, and among the problems %q", s, problems)
	}
	m.skew.Add(6 * 60)
	if s, problems = syslogStatus(n); s.FailingSeconds < 360 || !strings.Contains(problems, s.Target+" for 6 minutes") || !strings.Contains(problems, s.Error) {
		t.Errorf("after 6 minutes: %+v, and among the problems %q", s, problems)
	}
	back, err := net.Listen("tcp", gone.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { back.Close() })
	comesTrue(t, "all is well again", func() bool {
		s, problems := syslogStatus(n)
		return *s == api.Syslog{Target: s.Target} && problems == ""
	})
}

// What the disk keeps of the server is damaged: the node works on, and does not keep to
// its log that nothing is sent.
func TestStatusSaysThatForwardingCouldNotBegin(t *testing.T) {
	t.Parallel()
	n := found(t, 1).nodes[0]
	n.home.Config.AuditSyslog = "tcp://127.0.0.1:1"
	target, _, err := n.home.Config.Syslog()
	if err != nil {
		t.Fatal(err)
	}
	id := statement.Hash("syslog target", []byte(target.String()))
	if err := n.store.KV("syslog").Apply([]kv.Op{{Key: id[:], Value: []byte("damaged")}}); err != nil {
		t.Fatal(err)
	}
	if err := n.runForward(t.Context()); err != nil {
		t.Errorf("the node stops: %v", err)
	}
	s, problems := syslogStatus(n)
	if s == nil || !s.Stopped || !strings.Contains(s.Error, "how far the syslog target is") || !strings.Contains(problems, "is not sent to tcp://127.0.0.1:1") || !strings.Contains(problems, "audit_syslog") {
		t.Errorf("%+v, and among the problems %q", s, problems)
	}
}

// The status of a node that runs has it: neither test above shows that it is asked for.
func TestStatusHasTheSyslogServer(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	n := m.nodes[0]
	n.home.Config.AuditSyslog = "tcp://127.0.0.1:1"
	n.forwarding.Store(&forwarding{err: context.DeadlineExceeded})
	m.refresh()
	listens(t, n)
	n.running.Store(true)
	defer n.running.Store(false)
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Syslog == nil || s.Healthy || !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "is not sent to tcp://127.0.0.1:1") }) {
		t.Errorf("%+v, %q", s.Syslog, s.Problems)
	}
}
