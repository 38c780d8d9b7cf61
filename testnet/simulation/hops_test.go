package simulation

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cerebrum.dev/cerebrum/p2p/discovery"
	"cerebrum.dev/cerebrum/p2p/host"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/marcopolo/simnet"
	"github.com/multiformats/go-multiaddr"
)

// Lookups take more steps in a larger network, but not many more: about as its
// logarithm grows. One network grows, and is measured at several sizes.
func TestHopsGrowWithTheLogarithm(t *testing.T) {
	sizes := []int{25, 50}
	if *nodes > 50 {
		sizes = steps(*nodes)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		l := newLookups(t, *seed, sizes[len(sizes)-1])
		t.Cleanup(func() { stop(); l.running.Wait() })
		table := fmt.Sprintf("%8s %10s %8s %8s %8s %10s %10s\n", "members", "logarithm", "hops", "p50", "most", "messages", "median")
		var first float64
		for i, n := range sizes {
			l.grow(ctx, n)
			m := l.measure(ctx, 40)
			log := math.Log2(float64(n))
			table += fmt.Sprintf("%8d %10.1f %8.2f %8d %8d %10.1f %10v\n", n, log, m.mean, m.median, m.most, m.messages, m.took.Round(time.Millisecond))
			t.Logf("lookups of one provider\n%s", table)
			if i == 0 {
				first = m.mean
			}
			if m.mean-first > log-math.Log2(float64(sizes[0])) {
				t.Errorf("%.2f hops among %d members, %.2f among %d: more than the logarithm", m.mean, n, first, sizes[0])
			}
		}
	})
}

// steps are sizes up to the one that was asked for.
func steps(to int) (out []int) {
	for _, n := range []int{50, 100, 200, 500} {
		if n < to {
			out = append(out, n)
		}
	}
	return append(out, to)
}

// lookups is a growing DHT of members that do nothing else.
type lookups struct {
	*testing.T
	rng     *mathrand.Rand
	weather *weather
	most    int // members that there will be
	running sync.WaitGroup
	first   []peer.AddrInfo // whom everybody knows
	hosts   []*host.Host
	found   []*discovery.Discovery
	asked   int // keys
	seen    []lookup
}

// lookup is one that succeeded.
type lookup struct {
	hops, messages int
	took           time.Duration
}

// club admits whoever knows its word.
type club struct{ word []byte }

func (c club) Credential() []byte  { return c.word }
func (c club) Barred(peer.ID) bool { return false }
func (c club) Check(_ peer.ID, shown []byte) error {
	if !bytes.Equal(shown, c.word) {
		return errors.New("not a member")
	}
	return nil
}

func newLookups(t *testing.T, seed uint64, most int) *lookups {
	l := &lookups{T: t, rng: mathrand.New(mathrand.NewPCG(seed, 5)), weather: newWeather(seed, 0), most: most}
	t.Cleanup(l.weather.net.Close)
	return l
}

// grow has members join, one after another, until there are n, and waits until their
// routing tables are filled.
func (l *lookups) grow(ctx context.Context, n int) {
	for len(l.hosts) < n {
		l.join(ctx, len(l.hosts))
		time.Sleep(200 * time.Millisecond)
		if len(l.hosts)%100 == 0 {
			l.Logf("%d members, each with %d connections", len(l.hosts), l.connections()/len(l.hosts))
		}
	}
	time.Sleep(70 * time.Second)
}

func (l *lookups) connections() (n int) {
	for _, h := range l.hosts {
		n += len(h.Libp2p().Network().Conns())
	}
	return n
}

// known is how many members everybody knows from the start.
const known = 4

// join adds a member. Most keep few connections, as do the members of a network that
// is much larger than their tables: idle ones cost a simulation its memory.
func (l *lookups) join(ctx context.Context, i int) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		l.Fatal(err)
	}
	limits := host.Limits{Connections: 96}
	if i < known {
		limits.Connections = 2 * l.most // everybody stays connected to these
	}
	ip := simnet.IntToPublicIPv4(i)
	h, err := host.New(host.Config{
		Key: key, Gate: club{[]byte("open")}, Limits: limits, Packets: &machine{w: l.weather, ip: ip},
		Listen: []multiaddr.Multiaddr{multiaddr.StringCast(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", ip, port))},
	})
	if err != nil {
		l.Fatal(err)
	}
	l.runs(ctx, h.Run)
	<-h.Listening()
	if i < known {
		l.first = append(l.first, peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	}
	first := slices.Clone(l.first)
	d, err := discovery.New(discovery.Config{
		Host: h.Libp2p(), Network: sha256.Sum256([]byte("lookups")), Member: func(peer.ID) bool { return true },
		Bootstrap: func() []peer.AddrInfo { return first },
	})
	if err != nil {
		l.Fatal(err)
	}
	l.runs(ctx, d.Run)
	l.hosts, l.found = append(l.hosts, h), append(l.found, d)
}

// runs has something run until the test ends.
func (l *lookups) runs(ctx context.Context, run func(context.Context) error) {
	l.running.Go(func() {
		if err := run(ctx); err != nil {
			l.Error(err)
		}
	})
}

// measured is what lookups took.
type measured struct {
	mean, messages float64
	median, most   int // hops
	took           time.Duration
}

// measure has members chosen by the dice look for what others provide.
func (l *lookups) measure(ctx context.Context, repeat int) measured {
	l.Helper()
	l.seen = nil
	for range repeat {
		l.asked++
		key := fmt.Appendf(nil, "object %d", l.asked)
		owner, reader := l.rng.IntN(len(l.found)), l.rng.IntN(len(l.found))
		if owner == reader {
			continue
		}
		l.look(ctx, owner, reader, key)
	}
	if len(l.seen) == 0 {
		l.Fatal("nothing was found")
	}
	var m measured
	var hops []int
	var times []time.Duration
	for _, s := range l.seen {
		m.mean += float64(s.hops) / float64(len(l.seen))
		m.messages += float64(s.messages) / float64(len(l.seen))
		hops, times = append(hops, s.hops), append(times, s.took)
	}
	slices.Sort(hops)
	slices.Sort(times)
	m.median, m.most, m.took = hops[len(hops)/2], hops[len(hops)-1], times[len(times)/2]
	return m
}

// look has a key provided and looked for, and counts how far from those that the
// reader knew the members are that answered.
func (l *lookups) look(ctx context.Context, owner, reader int, key []byte) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := l.found[owner].Provide(ctx, key); err != nil {
		l.Error(err)
	}
	search, stop := context.WithCancel(ctx)
	search, events := routing.RegisterForQueryEvents(search)
	counted := make(chan lookup)
	go func() { counted <- count(events) }() // ends with search
	began := time.Now()
	found, err := l.found[reader].Providers(search, key, 1)
	took := time.Since(began)
	stop()
	seen := <-counted
	seen.took = took
	if want := l.hosts[owner].ID(); err != nil || len(found) != 1 || found[0].ID != want {
		l.Errorf("found %v, %v; want %s", found, err, want)
		return
	}
	l.seen = append(l.seen, seen)
}

// count takes the answers of one lookup: who was known at the beginning is one hop
// away, whom that one named is two.
func count(events <-chan *routing.QueryEvent) (seen lookup) {
	far := map[peer.ID]int{}
	for e := range events {
		if e.Type != routing.PeerResponse {
			continue
		}
		seen.messages++
		at := max(far[e.ID], 1)
		seen.hops = max(seen.hops, at)
		for _, r := range e.Responses {
			if far[r.ID] == 0 {
				far[r.ID] = at + 1
			}
		}
	}
	return seen
}
