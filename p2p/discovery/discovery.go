// Package discovery lets members of one network find one another and the
// objects that they hold, without any public infrastructure.
//
// # What it is
//
// A Kademlia DHT of the network's own: its protocol name carries the first bytes
// of the network id, its first peers are those that the network file lists, and
// it runs over admitted connections only. Non-members are neither asked, nor kept
// in the routing table, nor returned as providers. It stores provider records
// ("this member holds something under this key") and nothing else; values are
// switched off.
//
// # Keys
//
// What is stored is never the name of an object but a hash of it,
//
//	SHA-256("cerebrum.dev/discovery/provide/v1" 0x00 || network id || key)
//
// as the digest of a CIDv1, so that the DHT teaches nobody an address: it answers
// only those who know one already, and two networks share no key.
//
// # What it does not promise
//
// A DHT can be flooded and eclipsed by members that collude (CVE-2023-26248 has
// no fix), so it must not be the only way to a provider. What is done: a member
// may have a bounded number of records with us, and all together too. A provider
// record is a claim; whoever fetches something verifies it. Records last 48 hours
// and live in memory: providers repeat them about daily.
//
// # Use
//
//	d, err := discovery.New(discovery.Config{Host: h, Network: id, Bootstrap: peers, Member: isMember})
//	go func() { done <- d.Run(ctx) }()
//	err = d.Provide(ctx, address)
//	holders, err := d.Providers(ctx, address, 4)
package discovery

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	dhtrecords "github.com/libp2p/go-libp2p-kad-dht/records"
	kbucket "github.com/libp2p/go-libp2p-kbucket"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
)

// keyDomain separates our keys from every other use of SHA-256.
const keyDomain = "cerebrum.dev/discovery/provide/v1\x00"

// Errors that callers branch on.
var (
	// ErrAlone reports that no other member is known: a record is kept here only.
	ErrAlone = errors.New("no other member is known yet")
	// ErrStopped reports that Run has ended.
	ErrStopped = errors.New("discovery has stopped")
	// ErrRan reports a second Run.
	ErrRan = errors.New("discovery was already run")
)

// Config says how to discover. Host and Member are required.
type Config struct {
	// Host is an admitted host; discovery does not close it.
	Host libp2phost.Host
	// Network is the network id. Only hosts with the same one understand each other.
	Network [32]byte
	// Bootstrap lists the peers to stay connected to, for the network file may
	// change. It is called again and again; nil is an empty list.
	Bootstrap func() []peer.AddrInfo
	// Member tells members from others. It is called often, from many goroutines.
	Member func(peer.ID) bool
	// Log gets what an operator should know; nil is silent.
	Log *slog.Logger
	// Interval is how often the connections to bootstrap peers are looked after,
	// give or take a quarter. While one is missing it is tried sooner, a second
	// after it was lost and then at growing distances up to half of Interval. Default
	// 30 s.
	Interval time.Duration
	// RecordsPerMember and Records bound the provider records that we keep, of one
	// other member and of all. Default 50,000 and 500,000 (about 100 MB).
	RecordsPerMember, Records int
}

// Discovery is safe for use by many goroutines.
type Discovery struct {
	cfg     Config
	log     *slog.Logger
	ran     atomic.Bool
	records *records
	cache   *cache
	table   *dht.IpfsDHT  // set by Run before ready is closed
	ready   chan struct{} // closed by Run when table is set
	stopped chan struct{} // closed by Run when it ends
	looked  atomic.Uint64 // how often the routing table was filled because of bootstrap peers
}

