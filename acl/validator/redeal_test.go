package validator_test

import (
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// plans counts those that a validator knows.
func plans(t testing.TB, v *vt.Validator) (n int) {
	t.Helper()
	if err := v.Memory.Scan([]byte("plan/"), nil, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// An owner whose deposit has not reached everybody when the record comes deals
// again, and the new dealing comes to one validator before the others. What is
// dealt again lacks a dealer for that long; no number of plans would help, and
// none is used up.
func TestAnOwnerDealsAgainInTheMiddle(t *testing.T) {
	r := newRotating(t, vt.Options{}, 2)
	late := r.Object(t, r.alice)
	d := r.Deal(t, r.alice, 0, []*vt.Object{late})
	for i := range 3 {
		if got, err := r.Deposit(t, i, r.Request(t, d, i)); err != nil || got[0] != validator.ItemOK {
			t.Fatal(got, err)
		}
	}
	record := r.Succeed(t, nil)
	again := r.Deal(t, r.alice, 1, []*vt.Object{late}, func(d *validator.Dealing) { d.Record = record.ID() })
	arrive := func(i int) {
		t.Helper()
		if got, err := r.Deposit(t, i, r.Request(t, again, i)); err != nil || got[0] != validator.ItemOK {
			t.Fatal(got, err)
		}
	}
	arrive(0)
	for range 30 {
		if r.pass(t) == 0 {
			t.Fatal("control: nothing lacks")
		}
		r.readAll(t)
	}
	if n := plans(t, r.All[0]); n != 1 {
		t.Errorf("%d plans were made", n)
	}
	for i := 1; i < 4; i++ {
		arrive(i)
	}
	r.objects, r.chains = append(r.objects, late), append(r.chains, r.Grant(t, r.alice, r.bob, vt.VersionOf(late)))
	r.finish(t)
	r.only(t)
	if n := plans(t, r.All[0]); n != 1 {
		t.Errorf("in the end %d plans were made", n)
	}
}

// vanishing is an erasable store in which something happens before a secret is
// opened for the first time.
type vanishing struct {
	validator.ShareStore
	mu     sync.Mutex
	before func() // owned by mu while there are opens
}

func (v *vanishing) Open(s keystore.Sealed, aad []byte) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if do := v.before; do != nil {
		v.before = nil
		do()
	}
	return v.ShareStore.Open(s, aad)
}

// While a page is dealt one of its deposits is settled, erased or dealt again: the
// page has the others. Where a share alone is gone the dealer says that it cannot.
func TestADepositThatGoesWhileItIsDealt(t *testing.T) {
	for name, forgets := range map[string]bool{"the deposit went": true, "only its share went": false} {
		t.Run(name, func(t *testing.T) {
			r := newRotating(t, vt.Options{}, 3)
			dealer := r.All[1]
			shares := &vanishing{ShareStore: dealer.Judge.Shares}
			dealer.Judge.Shares = shares
			r.Succeed(t, nil)
			var key []byte
			var slot uint64
			err := dealer.Memory.Scan([]byte("deposit/"), nil, func(k, value []byte) (bool, error) {
				var d storedDeposit
				err := statement.Unmarshal(value, &d)
				key, slot = append(key[:0], k...), d.Shares[0].Share.Slot
				return true, err
			})
			if err != nil {
				t.Fatal(err)
			}
			happened := false
			happens := func() {
				if forgets {
					if err := dealer.Memory.Apply([]kv.Op{{Key: key, Delete: true}}); err != nil {
						t.Fatal(err)
					}
				}
				if err := dealer.Erase.Destroy(slot); err != nil {
					t.Fatal(err)
				}
				happened = true
			}
			shares.before = happens
			r.loops[r.All[0]] = r.Of(t, r.All[0])
			_, err = r.loops[r.All[0]].Pass(t.Context())
			if !happened {
				t.Fatal("control: nothing was dealt")
			}
			if forgets != (err == nil) {
				t.Errorf("the page: %v", err)
			}
		})
	}
}
