package host

import (
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
)

// Bulk goes over TCP: an address of QUIC never overtakes the TCP address of the
// same machine, and no address is lost.
func TestRankPrefersTCPAndNearAddresses(t *testing.T) {
	want := map[string]time.Duration{
		"/ip4/127.0.0.1/tcp/1":           0,
		"/ip4/127.0.0.1/udp/1/quic-v1":   quicDelay,
		"/ip4/203.0.113.7/tcp/1":         0, // 203.0.113.0/24 is for documentation, so it is not public
		"/ip4/8.8.8.8/tcp/1":             farDelay,
		"/ip4/8.8.8.8/udp/1/quic-v1":     farDelay + quicDelay,
		"/dns4/example.com/tcp/1":        -1, // whichever side of the line libp2p puts names
		"/ip6/::1/udp/1/quic-v1":         quicDelay,
		"/ip4/192.168.1.9/tcp/4801":      0,
		"/ip4/10.0.0.9/udp/48/quic-v1":   quicDelay,
		"/ip6/fe80::1/tcp/1":             0,
		"/ip4/169.254.1.1/udp/1/quic-v1": quicDelay,
	}
	var addrs []multiaddr.Multiaddr
	for s := range want {
		addrs = append(addrs, multiaddr.StringCast(s))
	}
	got := rank(addrs)
	if len(got) != len(addrs) {
		t.Fatalf("%d of %d addresses are left", len(got), len(addrs))
	}
	for _, g := range got {
		if w := want[g.Addr.String()]; w >= 0 && g.Delay != w {
			t.Errorf("%s waits %v, want %v", g.Addr, g.Delay, w)
		}
	}
	if alone := rank([]multiaddr.Multiaddr{multiaddr.StringCast("/ip4/8.8.8.8/tcp/1")}); alone[0].Delay != 0 {
		t.Errorf("a public address waits %v although nothing nearer is known", alone[0].Delay)
	}
}
