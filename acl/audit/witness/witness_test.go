package witness

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func TestAWitnessFollowsALogThatGrows(t *testing.T) {
	s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(40, "event")
	if r := s.refuses("unknown", h.body(0, 5), 404); !strings.Contains(r.Reason, "binding") {
		t.Errorf("%q does not say what to do", r.Reason)
	}
	s.introduce(h)
	s.introduce(h) // again changes nothing
	s.must(h.body(0, 0))
	s.must(h.body(0, 5))
	first := s.must(h.body(5, 5)) // the answer got lost: the same again
	s.must(h.body(5, 8))
	s.must(h.body(8, 33))
	s.reopen()
	s.must(h.body(33, 40))
	if r := s.refuses("old size behind", h.body(33, 40), 409); r.Size != 40 {
		t.Errorf("409 says %d", r.Size)
	}
	if r := s.refuses("smaller", h.body(0, 5), 409); r.Size != 40 {
		t.Errorf("409 says %d", r.Size)
	}
	if got := s.docket.All(); len(got) > 0 {
		t.Errorf("evidence against an honest log: %v", got)
	}
	if c, err := s.Latest(h.binding.Origin); err != nil || !bytes.Equal(c, h.at(40).Note) {
		t.Errorf("%q, %v", c, err)
	}
	if c, err := s.Latest("somebody"); c != nil || err != nil {
		t.Errorf("%q, %v", c, err)
	}
	n, err := note.Open(append([]byte(text(h.at(5).Note)+"\n"), first...), s.own)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := torchwood.CosignatureTimestamp(n.Sigs[0]); err != nil || at != trusttest.Start.Add(4*time.Second).Unix() {
		t.Errorf("signed at %d, %v", at, err)
	}
}

func TestWhatAWitnessRefuses(t *testing.T) {
	s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(40, "event")
	s.introduce(h)
	s.must(h.body(0, 11))
	other := nodeHistory(t, "other").add(40, "event")
	stolen := h.fork()
	stolen.key = other.key
	long := Request{Old: 11, Proof: make(tlog.TreeProof, MaxProof+1), Checkpoint: h.at(20).Note}.Body()
	swap := func(old, new string) []byte { return bytes.Replace(h.body(11, 20), []byte(old), []byte(new), 1) }
	for name, c := range map[string]struct {
		body []byte
		code int
	}{
		"nothing":                      {nil, 400},
		"garbage":                      {bytes.Repeat([]byte{0xFF}, 500), 400},
		"no checkpoint":                {[]byte("old 11\n\n"), 400},
		"no old size":                  {swap("old 11", "new 11"), 400},
		"a sign":                       {swap("old 11", "old +11"), 400},
		"a leading zero":               {swap("old 11", "old 011"), 400},
		"negative":                     {swap("old 11", "old -11"), 400},
		"too large for a number":       {swap("old 11", "old 99999999999999999999"), 400},
		"a carriage return":            {swap("old 11\n", "old 11\r\n"), 400},
		"a line that is no hash":       {swap("old 11\n", "old 11\nAAAA\n"), 400},
		"a proof with too many lines":  {long, 400},
		"too long":                     {append(h.body(11, 20), make([]byte, MaxBody)...), 400},
		"an old size above the new":    {Request{Old: 21, Checkpoint: h.at(20).Note}.Body(), 400},
		"an unknown log":               {other.body(0, 5), 404},
		"a long origin":                {Request{Old: 0, Checkpoint: []byte(strings.Repeat("x", 200) + "\n1\n\n")}.Body(), 404},
		"another key":                  {stolen.body(11, 20), 403},
		"no signature":                 {Request{Old: 11, Checkpoint: []byte(text(h.at(20).Note) + "\n")}.Body(), 403},
		"a changed size":               {swap("\n20\n", "\n21\n"), 403},
		"another old size":             {h.body(10, 20), 409},
		"no old size, but it is known": {h.body(0, 20), 409},
		"no proof":                     {Request{Old: 11, Checkpoint: h.at(20).Note}.Body(), 422},
		"a proof of another size":      {Request{Old: 11, Proof: h.proof(11, 21), Checkpoint: h.at(20).Note}.Body(), 422},
		"a proof too long":             {Request{Old: 11, Proof: append(h.proof(11, 20), tlog.Hash{}), Checkpoint: h.at(20).Note}.Body(), 422},
		"a proof where none belongs":   {Request{Old: 11, Proof: h.proof(11, 20), Checkpoint: h.at(11).Note}.Body(), 422},
	} {
		s.refuses(name, c.body, c.code)
	}
	if got := s.docket.All(); len(got) > 0 {
		t.Errorf("bad requests, which anybody can make, became evidence: %v", got)
	}
	s.gone[h.binding.Peer] = true
	s.refuses("no member any more", h.body(11, 20), 403)
	delete(s.gone, h.binding.Peer)
	s.logs[h.binding.Peer] = other.binding.Log
	s.refuses("a validator whose record names another key", h.body(11, 20), 403)
	s.logs[h.binding.Peer] = h.binding.Log
	s.must(h.body(11, 20)) // control
	if _, err := s.Add(h.body(20, 21)); err == nil || err.(*Refusal).Code != 429 {
		t.Errorf("a second checkpoint within a second: %v", err)
	}
	s.must(h.body(20, 21)) // a second later
	s.introduce(other)
	s.refuses("an empty tree with a root", Request{Checkpoint: other.sign(tlog.Tree{Hash: tlog.Hash{1}}).Note}.Body(), 422)
}

