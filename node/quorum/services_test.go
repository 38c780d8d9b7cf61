package quorum_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

func (w *world) requests(t *testing.T, d *vt.Dealt) map[int][]byte {
	t.Helper()
	out := map[int][]byte{}
	for i := range w.Validators {
		out[i] = encode(t, w.Request(t, d, i))
	}
	return out
}

func TestDepositsReportWhoAnswered(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	a, b := w.Object(t, w.alice), w.Object(t, w.alice)
	d := w.Deal(t, w.alice, 0, []*vt.Object{a, b})
	d.Shares[1][1].Value[0] ^= 1 // the second validator's share of b is off
	w.set(absent, 3)
	got := c.SendDeposits(t.Context(), w.requests(t, d))
	want := map[int][]uint8{
		0: {validator.ItemOK, validator.ItemOK}, 1: {validator.ItemOK, validator.ItemRefused}, 2: {validator.ItemOK, validator.ItemOK},
	}
	if !maps.EqualFunc(got, want, slices.Equal[[]uint8]) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
	w.set(nil, 3) // later, and alone
	if got := c.SendDeposits(t.Context(), map[int][]byte{3: w.requests(t, d)[3]}); !slices.Equal(got[3], want[0]) {
		t.Errorf("outcomes %v", got)
	}
}

// transportFunc is a transport with no validators behind it.
type transportFunc func(ctx context.Context, server statement.PublicKey) ([]byte, error)

func (f transportFunc) Call(ctx context.Context, server statement.PublicKey, _ quorum.Method, build func(quorum.Session) ([]byte, error)) ([]byte, error) {
	if _, err := build(quorum.Session{}); err != nil {
		return nil, err
	}
	return f(ctx, server)
}

