package revocation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// succeed replaces validator i by one of another network, whose key is returned.
func (w *town) succeed(t *testing.T, i int, name string) (next *trust.Committee, key statement.PrivateKey) {
	t.Helper()
	other := trusttest.New(t, name, 4)
	raw := w.net.Succeed(t, func(r *trust.Record) { r.Validators[i] = other.Validators[0] }, other.Signing[0]).Bytes()
	next, err := w.chain.Add(raw)
	if err != nil {
		t.Fatal(err)
	}
	return next, other.Signing[0]
}

// The tracker follows the committee: answers under the record before do not make
// a view fresh for long, who joins is asked and pulled, who leaves is not asked any more.
func TestTheTrackerFollowsTheCommittee(t *testing.T) {
	w := newTown(t, 4)
	w.tracker.Round(t.Context())
	if !w.tracker.Fresh() {
		t.Fatal("control: not fresh")
	}
	gone := w.servers[3]
	changes := w.set.Changes()
	_, key := w.succeed(t, 3, "joins")
	if w.tracker.settled() {
		t.Error("answers that name the record before count like new ones")
	}
	joined := w.reboot(t, 3, new(kv.Memory))
	joined.sign = func(s *statement.Statement) { s.AddSignature(3, key) }
	w.servers[0].lie(func(s *server) { s.down = errDown }) // so that the new one is needed
	w.rounds(t, joined)
	if !joined.track.Ready() {
		t.Fatal("who joins does not start")
	}
	appendTo(t, joined.log, w.net, w.owner, "new")
	before, _ := gone.counts()
	w.tracker.Round(t.Context())
	if !w.tracker.settled() || len(w.set.Revokers(target("new"))) != 1 {
		t.Error("who joins is not pulled")
	}
	if after, _ := gone.counts(); after != before {
		t.Error("who has left is asked")
	}
	if w.set.Changes() < changes+2 {
		t.Error("who watches the set is not told of the change")
	}
	if w.tracker.Seen(w.net.Validators[3].Signing) != nil {
		t.Error("who has left is still in view")
	}
	joined.lie(func(s *server) { s.sign = nil }) // with the key of who has left
	if err := w.tracker.Ask(t.Context(), 3); !errors.Is(err, statement.ErrSignature) {
		t.Errorf("who has left answers for who has joined: %v", err)
	}
}

// Who comes back after a while cannot show an older log than before.
func TestHeadsOutliveTheCommittee(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 3)
	w.tracker.Round(t.Context())
	w.succeed(t, 3, "joins")
	w.tracker.Round(t.Context())
	back := trusttest.Succeed(t, w.chain.Current(), func(r *trust.Record) { r.Validators[3] = w.net.Validators[3] },
		slices.Concat(w.net.Signing, w.net.Roots, trusttest.New(t, "joins", 4).Signing)...)
	if _, err := w.chain.Add(back.Bytes()); err != nil {
		t.Fatal(err)
	}
	honest := w.servers[3]
	empty := w.reboot(t, 3, new(kv.Memory))
	if _, err := empty.log.start(nil); err != nil {
		t.Fatal(err)
	}
	w.tracker.Round(t.Context())
	if p := w.tracker.Problems(); len(p) != 1 || !strings.Contains(p[0], problemRegress) {
		t.Errorf("an emptied log is not named: %v", p)
	}
	w.servers[3] = honest
	w.tracker.Round(t.Context())
	if p := w.tracker.Problems(); len(p) != 0 || w.tracker.at(3).Seq != 1 {
		t.Errorf("control: %v", p)
	}
}

