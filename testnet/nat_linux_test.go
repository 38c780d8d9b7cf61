package testnet_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Kinds of NAT, as nft makes them.
const (
	cone      = "masquerade"              // keeps a port for all whom it speaks to: holes can be punched
	symmetric = "masquerade fully-random" // another port for each
)

// router puts a member behind a NAT of its own: it has a private address, reaches
// everybody, and nobody reaches it who was not spoken to first. It lets packets of a
// connection through whose numbers it did not expect, as cheap routers do: the kernel
// would otherwise compare them with those of the attempt before, from the same port,
// and whether a hole can be punched would depend on whose packet came first.
func (l *lan) router(member string, number int, kind string) {
	l.Helper()
	name := member + "nat"
	l.plug(name, fmt.Sprint(subnet, number))
	inside := fmt.Sprintf("192.168.%d.", number)
	l.machine(member)
	l.ip("-n", l.ns(name), "link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", l.ns(member))
	l.ip("-n", l.ns(name), "addr", "add", inside+"1/24", "dev", "in0")
	l.ip("-n", l.ns(name), "link", "set", "in0", "up")
	l.ip("-n", l.ns(member), "addr", "add", inside+"2/24", "dev", "eth0")
	l.ip("-n", l.ns(member), "link", "set", "eth0", "up")
	l.ip("-n", l.ns(member), "route", "add", "default", "via", inside+"1")
	l.in(name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	c := exec.Command("ip", "netns", "exec", l.ns(name), "nft", "-f", "-")
	c.Stdin = strings.NewReader(`
table ip nat {
	chain out { type nat hook postrouting priority 100; oifname "eth0" ` + kind + `; }
	chain filter { type filter hook forward priority 0; iifname "eth0" ct state new drop; }
	chain self { type filter hook input priority 0; iifname "eth0" ct state new drop; }
}`)
	if out, err := c.CombinedOutput(); err != nil {
		l.Skipf("this kernel or nft makes no NAT: %s", out)
	}
	l.in(name, "sh", "-c", "echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
}

// TestBehindNAT has a holder and a reader behind a NAT each. Neither can reach the
// other. A member that both can reach relays for them: the reader reads. Through NATs
// that keep their ports a direct connection follows, which the reader then uses; the
// control are NATs that do not, behind which it goes on reading through the relay.
func TestBehindNAT(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skipf("a NAT needs the program nft: %v", err)
	}
	for name, kind := range map[string]string{"cone": cone, "symmetric": symmetric} {
		t.Run(name, func(t *testing.T) { behindNAT(t, kind) })
	}
}

func behindNAT(t *testing.T, kind string) {
	l := newLAN(t, 2, "node1", "node2")
	l.router("node1", 101, kind)
	l.router("node2", 102, kind)
	l.configure("validator1", "relay = true")
	l.start(l.members()...)
	address, content := l.add("node1", "shared", 300_000)
	l.grant("node1", address, "node2", "read")
	l.denied(5, "node2", address) // relays are off at both ends: the control

	l.end("node1", "node2")
	for _, name := range []string{"node1", "node2"} {
		l.configure(name, "via_relays = ['auto']")
	}
	l.start("node1", "node2")
	l.eventually("an address through the relay", func() bool {
		return strings.Contains(fmt.Sprint(l.status("node1").list("addrs")), "/p2p-circuit/")
	})
	l.comesToRead("node2", address, content)
	t.Logf("read by way of %s", l.way("node2", "node1"))
	direct := func() bool {
		w := l.way("node2", "node1")
		return w != "" && !strings.Contains(w, "p2p-circuit")
	}
	comes := func() bool { // in more time than the attempts take
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range 20 {
			if <-tick.C; direct() {
				return true
			}
		}
		return false
	}
	came := comes()
	for try := 0; kind == cone && !came && try < 3; try++ { // three attempts in a row may miss each other on a busy machine
		l.end("node2")
		l.start("node2")
		l.comesToRead("node2", address, content)
		came = comes()
	}
	if came != (kind == cone) {
		t.Errorf("a direct connection: %v, by way of %s", came, l.way("node2", "node1"))
	}
	l.reads("node2", address, content)
}

// way is the address by which one member is connected to another.
func (l *lan) way(from, to string) string {
	l.Helper()
	peer := l.status(to).str("peer_id")
	for _, p := range l.ok(from, "peers").list("peers") {
		if f := facts(p.(map[string]any)); f.str("peer_id") == peer {
			return f.str("address")
		}
	}
	return ""
}

// TestUnreachableWithoutNAT has a holder that listens where nobody can reach it and
// cannot reach the reader: what a NAT looks like to both, on kernels that make none.
// All bytes pass through the relay.
func TestUnreachableWithoutNAT(t *testing.T) {
	l := newLAN(t, 2)
	l.configure("validator1", "relay = true")
	l.configure("node1", "via_relays = ['auto']")
	for _, way := range [][2]string{{"node1", "node2"}, {"node2", "node1"}} {
		l.ip("-n", l.ns(way[0]), "route", "add", "blackhole", l.hosts[way[1]]+"/32")
	}
	l.start(l.members()...)
	l.eventually("an address through the relay", func() bool {
		return strings.Contains(fmt.Sprint(l.status("node1").list("addrs")), "/p2p-circuit/")
	})
	address, content := l.add("node1", "shared", 300_000)
	l.grant("node1", address, "node2", "read")
	l.comesToRead("node2", address, content)
	scopes := map[string]bool{}
	for _, s := range l.ok("validator1", "status", "--network").list("scopes") {
		f := facts(s.(map[string]any))
		used, _ := f["streams_in"].(map[string]any)
		if facts(used).num("used") > facts(used).num("limit") {
			t.Errorf("over its limit: %v", f)
		}
		scopes[f.str("kind")+" "+f.str("name")] = true
	}
	reader := l.status("node2").str("peer_id")
	for _, want := range []string{"system ", "peer " + reader, "service libp2p.relay/v2", "protocol /libp2p/circuit/relay/0.2.0/hop"} {
		if !scopes[want] {
			t.Errorf("status --network does not show %s: %v", want, scopes)
		}
	}
	t.Log(l.run("validator1", "status", "--network").out)

	l.end("validator1") // the relay goes, and with it the way
	other, _ := l.add("node1", "another", 10_000)
	l.grant("node1", other, "node2", "read")
	l.denied(5, "node2", other)
}
