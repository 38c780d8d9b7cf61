package validator

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Quota bounds what others make a validator keep. A field that is zero has its
// default. What a rotation brings is counted and never refused.
type Quota struct {
	// Objects and Bytes bound the deposits of one owner. Bytes are those of
	// manifests, dealings and holders, as they are stored; shares come on top, 64
	// bytes each. An erasure gives both back.
	Objects, Bytes int64
	// PeerObjects is how many objects one peer may have deposited, or dealt again,
	// within 24 hours, of whatever owners: an identity costs nothing, membership
	// does. It is counted in memory.
	PeerObjects int64
	// Lone is how many revocations and erasures of one signer, and through one peer,
	// may stand in this validator's log while no other validator's log shows them.
	// Who sends them to every validator, as clients do, never meets it. One who gave
	// them to this validator alone could otherwise make the others stop pulling its
	// log, see [revocation.MaxUnvouched].
	Lone int
}

// DefaultQuota stands for the fields of a [Quota] that are zero.
var DefaultQuota = Quota{Objects: 10_000_000, Bytes: 32 << 30, PeerObjects: 2_000_000, Lone: 1_000}

func orElse[T int | int64](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

func (q Quota) full() Quota {
	return Quota{
		Objects: orElse(q.Objects, DefaultQuota.Objects), Bytes: orElse(q.Bytes, DefaultQuota.Bytes),
		PeerObjects: orElse(q.PeerObjects, DefaultQuota.PeerObjects), Lone: orElse(q.Lone, DefaultQuota.Lone),
	}
}

var usagePrefix = []byte("usage/") // + owner -> usage

// usage is what an owner's deposits take here. It is written in the batch that
// writes or deletes the deposits, under the lock of the owner's id.
type usage struct {
	_       struct{} `cbor:",toarray"`
	Objects int64
	Bytes   int64
}

// usages are those of the owners of one batch, before they are written.
type usages struct {
	j      *Judge
	owners map[statement.ID]*usage
}

func newUsages(j *Judge) *usages { return &usages{j, map[statement.ID]*usage{}} }

func (u *usages) of(owner statement.ID) (*usage, error) {
	if have := u.owners[owner]; have != nil {
		return have, nil
	}
	out := &usage{}
	raw, err := u.j.Store.Get(slices.Concat(usagePrefix, owner[:]))
	if err == nil {
		err = statement.Unmarshal(raw, out)
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("what an owner's deposits take: %w", err)
	}
	u.owners[owner] = out
	return out, nil
}

// change counts deposits that come or go. It never falls below nothing: deposits
// of a home of before there were quotas were not counted when they came.
func (u *usages) change(owner statement.ID, objects, bytes int64) error {
	now, err := u.of(owner)
	if err != nil {
		return err
	}
	now.Objects, now.Bytes = max(0, now.Objects+objects), max(0, now.Bytes+bytes)
	return nil
}

// room reports whether an owner may have that much more.
func (u *usages) room(owner statement.ID, objects, bytes int64) (bool, error) {
	now, err := u.of(owner)
	if err != nil {
		return false, err
	}
	q := u.j.Quota.full()
	return now.Objects+objects <= q.Objects && (bytes <= 0 || now.Bytes+bytes <= q.Bytes), nil
}

func (u *usages) ops() (ops []kv.Op) {
	for owner, now := range u.owners {
		op := kv.Op{Key: slices.Concat(usagePrefix, owner[:]), Value: encode(*now)}
		if *now == (usage{}) {
			op = kv.Op{Key: op.Key, Delete: true}
		}
		ops = append(ops, op)
	}
	return ops
}

// size is what a deposit takes, but for its shares.
func (d *deposit) size() int64 {
	n := len(d.Address) + len(d.Manifest) + len(d.Dealing)
	for _, h := range d.Holders {
		n += len(h)
	}
	return int64(n)
}

// peerID is a peer among those that [counter] counts.
func peerID(peer statement.PublicKey) statement.ID {
	return statement.Hash("peer of a quota", peer[:])
}

// place decides about one item, and makes room for it if it may be written.
func (j *Judge) place(c Conn, p *pending, lines *lineages, use *usages) (outcome uint8, write bool, err error) {
	if j.barred(p.keyID) {
		return ItemErased, false, nil
	}
	same, conflict, err := j.compare(p)
	switch {
	case err != nil || same:
		return ItemOK, false, err
	case conflict:
		return ItemConflict, false, nil
	}
	owner, objects, bytes := p.manifest.Owner, int64(1), p.deposit.size()-p.oldSize
	if p.again {
		objects = 0
	}
	room, err := use.room(owner, objects, bytes)
	if err != nil {
		return 0, false, err
	}
	peer, now := peerID(c.Client), j.Now()
	if !room || j.deposited.take(peer, now, 1) >= j.Quota.full().PeerObjects {
		if room {
			j.deposited.giveBack(peer, now, 1)
		}
		return ItemFull, false, nil
	}
	if !p.again { // one that is held and dealt again moves no head
		if outcome, err = lines.take(p); err != nil || outcome != ItemOK {
			j.deposited.giveBack(peer, now, 1)
			return outcome, false, err
		}
	}
	return ItemOK, true, use.change(owner, objects, bytes)
}

var errLone = errors.New("too many statements of this signer, or through this peer, stand in no other validator's log yet: send them to all")

// loners are statements that came to this validator by requests and that it has
// seen in no other's log. They are counted in memory: a restart makes room once.
type loners struct {
	mu    sync.Mutex
	count map[statement.ID]int // by signer and by peer
	known []loner
}

type loner struct {
	fact         *revocation.Fact
	signer, peer statement.ID
}

// admit makes room for a statement, which settled or giveBack has to end.
func (l *loners) admit(j *Judge, signer, peer statement.ID) error {
	if j.Trust.Current().Numbers.N == 1 {
		return nil // there is no other log
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := j.Quota.full().Lone
	if l.count[signer] >= limit || l.count[peer] >= limit || len(l.known) >= maxUsers {
		l.purge(j.Set)
	}
	if l.count[signer] >= limit || l.count[peer] >= limit {
		return fmt.Errorf("%w: %w", ErrUnavailable, errLone)
	}
	if l.count == nil {
		l.count = map[statement.ID]int{}
	}
	l.count[signer]++
	l.count[peer]++
	return nil
}

// purge forgets what stands in another log by now. The caller holds mu.
func (l *loners) purge(set *revocation.Set) {
	l.known = slices.DeleteFunc(l.known, func(o loner) bool {
		if set.Lone(o.fact) {
			return false
		}
		l.drop(o.signer, o.peer)
		return true
	})
}

func (l *loners) drop(ids ...statement.ID) {
	for _, id := range ids {
		if l.count[id]--; l.count[id] <= 0 {
			delete(l.count, id)
		}
	}
}

// settled keeps count of an admitted statement that the log has now.
func (l *loners) settled(o loner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == nil {
		return // the only validator does not count
	}
	if o.fact == nil {
		l.drop(o.signer, o.peer)
		return
	}
	l.known = append(l.known, o)
}

// appendLone appends an entry that came from a peer to the log.
func (j *Judge) appendLone(c Conn, e revocation.Entry, kind statement.Kind, about, signer statement.ID) (revocation.Position, error) {
	find := func() *revocation.Fact {
		for _, f := range j.Set.Facts(kind, about) {
			if f.Signer == signer {
				return f
			}
		}
		return nil
	}
	if find() != nil { // it takes no new place
		return j.Log.Append(e)
	}
	o := loner{signer: signer, peer: peerID(c.Client)}
	if err := j.lone.admit(j, o.signer, o.peer); err != nil {
		return revocation.Position{}, err
	}
	at, err := j.Log.Append(e)
	if err == nil {
		o.fact = find()
	}
	j.lone.settled(o)
	return at, err
}
