package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func target(name string) statement.ID { return statement.Hash("target", []byte(name)) }

// entry is a person's revocation of a target of a name.
func entry(t testing.TB, net *trusttest.Network, by *trusttest.Person, name string) Entry {
	t.Helper()
	e, err := Sign(Revocation{Network: net.Network(), Target: target(name), Reason: "lost", Time: 1}, by.Identity, by.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func openSet(t testing.TB, store kv.Store, net *trusttest.Network) *Set {
	t.Helper()
	s, err := OpenSet(store, trust.Fixed(net.Committee), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openLog opens the log of a validator that has started: its tests are about the
// log alone.
func openLog(t testing.TB, store kv.Store, set *Set) *Log {
	t.Helper()
	l := openStarting(t, store, set, set.chain.Current().Validators[0].Signing)
	if _, err := l.start(nil); err != nil {
		t.Fatal(err)
	}
	return l
}

// openStarting opens a log as a validator does, which has not started yet.
func openStarting(t testing.TB, store kv.Store, set *Set, self statement.PublicKey) *Log {
	t.Helper()
	l, err := OpenLog(store, set, self)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// appendTo appends the owner's revocations of targets of these names.
func appendTo(t testing.TB, l *Log, net *trusttest.Network, by *trusttest.Person, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := l.Append(entry(t, net, by, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// server is one validator of a committee in this process: its own store, set and
// log, and its own key, by which it really signs. A test may make it lie.
type server struct {
	net   *trusttest.Network
	chain *trust.Chain
	index int
	store *kv.Memory
	set   *Set
	log   *Log
	track *Tracker // asks the others

	mu    sync.Mutex
	fresh func(f *Fresh)                                     // what it says, before it signs
	sign  func(s *statement.Statement)                       // how it signs; nil: with its key
	tail  func(seq uint64, entries []Entry) ([]Entry, error) // what it shows
	seen  func(of statement.PublicKey) ([]byte, error)       // what it says that it has seen
	down  error                                              // it does not answer
	wait  func(ctx context.Context) error                    // it takes its time
	asked int
	read  int // entries shown
}

func (s *server) answer(ctx context.Context, nonce [32]byte) ([]byte, error) {
	s.mu.Lock()
	s.asked++
	down, wait, change, sign := s.down, s.wait, s.fresh, s.sign
	s.mu.Unlock()
	if down != nil {
		return nil, down
	}
	if wait != nil {
		if err := wait(ctx); err != nil {
			return nil, err
		}
	}
	f := s.log.Fresh(nonce, s.chain.Current().ID(), s.net.PolicyHead)
	if change != nil {
		change(&f)
	}
	out, err := statement.New(KindFresh, f)
	if err != nil {
		return nil, err
	}
	if sign != nil {
		sign(out)
	} else {
		s.net.Sign(out, s.index)
	}
	return out.Bytes(), nil
}

func (s *server) show(ctx context.Context, segment, seq uint64) ([]Entry, error) {
	entries, err := s.log.Tail(segment, seq)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tail != nil {
		if entries, err = s.tail(seq, entries); err != nil {
			return nil, err
		}
	}
	s.read += len(entries)
	return entries, ctx.Err()
}

// lie changes a server's ways.
func (s *server) lie(change func(s *server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *server) counts() (asked, read int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.read
}

// servers implement Validators by calling, where a node would send.
type servers []*server

func (v servers) AskFresh(ctx context.Context, index int, nonce [32]byte) ([]byte, error) {
	return v[index].answer(ctx, nonce)
}

func (v servers) AskTail(ctx context.Context, index int, segment, seq uint64) ([]Entry, error) {
	return v[index].show(ctx, segment, seq)
}

func (v servers) AskSeen(ctx context.Context, index int, of statement.PublicKey) ([]byte, error) {
	s := v[index]
	s.mu.Lock()
	down, seen := s.down, s.seen
	s.mu.Unlock()
	if down != nil {
		return nil, down
	}
	if seen != nil {
		return seen(of)
	}
	return s.track.Seen(of), ctx.Err()
}

// town is a committee of n, an owner who revokes, and a node that watches.
type town struct {
	net     *trusttest.Network
	chain   *trust.Chain
	owner   *trusttest.Person
	servers servers
	store   *kv.Memory // the node's
	set     *Set
	tracker *Tracker
}

func newTown(t testing.TB, n int) *town {
	t.Helper()
	w := &town{net: trusttest.New(t, fmt.Sprint("town of ", n), n), owner: trusttest.NewPerson(t, "owner", identity.User), store: new(kv.Memory)}
	w.chain = trust.Fixed(w.net.Committee)
	for i := range n {
		w.servers = append(w.servers, w.boot(t, i, new(kv.Memory)))
		if _, err := w.servers[i].log.start(nil); err != nil {
			t.Fatal(err)
		}
	}
	w.set = openSet(t, w.store, w.net)
	w.tracker = w.open(t, w.set)
	return w
}

// boot is the start of a validator's process over what its disk holds; its log
// takes nothing yet.
func (w *town) boot(t testing.TB, i int, store *kv.Memory) *server {
	t.Helper()
	s := &server{net: w.net, chain: w.chain, index: i, store: store}
	var err error
	if s.set, err = OpenSet(store, w.chain, nil); err != nil {
		t.Fatal(err)
	}
	s.log = openStarting(t, store, s.set, w.chain.Current().Validators[i].Signing)
	s.track = &Tracker{
		Trust: w.chain, Validators: &w.servers, Set: s.set, Own: s.log, Store: store,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if err := s.track.Open(); err != nil {
		t.Fatal(err)
	}
	return s
}

// open makes the node's tracker, as after a restart.
func (w *town) open(t testing.TB, set *Set) *Tracker {
	t.Helper()
	tr := &Tracker{
		Trust: w.chain, Validators: &w.servers, Set: set, Store: w.store,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if err := tr.Open(); err != nil {
		t.Fatal(err)
	}
	return tr
}

// revoke has the owner's revocation in the logs of some validators.
func (w *town) revoke(t testing.TB, name string, validators ...int) {
	t.Helper()
	for _, i := range validators {
		appendTo(t, w.servers[i].log, w.net, w.owner, name)
	}
}

// at is where a tracker has seen the log of a validator.
func (t *Tracker) at(i int) Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.views[t.Trust.Current().Validators[i].Signing].seen.At
}

// broken is a store that fails when it is told to.
type broken struct {
	kv.Memory
	mu   sync.Mutex
	fail bool
	left int // writes that still work
}

var errDisk = errors.New("disk failed")

func (b *broken) set(fail bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail, b.left = fail, 0
}

// after lets some writes through before it fails.
func (b *broken) after(writes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail, b.left = true, writes
}

func (b *broken) Apply(ops []kv.Op) error {
	b.mu.Lock()
	fail := b.fail && b.left == 0
	b.left = max(0, b.left-1)
	b.mu.Unlock()
	if fail {
		return errDisk
	}
	return b.Memory.Apply(ops)
}
