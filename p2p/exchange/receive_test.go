package exchange

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// receive runs the receiver over a response in memory, which ends with an error.
func receive(items []Item, response []byte, end error, sink func(Block) error) (Result, error) {
	res := Result{Done: make([]bool, len(items))}
	in := io.Reader(bytes.NewReader(response))
	if end != nil {
		in = io.MultiReader(in, failing{end})
	}
	rc := newReceiver(in, func() error { return nil }, nil, "holder", items)
	return res, rc.run(&res, sink, func() {})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// frames cuts an honest response of one whole object into its status and blocks.
func frames(t *testing.T, response []byte) (out [][]byte) {
	t.Helper()
	if response[0] != statusGiven {
		t.Fatal("the honest holder refused")
	}
	for rest := response[1:]; len(rest) > 0; {
		n := 4 + int(binary.BigEndian.Uint32(rest))
		out = append(out, rest[:n])
		rest = rest[n:]
	}
	return out
}

func joined(frames ...[]byte) []byte {
	return append([]byte{statusGiven}, bytes.Join(frames, nil)...)
}

// A holder that changes anything is caught at the block that it changed, and is
// named. Nothing but honest blocks reaches the sink.
func TestHolderLies(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 2*leafSize)
	other := addObject(t, m, 2*leafSize+1)
	p := newPair(t)
	pipe := newPipe(t, -1, o.whole())
	NewServer(m, &policy{}, nil, Limits{}).Handle(pipe)
	honest := frames(t, pipe.response)
	otherPipe := newPipe(t, -1, other.whole())
	NewServer(m, &policy{}, nil, Limits{}).Handle(otherPipe)
	foreign := frames(t, otherPipe.response)

	type lie struct {
		name     string
		response []byte
		honest   int // blocks before the lie
	}
	lies := []lie{
		{"unknown status", []byte{7}, 0},
		{"half an end mark", []byte{0xFF, 0xFF, 0, 0, 1}, 0},
		{"unknown reason", []byte{0xFF, 0xFF, 0xFF, 0xFF, 9}, 0},
		{"unknown reason after a block", append(joined(honest[0]), 0xFF, 0xFF, 0xFF, 0xFF, 9), 1},
		{"bytes after the end", append(slices.Clone(pipe.response), 0), len(honest)},
		{"leaves swapped", joined(append(slices.Clone(honest[:5]), honest[6], honest[5], honest[7])...), 5},
		{"header and file root swapped", joined(honest[0], honest[2], honest[1]), 1},
		{"a leaf left out", joined(slices.Delete(slices.Clone(honest), 4, 5)...), 4},
		{"a leaf twice", joined(slices.Insert(slices.Clone(honest), 5, honest[5])...), 6},
	}
	for i, h := range honest {
		for _, at := range []int{4, len(h) - 1} {
			bad := slices.Clone(honest)
			bad[i] = slices.Clone(h)
			bad[i][at] ^= 1
			lies = append(lies, lie{"a bit of block " + string(rune('0'+i)), joined(bad...), i})
		}
		for _, n := range []int{len(h) - 5, len(h) - 3, 0, math.MaxInt32, 0xFFFFFFFD} {
			bad := slices.Clone(honest)
			bad[i] = binary.BigEndian.AppendUint32(nil, uint32(n))
			if n < len(h) {
				bad[i] = append(bad[i], append(slices.Clone(h[4:]), 0)[:n]...)
			}
			lies = append(lies, lie{"another length of block " + string(rune('0'+i)), joined(bad...), i})
		}
		bad := slices.Clone(honest)
		bad[i] = foreign[i]
		if !bytes.Equal(h, foreign[i]) {
			lies = append(lies, lie{"another object's block " + string(rune('0'+i)), joined(bad...), i})
		}
	}
	for _, l := range lies {
		p.holder.SetStreamHandler(ProtocolID, script(l.response))
		var g got
		_, err := p.fetch(g.sink, o.whole())
		var corrupt *CorruptError
		if !errors.Is(err, ErrCorrupt) || !errors.As(err, &corrupt) || corrupt.Peer != p.holder.ID() {
			t.Errorf("%s: error %v", l.name, err)
		}
		for _, kind := range []string{"unknown", "bytes after", "a bit of", "leaves swapped"} {
			if strings.HasPrefix(l.name, kind) && corrupt != nil && !corrupt.Own {
				t.Errorf("%s: the holder is not to blame", l.name)
			}
		}
		if len(g.blocks) != l.honest {
			t.Errorf("%s: %d blocks came, want %d", l.name, len(g.blocks), l.honest)
		}
		for i, b := range g.blocks {
			if !bytes.Equal(b.Data, honest[i][4:]) {
				t.Errorf("%s: block %d is not the honest one", l.name, i)
			}
		}
	}
	// The control: the same holder, telling the truth.
	p.holder.SetStreamHandler(ProtocolID, script(pipe.response))
	if res, err := p.fetch((&got{}).sink, o.whole()); err != nil || !res.Done[0] {
		t.Errorf("the honest response: %v", err)
	}
}

