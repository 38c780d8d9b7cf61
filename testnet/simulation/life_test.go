package simulation

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

var (
	nodes = flag.Int("nodes", 0, "members of a simulated network; 0: 100, or 40 with -short")
	seed  = flag.Uint64("seed", 1, "what chance is drawn from")
	loss  = flag.Float64("loss", 0.01, "part of the packets that get lost")
)

// A network lives for a while under loss, latency and churn: nodes join, come and
// go, validators are cut off one at a time, objects are shared, found and read by
// others, and grants are revoked. Whatever was acknowledged is read in the end
// with the right bytes, and no read that began after a revocation was acknowledged
// brings anything.
func TestLife(t *testing.T) {
	size := *nodes
	if size == 0 {
		size = 100
		if testing.Short() {
			size = 40
		}
	}
	real := time.Now()
	synctest.Test(t, func(t *testing.T) {
		t.Logf("seed %d, %d nodes, %.1f %% loss", *seed, size, *loss*100)
		began := time.Now()
		w := found(t, *seed, size, *loss)
		w.start()
		defer w.halt()
		w.joined()
		t.Logf("all have joined after %v", time.Since(began).Round(time.Second))
		life := newLife(w, *seed)
		life.run()
		t.Logf("%d reads, %d tried again; %d revoked; over after %v", life.reads, life.again, life.revoked, time.Since(began).Round(time.Second))
	})
	t.Logf("simulated in %v", time.Since(real).Round(time.Second))
}

// Every member stays connected to every validator, so these have room for many more
// connections than a node.
func TestValidatorsHaveRoomForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := found(t, *seed, 1, 0)
		w.start()
		defer w.halt()
		room := func(m *member) int64 {
			u, err := m.node.Usage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return u.Scopes[0].Connections.Limit
		}
		if v, n := room(w.validators[0]), room(w.nodes[0]); n < 512 || v < 4*n {
			t.Errorf("a validator may have %d connections, a node %d", v, n)
		}
	})
}

// joined waits until every member has heard enough validators.
func (w *world) joined() {
	w.Helper()
	for range 120 {
		late := ""
		for _, m := range w.everybody() {
			s, err := m.node.Status(context.Background())
			if err != nil {
				w.Fatal(m.name, err)
			}
			if s.FreshnessSeconds == nil || s.Peers == 0 {
				late = m.name
			}
		}
		if late == "" {
			return
		}
		time.Sleep(time.Second)
		if w.Failed() {
			return
		}
	}
	w.Fatal("after two minutes there are members that have not heard of revocations")
}

// life is what happens in a world, by the dice.
type life struct {
	w      *world
	shares []*share
	free   []*member // may come and go
	stop   chan struct{}

	mu                    sync.Mutex
	reads, again, revoked int // owned by mu
}

// share is an object that one member gives to another.
type share struct {
	owner, reader *member
	content       []byte
	revoke        bool
	rng           *rand.Rand
}

func newLife(w *world, seed uint64) *life {
	l := &life{w: w, stop: make(chan struct{})}
	rng := rand.New(rand.NewPCG(seed, 2))
	order := rng.Perm(len(w.nodes))
	for i := 0; i+1 < len(order)/2; i += 2 { // half of the members share, the others come and go
		content := make([]byte, 1+rng.IntN(200_000))
		for j := range content {
			content[j] = byte(rng.Uint32())
		}
		l.shares = append(l.shares, &share{
			owner: w.nodes[order[i]], reader: w.nodes[order[i+1]], content: content,
			revoke: rng.IntN(2) == 0, rng: rand.New(rand.NewPCG(seed, uint64(100+i))),
		})
	}
	for _, i := range order[len(order)/2:] {
		l.free = append(l.free, w.nodes[i])
	}
	return l
}

func (l *life) run() {
	var troubles, shares sync.WaitGroup
	troubles.Go(l.churn)
	troubles.Go(l.cutValidators)
	for _, s := range l.shares {
		shares.Go(func() {
			if err := l.share(s); err != nil {
				l.w.Errorf("%s and %s: %v", s.owner.name, s.reader.name, err)
			}
		})
	}
	shares.Wait()
	close(l.stop)
	troubles.Wait()
}

