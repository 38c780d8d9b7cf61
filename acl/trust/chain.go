package trust

import (
	"errors"
	"fmt"
	"sync"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// ErrRetired reports a record that a recovery declared too old to count.
var ErrRetired = errors.New("the committee record does not count any more")

// Chain is what one party knows of a network's committee records, from its first
// one. It is safe for concurrent use; a record that was accepted never changes.
type Chain struct {
	network statement.ID

	mu      sync.RWMutex
	current *Committee
	records map[statement.ID]*Committee
}

// Fixed is a chain of one record that is kept nowhere: for tools that read a
// network file, and for tests.
func Fixed(genesis *Committee) *Chain {
	return &Chain{network: genesis.Network(), current: genesis, records: map[statement.ID]*Committee{genesis.ID(): genesis}}
}

// Network is the id of the first record.
func (c *Chain) Network() statement.ID { return c.network }

// Current is the newest record.
func (c *Chain) Current() *Committee {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current
}

// ByID finds a record that still counts: statements name the record whose
// validators signed them. The error is [ErrRetired] for one that a recovery
// declared too old, [ErrRecord] for one that is not known.
func (c *Chain) ByID(id statement.ID) (*Committee, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.records[id]
	if !ok {
		return nil, fmt.Errorf("%w: the record %s is not known here", ErrRecord, id)
	}
	return r, nil
}
