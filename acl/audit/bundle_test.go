package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// someDisclosures are what the test bundles carry.
var someDisclosures = [][]byte{[]byte("what opens digest 1"), bytes.Repeat([]byte{0}, 3000), {1}}

func bundle(t testing.TB, l *Log, e Export) []byte {
	t.Helper()
	if e.Disclosures == nil {
		e.Disclosures = func(write func([]byte) error) error {
			for _, d := range someDisclosures {
				if err := write(d); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var out bytes.Buffer
	if err := l.ExportBundle(&out, e); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// inspect verifies a bundle and gives what it holds.
func inspect(t testing.TB, raw []byte, c Check) (b *Bundle, leaves, opened [][]byte, err error) {
	t.Helper()
	next := int64(-1)
	c.Record = func(i int64, leaf []byte) error {
		if next >= 0 && i != next {
			t.Fatalf("record %d after %d", i, next-1)
		}
		next = i + 1
		leaves = append(leaves, bytes.Clone(leaf))
		return nil
	}
	c.Disclosure = func(d []byte) error { opened = append(opened, bytes.Clone(d)); return nil }
	b, err = VerifyBundle(bytes.NewReader(raw), c)
	return b, leaves, opened, err
}

func TestABundleGivesBackTheLog(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, 512, 1000} {
		l := filled(t, n)
		network := [][]byte{[]byte("the genesis"), []byte("the record that followed")}
		for _, first := range []int64{0, 1, 256, 300, int64(n)} {
			if first > int64(n) {
				continue
			}
			raw := bundle(t, l, Export{First: first, Network: network})
			b, leaves, opened, err := inspect(t, raw, Check{Peer: peer(t), Known: [][]byte{l.Published().Note}})
			if err != nil {
				t.Fatalf("%d records from %d: %v", n, first, err)
			}
			if b.First != first-first%GroupSize || b.Checkpoint.Tree != l.Head() || b.Binding.Peer != peer(t) {
				t.Fatalf("%d records from %d: the bundle says %+v", n, first, b)
			}
			if fmt.Sprint(b.Network) != fmt.Sprint(network) || fmt.Sprint(opened) != fmt.Sprint(someDisclosures) {
				t.Fatalf("%d records from %d: committee records or disclosures are others", n, first)
			}
			if want := events(int(b.First), n); fmt.Sprint(leaves) != fmt.Sprint(want) {
				t.Fatalf("%d records from %d: %d records came back", n, first, len(leaves))
			}
		}
		if err := l.ExportBundle(io.Discard, Export{First: int64(n) + 1}); err == nil {
			t.Error("a bundle that begins behind the log")
		}
	}
}

// Not one bit of a bundle can change, be cut off or be added, and no record is
// handed out that is not the log's.
func TestEveryBitOfABundleCounts(t *testing.T) {
	l := filled(t, 258)
	want := events(0, 258)
	few := func(write func([]byte) error) error { return write([]byte("what opens digest 1")) }
	for _, first := range []int64{0, 256} {
		good := bundle(t, l, Export{First: first, Network: [][]byte{[]byte("record")}, Disclosures: few})
		mustFail := func(what string, bad []byte) {
			_, leaves, _, err := inspect(t, bad, Check{})
			if err == nil {
				t.Fatalf("%s: accepted", what)
			}
			if !errors.Is(err, ErrTampered) && !errors.Is(err, ErrBinding) && !errors.Is(err, ErrCheckpoint) {
				t.Fatalf("%s: an error of no kind: %v", what, err)
			}
			for i, leaf := range leaves {
				if !bytes.Equal(leaf, want[int(first)+i]) {
					t.Fatalf("%s: a record was handed out that is not the log's", what)
				}
			}
		}
		step := 1
		if first == 0 { // all bits of the short one, a sample of the long one
			step = 97
		}
		if testing.Short() {
			step += 12
		}
		for bit := 0; bit < 8*len(good); bit += step {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			mustFail(fmt.Sprintf("bit %d of %d", bit, 8*len(good)), bad)
		}
		for n := 0; n < len(good); n += step {
			mustFail(fmt.Sprintf("cut to %d bytes", n), good[:n])
		}
		mustFail("a byte behind", append(bytes.Clone(good), 0))
		mustFail("twice", append(bytes.Clone(good), good...))
		if _, _, _, err := inspect(t, good, Check{}); err != nil { // control
			t.Fatal(err)
		}
	}
}

// remake reads a bundle, lets spoil change its frames, and writes it again with
// CRCs and a seal that fit, as a forger with some key would.
func remake(t testing.TB, good []byte, key statement.PrivateKey, spoil func(frames [][]byte) [][]byte) []byte {
	t.Helper()
	in := &frameReader{r: newReader(good[len(bundleMagic):]), sum: sha256.New()}
	var all [][]byte
	for {
		f, err := in.next(maxBundleHead)
		if err != nil {
			break
		}
		all = append(all, bytes.Clone(f))
	}
	var out bytes.Buffer
	w := newFrames(&out)
	w.raw([]byte(bundleMagic))
	for _, f := range spoil(all[:len(all)-1]) {
		w.write(f)
	}
	s, err := statement.Sign(KindBundle, seal{Size: w.size, Sum: w.sum.Sum(nil)}, key)
	if err != nil {
		t.Fatal(err)
	}
	w.write(s.Bytes())
	w.w.Flush()
	return out.Bytes()
}

// The forger repairs every checksum. Records and their order are the root's; the
// rest is the seal's, which takes the log's key.
func TestAForgedBundleIsRefusedAndTheFirstFaultIsNamed(t *testing.T) {
	l := filled(t, 1000)
	good := bundle(t, l, Export{})
	const head, groups, records = 0, 1, 2 // frames
	same := func(f [][]byte) [][]byte { return f }
	if b := remake(t, good, key(t, "log"), same); !bytes.Equal(b, good) { // control
		t.Fatal("a bundle made again is another")
	}
	for name, c := range map[string]struct {
		key   string
		spoil func(f [][]byte) [][]byte
		index int64
		what  string
	}{
		"record edited":   {"log", func(f [][]byte) [][]byte { f[records+700][20] ^= 1; return f }, 512, "records 512 to 767"},
		"last edited":     {"log", func(f [][]byte) [][]byte { f[records+999][20] ^= 1; return f }, 768, "records 768 to 999"},
		"records swapped": {"log", func(f [][]byte) [][]byte { f[records+3], f[records+4] = f[records+4], f[records+3]; return f }, 0, "records 0 to 255"},
		"record left out": {"log", func(f [][]byte) [][]byte { return append(f[:records+300:records+300], f[records+301:]...) }, 256, "records 256 to 511"},
		"record added": {"other", func(f [][]byte) [][]byte {
			return append(f[:records+1000:records+1000], append([][]byte{f[records]}, f[records+1000:]...)...)
		}, -1, "did not sign the seal"},
		"group edited":        {"log", func(f [][]byte) [][]byte { f[groups][40] ^= 1; return f }, -1, "do not give the root"},
		"group left out":      {"log", func(f [][]byte) [][]byte { f[groups] = f[groups][32:]; return f }, -1, "fewer or more roots"},
		"disclosures emptied": {"other", func(f [][]byte) [][]byte { return append(f[:records+1000:records+1000], nil) }, -1, "did not sign the seal"},
		"network exchanged": {"other", func(f [][]byte) [][]byte {
			var h bundleHead
			if err := statement.Unmarshal(f[head], &h); err != nil {
				t.Fatal(err)
			}
			h.Network = [][]byte{[]byte("the record of another network")}
			f[head], _ = statement.Marshal(h)
			return f
		}, -1, "did not sign the seal"},
	} {
		_, _, _, err := inspect(t, remake(t, good, key(t, c.key), c.spoil), Check{})
		var tamper *TamperError
		if !errors.As(err, &tamper) || tamper.Index != c.index || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: %v; want record %d and %q", name, err, c.index, c.what)
		}
	}
}

// Nothing but the seal covers the disclosures.
func TestExchangedDisclosuresBreakTheSeal(t *testing.T) {
	good := bundle(t, filled(t, 3), Export{})
	from, to := []byte("what opens digest 1"), []byte("what opens digest 2")
	bad := bytes.Replace(good, from, to, 1)
	at := bytes.Index(bad, to)
	binary.BigEndian.PutUint32(bad[at-4:], frameCheck(bad[at-8:at-4], to))
	if _, _, _, err := inspect(t, bad, Check{}); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "the seal is of other bytes") {
		t.Errorf("%v", err)
	}
	binary.BigEndian.PutUint32(good[at-4:], frameCheck(good[at-8:at-4], from)) // control
	if _, _, _, err := inspect(t, good, Check{}); err != nil {
		t.Error(err)
	}
}

// A log that fits its bundle is not yet the log that others saw.
func TestABundleOfAnotherHistoryBreaksWhatOthersKnow(t *testing.T) {
	l := filled(t, 600)
	good := bundle(t, l, Export{})
	before := l.Published().Note
	add(t, l, 600, 700)
	later, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := inspect(t, good, Check{Known: [][]byte{later.Note}}); !errors.Is(err, ErrTampered) {
		t.Errorf("rolled back: %v", err)
	}
	fork := filled(t, 0)
	for i := range 700 {
		e := event(i)
		if i == 300 {
			e[0] ^= 1 // another decision
		}
		if err := fork.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fork.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	forked := bundle(t, fork, Export{})
	if _, _, _, err := inspect(t, forked, Check{Known: [][]byte{before}}); !errors.Is(err, ErrTampered) {
		t.Errorf("forked: %v", err)
	}
	if _, _, _, err := inspect(t, bundle(t, fork, Export{First: 650}), Check{Known: [][]byte{before}}); !errors.Is(err, ErrTampered) {
		t.Errorf("forked, and only the end shown: %v", err)
	}
	if _, _, _, err := inspect(t, bundle(t, l, Export{First: 650}), Check{Known: [][]byte{fork.Published().Note}}); !errors.Is(err, ErrTampered) {
		t.Errorf("the log beside its fork's checkpoint: %v", err)
	}
	whole := bundle(t, l, Export{})
	if _, _, _, err := inspect(t, whole, Check{Known: [][]byte{before, later.Note}}); err != nil { // control
		t.Error(err)
	}
	small := filled(t, 100)
	if _, _, _, err := inspect(t, bundle(t, l, Export{First: 300}), Check{Known: [][]byte{small.Published().Note}}); err == nil {
		t.Error("a checkpoint of records that are left out was compared")
	}
	if _, _, _, err := inspect(t, whole, Check{Peer: key(t, "somebody else").Public()}); !errors.Is(err, ErrBinding) {
		t.Errorf("another peer's log: %v", err)
	}
}

// Who must have signed the checkpoint is the reader's to say.
func TestABundleWithoutItsQuorumIsRefused(t *testing.T) {
	l := filled(t, 10)
	witnesses, known := witnesses(t, 3)
	want := func(n int) Check {
		return Check{Policy: func(network [][]byte, b *Binding) (torchwood.Policy, error) {
			if len(network) != 1 || b.Peer != peer(t) {
				t.Errorf("the policy is asked about %d records of %v", len(network), b.Peer)
			}
			var each []torchwood.Policy
			for _, w := range witnesses {
				each = append(each, torchwood.SingleVerifierPolicy(w.Verifier()))
			}
			return torchwood.ThresholdPolicy(n, each...), nil
		}}
	}
	e := Export{Network: [][]byte{[]byte("record")}}
	if _, _, _, err := inspect(t, bundle(t, l, e), want(2)); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("no cosignatures: %v", err)
	}
	var err error
	if e.Checkpoint, err = l.Cosign(l.Published().Note, cosign(t, l.Published().Note, witnesses[:2]...), known); err != nil {
		t.Fatal(err)
	}
	cosigned := bundle(t, l, e)
	if _, _, _, err := inspect(t, cosigned, want(3)); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("two of three: %v", err)
	}
	if _, _, _, err := inspect(t, cosigned, want(2)); err != nil { // control
		t.Error(err)
	}
	failed := errors.New("the committee record does not verify")
	check := Check{Policy: func([][]byte, *Binding) (torchwood.Policy, error) { return nil, failed }}
	if _, _, _, err := inspect(t, cosigned, check); !errors.Is(err, failed) {
		t.Errorf("no policy: %v", err)
	}
}

