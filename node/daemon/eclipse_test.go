package daemon

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/p2p/discovery"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// joinsDHT has a member take part in the DHT.
func joinsDHT(t *testing.T, n *Node) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.discovery.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestAnEclipsedReaderReads (DH-03): all that a reader hears of the DHT comes from 20
// members that collude. They claim to hold what they do not, and know nobody else. The
// reader reads: validators named the holder. The control: by the DHT alone it finds
// colluders only, who have nothing.
func TestAnEclipsedReaderReads(t *testing.T) {
	t.Parallel()
	m := found(t, 22)
	m.refresh()
	owner, reader, ring := m.nodes[0], m.nodes[1], m.nodes[2:]
	for _, n := range m.nodes {
		listens(t, n)
		n.tracker.Round(t.Context())
	}
	const content = "read in an eclipse"
	added, err := owner.AddStream(t.Context(), api.AddRequest{Name: "x"}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	address, err := cid.Parse(added.Address)
	if err != nil {
		t.Fatal(err)
	}
	chainFor(t, m, address, "read")

	for _, n := range append(slices.Clone(ring), reader) {
		joinsDHT(t, n)
	}
	for i, n := range ring {
		for _, other := range append(slices.Clone(ring[:i]), reader) {
			meets(n, other)
			if err := n.host.Connect(t.Context(), peer.AddrInfo{ID: other.host.ID()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	colluders := func() (found []peer.AddrInfo) {
		for _, n := range ring {
			if err := n.discovery.Provide(t.Context(), address.Bytes()); err != nil && !errors.Is(err, discovery.ErrAlone) {
				t.Fatal(err)
			}
		}
		found, err := reader.discovery.Providers(t.Context(), address.Bytes(), 8)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	var found []peer.AddrInfo
	for ctx := t.Context(); len(found) < 8 && ctx.Err() == nil; {
		found = colluders()
	}
	if slices.ContainsFunc(found, func(p peer.AddrInfo) bool { return p.ID == owner.host.ID() }) {
		t.Fatal("the eclipse is none")
	}
	var out bytes.Buffer
	got, err := reader.GetStream(t.Context(), api.GetRequest{Address: added.Address}, &out)
	if err != nil || out.String() != content || !slices.Equal(got.From, []string{owner.host.ID().String()}) {
		t.Errorf("%q, %+v, %v", out.String(), got, err)
	}

	// The control: where validators name nobody it has the DHT alone.
	if err := owner.host.Close(); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if _, err := reader.GetStream(t.Context(), api.GetRequest{Address: added.Address}, &out); fault.Of(err).Exit != fault.Unavailable && fault.Of(err).Exit != fault.NotFound {
		t.Errorf("colluders alone: %q, %v", out.String(), err)
	}
}
