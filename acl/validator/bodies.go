package validator

import (
	"context"
	"slices"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// BodiesRequest asks for deposits without their shares, for validators that are new.
type BodiesRequest struct {
	_    struct{} `cbor:",toarray"`
	Keys []statement.ID
}

// BodiesReply has one body for each key, empty where it is not here.
type BodiesReply struct {
	_      struct{} `cbor:",toarray"`
	Bodies []Body
}

// Body is a deposit as its owner signed it.
type Body struct {
	_        struct{} `cbor:",toarray"`
	Manifest []byte
	Dealing  []byte
	Owner    []byte // identity document
	Holders  []string
}

const maxBodies = 48 // of up to 75 KiB: manifest, dealing with its labels, document

var ownerPrefix = []byte("owner/") // + identity -> document, of owners of deposits

// AnswerBodies shows deposits to a validator.
func (j *Judge) AnswerBodies(c Conn, raw []byte) ([]byte, error) {
	var r BodiesRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if _, ok := j.Trust.Current().ByPeer(c.Client); !ok || len(r.Keys) > maxBodies {
		return nil, ErrDenied
	}
	out := BodiesReply{Bodies: make([]Body, len(r.Keys))}
	for i, id := range r.Keys {
		d, err := j.loadKey(id)
		if err != nil {
			continue
		}
		m, _, err := d.manifest()
		if err != nil {
			continue
		}
		owner, err := j.Store.Get(slices.Concat(ownerPrefix, m.Owner[:]))
		if err != nil {
			continue
		}
		out.Bodies[i] = Body{Manifest: d.Manifest, Dealing: d.Dealing, Owner: owner, Holders: d.Holders}
	}
	return encode(out), nil
}

// fetchBodies finds the deposits that this validator does not have, at the
// dealers. Each proves itself by its owner's signatures.
func (r *Rotation) fetchBodies(ctx context.Context, p *signedPlan, all []*incoming) error {
	var missing []*incoming
	for _, in := range all {
		if in.dep == nil {
			missing = append(missing, in)
		}
	}
	for _, d := range p.Dealers {
		server := p.from.Validators[d].Peer
		if len(missing) == 0 || server == r.Judge.Peer {
			continue
		}
		for batch := range slices.Chunk(missing, maxBodies) {
			keys := make([]statement.ID, len(batch))
			for i, in := range batch {
				keys[i] = in.first.KeyID
			}
			raw, err := r.Peers.Rotate(ctx, server, RotateBodies, encode(BodiesRequest{Keys: keys}))
			var reply BodiesReply
			if err != nil || decode(raw, &reply) != nil || len(reply.Bodies) != len(batch) {
				continue
			}
			for i, in := range batch {
				in.take(reply.Bodies[i])
			}
		}
		missing = slices.DeleteFunc(missing, func(in *incoming) bool { return in.dep != nil })
	}
	return ctx.Err()
}

// take verifies a body: manifest and dealing are its owner's, name one key, and
// that key is the one that was asked for.
func (in *incoming) take(b Body) {
	owner, err := identity.Parse(b.Owner)
	if err != nil {
		return
	}
	d, id, err := VerifyDealing(b.Dealing, owner)
	if err != nil || id != in.first.Dealing {
		return
	}
	m, err := VerifyManifest(d.Manifest, b.Manifest, owner)
	if err != nil || m.KeyNonce != d.KeyNonce || envelope.KeyID(d.Network, d.Owner, d.KeyNonce) != in.first.KeyID || len(b.Holders) > MaxHolders {
		return
	}
	in.dep = &deposit{Address: d.Manifest, Manifest: b.Manifest, Dealing: b.Dealing, Holders: b.Holders}
	in.owner = b.Owner
}
