package validator_test

import (
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// fuzzEntry feeds bytes to one of a judge's services. It may not panic; what it
// answers is an answer or one of the errors that a transport knows. Bytes that
// are not the one encoding of a request are malformed, whatever else they are.
func fuzzEntry[R any](f *testing.F, seeds func(*world) []any, call func(*testing.T, *world, []byte) error) {
	w := newWorld(f, vt.Options{})
	for _, s := range seeds(w) {
		raw := encode(f, s)
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
		f.Add(append(raw[:len(raw):len(raw)], 0))
	}
	f.Add([]byte{})
	f.Add([]byte{0x9f, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := call(t, w, raw)
		var r R
		if statement.Unmarshal(raw, &r) != nil && !errors.Is(err, validator.ErrMalformed) {
			t.Errorf("what is no request is answered with %v", err)
		}
		for _, known := range []error{nil, validator.ErrMalformed, validator.ErrDenied, validator.ErrUnavailable} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Errorf("an error that no transport knows: %v", err)
	})
}

func FuzzDeposit(f *testing.F) {
	fuzzEntry[validator.DepositRequest](f, func(w *world) []any {
		o := w.Object(f, w.alice)
		good := w.Request(f, w.Deal(f, w.alice, 0, []*vt.Object{o, w.Object(f, w.alice)}), 0)
		noBox, odd := good, good
		noBox.Box = nil
		odd.Items = []validator.DepositItem{{Manifest: o.Block, Dealing: good.Items[1].Dealing}}
		odd.Box = w.Seal(f, 0, validator.Shares{Items: validator.DigestItems(odd.Items), Shares: [][]byte{{1}}})
		return []any{good, noBox, odd, validator.DepositRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Deposit(t.Context(), validator.Conn{}, raw)
		return err
	})
}

func FuzzSign(f *testing.F) {
	fuzzEntry[validator.SignRequest](f, func(w *world) []any {
		_, r := w.Draft(f, w.alice, w.bob, w.GrantBody(w.alice, w.bob, capability.Target{Kind: capability.Lineage}))
		bare := r
		bare.Identities = nil
		return []any{r, bare, validator.SignRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Sign(t.Context(), validator.Conn{}, raw)
		return err
	})
}

func FuzzDeliver(f *testing.F) {
	fuzzEntry[validator.Delivery](f, func(w *world) []any {
		c := w.Grant(f, w.alice, w.bob, capability.Target{Kind: capability.Lineage}, vt.Delegable)
		link := w.Delegate(f, c, w.bob, w.mallory)
		return []any{
			validator.Delivery{Chain: c.Bytes(), Hint: w.Object(f, w.alice).Address.Bytes()},
			validator.Delivery{Chain: link.Bytes(), Hint: []byte{1}}, validator.Delivery{},
		}
	}, func(t *testing.T, w *world, raw []byte) error { return w.Validators[0].Deliver(t.Context(), raw) })
}

func FuzzMailbox(f *testing.F) {
	var s *vt.Session
	fuzzEntry[validator.MailboxRequest](f, func(w *world) []any {
		s = w.Connect(w.bob, 0)
		a, b := validator.MailboxRequest{Issued: true}, validator.MailboxRequest{Address: w.Object(f, w.alice).Address.Bytes(), After: make([]byte, 32)}
		a.Authority, b.Authority = w.ByIdentity(f, w.bob, s, a.Digest()), w.ByIdentity(f, w.bob, s, b.Digest())
		return []any{a, b, validator.MailboxRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Mailbox(t.Context(), s.Conn(), raw)
		return err
	})
}

func FuzzRelease(f *testing.F) {
	var s *vt.Session
	fuzzEntry[validator.ReleaseRequest](f, func(w *world) []any {
		o := w.Object(f, w.alice)
		w.DepositAll(f, w.alice, o)
		s = w.Connect(w.bob, 0)
		c := w.Grant(f, w.alice, w.bob, vt.VersionOf(o))
		good, many := vt.ReleaseOf(o), vt.ReleaseOf(o, o)
		good.Dealings, many.Objects[1], many.Reason = true, []byte("nowhere"), "because"
		good.Authority, many.Authority = w.ByChain(f, w.bob, c, s, good.Digest()), w.ByChain(f, w.bob, c, s, many.Digest())
		return []any{good, many, vt.ReleaseOf(o), validator.ReleaseRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Release(t.Context(), s.Conn(), raw)
		return err
	})
}

func FuzzLatest(f *testing.F) {
	var s *vt.Session
	fuzzEntry[validator.LatestRequest](f, func(w *world) []any {
		o := w.Object(f, w.alice)
		w.DepositAll(f, w.alice, o)
		w.DepositAll(f, w.alice, w.Version(f, o))
		s = w.Connect(w.bob, 0)
		c := w.Grant(f, w.alice, w.bob, vt.LineageOf(o))
		good, own, nowhere := vt.LatestOf(o), vt.LatestOf(o), validator.LatestRequest{Address: []byte("nowhere")}
		good.Authority, own.Authority = w.ByChain(f, w.bob, c, s, good.Digest()), w.ByIdentity(f, w.alice, s, own.Digest())
		nowhere.Authority = w.ByChain(f, w.bob, c, s, nowhere.Digest())
		return []any{good, own, nowhere, vt.LatestOf(o), validator.LatestRequest{}}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Latest(t.Context(), s.Conn(), raw)
		return err
	})
}

func FuzzRevoke(f *testing.F) {
	fuzzEntry[validator.RevokeRequest](f, func(w *world) []any {
		c := w.Grant(f, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
		return []any{
			validator.RevokeRequest{Entry: w.Revocation(f, w.alice, vt.Leaf(f, c)), Chain: c.Bytes()},
			validator.RevokeRequest{Entry: w.Revocation(f, w.official(1), vt.Leaf(f, c))},
			validator.RevokeRequest{Entry: w.Revocation(f, w.mallory, vt.Leaf(f, c)), Chain: []byte{1}}, validator.RevokeRequest{},
		}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Revoke(t.Context(), validator.Conn{}, raw)
		return err
	})
}

func FuzzTail(f *testing.F) {
	fuzzEntry[validator.TailRequest](f, func(*world) []any {
		return []any{validator.TailRequest{}, validator.TailRequest{Seq: 1}, validator.TailRequest{Seq: 1<<64 - 1}}
	}, func(_ *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].AnswerTail(raw)
		return err
	})
}

func FuzzFresh(f *testing.F) {
	fuzzEntry[validator.FreshRequest](f, func(*world) []any {
		return []any{validator.FreshRequest{}, validator.FreshRequest{Nonce: [32]byte{1}}}
	}, func(_ *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].AnswerFresh(raw)
		return err
	})
}

func FuzzIdentity(f *testing.F) {
	fuzzEntry[validator.IdentityRequest](f, func(w *world) []any {
		phone, add := w.another(f, w.alice, "phone")
		_, more := w.another(f, phone, "tablet")
		_, back := w.recovered(f, w.alice, "alice recovery", "next")
		bare := add
		bare.Identity = nil
		return []any{
			validator.IdentityRequest{Entry: add}, validator.IdentityRequest{Entry: more}, validator.IdentityRequest{Entry: back},
			validator.IdentityRequest{Entry: bare}, validator.IdentityRequest{},
		}
	}, func(t *testing.T, w *world, raw []byte) error {
		_, err := w.Validators[0].Identity(t.Context(), validator.Conn{}, raw)
		return err
	})
}
