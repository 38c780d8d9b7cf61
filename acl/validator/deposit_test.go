package validator_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

// world is a network with an owner, a reader and somebody else.
type world struct {
	*vt.Network
	alice, bob, mallory *vt.Person
}

func newWorld(t testing.TB, o vt.Options) *world {
	t.Helper()
	return &world{vt.New(t, o), vt.NewPerson(t, "alice", identity.User), vt.NewPerson(t, "bob", identity.User), vt.NewPerson(t, "mallory", identity.User)}
}

// wantOutcomes compares the outcomes of a deposit.
func wantOutcomes(t *testing.T, got []uint8, err error, want ...uint8) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}

// wantErr checks an answer that must be an error of one kind and of no other.
func wantErr(t *testing.T, got error, want error) {
	t.Helper()
	for _, e := range []error{nil, validator.ErrMalformed, validator.ErrDenied, validator.ErrUnavailable, validator.ErrNotWaiting} {
		if errors.Is(got, e) != (e == want) {
			t.Errorf("error %v, want %v", got, want)
			return
		}
	}
}

// released is the outcome of one object at validator 0, and whether its share is right.
func (w *world) released(t *testing.T, o *vt.Object, commitments committee.Commitments) {
	t.Helper()
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	r, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	if err != nil {
		t.Fatal(err)
	}
	if err := committee.Check(0, shareOf(r.Items[0]), commitments); err != nil {
		t.Error(err)
	}
}

func shareOf(it validator.ReleaseItem) committee.Share {
	return committee.Share{Value: [32]byte(it.Shares[0].Share[:32]), Blinding: [32]byte(it.Shares[0].Share[32:])}
}

func (w *world) slots(i int) int {
	used, _ := w.Validators[i].Erase.Len()
	return used
}

func TestADepositIsReleasedAndLogged(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	d := w.Deal(t, w.alice, 0, []*vt.Object{o})
	got, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantOutcomes(t, got, err, validator.ItemOK)
	w.released(t, o, commitmentsOf(t, d, 0))
	events := logOf(t, w.Validators[0])
	if !slices.Contains(events, "deposit ok") || !slices.Contains(events, "release ok") {
		t.Errorf("the audit log has %v", events)
	}
}

func commitmentsOf(t *testing.T, d *vt.Dealt, i int) committee.Commitments {
	t.Helper()
	body, _, err := validator.VerifyDealing(d.Items[i].Dealing, d.Owner.Identity)
	if err != nil {
		t.Fatal(err)
	}
	return body.Commitments
}

// logOf are the actions and outcomes in a validator's audit log.
func logOf(t *testing.T, v *vt.Validator) (out []string) {
	t.Helper()
	for _, e := range v.Events(t) {
		out = append(out, string(e.Action)+" "+e.Outcome.String())
	}
	return out
}

// failing is a disk whose writes fail while broken is set.
type failing struct {
	kv.Store
	broken bool
}

func (f *failing) Apply(ops []kv.Op) error {
	if f.broken {
		return errors.New("no space left on device")
	}
	return f.Store.Apply(ops)
}

func TestADepositThatIsNotDurableIsNotAcknowledged(t *testing.T) {
	for name, breakIt := range map[string]func(v *vt.Validator){
		"store":    func(v *vt.Validator) { v.Judge.Store = &failing{v.Memory, true} },
		"erasable": func(v *vt.Validator) { v.Erase.Close() },
		"audit":    func(v *vt.Validator) { v.Audit.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, vt.Options{})
			d := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice)})
			breakIt(w.Validators[0])
			_, err := w.Deposit(t, 0, w.Request(t, d, 0))
			wantErr(t, err, validator.ErrUnavailable)
			if err := w.Validators[0].Memory.Scan([]byte("deposit/"), nil, func(_, _ []byte) (bool, error) {
				return false, errors.New("a record of it is stored")
			}); err != nil {
				t.Error(err)
			}
			got, err := w.Deposit(t, 1, w.Request(t, d, 1)) // control: another validator's disk works
			wantOutcomes(t, got, err, validator.ItemOK)
		})
	}
}

