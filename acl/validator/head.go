package validator

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// A lineage has one head at each validator: its newest version that was taken.
// It is written in the batch that writes the deposit, so that neither stands
// without the other, and it outlives the version's share: a head that was
// forgotten would let an older version return.
var (
	headPrefix    = []byte("head/")    // + lineage id -> head
	versionPrefix = []byte("version/") // + address -> lineage id, of all versions taken
)

// head is the newest version of a lineage, with its signed manifest.
type head struct {
	_        struct{} `cbor:",toarray"`
	Sequence uint64
	Address  []byte
	Manifest []byte // block
}

// loadHead reads the head of a lineage, nil where it has none.
func (j *Judge) loadHead(lineage statement.ID) (*head, error) {
	raw, err := j.Store.Get(slices.Concat(headPrefix, lineage[:]))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var h head
	if err := statement.Unmarshal(raw, &h); err != nil {
		return nil, fmt.Errorf("stored head: %w", err)
	}
	return &h, nil
}

// lineages are the heads that one deposit moves, before they are written: a
// version in it may follow another. The caller holds the locks of their ids.
type lineages struct {
	j     *Judge
	heads map[statement.ID]*head
	ops   []kv.Op
}

// take moves the head of an item's lineage to it. Every outcome but ItemOK
// leaves the head where it is.
func (l *lineages) take(p *pending) (outcome uint8, err error) {
	now, seen := l.heads[p.lineage]
	if !seen {
		if now, err = l.j.loadHead(p.lineage); err != nil {
			return 0, err
		}
		l.heads[p.lineage] = now
	}
	next := &head{Sequence: p.manifest.Sequence, Address: p.deposit.Address, Manifest: p.deposit.Manifest}
	if outcome := follows(now, next, p.manifest); outcome != ItemOK {
		return outcome, nil
	}
	l.heads[p.lineage] = next
	l.ops = append(l.ops,
		kv.Op{Key: slices.Concat(headPrefix, p.lineage[:]), Value: encode(next)},
		kv.Op{Key: slices.Concat(versionPrefix, next.Address), Value: p.lineage[:]})
	return ItemOK, nil
}

// follows decides whether a version may become the head after another.
func follows(now, next *head, m *envelope.Manifest) uint8 {
	switch {
	case now == nil && next.Sequence == 0:
		return ItemOK
	case now == nil:
		return ItemBehind
	case bytes.Equal(now.Address, next.Address):
		return ItemOK // the same head again
	case now.Sequence+1 == next.Sequence && bytes.Equal(m.Previous, now.Address):
		return ItemOK
	case next.Sequence > now.Sequence && next.Sequence-now.Sequence > 1:
		return ItemBehind
	}
	return ItemConflict
}
