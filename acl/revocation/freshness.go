package revocation

import (
	"context"
	"crypto/rand"
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

// Times of freshness, from the design.
const (
	AskEvery = 60 * time.Second // while fresh
	askAgain = time.Second      // while not
	MaxAge   = 5 * time.Minute  // an older answer does not count
)

// Fresh is what a validator signs over a nonce.
type Fresh struct {
	_      struct{} `cbor:",toarray"`
	Nonce  [32]byte
	Record statement.ID
	Seq    uint64 // entries in its log
	Head   statement.ID
	Policy statement.ID
}

// Ack is what a validator signs once a revocation is durable in its log.
type Ack struct {
	_         struct{} `cbor:",toarray"`
	Network   statement.ID
	Target    statement.ID
	Validator uint16
	Seq       uint64
}

// Validators reaches the committee.
type Validators interface {
	// AskFresh has the validator at index sign a [Fresh] over nonce.
	AskFresh(ctx context.Context, index int, nonce [32]byte) ([]byte, error)
	// AskTail reads entries of that validator's log after seq.
	AskTail(ctx context.Context, index int, seq uint64) ([]Entry, error)
}

// Sink takes what a tracker pulls: a [Set] at a node, a [Log] at a validator.
type Sink interface{ Take(entries []Entry) error }

// Take adds entries.
func (s *Set) Take(entries []Entry) error { _, err := s.Add(entries...); return err }

// Take appends entries that are new to this validator to its own log.
func (l *Log) Take(entries []Entry) error { _, _, err := l.Append(entries...); return err }

// Tracker keeps a party's view of revocations fresh. Need is how many answers
// must be under [MaxAge]: T for a node; N-F-1, of the others, for a validator.
// Both numbers are of the newest committee record; once the tracker is in use
// only [Tracker.Follow] changes them.
type Tracker struct {
	Trust *trust.Chain
	Self  int // own index, -1 for a node; never asked
	Need  int
	// Behind is told of committee records that a validator serves and that are not
	// known here. It must not block; nil: nobody wants to know.
	Behind     func(record statement.ID)
	Validators Validators
	Sink       Sink
	Store      kv.Store // heads, so that they never regress
	Now        func() time.Time
	Log        *slog.Logger

	mu    sync.Mutex // also owns Self and Need
	views []*view    // owned by mu; one a validator, of the record that was followed last
	wake  chan struct{}
}

type view struct {
	key      statement.PublicKey // the validator's; never changed
	pulling  chan struct{}       // holds one token for who pulls; who waits for it may give up
	partial  position            // owned by who pulls; how far an unfinished pull has come
	at       position            // the newest signed head whose log was pulled
	answered time.Time           // when that head was ASKED for; zero: never
}

// position is a place in a log, as it is stored too.
type position struct {
	_    struct{} `cbor:",toarray"`
	Seq  uint64
	Head statement.ID
}

// Open reads the stored heads. It must be called once before anything else.
func (t *Tracker) Open() error {
	t.wake = make(chan struct{}, 1)
	return t.Follow(t.Self, t.Need)
}

// Follow takes up the newest committee record, in which this party has the place
// self and needs so many answers. What is known of validators that stay is kept;
// the heads of new ones are read from the store.
func (t *Tracker) Follow(self, need int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	had := make(map[statement.PublicKey]*view, len(t.views))
	for _, v := range t.views {
		had[v.key] = v
	}
	keys := t.Trust.Current().ValidatorKeys()
	views := make([]*view, len(keys))
	for i, k := range keys {
		if views[i] = had[k]; views[i] != nil {
			continue
		}
		views[i] = &view{key: k, pulling: make(chan struct{}, 1)}
		raw, err := t.Store.Get(headKey(k))
		if errors.Is(err, kv.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := statement.Unmarshal(raw, &views[i].at); err != nil {
			return fmt.Errorf("stored head of validator %d: %w", i+1, err)
		}
	}
	t.views, t.Self, t.Need = views, self, need
	return nil
}

func headKey(k statement.PublicKey) []byte { return append([]byte("head/"), k[:]...) }

// others are the indexes of the validators to ask, and how many must answer.
func (t *Tracker) others() (which []int, need int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.views {
		if i != t.Self {
			which = append(which, i)
		}
	}
	return which, t.Need
}

// Run asks until ctx ends: every minute, or every second while the view is not
// fresh, and at once after a [Tracker.Hint].
func (t *Tracker) Run(ctx context.Context) error {
	for {
		t.Round(ctx)
		wait := AskEvery
		if !t.Fresh() {
			wait = askAgain
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-t.wake:
			timer.Stop()
		case <-timer.C:
		}
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
// answered or failed.
func (t *Tracker) Round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	which, _ := t.others()
	for _, i := range which {
		wg.Go(func() {
			if err := t.Ask(ctx, i); err != nil && ctx.Err() == nil {
				t.Log.Debug("freshness", "validator", i+1, "err", err)
			}
		})
	}
	wg.Wait()
}

// Ask asks one validator and pulls what is missing. A head that is behind the
// one seen before, or that its log does not lead to, does not count.
func (t *Tracker) Ask(ctx context.Context, i int) error {
	t.mu.Lock()
	if i >= len(t.views) { // the committee has become smaller since
		t.mu.Unlock()
		return fmt.Errorf("there is no validator %d any more", i+1)
	}
	v := t.views[i]
	t.mu.Unlock()
	select {
	case v.pulling <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-v.pulling }()
	var nonce [32]byte
	rand.Read(nonce[:])
	asked := t.Now()
	raw, err := t.Validators.AskFresh(ctx, i, nonce)
	if err != nil {
		return err
	}
	f, err := t.check(raw, i, v.key, nonce)
	if err != nil {
		return err
	}
	t.mu.Lock()
	seen := v.at
	t.mu.Unlock()
	if f.Seq < seen.Seq || (f.Seq == seen.Seq && f.Head != seen.Head) {
		return fmt.Errorf("validator %d shows an older or another log than before", i+1)
	}
	if f.Seq > seen.Seq {
		if err := t.pull(ctx, i, v, seen, f); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v.at.Seq, v.at.Head, v.answered = f.Seq, f.Head, asked
	return nil
}

// check verifies an answer by the record that it names, in which the validator
// may have had another place. While a new record spreads some serve one already
// that others do not know, and both are right.
func (t *Tracker) check(raw []byte, i int, key statement.PublicKey, nonce [32]byte) (*Fresh, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, err
	}
	var f Fresh
	if err := s.Peek(KindFresh, &f); err != nil {
		return nil, err
	}
	if f.Nonce != nonce {
		return nil, fmt.Errorf("validator %d answers another question", i+1)
	}
	record, err := t.Trust.ByID(f.Record)
	if err != nil {
		if _, known := t.Trust.Known(f.Record); !known && t.Behind != nil {
			t.Behind(f.Record)
		}
		return nil, fmt.Errorf("validator %d serves another committee: %w", i+1, err)
	}
	at := slices.Index(record.ValidatorKeys(), key)
	if err := record.VerifyOne(KindFresh, s, at); err != nil {
		return nil, err
	}
	return &f, nil
}

// pull reads the tail up to the signed head and hands it to the sink before the
// head counts as seen. A pull that runs out of time goes on, the next time, from
// where it came to: a long log is caught up with in any case.
func (t *Tracker) pull(ctx context.Context, i int, v *view, from position, f *Fresh) error {
	if v.partial.Seq > from.Seq && v.partial.Seq <= f.Seq {
		from = v.partial
	}
	for from.Seq < f.Seq {
		entries, err := t.Validators.AskTail(ctx, i, from.Seq)
		if err != nil {
			return err
		}
		if len(entries) == 0 || len(entries) > MaxTail {
			return fmt.Errorf("validator %d does not show the log that it signed", i+1)
		}
		entries = entries[:min(uint64(len(entries)), f.Seq-from.Seq)]
		if err := t.Sink.Take(entries); err != nil {
			return err
		}
		for _, e := range entries {
			from.Seq, from.Head = from.Seq+1, next(from.Head, e)
		}
		v.partial = from
	}
	v.partial = position{}
	if from.Head != f.Head {
		return fmt.Errorf("validator %d's log does not lead to the head that it signed", i+1)
	}
	raw, err := statement.Marshal(from)
	if err != nil {
		return err
	}
	return t.Store.Apply([]kv.Op{{Key: headKey(v.key), Value: raw}})
}

// Fresh reports whether enough answers are young enough. The time since an
// answer is the larger of what the monotonic clock in Now's values says, which
// nobody can set back, and what the wall clock says, which alone runs on while a
// laptop sleeps.
func (t *Tracker) Fresh() bool {
	age, ok := t.Age()
	return ok && age < MaxAge
}

// Age is the age of the Need-th newest answer; false where so many never came.
func (t *Tracker) Age() (time.Duration, bool) {
	now := t.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Need == 0 {
		return 0, true
	}
	var ages []time.Duration
	for i := range t.views {
		if at := t.views[i].answered; !at.IsZero() {
			ages = append(ages, max(now.Sub(at), now.Round(0).Sub(at.Round(0)))) // Round(0) leaves the wall clock
		}
	}
	if len(ages) < t.Need {
		return 0, false
	}
	slices.Sort(ages)
	return ages[t.Need-1], true
}
