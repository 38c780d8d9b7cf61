package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/crypto/envelope"
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
	if err := j.hearing(); err != nil {
		return nil, err
	}
	authority, err := capability.ParseAuthority(r.Authority)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	request := r.Digest()
	v, at, err := j.Verifier.Open(authority, j.expect(c, request))
	if err != nil {
		return nil, j.denyRelease(ctx, request, event.Act{Object: r.Objects[0]}, err)
	}
	engine, err := j.Policies.InForce(at)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	actor, leaf := v.Audience().ID(), v.Leaf()
	a := &asking{v: v, at: at, engine: engine, roles: j.Roles.Roles(actor, at), r: &r}
	// Counted before it is decided, so that requests side by side do not all see
	// the same count; what is not released is taken back.
	now, released := j.Now(), 0
	a.used = j.used.take(actor, now, len(r.Objects))
	defer func() { j.used.giveBack(actor, now, len(r.Objects)-released) }()
	out := Release{Request: request, Leaf: leaf, Server: j.Peer, Items: make([]ReleaseItem, len(r.Objects))}
	events := make([]event.Event, len(r.Objects))
	var byPolicy *PolicyError
	allowed, later, coming := 0, 0, j.coming()
	for i, address := range r.Objects {
		item, err := j.releaseOne(a, address)
		var p *policyDenial
		switch {
		case errors.As(err, &p):
			out.Items[i] = ReleaseItem{Outcome: ItemPolicy}
			byPolicy = byPolicy.with(p.wants)
		case err != nil && coming:
			out.Items[i] = ReleaseItem{Outcome: ItemNotYet}
			later++
		case err != nil:
			out.Items[i] = ReleaseItem{Outcome: ItemRefused}
		default:
			out.Items[i] = *item
			events[i] = j.event(event.Release, event.OK, a.act(address))
			allowed++
			continue
		}
		events[i] = j.event(event.Release, event.Denied, because(err, a.act(address)))
	}
	if out.Receipt, err = j.enter(ctx, request, actor, events...); err != nil {
		return nil, err
	}
	released = allowed // in the log, and counted again from it at the next start
	if later == len(r.Objects) {
		return nil, errComing
	}
	if released == 0 && later == 0 {
		if byPolicy != nil {
			return nil, &Denied{byPolicy, out.Receipt}
		}
		return nil, &Denied{ErrDenied, out.Receipt}
	}
	// A large batch takes a while: what was revoked or erased meanwhile, and
	// acknowledged by this validator, is not answered any more. It acknowledges
	// after this answer is made, or before this look.
	j.erasures.leaving.RLock()
	defer j.erasures.leaving.RUnlock()
	if err := j.Verifier.Live(v); err != nil {
		return nil, j.denyRelease(ctx, request, event.Act{Actor: actor, Object: r.Objects[0], Grant: leaf[:]}, err)
	}
	if err := j.dropErased(ctx, &out, a); err != nil {
		return nil, err
	}
	sealer, err := j.sealers.to(v.Audience().Recipients())
	if err != nil {
		return nil, err
	}
	box, err := sealer.Seal(encode(out))
	if err != nil {
		return nil, err
	}
	return encode(ReleaseReply{Box: box}), nil
}

// dropErased takes out of an answer what was erased since it was judged, and the
// receipt with it, which would say that it was released. The caller holds
// erasures.leaving.
func (j *Judge) dropErased(ctx context.Context, out *Release, a *asking) error {
	var dropped []event.Event
	left := 0
	for i := range out.Items {
		if out.Items[i].Outcome != ItemOK {
			continue
		}
		if j.barred(a.keys[i]) {
			out.Items[i] = ReleaseItem{Outcome: ItemRefused}
			dropped = append(dropped, j.event(event.Release, event.Denied, because(errErased, event.Act{
				Actor: a.v.Audience().ID(), Object: a.r.Objects[i], Grant: out.Leaf[:], Bundle: a.engine.Head(),
			})))
			continue
		}
		left++
	}
	if len(dropped) == 0 {
		return nil
	}
	if err := j.note(ctx, dropped...); err != nil {
		return err
	}
	out.Receipt = nil
	if left == 0 {
		return ErrDenied
	}
	return nil
}

