package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/dustin/go-humanize/english"
	"golang.org/x/mod/sumdb/tlog"
)

// A receipt in a file, with what verifies it:
//
//	"cerebrum-audit-receipt/1\n"
//	CBOR [receipt, request, [proof, ...], [committee record, ...]]
//
// Proofs are as many as the receipt has entries, or none. Every byte is under the
// receipt's signature, under its request digest, or under the signatures that a
// committee record needs.
const receiptMagic = "cerebrum-audit-receipt/1\n"

// MaxReceipt bounds such a file, in bytes.
const MaxReceipt = 8 << 20

// ReceiptFile is the content of such a file.
type ReceiptFile struct {
	_       struct{} `cbor:",toarray"`
	Receipt []byte
	Request []byte
	Proofs  [][]byte
	Network [][]byte
}

// Bytes is the file.
func (f *ReceiptFile) Bytes() ([]byte, error) {
	raw, err := statement.Marshal(f)
	return append([]byte(receiptMagic), raw...), err
}

// IsReceipt reports whether a file begins as one with a receipt does.
func IsReceipt(head []byte) bool { return bytes.HasPrefix(head, []byte(receiptMagic)) }

// RequestReader reads a request whose digest a receipt has: the digest, what was asked
// for and the purpose that was stated. Package quorum of node has one.
type RequestReader func(action event.Action, request []byte) (digest statement.ID, objects [][]byte, purpose string, err error)

// ReceiptReport is what a verified receipt says.
type ReceiptReport struct {
	Owner   *Owner // of the log
	Receipt *receipt.Receipt
	ID      statement.ID
	Objects [][]byte // addresses, or ids of keys, that were asked for
	Purpose string
	Proved  bool // with proofs: the entries stand in the log

	Checkpoint audit.Checkpoint // the proofs', of the first entry; its Note is nil where there are none
	Cosigned   []Cosignature
}

// VerifyReceipt verifies a file with a receipt. An error means that something does not
// hold.
func VerifyReceipt(raw []byte, read RequestReader, x Expect) (*ReceiptReport, error) {
	if len(raw) > MaxReceipt || !IsReceipt(raw) {
		return nil, fmt.Errorf("%w: it is no file with a receipt", receipt.ErrReceipt)
	}
	var f ReceiptFile
	if err := statement.Unmarshal(raw[len(receiptMagic):], &f); err != nil {
		return nil, fmt.Errorf("%w: the file is damaged", receipt.ErrReceipt)
	}
	claimed, _, err := receipt.Peek(f.Receipt)
	if err != nil {
		return nil, err
	}
	out := &ReceiptReport{}
	b, err := out.whose(&f, claimed.Origin, x)
	if err != nil {
		return nil, err
	}
	if out.Receipt, out.ID, err = receipt.Parse(f.Receipt, b.Log); err != nil {
		return nil, err
	}
	if out.Receipt.Network != out.Owner.Network {
		return nil, fmt.Errorf("%w: it is of the network %s", ErrAnchor, out.Receipt.Network)
	}
	var digest statement.ID
	if digest, out.Objects, out.Purpose, err = read(out.Receipt.Action, f.Request); err != nil || digest != out.Receipt.Request {
		return nil, fmt.Errorf("%w: it is for another request than the one beside it", receipt.ErrReceipt)
	}
	return out, out.prove(&f, b, x)
}

// whose finds the validator whose log has an origin.
func (r *ReceiptReport) whose(f *ReceiptFile, origin string, x Expect) (*audit.Binding, error) {
	chain, err := chainOf(f.Network)
	if err != nil {
		return nil, err
	}
	for c, ok := chain.Current(), true; ok; c, ok = c.Before() {
		for _, v := range c.Validators {
			if audit.Origin(v.Peer) != origin {
				continue
			}
			b := &audit.Binding{Origin: origin, Peer: v.Peer, Log: v.Log}
			r.Owner, err = ownerOf(f.Network, b, x.Anchor)
			return b, err
		}
	}
	return nil, fmt.Errorf("%w: no validator in the committee records has the log %s", ErrOwner, event.Clean(origin))
}

func (r *ReceiptReport) prove(f *ReceiptFile, b *audit.Binding, x Expect) error {
	if len(f.Proofs) == 0 {
		if x.Witnesses > 0 {
			return fmt.Errorf("%w: there is no proof with a checkpoint, and %d witnesses are asked for", ErrWitness, x.Witnesses)
		}
		return nil
	}
	if len(f.Proofs) != r.Receipt.Entries() {
		return fmt.Errorf("%w: there are %d of %d entries", audit.ErrProof, len(f.Proofs), r.Receipt.Entries())
	}
	for i, proof := range f.Proofs {
		c, err := r.Receipt.Prove(i, b, proof)
		if err != nil {
			return err
		}
		by, _, err := r.Owner.witnesses(b, c)
		if err != nil {
			return err
		}
		if len(by) < x.Witnesses {
			return fmt.Errorf("%w: %d validators cosigned the checkpoint of entry %d, and %d are asked for", ErrWitness, len(by), r.Receipt.First+int64(i), x.Witnesses)
		}
		if i == 0 {
			r.Checkpoint, r.Cosigned = c, by
		}
	}
	r.Proved = true
	return nil
}

