package validator_test

import (
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// put deposits an object alone at a validator and compares the outcome.
func (w *world) put(t *testing.T, i int, number uint64, o *vt.Object, want uint8) {
	t.Helper()
	got, err := w.Deposit(t, i, w.Request(t, w.Deal(t, o.Owner, number, []*vt.Object{o}), i))
	wantOutcomes(t, got, err, want)
}

// wantHead asks a validator, as the owner, for the newest version.
func (w *world) wantHead(t *testing.T, i int, asked, want *vt.Object) {
	t.Helper()
	r, err := w.Latest(t, i, asked.Owner, nil, vt.LatestOf(asked))
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Address) != want.Address.KeyString() || string(r.Manifest) != string(want.Block) {
		t.Errorf("the head of validator %d is another than version %d", i+1, want.Sequence)
	}
}

func TestVersionsFollowOneAnother(t *testing.T) {
	w := newWorld(t, vt.Options{})
	first := w.Object(t, w.alice)
	second := w.Version(t, first)
	third := w.Version(t, second)
	w.put(t, 0, 0, second, validator.ItemBehind) // nothing to follow
	w.put(t, 0, 0, first, validator.ItemOK)
	w.wantHead(t, 0, first, first)
	w.put(t, 0, 0, third, validator.ItemBehind)
	w.put(t, 0, 0, second, validator.ItemOK)
	w.put(t, 0, 0, third, validator.ItemOK)
	for _, asked := range []*vt.Object{first, second, third} {
		w.wantHead(t, 0, asked, third)
	}
	w.released(t, first, commitmentsOf(t, w.dealAgain(t, 0, first, 5), 0)) // an older one stays readable
	w.wantHead(t, 0, first, third)                                         // and its new dealing moved no head
}

// dealAgain deals an object that validators hold once more.
func (w *world) dealAgain(t *testing.T, i int, o *vt.Object, number uint64) *vt.Dealt {
	t.Helper()
	d := w.Deal(t, o.Owner, number, []*vt.Object{o})
	got, err := w.Deposit(t, i, w.Request(t, d, i))
	wantOutcomes(t, got, err, validator.ItemOK)
	return d
}

func TestOneVersionOfASequenceWins(t *testing.T) {
	w := newWorld(t, vt.Options{})
	first := w.Object(t, w.alice)
	w.put(t, 0, 0, first, validator.ItemOK)
	mine, other := w.Version(t, first), w.Version(t, first)
	w.put(t, 0, 0, mine, validator.ItemOK)
	for name, o := range map[string]*vt.Object{
		"a rival":                     other,
		"a rival of a higher dealing": w.Version(t, first),
		"the follower of a rival":     w.Version(t, other),
		"another first version":       w.Object(t, w.alice, func(m *envelope.Manifest) { m.Lineage = first.Lineage }),
	} {
		t.Run(name, func(t *testing.T) {
			w.put(t, 0, 1<<40, o, validator.ItemConflict)
			w.wantHead(t, 0, first, mine)
			if used := w.slots(0); used != 2 {
				t.Errorf("%d slots are used: a share of what was refused is kept", used)
			}
		})
	}
	w.put(t, 1, 0, first, validator.ItemOK) // control: where it comes first it is taken
	w.put(t, 1, 0, other, validator.ItemOK)
	w.wantHead(t, 1, first, other)
}

// In one batch a version may follow another, and what does not follow is left
// out alone.
func TestABatchMovesHeadsInItsOrder(t *testing.T) {
	w := newWorld(t, vt.Options{})
	first := w.Object(t, w.alice)
	second, rival := w.Version(t, first), w.Version(t, first)
	third, alone := w.Version(t, second), w.Object(t, w.alice)
	d := w.Deal(t, w.alice, 0, []*vt.Object{first, second, rival, third, alone})
	got, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantOutcomes(t, got, err, validator.ItemOK, validator.ItemOK, validator.ItemConflict, validator.ItemOK, validator.ItemOK)
	w.wantHead(t, 0, first, third)
	w.wantHead(t, 0, alone, alone)
	got, err = w.Deposit(t, 0, w.Request(t, d, 0)) // the same again
	wantOutcomes(t, got, err, validator.ItemOK, validator.ItemOK, validator.ItemConflict, validator.ItemOK, validator.ItemOK)

	wrong := w.Deal(t, w.alice, 0, []*vt.Object{third, second, first})
	got, err = w.Deposit(t, 1, w.Request(t, wrong, 1))
	wantOutcomes(t, got, err, validator.ItemBehind, validator.ItemBehind, validator.ItemOK)
}

