package quorum_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

func TestAReaderGetsTheSecret(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	keys, err := c.AskRelease(t.Context(), w.asks(t, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), o))
	if err != nil {
		t.Fatal(err)
	}
	if liars, err := keys.Open(t.Context(), 0, o.Open); err != nil || len(liars) != 0 {
		t.Errorf("liars %v, %v", liars, err)
	}
	if len(keys.By) != 3 || len(keys.Holders) != 1 || keys.Denied[0] {
		t.Errorf("released by %v, held by %v, denied %v", keys.By, keys.Holders, keys.Denied)
	}
	if liars, err := keys.Open(t.Context(), 0, func(committee.Secret) error { return errors.New("no") }); err == nil || len(liars) != 0 { // control
		t.Errorf("what does not open is opened, or blamed on %v", liars)
	}
}

func TestAReaderAcrossANetworkOfOne(t *testing.T) {
	w, c := newWorld(t, vt.Options{N: 1})
	o := w.shared(t)
	keys, err := c.AskRelease(t.Context(), w.asks(t, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), o))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(t.Context(), 0, o.Open); err != nil {
		t.Error(err)
	}
}

// wantKey asks for the key of an object and opens it, or wants a failure where exit is
// not 0.
func (w *world) wantKey(t *testing.T, c *quorum.Committee, chain *capability.Chain, o *vt.Object, exit int, sentence string) {
	t.Helper()
	keys, err := c.AskRelease(t.Context(), w.asks(t, chain, o))
	if exit != 0 {
		wantFault(t, err, exit, sentence)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(t.Context(), 0, o.Open); err != nil {
		t.Error(err)
	}
}

func TestSilenceIsUnavailableAndRefusalIsDenied(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o, other := w.shared(t), w.shared(t)
	granted, forbidden := w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), w.Grant(t, w.alice, w.bob, vt.VersionOf(other))
	for _, tc := range []struct {
		name     string
		absent   []int
		denies   []int
		chain    *capability.Chain
		exit     int
		sentence string
	}{
		{"one is absent", []int{2}, nil, granted, 0, ""},
		{"one denies", nil, []int{2}, granted, 0, ""},
		{"two are absent", []int{0, 2}, nil, granted, fault.Unavailable, "the key needs 3 of 4 validators, and answered: 2, 4"},
		{"all are absent", []int{0, 1, 2, 3}, nil, granted, fault.Unavailable, "the key needs 3 of 4 validators, and none answered"},
		{"one denies and one is absent", []int{0}, []int{3}, granted, fault.Unavailable, "the key needs 3 of 4 validators, and answered: 2, 3; denied: 4"},
		{"two deny", nil, []int{1, 3}, granted, fault.Denied, "the key was denied by 2 of 4 validators"},
		{"no grant for it", nil, nil, forbidden, fault.Denied, "the key was denied by 2 of 4 validators"},
		{"no grant for it, one is absent", []int{3}, nil, forbidden, fault.Denied, "the key was denied by 2 of 4 validators"},
		{"no grant for it, three are absent", []int{1, 2, 3}, nil, forbidden, fault.Unavailable, "the key needs 3 of 4 validators, and denied: 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.set(nil, 0, 1, 2, 3)
			w.set(absent, tc.absent...)
			w.set(denying, tc.denies...)
			w.wantKey(t, c, tc.chain, o, tc.exit, tc.sentence)
		})
	}
}

func TestABatchIsAnsweredInPart(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o, forbidden, unknown := w.shared(t), w.shared(t), w.Object(t, w.alice)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	for _, b := range []behaviour{nil, denying} { // a denial of all counts for each
		w.set(b, 3)
		keys, err := c.AskRelease(t.Context(), w.asks(t, chain, forbidden, o, unknown))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(keys.Denied, []bool{true, false, true}) {
			t.Errorf("denied %v", keys.Denied)
		}
		if _, err := keys.Open(t.Context(), 1, o.Open); err != nil {
			t.Error(err)
		}
		_, err = keys.Open(t.Context(), 0, forbidden.Open)
		wantFault(t, err, fault.Denied, "")
	}
}

// An object that one validator has lost is denied for certain where another one
// denies everything; the others of the batch are read all the same.
func TestWhatOneObjectLacksCostsTheOthersNothing(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	thin := w.Object(t, w.alice, func(m *envelope.Manifest) { m.Lineage = o.Lineage })
	d := w.Deal(t, w.alice, 0, []*vt.Object{thin})
	for i := range 2 {
		if _, err := w.Deposit(t, i, w.Request(t, d, i)); err != nil {
			t.Fatal(err)
		}
	}
	w.set(denying, 3)
	chain := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage, Ref: o.Lineage})
	keys, err := c.AskRelease(t.Context(), w.asks(t, chain, o, thin))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(t.Context(), 0, o.Open); err != nil || !slices.Equal(keys.Denied, []bool{false, true}) {
		t.Errorf("denied %v, %v", keys.Denied, err)
	}
}

