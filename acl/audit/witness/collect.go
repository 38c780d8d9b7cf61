package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/note"
)

// Lag is how long a quorum may be behind before that is a problem.
const Lag = 10 * time.Minute

const (
	quietEvery  = time.Hour // that a log which grew by anchors alone is shown
	firstPause  = 5 * time.Second
	longestWait = 5 * time.Minute
	attempts    = 5 // with one witness in one round: introduce, show, follow, prove
)

// Transport reaches witnesses, by the peer keys of the validators that they are. An
// error means that no answer came.
type Transport interface {
	Ask(ctx context.Context, witness statement.PublicKey, c Call, body []byte) (answer []byte, err error)
}

// Collector brings the checkpoints of one log to the witnesses and keeps what they
// sign. One goroutine calls Round; Standing may be called by any.
type Collector struct {
	Log       *audit.Log
	Binding   []byte // of the log, as it was signed
	Transport Transport
	// Keep is called with each checkpoint that has a quorum, to be kept elsewhere than
	// in the log's folder: [audit.Log.Confront] with it tells an old copy of the folder.
	Keep   func(checkpoint []byte) error
	Now    func() time.Time
	Logger *slog.Logger

	// Owned by Round.
	at      audit.Checkpoint // that is shown now
	since   time.Time        // when it was chosen
	anchors int64            // in the log when it was chosen, as the caller counts
	lines   map[statement.PublicKey][]byte
	sizes   map[statement.PublicKey]int64 // the largest that a witness cosigned, as far as known

	mu       sync.Mutex // guards what follows
	troubles map[statement.PublicKey]trouble
	waiting  time.Time // since when records wait for a quorum; zero: none do
}

// trouble is why a witness did not sign.
type trouble struct {
	err   error
	times int
	until time.Time // it is not asked before
}

// task is one witness to be asked, and the size that it cosigned before.
type task struct {
	validator trust.Validator
	size      int64
}

// answer is what one witness signed.
type answer struct {
	validator trust.Validator
	line      []byte
	err       error
}

// Round shows the newest checkpoint to every validator of a record that has not
// cosigned it and is worth asking, F+1 at a time: all at once would hold up what the
// validators are there for, and with fewer those F that may be silent could hold up
// the others. It keeps what they sign as soon as K did, and again at the end, and
// returns when all have answered or ctx ends. anchors is how many of the log's records
// are anchors, of those appended since the start: growth by these alone waits for an
// hour, see the package comment. A log that turns out to be an old copy is stopped
// ([audit.ErrDisowned]).
func (c *Collector) Round(ctx context.Context, record *trust.Committee, anchors int64) error {
	if err := c.Log.Disowned(); err != nil {
		return err
	}
	c.choose(anchors)
	signed, err := c.signed(record)
	if err != nil {
		return err
	}
	ask := make(chan task, len(record.Validators))
	for _, v := range record.Validators {
		if !signed[v.Witness] && !c.Now().Before(c.trouble(v.Witness).until) {
			ask <- task{v, c.size(v.Witness)}
		}
	}
	close(ask)
	asked, answers := len(ask), make(chan answer)
	for range int(record.Numbers.F) + 1 {
		go func() { // ends with the transport's time for a call
			for t := range ask {
				line, err := c.ask(ctx, t.validator, t.size)
				answers <- answer{t.validator, line, err}
			}
		}()
	}
	quorum, kept := int(record.Numbers.K), 0
	var failed error
	for range asked {
		a := <-answers
		c.settle(a)
		if a.err != nil {
			continue
		}
		c.lines[a.validator.Witness], c.sizes[a.validator.Witness] = a.line, c.at.N
		signed[a.validator.Witness] = true
		if len(signed) >= quorum && kept == 0 {
			failed, kept = c.keep(record), len(signed)
		}
	}
	if kept > 0 && len(signed) > kept && failed == nil {
		failed = c.keep(record)
	}
	c.wait(len(signed) >= quorum, anchors)
	return errors.Join(failed, c.Log.Disowned())
}

