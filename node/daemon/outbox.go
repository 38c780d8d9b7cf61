package daemon

import (
	"bytes"
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
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// outbox finishes deposits. Two things wait in it: requests for validators that
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

// key orders waiting requests by time, then by a counter; the committee record and
// the validator's index in it end it.
func (o *outbox) key(record statement.ID, index int) []byte {
	k := slices.Clone(outboxPrefix)
	k = binary.BigEndian.AppendUint64(k, uint64(o.n.now().UnixNano()))
	k = binary.BigEndian.AppendUint64(k, o.seq.Add(1))
	return binary.BigEndian.AppendUint16(append(k, record[:]...), uint16(index))
}

// deliver sends a dealt batch and returns how many validators took all of it.
// With T or more the objects are shared, and what the others lack is kept here
// before deliver returns; with fewer they stay local and are dealt again later.
func (o *outbox) deliver(ctx context.Context, d *object.Dealt) (acks int, err error) {
	got := o.n.quorum.SendDeposits(ctx, d.Requests)
	var rest []kv.Op
	for i, request := range d.Requests {
		switch outcomes := got[i]; {
		case outcomes == nil:
			rest = append(rest, kv.Op{Key: o.key(d.Record, i), Value: request})
		case allOK(outcomes, len(d.Objects)):
			acks++
		default:
			o.n.log.Warn("a validator refused a deposit", "validator", i+1, "outcomes", worst(outcomes))
		}
	}
	if record, err := o.n.trust.ByID(d.Record); err != nil || acks < int(record.Numbers.T) {
		o.poke()
		return acks, nil
	}
	if len(rest) > 0 {
		if err := o.store.Apply(rest); err != nil {
			return acks, err
		}
		o.poke()
	}
	return acks, o.n.library.MarkShared(d.Objects)
}

func allOK(outcomes []uint8, n int) bool {
	return len(outcomes) == n && worst(outcomes) == validator.ItemOK
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

// Waiting counts the requests and the local objects that are not done.
func (o *outbox) Waiting() (int, error) {
	count := 0
	err := o.store.Scan(outboxPrefix, nil, func(_, _ []byte) (bool, error) {
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
	down := map[int]bool{}
	for {
		items, skipped, err := o.next(down)
		if err != nil {
			return skipped, err
		}
		if len(items) == 0 {
			again, err := o.dealAgain(ctx)
			return skipped + again, err
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
			if worst(outcomes) != validator.ItemOK {
				o.n.log.Warn("a validator refused a deposit", "validator", it.index+1, "outcomes", worst(outcomes))
			}
			if err := o.store.Apply([]kv.Op{{Key: it.key, Delete: true}}); err != nil {
				return len(items) + skipped, err
			}
		}
	}
}

// next reads the oldest requests that are not for validators in down, and counts
// those that are. Requests of an older committee record go: no validator takes
// them any more, and a rotation gives a share to each validator anyway.
func (o *outbox) next(down map[int]bool) (items []waiting, skipped int, err error) {
	record := o.n.trust.Current().ID()
	err = o.store.Scan(outboxPrefix, nil, func(k, v []byte) (bool, error) {
		index := int(binary.BigEndian.Uint16(k[len(k)-2:]))
		if !bytes.HasSuffix(k[:len(k)-2], record[:]) {
			return true, o.store.Apply([]kv.Op{{Key: slices.Clone(k), Delete: true}})
		}
		if down[index] || index >= len(o.n.trust.Current().Validators) {
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
	byOwner := map[statement.ID][]cid.Cid{}
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
		byOwner[owner] = append(byOwner[owner], c)
		fits = min(fits, h.DealSize())
		return true, nil
	})
	if err != nil {
		return left, err
	}
	for owner, addresses := range byOwner {
		for batch := range slices.Chunk(addresses, fits) {
			acks, err := o.dealBatch(ctx, owner, batch)
			if err != nil {
				return left, err
			}
			if acks < int(o.n.trust.Current().Numbers.T) {
				left += len(batch)
			}
		}
	}
	return left, nil
}

func (o *outbox) dealBatch(ctx context.Context, owner statement.ID, batch []cid.Cid) (int, error) {
	p := o.n.principalOf(owner)
	if p == nil {
		return 0, fmt.Errorf("the identity %s is not in this home any more", owner)
	}
	if err := mayAct(p); err != nil {
		return 0, err
	}
	held := make([]*object.Held, 0, len(batch))
	for _, c := range batch {
		h, err := o.n.library.Find(ctx, c)
		if err != nil {
			return 0, err
		}
		held = append(held, h)
	}
	dealt, err := o.n.library.DealAgain(p, held, o.n.addresses())
	if err != nil {
		return 0, err
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
