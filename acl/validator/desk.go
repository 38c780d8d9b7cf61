package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits of the desk. A grant request that would pass them is put off, not
// denied: whoever asked asks again.
const (
	MaxDesk       = 2048     // requests, decided ones included
	maxDeskBytes  = 32 << 20 // of all of them
	maxDeskAsker  = 64       // that wait, of one identity
	maxDeskPeer   = 128      // that wait, from one node: identities cost nothing
	maxDeskTime   = 30 * 24 * time.Hour
	maxPolicySaid = 2 << 10 // bytes
)

// ErrNotWaiting reports a request that is not on the desk, or was decided.
var ErrNotWaiting = errors.New("no such request waits for a decision")

var deskPrefix = []byte("desk/") // + grant id -> deskEntry

// States of a request on the desk.
const (
	deskWaits = iota
	deskSigned
	deskRefused
)

// deskEntry is a grant request that policy left open. It stays after it was
// decided, until it expires, for those who ask again.
type deskEntry struct {
	_          struct{} `cbor:",toarray"`
	Grant      []byte   // unsigned, or with this validator's signature
	Consent    []byte
	Identities [][]byte
	Reason     string // the request's
	Asker      statement.ID
	Peer       statement.PublicKey // that brought it
	Asked      int64
	Until      int64
	Said       string // what policy said when it came
	State      uint8
	Why        string // it was refused
}

// deskItem is what is kept in memory of an entry.
type deskItem struct {
	asker statement.ID
	peer  statement.PublicKey
	asked int64
	until int64
	size  int
	state uint8
}

// desk owns the requests that wait for a person. The zero value reads them from
// the store when it is first used.
type desk struct {
	mu    sync.Mutex
	items map[statement.ID]deskItem // owned by mu; nil: not read yet
	bytes int
}

func deskKey(id statement.ID) []byte { return slices.Concat(deskPrefix, id[:]) }

// openDesk reads the desk where that is not done, and drops what has expired.
// The caller holds the desk's lock, as of everything below.
func (j *Judge) openDesk() error {
	d := &j.desk
	if d.items == nil {
		items, total := map[statement.ID]deskItem{}, 0
		err := j.Store.Scan(deskPrefix, nil, func(key, value []byte) (bool, error) {
			var e deskEntry
			if err := statement.Unmarshal(value, &e); err != nil {
				return false, err
			}
			items[statement.ID(key[len(deskPrefix):])] = e.item(len(value))
			total += len(value)
			return true, nil
		})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		d.items, d.bytes = items, total
	}
	var old []statement.ID
	now := j.Now().Unix()
	for id, it := range d.items {
		if it.until <= now {
			old = append(old, id)
		}
	}
	return j.leave(old...)
}

func (e *deskEntry) item(size int) deskItem {
	return deskItem{e.Asker, e.Peer, e.Asked, e.Until, size, e.State}
}

// leave takes requests off the desk.
func (j *Judge) leave(ids ...statement.ID) error {
	var ops []kv.Op
	for _, id := range ids {
		if _, ok := j.desk.items[id]; ok {
			ops = append(ops, kv.Op{Key: deskKey(id), Delete: true})
		}
	}
	if len(ops) == 0 {
		return nil
	}
	if err := j.Store.Apply(ops); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, id := range ids {
		j.desk.bytes -= j.desk.items[id].size
		delete(j.desk.items, id)
	}
	return nil
}

