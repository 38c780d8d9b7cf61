package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/config"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/quorum"
)

// members is a network in one process: homes, stores and judges are real, and a
// function call stands in for each connection.
type members struct {
	validators []*Node
	nodes      []*Node

	mu    sync.Mutex
	down  map[int]bool   // owned by mu; validators that do not answer
	asked []int          // owned by mu; validators that were sent a deposit, in order
	skew  atomic.Int64   // seconds that the clock is ahead
	gone  map[*Node]bool // closed by the test
}

func (m *members) now() time.Time { return time.Now().Add(time.Duration(m.skew.Load()) * time.Second) }

func (m *members) setDown(which ...int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = map[int]bool{}
	for _, i := range which {
		m.down[i] = true
	}
}

// wire implements quorum.Transport for one member.
type wire struct {
	m    *members
	from *Node
}

func (w wire) Call(ctx context.Context, server statement.PublicKey, method quorum.Method, build func(quorum.Session) ([]byte, error)) ([]byte, error) {
	index := slices.IndexFunc(w.m.validators, func(n *Node) bool { return n.home.PeerKey() == server })
	if index < 0 {
		return nil, quorum.ErrUnreachable
	}
	w.m.mu.Lock()
	down := w.m.down[index]
	if method == quorum.Deposit {
		w.m.asked = append(w.m.asked, index)
	}
	w.m.mu.Unlock()
	if down {
		return nil, quorum.ErrUnreachable
	}
	to := w.m.validators[index]
	challenge := [32]byte(statement.GenerateKey().Seed())
	raw, err := build(quorum.Session{
		Server: to.home.PeerKey(), Client: w.from.home.PeerKey(), Challenge: challenge, Counter: func() uint64 { return 1 },
	})
	if err != nil {
		return nil, err
	}
	out, err := to.judgeCall(ctx, method, validator.Conn{
		Client: w.from.home.PeerKey(), Challenge: challenge, UseCounter: func(uint64) bool { return true },
	}, raw)
	var d *validator.Denied
	switch {
	case errors.As(err, &d) && method == quorum.Erase:
		return nil, fmt.Errorf("%w: %w", quorum.ErrDenied, validator.ErasureDenialIn(d.EraseReply()))
	case errors.Is(err, validator.ErrDenied):
		return nil, denial(codeOf(err)) // in the words of the wire
	case err != nil:
		return nil, fmt.Errorf("%w: %w", quorum.ErrUnreachable, err)
	}
	return out, nil
}

// found makes a network of four validators and some nodes, and opens all of them.
func found(t testing.TB, nodes int) *members {
	t.Helper()
	m := &members{gone: map[*Node]bool{}}
	dir, err := os.MkdirTemp("", "dm-") // short, for the sockets' paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := trust.Founding{Name: "test", Numbers: trust.Default(4)}
	var homes []*home.Home
	var keys []statement.PrivateKey
	for i := range 4 + nodes {
		h, _, err := home.Init(filepath.Join(dir, fmt.Sprint(i)), home.Options{
			Name: "me", Kind: identity.User, Protection: keystore.Protection{Plain: true},
			Config: config.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Local: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		homes = append(homes, h)
		who := h.Principals()[0].Identity.ID()
		if i >= 4 {
			g.Nodes = append(g.Nodes, trust.Member{Peer: h.PeerKey(), Identity: who})
			continue
		}
		v, err := h.ValidatorKeys(true)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, v.Signing)
		g.Validators = append(g.Validators, trust.Validator{
			Identity: who, Signing: v.Signing.Public(), Recipient: v.Recipient, Peer: h.PeerKey(),
			Addresses: []string{"/ip4/127.0.0.1/tcp/1"}, Log: v.Log.Public(), Witness: v.Witness.Public(),
		})
	}
	root := homes[0].Principals()[0].Device
	g.Roots = []statement.PublicKey{root.Public()}
	file, _, err := g.Draft(policy.Builtin(), m.now())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range append(keys, root) {
		if _, err := file.Sign(k); err != nil {
			t.Fatal(err)
		}
	}
	for i, h := range homes {
		if err := h.UseNetwork(file, m.now()); err != nil {
			t.Fatal(err)
		}
		n := m.open(t, h)
		if i < 4 {
			m.validators = append(m.validators, n)
		} else {
			m.nodes = append(m.nodes, n)
		}
	}
	return m
}

// open opens a home, with its audit log's writer.
func (m *members) open(t testing.TB, h *home.Home) *Node {
	t.Helper()
	n, err := Open(h, slog.New(slog.NewTextHandler(t.Output(), nil)), m.now)
	if err != nil {
		t.Fatal(err)
	}
	n.quorum.Transport = wire{m, n}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { n.audit.Run(ctx); close(done) }()
	t.Cleanup(func() {
		stop()
		<-done
		if m.gone[n] {
			return
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// refresh has everybody ask the validators, as they do each minute: twice, since
// the answers of a validator that is starting do not count.
func (m *members) refresh() {
	for range 2 {
		for _, n := range slices.Concat(m.validators, m.nodes) {
			n.tracker.Round(context.Background())
		}
	}
}
