package revocation

import (
	"bytes"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// seed adds a value's encoding to the corpus.
func seed(f *testing.F, v any) {
	f.Helper()
	raw, err := statement.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
}

// What verifies was signed by the identity that it names; nothing else is in a
// fuzzer's power.
func FuzzEntry(f *testing.F) {
	net := trusttest.New(f, "net", 1)
	a := trusttest.NewPerson(f, "a", identity.User)
	honest := entry(f, net, a, "x")
	seed(f, honest)
	seed(f, entry(f, trusttest.New(f, "other", 1), a, "x"))
	seed(f, Entry{Statement: honest.Identity, Identity: honest.Statement})
	seed(f, Entry{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e Entry
		if statement.Unmarshal(raw, &e) != nil {
			return
		}
		if !bytes.Equal(e.bytes(), raw) {
			t.Error("the entry changed")
		}
		r, err := e.Verify(net.Network())
		if err == nil && (r.Target != target("x") || r.Signer != a.ID()) {
			t.Errorf("nobody signed %+v", r)
		}
	})
}

// A body, signed by the identity beside it: it counts for nobody else.
func FuzzRevocation(f *testing.F) {
	net := trusttest.New(f, "net", 1)
	a := trusttest.NewPerson(f, "a", identity.User)
	seed(f, Revocation{Network: net.Network(), Target: target("x"), Signer: a.ID(), Reason: "lost", Time: 1})
	seed(f, Revocation{Network: net.Network(), Signer: net.People[0].ID()})
	seed(f, Revocation{Signer: a.ID()})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r Revocation
		if statement.Unmarshal(raw, &r) != nil {
			return
		}
		got, err := Entry{Statement: a.Sign(t, KindRevocation, r).Bytes(), Identity: a.Record()}.Verify(net.Network())
		if want := r.Network == net.Network() && r.Signer == a.ID() && len(r.Reason) <= maxReason; (err == nil) != want || want && *got != r {
			t.Errorf("%+v: %v", r, err)
		}
	})
}

func FuzzFresh(f *testing.F) {
	w := newTown(f, 1)
	nonce := [32]byte{1}
	for _, n := range [][32]byte{nonce, {2}} {
		raw, err := w.servers[0].answer(f.Context(), n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		fresh, err := w.tracker.check(w.net.Committee, raw, 0, nonce)
		if err == nil && (fresh.Nonce != nonce || fresh.At != (Position{})) {
			t.Errorf("nobody signed %+v", fresh)
		}
	})
}

func FuzzAck(f *testing.F) {
	net := trusttest.New(f, "net", 1)
	for _, a := range []Ack{{Network: net.Network(), Target: target("x"), Seq: 1}, {Validator: 65535, Seq: 1 << 63}} {
		s, err := statement.New(KindAck, a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(net.Sign(s, 0).Bytes())
		f.Add(s.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := statement.Parse(raw)
		if err != nil {
			return
		}
		var a Ack
		if s.Peek(KindAck, &a) != nil {
			return
		}
		again, err := statement.New(KindAck, a)
		if err != nil || again.ID() != s.ID() {
			t.Errorf("%+v has two encodings", a)
		}
	})
}

// Whatever a log shows: it is refused, or is one of what was really signed.
func FuzzAnyEntry(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	a := trusttest.NewPerson(f, "a", identity.User)
	hold, _ := signHold(f, net, holdOf(net, a, HoldScope, 1), net.Quorum()...)
	signed := map[statement.ID]bool{}
	for _, e := range []Entry{entry(f, net, a, "x"), erasure(f, net, a, 1, 2), hold} {
		s, err := statement.Parse(e.Statement)
		if err != nil {
			f.Fatal(err)
		}
		signed[s.ID()] = true
		seed(f, e)
		seed(f, Entry{Statement: e.Identity, Identity: e.Statement})
	}
	unsigned, _ := signHold(f, net, holdOf(net, a, HoldScope, 2))
	seed(f, unsigned)
	chain, kinds := trust.Fixed(net.Committee), Kinds(nil).withOwn()
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decodeEntry(raw)
		if err != nil {
			return
		}
		fact, err := kinds.verify(e, chain)
		if err != nil {
			return
		}
		if !signed[fact.ID] || len(fact.Subjects) == 0 || len(fact.Slot) == 0 {
			t.Errorf("nobody signed %+v", fact)
		}
	})
}

