package exchange

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

const leafSize = envelope.LeafSize

// An object that arrives is, byte for byte and in order, what the holder has.
func TestFetchWhole(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 3*leafSize)
	p := serve(t, m, &policy{}, Limits{})
	var payload bytes.Buffer
	var kinds []Kind
	var total int64
	res, err := p.fetch(func(b Block) error {
		if envelope.CIDOf(b.Data, b.CID.Prefix().Codec) != b.CID {
			t.Errorf("%s at %d does not match its CID", b.Kind, b.Offset)
		}
		kinds = append(kinds, b.Kind)
		total += int64(len(b.Data))
		if b.Kind == Leaf {
			if b.Offset != int64(payload.Len()) {
				t.Errorf("leaf at %d, want %d", b.Offset, payload.Len())
			}
			payload.Write(b.Data)
		}
		return nil
	}, o.whole())
	if err != nil {
		t.Fatal(err)
	}
	if want := []Kind{Manifest, FileRoot, Header, Interior, Leaf, Leaf, Leaf, Leaf, Leaf}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
	if int64(payload.Len()) != o.size {
		t.Errorf("%d payload bytes, want %d", payload.Len(), o.size)
	}
	if !slices.Equal(res.Done, []bool{true}) || res.Bytes != total {
		t.Errorf("result %+v, want done and %d bytes", res, total)
	}
}

// A range costs the leaves that it touches, at the holder and on the wire.
func TestFetchRangesMoveOnlyTheirLeaves(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 4*leafSize)
	p := serve(t, m, &policy{}, Limits{})
	at := func(leaf int64) uint64 { return uint64(16 + leaf*leafSize) }
	for _, c := range []struct {
		name   string
		ranges []Range
		want   []int64
	}{
		{"none", nil, nil},
		{"first byte", []Range{{From: 0, To: 1}}, []int64{0}},
		{"nonce and one byte more", []Range{{From: 0, To: 17}}, []int64{0, 16}},
		{"first byte of a leaf", []Range{{From: at(1), To: at(1) + 1}}, []int64{int64(at(1))}},
		{"last byte of a leaf", []Range{{From: at(2) - 1, To: at(2)}}, []int64{int64(at(1))}},
		{"across a border", []Range{{From: at(2) - 1, To: at(2) + 1}}, []int64{int64(at(1)), int64(at(2))}},
		{"last byte", []Range{{From: uint64(o.size) - 1, To: uint64(o.size)}}, []int64{int64(at(4))}},
		{"two ranges", []Range{{From: 3, To: 4}, {From: at(3), To: at(3) + 5}}, []int64{0, int64(at(3))}},
		{"two touching ranges", []Range{{From: 3, To: 4}, {From: 4, To: 6}}, []int64{0}},
		{"beyond the end", []Range{{From: uint64(o.size), To: 1 << 63}}, nil},
	} {
		m.read = nil
		var g got
		res, err := p.fetch(g.sink, o.ranges(c.ranges...))
		if err != nil || !res.Done[0] {
			t.Fatalf("%s: %v, %+v", c.name, err, res)
		}
		if !slices.Equal(g.leaves(), c.want) {
			t.Errorf("%s: leaves %v, want %v", c.name, g.leaves(), c.want)
		}
		if !slices.Equal(m.read, g.cids()) {
			t.Errorf("%s: the holder read %d blocks and sent %d", c.name, len(m.read), len(g.blocks))
		}
	}
}

// One object that is not for the receiver does not cost it the others.
func TestRefusedItemLeavesTheOthers(t *testing.T) {
	m := newMemory()
	a, b, c := addObject(t, m, 10), addObject(t, m, leafSize), addObject(t, m, 0)
	g := &policy{allows: func(address cid.Cid) error {
		if address == b.address {
			return errors.New("not covered")
		}
		return nil
	}}
	p := serve(t, m, g, Limits{})
	var seen got
	res, err := p.fetch(seen.sink, a.whole(), b.whole(), c.whole())
	if !errors.Is(err, ErrRefused) {
		t.Errorf("error %v, want ErrRefused", err)
	}
	if want := []bool{true, false, true}; !slices.Equal(res.Done, want) {
		t.Errorf("done %v, want %v", res.Done, want)
	}
	for _, blk := range seen.blocks {
		if blk.Item == 1 {
			t.Errorf("a %s of the refused object came", blk.Kind)
		}
	}
	g.allows = nil // the control: the guard was the reason
	if res, err := p.fetch(seen.sink, a.whole(), b.whole(), c.whole()); err != nil || !res.Done[1] {
		t.Errorf("with the guard's consent: %v, %+v", err, res)
	}
}

