package daemon

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/audit/witness"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// witnessWire stands in for connections between the nodes of one process.
type witnessWire struct {
	m    *members
	from *Node
}

func (w witnessWire) Ask(_ context.Context, to statement.PublicKey, c witness.Call, body []byte) ([]byte, error) {
	i := slices.IndexFunc(w.m.validators, func(n *Node) bool { return n.home.PeerKey() == to })
	w.m.mu.Lock()
	down := i < 0 || w.m.down[i]
	w.m.mu.Unlock()
	if down {
		return nil, errors.New("down")
	}
	return w.m.validators[i].answerWitness(w.from.home.PeerKey(), c, body)
}

// watched is a network whose nodes can have their logs witnessed.
func watched(t testing.TB, nodes int) *members {
	t.Helper()
	m := found(t, nodes)
	for _, n := range slices.Concat(m.validators, m.nodes) {
		n.witnessing.collector.Transport = witnessWire{m, n}
	}
	m.refresh()
	return m
}

// records writes to a node's log and shows the log to the witnesses.
func (m *members) records(t testing.TB, n *Node, what string) error {
	t.Helper()
	m.skew.Add(600)
	if err := n.record(t.Context(), event.Add, event.OK, event.Act{Detail: what}); err != nil {
		return err
	}
	if _, err := n.audit.Log().Checkpoint(t.Context()); err != nil {
		return err
	}
	return n.witnessing.collector.Round(t.Context(), n.trust.Current(), n.witnessing.anchors.Load())
}

func TestStatusSaysHowFarTheLogIsWitnessed(t *testing.T) {
	m := watched(t, 1)
	n := m.nodes[0]
	status := func() string {
		t.Helper()
		s, err := n.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w := s.Witnessed
		if w.Need != 3 || w.Of != 4 || (w.AgeSeconds == nil) != (w.Have < 3) {
			t.Errorf("%+v", w)
		}
		return strings.Join(s.Problems, "\n")
	}
	if got := status(); strings.Contains(got, "cosign") {
		t.Errorf("before the first round: %q", got)
	}
	m.setDown(2)
	if err := m.records(t, n, "one"); err != nil {
		t.Fatal(err)
	}
	if got := n.audit.Log().Cosigned().N; got != n.audit.Size() {
		t.Errorf("%d of %d are cosigned", got, n.audit.Size())
	}
	m.setDown(1, 2)
	m.records(t, n, "two")
	m.skew.Add(int64(witness.Lag/time.Second) + 1)
	if got := status(); !strings.Contains(got, "has waited 10 minutes for 3 of 4 validators") {
		t.Errorf("%q", got)
	}
	m.setDown()
	if err := m.records(t, n, "three"); err != nil {
		t.Fatal(err)
	}
	if got := status(); strings.Contains(got, "waited") {
		t.Errorf("%q", got)
	}
}

// Only the folder of the log was restored: what lies beside it tells at once, without
// any validator, and before anything is appended.
func TestAnOldCopyOfTheLogsFolderIsFoundAtTheStart(t *testing.T) {
	m := watched(t, 1)
	n := m.nodes[0]
	saved := filepath.Join(t.TempDir(), "saved")
	dir := filepath.Join(n.home.Dir, "audit")
	if err := m.records(t, n, "one"); err != nil {
		t.Fatal(err)
	}
	copyFolder(t, saved, dir)
	if err := m.records(t, n, "two"); err != nil {
		t.Fatal(err)
	}
	n.witnessing.collector.Transport = nil // nobody to ask
	again := m.restored(t, n, func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		copyFolder(t, dir, saved)
	})
	err := again.record(t.Context(), event.Add, event.OK, event.Act{Detail: "three"})
	if f := fault.Of(err); !errors.Is(err, audit.ErrDisowned) || f.Exit != fault.Integrity || !strings.Contains(f.Hint, dir) {
		t.Errorf("%v", err)
	}
	err = again.recordStart(t.Context())
	if f := fault.Of(err); !errors.Is(err, audit.ErrDisowned) || f.Exit != fault.Integrity || !strings.Contains(f.Hint, "new home") {
		t.Errorf("it starts: %v", err)
	}
	if err := again.recordStop(t.Context(), nil); err != nil {
		t.Errorf("it cannot even stop: %v", err)
	}
	s, err := again.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Problems, "\n"); s.Healthy || !strings.Contains(got, "rolled back") || !strings.Contains(got, dir) || !strings.Contains(got, "new home") {
		t.Errorf("%q", got)
	}
}

