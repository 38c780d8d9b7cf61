// Package trusttest makes networks whose keys a test knows: a committee that
// every validator and root key has really signed, and persons who can sign. Keys
// are derived from names, so that a test meets the same ids in every run.
//
//	net := trusttest.New(t, "net", 4)
//	alice := trusttest.NewPerson(t, "alice", identity.User)
//	s, err := statement.New(trust.KindMembership, body)
//	net.Sign(s, 0, 1, 2) // three validators
package trusttest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Start is when the networks of tests begin; they last [trust.Lifetime].
var Start = time.Unix(1_900_000_000, 0).UTC()

// Key is the signing key of a name.
func Key(name string) statement.PrivateKey {
	seed := sha256.Sum256([]byte("trusttest " + name))
	k, err := statement.KeyFromSeed(seed[:])
	if err != nil {
		panic(err) // a seed has 32 bytes
	}
	return k
}

// Recipient has the length of an age hybrid recipient and its beginning; nothing
// can be sealed to it.
func Recipient(name string) string {
	const length = 1959
	s := fmt.Sprintf("age1pq1%x", sha256.Sum256([]byte(name)))
	return s + strings.Repeat("q", length-len(s))
}

// Person is an identity with the keys of its devices.
type Person struct {
	*identity.Identity
	Devices []statement.PrivateKey // hides the public halves
}

// NewPerson makes the identity of a name with one device.
func NewPerson(t testing.TB, name string, kind identity.Kind) *Person {
	t.Helper()
	return WithDevices(t, name, kind, 1)
}

// WithDevices makes the identity of a name with several devices.
func WithDevices(t testing.TB, name string, kind identity.Kind, devices int) *Person {
	t.Helper()
	p := &Person{}
	body := identity.Inception{Kind: kind, Recipients: []string{Recipient(name)}, Recovery: Key(name + " recovery").Public().Digest()}
	copy(body.Nonce[:], name)
	for i := range devices {
		k := Key(fmt.Sprint(name, " device ", i))
		p.Devices, body.Devices = append(p.Devices, k), append(body.Devices, k.Public())
	}
	s, err := statement.Sign(identity.KindInception, body, p.Devices...)
	if err != nil {
		t.Fatal(err)
	}
	if p.Identity, err = identity.New(s.Bytes()); err != nil {
		t.Fatal(err)
	}
	return p
}

// Sign makes a statement that the person's first device signs.
func (p *Person) Sign(t testing.TB, kind statement.Kind, body any) *statement.Statement {
	t.Helper()
	s, err := identity.Sign(kind, body, p.Devices[0])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Network is a committee with all its keys.
type Network struct {
	*trust.Committee
	People  []*Person // behind the validators, in order
	Signing []statement.PrivateKey
	Roots   []statement.PrivateKey
}

// Draft makes the record of a network of n validators and one root key, with
// default numbers, and signs nothing: a test may break the record before
// [Network.Signed].
func Draft(t testing.TB, name string, n int) (*Network, trust.Record) {
	t.Helper()
	net := &Network{Roots: []statement.PrivateKey{Key(name + " root")}}
	r := trust.Record{
		Version: 1, Name: name, Numbers: trust.Default(n), RootKeys: []statement.PublicKey{net.Roots[0].Public()}, RootThreshold: 1,
		PolicyHead: statement.Hash("trusttest policy"), NotBefore: Start.Unix(), Expires: Start.Add(trust.Lifetime).Unix(),
	}
	for i := range n {
		who := fmt.Sprint(name, " validator ", i)
		p := NewPerson(t, who, identity.User)
		net.People, net.Signing = append(net.People, p), append(net.Signing, Key(who+" signing"))
		r.Validators = append(r.Validators, trust.Validator{
			Identity: p.ID(), Signing: net.Signing[i].Public(), Recipient: Recipient(who + " shares"),
			Peer: Key(who + " peer").Public(), Addresses: []string{fmt.Sprintf("/ip4/192.0.2.%d/tcp/4001", i+1)},
			Log: Key(who + " log").Public(), Witness: Key(who + " witness").Public(),
		})
	}
	return net, r
}

// Signed is a record with every signature that a genesis needs, whether or not
// it deserves them.
func (net *Network) Signed(t testing.TB, r trust.Record) *statement.Statement {
	t.Helper()
	s, err := statement.Sign(trust.KindRecord, r, append(net.Signing, net.Roots...)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// New makes a network of n validators and one root key with default numbers.
func New(t testing.TB, name string, n int) *Network {
	t.Helper()
	net, r := Draft(t, name, n)
	var err error
	if net.Committee, err = trust.Genesis(net.Signed(t, r).Bytes()); err != nil {
		t.Fatal(err)
	}
	return net
}

// Sign adds the signatures of the validators at these indexes.
func (net *Network) Sign(s *statement.Statement, validators ...int) *statement.Statement {
	for _, i := range validators {
		s.AddSignature(uint16(i), net.Signing[i])
	}
	return s
}

// Quorum are the indexes of the first K validators.
func (net *Network) Quorum() []int {
	out := make([]int, net.Numbers.K)
	for i := range out {
		out[i] = i
	}
	return out
}

// Succeed makes the record that follows the network's newest one, changed as a
// test wants, with every signature that net's keys can give under the layout of
// [trust.Record.SuccessorSigners]. It verifies nothing.
func (net *Network) Succeed(t testing.TB, change func(*trust.Record), keys ...statement.PrivateKey) *statement.Statement {
	t.Helper()
	return Succeed(t, net.Committee, change, append(append(keys, net.Signing...), net.Roots...)...)
}

// Recover is [Network.Succeed] of the next root epoch.
func (net *Network) Recover(t testing.TB, change func(*trust.Record), keys ...statement.PrivateKey) *statement.Statement {
	t.Helper()
	return net.Succeed(t, func(r *trust.Record) {
		r.RootEpoch++
		if change != nil {
			change(r)
		}
	}, keys...)
}

// Succeed makes the record that follows before, changed as a test wants and
// signed by these keys wherever they have a place. It verifies nothing.
func Succeed(t testing.TB, before *trust.Committee, change func(*trust.Record), keys ...statement.PrivateKey) *statement.Statement {
	t.Helper()
	r, id := before.Record, before.ID()
	r.Version, r.Previous, r.Oldest, r.Skip = r.Version+1, id[:], nil, false
	r.Validators = append([]trust.Validator(nil), r.Validators...)
	if change != nil {
		change(&r)
	}
	s, err := statement.New(trust.KindRecord, r)
	if err != nil {
		t.Fatal(err)
	}
	for i, place := range r.SuccessorSigners(before) {
		for _, k := range keys {
			if k.Public() == place {
				s.AddSignature(uint16(i), k)
			}
		}
	}
	return s
}
