package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// Release answers with this validator's shares of the objects that the chain and
// policy allow, sealed to the audience. Every decision is durable in the audit
// log before the answer leaves; where nothing is allowed the answer is a denial.
func (j *Judge) Release(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r ReleaseRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if len(r.Objects) == 0 || len(r.Objects) > MaxBatch || len(r.Purpose) > maxWords || len(r.Reason) > maxWords {
		return nil, fmt.Errorf("%w: a release names 1 to %d objects", ErrMalformed, MaxBatch)
	}
	// The log refuses longer ones: nobody may be denied without being logged.
	if slices.ContainsFunc(r.Objects, func(a []byte) bool { return len(a) > maxAddress }) {
		return nil, fmt.Errorf("%w: an address has at most %d bytes", ErrMalformed, maxAddress)
	}
	if !j.Fresh.Fresh() {
		return nil, fmt.Errorf("%w: it does not hear enough other validators", ErrUnavailable)
	}
	a, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	v, at, err := j.Verifier.Open(a, j.expect(c, r.Digest()))
	if err != nil {
		return nil, j.deny(ctx, "release", nil, r.Objects[0], err)
	}
	out := Release{Request: r.Digest(), Leaf: v.Leaf(), Server: j.Peer, Items: make([]ReleaseItem, len(r.Objects))}
	events := make([]audit.Event, len(r.Objects))
	actor, leaf, released := v.Audience().ID(), v.Leaf(), 0
	for i, address := range r.Objects {
		item, err := j.releaseOne(v, at, address, r)
		if err != nil {
			out.Items[i] = ReleaseItem{Outcome: ItemRefused}
			events[i] = j.event("release", "denied", actor[:], nil, address, leaf[:], err.Error())
			continue
		}
		out.Items[i] = *item
		events[i] = j.event("release", "ok", actor[:], nil, address, leaf[:], r.Reason)
		released++
	}
	if err := j.Audit.Append(ctx, events...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if released == 0 {
		return nil, ErrDenied
	}
	// A large batch takes a while: what was revoked meanwhile, and acknowledged
	// by this validator, is not answered any more.
	if err := j.Verifier.Live(v); err != nil {
		return nil, j.deny(ctx, "release", actor[:], r.Objects[0], err)
	}
	sealer, err := keystore.NewSealer(v.Audience().Recipients()...)
	if err != nil {
		return nil, err
	}
	box, err := sealer.Seal(encode(out))
	if err != nil {
		return nil, err
	}
	return encode(ReleaseReply{Box: box}), nil
}

func (j *Judge) releaseOne(v *capability.Verified, at time.Time, address []byte, r ReleaseRequest) (*ReleaseItem, error) {
	dep, keyID, err := j.load(address)
	if err != nil {
		return nil, errors.New("no such deposit")
	}
	d, id, err := readDealing(dep.Dealing)
	if err != nil {
		return nil, err
	}
	o, err := dep.object()
	if err != nil {
		return nil, err
	}
	if err := j.decide(v, at, o, d, r); err != nil {
		return nil, err
	}
	item := &ReleaseItem{Dealing: id, Holders: dep.Holders}
	if r.Dealings {
		item.Signed = dep.Dealing
	}
	for _, h := range dep.Shares {
		share, err := j.Shares.Open(h.Share, shareAAD(keyID, h.Epoch))
		if err != nil {
			return nil, err
		}
		out := ReleasedShare{Epoch: h.Epoch, Record: h.Record, Share: share}
		if r.Dealings {
			out.Scale, out.Points = h.Scale, h.Points
		}
		item.Shares = append(item.Shares, out)
	}
	return item, nil
}

// decide asks the capability and then policy; both must say yes.
func (j *Judge) decide(v *capability.Verified, at time.Time, o capability.Object, d *Dealing, r ReleaseRequest) error {
	if err := v.Allows(capability.Read, o); err != nil {
		return err
	}
	if err := v.AllowsPurpose(r.Purpose); err != nil {
		return err
	}
	if err := v.AllowsClass(d.Class); err != nil {
		return err
	}
	if err := v.AllowsRegion(nil); err != nil { // this network establishes nobody's region yet
		return err
	}
	if v.NeedsAttestation() {
		return errors.New("the grant asks for attested evidence, which this network does not take yet")
	}
	who := v.Audience()
	decision := j.Policy.Decide(policy.Request{
		Principal: who.ID(), PrincipalKind: principalKind(who.Kind()), Action: "read",
		Object: envelope.KeyID(d.Network, d.Owner, d.KeyNonce), ObjectKind: "Dataset", Owner: d.Owner,
		Purpose: r.Purpose, Reason: r.Reason, Classification: int64(d.Class), Consented: true, Now: at,
	})
	if !decision.Allow {
		return fmt.Errorf("denied by policy %v", decision.Policies)
	}
	return nil
}

// readDealing decodes a dealing of our own store, whose signature was verified
// before it was stored. That it is the chain's owner's follows from the manifest
// of the same deposit.
func readDealing(raw []byte) (*Dealing, statement.ID, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, statement.ID{}, err
	}
	var d Dealing
	err = s.Peek(KindDealing, &d)
	return &d, s.ID(), err
}

func (d *deposit) manifest() (*envelope.Manifest, cid.Cid, error) {
	address, err := cid.Cast(d.Address)
	if err != nil {
		return nil, cid.Undef, err
	}
	u, err := envelope.ParseManifest(address, d.Manifest)
	if err != nil {
		return nil, cid.Undef, err
	}
	m := u.Claims() // verified before it was stored; the address binds the bytes
	return &m, address, nil
}
