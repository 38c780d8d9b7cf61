package discovery

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/host"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// club is a gate that admits the peers whose id its key signed.
type club struct {
	key  ed25519.PrivateKey
	self peer.ID
}

func (c club) Credential() []byte  { return ed25519.Sign(c.key, []byte(c.self)) }
func (c club) Barred(peer.ID) bool { return false }
func (c club) Check(remote peer.ID, credential []byte) error {
	if !ed25519.Verify(c.key.Public().(ed25519.PublicKey), []byte(remote), credential) {
		return errors.New("not a member")
	}
	return nil
}

// patient keeps a crowded test machine from looking like a slow peer.
var patient = host.Limits{Handshake: time.Minute, Admission: admission.Limits{Timeout: time.Minute}}

// world is one set of hosts that admit one another.
type world struct {
	t       *testing.T
	key     ed25519.PrivateKey
	network [32]byte

	mu       sync.Mutex
	outsider map[peer.ID]bool // admitted, but no member for discovery
}

func newWorld(t *testing.T) *world {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, outsider: make(map[peer.ID]bool)}
	rand.Read(w.network[:])
	return w
}

func (w *world) member(p peer.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.outsider[p]
}

func (w *world) cast(p peer.ID, out bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outsider[p] = out
}

// inhabitant is a host with its discovery; stop ends both and waits.
type inhabitant struct {
	*host.Host
	*Discovery
	stop func()
}

