package revocation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// What a validator may answer that is not the truth. Each lie is told by the
// only validator there is, first after an honest answer, and ends again.
func TestLiesDoNotCount(t *testing.T) {
	for _, c := range []struct {
		name, rule string
		lie        func(t *testing.T, w *town, s *server)
	}{
		{"an answer to another question", "another question", func(_ *testing.T, _ *town, s *server) {
			s.fresh = func(f *Fresh) { f.Nonce[0]++ }
		}},
		{"another committee's answer", "another committee", func(t *testing.T, _ *town, s *server) {
			s.fresh = func(f *Fresh) { f.Record = trusttest.New(t, "other", 1).ID() }
		}},
		{"a stranger's answer", "signatures do not verify", func(_ *testing.T, _ *town, s *server) {
			s.sign = func(f *statement.Statement) { f.AddSignature(0, trusttest.Key("stranger")) }
		}},
		{"an unsigned answer", "signatures do not verify", func(_ *testing.T, _ *town, s *server) {
			s.sign = func(*statement.Statement) {}
		}},
		{"an answer signed in nobody's place", "signatures do not verify", func(_ *testing.T, w *town, s *server) {
			s.sign = func(f *statement.Statement) { f.AddSignature(1, w.net.Signing[0]) }
		}},
		{"a log that went back", "older log", func(_ *testing.T, _ *town, s *server) {
			s.fresh = func(f *Fresh) { f.At = Position{Seq: 1, Head: f.At.Head} }
		}},
		{"a log that was emptied", "older log", func(_ *testing.T, _ *town, s *server) {
			s.fresh = func(f *Fresh) { f.At = Position{} }
		}},
		{"another log of the same length", "another log than before", func(_ *testing.T, _ *town, s *server) {
			s.fresh = func(f *Fresh) { f.At.Head[0]++ }
		}},
		{"a head ahead of its log", "does not show the log", func(_ *testing.T, _ *town, s *server) {
			s.fresh = func(f *Fresh) { f.At.Seq++; f.At.Head[0]++ }
		}},
		{"a head that its log does not lead to", "does not lead to the head", func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			s.fresh = func(f *Fresh) { f.At.Head[0]++ }
		}},
		{"another tail than it signed", "does not lead to the head", func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			s.tail = func(uint64, []Entry) ([]Entry, error) { return []Entry{entry(t, w.net, w.owner, "harmless")}, nil }
		}},
		{"a tail in another order", "does not lead to the head", func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			w.revoke(t, "zz", 0)
			s.tail = func(_ uint64, e []Entry) ([]Entry, error) { slices.Reverse(e); return e, nil }
		}},
		{"a tail that repeats what is known", "does not lead to the head", func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			s.tail = func(uint64, []Entry) ([]Entry, error) { return s.log.Tail(0, 0) }
		}},
		{"a tail without what was revoked", "does not show the log", func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			s.tail = func(uint64, []Entry) ([]Entry, error) { return nil, nil }
		}},
		{"a tail of junk", ErrEntry.Error(), func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			s.tail = func(uint64, []Entry) ([]Entry, error) { return []Entry{{Statement: []byte("junk")}}, nil }
		}},
		{"an endless tail", "does not show the log", func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			s.tail = func(_ uint64, e []Entry) ([]Entry, error) { return slices.Repeat(e, MaxTail+1), nil }
		}},
		{"no tail", "unreachable", func(t *testing.T, w *town, s *server) {
			w.revoke(t, "z", 0)
			s.tail = func(uint64, []Entry) ([]Entry, error) { return nil, errDown }
		}},
		{"no answer", "unreachable", func(_ *testing.T, _ *town, s *server) { s.down = errDown }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, 1)
				w.revoke(t, "x", 0)
				w.revoke(t, "y", 0)
				if err := w.tracker.Ask(t.Context(), 0); err != nil {
					t.Fatal("control, before:", err)
				}
				later(MaxAge - time.Second)
				s := w.servers[0]
				c.lie(t, w, s)
				if err := w.tracker.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), c.rule) {
					t.Errorf("%v, want %q", err, c.rule)
				}
				if age, _ := w.tracker.Age(); age != MaxAge-time.Second {
					t.Errorf("it made the view younger: %v", age)
				}
				later(time.Second)
				if w.tracker.Fresh() {
					t.Error("the view is fresh by a lie")
				}
				if again := w.open(t, w.set); again.at(0).Seq != 2 {
					t.Errorf("the head was stored at %d", again.at(0).Seq)
				}
				s.lie(func(s *server) { s.fresh, s.sign, s.tail, s.down = nil, nil, nil, nil })
				if err := w.tracker.Ask(t.Context(), 0); err != nil || !w.tracker.Fresh() {
					t.Errorf("control, after the lie: %v", err)
				}
			})
		})
	}
}

// kindly answers with a statement of another kind, which the same key signed.
type kindly struct {
	servers
	kind statement.Kind
	raw  []byte
}

