package validator

import (
	"bytes"
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

// Peers reaches other validators, of the newest record and of those before it.
type Peers interface {
	// Rotate sends one of the requests of a rotation and returns the answer.
	Rotate(ctx context.Context, server statement.PublicKey, m RotateMethod, request []byte) ([]byte, error)
}

// RotateMethod names a request of a rotation.
type RotateMethod string

// The requests of a rotation.
const (
	RotatePlan   RotateMethod = "plan"
	RotatePage   RotateMethod = "page"
	RotateReveal RotateMethod = "reveal"
	RotateBodies RotateMethod = "bodies"
	RotateHave   RotateMethod = "have"
	RotateChains RotateMethod = "chains"

	RotateAccepted RotateMethod = "accepted"
)

// AnswerRotate answers one of the requests of a rotation.
func (j *Judge) AnswerRotate(ctx context.Context, c Conn, m RotateMethod, raw []byte) ([]byte, error) {
	if err := j.started(); err != nil {
		return nil, err
	}
	switch m {
	case RotatePlan:
		return j.AnswerPlan(ctx, c, raw)
	case RotatePage:
		return j.AnswerPage(ctx, c, raw)
	case RotateReveal:
		return j.AnswerReveal(ctx, c, raw)
	case RotateBodies:
		return j.AnswerBodies(c, raw)
	case RotateHave:
		return j.AnswerHave(c, raw)
	case RotateChains:
		return j.AnswerChains(c, raw)
	case RotateAccepted:
		return j.AnswerAccepted(c, raw)
	}
	return nil, ErrMalformed
}

// Rotation brings this validator's shares to the newest record. It is three
// loops in one, all of which may be interrupted anywhere and go on later:
//
//	receive  under a plan that K validators signed, pull the sub-shares of T
//	         dealers, check them against the commitments, keep the sums
//	settle   ask the others which of the new shares they hold durably; where T+F
//	         do, and nobody who answers still lacks one, destroy the old share
//	copy     a validator that is new also takes over mailboxes
//
// No object is unreadable at any moment: old shares are released until they are
// destroyed, and they are destroyed only when T honest validators hold new ones.
// (Herzberg et al. 1995; Desmedt and Jajodia 1997, on package committee.)
type Rotation struct {
	Judge *Judge
	Peers Peers
	Log   *slog.Logger

	mu      sync.Mutex
	state   map[statement.ID]*progress // by the dealing record; owned by mu
	left    int                        // deposits with shares of older records; owned by mu
	settled statement.ID               // newest record for which nothing was left; owned by mu
	named   map[statement.PublicKey]string
	stuck   map[statement.ID][]byte // by older record: the key id where settle begins; owned by Pass
}

// progress is how far the rotation from one record is, in this process.
type progress struct {
	passes   int
	waited   int    // passes in which a plan was needed
	proposed uint64 // plans by this validator
	draft    *Plan  // the one that lacks signatures
	stuck    int
	plan     *signedPlan  // the newest that was followed
	at       []byte       // key id up to which its pages were taken; empty: none
	done     statement.ID // plan whose pages have all been seen
	lacking  lacking
	bad      map[uint16]bool
}

// RotationStatus is what a person should know of a rotation.
type RotationStatus struct {
	Left    int          // deposits that still have shares of older records here
	Settled statement.ID // newest record for which nothing was left
	Liars   []string     // validators that were excluded, and why
}

// Status tells how far the rotation is.
func (r *Rotation) Status() RotationStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := RotationStatus{Left: r.left, Settled: r.settled}
	for _, why := range r.named {
		out.Liars = append(out.Liars, why)
	}
	slices.Sort(out.Liars)
	return out
}

// Times of a rotation.
const (
	rotateAgain = time.Second     // while something is left
	rotateIdle  = 5 * time.Minute // otherwise; a new record wakes it
)

