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
// logarithm grows.
func TestHopsGrowWithTheLogarithm(t *testing.T) {
	sizes := []int{25, 50}
	if *nodes > 50 {
		sizes = steps(*nodes)
	}
	table := fmt.Sprintf("%8s %8s %8s %10s %10s\n", "members", "hops", "most", "messages", "median")
	var means []float64
	for _, n := range sizes {
		synctest.Test(t, func(t *testing.T) {
			l := newLookups(t, *seed, n)
			l.run(40)
			means = append(means, l.meanHops())
			table += fmt.Sprintf("%8d %8.2f %8d %10.1f %10v\n", n, l.meanHops(), slices.Max(l.hops), float64(l.messages)/float64(len(l.hops)), l.median().Round(time.Millisecond))
		})
	}
	t.Logf("lookups of one provider\n%s", table)
	first, last := means[0], means[len(means)-1]
	if bound := first + math.Log2(float64(sizes[len(sizes)-1])/float64(sizes[0])); last > bound {
		t.Errorf("%.2f hops among %d members, %.2f among %d: more than the logarithm", last, sizes[len(sizes)-1], first, sizes[0])
	}
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

// lookups is a DHT of members that do nothing else.
type lookups struct {
	*testing.T
	rng      *mathrand.Rand
	hosts    []*host.Host
	found    []*discovery.Discovery
	hops     []int
	times    []time.Duration
	messages int
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

func newLookups(t *testing.T, seed uint64, n int) *lookups {
	l := &lookups{T: t, rng: mathrand.New(mathrand.NewPCG(seed, 5))}
	weather := newWeather(seed, 0)
	t.Cleanup(weather.net.Close)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var first []peer.AddrInfo
	for i := range n {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ip := simnet.IntToPublicIPv4(i)
		h, err := host.New(host.Config{
			Key: key, Gate: club{[]byte("open")}, Packets: &machine{w: weather, ip: ip},
			Listen: []multiaddr.Multiaddr{multiaddr.StringCast(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", ip, port))},
		})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := h.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		<-h.Listening()
		if i < 4 {
			first = append(first, peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
		}
		known := slices.Clone(first)
		d, err := discovery.New(discovery.Config{
			Host: h.Libp2p(), Network: sha256.Sum256([]byte("lookups")), Member: func(peer.ID) bool { return true },
			Bootstrap: func() []peer.AddrInfo { return known },
		})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := d.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		l.hosts, l.found = append(l.hosts, h), append(l.found, d)
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(3 * time.Minute) // the routing tables are filled
	return l
}

// run has members chosen by the dice look for what others provide.
func (l *lookups) run(times int) {
	for i := range times {
		key := fmt.Appendf(nil, "object %d", i)
		owner, reader := l.rng.IntN(len(l.found)), l.rng.IntN(len(l.found))
		if owner == reader {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := l.found[owner].Provide(ctx, key); err != nil {
			l.Error(err)
		}
		l.lookup(ctx, reader, key, l.hosts[owner].ID())
		cancel()
	}
}

// lookup counts how far from those that the reader knew the members are that
// answered it.
func (l *lookups) lookup(ctx context.Context, reader int, key []byte, owner peer.ID) {
	ctx, cancel := context.WithCancel(ctx)
	ctx, events := routing.RegisterForQueryEvents(ctx)
	counted := make(chan int)
	go func() { counted <- l.count(events) }() // ends with ctx
	began := time.Now()
	found, err := l.found[reader].Providers(ctx, key, 1)
	took := time.Since(began)
	cancel()
	hops := <-counted
	if err != nil || len(found) != 1 || found[0].ID != owner {
		l.Errorf("found %v, %v; want %s", found, err, owner)
		return
	}
	l.hops, l.times = append(l.hops, hops), append(l.times, took)
}

// count takes the answers of one lookup: who was known at the beginning is one hop
// away, whom that one named is two.
func (l *lookups) count(events <-chan *routing.QueryEvent) (most int) {
	far := map[peer.ID]int{}
	for e := range events {
		if e.Type != routing.PeerResponse {
			continue
		}
		l.messages++
		at := max(far[e.ID], 1)
		most = max(most, at)
		for _, r := range e.Responses {
			if far[r.ID] == 0 {
				far[r.ID] = at + 1
			}
		}
	}
	return most
}

func (l *lookups) meanHops() float64 {
	sum := 0
	for _, h := range l.hops {
		sum += h
	}
	return float64(sum) / float64(len(l.hops))
}

func (l *lookups) median() time.Duration {
	slices.Sort(l.times)
	return l.times[len(l.times)/2]
}