func (w *world) inhabit(key crypto.PrivKey, listen []multiaddr.Multiaddr, change func(*Config), bootstrap ...peer.AddrInfo) inhabitant {
	w.t.Helper()
	if key == nil {
		var err error
		if key, _, err = crypto.GenerateEd25519Key(rand.Reader); err != nil {
			w.t.Fatal(err)
		}
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := host.New(host.Config{Key: key, Listen: listen, Gate: club{w.key, id}, LocalNetwork: true, Limits: patient})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{
		Host: h.Libp2p(), Network: w.network, Member: w.member, Interval: 20 * time.Millisecond,
		Bootstrap: func() []peer.AddrInfo { return bootstrap },
		Log:       slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	hostCtx, closeHost := context.WithCancel(context.Background())
	hostEnded := make(chan error, 1)
	go func() { hostEnded <- h.Run(hostCtx) }()
	<-h.Listening()
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			w.t.Errorf("Run ended with %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
		closeHost()
		if err := <-hostEnded; err != nil {
			w.t.Errorf("the host ended with %v", err)
		}
	})
	w.t.Cleanup(stop)
	return inhabitant{h, d, stop}
}

func (i inhabitant) info() peer.AddrInfo {
	return peer.AddrInfo{ID: i.Host.ID(), Addrs: i.Host.Addrs()}
}

// eventually asks until the answer is yes, or fails the test after a long while.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	ctx := background(t)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// provide repeats until somebody is known, as a node does.
func provide(t *testing.T, i inhabitant, key []byte) {
	t.Helper()
	eventually(t, "a member to tell", func() bool {
		err := i.Provide(background(t), key)
		if err != nil && !errors.Is(err, ErrAlone) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func find(t *testing.T, i inhabitant, key []byte, max int) []peer.AddrInfo {
	t.Helper()
	found, err := i.Providers(background(t), key, max)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Two members that know only a third one find each other through it.
func TestMembersFindEachOther(t *testing.T) {
	w := newWorld(t)
	boot := w.inhabit(nil, nil, nil)
	a := w.inhabit(nil, nil, nil, boot.info())
	b := w.inhabit(nil, nil, nil, boot.info())
	key := []byte("an object")
	provide(t, a, key)
	eventually(t, "b finds a", func() bool { return len(find(t, b, key, 1)) == 1 })
	found := find(t, b, key, 0)
	if len(found) != 1 || found[0].ID != a.Host.ID() || len(found[0].Addrs) == 0 {
		t.Fatalf("found %v, want a with its addresses", found)
	}
	if err := b.Connect(background(t), found[0]); err != nil {
		t.Errorf("what was found cannot be dialed: %v", err)
	}
	if got := find(t, b, []byte("another object"), 0); len(got) != 0 {
		t.Errorf("providers of an unknown key: %v", got)
	}
	if got := find(t, a, key, 0); len(got) != 0 {
		t.Errorf("a provider found itself: %v", got)
	}
}

func TestProvidersStopsAtMax(t *testing.T) {
	w := newWorld(t)
	boot := w.inhabit(nil, nil, nil)
	key := []byte("popular")
	for range 3 {
		provide(t, w.inhabit(nil, nil, nil, boot.info()), key)
	}
	eventually(t, "all three are found", func() bool { return len(find(t, boot, key, 0)) == 3 })
	if got := len(find(t, boot, key, 2)); got != 2 {
		t.Errorf("%d providers, want 2", got)
	}
}

// A record that names somebody who is no member any more is not handed out.
func TestOnlyMembersAreReturned(t *testing.T) {
	w := newWorld(t)
	boot := w.inhabit(nil, nil, nil)
	a := w.inhabit(nil, nil, nil, boot.info())
	b := w.inhabit(nil, nil, nil, boot.info())
	key := []byte("an object")
	provide(t, a, key)
	eventually(t, "control: b finds a", func() bool { return len(find(t, b, key, 0)) == 1 })
	w.cast(a.Host.ID(), true)
	if got := find(t, b, key, 0); len(got) != 0 {
		t.Errorf("found %v, who is no member", got)
	}
	w.cast(a.Host.ID(), false)
	if got := find(t, b, key, 0); len(got) != 1 {
		t.Errorf("control: found %v", got)
	}
}

// A member that was removed is in nobody's table, and those who ask are not told of
// what it provides.
func TestForget(t *testing.T) {
	w := newWorld(t)
	boot := w.inhabit(nil, nil, nil)
	a := w.inhabit(nil, nil, nil, boot.info())
	b := w.inhabit(nil, nil, nil, boot.info())
	key := []byte("an object")
	provide(t, a, key)
	eventually(t, "control: b finds a", func() bool { return len(find(t, b, key, 0)) == 1 })
	who := a.Host.ID()
	eventually(t, "control: a is in the table", func() bool { return boot.table.RoutingTable().Find(who) != "" })
	w.cast(who, true)
	a.stop()
	for _, i := range []inhabitant{boot, b} {
		i.Host.Drop(who)
		i.Forget(who)
	}
	w.cast(who, false) // or the question would be refused whatever is kept
	if got := find(t, b, key, 0); len(got) != 0 {
		t.Errorf("found %v", got)
	}
	if boot.table.RoutingTable().Find(who) != "" {
		t.Error("it is in the routing table")
	}
	c, err := b.cidOf(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []inhabitant{boot, b} {
		if got, err := i.table.ProviderStore().GetProviders(background(t), c.Hash()); err != nil || len(got) != 0 {
			t.Errorf("its record is kept: %v, %v", got, err)
		}
	}
}

// Somebody who is admitted but no member is not told where things are kept, and
// nothing is asked of him.
func TestOutsidersAreNotInTheTable(t *testing.T) {
	w := newWorld(t)
	boot := w.inhabit(nil, nil, nil)
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w.cast(id, true)
	out := w.inhabit(key, nil, nil, boot.info())
	in := w.inhabit(nil, nil, nil, boot.info())
	provide(t, in, []byte("x")) // whoever was going to be found by now has been
	provide(t, out, []byte("x"))
	eventually(t, "control: the member is in the table", func() bool { return boot.table.RoutingTable().Find(in.Host.ID()) != "" })
	if boot.table.RoutingTable().Find(id) != "" {
		t.Error("an outsider is in the routing table")
	}
	if got := boot.Connected(); got != 1 {
		t.Errorf("connected to %d members, want 1", got)
	}
}

func TestOtherNetworksAreDeaf(t *testing.T) {
	w := newWorld(t)
	boot := w.inhabit(nil, nil, nil)
	other := w.inhabit(nil, nil, func(c *Config) { c.Network[0]++ }, boot.info())
	eventually(t, "the connection", func() bool { return other.Connected() == 1 })
	if err := other.Provide(background(t), []byte("x")); !errors.Is(err, ErrAlone) {
		t.Errorf("error is %v, want ErrAlone", err)
	}
	for _, p := range boot.Libp2p().Mux().Protocols() {
		if strings.HasPrefix(string(p), "/ipfs/kad") {
			t.Errorf("the public DHT's protocol is served: %s", p)
		}
	}
}

// The peer at the only bootstrap address goes away and comes back.
func TestBootstrapReconnects(t *testing.T) {
	w := newWorld(t)
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	boot := w.inhabit(key, nil, nil)
	at := boot.info()
	a := w.inhabit(nil, nil, nil, at)
	eventually(t, "the first connection", func() bool { return a.Connected() == 1 })
	boot.stop()
	eventually(t, "the loss", func() bool { return a.Connected() == 0 })
	w.inhabit(key, at.Addrs, nil)
	eventually(t, "the second connection", func() bool { return a.Connected() == 1 })
}

// One of two bootstrap peers goes away and comes back: who knows many members has no
// reason to look around, for others would do so at the same moment. It has one when
// both come back.
func TestLookingAroundWhenCutOff(t *testing.T) {
	w := newWorld(t)
	var keys []crypto.PrivKey
	var boots []inhabitant
	var infos []peer.AddrInfo
	for range 2 {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b := w.inhabit(key, nil, nil)
		keys, boots, infos = append(keys, key), append(boots, b), append(infos, b.info())
	}
	var rounds atomic.Int64
	a := w.inhabit(nil, nil, func(c *Config) {
		c.Bootstrap = func() []peer.AddrInfo { rounds.Add(1); return infos }
	})
	connected := func(n int) {
		t.Helper()
		eventually(t, "the connections", func() bool { return a.Connected() == n })
		now := rounds.Load()
		eventually(t, "a round that sees them", func() bool { return rounds.Load() > now+1 })
	}
	restart := func(which ...int) {
		t.Helper()
		for _, i := range which {
			boots[i].stop()
		}
		connected(2 - len(which))
		for _, i := range which {
			boots[i] = w.inhabit(keys[i], infos[i].Addrs, nil)
		}
		connected(2)
	}
	connected(2)
	eventually(t, "it looks around at first", func() bool { return a.looked.Load() > 0 })
	if r := (round{held: 1, gained: 1}); !r.worthLookingAround(false, thin-1) || r.worthLookingAround(false, thin) {
		t.Error("control: it does not look around when it knows few")
	}

	for range 2 { // a round under way, and one that it asks for, would find that strangers are dead
		<-a.table.RefreshRoutingTable()
	}
	for _, p := range strangers(t, 3*thin) {
		a.table.RoutingTable().TryAddPeer(p.ID, true, false) // fails where a bucket is full
	}
	if size := a.table.RoutingTable().Size(); size < thin {
		t.Fatalf("only %d are in the table", size)
	}
	many := a.looked.Load()
	restart(0)
	restart(1)
	restart(0, 1)
	if got := a.looked.Load() - many; got != 1 {
		t.Errorf("it looked around %d times, want once, when it was cut off", got)
	}
}

// The connections to bootstrap peers are not given up for others; those to former ones
// may be.
func TestBootstrapPeersAreProtected(t *testing.T) {
	w := newWorld(t)
	boot, former := w.inhabit(nil, nil, nil), w.inhabit(nil, nil, nil)
	var mu sync.Mutex
	peers := []peer.AddrInfo{boot.info(), former.info()}
	a := w.inhabit(nil, nil, func(c *Config) {
		c.Bootstrap = func() []peer.AddrInfo {
			mu.Lock()
			defer mu.Unlock()
			return peers
		}
	})
	kept := func(i inhabitant) bool { return a.Libp2p().ConnManager().IsProtected(i.Host.ID(), protectedTag) }
	eventually(t, "both are protected", func() bool { return kept(boot) && kept(former) })
	mu.Lock()
	peers = peers[:1]
	mu.Unlock()
	eventually(t, "the former one is not any more", func() bool { return !kept(former) })
	if !kept(boot) {
		t.Error("the other one is not protected")
	}
}

func TestAlone(t *testing.T) {
	w := newWorld(t)
	a := w.inhabit(nil, nil, nil)
	if err := a.Provide(background(t), []byte("x")); !errors.Is(err, ErrAlone) {
		t.Errorf("error is %v, want ErrAlone", err)
	}
	if got := find(t, a, []byte("x"), 0); len(got) != 0 {
		t.Errorf("alone, and yet found %v", got)
	}
}

func TestBeforeAndAfterRun(t *testing.T) {
	w := newWorld(t)
	a := w.inhabit(nil, nil, nil)
	idle, err := New(Config{Host: a.Libp2p(), Member: w.member})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := idle.Providers(ctx, nil, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("before Run: %v, want the context's error", err)
	}
	a.stop()
	if err := a.Provide(background(t), nil); !errors.Is(err, ErrStopped) {
		t.Errorf("after Run: %v, want ErrStopped", err)
	}
	if err := a.Discovery.Run(background(t)); !errors.Is(err, ErrRan) {
		t.Errorf("a second Run: %v, want ErrRan", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t)
	a := w.inhabit(nil, nil, nil)
	for what, cfg := range map[string]Config{
		"no host":   {Member: w.member},
		"no member": {Host: a.Libp2p()},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("discovery with %s was made", what)
		}
	}
}

// What the DHT sees of a key tells neither the key nor that another network, or
// another use of SHA-256, has the same one.
func TestKeysAreSeparated(t *testing.T) {
	key := []byte("bafy-an-address")
	one, other := &Discovery{}, &Discovery{}
	other.cfg.Network[31] = 1
	a, err := one.cidOf(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := other.cidOf(key)
	if err != nil {
		t.Fatal(err)
	}
	plain := sha256.Sum256(key)
	if a.Equals(b) || bytes.HasSuffix(a.Hash(), plain[:]) {
		t.Error("a key is not bound to its network and use")
	}
	if again, _ := one.cidOf(key); !again.Equals(a) {
		t.Error("a key has two names")
	}
	if Prefix([32]byte{0xab, 1}) != "/cerebrum/ab01000000000000" {
		t.Errorf("prefix is %s", Prefix([32]byte{0xab, 1}))
	}
}
