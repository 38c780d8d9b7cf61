// Package daemon is the running node: it opens a home's stores, wires them to
// the network, and implements api.Service on them.
//
// # Ownership
//
// [Open] takes the home's lock and opens every store; [Node.Close] gives them
// back. [Node.Run] owns every goroutine. It starts, in this order, the audit
// log's writer, the libp2p host with its services, the tracker of revocations,
// discovery, the outbox, and the API; it stops them in the opposite order, so
// that nothing is answered that cannot be recorded and nothing is recorded after
// the log has closed.
//
// A node whose peer key stands in the committee record is a validator too. Records
// change while it runs: what follows from them is looked up when it is used, or
// set again by [Node.recordChanged].
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/audit/people"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/p2p/discovery"
	"cerebrum.dev/cerebrum/p2p/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Node is one home at work. It implements [api.Service].
type Node struct {
	home *home.Home
	log  *slog.Logger
	now  func() time.Time

	// Packets carries this node's datagrams: nil for the machine's network. It is set
	// before Run or Join.
	Packets host.Packets

	lock    *store.Lock
	store   *store.Store
	secrets *keystore.Erasable
	people  *people.Table // whom the audit log can forget
	audit   *journal.Journal
	library *object.Library
	grants  *store.KV
	kept    *store.KV // keys of grants for offline use
	outbox  *outbox

	erasing  sync.Mutex // held by whoever works on orders to erase
	erasures *erasures
	receipts *receipts // of this node's own requests
	carry    *carry
	copies   *copies
	pins     *pins

	// Everything below needs a network and is nil without one.
	trust    *trust.Chain
	guards   *trust.Guard // also without a network
	roll     roll
	set      *revocation.Set
	verifier *capability.Verifier
	tracker  *revocation.Tracker
	judge    *validator.Judge    // of a home that has validator keys, in the committee or not
	rotation *validator.Rotation // of one that has a judge
	behind   chan struct{}       // holds a token while somebody serves a record that is not known here
	quorum   *quorum.Committee
	newer    chan heard // policy heads of other validators that are not known here
	hinted   *rounds    // of asking the validators, for hints

	witnessing witnessing

	// Set by Run before it says that it is ready, and never changed.
	gate      *gate
	host      *host.Host
	discovery *discovery.Discovery
	running   atomic.Bool
	busy      atomic.Int64  // adds under way
	turns     turns         // at peers
	synced    atomic.Uint64 // changes of the set at which the identities were brought up to date; 0: never
	changed   atomic.Int64  // when the committee had a new record, Unix nanoseconds
	unlogged  atomic.Int64  // reads that could not be recorded
	ops       sync.Map      // name of an operation -> *object.Progress

	forwarding atomic.Pointer[forwarding] // nil: it did not begin yet, or is not wanted
}

// reserve is what blocks leave free on a home's disk: a moment's worth of several adds
// and transfers at once, and of all else that is written.
var reserve = store.Reserve{Bytes: 32 << 20, Files: 256}

// Open takes a home's lock and opens its stores. Nothing is started.
func Open(h *home.Home, log *slog.Logger, now func() time.Time) (n *Node, err error) {
	n = &Node{home: h, log: log, now: now, behind: make(chan struct{}, 1), newer: make(chan heard, 16), hinted: newRounds()}
	defer func() {
		if err != nil {
			n.Close()
			n = nil
		}
	}()
	if n.lock, err = store.AcquireLock(h.Dir); err != nil {
		var used *store.InUseError
		if errors.As(err, &used) {
			return n, fault.Wrap(fault.Failed, err, "stop that process, or use another --home", "the home is in use")
		}
		return n, err
	}
	if n.store, err = store.Open(store.Config{Dir: filepath.Join(h.Dir, "store"), Log: log, Reserve: reserve}); err != nil {
		return n, err
	}
	if n.secrets, err = keystore.OpenErasable(filepath.Join(h.Dir, "slots"), h.Master()); err != nil {
		return n, err
	}
	if err = n.openAudit(); err != nil {
		return n, err
	}
	n.grants, n.kept = n.store.KV("grants"), n.store.KV("kept")
	n.guards = trust.NewGuard(n.store.KV("guard"))
	if h.Network != nil {
		if err = n.openTrust(); err != nil {
			return n, err
		}
	}
	n.library = &object.Library{Store: n.store, Secrets: n.secrets, Trust: n.trust, Now: now}
	n.outbox = newOutbox(n)
	n.erasures = &erasures{store: n.store.KV("erasures")}
	if n.receipts, err = newReceipts(n.store.KV("receipts"), h.Master()); err != nil {
		return n, err
	}
	n.carry, n.copies = newCarry(n.store.KV("carry")), newCopies(n.store.KV("copies"))
	n.pins = &pins{n.store.KV("pins")}
	if n.trust == nil {
		return n, nil
	}
	return n, n.openNetwork()
}