func TestOneOriginHasOnePeerAndOneKey(t *testing.T) {
	s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(9, "event")
	mallory := trusttest.Key("mallory")
	claim := func(b audit.Binding, keys ...statement.PrivateKey) []byte {
		st, err := statement.Sign(audit.KindBinding, b, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return st.Bytes()
	}
	theirs := audit.Binding{Origin: h.binding.Origin, Peer: mallory.Public(), Log: h.key.Public()}
	mine := audit.Binding{Origin: h.binding.Origin, Peer: h.binding.Peer, Log: mallory.Public()}
	for name, raw := range map[string][]byte{
		"nothing":                          nil,
		"too long":                         make([]byte, MaxBinding+1),
		"another peer claims the origin":   claim(theirs, mallory, h.key),
		"a key that the peer did not sign": claim(mine, mallory, mallory),
	} {
		var r *Refusal
		if err := s.Bind(raw); !errors.As(err, &r) || r.Code != 403 && r.Code != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.introduce(h)
	second := newHistory(t, trusttest.Key("node peer"), mallory).add(9, "another")
	var r *Refusal
	if err := s.Bind(second.raw); !errors.As(err, &r) || r.Code != 403 || !strings.Contains(r.Reason, "restore") {
		t.Errorf("a second key for one origin: %v", err)
	}
	s.refuses("signed with the second key", second.body(0, 9), 403)
	s.must(h.body(0, 9)) // control
	s.gone[trusttest.Key("late peer").Public()] = true
	if err := s.Bind(nodeHistory(t, "late").raw); !errors.As(err, &r) || r.Code != 403 {
		t.Errorf("a log of no member: %v", err)
	}
	s.Witness.logs = MaxLogs
	if err := s.Bind(nodeHistory(t, "one more").raw); !errors.As(err, &r) || r.Code != 429 {
		t.Errorf("one log too many: %v", err)
	}
	s.introduce(h) // control: known ones stay
}

// A log that shows another history of the same size is convicted at once and for
// good, also when the size is not the newest, and nothing of it is signed again.
func TestTwoHistoriesOfOneSizeAreEvidence(t *testing.T) {
	for _, size := range []int64{12, 9} {
		s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(8, "event")
		forged := h.fork().add(10, "forged")
		h.add(10, "event")
		s.introduce(h)
		s.must(h.body(0, 9))
		s.must(h.body(9, 12))
		if r := s.refuses("forged", forged.body(9, size), 409); size == 12 && r.Size != 12 {
			t.Errorf("409 says %d", r.Size)
		}
		s.reopen()
		e := s.docket.Against(h.binding.Peer)
		if e == nil || e.First.N != size || e.Second.N != size {
			t.Fatalf("size %d: no evidence: %v", size, e)
		}
		if !strings.Contains(e.String(), "different histories") {
			t.Errorf("%q", e)
		}
		s.refuses("after the evidence", h.body(12, 18), 403)
	}
}

// A log that went on from an old copy proves itself that its tree is another.
func TestAProofOfAnotherHistoryIsEvidence(t *testing.T) {
	found := 0
	for old := int64(1); old < 20; old++ {
		s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(int(old)-1, "event")
		forged := h.fork().add(14, "forged")
		h.add(14, "event")
		s.introduce(h)
		s.must(h.body(0, old))
		s.refuses("forged", forged.body(old, old+7), 422)
		e := s.docket.Against(h.binding.Peer)
		if power := old&(old-1) == 0; power != (e == nil) {
			t.Errorf("from %d records: %v", old, e)
		}
		if e != nil {
			found++
			if e.First.N != old || e.Second.N != old+7 || !strings.Contains(e.String(), "does not continue") {
				t.Errorf("%v", e)
			}
			continue
		}
		s.must(h.body(old, old+7)) // control: the true history
	}
	if found == 0 {
		t.Error("nothing was found")
	}
}

// Two histories are sent by many at once: whatever the order, what was signed is one.
func TestConcurrentRequestsSignOneHistory(t *testing.T) {
	s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(3, "event")
	forged := h.fork().add(60, "forged")
	h.add(60, "event")
	s.introduce(h)
	s.must(h.body(0, 3))
	var mu sync.Mutex
	signed := map[*history][]int64{}
	var all sync.WaitGroup
	for i := range 8 {
		who := []*history{h, forged}[i%2]
		all.Go(func() {
			for size := int64(4); size < 60; {
				s.clock.pass(pace)
				_, err := s.Add(who.body(size-1, size))
				var r *Refusal
				switch {
				case err == nil:
					mu.Lock()
					signed[who] = append(signed[who], size)
					mu.Unlock()
					size++
				case errors.As(err, &r) && r.Code == 409 && r.Size >= size && r.Size < 59:
					size = r.Size + 1
				case errors.As(err, &r) && r.Code == 429:
				default:
					return
				}
			}
		})
	}
	all.Wait()
	if len(signed[h]) > 0 && len(signed[forged]) > 0 {
		t.Errorf("two histories are signed: %v", signed)
	}
	latest, err := s.Latest(h.binding.Origin)
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.binding.OpenCheckpoint(latest)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []*history{h, forged} { // one of them is what it signed
		s.Add(who.body(c.N, c.N))
	}
	if s.docket.Against(h.binding.Peer) == nil {
		t.Error("no evidence")
	}
}

// lossy is a store whose writes reach the disk and fail all the same, or are lost.
type lossy struct {
	kv.Memory
	fail, lose bool
}

func (l *lossy) Apply(ops []kv.Op) error {
	if !l.lose {
		if err := l.Memory.Apply(ops); err != nil {
			return err
		}
	}
	if l.fail {
		return errors.New("disk")
	}
	return nil
}

// A crash between keeping a checkpoint and signing it costs nothing: the log asks
// again. A checkpoint that cannot be kept is not signed.
func TestACheckpointIsKeptBeforeItIsSigned(t *testing.T) {
	s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(30, "event")
	disk := &lossy{}
	s.store = disk
	s.reopen()
	s.introduce(h)
	s.must(h.body(0, 9))
	for _, lose := range []bool{true, false} {
		disk.fail, disk.lose = true, lose
		s.clock.pass(pace)
		lines, err := s.Add(h.body(9, 20))
		if lines != nil || err == nil || errors.As(err, new(*Refusal)) {
			t.Fatalf("%q, %v: signed without being kept", lines, err)
		}
		if got := string(Answer(lines, err)); got != "500 the witness failed\n" {
			t.Errorf("%q tells others about the disk", got)
		}
		disk.fail, disk.lose = false, false
		s.reopen()
	}
	if r := s.refuses("it was kept", h.body(9, 20), 409); r.Size != 20 {
		t.Fatalf("409 says %d", r.Size)
	}
	s.must(h.body(20, 20))
	s.must(h.body(20, 30))
}

// A witness that was restored from an old copy is shown what it signed, and says so
// from then on.
func TestARolledBackWitnessFindsOut(t *testing.T) {
	s, h := newStand(t, trusttest.Key("w")), nodeHistory(t, "node").add(30, "event")
	s.introduce(h)
	s.must(h.body(0, 9))
	copied := s.copied()
	lines := s.must(h.body(9, 21))
	s.must(h.body(21, 21))
	if !s.RolledBack().IsZero() {
		t.Fatal("it says so without a reason")
	}
	s.store = copied
	s.reopen()
	s.refuses("it knows of 9", h.body(21, 30), 409)
	if !s.RolledBack().IsZero() { // nobody has shown it anything
		t.Fatal("it guessed")
	}
	other := newCosigner(trusttest.Key("other w"), s.clock.Now)
	foreign, err := other.signatureLine(text(h.at(21).Note))
	if err != nil {
		t.Fatal(err)
	}
	show := h.at(21)
	s.refuses("with another's signature", Request{Old: 8, Checkpoint: append(bytes.Clone(show.Note), foreign...)}.Body(), 409)
	if !s.RolledBack().IsZero() {
		t.Fatal("another witness's signature convinced it")
	}
	s.must(Request{Old: 9, Proof: h.proof(9, 21), Checkpoint: append(show.Note, lines...)}.Body())
	if s.RolledBack() != s.clock.Now().UTC() && !s.RolledBack().Equal(s.clock.Now()) {
		t.Errorf("noticed at %v", s.RolledBack())
	}
	s.reopen()
	if s.RolledBack().IsZero() {
		t.Error("forgotten after a restart")
	}
	s.must(h.body(21, 30))
}

func TestWitnessesFindAForkByComparing(t *testing.T) {
	a, b, c := newStand(t, trusttest.Key("a")), newStand(t, trusttest.Key("b")), newStand(t, trusttest.Key("c"))
	h := nodeHistory(t, "node").add(5, "event")
	forged := h.fork().add(20, "forged")
	h.add(20, "event")
	honest := nodeHistory(t, "honest").add(25, "event")
	for _, s := range []*stand{a, b, c} {
		s.introduce(h)
		s.introduce(honest)
		s.must(honest.body(0, 10))
	}
	a.must(h.body(0, 12))
	a.must(h.body(12, 20))
	b.must(forged.body(0, 12))
	c.must(honest.body(10, 20)) // ahead of the others, which is no fault

	after := uint64(0)
	compare := func(from, to *stand) {
		t.Helper()
		raw, err := from.Answer(Changed, AskChanged(after))
		if err != nil {
			t.Fatal(err)
		}
		page, _, err := ReadChanged(raw)
		if err != nil || len(page) == 0 {
			t.Fatalf("%d checkpoints, %v", len(page), err)
		}
		for _, x := range page {
			if err := to.Compare(x); err != nil {
				t.Fatal(err)
			}
		}
	}
	compare(a, b)
	compare(c, b)
	if len(b.docket.All()) > 0 {
		t.Fatal("sizes that cannot be compared became evidence")
	}
	compare(b, a) // 12 records again, which a cosigned before its newest
	if e := a.docket.Against(h.binding.Peer); e == nil || a.docket.Against(honest.binding.Peer) != nil {
		t.Fatalf("%v", a.docket.All())
	}
	for name, raw := range map[string][]byte{
		"nothing": nil, "long": make([]byte, MaxCheckpoint+1), "unknown": nodeHistory(t, "x").add(1, "e").at(1).Note,
		"forged signature": bytes.Replace(honest.at(10).Note, []byte("\n10\n"), []byte("\n11\n"), 1),
	} {
		if err := a.Compare(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(a.docket.All()) != 1 {
		t.Errorf("%v", a.docket.All())
	}
}

func TestChangesComeInOrderAndInPages(t *testing.T) {
	s := newStand(t, trusttest.Key("w"))
	var all []*history
	for i := range 7 {
		h := nodeHistory(t, fmt.Sprint("node ", i)).add(9, "event")
		all = append(all, h)
		s.introduce(h)
		s.must(h.body(0, 4))
	}
	s.must(all[2].body(4, 9)) // moves to the end
	s.reopen()
	var got []string
	for after := uint64(0); ; {
		page, next, err := s.Since(after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			got = append(got, originOf(c))
		}
		after = next
	}
	if len(got) != 7 || got[0] != all[0].binding.Origin || got[2] != all[3].binding.Origin || got[6] != all[2].binding.Origin {
		t.Errorf("%q", got)
	}
	before := s.Changes()
	s.must(all[1].body(4, 8))
	s.must(all[5].body(4, 8))
	due, next, err := s.Anchors(all[5].binding.Origin, before, 100)
	if err != nil || len(due) != 1 || due[0].Sum != AnchorOf(all[1].at(8).Note) || next != s.Changes() {
		t.Errorf("%v, %d, %v", due, next, err)
	}
	if due, _, err := s.Anchors("", next, 100); err != nil || len(due) != 0 {
		t.Errorf("twice: %v, %v", due, err)
	}
	if page, _, err := s.Since(next+1, 100); err != nil || len(page) != 7 { // of a witness that forgot
		t.Errorf("%d checkpoints after one that never was, %v", len(page), err)
	}
}

// The signer is torchwood's in all but its clock.
func TestCosignaturesAreTorchwoods(t *testing.T) {
	k := trusttest.Key("w")
	s := newCosigner(k, time.Now)
	theirs, err := torchwood.NewCosignatureSigner(Name(k.Public()), s.key)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Key(k.Public()), theirs.Verifier().String(); got != want {
		t.Errorf("%s, torchwood has %s", got, want)
	}
	if s.KeyHash() != theirs.KeyHash() || s.Name() != theirs.Name() {
		t.Error("the names differ")
	}
	line, err := s.signatureLine(text(nodeHistory(t, "n").add(3, "e").at(3).Note))
	if err != nil || len(line) > MaxAnswer {
		t.Errorf("%d bytes, %v", len(line), err)
	}
}
