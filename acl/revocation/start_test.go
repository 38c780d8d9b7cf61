package revocation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// backup copies a disk.
func backup(t testing.TB, from *kv.Memory) *kv.Memory {
	t.Helper()
	to := new(kv.Memory)
	var ops []kv.Op
	err := from.Scan(nil, nil, func(key, value []byte) (bool, error) {
		ops = append(ops, kv.Op{Key: slices.Clone(key), Value: slices.Clone(value)})
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Apply(ops); err != nil {
		t.Fatal(err)
	}
	return to
}

// reboot starts validator i from a disk in place of the process before.
func (w *town) reboot(t testing.TB, i int, disk *kv.Memory) *server {
	t.Helper()
	w.servers[i] = w.boot(t, i, disk)
	return w.servers[i]
}

func (w *town) rounds(t testing.TB, who ...*server) {
	t.Helper()
	for _, s := range who {
		s.track.Round(t.Context())
	}
}

// TH-08: a validator that was restored from an old backup notices, gets back what
// it has lost, and goes on in a segment that everybody accepts; before that it
// does nothing that counts.
func TestAValidatorFromAnOldBackup(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 0, 1, 2)
	disk := backup(t, w.servers[0].store)
	w.revoke(t, "y", 0, 1, 2)
	w.rounds(t, w.servers[1:]...)
	w.tracker.Round(t.Context())
	lost := w.servers[0].log.Head()

	s := w.reboot(t, 0, backup(t, disk))
	if s.track.Ready() || s.track.Fresh() || s.log.Head().Seq != 1 {
		t.Error("it is ready before it has heard anybody")
	}
	if _, err := s.log.Append(entry(t, w.net, w.owner, "z")); !errors.Is(err, ErrStarting) || len(s.set.Revokers(target("z"))) != 0 {
		t.Errorf("it appends to the old log: %v", err)
	}
	age, _ := w.tracker.Age()
	if err := w.tracker.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "is starting") {
		t.Errorf("its answer counts: %v", err)
	}
	if got, _ := w.tracker.Age(); got < age {
		t.Error("its answer made the view younger")
	}

	w.rounds(t, s)
	if !s.track.Ready() || !s.track.Fresh() || !strings.Contains(strings.Join(s.track.Problems(), ";"), "restored from an old backup") {
		t.Fatalf("it does not start: %v", s.track.Problems())
	}
	at := s.log.Head()
	if at.Segment != 1 || at.Seq != 2 || len(s.set.Revokers(target("y"))) != 1 {
		t.Errorf("it goes on at %v", at)
	}
	if f := s.log.Fresh([32]byte{}, w.net.ID(), w.net.PolicyHead); len(f.Adopted) != 1 || f.Adopted[0] != lost {
		t.Errorf("it adopts %v, want %v", f.Adopted, lost)
	}
	appendTo(t, s.log, w.net, w.owner, "z")
	if err := w.tracker.Ask(t.Context(), 0); err != nil || w.tracker.at(0) != s.log.Head() || len(w.set.Revokers(target("z"))) != 1 {
		t.Errorf("the new segment is not followed: %v", err)
	}
	if err := w.open(t, openSet(t, w.store, w.net)).Ask(t.Context(), 0); err != nil {
		t.Errorf("nor after a restart: %v", err)
	}
	newcomer := &town{net: w.net, chain: w.chain, servers: w.servers, store: new(kv.Memory)}
	set := openSet(t, newcomer.store, w.net)
	if err := newcomer.open(t, set).Ask(t.Context(), 0); err != nil || set.Changes() != 3 {
		t.Errorf("a newcomer needs more than the new segment: %v", err)
	}
	if _, err := s.log.Tail(0, 0); !errors.Is(err, ErrSegment) {
		t.Errorf("it shows the segment that it has lost: %v", err)
	}

	again := w.reboot(t, 0, backup(t, s.store)) // nothing lost this time
	w.rounds(t, again)
	if at := again.log.Head(); !again.track.Ready() || at.Segment != 1 || at.Seq != 3 {
		t.Errorf("control: a restart without a loss opens a segment: %v", at)
	}
	w.rounds(t, w.servers[1:]...)
	twice := w.reboot(t, 0, disk) // the same old backup
	w.rounds(t, twice)
	if at := twice.log.Head(); !twice.track.Ready() || at.Segment != 2 {
		t.Errorf("restored a second time it stands at %v", at)
	}
	if err := w.tracker.Ask(t.Context(), 0); err != nil {
		t.Errorf("the third segment is not followed: %v", err)
	}
}

