package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// EraseRequest asks to destroy the shares of the keys that an owner's order
// names. The order is its own authority.
type EraseRequest struct {
	_     struct{} `cbor:",toarray"`
	Entry revocation.Entry
}

// EraseReply has a receipt for each key, in the order of their ids in the
// erasure, or the ids of the holds that forbid it, and then nothing was done. A denial
// has neither: see [ErasureDenialIn].
type EraseReply struct {
	_        struct{} `cbor:",toarray"`
	Receipts [][]byte
	Holds    []statement.ID
	Logged   []byte // receipt for the entry in the audit log: package receipt
}

// maxHoldsShown bounds the holds that a refusal names.
const maxHoldsShown = 16

// An erasure goes through these states here, each durable before the next:
//
//	barred     the order is in the statement log: no deposit, re-share or release
//	           of the key from now on, in this process or a later one
//	forgotten  erased/<key> holds the sealed shares, the deposit's record is gone
//	destroyed  their slots are overwritten; erased/<key> holds nothing
//
// A receipt is signed in the last state only. [Judge.Sweep] takes keys from any
// of them to the last, whether they were barred by a request or by what other
// validators' logs say, so that a crash, or an order that came while this
// validator was down, ends in the same place.
var erasedPrefix = []byte("erased/") // + key id -> erased

// erased is what a validator keeps of a key that it destroyed.
type erased struct {
	_       struct{}          `cbor:",toarray"`
	Address []byte            // of the object, empty where no share was ever here
	Pending []keystore.Sealed // shares that may still exist
	Time    int64             // unix seconds
}

// erasures is what a judge keeps about them in memory. The zero value is ready.
type erasures struct {
	holding sync.Mutex            // held while holds are looked at and an order, or a hold, is taken
	leaving sync.RWMutex          // read-held by a release from its last look until its answer is made
	mu      sync.Mutex            // guards what follows
	done    map[statement.ID]bool // orders of which every key is destroyed here
}

// errErased is why nothing of a key is taken or given any more.
var errErased = errors.New("its key was erased by its owner")

// barred reports whether a key is erased for ever.
func (j *Judge) barred(key statement.ID) bool { return j.Set.Barred(key) }

// Erase takes an owner's order, makes it part of this validator's log, destroys
// its shares of the keys, in all epochs, and then signs that it did. It may be
// repeated. Under a legal hold on one of the keys, on a lineage or on a scope that
// they belong to, nothing is done.
func (j *Judge) Erase(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r EraseRequest
	record, seat, err := j.begin(raw, &r)
	if err != nil {
		return nil, err
	}
	b, id, err := r.Entry.VerifyErasure(j.Trust.Network())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := j.mayErase(r.Entry, b.Owner); err != nil {
		// Nobody has proven to be the owner, so the receipt is for nobody, and there is one
		// entry, whatever it names: anybody can sign an order.
		events, lerr := j.ordered(b, b.KeyIDs()[:1], id, event.Denied, because(err, event.Act{}))
		if lerr != nil {
			return nil, lerr
		}
		return nil, j.denyFor(ctx, id, statement.ID{}, err, events...)
	}
	logged, holds, err := j.bar(ctx, c, r.Entry, b, id)
	if err != nil {
		return nil, err
	}
	if len(holds) > 0 {
		return encode(EraseReply{Holds: holds, Logged: logged}), nil
	}
	keys := b.KeyIDs()
	if err := j.destroy(ctx, b.Owner, keys); err != nil {
		return nil, err
	}
	reply := EraseReply{Receipts: make([][]byte, len(keys)), Logged: logged}
	for i, key := range keys {
		if reply.Receipts[i], err = revocation.SignReceipt(revocation.Receipt{
			Network: j.Trust.Network(), Erasure: id, Key: key, Record: record.ID(), Validator: uint16(seat), Time: j.Now().Unix(),
		}, j.Signing); err != nil {
			return nil, err
		}
	}
	return encode(reply), nil
}

