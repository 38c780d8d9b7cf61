package exchange

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	mh "github.com/multiformats/go-multihash"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func someAddress() []byte { return envelope.CIDOf([]byte("x"), envelope.CodecDagCBOR).Bytes() }

func items(n int) []Item {
	out := make([]Item, n)
	for i := range out {
		out[i] = Item{Address: someAddress(), Whole: true}
	}
	return out
}

// badRequests are encodable and break one rule each.
func badRequests(t testing.TB) map[string]Request {
	address := func(codec, hash uint64, length int) []byte {
		sum, err := mh.Sum([]byte("x"), hash, length)
		if err != nil {
			t.Fatal(err)
		}
		return cid.NewCidV1(codec, sum).Bytes()
	}
	one := func(it Item) Request { return Request{Items: []Item{it}} }
	ranged := func(rs ...Range) Request { return one(Item{Address: someAddress(), Ranges: rs}) }
	return map[string]Request{
		"no items":            {},
		"1001 items":          {Items: items(MaxItems + 1)},
		"too much authority":  {Items: items(1), Authority: make([]byte, MaxAuthority+1)},
		"empty range":         ranged(Range{From: 5, To: 5}),
		"backward range":      ranged(Range{From: 5, To: 4}),
		"unsorted ranges":     ranged(Range{From: 10, To: 20}, Range{From: 0, To: 5}),
		"overlapping ranges":  ranged(Range{From: 0, To: 5}, Range{From: 4, To: 6}),
		"too many ranges":     ranged(make([]Range, MaxRanges+1)...),
		"whole and ranges":    one(Item{Address: someAddress(), Whole: true, Ranges: []Range{{From: 0, To: 1}}}),
		"no address":          one(Item{}),
		"junk address":        one(Item{Address: []byte("junk")}),
		"long address":        one(Item{Address: append(someAddress(), make([]byte, 100)...)}),
		"trailing byte":       one(Item{Address: append(someAddress(), 0)}),
		"leaf as address":     one(Item{Address: address(cid.Raw, mh.SHA2_256, -1)}),
		"identity hash":       one(Item{Address: address(cid.DagCBOR, mh.IDENTITY, -1)}),
		"sha1":                one(Item{Address: address(cid.DagCBOR, mh.SHA1, -1)}),
		"truncated hash":      one(Item{Address: address(cid.DagCBOR, mh.SHA2_256, 16)}),
		"version 0 of a CID":  one(Item{Address: address(cid.DagProtobuf, mh.SHA2_256, -1)[2:]}),
		"second item is junk": {Items: append(items(1), Item{Address: []byte("junk")})},
	}
}

// What breaks a rule is neither sent by our side nor judged by the other.
func TestInvalidRequests(t *testing.T) {
	var judged atomic.Int32
	g := &policy{open: func(network.Conn, *Request) error { judged.Add(1); return nil }}
	p := serve(t, newMemory(), g, Limits{})
	for name, req := range badRequests(t) {
		if name != "too much authority" { // where Fetch makes it, see TestAuthorityThatCannotBeMade
			if _, err := Fetch(context.Background(), noOpener{t}, p.holder.ID(), req, nil, (&got{}).sink); !errors.Is(err, ErrRequest) {
				t.Errorf("%s: Fetch says %v", name, err)
			}
		}
		body, err := statement.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := p.raw(t, framed(body)); len(answer) != 0 || !errors.Is(err, network.ErrReset) {
			t.Errorf("%s: the holder answered %x, %v", name, answer, err)
		}
	}
	for name, msg := range map[string][]byte{
		"no CBOR":         framed([]byte("hello")),
		"empty":           framed(nil),
		"length too long": {0x00, 0x10, 0x00, 0x01},
		"huge length":     {0xFF, 0xFF, 0xFF, 0xFF},
		"cut off":         framed(make([]byte, 100))[:50],
		"nothing":         nil,
	} {
		if answer, err := p.raw(t, msg); len(answer) != 0 || !errors.Is(err, network.ErrReset) {
			t.Errorf("%s: the holder answered %x, %v", name, answer, err)
		}
	}
	if n := judged.Load(); n != 0 {
		t.Errorf("the guard saw %d invalid requests", n)
	}
	// The control: the largest request that is valid.
	req := Request{Items: items(MaxItems), Authority: make([]byte, MaxAuthority)}
	if _, err := Fetch(context.Background(), p.receiver, p.holder.ID(), req, nil, (&got{}).sink); !errors.Is(err, ErrRefused) || judged.Load() != 1 {
		t.Errorf("the largest request: %v, judged %d times", err, judged.Load())
	}
}

// A proof of possession that signs the digest signs everything but itself.
func TestDigestCoversAllButTheAuthority(t *testing.T) {
	base := func() Request {
		return Request{Items: []Item{
			{Address: someAddress(), Ranges: []Range{{From: 1, To: 2}}},
			{Address: someAddress()},
		}}
	}
	want := base().Digest()
	for name, change := range map[string]func(*Request){
		"address": func(r *Request) { r.Items[0].Address = envelope.CIDOf([]byte("y"), envelope.CodecDagCBOR).Bytes() },
		"from":    func(r *Request) { r.Items[0].Ranges[0].From = 0 },
		"to":      func(r *Request) { r.Items[0].Ranges[0].To = 3 },
		"whole":   func(r *Request) { r.Items[1].Whole = true },
		"fewer":   func(r *Request) { r.Items = r.Items[:1] },
		"order":   func(r *Request) { r.Items[0], r.Items[1] = r.Items[1], r.Items[0] },
	} {
		r := base()
		change(&r)
		if r.Digest() == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
	r := base()
	r.Authority = []byte("anything")
	if r.Digest() != want {
		t.Error("the authority changes the digest that it has to sign")
	}
	if string(r.Authority) != "anything" {
		t.Error("Digest changed the request")
	}
}

func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// raw sends bytes in place of a request and returns all that comes back.
func (p pair) raw(t testing.TB, msg []byte) ([]byte, error) {
	t.Helper()
	s, err := p.receiver.NewStream(context.Background(), p.holder.ID(), ProtocolID)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	s.Write(msg) // a holder may hang up early: what it says counts
	s.CloseWrite()
	return io.ReadAll(s)
}

// ask sends a valid request and returns the raw response.
func (p pair) ask(t testing.TB, items ...Item) []byte {
	t.Helper()
	req := Request{Items: items}
	body, err := req.encode()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.raw(t, framed(body))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func FuzzRequest(f *testing.F) {
	good := Request{Items: []Item{{Address: someAddress(), Ranges: []Range{{From: 1, To: 2}}}, {Address: someAddress(), Whole: true}}, Authority: []byte("a")}
	body, err := good.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	for name, bad := range badRequests(f) {
		if body, err := statement.Marshal(bad); err == nil && name != "1001 items" {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRequest(data)
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Errorf("error %v is no ErrRequest", err)
			}
			return
		}
		again, err := r.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("accepted %x, which encodes as %x, %v", data, again, err)
		}
	})
}