// A length is refused by itself: the receiver neither allocates nor waits for
// what it announces.
func TestLengthsAreCheckedBeforeTheBytesCome(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, leafSize)
	pipe := newPipe(t, -1, o.whole())
	NewServer(m, &policy{}, nil, Limits{}).Handle(pipe)
	honest := frames(t, pipe.response)
	exact := func(i int) int { return len(honest[i]) - 4 }
	for i, most := range []int{envelope.MaxManifest, maxFileRoot, exact(2), maxInterior, 16, leafSize, exact(6)} {
		for _, c := range []struct {
			n    int
			want error
		}{{most, ErrUnavailable}, {most + 1, ErrCorrupt}, {0, ErrCorrupt}, {0xFFFFFFFD, ErrCorrupt}} {
			response := append(joined(honest[:i]...), binary.BigEndian.AppendUint32(nil, uint32(c.n))...)
			if _, err := receive([]Item{o.whole()}, response, nil, (&got{}).sink); !errors.Is(err, c.want) {
				t.Errorf("block %d of %d bytes: %v, want %v", i, c.n, err, c.want)
			}
		}
	}
}

// script is a holder that reads the request and answers with given bytes.
func script(response []byte) network.StreamHandler {
	return func(s network.Stream) {
		io.Copy(io.Discard, s)
		s.Write(response)
		s.Close()
	}
}

// A response that ends anywhere but at its end is an absence, not a lie, and
// never looks complete.
func TestHolderGoesAway(t *testing.T) {
	m := newMemory()
	items := []Item{addObject(t, m, 10).whole(), addObject(t, m, 20).whole()}
	pipe := newPipe(t, -1, items...)
	NewServer(m, &policy{}, nil, Limits{}).Handle(pipe)
	for n := 0; n < len(pipe.response); n += 3 {
		for _, end := range []error{nil, network.ErrReset} {
			res, err := receive(items, pipe.response[:n], end, (&got{}).sink)
			if !errors.Is(err, ErrUnavailable) || res.Done[1] {
				t.Fatalf("cut after %d bytes: %v, %+v", n, err, res)
			}
		}
	}
	if _, err := receive(items, pipe.response, network.ErrReset, (&got{}).sink); err != nil {
		t.Errorf("everything came, then a reset: %v", err)
	}
}

// A holder that goes silent is given up on.
func TestHolderStalls(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, leafSize)
	pipe := newPipe(t, -1, o.whole())
	NewServer(m, &policy{}, nil, Limits{}).Handle(pipe)
	p := newPair(t)
	done := make(chan struct{})
	defer close(done)
	for _, n := range []int{0, 1, 3, 1000, len(pipe.response) - 1} {
		p.holder.SetStreamHandler(ProtocolID, func(s network.Stream) {
			s.Write(pipe.response[:n])
			<-done
			s.Reset()
		})
		f := Fetcher{Opener: p.receiver, Timeout: 50 * time.Millisecond}
		_, err := f.Fetch(context.Background(), p.holder.ID(), Request{Items: []Item{o.whole()}}, nil, (&got{}).sink)
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("silence after %d bytes: %v", n, err)
		}
	}
}

func FuzzResponse(f *testing.F) {
	m := newMemory()
	o := addObject(f, m, 100)
	items := []Item{o.whole(), o.ranges(Range{From: 3, To: 4}), o.ranges()}
	pipe := newPipe(f, -1, items...)
	NewServer(m, &policy{}, nil, Limits{}).Handle(pipe)
	f.Add(pipe.response)
	f.Add(pipe.response[:100])
	f.Add([]byte{statusRefused, statusRefused, statusRefused})
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, endStopped})
	f.Add(append(slices.Clone(pipe.response[:1]), 0xFF, 0xFF, 0xFF, 0xFE, statusRefused, statusRefused))
	f.Fuzz(func(t *testing.T, response []byte) {
		var bytes int64
		res, err := receive(items, response, nil, func(b Block) error {
			if envelope.CIDOf(b.Data, b.CID.Prefix().Codec) != b.CID {
				t.Errorf("a block does not match its CID")
			}
			if _, err := m.Get(context.Background(), b.CID, nil); err != nil {
				t.Errorf("a block is not of the object")
			}
			bytes += int64(len(b.Data))
			return nil
		})
		m.read = m.read[:0]
		if res.Bytes != bytes {
			t.Errorf("result says %d bytes, %d came", res.Bytes, bytes)
		}
		if (err == nil) != !slices.Contains(res.Done, false) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v with done %v", err, res.Done)
		}
	})
}
