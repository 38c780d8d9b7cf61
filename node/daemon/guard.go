package daemon

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
)

// blockSource serves this home's blocks, checked against their CIDs once in a
// process so that a rotten disk shows in this node's log. What is rotten is sent
// all the same: the receiver checks every block, and a holder that kept silent
// would look like one that never had the object.
type blockSource struct{ n *Node }

func (b blockSource) Get(ctx context.Context, c cid.Cid, into []byte) ([]byte, error) {
	data, err := b.n.store.GetProven(ctx, c, into)
	if errors.Is(err, store.ErrNotFound) {
		return nil, exchange.ErrNotFound
	}
	if errors.Is(err, store.ErrCorrupt) {
		b.n.log.Error("a block on disk is corrupt; import the object again from a good copy", "block", c)
		return b.n.store.GetInto(ctx, c, into)
	}
	return data, err
}

// guard implements exchange.Guard: a holder of ciphertext checks the chain and
// the proof of every request, and serves only while it knows what was revoked.
type guard struct{ n *Node }

func (g *guard) Open(ctx context.Context, conn network.Conn, r *exchange.Request) (exchange.Lease, error) {
	n := g.n
	if !n.freshSoon() {
		return nil, errors.New("this node's view of revocations is not fresh")
	}
	session, ok := admission.SessionOf(conn)
	if !ok {
		return nil, errors.New("the connection was not admitted")
	}
	client, err := peerKey(conn.RemotePeer())
	if err != nil {
		return nil, err
	}
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return nil, err
	}
	changes := n.set.Moves() // before the check, so that nothing falls between
	v, _, err := n.verifier.Open(a, capability.Expectation{
		Request: r.Digest(), Server: n.home.PeerKey(), Client: client, Network: n.trust.Network(),
		Challenge: session.Given(), UseCounter: session.UseCounter, Now: n.now(),
	})
	if err != nil {
		return nil, errors.Join(err, n.record(ctx, event.Serve, event.Denied, event.Act{Object: r.Items[0].Address, Rule: validator.RuleOf(err), Reason: err.Error()}))
	}
	leaf := v.Leaf()
	if err := n.record(ctx, event.Serve, event.OK, event.Act{
		Actor: v.Audience().ID(), Object: r.Items[0].Address, Owner: v.Grants()[0].Owner, Grant: leaf[:], Detail: fmt.Sprintf("%d objects", len(r.Items)),
	}); err != nil {
		return nil, err
	}
	l := &lease{n: n, v: v}
	l.seen.Store(changes)
	return l, nil
}

// lease is one request that was allowed.
type lease struct {
	n    *Node
	v    *capability.Verified
	seen atomic.Uint64 // moves of the revocation set at the last full check

	mu      sync.Mutex
	keys    map[statement.ID]bool                 // of the objects that it serves; owned by mu
	carries map[statement.ID]*capability.Verified // under which this home carries them, by leaf; owned by mu
}

// Allows serves an object only if this home obtained it itself, as an object:
// that some of its blocks are here under another one is not enough.
func (l *lease) Allows(address cid.Cid, manifest []byte) error {
	o, err := l.n.store.Object(address)
	if err != nil {
		return err
	}
	m, err := manifestHere(o, manifest, l.v.Owner())
	if err != nil {
		return err
	}
	if err := l.v.Allows(capability.Carry, validator.ObjectOf(address, m)); err != nil {
		return err
	}
	carry, err := l.n.mayCarry(o, m)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.keys == nil {
		l.keys, l.carries = map[statement.ID]bool{}, map[statement.ID]*capability.Verified{}
	}
	l.keys[m.KeyID()] = true
	if carry != nil {
		l.carries[carry.Leaf()] = carry
	}
	l.mu.Unlock()
	return l.notErased()
}

// manifestHere is the manifest of an object of this home, which must be owner's. What
// this home made itself it has signed itself; verifying that for each file of a large
// directory would be a quarter of the work of serving it.
func manifestHere(o store.Object, manifest []byte, owner *identity.Identity) (*envelope.Manifest, error) {
	if o.Origin == store.OriginAdded && o.Owned {
		return validator.KnownManifest(o.Address, manifest, owner.ID())
	}
	return validator.VerifyManifest(o.Address, manifest, owner)
}

// carriesUntil is when the first of this home's own grants ends, Unix seconds.
func (l *lease) carriesUntil() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	until := int64(math.MaxInt64)
	for _, v := range l.carries {
		until = min(until, v.Grant().Caveats.Expires)
	}
	return until
}

// carrying checks that this home may still carry what it serves.
func (l *lease) carrying() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.carries {
		if err := l.n.verifier.Live(v); err != nil {
			return err
		}
	}
	return nil
}

var errErased = errors.New("its owner has erased it")

func (l *lease) notErased() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.keys {
		if l.n.set.Barred(k) {
			return errErased
		}
	}
	return nil
}

// Live is asked before every block, so the usual case looks at a clock and a
// counter.
func (l *lease) Live() error {
	if !l.n.freshSoon() {
		return errors.New("this node's view of revocations is not fresh")
	}
	now := l.n.now().Unix()
	changes := l.n.set.Moves()
	if changes == l.seen.Load() && now < l.v.Grant().Caveats.Expires && now < l.carriesUntil() {
		return nil
	}
	if err := l.n.verifier.Live(l.v); err != nil {
		return err
	}
	if err := l.carrying(); err != nil {
		return err
	}
	if err := l.notErased(); err != nil {
		return err
	}
	l.seen.Store(changes)
	return nil
}

// freshSoon reports a fresh view. When the committee has just been recovered a view is
// not fresh until its members have answered, which takes a moment: a transfer waits for
// that, and is not broken off as if its grant had ended.
func (n *Node) freshSoon() bool {
	if n.tracker.Fresh() {
		return true
	}
	if !n.inTransition() {
		return false
	}
	n.tracker.Hint()
	tick := time.NewTicker(newRecordWait / 5)
	defer tick.Stop()
	for range 5 * newRecordTries {
		<-tick.C
		if n.tracker.Fresh() {
			return true
		}
	}
	return false
}
