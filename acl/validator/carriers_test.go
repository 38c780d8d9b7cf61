package validator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// addressOf is a multiaddr that a person's peer may name, by libp2p's own encoding of
// its id.
func addressOf(t testing.TB, p *vt.Person) string {
	t.Helper()
	pub, err := crypto.UnmarshalEd25519PublicKey(p.Peer[:])
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return "/ip4/192.0.2.7/tcp/4001/p2p/" + id.String()
}

func carries(g *capability.Grant) { g.Abilities = capability.Carry }

func carryOf(o *vt.Object, holder ...string) validator.CarryRequest {
	return validator.CarryRequest{Address: o.Address.Bytes(), Holder: holder}
}

// A mirror that has itself named is named to readers with their shares, to other
// mirrors and to the owner, for everything that its grant covers, until it stops or
// does not repeat itself.
func TestACarrierIsNamed(t *testing.T) {
	w := newWorld(t, vt.Options{})
	scope := envelope.NewNonce()
	in := func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} }
	a, b, other := w.Object(t, w.alice, in), w.Object(t, w.alice, in), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, a, b, other)
	all := capability.Target{Kind: capability.Scope, Ref: scope}
	carry, read := w.Grant(t, w.alice, w.bob, all, carries), w.Grant(t, w.alice, w.mallory, all)
	at := addressOf(t, w.bob)
	named := func(what string, want bool) {
		t.Helper()
		r, err := w.Release(t, 0, w.mallory, read, vt.ReleaseOf(a, b))
		if err != nil {
			t.Fatal(err)
		}
		times := 0
		for _, it := range r.Items {
			for _, h := range it.Holders {
				if h == at {
					times++
				}
			}
		}
		own, err := w.Carry(t, 0, w.alice, nil, carryOf(b))
		if err != nil {
			t.Fatal(err)
		}
		if (times == 1) != want || (times > 1) || (len(own.Carriers) == 1) != want {
			t.Errorf("%s: named %d times to a reader, and to the owner as %v", what, times, own.Carriers)
		}
		if want && (own.Carriers[0].Identity != w.bob.ID() || own.Carriers[0].Peer != w.bob.Peer) {
			t.Errorf("%s: %v", what, own.Carriers)
		}
	}
	named("before", false)
	if _, err := w.Carry(t, 0, w.bob, carry, carryOf(a)); err != nil { // it only asks
		t.Fatal(err)
	}
	named("asked", false)
	r, err := w.Carry(t, 0, w.bob, carry, carryOf(a, at))
	if err != nil || len(r.Carriers) != 1 || len(r.Holders) == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	named("carries", true)
	if own, err := w.Carry(t, 0, w.alice, nil, carryOf(other)); err != nil || len(own.Carriers) != 0 {
		t.Errorf("named for what it was not granted: %+v, %v", own, err)
	}
	if _, err := w.Carry(t, 0, w.bob, carry, validator.CarryRequest{Address: a.Address.Bytes(), Stop: true}); err != nil {
		t.Fatal(err)
	}
	named("stopped", false)
	if _, err := w.Carry(t, 0, w.bob, carry, carryOf(b, at)); err != nil {
		t.Fatal(err)
	}
	named("again", true)
	w.Clock.Advance(30 * time.Minute)
	w.Hear(t)
	named("half an hour later", true)
	short := w.Grant(t, w.alice, w.bob, all, carries, func(g *capability.Grant) { g.Caveats.Expires = w.Clock.Now().Add(5 * time.Minute).Unix() })
	if _, err := w.Carry(t, 0, w.bob, short, carryOf(b, at)); err != nil {
		t.Fatal(err)
	}
	named("under a grant that ends soon", true)
	w.Clock.Advance(6 * time.Minute)
	w.Hear(t)
	named("and has ended", false)
}

