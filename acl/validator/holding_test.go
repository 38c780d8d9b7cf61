package validator_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var holdingPrefix = []byte("holding/")

// holdings are the entries of a validator's index of shares by record, and those
// that its deposits call for.
func holdings(t testing.TB, v *vt.Validator) (got, want []string) {
	t.Helper()
	err := v.Memory.Scan(holdingPrefix, nil, func(key, _ []byte) (bool, error) {
		got = append(got, string(key[len(holdingPrefix):]))
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = v.Memory.Scan([]byte("deposit/"), nil, func(key, value []byte) (bool, error) {
		var d storedDeposit
		err := statement.Unmarshal(value, &d)
		for _, h := range d.Shares {
			want = append(want, string(h.Record[:])+string(key[len("deposit/"):]))
		}
		return true, err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	return got, slices.Compact(want)
}

func indexed(t testing.TB, v *vt.Validator) {
	t.Helper()
	if got, want := holdings(t, v); !slices.Equal(got, want) {
		t.Errorf("%d shares stand in the index, want %d", len(got), len(want))
	}
}

// unindexed takes the index of a validator away, as in a home of an earlier version.
func unindexed(t testing.TB, v *vt.Validator) {
	t.Helper()
	got, _ := holdings(t, v)
	var ops []kv.Op
	for _, key := range got {
		ops = append(ops, kv.Op{Key: append(bytes.Clone(holdingPrefix), key...), Delete: true})
	}
	if err := v.Memory.Apply(ops); err != nil {
		t.Fatal(err)
	}
}

// The index follows deposits that come, are dealt again, are re-shared and erased.
func TestTheIndexFollowsTheShares(t *testing.T) {
	r := newRotating(t, vt.Options{}, 3)
	check := func() {
		t.Helper()
		for _, v := range r.All {
			indexed(t, v)
		}
	}
	check()
	d := r.Deal(t, r.alice, 1, r.objects[:1]) // another dealing takes the place of the first
	for i := range r.All {
		if got, err := r.Deposit(t, i, r.Request(t, d, i)); err != nil || got[0] != validator.ItemOK {
			t.Fatal(got, err)
		}
	}
	check()
	r.Succeed(t, nil)
	r.pass(t, r.All[3])
	if got, _ := holdings(t, r.All[0]); len(got) != 6 {
		t.Errorf("in the middle of a rotation %d shares stand in the index", len(got))
	}
	check()
	r.finish(t)
	check()
}

// A home of an earlier version has no index: with the one that the start makes its
// shares are re-shared, and without it they would be forgotten.
func TestAHomeWithoutTheIndex(t *testing.T) {
	for _, mended := range []bool{true, false} {
		r := newRotating(t, vt.Options{}, 2)
		for _, v := range r.All {
			unindexed(t, v)
			if !mended {
				continue
			}
			for range 2 { // the second time there is nothing to do
				if err := v.Reindex(); err != nil {
					t.Fatal(err)
				}
			}
			indexed(t, v)
		}
		r.Succeed(t, nil)
		r.finish(t)
		if mended {
			r.only(t)
			continue
		}
		for _, h := range r.records(t, r.All[0]) {
			if h == r.Chain.Current().ID() {
				t.Error("control: they were re-shared all the same")
			}
		}
	}
}

// records are those that a validator's shares are of.
func (r *rotating) records(t testing.TB, v *vt.Validator) (out []statement.ID) {
	t.Helper()
	_, want := holdings(t, v)
	for _, key := range want {
		out = append(out, statement.ID([]byte(key[:len(statement.ID{})])))
	}
	return out
}

// An index that cannot be completed, or names what is not there.
func TestADamagedIndex(t *testing.T) {
	r := newRotating(t, vt.Options{}, 2)
	v := r.All[0]
	old := r.Chain.Current().ID()
	r.Succeed(t, nil)
	gone := slices.Concat(holdingPrefix, old[:], bytes.Repeat([]byte{7}, len(old)))
	if err := v.Memory.Apply([]kv.Op{{Key: gone, Value: []byte{1}}}); err != nil {
		t.Fatal(err)
	}
	r.finish(t)
	r.only(t)
	indexed(t, v)

	unindexed(t, v)
	v.Judge.Store = &failing{v.Memory, true}
	if err := v.Reindex(); err == nil {
		t.Error("nothing was written, and no error told")
	}
	v.Judge.Store = v.Memory
	if err := v.Memory.Apply([]kv.Op{{Key: append(bytes.Clone(holdingPrefix), 1), Value: []byte{1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.loops[v].Pass(t.Context()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a key that is no entry: %v", err)
	}
}

// One batch that the others do not get on with must not be asked for again and
// again, and must not stand in the way of the rest.
func TestABatchThatDoesNotGetOn(t *testing.T) {
	if testing.Short() {
		t.Skip("it deals hundreds of objects")
	}
	const objects, batch = 520, 512
	r := newRotating(t, vt.Options{}, 1)
	var more []*vt.Object
	for range objects - 1 {
		more = append(more, r.Object(t, r.alice))
	}
	r.DepositAll(t, r.alice, more[:300]...)
	r.DepositAll(t, r.alice, more[300:]...)
	r.objects = append(r.objects, more...)
	asked, pages := 0, 0
	forgetful := true
	r.Lie(func(_ statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
		if m == validator.RotatePage {
			if pages++; pages == 3 || pages == 4 { // the second of two dealers
				return nil
			}
		}
		var reply validator.HaveReply
		if m != validator.RotateHave || statement.Unmarshal(answer, &reply) != nil || len(reply.Epochs) == 0 {
			return answer
		}
		asked++
		if !forgetful || len(reply.Epochs) < batch {
			return answer
		}
		return encode(t, validator.HaveReply{Epochs: make([][]validator.HeldEpoch, len(reply.Epochs))})
	})
	r.Succeed(t, nil)
	// A pull that is interrupted goes on where it stopped.
	r.loops[r.All[0]] = r.Of(t, r.All[0])
	if _, err := r.loops[r.All[0]].Pass(t.Context()); err == nil || pages != 4 {
		t.Errorf("the second pages did not come, in %d pages: %v", pages, err)
	}
	if _, err := r.loops[r.All[0]].Pass(t.Context()); err != nil || pages != 6 {
		t.Errorf("after it was interrupted it has asked for %d pages: %v", pages, err)
	}
	for range 4 {
		r.pass(t)
	}
	for i, v := range r.All {
		asked = 0
		left, err := r.loops[v].Pass(t.Context())
		if err != nil || left != batch {
			t.Errorf("validator %d: %d deposits are left, want the %d of one batch: %v", i+1, left, batch, err)
		}
		if asked > 3 {
			t.Errorf("validator %d asked %d times about one batch of three others", i+1, asked)
		}
	}
	forgetful = false
	for range 4 {
		r.pass(t)
	}
	r.only(t)
}
