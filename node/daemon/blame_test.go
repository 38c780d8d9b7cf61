package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// TestTheGateBars who misbehaves, for a while, and no validator.
func TestTheGateBars(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.validators[0]
	n.log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if err := n.buildHost(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.host.Close() })
	member, err := peerID(m.nodes[0].home.PeerKey())
	if err != nil {
		t.Fatal(err)
	}
	other, err := peerID(m.validators[1].home.PeerKey())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 5 { // they decay from the first moment
		wg.Go(func() {
			n.gate.refused(member, statement.ErrSignature)
			n.gate.refused(other, trust.ErrStolen)
		})
	}
	wg.Wait()
	if !n.gate.Barred(member) || n.gate.Barred(other) {
		t.Error("a forger is not barred, or a validator is")
	}
	if n.gate.member(member) {
		t.Error("the DHT speaks to who is barred")
	}
	sleeper, err := peerID(trusttest.Key("sleeper").Public())
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		n.gate.refused(sleeper, trust.ErrMembership) // its credential is over
		n.gate.refused(sleeper, context.DeadlineExceeded)
	}
	if n.gate.Barred(sleeper) {
		t.Error("who slept is barred")
	}
	n.running.Store(true)
	defer n.running.Store(false)
	if p, err := n.Peers(t.Context()); err != nil || len(p.Banned) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	m.skew.Add(3600)
	if n.gate.Barred(member) {
		t.Error("the ban does not end")
	}
}

// listens has a member's host run, without the rest of the node.
func listens(t *testing.T, n *Node) {
	t.Helper()
	if err := n.buildHost(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.host.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-n.host.Listening()
	n.running.Store(true)
	t.Cleanup(func() { n.running.Store(false) })
}

// meets tells one member where another listens.
func meets(n, other *Node) {
	n.host.Libp2p().Peerstore().AddAddrs(other.host.ID(), other.host.Addrs(), time.Hour)
}

// sends opens a stream, sends raw bytes and waits for its end. It reports whether the
// peer let it.
func (n *Node) sends(to *Node, p protocol.ID, raw []byte) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := n.host.Libp2p().NewStream(ctx, to.host.ID(), p)
	if err != nil {
		return false
	}
	defer s.Reset()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	s.Write(raw)
	s.CloseWrite()
	for buf := make([]byte, 1<<10); err == nil; {
		_, err = s.Read(buf)
	}
	return true
}

func prefixed(n int, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), body...)
}

// TestJunkBarsWhoSendsIt: an admitted member sends every service what no honest peer
// sends. It is barred, and its connections are closed; one mistake bars nobody, and
// what is denied, or given up, bars nobody ever.
func TestJunkBarsWhoSendsIt(t *testing.T) {
	t.Parallel()
	m := found(t, 3)
	m.refresh()
	v := m.validators[0]
	listens(t, v)
	hostile, honest, clumsy := m.nodes[0], m.nodes[1], m.nodes[2]
	for _, n := range m.nodes {
		listens(t, n)
		meets(n, v)
	}
	barred := func(n *Node) bool { return v.gate.Barred(n.host.ID()) }
	junk := []byte("junk")
	for range 30 { // denied, and malformed by what others made, or by the clock
		fails := func(err error) {
			if err == nil {
				t.Error("junk is answered")
			}
		}
		_, err := honest.call(t.Context(), v.host.ID(), methods[quorum.Mailbox], func(*admission.Session) ([]byte, error) {
			return statement.Marshal(validator.MailboxRequest{})
		})
		fails(err)
		_, err = honest.call(t.Context(), v.host.ID(), methods[quorum.Deliver], func(*admission.Session) ([]byte, error) {
			return statement.Marshal(validator.Delivery{Chain: junk})
		})
		fails(err)
		honest.sends(v, exchange.ProtocolID, prefixed(100, junk))
		honest.sends(v, methods[quorum.Fresh].Protocol, prefixed(100, junk))
	}
	if barred(honest) {
		t.Error("who was denied is barred")
	}
	services := []struct {
		protocol protocol.ID
		raw      []byte
	}{
		{exchange.ProtocolID, prefixed(len(junk), junk)},
		{exchange.ProtocolID, prefixed(exchange.MaxRequestBytes+1, nil)},
		{covered.Protocol, prefixed(len(junk), junk)},
		{records.Protocol, prefixed(len(junk), junk)},
		{records.Protocol, prefixed(records.MaxRequest+1, nil)},
		{hint.Protocol, prefixed(2, nil)},
		{methods[quorum.Release].Protocol, prefixed(len(junk), junk)},
		{methods[quorum.Deposit].Protocol, prefixed(len(junk), junk)},
		{methods[quorum.Fresh].Protocol, prefixed(1<<20, nil)},
	}
	for _, s := range services {
		clumsy.sends(v, s.protocol, s.raw)
	}
	if barred(clumsy) {
		t.Errorf("%d mistakes bar a member", len(services))
	}
	for _, s := range services {
		hostile.sends(v, s.protocol, s.raw)
	}
	for range 2 { // they decay from the first moment
		hostile.sends(v, exchange.ProtocolID, services[0].raw)
	}
	// The validator judges a request after its stream has ended.
	comesTrue(t, "junk bars who sends it", func() bool { return barred(hostile) })
	comesTrue(t, "its connection ends", func() bool {
		return v.host.Libp2p().Network().Connectedness(hostile.host.ID()) != network.Connected
	})
	if hostile.sends(v, exchange.ProtocolID, services[0].raw) {
		t.Error("it comes in again")
	}
	if !honest.sends(v, records.Protocol, prefixed(0, nil)) {
		t.Error("the honest one does not")
	}
}

