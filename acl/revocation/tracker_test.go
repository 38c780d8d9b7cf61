package revocation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var errDown = errors.New("unreachable")

// run starts a tracker in a bubble of fake time and stops it with the test.
func run(t *testing.T, tr *Tracker) {
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- tr.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("it stopped because of %v", err)
		}
	})
	synctest.Wait()
}

func later(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

// RV-04: a node that hears nobody serves for five minutes and no longer.
func TestFreshnessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 4)
		if _, ok := w.tracker.Age(); ok || w.tracker.Fresh() {
			t.Error("fresh before anybody has answered")
		}
		run(t, w.tracker)
		if age, ok := w.tracker.Age(); !ok || age != 0 || !w.tracker.Fresh() {
			t.Fatalf("not fresh after everybody has answered: %v, %v", age, ok)
		}
		later(10 * time.Minute) // it keeps asking
		if !w.tracker.Fresh() {
			t.Fatal("not fresh while everybody answers")
		}
		later(time.Second) // so that no answer is under way
		age, _ := w.tracker.Age()
		for _, s := range w.servers {
			s.lie(func(s *server) { s.down = errDown })
		}
		later(MaxAge - age - 1)
		if got, _ := w.tracker.Age(); !w.tracker.Fresh() || got != MaxAge-1 {
			t.Errorf("not fresh at %v", got)
		}
		later(1)
		if got, _ := w.tracker.Age(); w.tracker.Fresh() || got != MaxAge {
			t.Errorf("fresh at %v", got)
		}
		later(time.Hour)
		if w.tracker.Fresh() {
			t.Error("fresh after an hour of silence")
		}
		w.servers[3].lie(func(s *server) { s.down = nil })
		w.servers[0].lie(func(s *server) { s.down = nil })
		later(time.Minute)
		if w.tracker.Fresh() {
			t.Error("fresh by two of the three that it needs")
		}
		w.servers[2].lie(func(s *server) { s.down = nil })
		later(2 * time.Second) // while not fresh it asks every second
		if !w.tracker.Fresh() {
			t.Error("not fresh although three answer again")
		}
	})
}

// The age is that of the answer that freshness rests on: the t-th newest.
func TestAgeIsThatOfTheLastNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 4) // t = 3
		for i := range 4 {
			if age, ok := w.tracker.Age(); ok && i < 3 {
				t.Errorf("%d answers have an age: %v", i, age)
			}
			if err := w.tracker.Ask(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			later(10 * time.Second)
		}
		if age, ok := w.tracker.Age(); !ok || age != 30*time.Second {
			t.Errorf("answers of 10, 20, 30 and 40 seconds have the age %v, %v", age, ok)
		}
	})
}

// An answer says what was true when it was asked for, however late it comes: who
// delays answers does not keep an old view alive.
func TestALateAnswerIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 1)
		w.servers[0].lie(func(s *server) {
			s.wait = func(context.Context) error { time.Sleep(9 * time.Second); return nil }
		})
		w.tracker.Round(t.Context())
		if age, ok := w.tracker.Age(); !ok || age != 9*time.Second {
			t.Errorf("its age is %v, %v", age, ok)
		}
	})
}

func TestHowOftenItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 1)
		run(t, w.tracker)
		asked := func() int { n, _ := w.servers[0].counts(); return n }
		if asked() != 1 {
			t.Fatalf("asked %d times at the start", asked())
		}
		later(AskEvery - 1)
		if asked() != 1 {
			t.Errorf("asked %d times in the first minute", asked())
		}
		later(1)
		if asked() != 2 {
			t.Errorf("asked %d times after a minute", asked())
		}
		w.tracker.Hint()
		w.tracker.Hint() // never blocks
		w.tracker.Hint()
		synctest.Wait()
		if n := asked(); n < 3 || n > 4 {
			t.Errorf("asked %d times after a hint", n)
		}
		w.servers[0].lie(func(s *server) { s.down = errDown })
		later(MaxAge + AskEvery)
		if w.tracker.Fresh() {
			t.Fatal("fresh")
		}
		before := asked()
		later(10 * time.Second)
		if n := asked() - before; n != 10 {
			t.Errorf("asked %d times in ten seconds without freshness", n)
		}
	})
}

