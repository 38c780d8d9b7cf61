package validatortest

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// VersionOf is the target of one version.
func VersionOf(o *Object) capability.Target {
	return capability.Target{Kind: capability.Version, Ref: [sha256.Size]byte(o.Address.Hash()[2:])}
}

// LineageOf is the target of an object and its later versions.
func LineageOf(o *Object) capability.Target {
	return capability.Target{Kind: capability.Lineage, Ref: o.Lineage}
}

// GrantBody is a grant to read for an hour of everything that no test has said
// otherwise; change, if there is any, alters it.
func (net *Network) GrantBody(owner, audience *Person, target capability.Target, change ...func(*capability.Grant)) capability.Grant {
	now := net.Clock.Now().Unix()
	g := capability.Grant{
		Network: net.Network(), Record: net.ID(), Owner: owner.ID(), Audience: audience.ID(), Subject: uint8(audience.Kind()),
		Target: target, Abilities: capability.Read, Caveats: capability.Caveats{NotBefore: now - 60, Expires: now + 3600, MaxClass: 255},
	}
	rand.Read(g.Nonce[:])
	for _, f := range change {
		f(&g)
	}
	return g
}

// Draft is the request for signatures under a grant, with the owner's consent.
func (net *Network) Draft(t testing.TB, owner, audience *Person, g capability.Grant) (*statement.Statement, validator.SignRequest) {
	t.Helper()
	s, err := statement.New(capability.KindGrant, g)
	if err != nil {
		t.Fatal(err)
	}
	return s, validator.SignRequest{
		Grant: s.Bytes(), Consent: owner.Sign(t, capability.KindConsent, capability.Consent{Network: net.Network(), Grant: s.ID()}),
		Identities: Records(owner, audience),
	}
}

// Records are the identity documents of different people.
func Records(people ...*Person) (out [][]byte) {
	seen := map[statement.ID]bool{}
	for _, p := range people {
		if !seen[p.ID()] {
			out, seen[p.ID()] = append(out, p.Record()), true
		}
	}
	return out
}

// Grant makes a chain that K validators have signed, without asking them.
func (net *Network) Grant(t testing.TB, owner, audience *Person, target capability.Target, change ...func(*capability.Grant)) *capability.Chain {
	t.Helper()
	s, r := net.Draft(t, owner, audience, net.GrantBody(owner, audience, target, change...))
	net.keys.Sign(s, net.keys.Quorum()...)
	return &capability.Chain{Grant: s.Bytes(), Consent: r.Consent, Identities: Records(owner, audience)}
}

// Delegate adds a link to a chain; the leaf's audience hands on what it has.
func (net *Network) Delegate(t testing.TB, c *capability.Chain, from, to *Person, change ...func(*capability.Grant)) *capability.Chain {
	t.Helper()
	root, err := statement.Parse(c.Grant)
	if err != nil {
		t.Fatal(err)
	}
	var g capability.Grant
	if err := root.Peek(capability.KindGrant, &g); err != nil {
		t.Fatal(err)
	}
	id := root.ID()
	g.Parent, g.Audience, g.Subject, g.Depth = id[:], to.ID(), uint8(to.Kind()), 0
	g.Abilities &^= capability.Delegate
	for _, f := range change {
		f(&g)
	}
	link := from.Sign(t, capability.KindLink, g)
	owner, err := identity.Parse(c.Identities[0])
	if err != nil {
		t.Fatal(err)
	}
	return &capability.Chain{
		Grant: c.Grant, Consent: c.Consent, Links: [][]byte{link},
		Identities: Records(&Person{Identity: owner}, from, to),
	}
}

// Delegable lets a grant be handed on once.
func Delegable(g *capability.Grant) { g.Abilities |= capability.Delegate; g.Depth = 1 }

// Session is one connection of somebody to a validator.
type Session struct {
	Server, Client statement.PublicKey
	Challenge      [32]byte
	next           atomic.Uint64
	mu             sync.Mutex
	used           map[uint64]bool // owned by mu
}

// Connect opens a connection from a person's node to a validator.
func (net *Network) Connect(p *Person, i int) *Session {
	return net.ConnectTo(p, net.Record.Validators[i].Peer)
}

// ConnectTo is a connection to any peer.
func (net *Network) ConnectTo(p *Person, server statement.PublicKey) *Session {
	s := &Session{Server: server, Client: p.Peer, used: map[uint64]bool{}}
	rand.Read(s.Challenge[:])
	return s
}

// Counter is a number that was not used on this connection.
func (s *Session) Counter() uint64 { return s.next.Add(1) }

// Conn is the validator's view.
func (s *Session) Conn() validator.Conn {
	return validator.Conn{Client: s.Client, Challenge: s.Challenge, UseCounter: func(n uint64) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.used[n] {
			return false
		}
		s.used[n] = true
		return true
	}}
}

