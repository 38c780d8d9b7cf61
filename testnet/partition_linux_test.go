package testnet_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestAPartitionHeals cuts a reader and one validator off. Their side grants and
// releases nothing; the other revokes. When the cable is back all agree, by
// themselves, on what was revoked meanwhile, and on one record.
func TestAPartitionHeals(t *testing.T) {
	l := newLAN(t, 2)
	l.start(l.members()...)
	address, content := l.add("node1", "shared", 100_000)
	grant := l.grant("node1", address, "node2", "read")
	l.reads("node2", address, content)
	kept, more := l.add("node1", "kept", 50_000)
	l.grant("node1", kept, "node2", "read")

	l.cable("down", "validator4", "node2")
	l.denied(5, "node2", address)
	own, _ := l.file("own", 1000)
	said := l.refuse(5, "node2", "grant", l.ok("node2", "add", own).str("address"), "--to", l.contact("node1"), "--can", "read", "--for", "1h")
	if !strings.Contains(said, "3 of 4") {
		t.Errorf("what is missing? %s", said)
	}
	l.ok("node1", "revoke", grant)
	l.denied(5, "node2", address)

	l.eventually("the reader notices that its peers are gone", func() bool { return l.status("node2").num("peers") <= 1 })

	l.cable("up", "validator4", "node2")
	began := time.Now()
	l.eventually("the reader hears of the revocation", func() bool {
		return l.run("node2", "get", address, "-o", l.path("healed")).code == 3
	})
	l.denied(3, "node2", address)
	l.comesToRead("node2", kept, more) // the control: what was not revoked
	l.agree()
	t.Logf("converged %s after the cable was back", time.Since(began).Round(time.Second))
}

// agree waits until every member is healthy, and checks that all know one record,
// that nobody signed two, and that nothing waits to be sent.
func (l *lan) agree() {
	l.Helper()
	record := ""
	for _, name := range l.members() {
		var s facts
		l.eventually(name+" is healthy and has nothing to send", func() bool {
			s = l.status(name)
			return s["healthy"] == true && s.num("outbox") == 0
		})
		if record == "" {
			record = s.str("record")
		}
		if s.str("record") != record || s.num("proofs") != 0 {
			l.Errorf("%s knows record %s and %v proofs, others know %s", name, s.str("record"), s.num("proofs"), record)
		}
		if age, ok := s["freshness_seconds"].(float64); !ok || age > 300 {
			l.Errorf("%s serves with a view of %v seconds", name, s["freshness_seconds"])
		}
	}
}

// TestAOneWayPartition: what a validator sends to the reader is lost, what the
// reader sends arrives. That validator counts as absent, and the others do; with
// two of them nothing is released until the way back is there again.
func TestAOneWayPartition(t *testing.T) {
	l := newLAN(t, 2)
	l.start(l.members()...)
	address, content := l.add("node1", "shared", 100_000)
	l.grant("node1", address, "node2", "read")
	l.reads("node2", address, content)

	mute := func(action string, names ...string) {
		for _, name := range names {
			l.ip("-n", l.ns(name), "route", action, "blackhole", l.hosts["node2"]+"/32")
			l.ip("-n", l.ns(name), "route", "flush", "cache")
		}
	}
	mute("add", "validator1")
	arrives := exec.Command("ip", "netns", "exec", l.ns("validator1"), "ip", "route", "get", l.hosts["node2"])
	if out, err := arrives.CombinedOutput(); err == nil {
		t.Fatalf("the way is not cut: %s", out)
	}
	l.comesToRead("node2", address, content)
	mute("add", "validator2")
	l.denied(5, "node2", address)
	l.reads("node1", address, content) // the others are not concerned
	mute("del", "validator1", "validator2")
	began := time.Now()
	l.comesToRead("node2", address, content)
	l.agree()
	t.Logf("converged %s after the way back was there", time.Since(began).Round(time.Second))
}
