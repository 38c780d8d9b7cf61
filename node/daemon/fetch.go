package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"
)

var integrityErrors = []error{
	envelope.ErrIntegrity, envelope.ErrHeader, envelope.ErrManifest, statement.ErrMalformed, statement.ErrSignature,
	exchange.ErrCorrupt, object.ErrTree,
}

// reading is one get under one chain.
type reading struct {
	n   *Node
	p   *home.Principal
	v   *capability.Verified
	ask api.GetRequest
	got *api.Got

	keys    *quorum.Keys
	kept    *committee.Secret // of a grant for offline use, in the place of keys
	holders []peer.AddrInfo   // in the order in which they are asked
	meet    sync.Once         // validators were asked who else is a member
}

// release gets the keys of objects and learns where their ciphertext is.
func (r *reading) release(ctx context.Context, objects [][]byte) error {
	keys, err := r.askKeys(ctx, objects)
	if err != nil {
		return err
	}
	r.use(keys)
	return nil
}

func (r *reading) askKeys(ctx context.Context, objects [][]byte) (*quorum.Keys, error) {
	ask := quorum.Ask{Principal: r.p, Chain: r.v, Objects: objects, Purpose: r.ask.Purpose, Reason: r.ask.Reason}
	for try := 0; ; try++ {
		keys, err := r.n.quorum.AskRelease(ctx, ask)
		if err == nil || fault.Of(err).Exit != fault.Unavailable || try == newRecordTries || !r.n.inTransition() {
			return keys, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(newRecordWait):
		}
	}
}

// When the committee gets a new record its members and its readers come to it one after
// another, and after a recovery they release nothing until they have heard one another
// under it. That takes a moment, for which a reader waits.
const (
	newRecordTries = 20
	newRecordWait  = 250 * time.Millisecond
	newRecordTime  = 30 * time.Second
)

// inTransition reports that the committee has had another record a moment ago.
func (n *Node) inTransition() bool {
	return n.now().UnixNano()-n.changed.Load() < int64(newRecordTime)
}

// use makes released keys the current ones.
func (r *reading) use(keys *quorum.Keys) {
	r.keys = keys
	for _, i := range keys.By {
		if !slices.Contains(r.got.Releases, i+1) {
			r.got.Releases = append(r.got.Releases, i+1)
		}
	}
	r.addHints(keys.Holders)
}

// addHints adds what validators named, passing over what is no address.
func (r *reading) addHints(named []string) {
	for _, s := range named {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			continue
		}
		info, err := peer.AddrInfoFromP2pAddr(a)
		if err != nil || info.ID == r.n.host.ID() {
			continue
		}
		r.addHolder(*info)
	}
}

func (r *reading) addHolder(info peer.AddrInfo) bool {
	for i := range r.holders {
		if r.holders[i].ID == info.ID {
			r.holders[i].Addrs = append(r.holders[i].Addrs, info.Addrs...)
			return false
		}
	}
	r.holders = append(r.holders, info)
	return true
}

// authority proves possession of the chain on a connection to a holder.
func (r *reading) authority(conn network.Conn, request statement.ID) ([]byte, error) {
	session, ok := admission.SessionOf(conn)
	if !ok {
		return nil, errors.New("the connection was not admitted")
	}
	server, err := peerKey(conn.RemotePeer())
	if err != nil {
		return nil, err
	}
	return r.n.quorum.ProveChain(r.p, r.v.Chain(), quorum.Session{
		Server: server, Client: r.n.home.PeerKey(), Challenge: session.Received(), Counter: session.NextCounter,
	}, request)
}

// attempt is what one holder is asked for, and what takes its blocks. It returns
// nil when nothing is left to ask.
type attempt func() (req *exchange.Request, sink func(exchange.Block) error)

// fetch takes what this home has itself, and asks holders for the rest, one after
// another, until next has nothing left to ask: first those that depositors named,
// then those that the DHT knows.
func (r *reading) fetch(ctx context.Context, address cid.Cid, next attempt) error {
	damaged, err := r.fetchHere(ctx, next)
	if err != nil {
		return err
	}
	return r.fetchAway(ctx, address, next, damaged)
}

