package exchange

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
)

// What a receiver has itself comes block for block as a holder would send it, for
// whole objects and for ranges of them.
func TestWalkIsWhatAHolderSends(t *testing.T) {
	m := newMemory()
	a, b := addObject(t, m, 3*leafSize), addObject(t, m, 10)
	p := serve(t, m, &policy{}, Limits{})
	for _, items := range [][]Item{
		{a.whole(), b.whole()}, {a.ranges()}, {a.ranges(Range{From: 20, To: 21}, Range{From: uint64(a.size) - 1, To: uint64(a.size)})},
	} {
		var sent, here got
		want, err := p.fetch(sent.sink, items...)
		if err != nil {
			t.Fatal(err)
		}
		res, err := Walk(t.Context(), m, Request{Items: items}, here.sink)
		if err != nil || !slices.Equal(res.Done, want.Done) || res.Bytes != want.Bytes {
			t.Errorf("%v, %+v, want %+v", err, res, want)
		}
		if !slices.EqualFunc(here.blocks, sent.blocks, func(x, y Block) bool {
			return x.Item == y.Item && x.Kind == y.Kind && x.CID == y.CID && x.Offset == y.Offset && string(x.Data) == string(y.Data)
		}) {
			t.Errorf("%d blocks are not the %d of the holder", len(here.blocks), len(sent.blocks))
		}
	}
}

// An object that lacks a block, or has a damaged one, costs the others nothing, and
// no wrong byte is passed on. The two are told apart.
func TestWalkOfWhatIsNotSound(t *testing.T) {
	leaf := func(m *memory, o object) cid.Cid {
		var all got
		if _, err := Walk(t.Context(), m, Request{Items: []Item{o.whole()}}, all.sink); err != nil {
			t.Fatal(err) // also the control: it was sound before
		}
		return all.blocks[slices.IndexFunc(all.blocks, func(b Block) bool { return b.Kind == Leaf && b.Offset > 16 })].CID
	}
	for _, c := range []struct {
		name string
		harm func(m *memory, o object)
		want error
	}{
		{"the object is not there", func(m *memory, o object) { m.drop(o.address) }, ErrRefused},
		{"a leaf is not there", func(m *memory, o object) { m.drop(leaf(m, o)) }, ErrRefused},
		{"a bit of a leaf fell over", func(m *memory, o object) { m.blocks[leaf(m, o)][7] ^= 1 }, ErrCorrupt},
		{"a bit of the manifest fell over", func(m *memory, o object) { m.blocks[o.address][40] ^= 1 }, ErrCorrupt},
		{"the disk does not give it", func(m *memory, o object) { m.fail = o.address }, ErrCorrupt},
	} {
		m := newMemory()
		a, b := addObject(t, m, 3*leafSize), addObject(t, m, 10)
		c.harm(m, a)
		var some got
		res, err := Walk(t.Context(), m, Request{Items: []Item{a.whole(), b.whole()}}, some.sink)
		if !errors.Is(err, c.want) || res.Done[0] || !res.Done[1] {
			t.Errorf("%s: %v, %+v", c.name, err, res)
		}
		for _, blk := range some.blocks {
			if !matches(blk.CID, blk.Data) {
				t.Errorf("%s: a %s with wrong bytes was passed on", c.name, blk.Kind)
			}
		}
	}
}

func TestWalkEnds(t *testing.T) {
	m := newMemory()
	o := addObject(t, m, leafSize)
	mine := errors.New("mine")
	if _, err := Walk(t.Context(), m, Request{Items: []Item{o.whole()}}, func(Block) error { return mine }); err != mine {
		t.Errorf("the sink's error came back as %v", err)
	}
	if _, err := Walk(t.Context(), m, Request{}, nil); !errors.Is(err, ErrRequest) {
		t.Errorf("a request for nothing: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Walk(ctx, m, Request{Items: []Item{o.whole()}}, func(Block) error { cancel(mine); return nil })
	if err != mine {
		t.Errorf("a caller that gave up: %v", err)
	}
}
