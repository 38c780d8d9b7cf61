package revocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Kinds that validators sign alone.
const (
	KindFresh statement.Kind = "fresh"
	KindAck   statement.Kind = "ack"
)

// Times of freshness, from the design.
const (
	AskEvery = 60 * time.Second // while fresh
	askAgain = time.Second      // while not
	MaxAge   = 5 * time.Minute  // an older answer does not count
)

// Fresh is what a validator signs over a nonce.
type Fresh struct {
	_        struct{} `cbor:",toarray"`
	Nonce    [32]byte
	Record   statement.ID
	At       Position   // where its log stands
	Adopted  []Position // in each earlier segment, where the next one went on from
	Starting bool       // it makes nobody's view fresh yet
	Policy   statement.ID
}

func (f *Fresh) state() state { return state{At: f.At, Adopted: f.Adopted} }

// Ack is what a validator signs once a statement is durable in its log.
type Ack struct {
	_         struct{} `cbor:",toarray"`
	Network   statement.ID
	Target    statement.ID // of a revocation; the id of any other statement
	Validator uint16
	Seq       uint64
}

// Validators reaches the committee.
type Validators interface {
	// AskFresh has the validator at index sign a [Fresh] over nonce.
	AskFresh(ctx context.Context, index int, nonce [32]byte) ([]byte, error)
	// AskTail reads entries of a segment of that validator's log after seq.
	AskTail(ctx context.Context, index int, segment, seq uint64) ([]Entry, error)
	// AskSeen has that validator show the newest [Fresh], signed, that it has seen
	// of the validator with a signing key and whose log it has pulled; nothing
	// where it has seen none.
	AskSeen(ctx context.Context, index int, validator statement.PublicKey) ([]byte, error)
}

// Tracker keeps a party's view of the logs fresh. A view is fresh while enough
// answers that name the current committee record are under [MaxAge]: T for a node;
// N-F-1, of the others, for a validator. It follows the committee: whoever joins
// is asked, whoever leaves is not, and what was known when it changed counts for
// [AskEvery] more.
type Tracker struct {
	Trust      *trust.Chain
	Validators Validators
	Set        *Set
	Own        *Log     // a validator's, nil for a node
	Store      kv.Store // what was seen of others, so that heads never regress
	Now        func() time.Time
	Log        *slog.Logger

	// Behind, if set, is told of an answer that names another record than the
	// current one: there may be records to catch up with. It must not block.
	Behind func(record statement.ID, index int)
	// PolicyHead, if set, is told of the policy that a validator follows. It must
	// not block.
	PolicyHead func(index int, head statement.ID)

	mu     sync.Mutex
	views  map[statement.PublicKey]*view // of the current validators; owned by mu
	record statement.ID                  // that views were made for; owned by mu
	kept   kept                          // owned by mu
	forks  []Fork                        // owned by mu
	opened bool                          // this process has opened a segment; owned by mu
	wake   chan struct{}
	quota  int
}

// view is what a party knows of one validator. Unless said otherwise the
// tracker's mu owns its fields.
type view struct {
	pulling  chan struct{} // holds one token for who pulls; who waits for it may give up
	partial  Position      // owned by who pulls; how far an unfinished pull has come
	raw      []byte        // the newest answer whose log was pulled
	seen     state         // what it says
	answered time.Time     // when an answer that counts was ASKED for; zero: never
	record   statement.ID  // that the answer names
	pulled   bool          // in this process
	witness  *state        // what it has seen of this validator; nil: not said
	problem  string
}

// Open reads what was seen before. It must be called once before anything else.
func (t *Tracker) Open() error {
	t.wake, t.quota = make(chan struct{}, 1), MaxUnvouched
	if err := t.openForks(); err != nil {
		return err
	}
	if err := t.adapt(); err != nil {
		return err
	}
	return t.tryStart() // the only validator waits for nobody
}

// kept is what was known when the committee changed. It makes a view fresh for as long
// as there is between two questions, for nobody has answered under the new record at
// first: it says no less than it said a moment ago, and a party that hears of the new
// record that much later goes by it all the same.
type kept struct {
	asked time.Time // when the last answer that was needed was asked for
	since time.Time // when the committee changed
}