// Against a validator that does not ask, the heads alone defend: this is what
// starting prevents.
func TestWithoutStartingTheOldLogIsAFork(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 0)
	disk := backup(t, w.servers[0].store)
	w.revoke(t, "y", 0)
	w.tracker.Round(t.Context())
	s := w.reboot(t, 0, disk)
	if _, err := s.log.start(nil); err != nil { // nobody was asked
		t.Fatal(err)
	}
	if err := w.tracker.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), problemRegress) {
		t.Errorf("an old log counts: %v", err)
	}
	if len(w.tracker.Problems()) != 1 || len(w.tracker.Forks()) != 0 {
		t.Errorf("%v", w.tracker.Problems())
	}
	appendTo(t, s.log, w.net, w.owner, "z") // another second entry
	if err := w.tracker.Ask(t.Context(), 0); err == nil {
		t.Error("a forked log counts")
	}
	forks := w.tracker.Forks()
	if len(forks) != 1 || forks[0].Check() != nil || forks[0].Signer != w.net.Validators[0].Signing {
		t.Fatalf("no proof of it: %v", forks)
	}
	if got := w.open(t, openSet(t, w.store, w.net)); len(got.Forks()) != 1 || len(got.Problems()) != 1 {
		t.Error("the proof does not outlive the process")
	}
	for range 3 {
		if err := w.tracker.Ask(t.Context(), 0); err == nil || len(w.tracker.Forks()) != 1 {
			t.Error("more proofs of the same")
		}
	}
	f := forks[0]
	for name, bad := range map[string]Fork{
		"one answer twice":        {Signer: f.Signer, A: f.A, B: f.A},
		"another key":             {Signer: w.net.Validators[1].Signing, A: f.A, B: f.B},
		"junk":                    {Signer: f.Signer, A: f.A, B: []byte("junk")},
		"an answer of another":    {Signer: f.Signer, A: f.A, B: mustAnswer(t, w.servers[1])},
		"two answers of one log":  {Signer: f.Signer, A: f.A, B: w.tracker.Seen(f.Signer)},
		"nothing that was signed": {},
	} {
		if bad.Check() == nil {
			t.Errorf("%s proves a fork", name)
		}
	}
	if err := w.store.Apply([]kv.Op{{Key: slices.Concat(forkPrefix, f.Signer[:]), Value: mustMarshal(t, Fork{Signer: f.Signer, A: f.A, B: f.A})}}); err != nil {
		t.Fatal(err)
	}
	if err := (&Tracker{Trust: w.chain, Store: w.store}).Open(); err == nil {
		t.Error("a stored proof that proves nothing is read")
	}
}