// Once T have answered, the last one has a second; before, it has all the time.
func TestADepositWaitsASecondForTheRest(t *testing.T) {
	w, _ := newWorld(t, vt.Options{})
	ok := encode(t, validator.DepositReply{Outcomes: []uint8{validator.ItemOK}})
	requests := map[int][]byte{0: {1}, 1: {1}, 2: {1}, 3: {1}}
	synctest.Test(t, func(t *testing.T) {
		for hanging, want := range map[int]int{0: 4, 1: 3} {
			c := &quorum.Committee{Trust: w.Network.Chain, Now: w.Clock.Now, Transport: transportFunc(func(ctx context.Context, server statement.PublicKey) ([]byte, error) {
				if i, _ := w.Network.Committee.ByPeer(server); i < hanging {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return ok, nil
			})}
			if got := c.SendDeposits(t.Context(), requests); len(got) != want {
				t.Errorf("%d hang, %d have answered; want %d", hanging, len(got), want)
			}
		}
	})
}

// draft is a grant to Bob that nobody has signed.
func (w *world) draft(t *testing.T, target capability.Target) (*statement.Statement, validator.SignRequest) {
	t.Helper()
	return w.Draft(t, w.alice, w.bob, w.GrantBody(w.alice, w.bob, target))
}

func TestAGrantIsSignedByK(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	other, otherRequest := w.draft(t, vt.VersionOf(o))
	swap := func(_ context.Context, _ quorum.Method, _ []byte, _ func() ([]byte, error)) ([]byte, error) {
		return w.Validators[3].Sign(t.Context(), validator.Conn{}, encode(t, otherRequest)) // signs another thing
	}
	resign := func(index uint16, key statement.PrivateKey) behaviour {
		return func(_ context.Context, _ quorum.Method, raw []byte, _ func() ([]byte, error)) ([]byte, error) {
			var r validator.SignRequest
			if err := statement.Unmarshal(raw, &r); err != nil {
				return nil, err
			}
			s, err := statement.Parse(r.Grant)
			if err != nil {
				return nil, err
			}
			s.AddSignature(index, key)
			return encode(t, validator.SignReply{Grant: s.Bytes()}), nil
		}
	}
	for _, tc := range []struct {
		name     string
		three    behaviour // validator 4; validator 1 is absent
		exit     int
		sentence string
	}{
		{"honest", nil, 0, ""},
		{"signs another thing", swap, fault.Unavailable, "the grant needs 3 of 4 validators, and answered: 2, 3; answered wrongly: 4"},
		{"signs with another key", resign(3, statement.GenerateKey()), fault.Unavailable, "the grant needs 3 of 4 validators, and answered: 2, 3; answered wrongly: 4"},
		{"signs in another's place", resign(0, w.Validators[3].Signing), fault.Unavailable, "the grant needs 3 of 4 validators, and answered: 2, 3; answered wrongly: 4"},
		{"is absent", absent, fault.Unavailable, "the grant needs 3 of 4 validators, and answered: 2, 3"},
		{"denies", denying, fault.Unavailable, "the grant needs 3 of 4 validators, and answered: 2, 3; denied: 4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.set(absent, 0)
			w.set(tc.three, 3)
			s, r := w.draft(t, vt.VersionOf(o))
			got, err := c.SignGrant(t.Context(), quorum.SignAsk{Grant: s, Consent: r.Consent, Identities: r.Identities})
			if tc.exit != 0 {
				wantFault(t, err, tc.exit, tc.sentence)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := w.VerifyK(capability.KindGrant, got.Grant); err != nil || !got.Done || got.Grant.ID() == other.ID() {
				t.Error(err)
			}
		})
	}
	checkPending(t, w, c, vt.VersionOf(o))
	w.set(nil, 0, 3)
	w.set(denying, 0, 1)
	s, r := w.draft(t, vt.VersionOf(o))
	ask := quorum.SignAsk{Grant: s, Consent: r.Consent, Identities: r.Identities}
	_, err := c.SignGrant(t.Context(), ask)
	wantFault(t, err, fault.Denied, "the grant was denied by 2 of 4 validators")
	w.set(nil, 0, 1)
	ask.Grant, _ = w.draft(t, vt.VersionOf(o)) // the other one may have a signature by now
	ask.Consent = nil
	_, err = c.SignGrant(t.Context(), ask) // without consent all say that it is malformed
	wantFault(t, err, fault.Unavailable, "the grant needs 3 of 4 validators, and refused: 1, 2, 3, 4")
}

// checkPending has persons decide: their answers come later, those of the others
// are kept.
func checkPending(t *testing.T, w *world, c *quorum.Committee, target capability.Target) {
	t.Helper()
	reply := func(r validator.SignReply) behaviour {
		return func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
			return encode(t, r), nil
		}
	}
	pending := reply(validator.SignReply{Pending: true})
	s, r := w.draft(t, target)
	ask := quorum.SignAsk{Grant: s, Consent: r.Consent, Identities: r.Identities}
	w.set(pending, 2, 3)
	w.set(nil, 0)
	got, err := c.SignGrant(t.Context(), ask)
	if err != nil || got.Done || len(got.Pending) == 0 {
		t.Fatalf("two sign and two wait: %+v, %v", got, err)
	}
	w.set(reply(validator.SignReply{Denied: true, Reason: "too long"}), 3)
	if got, err = c.SignGrant(t.Context(), ask); err != nil || got.Done { // one more denial is needed to be certain
		t.Fatalf("one has denied, one waits: %+v, %v", got, err)
	}
	w.set(absent, 0, 1) // they have signed already and are not asked again
	w.set(nil, 2)
	if got, err = c.SignGrant(t.Context(), ask); err != nil || !got.Done {
		t.Fatalf("the third has signed: %+v, %v", got, err)
	}
	s, r = w.draft(t, target)
	ask = quorum.SignAsk{Grant: s, Consent: r.Consent, Identities: r.Identities}
	w.set(reply(validator.SignReply{Denied: true, Reason: "too long"}), 2, 3)
	w.set(nil, 0, 1)
	_, err = c.SignGrant(t.Context(), ask)
	if f := fault.Of(err); f.Exit != fault.Denied || !strings.Contains(f.Message, "too long (validator ") {
		t.Errorf("two have denied: %v", err)
	}
	w.set(pending, 1)
	w.set(absent, 0, 2, 3)
	s, r = w.draft(t, target)
	_, err = c.SignGrant(t.Context(), quorum.SignAsk{Grant: s, Consent: r.Consent, Identities: r.Identities})
	wantFault(t, err, fault.Unavailable, "the grant needs 3 of 4 validators, and asked a person: 2")
	w.set(nil, 0, 1, 2, 3)
}

func TestADeliveryIsAtTValidators(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	d := validator.Delivery{Chain: chain.Bytes(), Hint: o.Address.Bytes()}
	w.set(absent, 1)
	if err := c.SendDelivery(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	w.set(absent, 0)
	wantFault(t, c.SendDelivery(t.Context(), d), fault.Unavailable, "the delivery of the grant needs 3 of 4 validators, and answered: 3, 4")
	w.set(nil, 0, 1)
	chain.Consent = nil
	wantFault(t, c.SendDelivery(t.Context(), validator.Delivery{Chain: chain.Bytes()}), fault.Denied, "")
}

// deliver puts chains into the mailboxes of some validators.
func (w *world) deliver(t *testing.T, c *capability.Chain, which ...int) {
	t.Helper()
	for _, i := range which {
		if err := w.Validators[i].Deliver(t.Context(), encode(t, validator.Delivery{Chain: c.Bytes()})); err != nil {
			t.Fatal(err)
		}
	}
}

func leaves(t *testing.T, ds []validator.Delivery) (out []statement.ID) {
	t.Helper()
	for _, d := range ds {
		c, err := capability.ParseChain(d.Chain)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, vt.Leaf(t, c))
	}
	return out
}

