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

func newLineages(j *Judge) *lineages {
	return &lineages{j: j, heads: map[statement.ID]*head{}}
}

// take moves the head of an item's lineage to it. Every outcome but ItemOK
// leaves the head where it is.
func (l *lineages) take(p *pending) (outcome uint8, err error) {
	now, err := l.head(p.lineage)
	if err != nil {
		return 0, err
	}
	next := &head{Sequence: p.manifest.Sequence, Address: p.deposit.Address, Manifest: p.deposit.Manifest}
	if outcome := follows(now, next, p.manifest); outcome != ItemOK {
		return outcome, nil
	}
	l.move(p.lineage, next)
	return ItemOK, nil
}

// inherit takes over a version that validators of an older record vouched for,
// in whatever order they come: the highest sequence is the head.
func (l *lineages) inherit(d *deposit) error {
	m, _, err := d.manifest()
	if err != nil {
		return err
	}
	lineage := m.LineageID()
	now, err := l.head(lineage)
	if err != nil {
		return err
	}
	if now == nil || m.Sequence > now.Sequence {
		l.move(lineage, &head{Sequence: m.Sequence, Address: d.Address, Manifest: d.Manifest})
		return nil
	}
	l.ops = append(l.ops, kv.Op{Key: slices.Concat(versionPrefix, d.Address), Value: lineage[:]})
	return nil
}

func (l *lineages) head(lineage statement.ID) (*head, error) {
	now, seen := l.heads[lineage]
	if seen {
		return now, nil
	}
	now, err := l.j.loadHead(lineage)
	if err == nil {
		l.heads[lineage] = now
	}
	return now, err
}

func (l *lineages) move(lineage statement.ID, next *head) {
	l.heads[lineage] = next
	l.ops = append(l.ops,
		kv.Op{Key: slices.Concat(headPrefix, lineage[:]), Value: encode(next)},
		kv.Op{Key: slices.Concat(versionPrefix, next.Address), Value: lineage[:]})
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
