package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/discovery"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"cerebrum.dev/cerebrum/p2p/host"
	"golang.org/x/sync/errgroup"
)

// Ready is what a node says once it serves.
type Ready struct {
	PeerID string
	Addrs  []string
}

// Offline runs fn with the audit log open for writing and nothing else: commands
// that need no network work like this on a home whose node is not running.
func (n *Node) Offline(ctx context.Context, fn func(context.Context) error) error {
	return n.withAudit(ctx, fn)
}

// withAudit keeps the log's writer running around fn. The writer outlives the
// cancelling of ctx, so that fn can record how it ended.
func (n *Node) withAudit(ctx context.Context, fn func(context.Context) error) error {
	writer, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- n.audit.Run(writer) }() // ends with stop
	select {
	case <-n.audit.Running(): // a short command would be over before
	case err := <-done:
		return err
	}
	err := fn(ctx)
	stop()
	if werr := <-done; !errors.Is(werr, context.Canceled) && (err != nil || n.unlogged.Load() == 0) {
		err = errors.Join(err, werr)
	}
	return err
}

// Run works until ctx ends. ready is called once, when the node serves.
func (n *Node) Run(ctx context.Context, ready func(Ready)) error {
	if n.trust == nil {
		return errNoNetwork
	}
	listener, err := api.Listen(filepath.Join(n.home.Dir, home.Socket))
	if err != nil {
		return err
	}
	defer listener.Close()
	return n.withAudit(ctx, func(ctx context.Context) error {
		return n.serve(ctx, func(ctx context.Context) error { return api.NewServer(n, n.log).Run(ctx, listener) }, ready)
	})
}

// Join is Run without the API's socket, for a program that has the node in itself.
func (n *Node) Join(ctx context.Context, ready func(Ready)) error {
	if n.trust == nil {
		return errNoNetwork
	}
	return n.withAudit(ctx, func(ctx context.Context) error {
		return n.serve(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil }, ready)
	})
}

// serve works on the network side until the upper side has ended, which drains
// when ctx ends.
func (n *Node) serve(ctx context.Context, upper func(context.Context) error, ready func(Ready)) error {
	if n.judge != nil {
		if err := n.judge.Sweep(ctx); err != nil { // what a crash left undone, before anything is answered
			return err
		}
	}
	if err := n.buildHost(); err != nil {
		return err
	}
	// The network side ends after the API has drained: requests under way need it.
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := n.recordStart(ctx); err != nil {
		return errors.Join(err, n.host.Close())
	}
	g, below := errgroup.WithContext(below)
	g.Go(func() error { return n.host.Run(below) })
	select {
	case <-n.host.Listening():
	case <-below.Done():
		return n.recordStop(ctx, g.Wait())
	}
	n.running.Store(true)
	defer n.running.Store(false)
	n.work(g, below)
	up, upStop := context.WithCancel(ctx)
	defer upStop()
	context.AfterFunc(below, upStop) // a failure below ends the API too
	ready(Ready{PeerID: n.host.ID().String(), Addrs: n.addresses()})
	err := upper(up)
	stop()
	return n.recordStop(ctx, errors.Join(err, g.Wait()))
}

// recordStop logs that the node has stopped, because of an error or not.
func (n *Node) recordStop(ctx context.Context, err error) error {
	outcome := event.OK
	if err != nil {
		outcome = event.Failed
	}
	told := n.record(context.WithoutCancel(ctx), event.Stop, outcome, event.Act{})
	if errors.Is(told, audit.ErrDisowned) { // status says so; ending is no act that needs a record
		told = nil
	}
	return errors.Join(err, told)
}

// recordStart logs that the node starts to work, and under which configuration.
func (n *Node) recordStart(ctx context.Context) error {
	text, err := n.home.Config.Bytes()
	if err != nil {
		return err
	}
	now, sum := n.now(), sha256.Sum256(text)
	err = n.audit.Append(ctx,
		event.Act{}.Event(now, event.Start, event.OK),
		event.Act{Object: sum[:], Detail: string(text)}.Event(now, event.Configure, event.OK))
	if errors.Is(err, audit.ErrDisowned) {
		return n.disowned(err)
	}
	return err
}

// work starts what a node does by itself.
func (n *Node) work(g *errgroup.Group, ctx context.Context) {
	loops := []func(context.Context) error{
		n.tracker.Run, n.discovery.Run, n.outbox.Run, n.runRotation, n.runForget, n.runExpiry, n.provideLoop, n.policyLoop,
		n.followIdentities, n.followRecords, n.askForRecords,
		n.stayMember,
		n.runMirror, n.runCopies, n.runReceipts, n.runForward,
		n.runWitnessed, n.runEvidence, n.runPeriods,
	}
	if n.judge != nil {
		loops = append(loops, n.judge.Run, n.runWitness)
	}
	for _, loop := range loops {
		g.Go(func() error { return loop(ctx) })
	}
}

// validatorConnections is how many connections a validator keeps. Every member stays
// connected to every validator: those closed to have fewer would be back in a second.
const validatorConnections = 4096

func (n *Node) buildHost() error {
	bans, err := admission.OpenBans(n.store.KV("bans"), n.now)
	if err != nil {
		return err
	}
	n.gate = &gate{n: n, bans: bans}
	if !n.wasMember() {
		return fault.New(fault.Denied, "join with an invitation (`cerebrum join FILE`), or send your `cerebrum network card` to whoever drafts its next committee record", "this node is no member of the network %s", n.trust.Current().Name)
	}
	key, err := peerPrivate(n.home.PeerSeed())
	if err != nil {
		return err
	}
	listen, err := n.home.Config.Multiaddrs()
	if err != nil {
		return err
	}
	via, auto, err := n.home.Config.Relays()
	if err != nil {
		return err
	}
	limits := host.Limits{}
	if n.judge != nil {
		limits.Connections = validatorConnections
	}
	if n.host, err = host.New(host.Config{
		Limits: limits, Key: key, Listen: listen, Gate: n.gate, Desk: desk{n}, Refused: n.gate.refused, Known: n.gate.known, Log: n.log, LocalNetwork: n.home.Config.Local, Packets: n.Packets,
		Relays: host.Relays{Serve: n.home.Config.Relay, Via: via, Auto: auto, Member: n.gate.member},
	}); err != nil {
		return err
	}
	server := exchange.NewServer(blockSource{n}, &guard{n}, n.log, exchange.Limits{})
	server.Offended = n.gate.askedBadly
	n.host.Libp2p().SetStreamHandler(exchange.ProtocolID, server.Handle)
	n.serveValidator()
	n.serveRotation()
	n.serveHint()
	n.serveCovered()
	n.serveRecords()
	n.serveWitness()
	n.learnValidators()
	network := n.trust.Network()
	n.discovery, err = discovery.New(discovery.Config{
		Host: n.host.Libp2p(), Network: network, Bootstrap: n.bootstrap, Member: n.gate.member, Log: n.log,
	})
	if err != nil {
		return errors.Join(err, n.host.Close())
	}
	return nil
}
