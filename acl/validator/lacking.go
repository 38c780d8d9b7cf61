package validator

import (
	"bytes"
	"context"
	"errors"
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
// the most of them, and nobody where no T hold any: another plan would be no use.
func (r *Rotation) dealers(ctx context.Context, from *trust.Committee, st *progress) []uint16 {
	j, t := r.Judge, int(from.Numbers.T)
	keys := st.lacking.keys()
	keys = keys[:min(len(keys), maxHave)]
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
	maps.DeleteFunc(holds, func(d uint16, _ [][]HeldEpoch) bool { return st.bad[d] })
	up := slices.Sorted(maps.Keys(holds))
	lacks := st.lacking.by()
	slices.SortStableFunc(up, func(a, b uint16) int { return lacks[a] - lacks[b] })
	if len(keys) == 0 {
		return slices.Sorted(slices.Values(up[:min(len(up), t)]))
	}
	var best []uint16
	most := 0
	serves := map[string]int{}
	for i := range keys {
		var set []uint16
		var name []byte
		for _, d := range up {
			if len(holds[d][i]) > 0 && len(set) < t {
				set, name = append(set, d), append(name, byte(d>>8), byte(d))
			}
		}
		if len(set) < t {
			continue
		}
		if serves[string(name)]++; serves[string(name)] > most {
			best, most = set, serves[string(name)]
		}
	}
	slices.Sort(best)
	return best
}
