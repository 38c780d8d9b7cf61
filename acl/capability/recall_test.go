package capability

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// remembers reports whether the wording of a chain is in the memory.
func (vf *Verifier) remembers(c *Chain) bool {
	_, ok := vf.chains.get(statement.Hash("chain", c.Bytes()), rememberedChains)
	return ok
}

// shows opens a chain that the memory knows: control that it does.
func (w *world) shows(t *testing.T, c *Chain, who *trusttest.Person) error {
	t.Helper()
	if !w.vf.remembers(c) {
		t.Fatal("control: the chain is not in the memory")
	}
	_, err := w.open(t, w.vf, c, who.Devices[0])
	return err
}

// That a chain was opened before says nothing of whether it is in force, who holds
// it and what its people are now: all that is looked at again.
func TestARememberedChainIsCheckedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, known logs, c *Chain)
		by     func(w *world) *trusttest.Person
		want   error
	}{
		"nothing changed": {by: func(w *world) *trusttest.Person { return w.friend }},
		"shown by its issuer": {
			by: func(w *world) *trusttest.Person { return w.reader }, want: ErrProof,
		},
		"shown by a stranger": {
			by: func(w *world) *trusttest.Person { return w.stranger }, want: ErrProof,
		},
		"its grant was revoked": {
			change: func(w *world, _ logs, c *Chain) { w.revoke(t, w.owner, statement.ID(idOf(t, c.Grant))) }, want: ErrRevoked,
		},
		"its link was revoked": {
			change: func(w *world, _ logs, c *Chain) { w.revoke(t, w.reader, statement.ID(idOf(t, c.Links[0]))) }, want: ErrRevoked,
		},
		"its consent was revoked": {
			change: func(w *world, _ logs, c *Chain) { w.revoke(t, w.owner, statement.ID(idOf(t, c.Consent))) }, want: ErrRevoked,
		},
		"it expired": {
			change: func(w *world, _ logs, c *Chain) { w.now = w.now.Add(100 * 365 * 24 * time.Hour) }, want: ErrExpired,
		},
		"its audience's device was removed": {
			change: func(w *world, known logs, c *Chain) { known.add(removal(t, w.friend, 0, w)) }, want: ErrProof,
		},
	} {
		w := newWorld(t)
		known := logs{}
		w.vf.People = known
		chain := w.honest(t)
		if w.vf.remembers(chain) {
			t.Fatalf("%s: control: it is remembered before it was shown", name)
		}
		if _, err := w.open(t, w.vf, chain, w.friend.Devices[0]); err != nil {
			t.Fatalf("%s: control: %v", name, err)
		}
		if c.change != nil {
			c.change(w, known, chain)
		}
		by := w.friend
		if c.by != nil {
			by = c.by(w)
		}
		if err := w.shows(t, chain, by); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// What never held is not remembered, nor what somebody shows who does not hold it,
// and another byte makes another chain.
func TestOnlyChainsThatHeldAreRemembered(t *testing.T) {
	w := newWorld(t)
	honest, forged := w.honest(t), w.honest(t)
	forged.Grant = unsigned(t, KindGrant, w.grant()).Bytes()
	if _, err := w.open(t, w.vf, forged, w.friend.Devices[0]); err == nil || w.vf.remembers(forged) {
		t.Errorf("a forged chain: %v", err)
	}
	if _, err := w.open(t, w.vf, honest, w.stranger.Devices[0]); err == nil || w.vf.remembers(honest) {
		t.Errorf("a chain shown by a stranger: %v", err)
	}
	if _, err := w.open(t, w.vf, honest, w.friend.Devices[0]); err != nil || !w.vf.remembers(honest) {
		t.Errorf("control: %v", err)
	}
	if _, err := w.open(t, w.vf, forged, w.friend.Devices[0]); err == nil || w.vf.remembers(forged) {
		t.Errorf("a forged chain beside the honest one: %v", err)
	}
}

// Long chains would fill the memory: they are read every time.
func TestLongChainsAreNotRemembered(t *testing.T) {
	w := newWorld(t)
	wide := w.grant()
	wide.Caveats.Purposes, wide.Caveats.Regions = nil, nil
	for i := range maxPurposes {
		word := strings.Repeat(string(rune('a'+i)), maxWord)
		wide.Caveats.Purposes, wide.Caveats.Regions = append(wide.Caveats.Purposes, word), append(wide.Caveats.Regions, word)
	}
	for name, c := range map[string]struct {
		grant Grant
		links int
		want  bool
	}{"a few links": {w.grant(), 3, true}, "all of them, with their caveats full": {wide, MaxLinks, false}} {
		chain := w.longOf(t, c.grant, c.links)
		holder := w.delegates(t, c.links)[c.links-1]
		if n := len(chain.Bytes()); (n <= rememberedBytes) != c.want {
			t.Fatalf("control: %s: %d bytes", name, n)
		}
		for range 2 {
			if _, err := w.open(t, w.vf, chain, holder.Devices[0]); err != nil || w.vf.remembers(chain) != c.want {
				t.Errorf("%s: %v, and it is remembered: %v", name, err, w.vf.remembers(chain))
			}
		}
	}
}

// Many requests by one chain share what it says.
func TestManyMayShowOneChain(t *testing.T) {
	w := newWorld(t)
	w.vf.People = logs{}
	c := w.honest(t)
	leaf, err := c.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		p, want, _ := w.conversation(leaf)
		proof, raw := prove(t, p, w.friend), c.Bytes()
		wg.Go(func() {
			v, _, err := w.vf.Open(&Authority{Chain: raw, Proof: proof}, want)
			if err != nil {
				t.Error(err)
				return
			}
			if v.Leaf() != leaf || len(v.Describe()) == 0 || w.vf.Live(v) != nil || !v.MayRevoke(w.owner.ID(), leaf) {
				t.Error("it says something else")
			}
		})
	}
	wg.Wait()
}