func TestAMailboxIsPulledFromMany(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	const n = 70 // more than a page
	want := map[statement.ID]bool{}
	for i := range n {
		chain := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
		want[vt.Leaf(t, chain)] = true
		w.deliver(t, chain, i%4, (i+1)%4, (i+2)%4) // each validator lacks some
	}
	for _, who := range []int{0, 3} {
		w.set(nil, 0, 1, 2, 3)
		w.set(absent, who)
		ds, err := c.PullMailbox(t.Context(), principal(w.bob), nil, false)
		if err != nil {
			t.Fatal(err)
		}
		got := leaves(t, ds)
		if len(got) != n || !slices.IsSortedFunc(got, func(a, b statement.ID) int { return slices.Compare(a[:], b[:]) }) {
			t.Errorf("%d chains, want %d, in order", len(got), n)
		}
	}
	w.set(absent, 1)
	_, err := c.PullMailbox(t.Context(), principal(w.bob), nil, false)
	wantFault(t, err, fault.Unavailable, "asking for grants needs 3 of 4 validators, and answered: 1, 3")
	w.set(nil, 0, 1, 2, 3)
	w.as = w.alice
	ds, err := c.PullMailbox(t.Context(), principal(w.alice), nil, true)
	if err != nil || len(ds) != n {
		t.Errorf("the owner sees %d of %d that she gave, %v", len(ds), n, err)
	}
	if ds, err := c.PullMailbox(t.Context(), principal(w.alice), nil, false); err != nil || len(ds) != 0 { // control
		t.Errorf("the owner holds %d, %v", len(ds), err)
	}
}

// A liar can neither hide a chain behind a broken copy of it nor keep a reader
// busy with pages that do not end.
func TestALiarHidesNoChainAndEndsNoPatience(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	chain := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
	w.deliver(t, chain, 0, 1, 2, 3)
	broken := *chain
	broken.Consent = nil // the same leaf
	reply := func(r func(validator.MailboxRequest) validator.MailboxReply) behaviour {
		return func(_ context.Context, _ quorum.Method, raw []byte, _ func() ([]byte, error)) ([]byte, error) {
			var q validator.MailboxRequest
			if err := statement.Unmarshal(raw, &q); err != nil {
				return nil, err
			}
			return encode(t, r(q)), nil
		}
	}
	page := func(more bool, c *capability.Chain) validator.MailboxReply {
		return validator.MailboxReply{Deliveries: []validator.Delivery{{Chain: c.Bytes()}}, More: more}
	}
	for name, lie := range map[string]behaviour{
		"a broken copy": reply(func(validator.MailboxRequest) validator.MailboxReply { return page(false, &broken) }),
		"the same page": reply(func(validator.MailboxRequest) validator.MailboxReply { return page(true, chain) }),
		"endless pages": reply(func(q validator.MailboxRequest) validator.MailboxReply {
			for { // a new leaf behind the last one
				next := w.Grant(t, w.alice, w.bob, capability.Target{Kind: capability.Lineage})
				if id := vt.Leaf(t, next); slices.Compare(id[:], q.After) > 0 {
					return page(true, next)
				}
			}
		}),
		"junk": reply(func(validator.MailboxRequest) validator.MailboxReply {
			return validator.MailboxReply{Deliveries: []validator.Delivery{{Chain: []byte("junk")}}, More: true}
		}),
		"empty pages": reply(func(validator.MailboxRequest) validator.MailboxReply { return validator.MailboxReply{More: true} }),
	} {
		t.Run(name, func(t *testing.T) {
			w.set(lie, 0)
			ds, err := c.PullMailbox(t.Context(), principal(w.bob), nil, false)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(ds, func(d validator.Delivery) bool { return slices.Equal(d.Chain, chain.Bytes()) }) {
				t.Error("the chain is hidden")
			}
		})
	}
}

