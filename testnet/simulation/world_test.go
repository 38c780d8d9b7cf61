package simulation

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/config"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/marcopolo/simnet"
)

// world is a network of nodes that live in one bubble of simulated time.
type world struct {
	*testing.T
	weather    *weather
	validators []*member
	nodes      []*member
}

// member is one node, which can stop and come back.
type member struct {
	w       *world
	name    string
	dir     string
	machine *machine
	node    *daemon.Node
	contact string
	stop    context.CancelFunc
	done    chan error
	log     *bytes.Buffer
}

const port = 4801

// found makes homes of four validators and some nodes, and a network of them.
func found(t *testing.T, seed uint64, nodes int, loss float64) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "sim-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{T: t, weather: newWeather(seed, loss)}
	t.Cleanup(w.weather.net.Close)
	g := trust.Founding{Name: "simulated", Numbers: trust.Default(4)}
	var homes []*home.Home
	var keys []statement.PrivateKey
	for i := range 4 + nodes {
		m := &member{w: w, name: fmt.Sprint("node ", i-3), dir: filepath.Join(dir, fmt.Sprint(i)), machine: &machine{w: w.weather, ip: simnet.IntToPublicIPv4(i)}}
		h := m.init(t)
		homes = append(homes, h)
		who := h.Principals()[0].Identity
		m.contact = who.Contact()
		if i >= 4 {
			g.Nodes = append(g.Nodes, trust.Member{Peer: h.PeerKey(), Identity: who.ID()})
			w.nodes = append(w.nodes, m)
			continue
		}
		m.name = fmt.Sprint("validator ", i+1)
		w.validators = append(w.validators, m)
		v, err := h.ValidatorKeys(true)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, v.Signing)
		g.Validators = append(g.Validators, trust.Validator{
			Identity: who.ID(), Signing: v.Signing.Public(), Recipient: v.Recipient, Peer: h.PeerKey(),
			Addresses: []string{m.address()}, Log: v.Log.Public(), Witness: v.Witness.Public(),
		})
	}
	root := homes[0].Principals()[0].Device
	g.Roots = []statement.PublicKey{root.Public()}
	file, _, err := g.Draft(policy.Builtin(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range append(keys, root) {
		if _, err := file.Sign(k); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range homes {
		if err := h.UseNetwork(file, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (m *member) address() string { return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", m.machine.ip, port) }

func (m *member) init(t *testing.T) *home.Home {
	t.Helper()
	h, _, err := home.Init(m.dir, home.Options{
		Name: "me", Kind: identity.User, Protection: keystore.Protection{Plain: true}, Config: config.Config{Listen: []string{m.address()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// start runs a member from its home and returns once it serves.
func (m *member) start() {
	m.w.Helper()
	h, err := home.Open(m.dir, func() ([]byte, error) { return nil, fmt.Errorf("keys are plain") })
	if err != nil {
		m.w.Fatal(m.name, err)
	}
	m.log = &bytes.Buffer{}
	n, err := daemon.Open(h, slog.New(slog.NewTextHandler(m.log, nil)), time.Now)
	if err != nil {
		m.w.Fatal(m.name, err)
	}
	n.Packets, m.node = m.machine, n
	ctx, stop := context.WithCancel(context.Background())
	m.stop, m.done = stop, make(chan error, 1)
	ready := make(chan struct{})
	go func() { // ends with halt
		err := n.Join(ctx, func(daemon.Ready) { close(ready) })
		m.done <- err
	}()
	select {
	case <-ready:
	case err := <-m.done:
		m.w.Fatal(m.name, err)
	}
}

// halt stops a member, as a clean shutdown does.
func (m *member) halt() {
	m.w.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		m.w.Error(m.name, err)
	}
	if err := m.node.Close(); err != nil {
		m.w.Error(m.name, err)
	}
	m.node = nil
}

func (w *world) everybody() []*member {
	return append(append([]*member{}, w.validators...), w.nodes...)
}

func (w *world) start() {
	for _, m := range w.everybody() {
		m.start()
	}
}

func (w *world) halt() {
	for _, m := range w.everybody() {
		if m.node != nil {
			m.halt()
		}
	}
}

var _ net.PacketConn = (*lossy)(nil)