// TH-04. Validator 3 lies while validator 4 is slow, so that the lie is among
// the first three answers.
func TestALiarIsNamedAndReadingSucceeds(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o, other := w.shared(t), w.shared(t)
	flip := func(r *validator.Release) { r.Items[0].Shares[0].Share[0] ^= 1 }
	for name, lie := range map[string]behaviour{
		"value":              tampering(t, w.bob, flip),
		"blinding, value":    tampering(t, w.bob, func(r *validator.Release) { r.Items[0].Shares[0].Share[40] ^= 1; flip(r) }),
		"no scalar":          tampering(t, w.bob, func(r *validator.Release) { copy(r.Items[0].Shares[0].Share, bytes.Repeat([]byte{0xff}, 32)) }),
		"in the first round": inFirstRound(tampering(t, w.bob, flip)),
		"then silent":        inRound(true, hanging),
		"a dealing of its own, then": inRound(true, tampering(t, w.bob, func(r *validator.Release) {
			r.Items[0].Signed = w.mallory.Sign(t, validator.KindDealing, validator.Dealing{})
		})),
		"no dealing": inRound(true, tampering(t, w.bob, func(r *validator.Release) { r.Items[0].Signed = nil })),
		"another object's dealing": inRound(true, tampering(t, w.bob, func(r *validator.Release) {
			d := w.Deal(t, w.alice, 7, []*vt.Object{other})
			s, _ := statement.Parse(d.Items[0].Dealing)
			r.Items[0].Signed, r.Items[0].Dealing = d.Items[0].Dealing, s.ID()
		})),
	} {
		if name == "then silent" || name == "a dealing of its own, then" || name == "no dealing" || name == "another object's dealing" {
			lie = both(inFirstRound(tampering(t, w.bob, flip)), lie)
		}
		t.Run(name, func(t *testing.T) {
			w.set(nil, 0, 1, 2, 3)
			w.set(lie, 2)
			w.set(inFirstRound(hanging), 3)
			keys, err := c.AskRelease(t.Context(), w.asks(t, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), o))
			if err != nil {
				t.Fatal(err)
			}
			liars, err := keys.Open(t.Context(), 0, o.Open)
			if err != nil || !slices.Equal(liars, []int{2}) {
				t.Errorf("liars %v, %v; want validator 3 named and the object read", liars, err)
			}
		})
	}
}

// both lets a second lie follow the first round's.
func both(first, second behaviour) behaviour {
	return func(ctx context.Context, m quorum.Method, raw []byte, ask func() ([]byte, error)) ([]byte, error) {
		var r validator.ReleaseRequest
		if statement.Unmarshal(raw, &r) == nil && r.Dealings {
			return second(ctx, m, raw, ask)
		}
		return first(ctx, m, raw, ask)
	}
}

// An answer that is not to this request, by this validator, to this reader does
// not count: with one validator absent there are too few then.
func TestAnAnswerToSomethingElseDoesNotCount(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o, other := w.shared(t), w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	otherChain := w.Grant(t, w.alice, w.bob, vt.VersionOf(other))
	change := func(f func(*validator.Release)) behaviour { return tampering(t, w.bob, f) }
	old := replayed(t, w, other, otherChain) // now: a lie may be told after the test has ended
	for name, lie := range map[string]behaviour{
		"another request":   change(func(r *validator.Release) { r.Request[0] ^= 1 }),
		"another grant":     change(func(r *validator.Release) { r.Leaf = vt.Leaf(t, otherChain) }),
		"another validator": change(func(r *validator.Release) { r.Server = w.Network.Committee.Validators[1].Peer }),
		"an item more":      change(func(r *validator.Release) { r.Items = append(r.Items, r.Items[0]) }),
		"no items":          change(func(r *validator.Release) { r.Items = nil }),
		"a share cut":       change(func(r *validator.Release) { r.Items[0].Shares[0].Share = r.Items[0].Shares[0].Share[:63] }),
		"another record":    change(func(r *validator.Release) { r.Items[0].Shares[0].Record[0] ^= 1 }),
		"sealed to another": func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
			return seal(t, validator.Release{}, w.mallory.Recipients()...), nil
		},
		"junk": func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
			return []byte("junk"), nil
		},
		"nothing":          func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) { return nil, nil },
		"another's answer": func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) { return old, nil },
	} {
		t.Run(name, func(t *testing.T) {
			w.set(nil, 0, 1, 2, 3)
			w.set(lie, 2)
			w.set(absent, 3)
			_, err := c.AskRelease(t.Context(), w.asks(t, chain, o))
			wantFault(t, err, fault.Unavailable, "the key needs 3 of 4 validators, and answered: 1, 2; answered wrongly: 3")
			w.set(nil, 3) // control: with three honest ones the object is read
			keys, err := c.AskRelease(t.Context(), w.asks(t, chain, o))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := keys.Open(t.Context(), 0, o.Open); err != nil {
				t.Error(err)
			}
		})
	}
}

