package validator_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// erase has validators erase an object, and returns the receipts.
func (w *world) erase(t *testing.T, e revocation.Entry, which ...int) (receipts [][]byte) {
	t.Helper()
	for _, i := range which {
		r, err := w.Erase(t, i, e)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Holds) > 0 {
			t.Fatalf("validator %d knows of holds", i+1)
		}
		receipts = append(receipts, r.Receipts...)
	}
	return receipts
}

// reads says whether a validator still releases a share of an object.
func (w *world) gives(t *testing.T, i int, o *vt.Object) bool {
	t.Helper()
	_, err := w.Release(t, i, w.bob, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), vt.ReleaseOf(o))
	if err != nil {
		wantErr(t, err, validator.ErrDenied)
	}
	return err == nil
}

// kept are the sealed shares in a validator's store, as they were put there.
func kept(t *testing.T, v *vt.Validator) (out [][]byte) {
	t.Helper()
	if err := v.Memory.Scan([]byte("deposit/"), nil, func(_, value []byte) (bool, error) {
		out = append(out, bytes.Clone(value))
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnErasureDestroysAndProvesIt(t *testing.T) {
	w := newWorld(t, vt.Options{})
	gone, stays := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, gone, stays)
	e := w.Erasure(t, w.alice, gone.KeyNonce)
	if !w.gives(t, 0, gone) {
		t.Fatal("the control: nothing is released before")
	}
	receipts := w.erase(t, e, 0, 1)
	if _, err := revocation.CheckErased(e, receipts, w.Chain); !errors.Is(err, revocation.ErrReceipt) {
		t.Errorf("two receipts prove an erasure: %v", err)
	}
	receipts = append(receipts, w.erase(t, e, 2)...)
	b, err := revocation.CheckErased(e, receipts, w.Chain)
	if err != nil || b.KeyIDs()[0] != gone.KeyID() {
		t.Errorf("three receipts do not prove it: %v", err)
	}
	other := vt.New(t, vt.Options{Name: "another network"})
	if _, err := revocation.CheckErased(e, receipts, other.Chain); err == nil {
		t.Error("the receipts prove it in another network too")
	}
	again := w.Erasure(t, w.alice, gone.KeyNonce)
	if _, err := revocation.CheckErased(again, receipts, w.Chain); !errors.Is(err, revocation.ErrReceipt) {
		t.Errorf("receipts of one order prove another: %v", err)
	}
	if w.gives(t, 0, gone) {
		t.Error("a share is released after the receipt")
	}
	if !w.gives(t, 0, stays) {
		t.Error("another object of the same owner is lost")
	}
	if n := w.slots(0); n != 1 {
		t.Errorf("%d secrets are left, want 1", n)
	}
	if events := logOf(t, w.Validators[0]); !slices.Contains(events, "erase ok") || !slices.Contains(events, "destroy ok") {
		t.Errorf("the audit log has %v", events)
	}
	if more := w.erase(t, e, 0); len(more) != 1 { // a repetition
		t.Errorf("a repetition gives %d receipts", len(more))
	}
}

// What an old dealing, an outbox or a thief brings later is refused, also where
// the key was never deposited before.
func TestADepositAfterAnErasureIsRefused(t *testing.T) {
	w := newWorld(t, vt.Options{})
	had, never := w.Object(t, w.alice), w.Object(t, w.alice)
	d := w.Deal(t, w.alice, 0, []*vt.Object{had, never})
	got, err := w.Deposit(t, 1, w.Request(t, d, 1)) // the control: elsewhere both are taken
	wantOutcomes(t, got, err, validator.ItemOK, validator.ItemOK)
	first := w.Deal(t, w.alice, 0, []*vt.Object{had})
	got, err = w.Deposit(t, 0, w.Request(t, first, 0))
	wantOutcomes(t, got, err, validator.ItemOK)
	w.erase(t, w.Erasure(t, w.alice, had.KeyNonce, never.KeyNonce), 0)
	for _, number := range []uint64{0, 9} {
		d := w.Deal(t, w.alice, number, []*vt.Object{had, never, w.Object(t, w.alice)})
		got, err = w.Deposit(t, 0, w.Request(t, d, 0))
		wantOutcomes(t, got, err, validator.ItemErased, validator.ItemErased, validator.ItemOK)
	}
	if n := w.slots(0); n != 2 { // the two that are new
		t.Errorf("%d secrets, want 2", n)
	}
}

func TestOnlyTheOwnerErases(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	// Mallory names Alice's nonce: it makes another id with Mallory as the owner.
	w.erase(t, w.Erasure(t, w.mallory, o.KeyNonce), 0, 1, 2, 3)
	if !w.gives(t, 0, o) {
		t.Fatal("somebody else erased it")
	}
	good := w.Erasure(t, w.alice, o.KeyNonce)
	forged := revocation.Entry{Statement: good.Statement, Identity: w.mallory.Record()}
	_, err := w.Erase(t, 0, forged)
	wantErr(t, err, validator.ErrMalformed)
	other := vt.New(t, vt.Options{Name: "another network"})
	_, err = w.Erase(t, 0, other.Erasure(t, w.alice, o.KeyNonce))
	wantErr(t, err, validator.ErrMalformed)
	if !w.gives(t, 0, o) {
		t.Error("a forged order erased it")
	}
}

// A device that its owner has removed signs an order; validators that know of the
// removal refuse it, though the old document beside it lists the device.
func TestARemovedDeviceDoesNotErase(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	order := w.Erasure(t, w.alice, o.KeyNonce) // signed, not sent
	removal, err := w.alice.RemoveSelf(w.alice.Device, w.Clock.Now())
	if err != nil {
		t.Skip("an identity keeps its last device:", err)
	}
	changed, err := w.alice.With(removal)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range w.Validators {
		if _, err := v.Log.Append(revocation.Entry{Statement: removal.Bytes(), Identity: changed.Record()}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.Erase(t, 0, order)
	wantErr(t, err, validator.ErrDenied)
	if n := w.slots(0); n != 1 {
		t.Errorf("%d secrets are left, want 1", n)
	}
}

// A validator that was down learns of the order from the others' logs, and only
// once more than one of them has it.
func TestAValidatorThatWasDownErasesWhenItIsBack(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	e := w.Erasure(t, w.alice, o.KeyNonce)
	back := w.Validators[3]
	w.erase(t, e, 0)
	if err := back.Tracker.Ask(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := back.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !w.gives(t, 3, o) || w.slots(3) != 1 {
		t.Error("one validator's word destroyed a share of another")
	}
	w.erase(t, e, 1)
	if err := back.Tracker.Ask(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if w.gives(t, 3, o) {
		t.Error("a share is released though the order is known")
	}
	if err := back.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.slots(3); n != 0 {
		t.Errorf("%d secrets are left", n)
	}
	w.erase(t, e, 3) // and it signs for that
}

// tearing is a store that fails at its nth write, as a process that is killed
// there leaves it.
type tearing struct {
	kv.Store
	after int
}

var errTorn = errors.New("killed")

func (s *tearing) Apply(ops []kv.Op) error {
	if s.after--; s.after < 0 {
		return errTorn
	}
	return s.Store.Apply(ops)
}

// killedShares fails to destroy.
type killedShares struct{ validator.ShareStore }

func (killedShares) Erase(...keystore.Sealed) error { return errTorn }

// A crash at any point after the order is in the log: no receipt was signed, and
// the sweep of the next start destroys what is left.
func TestACrashBetweenTheBarAndTheDestruction(t *testing.T) {
	for name, crash := range map[string]func(*validator.Judge){
		"before the record goes":    func(j *validator.Judge) { j.Store = &tearing{j.Store, 0} },
		"before the slot goes":      func(j *validator.Judge) { j.Shares = killedShares{j.Shares} },
		"before that is noted down": func(j *validator.Judge) { j.Store = &tearing{j.Store, 1} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, vt.Options{})
			o := w.Object(t, w.alice)
			w.DepositAll(t, w.alice, o)
			v := w.Validators[0]
			store, shares := v.Judge.Store, v.Judge.Shares
			crash(v.Judge)
			if _, err := w.Erase(t, 0, w.Erasure(t, w.alice, o.KeyNonce)); !errors.Is(err, validator.ErrUnavailable) {
				t.Fatalf("a receipt, or %v", err)
			}
			v.Judge.Store, v.Judge.Shares = store, shares
			if w.gives(t, 0, o) {
				t.Error("a share is released after the bar")
			}
			used, err := v.Slots()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Erase.Reclaim(func(s uint64) bool { return used[s] }); err != nil {
				t.Fatal(err)
			}
			if err := v.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := w.slots(0); n != 0 {
				t.Errorf("%d secrets are left", n)
			}
			if len(kept(t, v)) != 0 {
				t.Error("the deposit's record is left")
			}
		})
	}
}

// The slot of a destroyed share is given to another object before the sweep runs
// again: that one must live.
func TestASweepDoesNotDestroyWhoeverTookTheSlot(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, next := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	v := w.Validators[0]
	store := v.Judge.Store
	v.Judge.Store = &tearing{store, 1} // destroyed, and not noted down
	if _, err := w.Erase(t, 0, w.Erasure(t, w.alice, o.KeyNonce)); err == nil {
		t.Fatal("a receipt for what is not noted down")
	}
	v.Judge.Store = store
	w.DepositAll(t, w.alice, next)
	if err := v.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !w.gives(t, 0, next) {
		t.Error("the sweep destroyed another object's share")
	}
}

// The share is nowhere in the validator's files once the receipt is there. The
// control: with the slot file and the record of before it opens.
func TestNoFileOfTheValidatorHoldsTheShare(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	d := w.Deal(t, w.alice, 0, []*vt.Object{o})
	w.DepositDealt(t, d)
	v := w.Validators[0]
	share := d.Box(0).Shares[0]
	slots := readAll(t, v.Dir)
	records := kept(t, v)
	w.erase(t, w.Erasure(t, w.alice, o.KeyNonce), 0)
	now := readAll(t, v.Dir)
	for name, raw := range now {
		if bytes.Contains(raw, share) || bytes.Contains(raw, share[:32]) {
			t.Errorf("%s holds the share", name)
		}
	}
	at := filepath.Join(v.Dir, "slots")
	if bytes.Equal(slots[at], now[at]) {
		t.Fatal("the slot file did not change")
	}
	if len(records) != 1 || len(kept(t, v)) != 0 {
		t.Errorf("%d records before, %d after", len(records), len(kept(t, v)))
	}
	sealed := sealedIn(t, records[0])
	if _, err := v.Erase.Open(sealed, aadOf(t, d, o)); !errors.Is(err, keystore.ErrErased) {
		t.Errorf("the share that was kept by somebody opens: %v", err)
	}
	// The attack that a backup of the slot file would be.
	if err := v.Erase.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, slots[at], 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := keystore.OpenErasable(at, v.Master)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if got, err := old.Open(sealed, aadOf(t, d, o)); err != nil || !bytes.Equal(got, share) {
		t.Errorf("the control does not open: %v", err)
	}
}

func readAll(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	if err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = os.ReadFile(name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// sealedIn finds the sealed share in a stored deposit.
func sealedIn(t *testing.T, record []byte) keystore.Sealed {
	t.Helper()
	var d struct {
		_                          struct{} `cbor:",toarray"`
		Address, Manifest, Dealing []byte
		Shares                     []struct {
			_             struct{} `cbor:",toarray"`
			Epoch, Record statement.ID
			Share         keystore.Sealed
			Scale         []byte
			Points        [][]byte
			Made, Dealt   []byte
		}
		Holders []string
	}
	if err := statement.Unmarshal(record, &d); err != nil {
		t.Fatal(err)
	}
	return d.Shares[0].Share
}

func aadOf(t *testing.T, d *vt.Dealt, o *vt.Object) []byte {
	t.Helper()
	_, id, err := validator.VerifyDealing(d.Items[0].Dealing, d.Owner.Identity)
	if err != nil {
		t.Fatal(err)
	}
	key := o.KeyID()
	return slices.Concat(key[:], id[:])
}

// Releases run while the erasure does: none that begins after the receipt is
// answered, and none is answered twice over after it.
func TestNoReleaseAfterTheReceipt(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	e := w.Erasure(t, w.alice, o.KeyNonce)
	var receipted atomic.Bool
	var before, late atomic.Int64
	var wg sync.WaitGroup
	begun := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			for range 20 {
				after := receipted.Load()
				_, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
				if err == nil && after {
					late.Add(1)
				}
				if err == nil {
					before.Add(1)
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	<-begun
	w.erase(t, e, 0)
	receipted.Store(true)
	wg.Wait()
	if late.Load() > 0 {
		t.Errorf("%d releases began after the receipt", late.Load())
	}
	if before.Load() == 0 {
		t.Error("the control: nothing was released before")
	}
}

// An erasure in the middle of a rotation: the plan goes on, and no validator has
// a share of the key in any epoch when both are done.
func TestAnErasureWhileARotationIsUnderWay(t *testing.T) {
	for _, pages := range []int{0, 1, 2} {
		r := newRotating(t, vt.Options{}, 3)
		r.Succeed(t, nil)
		for range pages {
			r.pass(t)
		}
		gone := r.objects[0]
		e := r.Erasure(t, r.alice, gone.KeyNonce)
		for i := range r.Validators {
			reply, err := r.Erase(t, i, e)
			if err != nil || len(reply.Receipts) != 1 {
				t.Fatalf("after %d passes: %v", pages, err)
			}
		}
		rest, chains := r.objects[1:], r.chains[1:]
		if err := r.Read(t, r.bob, r.chains[0], gone); err == nil {
			t.Error("it can still be read")
		}
		r.objects, r.chains = rest, chains
		r.finish(t)
		r.only(t)
	}
}

// A receiver has not heard of the order yet when the dealers have: it stores what
// it was sent, and destroys that when it hears.
func TestAReSharedShareOfAnErasedKeyDoesNotLive(t *testing.T) {
	r := newRotating(t, vt.Options{}, 1)
	e := r.Erasure(t, r.alice, r.objects[0].KeyNonce)
	r.Succeed(t, nil)
	for range 3 { // some hold both epochs now
		r.pass(t)
	}
	if _, err := r.Validators[0].Log.Append(e); err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Validators {
		if _, err := v.Log.Append(e); err != nil {
			t.Fatal(err)
		}
		if err := v.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.objects, r.chains = nil, nil
	r.finish(t)
	r.only(t)
}

func FuzzErase(f *testing.F) {
	fuzzEntry[validator.EraseRequest](f, func(w *world) []any {
		o := w.Object(f, w.alice)
		good := w.Erasure(f, w.alice, o.KeyNonce, envelope.NewNonce())
		return []any{
			validator.EraseRequest{Entry: good}, validator.EraseRequest{},
			validator.EraseRequest{Entry: revocation.Entry{Statement: good.Statement, Identity: w.mallory.Record()}},
		}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Judge.Erase(t.Context(), validator.Conn{}, raw)
		return err
	})
}
