package quorum

import (
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// pace remembers how validators answer, to ask no more of them than is needed:
// whoever asks all of them because some are slow makes a busy committee slower.
// The zero value is ready.
type pace struct {
	mu      sync.Mutex
	typical time.Duration                     // owned by mu; a moving mean of the times of answers
	silent  map[statement.PublicKey]time.Time // owned by mu; when one was last waited for in vain
}

const (
	hedgeAtLeast = 40 * time.Millisecond
	hedgeAtMost  = time.Second
	silentFor    = 10 * time.Second // then a validator has another chance
	paceWeight   = 8                // one answer moves the mean by an eighth
)

// hedge is how long the validators that were asked first have before others are
// asked as well (Dean and Barroso, The Tail at Scale, 2013): three times what an
// answer usually takes, so that a load which slows all down brings no further load.
func (p *pace) hedge() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(max(3*p.typical, hedgeAtLeast), hedgeAtMost)
}

// answered notes an answer and how long it took.
func (p *pace) answered(server statement.PublicKey, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.typical += (took - p.typical) / paceWeight
	delete(p.silent, server)
}

// waited notes that nothing came from a validator for as long as others take.
func (p *pace) waited(server statement.PublicKey, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent == nil {
		p.silent = map[statement.PublicKey]time.Time{}
	}
	p.silent[server] = now
}

// order puts those last that were silent a moment ago, and keeps the order
// of the others.
func (p *pace) order(which []int, server func(int) statement.PublicKey, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rank := func(i int) int {
		if at, ok := p.silent[server(i)]; ok && now.Sub(at) < silentFor {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(which, func(a, b int) int { return rank(a) - rank(b) })
}
