// Package people is the table that says who stands behind the pseudonyms of one
// audit log. It is the part of the log that can forget.
//
// Each person has one row: a random secret of 32 bytes. From it follow
//
//   - the pseudonym for each quarter, HMAC-SHA256(secret, quarter), cut to 16
//     bytes, which stands in leaves instead of the person;
//   - the key under which the person's disclosures are sealed beside the log.
//
// Secrets are random and of one table, so that pseudonyms of two logs, or of two
// quarters, cannot be linked by anybody who does not have the row. They are not
// derived from a key of the whole log: that could not be destroyed for one person.
//
// A row, with the person's id, is sealed in the erasable store of the home; the
// database holds a random name and the ciphertext. [Table.Forget] overwrites the
// slot. Then nothing that is left, in whatever old page of the database, tells
// that the person was ever there, and the pseudonyms and disclosures mean nothing.
//
//	t, err := people.Open(store, secrets)
//	rows, err := t.Ensure(who)           // durable on nil: now it may be used
//	as := rows[0].Pseudonym(people.QuarterOf(now))
//	...
//	err = t.Forget(who)                  // durable on nil
//
// Whoever is not a person, the node itself, is the zero id. It has a row like
// everybody, with the log's own key, and is never forgotten.
package people

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// MaxPeople bounds a table, which is in memory as a whole (about 300 bytes each).
const MaxPeople = 1 << 20

var (
	// ErrFull reports a table without room for another person.
	ErrFull = errors.New("the audit log's table of persons is full")
	// ErrFailed reports a table that writes nothing because a write failed, until
	// it is opened again.
	ErrFailed = errors.New("the audit log's table of persons failed and writes nothing until it is opened again")
	// ErrNobody reports that the log's own row was to be forgotten.
	ErrNobody = errors.New("the log's own key is no person's")
)

// Secrets is the erasable store of the home.
type Secrets interface {
	// SealMany returns once the slots that open the items are durable.
	SealMany(items []keystore.Item) ([]keystore.Sealed, error)
	// Open fails with [keystore.ErrErased] where the slot was destroyed.
	Open(s keystore.Sealed, aad []byte) ([]byte, error)
	// Erase destroys the slots for good, durably on return, and may be repeated.
	Erase(sealed ...keystore.Sealed) error
}

// Quarter counts quarters of years, in UTC.
type Quarter uint32

// QuarterOf is the quarter of a time.
func QuarterOf(t time.Time) Quarter {
	t = t.UTC()
	return Quarter(t.Year()*4 + (int(t.Month())-1)/3)
}

// Begin is the first moment of a quarter.
func (q Quarter) Begin() time.Time {
	return time.Date(int(q)/4, time.Month(int(q)%4*3+1), 1, 0, 0, 0, 0, time.UTC)
}

// End is the first moment behind a quarter.
func (q Quarter) End() time.Time { return (q + 1).Begin() }

// Row is what a table knows of one person. What it says never changes.
type Row struct {
	Who    statement.ID
	name   [16]byte // of the entry in the database
	sealed keystore.Sealed
	secret [32]byte
	aead   cipher.AEAD
	last   atomic.Pointer[dated] // the pseudonym that was asked for last
}

type dated struct {
	quarter Quarter
	name    event.Pseudonym
}

// Pseudonym is what stands for the person in leaves of a quarter.
func (r *Row) Pseudonym(q Quarter) (p event.Pseudonym) {
	if l := r.last.Load(); l != nil && l.quarter == q {
		return l.name
	}
	h := hmac.New(sha256.New, r.secret[:])
	h.Write([]byte("cerebrum.dev/audit-pseudonym/v1"))
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(q)))
	copy(p[:], h.Sum(nil))
	r.last.Store(&dated{q, p})
	return p
}

// Seal encrypts what concerns the person. It opens only with the same context.
func (r *Row) Seal(plaintext, context []byte) []byte {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plaintext)+chacha20poly1305.Overhead)
	rand.Read(nonce)
	return r.aead.Seal(nonce, nonce, plaintext, context)
}

// Open decrypts what Seal gave.
func (r *Row) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, errors.New("the ciphertext is too short")
	}
	return r.aead.Open(nil, sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:], context)
}

// Table is the open table. It may be used by several goroutines.
type Table struct {
	store   kv.Store
	secrets Secrets
	damaged int

	writing sync.Mutex // held by whoever adds or removes rows
	failed  error      // guarded by writing

	mu     sync.RWMutex // guards what follows
	rows   map[statement.ID]*Row
	behind map[Quarter]map[event.Pseudonym]*Row // filled when a quarter is asked for
}

// content is what is sealed of a row.
type content struct {
	_      struct{} `cbor:",toarray"`
	Format uint16
	Who    statement.ID
	Secret [32]byte
}

const format = 1

func context(name [16]byte) []byte { return append([]byte("audit-person "), name[:]...) }

// Open reads a table. store belongs to the table alone. Rows whose secret was
// destroyed before a crash are removed; rows that are damaged are passed over and
// counted ([Table.Damaged]).
func Open(store kv.Store, secrets Secrets) (*Table, error) {
	t := &Table{store: store, secrets: secrets, rows: map[statement.ID]*Row{}, behind: map[Quarter]map[event.Pseudonym]*Row{}}
	var gone []kv.Op
	err := store.Scan(nil, nil, func(key, value []byte) (bool, error) {
		r, err := t.read(key, value)
		switch {
		case errors.Is(err, keystore.ErrErased):
			gone = append(gone, kv.Op{Key: append([]byte(nil), key...), Delete: true})
		case errors.Is(err, keystore.ErrDamaged):
			t.damaged++
		case err != nil:
			return false, err
		default:
			t.rows[r.Who] = r
		}
		return true, nil
	})
	if err == nil && len(gone) > 0 {
		err = store.Apply(gone)
	}
	if err != nil {
		return nil, fmt.Errorf("the audit log's table of persons: %w", err)
	}
	return t, nil
}

