package admission

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// room holds the places of pending inbound connections, in order of arrival.
type room struct {
	limits Limits

	mu      sync.Mutex    // guards the fields below
	seats   []*seat       // oldest first
	changed chan struct{} // closed and replaced whenever a seat is given up
}

// seat is one pending connection. Its address is invalid where the limit per
// address does not apply. drop makes the connection fail; it may block.
type seat struct {
	address netip.Prefix
	since   time.Time
	drop    func()
}

type verdict int

const (
	seated  verdict = iota
	refused         // the address has its share already
	full            // try again when somebody left, or after the grace
)

func newRoom(limits Limits) *room {
	return &room{limits: limits, changed: make(chan struct{})}
}

func (r *room) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seats)
}

// enter seats s. In a full room, a guest who has stood at the door for the grace,
// while nobody left, is impatient: everybody who sits longer than the grace is
// dropped. A crowd of honest peers on a slow machine keeps leaving, so that nobody
// gets impatient. With full comes a channel that is closed when somebody leaves.
func (r *room) enter(s *seat, now time.Time, impatient bool) (verdict, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.since = now
	if s.address.IsValid() {
		oldest, count := -1, 0
		for i, other := range r.seats {
			if other.address == s.address {
				if count == 0 {
					oldest = i
				}
				count++
			}
		}
		if count >= r.limits.PendingPerAddress && !r.evict(oldest, now) {
			return refused, nil
		}
	}
	if len(r.seats) >= r.limits.Pending && impatient {
		for len(r.seats) > 0 && r.evict(0, now) { // oldest first
		}
	}
	if len(r.seats) >= r.limits.Pending {
		return full, r.changed
	}
	r.seats = append(r.seats, s)
	return seated, nil
}

// evict drops the seat at index i if its grace is over. The caller holds mu.
func (r *room) evict(i int, now time.Time) bool {
	s := r.seats[i]
	if now.Sub(s.since) < r.limits.Grace {
		return false
	}
	r.remove(i)
	s.drop()
	return true
}

// leave gives a seat up; more than once, or after an eviction, is harmless.
func (r *room) leave(s *seat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.seats, s); i >= 0 {
		r.remove(i)
	}
}

// remove takes the seat at index i away. The caller holds mu.
func (r *room) remove(i int) {
	r.seats = slices.Delete(r.seats, i, i+1)
	close(r.changed)
	r.changed = make(chan struct{})
}

// addressOf is what PendingPerAddress counts: an IPv4 address or an IPv6 /64.
// It is invalid for loopback in a local network. An address that cannot be
// parsed is counted together with all others of its kind.
func addressOf(remote ma.Multiaddr, local bool) netip.Prefix {
	unknown := netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	ip, err := manet.ToIP(remote)
	if err != nil {
		return unknown
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return unknown
	}
	addr = addr.Unmap()
	if local && addr.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
