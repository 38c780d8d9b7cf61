package host

import (
	"net/netip"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// reach says which addresses a host dials. Most come from peers, who may name what
// they cannot reach themselves and we can.
type reach struct {
	loopback  bool
	linkLocal bool
}

// reachOf allows loopback in a local network, and where we listen on nothing else: a
// host that others can reach must not be sent to the services of its own machine.
// Link-local addresses are for hosts that listen on one.
func reachOf(cfg Config) reach {
	r := reach{loopback: true}
	for _, a := range cfg.Listen {
		ip, ok := addrOf(a)
		r.loopback = r.loopback && ok && ip.IsLoopback()
		r.linkLocal = r.linkLocal || ok && ip.IsLinkLocalUnicast()
	}
	r.loopback = r.loopback || cfg.LocalNetwork
	return r
}

// never are addresses at which no member can be: this host, broadcast and what is
// reserved; services that clouds offer their machines, and credentials with them,
// where those are not link-local.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("192.0.0.192/32"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("fd20:ce::254/128"),
	netip.MustParsePrefix("fec0::/10"),
}

// translated are IPv6 addresses that gateways turn into IPv4 ones, and where in their
// 16 bytes those are.
var translated = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("::/96"), 12},
}

// has reports whether an address may be dialed.
func (r reach) has(a multiaddr.Multiaddr) bool {
	ip, ok := addrOf(a)
	return ok && r.hasIP(ip)
}

func (r reach) hasIP(ip netip.Addr) bool {
	switch {
	case ip.IsLoopback():
		return r.loopback
	case ip.IsLinkLocalUnicast():
		return r.linkLocal && ip.Is6() // IPv4's has the metadata services of clouds
	case ip.IsUnspecified(), ip.IsMulticast():
		return false
	}
	for _, p := range never {
		if p.Contains(ip) {
			return false
		}
	}
	for _, t := range translated {
		if t.prefix.Contains(ip) {
			b := ip.As16()
			return r.hasIP(netip.AddrFrom4([4]byte(b[t.at : t.at+4])))
		}
	}
	return true
}

// addrOf is the IP address of a numeric multiaddr, without its zone.
func addrOf(a multiaddr.Multiaddr) (netip.Addr, bool) {
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	return addr.Unmap(), ok
}