func TestDisclosuresThatDoNotFitAreRefused(t *testing.T) {
	l := filled(t, 1)
	for _, d := range [][]byte{{}, make([]byte, MaxDisclosure+1)} {
		err := l.ExportBundle(io.Discard, Export{Disclosures: func(write func([]byte) error) error { return write(d) }})
		if err == nil {
			t.Errorf("a disclosure of %d bytes", len(d))
		}
	}
	failed := errors.New("the store does not answer")
	if err := l.ExportBundle(io.Discard, Export{Disclosures: func(func([]byte) error) error { return failed }}); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
	full := errors.New("no space left on device")
	if err := l.ExportBundle(failingWriter{full}, Export{}); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// A head that promises more records than there could be takes no memory.
func TestABundleThatLiesAboutItsSizeTakesNoMemory(t *testing.T) {
	l := filled(t, 1)
	huge, err := signCheckpoint(l.signer, &mark{place: place{n: 1 << 50}})
	if err != nil {
		t.Fatal(err)
	}
	good := bundle(t, l, Export{})
	bad := remake(t, good, key(t, "log"), func(f [][]byte) [][]byte {
		var h bundleHead
		if err := statement.Unmarshal(f[0], &h); err != nil {
			t.Fatal(err)
		}
		h.Checkpoint = huge.Note
		f[0], err = statement.Marshal(h)
		return f
	})
	if n := testing.AllocsPerRun(1, func() { VerifyBundle(bytes.NewReader(bad), Check{}) }); n > 2000 {
		t.Errorf("%v allocations", n)
	}
	if _, err := VerifyBundle(bytes.NewReader(bad), Check{}); !errors.Is(err, ErrTampered) {
		t.Errorf("%v", err)
	}
}

func FuzzVerifyBundle(f *testing.F) {
	l := filled(f, 300)
	for _, first := range []int64{0, 256} {
		good := bundle(f, l, Export{First: first, Network: [][]byte{[]byte("record")}})
		f.Add(good)
		f.Add(good[:len(good)/2])
	}
	f.Add([]byte(bundleMagic))
	root := l.Head()
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := int64(0)
		b, err := VerifyBundle(bytes.NewReader(raw), Check{Record: func(i int64, leaf []byte) error {
			if n++; tlog.RecordHash(leaf) != tlog.RecordHash(events(int(i), int(i)+1)[0]) {
				t.Fatalf("record %d is not the log's", i)
			}
			return nil
		}})
		if err == nil && (b.Checkpoint.Tree != root || b.First+n != root.N) {
			t.Fatalf("a bundle that nobody made: %+v", b)
		}
	})
}