// errNoDeposit is told to nobody: to whoever asks it is a denial like others.
var errNoDeposit = &broken{"no-deposit", "no such deposit"}

// asking is one request for a release, as policy sees it.
type asking struct {
	v      *capability.Verified
	at     time.Time // signed in the request
	engine *policy.Engine
	roles  []string // of the audience at that time
	used   int64    // keys that it got here in the last 24 hours, before this request
	r      *ReleaseRequest
	naming naming // of carriers, in the whole answer

	keys  []statement.ID // of the objects that were looked at, in their order
	owner statement.ID   // of the object that is looked at; zero: not known
	rule  string         // that allowed it
}

// act is what is said of the release of the object that was looked at last.
func (a *asking) act(address []byte) event.Act {
	leaf := a.v.Leaf()
	return event.Act{
		Actor: a.v.Audience().ID(), Object: address, Owner: a.owner, Grant: leaf[:], Rule: a.rule,
		Purpose: a.r.Purpose, Reason: a.r.Reason, Bundle: a.engine.Head(),
	}
}

// because is an act with the rule that forbids it.
func because(err error, a event.Act) event.Act {
	a.Rule, a.Reason = RuleOf(err), err.Error()
	return a
}

func (j *Judge) releaseOne(a *asking, address []byte) (*ReleaseItem, error) {
	a.owner, a.rule = statement.ID{}, ""
	dep, keyID, err := j.load(address)
	a.keys = append(a.keys, keyID)
	if errors.Is(err, errErased) {
		return nil, err
	}
	if err != nil {
		return nil, errNoDeposit
	}
	d, id, err := readDealing(dep.Dealing)
	if err != nil {
		return nil, err
	}
	o, err := dep.object()
	if err != nil {
		return nil, err
	}
	a.owner = o.Owner
	if err := a.decide(o, d); err != nil {
		return nil, err
	}
	holders, err := a.naming.holders(j, o, dep.Holders)
	if err != nil {
		return nil, err
	}
	item := &ReleaseItem{Dealing: id, Holders: holders}
	if a.r.Dealings {
		item.Signed = dep.Dealing
	}
	for _, h := range dep.Shares {
		share, err := j.Shares.Open(h.Share, shareAAD(keyID, h.Epoch))
		if err != nil {
			return nil, err
		}
		out := ReleasedShare{Epoch: h.Epoch, Record: h.Record, Share: share}
		if a.r.Dealings {
			out.Scale, out.Points = h.Scale, h.Points
		}
		item.Shares = append(item.Shares, out)
	}
	return item, nil
}

// decide asks the capability and then policy; both must say yes.
func (a *asking) decide(o capability.Object, d *Dealing) error {
	v := a.v
	if err := v.Allows(capability.Read, o); err != nil {
		return err
	}
	if err := v.AllowsPurpose(a.r.Purpose); err != nil {
		return err
	}
	if err := v.AllowsClass(d.Class); err != nil {
		return err
	}
	if err := v.AllowsRegion(policy.Regions(a.roles)); err != nil {
		return err
	}
	if err := resides(d, v.Audience().ID(), a.roles); err != nil {
		return err
	}
	if v.NeedsAttestation() {
		return &broken{"attestation", "the grant asks for attested evidence, which this network does not take yet"}
	}
	q := principal(v.Audience(), "read", a.roles, a.at)
	about(&q, d, o)
	q.Purpose, q.Reason, q.Batch, q.Used = a.r.Purpose, a.r.Reason, int64(len(a.r.Objects)), a.used
	if d := a.engine.Decide(q); d.Allow {
		a.rule = d.Name()
		return nil
	}
	why := a.engine.Explain(q)
	return &policyDenial{name: why.Name(), rule: why.Rule(), wants: a.engine.Wants(q)}
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
