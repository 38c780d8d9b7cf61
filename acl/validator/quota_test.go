package validator_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// deposits one object more at validator 0, through a peer.
func (w *world) one(t *testing.T, owner *vt.Person, through *vt.Person) uint8 {
	t.Helper()
	return w.brings(t, through, w.Deal(t, owner, 0, []*vt.Object{w.Object(t, owner)}))[0]
}

func (w *world) brings(t *testing.T, through *vt.Person, d *vt.Dealt) []uint8 {
	t.Helper()
	got, err := w.DepositOn(t, 0, validator.Conn{Client: through.Peer}, w.Request(t, d, 0))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAnOwnersDepositsAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	w.Validators[0].Quota.Objects = 3
	a, b, c, d := w.Object(t, w.alice), w.Object(t, w.alice), w.Object(t, w.alice), w.Object(t, w.alice)
	first := w.Deal(t, w.alice, 0, []*vt.Object{a, b, c, d})
	for range 2 { // a retry takes no room
		wantOutcomes(t, w.brings(t, w.alice, first), nil, validator.ItemOK, validator.ItemOK, validator.ItemOK, validator.ItemFull)
	}
	if n := w.slots(0); n != 3 {
		t.Errorf("%d shares are kept, want 3", n)
	}
	again := w.Deal(t, w.alice, 1, []*vt.Object{a}) // what is there may be dealt again
	wantOutcomes(t, w.brings(t, w.alice, again), nil, validator.ItemOK)
	wantOutcomes(t, []uint8{w.one(t, w.mallory, w.alice)}, nil, validator.ItemOK) // another owner has its own

	// A version that found no room has moved no head: it may come again.
	next := w.Deal(t, w.alice, 0, []*vt.Object{w.Version(t, b)})
	wantOutcomes(t, w.brings(t, w.alice, next), nil, validator.ItemFull)
	order := w.Erasure(t, w.alice, c.KeyNonce)
	for range 2 { // an erasure gives room back, once
		w.erase(t, order, 0)
	}
	wantOutcomes(t, w.brings(t, w.alice, next), nil, validator.ItemOK)
	wantOutcomes(t, []uint8{w.one(t, w.alice, w.alice)}, nil, validator.ItemFull)
	if got, err := w.Deposit(t, 1, w.Request(t, first, 1)); true { // control: a validator with the default takes all
		wantOutcomes(t, got, err, 0, 0, 0, 0)
	}
}

func TestAnOwnersBytesAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	d := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice), w.Object(t, w.alice)})
	size := int64(len(d.Items[0].Manifest) + len(d.Items[0].Dealing) + len(d.Holder[0]) + 36)
	w.Validators[0].Quota.Bytes = 2*size - 1
	wantOutcomes(t, w.brings(t, w.alice, d), nil, validator.ItemOK, validator.ItemFull)
	w.Validators[0].Quota.Bytes = 2*size + 64 // control
	wantOutcomes(t, w.brings(t, w.alice, d), nil, validator.ItemOK, validator.ItemOK)
}

// An identity costs nothing: whoever makes a new owner for every object is
// stopped by the peer that brings them.
func TestAPeersDepositsAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	w.Validators[0].Quota.PeerObjects = 2
	stranger := func(i int) *vt.Person { return vt.NewPerson(t, fmt.Sprint("owner ", i), identity.User) }
	for i, want := range []uint8{validator.ItemOK, validator.ItemOK, validator.ItemFull, validator.ItemFull} {
		wantOutcomes(t, []uint8{w.one(t, stranger(i), w.mallory)}, nil, want)
	}
	wantOutcomes(t, []uint8{w.one(t, w.alice, w.bob)}, nil, validator.ItemOK) // control: another peer
	w.Clock.Advance(25 * time.Hour)
	wantOutcomes(t, []uint8{w.one(t, stranger(9), w.mallory)}, nil, validator.ItemOK)
}