func mustAnswer(t testing.TB, s *server) []byte {
	t.Helper()
	raw, err := s.answer(t.Context(), [32]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A validator that has lost nothing is followed while it is starting, and makes
// nobody's view fresh until it has started.
func TestAStartingValidatorMakesNobodyFresh(t *testing.T) {
	w := newTown(t, 4)
	w.servers[3].lie(func(s *server) { s.down = errDown })
	w.revoke(t, "x", 0)
	s := w.reboot(t, 0, backup(t, w.servers[0].store))
	w.tracker.Round(t.Context())
	if w.tracker.Fresh() || len(w.set.Revokers(target("x"))) != 1 {
		t.Error("its answer counts, or its log is not pulled")
	}
	if p := w.tracker.Problems(); len(p) != 0 {
		t.Errorf("it is named: %v", p)
	}
	w.rounds(t, s)
	if w.tracker.Round(t.Context()); !w.tracker.Fresh() {
		t.Error("control: nor does it when it has started")
	}
}

// A network that was switched off as a whole starts again: those that have not
// started answer one another. One validator stays away and one is restored.
func TestAColdStart(t *testing.T) {
	for _, n := range []int{1, 4, 7} {
		w := newTown(t, n)
		f := int(w.net.Numbers.F)
		everybody := make([]int, n)
		for i := range everybody {
			everybody[i] = i
		}
		w.revoke(t, "x", everybody...)
		old := backup(t, w.servers[0].store)
		w.revoke(t, "y", everybody...)
		w.rounds(t, w.servers...)
		for i := range n {
			disk := backup(t, w.servers[i].store)
			if i == 0 && f > 0 {
				disk = old
			}
			w.reboot(t, i, disk)
		}
		up := w.servers[:n-f] // f stay away
		for _, s := range w.servers[n-f:] {
			s.lie(func(s *server) { s.down = errDown })
		}
		for range 3 {
			w.rounds(t, up...)
		}
		for i, s := range up {
			if !s.track.Ready() || !s.track.Fresh() {
				t.Errorf("n=%d: validator %d does not start", n, i+1)
			}
			if want := uint64(0); i > 0 && s.log.Head().Segment != want {
				t.Errorf("n=%d: validator %d has lost nothing and opens a segment", n, i+1)
			}
		}
		if f > 0 && w.servers[0].log.Head().Segment != 1 {
			t.Errorf("n=%d: the restored one does not notice", n)
		}
		if n == 1 {
			continue
		}
		late := w.reboot(t, 1, backup(t, w.servers[1].store)) // control: with one fewer nobody starts
		w.servers[0].lie(func(s *server) { s.down = errDown })
		w.rounds(t, late)
		if late.track.Ready() {
			t.Errorf("n=%d: it starts although too few answer", n)
		}
	}
}

// What others say that they have seen was signed by the validator itself: a liar
// can be silent, and no more.
func TestLiesAboutWhatWasSeen(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 0)
	w.rounds(t, w.servers[1:]...)
	disk := backup(t, w.servers[0].store)
	w.revoke(t, "y", 0)
	if err := w.servers[1].track.Ask(t.Context(), 0); err != nil { // the only one that has seen y
		t.Fatal(err)
	}
	forged := func() []byte {
		s, err := statement.New(KindFresh, Fresh{Record: w.net.ID(), At: Position{Seq: 99, Head: target("x")}})
		if err != nil {
			t.Fatal(err)
		}
		return w.net.Sign(s, 3).Bytes()
	}()
	for name, lie := range map[string]func(statement.PublicKey) ([]byte, error){
		"a head that the liar has signed": func(statement.PublicKey) ([]byte, error) { return forged, nil },
		"junk":                            func(statement.PublicKey) ([]byte, error) { return []byte("junk"), nil },
		"the head of another": func(statement.PublicKey) ([]byte, error) {
			return w.servers[1].track.Seen(w.net.Validators[2].Signing), nil
		},
		"no answer": func(statement.PublicKey) ([]byte, error) { return nil, errDown },
		"nothing":   func(statement.PublicKey) ([]byte, error) { return nil, nil },
	} {
		w.servers[2].lie(func(s *server) { s.down = errDown })
		w.servers[3].lie(func(s *server) { s.seen = lie })
		s := w.reboot(t, 0, backup(t, disk))
		w.rounds(t, s)
		counts := name == "nothing"
		if s.track.Ready() != counts {
			t.Errorf("%s: ready is %v", name, !counts)
		}
		w.servers[2].lie(func(s *server) { s.down = nil })
		w.servers[3].lie(func(s *server) { s.seen = nil })
		w.rounds(t, s)
		if at := s.log.Head(); !s.track.Ready() || at.Segment != 1 {
			t.Errorf("control: %s: without the lie it stands at %v", name, at)
		}
	}
}

// A new segment must go on from at least what was seen.
func TestASegmentThatLeavesOutWhatWasSeen(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 0)
	_ = w.tracker.Ask(t.Context(), 0)
	first := w.tracker.Seen(w.net.Validators[0].Signing)
	disk := backup(t, w.servers[0].store)
	w.revoke(t, "y", 0)
	if err := w.tracker.Ask(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	f, err := freshOf(first, w.net.Validators[0].Signing)
	if err != nil {
		t.Fatal(err)
	}
	early := f.state()
	early.At.Seq, early.At.Head = 1, target("another first entry") // behind what the node has seen
	s := w.reboot(t, 0, disk)
	if opened, err := s.log.start([]state{early}); err != nil || !opened {
		t.Fatal(opened, err)
	}
	for range 2 {
		if err := w.tracker.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), problemAdopted) {
			t.Errorf("it counts: %v", err)
		}
	}
	if p := w.tracker.Problems(); len(p) != 1 || !strings.Contains(p[0], "rolled back") {
		t.Errorf("it is not named: %v", p)
	}
	newcomer := &town{net: w.net, chain: w.chain, servers: w.servers, store: new(kv.Memory)}
	if err := newcomer.open(t, openSet(t, newcomer.store, w.net)).Ask(t.Context(), 0); err != nil {
		t.Errorf("control: who has seen nothing: %v", err)
	}
}