func TestADepositThatCannotBeLoggedLeavesNoShareBehind(t *testing.T) {
	w := newWorld(t, vt.Options{})
	d := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice), w.Object(t, w.alice)})
	v := w.Validators[0]
	v.Judge.Audit = full{}
	_, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantErr(t, err, validator.ErrUnavailable)
	if used := w.slots(0); used != 0 {
		t.Errorf("%d slots are used by a deposit that did not happen", used)
	}
	v.Judge.Audit = v.Audit // control
	got, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantOutcomes(t, got, err, validator.ItemOK, validator.ItemOK)
	if used := w.slots(0); used != 2 {
		t.Errorf("%d slots are used, want 2", used)
	}
}

func TestAnIdenticalRetryTakesNoNewSlot(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	d := w.Deal(t, w.alice, 0, []*vt.Object{o})
	for range 3 { // each time sealed anew: the same deposit, another box
		got, err := w.Deposit(t, 0, w.Request(t, d, 0))
		wantOutcomes(t, got, err, validator.ItemOK)
	}
	if used := w.slots(0); used != 1 {
		t.Errorf("%d slots are used, want 1", used)
	}
	other := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice)}) // control
	got, err := w.Deposit(t, 0, w.Request(t, other, 0))
	wantOutcomes(t, got, err, validator.ItemOK)
	if used := w.slots(0); used != 2 {
		t.Errorf("%d slots are used, want 2", used)
	}
}

// A dealing is known by the id of its statement: the signature of another
// device makes no other dealing of it.
func TestARetrySignedOnceMoreIsTheSameDealing(t *testing.T) {
	w := newWorld(t, vt.Options{})
	second := statement.GenerateKey()
	body := identity.Inception{
		Kind: identity.User, Devices: []statement.PublicKey{w.alice.Device.Public(), second.Public()},
		Recipients: w.alice.Recipients(), Recovery: statement.GenerateKey().Public().Digest(),
	}
	s, err := statement.Sign(identity.KindInception, body, w.alice.Device, second)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.New(s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	two := &vt.Person{Identity: id, Device: w.alice.Device, Peer: w.alice.Peer, Opener: w.alice.Opener}
	d := w.Deal(t, two, 0, []*vt.Object{w.Object(t, two)})
	got, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantOutcomes(t, got, err, validator.ItemOK)
	dealing, err := statement.Parse(d.Items[0].Dealing)
	if err != nil {
		t.Fatal(err)
	}
	var said validator.Dealing
	if err := dealing.Peek(validator.KindDealing, &said); err != nil {
		t.Fatal(err)
	}
	if dealing, err = identity.Sign(validator.KindDealing, said, second); err != nil {
		t.Fatal(err)
	}
	d.Items[0].Dealing = dealing.Bytes()
	got, err = w.Deposit(t, 0, w.Request(t, d, 0))
	wantOutcomes(t, got, err, validator.ItemOK)
	if used := w.slots(0); used != 1 {
		t.Errorf("%d slots are used, want 1", used)
	}
}

func TestAShareOffItsDealingIsRefused(t *testing.T) { // TH-06
	w := newWorld(t, vt.Options{})
	a, b := w.Object(t, w.alice), w.Object(t, w.alice)
	d := w.Deal(t, w.alice, 0, []*vt.Object{a, b})
	for name, spoil := range map[string]func(*committee.Share){
		"another value":    func(s *committee.Share) { s.Value[0] ^= 1 },
		"another blinding": func(s *committee.Share) { s.Blinding[0] ^= 1 },
		"another's share":  func(s *committee.Share) { *s = d.Shares[0][1] },
		"no scalar":        func(s *committee.Share) { copy(s.Value[:], bytes.Repeat([]byte{0xff}, 32)) },
		"nothing":          func(s *committee.Share) { *s = committee.Share{} },
	} {
		bad := &vt.Dealt{Owner: d.Owner, Items: d.Items, Shares: [][]committee.Share{slices.Clone(d.Shares[0]), d.Shares[1]}}
		spoil(&bad.Shares[0][0])
		t.Run(name, func(t *testing.T) {
			got, err := w.Deposit(t, 0, w.Request(t, bad, 0))
			wantOutcomes(t, got, err, validator.ItemRefused, validator.ItemOK) // one bad item spoils no batch
		})
	}
	for name, length := range map[string]int{"short": 63, "long": 65, "empty": 0} {
		t.Run(name, func(t *testing.T) {
			r := w.Request(t, d, 0)
			box := d.Box(0)
			box.Shares[0] = append(box.Shares[0], 0)[:length]
			r.Box = w.Seal(t, 0, box)
			got, err := w.Deposit(t, 0, r)
			wantOutcomes(t, got, err, validator.ItemRefused, validator.ItemOK)
		})
	}
	got, err := w.Deposit(t, 0, w.Request(t, d, 0)) // control
	wantOutcomes(t, got, err, validator.ItemOK, validator.ItemOK)
}

// A key id is made of the owner and a nonce: who takes another's nonce has
// another key id, and neither stands in the other's way.
func TestTwoOwnersNoncesDoNotCollide(t *testing.T) { // TH-07
	w := newWorld(t, vt.Options{})
	hers := w.Object(t, w.alice)
	his := w.Object(t, w.mallory, func(m *envelope.Manifest) { m.KeyNonce, m.Lineage = hers.KeyNonce, hers.Lineage })
	w.DepositAll(t, w.mallory, his)
	w.DepositAll(t, w.alice, hers)
	d := w.Deal(t, w.alice, 1, []*vt.Object{hers}) // and hers is still hers to replace
	got, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantOutcomes(t, got, err, validator.ItemOK)
	if hers.KeyID() == his.KeyID() {
		t.Error("both owners have one key id")
	}
}

func TestADepositOfAnothersObjectIsRefused(t *testing.T) { // TH-07
	w := newWorld(t, vt.Options{})
	hers := w.Object(t, w.alice)
	claims := w.Deal(t, w.mallory, 0, []*vt.Object{hers}) // Mallory deals it as his own
	got, err := w.Deposit(t, 0, w.Request(t, claims, 0))
	wantOutcomes(t, got, err, validator.ItemRefused)

	forged := w.Deal(t, w.mallory, 0, []*vt.Object{hers}, func(d *validator.Dealing) { d.Owner = w.alice.ID() })
	forged.Owner = w.alice // her record, his signature
	got, err = w.Deposit(t, 0, w.Request(t, forged, 0))
	wantOutcomes(t, got, err, validator.ItemRefused)

	got, err = w.Deposit(t, 0, w.Request(t, w.Deal(t, w.alice, 0, []*vt.Object{hers}), 0)) // control
	wantOutcomes(t, got, err, validator.ItemOK)
}

func TestOneKeyIDHasOneManifest(t *testing.T) {
	w := newWorld(t, vt.Options{})
	first := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, first)
	second := w.Object(t, w.alice, func(m *envelope.Manifest) { m.KeyNonce = first.KeyNonce })
	got, err := w.Deposit(t, 0, w.Request(t, w.Deal(t, w.alice, 9, []*vt.Object{second, w.Object(t, w.alice)}), 0))
	wantOutcomes(t, got, err, validator.ItemConflict, validator.ItemOK)

	both := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice)}) // twice in one batch
	both.Items, both.Shares = append(both.Items, both.Items[0]), append(both.Shares, both.Shares[0])
	got, err = w.Deposit(t, 0, w.Request(t, both, 0))
	wantOutcomes(t, got, err, validator.ItemOK, validator.ItemRefused)
}