// fetchAway is fetch from holders alone. damaged is what is wrong here. A holder that is
// silent is left for the next one, and asked once more when there is no other.
func (r *reading) fetchAway(ctx context.Context, address cid.Cid, next attempt, damaged []error) error {
	var failures []error
	var left []peer.AddrInfo // for others
	searched := false
	for i := 0; ; i++ {
		req, sink := next()
		if req == nil {
			return nil
		}
		if i >= len(r.holders) && !searched {
			searched = true
			r.search(ctx, address)
		}
		var h peer.AddrInfo
		ask := r.askHolderBriskly
		switch {
		case i < len(r.holders):
			h = r.holders[i]
		case len(left) > 0:
			h, left, ask = left[0], left[1:], r.askHolderAlone
		default:
			return r.noHolder(address, append(failures, damaged...))
		}
		r.introduce(ctx, h)
		err := ask(ctx, h.ID, *req, r.taking(h.ID.String(), sink))
		var own *sinkError
		switch {
		case errors.As(err, &own):
			return own.err // ours: another holder would not help
		case ctx.Err() != nil:
			return ctx.Err()
		case err == errQuiet:
			r.n.log.Info("a holder is silent", "peer", h.ID)
			left = append(left, h)
		case err != nil:
			r.n.log.Info("a holder did not give everything", "peer", h.ID, "err", err)
			failures = append(failures, err)
		}
	}
}

// meetTime bounds the wait for the names of new members.
const meetTime = 2 * time.Second

// introduce lets a holder be dialled. Anybody may be named as a holder, and members
// alone are dialled: where one is not known here it may have just joined, and
// validators are asked, once.
func (r *reading) introduce(ctx context.Context, h peer.AddrInfo) {
	if !r.n.gate.known(h.ID) {
		r.meet.Do(func() {
			ctx, cancel := context.WithTimeout(ctx, meetTime)
			defer cancel()
			r.n.askValidators(ctx)
		})
	}
	r.n.host.Libp2p().Peerstore().AddAddrs(h.ID, h.Addrs, peerstore.TempAddrTTL)
}

// askHolder asks one holder, when it is this node's turn there.
func (r *reading) askHolder(ctx context.Context, p peer.ID, req exchange.Request, sink func(exchange.Block) error) (exchange.Result, error) {
	giveBack, err := r.n.turns.take(ctx, p, exchange.ProtocolID, exchange.StreamsPerPeer)
	if err != nil {
		return exchange.Result{}, err
	}
	defer giveBack()
	res, err := exchange.Fetch(network.WithDialPeerTimeout(ctx, dialTime), r.n.host.Libp2p(), p, req, r.authority, sink)
	r.n.gate.gaveBadly(p, err)
	return res, err
}

// askHolderAlone is askHolder for the last holder that there is.
func (r *reading) askHolderAlone(ctx context.Context, p peer.ID, req exchange.Request, sink func(exchange.Block) error) error {
	_, err := r.askHolder(ctx, p, req, sink)
	return err
}

// from remembers whom ciphertext is from.
func (r *reading) from(whom string) {
	if !slices.Contains(r.got.From, whom) {
		r.got.From = append(r.got.From, whom)
	}
}

// fetchHere is fetch's first attempt, on this home's own store: what was imported, or
// came before, need not come again. The keys are the validators' all the same, so
// that it does not matter who put the ciphertext here. What is damaged here may be
// sound elsewhere, so that damage is told apart from an error that ends the fetch.
func (r *reading) fetchHere(ctx context.Context, next attempt) (damaged []error, err error) {
	req, sink := next()
	if req == nil {
		return nil, nil
	}
	_, err = exchange.Walk(ctx, ownBlocks{r.n}, *req, r.taking("local", sink))
	var own *sinkError
	switch {
	case errors.As(err, &own):
		return nil, own.err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exchange.ErrCorrupt):
		r.n.log.Error("a block of this home is of no use; run `cerebrum verify` and import the object again", "err", err)
		return []error{err}, nil
	case err != nil && !errors.Is(err, exchange.ErrRefused):
		return nil, err
	}
	return nil, nil
}

// taking passes blocks on and remembers whom they are from.
func (r *reading) taking(from string, sink func(exchange.Block) error) func(exchange.Block) error {
	return func(b exchange.Block) error {
		r.from(from)
		if err := sink(b); err != nil {
			return &sinkError{err}
		}
		return nil
	}
}