// An answer under another record does not count, but tells that there is one;
// only the validator itself can tell.
func TestAnAnswerUnderAnotherRecord(t *testing.T) {
	w := newTown(t, 4)
	ahead := w.net.Succeed(t, nil).ID()
	var mu sync.Mutex
	told, policies := map[int]statement.ID{}, map[int]statement.ID{}
	w.tracker.Behind = func(record statement.ID, index int) {
		mu.Lock()
		defer mu.Unlock()
		told[index] = record
	}
	w.tracker.PolicyHead = func(index int, head statement.ID) {
		mu.Lock()
		defer mu.Unlock()
		policies[index] = head
	}
	other := func(f *Fresh) { f.Record, f.Policy = ahead, target("policy") }
	w.servers[1].lie(func(s *server) { s.fresh = other })
	w.servers[2].lie(func(s *server) {
		s.fresh = other
		s.sign = func(f *statement.Statement) { f.AddSignature(2, trusttest.Key("stranger")) }
	})
	w.tracker.Round(t.Context())
	if w.tracker.Fresh() {
		t.Error("it counts")
	}
	if len(told) != 1 || told[1] != ahead {
		t.Errorf("told of %v", told)
	}
	if len(policies) != 2 || policies[0] != w.net.PolicyHead {
		t.Errorf("policies %v", policies)
	}
	w.servers[1].lie(func(s *server) { s.fresh = nil })
	if w.tracker.Round(t.Context()); !w.tracker.Fresh() {
		t.Error("control: not fresh by three answers")
	}
}

// How many answers a view needs follows the record and the place in it.
func TestNeedFollowsTheRecord(t *testing.T) {
	w := newTown(t, 4)
	node, member := w.tracker, w.servers[3].track
	if node.need(w.chain.Current()) != 3 || member.need(w.chain.Current()) != 2 {
		t.Errorf("%d and %d of four", node.need(w.chain.Current()), member.need(w.chain.Current()))
	}
	w.succeed(t, 3, "joins")
	if got := member.need(w.chain.Current()); got != 3 || len(member.others()) != 4 {
		t.Errorf("who has left needs %d, like a node 3", got)
	}
	seven := trusttest.New(t, "seven", 7)
	for _, c := range []struct {
		own  int
		need int
	}{{-1, 5}, {0, 4}} {
		tr := &Tracker{Trust: trust.Fixed(seven.Committee)}
		if c.own >= 0 {
			tr.Own = &Log{self: seven.Validators[c.own].Signing}
		}
		if got := tr.need(seven.Committee); got != c.need {
			t.Errorf("of seven: %d, want %d", got, c.need)
		}
	}
}

// The committee changes while many ask; nothing is asked of nobody, and the view
// is fresh under the last record.
func TestTheCommitteeChangesWhileManyAsk(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 0, 1, 2)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 5 {
				w.tracker.Round(t.Context())
				w.tracker.Fresh()
				w.tracker.Problems()
				w.tracker.Seen(w.net.Validators[0].Signing)
			}
		})
	}
	last := w.net.Committee
	for range 4 {
		next, err := w.chain.Add(trusttest.Succeed(t, last, nil, slices.Concat(w.net.Signing, w.net.Roots)...).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		last = next
	}
	wg.Wait()
	w.tracker.Round(t.Context())
	if !w.tracker.Fresh() || len(w.set.Revokers(target("x"))) != 1 {
		t.Error(fmt.Sprint("not fresh under version ", last.Version))
	}
}

