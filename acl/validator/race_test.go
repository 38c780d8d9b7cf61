package validator_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
)

// racer is one of many readers under one grant, on connections that it keeps.
type racer struct {
	w        *world
	chain    *capability.Chain
	object   *vt.Object
	sessions []*vt.Session
}

func (w *world) racer(chain *capability.Chain, o *vt.Object) *racer {
	r := &racer{w: w, chain: chain, object: o}
	for i := range w.Validators {
		r.sessions = append(r.sessions, w.Connect(w.bob, i))
	}
	return r
}

// read asks every validator and returns how many released their share.
func (r *racer) read(t *testing.T) (released int) {
	for i, s := range r.sessions {
		ask := vt.ReleaseOf(r.object)
		ask.Authority = r.w.ByChain(t, r.w.bob, r.chain, s, ask.Digest())
		_, err := r.w.Validators[i].Release(t.Context(), s.Conn(), encode(t, ask))
		switch {
		case err == nil:
			released++
		case !errors.Is(err, validator.ErrDenied):
			t.Error(err)
		}
	}
	return released
}

// 10,000 requests for shares race with one revocation. Once as many validators
// have acknowledged it as make it effective, nobody who asks reads again, although
// the last validator has not heard of it; until then everybody does.
func TestTenThousandReleasesRaceARevocation(t *testing.T) {
	requests, readers := 10_000, 64
	if testing.Short() {
		requests = 1_000
	}
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	need, effective := int(w.Numbers.T), w.Numbers.Effective()
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	entry := w.Revocation(t, w.alice, vt.Leaf(t, chain))

	var begun, before, after atomic.Int64 // readings; those that ended before and that began after
	var started, acked atomic.Bool
	early := make(chan struct{})
	readings := int64(requests / len(w.Validators))
	var wg sync.WaitGroup
	for range readers {
		r := w.racer(chain, o)
		wg.Go(func() {
			for n, late := int64(0), false; n < readings || !late; { // the last of each comes after
				n, late = begun.Add(1), acked.Load()
				got := r.read(t)
				switch {
				case late:
					if after.Add(1); got >= need {
						t.Errorf("reading %d began after the acknowledgements and %d validators released", n, got)
					}
				case !started.Load():
					if got != len(w.Validators) { // control
						t.Errorf("reading %d ended before the revocation began and %d validators released", n, got)
					}
					if before.Add(1) == readings/8 {
						close(early)
					}
				}
			}
		})
	}
	<-early
	started.Store(true)
	for i := range effective {
		w.revoke(t, i, entry, chain)
	}
	acked.Store(true)
	wg.Wait()
	if before.Load() < readings/8 || after.Load() < int64(readers) {
		t.Errorf("%d readings before and %d after: nothing raced", before.Load(), after.Load())
	}
	t.Logf("%d readings ended before the revocation, %d began after it", before.Load(), after.Load())
}

// The number of acknowledgements matters: with fewer, as many validators as are
// needed have not heard, or may be lying that they have.
func TestTooFewAcknowledgementsStopNobody(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	entry := w.Revocation(t, w.alice, vt.Leaf(t, chain))
	n, need, f := len(w.Validators), int(w.Numbers.T), int(w.Numbers.F)
	r := w.racer(chain, o)
	for acks := 1; acks <= w.Numbers.Effective(); acks++ {
		w.revoke(t, acks-1, entry, chain)
		got := r.read(t)
		if got != n-acks {
			t.Errorf("%d of %d have acknowledged and %d release", acks, n, got)
		}
		// F of those that have acknowledged may lie and release all the same.
		if reads := got+min(acks, f) >= need; reads != (acks < w.Numbers.Effective()) {
			t.Errorf("with %d acknowledgements and %d liars the secret is read: %v", acks, f, reads)
		}
	}
}
