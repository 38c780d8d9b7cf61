package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// crewOf are holders of one object in memory, each with its own manners. They walk the
// object as a real holder does; only the network is left out.
type crewOf struct {
	t       *testing.T
	m       *memory
	manners map[peer.ID]*manner
	order   []peer.ID

	mu    sync.Mutex
	asked []peer.ID // guarded by mu; in the order of the requests
	named int       // guarded by mu
}

// manner is how a holder behaves. The zero value is an honest one at full speed.
type manner struct {
	each  time.Duration                 // for one leaf
	leaf  func(n int64, b *Block) error // before a leaf is given
	start func() error                  // before anything
	leafs atomic.Int64                  // leaves given
}

func newCrew(t *testing.T, m *memory, manners ...*manner) *crewOf {
	c := &crewOf{t: t, m: m, manners: map[peer.ID]*manner{}}
	for i, mn := range manners {
		p := peer.ID(fmt.Sprint("holder ", i))
		c.manners[p] = mn
		c.order = append(c.order, p)
	}
	return c
}

func (c *crewOf) next(context.Context) (peer.ID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.named == len(c.order) {
		return "", false
	}
	c.named++
	return c.order[c.named-1], true
}

func (c *crewOf) ask(ctx context.Context, p peer.ID, req Request, sink func(Block) error) (Result, error) {
	c.mu.Lock()
	c.asked = append(c.asked, p)
	c.mu.Unlock()
	mn := c.manners[p]
	if mn.start != nil {
		if err := mn.start(); err != nil {
			return Result{}, err
		}
	}
	return Walk(ctx, c.m, req, func(b Block) error {
		if b.Kind == Leaf {
			if mn.each > 0 && !napped(ctx, mn.each) {
				return context.Cause(ctx)
			}
			if mn.leaf != nil {
				if err := mn.leaf(leafAt(b.Offset), &b); err != nil {
					return err
				}
			}
			mn.leafs.Add(1)
		}
		return sink(b)
	})
}

// napped waits in the bubble's time.
func napped(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// run fetches the object and checks that it came whole and in order.
func (c *crewOf) run(o object, from int64) ([]Brought, error) {
	g := Gather{Ask: c.ask, Next: c.next}
	var have bytes.Buffer
	var kinds []Kind
	brought, err := g.Fetch(context.Background(), o.address, from, func(b Block) error {
		if b.Kind != Leaf {
			kinds = append(kinds, b.Kind)
			return nil
		}
		if have.Len() == 0 && b.Offset != leafOffset(leafAt(from)) || have.Len() > 0 && b.Offset != leafOffset(leafAt(from))+int64(have.Len()) {
			c.t.Errorf("a leaf at %d came after %d bytes", b.Offset, have.Len())
		}
		have.Write(b.Data)
		return nil
	})
	if err == nil {
		if !slices.Equal(kinds, []Kind{Manifest, Header}) {
			c.t.Errorf("before the leaves came %v", kinds)
		}
		var want got
		if _, err := Walk(context.Background(), c.m, Request{Items: []Item{o.whole()}}, want.sink); err != nil {
			c.t.Fatal(err)
		}
		var payload []byte
		for _, b := range want.blocks {
			if b.Kind == Leaf && b.Offset >= leafOffset(leafAt(from)) {
				payload = append(payload, b.Data...)
			}
		}
		if !bytes.Equal(have.Bytes(), payload) {
			c.t.Errorf("%d bytes came, and they are not the %d of the payload", have.Len(), len(payload))
		}
	}
	return brought, err
}

// large is an object of 61 leaves, the nonce among them; made once.
var large = sync.OnceValues(func() (*memory, object) {
	m := newMemory()
	return m, addObject(discard{}, m, 60*15*65536-100)
})

// discard is a testing.TB for what cannot fail.
type discard struct{ testing.TB }

func (discard) Helper()        {}
func (discard) Fatal(a ...any) { panic(fmt.Sprint(a...)) }

// Two holders share the work of a large object, each by its speed, and what comes is in
// order. The control is one holder, which brings everything.
func TestHoldersShareALargeObject(t *testing.T) {
	m, o := large()
	took := func(t *testing.T, manners ...*manner) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c := newCrew(t, m, manners...)
			brought, err := c.run(o, 0)
			if err != nil {
				t.Fatal(err)
			}
			total := int64(0)
			for _, b := range brought {
				total += b.Bytes
				if b.Err != nil {
					t.Errorf("%s: %v", b.Peer, b.Err)
				}
			}
			if total != o.size {
				t.Errorf("%d bytes are accounted for, of %d", total, o.size)
			}
			d = time.Since(began)
		})
		return d
	}
	const each = 20 * time.Millisecond
	one := took(t, &manner{each: each})
	a, b := &manner{each: each}, &manner{each: each}
	two := took(t, a, b)
	t.Logf("one holder %v, two %v (%d and %d leaves)", one, two, a.leafs.Load(), b.leafs.Load())
	if two > one*65/100 {
		t.Errorf("two holders took %v, one %v", two, one)
	}
	slow := &manner{each: 20 * each}
	mixed := took(t, &manner{each: each}, slow)
	t.Logf("with one that is 20 times slower %v (%d leaves of it)", mixed, slow.leafs.Load())
	if mixed > one+grace+slow.each {
		t.Errorf("a slow holder made it %v instead of %v", mixed, one)
	}
}

