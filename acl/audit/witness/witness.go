package witness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// MaxLogs is how many logs a witness gets to know; it forgets none, since a peer
	// that left and comes back must not find its log's past forgotten.
	MaxLogs = 1 << 16
	// pace is the least time between two further checkpoints of one log.
	pace      = time.Second
	maxOrigin = 128
	maxCache  = 4096
)

// Config is what a witness is made of. All fields are required.
type Config struct {
	Key    statement.PrivateKey // signs nothing but cosignatures
	Store  kv.Store             // of the witness alone
	Docket *Docket
	// Member returns nil if a peer belongs to the network now.
	Member func(peer statement.PublicKey) error
	// LogKey is the key that the committee record gives for the log of a peer, if
	// that is a validator.
	LogKey func(peer statement.PublicKey) (key statement.PublicKey, sits bool)
	Now    func() time.Time
	Logger *slog.Logger
}

// Witness cosigns checkpoints. It is safe for concurrent use.
type Witness struct {
	store  kv.Store
	docket *Docket
	member func(statement.PublicKey) error
	logKey func(statement.PublicKey) (statement.PublicKey, bool)
	now    func() time.Time
	logger *slog.Logger
	signer *cosigner
	own    note.Verifiers // verifies what signer signed

	// origins is held from reading the state of a log to signing; by the first byte
	// of the peer key, so a log has one and some share it. Before changing and mu.
	origins [64]sync.Mutex

	binding sync.Mutex // held while a log is introduced; guards logs
	logs    int

	changing sync.Mutex // held while a state changes; guards changes
	changes  uint64

	mu       sync.Mutex      // guards what follows
	cache    map[string]*log // some of those in the store
	restored time.Time
}

