package validator_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// joining is a network where a newcomer takes the second place.
func (r *rotating) joining(t testing.TB) *vt.Validator {
	t.Helper()
	joined, entry := r.Join(t, "newcomer")
	r.Succeed(t, func(rec *trust.Record) { rec.Validators[1] = entry })
	return joined
}

// mailboxes is how many grants a validator keeps.
func mailboxes(t testing.TB, v *vt.Validator) (n int) {
	t.Helper()
	if err := v.Memory.Scan([]byte("chain/"), nil, func(_, _ []byte) (bool, error) { n++; return true, nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// Pages of mailboxes that go backwards, or are the same for ever, would keep a
// newcomer for ever: it leaves who sends them, and takes those of the others.
func TestPagesOfMailboxesThatDoNotGetOn(t *testing.T) {
	for name, change := range map[string]func(*validator.MailboxReply){
		"the same for ever": func(*validator.MailboxReply) {},
		"backwards":         func(p *validator.MailboxReply) { slices.Reverse(p.Deliveries) },
	} {
		for _, liars := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, of %d", name, liars), func(t *testing.T) {
				r := newRotating(t, vt.Options{}, 3)
				joined := r.joining(t)
				lying, asked := true, 0
				r.Lie(func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
					at, in := r.Chain.Current().ByPeer(server)
					if m != validator.RotateChains || !in || !lying || at >= liars {
						return answer
					}
					asked++
					var page validator.MailboxReply
					if err := statement.Unmarshal(answer, &page); err != nil {
						t.Fatal(err)
					}
					if asked > 100 {
						t.Fatal("the newcomer asks for ever")
					}
					if len(page.Deliveries) == 0 { // what follows the last: begin again
						raw, err := r.All[0].AnswerChains(validator.Conn{Client: joined.Judge.Peer}, encode(t, validator.ChainsRequest{}))
						if err != nil || statement.Unmarshal(raw, &page) != nil {
							t.Fatal(err)
						}
					}
					change(&page)
					page.More = true
					return encode(t, page)
				})
				loop := r.Of(t, joined)
				r.loops[joined] = loop
				left, err := loop.Pass(t.Context())
				if asked == 0 {
					t.Fatal("control: no liar was asked")
				}
				if liars == 1 {
					if err != nil && strings.Contains(err.Error(), "mailboxes") || mailboxes(t, joined) != len(r.chains) {
						t.Errorf("with one liar it has %d of %d: %v", mailboxes(t, joined), len(r.chains), err)
					}
				} else if err == nil || !strings.Contains(err.Error(), "out of order") || left == 0 {
					t.Errorf("all lie, %d are left: %v", left, err)
				}
				lying = false
				r.finish(t)
				r.only(t)
				if n := mailboxes(t, joined); n != len(r.chains) {
					t.Errorf("in the end it has %d of %d", n, len(r.chains))
				}
			})
		}
	}
}

// The next record comes before a newcomer has taken over the mailboxes.
func TestANewcomerOfTheRecordBeforeTakesOverMailboxes(t *testing.T) {
	r := newRotating(t, vt.Options{}, 2)
	joined := r.joining(t)
	r.Lie(func(_ statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
		if m == validator.RotateChains {
			return nil
		}
		return answer
	})
	for range 3 {
		r.pass(t)
	}
	if n := mailboxes(t, joined); n != 0 {
		t.Fatalf("control: it has %d already", n)
	}
	r.Lie(nil)
	r.Succeed(t, nil)
	r.finish(t)
	r.only(t)
	if n := mailboxes(t, joined); n != len(r.chains) {
		t.Errorf("it has %d of %d", n, len(r.chains))
	}
}

