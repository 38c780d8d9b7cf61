package trust

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Errors of a chain that callers branch on.
var (
	// ErrRetired reports a record that a later one declared too old to count, or
	// that stands on a branch which was left.
	ErrRetired = errors.New("the committee record does not count any more")
	// ErrBehind reports a record whose predecessor is not known here: the caller
	// catches up ([Chain.After] of somebody else) and tries again.
	ErrBehind = errors.New("the committee record follows one that is not known here")
	// ErrFork reports a second record for a position that is taken, with all the
	// signatures that it needs. It is kept as evidence; but for a skip, which takes
	// the position from what it voids, it changes nothing.
	ErrFork = errors.New("two committee records claim one position")
)

// Limits of a chain. Recoveries have room beyond what thieves of K keys can fill.
const (
	maxRecords    = 4096
	maxRecoveries = 1024
	maxPage       = 4 << 20 // bytes of records in one page, but at least one record
)

// Chain is what one party knows of a network's committee records, from its first
// one. It is safe for concurrent use; a record that was accepted never changes.
//
// Every record that verifies is kept, also those beside the line that counts: a
// recovery may branch from any of them. The line is found again after each
// addition: from the beginning of the highest root epoch along successors, a
// skip before what it voids, otherwise the record that was met first.
type Chain struct {
	network statement.ID
	store   kv.Store // nil: kept nowhere

	mu         sync.RWMutex
	current    *Committee
	records    map[statement.ID]*Committee
	order      []*Committee // as they were met
	recoveries int
	line       map[statement.ID]bool // ancestors of current, and current
	changed    chan struct{}
	proofs     map[statement.ID]*Proof

	proven proven
}

// Fixed is a chain that begins with one record and is kept nowhere: for tools
// that read a network file, and for tests.
func Fixed(genesis *Committee) *Chain {
	c := &Chain{
		network: genesis.Network(), records: map[statement.ID]*Committee{}, changed: make(chan struct{}), proofs: map[statement.ID]*Proof{},
	}
	c.keep(genesis)
	return c
}

var recordPrefix = []byte("record/")

