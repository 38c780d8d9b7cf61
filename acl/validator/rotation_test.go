package validator_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// rotating is a network with objects, a reader, and everybody's rotation.
type rotating struct {
	*vt.Rotating
	alice, bob *vt.Person
	objects    []*vt.Object
	chains     []*capability.Chain
	loops      map[*vt.Validator]*validator.Rotation
}

func newRotating(t testing.TB, o vt.Options, objects int) *rotating {
	t.Helper()
	net := vt.New(t, o)
	r := &rotating{
		Rotating: net.Rotate(), loops: map[*vt.Validator]*validator.Rotation{},
		alice: vt.NewPerson(t, "alice", identity.User), bob: vt.NewPerson(t, "bob", identity.User),
	}
	for range objects {
		o := net.Object(t, r.alice)
		r.objects = append(r.objects, o)
		c := net.Grant(t, r.alice, r.bob, vt.VersionOf(o))
		r.chains = append(r.chains, c)
		for _, v := range net.Validators {
			if err := v.Deliver(t.Context(), encode(t, validator.Delivery{Chain: c.Bytes()})); err != nil {
				t.Fatal(err)
			}
		}
	}
	net.DepositAll(t, r.alice, r.objects...)
	return r
}

// pass lets every validator that is up do what it can, and counts what is left.
func (r *rotating) pass(t testing.TB, skip ...*vt.Validator) (left int) {
	t.Helper()
	for _, v := range r.All {
		if len(skip) > 0 && v == skip[0] {
			continue
		}
		if r.loops[v] == nil {
			r.loops[v] = r.Of(t, v)
		}
		n, err := r.loops[v].Pass(t.Context())
		if err != nil {
			t.Log("pass:", err)
		}
		left += n
	}
	return left
}

// finish rotates until nothing is left, reading all the way through.
func (r *rotating) finish(t testing.TB, skip ...*vt.Validator) {
	t.Helper()
	for range 40 {
		left := r.pass(t, skip...)
		r.readAll(t)
		if left == 0 {
			return
		}
	}
	t.Fatal("the rotation does not end")
}

func (r *rotating) readAll(t testing.TB) {
	t.Helper()
	for i, o := range r.objects {
		if err := r.Read(t, r.bob, r.chains[i], o); err != nil {
			t.Fatalf("object %d cannot be read: %v", i, err)
		}
	}
}

// only says that every share anywhere is of the newest record.
func (r *rotating) only(t testing.TB) {
	t.Helper()
	for i, v := range r.All {
		slots, err := v.Slots()
		if err != nil {
			t.Fatal(err)
		}
		used, _ := v.Erase.Len()
		if used != len(slots) {
			t.Errorf("validator %d uses %d slots, its deposits name %d", i+1, used, len(slots))
		}
		want := len(r.objects)
		if _, in := r.Chain.Current().ByPeer(v.Judge.Peer); !in {
			want = 0
		}
		if len(slots) != want {
			t.Errorf("validator %d holds %d shares, want %d", i+1, len(slots), want)
		}
	}
}

func TestARenewalReSharesEverything(t *testing.T) {
	r := newRotating(t, vt.Options{}, 5)
	before := r.Chain.Current()
	r.Succeed(t, nil)
	r.readAll(t)
	r.finish(t)
	r.only(t)
	// Shares of both epochs together open nothing: the new ones are fresh.
	if before.ID() == r.Chain.Current().ID() {
		t.Fatal("nothing was renewed")
	}
	r.Succeed(t, nil) // and once more, from shares that were re-shared
	r.finish(t)
	r.only(t)
}