// A link of a device that was removed since counts where it was taken in time. A
// newcomer was not there: it believes more than F of the others.
func TestANewcomerKnowsWhatWasAccepted(t *testing.T) {
	for _, c := range []struct {
		name              string
		forgetful, liars  int // validators that name nothing, or too much
		accepts, believes bool
	}{
		{"all name what they took", 0, 0, true, false},
		{"one names nothing", 1, 0, true, false},
		{"nobody names anything", 4, 0, false, false},
		{"one names too much", 0, 1, true, false},
		{"more than F name it", 0, 2, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, vt.Options{})
			r := &rotating{Rotating: w.Network.Rotate(), loops: map[*vt.Validator]*validator.Rotation{}, alice: w.alice, bob: w.bob}
			everybody := func(do func(v *vt.Validator) error) {
				t.Helper()
				for _, v := range r.All {
					if err := do(v); err != nil {
						t.Fatal(err)
					}
				}
			}
			told := func(e revocation.Entry) func(*vt.Validator) error {
				return func(v *vt.Validator) error {
					_, err := v.Identity(t.Context(), validator.Conn{Client: w.alice.Peer}, encode(t, validator.IdentityRequest{Entry: e}))
					return err
				}
			}
			phone, add := w.another(t, w.alice, "phone")
			everybody(told(add))
			held := w.Grant(t, w.bob, phone, capability.Target{Kind: capability.Lineage, Ref: [32]byte{7}}, vt.Delegable)
			link := w.Delegate(t, held, phone, w.mallory)
			everybody(func(v *vt.Validator) error {
				return v.Deliver(t.Context(), encode(t, validator.Delivery{Chain: link.Bytes()}))
			})
			laptop := &vt.Person{Identity: phone.Identity, Device: w.alice.Device, Peer: w.alice.Peer, Opener: w.alice.Opener}
			_, recovery := w.recovered(t, laptop, "alice recovery", "next")
			late := w.Delegate(t, held, phone, w.bob) // says any time; nobody took it
			everybody(told(recovery))

			joined := r.joining(t)
			if err := joined.Set.Take([]revocation.Entry{add, recovery}); err != nil { // from the others' logs
				t.Fatal(err)
			}
			verify := func(v *vt.Validator, c *capability.Chain) error { _, err := v.Verifier.Verify(c); return err }
			if verify(r.All[0], link) != nil || verify(r.All[0], late) == nil || verify(joined, link) == nil {
				t.Fatal("control: it does not depend on what was accepted")
			}
			asked := 0
			r.Lie(func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
				if m != validator.RotateAccepted {
					return answer
				}
				asked++
				var page validator.AcceptedReply
				if err := statement.Unmarshal(answer, &page); err != nil {
					t.Fatal(err)
				}
				at := slices.IndexFunc(r.All, func(v *vt.Validator) bool { return v.Judge.Peer == server })
				if at < c.forgetful {
					return encode(t, validator.AcceptedReply{})
				}
				if at < c.liars {
					page.IDs = append(page.IDs, vt.Leaf(t, late))
					slices.SortFunc(page.IDs, func(a, b statement.ID) int { return bytes.Compare(a[:], b[:]) })
				}
				return encode(t, page)
			})
			r.finish(t)
			if asked == 0 {
				t.Fatal("control: nobody was asked")
			}
			if err := verify(joined, link); (err == nil) != c.accepts {
				t.Errorf("a link that was taken in time: %v", err)
			}
			want := 0
			if c.accepts {
				want = 1
			}
			if n := mailboxes(t, joined); n != want {
				t.Errorf("its mailbox has %d grants, want %d", n, want)
			}
			if err := verify(joined, late); (err == nil) != c.believes {
				t.Errorf("a link that nobody took: %v", err)
			}
		})
	}
}

// What was accepted comes in pages, and a validator whose pages do not get on, or
// are small so that they never end, is left out.
func TestPagesOfWhatWasAccepted(t *testing.T) {
	const marks = validator.MaxAccepted + 10
	id := func(i int) statement.ID { return statement.Hash("taken", fmt.Append(nil, i)) }
	for name, change := range map[string]func(*validator.AcceptedReply){
		"honest":      nil,
		"too long":    func(p *validator.AcceptedReply) { p.IDs = append(p.IDs, statement.ID(bytes.Repeat([]byte{0xff}, 32))) },
		"too short":   func(p *validator.AcceptedReply) { p.IDs, p.More = p.IDs[:1], true },
		"no end":      func(p *validator.AcceptedReply) { p.IDs, p.More = nil, true },
		"backwards":   func(p *validator.AcceptedReply) { slices.Reverse(p.IDs) },
		"twice":       func(p *validator.AcceptedReply) { p.IDs[1] = p.IDs[0] },
		"from before": func(p *validator.AcceptedReply) { p.IDs[0] = statement.ID{} },
	} {
		for _, liars := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, of %d", name, liars), func(t *testing.T) {
				r := newRotating(t, vt.Options{}, 1)
				for _, v := range r.All {
					var ops []kv.Op
					for i := range marks {
						id := id(i)
						ops = append(ops, kv.Op{Key: append([]byte("accepted/"), id[:]...), Value: []byte{1}})
					}
					if err := v.Memory.Apply(ops); err != nil {
						t.Fatal(err)
					}
				}
				joined := r.joining(t)
				pages := 0
				r.Lie(func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte {
					if m != validator.RotateAccepted {
						return answer
					}
					pages++
					at := slices.IndexFunc(r.All, func(v *vt.Validator) bool { return v.Judge.Peer == server })
					var page validator.AcceptedReply
					if err := statement.Unmarshal(answer, &page); err != nil {
						t.Fatal(err)
					}
					if at < liars && change != nil && len(page.IDs) > 1 {
						change(&page)
					}
					return encode(t, page)
				})
				_, err := r.Of(t, joined).Pass(t.Context())
				has := 0
				for i := range marks {
					if joined.Accepted(id(i)) {
						has++
					}
				}
				switch {
				case change != nil && liars == 2: // fewer than N-F are left
					if err == nil || !strings.Contains(err.Error(), "accepted") || has == marks {
						t.Errorf("%d ids were taken over: %v", has, err)
					}
				case has != marks || pages < 7:
					t.Errorf("%d of %d ids were taken over in %d pages: %v", has, marks, pages, err)
				}
			})
		}
	}
}

func FuzzAccepted(f *testing.F) {
	fuzzEntry[validator.AcceptedRequest](f, func(*world) []any {
		return []any{validator.AcceptedRequest{}, validator.AcceptedRequest{After: make([]byte, 32)}, validator.AcceptedRequest{After: []byte{1}}}
	}, func(_ *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].AnswerAccepted(validator.Conn{Client: w.Validators[1].Judge.Peer}, raw)
		return err
	})
}
