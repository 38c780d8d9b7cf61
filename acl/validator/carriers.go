package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/multiformats/go-multibase"
)

// Limits of what validators keep about who carries ciphertext.
const (
	// CarrierLasts is how long a validator names a carrier that does not repeat itself.
	CarrierLasts = 6 * time.Hour
	// MaxCarriers is how many peers a validator names for one target of grants.
	MaxCarriers = 16
	// MaxCarry is the most bytes of an answer to a [CarryRequest].
	MaxCarry = 256 << 10

	maxNamed      = 64 // multiaddrs of carriers in one release
	sweptCarriers = 64 // entries that are looked at for their end with each new one
)

// carrierPrefix + owner + ref of a target + peer -> carrier. What a grant covers
// is kept once for all objects under it: a directory of ten thousand files has one
// entry for each of its mirrors.
var carrierPrefix = []byte("carrier/")

// CarryRequest asks who holds the ciphertext of an object. With Holder the peer that
// asks also has itself named, to everybody who may fetch what the target of its
// chain covers; with Stop it takes that back.
//
// It is a hint and no promise: a validator does not look whether the peer has
// anything. Whoever fetches checks what comes.
type CarryRequest struct {
	_         struct{} `cbor:",toarray"`
	Address   []byte   // of an object that the authority covers
	Holder    []string // multiaddrs of the asking peer, with /p2p; empty: it only asks
	Stop      bool
	Authority []byte // a chain that lets its audience carry, or, to ask only, the owner's identity
}

// Digest is what the proof of possession signs.
func (r CarryRequest) Digest() statement.ID {
	r.Authority = nil
	return digest("carry request", r)
}

// CarryReply says who holds an object.
type CarryReply struct {
	_        struct{} `cbor:",toarray"`
	Holders  []string // that its depositor named
	Carriers []Carrier
}

// Carrier is a peer that says that it carries something.
type Carrier struct {
	_         struct{} `cbor:",toarray"`
	Peer      statement.PublicKey
	Identity  statement.ID // audience of the grant under which it carries
	Addresses []string     // multiaddrs with /p2p
}

// carrier is a carrier as it is kept.
type carrier struct {
	_         struct{} `cbor:",toarray"`
	Identity  statement.ID
	Addresses []string
	Until     int64 // Unix seconds
}

// carriers guards the entries of carriers while one is added.
type carriers struct {
	mu    sync.Mutex
	swept []byte // key after which the next look for ended entries begins
}