// A holder that lacks one leaf gives what it has and goes on with the next object.
func TestHolderLacksALeaf(t *testing.T) {
	m := newMemory()
	a, b := addObject(t, m, 2*leafSize), addObject(t, m, 10)
	p := serve(t, m, &policy{}, Limits{})
	var all got
	if _, err := p.fetch(all.sink, a.whole(), b.whole()); err != nil {
		t.Fatal(err)
	}
	missing := slices.IndexFunc(all.blocks, func(b Block) bool { return b.Kind == Leaf && b.Offset > 0 })
	m.drop(all.blocks[missing].CID)
	var some got
	res, err := p.fetch(some.sink, a.whole(), b.whole())
	if !errors.Is(err, ErrRefused) || res.Done[0] || !res.Done[1] {
		t.Errorf("%v, %+v, want the second object only", err, res)
	}
	if n := slices.IndexFunc(some.blocks, func(b Block) bool { return b.Item == 1 }); n != missing {
		t.Errorf("%d blocks of the first object, want the %d before the missing one", n, missing)
	}
}

// The guard judges the very request that was sent, with the proof that was made
// for this connection and this request.
func TestAuthorityIsMadeForConnectionAndRequest(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 10)
	var judged Request
	var from peer.ID
	g := &policy{open: func(conn network.Conn, r *Request) error {
		judged, from = *r, conn.RemotePeer()
		return nil
	}}
	p := serve(t, m, g, Limits{})
	req := Request{Items: []Item{o.ranges(Range{From: 1, To: 2})}, Authority: []byte("replaced")}
	prove := func(conn network.Conn, digest statement.ID) ([]byte, error) {
		if conn.RemotePeer() != p.holder.ID() {
			t.Errorf("proof for %s, want the holder", conn.RemotePeer())
		}
		return append([]byte("proof of "), digest[:]...), nil
	}
	if _, err := Fetch(context.Background(), p.receiver, p.holder.ID(), req, prove, (&got{}).sink); err != nil {
		t.Fatal(err)
	}
	digest := judged.Digest()
	if want := append([]byte("proof of "), digest[:]...); !bytes.Equal(judged.Authority, want) {
		t.Errorf("authority %q, want %q", judged.Authority, want)
	}
	if digest != req.Digest() || from != p.receiver.ID() {
		t.Errorf("the guard judged another request or another peer")
	}
}

// No proof, no request.
func TestAuthorityThatCannotBeMade(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 10)
	var opened atomic.Bool
	p := serve(t, m, &policy{open: func(network.Conn, *Request) error { opened.Store(true); return nil }}, Limits{})
	locked := errors.New("keystore is locked")
	for _, c := range []struct {
		authority []byte
		err       error
		want      error
	}{
		{nil, locked, locked},
		{make([]byte, MaxAuthority+1), nil, ErrRequest},
	} {
		prove := func(network.Conn, statement.ID) ([]byte, error) { return c.authority, c.err }
		_, err := Fetch(context.Background(), p.receiver, p.holder.ID(), Request{Items: []Item{o.whole()}}, prove, (&got{}).sink)
		if !errors.Is(err, c.want) {
			t.Errorf("error %v, want %v", err, c.want)
		}
	}
	if opened.Load() {
		t.Error("the holder was asked all the same")
	}
}

// The caller's own error ends the fetch and comes back unchanged.
func TestSinkFails(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 20*leafSize)
	p := serve(t, m, &policy{}, Limits{})
	full := errors.New("disk is full")
	calls := 0
	res, err := p.fetch(func(Block) error {
		if calls++; calls == 6 {
			return full
		}
		return nil
	}, o.whole())
	if err != full || calls != 6 || res.Done[0] {
		t.Errorf("%v after %d calls, %+v", err, calls, res)
	}
}

// A caller that gives up gets its own reason, not the stream's.
func TestContextEnds(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 20*leafSize)
	p := serve(t, m, &policy{}, Limits{})
	bored := errors.New("user pressed ^C")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	_, err := Fetch(ctx, p.receiver, p.holder.ID(), Request{Items: []Item{o.whole()}}, nil, func(b Block) error {
		if b.Offset == 16 {
			cancel(bored)
		}
		return nil
	})
	if !errors.Is(err, bored) {
		t.Errorf("error %v, want the cause", err)
	}
	if _, err := Fetch(ctx, p.receiver, p.holder.ID(), Request{Items: []Item{o.whole()}}, nil, (&got{}).sink); !errors.Is(err, bored) {
		t.Errorf("error %v, want the cause", err)
	}
}

// A peer that does not answer is unavailable, not refusing.
func TestHolderIsAway(t *testing.T) {
	p := newPair(t) // no handler
	item := Item{Address: envelope.CIDOf(nil, envelope.CodecDagCBOR).Bytes()}
	if _, err := p.fetch((&got{}).sink, item); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without the protocol: %v", err)
	}
	p.receiver.Network().ClosePeer(p.holder.ID())
	ctx := network.WithNoDial(context.Background(), "the holder is gone")
	if _, err := Fetch(ctx, p.receiver, p.holder.ID(), Request{Items: []Item{item}}, nil, (&got{}).sink); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without the host: %v", err)
	}
}

// noOpener fails the test when a stream is opened.
type noOpener struct{ t *testing.T }

func (o noOpener) NewStream(context.Context, peer.ID, ...protocol.ID) (network.Stream, error) {
	o.t.Error("a stream was opened")
	return nil, errors.New("no stream")
}
