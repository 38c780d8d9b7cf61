package revocation

import (
	"fmt"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
)

// junk are well-formed statements of somebody who costs nothing.
func junk(t testing.TB, net *trusttest.Network, n int) []Entry {
	t.Helper()
	nobody := trusttest.NewPerson(t, "nobody", identity.User)
	out := make([]Entry, n)
	for i := range out {
		out[i] = entry(t, net, nobody, fmt.Sprint("junk ", i))
	}
	return out
}

// A validator that fills its log with statements of nobody is pulled up to the
// quota and named; it costs nobody else's freshness, and what others vouch for
// makes room again.
func TestALogOfJunkIsNotPulledFurther(t *testing.T) {
	w := newTown(t, 4)
	const quota = 5
	w.tracker.quota = quota
	entries := junk(t, w.net, 12)
	if err := w.servers[3].log.Take(entries); err != nil {
		t.Fatal(err)
	}
	w.revoke(t, "x", 0, 1, 2)
	liar := w.net.Validators[3].Signing
	for range 3 {
		w.tracker.Round(t.Context())
		if !w.tracker.Fresh() || len(w.set.Revokers(target("x"))) != 1 {
			t.Error("it costs the view of the others' logs")
		}
		if n := w.set.Unvouched(liar); n != quota || w.set.Changes() != quota+1 {
			t.Errorf("%d of its statements and %d in all", n, w.set.Changes())
		}
		if p := w.tracker.Problems(); len(p) != 1 || !strings.Contains(p[0], "validator 4 has too many statements") {
			t.Errorf("it is not named: %v", p)
		}
	}
	again := w.open(t, openSet(t, w.store, w.net)) // a restart makes no room
	again.quota = quota
	again.Round(t.Context())
	if n := again.Set.Unvouched(liar); n != quota || again.Set.Changes() != quota+1 {
		t.Errorf("after a restart %d of its statements and %d in all", n, again.Set.Changes())
	}
	if err := w.servers[0].log.Take(entries[:3]); err != nil { // another one has accepted these
		t.Fatal(err)
	}
	for range 2 {
		w.tracker.Round(t.Context())
	}
	if n := w.set.Unvouched(liar); n != quota || w.set.Changes() != quota+3+1 {
		t.Errorf("what another vouches for makes no room: %d, %d in all", n, w.set.Changes())
	}
	if err := w.servers[1].log.Take(entries[3:]); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.tracker.Round(t.Context())
	}
	if w.set.Unvouched(liar) != 0 || len(w.tracker.Problems()) != 0 || w.tracker.at(3) != w.servers[3].log.Head() {
		t.Errorf("control: a log that is vouched for is not pulled whole: %v", w.tracker.Problems())
	}
}

// One validator's junk does not spread through the others' logs; what F+1 have
// does, so that everybody has what is effective.
func TestWhatIsPassedOn(t *testing.T) {
	w := newTown(t, 4)
	entries := junk(t, w.net, 3)
	hold, _ := signHold(t, w.net, holdOf(w.net, w.owner, HoldKey, 1), w.net.Quorum()...)
	if err := w.servers[3].log.Take(append(entries, hold)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.rounds(t, w.servers[:3]...)
	}
	for i, s := range w.servers[:3] {
		if s.log.Head().Seq != 1 || s.set.Changes() != 4 {
			t.Errorf("validator %d has passed on %d, knows %d", i+1, s.log.Head().Seq, s.set.Changes())
		}
	}
	if err := w.servers[0].log.Take(entries[:1]); err != nil { // accepted by a second one
		t.Fatal(err)
	}
	for range 2 {
		w.rounds(t, w.servers...)
	}
	for i, s := range w.servers[1:3] {
		if s.log.Head().Seq != 2 {
			t.Errorf("control: validator %d has passed on %d", i+2, s.log.Head().Seq)
		}
	}
	facts := w.servers[1].set.Facts(KindRevocation, target("junk 0"))
	if len(facts) != 1 || !w.servers[1].set.Vouched(facts[0]) {
		t.Error("what two validators have is not vouched for")
	}
	facts = w.servers[1].set.Facts(KindRevocation, target("junk 1"))
	if len(facts) != 1 || w.servers[1].set.Vouched(facts[0]) {
		t.Error("what one validator has is vouched for")
	}
	restarted := w.reboot(t, 1, backup(t, w.servers[1].store)) // a restart passes on no more
	w.rounds(t, restarted)
	if !restarted.track.Ready() || restarted.log.Head().Seq != 2 {
		t.Errorf("after a restart it has passed on %d", restarted.log.Head().Seq)
	}
}

// While a validator is starting it passes nothing on; what it hears meanwhile it
// passes on when it has started.
func TestWhatIsHeardWhileStarting(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 1, 2)
	s := w.reboot(t, 0, new(kv.Memory))
	if err := s.track.Ask(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if len(s.set.Revokers(target("x"))) != 1 || s.log.Head().Seq != 0 {
		t.Errorf("at %v", s.log.Head())
	}
	if err := s.track.Ask(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if s.log.Head().Seq != 0 {
		t.Error("it appends while it is starting")
	}
	w.rounds(t, s)
	if !s.track.Ready() || s.log.Head() != (Position{Seq: 1, Head: s.log.Head().Head}) {
		t.Errorf("at %v", s.log.Head())
	}
}

// A stored list of whose logs hold what is in order with the set, or is noticed.
func TestStoredVouchersAreChecked(t *testing.T) {
	w := newTown(t, 4)
	if err := w.servers[3].log.Take(junk(t, w.net, 1)); err != nil {
		t.Fatal(err)
	}
	w.tracker.Round(t.Context())
	if openSet(t, w.store, w.net).Unvouched(w.net.Validators[3].Signing) != 1 {
		t.Fatal("control: nothing is stored")
	}
	for name, op := range map[string]kv.Op{
		"of nothing": {Key: append([]byte(nil), "heard/nothing"...), Value: mustMarshal(t, []string{})},
		"junk":       {Key: append([]byte(nil), "heard/nothing"...), Value: []byte("junk")},
	} {
		disk := backup(t, w.store)
		if err := disk.Apply([]kv.Op{op}); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSet(disk, w.chain, nil); err == nil {
			t.Errorf("a list %s is read", name)
		}
	}
}