// choose takes the newest checkpoint where there is a reason to show it.
func (c *Collector) choose(anchors int64) {
	if c.at.Note != nil && !c.due(anchors) {
		return
	}
	c.at, c.since, c.anchors = c.Log.Published(), c.Now(), anchors
	c.lines = map[statement.PublicKey][]byte{}
	if c.sizes == nil {
		c.sizes = map[statement.PublicKey]int64{}
	}
}

// due reports whether the log grew by more than anchors, or by these an hour ago.
func (c *Collector) due(anchors int64) bool {
	grown := c.Log.Published().N - c.at.N
	return grown > anchors-c.anchors || grown > 0 && c.Now().Sub(c.since) >= quietEvery
}

// wait keeps since when records wait for a quorum.
func (c *Collector) wait(quorum bool, anchors int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case quorum && !c.due(anchors):
		c.waiting = time.Time{}
	case quorum || c.waiting.IsZero():
		c.waiting = c.Now()
	}
}

// signed are the witnesses that have cosigned the checkpoint which is shown.
func (c *Collector) signed(record *trust.Committee) (map[statement.PublicKey]bool, error) {
	kept := c.Log.Cosigned()
	have, err := cosigners(record, kept.Note)
	if err != nil {
		return nil, err
	}
	out := map[statement.PublicKey]bool{}
	for _, v := range record.Validators {
		_, before := have[v.Witness]
		if c.lines[v.Witness] != nil || before && kept.N == c.at.N {
			out[v.Witness] = true
		}
		if before {
			c.sizes[v.Witness] = max(c.sizes[v.Witness], kept.N)
		}
	}
	return out, nil
}

func (c *Collector) size(witness statement.PublicKey) int64 { return min(c.sizes[witness], c.at.N) }

// keep puts the cosignatures that came onto the log's checkpoint.
func (c *Collector) keep(record *trust.Committee) error {
	var lines []byte
	for _, v := range record.Validators {
		lines = append(lines, c.lines[v.Witness]...)
	}
	known, err := verifiers(record)
	if err != nil {
		return err
	}
	cosigned, err := c.Log.Cosign(c.at.Note, lines, known)
	if err != nil {
		return fmt.Errorf("cosignatures cannot be kept: %w", err)
	}
	return c.Keep(cosigned.Note)
}

func (c *Collector) trouble(witness statement.PublicKey) trouble {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.troubles[witness]
}

// settle remembers how it went with a witness. One that fails again and again is
// asked less and less often; one that cosigned this log a moment ago says so, and is asked
// when it cosigns again.
func (c *Collector) settle(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.err == nil {
		delete(c.troubles, a.validator.Witness)
		return
	}
	if c.troubles == nil {
		c.troubles = map[statement.PublicKey]trouble{}
	}
	t := c.troubles[a.validator.Witness]
	pause, times := min(firstPause<<min(t.times, 10), longestWait), t.times+1
	var r *Refusal
	if errors.As(a.err, &r) && r.Code == 429 && c.sizes[a.validator.Witness] > 0 {
		pause, times = pace, t.times
	}
	c.troubles[a.validator.Witness] = trouble{a.err, times, c.Now().Add(pause)}
	c.Logger.Debug("a witness did not cosign", "validator", a.validator.Peer, "err", a.err)
}

// Retry has the next Round ask all witnesses, those too that failed a moment ago. It may
// be called by any goroutine.
func (c *Collector) Retry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w, t := range c.troubles {
		t.until = time.Time{}
		c.troubles[w] = t
	}
}

// errUnreachable reports a witness that gave no answer.
var errUnreachable = errors.New("the witness does not answer")

// ErrLie reports a witness whose answer does not hold.
var ErrLie = errors.New("the witness's answer does not hold")