// comesTrue waits for something that another goroutine brings about.
func comesTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-late:
			t.Fatalf("it did not happen: %s", what)
		case <-tick.C:
		}
	}
}

// TestWhoIsBlamedForWhatItGave: wrong bytes count against a holder, one block once,
// and nothing counts that others can have caused.
func TestWhoIsBlamedForWhatItGave(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.nodes[0]
	listens(t, n)
	block := func(i int) *exchange.CorruptError {
		return &exchange.CorruptError{Block: envelope.CIDOf(fmt.Append(nil, i), envelope.CodecRaw), Own: true}
	}
	peerOf := func(name string) peer.ID {
		p, err := peerID(trusttest.Key(name).Public())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	gives := func(p peer.ID, e *exchange.CorruptError) {
		e.Peer = p
		n.gate.gaveBadly(p, fmt.Errorf("fetching: %w", e))
	}
	rotten, dupe, honest, liar := peerOf("rotten"), peerOf("dupe"), peerOf("honest"), peerOf("liar")
	for i := range 100 {
		gives(rotten, block(7)) // the same block, again and again
		malformed := block(i)
		malformed.Own = false // by the owner
		gives(dupe, malformed)
		other := block(i)
		other.Peer = liar
		n.gate.gaveBadly(honest, other) // what somebody else gave meanwhile
		for _, err := range []error{nil, exchange.ErrRefused, exchange.ErrRevoked, exchange.ErrUnavailable, context.DeadlineExceeded, errors.New("ours")} {
			n.gate.gaveBadly(honest, err)
		}
	}
	for name, p := range map[string]peer.ID{"a disk with one rotten block": rotten, "who carries a malformed object": dupe, "who is honest": honest} {
		if n.gate.Barred(p) {
			t.Errorf("%s is barred", name)
		}
	}
	for i := range 12 {
		gives(liar, block(i))
	}
	if !n.gate.Barred(liar) {
		t.Error("who sends other bytes each time is not barred")
	}
	v, err := peerID(m.validators[0].home.PeerKey())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		gives(v, block(i))
	}
	if n.gate.Barred(v) {
		t.Error("a validator is barred")
	}
}

// TestAnAnswerThatCannotBeRead counts against who gave it; a refusal does not.
func TestAnAnswerThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	m.refresh()
	asker, liar := m.nodes[0], m.nodes[1]
	listens(t, asker)
	listens(t, liar)
	meets(asker, liar)
	asks := func(answer []byte) {
		liar.host.Libp2p().SetStreamHandler(hint.Protocol, func(s network.Stream) {
			s.Write(answer)
			s.Close()
		})
		for range 12 {
			asker.hintPeer(t.Context(), liar.host.ID(), nil)
		}
	}
	asks(append([]byte{byte(rpc.Malformed)}, prefixed(1, []byte("x"))...))
	asks(nil)
	if asker.gate.Barred(liar.host.ID()) {
		t.Error("who refuses is barred")
	}
	asks([]byte{0, 0xff, 0xff, 0xff, 0xff})
	if !asker.gate.Barred(liar.host.ID()) {
		t.Error("who answers with junk is not barred")
	}
}