func TestARevocationIsEffectiveOrSaysSo(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	forged := func(index uint16, key statement.PrivateKey, change func(*revocation.Ack)) behaviour {
		return func(_ context.Context, _ quorum.Method, raw []byte, _ func() ([]byte, error)) ([]byte, error) {
			var r validator.RevokeRequest
			if err := statement.Unmarshal(raw, &r); err != nil {
				return nil, err
			}
			rev, err := r.Entry.Verify(w.Network.Committee.Network())
			if err != nil {
				return nil, err
			}
			ack := revocation.Ack{Network: rev.Network, Target: rev.Target, Validator: 3, Seq: 1}
			change(&ack)
			s, err := statement.New(revocation.KindAck, ack)
			if err != nil {
				return nil, err
			}
			s.AddSignature(index, key)
			return s.Bytes(), nil
		}
	}
	same := func(*revocation.Ack) {}
	key := w.Validators[3].Signing
	for _, tc := range []struct {
		name string
		by   *vt.Person
		who  map[int]behaviour
		acks int
		exit int
	}{
		{"the owner", w.alice, nil, 4, 0},
		{"one is absent", w.alice, map[int]behaviour{1: absent}, 3, 0},
		{"two are absent", w.alice, map[int]behaviour{1: absent, 2: absent}, 2, fault.Unavailable},
		{"all are absent", w.alice, map[int]behaviour{0: absent, 1: absent, 2: absent, 3: absent}, 0, fault.Unavailable},
		{"a stranger", w.mallory, nil, 0, fault.Denied},
		{"one denies and the others are absent", w.alice, map[int]behaviour{0: denying, 1: absent, 2: absent, 3: absent}, 0, fault.Unavailable},
		{"one claims to have it", w.alice, map[int]behaviour{1: absent, 3: forged(3, key, same)}, 3, 0}, // its word counts
		{"forged with another key", w.alice, map[int]behaviour{1: absent, 3: forged(3, statement.GenerateKey(), same)}, 2, fault.Unavailable},
		{"forged in another's place", w.alice, map[int]behaviour{1: absent, 3: forged(1, key, same)}, 2, fault.Unavailable},
		{"another target", w.alice, map[int]behaviour{1: absent, 3: forged(3, key, func(a *revocation.Ack) { a.Target[0] ^= 1 })}, 2, fault.Unavailable},
		{"another network", w.alice, map[int]behaviour{1: absent, 3: forged(3, key, func(a *revocation.Ack) { a.Network[0] ^= 1 })}, 2, fault.Unavailable},
		{"as another", w.alice, map[int]behaviour{1: absent, 3: forged(3, key, func(a *revocation.Ack) { a.Validator = 1 })}, 2, fault.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.set(nil, 0, 1, 2, 3)
			for i, b := range tc.who {
				w.set(b, i)
			}
			chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
			leaf := vt.Leaf(t, chain)
			acks, err := c.SendRevocation(t.Context(), w.Revocation(t, tc.by, leaf), leaf, chain.Bytes())
			if tc.exit != 0 {
				wantFault(t, err, tc.exit, "")
			} else if err != nil {
				t.Fatal(err)
			}
			if acks != tc.acks {
				t.Errorf("%d acknowledgements, want %d", acks, tc.acks)
			}
			w.set(nil, 0, 1, 2, 3)
			_, err = c.AskRelease(t.Context(), w.asks(t, chain, o))
			if effective := acks >= 3 && tc.who[3] == nil; effective {
				wantFault(t, err, fault.Denied, "")
			}
			if acks == 0 && err != nil { // control
				t.Errorf("a revocation that nobody took stops the reader: %v", err)
			}
		})
	}
}

// A reader's node keeps its view fresh through the same committee.
func TestATrackerPullsThroughTheCommittee(t *testing.T) {
	w, c := newWorld(t, vt.Options{})
	o := w.shared(t)
	chain := w.Grant(t, w.alice, w.bob, vt.VersionOf(o))
	leaf := vt.Leaf(t, chain)
	if _, err := c.SendRevocation(t.Context(), w.Revocation(t, w.alice, leaf), leaf, chain.Bytes()); err != nil {
		t.Fatal(err)
	}
	entries, err := c.AskTail(t.Context(), 0, 0, 0)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	raw, err := c.AskFresh(t.Context(), 0, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.VerifyOne(revocation.KindFresh, s, 0); err != nil {
		t.Error(err)
	}
	w.set(func(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
		return []byte("junk"), nil
	}, 0)
	if _, err := c.AskTail(t.Context(), 0, 0, 0); err == nil {
		t.Error("junk is a tail")
	}
	w.set(absent, 0)
	if _, err := c.AskFresh(t.Context(), 0, [32]byte{}); !errors.Is(err, quorum.ErrUnreachable) {
		t.Errorf("an absent validator: %v", err)
	}
}
