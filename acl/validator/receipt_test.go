package validator_test

import (
	"errors"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// receiptOf verifies a receipt of validator i.
func (w *world) receiptOf(t *testing.T, i int, raw []byte) *receipt.Receipt {
	t.Helper()
	r, _, err := receipt.Parse(raw, w.Network.Committee.Validators[i].Log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// redeem asks validator i for the proofs from an entry on, and verifies them.
func (w *world) redeem(t *testing.T, i int, raw []byte, entry uint16) (int, error) {
	t.Helper()
	answer, err := w.Validators[i].Proof(t.Context(), encode(t, validator.ProofRequest{Receipt: raw, Entry: entry}))
	if err != nil {
		return 0, err
	}
	var p validator.ProofReply
	if err := statement.Unmarshal(answer, &p); err != nil {
		t.Fatal(err)
	}
	r := w.receiptOf(t, i, raw)
	for n, proof := range p.Proofs {
		if _, err := r.Prove(int(entry)+n, w.Validators[i].Audit.Log().Binding(), proof); err != nil {
			t.Errorf("entry %d: %v", int(entry)+n, err)
		}
	}
	return len(p.Proofs), nil
}

func TestAReleaseComesWithAReceiptThatIsRedeemed(t *testing.T) {
	w := newWorld(t, vt.Options{})
	scope := envelope.NewNonce()
	var objects []*vt.Object
	for range 40 {
		objects = append(objects, w.Object(t, w.alice, func(m *envelope.Manifest) { m.Scopes = []envelope.Nonce{scope} }))
	}
	hidden := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, append(objects, hidden)...)
	chain := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Scope, Ref: scope})
	ask := vt.ReleaseOf(append(objects, hidden)...)
	got, err := w.Release(t, 0, w.bob, chain, ask)
	if err != nil {
		t.Fatal(err)
	}
	r := w.receiptOf(t, 0, got.Receipt)
	if r.Network != w.Network.Committee.Network() || r.Request != ask.Digest() || r.For != w.bob.ID() || r.Action != event.Release || r.Entries() != 41 ||
		r.OutcomeOf(0) != event.OK || r.OutcomeOf(40) != event.Denied || r.Time != w.Clock.Now().UnixMilli() {
		t.Errorf("%+v", r)
	}
	for _, step := range []struct {
		from uint16
		want int
	}{{0, validator.MaxProofs}, {validator.MaxProofs, 41 - validator.MaxProofs}, {40, 1}} {
		if n, err := w.redeem(t, 0, got.Receipt, step.from); err != nil || n != step.want {
			t.Errorf("from %d: %d proofs, %v", step.from, n, err)
		}
	}
}

// What is denied is on record too, and a receipt for it tells nothing more.
func TestADenialComesWithAReceipt(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o, other := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o, other)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	never := w.Object(t, w.alice) // nobody has it
	for name, ask := range map[string]*vt.Object{"not granted": other, "not there": never} {
		q := vt.ReleaseOf(ask)
		_, err := w.Release(t, 0, w.bob, chain, q)
		wantErr(t, err, validator.ErrDenied)
		var d *validator.Denied
		if !errors.As(err, &d) {
			t.Fatalf("%s: %v", name, err)
		}
		r := w.receiptOf(t, 0, d.Receipt)
		if r.Request != q.Digest() || r.For != w.bob.ID() || r.Entries() != 1 || r.OutcomeOf(0) != event.Denied {
			t.Errorf("%s: %+v", name, r)
		}
		if n, err := w.redeem(t, 0, d.Receipt, 0); n != 1 || err != nil {
			t.Errorf("%s: %d proofs, %v", name, n, err)
		}
		// Over the wire it is the same denial.
		if back := validator.DenialIn(d.Reply()); back == nil || !errors.Is(back, validator.ErrDenied) || string(back.Receipt) != string(d.Receipt) {
			t.Errorf("%s: %v comes out of the wire", name, back)
		}
	}
	// Whoever proves nothing gets a receipt that names nobody.
	q := vt.ReleaseOf(o)
	q.Authority = w.ByChain(t, w.bob, chain, w.Connect(w.bob, 1), q.Digest()) // for another validator
	_, err := w.SendRelease(t, 0, w.bob, w.Connect(w.bob, 0), q)
	var d *validator.Denied
	if !errors.As(err, &d) || w.receiptOf(t, 0, d.Receipt).For != (statement.ID{}) {
		t.Errorf("%v", err)
	}
	byPolicy := &validator.Denied{Err: &validator.PolicyError{Wants: []string{"purpose"}}, Receipt: d.Receipt}
	var p *validator.PolicyError
	if back := validator.DenialIn(byPolicy.Reply()); !errors.As(back, &p) || len(p.Wants) != 1 {
		t.Errorf("what policy wants is lost on the wire: %v", back)
	}
	byClock := &validator.Denied{Err: validator.ErrClock, Receipt: d.Receipt}
	if back := validator.DenialIn(byClock.Reply()); !errors.Is(back, validator.ErrClock) {
		t.Errorf("that the clocks are to blame is lost on the wire: %v", back)
	}
	for name, reply := range map[string][]byte{"an answer": encode(t, validator.ReleaseReply{Box: []byte("x")}), "nothing": nil, "garbage": []byte("x")} {
		if validator.DenialIn(reply) != nil {
			t.Errorf("%s is taken for a denial", name)
		}
	}
}

