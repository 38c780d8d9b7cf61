package discovery

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"google.golang.org/protobuf/proto"
)

// liar answers the DHT's questions with what it likes.
type liar struct {
	closer, providers []peer.AddrInfo
}

func (w *world) speaks() protocol.ID { return Prefix(w.network) + "/kad/1.0.0" }

func (l liar) handle(s network.Stream) {
	defer s.Close()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	for r := bufio.NewReader(s); ; {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		if m.GetType() == pb.Message_ADD_PROVIDER {
			continue // it is not asked for an answer
		}
		m.CloserPeers, m.ProviderPeers = pb.RawPeerInfosToPBPeers(l.closer), nil
		if m.GetType() == pb.Message_GET_PROVIDERS {
			m.ProviderPeers = pb.RawPeerInfosToPBPeers(l.providers)
		}
		if writeMessage(s, m) != nil {
			return
		}
	}
}

func readMessage(r *bufio.Reader) (*pb.Message, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil || n > 1<<20 {
		return nil, fmt.Errorf("%d bytes, %v", n, err)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	m := &pb.Message{}
	return m, proto.Unmarshal(raw, m)
}

func writeMessage(w io.Writer, m *pb.Message) error {
	raw, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...))
	return err
}

// lie has a member answer as l does from now on.
func (w *world) lie(i inhabitant, l liar) {
	<-i.ready // or its own DHT would answer
	i.Host.Libp2p().SetStreamHandler(w.speaks(), l.handle)
}

// strangers are names of nobody, at an address.
func strangers(t *testing.T, n int, at ...multiaddr.Multiaddr) (out []peer.AddrInfo) {
	t.Helper()
	for range n {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, peer.AddrInfo{ID: id, Addrs: at})
	}
	return out
}

// TestProvidersAreMembersAlone: DH-02. Members tell of providers who are strangers, at
// addresses where something else listens. Nobody of them is returned or dialled,
// by the search or by who looks for peers. The control: strangers whom the world takes
// for members are dialled there, which shows that the liar was heard.
func TestProvidersAreMembersAlone(t *testing.T) {
	for _, believed := range []bool{false, true} {
		w := newWorld(t)
		trap, dialed := trapOf(t)
		names := strangers(t, 5, trap)
		for _, s := range names {
			w.cast(s.ID, !believed)
		}
		boot := w.inhabit(nil, nil, nil)
		w.lie(boot, liar{closer: names, providers: names})
		victim := w.inhabit(nil, nil, nil, boot.info())
		victim.refreshAll(t)
		found := find(t, victim, []byte("an object"), 0)
		if got := len(found) > 0; got != believed {
			t.Errorf("believed %v: found %v", believed, found)
		}
		if got := len(dialed) > 0; got != believed {
			t.Errorf("believed %v: dialled %v", believed, got)
		}
		for _, s := range names {
			if !believed && victim.table.RoutingTable().Find(s.ID) != "" {
				t.Error("a stranger is in the table")
			}
		}
	}
}

// refreshAll has the DHT look for peers everywhere, and waits for it.
func (i inhabitant) refreshAll(t *testing.T) {
	t.Helper()
	<-i.ready
	eventually(t, "a member to ask", func() bool { return i.table.RoutingTable().Size() > 0 })
	<-i.table.ForceRefresh()
}

// trapOf is a service that no peer has anything to do with, and what dialled it.
func trapOf(t *testing.T) (multiaddr.Multiaddr, <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	dialed := make(chan struct{}, 1)
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case dialed <- struct{}{}:
			default:
			}
			c.Close()
		}
	}()
	return at, dialed
}

