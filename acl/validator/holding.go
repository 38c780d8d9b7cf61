package validator

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// holdingPrefix + record + key id: this validator holds a share of that record of
// that key. A rotation asks for the shares of one record again and again, and the
// deposits of many years are no place to look for them. It is written with the
// deposit, in one step.
var holdingPrefix = []byte("holding/")

func holdingKey(record, keyID statement.ID) []byte {
	return slices.Concat(holdingPrefix, record[:], keyID[:])
}

// holdingOps keep the index with a deposit whose shares change.
func holdingOps(keyID statement.ID, before, after []held) (ops []kv.Op) {
	of := func(list []held, record statement.ID) bool {
		return slices.ContainsFunc(list, func(h held) bool { return h.Record == record })
	}
	for _, h := range before {
		if !of(after, h.Record) {
			ops = append(ops, kv.Op{Key: holdingKey(h.Record, keyID), Delete: true})
		}
	}
	for _, h := range after {
		if !of(before, h.Record) {
			ops = append(ops, kv.Op{Key: holdingKey(h.Record, keyID), Value: []byte{1}})
		}
	}
	return ops
}

// recordsHeld lists the records that shares here are of, with a look at one entry
// of each.
func (j *Judge) recordsHeld() (out []statement.ID, err error) {
	var after []byte
	for {
		found := false
		err := j.Store.Scan(holdingPrefix, after, func(key, _ []byte) (bool, error) {
			record, _, err := readHolding(key)
			if err == nil {
				found = true
				out = append(out, record)
				after = slices.Concat(holdingPrefix, record[:], bytes.Repeat([]byte{0xff}, len(record)))
			}
			return false, err
		})
		if err != nil || !found {
			return out, err
		}
	}
}

// holdings calls f with the ids of the keys, in ascending order, of which there is
// a share of a record here.
func (j *Judge) holdings(record statement.ID, after []byte, f func(keyID statement.ID) (more bool, err error)) error {
	var start []byte
	prefix := slices.Concat(holdingPrefix, record[:])
	if len(after) > 0 {
		start = slices.Concat(prefix, after)
	}
	return j.Store.Scan(prefix, start, func(key, _ []byte) (bool, error) {
		_, keyID, err := readHolding(key)
		if err != nil {
			return false, err
		}
		return f(keyID)
	})
}

// holdingsAfter are the next keys, at most n, of which there is a share of a record here.
func (j *Judge) holdingsAfter(record statement.ID, after []byte, n int) (out []statement.ID, err error) {
	err = j.holdings(record, after, func(keyID statement.ID) (bool, error) {
		out = append(out, keyID)
		return len(out) < n, nil
	})
	return out, err
}

func readHolding(key []byte) (record, keyID statement.ID, err error) {
	ids := key[len(holdingPrefix):]
	if len(ids) != len(record)+len(keyID) {
		return record, keyID, errors.New("the index of the shares is damaged")
	}
	return statement.ID(ids[:len(record)]), statement.ID(ids[len(record):]), nil
}

// loadAll reads those deposits of a set of keys that are here. They lie together
// on the disk in the order of their ids, so a walk over them costs a fraction of as
// many look-ups; where most of what it comes by is not asked for, it looks up.
func (j *Judge) loadAll(keys []statement.ID) (map[statement.ID]*deposit, error) {
	out := make(map[statement.ID]*deposit, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	keys = slices.SortedFunc(slices.Values(keys), func(a, b statement.ID) int { return bytes.Compare(a[:], b[:]) })
	strays := 0
	first := keys[0][:len(keys[0])-1] // stands before all ids that begin with it
	err := j.Store.Scan(depositPrefix, slices.Concat(depositPrefix, first), func(key, value []byte) (bool, error) {
		id := key[len(depositPrefix):]
		for len(keys) > 0 && bytes.Compare(keys[0][:], id) < 0 {
			keys = keys[1:]
		}
		if len(keys) == 0 {
			return false, nil
		}
		if !bytes.Equal(keys[0][:], id) {
			strays++
			return strays < 4*maxHave, nil
		}
		var d deposit
		if err := statement.Unmarshal(value, &d); err != nil {
			return false, fmt.Errorf("stored deposit: %w", err)
		}
		out[keys[0]] = &d
		keys = keys[1:]
		return len(keys) > 0, nil
	})
	if err != nil || strays < 4*maxHave {
		return out, err
	}
	for _, id := range keys {
		d, err := j.loadKey(id)
		if err == nil {
			out[id] = d
		} else if !errors.Is(err, kv.ErrNotFound) {
			return nil, err
		}
	}
	return out, nil
}

// reindexBatch is how many deposits are indexed in one write.
const reindexBatch = 4096

// Reindex completes the index of the shares by record, durably: homes of earlier
// versions have none. It is called at start, before anything is answered; where
// nothing is missing it reads, and writes nothing. An entry too many does no harm
// and goes when a rotation comes upon it.
func (j *Judge) Reindex() error {
	var ops []kv.Op
	err := j.Store.Scan(depositPrefix, nil, func(key, value []byte) (bool, error) {
		var d deposit
		if err := statement.Unmarshal(value, &d); err != nil {
			return false, err
		}
		for _, op := range holdingOps(statement.ID(key[len(depositPrefix):]), nil, d.Shares) {
			_, err := j.Store.Get(op.Key)
			if errors.Is(err, kv.ErrNotFound) {
				ops, err = append(ops, op), nil
			}
			if err != nil {
				return false, err
			}
		}
		if len(ops) < reindexBatch {
			return true, nil
		}
		err := j.Store.Apply(ops)
		ops = nil
		return err == nil, err
	})
	if err != nil || len(ops) == 0 {
		return err
	}
	return j.Store.Apply(ops)
}
