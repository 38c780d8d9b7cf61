package capability

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// world is a network of four validators, the people of a story, and what has
// been revoked there.
type world struct {
	net                             *trusttest.Network
	owner, reader, friend, stranger *trusttest.Person
	crowd                           []*trusttest.Person // see delegates
	set                             *revocation.Set
	now                             time.Time
	vf                              *Verifier
}

func newMemory() kv.Store { return new(kv.Memory) }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		net: trusttest.New(t, "net", 4), now: trusttest.Start.Add(time.Hour),
		owner:    trusttest.NewPerson(t, "owner", identity.User),
		reader:   trusttest.WithDevices(t, "reader", identity.Agent, 3),
		friend:   trusttest.NewPerson(t, "friend", identity.Service),
		stranger: trusttest.NewPerson(t, "stranger", identity.User),
	}
	var err error
	if w.set, err = revocation.OpenSet(newMemory(), trust.Fixed(w.net.Committee), nil); err != nil {
		t.Fatal(err)
	}
	w.vf = w.verifier()
	return w
}

// verifier is a new one, which has seen nothing.
func (w *world) verifier() *Verifier {
	return &Verifier{Trust: trust.Fixed(w.net.Committee), Revocations: w.set, Now: func() time.Time { return w.now }}
}

// grant is the owner's to the reader, with every caveat set, so that a link can
// be wider in each.
func (w *world) grant() Grant {
	return Grant{
		Network: w.net.Network(), Record: w.net.ID(), Owner: w.owner.ID(), Audience: w.reader.ID(), Subject: uint8(identity.Agent),
		Target: Target{Kind: Lineage, Ref: [32]byte{1}}, Abilities: Read | Delegate | Revoke, Depth: 2,
		Caveats: Caveats{
			Purposes: []string{"audit", "research"}, NotBefore: w.now.Unix() - 60, Expires: w.now.Unix() + 3600, MaxClass: 3,
			Regions: []string{"eu", "ch"}, Attestation: [][]byte{{1, 2}, {3, 4}}, Offline: true,
		},
		Nonce: [16]byte{9},
	}
}

// link is the reader's to the friend, as wide as a last link can be.
func (w *world) link(parent Grant) Grant {
	g := parent
	g.Caveats.Purposes, g.Caveats.Regions = slices.Clone(g.Caveats.Purposes), slices.Clone(g.Caveats.Regions)
	g.Caveats.Attestation = slices.Clone(g.Caveats.Attestation)
	g.Audience, g.Subject, g.Nonce = w.friend.ID(), uint8(identity.Service), [16]byte{10}
	g.Abilities, g.Depth = parent.Abilities&^Delegate, 0
	return g
}

