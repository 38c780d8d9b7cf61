package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// outbox finishes deposits, and grants that wait for a person at a validator (see
// pending.go). Of deposits, two things wait in it: requests for validators that
// did not answer, each sealed to its validator and durable here until it
// acknowledges; and objects whose dealing did not reach T validators, which are
// dealt again from the owner's wrap. The first kind is stored, the second is
// read off the objects' state, so neither is lost with the process.
type outbox struct {
	n     *Node
	store *store.KV
	wake  chan struct{}
	seq   atomic.Uint64

	sorted statement.ID // record for which closed deposits were taken out; owned by pass
}

var outboxPrefix = []byte("deposit/")

const (
	outboxFirst = 2 * time.Second
	outboxMost  = 20 * time.Second
)

func newOutbox(n *Node) *outbox {
	return &outbox{n: n, store: n.store.KV("outbox"), wake: make(chan struct{}, 1)}
}

// key orders waiting requests by time, then by a counter; the validator's index
// ends it.
func (o *outbox) key(index int) []byte {
	k := slices.Clone(outboxPrefix)
	k = binary.BigEndian.AppendUint64(k, uint64(o.n.now().UnixNano()))
	k = binary.BigEndian.AppendUint64(k, o.seq.Add(1))
	return binary.BigEndian.AppendUint16(k, uint16(index))
}

// taken counts what validators said to a batch, by object.
type taken struct {
	acks      []int
	conflicts []int
	lost      []bool // to another version of the same sequence
}

func newTaken(objects int) *taken {
	return &taken{acks: make([]int, objects), conflicts: make([]int, objects), lost: make([]bool, objects)}
}

func (t *taken) add(outcomes []uint8) {
	if len(outcomes) != len(t.acks) {
		return // no answer to this batch
	}
	for i, o := range outcomes {
		switch o {
		case validator.ItemOK:
			t.acks[i]++
		case validator.ItemConflict:
			t.conflicts[i]++
		}
	}
}

// least is how many validators hold the object that the fewest hold.
func (t *taken) least() int { return slices.Min(t.acks) }

const quotaWords = "a validator takes no more deposits of this owner, or of this node for today; they are sent again later"

// deliver sends a dealt batch and returns how many validators took each object.
// An object that T or more took is shared, and what the others lack is kept here
// before deliver returns; one that fewer took stays local and is dealt again
// later, unless so many took another version of it that T never will.
func (o *outbox) deliver(ctx context.Context, d *object.Dealt) (*taken, error) {
	got := o.n.quorum.SendDeposits(ctx, d.Requests)
	t := newTaken(len(d.Objects))
	var rest []kv.Op
	for i, request := range d.Requests {
		switch outcomes := got[i]; {
		case outcomes == nil, slices.Contains(outcomes, validator.ItemBehind): // what it lacks may wait here, before this
			rest = append(rest, kv.Op{Key: o.key(i), Value: request})
		case slices.Contains(outcomes, validator.ItemFull): // until something is erased there, or tomorrow
			o.n.log.Warn(quotaWords, "validator", i+1)
			rest = append(rest, kv.Op{Key: o.key(i), Value: request})
		case worst(outcomes) != validator.ItemOK:
			o.n.log.Warn("a validator refused a deposit", "validator", i+1, "outcomes", worst(outcomes))
		}
		t.add(got[i])
	}
	shared, err := o.settle(ctx, d, t)
	if err != nil || len(shared) == 0 {
		o.poke()
		return t, err
	}
	if len(rest) > 0 {
		if err := o.store.Apply(rest); err != nil {
			return t, err
		}
		o.poke()
	}
	return t, o.n.library.MarkShared(shared)
}

