package exchange

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// memory is a BlockSource and an envelope.Sink that remembers what was read.
type memory struct {
	mu     sync.Mutex
	blocks map[cid.Cid][]byte
	read   []cid.Cid
	fail   cid.Cid // a block that cannot be read
}

func newMemory() *memory { return &memory{blocks: make(map[cid.Cid][]byte)} }

func (m *memory) Get(_ context.Context, c cid.Cid, _ []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blocks[c]
	if !ok {
		return nil, ErrNotFound
	}
	if c == m.fail {
		return nil, errors.New("input/output error")
	}
	m.read = append(m.read, c)
	return data, nil
}

func (m *memory) PutMany(_ context.Context, blocks []envelope.Block) error {
	for _, b := range blocks {
		m.put(b)
	}
	return nil
}

func (m *memory) put(b envelope.Block) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks[b.CID] = bytes.Clone(b.Data)
}

func (m *memory) drop(c cid.Cid) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blocks, c)
}

// object is what a test knows of an object in a memory.
type object struct {
	address, file, header, root cid.Cid
	size                        int64 // of the payload
}

func (o object) whole() Item { return Item{Address: o.address.Bytes(), Whole: true} }

func (o object) ranges(rs ...Range) Item { return Item{Address: o.address.Bytes(), Ranges: rs} }

// addObject encrypts plain random bytes into m.
func addObject(t testing.TB, m *memory, plain int) object {
	t.Helper()
	src := make([]byte, plain)
	rand.NewChaCha8([32]byte{1}).Read(src)
	p, key, err := envelope.Encrypt(context.Background(), bytes.NewReader(src), m)
	if err != nil {
		t.Fatal(err)
	}
	header, err := envelope.CommitteeHeader(key, envelope.CommitteeStanza{Sealed: make([]byte, 64)})
	if err != nil {
		t.Fatal(err)
	}
	return seal(t, m, header, p)
}

// seal puts header, file root and manifest over a payload.
func seal(t testing.TB, m *memory, header []byte, p envelope.Payload) object {
	t.Helper()
	leaf, root, err := envelope.FileRoot(header, p)
	if err != nil {
		t.Fatal(err)
	}
	m.put(leaf)
	m.put(root)
	return sign(t, m, object{file: root.CID, header: leaf.CID, root: p.Root, size: p.Size})
}

// sign puts a manifest over the links of o.
func sign(t testing.TB, m *memory, o object) object {
	t.Helper()
	manifest, err := envelope.SignManifest(envelope.Manifest{
		Format: envelope.ManifestFormat,
		File:   o.file.Bytes(), Header: o.header.Bytes(), Payload: o.root.Bytes(),
		Size: uint64(o.size),
	}, statement.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	m.put(manifest)
	o.address = manifest.CID
	return o
}

// policy is a Guard and its own Lease.
type policy struct {
	open   func(conn network.Conn, r *Request) error
	allows func(address cid.Cid) error
	live   func() error
}

func (p *policy) Open(_ context.Context, conn network.Conn, r *Request) (Lease, error) {
	if p.open != nil {
		if err := p.open(conn, r); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *policy) Allows(address cid.Cid, _ []byte) error {
	if p.allows != nil {
		return p.allows(address)
	}
	return nil
}

func (p *policy) Live() error {
	if p.live != nil {
		return p.live()
	}
	return nil
}

func newHost(t testing.TB) host.Host {
	t.Helper()
	h, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.DisableRelay(),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// pair is a holder and a connected receiver.
type pair struct {
	holder, receiver host.Host
}

func newPair(t testing.TB) pair {
	t.Helper()
	p := pair{newHost(t), newHost(t)}
	p.over(t, "tcp")
	return p
}

// over connects the pair by one transport, instead of what connected it before.
func (p pair) over(t testing.TB, transport string) {
	t.Helper()
	p.receiver.Network().ClosePeer(p.holder.ID())
	p.receiver.Peerstore().ClearAddrs(p.holder.ID())
	var addrs []multiaddr.Multiaddr
	for _, a := range p.holder.Addrs() {
		if strings.Contains(a.String(), "/"+transport) {
			addrs = append(addrs, a)
		}
	}
	// ForceDirect dials these addresses even while the old connection closes.
	ctx := network.WithForceDirectDial(context.Background(), "test of a transport")
	if err := p.receiver.Connect(ctx, peer.AddrInfo{ID: p.holder.ID(), Addrs: addrs}); err != nil {
		t.Fatal(err)
	}
	for _, c := range p.receiver.Network().ConnsToPeer(p.holder.ID()) {
		if !strings.Contains(c.RemoteMultiaddr().String(), "/"+transport) {
			t.Fatalf("connected by %s, not %s", c.RemoteMultiaddr(), transport)
		}
	}
}

// serve lets the holder of a new pair answer from m.
func serve(t testing.TB, m *memory, g Guard, lim Limits) pair {
	t.Helper()
	p := newPair(t)
	log := slog.New(slog.DiscardHandler)
	if tt, ok := t.(*testing.T); ok {
		log = slog.New(slog.NewTextHandler(tt.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	p.holder.SetStreamHandler(ProtocolID, NewServer(m, g, log, lim).Handle)
	return p
}

// got is what a sink has seen.
type got struct {
	blocks []Block
}

func (g *got) sink(b Block) error {
	b.Data = slices.Clone(b.Data)
	g.blocks = append(g.blocks, b)
	return nil
}

func (g *got) cids() []cid.Cid {
	var out []cid.Cid
	for _, b := range g.blocks {
		out = append(out, b.CID)
	}
	return out
}

// leaves are the offsets of the leaves that came.
func (g *got) leaves() []int64 {
	var out []int64
	for _, b := range g.blocks {
		if b.Kind == Leaf {
			out = append(out, b.Offset)
		}
	}
	return out
}

func (p pair) fetch(sink func(Block) error, items ...Item) (Result, error) {
	return Fetch(context.Background(), p.receiver, p.holder.ID(), Request{Items: items}, nil, sink)
}
