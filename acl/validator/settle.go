package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// HaveRequest asks which epochs of a record a validator holds shares of.
type HaveRequest struct {
	_      struct{} `cbor:",toarray"`
	Record statement.ID
	Keys   []statement.ID
}

// HaveReply lists, for each key, the epochs of durable shares. It is an
// acknowledgement: what it lists is kept until the record is replaced.
type HaveReply struct {
	_      struct{} `cbor:",toarray"`
	Epochs [][]HeldEpoch
}

// HeldEpoch is one share that a validator holds.
type HeldEpoch struct {
	_     struct{} `cbor:",toarray"`
	Epoch statement.ID
	Made  []byte // which plan made it of which epoch
	Dealt []byte // digests of what each of the plan's dealers sent
}

const maxHave = 512

// AnswerHave tells a validator what this one holds.
func (j *Judge) AnswerHave(c Conn, raw []byte) ([]byte, error) {
	var r HaveRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if len(r.Keys) > maxHave || !j.colleague(c.Client) {
		return nil, ErrDenied
	}
	out := HaveReply{Epochs: make([][]HeldEpoch, len(r.Keys))}
	deposits, err := j.loadAll(r.Keys)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for i, id := range r.Keys {
		if d := deposits[id]; d != nil {
			out.Epochs[i] = d.epochs(r.Record)
		}
	}
	return encode(out), nil
}

func (d *deposit) epochs(record statement.ID) (out []HeldEpoch) {
	for _, h := range d.Shares {
		if h.Record == record {
			out = append(out, HeldEpoch{Epoch: h.Epoch, Made: h.Made, Dealt: h.Dealt})
		}
	}
	return out
}

// colleague reports a validator of the newest record or of the one before it.
func (j *Judge) colleague(peer statement.PublicKey) bool {
	record := j.Trust.Current()
	if _, ok := record.ByPeer(peer); ok {
		return true
	}
	if len(record.Previous) != len(statement.ID{}) {
		return false
	}
	before, ok := j.Trust.Known(statement.ID(record.Previous))
	if !ok {
		return false
	}
	_, ok = before.ByPeer(peer)
	return ok
}

// older is a deposit with shares of older records.
type older struct {
	keyID statement.ID
	own   []HeldEpoch // of the newest record
	none  bool        // it is gone, or has none: the index is wrong
}

// settle destroys the shares of older records wherever the newest committee can
// do without them, and counts the deposits where it cannot yet.
func (r *Rotation) settle(ctx context.Context, record *trust.Committee) (left int, err error) {
	records, err := r.Judge.recordsHeld()
	if err != nil {
		return 0, err
	}
	records = slices.DeleteFunc(records, func(id statement.ID) bool { return id == record.ID() })
	for _, from := range records {
		if err = r.settleFrom(ctx, record, from); err != nil {
			break
		}
	}
	left, cerr := r.Judge.countOlder(records)
	if err := errors.Join(err, cerr); err != nil || left > 0 {
		return left, err
	}
	r.Judge.dealt.clear()
	return 0, r.Judge.dropSeed(record.ID())
}

// countOlder counts the deposits with shares of some records. One may have shares
// of several.
func (j *Judge) countOlder(records []statement.ID) (count int, err error) {
	seen := map[statement.ID]bool{}
	for _, from := range records {
		err := j.holdings(from, nil, func(keyID statement.ID) (bool, error) {
			if len(records) == 1 || !seen[keyID] {
				count++
			}
			if len(records) > 1 {
				seen[keyID] = true
			}
			return true, nil
		})
		if err != nil {
			return count, err
		}
	}
	return count, nil
}

// settleFrom goes round the deposits with shares of one record, once, or up to a
// batch of which none is settled. The others pull in the order of key ids, so what
// is behind that batch is not ready either, and to ask for all of it again and
// again would keep them from getting there. The next round begins behind the
// batch: one that never gets on does not stand in the way of the rest.
func (r *Rotation) settleFrom(ctx context.Context, record *trust.Committee, from statement.ID) error {
	start := r.stuck[from]
	delete(r.stuck, from)
	for _, part := range []struct{ after, end []byte }{{start, nil}, {nil, start}} {
		for after := part.after; ; {
			batch, more, err := r.olderAfter(record, from, after, part.end)
			if err != nil {
				return err
			}
			if len(batch) == 0 {
				break
			}
			after = batch[len(batch)-1].keyID[:]
			settled, err := r.settleBatch(ctx, record, from, batch)
			if err != nil {
				return err
			}
			if settled == 0 {
				if r.stuck == nil {
					r.stuck = map[statement.ID][]byte{}
				}
				r.stuck[from] = after
				return nil
			}
			if !more {
				break
			}
		}
		if start == nil {
			break
		}
	}
	return nil
}

// olderAfter reads deposits with shares of a record, a batch at a time, up to and
// with the key id end (nil: all).
func (r *Rotation) olderAfter(record *trust.Committee, from statement.ID, after, end []byte) (out []older, more bool, err error) {
	ids, err := r.Judge.holdingsAfter(from, after, maxHave)
	if err != nil {
		return nil, false, err
	}
	more = len(ids) == maxHave
	deposits, err := r.Judge.loadAll(ids)
	if err != nil {
		return nil, false, err
	}
	for _, id := range ids {
		if end != nil && bytes.Compare(id[:], end) > 0 {
			return out, false, nil
		}
		o := older{keyID: id, none: true}
		if d := deposits[id]; d != nil {
			o.own, o.none = d.epochs(record.ID()), len(d.epochs(from)) == 0
		}
		out = append(out, o)
	}
	return out, more, nil
}

