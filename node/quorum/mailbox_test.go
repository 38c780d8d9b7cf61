package quorum_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/node/quorum"
)

// Whoever needs one chain asks one validator. A validator that has none, is silent
// or makes something up costs a moment, and hides nothing.
func TestAReaderFindsAChainAtOneValidator(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	chain := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	good := func(d validator.Delivery) bool { return slices.Equal(d.Chain, chain.Bytes()) }
	var asked atomic.Int32
	counted := func(b behaviour) behaviour {
		return func(ctx context.Context, m quorum.Method, raw []byte, ask func() ([]byte, error)) ([]byte, error) {
			asked.Add(1)
			if b == nil {
				return ask()
			}
			return b(ctx, m, raw, ask)
		}
	}
	find := func() (found, whole bool, requests int32) {
		t.Helper()
		asked.Store(0)
		ds, whole, err := c.FindInMailbox(t.Context(), principal(w.bob), nil, good)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(ds, good), whole, asked.Load()
	}
	w.set(counted(nil), 0, 1, 2, 3)
	if found, whole, n := find(); found || !whole || n < 3 {
		t.Errorf("nobody has one: found %v, whole %v, %d requests; want N-F asked", found, whole, n)
	}
	w.deliver(t, chain, 0, 1, 2, 3)
	if found, whole, n := find(); !found || whole || n != 1 {
		t.Errorf("all have it: found %v, whole %v, %d requests; want one", found, whole, n)
	}
	junk := func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
		return encode(t, validator.MailboxReply{Deliveries: []validator.Delivery{{Chain: []byte("junk")}}}), nil
	}
	empty := func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
		return encode(t, validator.MailboxReply{}), nil
	}
	for name, b := range map[string]behaviour{"absent": absent, "silent": hanging, "junk": junk, "empty": empty} {
		for who := range 4 { // whoever happens to be asked first
			w.set(counted(nil), 0, 1, 2, 3)
			w.set(counted(b), who)
			for range 4 {
				if found, _, _ := find(); !found {
					t.Errorf("%s at %d hides the chain", name, who+1)
				}
			}
		}
	}
}
