package exchange

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A holder tells of requests that no honest peer sends, and of nothing else.
func TestOffencesOfWhoAsks(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 10)
	p := newPair(t)
	s := NewServer(m, &policy{open: func(_ network.Conn, r *Request) error {
		if len(r.Authority) > 0 {
			return errors.New("it proves nothing")
		}
		return nil
	}}, nil, Limits{RequestTimeout: 100 * time.Millisecond})
	told := make(chan peer.ID, 16)
	s.Offended = func(p peer.ID) { told <- p }
	p.holder.SetStreamHandler(ProtocolID, s.Handle)
	honest := Request{Items: []Item{o.whole()}, Authority: []byte("anything")}
	body, err := honest.encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, msg := range map[string][]byte{
		"nothing": nil, "half a length": {0, 0}, "half a request": framed(body)[:len(body)], "refused": framed(body),
	} {
		p.raw(t, msg)
		if len(told) != 0 {
			t.Errorf("%s: %s is blamed", name, <-told)
		}
	}
	p.ask(t, o.whole())
	p.ask(t, addObject(t, newMemory(), 10).whole())
	slow, err := p.receiver.NewStream(t.Context(), p.holder.ID(), ProtocolID)
	if err != nil {
		t.Fatal(err)
	}
	slow.Write(framed(body)[:9])
	slow.Read(make([]byte, 1)) // until the holder loses patience
	if len(told) != 0 {
		t.Error("who is slow is blamed")
	}
	for name, msg := range map[string][]byte{
		"too long": binary.BigEndian.AppendUint32(nil, MaxRequestBytes+1), "junk": framed([]byte("junk")), "more": framed(append(body, 0)),
	} {
		p.raw(t, msg)
		if got := <-told; got != p.receiver.ID() { // or the test hangs
			t.Errorf("%s: %s is blamed", name, got)
		}
	}
}
