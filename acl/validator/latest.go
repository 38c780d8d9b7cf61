package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// MaxLatest is the most bytes of an answer to a [LatestRequest].
const MaxLatest = 2*envelope.MaxManifest + (1 << 10)

// LatestRequest asks for the newest version of the lineage that a version
// belongs to.
type LatestRequest struct {
	_         struct{} `cbor:",toarray"`
	Address   []byte   // of any of its versions
	Authority []byte   // a chain that covers the newest version, or its owner's identity
}

// Digest is what the proof of possession signs.
func (r LatestRequest) Digest() statement.ID {
	r.Authority = nil
	return digest("latest request", r)
}

// LatestReply names the newest version that this validator has taken. Both
// manifests are signed by the owner, so that a validator can be behind and can
// not make one up.
type LatestReply struct {
	_        struct{} `cbor:",toarray"`
	Address  []byte
	Manifest []byte // block at Address
	Asked    []byte // block of the version that was asked about, which shows the lineage; empty where it is gone
}

// Latest answers with the head of a lineage. Who may not know it, and who asks
// about nothing, is denied alike, or told alike that it is not known yet; both are logged
// before they are answered.
func (j *Judge) Latest(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r LatestRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if len(r.Address) == 0 || len(r.Address) > maxAddress {
		return nil, fmt.Errorf("%w: an address has at most %d bytes", ErrMalformed, maxAddress)
	}
	if err := j.hearing(); err != nil {
		return nil, err
	}
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	who, err := j.openAsker(a, j.expect(c, r.Digest()))
	if err != nil {
		return nil, j.deny(ctx, event.Latest, event.Act{Object: r.Address}, err)
	}
	coming := j.coming()
	reply, owner, err := j.latest(who, r.Address)
	if err != nil {
		return nil, j.denyAddress(ctx, coming, event.Latest, event.Act{Actor: who.id, Object: r.Address, Grant: who.leaf}, err)
	}
	if err := j.note(ctx, j.event(event.Latest, event.OK, event.Act{Actor: who.id, Object: r.Address, Owner: owner, Grant: who.leaf})); err != nil {
		return nil, err
	}
	return encode(reply), nil
}

// asker is who asks for a head, and what it may know of.
type asker struct {
	id     statement.ID
	leaf   []byte               // of its chain; nil for an owner
	v      *capability.Verified // the chain itself; nil for an owner
	covers func(capability.Object) error
}

func (j *Judge) openAsker(a *capability.Authority, want capability.Expectation) (*asker, error) {
	if len(a.Identity) > 0 {
		owner, _, err := j.Verifier.OpenIdentity(a, want)
		if err != nil {
			return nil, err
		}
		return &asker{id: owner.ID(), covers: func(o capability.Object) error {
			if o.Owner != owner.ID() || o.Network != want.Network {
				return &broken{"owner-only", "only its owner asks without a grant"}
			}
			return nil
		}}, nil
	}
	v, _, err := j.Verifier.Open(a, want)
	if err != nil {
		return nil, err
	}
	leaf := v.Leaf()
	return &asker{id: v.Audience().ID(), leaf: leaf[:], v: v, covers: func(o capability.Object) error {
		return v.Allows(capability.Carry, o)
	}}, nil
}

// latest finds the head. What the asker must be allowed to know is the head, not
// the version that it knows already: a grant of one version says nothing of the next.
func (j *Judge) latest(who *asker, address []byte) (reply *LatestReply, owner statement.ID, err error) {
	id, err := j.Store.Get(slices.Concat(versionPrefix, address))
	if err != nil {
		return nil, statement.ID{}, errNoDeposit
	}
	if len(id) != len(statement.ID{}) {
		return nil, statement.ID{}, errors.New("a stored lineage id is damaged")
	}
	h, err := j.loadHead(statement.ID(id))
	if err != nil || h == nil {
		return nil, statement.ID{}, errors.Join(errors.New("its lineage has no head"), err)
	}
	o, err := h.object()
	if err != nil {
		return nil, statement.ID{}, err
	}
	if err := who.covers(o); err != nil {
		return nil, statement.ID{}, err
	}
	reply = &LatestReply{Address: h.Address, Manifest: h.Manifest}
	if d, _, err := j.load(address); err == nil {
		reply.Asked = d.Manifest
	}
	return reply, o.Owner, nil
}

// object is what a stored head is about; its manifest was verified before it
// was stored.
func (h *head) object() (capability.Object, error) {
	address, err := cid.Cast(h.Address)
	if err != nil {
		return capability.Object{}, err
	}
	u, err := envelope.ParseManifest(address, h.Manifest)
	if err != nil {
		return capability.Object{}, err
	}
	m := u.Claims()
	return ObjectOf(address, &m), nil
}
