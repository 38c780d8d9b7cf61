package quorum

import (
	"bytes"
	"context"
	"errors"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/ipfs/go-cid"
)

// LatestAsk asks for the newest version of an object.
type LatestAsk struct {
	Principal *home.Principal
	Chain     *capability.Verified // that covers it; nil where Principal owns it
	Address   cid.Cid              // of any of its versions
	Manifest  *envelope.Manifest   // of that version, where it is known; nil: validators show it
}

// Latest is the newest version that validators know of.
type Latest struct {
	Address  cid.Cid
	Manifest *envelope.Manifest // signed by the owner
	By       []int              // validators that answered, in the order of their answers
	Named    int                // how many of them named it
	Rivals   int                // other versions of the same sequence: the owner wrote twice at a time
}

// Latest asks the validators and returns once N-F have answered or denied, of
// whom one at least is honest and has taken whatever version was acknowledged
// by [trust.Numbers.Effective] of them: none of those is hidden. A validator
// cannot make a version up; one that is behind, or lies, can only name an older
// one. Of several with one sequence the one that more validators name is taken.
func (c *Committee) Latest(ctx context.Context, ask LatestAsk) (*Latest, error) {
	c = c.pin()
	l := latest{c: c, ask: ask, owner: ask.Principal.Identity, named: map[cid.Cid]*named{}}
	if ask.Chain != nil {
		l.owner = ask.Chain.Owner()
	}
	var t tally
	numbers := c.record.Numbers
	need := int(numbers.N) - int(numbers.F)
	c.ask(ctx, Newest, c.everybody(), 0, func(_ int, s Session) ([]byte, error) { return c.latestRequest(ask, s) }, func(a answer) bool {
		if a.err == nil {
			a.judge(l.take(a))
		}
		t.add(a)
		return len(t.answered)+len(t.denied) >= need
	})
	switch {
	case len(t.answered)+len(t.denied) < need:
		return nil, c.shortage(&t, need, "the newest version")
	case len(t.answered) == 0:
		return nil, c.denial(&t, "the newest version")
	}
	out := l.newest()
	out.By = t.answered
	return out, nil
}

func (c *Committee) latestRequest(ask LatestAsk, s Session) (raw []byte, err error) {
	r := validator.LatestRequest{Address: ask.Address.Bytes()}
	if ask.Chain == nil {
		r.Authority, err = c.ProveIdentity(ask.Principal, s, r.Digest())
	} else {
		r.Authority, err = c.ProveChain(ask.Principal, ask.Chain.Chain(), s, r.Digest())
	}
	if err != nil {
		return nil, err
	}
	return statement.Marshal(r)
}

// latest gathers what validators name. It is used by one goroutine.
type latest struct {
	c     *Committee
	ask   LatestAsk
	owner *identity.Identity
	named map[cid.Cid]*named
}

// named is a version and how many validators named it.
type named struct {
	address  cid.Cid
	manifest *envelope.Manifest
	votes    int
}

func (l *latest) take(a answer) error {
	var r validator.LatestReply
	if err := statement.Unmarshal(a.raw, &r); err != nil {
		return err
	}
	m, err := validator.VerifyManifest(r.Address, r.Manifest, l.owner)
	if err != nil {
		return err
	}
	address, err := cid.Cast(r.Address)
	if err != nil {
		return err
	}
	if err := l.belongs(address, m, r.Asked); err != nil {
		return err
	}
	if l.named[address] == nil {
		l.named[address] = &named{address: address, manifest: m}
	}
	l.named[address].votes++
	return nil
}

// belongs checks that a version is of the lineage that was asked about, and none
// before it: a grant of a scope covers other objects too, of which a validator
// must not offer one. Where the chain names the lineage, nothing has to be shown.
func (l *latest) belongs(address cid.Cid, m *envelope.Manifest, shown []byte) error {
	if m.Network != l.c.Trust.Network() {
		return errors.New("named another network's version")
	}
	bound := false
	if l.ask.Chain != nil {
		if err := l.ask.Chain.Allows(capability.Carry, validator.ObjectOf(address, m)); err != nil {
			return err
		}
		bound = l.ask.Chain.Grant().Target.Kind != capability.Scope
	}
	asked := l.ask.Manifest
	if asked == nil {
		if bound && len(shown) == 0 {
			return nil
		}
		var err error
		if asked, err = validator.VerifyManifest(l.ask.Address.Bytes(), shown, l.owner); err != nil {
			return err
		}
	}
	if m.LineageID() != asked.LineageID() || m.Sequence < asked.Sequence {
		return errors.New("named a version of another object, or one before the one that was asked about")
	}
	return nil
}

// newest is the highest sequence; of rivals the one that more validators named,
// then the smaller address, so that everybody who hears the same chooses the same.
func (l *latest) newest() *Latest {
	var best *named
	rivals := 0
	for _, n := range l.named {
		switch {
		case best == nil || n.manifest.Sequence > best.manifest.Sequence:
			best, rivals = n, 0
		case n.manifest.Sequence < best.manifest.Sequence:
		default:
			rivals++
			if n.votes > best.votes || n.votes == best.votes && bytes.Compare(n.address.Bytes(), best.address.Bytes()) < 0 {
				best = n
			}
		}
	}
	return &Latest{Address: best.address, Manifest: best.manifest, Named: best.votes, Rivals: rivals}
}