// settle finds the objects that are shared now, and marks those that cannot be
// any more.
func (o *outbox) settle(ctx context.Context, d *object.Dealt, t *taken) (shared []cid.Cid, err error) {
	m := o.n.trust.Current().Numbers
	for i, c := range d.Objects {
		switch {
		case t.acks[i] >= int(m.T):
			shared = append(shared, c)
		case t.conflicts[i] > int(m.N)-int(m.T):
			if t.lost[i], err = o.isLost(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	return shared, nil
}

// isLost finds out why validators refuse a version. That a dealing of it with a
// higher number stands, after a clock was put back, passes; that another version
// of its sequence was first does not.
func (o *outbox) isLost(ctx context.Context, c cid.Cid) (bool, error) {
	h, err := o.n.library.Find(ctx, c)
	if err != nil {
		return false, err
	}
	m := h.Manifest.Claims()
	p := o.n.principalOf(m.Owner)
	if m.Sequence == 0 || p == nil {
		return false, nil
	}
	// Asked by the version before: this one may be known to nobody.
	previous, _ := m.PreviousAddress()
	ask := quorum.LatestAsk{Principal: p, Address: previous}
	newest, err := o.n.quorum.Latest(ctx, ask)
	if err != nil {
		return false, nil // nobody knows yet; it is dealt again
	}
	if newest.Manifest.Sequence < m.Sequence || newest.Address == c && newest.Rivals == 0 {
		return false, nil
	}
	o.n.log.Warn("validators took another version first", "object", c, "other", newest.Address)
	return true, o.n.library.MarkConflict(ctx, c)
}

// drop takes back what is on its way of objects that are erased. A request has the
// dealings of many: the others in it are dealt again.
func (o *outbox) drop(erased []cid.Cid) error {
	gone := map[string]bool{}
	for _, c := range erased {
		gone[c.KeyString()] = true
	}
	var ops []kv.Op
	var again []cid.Cid
	err := o.store.Scan(outboxPrefix, nil, func(k, v []byte) (bool, error) {
		addresses, err := addressesIn(v)
		if err != nil {
			return false, err
		}
		if !slices.ContainsFunc(addresses, func(c cid.Cid) bool { return gone[c.KeyString()] }) {
			return true, nil
		}
		ops = append(ops, kv.Op{Key: slices.Clone(k), Delete: true})
		for _, c := range addresses {
			if !gone[c.KeyString()] {
				again = append(again, c)
			}
		}
		return true, nil
	})
	if err != nil || len(ops) == 0 {
		return err
	}
	if err := o.n.library.MarkLocal(again); err != nil { // first: nothing is forgotten in between
		return err
	}
	if err := o.store.Apply(ops); err != nil {
		return err
	}
	o.poke()
	return nil
}

// addressesIn are the objects of a request that this home made.
func addressesIn(request []byte) (out []cid.Cid, err error) {
	var r validator.DepositRequest
	if err := statement.Unmarshal(request, &r); err != nil {
		return nil, err
	}
	for _, it := range r.Items {
		s, err := statement.Parse(it.Dealing)
		if err != nil {
			return nil, err
		}
		var d validator.Dealing
		if err := s.Peek(validator.KindDealing, &d); err != nil {
			return nil, err
		}
		c, err := cid.Cast(d.Manifest)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func worst(outcomes []uint8) uint8 {
	if len(outcomes) == 0 {
		return validator.ItemRefused
	}
	return slices.Max(outcomes)
}

func (o *outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Waiting counts the requests, the local objects and the orders to erase that are
// not done.
func (o *outbox) Waiting() (int, error) {
	orders, err := o.n.erasures.open()
	if err != nil {
		return 0, err
	}
	count := len(orders)
	err = o.store.Scan(outboxPrefix, nil, func(_, _ []byte) (bool, error) {
		count++
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	err = o.n.store.Objects(func(obj store.Object) (bool, error) {
		if obj.Owned && obj.State == object.StateLocal {
			count++
		}
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	records, err := o.waitingRecords()
	return count + records, err
}

// Run finishes what waits, at growing intervals while validators are away.
func (o *outbox) Run(ctx context.Context) error {
	wait := outboxFirst
	for {
		left, err := o.pass(ctx)
		if err == nil {
			var records int
			records, err = o.passRecords(ctx)
			left += records
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrReadOnly):
			return err
		case err != nil:
			o.n.log.Warn("outbox", "err", err)
		}
		if left == 0 {
			wait = outboxFirst
			select {
			case <-ctx.Done():
				return nil
			case <-o.wake:
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, outboxMost)
	}
}

// waiting is one request of the outbox.
type waiting struct {
	key, request []byte
	index        int // of its validator
}

const outboxBatch = 16 // requests in memory at a time; one may have a megabyte

// pass tries everything once and counts what is left. A validator that does not
// answer is not asked again in this pass, and what waits for it does not hold up
// the others.
func (o *outbox) pass(ctx context.Context) (left int, err error) {
	if err := o.dropClosed(); err != nil {
		return 1, err
	}
	down, behind := map[int]bool{}, map[string]bool{}
	for {
		items, skipped, err := o.next(down, behind)
		if err != nil {
			return skipped, err
		}
		if len(items) == 0 {
			again, err := o.dealAgain(ctx)
			if err != nil {
				return skipped + again, err
			}
			wait, err := o.n.askPending(ctx)
			if err != nil {
				return skipped + again + wait, err
			}
			orders, err := o.n.passErasures(ctx)
			return skipped + again + wait + orders, err
		}
		for _, it := range items {
			if down[it.index] {
				continue
			}
			outcomes, ok := o.n.quorum.SendDeposits(ctx, map[int][]byte{it.index: it.request})[it.index]
			if !ok {
				down[it.index] = true
				continue
			}
			if slices.Contains(outcomes, validator.ItemBehind) || slices.Contains(outcomes, validator.ItemFull) {
				behind[string(it.key)] = true // until a version before it has come there, or until there is room
				continue
			}
			if worst(outcomes) != validator.ItemOK {
				o.n.log.Warn("a validator refused a deposit", "validator", it.index+1, "outcomes", worst(outcomes))
			}
			if err := o.store.Apply([]kv.Op{{Key: it.key, Delete: true}}); err != nil {
				return len(items) + skipped, err
			}
		}
	}
}

// next reads the oldest requests that are neither for validators in down nor in
// behind, and counts those that are.
func (o *outbox) next(down map[int]bool, behind map[string]bool) (items []waiting, skipped int, err error) {
	err = o.store.Scan(outboxPrefix, nil, func(k, v []byte) (bool, error) {
		index := int(binary.BigEndian.Uint16(k[len(k)-2:]))
		if down[index] || behind[string(k)] || index >= len(o.n.trust.Current().Validators) {
			skipped++
			return true, nil
		}
		items = append(items, waiting{slices.Clone(k), slices.Clone(v), index})
		return len(items) < outboxBatch, nil
	})
	return items, skipped, err
}

// dealAgain deals local objects again, a batch of each owner at a time.
func (o *outbox) dealAgain(ctx context.Context) (left int, err error) {
	byOwner := map[statement.ID][]*object.Held{}
	fits := validator.MaxBatch
	err = o.n.store.Objects(func(obj store.Object) (bool, error) {
		if !obj.Owned || obj.State != object.StateLocal {
			return true, nil
		}
		c, err := cid.Cast(obj.Address)
		if err != nil {
			return false, err
		}
		h, err := o.n.library.Find(ctx, c)
		if err != nil {
			o.n.log.Error("an object of this home cannot be dealt", "object", c, "err", err)
			return true, nil
		}
		if h.Added > o.n.now().Add(-time.Second*30).Unix() && o.n.busy.Load() > 0 {
			left++ // its add is still under way
			return true, nil
		}
		owner := h.Manifest.Claims().Owner
		byOwner[owner] = append(byOwner[owner], h)
		fits = min(fits, h.DealSize())
		return true, nil
	})
	if err != nil {
		return left, err
	}
	for owner, held := range byOwner {
		slices.SortStableFunc(held, bySequence)
		for batch := range slices.Chunk(held, fits) {
			t, err := o.dealBatch(ctx, owner, batch)
			if err != nil {
				return left, err
			}
			for i := range batch {
				if t.acks[i] < int(o.n.trust.Current().Numbers.T) && !t.lost[i] {
					left++
				}
			}
		}
	}
	return left, nil
}

func (o *outbox) dealBatch(ctx context.Context, owner statement.ID, batch []*object.Held) (*taken, error) {
	p := o.n.principalOf(owner)
	if p == nil {
		return nil, fmt.Errorf("the identity %s is not in this home any more", owner)
	}
	if err := mayAct(p); err != nil {
		return nil, err
	}
	dealt, err := o.n.library.DealAgain(p, batch, o.n.holderAddresses())
	if err != nil {
		return nil, err
	}
	return o.deliver(ctx, dealt)
}

func (n *Node) principalOf(id statement.ID) *home.Principal {
	for _, p := range n.home.Principals() {
		if p.Identity.ID() == id {
			return p
		}
	}
	return nil
}
