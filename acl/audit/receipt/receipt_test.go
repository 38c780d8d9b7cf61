package receipt

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	now  = time.UnixMilli(1_900_000_000_000)
	key  = trusttest.Key("log")
	peer = trusttest.Key("peer")
)

func issuer() *Issuer {
	return &Issuer{Network: statement.Hash("network"), Origin: audit.Origin(peer.Public()), Key: key}
}

// about is a receipt for two entries from an index on.
func about(first int64, leaves ...[]byte) Receipt {
	r := Receipt{Action: event.Release, Request: statement.Hash("request"), For: statement.Hash("bob"), First: first}
	for i, leaf := range leaves {
		r.Add(tlog.RecordHash(leaf), []event.Outcome{event.OK, event.Denied}[i%2])
	}
	return r
}

func TestAReceiptSaysWhatWasIssued(t *testing.T) {
	raw, err := issuer().Issue(about(7, []byte("a"), []byte("b")), now)
	if err != nil {
		t.Fatal(err)
	}
	r, id, err := Parse(raw, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if r.Network != issuer().Network || r.Origin != issuer().Origin || r.First != 7 || r.Entries() != 2 || r.Hash(1) != tlog.RecordHash([]byte("b")) ||
		r.OutcomeOf(0) != event.OK || r.OutcomeOf(1) != event.Denied || r.Outcome() != event.OK || r.Time != now.UnixMilli() || r.By != r.Time+Delay.Milliseconds() {
		t.Errorf("%+v", r)
	}
	if _, again, err := Peek(raw); err != nil || again != id {
		t.Errorf("%v, %v", again, err)
	}
}

func TestForgedReceipts(t *testing.T) {
	raw, err := issuer().Issue(about(7, []byte("a")), now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		if _, _, err := Parse(bad, key.Public()); !errors.Is(err, ErrReceipt) {
			t.Fatalf("with another byte %d: %v", i, err)
		}
	}
	if _, _, err := Parse(raw, peer.Public()); !errors.Is(err, ErrReceipt) {
		t.Errorf("signed with another key: %v", err)
	}
	// The log's key signs other statements too, and they are no receipts.
	s, err := statement.Sign(audit.KindBundle, about(7, []byte("a")), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Parse(s.Bytes(), key.Public()); !errors.Is(err, ErrReceipt) {
		t.Errorf("of another kind: %v", err)
	}
	if _, _, err := Parse(make([]byte, MaxBytes+1), key.Public()); !errors.Is(err, ErrReceipt) {
		t.Errorf("too long: %v", err)
	}
	for name, change := range map[string]func(*Receipt){
		"no entries":             func(r *Receipt) { r.Hashes, r.Outcomes = nil, nil },
		"too many entries":       func(r *Receipt) { r.Hashes, r.Outcomes = make([]byte, 32*1001), bytes.Repeat([]byte{1}, 1001) },
		"a hash too few":         func(r *Receipt) { r.Hashes = r.Hashes[:32] },
		"an unknown outcome":     func(r *Receipt) { r.Outcomes[0] = 9 },
		"an action nobody knows": func(r *Receipt) { r.Action = "teleport" },
		"a negative index":       func(r *Receipt) { r.First = -1 },
	} {
		r := about(7, []byte("a"), []byte("b"))
		change(&r)
		if _, err := issuer().Issue(r, now); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s is issued: %v", name, err)
		}
		r.Network, r.Origin = issuer().Network, issuer().Origin
		s, err := statement.Sign(Kind, r, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Parse(s.Bytes(), key.Public()); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s is accepted: %v", name, err)
		}
	}
}

// logOf is a log with leaves, and its binding.
func logOf(t *testing.T, leaves ...[]byte) (*audit.Log, *audit.Binding) {
	t.Helper()
	raw, err := audit.Bind(peer, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(t.TempDir(), audit.Config{Binding: raw, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context()) }()
	<-l.Running()
	t.Cleanup(func() { l.Close(); <-done })
	if err := l.Append(t.Context(), leaves...); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, l.Binding()
}

func TestAProofIsOfTheEntryThatWasPromised(t *testing.T) {
	leaves := [][]byte{[]byte("0"), []byte("1"), []byte("2"), []byte("3"), []byte("4")}
	l, b := logOf(t, leaves...)
	r := about(2, leaves[2], leaves[3])
	r.Origin = b.Origin
	proofs := make([][]byte, 5)
	for i := range proofs {
		var err error
		if proofs[i], err = l.ProveInclusion(int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		if c, err := r.Prove(i, b, proofs[2+i]); err != nil || c.N != 5 {
			t.Errorf("entry %d: %v", i, err)
		}
	}
	for name, try := range map[string]func() error{
		"of another entry":     func() error { _, err := r.Prove(0, b, proofs[3]); return err },
		"of an entry before":   func() error { _, err := r.Prove(-1, b, proofs[1]); return err },
		"of an entry too many": func() error { _, err := r.Prove(2, b, proofs[4]); return err },
		"empty":                func() error { _, err := r.Prove(0, b, nil); return err },
		"of another log": func() error {
			other, _ := logOf(t, []byte("x"), []byte("y"), []byte("z"))
			proof, err := other.ProveInclusion(2)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Prove(0, b, proof)
			return err
		},
		"moved to the entry": func() error {
			_, err := r.Prove(0, b, bytes.Replace(proofs[3], []byte("index 3"), []byte("index 2"), 1))
			return err
		},
		"with a line more": func() error {
			_, err := r.Prove(0, b, append(bytes.Clone(proofs[2]), "\n"...))
			return err
		},
		"of another origin": func() error {
			far := r
			far.Origin = audit.Origin(key.Public())
			_, err := far.Prove(0, b, proofs[2])
			return err
		},
	} {
		if try() == nil {
			t.Errorf("a proof %s passes", name)
		}
	}
	for i := range proofs[2] {
		bad := bytes.Clone(proofs[2])
		bad[i] ^= 1 << (i % 7)
		if _, err := r.Prove(0, b, bad); err == nil {
			t.Fatalf("byte %d of the proof may change: %q", i, bad)
		}
	}
}

func FuzzPeek(f *testing.F) {
	raw, err := issuer().Issue(about(7, []byte("a"), []byte("b")), now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, _, err := Peek(raw)
		if err != nil {
			if !errors.Is(err, ErrReceipt) {
				t.Error(err)
			}
			return
		}
		for i := range r.Entries() {
			if r.Hash(i); strings.Contains(r.OutcomeOf(i).String(), "unknown") {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzCheckProof(f *testing.F) {
	b := &audit.Binding{Origin: audit.Origin(peer.Public()), Peer: peer.Public(), Log: key.Public()}
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 2\n\ncerebrum.dev/log/\n1\nAAAA\n\n"))
	f.Fuzz(func(t *testing.T, proof []byte) {
		if _, err := b.CheckProof(2, tlog.Hash{}, proof); err == nil {
			t.Error("a proof that nobody made passes")
		}
	})
}
