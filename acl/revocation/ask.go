package revocation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// What [Tracker.Problems] says of a validator.
const (
	problemRegress = "shows an older log than before"
	problemAdopted = "was rolled back: the new segment of its log leaves out what it has shown"
	problemQuota   = "has too many statements in its log that nobody else vouches for; it is not pulled further"
)

// errStarting reports a validator whose answer does not count yet, though its log
// was pulled.
var errStarting = errors.New("the validator is starting")

// Ask asks one validator and pulls what is missing. An answer that names another
// committee record, a head that is behind the one seen before, or one that its
// log does not lead to, does not count. A validator that is starting also asks
// what the other one has seen of it.
func (t *Tracker) Ask(ctx context.Context, i int) error {
	c := t.Trust.Current()
	if i < 0 || i >= len(c.Validators) {
		return fmt.Errorf("there is no validator %d", i+1)
	}
	key := c.Validators[i].Signing
	t.mu.Lock()
	v := t.views[key]
	t.mu.Unlock()
	if v == nil {
		return errors.New("the committee has just changed")
	}
	select {
	case v.pulling <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-v.pulling }()
	err := t.ask(ctx, c, i, v)
	if (err == nil || errors.Is(err, errStarting)) && t.starting(c) {
		return errors.Join(err, t.askSeen(ctx, i, v))
	}
	return err
}

