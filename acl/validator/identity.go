package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits of records of identities, which anybody can make.
const (
	// MaxIdentityRecords is how many device records of one recovery count, and how
	// many recoveries, a log takes of one identity. They are counted apart, so that
	// a thief who uses up the first cannot keep the owner from the second.
	MaxIdentityRecords = 64
	// MaxPeerRecords is how many new records a log takes from one peer in an hour.
	MaxPeerRecords = 64
)

var errQuota = errors.New("the log takes no more records of this identity or from this peer for now")

// Identity appends a record of an identity to the log. The record must count
// beside everything that is known of the identity: one of a device that was
// removed, or of a count that a recovery has passed, is denied. The
// acknowledgement names the record's id and is signed after the entry is durable.
// A record that the log has already is acknowledged again.
func (j *Judge) Identity(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r IdentityRequest
	_, seat, err := j.begin(raw, &r)
	if err != nil {
		return nil, err
	}
	record, err := identity.ParseRecord(r.Entry.Statement)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	who, id := record.Identity(), record.ID()
	known := slices.ContainsFunc(j.Set.Facts(record.Kind(), who), func(f *revocation.Fact) bool { return f.ID == id })
	if !known {
		if err := j.mayRecord(c, record, r.Entry); err != nil {
			return nil, j.deny(ctx, event.Identity, event.Act{Actor: who}, err)
		}
		if err := j.note(ctx, j.event(event.Identity, event.OK, event.Act{Actor: who, Grant: id[:], Detail: string(record.Kind())})); err != nil {
			return nil, err
		}
	}
	at, err := j.Log.Append(r.Entry)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return j.acknowledge(id, seat, at)
}

// mayRecord folds a record that is new here with all that is known.
func (j *Judge) mayRecord(c Conn, record *identity.Record, e revocation.Entry) error {
	now, err := j.Verifier.Identity(e.Identity)
	if err != nil {
		return err
	}
	if now.ID() != record.Identity() {
		return errors.New("the document beside the record is another identity's")
	}
	if !slices.ContainsFunc(now.Records(), func(o *identity.Record) bool { return o.ID() == record.ID() }) {
		return errors.New("the record does not count: its device was removed, or a recovery has passed it")
	}
	taken := 0
	for _, old := range j.Set.IdentityRecords(record.Identity()) {
		if old.Kind() == record.Kind() && (old.Kind() == identity.KindRecovery || old.Count() == record.Count()) {
			taken++
		}
	}
	if taken >= MaxIdentityRecords || !j.recorders.use(c.Client, j.Now()) {
		return errQuota
	}
	return nil
}

// recorders counts what each peer has had appended within the hour. Peers are
// members, so that there are not more of them than the network has.
type recorders struct {
	mu    sync.Mutex
	since time.Time
	count map[statement.PublicKey]int
}

func (r *recorders) use(peer statement.PublicKey, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := now.Sub(r.since); r.count == nil || age < 0 || age >= time.Hour {
		r.since, r.count = now, map[statement.PublicKey]int{}
	}
	if r.count[peer] >= MaxPeerRecords {
		return false
	}
	r.count[peer]++
	return true
}

// acceptedPrefix + statement id marks consents and links that this validator took
// while the device that signed them spoke for its identity.
var acceptedPrefix = []byte("accepted/")

// Accepted is what a judge's Verifier asks: whether this validator took a consent
// or a link before the device that signed it was removed. Where it cannot be
// found out the answer is no.
func (j *Judge) Accepted(id statement.ID) bool {
	_, err := j.Store.Get(slices.Concat(acceptedPrefix, id[:]))
	return err == nil
}

func acceptedOps(ids ...statement.ID) []kv.Op {
	ops := make([]kv.Op, len(ids))
	for i, id := range ids {
		ops[i] = kv.Op{Key: slices.Concat(acceptedPrefix, id[:]), Value: []byte{1}}
	}
	return ops
}