// TestAFloodOfProviders: DH-01. A member that claims everything, in its own name and
// in those of others, gets its share of what another member remembers, and an honest
// member is found all the same. The control is a store without bounds.
func TestAFloodOfProviders(t *testing.T) {
	const claims = 1000
	for _, most := range []int{20, 10 * claims} {
		w := newWorld(t)
		boot := w.inhabit(nil, nil, func(c *Config) { c.RecordsPerMember, c.Records = most, 2*most })
		hostile := w.inhabit(nil, nil, nil, boot.info())
		honest := w.inhabit(nil, nil, nil, boot.info())
		seeker := w.inhabit(nil, nil, nil, boot.info())
		s, err := hostile.Host.Libp2p().NewStream(background(t), boot.Host.ID(), w.speaks())
		if err != nil {
			t.Fatal(err)
		}
		names := append(strangers(t, 3, hostile.Host.Addrs()...), honest.info(), hostile.info())
		for i := range claims {
			c, err := boot.cidOf(fmt.Append(nil, "object ", i))
			if err != nil {
				t.Fatal(err)
			}
			m := pb.NewMessage(pb.Message_ADD_PROVIDER, c.Hash(), 0)
			m.ProviderPeers = pb.RawPeerInfosToPBPeers(names)
			if err := writeMessage(s, m); err != nil {
				t.Fatal(err)
			}
		}
		c, err := boot.cidOf([]byte("object 0"))
		if err != nil {
			t.Fatal(err)
		}
		m := pb.NewMessage(pb.Message_GET_PROVIDERS, c.Hash(), 0) // comes after all of them
		s.SetDeadline(time.Now().Add(20 * time.Second))
		if err := writeMessage(s, m); err != nil {
			t.Fatal(err)
		}
		if _, err := readMessage(bufio.NewReader(s)); err != nil {
			t.Fatal(err)
		}
		provide(t, honest, []byte("object 0"))
		eventually(t, "the honest one is found", func() bool {
			return slices.ContainsFunc(find(t, seeker, []byte("object 0"), 0), func(p peer.AddrInfo) bool { return p.ID == honest.Host.ID() })
		})
		boot.records.mu.Lock()
		members, total := len(boot.records.owned), boot.records.total
		boot.records.mu.Unlock()
		if members > 2 {
			t.Errorf("records of %d members: somebody claims in another's name", members)
		}
		if over := total > 20+1; over != (most > claims) {
			t.Errorf("%d records are kept where a member may have %d", total, most)
		}
	}
}

// TestAnEclipse: DH-03. All that a member knows of the DHT are twenty others that
// collude: they name one another as nearest, and as providers. The one that provides
// is not found, which is why the DHT is not the only way (see the package's comment);
// the search ends all the same, and brings no strangers. The control: with one honest
// member in the table it is found.
func TestAnEclipse(t *testing.T) {
	w := newWorld(t)
	honest := w.inhabit(nil, nil, nil)
	holder := w.inhabit(nil, nil, nil, honest.info())
	key := []byte("an object")
	provide(t, holder, key)
	var ring []peer.AddrInfo
	var rest []inhabitant
	for range 20 {
		i := w.inhabit(nil, nil, nil)
		rest, ring = append(rest, i), append(ring, i.info())
	}
	for _, i := range rest {
		w.lie(i, liar{closer: ring, providers: append(strangersOf(t, w, 5), ring...)})
	}
	finds := func(boot ...peer.AddrInfo) bool {
		victim := w.inhabit(nil, nil, nil, boot...)
		victim.refreshAll(t)
		found := find(t, victim, key, 0)
		for _, p := range found {
			if !w.member(p.ID) {
				t.Error("a stranger is found")
			}
		}
		return slices.ContainsFunc(found, func(p peer.AddrInfo) bool { return p.ID == holder.Host.ID() })
	}
	if finds(ring...) {
		t.Error("the eclipse is none")
	}
	if !finds(append(slices.Clone(ring), honest.info())...) {
		t.Error("one honest member among twenty is not enough")
	}
}

func strangersOf(t *testing.T, w *world, n int) []peer.AddrInfo {
	out := strangers(t, n, multiaddr.StringCast("/ip4/127.0.0.1/tcp/1"))
	for _, s := range out {
		w.cast(s.ID, true)
	}
	return out
}