// An order that comes too early, or from a device that is its owner's no more, is denied
// with a receipt; that of the device names nobody.
func TestADeniedErasureComesWithAReceipt(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositDealt(t, w.retain(t, 1, o, validator.RetainCompliance, w.Clock.Now().Add(time.Hour)))
	early := w.because(t, w.alice, "early", o.KeyNonce)
	removed := func() {
		removal, err := w.alice.RemoveSelf(w.alice.Device, w.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		changed, err := w.alice.With(removal)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Validators[0].Log.Append(revocation.Entry{Statement: removal.Bytes(), Identity: changed.Record()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		before func()
		who    statement.ID
	}{{"retained", func() {}, w.alice.ID()}, {"not the owner's", removed, statement.ID{}}} {
		name := c.name
		c.before()
		_, err := w.Erase(t, 0, early)
		wantErr(t, err, validator.ErrDenied)
		var d *validator.Denied
		if !errors.As(err, &d) {
			t.Fatalf("%s: %v", name, err)
		}
		r := w.receiptOf(t, 0, d.Receipt)
		if r.Action != event.Erase || r.For != c.who || r.Entries() != 1 || r.OutcomeOf(0) != event.Denied {
			t.Errorf("%s: %+v", name, r)
		}
		if n, err := w.redeem(t, 0, d.Receipt, 0); n != 1 || err != nil {
			t.Errorf("%s: %d proofs, %v", name, n, err)
		}
		if back := validator.ErasureDenialIn(d.EraseReply()); back == nil || !errors.Is(back, validator.ErrDenied) || string(back.Receipt) != string(d.Receipt) {
			t.Errorf("%s: %v comes out of the wire", name, back)
		}
	}
	if w.slots(0) != 1 {
		t.Error("it was erased all the same")
	}
	for name, reply := range map[string][]byte{
		"an erasure": encode(t, validator.EraseReply{Receipts: [][]byte{{1}}, Logged: []byte{1}}), "a hold": encode(t, validator.EraseReply{Holds: []statement.ID{{1}}, Logged: []byte{1}}),
		"nothing": nil, "garbage": []byte("x"),
	} {
		if validator.ErasureDenialIn(reply) != nil {
			t.Errorf("%s is taken for a denial", name)
		}
	}
}

// AU-05: an order that cannot be logged destroys nothing, and a denial that cannot be
// logged is none.
func TestAnErasureThatCannotBeLoggedDestroysNothing(t *testing.T) {
	w := newWorld(t, vt.Options{})
	free, kept := w.Object(t, w.alice), w.Object(t, w.alice)
	w.DepositAll(t, w.alice, free)
	w.DepositDealt(t, w.retain(t, 1, kept, validator.RetainCompliance, w.Clock.Now().Add(time.Hour)))
	log := w.Validators[0].Judge.Audit
	w.Validators[0].Judge.Audit = full{}
	for name, o := range map[string]*vt.Object{"an order": free, "a denial": kept} {
		_, err := w.Erase(t, 0, w.because(t, w.alice, name, o.KeyNonce))
		if wantErr(t, err, validator.ErrUnavailable); errors.Is(err, validator.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.slots(0); n != 2 {
		t.Errorf("%d secrets are left, want 2", n)
	}
	w.Validators[0].Judge.Audit = log
	w.erase(t, w.because(t, w.alice, "an order", free.KeyNonce), 0) // the control
	if n := w.slots(0); n != 1 {
		t.Errorf("logged, and %d secrets are left", n)
	}
}

func TestAnErasureComesWithAReceipt(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	e := w.Erasure(t, w.alice, o.KeyNonce)
	said, err := w.Erase(t, 0, e)
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(e.Statement)
	if err != nil {
		t.Fatal(err)
	}
	r := w.receiptOf(t, 0, said.Logged)
	if r.Action != event.Erase || r.Request != s.ID() || r.For != w.alice.ID() || r.Outcome() != event.OK {
		t.Errorf("%+v", r)
	}
	if n, err := w.redeem(t, 0, said.Logged, 0); n != 1 || err != nil {
		t.Errorf("%d proofs, %v", n, err)
	}
}

func TestOnlyOwnReceiptsAreRedeemed(t *testing.T) {
	w := newWorld(t, vt.Options{})
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	of := func(i int) []byte {
		got, err := w.Release(t, i, w.bob, chain, vt.ReleaseOf(o))
		if err != nil {
			t.Fatal(err)
		}
		return got.Receipt
	}
	mine, other := of(0), of(1)
	forged := receipt.Issuer{Network: w.Network.Committee.Network(), Origin: w.Validators[0].Audit.Log().Binding().Origin, Key: statement.GenerateKey()}
	r := *w.receiptOf(t, 0, mine)
	r.First = 0
	fake, err := forged.Issue(r, w.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]validator.ProofRequest{
		"another's":         {Receipt: other},
		"a forged one":      {Receipt: fake},
		"an entry too many": {Receipt: mine, Entry: 1},
		"nothing":           {},
	} {
		_, err := w.Validators[0].Proof(t.Context(), encode(t, q))
		if !errors.Is(err, validator.ErrMalformed) {
			t.Errorf("%s is redeemed: %v", name, err)
		}
	}
	if _, err := w.Validators[0].Proof(t.Context(), []byte("garbage")); !errors.Is(err, validator.ErrMalformed) {
		t.Error(err)
	}
	if n, err := w.redeem(t, 0, mine, 0); n != 1 || err != nil { // the control
		t.Errorf("%d proofs, %v", n, err)
	}
	// A promise beyond the end of the log, which a validator that was rolled back may
	// find itself held to.
	r.First = 1 << 40
	beyond, err := w.Validators[0].Receipts.Issue(r, w.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.redeem(t, 0, beyond, 0); !errors.Is(err, validator.ErrUnavailable) || !errors.Is(err, audit.ErrUnsigned) {
		t.Errorf("an entry that is not there is proven: %v", err)
	}
	var e revocation.Entry
	if _, err := w.Erase(t, 0, e); err == nil {
		t.Error("an empty order is taken")
	}
}