// An effective revocation is at n-t+1 honest validators, so whichever t answer a
// node: where it is fresh, it knows.
func TestFreshMeansThatItKnows(t *testing.T) {
	for _, n := range []int{1, 4, 7} {
		for absent := range n { // the honest ones that have it start here
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, n)
				m := w.net.Numbers
				var holders []int
				for i := range n - int(m.T) + 1 {
					holders = append(holders, (absent+i)%n)
				}
				w.revoke(t, "x", holders...)
				for i := range int(m.F) { // and f are silent, of those that have it
					w.servers[(absent+i)%n].lie(func(s *server) { s.down = errDown })
				}
				w.tracker.Round(t.Context())
				if !w.tracker.Fresh() {
					t.Fatalf("n=%d: not fresh without f validators", n)
				}
				if got := w.set.Revokers(target("x")); !slices.Equal(got, []statement.ID{w.owner.ID()}) {
					t.Errorf("n=%d, silent from %d on: fresh, but %v have revoked", n, absent, got)
				}
				if len(holders) > int(m.F) { // control: with fewer acknowledgements it can be missed
					few := newTown(t, n)
					few.revoke(t, "x", holders[:m.F]...)
					for i := range int(m.F) {
						few.servers[(absent+i)%n].lie(func(s *server) { s.down = errDown })
					}
					few.tracker.Round(t.Context())
					if !few.tracker.Fresh() || len(few.set.Revokers(target("x"))) != 0 {
						t.Errorf("control: n=%d: a revocation at f silent validators is known", n)
					}
				}
			})
		}
	}
}

// TH-08, seen from a node: heads never regress, not over a restart either.
func TestHeadsOutliveTheProcess(t *testing.T) {
	w := newTown(t, 1)
	w.revoke(t, "x", 0)
	w.revoke(t, "y", 0)
	w.tracker.Round(t.Context())
	if !w.tracker.Fresh() {
		t.Fatal("control: not fresh")
	}
	honest := w.servers[0]
	restart := func() *Tracker { return w.open(t, openSet(t, w.store, w.net)) }

	another := func() *server {
		s := w.boot(t, 0, new(kv.Memory))
		if _, err := s.log.start(nil); err != nil {
			t.Fatal(err)
		}
		return s
	}
	rolledBack := another()
	appendTo(t, rolledBack.log, w.net, w.owner, "x")
	forked := another()
	appendTo(t, forked.log, w.net, w.owner, "y", "x")
	longer := another()
	appendTo(t, longer.log, w.net, w.owner, "y", "x", "z")
	for name, s := range map[string]*server{"rolled back": rolledBack, "forked": forked, "forked and longer": longer} {
		w.servers[0] = s
		tr := restart()
		tr.Round(t.Context())
		if tr.Fresh() {
			t.Errorf("after a restart, a log that was %s counts", name)
		}
		nothing := &town{net: w.net, chain: w.chain, servers: w.servers, store: new(kv.Memory)}
		fresh := nothing.open(t, openSet(t, nothing.store, w.net)) // control: who has seen nothing cannot tell
		if err := fresh.Ask(t.Context(), 0); err != nil {
			t.Errorf("control: %s: %v", name, err)
		}
	}
	w.servers[0] = honest
	_, before := honest.counts()
	tr := restart()
	if tr.Fresh() {
		t.Error("fresh by what the process before has heard")
	}
	tr.Round(t.Context())
	if _, after := honest.counts(); !tr.Fresh() || after != before {
		t.Errorf("the log is pulled again: %d entries", after-before)
	}
	w.revoke(t, "z", 0)
	tr.Round(t.Context())
	if _, after := honest.counts(); !tr.Fresh() || after != before+1 {
		t.Errorf("one new entry costs %d", after-before)
	}
	if err := w.store.Apply([]kv.Op{{Key: seenKey(w.net.Validators[0].Signing), Value: []byte("junk")}}); err != nil {
		t.Fatal(err)
	}
	tr = &Tracker{Trust: w.chain, Store: w.store}
	if err := tr.Open(); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("a damaged head: %v", err)
	}
	tr.Store = unreadable{w.store}
	if err := tr.Open(); !errors.Is(err, errDisk) {
		t.Errorf("a head that cannot be read: %v", err)
	}
}

