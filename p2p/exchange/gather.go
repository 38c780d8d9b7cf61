package exchange

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrNoHolder reports that no holder is left to ask.
var ErrNoHolder = errors.New("no holder is left to ask")

const (
	spanLeaves   = 6  // of one request, where several holders are at work
	windowLeaves = 24 // that are asked for or held at a time: 24 MB
	idleCheck    = 50 * time.Millisecond
	resumes      = 3 // attempts in a row that bring nothing, of a holder that has brought something
	resumeWait   = 200 * time.Millisecond
)

// Gather fetches one object at a time, from several holders at once where it is
// large. Holders that are slow, stop, lie or lack the object are replaced by others
// while what has come stays. The fields that have defaults need not be set; a Gather
// may be used by many goroutines.
type Gather struct {
	// Ask has a holder asked for a request, as [Fetcher.Fetch] does, and returns when
	// sink has had everything. It is called from several goroutines.
	Ask func(ctx context.Context, p peer.ID, req Request, sink func(Block) error) (Result, error)
	// Next names one more holder, or returns false when there is none. It may take its
	// time: those named before are asked meanwhile. It is not called twice at a time.
	Next func(ctx context.Context) (peer.ID, bool)
	// Most is how many holders are asked at a time. Default 4.
	Most int
	// Quiet is how long a holder may bring nothing before another one is asked for the
	// same as well. Default 1 s.
	Quiet time.Duration
}

// Brought is what came from one holder.
type Brought struct {
	Peer  peer.ID
	Bytes int64 // of leaves that went to the sink
	Err   error // why it was asked for nothing more, or nil
}

// Fetch gets the object at address. sink gets, on the caller's goroutine, the manifest
// and the header once each, then the leaves of the payload in order, from the first
// that does not end before offset from; all of them verified. Its errors end the fetch
// and are returned as they are. At most 24 leaves wait for their turn.
//
// The error is nil if everything went through sink; otherwise it is sink's, the
// context's, or wraps [ErrNoHolder] and what the holders said. What was brought
// names every holder that was asked, in any case.
func (g Gather) Fetch(ctx context.Context, address cid.Cid, from int64, sink func(Block) error) ([]Brought, error) {
	if g.Most <= 0 {
		g.Most = 4
	}
	if g.Quiet <= 0 {
		g.Quiet = time.Second
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &gathering{g: g, address: address, from: from, moved: make(chan struct{}), held: map[int64]parcelOf{}}
	s.work.Go(func() { s.recruit(within) })
	err := s.deliver(within, sink)
	cancel()
	s.work.Wait()
	for _, p := range s.held {
		p.block.release()
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return s.brought(), err
}

// gathering is one Fetch. The caller's goroutine delivers, one recruits holders, and
// one works for each of them.
type gathering struct {
	g       Gather
	address cid.Cid
	from    int64
	work    sync.WaitGroup

	mu        sync.Mutex // guards what follows
	moved     chan struct{}
	manifest  *Block
	header    *Block
	opened    bool // sink has taken both
	div       *division
	held      map[int64]parcelOf
	holders   []*holder
	active    int  // holders whose goroutine runs
	exhausted bool // Next has said that there is no other
}

// parcelOf is a leaf that waits for its turn, and whom it is from.
type parcelOf struct {
	block Block
	from  *holder
}

// holder is one that is asked. Its fields are guarded by gathering.mu.
type holder struct {
	index int
	peer  peer.ID
	stop  func() // ends the request under way
	blind bool   // it was asked before it was known how much there is, and has no task yet
	end   int64  // the leaf after the last one that it was asked for, where it is not blind
	bytes int64  // delivered
	err   error
}

// change wakes everybody who waits. mu is held.
func (s *gathering) change() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// wait gives up mu until something changes, for no longer than d where d is not 0.
// It returns false when ctx ends.
func (s *gathering) wait(ctx context.Context, d time.Duration) bool {
	moved := s.moved
	s.mu.Unlock()
	defer s.mu.Lock()
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-moved:
	case <-timer:
	case <-ctx.Done():
		return false
	}
	return true
}

func (s *gathering) brought() []Brought {
	out := make([]Brought, len(s.holders))
	for i, h := range s.holders {
		out[i] = Brought{Peer: h.peer, Bytes: h.bytes, Err: h.err}
	}
	return out
}

// deliver passes what comes to sink, in order.
func (s *gathering) deliver(ctx context.Context, sink func(Block) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range []**Block{&s.manifest, &s.header} {
		for *b == nil {
			if err := s.pause(ctx); err != nil {
				return err
			}
		}
		if err := s.pass(sink, **b); err != nil {
			return err
		}
	}
	s.opened = true
	s.change()
	for !s.div.done() || len(s.held) > 0 {
		p, ok := s.held[s.div.head]
		if !ok {
			if err := s.pause(ctx); err != nil {
				return err
			}
			continue
		}
		delete(s.held, s.div.head)
		err := s.pass(sink, p.block)
		p.from.bytes += int64(len(p.block.Data))
		p.block.release()
		if err != nil {
			return err
		}
		s.div.deliver(time.Now())
		s.change()
	}
	return nil
}

func (s *gathering) pass(sink func(Block) error, b Block) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	return sink(b)
}

// pause waits for a change and says when there is none to be hoped for.
func (s *gathering) pause(ctx context.Context) error {
	if s.active == 0 && s.exhausted {
		errs := []error{ErrNoHolder}
		for _, h := range s.holders {
			errs = append(errs, h.err)
		}
		return errors.Join(errs...)
	}
	if !s.wait(ctx, 0) {
		return context.Cause(ctx)
	}
	return nil
}

// recruit asks for more holders as long as they are of use.
func (s *gathering) recruit(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	for {
		for !s.wantsMore(began) {
			if !s.wait(ctx, idleCheck) {
				return
			}
		}
		s.mu.Unlock()
		p, ok := s.g.Next(ctx)
		s.mu.Lock()
		if !ok {
			s.exhausted = true
			s.change()
			return
		}
		began = time.Now()
		if slices.ContainsFunc(s.holders, func(h *holder) bool { return h.peer == p }) {
			continue
		}
		h := &holder{index: len(s.holders), peer: p, stop: func() {}}
		s.holders = append(s.holders, h)
		s.active++
		if s.div != nil {
			s.div.join(h.index)
		}
		s.work.Go(func() { s.serve(ctx, h) })
	}
}

// wantsMore reports that another holder is of use. Until the first leaves are due only
// one is asked, unless it is silent.
func (s *gathering) wantsMore(began time.Time) bool {
	switch {
	case s.div != nil && s.div.done():
		return false
	case s.active == 0:
		return true
	case s.active >= 2*s.g.Most:
		return false
	case !s.opened || s.div == nil:
		return time.Since(began) >= s.g.Quiet
	}
	return s.div.wants(s.g.Most, time.Now()) && time.Since(began) >= idleCheck
}