// A lineage id is made of its owner and a nonce: somebody else's versions of the
// same nonce are of another lineage, whatever they say that they follow.
func TestNobodyElseMovesALineage(t *testing.T) { // TH-07
	w := newWorld(t, vt.Options{})
	hers := w.Object(t, w.alice)
	w.put(t, 0, 0, hers, validator.ItemOK)
	follow := func(m *envelope.Manifest) {
		m.Lineage, m.Sequence, m.Previous = hers.Lineage, 1, hers.Address.Bytes()
	}
	w.put(t, 0, 0, w.Object(t, w.mallory, follow), validator.ItemBehind)
	his := w.Object(t, w.mallory, func(m *envelope.Manifest) { m.Lineage = hers.Lineage })
	w.put(t, 0, 0, his, validator.ItemOK)
	next := w.Version(t, his)
	w.put(t, 0, 0, next, validator.ItemOK)
	w.wantHead(t, 0, hers, hers)
	w.wantHead(t, 0, his, next)

	forged := w.Object(t, w.mallory, follow, func(m *envelope.Manifest) { m.Owner, m.Author = w.alice.ID(), w.alice.ID() })
	d := w.Deal(t, w.mallory, 0, []*vt.Object{forged}, func(d *validator.Dealing) { d.Owner = w.alice.ID() })
	d.Owner = w.alice // her document, his signatures
	got, err := w.Deposit(t, 0, w.Request(t, d, 0))
	wantOutcomes(t, got, err, validator.ItemRefused)
	w.wantHead(t, 0, hers, hers)
	w.put(t, 0, 0, w.Version(t, hers), validator.ItemOK) // control: hers to move
}

// A head is durable with its deposit: neither without the other.
func TestAHeadIsDurableWithItsDeposit(t *testing.T) {
	w := newWorld(t, vt.Options{})
	first := w.Object(t, w.alice)
	w.put(t, 0, 0, first, validator.ItemOK)
	second, other := w.Version(t, first), w.Version(t, first)
	v := w.Validators[0]
	v.Judge.Store = &failing{v.Memory, true}
	_, err := w.Deposit(t, 0, w.Request(t, w.Deal(t, w.alice, 0, []*vt.Object{second}), 0))
	wantErr(t, err, validator.ErrUnavailable)
	v.Judge.Store = v.Memory // as after a restart: what was not written did not happen
	w.wantHead(t, 0, first, first)
	w.put(t, 0, 0, other, validator.ItemOK)
	w.wantHead(t, 0, first, other)
	w.released(t, other, commitmentsOf(t, w.dealAgain(t, 0, other, 1), 0))
}

func TestConcurrentVersionsOfOneLineage(t *testing.T) {
	w := newWorld(t, vt.Options{})
	first := w.Object(t, w.alice)
	w.put(t, 0, 0, first, validator.ItemOK)
	const writers = 8
	var requests []validator.DepositRequest
	for range writers {
		requests = append(requests, w.Request(t, w.Deal(t, w.alice, 0, []*vt.Object{w.Version(t, first)}), 0))
	}
	outcomes := make([]uint8, writers)
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() {
			got, err := w.Deposit(t, 0, r)
			if err != nil || len(got) != 1 {
				t.Error(got, err)
				return
			}
			outcomes[i] = got[0]
		})
	}
	wg.Wait()
	won := 0
	for _, o := range outcomes {
		switch o {
		case validator.ItemOK:
			won++
		case validator.ItemConflict:
		default:
			t.Errorf("outcome %d", o)
		}
	}
	if won != 1 {
		t.Errorf("%d versions of one sequence were taken", won)
	}
}