func (t *Tracker) ask(ctx context.Context, c *trust.Committee, i int, v *view) error {
	var nonce [32]byte
	rand.Read(nonce[:])
	asked := t.Now()
	raw, err := t.Validators.AskFresh(ctx, i, nonce)
	if err != nil {
		return err
	}
	f, err := t.check(c, raw, i, nonce)
	if err != nil {
		return err
	}
	if t.PolicyHead != nil {
		t.PolicyHead(i, f.Policy)
	}
	t.mu.Lock()
	seen, before := v.seen, v.raw
	t.mu.Unlock()
	if problem, err := t.compare(c.Validators[i].Signing, f, seen, before, raw); problem != "" || err != nil {
		t.note(v, problem)
		return errors.Join(err, fmt.Errorf("validator %d %s", i+1, problem))
	}
	if f.At != seen.At || before == nil {
		if err := t.pull(ctx, c, i, v, f, seen, raw); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v.pulled, v.problem = true, ""
	if f.Starting {
		return errStarting
	}
	v.answered, v.record = asked, c.ID()
	return nil
}

func (t *Tracker) note(v *view, problem string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v.problem = problem
}

func (t *Tracker) check(c *trust.Committee, raw []byte, i int, nonce [32]byte) (*Fresh, error) {
	f, err := freshOf(raw, c.Validators[i].Signing)
	if err != nil {
		return nil, err
	}
	if f.Nonce != nonce {
		return nil, fmt.Errorf("validator %d answers another question", i+1)
	}
	if f.Record != c.ID() {
		if t.Behind != nil {
			t.Behind(f.Record, i)
		}
		return nil, fmt.Errorf("validator %d serves another committee", i+1)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, err
	}
	if s.Signers()[0] != i {
		return nil, statement.ErrSignature
	}
	return f, nil
}

// compare holds that a log never goes back. It says what is wrong with an answer,
// and keeps the proof where one validator has signed two logs.
func (t *Tracker) compare(key statement.PublicKey, f *Fresh, seen state, before, raw []byte) (problem string, err error) {
	switch {
	case f.At.Segment > seen.At.Segment:
		if !f.Adopted[seen.At.Segment].covers(seen.At) {
			return problemAdopted, nil
		}
		return "", nil
	case f.At.Segment == seen.At.Segment && f.At.Seq == seen.At.Seq && f.At.Head != seen.At.Head:
		return "shows another log than before", t.keepFork(Fork{Signer: key, A: before, B: raw})
	case f.At.Segment < seen.At.Segment || f.At.Seq < seen.At.Seq:
		if f.Starting {
			return "is starting, and shows an older log than before", nil
		}
		return problemRegress, nil
	}
	return "", nil
}

// pull reads the log up to the signed head and hands it on before the head counts
// as seen. A pull that runs out of time goes on, the next time, from where it came
// to: a long log is caught up with in any case.
func (t *Tracker) pull(ctx context.Context, c *trust.Committee, i int, v *view, f *Fresh, seen state, raw []byte) error {
	from := Position{Segment: f.At.Segment, Head: firstHead(f.Adopted)}
	if seen.At.Segment == f.At.Segment {
		from = seen.At
	}
	if p := v.partial; p.Segment == from.Segment && p.Seq > from.Seq && p.Seq <= f.At.Seq {
		from = p
	}
	for from.Seq < f.At.Seq {
		entries, err := t.page(ctx, c, i, v, from, f.At.Seq)
		if err != nil {
			return err
		}
		for _, e := range entries {
			from = from.next(e.bytes())
		}
		v.partial = from
	}
	v.partial = Position{}
	if from != f.At {
		return fmt.Errorf("validator %d's log does not lead to the head that it signed", i+1)
	}
	if err := t.Store.Apply([]kv.Op{{Key: seenKey(c.Validators[i].Signing), Value: raw}}); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v.seen, v.raw = f.state(), raw
	return nil
}

// page reads and hands on the next entries of a log, not past seq to.
func (t *Tracker) page(ctx context.Context, c *trust.Committee, i int, v *view, from Position, to uint64) ([]Entry, error) {
	key := c.Validators[i].Signing
	room := t.quota - t.Set.Unvouched(key)
	if room <= 0 {
		t.note(v, problemQuota)
		return nil, fmt.Errorf("validator %d %s", i+1, problemQuota)
	}
	entries, err := t.Validators.AskTail(ctx, i, from.Segment, from.Seq)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 || len(entries) > MaxTail {
		return nil, fmt.Errorf("validator %d does not show the log that it signed", i+1)
	}
	entries = entries[:min(uint64(len(entries)), uint64(room), to-from.Seq)]
	if t.Own != nil {
		err = t.Own.Heard(key, entries)
	} else {
		err = t.Set.Heard(key, entries)
	}
	return entries, err
}

// Ready reports whether this party knows that its own log was not rolled back, or
// has gone on from what the others have seen of it. Until then a validator signs,
// releases and appends nothing. Who has no log, or no place in the committee, is
// always ready.
func (t *Tracker) Ready() bool { return !t.starting(t.Trust.Current()) }

// starting reports a validator of the committee that is not ready.
func (t *Tracker) starting(c *trust.Committee) bool {
	if t.self(c) < 0 {
		return false
	}
	t.Own.mu.Lock()
	defer t.Own.mu.Unlock()
	return !t.Own.ready
}

// askSeen asks the validator at i what it has seen of this one's log.
func (t *Tracker) askSeen(ctx context.Context, i int, v *view) error {
	raw, err := t.Validators.AskSeen(ctx, i, t.Own.self)
	if err != nil {
		return err
	}
	var w state
	if len(raw) > 0 {
		f, err := freshOf(raw, t.Own.self)
		if err != nil {
			return fmt.Errorf("validator %d shows what this one has not signed: %w", i+1, err)
		}
		w = f.state()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v.witness = &w
	return nil
}

// tryStart starts a validator once N-F-1 others have said what they have seen of
// it and have had their logs pulled.
func (t *Tracker) tryStart() error {
	c := t.Trust.Current()
	if !t.starting(c) {
		return nil
	}
	t.mu.Lock()
	var seen []state
	for i, val := range c.Validators {
		if v := t.views[val.Signing]; v != nil && i != t.self(c) && v.pulled && v.witness != nil {
			seen = append(seen, *v.witness)
		}
	}
	t.mu.Unlock()
	if len(seen) < t.need(c) {
		return nil
	}
	opened, err := t.Own.start(seen)
	if err != nil {
		return err
	}
	if opened {
		at := t.Own.Head()
		t.Log.Warn("this validator's log was rolled back; it goes on in another segment", "segment", at.Segment, "entries", at.Seq)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened = t.opened || opened
	return nil
}

// roundTime bounds one question to one validator, with what follows from it.
const roundTime = 10 * time.Second