// A change of the committee interrupts nobody: what was known when it came counts for as
// long as there is between two questions, and then no more unless the new committee
// answers. A renewal, which changes neither validators nor numbers, needs no new answers
// at all; a recovery, which ends the record before, asks anew at once.
func TestAChangeInterruptsNobody(t *testing.T) {
	for name, c := range map[string]struct {
		change       func(*trust.Record)
		fresh, later bool
	}{
		"a renewal":     {func(r *trust.Record) { r.Expires-- }, true, true},
		"other numbers": {func(r *trust.Record) { r.Numbers.F = 0 }, true, false},
		"another order": {func(r *trust.Record) { r.Validators[0], r.Validators[1] = r.Validators[1], r.Validators[0] }, true, false},
		"a recovery":    {func(r *trust.Record) { r.RootEpoch++ }, false, false},
	} {
		w := newTown(t, 4)
		w.tracker.Round(t.Context())
		if !w.tracker.Fresh() {
			t.Fatal("control: not fresh")
		}
		if _, err := w.chain.Add(w.net.Succeed(t, c.change).Bytes()); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		w.tracker.Now = func() time.Time { return now }
		want := func(when string, fresh bool) {
			t.Helper()
			if w.tracker.Fresh() != fresh {
				t.Errorf("%s, %s: fresh is %v", name, when, !fresh)
			}
		}
		want("at once", c.fresh)
		if err := w.tracker.adapt(); err != nil {
			t.Fatal(err)
		}
		want("with the new views", c.fresh)
		now = now.Add(AskEvery - time.Second)
		want("before it would ask again", c.fresh)
		now = now.Add(time.Second)
		want("when it would ask again", c.later)
	}
}

// What is kept over a change was fresh before, and does not outlive the answers that it
// rests on; a second change soon after does not prolong it.
func TestWhatIsKeptOverAChangeAges(t *testing.T) {
	fewer := func(r *trust.Record) { r.Numbers.F = 0 }
	swapped := func(r *trust.Record) {
		r.Numbers.F = 0
		r.Validators[0], r.Validators[1] = r.Validators[1], r.Validators[0]
	}
	for _, c := range []struct {
		name         string
		ask          bool
		first        time.Duration // after the answers
		second, then time.Duration // after the first change; second may be 0
		fresh        bool
	}{
		{"control: young", true, 0, 0, AskEvery - 1, true},
		{"the answers are too old", true, MaxAge - AskEvery/2, 0, AskEvery / 2, false},
		{"control: not quite", true, MaxAge - AskEvery/2, 0, AskEvery/2 - 1, true},
		{"a second change", true, 0, AskEvery / 2, AskEvery, false},
		{"control: a second change, not quite", true, 0, AskEvery / 2, AskEvery - 1, true},
		{"no answers", false, 0, 0, 0, false},
	} {
		w := newTown(t, 4)
		start := time.Now()
		now := start
		w.tracker.Now = func() time.Time { return now }
		if c.ask {
			w.tracker.Round(t.Context())
		}
		last := w.net.Committee
		change := func(at time.Duration, how func(*trust.Record)) {
			now = start.Add(at)
			var err error
			if last, err = w.chain.Add(trusttest.Succeed(t, last, how, slices.Concat(w.net.Signing, w.net.Roots)...).Bytes()); err != nil {
				t.Fatal(err)
			}
			if err := w.tracker.adapt(); err != nil {
				t.Fatal(err)
			}
		}
		change(c.first, fewer)
		if c.second > 0 {
			change(c.first+c.second, swapped)
		}
		now = start.Add(c.first + c.then)
		if w.tracker.Fresh() != c.fresh {
			t.Errorf("%s: fresh is %v", c.name, !c.fresh)
		}
	}
}

// The oldest of the answers that are needed counts, by the clock that says more of each:
// two that came while the wall clock was an hour ahead do not hide that the third one came
// before a sleep of an hour.
func TestEachAnswerAgesByItsOwnClocks(t *testing.T) {
	w := newTown(t, 4)
	at := time.Now()
	now := at
	w.tracker.Now = func() time.Time { return now }
	ask := func(wall, mono time.Duration, which ...int) {
		t.Helper()
		now = withClocks(t, at, wall, mono)
		for _, i := range which {
			if err := w.tracker.Ask(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask(time.Hour, 0, 0, 1)
	ask(time.Second, time.Second, 2)
	if !w.tracker.Fresh() {
		t.Error("control: not fresh")
	}
	ask(time.Hour+time.Minute, time.Minute)
	if age, _ := w.tracker.Age(); w.tracker.Fresh() || age < time.Hour {
		t.Errorf("fresh at %v", age)
	}
}
