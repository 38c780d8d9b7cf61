package evidence

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

// plainly reads requests of these tests, which are their own digests' preimage.
func plainly(_ event.Action, request []byte) (statement.ID, [][]byte, string, error) {
	if len(request) == 0 {
		return statement.ID{}, nil, "", errors.New("no request")
	}
	return statement.Hash("request", request), [][]byte{request}, "care", nil
}

// promise logs two releases and gives the receipt for them.
func promise(t testing.TB, p *party) []byte {
	t.Helper()
	first, hashes, err := p.Enter(t.Context(), release(1), release(2))
	if err != nil {
		t.Fatal(err)
	}
	r := receipt.Receipt{Action: event.Release, Request: statement.Hash("request", []byte("please")), For: bob, First: first}
	for _, h := range hashes {
		r.Add(h, event.OK)
	}
	i := receipt.Issuer{Network: trusttest.New(t, "net", 4).Network(), Origin: p.Log().Binding().Origin, Key: p.key}
	raw, err := i.Issue(r, now)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func fileOf(t testing.TB, f ReceiptFile) []byte {
	t.Helper()
	raw, err := f.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func proofsOf(t testing.TB, p *party, first, n int64) (out [][]byte) {
	t.Helper()
	for i := first; i < first+n; i++ {
		proof, err := p.Prove(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, proof)
	}
	return out
}

func TestAReceiptWithAndWithoutItsProof(t *testing.T) {
	_, records, anchor := network(t)
	p := validator(t).fill(t, 5)
	raw := promise(t, p)
	bare := fileOf(t, ReceiptFile{Receipt: raw, Request: []byte("please"), Network: records})
	r, err := VerifyReceipt(bare, plainly, Expect{Anchor: anchor})
	if err != nil || r.Proved || r.Owner.Seat != 1 || r.Receipt.First != 5 {
		t.Fatalf("%v, %+v", err, r)
	}
	if r.Overdue(now) || !r.Overdue(now.Add(time.Hour)) {
		t.Error("a promise ends at another time than it says")
	}
	if text := strings.Join(r.NotProved(now.Add(time.Hour)), "\n"); !strings.Contains(text, "evidence against that validator") {
		t.Error(text)
	}
	p.cosign(t, p.checkpoint(t), 1, 2)
	whole := fileOf(t, ReceiptFile{Receipt: raw, Request: []byte("please"), Proofs: proofsOf(t, p, 5, 2), Network: records})
	if r, err = VerifyReceipt(whole, plainly, Expect{Anchor: anchor, Witnesses: 2}); err != nil || !r.Proved || len(r.Cosigned) != 2 || r.Overdue(now.Add(time.Hour)) {
		t.Fatalf("%v, %+v", err, r)
	}
	text := strings.Join(append(r.Proves(), r.NotProved(now)...), "\n")
	for _, want := range []string{"of validator 1", bob.String(), "(\"care\")", "entry 5 to 6", "kept the promise", "2 of 3 other validators", "ok, for all"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	refused(t, "without the proof", errorOf(VerifyReceipt(bare, plainly, Expect{Witnesses: 1})), "no proof")
	refused(t, "too few witnesses", errorOf(VerifyReceipt(whole, plainly, Expect{Witnesses: 3})), "2 validators cosigned")
}

func errorOf(_ *ReceiptReport, err error) error { return err }

func TestReceiptsThatDoNotHold(t *testing.T) {
	net, records, _ := network(t)
	p := validator(t).fill(t, 5)
	raw := promise(t, p)
	p.fill(t, 3)
	proofs := proofsOf(t, p, 0, p.Size())
	good := ReceiptFile{Receipt: raw, Request: []byte("please"), Proofs: proofs[5:7], Network: records}
	with := func(change func(*ReceiptFile)) []byte {
		f := good
		change(&f)
		return fileOf(t, f)
	}
	thief := stolenKey(t)
	other := promise(t, logOf(t, trusttest.Key("net validator 1 peer"), trusttest.Key("net validator 1 log")).fill(t, 5))
	for name, file := range map[string][]byte{
		"of another request":                            with(func(f *ReceiptFile) { f.Request = []byte("another") }),
		"of no request":                                 with(func(f *ReceiptFile) { f.Request = nil }),
		"signed by a thief":                             with(func(f *ReceiptFile) { f.Receipt = thief }),
		"with another's proofs":                         with(func(f *ReceiptFile) { f.Receipt = other }),
		"with proofs of other places":                   with(func(f *ReceiptFile) { f.Proofs = proofs[4:6] }),
		"with a proof too few":                          with(func(f *ReceiptFile) { f.Proofs = proofs[5:6] }),
		"with a proof too many":                         with(func(f *ReceiptFile) { f.Proofs = proofs[5:8] }),
		"with no records":                               with(func(f *ReceiptFile) { f.Network = nil }),
		"of a network that does not have the validator": with(func(f *ReceiptFile) { f.Network = [][]byte{trusttest.New(t, "other", 4).Raw()} }),
		"no receipt":                                    []byte("cerebrum-audit-bundle/1\n"),
		"cut short":                                     fileOf(t, good)[:100],
		"with an end":                                   append(fileOf(t, good), 0),
		"far too long":                                  append([]byte(receiptMagic), make([]byte, MaxReceipt)...),
	} {
		refused(t, name, errorOf(VerifyReceipt(file, plainly, Expect{})))
	}
	refused(t, "of a foreign network", errorOf(VerifyReceipt(fileOf(t, good), plainly, Expect{Anchor: Anchor{Network: statement.Hash("x")}})), net.Network().String())
	whole := fileOf(t, good)
	for i := 0; i < len(whole); i += 3 {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		if _, err := VerifyReceipt(bad, plainly, Expect{}); err == nil {
			t.Fatalf("byte %d of %d may change", i, len(whole))
		}
	}
	if _, err := VerifyReceipt(whole, plainly, Expect{}); err != nil { // the negative control
		t.Error(err)
	}
}

// stolenKey is a receipt in a validator's name, signed with a key of somebody else.
func stolenKey(t *testing.T) []byte {
	p := logOf(t, trusttest.Key("net validator 0 peer"), trusttest.Key("stolen")).fill(t, 5)
	return promise(t, p)
}

// A validator that gave a receipt and then shows a log without the entry has signed
// both.
func TestAReceiptConvictsALogThatWasRewritten(t *testing.T) {
	p := validator(t).fill(t, 5)
	r, _, err := receipt.Parse(promise(t, p), p.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	rewritten := validator(t).fill(t, 5).fill(t, 5)
	look := func(p *party) error {
		raw := p.bundle(t, Export{})
		return Contradicts(r, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
	}
	if err := look(rewritten); !errors.Is(err, ErrContradicted) {
		t.Errorf("a log without the entry: %v", err)
	}
	if err := look(p); err != nil {
		t.Errorf("the log that it is of: %v", err)
	}
}

// An auditor who held a log to receipts reads in the report that it lives up to them.
func TestAReportSaysWhichReceiptsTheLogLivesUpTo(t *testing.T) {
	_, records, anchor := network(t)
	p := validator(t).fill(t, 5)
	kept, err := VerifyReceipt(fileOf(t, ReceiptFile{Receipt: promise(t, p), Request: []byte("please"), Network: records}), plainly, Expect{Anchor: anchor})
	if err != nil {
		t.Fatal(err)
	}
	r, err := verify(p.bundle(t, Export{Network: records}), Expect{Anchor: anchor})
	if err != nil {
		t.Fatal(err)
	}
	want := "the entries 5 to 6 are what the receipt " + kept.ID.String() + " promised"
	if slices.Contains(r.Proves(now), want) {
		t.Error("a receipt is proven that nobody held the log to")
	}
	if r.Kept = append(r.Kept, kept); !slices.Contains(r.Proves(now), want) {
		t.Errorf("%q is not in %q", want, r.Proves(now))
	}
}

func FuzzVerifyReceipt(f *testing.F) {
	_, records, _ := network(f)
	p := validator(f).fill(f, 5)
	raw := promise(f, p)
	f.Add(fileOf(f, ReceiptFile{Receipt: raw, Request: []byte("please"), Proofs: proofsOf(f, p, 5, 2), Network: records}))
	f.Add(fileOf(f, ReceiptFile{Receipt: raw, Request: []byte("please"), Network: records}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := VerifyReceipt(raw, plainly, Expect{})
		if err != nil {
			return
		}
		if r.Receipt.Hash(0) == (tlog.Hash{}) || len(r.Proves()) == 0 || len(r.NotProved(now)) == 0 || audit.Origin(r.Owner.Peer) != r.Receipt.Origin {
			t.Errorf("%+v", r)
		}
	})
}