// Prove makes a proof of possession.
func (net *Network) Prove(t testing.TB, p *Person, s *Session, request, leaf statement.ID) []byte {
	t.Helper()
	raw, err := capability.Prove(capability.Proof{
		Request: request, Leaf: leaf, Server: s.Server, Client: s.Client, Network: net.Network(),
		Challenge: s.Challenge, Counter: s.Counter(), Time: net.Clock.Now().Unix(),
	}, p.Identity, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// ByChain is the authority of a request that stands on a chain.
func (net *Network) ByChain(t testing.TB, p *Person, c *capability.Chain, s *Session, request statement.ID) []byte {
	t.Helper()
	leaf, err := c.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	return marshal(capability.Authority{Chain: c.Bytes(), Proof: net.Prove(t, p, s, request, leaf)})
}

// ByIdentity is the authority of a request that stands on an identity alone.
func (net *Network) ByIdentity(t testing.TB, p *Person, s *Session, request statement.ID) []byte {
	t.Helper()
	return marshal(capability.Authority{Identity: p.Record(), Proof: net.Prove(t, p, s, request, statement.ID{})})
}

// ReleaseOf is a request for objects.
func ReleaseOf(objects ...*Object) validator.ReleaseRequest {
	var r validator.ReleaseRequest
	for _, o := range objects {
		r.Objects = append(r.Objects, o.Address.Bytes())
	}
	return r
}

// Release asks a validator on a new connection and opens its answer.
func (net *Network) Release(t testing.TB, i int, p *Person, c *capability.Chain, r validator.ReleaseRequest) (*validator.Release, error) {
	t.Helper()
	s := net.Connect(p, i)
	r.Authority = net.ByChain(t, p, c, s, r.Digest())
	return net.SendRelease(t, i, p, s, r)
}

// SendRelease sends a request as it is and opens the answer.
func (net *Network) SendRelease(t testing.TB, i int, p *Person, s *Session, r validator.ReleaseRequest) (*validator.Release, error) {
	t.Helper()
	raw, err := net.Validators[i].Release(t.Context(), s.Conn(), marshal(r))
	if err != nil {
		return nil, err
	}
	var reply validator.ReleaseReply
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	plain, err := p.Opener.Open(reply.Box, validator.MaxRelease)
	if err != nil {
		t.Fatal(err)
	}
	var out validator.Release
	if err := statement.Unmarshal(plain, &out); err != nil {
		t.Fatal(err)
	}
	return &out, nil
}

// LatestOf is a request for the newest version of an object.
func LatestOf(o *Object) validator.LatestRequest {
	return validator.LatestRequest{Address: o.Address.Bytes()}
}

// Latest asks a validator on a new connection for the newest version, as the
// audience of a chain, or as an owner where c is nil.
func (net *Network) Latest(t testing.TB, i int, p *Person, c *capability.Chain, r validator.LatestRequest) (*validator.LatestReply, error) {
	t.Helper()
	s := net.Connect(p, i)
	if c == nil {
		r.Authority = net.ByIdentity(t, p, s, r.Digest())
	} else {
		r.Authority = net.ByChain(t, p, c, s, r.Digest())
	}
	raw, err := net.Validators[i].Latest(t.Context(), s.Conn(), marshal(r))
	if err != nil {
		return nil, err
	}
	var out validator.LatestReply
	if err := statement.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return &out, nil
}

// Revocation is a person's revocation of a statement.
func (net *Network) Revocation(t testing.TB, p *Person, target statement.ID) revocation.Entry {
	t.Helper()
	e, err := revocation.Sign(revocation.Revocation{
		Network: net.Network(), Target: target, Reason: "a test", Time: net.Clock.Now().Unix(),
	}, p.Identity, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Leaf is the id of a chain's last statement.
func Leaf(t testing.TB, c *capability.Chain) statement.ID {
	t.Helper()
	id, err := c.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Hour moves the clock past the grants of [Network.GrantBody].
const Hour = time.Hour + time.Minute

// Carry asks a validator on a new connection who carries an object, as the audience
// of a chain, or as an owner where c is nil.
func (net *Network) Carry(t testing.TB, i int, p *Person, c *capability.Chain, r validator.CarryRequest) (*validator.CarryReply, error) {
	t.Helper()
	s := net.Connect(p, i)
	if c == nil {
		r.Authority = net.ByIdentity(t, p, s, r.Digest())
	} else {
		r.Authority = net.ByChain(t, p, c, s, r.Digest())
	}
	raw, err := net.Validators[i].Carry(t.Context(), s.Conn(), marshal(r))
	if err != nil {
		return nil, err
	}
	reply := &validator.CarryReply{}
	if err := statement.Unmarshal(raw, reply); err != nil {
		t.Fatal(err)
	}
	return reply, nil
}
