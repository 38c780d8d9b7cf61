package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// keep stores the new shares beside the old ones, durably.
func (r *Rotation) keep(ctx context.Context, p *signedPlan, all []*incoming) error {
	j := r.Judge
	if len(all) == 0 {
		return nil
	}
	keys := map[statement.ID]bool{}
	ids := make([]statement.ID, len(all))
	items := make([]keystore.Item, len(all))
	lines, use := newLineages(j), newUsages(j)
	for i, in := range all {
		ids[i] = in.first.KeyID
		keys[ids[i]] = true
		if in.dep != nil {
			m, _, err := in.dep.manifest()
			if err != nil {
				return err
			}
			keys[m.LineageID()], keys[m.Owner] = true, true
		}
		items[i] = keystore.Item{
			AAD:    shareAAD(in.first.KeyID, in.epoch),
			Secret: append(in.share.Value[:], in.share.Blinding[:]...),
		}
	}
	unlock := j.deposits.lock(keys)
	defer unlock()
	deposits, err := j.loadAll(ids)
	if err != nil {
		return err
	}
	sealed, err := j.Shares.SealMany(items)
	if err != nil {
		return err
	}
	var ops []kv.Op
	var unused []uint64
	for i, in := range all {
		add, err := j.withShare(in, deposits, lines, use, held{
			Epoch: in.epoch, Record: p.Record, Share: sealed[i], Scale: in.scaled.Scale[:], Points: in.scaled.Points,
			Made: in.made, Dealt: in.dealt,
		})
		if err != nil {
			return err
		}
		if add == nil {
			unused = append(unused, sealed[i].Slot)
		}
		ops = append(ops, add...)
	}
	ops = append(append(ops, lines.ops...), use.ops()...)
	if err := j.Audit.Append(ctx, j.event(event.Reshare, event.OK, event.Act{Detail: fmt.Sprintf("%d objects", len(all)-len(unused))})); err != nil {
		return errors.Join(err, j.Shares.Destroy(slotsOf(sealed)...))
	}
	if err := j.Store.Apply(ops); err != nil {
		return err
	}
	return j.Shares.Destroy(unused...)
}

// withShare adds a share to what the store has now, which deposits are; nil where a
// newer dealing took the deposit's place meanwhile, or the key was erased.
func (j *Judge) withShare(in *incoming, deposits map[statement.ID]*deposit, lines *lineages, use *usages, h held) ([]kv.Op, error) {
	keyID := in.first.KeyID
	if j.barred(keyID) {
		return nil, nil
	}
	dep := deposits[keyID]
	var ops []kv.Op
	switch {
	case dep == nil:
		dep = &deposit{Address: in.dep.Address, Manifest: in.dep.Manifest, Dealing: in.dep.Dealing, Holders: in.dep.Holders}
		ops = append(ops, kv.Op{Key: slices.Concat(addressPrefix, dep.Address), Value: keyID[:]})
		if err := lines.inherit(dep); err != nil {
			return nil, err
		}
		ops = append(ops, withinOps(dep, keyID, false)...)
		m, _, err := dep.manifest()
		if err == nil {
			err = use.change(m.Owner, 1, dep.size())
		}
		if err != nil {
			return nil, err
		}
		if len(in.owner) > 0 {
			if id, err := identity.IDOf(in.owner); err == nil {
				ops = append(ops, kv.Op{Key: slices.Concat(ownerPrefix, id[:]), Value: in.owner})
			}
		}
	case !dep.isDealing(in.first.Dealing) || len(dep.Shares) >= MaxEpochs:
		return nil, nil
	}
	deposits[keyID] = dep // another epoch of it may follow
	before := dep.Shares
	dep.Shares = append(slices.Clip(before), h)
	ops = append(ops, holdingOps(keyID, before, dep.Shares)...)
	return append(ops, kv.Op{Key: slices.Concat(depositPrefix, keyID[:]), Value: encode(dep)}), nil
}
