package testnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/multiformats/go-multiaddr"
)

// TestStranger dials members with a stock libp2p host, which speaks everything
// but admission. Nothing may answer it, over TCP or QUIC.
func TestStranger(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "1")
	stranger, other := stock(t), stock(t)
	other.SetStreamHandler("/cerebrum/blocks/1", func(s network.Stream) { s.Write([]byte("hello")); s.Close() })

	// The probe can find an answer: a stock host gives it several.
	id := w.ok("node1", "status").str("network")
	protocols := []protocol.ID{
		identify.ID, identify.IDPush, ping.ID, "/cerebrum/blocks/1", "/cerebrum/hint/1", "/cerebrum/records/1", "/cerebrum/validator/release/1",
		"/cerebrum/validator/tail/1", "/cerebrum/validator/mailbox/1", "/meshsub/1.2.0",
		protocol.ID("/cerebrum/" + id[:16] + "/kad/1.0.0"), "/ipfs/kad/1.0.0", "/libp2p/circuit/relay/0.2.0/hop", "/libp2p/autonat/1.0.0",
	}
	if got := probe(stranger, other.ID(), other.Addrs(), protocols); len(got) < 3 {
		t.Fatalf("a stock host answered only %v", got)
	}
	for _, name := range []string{"node1", "validator1"} {
		p := w.process(name)
		who, err := peer.Decode(w.ok(name, "status").str("peer_id"))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Addrs {
			m, err := multiaddr.NewMultiaddr(a)
			if err != nil {
				t.Fatal(err)
			}
			if got := probe(stock(t), who, []multiaddr.Multiaddr{m}, protocols); len(got) > 0 {
				t.Errorf("%s at %s answered a stranger: %v", name, a, got)
			}
			if port, err := m.ValueForProtocol(multiaddr.P_TCP); err == nil {
				c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, patience)
				if err != nil {
					t.Fatalf("nobody listens, so the test proves nothing: %v", err)
				}
				c.Close()
			}
		}
	}
	if s := w.ok("node1", "status"); s["healthy"] != true || s.num("peers") != 4 {
		t.Errorf("after the stranger: %v", s)
	}
}

func stock(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.Security(libp2ptls.ID, libp2ptls.New))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// probe dials a peer at addresses and returns the protocols that gave a byte.
func probe(from host.Host, to peer.ID, at []multiaddr.Multiaddr, protocols []protocol.ID) (answered []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := from.Connect(ctx, peer.AddrInfo{ID: to, Addrs: at}); err != nil {
		return nil
	}
	for _, p := range protocols {
		if b := ask(ctx, from, to, p); b != "" {
			answered = append(answered, fmt.Sprintf("%s: %s", p, b))
		}
	}
	return answered
}

func ask(ctx context.Context, from host.Host, to peer.ID, p protocol.ID) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := from.NewStream(network.WithNoDial(ctx, "one connection"), to, p)
	if err != nil {
		return ""
	}
	defer s.Reset()
	s.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := s.Write(make([]byte, 64)); err != nil {
		return ""
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(s, b); err != nil {
		return ""
	}
	return "a byte"
}

// TestRevokedInTheMiddle revokes a grant while its holder reads slowly. The
// transfer ends with a denial, after no more than what was on its way.
func TestRevokedInTheMiddle(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	t.Parallel()
	const size = 300_000_000
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "large", size)
	grant := w.grant("node1", address, "node2", "read")
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	get := w.command(ctx, "node2", "get", address, "-o", "-")
	out, err := get.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	get.Stderr = &errs
	if err := get.Start(); err != nil {
		t.Fatal(err)
	}
	begun := make([]byte, 1_000_000)
	if _, err := io.ReadFull(out, begun); err != nil || !bytes.Equal(begun, content[:len(begun)]) {
		t.Fatalf("the beginning: %v", err)
	}
	w.ok("node1", "revoke", grant)
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := get.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("a transfer whose grant was revoked: %v: %s", err, errs.String())
	}
	all := len(begun) + len(rest)
	t.Logf("%d of %d bytes came after the revocation", len(rest), size)
	if all > size/3 {
		t.Errorf("%d of %d bytes came all the same", all, size)
	}
	if !bytes.Equal(rest, content[len(begun):all]) {
		t.Error("what came is not what was added")
	}
	if !strings.HasPrefix(errs.String(), "cerebrum: ") {
		t.Errorf("it says: %s", errs.String())
	}
	w.denied(3, "node2", address)
	w.reads("node1", address, content[:10], "--range", "0-9")
}
