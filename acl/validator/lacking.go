package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// lacking are the deposits of which not every dealer of a plan dealt a share, with
// the dealers that did not: their shares never came there, or went since, because
// the owner dealt the object again or all has been settled.
type lacking map[statement.ID][]uint16

func (l lacking) add(keyID statement.ID, dealer uint16) {
	if !slices.Contains(l[keyID], dealer) {
		l[keyID] = append(l[keyID], dealer)
	}
}

// by counts them by dealer.
func (l lacking) by() map[uint16]int {
	out := map[uint16]int{}
	for _, dealers := range l {
		for _, d := range dealers {
			out[d]++
		}
	}
	return out
}

func (l lacking) keys() []statement.ID {
	return slices.SortedFunc(maps.Keys(l), func(a, b statement.ID) int { return bytes.Compare(a[:], b[:]) })
}

// resolve takes out the deposits that need no plan any more: those that are
// erased, and those of which the newest committee holds enough, from another plan
// or because their owner dealt them again.
func (r *Rotation) resolve(ctx context.Context, record *trust.Committee, l lacking) error {
	need := int(record.Numbers.T) + int(record.Numbers.F)
	for keys := range slices.Chunk(l.keys(), maxHave) {
		own := make([][]HeldEpoch, len(keys))
		for i, id := range keys {
			d, err := r.Judge.loadKey(id)
			if err == nil {
				own[i] = d.epochs(record.ID())
			} else if !errors.Is(err, kv.ErrNotFound) {
				return err
			}
		}
		for i, t := range r.tallies(ctx, record, keys, own) {
			if r.Judge.barred(keys[i]) || t.most() >= need {
				delete(l, keys[i])
			}
		}
	}
	return nil
}

// dealers picks T validators of the record before that answer now and were not
// found wanting. Where deposits lacked a dealer, it picks those who together hold
// the most of some hundred of them, and nobody where no T hold any: another plan
// would be no use.
func (r *Rotation) dealers(ctx context.Context, from *trust.Committee, st *progress) []uint16 {
	t := int(from.Numbers.T)
	lacks := st.lacking.by()
	rank := func(holds map[uint16][][]HeldEpoch) []uint16 {
		maps.DeleteFunc(holds, func(d uint16, _ [][]HeldEpoch) bool { return st.bad[d] })
		up := slices.Sorted(maps.Keys(holds))
		slices.SortStableFunc(up, func(a, b uint16) int { return lacks[a] - lacks[b] })
		return up
	}
	if len(st.lacking) == 0 {
		up := rank(r.holders(ctx, from, nil))
		return slices.Sorted(slices.Values(up[:min(len(up), t)]))
	}
	for keys := range slices.Chunk(st.lacking.keys(), maxHave) {
		holds := r.holders(ctx, from, keys)
		up := rank(holds)
		serves, most := map[string]int{}, 0
		var best []uint16
		for i := range keys {
			set := slices.DeleteFunc(slices.Clone(up), func(d uint16) bool { return len(holds[d][i]) == 0 })
			if len(set) < t {
				continue
			}
			set = slices.Sorted(slices.Values(set[:t]))
			name := fmt.Sprint(set)
			if serves[name]++; serves[name] > most {
				best, most = set, serves[name]
			}
		}
		if best != nil || len(up) < t {
			return best
		}
	}
	return nil
}

// holders asks the validators of a record which of its shares they hold, of up to
// maxHave keys: by place, those that answer.
func (r *Rotation) holders(ctx context.Context, from *trust.Committee, keys []statement.ID) map[uint16][][]HeldEpoch {
	j := r.Judge
	holds := map[uint16][][]HeldEpoch{}
	if own := j.seat(from); own >= 0 {
		mine := make([][]HeldEpoch, len(keys))
		for i, id := range keys {
			if d, err := j.loadKey(id); err == nil {
				mine[i] = d.epochs(from.ID())
			}
		}
		holds[uint16(own)] = mine
	}
	for _, a := range r.askAll(ctx, from, RotateHave, encode(HaveRequest{Record: from.ID(), Keys: keys})) {
		var reply HaveReply
		if a.err == nil && decode(a.raw, &reply) == nil && len(reply.Epochs) == len(keys) {
			holds[uint16(a.index)] = reply.Epochs
		}
	}
	return holds
}
