package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// renewed is a change that gives a record an end of its own, n seconds earlier.
func renewed(n int64) func(*trust.Record) { return func(r *trust.Record) { r.Expires -= n } }

func mustAdd(t testing.TB, c *trust.Chain, s *statement.Statement) *trust.Committee {
	t.Helper()
	r, err := c.Add(s.Bytes())
	if err != nil || r.ID() != s.ID() {
		t.Fatalf("an honest record: %v", err)
	}
	return r
}

func keysOf(net *trusttest.Network) []statement.PrivateKey {
	return append(append([]statement.PrivateKey(nil), net.Signing...), net.Roots...)
}

// Each rule of succession has a record that breaks it and nothing else: all keys
// have signed it.
func TestSuccessorsThatAreRefused(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	root := trusttest.Key("another root").Public()
	for name, c := range map[string]struct {
		ok     bool
		change func(*trust.Record)
	}{
		"control":               {true, renewed(1)},
		"a recovery":            {true, func(r *trust.Record) { r.RootEpoch++ }},
		"a skip":                {true, func(r *trust.Record) { r.Skip = true }},
		"the oldest is genesis": {true, func(r *trust.Record) { id := net.ID(); r.Oldest = id[:] }},
		"a version left out":    {false, func(r *trust.Record) { r.Version++ }},
		"the same version":      {false, func(r *trust.Record) { r.Version-- }},
		"other root keys":       {false, func(r *trust.Record) { r.RootKeys = []statement.PublicKey{root} }},
		"two root epochs":       {false, func(r *trust.Record) { r.RootEpoch += 2 }},
		"another name":          {false, func(r *trust.Record) { r.Name = "other" }},
		"unsafe numbers":        {false, func(r *trust.Record) { r.Numbers.K = 2 }},
		"an unknown oldest":     {false, func(r *trust.Record) { r.Oldest = bytes.Repeat([]byte{1}, 32) }},
		"a skip with a change":  {false, func(r *trust.Record) { r.Skip = true; r.Expires-- }},
		"a recovery that skips": {false, func(r *trust.Record) { r.Skip = true; r.RootEpoch++ }},
	} {
		chain := trust.Fixed(net.Committee)
		got, err := chain.Add(net.Succeed(t, c.change).Bytes())
		if c.ok != (err == nil) || c.ok != (got.Version == 2) || !c.ok && !errors.Is(err, trust.ErrRecord) && !errors.Is(err, trust.ErrInequality) {
			t.Errorf("%s: version %d, %v", name, got.Version, err)
		}
	}
	chain := trust.Fixed(net.Committee)
	if _, err := chain.Add(trusttest.New(t, "other", 4).Raw()); !errors.Is(err, trust.ErrRecord) {
		t.Errorf("another network's genesis: %v", err)
	}
	lost := net.Succeed(t, func(r *trust.Record) { r.Previous = bytes.Repeat([]byte{1}, 32) })
	if _, err := chain.Add(lost.Bytes()); !errors.Is(err, trust.ErrBehind) {
		t.Errorf("a record after an unknown one: %v", err)
	}
}