// adapt makes the views those of the current committee.
func (t *Tracker) adapt() error {
	c := t.Trust.Current()
	t.mu.Lock()
	if t.record == c.ID() {
		t.mu.Unlock()
		return nil
	}
	views := map[statement.PublicKey]*view{}
	for i, val := range c.Validators {
		v := t.views[val.Signing]
		if v == nil {
			var err error
			if v, err = t.load(val.Signing); err != nil {
				t.mu.Unlock()
				return fmt.Errorf("what was seen of validator %d: %w", i+1, err)
			}
		}
		views[val.Signing] = v
	}
	first := t.views == nil
	now := t.Now()
	if before, ok := t.leadsTo(t.record, c); !ok {
		t.kept = kept{}
	} else if asked, ok := t.enough(before, now); ok {
		t.kept = kept{asked: asked, since: now}
	}
	t.views, t.record = views, c.ID()
	t.mu.Unlock()
	if first {
		return nil
	}
	return t.Set.Recheck()
}

func seenKey(k statement.PublicKey) []byte { return append([]byte("seen/"), k[:]...) }

func (t *Tracker) load(k statement.PublicKey) (*view, error) {
	v := &view{pulling: make(chan struct{}, 1)}
	raw, err := t.Store.Get(seenKey(k))
	if errors.Is(err, kv.ErrNotFound) {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := freshOf(raw, k)
	if err != nil {
		return nil, err
	}
	v.raw, v.seen = raw, f.state()
	return v, nil
}

// freshOf verifies an answer that the holder of a key has signed, whenever and to
// whomever.
func freshOf(raw []byte, key statement.PublicKey) (*Fresh, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, err
	}
	var f Fresh
	if err := s.Peek(KindFresh, &f); err != nil {
		return nil, err
	}
	at := s.Signers()
	if len(at) != 1 || s.VerifyAt(KindFresh, uint16(at[0]), key) != nil {
		return nil, statement.ErrSignature
	}
	if st := f.state(); !st.valid() {
		return nil, errors.New("its position is none")
	}
	return &f, nil
}

// self is this validator's index in a record, -1 for everybody else.
func (t *Tracker) self(c *trust.Committee) int {
	if t.Own == nil {
		return -1
	}
	return slices.IndexFunc(c.Validators, func(v trust.Validator) bool { return v.Signing == t.Own.self })
}

// need is how many answers make a view fresh.
func (t *Tracker) need(c *trust.Committee) int {
	if t.self(c) >= 0 {
		return int(c.Numbers.N) - int(c.Numbers.F) - 1
	}
	return int(c.Numbers.T)
}

// Take adds statements that this party itself stands for: to its log, where it
// has one, and to its set.
func (t *Tracker) Take(entries []Entry) error {
	if t.Own != nil {
		return t.Own.Take(entries)
	}
	return t.Set.Take(entries)
}

