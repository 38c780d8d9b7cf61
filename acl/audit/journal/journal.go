// Package journal joins the three parts of an audit log: the leaves that stay for
// ever (package audit), the disclosures beside them (package sidecar) and the table
// of persons that can forget (package people).
//
// An act that must leave evidence is recorded first and happens after
// [Journal.Append] has returned nil: then leaf and disclosures are on the disk, and
// so are the keys that open them. When it cannot be recorded it does not happen.
//
// # Beside a leaf
//
//	CBOR [1, [[pseudonym, ciphertext], ...]]
//
// with one ciphertext for each person that the event concerns, XChaCha20-Poly1305
// under that person's key, of the CBOR list of its disclosures, bound to the hash
// of the leaf. What concerns nobody is under the log's own key. The pseudonym is
// that person's for the quarter of the event, so that the file tells no more about
// who is in it than leaves do.
//
// # Forgetting
//
// [Journal.Forget] logs that it is done, under the pseudonym alone, and destroys the
// person's key. No leaf, root or proof changes. Claims of other persons in the same
// events stay readable: that an object was read remains known to its owner, by whom
// does not.
//
//	j, err := journal.Open(log, dir, table)
//	go j.Run(ctx)
//	err = j.Append(ctx, event.Event{Time: now.UnixMilli(), Action: event.Release, Outcome: event.OK, Actor: who, ...})
//	err = j.Scan(func(e *journal.Entry) error {
//		opened, err := e.Open()
//		...
//	})
package journal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/people"
	"cerebrum.dev/cerebrum/acl/audit/sidecar"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/mod/sumdb/tlog"
)

// sideName is the file of disclosures, in the log's folder.
const sideName = "disclosures"

// Journal is an open log of events. Any number of callers append and read; Run
// writes.
type Journal struct {
	log    *audit.Log
	side   *sidecar.File
	people *people.Table
}

// Open joins a log, which was opened and does not run yet, with the disclosures in
// dir, the log's folder, and a table of persons. The journal owns the log from then
// on, on an error too. Damaged disclosures do not keep it from opening: see
// [Journal.Lost].
func Open(log *audit.Log, dir string, people *people.Table) (*Journal, error) {
	path := filepath.Join(dir, sideName)
	err := sidecar.Prune(path, log.First())
	var side *sidecar.File
	if err == nil {
		side, err = sidecar.Open(path, log.First(), log.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("audit log: %w", err), log.Close())
	}
	log.Attach(side)
	return &Journal{log: log, side: side, people: people}, nil
}

// Log is the log of leaves.
func (j *Journal) Log() *audit.Log { return j.log }

// Run writes what is appended: see [audit.Log.Run].
func (j *Journal) Run(ctx context.Context) error { return j.log.Run(ctx) }

// Running is closed once Run takes events; before, Append is refused.
func (j *Journal) Running() <-chan struct{} { return j.log.Running() }

// Size is the number of durable leaves.
func (j *Journal) Size() int64 { return j.log.Size() }

// Lost tells how many leaves lacked their disclosures when the journal was opened:
// those of a crash, of which nobody had been told, and those that were damaged.
func (j *Journal) Lost() int64 {
	_, n := j.side.Lost()
	return n
}

// Close ends Run, waits for it, and releases the files.
func (j *Journal) Close() error { return errors.Join(j.log.Close(), j.side.Close()) }

// Append records events, in order. On nil they are durable. [event.ErrEvent],
// [audit.ErrFull] and [audit.ErrClosed] record nothing; after any other error, and
// when ctx ends first, they may be recorded or not. Whatever the error, the act that
// was to be recorded must not happen.
func (j *Journal) Append(ctx context.Context, events ...event.Event) error {
	_, _, err := j.Enter(ctx, events...)
	return err
}

// Enter is [Journal.Append] and says where the events stand: the index of the first
// leaf, which the others follow, and the hash of each.
func (j *Journal) Enter(ctx context.Context, events ...event.Event) (first int64, hashes []tlog.Hash, err error) {
	if len(events) == 0 {
		return j.log.Size(), nil, nil
	}
	leaves, items := make([][]byte, len(events)), make([][]byte, len(events))
	hashes = make([]tlog.Hash, len(events))
	for i := range events {
		if leaves[i], items[i], err = j.seal(&events[i]); err != nil {
			return 0, nil, err
		}
		hashes[i] = tlog.RecordHash(leaves[i])
	}
	first, err = j.log.Record(ctx, leaves, items)
	return first, hashes, err
}

// Prove proves that the leaf at an index stands in the log: see
// [audit.Log.ProveInclusion]. Where no checkpoint covers it yet, one is made.
func (j *Journal) Prove(ctx context.Context, index int64) ([]byte, error) {
	proof, err := j.log.ProveInclusion(index)
	if errors.Is(err, audit.ErrUnsigned) && index < j.Size() {
		if _, err = j.log.Checkpoint(ctx); err == nil {
			proof, err = j.log.ProveInclusion(index)
		}
	}
	return proof, err
}

// item is what is kept beside a leaf.
type item struct {
	_      struct{} `cbor:",toarray"`
	Format uint16
	Parts  []part
}

// part are the sealed disclosures of one person.
type part struct {
	_      struct{} `cbor:",toarray"`
	Of     event.Pseudonym
	Sealed []byte
}

const format = 1

