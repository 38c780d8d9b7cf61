package validator_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// inEveryEpoch gives a validator as many shares of each of its deposits as it may
// have, as plans leave them that did not get on.
func inEveryEpoch(t testing.TB, v *vt.Validator, owner *vt.Person) {
	t.Helper()
	var ops []kv.Op
	err := v.Memory.Scan([]byte("deposit/"), nil, func(key, value []byte) (bool, error) {
		key = bytes.Clone(key)
		id := key[len("deposit/"):]
		var d storedDeposit
		if err := statement.Unmarshal(value, &d); err != nil {
			return false, err
		}
		body, _, err := validator.VerifyDealing(d.Dealing, owner.Identity)
		if err != nil {
			return false, err
		}
		first := d.Shares[0]
		secret, err := v.Erase.Open(first.Share, slices.Concat(id, first.Epoch[:]))
		if err != nil {
			return false, err
		}
		fits := committee.Unscaled(body.Commitments)
		for i := byte(1); i < validator.MaxEpochs; i++ {
			h := first
			h.Epoch = statement.Hash("epoch of a plan", []byte{i})
			h.Scale, h.Points = fits.Scale[:], fits.Points
			sealed, err := v.Erase.SealMany([]keystore.Item{{AAD: slices.Concat(id, h.Epoch[:]), Secret: secret}})
			if err != nil {
				return false, err
			}
			h.Share = sealed[0]
			d.Shares = append(d.Shares, h)
		}
		ops = append(ops, kv.Op{Key: key, Value: encode(t, d)})
		return true, nil
	})
	if err == nil {
		err = v.Memory.Apply(ops)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A large committee in the middle of plans that failed: a receiver holds a page of
// every dealer, so a page has fewer deposits the more dealers there are.
func TestPagesOfALargeCommitteeAreBounded(t *testing.T) {
	const objects = 24
	net := vt.New(t, vt.Options{N: trust.MaxValidators})
	alice := vt.NewPerson(t, "alice", identity.User)
	var all []*vt.Object
	for range objects {
		all = append(all, net.Object(t, alice))
	}
	d := net.Deal(t, alice, 0, all)
	dealer, receiver := net.Validators[0], net.Validators[5]
	if got, err := net.Deposit(t, 0, net.Request(t, d, 0)); err != nil || slices.Contains(got, validator.ItemRefused) {
		t.Fatal(got, err)
	}
	inEveryEpoch(t, dealer, alice)
	r := net.Rotate()
	before := net.Chain.Current()
	after := r.Succeed(t, nil)
	plan := validator.Plan{Network: net.Network(), Record: after.ID(), From: before.ID()}
	for i := range before.Numbers.T {
		plan.Dealers = append(plan.Dealers, i)
	}
	s, err := statement.New(validator.KindPlan, plan)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range net.Validators {
		s.AddSignature(uint16(i), v.Signing)
	}
	limit := validator.PageSize(int(before.Numbers.T))
	items, deposits, pages, bytes := 0, map[statement.ID]bool{}, 0, 0
	var last []byte
	for more := true; more; pages++ {
		if pages > objects {
			t.Fatal("the pages do not get on")
		}
		raw, err := dealer.AnswerPage(t.Context(), validator.Conn{Client: receiver.Judge.Peer}, encode(t, validator.PageRequest{Plan: s.Bytes(), After: last}))
		if err != nil {
			t.Fatal(err)
		}
		var reply validator.PageReply
		if err := statement.Unmarshal(raw, &reply); err != nil {
			t.Fatal(err)
		}
		plain, err := receiver.Opener.Open(reply.Box, limit)
		if err != nil {
			t.Fatal(err)
		}
		var page validator.SubPage
		if err := statement.Unmarshal(plain, &page); err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			items++
			deposits[it.KeyID] = true
		}
		bytes += len(plain)
		more, last = page.More, page.Last
	}
	if items != objects*validator.MaxEpochs || len(deposits) != objects {
		t.Errorf("%d sub-shares of %d deposits were dealt", items, len(deposits))
	}
	if pages < 2 || bytes <= limit {
		t.Errorf("control: %d bytes in %d pages would have fitted into one of %d", bytes, pages, limit)
	}
}

// A page that is larger is not opened, and its dealer is left out.
func TestAPageThatIsTooLarge(t *testing.T) {
	r := newRotating(t, vt.Options{}, 1)
	liar := r.All[1]
	lies := 0
	r.Lie(func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
		if server != liar.Judge.Peer || m != validator.RotatePage {
			return answer
		}
		lies++
		box, err := keystore.SealTo([]string{r.Chain.Current().Validators[0].Recipient}, make([]byte, validator.PageSize(3)+1))
		if err != nil {
			t.Fatal(err)
		}
		return encode(t, validator.PageReply{Box: box})
	})
	r.Succeed(t, nil)
	r.loops[r.All[0]] = r.Of(t, r.All[0])
	if _, err := r.loops[r.All[0]].Pass(t.Context()); err == nil || !strings.Contains(err.Error(), keystore.ErrTooLarge.Error()) {
		t.Errorf("a page of more than %d bytes: %v", validator.PageSize(3), err)
	}
	if lies == 0 {
		t.Fatal("control: the liar was not asked")
	}
	r.finish(t)
}

func TestWhatAReceiverHoldsIsBounded(t *testing.T) {
	for n := 1; n <= trust.MaxValidators; n++ {
		dealers := int(trust.Default(n).T)
		if size := validator.PageSize(dealers); size > validator.MaxSubs || size*dealers > validator.MaxPull || size < 64<<10 {
			t.Errorf("%d dealers: pages of %d bytes", dealers, size)
		}
	}
}