func TestConcurrentDepositsKeepTheQuota(t *testing.T) {
	w := newWorld(t, vt.Options{})
	w.Validators[0].Quota.Objects = 5
	requests := make([]validator.DepositRequest, 8)
	for i := range requests {
		requests[i] = w.Request(t, w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice), w.Object(t, w.alice)}), 0)
	}
	var wg sync.WaitGroup
	for _, r := range requests {
		wg.Go(func() {
			if _, err := w.Deposit(t, 0, r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := w.slots(0); n != 5 {
		t.Errorf("%d shares are kept, want 5", n)
	}
}

// Whoever gives valid revocations to one honest validator alone cannot fill its
// log until the others stop pulling it.
func TestLoneRevocationsAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	for _, v := range w.Validators {
		v.Quota.Lone = 2
	}
	revoke := func(i int, through string, c *capability.Chain, e revocation.Entry) error {
		_, err := w.Validators[i].Revoke(t.Context(), validator.Conn{Client: trusttest.Key(through).Public()},
			encode(t, validator.RevokeRequest{Entry: e, Chain: c.Bytes()}))
		return err
	}
	grants := func(owner *vt.Person) (chains []*capability.Chain, entries []revocation.Entry) {
		for range 3 {
			c := w.Grant(t, owner, w.bob, capability.Target{Kind: capability.Lineage})
			chains, entries = append(chains, c), append(entries, w.Revocation(t, owner, vt.Leaf(t, c)))
		}
		return chains, entries
	}
	chains, entries := grants(w.alice)
	for k, want := range []error{nil, nil, validator.ErrUnavailable} {
		wantErr(t, revoke(0, "one", chains[k], entries[k]), want)
	}
	wantErr(t, revoke(0, "two", chains[2], entries[2]), validator.ErrUnavailable) // the same signer by another peer
	wantErr(t, revoke(0, "one", chains[1], entries[1]), nil)                      // one that stands already takes no room
	others, theirs := grants(w.mallory)
	wantErr(t, revoke(0, "one", others[0], theirs[0]), validator.ErrUnavailable) // another signer through the same peer
	wantErr(t, revoke(0, "two", others[0], theirs[0]), nil)                      // control: neither
	if n := w.Validators[0].Log.Head().Seq; n != 3 {
		t.Errorf("the log has %d entries, want 3", n)
	}
	// The others have them from her as well, as every client sees to: there is room.
	wantErr(t, revoke(1, "one", chains[0], entries[0]), nil)
	w.Hear(t)
	wantErr(t, revoke(0, "one", chains[2], entries[2]), nil)
	wantErr(t, revoke(0, "one", others[1], theirs[1]), validator.ErrUnavailable)
}

func TestLoneErasuresAreBounded(t *testing.T) {
	w := newWorld(t, vt.Options{})
	w.Validators[0].Quota.Lone = 2
	for k, want := range []error{nil, nil, validator.ErrUnavailable} {
		_, err := w.Erase(t, 0, w.Erasure(t, w.alice, w.Object(t, w.alice).KeyNonce))
		if wantErr(t, err, want); t.Failed() {
			t.Fatalf("order %d", k)
		}
	}
	_, err := w.Erase(t, 1, w.Erasure(t, w.alice, w.Object(t, w.alice).KeyNonce)) // control
	wantErr(t, err, nil)
}

// The only validator of a network has nobody else's log to wait for.
func TestTheOnlyValidatorTakesEveryRevocation(t *testing.T) {
	w := newWorld(t, vt.Options{N: 1})
	w.Validators[0].Quota.Lone = 1
	for range 3 {
		c := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
		w.revoke(t, 0, w.Revocation(t, w.alice, vt.Leaf(t, c)), c)
	}
}

// counted is what a validator's store says that an owner's deposits take.
type counted struct {
	_              struct{} `cbor:",toarray"`
	Objects, Bytes int64
}

func usageOf(t *testing.T, v *vt.Validator, owner *vt.Person) (c counted) {
	t.Helper()
	id := owner.ID()
	raw, err := v.Memory.Get(append([]byte("usage/"), id[:]...))
	if err != nil {
		t.Fatal(err)
	}
	if err := statement.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}