// OpenChain reads the chain of a network that begins with genesis from a store
// of its own and verifies all of it again. What a store holds of another
// network is an error. Nothing here looks at a clock: an expired record is
// caught up with and followed like any other, [Committee.Live] judges the last.
func OpenChain(store kv.Store, genesis *Committee) (*Chain, error) {
	c := Fixed(genesis)
	err := store.Scan(recordPrefix, nil, func(_, raw []byte) (bool, error) {
		r, err := c.verify(raw)
		if err == nil && r != nil {
			c.keep(r)
		}
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("the kept committee records are damaged: %w", err)
	}
	c.store = store
	if err := c.openProofs(); err != nil {
		return nil, err
	}
	return c, nil
}

// verify checks one record against the one that it follows; nil means that it is
// known already.
func (c *Chain) verify(raw []byte) (*Committee, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if c.records[s.ID()] != nil {
		return nil, nil
	}
	var r Record
	if err := s.Peek(KindRecord, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if len(r.Previous) != len(statement.ID{}) {
		return nil, fmt.Errorf("%w: it is the beginning of another network", ErrRecord)
	}
	before, ok := c.records[statement.ID(r.Previous)]
	if !ok {
		return nil, ErrBehind
	}
	if err := r.checkAfter(before); err != nil { // before any signature
		return nil, err
	}
	recovery := r.recovers(before)
	if recovery && c.recoveries >= maxRecoveries || !recovery && len(c.order)-c.recoveries >= maxRecords {
		return nil, fmt.Errorf("%w: too many records are kept", ErrRecord)
	}
	// Only what verifies is kept, and without the signatures that prove nothing.
	s.Prune(KindRecord, r.SuccessorSigners(before))
	return before.after(s, &r, s.Bytes())
}

// keep takes in a verified record and finds the line again.
func (c *Chain) keep(r *Committee) {
	c.records[r.id], c.order = r, append(c.order, r)
	if r.before != nil && r.start == r {
		c.recoveries++
	}
	last := c.current
	c.current = c.newest()
	if last == c.current {
		return
	}
	c.line = make(map[statement.ID]bool, len(c.order))
	for x := c.current; x != nil; x = x.before {
		c.line[x.id] = true
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// newest walks from the first record: through the beginnings of root epochs, then
// along the highest one. A recovery follows the epoch that counts, wherever in it
// it branches; who holds root keys that were replaced begins no second line.
func (c *Chain) newest() *Committee {
	start := c.order[0]
	for _, r := range c.order { // predecessors come first
		if r.start == r && r.before != nil && r.before.start == start {
			start = r
		}
	}
	next := make(map[*Committee]*Committee)
	for _, r := range c.order {
		if r.start == start && r != start {
			if had := next[r.before]; had == nil || r.Skip && !had.Skip {
				next[r.before] = r
			}
		}
	}
	for next[start] != nil {
		start = next[start]
	}
	return start
}

// Add takes in records in any order and returns the newest after them. What is
// known already is passed over. Each record is verified and durable before it
// counts; those that stood before an error stay. The error is [ErrRecord] for
// what does not verify, [ErrBehind] where the predecessor of one is missing,
// [ErrFork] for evidence of two records in one position.
func (c *Chain) Add(raws ...[]byte) (*Committee, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for progress := true; progress && len(raws) > 0; {
		progress = false
		var later [][]byte
		for _, raw := range raws {
			switch err := c.add(raw); {
			case errors.Is(err, ErrBehind):
				later = append(later, raw)
			case err != nil && !errors.Is(err, ErrFork):
				errs = append(errs, err)
			default:
				progress = true
				if err != nil {
					errs = append(errs, err)
				}
			}
		}
		raws = later
	}
	if len(raws) > 0 {
		errs = append(errs, ErrBehind)
	}
	return c.current, errors.Join(errs...)
}

func (c *Chain) add(raw []byte) error {
	r, err := c.verify(raw)
	if err != nil || r == nil {
		return err
	}
	if c.store != nil {
		key := binary.BigEndian.AppendUint64(append([]byte(nil), recordPrefix...), uint64(len(c.order)))
		if err := c.store.Apply([]kv.Op{{Key: key, Value: r.raw}}); err != nil {
			return fmt.Errorf("the record cannot be kept: %w", err)
		}
	}
	rival := c.rival(r)
	c.keep(r)
	if rival == nil {
		return nil
	}
	if err := c.accuse(rival, r); err != nil {
		return err
	}
	return fmt.Errorf("%w: root epoch %d, version %d: %s and %s", ErrFork, r.RootEpoch, r.Version, rival.id, r.id)
}

// rival finds the other record of r's position, or the other beginning of its
// root epoch.
func (c *Chain) rival(r *Committee) *Committee {
	for _, o := range c.order {
		if o != r && o.RootEpoch == r.RootEpoch && (o.Version == r.Version || o.start == o && r.start == r) {
			return o
		}
	}
	return nil
}

// Network is the id of the first record.
func (c *Chain) Network() statement.ID { return c.network }

// Current is the newest record.
func (c *Chain) Current() *Committee {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current
}

// Known finds any verified record, whether or not it counts.
func (c *Chain) Known(id statement.ID) (*Committee, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.records[id]
	return r, ok
}

// ByID finds a record that still counts: statements name the record whose
// validators signed them. The error is [ErrRetired] for one that was declared
// too old or stands on a branch that was left, [ErrRecord] for one that is not
// known.
func (c *Chain) ByID(id statement.ID) (*Committee, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.records[id]
	if !ok {
		return nil, fmt.Errorf("%w: the record %s is not known here", ErrRecord, id)
	}
	// Along the line versions strictly rise, so they order it.
	if !c.line[id] || r.Version < c.current.oldest.Version {
		return nil, fmt.Errorf("%w: %s", ErrRetired, id)
	}
	return r, nil
}

// After is a page of the records that somebody lacks whose newest is id, oldest
// first: at most limit of them. Who stands on a branch that was left is led from
// where it branched; who names an unknown record, from the beginning.
func (c *Chain) After(id statement.ID, limit int) [][]byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	from := c.records[id]
	for from != nil && !c.line[from.id] {
		from = from.before
	}
	var path []*Committee
	for x := c.current; x != nil && x != from; x = x.before {
		path = append(path, x)
	}
	var page [][]byte
	size := 0
	for i := len(path) - 1; i >= 0 && len(page) < limit; i-- {
		if size += len(path[i].raw); size > maxPage && len(page) > 0 {
			break
		}
		page = append(page, path[i].raw)
	}
	return page
}

// Changed is closed when [Chain.Current] is another record than at the call.
func (c *Chain) Changed() <-chan struct{} {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changed
}

// VerifyMembership checks a credential for a peer against the record that it
// names, which must still count.
func (c *Chain) VerifyMembership(raw []byte, peer statement.PublicKey, now time.Time) (*Membership, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	var m Membership
	if err := s.Peek(KindMembership, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	r, err := c.ByID(m.Record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	return r.verifyMembership(raw, peer, now, &c.proven)
}

// Admits decides whether a peer may speak on the network: validators by the
// newest record alone, expired or not, everybody else by a credential while that
// record lives.
func (c *Chain) Admits(peer statement.PublicKey, credential []byte, now time.Time) (Role, error) {
	return c.Current().admits(peer, credential, now, c.VerifyMembership)
}