// seal gives the leaf of an event and what is kept beside it. The keys that it uses
// are durable.
func (j *Journal) seal(e *event.Event) (leaf, beside []byte, err error) {
	who := append(e.People(), statement.ID{})
	rows, err := j.people.Ensure(who...)
	if err != nil {
		return nil, nil, err
	}
	q := people.QuarterOf(time.UnixMilli(e.Time))
	var as event.Pseudonym
	if e.Actor != (statement.ID{}) {
		as = rows[0].Pseudonym(q) // the actor is the first of the people
	}
	leaf, disclosures, err := e.Commit(as)
	if err != nil {
		return nil, nil, err
	}
	it, context := item{Format: format}, bound(leaf)
	for i, r := range rows {
		var texts []string
		for _, d := range disclosures {
			if d.Of == who[i] {
				texts = append(texts, d.Text)
			}
		}
		if len(texts) == 0 {
			continue
		}
		raw, err := statement.Marshal(texts)
		if err != nil {
			return nil, nil, err
		}
		it.Parts = append(it.Parts, part{Of: r.Pseudonym(q), Sealed: r.Seal(raw, context)})
	}
	beside, err = statement.Marshal(it)
	if err == nil && len(beside) > sidecar.MaxItem {
		err = fmt.Errorf("%w: its claims are too long", event.ErrEvent)
	}
	return leaf, beside, err
}

// bound is what disclosures are bound to: they open beside their leaf alone.
func bound(leaf []byte) []byte {
	sum := sha256.Sum256(leaf)
	return append([]byte("cerebrum.dev/audit-claims/v1 "), sum[:]...)
}

// Forget makes the log forget a person, and records that it does, under the person's
// pseudonym of this quarter and with no claims: in such a leaf the pseudonym is not
// of who acted but of who is forgotten. rule names why. On nil the key is destroyed;
// it may be repeated. A person whom the log does not know is not mentioned.
func (j *Journal) Forget(ctx context.Context, who statement.ID, now time.Time, rule string) error {
	if who == (statement.ID{}) {
		return people.ErrNobody
	}
	if j.people.Row(who) == nil {
		return nil
	}
	e := event.Event{Time: now.UnixMilli(), Action: event.Forget, Outcome: event.OK, Rule: rule, Actor: who}
	if err := j.Append(ctx, e); err != nil {
		return err
	}
	return j.people.Forget(who)
}

// Entry is one durable leaf, valid until the function that was given it returns.
type Entry struct {
	Index int64
	Raw   []byte      // the leaf's bytes
	Leaf  *event.Leaf // nil: the leaf is not an event, but a note of the log itself

	journal *Journal
	item    []byte
	lost    bool
}

// Time is when the act was decided.
func (e *Entry) Time() time.Time { return time.UnixMilli(e.Leaf.Time) }

// Actor is the person behind the leaf's pseudonym; false where nobody acted or the
// person was forgotten.
func (e *Entry) Actor() (who statement.ID, known bool) {
	r := e.journal.people.Behind(e.Leaf.Actor, people.QuarterOf(e.Time()))
	if r == nil || e.Leaf.Actor == (event.Pseudonym{}) {
		return statement.ID{}, false
	}
	return r.Who, true
}

// Opened is what can still be shown of an event.
type Opened struct {
	Claims      []event.Claim // with whom they concern
	Disclosures []string      // the same, for whoever checks them against the leaf
	Erased      int           // persons whose claims were forgotten
	Lost        bool          // the claims are lost: see [Journal.Lost]
	Damaged     error         // of [Journal.ScanOpened]: they are lost because what is there was not written with this leaf
}

// Open opens the disclosures that are left of an event and checks each against the
// leaf. An error means that what is there was not written with this leaf.
func (e *Entry) Open() (*Opened, error) {
	out, of, err := e.unseal()
	if err != nil || len(out.Disclosures) == 0 {
		return out, err
	}
	if out.Claims, err = event.Open(e.Leaf, out.Disclosures); err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	for i := range out.Claims {
		out.Claims[i].Of = of[i]
	}
	return out, nil
}

// unseal opens what is left beside an event, without looking into it, and says whom
// each text concerns. That it was sealed for this leaf, the ciphertexts prove.
func (e *Entry) unseal() (out *Opened, of []statement.ID, err error) {
	out = &Opened{Lost: e.lost}
	if e.lost || e.Leaf == nil {
		return out, nil, nil
	}
	parts, err := readItem(e.item)
	if err != nil {
		return nil, nil, fmt.Errorf("entry %d: what is kept beside it cannot be read", e.Index)
	}
	q, context := people.QuarterOf(e.Time()), bound(e.Raw)
	for _, p := range parts {
		r := e.journal.people.Behind(p.Of, q)
		if r == nil {
			out.Erased++
			continue
		}
		var texts []string
		raw, err := r.Open(p.Sealed, context)
		if err == nil {
			texts, err = readTexts(raw)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("entry %d: what is kept beside it was not written with it", e.Index)
		}
		out.Disclosures = append(out.Disclosures, texts...)
		of = append(of, slices.Repeat([]statement.ID{r.Who}, len(texts))...)
	}
	return out, of, nil
}

// readItem reads what [statement.Marshal] wrote of an item. The parts are parts of raw.
func readItem(raw []byte) ([]part, error) {
	r := statement.NewReader(raw)
	if r.List(2) != 2 || r.Uint(format) != format {
		return nil, statement.ErrMalformed
	}
	parts := make([]part, r.List(len(raw)))
	for i := range parts {
		if r.List(2) != 2 {
			return nil, statement.ErrMalformed
		}
		if of := r.Bytes(); len(of) == len(parts[i].Of) {
			parts[i].Of = event.Pseudonym(of)
		} else {
			return nil, statement.ErrMalformed
		}
		parts[i].Sealed = r.Bytes()
	}
	return parts, r.Done()
}

// readTexts reads a list of texts.
func readTexts(raw []byte) ([]string, error) {
	r := statement.NewReader(raw)
	texts := make([]string, r.List(event.MaxClaims))
	for i := range texts {
		texts[i] = r.Text()
	}
	return texts, r.Done()
}