// The body of an erasure that its owner signs counts where it keeps the rules.
func FuzzErasure(f *testing.F) {
	net := trusttest.New(f, "net", 1)
	a := trusttest.NewPerson(f, "a", identity.User)
	seed(f, Erasure{Network: net.Network(), Owner: a.ID(), Keys: []envelope.Nonce{{1}, {2}}, Reason: "r", Time: 1})
	seed(f, Erasure{Network: net.Network(), Owner: a.ID(), Keys: []envelope.Nonce{{2}, {1}}})
	seed(f, Erasure{Owner: a.ID(), Keys: []envelope.Nonce{}})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b Erasure
		if statement.Unmarshal(raw, &b) != nil {
			return
		}
		got, _, err := Entry{Statement: a.Sign(t, KindErasure, b).Bytes(), Identity: a.Record()}.VerifyErasure(net.Network())
		if err != nil {
			return
		}
		if got.Network != net.Network() || got.Owner != a.ID() || len(got.Keys) == 0 || len(got.Keys) > MaxErasedKeys {
			t.Errorf("%+v", got)
		}
		ids := map[statement.ID]bool{}
		for _, id := range got.KeyIDs() {
			ids[id] = true
		}
		if len(ids) != len(got.Keys) {
			t.Error("a key stands twice")
		}
	})
}

// The body of a hold that a quorum signs: one that verifies is on one thing, and
// is either placed or ends one hold.
func FuzzHold(f *testing.F) {
	net := trusttest.New(f, "net", 1)
	a := trusttest.NewPerson(f, "a", identity.User)
	h := holdOf(net, a, HoldLineage, 1)
	seed(f, h)
	release := h.Release(target("hold"))
	release.Record, release.Officer = net.ID(), a.ID()
	seed(f, release)
	seed(f, Hold{})
	chain := trust.Fixed(net.Committee)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h Hold
		if statement.Unmarshal(raw, &h) != nil {
			return
		}
		e, _ := signHold(t, net, h, 0)
		got, _, err := e.VerifyHold(chain)
		if (err == nil) != (h.Check() == nil && h.Network == net.Network() && h.Record == net.ID()) {
			t.Errorf("%+v: %v", h, err)
		}
		if err == nil && got.Placed == (len(got.Ends) > 0) {
			t.Errorf("it is placed and ends another: %+v", got)
		}
	})
}

func FuzzReceipt(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	chain := trust.Fixed(net.Committee)
	honest := Receipt{Network: net.Network(), Erasure: target("erasure"), Key: target("key"), Record: net.ID(), Validator: 2, Time: 1}
	for _, key := range []statement.PrivateKey{net.Signing[2], net.Signing[1]} {
		raw, err := SignReceipt(honest, key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := ParseReceipt(raw, chain); err == nil && *r != honest {
			t.Errorf("nobody signed %+v", r)
		}
	})
}

// A proof of two logs needs two answers that the key has signed.
func FuzzFork(f *testing.F) {
	w := newTown(f, 1)
	a := mustAnswer(f, w.servers[0])
	w.servers[0].fresh = func(f *Fresh) { f.At = Position{Seq: 1, Head: target("a")} }
	b := mustAnswer(f, w.servers[0])
	w.servers[0].fresh = func(f *Fresh) { f.At = Position{Seq: 1, Head: target("b")} }
	c := mustAnswer(f, w.servers[0])
	key := w.net.Validators[0].Signing
	real := Fork{Signer: key, A: b, B: c}
	if err := real.Check(); err != nil {
		f.Fatal("control:", err)
	}
	seed(f, real)
	seed(f, Fork{Signer: key, A: a, B: b})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Fork
		if statement.Unmarshal(raw, &p) != nil || p.Check() != nil {
			return
		}
		for _, side := range [][]byte{p.A, p.B} {
			if !bytes.Equal(side, b) && !bytes.Equal(side, c) {
				s, err := statement.Parse(side)
				if err != nil || p.Signer == key && len(s.Signers()) == 0 {
					t.Errorf("nobody signed %x", side)
				}
			}
		}
	})
}
