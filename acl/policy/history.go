package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Errors of a [History] that callers branch on.
var (
	// ErrGap reports a bundle whose predecessors are not known yet.
	ErrGap = errors.New("bundles before this one are missing")
	// ErrFork reports a second bundle that the validators signed for one version.
	// It is kept as evidence; the first one stays in force.
	ErrFork = errors.New("the validators signed two bundles for one version")
)

// Keys of a history.
var (
	versionPrefix = []byte("bundle/") // + version, big-endian: the signed bundle
	forkPrefix    = []byte("fork/")   // + version, big-endian, + head: the other signed bundle
)

const (
	maxForks  = 16 // one is proof enough; more must not fill the disk
	maxSigned = 1 << 20
)

// History is the chain of bundles that one party accepted, from version 0. What
// it accepted it never drops. It is safe for concurrent use.
type History struct {
	store kv.Store
	trust *trust.Chain

	mu     sync.Mutex
	chain  []link // by version; version 0 is always there
	newest *Bundle
	forks  int
	engine *Engine // of the version judged by last; nil where there is none yet
	judged int
	first  *Bundle
}

// link is what is kept in memory of a bundle.
type link struct {
	head      statement.ID
	notBefore int64
}

// OpenHistory reads a history from its store, or begins one there. first is the
// bundle of version 0, which the network's founding names; nobody signed it. The
// store is trusted to hold what was verified before, but for its order.
func OpenHistory(store kv.Store, chain *trust.Chain, first *Bundle) (*History, error) {
	if first.Version != 0 || first.Previous != (statement.ID{}) || first.Record != (statement.ID{}) {
		return nil, fmt.Errorf("%w: the first bundle of a network has version 0 and names none before it", ErrBundle)
	}
	if _, err := NewEngine(first); err != nil {
		return nil, err
	}
	h := &History{store: store, trust: chain, first: first, newest: first, chain: []link{{first.Head(), first.NotBefore}}}
	err := store.Scan(versionPrefix, nil, func(_, raw []byte) (bool, error) {
		_, b, err := readBundle(raw)
		if err != nil {
			return false, err
		}
		if err := h.follows(b); err != nil {
			return false, fmt.Errorf("the store of bundles is damaged: %w", err)
		}
		h.push(b)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	err = store.Scan(forkPrefix, nil, func(_, _ []byte) (bool, error) { h.forks++; return true, nil })
	return h, err
}

// readBundle decodes a signed bundle and checks its form.
func readBundle(raw []byte) (*statement.Statement, *Bundle, error) {
	if len(raw) > maxSigned {
		return nil, nil, fmt.Errorf("%w: it has more than %d bytes", ErrBundle, maxSigned)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	var b Bundle
	if err := s.Peek(KindBundle, &b); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return s, &b, nil
}

// VerifyBundle checks a signed bundle by itself: K signatures of the record that
// it names, which must still count, and that [NewEngine] accepts it. Whether it
// is the network's is for a [History] to say: only it knows what came before.
func VerifyBundle(raw []byte, chain *trust.Chain) (*Bundle, error) {
	s, b, err := readBundle(raw)
	if err != nil {
		return nil, err
	}
	if b.Version == 0 {
		return nil, fmt.Errorf("%w: version 0 is not signed", ErrBundle)
	}
	c, err := chain.ByID(b.Record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if err := c.VerifyK(KindBundle, s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if _, err := NewEngine(b); err != nil {
		return nil, err
	}
	return b, nil
}

// follows checks that a bundle comes right after the newest.
func (h *History) follows(b *Bundle) error {
	last := h.chain[len(h.chain)-1]
	switch {
	case b.Version != uint64(len(h.chain)):
		return fmt.Errorf("%w: it is version %d, the newest here is %d", ErrGap, b.Version, len(h.chain)-1)
	case b.Previous != last.head:
		return fmt.Errorf("%w: version %d follows another bundle than the one here", ErrBundle, b.Version)
	case b.NotBefore < last.notBefore:
		return fmt.Errorf("%w: it would begin before the version that it follows", ErrBundle)
	}
	return nil
}

func (h *History) push(b *Bundle) {
	h.chain = append(h.chain, link{b.Head(), b.NotBefore})
	h.newest = b
}

// Add verifies a signed bundle and takes it over; it is on disk when Add returns
// nil, which it also does for one that is there already. The error is
// [ErrBundle], [ErrGap], [ErrFork] or one of the store.
func (h *History) Add(raw []byte) error {
	b, err := VerifyBundle(raw, h.trust)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.Version < uint64(len(h.chain)) {
		if h.chain[b.Version].head == b.Head() {
			return nil
		}
		return h.fork(b, raw)
	}
	if err := h.follows(b); err != nil {
		return err
	}
	if err := h.store.Apply([]kv.Op{{Key: versionKey(versionPrefix, b.Version), Value: raw}}); err != nil {
		return err
	}
	h.push(b)
	return nil
}

func versionKey(prefix []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(nil), prefix...), version)
}

// fork keeps a second bundle of a version, whatever it follows: K signatures of
// one committee on both mean that more validators lie than it allows for.
func (h *History) fork(b *Bundle, raw []byte) error {
	head := b.Head()
	found := fmt.Errorf("%w: version %d is %s here and %s there", ErrFork, b.Version, h.chain[b.Version].head, head)
	key := append(versionKey(forkPrefix, b.Version), head[:]...)
	if _, err := h.store.Get(key); err == nil || h.forks >= maxForks {
		return found
	} else if !errors.Is(err, kv.ErrNotFound) {
		return errors.Join(found, err)
	}
	if err := h.store.Apply([]kv.Op{{Key: key, Value: raw}}); err != nil {
		return errors.Join(found, err)
	}
	h.forks++
	return found
}

// Fork is evidence against a committee: two signed bundles of one version.
type Fork struct {
	Version uint64
	Ours    []byte // accepted first; empty for version 0
	Other   []byte
}

// Forks are those that were seen, by version, at most 16.
func (h *History) Forks() ([]Fork, error) {
	var out []Fork
	err := h.store.Scan(forkPrefix, nil, func(key, raw []byte) (bool, error) {
		f := Fork{Version: binary.BigEndian.Uint64(key[len(forkPrefix):]), Other: append([]byte(nil), raw...)}
		var err error
		f.Ours, err = h.Raw(f.Version)
		out = append(out, f)
		return true, err
	})
	return out, err
}

// Raw is the signed bundle of a version, for those who lack it. The error is
// [kv.ErrNotFound] for version 0, which is not signed, and for one that is not here.
func (h *History) Raw(version uint64) ([]byte, error) {
	return h.store.Get(versionKey(versionPrefix, version))
}

// Newest is the newest bundle, in force or not yet. It must not be changed.
func (h *History) Newest() *Bundle {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest
}

// InForce is the engine that judges at a time: that of the newest bundle whose
// NotBefore has passed, of version 0 before that. On an error nothing may be
// allowed; it comes from the store, or from a bundle for another evaluator.
func (h *History) InForce(now time.Time) (*Engine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := len(h.chain) - 1
	for at > 0 && h.chain[at].notBefore > now.Unix() {
		at--
	}
	if h.engine != nil && h.judged == at {
		return h.engine, nil
	}
	b := h.first
	if at == len(h.chain)-1 {
		b = h.newest
	} else if at > 0 {
		raw, err := h.Raw(uint64(at))
		if err != nil {
			return nil, err
		}
		if _, b, err = readBundle(raw); err != nil {
			return nil, err
		}
	}
	e, err := NewEngine(b)
	if err != nil {
		return nil, err
	}
	h.engine, h.judged = e, at
	return e, nil
}

// Follow makes of a bundle the next version of this history, to be signed by the
// validators of the newest committee record and in force from a time.
func (h *History) Follow(b *Bundle, from time.Time) *Bundle {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := *b
	last := h.chain[len(h.chain)-1]
	next.Version, next.Previous, next.Record = uint64(len(h.chain)), last.head, h.trust.Current().ID()
	next.NotBefore = max(from.Unix(), last.notBefore)
	return &next
}