func unsigned(t testing.TB, kind statement.Kind, body any) *statement.Statement {
	t.Helper()
	s, err := statement.New(kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// root makes a chain of a grant that k validators and its owner have signed.
func (w *world) root(t testing.TB, g Grant) *Chain {
	t.Helper()
	s := w.net.Sign(unsigned(t, KindGrant, g), w.net.Quorum()...)
	consent := w.owner.Sign(t, KindConsent, Consent{Network: w.net.Network(), Grant: s.ID()})
	return &Chain{Grant: s.Bytes(), Consent: consent.Bytes(), Identities: [][]byte{w.owner.Record(), w.reader.Record()}}
}

// chain is root with one link below it, signed by the reader.
func (w *world) chain(t testing.TB, g, link Grant) *Chain {
	t.Helper()
	c := w.root(t, g)
	link.Parent = idOf(t, c.Grant)
	c.Links = [][]byte{w.reader.Sign(t, KindLink, link).Bytes()}
	c.Identities = append(c.Identities, w.friend.Record())
	return c
}

func (w *world) honest(t testing.TB) *Chain { return w.chain(t, w.grant(), w.link(w.grant())) }

func idOf(t testing.TB, raw []byte) []byte {
	t.Helper()
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	return id[:]
}

// verify asks a verifier that has seen nothing and one that has verified the
// honest chains of this world, and wants one answer.
func (w *world) verify(t testing.TB, c *Chain) (*Verified, error) {
	t.Helper()
	cold, coldErr := w.verifier().Verify(c)
	for _, honest := range []*Chain{w.root(t, w.grant()), w.honest(t)} {
		w.vf.Verify(honest) // may be revoked or expired in this story
	}
	for range 2 {
		_, err := w.vf.Verify(c)
		if (err == nil) != (coldErr == nil) || err != nil && err.Error() != coldErr.Error() {
			t.Errorf("a verifier with memory says %v, one without %v", err, coldErr)
		}
	}
	return cold, coldErr
}

// refuse wants a refusal by a rule that is named.
func (w *world) refuse(t testing.TB, name string, c *Chain, sentinel error, rule string) {
	t.Helper()
	_, err := w.verify(t, c)
	wantError(t, name, err, sentinel, rule)
}

func (w *world) accept(t testing.TB, name string, c *Chain) *Verified {
	t.Helper()
	v, err := w.verify(t, c)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func wantError(t testing.TB, name string, err, sentinel error, rule string) {
	t.Helper()
	if !errors.Is(err, sentinel) || !strings.Contains(err.Error(), rule) {
		t.Errorf("%s: %v, want %v with %q", name, err, sentinel, rule)
	}
}

// revoke has a person revoke a statement.
func (w *world) revoke(t testing.TB, by *trusttest.Person, target statement.ID) {
	t.Helper()
	e, err := revocation.Sign(revocation.Revocation{Network: w.net.Network(), Target: target, Time: w.now.Unix()}, by.Identity, by.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.set.Add(e); err != nil || n != 1 {
		t.Fatal(n, err)
	}
}

// bareDocument is a person's document without the signatures of its inception.
func bareDocument(t testing.TB, p *trusttest.Person) []byte {
	t.Helper()
	var d struct {
		_         struct{} `cbor:",toarray"`
		Inception []byte
		Records   [][]byte
	}
	if err := statement.Unmarshal(p.Record(), &d); err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(d.Inception)
	if err != nil {
		t.Fatal(err)
	}
	s.Prune("none", nil)
	d.Inception = s.Bytes()
	raw, err := statement.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// delegates are as many identities as a test needs behind the reader.
func (w *world) delegates(t testing.TB, n int) []*trusttest.Person {
	t.Helper()
	for len(w.crowd) < n {
		w.crowd = append(w.crowd, trusttest.NewPerson(t, fmt.Sprint("delegate ", len(w.crowd)), identity.User))
	}
	return w.crowd[:n]
}

// long is a chain with that many links, each as wide as it can be.
func (w *world) long(t testing.TB, links int) *Chain {
	t.Helper()
	return w.longOf(t, w.grant(), links)
}

func (w *world) longOf(t testing.TB, g Grant, links int) *Chain {
	t.Helper()
	g.Depth = MaxDepth
	c := w.root(t, g)
	issuer, parent := w.reader, c.Grant
	for i, to := range w.delegates(t, links) {
		g.Parent, g.Audience, g.Subject, g.Nonce = idOf(t, parent), to.ID(), uint8(identity.User), [16]byte{20, byte(i)}
		if g.Depth--; g.Depth == 0 {
			g.Abilities &^= Delegate
		}
		parent = issuer.Sign(t, KindLink, g).Bytes()
		c.Links, c.Identities = append(c.Links, parent), append(c.Identities, to.Record())
		issuer = to
	}
	return c
}

// standing is the owner's consent beforehand to what the reader may get, as wide
// as the grants of this world are.
func (w *world) standing() Standing {
	g := w.grant()
	return Standing{
		Network: g.Network, Owner: g.Owner, Target: g.Target, Audience: []statement.ID{w.friend.ID(), w.reader.ID()},
		Abilities: g.Abilities, MaxClass: g.Caveats.MaxClass, Purposes: slices.Clone(g.Caveats.Purposes), Regions: slices.Clone(g.Caveats.Regions),
		Attestation: slices.Clone(g.Caveats.Attestation), Offline: true, Lifetime: g.Caveats.Expires - g.Caveats.NotBefore,
		Depth: g.Depth, Until: g.Caveats.Expires, Nonce: [16]byte{30},
	}
}

// under is a chain of a grant that rests on a standing consent, with every
// signature that it needs.
func (w *world) under(t testing.TB, s Standing, g Grant) *Chain {
	t.Helper()
	consent := w.owner.Sign(t, KindStanding, s)
	id := consent.ID()
	g.Consent = id[:]
	return &Chain{
		Grant: w.net.Sign(unsigned(t, KindGrant, g), w.net.Quorum()...).Bytes(), Consent: consent.Bytes(),
		Identities: [][]byte{w.owner.Record(), w.reader.Record()},
	}
}

// logs are what the validators' logs know of identities.
type logs map[statement.ID][]*identity.Record

func (l logs) Records(id statement.ID) []*identity.Record { return l[id] }

func (l logs) add(r *identity.Record) { l[r.Identity()] = append(l[r.Identity()], r) }