func TestAHigherNumberReplacesALower(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	deal := func(number uint64) *vt.Dealt { return w.Deal(t, w.alice, number, []*vt.Object{o}) }
	five, also, six := deal(5), deal(5), deal(6)
	send := func(d *vt.Dealt) ([]uint8, error) { return w.Deposit(t, 0, w.Request(t, d, 0)) }

	got, err := send(five)
	wantOutcomes(t, got, err, validator.ItemOK)
	old := slotOf(t, w)
	for _, d := range []*vt.Dealt{deal(4), deal(0), also} { // lower, and another of the same number
		got, err = send(d)
		wantOutcomes(t, got, err, validator.ItemConflict)
	}
	w.released(t, o, commitmentsOf(t, five, 0))

	got, err = send(six)
	wantOutcomes(t, got, err, validator.ItemOK)
	w.released(t, o, commitmentsOf(t, six, 0))
	if _, err := w.Validators[0].Erase.Open(old, keyID(o)); !errors.Is(err, keystore.ErrErased) {
		t.Errorf("the share that was replaced opens: %v", err)
	}
	if used := w.slots(0); used != 1 {
		t.Errorf("%d slots are used, want 1", used)
	}
	got, err = send(five) // replayed
	wantOutcomes(t, got, err, validator.ItemConflict)
}