func (t *Table) read(key, value []byte) (*Row, error) {
	var r Row
	if len(key) != len(r.name) || statement.Unmarshal(value, &r.sealed) != nil {
		return nil, keystore.ErrDamaged
	}
	copy(r.name[:], key)
	raw, err := t.secrets.Open(r.sealed, context(r.name))
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	var c content
	if err := statement.Unmarshal(raw, &c); err != nil || c.Format != format {
		return nil, keystore.ErrDamaged
	}
	r.Who, r.secret = c.Who, c.Secret
	return &r, r.derive()
}

func (r *Row) derive() error {
	key, err := hkdf.Expand(sha256.New, r.secret[:], "cerebrum.dev/audit-disclosures/v1", chacha20poly1305.KeySize)
	if err != nil {
		return err
	}
	defer clear(key)
	r.aead, err = chacha20poly1305.NewX(key)
	return err
}

// Ensure gives the rows of persons, in their order, and makes those that are
// missing. On nil all of them are durable.
func (t *Table) Ensure(who ...statement.ID) ([]*Row, error) {
	if rows, all := t.find(who); all {
		return rows, nil
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.failed != nil {
		return nil, t.failed
	}
	rows, _ := t.find(who) // somebody else may have made them meanwhile
	made := map[statement.ID]*Row{}
	for i, id := range who {
		if rows[i] != nil {
			continue
		}
		if made[id] == nil {
			made[id] = &Row{Who: id}
		}
		rows[i] = made[id]
	}
	return rows, t.add(made)
}

func (t *Table) find(who []statement.ID) (rows []*Row, all bool) {
	rows, all = make([]*Row, len(who)), true
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, id := range who {
		rows[i] = t.rows[id]
		all = all && rows[i] != nil
	}
	return rows, all
}

// add makes rows, durably. The caller holds writing.
func (t *Table) add(made map[statement.ID]*Row) error {
	if len(made) == 0 {
		return nil
	}
	if t.Len()+len(made) > MaxPeople {
		return ErrFull
	}
	var rows []*Row
	var items []keystore.Item
	for _, r := range made {
		rand.Read(r.name[:])
		rand.Read(r.secret[:])
		if err := r.derive(); err != nil {
			return err
		}
		raw, err := statement.Marshal(content{Format: format, Who: r.Who, Secret: r.secret})
		if err != nil {
			return err
		}
		defer clear(raw)
		rows, items = append(rows, r), append(items, keystore.Item{AAD: context(r.name), Secret: raw})
	}
	sealed, err := t.secrets.SealMany(items)
	if err != nil {
		return err
	}
	ops := make([]kv.Op, len(rows))
	for i, r := range rows {
		r.sealed = sealed[i]
		value, err := statement.Marshal(r.sealed)
		if err != nil {
			return err
		}
		ops[i] = kv.Op{Key: r.name[:], Value: value}
	}
	if err := t.store.Apply(ops); err != nil {
		// The rows may be there or not: a second row of one person must not be made.
		t.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		return t.failed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rows {
		t.rows[r.Who] = r
		for q, known := range t.behind {
			known[r.Pseudonym(q)] = r
		}
	}
	return nil
}

// Row is the row of a person, nil where there is none.
func (t *Table) Row(who statement.ID) *Row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows[who]
}

// Behind is the row of the person behind a pseudonym of a quarter, nil where
// nobody is known: the person was forgotten.
func (t *Table) Behind(p event.Pseudonym, q Quarter) *Row {
	t.mu.RLock()
	known, ok := t.behind[q]
	r := known[p]
	t.mu.RUnlock()
	if ok {
		return r
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.behind[q] == nil {
		known = make(map[event.Pseudonym]*Row, len(t.rows))
		for _, r := range t.rows {
			known[r.Pseudonym(q)] = r
		}
		if len(t.behind) >= maxQuarters {
			clear(t.behind)
		}
		t.behind[q] = known
	}
	return t.behind[q][p]
}

// maxQuarters is how many quarters are kept in memory: quarters come from leaves,
// and a log that was written under a wrong clock has any.
const maxQuarters = 16

// Forget destroys a person's row, durably on nil: its pseudonyms stand for
// nobody any more and its disclosures open nothing. Whoever is not in the table
// is forgotten already. The same person gets a new row when it acts again.
func (t *Table) Forget(who statement.ID) error {
	if who == (statement.ID{}) {
		return ErrNobody
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.failed != nil {
		return t.failed
	}
	r := t.Row(who)
	if r == nil {
		return nil
	}
	if err := t.secrets.Erase(r.sealed); err != nil {
		return err
	}
	t.mu.Lock()
	delete(t.rows, who)
	for q, known := range t.behind {
		delete(known, r.Pseudonym(q))
	}
	t.mu.Unlock()
	if err := t.store.Apply([]kv.Op{{Key: r.name[:], Delete: true}}); err != nil {
		t.failed = fmt.Errorf("%w: %w", ErrFailed, err) // the secret is gone; the next Open removes the rest
		return t.failed
	}
	return nil
}

// Len is the number of rows.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.rows)
}

// Damaged is how many rows could not be read when the table was opened. What was
// sealed under them is lost.
func (t *Table) Damaged() int { return t.damaged }

// Slots are the slots of the erasable store that the table uses.
func (t *Table) Slots() map[uint64]bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make(map[uint64]bool, len(t.rows))
	for _, r := range t.rows {
		out[r.sealed.Slot] = true
	}
	return out
}