// settleBatch asks the newest committee about a batch, and counts what could be
// settled. A deposit is settled when T+F validators hold one epoch of it and
// nobody who answers still lacks it: who is late needs the dealers as long as it
// can be reached.
func (r *Rotation) settleBatch(ctx context.Context, record *trust.Committee, from statement.ID, batch []older) (int, error) {
	keys, own := make([]statement.ID, len(batch)), make([][]HeldEpoch, len(batch))
	for i, o := range batch {
		keys[i], own[i] = o.keyID, o.own
	}
	counts := r.tallies(ctx, record, keys, own)
	need := int(record.Numbers.T) + int(record.Numbers.F)
	var settled []statement.ID
	for i, o := range batch {
		switch {
		case o.none, counts[i].most() >= need && !counts[i].lacking:
			settled = append(settled, o.keyID)
		case len(counts[i].answers) >= need && !counts[i].lacking:
			r.suspect(counts[i].disputed())
		}
	}
	return len(settled), r.dropOlder(ctx, record, from, settled)
}

// tallies ask the newest committee about up to maxHave keys; own is what this
// validator holds.
func (r *Rotation) tallies(ctx context.Context, record *trust.Committee, keys []statement.ID, own [][]HeldEpoch) []tally {
	counts := make([]tally, len(keys))
	if r.Judge.seat(record) >= 0 {
		for i := range keys {
			counts[i].add(own[i])
		}
	}
	for _, a := range r.askAll(ctx, record, RotateHave, encode(HaveRequest{Record: record.ID(), Keys: keys})) {
		var reply HaveReply
		if a.err != nil || decode(a.raw, &reply) != nil || len(reply.Epochs) != len(keys) {
			continue
		}
		for i := range keys {
			counts[i].add(reply.Epochs[i])
		}
	}
	return counts
}

// tally is what the newest committee says of one deposit.
type tally struct {
	answers [][]HeldEpoch // of those who hold something
	lacking bool          // somebody holds nothing yet
}

func (t *tally) add(list []HeldEpoch) {
	if len(list) == 0 {
		t.lacking = true
		return
	}
	t.answers = append(t.answers, list)
}

// most is how many hold one epoch, the one that most hold.
func (t *tally) most() (out int) {
	holders := map[statement.ID]int{}
	for _, list := range t.answers {
		seen := map[statement.ID]bool{}
		for _, h := range list {
			if !seen[h.Epoch] {
				seen[h.Epoch] = true
				holders[h.Epoch]++
				out = max(out, holders[h.Epoch])
			}
		}
	}
	return out
}

// disputed finds the dealers, by their place in the plan, of whom receivers have
// seen different commitments: such a dealer, or one of those receivers, lies. The
// result is by [madeBy].
func (t *tally) disputed() map[string][]int {
	first := map[string][]byte{}
	out := map[string][]int{}
	for _, list := range t.answers {
		for _, h := range list {
			if len(h.Made) != 2*len(statement.ID{}) {
				continue
			}
			made := string(h.Made)
			if first[made] == nil {
				first[made] = h.Dealt
				continue
			}
			for at := 0; at+8 <= min(len(h.Dealt), len(first[made])); at += 8 {
				if !bytes.Equal(h.Dealt[at:at+8], first[made][at:at+8]) && !slices.Contains(out[made], at/8) {
					out[made] = append(out[made], at/8)
				}
			}
		}
	}
	return out
}

// suspect leaves disputed dealers out of the next plan. It accuses nobody: a
// receiver may have lied about what it saw.
func (r *Rotation) suspect(disputed map[string][]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for made, places := range disputed {
		for _, st := range r.state {
			if st.plan == nil || !strings.HasPrefix(made, string(st.plan.id[:])) {
				continue
			}
			for _, at := range places {
				if at < len(st.plan.Dealers) {
					st.bad[st.plan.Dealers[at]] = true
				}
			}
		}
	}
}

// dropOlder destroys the older shares of settled deposits, which were found as
// those of one record: the records first, so that a crash in between leaves slots
// that the next start reclaims.
func (r *Rotation) dropOlder(ctx context.Context, record *trust.Committee, from statement.ID, settled []statement.ID) error {
	j := r.Judge
	if len(settled) == 0 {
		return nil
	}
	keys := map[statement.ID]bool{}
	for _, id := range settled {
		keys[id] = true
	}
	unlock := j.deposits.lock(keys)
	defer unlock()
	deposits, err := j.loadAll(settled)
	if err != nil {
		return err
	}
	var ops []kv.Op
	var slots []uint64
	for _, id := range settled {
		ops = append(ops, kv.Op{Key: holdingKey(from, id), Delete: true})
		d := deposits[id]
		if d == nil || len(d.epochs(from)) == 0 {
			continue // erased meanwhile, or dealt again
		}
		var kept []held
		for _, h := range d.Shares {
			if h.Record == record.ID() {
				kept = append(kept, h)
			} else {
				slots = append(slots, h.Share.Slot)
			}
		}
		ops = append(ops, holdingOps(id, d.Shares, kept)...)
		key := slices.Concat(depositPrefix, id[:])
		if len(kept) > 0 {
			d.Shares = kept
			ops = append(ops, kv.Op{Key: key, Value: encode(d)})
			continue
		}
		ops = append(ops, kv.Op{Key: key, Delete: true}, kv.Op{Key: slices.Concat(addressPrefix, d.Address), Delete: true})
		ops = append(ops, withinOps(d, id, true)...)
	}
	if len(slots) > 0 {
		if err := j.Audit.Append(ctx, j.event(event.Retire, event.OK, event.Act{Detail: fmt.Sprintf("%d shares of older committees", len(slots))})); err != nil {
			return err
		}
	}
	if err := j.Store.Apply(ops); err != nil {
		return err
	}
	return j.Shares.Destroy(slots...)
}