func TestADepositForOthersIsRefused(t *testing.T) {
	w := newWorld(t, vt.Options{})
	d := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice)})
	other := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice)})
	good := w.Request(t, d, 0)
	for name, spoil := range map[string]func(*validator.DepositRequest){
		"sealed to another validator": func(r *validator.DepositRequest) { r.Box = w.Request(t, d, 1).Box },
		"the box of another deposit":  func(r *validator.DepositRequest) { r.Box = w.Request(t, other, 0).Box },
		"items exchanged":             func(r *validator.DepositRequest) { r.Items = other.Items },
		"an item more":                func(r *validator.DepositRequest) { r.Items = append(slices.Clone(r.Items), other.Items...) },
		"a share less": func(r *validator.DepositRequest) {
			r.Box = w.Seal(t, 0, validator.Shares{Items: validator.DigestItems(d.Items)})
		},
		"a share more": func(r *validator.DepositRequest) {
			box := d.Box(0)
			box.Shares = append(box.Shares, box.Shares[0])
			r.Box = w.Seal(t, 0, box)
		},
		"no box":             func(r *validator.DepositRequest) { r.Box = nil },
		"no owner":           func(r *validator.DepositRequest) { r.Owner = nil },
		"no items":           func(r *validator.DepositRequest) { r.Items = nil },
		"too many holders":   func(r *validator.DepositRequest) { r.Holder = make([]string, 9) },
		"a holder too long":  func(r *validator.DepositRequest) { r.Holder = []string{strings.Repeat("x", 1<<20)} },
		"junk in the record": func(r *validator.DepositRequest) { r.Owner = []byte("alice") },
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			spoil(&r)
			_, err := w.Deposit(t, 0, r)
			wantErr(t, err, validator.ErrMalformed)
		})
	}
	if used := w.slots(0); used != 0 {
		t.Errorf("refused deposits use %d slots", used)
	}
	got, err := w.Deposit(t, 0, good) // control
	wantOutcomes(t, got, err, validator.ItemOK)
}

func TestADealingForOthersIsRefused(t *testing.T) {
	w := newWorld(t, vt.Options{})
	elsewhere := statement.Hash("another network")
	good := w.Object(t, w.alice)
	for name, spoil := range map[string]func(*validator.Dealing){
		"another network": func(d *validator.Dealing) { d.Network = elsewhere },
		"another record":  func(d *validator.Dealing) { d.Record = elsewhere },
		"another n":       func(d *validator.Dealing) { d.N++ },
		"another t":       func(d *validator.Dealing) { d.T--; d.Commitments = d.Commitments[:d.T] },
		"another key":     func(d *validator.Dealing) { d.KeyNonce[0] ^= 1 },
		"another manifest": func(d *validator.Dealing) {
			d.Manifest = w.Object(t, w.alice).Address.Bytes()
		},
		"no address":         func(d *validator.Dealing) { d.Manifest = []byte("here") },
		"commitments cut":    func(d *validator.Dealing) { d.Commitments = d.Commitments[1:] },
		"no commitments":     func(d *validator.Dealing) { d.Commitments = nil },
		"commitments broken": func(d *validator.Dealing) { d.Commitments[0] = make([]byte, 32) },
		"too many labels":    func(d *validator.Dealing) { d.Labels = make([]validator.Label, 33) },
	} {
		t.Run(name, func(t *testing.T) {
			d := w.Deal(t, w.alice, 0, []*vt.Object{good}, spoil)
			got, err := w.Deposit(t, 0, w.Request(t, d, 0))
			wantOutcomes(t, got, err, validator.ItemRefused)
		})
	}
	for name, change := range map[string]func(*envelope.Manifest){
		"a manifest of another network": func(m *envelope.Manifest) { m.Network = elsewhere },
	} {
		t.Run(name, func(t *testing.T) {
			d := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice, change)})
			got, err := w.Deposit(t, 0, w.Request(t, d, 0))
			wantOutcomes(t, got, err, validator.ItemRefused)
		})
	}
	got, err := w.Deposit(t, 0, w.Request(t, w.Deal(t, w.alice, 0, []*vt.Object{good}), 0)) // control
	wantOutcomes(t, got, err, validator.ItemOK)
}

