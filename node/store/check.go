package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// CheckAll reads and hashes every block and calls fn with each that is not what
// its CID says: a [*CorruptError] for damaged bytes, the disk's error for one that
// cannot be read, an undefined CID for a file that is no block. It returns how
// many blocks it hashed. The error is nil if the walk reached its end, whatever
// it found on the way. Blocks written or deleted meanwhile may or may not count.
func (s *Store) CheckAll(ctx context.Context, fn func(c cid.Cid, err error)) (checked int, err error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	judge := func(c cid.Cid, data []byte) {
		checked++
		if err := verify(c, data); err != nil {
			fn(c, err)
		}
	}
	err = s.scan([]byte{keyBlock}, []byte{keyBlock + 1}, func(key, data []byte) (bool, error) {
		c, err := cid.Cast(key[1:])
		if err != nil {
			fn(cid.Undef, fmt.Errorf("the key %x is no block: %w", key[1:], err))
		} else {
			judge(c, data)
		}
		return true, ctx.Err()
	})
	if err != nil {
		return checked, err
	}
	err = s.large.Walk(ctx, func(c cid.Cid, err error) {
		if err != nil {
			fn(c, err)
			return
		}
		switch data, err := s.large.Get(ctx, c, nil); {
		case errors.Is(err, ErrNotFound): // deleted since
		case err != nil:
			fn(c, err)
		default:
			judge(c, data)
		}
	})
	return checked, err
}
