package store

import (
	"context"
	"sync"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"github.com/ipfs/go-cid"
)

// proven remembers which large blocks this process has written or hashed, so
// that a holder hashes each once and not at every read of every peer. Two
// generations bound it: what is asked for stays, the rest is forgotten.
type proven struct {
	mu       sync.Mutex
	new, old map[[16]byte]struct{} // owned by mu; by the end of the digest
}

const provenGeneration = 1 << 16 // blocks; 64 GiB of leaves

func provenKey(c cid.Cid) (key [16]byte) {
	h := c.Hash()
	copy(key[:], h[max(0, len(h)-len(key)):])
	return key
}

func (p *proven) has(c cid.Cid) bool {
	key := provenKey(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.new[key]; ok {
		return true
	}
	_, ok := p.old[key]
	if ok {
		p.insert(key)
	}
	return ok
}

func (p *proven) add(blocks []envelope.Block) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range blocks {
		p.insert(provenKey(b.CID))
	}
}

func (p *proven) insert(key [16]byte) {
	if p.new == nil || len(p.new) >= provenGeneration {
		p.old, p.new = p.new, make(map[[16]byte]struct{})
	}
	p.new[key] = struct{}{}
}

// GetProven is [Store.GetVerified] for a holder that serves blocks to peers who
// check them too: a large block that this process has written or hashed before
// is not hashed again. What rots on disk meanwhile is found by the peer, by
// CheckAll, and by the next process. The block may lie in into, see [Store.GetInto].
func (s *Store) GetProven(ctx context.Context, c cid.Cid, into []byte) ([]byte, error) {
	data, err := s.GetInto(ctx, c, into)
	if err != nil || s.proven.has(c) {
		return data, err
	}
	if err = verify(c, data); err == nil && len(data) > MaxSmall {
		s.proven.add([]envelope.Block{{CID: c}})
	}
	return data, err
}
