package capability

import (
	"sync"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// How many facts of each kind a verifier remembers in one of two generations. An
// identity takes up to twice its document, so fewer of them; what a chain says
// takes up to thrice the chain, so that long ones are read every time.
const (
	rememberedRoots  = 4096
	rememberedLinks  = 4096
	rememberedPeople = 1024
	rememberedChains = 512
	rememberedBytes  = 16 << 10
)

// recent remembers facts that never stop being true, a bounded number of them.
// Two generations stand in for an exact LRU: a hit in the old one moves to the
// young one, and a full young one becomes the old one. The zero value is ready.
type recent[V any] struct {
	mu         sync.Mutex
	young, old map[statement.ID]V // owned by mu
}

func (r *recent[V]) get(key statement.ID, limit int) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.young[key]; ok {
		return v, true
	}
	v, ok := r.old[key]
	if ok {
		r.insert(key, v, limit)
	}
	return v, ok
}

func (r *recent[V]) add(key statement.ID, v V, limit int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.insert(key, v, limit)
}

func (r *recent[V]) insert(key statement.ID, v V, limit int) {
	if r.young == nil || len(r.young) >= limit {
		r.old, r.young = r.young, make(map[statement.ID]V)
	}
	r.young[key] = v
}