// Who must sign what: K of the old and K of the new validators for a succession,
// the old roots and K of the new validators for a recovery, the roots for a skip.
func TestSuccessorsNeedTheirSignatures(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	heirs, fresh := trusttest.Draft(t, "heirs", 4)
	replace := func(r *trust.Record) { r.Validators = fresh.Validators }
	recovery := func(r *trust.Record) { r.RootEpoch++; replace(r) }
	reroot := func(r *trust.Record) { recovery(r); r.RootKeys = fresh.RootKeys }
	skip := func(r *trust.Record) { r.Skip = true }
	for _, c := range []struct {
		name                         string
		change                       func(*trust.Record)
		old, own, oldRoots, ownRoots int
		ok                           bool
	}{
		{"succession", replace, 3, 3, 0, 0, true},
		{"succession without an old one", replace, 2, 4, 1, 1, false},
		{"succession without a new one", replace, 4, 2, 1, 1, false},
		{"recovery", recovery, 0, 3, 1, 0, true},
		{"recovery without roots", recovery, 4, 4, 0, 1, false},
		{"recovery whose validators do not agree", recovery, 4, 2, 1, 0, false},
		{"recovery with new roots", reroot, 0, 3, 1, 1, true},
		{"recovery whose new roots do not agree", reroot, 4, 4, 1, 0, false},
		{"recovery by the new roots alone", reroot, 4, 4, 0, 1, false},
		{"skip", skip, 0, 0, 1, 0, true},
		{"skip by validators", skip, 4, 4, 0, 0, false},
	} {
		var keys []statement.PrivateKey
		keys = append(append(keys, net.Signing[:c.old]...), heirs.Signing[:c.own]...)
		keys = append(append(keys, net.Roots[:c.oldRoots]...), heirs.Roots[:c.ownRoots]...)
		_, err := trust.Fixed(net.Committee).Add(trusttest.Succeed(t, net.Committee, c.change, keys...).Bytes())
		if c.ok != (err == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// One validator at every index is one signature.
	s, err := statement.Parse(trusttest.Succeed(t, net.Committee, renewed(1)).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		s.AddSignature(uint16(i), net.Signing[0])
	}
	if _, err := trust.Fixed(net.Committee).Add(s.Bytes()); err == nil {
		t.Error("one key counts many times")
	}
}

// TH-09: thieves of k online keys run ahead; a recovery that branches before them
// wins, however long their line is and whoever hears of what first.
func TestThievesWhoRanAheadLose(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	g := net.Committee
	heirs, fresh := trusttest.Draft(t, "heirs", 4)
	thieves := trust.Fixed(g)
	for n := range 5 {
		mustAdd(t, thieves, trusttest.Succeed(t, thieves.Current(), renewed(int64(n)), net.Signing...))
	}
	stolen := thieves.Current()
	if stolen.Version != 6 {
		t.Fatal("control: without a recovery the thieves lead")
	}
	recovery := net.Recover(t, func(r *trust.Record) { r.Validators = fresh.Validators }, heirs.Signing...)
	behind := thieves.After(g.ID(), 100)
	if got, err := thieves.Add(recovery.Bytes()); err != nil || got.ID() != recovery.ID() {
		t.Errorf("a recovery loses to a longer line: %v", err)
	}
	honest := trust.Fixed(g)
	mustAdd(t, honest, recovery)
	if got, _ := honest.Add(behind...); got.ID() != recovery.ID() {
		t.Error("thieves lead away who has recovered")
	}
	for _, c := range []*trust.Chain{thieves, honest} {
		for _, id := range []statement.ID{g.ID(), stolen.ID()} {
			if _, err := c.ByID(id); !errors.Is(err, trust.ErrRetired) {
				t.Errorf("%s counts: %v", id, err)
			}
		}
		if _, err := c.ByID(recovery.ID()); err != nil {
			t.Error(err)
		}
		if page := c.After(stolen.ID(), 10); len(page) != 1 || !bytes.Equal(page[0], c.Current().Raw()) {
			t.Error("who follows the thieves is not led back")
		}
	}
	again := trusttest.Succeed(t, stolen, renewed(9), net.Signing...)
	if got, _ := honest.Add(again.Bytes()); got.ID() != recovery.ID() {
		t.Error("a later record of the lower epoch counts")
	}
}

// Replaced root keys begin no second line, of whatever epoch.
func TestReplacedRootsRecoverNothing(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	heirs, fresh := trusttest.Draft(t, "heirs", 4)
	chain := trust.Fixed(net.Committee)
	r := mustAdd(t, chain, net.Recover(t, func(r *trust.Record) { r.RootKeys = fresh.RootKeys }, heirs.Roots...))
	rival := trust.Fixed(net.Committee)
	one := mustAdd(t, rival, net.Recover(t, renewed(5)))
	two := trusttest.Succeed(t, one, func(r *trust.Record) { r.RootEpoch++ }, keysOf(net)...)
	mustAdd(t, rival, two) // control: by itself it is a line
	got, err := chain.Add(one.Raw(), two.Bytes())
	if !errors.Is(err, trust.ErrFork) || got.ID() != r.ID() {
		t.Errorf("old root keys lead on: %v", err)
	}
}

func TestSkipTakesThePositionFromWhatItVoids(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	skip, late := net.Succeed(t, func(r *trust.Record) { r.Skip = true }), net.Succeed(t, renewed(1))
	for _, order := range [][2]*statement.Statement{{skip, late}, {late, skip}} {
		c := trust.Fixed(net.Committee)
		c.Add(order[0].Bytes())
		if got, err := c.Add(order[1].Bytes()); !errors.Is(err, trust.ErrFork) || got.ID() != skip.ID() {
			t.Errorf("the skip does not stand: %v", err)
		}
	}
}

// An expired record is followed and caught up with; it only stops grants.
func TestAnExpiredRecordIsSucceeded(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	late := trusttest.Start.Add(3 * trust.Lifetime)
	c := trust.Fixed(net.Committee)
	if net.Live(late) == nil {
		t.Fatal("control: the genesis lives for ever")
	}
	r := mustAdd(t, c, net.Succeed(t, func(r *trust.Record) { r.NotBefore, r.Expires = late.Unix(), late.Unix()+60 }))
	if r.Live(late) != nil {
		t.Error("the network does not wake")
	}
}

// Two signatures for one position convict; the proof outlives a restart, and
// proves nothing against those who signed one.
func TestSigningTwiceIsProved(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	a := trusttest.Succeed(t, net.Committee, renewed(1), net.Signing[:3]...)
	b := trusttest.Succeed(t, net.Committee, renewed(2), net.Signing[1:]...)
	var store kv.Memory
	c, err := trust.OpenChain(&store, net.Committee)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, c, a)
	if got, err := c.Add(b.Bytes()); !errors.Is(err, trust.ErrFork) || got.ID() != a.ID() {
		t.Fatalf("a fork: %v", err)
	}
	again, err := trust.OpenChain(&store, net.Committee)
	if err != nil || again.Current().ID() != a.ID() || len(again.Proofs()) != 2 {
		t.Fatalf("after a restart: %v", err)
	}
	for _, p := range again.Proofs() {
		if p.Validator != 1 && p.Validator != 2 {
			t.Errorf("validator %d is accused", p.Validator)
		}
		q, err := trust.ParseProof(p.Bytes())
		if err != nil || q.Verify(c) != nil {
			t.Errorf("the proof does not travel: %v", err)
		}
		for name, change := range map[string]func(q *trust.Proof){
			"of another":   func(q *trust.Proof) { q.Validator = 0 },
			"of nobody":    func(q *trust.Proof) { q.Validator = 9 },
			"of one":       func(q *trust.Proof) { q.Second = q.First },
			"swapped":      func(q *trust.Proof) { q.First, q.Second = q.Second, q.First },
			"a genesis":    func(q *trust.Proof) { q.First = net.Raw() },
			"in no record": func(q *trust.Proof) { q.Record = statement.ID{} },
		} {
			bad := *p
			change(&bad)
			if err := bad.Verify(c); !errors.Is(err, trust.ErrProof) {
				t.Errorf("a proof %s: %v", name, err)
			}
		}
	}
	if len(c.FindEquivocation(a.Bytes(), a.Bytes())) != 0 {
		t.Error("signing one record is a fault")
	}
	if _, err := trust.OpenChain(&store, trusttest.New(t, "other", 4).Committee); err == nil {
		t.Error("a store of another network is opened")
	}
}

type failing struct{ kv.Memory }

func (*failing) Apply([]kv.Op) error { return errors.New("disk full") }

func TestTheGuardPermitsOnce(t *testing.T) {
	a, b := statement.Hash("a"), statement.Hash("b")
	var store kv.Memory
	if err := trust.NewGuard(&store).Permit("committee", 0, 2, a); err != nil {
		t.Fatal(err)
	}
	g := trust.NewGuard(&store) // after a restart
	if err := g.Permit("committee", 0, 2, b); !errors.Is(err, trust.ErrSecond) {
		t.Errorf("a second statement: %v", err)
	}
	for name, err := range map[string]error{
		"the same": g.Permit("committee", 0, 2, a), "a version": g.Permit("committee", 0, 3, b),
		"an epoch": g.Permit("committee", 1, 2, b), "a kind": g.Permit("policy", 0, 2, b),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if trust.NewGuard(&failing{}).Permit("committee", 0, 2, a) == nil {
		t.Error("what is not durable is permitted")
	}
	c, err := trust.OpenChain(&failing{}, trusttest.New(t, "net", 4).Committee)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Add(trusttest.New(t, "net", 4).Succeed(t, nil).Bytes()); err == nil || got.Version != 1 {
		t.Error("a record counts that was not kept")
	}
}

// Random histories, delivered in any order and repeated, lead everybody to the
// same record.
func TestEveryOrderLeadsToTheSameRecord(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tip := net.Committee
		epoch, all := []*trust.Committee{tip}, [][]byte{}
		for n := range 8 {
			from, change := tip, renewed(int64(n))
			if rng.IntN(3) == 0 {
				from = epoch[rng.IntN(len(epoch))]
				change = func(r *trust.Record) { r.RootEpoch++; r.Expires -= int64(n) }
				epoch = nil
			}
			s := trusttest.Succeed(t, from, change, keysOf(net)...)
			scratch := trust.Fixed(net.Committee)
			all = append(all, s.Bytes())
			scratch.Add(all...)
			tip, _ = scratch.Known(s.ID())
			epoch = append(epoch, tip)
		}
		for range 4 {
			c := trust.Fixed(net.Committee)
			for range len(all) {
				for _, i := range rng.Perm(len(all)) {
					c.Add(all[i])
				}
			}
			if c.Current().ID() != tip.ID() {
				t.Errorf("seed %d: version %d, want %d", seed, c.Current().Version, tip.Version)
			}
			fresh := trust.Fixed(net.Committee)
			changed := fresh.Changed()
			for page := fresh.After(tip.ID(), 0); len(page) == 0 || fresh.Current().ID() != tip.ID(); {
				if page = c.After(fresh.Current().ID(), 2); len(page) == 0 {
					break
				}
				fresh.Add(page...)
			}
			select {
			case <-changed:
			default:
				t.Error("nobody was told")
			}
			if fresh.Current().ID() != tip.ID() {
				t.Error(fmt.Sprint("seed ", seed, ": pages do not lead to the newest"))
			}
		}
	}
}
