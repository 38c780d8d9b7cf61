package admission

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"
)

func TestRoomSeatsAndEvicts(t *testing.T) {
	r := newRoom(Limits{Pending: 2}.withDefaults())
	now := time.Unix(1_000_000, 0)
	dropped := make(map[string]bool)
	guest := func(name string) *seat { return &seat{drop: func() { dropped[name] = true }} }

	first, second := guest("first"), guest("second")
	for _, s := range []*seat{first, second} {
		if v, _ := r.enter(s, now, false); v != seated {
			t.Fatal("an empty room refused")
		}
	}
	later := now.Add(r.limits.Grace)
	if v, _ := r.enter(guest("third"), now, true); v != full || len(dropped) != 0 {
		t.Fatalf("verdict %v, dropped %v: guests within their grace keep their places", v, dropped)
	}
	v, changed := r.enter(guest("third"), later, false)
	if v != full || len(dropped) != 0 {
		t.Fatalf("verdict %v, dropped %v: who has just come waits at the door first", v, dropped)
	}
	r.leave(second)
	select {
	case <-changed:
	default:
		t.Error("whoever waits is not told that a place is free")
	}
	if v, _ := r.enter(guest("third"), later, false); v != seated {
		t.Error("the free place was not given")
	}
	if v, _ := r.enter(guest("fourth"), later, true); v != seated || !dropped["first"] || dropped["third"] {
		t.Errorf("verdict %v, dropped %v: exactly those beyond their grace go", v, dropped)
	}
	r.leave(first) // was evicted: harmless
	if r.size() != 2 {
		t.Errorf("%d places are taken, want 2", r.size())
	}
}

func TestRoomSharesByAddress(t *testing.T) {
	r := newRoom(Limits{}.withDefaults())
	now := time.Unix(1_000_000, 0)
	crowded, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	dropped := 0
	enter := func(p netip.Prefix, at time.Time) verdict {
		v, _ := r.enter(&seat{address: p, drop: func() { dropped++ }}, at, true)
		return v
	}
	for i, want := range []verdict{seated, seated, refused, refused} {
		if got := enter(crowded, now); got != want {
			t.Errorf("connection %d of one address: %v, want %v", i, got, want)
		}
	}
	if enter(other, now) != seated {
		t.Error("another address suffers for the crowded one")
	}
	if enter(crowded, now.Add(r.limits.Grace)) != seated || dropped != 1 {
		t.Error("an address may replace its own slow connection")
	}
	if r.size() != 3 {
		t.Errorf("%d places are taken, want 3", r.size())
	}
}

func TestAddressesAreCountedAsCustomers(t *testing.T) {
	for _, c := range []struct {
		addr  string
		local bool
		want  string
	}{
		{"/ip4/192.0.2.7/tcp/1", false, "192.0.2.7/32"},
		{"/ip4/192.0.2.7/udp/9/quic-v1", true, "192.0.2.7/32"},
		{"/ip6/2001:db8:1:2:3:4:5:6/tcp/1", false, "2001:db8:1:2::/64"},
		{"/ip6/::ffff:192.0.2.7/tcp/1", false, "192.0.2.7/32"},
		{"/ip4/127.0.0.1/tcp/1", false, "127.0.0.1/32"},
		{"/ip4/127.0.0.1/tcp/1", true, "invalid Prefix"},
		{"/ip6/::1/tcp/1", true, "invalid Prefix"},
		{"/dns4/example.org/tcp/1", true, "::/128"},
	} {
		if got := addressOf(ma.StringCast(c.addr), c.local).String(); got != c.want {
			t.Errorf("%s, local %v: counted as %s, want %s", c.addr, c.local, got, c.want)
		}
	}
}

// Over real sockets: the third silent connection of an address is refused at
// once, unless loopback is exempt.
func TestAddressLimitOnTheWire(t *testing.T) {
	c, a := newClub(t), newNode(t)
	for _, local := range []bool{false, true} {
		tr := a.wrapped(t, onTCP, Config{
			Gate: member{c, c.credential(a.id)}, LocalNetwork: local,
			Limits: Limits{Timeout: time.Minute, Grace: time.Minute},
		})
		at, _ := listening(t, tr, onTCP)
		crowd := newNode(t).bare(t, onTCP)
		hungUp := make(chan struct{}, 3)
		for range 3 {
			silent, err := crowd.Dial(background(t), at, a.id)
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			go func() {
				silent.AcceptStream() // returns when the other side hangs up
				hungUp <- struct{}{}
			}()
		}
		if !local {
			<-hungUp
		}
		want := 2
		if local {
			want = 3
		}
		for ctx := background(t); tr.admitter.Pending() != want; runtime.Gosched() {
			if ctx.Err() != nil {
				t.Fatalf("local %v: %d connections are pending, want %d", local, tr.admitter.Pending(), want)
			}
		}
	}
}