func (j *Judge) deskEntry(id statement.ID) (*deskEntry, error) {
	if _, ok := j.desk.items[id]; !ok {
		return nil, ErrNotWaiting
	}
	raw, err := j.Store.Get(deskKey(id))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var e deskEntry
	if err := statement.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

func (j *Judge) putDesk(id statement.ID, e *deskEntry) error {
	raw := encode(e)
	if err := j.Store.Apply([]kv.Op{{Key: deskKey(id), Value: raw}}); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	j.desk.bytes += len(raw) - j.desk.items[id].size
	j.desk.items[id] = e.item(len(raw))
	return nil
}

// decided answers for a grant that a person has decided already.
func (j *Judge) decided(d *draft, mayKnow bool) ([]byte, error) {
	if err := j.openDesk(); err != nil {
		return nil, err
	}
	it, ok := j.desk.items[d.statement.ID()]
	if !ok || it.state == deskWaits {
		return nil, nil
	}
	e, err := j.deskEntry(d.statement.ID())
	switch {
	case err != nil:
		return nil, err
	case e.State == deskSigned:
		return encode(SignReply{Grant: e.Grant}), nil
	case mayKnow:
		return encode(SignReply{Denied: true, Reason: e.Why}), nil
	}
	return nil, ErrDenied
}

// wait puts a request on the desk, durably and in the log, unless it is there.
func (j *Judge) wait(ctx context.Context, c Conn, r SignRequest, d *draft, v *verdict) ([]byte, error) {
	id, asker, now := d.statement.ID(), d.asker.ID(), j.Now().Unix()
	pending := encode(SignReply{Pending: true})
	if _, ok := j.desk.items[id]; ok {
		return pending, nil
	}
	e := &deskEntry{
		Grant: d.statement.Bytes(), Consent: r.Consent, Identities: r.Identities, Reason: r.Reason, Asker: asker, Peer: c.Client,
		Asked: now, Until: min(d.Caveats.Expires, now+int64(maxDeskTime/time.Second)), Said: clip(v.String(), maxPolicySaid),
	}
	if err := j.room(e); err != nil {
		return nil, err
	}
	if err := j.note(ctx, j.event(event.GrantIssue, event.Pending, d.act(v, r.Reason))); err != nil {
		return nil, err
	}
	if err := j.putDesk(id, e); err != nil {
		return nil, err
	}
	return pending, nil
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:most]), nil)) + "…"
}

// room makes place for one more request: among the decided ones, the oldest go
// first, since whoever asks again is judged again.
func (j *Judge) room(e *deskEntry) error {
	size := len(encode(e))
	same, peer := 0, 0
	var done []statement.ID
	for id, it := range j.desk.items {
		switch {
		case it.state != deskWaits:
			done = append(done, id)
			continue
		case it.asker == e.Asker:
			same++
		}
		if it.peer == e.Peer {
			peer++
		}
	}
	if same >= maxDeskAsker || peer >= maxDeskPeer {
		return fmt.Errorf("%w: too many requests of this identity or node wait for a decision", ErrUnavailable)
	}
	slices.SortFunc(done, func(a, b statement.ID) int { return int(j.desk.items[a].asked - j.desk.items[b].asked) })
	for len(j.desk.items) >= MaxDesk || j.desk.bytes+size > maxDeskBytes {
		if len(done) == 0 {
			return fmt.Errorf("%w: too many requests wait for a decision", ErrUnavailable)
		}
		if err := j.leave(done[0]); err != nil {
			return err
		}
		done = done[1:]
	}
	return nil
}

// Waiting is a grant request that waits for a person.
type Waiting struct {
	ID              statement.ID
	Grant           capability.Grant
	Owner, Audience *identity.Identity
	Reason          string // as whoever asks states it
	Said            string // what policy said when it came
	Asked, Until    time.Time
	Facts           Facts
}

