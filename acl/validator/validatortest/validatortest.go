// Package validatortest runs whole committees inside a test: validators with
// real keys, a real erasable store, a real audit log that is being written, a
// real policy engine and real freshness, joined by nothing but function calls.
// Only the disk behind kv.Store is memory, and only the clock is the test's.
//
//	net := validatortest.New(t, validatortest.Options{})
//	alice, bob := validatortest.NewPerson(t, "alice", identity.User), ...
//	o := net.Object(t, alice)
//	net.DepositAll(t, alice, o)
//	chain := net.Grant(t, alice, bob, validatortest.VersionOf(o))
package validatortest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/audit/people"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Clock is the time of a test. It moves only when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves it.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Options shape a network. The zero value is four validators, f = 1, k = t = 3,
// under the built-in policy.
type Options struct {
	Name   string         // networks of different names have nothing in common
	N      int            // validators; 0: 4
	Bundle *policy.Bundle // nil: the built-in one
}

// Validator is one validator with everything that it owns.
type Validator struct {
	*validator.Judge
	Person  *trusttest.Person // its identity, which may revoke
	Erase   *keystore.Erasable
	Audit   *journal.Journal // what Judge.Audit writes, unless a test has put something before it
	Memory  *kv.Memory       // deposits and mailboxes
	Tracker *revocation.Tracker
	Dir     string // of the erasable store and the audit log
	Master  []byte // of the erasable store
}

// Network is a committee at work.
type Network struct {
	*trust.Committee
	Chain      *trust.Chain
	Clock      *Clock
	Validators []*Validator // hides the record's list
	keys       *trusttest.Network
}

// New starts a network, whose audit logs are written until the test ends. Every
// validator has heard the others.
func New(t testing.TB, o Options) *Network {
	t.Helper()
	if o.Name == "" {
		o.Name = "committee"
	}
	if o.N == 0 {
		o.N = 4
	}
	if o.Bundle == nil {
		o.Bundle = policy.Builtin()
	}
	keys, record := trusttest.Draft(t, o.Name, o.N)
	record.PolicyHead = o.Bundle.Head()
	openers := make([]*keystore.Opener, o.N)
	for i := range openers {
		openers[i], record.Validators[i].Recipient = recipient(t)
	}
	net := &Network{keys: keys, Clock: &Clock{now: trusttest.Start.Add(time.Hour)}}
	var err error
	if net.Committee, err = trust.Genesis(keys.Signed(t, record).Bytes()); err != nil {
		t.Fatal(err)
	}
	keys.Committee = net.Committee
	if net.Chain, err = trust.OpenChain(&kv.Memory{}, net.Committee); err != nil {
		t.Fatal(err)
	}
	for i, opener := range openers {
		net.Validators = append(net.Validators, net.start(t, i, opener, o.Bundle))
	}
	net.Hear(t)
	return net
}

func recipient(t testing.TB) (*keystore.Opener, string) {
	t.Helper()
	secret, public, err := keystore.GenerateHybrid()
	if err != nil {
		t.Fatal(err)
	}
	opener, err := keystore.NewOpener(secret)
	if err != nil {
		t.Fatal(err)
	}
	return opener, public
}

func (net *Network) start(t testing.TB, i int, opener *keystore.Opener, bundle *policy.Bundle) *Validator {
	t.Helper()
	who := fmt.Sprint(net.Committee.Name, " validator ", i)
	return net.open(t, seat{who, net.keys.Signing[i], net.keys.People[i]}, opener, bundle)
}

// seat is who a validator is.
type seat struct {
	name    string // which [trusttest.Key] gives the keys of its peer and its log
	signing statement.PrivateKey
	person  *trusttest.Person
}

// log is how its audit log is opened.
func (s seat) log(t testing.TB) audit.Config {
	t.Helper()
	key := trusttest.Key(s.name + " log")
	binding, err := audit.Bind(trusttest.Key(s.name+" peer"), key)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Config{Binding: binding, Key: key}
}