// mayErase checks that a present device of the owner signed the order: one that
// the owner has removed is still in an old document.
func (j *Judge) mayErase(e revocation.Entry, owner statement.ID) error {
	id, err := identity.Parse(e.Identity)
	if err != nil {
		return err
	}
	if id, err = id.With(j.Set.IdentityRecords(owner)...); err != nil {
		return err
	}
	s, err := statement.Parse(e.Statement)
	if err != nil {
		return err
	}
	return id.Verify(revocation.KindErasure, s)
}

// bar appends the order to the log unless a hold or a retention forbids it, and gives
// the receipt for that, or for the hold's denial. A hold on a key that is destroyed here
// already came too late and forbids nothing.
func (j *Judge) bar(ctx context.Context, c Conn, e revocation.Entry, b *revocation.Erasure, id statement.ID) (logged []byte, holds []statement.ID, err error) {
	j.erasures.holding.Lock()
	defer j.erasures.holding.Unlock()
	keys := b.KeyIDs()
	var kept error // a retention forbids it
	for _, key := range keys {
		had, err := j.loadErased(key)
		if err == nil && had != nil && len(had.Pending) == 0 {
			continue
		}
		if kept == nil {
			kept = j.retained(key, b)
		}
		on, herr := j.holdsOn(key)
		if err := errors.Join(err, herr); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		holds = append(holds, on...)
	}
	if len(holds) > 0 {
		holds = slices.CompactFunc(holds, func(a, b statement.ID) bool { return a == b })
		events, err := j.ordered(b, keys, id, event.Denied, because(&broken{"legal-hold", "under a legal hold"}, event.Act{}))
		if err != nil {
			return nil, nil, err
		}
		logged, err = j.enter(ctx, id, b.Owner, events...)
		return logged, holds[:min(len(holds), maxHoldsShown)], err
	}
	if errors.Is(kept, ErrUnavailable) {
		return nil, nil, kept
	}
	if kept != nil {
		events, err := j.ordered(b, keys, id, event.Denied, because(kept, event.Act{}))
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, j.denyFor(ctx, id, b.Owner, kept, events...)
	}
	events, err := j.ordered(b, keys, id, event.OK, event.Act{Reason: b.Reason})
	if err != nil {
		return nil, nil, err
	}
	if logged, err = j.enter(ctx, id, b.Owner, events...); err != nil {
		return nil, nil, err
	}
	if _, err := j.appendLone(c, e, revocation.KindErasure, keys[0], b.Owner); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return logged, nil, nil
}

// holdsOn are the holds in force on a key, and on the lineage and the scopes of
// the object here that it belongs to.
func (j *Judge) holdsOn(key statement.ID) (out []statement.ID, err error) {
	ids := []statement.ID{key}
	d, err := j.loadKey(key)
	switch {
	case err == nil:
		m, _, err := d.manifest()
		if err != nil {
			return nil, err
		}
		ids = append(append(ids, m.LineageID()), m.ScopeIDs()...)
	case !errors.Is(err, kv.ErrNotFound):
		return nil, err
	}
	for _, id := range ids {
		for _, f := range j.Set.Holds(id) {
			out = append(out, f.ID)
		}
	}
	return out, nil
}