// Desk lists the requests that wait, the oldest first.
func (j *Judge) Desk() ([]Waiting, error) {
	j.desk.mu.Lock()
	defer j.desk.mu.Unlock()
	if err := j.openDesk(); err != nil {
		return nil, err
	}
	var out []Waiting
	for id, it := range j.desk.items {
		if it.state != deskWaits {
			continue
		}
		e, err := j.deskEntry(id)
		if err != nil {
			return nil, err
		}
		w, err := j.describe(id, e)
		if err != nil {
			return nil, err
		}
		out = append(out, *w)
	}
	slices.SortFunc(out, func(a, b Waiting) int {
		if c := a.Asked.Compare(b.Asked); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return out, nil
}

func (j *Judge) describe(id statement.ID, e *deskEntry) (*Waiting, error) {
	s, err := statement.Parse(e.Grant)
	if err != nil {
		return nil, err
	}
	w := &Waiting{ID: id, Reason: e.Reason, Said: e.Said, Asked: time.Unix(e.Asked, 0), Until: time.Unix(e.Until, 0)}
	if err := s.Peek(capability.KindGrant, &w.Grant); err != nil {
		return nil, err
	}
	if w.Owner, err = identity.Parse(e.Identities[0]); err != nil {
		return nil, err
	}
	if w.Audience, err = identity.Parse(e.Identities[1]); err != nil {
		return nil, err
	}
	w.Facts, err = j.facts(w.Grant.Owner, w.Grant.Target)
	return w, err
}

// Waits counts the requests that wait.
func (j *Judge) Waits() (n int, err error) {
	j.desk.mu.Lock()
	defer j.desk.mu.Unlock()
	err = j.openDesk()
	for _, it := range j.desk.items {
		if it.state == deskWaits {
			n++
		}
	}
	return n, err
}

// Approve signs a waiting grant for the person at this validator. Everything is
// checked again first: freshness, form, consent, time, and policy, which a
// person cannot overrule. The error is [ErrNotWaiting], [ErrDenied] with the
// rule, [ErrMalformed] with what has become wrong, or [ErrUnavailable].
func (j *Judge) Approve(ctx context.Context, id statement.ID) error {
	if err := j.hearing(); err != nil {
		return err
	}
	record, seat, err := j.sitting()
	if err != nil {
		return err
	}
	j.desk.mu.Lock()
	defer j.desk.mu.Unlock()
	e, err := j.waiting(id)
	if err != nil {
		return err
	}
	d, err := j.readGrant(SignRequest{Grant: e.Grant, Consent: e.Consent, Identities: e.Identities})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	v, err := j.decideGrant(d, e.Reason)
	if err != nil {
		return err
	}
	said := d.act(v, "")
	said.Actor = record.Validators[seat].Identity
	if v.Settled && !v.Allow {
		if err := j.note(ctx, j.event(event.Approve, event.Denied, said)); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s", ErrDenied, v.Rule())
	}
	if err := j.note(ctx, j.event(event.Approve, event.OK, said)); err != nil {
		return err
	}
	d.statement.AddSignature(uint16(seat), j.Signing)
	e.Grant, e.State = d.statement.Bytes(), deskSigned
	return j.putDesk(id, e)
}

// Refuse denies a waiting grant. Whoever asked for it, and proves it, is told the
// reason: the owner, or under a standing consent the audience.
func (j *Judge) Refuse(ctx context.Context, id statement.ID, reason string) error {
	if reason == "" || len(reason) > maxWords {
		return fmt.Errorf("%w: a refusal has a reason, of at most %d bytes", ErrMalformed, maxWords)
	}
	record, seat, err := j.sitting()
	if err != nil {
		return err
	}
	j.desk.mu.Lock()
	defer j.desk.mu.Unlock()
	e, err := j.waiting(id)
	if err != nil {
		return err
	}
	w, err := j.describe(id, e)
	if err != nil {
		return err
	}
	who := record.Validators[seat].Identity
	refused := event.Act{
		Actor: who, Subject: w.Grant.Audience, Object: w.Grant.Target.Ref[:], Owner: w.Grant.Owner, Grant: id[:], Rule: "refused-by-person", Reason: reason,
	}
	if err := j.note(ctx, j.event(event.Approve, event.Denied, refused)); err != nil {
		return err
	}
	e.State, e.Why = deskRefused, reason
	return j.putDesk(id, e)
}

func (j *Judge) waiting(id statement.ID) (*deskEntry, error) {
	if err := j.openDesk(); err != nil {
		return nil, err
	}
	e, err := j.deskEntry(id)
	if err == nil && e.State != deskWaits {
		return nil, ErrNotWaiting
	}
	return e, err
}