// openAudit opens the audit log, verifies all of it, and joins it with the table of
// persons that it can forget.
func (n *Node) openAudit() (err error) {
	if n.people, err = people.Open(n.store.KV("people"), n.secrets); err != nil {
		return err
	}
	c, err := n.home.AuditLog()
	if err != nil {
		return err
	}
	dir := filepath.Join(n.home.Dir, "audit")
	log, err := audit.Open(dir, c)
	if errors.Is(err, audit.ErrOldFormat) {
		return fault.Wrap(fault.Failed, err, "move the folder "+dir+" away and start again", "the audit log of this home")
	}
	if err != nil {
		return fault.Wrap(fault.Integrity, err, "keep a copy of the folder as evidence before anything else", "the audit log of this home")
	}
	if n.audit, err = journal.Open(log, dir, n.people); err != nil {
		return err
	}
	if lost := n.audit.Lost(); lost > 0 {
		n.log.Warn("what some entries of the audit log are about is lost; the log itself is whole", "entries", lost)
	}
	if rows := n.people.Damaged(); rows > 0 {
		n.log.Warn("what the audit log knows of some persons is damaged", "persons", rows)
	}
	return nil
}

func (n *Node) openNetwork() (err error) {
	store := n.store.KV("revocations")
	if n.set, err = revocation.OpenSet(store, n.trust, validator.Kinds()); err != nil {
		return err
	}
	n.verifier = &capability.Verifier{Trust: n.trust, Revocations: n.set, People: n.set, Now: n.now}
	n.quorum = &quorum.Committee{Trust: n.trust, Transport: &transport{n}, Now: n.now, Took: n.takeReceipt}
	n.tracker = &revocation.Tracker{
		Trust: n.trust, Validators: n.quorum, Set: n.set, Store: store, Now: n.now, Log: n.log, PolicyHead: n.heardPolicy,
		Behind: func(record statement.ID, _ int) {
			if _, known := n.trust.Known(record); !known { // others may still serve one that we know
				n.askSoon()
			}
		},
	}
	if err := n.openJudge(store); err != nil {
		return err
	}
	if err := n.tracker.Open(); err != nil {
		return err
	}
	if err := n.openWitnessing(); err != nil {
		return err
	}
	return n.reclaim()
}

// openJudge opens the judge of every home that has validator keys: one that comes
// into the committee while it runs judges at once, one that left it keeps its
// shares, which it releases until they are handed over.
func (n *Node) openJudge(revocations kv.Store) error {
	keys, err := n.home.ValidatorKeys(false)
	if err != nil {
		return err
	}
	at, listed := n.trust.Current().ByPeer(n.home.PeerKey())
	if listed && (keys == nil || keys.Signing.Public() != n.trust.Current().Validators[at].Signing) {
		return fault.New(fault.Failed, "restore the home whose card is in the record", "the committee record names this peer as a validator with other keys than this home has")
	}
	if keys == nil {
		return nil
	}
	log, err := revocation.OpenLog(revocations, n.set, keys.Signing.Public())
	if err != nil {
		return err
	}
	bundle := policy.Builtin()
	policies, err := policy.OpenHistory(n.store.KV("policy"), n.trust, bundle)
	if err != nil {
		return err
	}
	if listed && !policies.Knows(n.trust.Current().PolicyHead) {
		return fault.New(fault.Failed, "use the cerebrum of the version that created the network", "the committee record names another policy than this program has")
	}
	n.tracker.Own = log
	keep := n.store.KV("validator")
	book, err := validator.OpenRoles(keep, n.trust)
	if err != nil {
		return err
	}
	audited, err := n.home.AuditLog()
	if err != nil {
		return err
	}
	n.judge = &validator.Judge{
		Trust: n.trust, Peer: n.home.PeerKey(), Signing: keys.Signing, Opener: keys.Opener,
		Store: keep, Guard: n.guards, Shares: n.secrets, Log: log, Set: n.set,
		// Not the node's own: a validator asks what it took itself, a holder what others took.
		Verifier: &capability.Verifier{Trust: n.trust, Revocations: n.set, People: n.set, Now: n.now},
		Policies: policies, Roles: book, Book: book,
		Audit: n.audit, Fresh: n.tracker, Now: n.now, Logger: n.log,
		Receipts: &receipt.Issuer{Network: n.trust.Network(), Origin: n.audit.Log().Binding().Origin, Key: audited.Key},
	}
	n.judge.Verifier.Accepted = n.judge.Accepted
	n.rotation = &validator.Rotation{Judge: n.judge, Peers: rotationPeers{n}, Log: n.log}
	if err := n.judge.Reindex(); err != nil {
		return err
	}
	return n.judge.Recount(n.audit.Leaves)
}