// A holder that lies, stops, lacks the object, is silent or is revoked costs a moment,
// and is named; the other one brings the rest.
func TestHoldersThatAreOfNoUse(t *testing.T) {
	m, o := large()
	const each = 20 * time.Millisecond
	for i, c := range []struct {
		name string
		bad  func() *manner
		want error // of the bad one
	}{
		{"lies at once", func() *manner {
			return &manner{each: each, leaf: func(n int64, b *Block) error { return &CorruptError{Reason: "wrong", Block: b.CID} }}
		}, ErrCorrupt},
		{"lies later", func() *manner {
			return &manner{each: each, leaf: func(n int64, b *Block) error {
				if n > 20 {
					return &CorruptError{Reason: "wrong", Block: b.CID}
				}
				return nil
			}}
		}, ErrCorrupt},
		{"lacks everything", func() *manner { return &manner{start: func() error { return ErrRefused }} }, ErrRefused},
		{"lacks a leaf", func() *manner {
			return &manner{each: each, leaf: func(n int64, _ *Block) error {
				if n >= 15 {
					return ErrRefused
				}
				return nil
			}}
		}, ErrRefused},
		{"goes away", func() *manner {
			return &manner{each: each, leaf: func(n int64, _ *Block) error {
				if n > 20 {
					return ErrUnavailable
				}
				return nil
			}}
		}, ErrUnavailable},
		{"is revoked", func() *manner {
			return &manner{each: each, leaf: func(n int64, _ *Block) error {
				if n > 30 {
					return ErrRevoked
				}
				return nil
			}}
		}, ErrRevoked},
		{"falls silent", func() *manner { return &manner{each: time.Hour} }, nil},
		{"falls silent in the middle", func() *manner {
			mn := &manner{each: each}
			mn.leaf = func(n int64, _ *Block) error {
				if n > 20 {
					mn.each = time.Hour
				}
				return nil
			}
			return mn
		}, nil},
	} {
		for place := range 2 {
			if testing.Short() && place != i%2 {
				continue
			}
			t.Run(fmt.Sprintf("%s, as number %d", c.name, place), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					manners := []*manner{{each: each}, {each: each}}
					manners[place] = c.bad()
					crew := newCrew(t, m, manners...)
					brought, err := crew.run(o, 0)
					if err != nil {
						t.Fatal(err)
					}
					if d := time.Since(began); d > 61*each+3*time.Second {
						t.Errorf("it took %v", d)
					}
					if len(brought) != 2 {
						t.Fatalf("%d holders were asked", len(brought))
					}
					if got := brought[place].Err; c.want != nil && !errors.Is(got, c.want) {
						t.Errorf("the bad holder is said to have %v", got)
					}
					if got := brought[1-place].Err; got != nil {
						t.Errorf("the good holder is blamed: %v", got)
					}
				})
			})
		}
	}
}