// Open opens a witness over its store.
func Open(c Config) (*Witness, error) {
	v, err := Verifier(c.Key.Public())
	if err != nil {
		return nil, err
	}
	w := &Witness{
		store: c.Store, docket: c.Docket, member: c.Member, logKey: c.LogKey, now: c.Now, logger: c.Logger,
		signer: newCosigner(c.Key, c.Now), own: note.VerifierList(v), cache: map[string]*log{},
	}
	if err := w.store.Scan([]byte("binding/"), nil, func(_, _ []byte) (bool, error) { w.logs++; return true, nil }); err != nil {
		return nil, err
	}
	err = w.store.Scan(changePrefix, nil, func(key, _ []byte) (bool, error) {
		w.changes = binary.BigEndian.Uint64(key[len(changePrefix):])
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	raw, err := w.store.Get(restoredKey)
	if err == nil {
		var r restored
		err = statement.Unmarshal(raw, &r)
		w.restored = time.UnixMilli(r.At)
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, err
	}
	return w, nil
}

// Bind introduces a log by its binding, durably on return. The first binding of an
// origin stays: with a second key a peer could show two histories and no key would
// have signed both. A refusal is a [*Refusal].
func (w *Witness) Bind(raw []byte) error {
	if len(raw) > MaxBinding {
		return refuse(400, "a binding has at most %d bytes", MaxBinding)
	}
	b, err := audit.VerifyBinding(raw)
	if err != nil {
		return refuse(403, "%v", err)
	}
	if err := w.mayCosign(b); err != nil {
		return err
	}
	w.binding.Lock()
	defer w.binding.Unlock()
	l, err := w.log(b.Origin)
	switch {
	case err != nil:
		return err
	case l != nil && l.binding.Log != b.Log:
		return refuse(403, "the log of this peer is bound to another key here: restore the home with the key that it had, or use a new home")
	case l != nil:
		return nil
	case w.logs >= MaxLogs:
		return refuse(429, "this witness knows %d logs and takes no more", MaxLogs)
	}
	if err := w.store.Apply([]kv.Op{{Key: bindingKey(b.Origin), Value: raw}}); err != nil {
		return err
	}
	w.logs++
	return nil
}

// mayCosign refuses logs of those who are no members, of validators whose record
// names another key, and those with evidence against them.
func (w *Witness) mayCosign(b *audit.Binding) error {
	if err := w.member(b.Peer); err != nil {
		return refuse(403, "the log is of a peer that is no member of this network")
	}
	if key, sits := w.logKey(b.Peer); sits && key != b.Log {
		return refuse(403, "the committee record names another key for this validator's log")
	}
	if e := w.docket.Against(b.Peer); e != nil {
		return refuse(403, "there is evidence: %s", e)
	}
	return nil
}

// Add answers a request to cosign: it verifies the checkpoint, that the log grew
// since the one before and changed nothing, makes the checkpoint durable and signs
// it, in this order. Whatever it finds against the log is kept before it answers. A
// refusal is a [*Refusal]; any other error is this witness's own.
func (w *Witness) Add(body []byte) (lines []byte, err error) {
	r, err := ParseRequest(body)
	if err != nil {
		return nil, err
	}
	l, err := w.log(originOf(r.Checkpoint))
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, refuse(404, "this witness does not know the log: hand in its binding first")
	}
	if err := w.mayCosign(l.binding); err != nil {
		return nil, err
	}
	c, err := l.binding.OpenCheckpoint(r.Checkpoint)
	if err != nil {
		return nil, refuse(403, "%v", err)
	}
	if c.Note, err = bare(l.binding, c.Note); err != nil {
		return nil, err
	}
	if r.Old > c.N {
		return nil, refuse(400, "the old size is larger than the checkpoint's")
	}
	lock := &w.origins[l.binding.Peer[0]%byte(len(w.origins))]
	lock.Lock()
	defer lock.Unlock()
	return w.cosign(l, r, c)
}

// cosign is Add under the lock of the log.
func (w *Witness) cosign(l *log, r *Request, c audit.Checkpoint) ([]byte, error) {
	s, have, err := w.state(l.binding)
	if err != nil {
		return nil, err
	}
	if c.N > have.N && w.signed(r.Checkpoint) {
		if err := w.noteRestored(); err != nil {
			return nil, err
		}
	}
	known := have
	if c.N < have.N {
		if known, err = w.sameSize(l.binding, c.N); err != nil {
			return nil, err
		}
	}
	forked := known.Note != nil && known.N == c.N && known.Hash != c.Hash
	if forked {
		w.accuse(l, known, c, nil)
	}
	if r.Old != have.N || forked {
		return nil, &Refusal{Code: 409, Size: have.N}
	}
	if err := w.continues(l, have, c, r.Proof); err != nil {
		return nil, err
	}
	if s.Checkpoint == nil || c.N > have.N {
		if age := w.now().Sub(time.UnixMilli(s.At)); s.Checkpoint != nil && age >= 0 && age < pace {
			return nil, refuse(429, "a log has one checkpoint cosigned in a second")
		}
		if err := w.keep(l.binding, s, c.Note); err != nil {
			return nil, err
		}
	}
	return w.signer.signatureLine(text(c.Note)) // the state is durable
}

// continues verifies that a checkpoint's log begins as the one that is known.
func (w *Witness) continues(l *log, have, c audit.Checkpoint, proof tlog.TreeProof) error {
	bad := refuse(422, "the proof does not show that the log only grew from %d to %d records", have.N, c.N)
	switch {
	case have.N == 0 || have.N == c.N:
		empty, _ := tlog.TreeHash(0, nil) // reads nothing
		if len(proof) > 0 || c.N == 0 && c.Hash != empty {
			return bad
		}
		return nil
	case tlog.CheckTree(proof, c.N, c.Hash, have.N, have.Hash) == nil:
		return nil
	}
	if before, after, ok := rootsOf(proof, have.N, c.N); ok && after == c.Hash && before != have.Hash {
		w.accuse(l, have, c, proof)
	}
	return bad
}

// accuse keeps evidence. That it cannot be kept is no reason to sign.
func (w *Witness) accuse(l *log, a, b audit.Checkpoint, proof tlog.TreeProof) {
	e, err := newEvidence(l.raw, l.binding, a, b, proof)
	if err == nil {
		_, err = w.docket.Add(e)
	}
	if err != nil {
		w.logger.Error("a log showed two histories, and the evidence is not kept", "origin", l.binding.Origin, "err", err)
		return
	}
	w.logger.Error("a log showed two histories; the evidence is kept", "origin", l.binding.Origin)
}

// Compare holds a checkpoint that another witness cosigned against those that this
// one did. What contradicts goes into the docket. A checkpoint of a log that is not
// known here, or that the log did not sign, is passed over.
func (w *Witness) Compare(checkpoint []byte) error {
	if len(checkpoint) > MaxCheckpoint {
		return nil
	}
	l, err := w.log(originOf(checkpoint))
	if l == nil || err != nil || w.docket.Against(l.binding.Peer) != nil {
		return err
	}
	c, err := l.binding.OpenCheckpoint(checkpoint)
	if err != nil {
		return nil
	}
	known, err := w.sameSize(l.binding, c.N)
	if err == nil && known.Note != nil && known.Hash != c.Hash {
		w.accuse(l, known, c, nil)
	}
	return err
}

// signed reports a checkpoint with a cosignature of this witness.
func (w *Witness) signed(checkpoint []byte) bool {
	n, err := note.Open(checkpoint, w.own)
	return err == nil && len(n.Sigs) > 0
}

// noteRestored keeps for good that this witness signed what it does not remember.
func (w *Witness) noteRestored() error {
	now := w.now()
	raw, err := statement.Marshal(restored{At: now.UnixMilli()})
	if err != nil {
		return err
	}
	if err := w.store.Apply([]kv.Op{{Key: restoredKey, Value: raw}}); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.restored = now
	w.logger.Error("this witness was shown its own signature on a checkpoint that it does not remember: its store is an old copy")
	return nil
}

// RolledBack is when it was last noticed that this witness's store is an old copy;
// zero: never.
func (w *Witness) RolledBack() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.restored
}

// log finds the log of an origin; nil where it is not known.
func (w *Witness) log(origin string) (*log, error) {
	if len(origin) > maxOrigin {
		return nil, nil
	}
	w.mu.Lock()
	l := w.cache[origin]
	w.mu.Unlock()
	if l != nil {
		return l, nil
	}
	raw, err := w.store.Get(bindingKey(origin))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := audit.VerifyBinding(raw)
	if err != nil {
		return nil, fmt.Errorf("what the witness keeps of a log is damaged: %w", err)
	}
	l = &log{raw, b}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.cache) >= maxCache {
		clear(w.cache)
	}
	w.cache[origin] = l
	return l, nil
}