func TestAValidatorIsReplaced(t *testing.T) {
	r := newRotating(t, vt.Options{}, 3)
	joined, entry := r.Join(t, "newcomer")
	left := r.All[1]
	r.Succeed(t, func(rec *trust.Record) { rec.Validators[1] = entry })
	r.finish(t)
	r.only(t)
	if used, _ := left.Erase.Len(); used != 0 {
		t.Errorf("who left keeps %d secrets", used)
	}
	if used, _ := joined.Erase.Len(); used != len(r.objects) {
		t.Errorf("the newcomer holds %d shares", used)
	}
	// What it inherits counts against the owner's quota, as it does where it was deposited.
	if got, want := usageOf(t, joined, r.alice), usageOf(t, r.All[0], r.alice); got != want || got.Objects != int64(len(r.objects)) {
		t.Errorf("the newcomer counts %+v, and another one %+v", got, want)
	}
	// It has the mailboxes of the others too.
	q := validator.MailboxRequest{}
	session := r.ConnectTo(r.bob, joined.Judge.Peer)
	q.Authority = r.ByIdentity(t, r.bob, session, q.Digest())
	raw, err := joined.Mailbox(t.Context(), session.Conn(), encode(t, q))
	var box validator.MailboxReply
	if err != nil || statement.Unmarshal(raw, &box) != nil || len(box.Deliveries) != len(r.chains) {
		t.Errorf("the newcomer's mailbox has %d of %d grants: %v", len(box.Deliveries), len(r.chains), err)
	}
	// The newcomer counts: with one of the others gone it still reads.
	r.Down(r.All[0], true)
	r.readAll(t)
}

func TestTheNumbersChange(t *testing.T) {
	r := newRotating(t, vt.Options{}, 2)
	var more []trust.Validator
	for _, name := range []string{"fifth", "sixth", "seventh"} {
		_, entry := r.Join(t, name)
		more = append(more, entry)
	}
	r.Succeed(t, func(rec *trust.Record) {
		rec.Validators = append(rec.Validators, more...)
		rec.Numbers = trust.Default(len(rec.Validators))
	})
	r.finish(t)
	r.only(t)
	r.Succeed(t, func(rec *trust.Record) {
		rec.Validators = rec.Validators[3:]
		rec.Numbers = trust.Default(len(rec.Validators))
	})
	r.finish(t)
	r.only(t)
}

// A dealer that died before the rotation is left out of the plan, and what it
// does not hold is no loss.
func TestARotationWithoutADeadValidator(t *testing.T) {
	r := newRotating(t, vt.Options{}, 3)
	_, entry := r.Join(t, "newcomer")
	r.Down(r.All[0], true)
	r.Succeed(t, func(rec *trust.Record) { rec.Validators[0] = entry })
	for range 8 {
		r.pass(t, r.All[0])
		r.readAll(t)
	}
	for i, v := range r.All[1:] {
		slots, err := v.Slots()
		if err != nil || len(slots) != len(r.objects) {
			t.Errorf("validator %d holds %d shares: %v", i+2, len(slots), err)
		}
	}
}

// A validator dies in the middle; the others go on with what they can, nothing
// becomes unreadable, and the rotation ends when it is back.
func TestAValidatorDiesInTheMiddle(t *testing.T) {
	r := newRotating(t, vt.Options{}, 3)
	r.Succeed(t, nil)
	dead := r.All[2]
	r.pass(t, dead)
	r.Down(dead, true)
	for range 6 {
		if left := r.pass(t, dead); left == 0 {
			t.Fatal("old shares were destroyed while T+F new ones do not exist") // n = T+F here
		}
		r.readAll(t)
	}
	r.Down(dead, false)
	r.finish(t)
	r.only(t)
}

// The control of the next test: whether a sub-share was changed on its way is
// for the commitments to say, not for the channel.
func TestALyingDealerIsNamedAndHarmless(t *testing.T) {
	r := newRotating(t, vt.Options{}, 3)
	liar := r.All[0]
	deals := 0
	r.Lie(func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
		if server != liar.Judge.Peer || m != validator.RotatePage && m != validator.RotateReveal {
			return answer
		}
		deals++
		return r.tamper(t, m, answer)
	})
	r.Succeed(t, nil)
	r.finish(t)
	if deals == 0 {
		t.Fatal("control: the liar was never asked")
	}
	named := false
	for _, v := range r.All[1:] {
		for _, why := range r.loops[v].Status().Liars {
			named = named || strings.Contains(why, "validator 1 ")
		}
	}
	if !named {
		t.Error("nobody names the liar")
	}
}