// Carry answers who carries an object, to those who may fetch it, and keeps that the
// asking peer does. Who may not know, and who asks about nothing, is denied alike.
// What is kept is in the log before it is answered.
func (j *Judge) Carry(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r CarryRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if err := r.check(c.Client); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !j.Fresh.Fresh() {
		return nil, fmt.Errorf("%w: it does not hear enough other validators", ErrUnavailable)
	}
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	who, err := j.openAsker(a, j.expect(c, r.Digest()))
	if err != nil {
		return nil, j.deny(ctx, event.Carry, event.Act{Object: r.Address}, err)
	}
	coming := j.coming()
	dep, o, err := j.carriedObject(who, r)
	if err != nil {
		return nil, j.denyAddress(ctx, coming, event.Carry, event.Act{Actor: who.id, Object: r.Address, Owner: o.Owner, Grant: who.leaf}, err)
	}
	reason := "asks"
	switch {
	case r.Stop:
		reason = "carries no more"
	case len(r.Holder) > 0:
		reason = "carries"
	}
	if err := j.Audit.Append(ctx, j.event(event.Carry, event.OK, event.Act{Actor: who.id, Object: r.Address, Owner: o.Owner, Grant: who.leaf, Detail: reason})); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if r.Stop || len(r.Holder) > 0 {
		if err := j.keepCarrier(c.Client, who.v, &r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	reply := CarryReply{Holders: dep.Holders}
	if reply.Carriers, err = j.carriersOf(o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return encode(reply), nil
}

// check holds what a request must be by itself: a peer names its own addresses.
func (r *CarryRequest) check(client statement.PublicKey) error {
	switch {
	case len(r.Address) == 0 || len(r.Address) > maxAddress:
		return fmt.Errorf("an address has at most %d bytes", maxAddress)
	case len(r.Holder) > MaxHolders:
		return fmt.Errorf("a carrier has at most %d addresses", MaxHolders)
	case r.Stop && len(r.Holder) > 0:
		return errors.New("it both carries and stops")
	}
	tail := "/p2p/" + peerName(client)
	for _, h := range r.Holder {
		direct, viaRelay := strings.Count(h, "/p2p/") == 1, strings.HasSuffix(h, "/p2p-circuit"+tail) && strings.Count(h, "/p2p/") == 2
		if len(h) > MaxHolder || !strings.HasSuffix(h, tail) || !direct && !viaRelay {
			return errors.New("a carrier names addresses of itself alone")
		}
	}
	return nil
}

// peerName is the libp2p id of an Ed25519 key: the key in a protobuf, in an identity
// multihash, in base 58.
func peerName(k statement.PublicKey) string {
	s, err := multibase.Encode(multibase.Base58BTC, append([]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}, k[:]...))
	if err != nil {
		panic("validator: base 58 is gone: " + err.Error()) // a constant of the library
	}
	return s[1:] // without the letter that names the base
}

// carriedObject finds what a request is about, if its asker may know of it.
func (j *Judge) carriedObject(who *asker, r CarryRequest) (*deposit, capability.Object, error) {
	dep, _, err := j.load(r.Address)
	if err != nil {
		return nil, capability.Object{}, errNoDeposit
	}
	o, err := dep.object()
	if err != nil {
		return nil, o, err
	}
	if err := who.covers(o); err != nil {
		return nil, o, err
	}
	if who.v == nil && (r.Stop || len(r.Holder) > 0) {
		return nil, o, &broken{"owner-named", "an owner is named with its deposit"}
	}
	if len(r.Holder) > 0 {
		if err := j.carriedHere(dep, who.id); err != nil {
			return nil, o, err
		}
	}
	return dep, o, nil
}

func targetCarriers(owner, ref [32]byte) []byte {
	return slices.Concat(carrierPrefix, owner[:], ref[:])
}

// keepCarrier keeps that a peer carries what its chain covers, or that it does no
// more. Where there are enough others, what ended makes room and nothing else does.
func (j *Judge) keepCarrier(peer statement.PublicKey, v *capability.Verified, r *CarryRequest) error {
	j.carriers.mu.Lock()
	defer j.carriers.mu.Unlock()
	g := v.Grant()
	prefix := targetCarriers(g.Owner, g.Target.Ref)
	key := slices.Concat(prefix, peer[:])
	if r.Stop {
		return j.Store.Apply([]kv.Op{{Key: key, Delete: true}})
	}
	now := j.Now()
	ops, err := j.endedCarriers(now)
	if err != nil {
		return err
	}
	others := 0
	err = j.Store.Scan(prefix, nil, func(k, raw []byte) (bool, error) {
		var c carrier
		if err := statement.Unmarshal(raw, &c); err == nil && c.Until > now.Unix() && string(k) != string(key) {
			others++
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if others < MaxCarriers {
		until := min(now.Add(CarrierLasts).Unix(), g.Caveats.Expires)
		ops = append(ops, kv.Op{Key: key, Value: encode(carrier{Identity: v.Audience().ID(), Addresses: r.Holder, Until: until})})
	}
	return j.Store.Apply(ops)
}

// endedCarriers deletes a few entries that have ended, of any target: each new one
// pays for that.
func (j *Judge) endedCarriers(now time.Time) (ops []kv.Op, err error) {
	seen := 0
	err = j.Store.Scan(carrierPrefix, j.carriers.swept, func(k, raw []byte) (bool, error) {
		var c carrier
		if err := statement.Unmarshal(raw, &c); err != nil || c.Until <= now.Unix() {
			ops = append(ops, kv.Op{Key: slices.Clone(k), Delete: true})
		}
		seen++
		j.carriers.swept = slices.Clone(k)
		return seen < sweptCarriers, nil
	})
	if seen < sweptCarriers {
		j.carriers.swept = nil // from the beginning
	}
	return ops, err
}

// carriersOf are the peers that say that they carry an object: its version, its
// lineage or a scope of it.
func (j *Judge) carriersOf(o capability.Object) (out []Carrier, err error) {
	now := j.Now().Unix()
	seen := map[statement.PublicKey]bool{}
	for _, ref := range append([][32]byte{o.Version, o.Lineage}, o.Scopes...) {
		prefix := targetCarriers(o.Owner, ref)
		err := j.Store.Scan(prefix, nil, func(k, raw []byte) (bool, error) {
			var c carrier
			if err := statement.Unmarshal(raw, &c); err != nil {
				return false, err
			}
			peer := statement.PublicKey(k[len(prefix):])
			if c.Until > now && !seen[peer] {
				seen[peer] = true
				out = append(out, Carrier{Peer: peer, Identity: c.Identity, Addresses: c.Addresses})
			}
			return len(out) < MaxCarriers, nil
		})
		if err != nil || len(out) == MaxCarriers {
			return out, err
		}
	}
	return out, nil
}

// naming adds the carriers of objects to a release, each address once in all of it:
// a reader tries them for every object, and an answer stays small whoever carries.
type naming struct {
	named   []string
	carried map[statement.ID]bool // by owner: whether anything of theirs has carriers
}

func (n *naming) holders(j *Judge, o capability.Object, depositors []string) ([]string, error) {
	carried, err := n.carries(j, o.Owner)
	if err != nil || !carried {
		return depositors, err
	}
	all, err := j.carriersOf(o)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(depositors)
	for _, c := range all {
		for _, a := range c.Addresses {
			if len(n.named) < maxNamed && !slices.Contains(n.named, a) {
				n.named = append(n.named, a)
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// carries looks once in an answer whether an owner's objects have any carriers: where
// they have none, as is usual, a thousand objects need not be looked up one by one.
func (n *naming) carries(j *Judge, owner statement.ID) (bool, error) {
	if carried, ok := n.carried[owner]; ok {
		return carried, nil
	}
	carried := false
	err := j.Store.Scan(slices.Concat(carrierPrefix, owner[:]), nil, func([]byte, []byte) (bool, error) {
		carried = true
		return false, nil
	})
	if err != nil {
		return false, err
	}
	if n.carried == nil {
		n.carried = map[statement.ID]bool{}
	}
	n.carried[owner] = carried
	return carried, nil
}
