package daemon

import (
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/quorum"
)

// Records of identities wait here until every validator has them, in the order
// of their validators and ids:
//
//	record/<peer key><record id>   revocation.Entry
var recordPrefix = []byte("record/")

func recordKey(peer statement.PublicKey, id statement.ID) []byte {
	return slices.Concat(recordPrefix, peer[:], id[:])
}

// keepRecords puts records into the outbox, for every validator.
func (o *outbox) keepRecords(recs []*identity.Record, entries []revocation.Entry) error {
	var ops []kv.Op
	for i, rec := range recs {
		raw, err := statement.Marshal(entries[i])
		if err != nil {
			return err
		}
		for _, v := range o.n.trust.Current().Validators {
			ops = append(ops, kv.Op{Key: recordKey(v.Peer, rec.ID()), Value: raw})
		}
	}
	return o.store.Apply(ops)
}

// acked takes a record out for the validators at these indexes.
func (o *outbox) acked(id statement.ID, indexes []int) error {
	var ops []kv.Op
	for _, i := range indexes {
		ops = append(ops, kv.Op{Key: recordKey(o.n.trust.Current().Validators[i].Peer, id), Delete: true})
	}
	return o.store.Apply(ops)
}

// dropRecords takes records out for all.
func (o *outbox) dropRecords(recs []*identity.Record) error {
	var ops []kv.Op
	for _, rec := range recs {
		for _, v := range o.n.trust.Current().Validators {
			ops = append(ops, kv.Op{Key: recordKey(v.Peer, rec.ID()), Delete: true})
		}
	}
	return o.store.Apply(ops)
}

// waitingRecords counts the records that some validator lacks.
func (o *outbox) waitingRecords() (int, error) {
	seen := map[statement.ID]bool{}
	err := o.store.Scan(recordPrefix, nil, func(k, _ []byte) (bool, error) {
		seen[statement.ID(k[len(k)-len(statement.ID{}):])] = true
		return true, nil
	})
	return len(seen), err
}

// passRecords sends every record once to whom it waits for, and counts what is
// left. Who refuses one for good has learned of something that passes it.
func (o *outbox) passRecords(ctx context.Context) (left int, err error) {
	type item struct {
		key  []byte
		peer statement.PublicKey
		id   statement.ID
		e    revocation.Entry
	}
	var items []item
	err = o.store.Scan(recordPrefix, nil, func(k, v []byte) (bool, error) {
		at := k[len(recordPrefix):]
		it := item{key: slices.Clone(k), peer: statement.PublicKey(at[:32]), id: statement.ID(at[32:])}
		if err := statement.Unmarshal(slices.Clone(v), &it.e); err != nil {
			return false, err
		}
		items = append(items, it)
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	down := map[statement.PublicKey]bool{}
	for _, it := range items {
		if down[it.peer] {
			left++
			continue
		}
		err := o.n.quorum.SendRecordTo(ctx, it.peer, it.e, it.id)
		switch {
		case errors.Is(err, quorum.ErrDenied), errors.Is(err, quorum.ErrRefused):
			o.n.log.Warn("a validator refused a record of an identity", "record", it.id, "err", err)
		case err != nil:
			down[it.peer] = true
			left++
			continue
		}
		if err := o.store.Apply([]kv.Op{{Key: it.key, Delete: true}}); err != nil {
			return left, err
		}
	}
	return left, ctx.Err()
}
