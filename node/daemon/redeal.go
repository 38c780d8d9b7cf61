package daemon

import (
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// dropClosed takes out deposits that were dealt to a committee which has been
// replaced since: its epoch is closed, and validators refuse them. Their objects
// become local, so that they are dealt again, to the committee of now. It is done
// once for each record, and once after the start.
func (o *outbox) dropClosed() error {
	record := o.n.trust.Current().ID()
	if o.sorted == record {
		return nil
	}
	var keys [][]byte
	again := map[string]bool{}
	err := o.store.Scan(outboxPrefix, nil, func(k, v []byte) (bool, error) {
		dealt, addresses, err := readDeposit(v)
		if err != nil {
			return false, fmt.Errorf("a request in the outbox: %w", err)
		}
		if dealt == record {
			return true, nil
		}
		keys = append(keys, slices.Clone(k))
		for _, a := range addresses {
			again[string(a)] = true
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	var list []cid.Cid
	for a := range again {
		c, err := cid.Cast([]byte(a))
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	if err := o.n.library.MarkLocal(list); err != nil { // before the requests go: a crash in between deals twice
		return err
	}
	ops := make([]kv.Op, len(keys))
	for i, k := range keys {
		ops[i] = kv.Op{Key: k, Delete: true}
	}
	if len(ops) > 0 {
		if err := o.store.Apply(ops); err != nil {
			return err
		}
		o.n.log.Info("deposits for an earlier committee are dealt again", "objects", len(list))
	}
	o.sorted = record
	return nil
}

// readDeposit finds out to which record a waiting request was dealt, and what is in it.
func readDeposit(raw []byte) (record statement.ID, addresses [][]byte, err error) {
	var r validator.DepositRequest
	if err := statement.Unmarshal(raw, &r); err != nil {
		return record, nil, err
	}
	for _, it := range r.Items {
		s, err := statement.Parse(it.Dealing)
		if err != nil {
			return record, nil, err
		}
		var d validator.Dealing
		if err := s.Peek(validator.KindDealing, &d); err != nil {
			return record, nil, err
		}
		record, addresses = d.Record, append(addresses, d.Manifest)
	}
	return record, addresses, nil
}