// restored closes a node, changes its home, and opens it again.
func (m *members) restored(t *testing.T, n *Node, change func()) *Node {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	m.gone[n] = true
	change()
	h, err := home.Open(n.home.Dir, func() ([]byte, error) { return nil, errors.New("keys are plain") })
	if err != nil {
		t.Fatal(err)
	}
	return m.open(t, h)
}

func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(to, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Chmod(f, 0o600); err != nil { // CopyFS goes by the umask
			t.Fatal(err)
		}
	}
}

// Validators note what they cosigned of others, once for many checkpoints, and nobody
// who has not got the checkpoint learns whose it was.
func TestValidatorsAnchorEachOthersLogs(t *testing.T) {
	m := watched(t, 2)
	v := m.validators[0]
	before := v.witnessing.witness.Changes()
	for range 3 {
		for _, n := range append(m.nodes, v) {
			if err := m.records(t, n, "event"); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := v.audit.Size()
	after, err := v.anchor(t.Context(), before)
	if err != nil || after != v.witnessing.witness.Changes() || v.witnessing.anchors.Load() != 2 || v.audit.Size() != size+2 {
		t.Fatalf("%d anchors, %d entries more: %v", v.witnessing.anchors.Load(), v.audit.Size()-size, err)
	}
	found := 0
	if err := v.audit.Scan(func(e *journal.Entry) error {
		opened, err := e.Open()
		if err != nil || e.Leaf.Action != event.Witness {
			return err
		}
		for _, n := range m.nodes {
			sum := witness.AnchorOf(n.audit.Log().Cosigned().Note)
			if object, _ := event.Find(opened.Claims, event.Object); object == event.Ref(sum[:]) {
				found++
			}
		}
		return nil
	}); err != nil || found != 2 {
		t.Errorf("%d anchors are of the nodes' checkpoints: %v", found, err)
	}
	if again, err := v.anchor(t.Context(), after); err != nil || again != after || v.audit.Size() != size+2 {
		t.Errorf("nothing changed, and %d entries more: %v", v.audit.Size()-size-2, err)
	}
}

// A witness answers logs' owners and validators; what others' logs have is none of
// anybody else's business.
func TestWhoMayAskAWitness(t *testing.T) {
	m := watched(t, 2)
	a, b, v := m.nodes[0], m.nodes[1], m.validators[0]
	if err := m.records(t, a, "one"); err != nil {
		t.Fatal(err)
	}
	origin := []byte(audit.Origin(a.home.PeerKey()))
	denied := &rpc.Error{Code: rpc.Denied}
	if got, err := v.answerWitness(a.home.PeerKey(), witness.Show, origin); err != nil || len(got) == 0 {
		t.Errorf("its owner: %q, %v", got, err)
	}
	if got, err := v.answerWitness(m.validators[1].home.PeerKey(), witness.Show, origin); err != nil || len(got) == 0 {
		t.Errorf("a validator: %q, %v", got, err)
	}
	if got, err := v.answerWitness(b.home.PeerKey(), witness.Show, origin); !errors.Is(err, denied) {
		t.Errorf("another node: %q, %v", got, err)
	}
	if got, err := v.answerWitness(b.home.PeerKey(), witness.Changed, witness.AskChanged(0)); !errors.Is(err, denied) {
		t.Errorf("another node asks for all: %q, %v", got, err)
	}
	if got, err := v.answerWitness(m.validators[1].home.PeerKey(), witness.Changed, witness.AskChanged(0)); err != nil || len(got) < 100 {
		t.Errorf("a validator asks for all: %q, %v", got, err)
	}
	if _, err := a.answerWitness(b.home.PeerKey(), witness.Show, origin); !errors.Is(err, denied) {
		t.Errorf("a node is no witness: %v", err)
	}
	stranger := statement.GenerateKey()
	logKey := statement.GenerateKey()
	raw, err := audit.Bind(stranger, logKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.answerWitness(b.home.PeerKey(), witness.Introduce, raw); err != nil || !bytes.HasPrefix(got, []byte("403 ")) {
		t.Errorf("a log of nobody who is a member: %q, %v", got, err)
	}
}

// What a member writes into a stream that is no request ends with that stream.
func TestBadBodiesOnTheWire(t *testing.T) {
	m := watched(t, 1)
	server, client := m.validators[0], m.nodes[0]
	for _, n := range []*Node{server, client} {
		stop := m.serves(t, n)
		t.Cleanup(stop)
	}
	target := peer.AddrInfo{ID: server.host.ID(), Addrs: server.host.Libp2p().Addrs()}
	if err := client.host.Libp2p().Connect(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	frame := func(length int, body []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(length)), body...)
	}
	send := func(p protocol.ID, raw []byte) (answer []byte) {
		t.Helper()
		s, err := client.host.Libp2p().NewStream(t.Context(), target.ID, p)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		s.Write(raw)
		s.CloseWrite()
		answer, _ = io.ReadAll(io.LimitReader(s, 1<<20))
		return answer
	}
	cosign := witnessCalls[witness.Cosign].Protocol
	if cosign != "/cerebrum/tlog-witness/1.0.0" {
		t.Fatal(cosign)
	}
	garbage := bytes.Repeat([]byte{0xA5}, 300)
	for name, c := range map[string]struct {
		protocol protocol.ID
		raw      []byte
		want     string
	}{
		"garbage":            {cosign, frame(300, garbage), "400 "},
		"oversize":           {cosign, frame(witness.MaxBody+1, garbage), "at most"},
		"four gigabytes":     {cosign, frame(0xFFFFFFFF, garbage), "at most"},
		"cut off":            {cosign, frame(5000, garbage), ""},
		"nothing":            {cosign, nil, ""},
		"garbage binding":    {witnessCalls[witness.Introduce].Protocol, frame(300, garbage), "403 "},
		"garbage evidence":   {evidenceMethod.Protocol, frame(300, garbage), "proves nothing"},
		"oversize evidence":  {evidenceMethod.Protocol, frame(witness.MaxSpread+1, garbage), "at most"},
		"a number too many":  {witnessCalls[witness.Changed].Protocol, frame(17, garbage), "at most"},
		"another's log":      {witnessCalls[witness.Show].Protocol, frame(300, garbage), "at most"},
		"a page for nobody":  {witnessCalls[witness.Changed].Protocol, frame(1, []byte{0}), "denied"},
		"empty, but correct": {cosign, frame(0, nil), "400 "},
	} {
		got := send(c.protocol, c.raw)
		if c.want == "" && len(got) > 0 || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	// A trickled body holds one place of its own peer, until package rpc ends it.
	s, err := client.host.Libp2p().NewStream(t.Context(), target.ID, cosign)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	s.Write(frame(5000, garbage[:1]))
	if got := send(cosign, frame(300, garbage)); !strings.Contains(string(got), "400 ") { // control: a second call passes
		t.Errorf("beside a trickled one: %q", got)
	}
	if err := m.records(t, client, "one"); err != nil || client.audit.Log().Cosigned().N == 0 {
		t.Errorf("the node's own log: %v", err)
	}
}

// serves runs the network side of a node that has no loops.
func (m *members) serves(t *testing.T, n *Node) (stop func()) {
	t.Helper()
	if err := n.buildHost(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.host.Run(ctx) }()
	<-n.host.Listening()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