// replayed is what validator 3 answered to another request of Bob's.
func replayed(t *testing.T, w *world, o *vt.Object, c *capability.Chain) []byte {
	s := w.Connect(w.bob, 2)
	r := vt.ReleaseOf(o)
	r.Authority = w.ByChain(t, w.bob, c, s, r.Digest())
	raw, err := w.Validators[2].Release(t.Context(), s.Conn(), encode(t, r))
	if err != nil {
		t.Error(err)
	}
	return raw
}

// A validator that answers at last holds nobody up.
func TestNobodyWaitsForTheSlowest(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	w.set(hanging, 1)
	keys, err := c.AskRelease(t.Context(), w.asks(t, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), o))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(t.Context(), 0, o.Open); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.set(hanging, 2)
	cancel()
	_, err = c.AskRelease(ctx, w.asks(t, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), o))
	wantFault(t, err, fault.Unavailable, "") // control: with two silent, only the end of ctx ends it
}

// One validator cannot crowd out where the others say that the ciphertext is.
func TestHoldersOfOneValidatorDoNotCrowdOutTheOthers(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	junk := func(r *validator.Release) {
		for i := range 100 {
			r.Items[0].Holders = append(r.Items[0].Holders, string(rune('a'+i)))
		}
		r.Items[0].Holders = r.Items[0].Holders[1:]
	}
	first := make(chan struct{})
	var once sync.Once
	lie := tampering(t, w.bob, junk)
	w.set(func(ctx context.Context, m quorum.Method, raw []byte, ask func() ([]byte, error)) ([]byte, error) {
		defer once.Do(func() { close(first) })
		return lie(ctx, m, raw, ask)
	}, 0)
	after := func(_ context.Context, _ quorum.Method, _ []byte, ask func() ([]byte, error)) ([]byte, error) {
		<-first
		return ask()
	}
	w.set(after, 1, 2)
	w.set(absent, 3)
	keys, err := c.AskRelease(t.Context(), w.asks(t, w.Grant(t, w.alice, w.bob, vt.VersionOf(o)), o))
	if err != nil {
		t.Fatal(err)
	}
	if len(keys.Holders) != 25 || !slices.Contains(keys.Holders, "/ip4/192.0.2.1/tcp/4001/p2p/holder") {
		t.Errorf("holders %q", keys.Holders)
	}
}

// Shares of two dealings never mix: while a second dealing has reached only some
// validators, the first must still be complete, or nothing is.
func TestSharesOfTwoDealingsDoNotMix(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	again := w.Deal(t, w.alice, 1, []*vt.Object{o})
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	read := func() error {
		keys, err := c.AskRelease(t.Context(), w.asks(t, chain, o))
		if err != nil {
			return err
		}
		_, err = keys.Open(t.Context(), 0, o.Open)
		return err
	}
	for i, readable := range []bool{true, false, true, true} { // 1:3, 2:2, 3:1, 4:0
		if _, err := w.Deposit(t, i, w.Request(t, again, i)); err != nil {
			t.Fatal(err)
		}
		if err := read(); (err == nil) != readable {
			t.Errorf("with %d of 4 replaced: %v", i+1, err)
		}
	}
}

// What validators say of policy counts where more say it than may lie, and no
// further than they agree.
func TestPolicyIsBlamedByMoreThanMayLie(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	says := func(wants ...string) behaviour {
		return func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
			return nil, &validator.PolicyError{Wants: wants}
		}
	}
	for _, tc := range []struct {
		name           string
		two, three     behaviour
		sentence, hint string
	}{
		{"both deny without a word", denying, denying, "the key was denied by 2 of 4 validators", "ask its owner"},
		{"one blames policy", denying, says("reason"), "the key was denied by 2 of 4 validators", "ask its owner"},
		{"both do", says(), says(), "the key was denied by policy", "a role"},
		{"one wants a reason", says(), says("reason"), "the key was denied by policy", "a role"},
		{"both want a reason", says("reason"), says("purpose", "reason"), "the key was denied by policy, which wants a reason", "--reason"},
		{"both want a purpose", says("purpose"), says("purpose"), "the key was denied by policy, which allows it for other purposes", "--purpose"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.set(tc.two, 1)
			w.set(tc.three, 2)
			_, err := c.AskRelease(t.Context(), w.asks(t, chain, o))
			wantFault(t, err, fault.Denied, tc.sentence)
			if f := fault.Of(err); !strings.Contains(f.Hint, tc.hint) {
				t.Errorf("the hint is %q", f.Hint)
			}
		})
	}
	w.set(nil, 1) // control: one denial is none
	if _, err := c.AskRelease(t.Context(), w.asks(t, chain, o)); err != nil {
		t.Error(err)
	}
}
