package daemon

import (
	"bytes"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/quorum"
)

// family is a network whose nodes work, as if they were serving, and an identity
// named ann on the first of them.
func family(t *testing.T, nodes int) (m *members, secret string) {
	t.Helper()
	m = found(t, nodes)
	m.refresh()
	for _, n := range m.nodes {
		n.running.Store(true)
	}
	_, secret, err := m.nodes[0].home.NewIdentity("ann", identity.User)
	if err != nil {
		t.Fatal(err)
	}
	return m, secret
}

func ann(t *testing.T, n *Node) *home.Principal {
	t.Helper()
	p, err := n.principal("ann")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// enrol makes a node a device of ann, which another one takes in.
func enrol(t *testing.T, by, n *Node) *api.Published {
	t.Helper()
	asked, err := n.Enrol(t.Context(), api.EnrolRequest{Contact: ann(t, by).Identity.Contact(), Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	added, err := by.AddDevice(t.Context(), api.AddDeviceRequest{Request: asked.Request, As: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.AdoptIdentity(t.Context(), api.AdoptIdentityRequest{Contact: added.Contact}); err != nil {
		t.Fatal(err)
	}
	return added
}

// recoverRequest is a recovery by a secret, with what follows it.
func recoverRequest(secret string) (r api.RecoverRequest, next string) {
	next, key := home.NewRecovery()
	return api.RecoverRequest{Name: "ann", Secret: secret, Next: hex.EncodeToString(key[:])}, next
}

func wantExit(t *testing.T, what string, err error, exit int) {
	t.Helper()
	if err == nil || fault.Of(err).Exit != exit {
		t.Errorf("%s: %v, not exit %d", what, err, exit)
	}
}

// TestRecordsWaitInTheOutbox: with too few validators the home has the record and
// the outbox goes on, and in the end every validator has it.
func TestRecordsWaitInTheOutbox(t *testing.T) {
	t.Parallel()
	m, _ := family(t, 2)
	laptop := m.nodes[0]
	m.setDown(3)
	if got := enrol(t, laptop, m.nodes[1]); got.State != stateEffective || got.Acks != 3 || got.Of != 4 {
		t.Errorf("with three of four: %+v", got)
	}
	wantWaiting(t, laptop, 1)
	if left, err := laptop.outbox.passRecords(t.Context()); err != nil || left != 1 {
		t.Errorf("the fourth is still down: %d left, %v", left, err)
	}
	m.setDown()
	if left, err := laptop.outbox.passRecords(t.Context()); err != nil || left != 0 {
		t.Errorf("%d left, %v", left, err)
	}
	wantWaiting(t, laptop, 0)
	for i, v := range m.validators {
		if got := v.set.IdentityRecords(ann(t, laptop).Identity.ID()); len(got) != 1 {
			t.Errorf("validator %d knows %d records", i+1, len(got))
		}
	}
}

// A record that too few take is durable here, and says that it waits.
func TestARecordThatTooFewTake(t *testing.T) {
	t.Parallel()
	m, _ := family(t, 2)
	laptop := m.nodes[0]
	p := ann(t, laptop)
	asked, err := m.nodes[1].Enrol(t.Context(), api.EnrolRequest{Contact: p.Identity.Contact(), Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := identity.ParseEnrolment(asked.Request)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := p.Identity.AddDevice(p.Device, e, m.now())
	if err != nil {
		t.Fatal(err)
	}
	after, err := foldIn(p.Identity, rec)
	if err != nil {
		t.Fatal(err)
	}
	m.setDown(0, 1)
	_, err = laptop.AddDevice(t.Context(), api.AddDeviceRequest{Request: asked.Request, As: "ann"})
	wantExit(t, "it cannot be brought up to date", err, fault.Unavailable)
	wantWaiting(t, laptop, 0)
	got, err := laptop.publish(t.Context(), p, after, e.Device, rec)
	if err != nil || got.State != stateWaiting || got.Acks != 2 || got.Needed != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	wantWaiting(t, laptop, 1)
	if _, ok := ann(t, laptop).Identity.DeviceIndex(e.Device); !ok {
		t.Error("the home has forgotten what it published")
	}
}

// throwaway is the request for a record of an identity that is good for nothing.
func throwaway(t *testing.T, i byte, recipient string, m *members) []byte {
	t.Helper()
	key := statement.GenerateKey()
	id, err := identity.Incept(identity.Agent, key, recipient, statement.GenerateKey().Public(), [16]byte{i})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := id.AddRecipient(key, recipient[:len(recipient)-2]+"qq", m.now())
	if err != nil {
		t.Fatal(err)
	}
	after, err := id.With(rec)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := revocation.IdentityEntry(rec, after)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := statement.Marshal(validator.IdentityRequest{Entry: entry})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A record that the validators refuse changes nothing here.
func TestARefusedRecordChangesNothing(t *testing.T) {
	t.Parallel()
	m, _ := family(t, 2)
	laptop := m.nodes[0]
	_, recipient, err := keystore.GenerateHybrid()
	if err != nil {
		t.Fatal(err)
	}
	for i := range validator.MaxPeerRecords { // the laptop's peer has had its share
		raw := throwaway(t, byte(i), recipient, m)
		for _, v := range m.validators {
			if _, err := v.judge.Identity(t.Context(), validator.Conn{Client: laptop.home.PeerKey()}, raw); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := ann(t, laptop).Identity.Record()
	asked, err := m.nodes[1].Enrol(t.Context(), api.EnrolRequest{Contact: ann(t, laptop).Identity.Contact(), Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = laptop.AddDevice(t.Context(), api.AddDeviceRequest{Request: asked.Request, As: "ann"})
	wantExit(t, "one too many", err, fault.Denied)
	wantWaiting(t, laptop, 0)
	if !bytes.Equal(ann(t, laptop).Identity.Record(), before) {
		t.Error("the home has changed")
	}
}

// TestHolderRefusesThief: a holder of ciphertext asks no validator for a request.
// It refuses a stolen device once it has heard of the recovery, whatever document
// the thief shows, and passes it before.
func TestHolderRefusesThief(t *testing.T) {
	t.Parallel()
	m, secret := family(t, 3)
	laptop, phone, holder := m.nodes[0], m.nodes[1], m.nodes[2]
	enrol(t, laptop, phone)
	m.refresh()
	address, dealt := addSmall(t, holder, "a letter")
	if taken, err := holder.outbox.deliver(t.Context(), dealt); err != nil || taken.least() < 3 {
		t.Fatal(taken, err)
	}
	given, err := holder.Grant(t.Context(), api.GrantRequest{Address: address.String(), To: ann(t, laptop).Identity.Contact(), Can: "read", Seconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeToken(given.Token)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := capability.ParseChain(d.Chain)
	if err != nil {
		t.Fatal(err)
	}
	thief := ann(t, phone) // keeps what the phone knew when it was stolen
	open := func(p *home.Principal, from *Node) error {
		s := quorum.Session{Server: holder.home.PeerKey(), Client: from.home.PeerKey(), Challenge: [32]byte{1}, Counter: func() uint64 { return 1 }}
		raw, err := from.quorum.ProveChain(p, chain, s, statement.ID{9})
		if err != nil {
			return err
		}
		a, err := capability.ParseAuthority(raw)
		if err != nil {
			return err
		}
		_, _, err = holder.verifier.Open(a, capability.Expectation{
			Request: statement.ID{9}, Server: s.Server, Client: s.Client, Network: holder.trust.Network(),
			Challenge: s.Challenge, UseCounter: func(uint64) bool { return true }, Now: m.now(),
		})
		return err
	}
	if err := open(thief, phone); err != nil {
		t.Fatalf("before: %v", err)
	}
	r, _ := recoverRequest(secret)
	if got, err := laptop.Recover(t.Context(), r); err != nil || got.State != stateEffective {
		t.Fatalf("%+v, %v", got, err)
	}
	m.refresh()
	if err := open(thief, phone); err == nil {
		t.Error("after: the thief passes with the document of before")
	}
	if err := open(ann(t, laptop), laptop); err != nil {
		t.Errorf("the owner: %v", err)
	}
	if p := ann(t, phone); p.Current || p.Pending() {
		t.Error("the phone does not know that it was ended")
	}
}

func TestRecoveriesThatAreRefused(t *testing.T) {
	t.Parallel()
	m, secret := family(t, 3)
	laptop, other := m.nodes[0], m.nodes[1]
	wrong, _ := home.NewRecovery()
	before := ann(t, laptop).Identity.Record()
	try := func(what string, n *Node, exit int, change func(*api.RecoverRequest)) {
		t.Helper()
		r, _ := recoverRequest(secret)
		change(&r)
		for _, r.Check = range []bool{true, false} {
			_, err := n.Recover(t.Context(), r)
			wantExit(t, what, err, exit)
			if err != nil && strings.Contains(err.Error(), strings.TrimPrefix(r.Secret, "CEREBRUM-RECOVERY-1-")) {
				t.Errorf("%s: the secret is in the error", what)
			}
		}
	}
	contact := ann(t, laptop).Identity.Contact()
	try("another's secret", laptop, fault.Denied, func(r *api.RecoverRequest) { r.Secret = wrong })
	try("another identity", laptop, fault.Denied, func(r *api.RecoverRequest) { r.Name = "me" })
	try("an unknown name", laptop, fault.Usage, func(r *api.RecoverRequest) { r.Name = "nobody" })
	try("no key", laptop, fault.Usage, func(r *api.RecoverRequest) { r.Next = "aa" })
	try("no contact", laptop, fault.Usage, func(r *api.RecoverRequest) { r.Contact = "aa" })
	try("a damaged secret", laptop, fault.Usage, func(r *api.RecoverRequest) { r.Secret = r.Secret[:40] })
	try("a device that nobody knows", laptop, fault.NotFound, func(r *api.RecoverRequest) { r.Keep = []string{"0000-0000-0000-0000-0000"} })
	try("a device of the beginning", laptop, fault.Failed, func(r *api.RecoverRequest) {
		r.Keep = []string{fingerprint(ann(t, laptop).Device.Public())}
	})
	try("another contact", other, fault.Denied, func(r *api.RecoverRequest) {
		r.Contact = m.nodes[2].home.Principals()[0].Identity.Contact()
	})
	try("a name that is taken", other, fault.Usage, func(r *api.RecoverRequest) { r.Contact, r.Name = contact, "me" })
	try("no name", other, fault.Usage, func(r *api.RecoverRequest) { r.Contact, r.Name = contact, "" })
	m.setDown(0, 1)
	try("too few validators", laptop, fault.Unavailable, func(*api.RecoverRequest) {})
	m.setDown()
	if got := len(other.home.Principals()); got != 1 {
		t.Errorf("a refused recovery leaves %d identities", got)
	}
	wantWaiting(t, laptop, 0)
	if !bytes.Equal(ann(t, laptop).Identity.Record(), before) {
		t.Error("a refused recovery changed the home")
	}

	r, next := recoverRequest(secret)
	r.Check = true
	if _, err := laptop.Recover(t.Context(), r); err != nil || !bytes.Equal(ann(t, laptop).Identity.Record(), before) {
		t.Errorf("a check changes something: %v", err)
	}
	r.Check = false
	if _, err := laptop.Recover(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	try("a secret that was used", laptop, fault.Denied, func(*api.RecoverRequest) {})
	r, _ = recoverRequest(next)
	if got, err := laptop.Recover(t.Context(), r); err != nil || got.State != stateEffective {
		t.Errorf("the next one: %+v, %v", got, err)
	}
}

// TestKeptDevices: a recovery ends all but one, and takes in again whom it names.
func TestKeptDevices(t *testing.T) {
	t.Parallel()
	m, secret := family(t, 3)
	laptop, tablet, phone := m.nodes[0], m.nodes[1], m.nodes[2]
	enrol(t, laptop, tablet)
	enrol(t, tablet, phone)
	r, _ := recoverRequest(secret)
	r.Keep = []string{fingerprint(ann(t, tablet).Device.Public())}
	if _, err := laptop.Recover(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	m.refresh()
	for _, c := range []struct {
		name string
		n    *Node
		want bool
	}{{"laptop", laptop, true}, {"tablet", tablet, true}, {"phone", phone, false}} {
		if p := ann(t, c.n); p.Current != c.want {
			t.Errorf("the %s speaks: %v", c.name, p.Current)
		}
	}
	got, err := laptop.Devices(t.Context(), api.DevicesRequest{As: "ann"})
	if err != nil || len(got.Devices) != 3 || got.Recoveries != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	states := map[string]int{}
	for _, d := range got.Devices {
		states[d.State]++
	}
	if states["current"] != 2 || states["removed"] != 1 {
		t.Errorf("%v", states)
	}
}

// TestAFullIdentity: what finds no room changes nothing, and a recovery makes room.
func TestAFullIdentity(t *testing.T) {
	t.Parallel()
	m, secret := family(t, 1)
	laptop := m.nodes[0]
	add := func() error {
		p := ann(t, laptop)
		_, recipient, err := keystore.GenerateHybrid()
		if err != nil {
			t.Fatal(err)
		}
		e, err := identity.Enrol(p.Identity.ID(), statement.GenerateKey(), recipient)
		if err != nil {
			t.Fatal(err)
		}
		_, err = laptop.AddDevice(t.Context(), api.AddDeviceRequest{Request: e.Text(), As: "ann"})
		return err
	}
	var err error
	for err == nil && len(ann(t, laptop).Identity.Devices()) < identity.MaxRecords {
		err = add()
	}
	wantExit(t, "a full identity", err, fault.Failed)
	before := ann(t, laptop).Identity.Record()
	wantExit(t, "again", add(), fault.Failed)
	if !bytes.Equal(ann(t, laptop).Identity.Record(), before) {
		t.Error("it has changed")
	}
	r, _ := recoverRequest(secret)
	if _, err := laptop.Recover(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := add(); err != nil {
		t.Errorf("after a recovery: %v", err)
	}
}

// A node's identities change while requests read them.
func TestIdentitiesChangeUnderRequests(t *testing.T) {
	t.Parallel()
	m, _ := family(t, 2)
	laptop, phone := m.nodes[0], m.nodes[1]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, n := range []*Node{laptop, phone} {
					n.syncIdentities()
					n.Devices(t.Context(), api.DevicesRequest{})
				}
			}
		})
	}
	enrol(t, laptop, phone)
	if _, err := phone.RemoveDevice(t.Context(), api.RemoveDeviceRequest{As: "ann"}); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if ann(t, phone).Current {
		t.Error("a removed device is current")
	}
}
