package capability

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// counters are what a server remembers of one connection.
type counters map[uint64]bool

func (c counters) use(n uint64) bool {
	if c[n] {
		return false
	}
	c[n] = true
	return true
}

// conversation is a request on one connection, and what both sides say of it.
func (w *world) conversation(leaf statement.ID) (Proof, Expectation, counters) {
	server, client := trusttest.Key("server").Public(), trusttest.Key("client").Public()
	p := Proof{
		Request: statement.Hash("request"), Leaf: leaf, Server: server, Client: client, Network: w.net.Network(),
		Challenge: [32]byte{5}, Counter: 1, Time: w.now.Unix(),
	}
	used := counters{}
	return p, Expectation{
		Request: p.Request, Leaf: leaf, Server: server, Client: client, Network: p.Network, Challenge: p.Challenge,
		UseCounter: used.use, Now: w.now,
	}, used
}

func prove(t testing.TB, p Proof, who *trusttest.Person) []byte {
	t.Helper()
	raw, err := Prove(p, who.Identity, who.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// CA-06 and BX-12: a proof is good for one request, by one identity, on one
// connection, to one peer, once. Everything else about it is right in each case.
func TestProofsThatAreReplayed(t *testing.T) {
	w := newWorld(t)
	leaf := statement.Hash("leaf")
	for _, c := range []struct {
		name, rule string
		change     func(want *Expectation)
	}{
		{"control", "", func(*Expectation) {}},
		{"for another request", "another request", func(want *Expectation) { want.Request[0]++ }},
		{"for another leaf", "another grant", func(want *Expectation) { want.Leaf[0]++ }},
		{"where no grant is asked for", "another grant", func(want *Expectation) { want.Leaf = statement.ID{} }},
		{"to another peer", "another peer", func(want *Expectation) { want.Server = trusttest.Key("holder").Public() }},
		{"by another peer", "comes from another peer", func(want *Expectation) { want.Client = trusttest.Key("thief").Public() }},
		{"back to its maker", "another peer", func(want *Expectation) { want.Server, want.Client = want.Client, want.Server }},
		{"in another network", "another network", func(want *Expectation) { want.Network[0]++ }},
		{"on another connection", "another connection", func(want *Expectation) { want.Challenge[0]++ }},
		{"after a restart", "another connection", func(want *Expectation) { want.Challenge = [32]byte{} }},
		{"61 seconds later", "clocks", func(want *Expectation) { want.Now = want.Now.Add(61 * time.Second) }},
		{"61 seconds earlier", "clocks", func(want *Expectation) { want.Now = want.Now.Add(-61 * time.Second) }},
		{"a day later", "clocks", func(want *Expectation) { want.Now = want.Now.Add(24 * time.Hour) }},
		{"60 seconds later", "", func(want *Expectation) { want.Now = want.Now.Add(60 * time.Second) }},
		{"60 seconds earlier", "", func(want *Expectation) { want.Now = want.Now.Add(-60 * time.Second) }},
	} {
		p, want, used := w.conversation(leaf)
		raw := prove(t, p, w.reader)
		c.change(&want)
		at, err := CheckProof(raw, w.reader.Identity, want)
		if c.rule == "" {
			if err != nil || at.Unix() != p.Time || !used[1] {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		wantError(t, c.name, err, ErrProof, c.rule)
		if len(used) != 0 {
			t.Errorf("%s: it used a counter up", c.name)
		}
	}
}

func TestAProofWorksOnce(t *testing.T) {
	w := newWorld(t)
	p, want, used := w.conversation(statement.Hash("leaf"))
	raw := prove(t, p, w.reader)
	if _, err := CheckProof(raw, w.reader.Identity, want); err != nil {
		t.Fatal(err)
	}
	_, err := CheckProof(raw, w.reader.Identity, want)
	wantError(t, "the same again", err, ErrProof, "used before")
	p.Request, want.Request = statement.Hash("second"), statement.Hash("second")
	_, err = CheckProof(prove(t, p, w.reader), w.reader.Identity, want)
	wantError(t, "another request under the same counter", err, ErrProof, "used before")
	p.Counter = 2
	if _, err := CheckProof(prove(t, p, w.reader), w.reader.Identity, want); err != nil || !used[2] {
		t.Errorf("control: the next counter: %v", err)
	}
}

// Whoever sees a connection's challenge could otherwise use up all counters of
// an honest requester.
func TestACounterIsUsedUpOnlyByItsOwner(t *testing.T) {
	w := newWorld(t)
	p, want, used := w.conversation(statement.Hash("leaf"))
	honest := prove(t, p, w.reader)
	s, err := statement.Parse(honest)
	if err != nil {
		t.Fatal(err)
	}
	s.AddSignature(0, w.stranger.Devices[0])
	for name, raw := range map[string][]byte{
		"by a stranger": prove(t, p, w.stranger), "with another's signature": s.Bytes(), "unsigned": unsigned(t, KindProof, p).Bytes(),
	} {
		_, err := CheckProof(raw, w.reader.Identity, want)
		wantError(t, name, err, ErrProof, "not signed by the audience")
	}
	if len(used) != 0 {
		t.Error("a forged proof used a counter up")
	}
	if _, err := CheckProof(honest, w.reader.Identity, want); err != nil {
		t.Errorf("the honest one comes too late: %v", err)
	}
}

func TestProofsThatAreNoProofs(t *testing.T) {
	w := newWorld(t)
	p, want, used := w.conversation(statement.Hash("leaf"))
	asGrant := w.reader.Sign(t, KindGrant, p).Bytes()
	for name, c := range map[string]struct {
		raw  []byte
		rule string
	}{
		"nothing":                {nil, "malformed"},
		"junk":                   {[]byte("junk"), "malformed"},
		"a grant":                {asGrant, "malformed"},
		"another body":           {w.reader.Sign(t, KindProof, w.grant()).Bytes(), "malformed"},
		"too long":               {make([]byte, maxProof+1), "too long"},
		"not too long, but junk": {make([]byte, maxProof), "malformed"},
	} {
		_, err := CheckProof(c.raw, w.reader.Identity, want)
		wantError(t, name, err, ErrProof, c.rule)
	}
	for _, at := range []int64{math.MinInt64, math.MaxInt64, 0, -1} { // times that overflow are not now
		q := p
		q.Time = at
		_, err := CheckProof(prove(t, q, w.reader), w.reader.Identity, want)
		wantError(t, fmt.Sprint("at ", at), err, ErrProof, "clocks")
	}
	if len(used) != 0 {
		t.Error("a counter was used up")
	}
}

// Any device of the audience proves possession, in its own place only; devices
// of others, and the identity's recovery key, do not.
func TestEveryDeviceOfTheAudience(t *testing.T) {
	w := newWorld(t)
	p, want, _ := w.conversation(statement.Hash("leaf"))
	for i, device := range w.reader.Devices {
		p.Counter = uint64(i)
		raw, err := Prove(p, w.reader.Identity, device)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CheckProof(raw, w.reader.Identity, want); err != nil {
			t.Errorf("device %d: %v", i, err)
		}
		s := unsigned(t, KindProof, p)
		other, _ := w.reader.DeviceIndex(w.reader.Devices[(i+1)%3].Public())
		s.AddSignature(other, device)
		_, err = CheckProof(s.Bytes(), w.reader.Identity, want)
		wantError(t, fmt.Sprintf("device %d in another's place", i), err, ErrProof, "not signed by the audience")
	}
	for name, k := range map[string]statement.PrivateKey{
		"another's device": w.friend.Devices[0], "the recovery key": trusttest.Key("reader recovery"), "the peer key": trusttest.Key("client"),
	} {
		if _, err := Prove(p, w.reader.Identity, k); err == nil {
			t.Errorf("%s proves", name)
		}
	}
}

// CA-03: a chain is no bearer token.
func TestAChainOpensForItsAudienceAlone(t *testing.T) {
	w := newWorld(t)
	c := w.honest(t)
	leaf, err := c.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []struct {
		name string
		by   *trusttest.Person
		rule string
	}{
		{"its audience", w.friend, ""},
		{"the audience above", w.reader, "not signed by the audience"},
		{"the owner", w.owner, "not signed by the audience"},
		{"a stranger", w.stranger, "not signed by the audience"},
		{"a validator", w.net.People[0], "not signed by the audience"},
	} {
		p, want, used := w.conversation(leaf)
		want.Leaf = statement.ID{} // Open finds it out
		v, at, err := w.vf.Open(&Authority{Chain: c.Bytes(), Proof: prove(t, p, who.by)}, want)
		if who.rule == "" {
			if err != nil || v.Leaf() != leaf || at.Unix() != p.Time || !used[1] {
				t.Errorf("%s: %v", who.name, err)
			}
			continue
		}
		wantError(t, who.name, err, ErrProof, who.rule)
		if v != nil || len(used) != 0 {
			t.Errorf("%s gets something", who.name)
		}
	}
}

// A proof is for one leaf: the same audience's other grant, or the grant above,
// needs another.
func TestAProofForAnotherLeaf(t *testing.T) {
	w := newWorld(t)
	other := w.grant()
	other.Nonce[3] = 1
	mine, theirs := w.root(t, w.grant()), w.root(t, other)
	leaf, err := mine.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	p, want, _ := w.conversation(leaf)
	proof := prove(t, p, w.reader)
	_, _, err = w.vf.Open(&Authority{Chain: theirs.Bytes(), Proof: proof}, want)
	wantError(t, "the reader's other grant", err, ErrProof, "another grant")
	_, _, err = w.vf.Open(&Authority{Chain: w.honest(t).Bytes(), Proof: proof}, want)
	wantError(t, "a link below it", err, ErrProof, "another grant")
	if _, _, err := w.vf.Open(&Authority{Chain: mine.Bytes(), Proof: proof}, want); err != nil {
		t.Errorf("control: its own: %v", err)
	}
}

func TestOpenRefusesWhatVerifyDoes(t *testing.T) {
	w := newWorld(t)
	open := func(c *Chain, who *trusttest.Person, change func(p *Proof)) error {
		leaf, _ := c.Leaf()
		p, want, used := w.conversation(leaf)
		change(&p)
		_, _, err := w.vf.Open(&Authority{Chain: c.Bytes(), Proof: prove(t, p, who)}, want)
		if err != nil && len(used) != 0 {
			t.Error("a refused request used a counter up")
		}
		return err
	}
	same := func(*Proof) {}
	if err := open(w.honest(t), w.friend, same); err != nil {
		t.Fatal("control:", err)
	}
	forged := w.honest(t)
	forged.Grant = unsigned(t, KindGrant, w.grant()).Bytes()
	wantError(t, "a forged chain", open(forged, w.friend, same), ErrChain, "3 validators")
	wantError(t, "a forged chain, replayed", open(forged, w.friend, func(p *Proof) { p.Challenge[0]++ }), ErrProof, "another connection")
	_, want, _ := w.conversation(statement.ID{})
	_, _, err := w.vf.Open(&Authority{Chain: []byte("junk"), Proof: nil}, want)
	wantError(t, "a chain that is none", err, ErrChain, "does not decode")
	_, _, err = w.vf.Open(&Authority{Chain: (&Chain{}).Bytes()}, want)
	wantError(t, "an empty chain", err, ErrChain, "")
	_, _, err = w.vf.Open(&Authority{Chain: w.honest(t).Bytes()}, want)
	wantError(t, "no proof", err, ErrProof, "malformed")
	expired := w.grant()
	expired.Caveats.Expires = w.now.Unix()
	wantError(t, "an expired chain", open(w.root(t, expired), w.reader, same), ErrExpired, "")
	c := w.root(t, w.grant())
	w.revoke(t, w.owner, statement.ID(idOf(t, c.Grant)))
	wantError(t, "a revoked chain", open(c, w.reader, same), ErrRevoked, "")
}

// Where an identity alone is asked for, its proof says so: it opens no grant,
// and a proof for a grant opens no mailbox.
func TestOpenIdentity(t *testing.T) {
	w := newWorld(t)
	p, want, _ := w.conversation(statement.ID{})
	want.Leaf = statement.Hash("ignored")
	id, at, err := w.vf.OpenIdentity(&Authority{Identity: w.reader.Record(), Proof: prove(t, p, w.reader)}, want)
	if err != nil || id.ID() != w.reader.ID() || at.Unix() != p.Time {
		t.Fatal(err)
	}
	p.Counter = 2
	_, _, err = w.vf.OpenIdentity(&Authority{Identity: w.owner.Record(), Proof: prove(t, p, w.reader)}, want)
	wantError(t, "as somebody else", err, ErrProof, "not signed by the audience")
	_, _, err = w.vf.OpenIdentity(&Authority{Identity: []byte("junk"), Proof: prove(t, p, w.reader)}, want)
	wantError(t, "as nobody", err, ErrChain, "not a valid identity")
	c := w.root(t, w.grant())
	leaf, err := c.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	p.Leaf = leaf
	_, _, err = w.vf.OpenIdentity(&Authority{Identity: w.reader.Record(), Proof: prove(t, p, w.reader)}, want)
	wantError(t, "with a proof for a grant", err, ErrProof, "another grant")
	p.Leaf = statement.ID{}
	_, _, err = w.vf.Open(&Authority{Chain: c.Bytes(), Proof: prove(t, p, w.reader)}, want)
	wantError(t, "a grant, with a proof for none", err, ErrProof, "another grant")
}

func TestAuthorities(t *testing.T) {
	w := newWorld(t)
	chain, record := w.honest(t).Bytes(), w.reader.Record()
	for _, c := range []struct {
		name string
		a    Authority
		want bool
	}{
		{"a chain", Authority{Chain: chain, Proof: []byte{1}}, true},
		{"an identity", Authority{Identity: record, Proof: []byte{1}}, true},
		{"both", Authority{Chain: chain, Identity: record}, false},
		{"neither", Authority{Proof: []byte{1}}, false},
		{"one that is too long", Authority{Chain: make([]byte, MaxChain+maxBeside)}, false},
	} {
		raw, err := statement.Marshal(c.a)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseAuthority(raw)
		if c.want && (err != nil || string(got.Chain) != string(c.a.Chain) || string(got.Identity) != string(c.a.Identity)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.want && !errors.Is(err, ErrChain) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := ParseAuthority(make([]byte, MaxChain+maxBeside+1))
	wantError(t, "before it is decoded", err, ErrChain, "too long")
	if _, err := ParseAuthority([]byte("junk")); !errors.Is(err, ErrChain) || !errors.Is(err, statement.ErrMalformed) {
		t.Error(err)
	}
}