// ask gets the signature line of one witness, which cosigned size records before, as
// far as is known here.
func (c *Collector) ask(ctx context.Context, v trust.Validator, size int64) ([]byte, error) {
	show, old := c.at, size
	introduced := false
	var last error
	for range attempts {
		line, err := c.cosign(ctx, v, show, old)
		var r *Refusal
		switch {
		case err == nil && show.N < c.at.N:
			show, old = c.at, show.N // it has caught up with itself
		case err == nil:
			return line, nil
		case !errors.As(err, &r):
			return nil, err
		case r.Code == 404 && !introduced:
			introduced = true
			if err := c.introduce(ctx, v); err != nil {
				return nil, err
			}
			show, old = c.remind(size, 0), 0
		case r.Code == 409 && r.Size < show.N && r.Size != old:
			show, old = c.remind(size, r.Size), r.Size
		case r.Code == 409 && r.Size == show.N && r.Size != old:
			old = r.Size // it signed this one before, and its answer did not arrive
		default:
			return nil, c.doubt(ctx, v, r)
		}
		last = err
	}
	return nil, fmt.Errorf("%w: %w", ErrLie, last)
}

// remind is what to show a witness that has fewer records than it cosigned: the
// checkpoint that carries what it signed and forgot, where that is still here.
func (c *Collector) remind(signed, has int64) audit.Checkpoint {
	if kept := c.Log.Cosigned(); has < signed && kept.N == signed {
		return kept
	}
	return c.at
}

// cosign makes one request and verifies what comes.
func (c *Collector) cosign(ctx context.Context, v trust.Validator, show audit.Checkpoint, old int64) ([]byte, error) {
	proof, err := c.Log.ProveConsistency(old, show.N)
	if err != nil {
		return nil, err
	}
	raw, err := c.Transport.Ask(ctx, v.Peer, Cosign, Request{Old: old, Proof: proof, Checkpoint: show.Note}.Body())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	lines, err := ParseAnswer(raw)
	if err != nil {
		return nil, err
	}
	verifier, err := Verifier(v.Witness)
	if err != nil {
		return nil, err
	}
	// Its own signature on this very text and nothing else: one witness is one vote.
	n, err := note.Open(append([]byte(text(show.Note)+"\n"), lines...), note.VerifierList(verifier))
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) > 0 {
		return nil, fmt.Errorf("%w: it is not its signature on the checkpoint", ErrLie)
	}
	return fmt.Appendf(nil, "%s%s %s\n", signaturePre, n.Sigs[0].Name, n.Sigs[0].Base64), nil
}

func (c *Collector) introduce(ctx context.Context, v trust.Validator) error {
	raw, err := c.Transport.Ask(ctx, v.Peer, Introduce, c.Binding)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if len(raw) == 0 {
		return nil
	}
	if _, err = ParseAnswer(raw); err == nil {
		err = ErrAnswer
	}
	return err
}

// doubt asks a witness that refuses what it has of the log. Only what the log itself
// signed counts: a witness's word stops nobody.
func (c *Collector) doubt(ctx context.Context, v trust.Validator, r *Refusal) error {
	if r.Code == 429 || r.Code >= 500 {
		return r
	}
	err := c.confront(ctx, v)
	if err == nil && (r.Code == 409 || r.Code == 422) {
		return fmt.Errorf("%w: %w, and yet this log continues what it shows", ErrLie, r)
	}
	if errors.Is(err, audit.ErrDisowned) {
		return err
	}
	return r
}

// confront shows the log what a witness has of it.
func (c *Collector) confront(ctx context.Context, v trust.Validator) error {
	raw, err := c.Transport.Ask(ctx, v.Peer, Show, []byte(c.Log.Binding().Origin))
	if err != nil || len(raw) == 0 {
		return err
	}
	return c.Log.Confront(raw)
}

// Greet asks the validators of a record what they have of the log, so that an old copy
// is stopped before anything is appended to it. It returns when all have answered or
// ctx ends.
func (c *Collector) Greet(ctx context.Context, record *trust.Committee) error {
	var all sync.WaitGroup
	for _, v := range record.Validators {
		all.Go(func() {
			if err := c.confront(ctx, v); err != nil {
				c.Logger.Debug("asking a validator what it has of this log", "validator", v.Peer, "err", err)
			}
		})
	}
	all.Wait()
	return c.Log.Disowned()
}