// Overdue reports that the promise has ended and that no proof came with the receipt.
// Where its validator cannot give one either, the receipt is evidence against it.
func (r *ReceiptReport) Overdue(now time.Time) bool {
	return !r.Proved && now.After(time.UnixMilli(r.Receipt.By))
}

// Proves says in sentences what the receipt proves.
func (r *ReceiptReport) Proves() []string {
	x := r.Receipt
	who := "somebody who proved no identity"
	if x.For != (statement.ID{}) {
		who = "the identity " + x.For.String()
	}
	what := fmt.Sprintf("%s of %s", x.Action, things(len(r.Objects)))
	if r.Purpose != "" {
		what += fmt.Sprintf(" (%q)", event.Clean(r.Purpose))
	}
	out := []string{
		fmt.Sprintf("the log %s promised by its signature that its answer to this request is in it", r.Owner.Whose()),
		fmt.Sprintf("%s asked for the %s; the answer was %s", who, what, r.outcomes()),
		fmt.Sprintf("it is in entry %s, since %s by the validator's clock", span(x.First, x.Entries()), stamp(time.UnixMilli(x.Time))),
	}
	for _, o := range r.Objects[:min(len(r.Objects), 4)] {
		out = append(out, "asked for was "+event.Ref(o))
	}
	if !r.Proved {
		return out
	}
	out = append(out, fmt.Sprintf("the validator kept the promise: the entries stand in its log of %s, whose checkpoint it signed", counted(r.Checkpoint.N, "entry", "entries")))
	if n := len(r.Cosigned); n > 0 {
		out = append(out, fmt.Sprintf("%d of %d other validators have seen that checkpoint, the last one at %s", n, r.Owner.others(), stamp(r.Cosigned[n-1].Time)))
	}
	return out
}

// NotProved says in sentences what it does not prove.
func (r *ReceiptReport) NotProved(now time.Time) []string {
	var out []string
	if !r.Owner.Anchored {
		out = append(out, "that the network is yours: name it with --network")
	}
	switch {
	case r.Overdue(now):
		out = append(out, fmt.Sprintf("that the promise was kept: it was to be by %s; redeem the receipt, and where the validator cannot prove it, this is evidence against that validator", stamp(time.UnixMilli(r.Receipt.By))))
	case !r.Proved:
		out = append(out, fmt.Sprintf("that the promise was kept: it is to be by %s", stamp(time.UnixMilli(r.Receipt.By))))
	case len(r.Cosigned) == 0:
		out = append(out, "that nobody was shown another history of the log: no witness cosigned the checkpoint")
	}
	return append(out, "what else the entry says, and that whoever asked read what it was given")
}

func (r *ReceiptReport) outcomes() string {
	done := 0
	for i := range r.Receipt.Entries() {
		if r.Receipt.OutcomeOf(i) == event.OK {
			done++
		}
	}
	n := r.Receipt.Entries()
	switch {
	case n == 1 || done == 0:
		return r.Receipt.Outcome().String()
	case done == n:
		return "ok, for all of them"
	}
	return fmt.Sprintf("ok for %d of %d", done, n)
}

func things(n int) string {
	if n == 1 {
		return "one thing"
	}
	return fmt.Sprintf("%d things", n)
}

// counted says how many there are: of one thing, or of several.
func counted(n int64, one, several string) string {
	return english.Plural(int(n), one, several)
}

func span(first int64, n int) string {
	if n == 1 {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d to %d", first, first+int64(n)-1)
}

// ErrContradicted reports a receipt that a log does not live up to.
var ErrContradicted = errors.New("the log does not live up to the receipt")

// Contradicts reads a bundle of a log against a receipt of the same log: it gives an
// error where an entry that the receipt promises is another one there. Both are signed
// by the log's key, so that together they convict it.
func Contradicts(r *receipt.Receipt, open Opener) error {
	return Read(open, Expect{}, func(e *Entry) error {
		if i := e.Index - r.First; i >= 0 && i < int64(r.Entries()) && r.Hash(int(i)) != tlog.RecordHash(e.Raw) {
			return fmt.Errorf("%w: entry %d is another one", ErrContradicted, e.Index)
		}
		return nil
	})
}
