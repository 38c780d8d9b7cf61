package quorum_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/quorum"
)

// drawer takes receipts.
type drawer struct {
	mu  sync.Mutex
	all []quorum.Receipt
}

func (d *drawer) take(r quorum.Receipt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, r)
}

func TestReceiptsOfReleasesDenialsAndErasuresAreHandedOn(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	var d drawer
	c.Took = d.take
	o, other := w.shared(t), w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	if _, err := c.AskRelease(t.Context(), w.asks(t, chain, o)); err != nil {
		t.Fatal(err)
	}
	released := len(d.all)
	if _, err := c.AskRelease(t.Context(), w.asks(t, chain, other)); err == nil {
		t.Fatal("it is released without a grant")
	}
	denied := len(d.all) - released
	if _, err := c.SendErasure(t.Context(), w.Erasure(t, w.alice, o.KeyNonce), nil); err != nil {
		t.Fatal(err)
	}
	erased := len(d.all) - released - denied
	if released < 3 || denied < 2 || erased < 3 {
		t.Fatalf("%d releases, %d denials, %d erasures", released, denied, erased)
	}
	for i, r := range d.all {
		digest, objects, _, err := quorum.RequestDigest(r.Action, r.Request)
		if err != nil || digest != r.Receipt.Request || len(objects) != 1 {
			t.Errorf("receipt %d: %v, %d objects", i, err, len(objects))
		}
		want := map[bool]event.Action{true: event.Release, false: event.Erase}[i < released+denied]
		if r.Action != want || (r.Outcome() == event.Denied) != (i >= released && i < released+denied) {
			t.Errorf("receipt %d is of %s %s", i, r.Action, r.Outcome())
		}
		if proofs, err := c.Redeem(t.Context(), r.Server, r.Raw); err != nil || len(proofs) != 1 {
			t.Errorf("receipt %d: %v", i, err)
		}
	}
}

// A validator that gives no receipt, or somebody else's, gives its share all the same,
// and nobody keeps what it gave.
func TestReceiptsThatAreNoneAreDropped(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	old, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o, o)) // of another request
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := w.Release(t, 3, w.bob, chain, vt.ReleaseOf(o))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"none": nil, "garbage": []byte("x"), "of another request": old.Receipt, "of another validator": foreign.Receipt} {
		var d drawer
		c.Took = d.take
		w.set(tampering(t, w.bob, func(r *validator.Release) { r.Receipt = raw }), 0)
		w.set(absent, 1)
		keys, err := c.AskRelease(t.Context(), w.asks(t, chain, o))
		if err != nil || !slices.Contains(keys.By, 0) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range d.all {
			if r.Server == w.Network.Committee.Validators[0].Peer {
				t.Errorf("%s is taken for a receipt", name)
			}
		}
		if len(d.all) != 2 {
			t.Errorf("%s: the others gave %d receipts", name, len(d.all))
		}
	}
}

func TestAPromiseIsBrokenOrCannotBeAsked(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	got, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	if err != nil {
		t.Fatal(err)
	}
	another, err := w.Release(t, 0, w.bob, chain, vt.ReleaseOf(o))
	if err != nil {
		t.Fatal(err)
	}
	server := w.Network.Committee.Validators[0].Peer
	answers := func(raw []byte) behaviour {
		return func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) { return raw, nil }
	}
	proof := func(receipt []byte) []byte {
		raw, err := w.Validators[0].Proof(t.Context(), encode(t, validator.ProofRequest{Receipt: receipt}))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, c2 := range map[string]struct {
		b      behaviour
		broken bool
	}{
		"it does not answer":                 {absent, false},
		"it refuses":                         {denying, true},
		"it says nothing":                    {answers(encode(t, validator.ProofReply{})), true},
		"it talks nonsense":                  {answers([]byte("x")), true},
		"it proves too much":                 {answers(encode(t, validator.ProofReply{Proofs: make([][]byte, 2)})), true},
		"it proves what it is not asked for": {answers(proof(another.Receipt)), true},
	} {
		w.set(c2.b, 0)
		if _, err := c.Redeem(t.Context(), server, got.Receipt); err == nil || errors.Is(err, quorum.ErrBroken) != c2.broken {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.set(nil, 0)
	if _, err := c.Redeem(t.Context(), server, got.Receipt); err != nil { // the control
		t.Error(err)
	}
	if _, err := c.Redeem(t.Context(), w.Network.Committee.Validators[1].Peer, got.Receipt); err == nil || errors.Is(err, quorum.ErrBroken) {
		t.Errorf("another validator's receipt: %v", err)
	}
	if _, err := c.Redeem(t.Context(), statement.GenerateKey().Public(), got.Receipt); err == nil {
		t.Error("nobody's receipt is redeemed")
	}
}