// Where one holder only is there and the line breaks, it is asked again for the rest.
func TestResumeAfterADisconnect(t *testing.T) {
	m, o := large()
	synctest.Test(t, func(t *testing.T) {
		breaks := map[int64]bool{10: true, 11: true, 30: true, 60: true}
		only := &manner{}
		only.leaf = func(n int64, _ *Block) error {
			if breaks[n] {
				delete(breaks, n)
				return ErrUnavailable
			}
			return nil
		}
		c := newCrew(t, m, only)
		if _, err := c.run(o, 0); err != nil {
			t.Fatal(err)
		}
		if n := only.leafs.Load(); n != 61 {
			t.Errorf("%d leaves were given, of 61: what had come came again", n)
		}
		if len(breaks) > 0 {
			t.Errorf("the line never broke at %v", breaks)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the control: a line that stays broken ends it
		c := newCrew(t, m, &manner{leaf: func(n int64, _ *Block) error {
			if n >= 10 {
				return ErrUnavailable
			}
			return nil
		}})
		if _, err := c.run(o, 0); !errors.Is(err, ErrNoHolder) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// What is asked for and held stays within the window, however slow the sink is.
func TestGatherHoldsNoMoreThanTheWindow(t *testing.T) {
	m, o := large()
	synctest.Test(t, func(t *testing.T) {
		a, b := &manner{}, &manner{}
		c := newCrew(t, m, a, b)
		done, most := int64(0), int64(0)
		g := Gather{Ask: c.ask, Next: c.next}
		_, err := g.Fetch(context.Background(), o.address, 0, func(blk Block) error {
			if blk.Kind != Leaf {
				return nil
			}
			time.Sleep(time.Second) // in the bubble: everybody else does what can be done
			done++
			most = max(most, a.leafs.Load()+b.leafs.Load()-done)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if most > windowLeaves+3 {
			t.Errorf("%d leaves were given and not delivered", most)
		}
		if most < windowLeaves/2 {
			t.Errorf("only %d leaves ran ahead: the test sees nothing", most)
		}
	})
}

// A small object is asked from one holder. The next one is asked where the first one
// has nothing, and when it is silent.
func TestSmallObjectsAreAskedFromOne(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, 3*leafSize)
	for _, c := range []struct {
		name  string
		first *manner
		asked int
	}{
		{"honest", &manner{}, 1},
		{"lacks it", &manner{start: func() error { return ErrRefused }}, 2},
		{"is silent", &manner{each: time.Hour}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crew := newCrew(t, m, c.first, &manner{}, &manner{})
				if _, err := crew.run(o, 0); err != nil {
					t.Fatal(err)
				}
				if n := crew.named; n != c.asked {
					t.Errorf("%d holders were asked, not %d", n, c.asked)
				}
			})
		})
	}
}

// What is here already is not fetched again.
func TestGatherFromTheMiddle(t *testing.T) {
	m, o := large()
	synctest.Test(t, func(t *testing.T) {
		a, b := &manner{each: time.Millisecond}, &manner{each: time.Millisecond}
		c := newCrew(t, m, a, b)
		if _, err := c.run(o, leafOffset(36)); err != nil {
			t.Fatal(err)
		}
		if n := a.leafs.Load() + b.leafs.Load(); n > 25+2 {
			t.Errorf("%d leaves were given for the last 25", n)
		}
	})
}

// The sink's error and the caller's own end come back as they are, and nobody goes on.
func TestGatherEnds(t *testing.T) {
	m, o := large()
	full := errors.New("disk is full")
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, m, &manner{each: time.Millisecond}, &manner{each: time.Millisecond})
		leaves := 0
		_, err := Gather{Ask: c.ask, Next: c.next}.Fetch(context.Background(), o.address, 0, func(b Block) error {
			if b.Kind == Leaf {
				if leaves++; leaves == 30 {
					return full
				}
			}
			return nil
		})
		if err != full || leaves != 30 {
			t.Errorf("%v after %d leaves", err, leaves)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, m, &manner{each: time.Millisecond}, &manner{each: time.Millisecond})
		bored := errors.New("user pressed ^C")
		ctx, cancel := context.WithCancelCause(context.Background())
		_, err := Gather{Ask: c.ask, Next: c.next}.Fetch(ctx, o.address, 0, func(b Block) error {
			if b.Kind == Leaf && b.Offset > 0 {
				cancel(bored)
			}
			return nil
		})
		if err != bored {
			t.Errorf("it ended with %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a manifest that its reader does not accept
		c := newCrew(t, m, &manner{})
		_, err := Gather{Ask: c.ask, Next: c.next}.Fetch(context.Background(), o.address, 0, func(Block) error { return full })
		if err != full {
			t.Errorf("it ended with %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // nobody at all
		c := newCrew(t, m)
		if _, err := c.run(o, 0); !errors.Is(err, ErrNoHolder) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// The first leaf waits for a reader who does not want it after all: the fetch ends,
// though nothing after that leaf is read before its memory has come back. The memory
// of a reader that wants it comes back in time, and all the rest with it.
func TestGatherEndsAtTheFirstLeaf(t *testing.T) {
	m, o := large()
	p := serve(t, m, &policy{}, Limits{})
	refused := errors.New("not what I asked for")
	for _, refuse := range []bool{true, false} {
		here := make(chan struct{})
		first := sync.OnceFunc(func() { close(here) })
		named, leaves := false, 0
		g := Gather{
			Ask: func(ctx context.Context, holder peer.ID, req Request, sink func(Block) error) (Result, error) {
				return Fetch(ctx, p.receiver, holder, req, nil, func(b Block) error {
					err := sink(b)
					if b.Kind == Leaf && b.Offset > 0 {
						first()
					}
					return err
				})
			},
			Next: func(context.Context) (peer.ID, bool) {
				defer func() { named = true }()
				return p.holder.ID(), !named
			},
		}
		_, err := g.Fetch(t.Context(), o.address, 0, func(b Block) error {
			switch {
			case b.Kind == Leaf:
				leaves++
			case b.Kind == Header:
				<-here
				if refuse {
					return refused
				}
			}
			return nil
		})
		if refuse && err != refused || !refuse && (err != nil || leaves < 40) {
			t.Errorf("it ended after %d leaves with %v", leaves, err)
		}
	}
}

// Over real connections: two honest holders and one that lies, each of them asked.
func TestGatherOverSockets(t *testing.T) {
	m, o := large()
	receiver := newHost(t)
	var order []peer.ID
	lie := newMemory()
	for c, data := range m.blocks {
		lie.blocks[c] = data
	}
	var all got
	if _, err := Walk(context.Background(), m, Request{Items: []Item{o.whole()}}, all.sink); err != nil {
		t.Fatal(err)
	}
	for _, b := range all.blocks {
		if b.Kind == Leaf && b.Offset > 10*leafSize {
			bad := slices.Clone(b.Data)
			bad[0] ^= 1
			lie.blocks[b.CID] = bad
		}
	}
	for _, source := range []*memory{m, m, lie} {
		h := newHost(t)
		h.SetStreamHandler(ProtocolID, NewServer(source, &policy{}, nil, Limits{}).Handle)
		pair{h, receiver}.over(t, "tcp")
		order = append(order, h.ID())
	}
	i := 0
	g := Gather{
		Ask: func(ctx context.Context, p peer.ID, req Request, sink func(Block) error) (Result, error) {
			return Fetch(network.WithNoDial(ctx, "all are connected"), receiver, p, req, nil, sink)
		},
		Next: func(context.Context) (peer.ID, bool) {
			if i == len(order) {
				return "", false
			}
			i++
			return order[i-1], true
		},
	}
	var have, want bytes.Buffer
	brought, err := g.Fetch(context.Background(), o.address, 0, func(b Block) error {
		if b.Kind == Leaf {
			have.Write(b.Data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all.blocks {
		if b.Kind == Leaf {
			want.Write(b.Data)
		}
	}
	if !bytes.Equal(have.Bytes(), want.Bytes()) {
		t.Errorf("%d bytes came, of %d, and they differ", have.Len(), want.Len())
	}
	t.Logf("brought: %+v", brought)
	for i, b := range brought {
		var corrupt *CorruptError
		if i == 2 && b.Err != nil && (!errors.As(b.Err, &corrupt) || corrupt.Peer != order[2]) {
			t.Errorf("the liar is said to have %v", b.Err)
		}
		if i < 2 && b.Err != nil {
			t.Errorf("an honest holder is blamed: %v", b.Err)
		}
	}
}
