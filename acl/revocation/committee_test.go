package revocation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

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
// a view fresh, who joins is asked and pulled, who leaves is not asked any more.
func TestTheTrackerFollowsTheCommittee(t *testing.T) {
	w := newTown(t, 4)
	w.tracker.Round(t.Context())
	if !w.tracker.Fresh() {
		t.Fatal("control: not fresh")
	}
	gone := w.servers[3]
	changes := w.set.Changes()
	_, key := w.succeed(t, 3, "joins")
	if w.tracker.Fresh() {
		t.Error("answers that name the record before count")
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
	if !w.tracker.Fresh() || len(w.set.Revokers(target("new"))) != 1 {
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