// ownBlocks is this home's store for its own reader.
type ownBlocks struct{ n *Node }

func (b ownBlocks) Get(ctx context.Context, c cid.Cid, into []byte) ([]byte, error) {
	data, err := b.n.store.GetInto(ctx, c, into)
	if errors.Is(err, store.ErrNotFound) {
		return nil, exchange.ErrNotFound
	}
	return data, err
}

// sinkError is an error of whoever takes the blocks, not of the holder.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }
func (e *sinkError) Unwrap() error { return e.err }

// dialTime bounds the wait for one holder; another may have the object.
const dialTime = 2 * time.Second

// searchTime bounds the DHT's search for holders.
const searchTime = 3 * time.Second

func (r *reading) search(ctx context.Context, address cid.Cid) {
	if r.n.home.Config.NoDHT {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	found, err := r.n.discovery.Providers(ctx, address.Bytes(), 8)
	if err != nil {
		r.n.log.Debug("providers", "err", err)
	}
	for _, info := range found {
		if info.ID != r.n.host.ID() {
			r.addHolder(info)
		}
	}
}

// noHolder says why none of the holders gave the object. Every one that could be
// asked says it lacks it: not found; a revoked chain: denied.
func (r *reading) noHolder(address cid.Cid, failures []error) error {
	refused := 0
	for _, err := range failures {
		switch {
		case errors.Is(err, exchange.ErrCorrupt):
			return fault.Wrap(fault.Integrity, err, "tell the owner; a good copy may be elsewhere", "no holder has an intact copy of %s", address)
		case errors.Is(err, exchange.ErrRevoked):
			return fault.New(fault.Denied, "ask its owner for a new grant", "the grant for %s ended while it was read", address)
		case errors.Is(err, exchange.ErrRefused):
			refused++
		}
	}
	if refused > 0 && refused == len(failures) {
		return fault.New(fault.NotFound, "ask its owner to run the node that holds it", "none of the %d holders of %s that can be reached has it", refused, address)
	}
	return fault.New(fault.Unavailable, "try again when its owner's node is running", "no holder of %s can be reached", address)
}

// unlock checks what arrived of an object before its payload: the manifest by
// its owner and the chain, the header by the released shares.
func (r *reading) unlock(ctx context.Context, i int, address cid.Cid, manifest, header []byte) (*object.Opened, error) {
	m, err := validator.VerifyManifest(address.Bytes(), manifest, r.v.Owner())
	if err != nil {
		return nil, err
	}
	return r.unlockWith(ctx, i, address, m, header)
}

// unlockListed is unlock for a file that a directory lists. The directory was
// verified and is of the same owner, who so speaks for the address of each file.
func (r *reading) unlockListed(ctx context.Context, i int, address cid.Cid, manifest, header []byte) (*object.Opened, error) {
	m, err := validator.KnownManifest(address.Bytes(), manifest, r.v.Owner().ID())
	if err != nil {
		return nil, err
	}
	return r.unlockWith(ctx, i, address, m, header)
}

func (r *reading) unlockWith(ctx context.Context, i int, address cid.Cid, m *envelope.Manifest, header []byte) (*object.Opened, error) {
	if err := r.v.Allows(capability.Read, validator.ObjectOf(address, m)); err != nil {
		return nil, fault.Wrap(fault.Denied, err, "ask its owner for a grant", "%s", address)
	}
	if r.kept != nil {
		return object.Unlock(address, *m, header, *r.kept)
	}
	var opened *object.Opened
	var secret committee.Secret
	liars, err := r.keys.Open(ctx, i, func(s committee.Secret) error {
		o, err := object.Unlock(address, *m, header, s)
		if err == nil {
			opened, secret = o, s
		}
		return err
	})
	for _, l := range liars {
		r.n.log.Warn("a validator released a share that does not fit its commitment", "validator", l+1)
		if !slices.Contains(r.got.Liars, l+1) {
			r.got.Liars = append(r.got.Liars, l+1)
		}
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return nil, err // denied for certain, or too few validators
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "see `cerebrum status`", "the key of %s cannot be recovered", address)
	}
	if err := r.n.keepKey(r.p.Identity.ID(), r.v, address, opened.Manifest.KeyID(), secret); err != nil {
		return nil, diskFault(err)
	}
	return opened, nil
}