// A dealer shows two receivers another polynomial than the others. Every
// sub-share fits its commitments, and yet the shares would not belong together:
// they are not counted together, and the rotation ends without that dealer.
func TestADealerThatShowsTwoPolynomialsIsLeftOut(t *testing.T) {
	r := newRotating(t, vt.Options{}, 2)
	liar := r.All[0]
	lies := 0
	r.Lie(func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
		if server != liar.Judge.Peer || m != validator.RotatePage {
			return answer
		}
		return r.edit(t, answer, func(receiver int, page *validator.SubPage) {
			if receiver < 2 {
				return
			}
			for k := range page.Items {
				lies++
				r.dealElse(t, liar, 0, receiver, &page.Items[k])
			}
		})
	})
	r.Succeed(t, nil)
	r.finish(t)
	if lies == 0 {
		t.Fatal("control: nobody was lied to")
	}
	r.Lie(nil)
	r.Succeed(t, nil) // and what came out can be re-shared again
	r.finish(t)
	r.only(t)
}

// dealElse replaces a sub-share by one of another polynomial over the same share.
func (r *rotating) dealElse(t testing.TB, v *vt.Validator, dealer, receiver int, it *validator.SubItem) {
	t.Helper()
	raw, err := v.Memory.Get(append([]byte("deposit/"), it.KeyID[:]...))
	if err != nil {
		t.Fatal(err)
	}
	var d storedDeposit
	if err := statement.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	share, err := v.Erase.Open(d.Shares[0].Share, append(bytes.Clone(it.KeyID[:]), it.Epoch[:]...))
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := validator.VerifyDealing(d.Dealing, r.alice.Identity)
	if err != nil {
		t.Fatal(err)
	}
	old, err := committee.Unscaled(body.Commitments).Parse(3)
	if err != nil {
		t.Fatal(err)
	}
	own := committee.Share{Value: [32]byte(share[:32]), Blinding: [32]byte(share[32:])}
	subs, commitments, err := committee.SubDeal([32]byte{9}, it.KeyID[:], dealer, own, old, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	it.Commitments, it.Share = commitments, append(subs[receiver].Value[:], subs[receiver].Blinding[:]...)
}

// tamper changes sub-shares as a lying dealer would: it knows the receivers' keys
// no better than the test, so the page is opened and sealed again.
func (r *rotating) tamper(t testing.TB, m validator.RotateMethod, answer []byte) []byte {
	if m == validator.RotateReveal {
		var it validator.SubItem
		if err := statement.Unmarshal(answer, &it); err != nil {
			t.Fatal(err)
		}
		it.Share[3] ^= 1
		return encode(t, it)
	}
	return r.edit(t, answer, func(_ int, page *validator.SubPage) {
		for k := range page.Items {
			page.Items[k].Share[5] ^= 1
		}
	})
}

// edit opens a page, changes it and seals it again.
func (r *rotating) edit(t testing.TB, answer []byte, change func(receiver int, page *validator.SubPage)) []byte {
	var reply validator.PageReply
	if err := statement.Unmarshal(answer, &reply); err != nil {
		t.Fatal(err)
	}
	for i, v := range r.Chain.Current().Validators {
		for _, w := range r.All {
			if w.Judge.Peer != v.Peer {
				continue
			}
			plain, err := w.Opener.Open(reply.Box, validator.MaxSubs)
			if err != nil {
				continue
			}
			var page validator.SubPage
			if err := statement.Unmarshal(plain, &page); err != nil {
				t.Fatal(err)
			}
			change(i, &page)
			box, err := keystore.SealTo([]string{v.Recipient}, encode(t, page))
			if err != nil {
				t.Fatal(err)
			}
			return encode(t, validator.PageReply{Box: box})
		}
	}
	return answer
}

// A deposit that reached only three of four is re-shared by those three.
func TestADepositThatADealerLacks(t *testing.T) {
	r := newRotating(t, vt.Options{}, 2)
	late := r.Object(t, r.alice)
	d := r.Deal(t, r.alice, 0, []*vt.Object{late})
	for i := 1; i < 4; i++ { // not the first, which would be a dealer
		if got, err := r.Deposit(t, i, r.Request(t, d, i)); err != nil || got[0] != validator.ItemOK {
			t.Fatal(got, err)
		}
	}
	r.objects, r.chains = append(r.objects, late), append(r.chains, r.Grant(t, r.alice, r.bob, vt.VersionOf(late)))
	r.Succeed(t, nil)
	r.finish(t)
	r.only(t)
}

// After the rotation no file of a home holds an old share or a key that opens it.
func TestOldSharesAreGone(t *testing.T) {
	r := newRotating(t, vt.Options{}, 1)
	v := r.All[0]
	old := r.shareAt(t, v)
	if !r.opens(v, old) {
		t.Fatal("control: the share is not there")
	}
	r.Succeed(t, nil)
	r.finish(t)
	if r.opens(v, old) {
		t.Error("the old share can be opened still")
	}
	raw, err := os.ReadFile(filepath.Join(v.Dir, "slots"))
	if err != nil || bytes.Contains(raw, old.Ciphertext) {
		t.Error("the slot file holds the share", err)
	}
}

// shareAt is where a validator keeps its first share, and what that is tied to.
func (r *rotating) shareAt(t *testing.T, v *vt.Validator) (out stored) {
	t.Helper()
	err := v.Memory.Scan([]byte("deposit/"), nil, func(key, value []byte) (bool, error) {
		var d storedDeposit
		err := statement.Unmarshal(value, &d)
		if err == nil {
			out = stored{d.Shares[0].Share, append(bytes.Clone(key[len("deposit/"):]), d.Shares[0].Epoch[:]...)}
		}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type stored struct {
	keystore.Sealed
	aad []byte
}

func (r *rotating) opens(v *vt.Validator, s stored) bool {
	_, err := v.Erase.Open(s.Sealed, s.aad)
	return err == nil
}

// Who is no colleague learns nothing of a rotation.
func TestStrangersHaveNoPartInARotation(t *testing.T) {
	r := newRotating(t, vt.Options{}, 1)
	r.Succeed(t, nil)
	stranger := validator.Conn{Client: r.bob.Peer}
	keys := []statement.ID{r.objects[0].KeyID()}
	record := r.Chain.Current().ID()
	for m, request := range map[validator.RotateMethod]any{
		validator.RotatePlan:   validator.PlanRequest{},
		validator.RotateHave:   validator.HaveRequest{Record: record, Keys: keys},
		validator.RotateBodies: validator.BodiesRequest{Keys: keys},
		validator.RotateChains: validator.ChainsRequest{},
		validator.RotatePage:   validator.PageRequest{},
		validator.RotateReveal: validator.RevealRequest{},
	} {
		if out, err := r.All[0].AnswerRotate(t.Context(), stranger, m, encode(t, request)); err == nil {
			t.Errorf("%s: a stranger is answered with %d bytes", m, len(out))
		}
		if m == validator.RotatePage || m == validator.RotateReveal {
			continue
		}
		colleague := validator.Conn{Client: r.All[1].Judge.Peer}
		if _, err := r.All[0].AnswerRotate(t.Context(), colleague, m, encode(t, request)); err != nil {
			t.Errorf("control: %s: a colleague is refused: %v", m, err)
		}
	}
}

// depositAt deposits an object with a validator that took a seat in the newest record.
func (r *rotating) depositAt(t *testing.T, v *vt.Validator, seat int, o *vt.Object) {
	t.Helper()
	d := r.Deal(t, r.alice, 0, []*vt.Object{o}, func(b *validator.Dealing) { b.Record = r.Chain.Current().ID() })
	q := r.Request(t, d, seat)
	var err error
	if q.Box, err = keystore.SealTo([]string{r.Chain.Current().Validators[seat].Recipient}, encode(t, d.Box(seat))); err != nil {
		t.Fatal(err)
	}
	raw, err := v.Deposit(t.Context(), validator.Conn{}, encode(t, q))
	var reply validator.DepositReply
	if err != nil || statement.Unmarshal(raw, &reply) != nil {
		t.Fatal(err)
	}
	wantOutcomes(t, reply.Outcomes, nil, validator.ItemOK)
}

// TestANewcomerDeniesNothingThatMayBeOnItsWay: while the shares of the committee before
// come to a validator that is new, it does not know what it will have. It says so, in the
// place of a denial, which a reader would count, for an hour at most. The controls: when
// all is there, what never existed is denied; and nothing is on its way from a committee
// that was recovered from.
func TestANewcomerDeniesNothingThatMayBeOnItsWay(t *testing.T) {
	for name, recovered := range map[string]bool{"after a succession": false, "after a recovery": true} {
		t.Run(name, func(t *testing.T) {
			r := newRotating(t, vt.Options{}, 2)
			never := r.Object(t, r.alice)
			r.objects, r.chains = append(r.objects, never), append(r.chains, r.Grant(t, r.alice, r.bob, vt.VersionOf(never)))
			joined, entry := r.Join(t, "newcomer")
			release := func(i int, objects ...*vt.Object) error {
				s, q := r.ConnectTo(r.bob, joined.Judge.Peer), vt.ReleaseOf(objects...)
				q.Authority = r.ByChain(t, r.bob, r.chains[i], s, q.Digest())
				_, err := joined.Release(t.Context(), s.Conn(), encode(t, q))
				return err
			}
			latest := func(i int, o *vt.Object) error {
				s, q := r.ConnectTo(r.bob, joined.Judge.Peer), vt.LatestOf(o)
				q.Authority = r.ByChain(t, r.bob, r.chains[i], s, q.Digest())
				_, err := joined.Latest(t.Context(), s.Conn(), encode(t, q))
				return err
			}
			carriers := func(i int, o *vt.Object) error {
				s, q := r.ConnectTo(r.bob, joined.Judge.Peer), validator.CarryRequest{Address: o.Address.Bytes()}
				q.Authority = r.ByChain(t, r.bob, r.chains[i], s, q.Digest())
				_, err := joined.Carry(t.Context(), s.Conn(), encode(t, q))
				return err
			}
			r.Succeed(t, func(rec *trust.Record) {
				rec.Validators[1] = entry
				if recovered {
					rec.RootEpoch++
				}
			})
			want := validator.ErrUnavailable
			if recovered {
				want = validator.ErrDenied
			}
			for i, o := range r.objects {
				wantErr(t, release(i, o), want)
				wantErr(t, latest(i, o), want)
				wantErr(t, carriers(i, o), want)
			}
			if recovered {
				return
			}
			began := joined.Judge.Now
			joined.Judge.Now = func() time.Time { return began().Add(time.Hour) }
			wantErr(t, latest(2, never), validator.ErrDenied)
			joined.Judge.Now = began
			wantErr(t, release(0, r.objects[0], never), want)
			if got := joined.Events(t); !slices.ContainsFunc(got, func(e vt.Logged) bool { return e.Action == event.Release && e.Rule == "no-deposit" }) {
				t.Errorf("its log says %+v", got)
			}
			// What is here already is given to whoever may have it; who may not have it learns
			// nothing from the answer.
			here := r.Object(t, r.alice)
			r.depositAt(t, joined, 1, here)
			r.objects, r.chains = append(r.objects, here), append(r.chains, r.Grant(t, r.alice, r.bob, vt.VersionOf(here)))
			if err := errors.Join(release(3, here), latest(3, here), carriers(3, here)); err != nil {
				t.Errorf("what is here: %v", err)
			}
			for _, pair := range [][2]error{
				{release(0, never), release(0, here)}, {latest(0, never), latest(0, here)}, {carriers(0, never), carriers(0, here)},
			} {
				wantErr(t, pair[1], want)
				if absent, forbidden := pair[0].Error(), pair[1].Error(); absent != forbidden {
					t.Errorf("absent: %s; forbidden: %s", absent, forbidden)
				}
			}
			for r.pass(t) > 0 {
			}
			if err := errors.Join(release(0, r.objects[0]), latest(1, r.objects[1]), carriers(1, r.objects[1])); err != nil {
				t.Errorf("when all is there: %v", err)
			}
			for i, o := range map[int]*vt.Object{2: never, 0: here} {
				for _, err := range []error{release(i, o), latest(i, o), carriers(i, o), release(i, never)} {
					wantErr(t, err, validator.ErrDenied)
				}
			}
		})
	}
}

// So it is with a standing consent, and with its end, for what is not there yet.
func TestANewcomerDeniesNoConsentForWhatMayBeOnItsWay(t *testing.T) {
	r := newRotating(t, vt.Options{}, 1)
	joined, entry := r.Join(t, "newcomer")
	r.Succeed(t, func(rec *trust.Record) { rec.Validators[1] = entry })
	w := &world{r.Network, r.alice, r.bob, r.bob}
	k, id := w.stands(t, vt.VersionOf(r.objects[0]))
	give := func() error {
		_, err := joined.Consent(t.Context(), encode(t, validator.ConsentRequest{Consent: k}))
		return err
	}
	end := func() error {
		_, err := joined.Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: r.Revocation(t, r.alice, id), Consent: &k}))
		return err
	}
	for name, ask := range map[string]func() error{"given": give, "ended": end} {
		if err := ask(); !errors.Is(err, validator.ErrUnavailable) || errors.Is(err, validator.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged := k // what is wrong with the consent itself is said at once
	forged.Owner = r.bob.Record()
	_, err := joined.Consent(t.Context(), encode(t, validator.ConsentRequest{Consent: forged}))
	wantErr(t, err, validator.ErrMalformed)
	began := joined.Judge.Now
	joined.Judge.Now = func() time.Time { return began().Add(time.Hour) }
	wantErr(t, give(), validator.ErrDenied)
	wantErr(t, end(), validator.ErrDenied)
	joined.Judge.Now = began
	for r.pass(t) > 0 {
	}
	wantErr(t, give(), nil)
	if err := end(); !errors.Is(err, revocation.ErrStarting) { // allowed; the log of this one never started
		t.Errorf("ended when all is there: %v", err)
	}
}

// A rotation of many deposits, four validators in one process on all processors,
// erasable stores on disk: ns/op is for the whole rotation.
func BenchmarkRotation(b *testing.B) {
	for _, objects := range []int{1000, 4000} {
		b.Run(fmt.Sprint(objects, " deposits"), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := newRotating(b, vt.Options{}, 1)
				for k := 0; k < objects; k += 500 {
					var batch []*vt.Object
					for range 500 {
						batch = append(batch, r.Object(b, r.alice))
					}
					r.DepositAll(b, r.alice, batch...)
				}
				r.Succeed(b, nil)
				b.StartTimer()
				for {
					var left atomic.Int64
					var wg sync.WaitGroup
					for _, v := range r.All {
						if r.loops[v] == nil {
							r.loops[v] = r.Of(b, v)
						}
						loop := r.loops[v]
						wg.Go(func() {
							n, err := loop.Pass(b.Context())
							if err != nil {
								b.Log(err)
							}
							left.Add(int64(n))
						})
					}
					wg.Wait()
					if left.Load() == 0 {
						break
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(objects), "us/deposit")
			}
		})
	}
}