type unreadable struct{ kv.Store }

func (unreadable) Get([]byte) ([]byte, error) { return nil, errDisk }

// A validator keeps in its own log what it finds in F+1 others, and needs the
// others alone.
func TestValidatorsKeepEachOthersRevocations(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 2)
	w.revoke(t, "x", 3)
	own := w.servers[1]
	w.servers[0].lie(func(s *server) { s.down = errDown })
	own.track.Round(t.Context())
	if !own.track.Fresh() {
		t.Error("a validator that hears n-f-1 others is not fresh")
	}
	if n, _ := own.counts(); n != 0 {
		t.Error("it asks itself")
	}
	if own.log.Head().Seq != 1 || len(own.set.Revokers(target("x"))) != 1 {
		t.Errorf("its own log stands at %v", own.log.Head())
	}
	w.servers[2].lie(func(s *server) { s.down = errDown })
	w.servers[3].lie(func(s *server) { s.down = errDown })
	node := w.open(t, w.set)
	w.servers[0].lie(func(s *server) { s.down = nil })
	node.Round(t.Context())
	if node.Fresh() || len(w.set.Revokers(target("x"))) != 1 {
		t.Error("a node does not hear of it from the validator that pulled")
	}
	alone := w.boot(t, 1, new(kv.Memory)).track
	alone.Round(t.Context())
	if alone.Fresh() {
		t.Error("control: one answer is two")
	}
}

func TestTheOnlyValidatorIsAlwaysFresh(t *testing.T) {
	w := newTown(t, 1)
	tr := w.boot(t, 0, new(kv.Memory)).track
	if age, ok := tr.Age(); !ok || age != 0 || !tr.Fresh() {
		t.Errorf("%v, %v", age, ok)
	}
	tr.Round(t.Context())
	if n, _ := w.servers[0].counts(); n != 0 || !tr.Fresh() {
		t.Error("it asks itself")
	}
}

// A newcomer catches up with a log that takes longer to pull than a round lasts.
func TestALongLogIsCaughtUpWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 1)
		var batch []Entry
		for i := range 2*MaxTail + 10 { // three pages
			batch = append(batch, entry(t, w.net, w.owner, fmt.Sprint(i)))
		}
		s := w.servers[0]
		if err := s.log.Take(batch); err != nil {
			t.Fatal(err)
		}
		var pages []uint64
		s.tail = func(seq uint64, e []Entry) ([]Entry, error) {
			pages = append(pages, seq)
			if len(pages) > 20 {
				t.Fatal("it begins again and again")
			}
			if len(pages)%2 == 0 {
				return nil, context.DeadlineExceeded // one page a round
			}
			return e, nil
		}
		for range 2 {
			w.tracker.Round(t.Context())
			if w.tracker.Fresh() {
				t.Error("fresh by a part of the log")
			}
			if again := w.open(t, w.set); again.at(0).Seq != 0 {
				t.Error("a head that nobody has signed is stored")
			}
		}
		w.tracker.Round(t.Context())
		if !w.tracker.Fresh() || w.set.Changes() != uint64(len(batch)) {
			t.Errorf("pages after %v; %d of %d entries", pages, w.set.Changes(), len(batch))
		}
		if want := []uint64{0, 200, 200, 400, 400}; !slices.Equal(pages, want) {
			t.Errorf("pages after %v, want %v", pages, want)
		}
	})
}

// A validator that accepts a question and never answers costs a round ten
// seconds, not freshness.
func TestAStalledValidator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 4)
		w.servers[1].lie(func(s *server) {
			s.wait = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		})
		began := time.Now()
		w.tracker.Round(t.Context())
		if d := time.Since(began); d != roundTime {
			t.Errorf("a round took %v", d)
		}
		if !w.tracker.Fresh() {
			t.Error("not fresh although three answered")
		}
		run(t, w.tracker)
		later(20 * time.Minute)
		if !w.tracker.Fresh() {
			t.Error("not fresh in the long run")
		}
	})
}