// reclaim frees slots of the erasable store that nothing refers to: what a crash
// left between a slot and its record.
func (n *Node) reclaim() error {
	used, err := n.library.Slots()
	if err != nil {
		return err
	}
	maps.Copy(used, n.people.Slots())
	kept, err := n.sweepKept()
	if err != nil {
		return err
	}
	for s := range kept {
		used[s] = true
	}
	if n.judge != nil {
		more, err := n.judge.Slots()
		if err != nil {
			return err
		}
		for s := range more {
			used[s] = true
		}
	}
	freed, err := n.secrets.Reclaim(func(slot uint64) bool { return used[slot] })
	if freed > 0 {
		n.log.Info("reclaimed slots of an interrupted write", "slots", freed)
	}
	return err
}

// Close gives the home back. Run must have returned.
func (n *Node) Close() error {
	var errs []error
	if n.audit != nil {
		errs = append(errs, n.audit.Close())
	}
	if n.secrets != nil {
		errs = append(errs, n.secrets.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Release())
	}
	return errors.Join(errs...)
}

// bootstrap are the validators of the newest record that are not this node.
func (n *Node) bootstrap() []peer.AddrInfo {
	var out []peer.AddrInfo
	for i, v := range n.trust.Current().Validators {
		if v.Peer == n.home.PeerKey() {
			continue
		}
		info, err := addrInfo(v.Peer, v.Addresses)
		if err != nil {
			n.log.Warn("committee record has a bad address", "validator", i+1, "err", err)
			continue
		}
		out = append(out, info)
	}
	return out
}

// record writes an event of this node to its audit log, durably. What cannot be recorded
// is not done, but for reads where the configuration says so.
func (n *Node) record(ctx context.Context, action event.Action, outcome event.Outcome, a event.Act) error {
	err := n.audit.Append(ctx, a.Event(n.now(), action, outcome))
	switch {
	case err == nil:
		return nil
	case n.home.Config.UnloggedReads && outcome == event.OK && isRead(action):
		n.unlogged.Add(1)
		n.log.Warn("a read could not be recorded", "action", action, "err", err)
		return nil
	case errors.Is(err, audit.ErrDisowned):
		return n.disowned(err)
	default:
		return fault.Wrap(fault.Failed, err, "free the disk, then start the node again", "nothing is done that cannot be recorded, and the audit log")
	}
}

func isRead(action event.Action) bool {
	switch action {
	case event.Get, event.Range, event.Serve, event.List:
		return true
	}
	return false
}

func (n *Node) needsNetwork() error {
	switch {
	case n.trust == nil:
		return errNoNetwork
	case !n.running.Load():
		return fault.New(fault.Unavailable, "start it with `cerebrum run` in another terminal", "this needs the network, and no node runs on this home")
	}
	return nil
}

// operation makes the progress of a request visible under the name that the
// request gave it, until done.
func (n *Node) operation(ctx context.Context, name string) (context.Context, func()) {
	if name == "" {
		return ctx, func() {}
	}
	p := new(object.Progress)
	n.ops.Store(name, p)
	return object.WithProgress(ctx, p), func() { n.ops.Delete(name) }
}

// Progress implements api.Service.
func (n *Node) Progress(_ context.Context, r api.ProgressRequest) (*api.Progress, error) {
	out := &api.Progress{}
	if p, ok := n.ops.Load(r.Op); ok {
		p := p.(*object.Progress)
		out.Done, out.Total = p.Done.Load(), p.Total.Load()
	}
	return out, nil
}