// destroy destroys every share of an owner's barred keys. On return they are destroyed
// durably, and no release that was judged before is on its way out any more.
func (j *Judge) destroy(ctx context.Context, owner statement.ID, keys []statement.ID) error {
	locked := map[statement.ID]bool{owner: true}
	use := newUsages(j)
	for _, k := range keys {
		locked[k] = true
	}
	unlock := j.deposits.lock(locked)
	defer unlock()
	var pending []keystore.Sealed
	var ops, done []kv.Op
	var events []event.Event
	for _, key := range keys {
		e, deletes, err := j.forget(key, owner, use)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if e == nil {
			continue
		}
		act := event.Act{Object: e.Address, Owner: owner, Detail: fmt.Sprintf("shares of its key: %d", len(e.Pending))}
		if len(act.Object) == 0 {
			act.Object = key[:]
		}
		events = append(events, j.event(event.Destroy, event.OK, act))
		at := slices.Concat(erasedPrefix, key[:])
		ops = append(append(ops, deletes...), kv.Op{Key: at, Value: encode(*e)})
		pending = append(pending, e.Pending...)
		e.Pending = nil
		done = append(done, kv.Op{Key: at, Value: encode(*e)})
	}
	if len(done) > 0 {
		if err := j.note(ctx, events...); err != nil {
			return err
		}
		if err := j.Store.Apply(append(ops, use.ops()...)); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if err := j.Shares.Erase(pending...); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if err := j.Store.Apply(done); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	j.dealt.clear()
	j.erasures.leaving.Lock() // waits for the releases that looked before the bar
	defer j.erasures.leaving.Unlock()
	return nil
}

// forget reads what is to be destroyed of a key: nil where nothing is.
func (j *Judge) forget(key, owner statement.ID, use *usages) (e *erased, ops []kv.Op, err error) {
	had, err := j.loadErased(key)
	if err != nil {
		return nil, nil, err
	}
	d, err := j.loadKey(key)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		if had != nil && len(had.Pending) == 0 {
			return nil, nil, nil
		}
		e = had
		if e == nil {
			e = &erased{}
		}
	case err != nil:
		return nil, nil, err
	default:
		e = &erased{Address: d.Address}
		if had != nil {
			e.Pending = had.Pending
		}
		for _, h := range d.Shares {
			e.Pending = append(e.Pending, h.Share)
		}
		ops = append(holdingOps(key, d.Shares, nil), kv.Op{Key: slices.Concat(depositPrefix, key[:]), Delete: true})
		if err := use.change(owner, -1, -d.size()); err != nil {
			return nil, nil, err
		}
	}
	e.Time = j.Now().Unix()
	return e, ops, nil
}

func (j *Judge) loadErased(key statement.ID) (*erased, error) {
	raw, err := j.Store.Get(slices.Concat(erasedPrefix, key[:]))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var e erased
	if err := statement.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("stored erasure: %w", err)
	}
	return &e, nil
}

// Sweep destroys the shares of all keys that are barred and not held. It is
// called at start, before anything is answered, and whenever the set changes.
func (j *Judge) Sweep(ctx context.Context) error {
	errs := []error{j.takeRoles()}
	for _, f := range j.Set.OfKind(revocation.KindErasure) {
		if j.swept(f.ID) || !j.Set.Vouched(f) {
			continue
		}
		free, held, err := j.unheld(f)
		if err == nil {
			err = j.destroy(ctx, f.Signer, free)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !held {
			j.sweptNow(f.ID)
		}
	}
	return errors.Join(errs...)
}

// unheld leaves out the keys of an order that a hold or a retention keeps.
func (j *Judge) unheld(order *revocation.Fact) (free []statement.ID, held bool, err error) {
	for _, key := range order.Subjects {
		holds, err := j.holdsOn(key)
		if err != nil {
			return nil, false, err
		}
		kept := j.retained(key, order.Body.(*revocation.Erasure))
		switch {
		case errors.Is(kept, ErrUnavailable):
			return nil, false, kept
		case len(holds) > 0 || kept != nil:
			held = true
		default:
			free = append(free, key)
		}
	}
	return free, held, nil
}

func (j *Judge) swept(order statement.ID) bool {
	j.erasures.mu.Lock()
	defer j.erasures.mu.Unlock()
	return j.erasures.done[order]
}

func (j *Judge) sweptNow(order statement.ID) {
	j.erasures.mu.Lock()
	defer j.erasures.mu.Unlock()
	if j.erasures.done == nil {
		j.erasures.done = map[statement.ID]bool{}
	}
	j.erasures.done[order] = true
}

// sweepAgain is when a sweep that failed is tried again, sweepEvery when one is made
// though no statement came: a retention may be over.
const (
	sweepAgain = 10 * time.Second
	sweepEvery = time.Hour
)

// Run sweeps whenever statements become known, and every hour, until ctx ends.
func (j *Judge) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		changed := j.Set.Watch()
		var again <-chan time.Time
		if err := j.Sweep(ctx); err != nil && ctx.Err() == nil {
			j.Logger.Error("shares of erased keys are not destroyed yet", "err", err)
			t := time.NewTimer(sweepAgain)
			defer t.Stop()
			again = t.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-again:
		case <-tick.C:
		}
	}
}