func TestABatchHasAtMostAThousandObjects(t *testing.T) {
	w := newWorld(t, vt.Options{})
	d := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice)})
	for len(d.Items) < validator.MaxBatch+1 { // copies: only the first can count
		d.Items, d.Shares = append(d.Items, d.Items[0]), append(d.Shares, d.Shares[0])
	}
	_, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantErr(t, err, validator.ErrMalformed)
	d.Items, d.Shares = d.Items[1:], d.Shares[1:] // control
	for i := range d.Items[1:] {
		d.Items[i+1].Dealing = nil // cheap to refuse
	}
	got, err := w.Deposit(t, 0, w.Request(t, d, 0))
	if err != nil || got[0] != validator.ItemOK || len(got) != validator.MaxBatch {
		t.Errorf("a batch of %d: %v, %v", validator.MaxBatch, got[:1], err)
	}
}

func TestAnExpiredCommitteeTakesNoDeposits(t *testing.T) {
	w := newWorld(t, vt.Options{})
	d := w.Deal(t, w.alice, 0, []*vt.Object{w.Object(t, w.alice)})
	r := w.Request(t, d, 0)
	w.Clock.Advance(100 * 24 * vt.Hour)
	_, err := w.Deposit(t, 0, r)
	wantErr(t, err, validator.ErrUnavailable)
	w.Clock.Advance(-100 * 24 * vt.Hour) // control
	got, err := w.Deposit(t, 0, r)
	wantOutcomes(t, got, err, validator.ItemOK)
}

// Slots names what Reclaim must leave alone at the next start.
func TestReclaimLeavesDepositsAlone(t *testing.T) {
	w := newWorld(t, vt.Options{})
	objects := []*vt.Object{w.Object(t, w.alice), w.Object(t, w.alice)}
	w.DepositAll(t, w.alice, objects...)
	used, err := w.Validators[0].Slots()
	if err != nil || len(used) != 2 || !used[slotOf(t, w).Slot] {
		t.Errorf("slots %v, %v", used, err)
	}
}

// Whoever is first wins, and whatever the order every slot but one is free.
func TestConcurrentDepositsOfOneKey(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	requests := make([]validator.DepositRequest, 8)
	for i := range requests {
		requests[i] = w.Request(t, w.Deal(t, w.alice, uint64(i/2), []*vt.Object{o}), 0)
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
	if used := w.slots(0); used != 1 {
		t.Errorf("%d slots are used, want 1", used)
	}
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	r := vt.ReleaseOf(o)
	r.Dealings = true
	out, err := w.Release(t, 0, w.bob, chain, r)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := validator.VerifyDealing(out.Items[0].Signed, w.alice.Identity)
	if err != nil || d.Number != 3 {
		t.Fatalf("dealing %v stands, %v; want the highest", d, err)
	}
	if err := committee.Check(0, shareOf(out.Items[0]), d.Commitments); err != nil {
		t.Errorf("the share is another dealing's: %v", err)
	}
}

func keyID(o *vt.Object) []byte {
	id := o.KeyID()
	return id[:]
}

// slotOf is where validator 0 keeps the share of its first deposit. The layout
// is the store's own business; the test reads it to see that a share is gone.
func slotOf(t *testing.T, w *world) (s keystore.Sealed) {
	t.Helper()
	err := w.Validators[0].Memory.Scan([]byte("deposit/"), nil, func(_, value []byte) (bool, error) {
		var d storedDeposit
		err := statement.Unmarshal(value, &d)
		if err == nil {
			s = d.Shares[0].Share
		}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// storedDeposit is a deposit as the store has it.
type storedDeposit struct {
	_                          struct{} `cbor:",toarray"`
	Address, Manifest, Dealing []byte
	Shares                     []struct {
		_             struct{} `cbor:",toarray"`
		Epoch, Record statement.ID
		Share         keystore.Sealed
		Scale         []byte
		Points        committee.Commitments
		Made, Dealt   []byte
	}
	Holders []string
}

// full is a log whose queue has no room.
type full struct{}

func (full) Append(context.Context, ...event.Event) error { return audit.ErrFull }
func (full) Enter(context.Context, ...event.Event) (int64, []tlog.Hash, error) {
	return 0, nil, audit.ErrFull
}
func (full) Prove(context.Context, int64) ([]byte, error) { return nil, audit.ErrFull }
