package daemon

import (
	"context"
	"errors"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// expiryReason stands in the orders by which a node erases what has expired.
const expiryReason = "it has expired"

// mayEraseNow refuses to erase an object of this home before its time. Whether an
// order may override the mode governance, the validators judge: they know the roles.
func (n *Node) mayEraseNow(ctx context.Context, p *home.Principal, h *object.Held, reason string) error {
	labels, err := h.Labels()
	if err != nil {
		return err
	}
	kept, err := validator.ReadRetention(labels.Labels)
	if err != nil || !kept.Retained(n.now()) {
		return nil // labels that no validator takes retain nothing
	}
	if kept.Mode == validator.RetainGovernance && strings.HasPrefix(reason, validator.OverridePrefix) {
		return nil
	}
	if err := n.record(ctx, event.Erase, event.Denied, event.Act{Actor: p.Identity.ID(), Object: h.CID.Bytes(), Rule: "retention-" + kept.Mode}); err != nil {
		return err
	}
	until := stamp(kept.Until)
	if kept.Mode == validator.RetainCompliance {
		return fault.New(fault.Denied, "nobody can erase it before; grants of it can be revoked", "%s is retained until %s", h.CID, until)
	}
	return fault.New(fault.Denied, "who has the role "+validator.RoleRetention+" may erase it with --override-retention and --reason", "%s is retained until %s", h.CID, until)
}

// mustKeep reports whether an object of this home is retained in the mode compliance:
// then it is not dropped, whoever says that it was erased.
func (n *Node) mustKeep(h *object.Held) bool {
	if !h.Owned {
		return false // its labels are not known here
	}
	labels, err := h.Labels()
	if err != nil {
		return false
	}
	kept, err := validator.ReadRetention(labels.Labels)
	return err == nil && kept.Mode == validator.RetainCompliance && kept.Retained(n.now())
}

// refusedErasure is for an order that more validators than may lie refuse.
func refusedErasure(c cid.Cid) error {
	return fault.New(fault.Denied, "an object is erased after its retention, or by an owner with the role "+validator.RoleRetention+" with --override-retention",
		"the validators refuse to erase %s", c)
}

// expired are the objects of this home whose time to be erased has come.
func (n *Node) expired(ctx context.Context) (out []cid.Cid, err error) {
	err = n.store.Objects(func(o store.Object) (bool, error) {
		if !o.Owned || o.State == object.StateErased {
			return true, nil
		}
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		h, err := n.library.Find(ctx, c)
		if err != nil {
			return ctx.Err() == nil, ctx.Err() // damaged: `verify` says so
		}
		labels, err := h.Labels()
		if err != nil {
			return true, nil
		}
		if kept, err := validator.ReadRetention(labels.Labels); err == nil && kept.Expire > 0 && n.now().Unix() >= kept.Expire {
			out = append(out, c)
		}
		return true, nil
	})
	return out, err
}

// expire orders the erasure of what has expired. What a hold keeps is tried again the
// next time.
func (n *Node) expire(ctx context.Context) error {
	due, err := n.expired(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range due {
		if orders, err := n.erasures.at(c); err != nil || len(orders) > 0 {
			errs = append(errs, err) // its order goes on by itself
			continue
		}
		if _, err := n.Erase(ctx, api.EraseRequest{Address: c.String(), ThisVersion: true, Reason: expiryReason}); err != nil {
			n.log.Warn("what has expired is not erased yet", "object", c, "err", err)
		}
	}
	return errors.Join(errs...)
}

// expireEvery is how often a node looks for what has expired.
const expireEvery = time.Minute

// runExpiry erases what has expired, until ctx ends.
func (n *Node) runExpiry(ctx context.Context) error {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		if err := n.expire(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("looking for what has expired", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
