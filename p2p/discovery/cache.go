package discovery

import (
	"sync"

	"github.com/hashicorp/golang-lru/simplelru"
)

// cacheSize is how many keys' providers are kept ready, as libp2p has it.
const cacheSize = 256

// cache is what the DHT's provider manager keeps before its records. The manager
// has a lock of its own, and we empty the cache from outside: hence this one.
type cache struct {
	mu  sync.Mutex // guards lru
	lru *simplelru.LRU
}

var _ simplelru.LRUCache = (*cache)(nil)

func newCache() (*cache, error) {
	lru, err := simplelru.NewLRU(cacheSize, nil)
	return &cache{lru: lru}, err
}

func (c *cache) Add(key, value any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Add(key, value)
}

func (c *cache) Get(key any) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(key)
}

func (c *cache) Contains(key any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Contains(key)
}

func (c *cache) Peek(key any) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Peek(key)
}

func (c *cache) Remove(key any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Remove(key)
}

func (c *cache) RemoveOldest() (any, any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.RemoveOldest()
}

func (c *cache) GetOldest() (any, any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.GetOldest()
}

func (c *cache) Keys() []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Keys()
}

func (c *cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Len()
}

func (c *cache) Purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Purge()
}

func (c *cache) Resize(size int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Resize(size)
}