// open starts a validator with an empty home.
func (net *Network) open(t testing.TB, s seat, opener *keystore.Opener, bundle *policy.Bundle) *Validator {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	fail := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	master := make([]byte, keystore.MasterSize)
	rand.Read(master)
	erase, err := keystore.OpenErasable(filepath.Join(dir, "slots"), master)
	fail(err)
	t.Cleanup(func() { erase.Close() })                                          // a test may have closed it
	persons, err := keystore.OpenErasable(filepath.Join(dir, "persons"), master) // apart, so that tests can count slots
	fail(err)
	t.Cleanup(func() { persons.Close() })
	log := openJournal(t, filepath.Join(dir, "audit"), s.log(t), persons)
	done := make(chan struct{})
	ran := make(chan struct{})
	go func() { // until the log is closed
		defer close(done)
		close(ran)
		log.Run(context.WithoutCancel(t.Context()))
	}()
	<-ran
	t.Cleanup(func() { log.Close(); <-done })
	<-log.Running()
	revocations := &kv.Memory{}
	set, err := revocation.OpenSet(revocations, net.Chain, validator.Kinds())
	fail(err)
	rlog, err := revocation.OpenLog(revocations, set, s.signing.Public())
	fail(err)
	v := &Validator{Person: s.person, Erase: erase, Audit: log, Memory: &kv.Memory{}, Dir: dir, Master: master}
	v.Tracker = &revocation.Tracker{
		Trust: net.Chain, Validators: Direct{net}, Set: set, Own: rlog, Store: revocations, Now: net.Clock.Now, Log: Logger(t),
	}
	fail(v.Tracker.Open())
	policies, err := policy.OpenHistory(&kv.Memory{}, net.Chain, bundle)
	fail(err)
	book, err := validator.OpenRoles(v.Memory, net.Chain)
	fail(err)
	v.Judge = &validator.Judge{
		Trust: net.Chain, Peer: trusttest.Key(s.name + " peer").Public(), Signing: s.signing, Opener: opener, Store: v.Memory, Shares: erase,
		Log: rlog, Set: set, Verifier: &capability.Verifier{Trust: net.Chain, Revocations: set, People: set, Now: net.Clock.Now},
		Guard: trust.NewGuard(v.Memory), Policies: policies, Roles: book, Book: book, Audit: log, Fresh: v.Tracker, Now: net.Clock.Now, Logger: Logger(t),
		Receipts: &receipt.Issuer{Network: net.Chain.Network(), Origin: log.Log().Binding().Origin, Key: s.log(t).Key},
	}
	v.Judge.Verifier.Accepted = v.Judge.Accepted
	return v
}

// openJournal opens an audit log whose persons nobody knows after the test.
func openJournal(t testing.TB, dir string, c audit.Config, secrets people.Secrets) *journal.Journal {
	t.Helper()
	table, err := people.Open(&kv.Memory{}, secrets)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(log, dir, table)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Logged is one event of a validator's log, with what can be shown of it.
type Logged struct {
	*event.Leaf
	Claims []event.Claim
}

// Claim is the value of a claim, or empty.
func (l Logged) Claim(name string) string {
	value, _ := event.Find(l.Claims, name)
	return value
}

// Events are all events of a validator's log.
func (v *Validator) Events(t testing.TB) (out []Logged) {
	t.Helper()
	if err := v.Audit.Scan(func(e *journal.Entry) error {
		o, err := e.Open()
		if err != nil {
			return err
		}
		out = append(out, Logged{e.Leaf, o.Claims})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// Hear has every validator ask every other, which also carries revocations.
func (net *Network) Hear(t testing.TB) {
	t.Helper()
	for range 2 { // the first makes them ready
		for _, v := range net.Validators {
			v.Tracker.Round(t.Context())
		}
	}
	for i, v := range net.Validators {
		if !v.Tracker.Fresh() {
			t.Fatalf("validator %d hears too few of the others", i+1)
		}
	}
}

// Direct reaches validators by calling them.
type Direct struct{ Net *Network }

// AskFresh implements [revocation.Validators].
func (d Direct) AskFresh(_ context.Context, index int, nonce [32]byte) ([]byte, error) {
	return d.Net.Validators[index].AnswerFresh(marshal(validator.FreshRequest{Nonce: nonce}))
}

// AskTail implements [revocation.Validators].
func (d Direct) AskTail(_ context.Context, index int, segment, seq uint64) ([]revocation.Entry, error) {
	raw, err := d.Net.Validators[index].AnswerTail(marshal(validator.TailRequest{Segment: segment, Seq: seq}))
	if err != nil {
		return nil, err
	}
	var r validator.TailReply
	return r.Entries, statement.Unmarshal(raw, &r)
}

// AskSeen implements [revocation.Validators].
func (d Direct) AskSeen(_ context.Context, index int, of statement.PublicKey) ([]byte, error) {
	raw, err := d.Net.Validators[index].AnswerSeen(marshal(validator.SeenRequest{Validator: of}))
	if err != nil {
		return nil, err
	}
	var r validator.SeenReply
	return r.Fresh, statement.Unmarshal(raw, &r)
}

func marshal(v any) []byte {
	raw, err := statement.Marshal(v)
	if err != nil {
		panic(err) // plain fields
	}
	return raw
}

// Logger writes to the test's log.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// Person is an identity whose keys the test holds, and that can open what is
// sealed to it.
type Person struct {
	*identity.Identity
	Device statement.PrivateKey
	Peer   statement.PublicKey // of the node that it uses
	Opener *keystore.Opener
}

// NewPerson makes an identity with one device.
func NewPerson(t testing.TB, name string, kind identity.Kind) *Person {
	t.Helper()
	opener, public := recipient(t)
	p := &Person{Device: trusttest.Key(name + " device"), Peer: trusttest.Key(name + " peer").Public(), Opener: opener}
	var err error
	p.Identity, err = identity.Incept(kind, p.Device, public, trusttest.Key(name+" recovery").Public(), [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Sign makes a statement that the person's device signs.
func (p *Person) Sign(t testing.TB, kind statement.Kind, body any) []byte {
	t.Helper()
	s, err := identity.Sign(kind, body, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	return s.Bytes()
}