// Run asks until ctx ends: every minute, or every second while the view is not
// fresh, at once after a [Tracker.Hint], and when the committee has changed.
func (t *Tracker) Run(ctx context.Context) error {
	for {
		changed := t.Trust.Changed() // before the round, so that nothing falls between
		ready := t.Ready()
		if t.Round(ctx); !ready && t.Ready() {
			continue // it counts from now on: others may have become ready with it
		}
		wait := AskEvery
		if !t.settled() || !t.Ready() {
			wait = askAgain
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-t.wake:
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Hint says that there may be something to pull. It never blocks.
func (t *Tracker) Hint() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Round asks every validator once, in parallel, and returns when all have
// answered or failed. A validator that is starting starts if it has heard enough.
func (t *Tracker) Round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	if err := t.adapt(); err != nil {
		t.Log.Error("the committee has changed", "err", err)
		return
	}
	var wg sync.WaitGroup
	for _, i := range t.others() {
		wg.Go(func() {
			if err := t.Ask(ctx, i); err != nil && ctx.Err() == nil {
				t.Log.Debug("freshness", "validator", i+1, "err", err)
			}
		})
	}
	wg.Wait()
	if err := t.tryStart(); err != nil {
		t.Log.Error("this validator does not start", "err", err)
	}
}

// others are the indexes of whom to ask.
func (t *Tracker) others() (out []int) {
	c := t.Trust.Current()
	self := t.self(c)
	for i := range c.Validators {
		if i != self {
			out = append(out, i)
		}
	}
	return out
}

// Fresh reports whether enough answers are young enough, and at a validator
// whether it has started. A change of the committee interrupts nobody: what was known
// when it came counts until [AskEvery] later, unless root keys made the change. The
// time since an answer is the larger of what the monotonic clock in Now's values says,
// which nobody can set back, and what the wall clock says, which alone runs on while a
// laptop sleeps.
func (t *Tracker) Fresh() bool {
	age, ok := t.Age()
	return ok && age < MaxAge && t.Ready()
}

// Age is the age of the newest answer but those that are not needed; false where
// too few ever came that name the current record. For a while after the committee has
// changed it is the age of those that named the record before.
func (t *Tracker) Age() (time.Duration, bool) {
	c := t.Trust.Current()
	if t.need(c) == 0 {
		return 0, true
	}
	now := t.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if asked, ok := t.enough(c, now); ok {
		return elapsed(asked, now), true
	}
	if t.record != c.ID() { // adapt is on its way
		before, ok := t.leadsTo(t.record, c)
		if !ok {
			return 0, false
		}
		if asked, ok := t.enough(before, now); ok {
			return elapsed(asked, now), true
		}
	}
	if k := t.kept; !k.asked.IsZero() && elapsed(k.since, now) < AskEvery {
		return elapsed(k.asked, now), true
	}
	return 0, false
}

// settled reports that the view is fresh by answers under the current record.
func (t *Tracker) settled() bool {
	c := t.Trust.Current()
	if t.need(c) == 0 {
		return true
	}
	now := t.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	asked, ok := t.enough(c, now)
	return ok && elapsed(asked, now) < MaxAge
}

// enough is when the last answer was asked for that a view under a record needs; false
// where it has too few. mu is held.
func (t *Tracker) enough(c *trust.Committee, now time.Time) (time.Time, bool) {
	need, self := t.need(c), t.self(c)
	var asked []time.Time
	for i, val := range c.Validators {
		v := t.views[val.Signing]
		if i == self || v == nil || v.answered.IsZero() || !t.speaksFor(v.record, c) {
			continue
		}
		asked = append(asked, v.answered)
	}
	if need == 0 || len(asked) < need {
		return time.Time{}, false
	}
	slices.SortFunc(asked, func(a, b time.Time) int { return cmp.Compare(elapsed(a, now), elapsed(b, now)) })
	return asked[need-1], true
}

// elapsed is the larger of what the monotonic clock and what the wall clock says.
func elapsed(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0))) // Round(0) leaves the wall clock
}

// leadsTo finds a record that c came from by successions alone. A committee that was
// recovered from is not believed any more.
func (t *Tracker) leadsTo(record statement.ID, c *trust.Committee) (*trust.Committee, bool) {
	r, err := t.Trust.ByID(record)
	return r, err == nil && r.RootEpoch == c.RootEpoch
}

// speaksFor reports whether an answer under a record counts under c: it is c, or a
// record that still counts and that c only renews. The same validators in the same
// numbers say the same of the same logs, so a renewal interrupts nobody.
func (t *Tracker) speaksFor(record statement.ID, c *trust.Committee) bool {
	if record == c.ID() {
		return true
	}
	r, err := t.Trust.ByID(record)
	return err == nil && r.Numbers == c.Numbers && slices.Equal(r.ValidatorKeys(), c.ValidatorKeys())
}

// Seen is the newest answer, signed, that this party has seen of the validator
// with a signing key and whose log it has pulled; nil where it has seen none.
func (t *Tracker) Seen(validator statement.PublicKey) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.views[validator]; v != nil {
		return slices.Clone(v.raw)
	}
	return nil
}

// Problems says in words what is wrong with validators, in their order: who was
// rolled back, who has signed two logs, whose log is not pulled further.
func (t *Tracker) Problems() []string {
	c := t.Trust.Current()
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	if t.opened {
		out = append(out, "this validator was restored from an old backup: its log goes on in another segment")
	}
	for i, val := range c.Validators {
		if v := t.views[val.Signing]; v != nil && v.problem != "" {
			out = append(out, fmt.Sprintf("validator %d %s", i+1, v.problem))
		}
		if slices.ContainsFunc(t.forks, func(f Fork) bool { return f.Signer == val.Signing }) {
			out = append(out, fmt.Sprintf("validator %d has signed two logs", i+1))
		}
	}
	return out
}
