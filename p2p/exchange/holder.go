package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// serve works for one holder until it fails or nothing is left to do.
func (s *gathering) serve(ctx context.Context, h *holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for failed := 0; failed < resumes; {
		req, ok := s.next(ctx, h)
		if !ok {
			break
		}
		before := s.leavesOf(h)
		err = s.ask(ctx, h, req)
		if err == nil || errors.Is(err, errOvertaken) {
			err, failed = nil, 0
			continue
		}
		s.yield(h, false)
		again := errors.Is(err, ErrUnavailable) && s.leavesOf(h) > 0
		if s.leavesOf(h) > before {
			failed = 0
		}
		if !again {
			break
		}
		failed++
		if !s.wait(ctx, resumeWait<<(failed-1)) {
			break
		}
	}
	h.err = err
	s.yield(h, true)
	s.active--
	s.change()
}

func (s *gathering) leavesOf(h *holder) int64 {
	if s.div == nil || s.div.crew[h.index] == nil {
		return 0
	}
	return s.div.crew[h.index].leaves + s.div.bringing(h.index)
}

func (s *gathering) yield(h *holder, gone bool) {
	if s.div != nil {
		s.div.yield(h.index, gone, time.Now())
		s.change()
	}
}

// next waits for the holder's next task. The first holders are asked for everything:
// how much that is, they tell.
func (s *gathering) next(ctx context.Context, h *holder) (Request, bool) {
	it := Item{Address: s.address.Bytes()}
	for ctx.Err() == nil {
		if s.header == nil {
			h.blind = true
			if it.Whole = s.from == 0; !it.Whole {
				it.Ranges = []Range{{From: uint64(s.from), To: 1 << 63}}
			}
			return Request{Items: []Item{it}}, true
		}
		if s.div.done() {
			break
		}
		if t, ok := s.div.take(h.index, time.Now()); ok {
			h.blind, h.end = false, t.to
			it.Ranges = []Range{{From: uint64(leafOffset(t.from)), To: uint64(leafOffset(t.to))}}
			return Request{Items: []Item{it}}, true
		}
		if !s.wait(ctx, idleCheck) {
			break
		}
	}
	return Request{}, false
}

// leafOffset is where a leaf begins in the payload, the last one's end aside.
func leafOffset(leaf int64) int64 {
	if leaf == 0 {
		return 0
	}
	return envelope.NonceSize + (leaf-1)*envelope.LeafSize
}

func leafAt(offset int64) int64 {
	if offset < envelope.NonceSize {
		return 0
	}
	return 1 + (offset-envelope.NonceSize)/envelope.LeafSize
}

// errOvertaken ends a request whose rest is another holder's.
var errOvertaken = errors.New("another holder brings it")

func (s *gathering) ask(ctx context.Context, h *holder, req Request) error {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h.stop = func() { cancel(errOvertaken) }
	s.mu.Unlock()
	_, err := s.g.Ask(within, h.peer, req, func(b Block) error { return s.take(within, h, b) })
	s.mu.Lock()
	h.stop = func() {}
	if context.Cause(within) == errOvertaken {
		return errOvertaken
	}
	return err
}

// take keeps what a holder brings.
func (s *gathering) take(ctx context.Context, h *holder, b Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch b.Kind {
	case Manifest:
		return s.begin(b)
	case Header:
		if s.header == nil {
			s.header = b.clone()
			s.change()
		}
	case Leaf:
		return s.takeLeaf(ctx, h, b)
	}
	return nil
}

// begin learns from the manifest how much there is.
func (s *gathering) begin(b Block) error {
	if s.manifest != nil {
		return nil
	}
	m, err := envelope.ParseManifest(b.CID, b.Data)
	if err != nil {
		return fmt.Errorf("the manifest was verified and does not parse: %w", err)
	}
	size := int64(m.Claims().Size)
	s.div = newDivision(leafAt(s.from), leafAt(size-1)+1, spanLeaves, windowLeaves, s.g.Quiet)
	for _, h := range s.holders {
		if s.div.join(h.index); h.err != nil {
			s.div.yield(h.index, true, time.Now())
		}
	}
	s.manifest = b.clone()
	s.change()
	return nil
}

func (s *gathering) takeLeaf(ctx context.Context, h *holder, b Block) error {
	if h.blind {
		t, ok := s.div.take(h.index, time.Now())
		if !ok {
			return errOvertaken
		}
		h.blind, h.end = false, t.to
	}
	leaf := leafAt(b.Offset)
	if err := s.waitForRoom(ctx, h, leaf); err != nil {
		return err
	}
	v, stopped := s.div.arrive(h.index, leaf, time.Now())
	if stopped != nobody {
		s.holders[stopped].stop()
	}
	switch v {
	case useless:
		return nil
	case overtook:
		return errOvertaken
	}
	s.held[leaf] = parcelOf{b.keep(), h}
	s.change()
	if v == complete && leaf+1 < h.end {
		return errOvertaken // what it was asked for goes on, and is another's
	}
	return nil
}

// waitForRoom holds a holder back while what it brought before waits for the sink.
func (s *gathering) waitForRoom(ctx context.Context, h *holder, leaf int64) error {
	if s.div.room(leaf) {
		return nil
	}
	began := time.Now()
	s.div.hold(h.index)
	defer func() { s.div.resume(h.index, time.Since(began)) }()
	for !s.div.room(leaf) {
		if !s.wait(ctx, 0) {
			return context.Cause(ctx)
		}
	}
	return nil
}