// Behind the checksums: one frame changed, cut, repeated or left out, with CRCs and
// a seal of the log's own key that fit. What is not a disclosure is the log's, or
// the bundle is refused.
func FuzzBundleFrames(f *testing.F) {
	l := filled(f, 300)
	good := bundle(f, l, Export{First: 256, Network: [][]byte{[]byte("record")}})
	root, log := l.Head(), key(f, "log")
	f.Add(uint8(0), uint16(30), []byte{1}, false)
	f.Add(uint8(1), uint16(31), []byte{0x80}, false)
	f.Add(uint8(2), uint16(5), []byte{}, true)
	f.Add(uint8(44), uint16(9), []byte{1, 2, 3}, true)
	f.Fuzz(func(t *testing.T, which uint8, at uint16, change []byte, more bool) {
		raw := remake(t, good, log, func(all [][]byte) [][]byte {
			i := int(which) % len(all)
			frame := all[i][:min(int(at), len(all[i]))]
			all[i] = append(bytes.Clone(frame), change...)
			if more {
				all = append(all[:i+1:i+1], all[i:]...)
			}
			return all
		})
		n := int64(0)
		b, err := VerifyBundle(bytes.NewReader(raw), Check{Record: func(i int64, leaf []byte) error {
			if n++; !bytes.Equal(leaf, event(int(i))) {
				t.Fatalf("record %d is not the log's", i)
			}
			return nil
		}})
		if err == nil && (b.Checkpoint.Tree != root || b.First+n != root.N) {
			t.Fatalf("a bundle that nobody made: %+v", b)
		}
	})
}