// Run works until ctx ends. Each change of the record wakes it.
func (r *Rotation) Run(ctx context.Context) error {
	for {
		changed := r.Judge.Trust.Changed()
		wait := rotateIdle
		left, err := r.Pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.Log.Warn("rotation", "err", err)
			wait = rotateAgain
		case left > 0:
			wait = rotateAgain
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Pass does what can be done now and counts the deposits that still have shares
// of older records, here or, for a new validator, elsewhere.
func (r *Rotation) Pass(ctx context.Context) (left int, err error) {
	j := r.Judge
	record := j.Trust.Current()
	froms, err := r.sources(record)
	if err != nil {
		return 0, err
	}
	var errs []error
	unfinished := 0
	if err := r.copyOnce(ctx, record); err != nil {
		errs = append(errs, err)
		unfinished = 1
	}
	if j.seat(record) >= 0 {
		for _, from := range froms {
			done, err := r.receive(ctx, record, from)
			if err != nil {
				errs = append(errs, err)
			}
			if !done {
				unfinished = 1
			}
			r.noteArrival(record, from, done)
		}
	}
	left, err = r.settle(ctx, record)
	r.mu.Lock()
	r.left = left
	if left == 0 && unfinished == 0 && err == nil && len(errs) == 0 {
		r.settled = record.ID()
	}
	r.mu.Unlock()
	return max(left, unfinished), errors.Join(append(errs, err)...)
}

// noteArrival takes note that everything that a plan lists was seen. What was listed and
// has too few shares anywhere is not waited for: a dealer could have made it up.
func (r *Rotation) noteArrival(record, from *trust.Committee, done bool) {
	st, before := r.progress(from.ID()), from.ID()
	if bytes.Equal(record.Previous, before[:]) && (done || st.plan != nil && st.done == st.plan.id) {
		r.Judge.allSeen(record)
	}
}

// sources are the records whose shares are to be dealt again: those of shares
// here, and the record before the newest, whose shares others may hold.
func (r *Rotation) sources(record *trust.Committee) ([]*trust.Committee, error) {
	seen := map[statement.ID]bool{record.ID(): true}
	var out []*trust.Committee
	add := func(id statement.ID) {
		if seen[id] {
			return
		}
		seen[id] = true
		if from, ok := r.Judge.Trust.Known(id); ok {
			out = append(out, from)
		}
	}
	if len(record.Previous) == len(statement.ID{}) {
		add(statement.ID(record.Previous))
	}
	records, err := r.Judge.recordsHeld()
	for _, id := range records {
		add(id)
	}
	return out, err
}

func (r *Rotation) progress(from statement.ID) *progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == nil {
		r.state, r.named = map[statement.ID]*progress{}, map[statement.PublicKey]string{}
	}
	p := r.state[from]
	if p == nil {
		p = &progress{bad: map[uint16]bool{}, lacking: lacking{}}
		r.state[from] = p
	}
	return p
}

var donePrefix = []byte("planned/") // + plan id: all its pages have been seen

// receive takes this validator's sub-shares under the newest plan, and proposes
// another where that one does not get on.
func (r *Rotation) receive(ctx context.Context, record, from *trust.Committee) (done bool, err error) {
	st := r.progress(from.ID())
	st.passes++
	if err := r.resolve(ctx, record, st.lacking); err != nil {
		return false, err
	}
	plan, err := r.plan(ctx, record, from, st)
	if err != nil || plan == nil {
		return false, err
	}
	if _, err := r.Judge.Store.Get(slices.Concat(donePrefix, plan.id[:])); err == nil && len(st.lacking) == 0 {
		st.plan = plan
		return true, nil
	}
	if st.plan == nil || st.plan.id != plan.id {
		st.plan, st.at, st.lacking = plan, nil, lacking{}
	}
	if st.done != plan.id {
		if err := r.pullAll(ctx, plan, st); err != nil {
			return false, err
		}
		r.Log.Info("the shares of a plan are here", "attempt", plan.Attempt, "lacking", len(st.lacking))
		if err := r.resolve(ctx, record, st.lacking); err != nil {
			return false, err
		}
	}
	if len(st.lacking) > 0 {
		return false, nil
	}
	return true, r.Judge.Store.Apply([]kv.Op{{Key: slices.Concat(donePrefix, plan.id[:]), Value: []byte{1}}})
}

// pullAll follows a plan to its end, from where it stopped before. A dealer that
// lied is left out at once, and one that cannot be reached when nothing got on
// three times.
func (r *Rotation) pullAll(ctx context.Context, plan *signedPlan, st *progress) error {
	err := r.pull(ctx, plan, st)
	var bad *dealerError
	switch {
	case errors.As(err, &bad):
		st.stuck++
		if bad.lied {
			st.bad[bad.dealer] = true
			r.name(plan, bad)
		} else if st.stuck >= 3 {
			st.bad[bad.dealer] = true
		}
	case err == nil:
		st.done = plan.id
	}
	return err
}

func (r *Rotation) name(p *signedPlan, e *dealerError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := p.from.Validators[e.dealer]
	r.named[v.Peer] = fmt.Sprintf("validator %d of the committee before sent a sub-share that does not fit, and is excluded", e.dealer+1)
	r.Log.Error("a dealer of the rotation lied", "validator", e.dealer+1)
}

// dealerError says that a dealer cannot be used.
type dealerError struct {
	dealer uint16
	lied   bool
	err    error
}

func (e *dealerError) Error() string {
	return fmt.Sprintf("dealer %d of the rotation: %v", e.dealer+1, e.err)
}

func (e *dealerError) Unwrap() error { return e.err }

// reply is what one validator of a record answered.
type reply struct {
	index int
	raw   []byte
	err   error
}

// askTime bounds one request to one validator.
const askTime = 30 * time.Second

// askAll asks every validator of a record but this one, side by side.
func (r *Rotation) askAll(ctx context.Context, record *trust.Committee, m RotateMethod, request []byte) []reply {
	return r.ask(ctx, record, nil, m, request)
}

// ask is askAll, but for those whose place is left out.
func (r *Rotation) ask(ctx context.Context, record *trust.Committee, out map[int]bool, m RotateMethod, request []byte) []reply {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var answers []reply
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, v := range record.Validators {
		if v.Peer == r.Judge.Peer || out[i] {
			continue
		}
		wg.Go(func() {
			raw, err := r.Peers.Rotate(ctx, v.Peer, m, request)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, reply{i, raw, err})
		})
	}
	wg.Wait()
	slices.SortFunc(answers, func(a, b reply) int { return a.index - b.index })
	return answers
}