// wait sleeps for some seconds by the dice; false means that it is over.
func (l *life) wait(rng *rand.Rand, least, most int) bool {
	select {
	case <-l.stop:
		return false
	case <-time.After(time.Duration(least+rng.IntN(most-least)) * time.Second):
		return true
	}
}

// churn has nodes stop and come back.
func (l *life) churn() {
	rng := rand.New(rand.NewPCG(l.w.weather.seed, 3))
	for l.wait(rng, 1, 5) {
		m := l.free[rng.IntN(len(l.free))]
		m.halt()
		l.wait(rng, 1, 20)
		m.start()
	}
}

// cutValidators takes one validator after another off the network, which are as
// many at a time as may be faulty.
func (l *life) cutValidators() {
	rng := rand.New(rand.NewPCG(l.w.weather.seed, 4))
	for l.wait(rng, 5, 30) {
		v := l.w.validators[rng.IntN(len(l.w.validators))]
		l.w.weather.cutOff(v.machine.ip, true)
		l.wait(rng, 5, 60)
		l.w.weather.cutOff(v.machine.ip, false)
	}
}

const patience = 5 * time.Minute

// insist repeats what may fail for now because somebody cannot be reached.
func (l *life) insist(do func(context.Context) error) error {
	end := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithDeadline(context.Background(), end)
		err := do(ctx)
		cancel()
		if err == nil || fault.Of(err).Exit != fault.Unavailable || time.Now().After(end) {
			return err
		}
		l.mu.Lock()
		l.again++
		l.mu.Unlock()
		time.Sleep(3 * time.Second)
	}
}

func (l *life) share(s *share) error {
	time.Sleep(time.Duration(s.rng.IntN(60)) * time.Second)
	var added *api.Added
	err := l.insist(func(ctx context.Context) (err error) {
		added, err = s.owner.node.AddStream(ctx, api.AddRequest{Name: "object"}, bytes.NewReader(s.content))
		return err
	})
	if err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if _, err := l.read(s, added.Address); fault.Of(err).Exit != fault.Denied {
		return fmt.Errorf("a read without a grant: %w", err)
	}
	var granted *api.Granted
	err = l.insist(func(ctx context.Context) (err error) {
		granted, err = s.owner.node.Grant(ctx, api.GrantRequest{Address: added.Address, To: s.reader.contact, Can: "read", Seconds: 86400})
		return err
	})
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	for range 3 {
		time.Sleep(time.Duration(s.rng.IntN(30)) * time.Second)
		got, err := l.read(s, added.Address)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if !bytes.Equal(got, s.content) {
			return fmt.Errorf("read %d bytes that are not those of the object", len(got))
		}
	}
	if !s.revoke {
		return nil
	}
	return l.revoke(s, added.Address, granted.Grant)
}

func (l *life) revoke(s *share, address, grant string) error {
	err := l.insist(func(ctx context.Context) error {
		_, err := s.owner.node.Revoke(ctx, api.RevokeRequest{Grant: grant})
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	l.mu.Lock()
	l.revoked++
	l.mu.Unlock()
	for range 3 {
		got, err := l.read(s, address)
		if err == nil || len(got) > 0 {
			return fmt.Errorf("%d bytes were read after the revocation was acknowledged", len(got))
		}
		if fault.Of(err).Exit != fault.Denied {
			return fmt.Errorf("a read after the revocation: %w", err)
		}
		time.Sleep(time.Duration(s.rng.IntN(10)) * time.Second)
	}
	return nil
}

func (l *life) read(s *share, address string) ([]byte, error) {
	var out bytes.Buffer
	err := l.insist(func(ctx context.Context) error {
		out.Reset()
		_, err := s.reader.node.GetStream(ctx, api.GetRequest{Address: address}, io.Writer(&out))
		return err
	})
	l.mu.Lock()
	l.reads++
	l.mu.Unlock()
	return out.Bytes(), err
}