// Positions that no honest log has.
func TestImpossiblePositions(t *testing.T) {
	w := newTown(t, 1)
	for name, lie := range map[string]func(f *Fresh){
		"an empty log with a head":        func(f *Fresh) { f.At = Position{Head: target("x")} },
		"a segment without what came":     func(f *Fresh) { f.At = Position{Segment: 1, Seq: 1, Head: target("x")} },
		"segments out of order":           func(f *Fresh) { f.At.Segment, f.Adopted = 1, []Position{{Segment: 1, Seq: 1}} },
		"more adopted than came before":   func(f *Fresh) { f.Adopted = []Position{{}} },
		"a segment past all":              func(f *Fresh) { f.At.Segment = MaxSegments },
		"an empty segment of other heads": func(f *Fresh) { f.At, f.Adopted = Position{Segment: 1}, []Position{{Seq: 1}} },
	} {
		w.servers[0].lie(func(s *server) { s.fresh = lie })
		if err := w.tracker.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "position is none") {
			t.Errorf("%s: %v", name, err)
		}
	}
	adopted := []Position{{Seq: 1, Head: target("x")}}
	w.servers[0].lie(func(s *server) {
		s.fresh = func(f *Fresh) { f.At, f.Adopted = Position{Segment: 1, Head: firstHead(adopted)}, adopted }
	})
	if err := w.tracker.Ask(t.Context(), 0); err != nil {
		t.Errorf("control: %v", err)
	}
}

// A crash while a segment is opened leaves the old log, or the new one.
func TestACrashWhileASegmentIsOpened(t *testing.T) {
	w := newTown(t, 4)
	w.revoke(t, "x", 0)
	disk := new(broken)
	set := openSet(t, disk, w.net)
	l := openStarting(t, disk, set, w.net.Validators[0].Signing)
	for i := range openBatch + 10 {
		if _, err := set.Add(entry(t, w.net, w.owner, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	seen := []state{{At: Position{Seq: 1000, Head: target("x")}}}
	for writes := range 3 { // the first batch, the second, the position
		disk.after(writes)
		if _, err := l.start(seen); !errors.Is(err, errDisk) || l.ready {
			t.Errorf("after %d writes: %v", writes, err)
		}
		disk.set(false)
		if again := openStarting(t, disk, openSet(t, disk, w.net), w.net.Validators[0].Signing); again.Head() != (Position{}) {
			t.Errorf("after %d writes it stands at %v", writes, again.Head())
		}
	}
	if opened, err := l.start(seen); err != nil || !opened || l.Head().Seq != openBatch+10 {
		t.Errorf("control: %v at %v", err, l.Head())
	}
	again := openStarting(t, disk, openSet(t, disk, w.net), w.net.Validators[0].Signing)
	if again.Head() != l.Head() {
		t.Errorf("it opens at %v, want %v", again.Head(), l.Head())
	}
	l.state.Adopted = make([]Position, MaxSegments-1)
	for i := range l.state.Adopted {
		l.state.Adopted[i].Segment = uint64(i)
	}
	l.state.At.Segment, l.ready = MaxSegments-1, false
	if _, err := l.start([]state{{At: Position{Segment: 5, Seq: 1}, Adopted: make([]Position, 0)}, {At: Position{Segment: MaxSegments - 1, Seq: 1 << 40}, Adopted: l.state.Adopted}}); err == nil || l.ready {
		t.Error("segments without end")
	}
}
