package store

import (
	"context"
	"sync"
)

// gate counts calls under way, so that Close can wait for them. A call may enter
// again while it is inside (the function of a scan reads), which a RWMutex would
// turn into a deadlock with a waiting Close.
type gate struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{} // closed by the last to leave after shut; nil before
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.closed {
		close(g.empty)
	}
}

// shut closes the gate and waits until nobody is inside; false if it was shut.
func (g *gate) shut() bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	g.closed, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
	return true
}

// claims makes writers of one block take turns. A writer that finds a block
// present skips it; without turns it could find one that another writer has made
// visible but not yet durable, and acknowledge what a power cut takes back.
type claims struct {
	mu    sync.Mutex
	held  map[string]struct{}
	freed chan struct{} // closed and replaced whenever keys are freed
}

// take waits until it holds all keys at once, which is why two writers cannot
// wait for each other.
func (c *claims) take(ctx context.Context, keys []string) error {
	for {
		c.mu.Lock()
		if c.held == nil {
			c.held, c.freed = make(map[string]struct{}), make(chan struct{})
		}
		if c.free(keys) {
			for _, k := range keys {
				c.held[k] = struct{}{}
			}
			c.mu.Unlock()
			return nil
		}
		freed := c.freed
		c.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *claims) free(keys []string) bool {
	for _, k := range keys {
		if _, ok := c.held[k]; ok {
			return false
		}
	}
	return true
}

func (c *claims) release(keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		delete(c.held, k)
	}
	close(c.freed)
	c.freed = make(chan struct{})
}

// signal wakes all who wait for the next of something.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed by the send that follows.
func (g *signal) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ch == nil {
		g.ch = make(chan struct{})
	}
	return g.ch
}

func (g *signal) send() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ch != nil {
		close(g.ch)
		g.ch = nil
	}
}