// withClocks is a time that the wall clock shows as wall and the monotonic clock
// as mono later than at. Package time has no way to set them apart, as a suspend
// or a hand does, so the test knows the layout of time.Time.
func withClocks(t *testing.T, at time.Time, wall, mono time.Duration) time.Time {
	out := at.Add(wall)
	(*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(&out)).ext += int64(mono - wall)
	if out.Sub(at) != mono || out.Round(0).Sub(at.Round(0)) != wall {
		t.Fatal("time.Time has another layout; withClocks must follow it")
	}
	return out
}

// Neither clock alone keeps an old view alive: not a wall clock that is set back
// or runs slow, nor a monotonic clock that stands still while a laptop sleeps.
func TestClocksThatDisagree(t *testing.T) {
	for _, c := range []struct {
		name       string
		wall, mono time.Duration
		fresh      bool
	}{
		{"control: a minute", time.Minute, time.Minute, true},
		{"control: five minutes", MaxAge, MaxAge, false},
		{"the wall clock is set back a day", -24 * time.Hour, MaxAge, false},
		{"the wall clock stands still", 0, MaxAge, false},
		{"the wall clock is set back, a minute later", -24 * time.Hour, time.Minute, true},
		{"the laptop slept for a night", 8 * time.Hour, time.Minute, false},
	} {
		w := newTown(t, 1)
		at := time.Now()
		now := at
		w.tracker.Now = func() time.Time { return now }
		w.tracker.Round(t.Context())
		if !w.tracker.Fresh() {
			t.Fatal("control: not fresh")
		}
		now = withClocks(t, at, c.wall, c.mono)
		if got := w.tracker.Fresh(); got != c.fresh {
			age, _ := w.tracker.Age()
			t.Errorf("%s: fresh %v at %v", c.name, got, age)
		}
	}
}

// Rounds, hints and questions at once; each entry is pulled once from each
// validator, however many ask.
func TestATrackerServesManyAtOnce(t *testing.T) {
	w := newTown(t, 4)
	for i := range 20 {
		w.revoke(t, fmt.Sprint(i), 0, 1, 2, 3)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				w.tracker.Round(t.Context())
				w.tracker.Hint()
			}
		})
		wg.Go(func() {
			for range 200 {
				w.tracker.Age()
				w.tracker.Fresh()
				w.set.Revokers(target("3"))
			}
		})
	}
	wg.Go(func() {
		for i := range 10 {
			w.revoke(t, fmt.Sprint("late ", i), 3)
		}
	})
	wg.Wait()
	w.tracker.Round(t.Context())
	if !w.tracker.Fresh() || w.set.Changes() != 30 {
		t.Errorf("fresh %v, %d entries", w.tracker.Fresh(), w.set.Changes())
	}
	for i, s := range w.servers {
		if _, read := s.counts(); read != 20 && i != 3 || i == 3 && read < 30 {
			t.Errorf("validator %d showed %d entries", i, read)
		}
	}
}

// RV-01: whoever is told that something was revoked knows it at once, although f
// validators stall: enough answers are enough.
func TestRefreshWaitsForEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 4)
		stall := func(s *server) {
			s.wait = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}
		w.revoke(t, "x", 1, 2)
		w.servers[1].lie(stall)
		began := time.Now()
		if err := w.tracker.Refresh(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if !w.tracker.Fresh() || len(w.set.Revokers(target("x"))) != 1 {
			t.Error("it does not know of a revocation at two of four")
		}
		w.servers[2].lie(stall)
		began = time.Now()
		if err := w.tracker.Refresh(t.Context()); err == nil || time.Since(began) > 2*roundTime {
			t.Errorf("control: two of the three that it needs: %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.tracker.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who does not wait any longer: %v", err)
		}
		w.servers[1].lie(func(s *server) { s.wait = nil })
		later(2 * roundTime) // what was left in the background has ended
		if err := w.tracker.Refresh(t.Context()); err != nil {
			t.Errorf("one of the stalled answers again: %v", err)
		}
		later(2 * roundTime)
	})
}

func TestTheOnlyValidatorRefreshes(t *testing.T) {
	w := newTown(t, 1)
	if err := w.servers[0].track.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	w.servers[0].lie(func(s *server) { s.down = errDown })
	if err := w.tracker.Refresh(t.Context()); err == nil {
		t.Error("control: nobody answered")
	}
}
