package revocation

import (
	"bytes"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
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