// New checks the configuration. It starts nothing and contacts nobody.
func New(cfg Config) (*Discovery, error) {
	if cfg.Host == nil || cfg.Member == nil {
		return nil, errors.New("discovery needs a host and a way to tell members")
	}
	if cfg.Bootstrap == nil {
		cfg.Bootstrap = func() []peer.AddrInfo { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 30 * time.Second
	}
	if cfg.RecordsPerMember <= 0 {
		cfg.RecordsPerMember = 50_000
	}
	if cfg.Records <= 0 {
		cfg.Records = 500_000
	}
	cache, err := newCache()
	if err != nil {
		return nil, err
	}
	return &Discovery{
		records: newRecords(cfg.Host.ID(), cfg.Member, cfg.RecordsPerMember, cfg.Records), cache: cache,
		cfg: cfg, log: cfg.Log, ready: make(chan struct{}), stopped: make(chan struct{}),
	}, nil
}

// Prefix is the beginning of the DHT's protocol name for a network.
func Prefix(network [32]byte) protocol.ID {
	return protocol.ID("/cerebrum/" + hex.EncodeToString(network[:8]))
}

// Run joins the DHT, keeps the connections to bootstrap peers up, and blocks until
// ctx ends; then it leaves and returns nil. The host stays open. It runs once.
func (d *Discovery) Run(ctx context.Context) error {
	if !d.ran.CompareAndSwap(false, true) {
		return ErrRan
	}
	defer close(d.stopped)
	table, err := d.join()
	if err != nil {
		return fmt.Errorf("joining the network's DHT: %w", err)
	}
	d.table = table
	close(d.ready)
	d.keepConnected(ctx)
	if err := table.Close(); err != nil {
		return fmt.Errorf("leaving the network's DHT: %w", err)
	}
	return nil
}

func (d *Discovery) join() (*dht.IpfsDHT, error) {
	return dht.New(d.cfg.Host,
		dht.ProtocolPrefix(Prefix(d.cfg.Network)),
		dht.Mode(dht.ModeServer),
		dht.DisableValues(),
		dht.ProviderDatastore(d.records),
		dht.ProviderManagerOpts(dhtrecords.Cache(d.cache)),
		dht.BootstrapPeersFunc(d.cfg.Bootstrap),
		dht.QueryFilter(func(_ any, ai peer.AddrInfo) bool { return d.cfg.Member(ai.ID) }),
		dht.RoutingTableFilter(func(_ any, p peer.ID) bool { return d.cfg.Member(p) }),
	)
}

// started waits until Run has joined.
func (d *Discovery) started(ctx context.Context) (*dht.IpfsDHT, error) {
	select {
	case <-d.stopped:
		return nil, ErrStopped
	default:
	}
	select {
	case <-d.ready:
		return d.table, nil
	case <-d.stopped:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Provide tells the members nearest to the key that we hold what it names; it
// waits for Run to have joined. ErrAlone means that there was nobody to tell:
// try again later. Records expire after 48 hours.
func (d *Discovery) Provide(ctx context.Context, key []byte) error {
	table, err := d.started(ctx)
	if err != nil {
		return err
	}
	id, err := d.cidOf(key)
	if err != nil {
		return err
	}
	err = table.Provide(ctx, id, true)
	if errors.Is(err, kbucket.ErrLookupFailure) {
		return ErrAlone
	}
	if err != nil {
		return fmt.Errorf("providing a key: %w", err)
	}
	return nil
}

// Providers asks for members, other than us, that say they hold what key names,
// and returns as soon as it has max of them (all that it can find, if max is not
// positive). Nobody being found is no error, unless ctx ended the search. The
// order means nothing.
func (d *Discovery) Providers(ctx context.Context, key []byte, max int) ([]peer.AddrInfo, error) {
	table, err := d.started(ctx)
	if err != nil {
		return nil, err
	}
	id, err := d.cidOf(key)
	if err != nil {
		return nil, err
	}
	search, stop := context.WithCancel(ctx)
	defer stop()
	var found []peer.AddrInfo
	// Asked without a count: the DHT would let false providers use it up.
	for p := range table.FindProvidersAsync(search, id, 0) {
		if p.ID == d.cfg.Host.ID() || !d.cfg.Member(p.ID) {
			continue
		}
		found = d.collect(found, p)
		if max > 0 && len(found) >= max {
			return found, nil // stop ends the search, and with it the sender
		}
	}
	if len(found) == 0 && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return found, nil
}

// collect adds p, or its addresses where p was found before without any, and
// those that we know ourselves.
func (d *Discovery) collect(found []peer.AddrInfo, p peer.AddrInfo) []peer.AddrInfo {
	addrs := multiaddr.Unique(slices.Concat(p.Addrs, d.cfg.Host.Peerstore().Addrs(p.ID)))
	for i := range found {
		if found[i].ID == p.ID {
			found[i].Addrs = multiaddr.Unique(append(found[i].Addrs, addrs...))
			return found
		}
	}
	return append(found, peer.AddrInfo{ID: p.ID, Addrs: addrs})
}

// cidOf is the only thing that the DHT gets to know of a key.
func (d *Discovery) cidOf(key []byte) (cid.Cid, error) {
	h := sha256.New()
	h.Write([]byte(keyDomain))
	h.Write(d.cfg.Network[:])
	h.Write(key)
	digest, err := multihash.Encode(h.Sum(nil), multihash.SHA2_256)
	if err != nil {
		return cid.Undef, fmt.Errorf("encoding a key: %w", err)
	}
	return cid.NewCidV1(cid.Raw, digest), nil
}

// Forget drops a peer that is no member any more: from the routing table and from
// the provider records. The caller has closed its connections, and [Config.Member]
// knows that it is none.
func (d *Discovery) Forget(p peer.ID) {
	select {
	case <-d.ready:
		d.table.RoutingTable().RemovePeer(p)
		d.flush(p)
	default:
	}
	d.records.forget(p)
	d.cache.Purge()
}

// managerBuffer is how many records the DHT's provider manager buffers before it
// writes them.
const managerBuffer = 256

// flush has the provider manager write what it buffers, among it records of p. It
// has no call for that; what fills its buffer here are records of p, which are not
// kept.
func (d *Discovery) flush(p peer.ID) {
	for i := range managerBuffer {
		key := binary.BigEndian.AppendUint16([]byte("flush"), uint16(i))
		if err := d.table.ProviderStore().AddProvider(context.Background(), key, peer.AddrInfo{ID: p}); err != nil {
			d.log.Debug("forgetting a member's records", "peer", p, "err", err)
			return
		}
	}
}

// Connected is the number of members that we have a connection to.
func (d *Discovery) Connected() int {
	n := 0
	for _, p := range d.cfg.Host.Network().Peers() {
		if d.cfg.Member(p) {
			n++
		}
	}
	return n
}