// Who may not fetch an object learns nothing of it and is not named; a peer names
// itself alone.
func TestWhoIsNoCarrier(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, other := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o, other)
	carry := w.Grant(t, w.alice, w.bob, vt.LineageOf(o), carries)
	infer := w.Grant(t, w.alice, w.bob, vt.LineageOf(o), func(g *capability.Grant) { g.Abilities = capability.Infer })
	mine := addressOf(t, w.bob)
	tail := func(address string) string { return address[strings.Index(address, "/p2p/"):] }
	for _, c := range []struct {
		name  string
		who   *vt.Person
		chain *capability.Chain
		ask   validator.CarryRequest
		want  error
	}{
		{"another's grant", w.mallory, carry, carryOf(o), validator.ErrDenied},
		{"to infer", w.bob, infer, carryOf(o), validator.ErrDenied},
		{"another object", w.bob, carry, carryOf(other), validator.ErrDenied},
		{"nothing is there", w.bob, carry, carryOf(w.Object(t, w.alice)), validator.ErrDenied},
		{"another owner", w.mallory, nil, carryOf(o), validator.ErrDenied},
		{"an owner that names itself", w.alice, nil, carryOf(o, addressOf(t, w.alice)), validator.ErrDenied},
		{"another peer's address", w.bob, carry, carryOf(o, addressOf(t, w.mallory)), validator.ErrMalformed},
		{"another peer's by way of a relay", w.bob, carry, carryOf(o, mine+"/p2p-circuit"+tail(addressOf(t, w.mallory))), validator.ErrMalformed},
		{"by way of two relays", w.bob, carry, carryOf(o, addressOf(t, w.alice)+"/p2p-circuit"+tail(addressOf(t, w.mallory))+"/p2p-circuit"+tail(mine)), validator.ErrMalformed},
		{"two peers and no relay", w.bob, carry, carryOf(o, addressOf(t, w.mallory)+tail(mine)), validator.ErrMalformed},
		{"no peer", w.bob, carry, carryOf(o, "/ip4/192.0.2.7/tcp/4001"), validator.ErrMalformed},
		{"a long address", w.bob, carry, carryOf(o, "/dns/"+strings.Repeat("x", 300)+mine), validator.ErrMalformed},
		{"too many", w.bob, carry, carryOf(o, slices.Repeat([]string{mine}, 9)...), validator.ErrMalformed},
		{"both", w.bob, carry, validator.CarryRequest{Address: o.Address.Bytes(), Holder: []string{mine}, Stop: true}, validator.ErrMalformed},
		{"no address", w.bob, carry, validator.CarryRequest{}, validator.ErrMalformed},
	} {
		_, err := w.Carry(t, 0, c.who, c.chain, c.ask)
		if wantErr(t, err, c.want); err == nil {
			t.Error(c.name)
		}
	}
	if r, err := w.Carry(t, 0, w.bob, carry, carryOf(o)); err != nil || len(r.Carriers) != 0 {
		t.Errorf("somebody is named: %+v, %v", r, err)
	}
	w.Validators[0].Judge.Audit = full{} // nothing that cannot be logged
	_, err := w.Carry(t, 0, w.bob, carry, carryOf(o, mine))
	wantErr(t, err, validator.ErrUnavailable)
}

// Of one target a validator names so many and no more, and those that ended make room.
func TestCarriersAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	carry := w.Grant(t, w.alice, w.bob, vt.LineageOf(o), carries)
	register := func(i int) int {
		t.Helper()
		p := *w.bob
		p.Peer = statement.GenerateKey().Public() // another node of the same identity
		r, err := w.Carry(t, 0, &p, carry, carryOf(o, addressOf(t, &p)))
		if err != nil {
			t.Fatal(fmt.Sprint(i), err)
		}
		return len(r.Carriers)
	}
	for i := range validator.MaxCarriers {
		if got := register(i); got != i+1 {
			t.Fatalf("%d are named, want %d", got, i+1)
		}
	}
	if got := register(0); got != validator.MaxCarriers {
		t.Errorf("%d are named", got)
	}
}

func FuzzCarry(f *testing.F) {
	var s *vt.Session
	fuzzEntry[validator.CarryRequest](f, func(w *world) []any {
		o := w.Object(f, w.alice)
		w.DepositAll(f, w.alice, o)
		s = w.Connect(w.bob, 0)
		c := w.Grant(f, w.alice, w.bob, vt.LineageOf(o), carries)
		good, own := carryOf(o, addressOf(f, w.bob)), carryOf(o)
		good.Authority, own.Authority = w.ByChain(f, w.bob, c, s, good.Digest()), w.ByIdentity(f, w.alice, s, own.Digest())
		return []any{good, own, carryOf(o), validator.CarryRequest{Address: []byte("nowhere"), Stop: true}, validator.CarryRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Carry(t.Context(), s.Conn(), raw)
		return err
	})
}