func (k kindly) AskFresh(_ context.Context, index int, nonce [32]byte) ([]byte, error) {
	if k.raw != nil {
		return k.raw, nil
	}
	s, err := statement.New(k.kind, Fresh{Nonce: nonce, Record: k.servers[index].net.ID()})
	if err != nil {
		return nil, err
	}
	return k.servers[index].net.Sign(s, index).Bytes(), nil
}

func TestAnAnswerIsOfOneKind(t *testing.T) {
	w := newTown(t, 1)
	w.tracker.Validators = kindly{servers: w.servers, kind: KindAck}
	if err := w.tracker.Ask(t.Context(), 0); !errors.Is(err, statement.ErrKind) {
		t.Errorf("an acknowledgement: %v", err)
	}
	w.tracker.Validators = kindly{servers: w.servers, raw: []byte("junk")}
	if err := w.tracker.Ask(t.Context(), 0); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("junk: %v", err)
	}
	w.tracker.Validators = kindly{servers: w.servers, kind: KindFresh}
	if err := w.tracker.Ask(t.Context(), 0); err != nil {
		t.Errorf("control: %v", err)
	}
	old, err := w.servers[0].answer(t.Context(), [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	w.tracker.Validators = kindly{servers: w.servers, raw: old}
	if err := w.tracker.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "another question") {
		t.Errorf("an answer from before: %v", err)
	}
}

// One validator cannot answer for another, whom somebody holds captive.
func TestAValidatorAnswersForItself(t *testing.T) {
	w := newTown(t, 4)
	w.servers[1].sign = func(s *statement.Statement) { w.net.Sign(s, 0) }
	w.servers[2].sign = func(s *statement.Statement) { s.AddSignature(2, w.net.Signing[0]) }
	w.tracker.Round(t.Context())
	for i, want := range []bool{true, false, false, true} {
		if got := !w.tracker.views[w.net.Validators[i].Signing].answered.IsZero(); got != want {
			t.Errorf("validator %d has answered: %v", i, got)
		}
	}
	if w.tracker.Fresh() {
		t.Error("fresh by two validators that speak for four")
	}
}

// The log is in the sink, durably, before its head counts.
func TestAnAnswerCountsOnceItsLogIsKept(t *testing.T) {
	w := newTown(t, 1)
	w.revoke(t, "x", 0)
	disk := new(broken)
	set := openSet(t, disk, w.net)
	w.tracker = w.open(t, set)
	disk.set(true)
	if err := w.tracker.Ask(t.Context(), 0); !errors.Is(err, errDisk) || w.tracker.Fresh() {
		t.Errorf("fresh, though the revocation was not written: %v", err)
	}
	disk.set(false)
	heads := new(broken)
	heads.set(true)
	w.tracker.Store = heads
	if err := w.tracker.Ask(t.Context(), 0); !errors.Is(err, errDisk) || w.tracker.Fresh() {
		t.Errorf("fresh, though the head was not written: %v", err)
	}
	heads.set(false)
	if err := w.tracker.Ask(t.Context(), 0); err != nil || !w.tracker.Fresh() || len(set.Revokers(target("x"))) != 1 {
		t.Errorf("control: %v", err)
	}
}

// A pull that began with a lie does not go on from it.
func TestAHalfPulledLieIsForgotten(t *testing.T) {
	w := newTown(t, 1)
	w.revoke(t, "x", 0)
	w.revoke(t, "y", 0)
	s := w.servers[0]
	s.tail = func(seq uint64, e []Entry) ([]Entry, error) {
		if seq == 0 {
			return []Entry{entry(t, w.net, w.owner, "harmless")}, nil
		}
		return nil, errDown
	}
	if err := w.tracker.Ask(t.Context(), 0); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	s.tail = nil
	if err := w.tracker.Ask(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "does not lead") {
		t.Errorf("it goes on from a lie: %v", err)
	}
	if err := w.tracker.Ask(t.Context(), 0); err != nil || !w.tracker.Fresh() || len(w.set.Revokers(target("x"))) != 1 {
		t.Errorf("it never recovers: %v", err)
	}
}

// A validator that could not show all of its log may show a shorter one that it
// signs: nothing longer was ever seen whole.
func TestAShorterLogAfterAnUnfinishedPull(t *testing.T) {
	w := newTown(t, 1)
	s := w.servers[0]
	w.revoke(t, "x", 0)
	first := s.log.Head()
	w.revoke(t, "y", 0)
	w.revoke(t, "z", 0)
	s.tail = func(seq uint64, e []Entry) ([]Entry, error) {
		if seq == 0 {
			return e[:2], nil
		}
		return nil, errDown
	}
	if err := w.tracker.Ask(t.Context(), 0); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	s.fresh = func(f *Fresh) { f.At = first }
	if err := w.tracker.Ask(t.Context(), 0); err != nil || w.tracker.at(0).Seq != 1 {
		t.Errorf("at %d, %v", w.tracker.at(0).Seq, err)
	}
}
