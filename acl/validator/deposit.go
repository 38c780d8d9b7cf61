package validator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// deposit is what a validator keeps of an object.
type deposit struct {
	_        struct{} `cbor:",toarray"`
	Address  []byte
	Manifest []byte // block
	Dealing  []byte // signed
	Shares   []held // one, or more while a rotation is under way
	Holders  []string
}

var (
	depositPrefix = []byte("deposit/") // + key id
	addressPrefix = []byte("address/") // + address -> key id
)

// VerifyDealing checks a signed dealing by its owner and returns it with its id.
// The device that signed it may have been removed since: validators took it when
// that device spoke for the owner, and take no new one of another.
func VerifyDealing(raw []byte, owner *identity.Identity) (*Dealing, statement.ID, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, statement.ID{}, err
	}
	var d Dealing
	if err := s.Peek(KindDealing, &d); err != nil {
		return nil, statement.ID{}, err
	}
	if d.Owner != owner.ID() || len(d.Labels) > maxLabels {
		return nil, statement.ID{}, errors.New("the dealing is another owner's or has too many labels")
	}
	if err := owner.VerifyEver(KindDealing, s); err != nil {
		return nil, statement.ID{}, err
	}
	return &d, s.ID(), d.Commitments.Valid(int(d.T))
}

// signsDealing checks that a device which speaks for the owner now signed.
func signsDealing(raw []byte, owner *identity.Identity) error {
	s, err := statement.Parse(raw)
	if err != nil {
		return err
	}
	return owner.Verify(KindDealing, s)
}

// pending is one item on its way through a deposit.
type pending struct {
	keyID   statement.ID
	id      statement.ID // of the dealing
	deposit deposit
	share   []byte
	dealing *Dealing
	old     []held // replaced by this one
	again   bool   // the object is held already; this is another dealing of it
	oldSize int64  // of the deposit that it replaces

	lineage  statement.ID
	manifest *envelope.Manifest
}

// Deposit takes an owner's objects. Every item is judged by itself; those that
// the answer calls OK are durable: shares in the erasable store first, then the
// records that point at them.
func (j *Judge) Deposit(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r DepositRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	if len(r.Items) == 0 || len(r.Items) > MaxBatch {
		return nil, fmt.Errorf("%w: a deposit has 1 to %d objects", ErrMalformed, MaxBatch)
	}
	// They are stored with every object of the batch.
	if len(r.Holder) > MaxHolders || slices.ContainsFunc(r.Holder, func(h string) bool { return len(h) > MaxHolder }) {
		return nil, fmt.Errorf("%w: a deposit names at most %d holders of %d bytes", ErrMalformed, MaxHolders, MaxHolder)
	}
	owner, err := j.Verifier.Identity(r.Owner)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := j.started(); err != nil {
		return nil, err
	}
	record, seat, err := j.sitting()
	if err != nil {
		return nil, err
	}
	if err := record.Live(j.Now()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	shares, err := j.openShares(r)
	if err != nil {
		return nil, err
	}
	reply := DepositReply{Outcomes: make([]uint8, len(r.Items))}
	var todo []*pending
	keys := map[statement.ID]bool{}
	for i, it := range r.Items {
		p, err := j.judgeItem(it, shares[i], owner, r.Holder, record, seat)
		if err == nil && keys[p.keyID] {
			err = errors.New("a key id stands twice in one deposit")
		}
		if err != nil {
			j.Logger.Debug("deposit refused", "err", err)
			reply.Outcomes[i] = ItemRefused
			continue
		}
		keys[p.keyID] = true
		todo = append(todo, p)
	}
	for _, p := range todo {
		keys[p.lineage] = true
	}
	keys[owner.ID()] = true // what the owner's deposits take
	unlock := j.deposits.lock(keys)
	defer unlock()
	outcomes, err := j.keep(ctx, c, owner, todo)
	if err != nil {
		return nil, err
	}
	k := 0
	for i := range reply.Outcomes {
		if reply.Outcomes[i] == ItemOK {
			reply.Outcomes[i] = outcomes[k]
			k++
		}
	}
	return encode(reply), nil
}

func (j *Judge) openShares(r DepositRequest) ([][]byte, error) {
	plain, err := j.Opener.Open(r.Box, 128*MaxBatch)
	if err != nil {
		return nil, fmt.Errorf("%w: the shares are not sealed to this validator", ErrMalformed)
	}
	var s Shares
	if err := decode(plain, &s); err != nil { // sealed by a device of the owner, which need not be the caller
		return nil, fmt.Errorf("%w: the shares do not decode", ErrMalformed)
	}
	if s.Items != DigestItems(r.Items) || len(s.Shares) != len(r.Items) {
		return nil, fmt.Errorf("%w: the shares belong to another deposit", ErrMalformed)
	}
	return s.Shares, nil
}

// judgeItem checks everything about an item that needs no store.
func (j *Judge) judgeItem(it DepositItem, share []byte, owner *identity.Identity, holders []string, record *trust.Committee, seat int) (*pending, error) {
	d, id, err := VerifyDealing(it.Dealing, owner)
	if err != nil {
		return nil, err
	}
	if err := signsDealing(it.Dealing, owner); err != nil {
		return nil, err
	}
	m, err := VerifyManifest(d.Manifest, it.Manifest, owner)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Network != j.Trust.Network() || m.Network != d.Network:
		return nil, errors.New("it is for another network")
	case d.Record != record.ID() || d.N != record.Numbers.N || d.T != record.Numbers.T:
		return nil, errors.New("it is dealt to another committee")
	case d.KeyNonce != m.KeyNonce:
		return nil, errors.New("manifest and dealing name different keys")
	}
	_, rerr := ReadRetention(d.Labels)
	if _, err := ReadResidency(d.Labels); err != nil || rerr != nil {
		return nil, errors.Join(rerr, err)
	}
	s, err := parseShare(share)
	if err != nil {
		return nil, err
	}
	if err := committee.Check(seat, s, d.Commitments); err != nil {
		return nil, fmt.Errorf("the share does not fit its dealing: %w", err)
	}
	return &pending{
		keyID:   envelope.KeyID(d.Network, d.Owner, d.KeyNonce),
		id:      id,
		deposit: deposit{Address: d.Manifest, Manifest: it.Manifest, Dealing: it.Dealing, Holders: holders},
		share:   share, dealing: d, lineage: m.LineageID(), manifest: m,
	}, nil
}

func parseShare(b []byte) (committee.Share, error) {
	if len(b) != 64 {
		return committee.Share{}, errors.New("a share has 64 bytes")
	}
	return committee.Share{Value: [32]byte(b[:32]), Blinding: [32]byte(b[32:])}, nil
}

// keep stores judged items; the caller holds the locks of their key ids, lineages
// and owner. An identical retry is acknowledged without being written again.
func (j *Judge) keep(ctx context.Context, c Conn, owner *identity.Identity, todo []*pending) (outcomes []uint8, err error) {
	outcomes = make([]uint8, len(todo))
	lines, use := newLineages(j), newUsages(j)
	var write []*pending
	for i, p := range todo {
		outcome, fits, err := j.place(c, p, lines, use)
		if err != nil {
			return nil, err
		}
		if outcomes[i] = outcome; fits {
			write = append(write, p)
		}
	}
	if len(write) == 0 {
		return outcomes, nil
	}
	items := make([]keystore.Item, len(write))
	for i, p := range write {
		items[i] = keystore.Item{AAD: shareAAD(p.keyID, p.id), Secret: p.share}
	}
	sealed, err := j.Shares.SealMany(items)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	id := owner.ID()
	ops := append(append(lines.ops, use.ops()...), kv.Op{Key: slices.Concat(ownerPrefix, id[:]), Value: owner.Record()})
	var old []uint64
	events := make([]event.Event, len(write))
	for i, p := range write {
		p.deposit.Shares = []held{{Epoch: p.id, Record: p.dealing.Record, Share: sealed[i]}}
		ops = append(ops,
			kv.Op{Key: slices.Concat(depositPrefix, p.keyID[:]), Value: encode(p.deposit)},
			kv.Op{Key: slices.Concat(addressPrefix, p.deposit.Address), Value: p.keyID[:]})
		ops = append(ops, withinOps(&p.deposit, p.keyID, false)...)
		ops = append(ops, holdingOps(p.keyID, p.old, p.deposit.Shares)...)
		for _, h := range p.old {
			old = append(old, h.Share.Slot)
		}
		events[i] = j.event(event.Deposit, event.OK, event.Act{Actor: id, Object: p.deposit.Address})
	}
	if err := j.Audit.Append(ctx, events...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(err, j.Shares.Destroy(slotsOf(sealed)...)))
	}
	// After an error here the records may be stored or not: the slots stay, and
	// are reclaimed at the next start if nothing refers to them.
	if err := j.Store.Apply(ops); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := j.Shares.Destroy(old...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return outcomes, nil
}

func slotsOf(sealed []keystore.Sealed) []uint64 {
	out := make([]uint64, len(sealed))
	for i, s := range sealed {
		out[i] = s.Slot
	}
	return out
}

// compare says whether an item is stored already, or may not be because of what is.
func (j *Judge) compare(p *pending) (same, conflict bool, err error) {
	have, err := j.loadKey(p.keyID)
	if errors.Is(err, kv.ErrNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	if string(have.Address) != string(p.deposit.Address) {
		return false, true, nil // one key id, one manifest
	}
	s, err := statement.Parse(have.Dealing)
	if err != nil {
		return false, false, err
	}
	if s.ID() == p.id { // commitments bind, so it is the same share too
		return true, false, nil
	}
	var d Dealing
	if err := s.Peek(KindDealing, &d); err != nil {
		return false, false, err
	}
	if p.dealing.Number <= d.Number || !j.keepsLonger(&d, p.dealing) {
		return false, true, nil
	}
	p.old, p.oldSize, p.again = have.Shares, have.size(), true
	return false, false, nil
}

func (j *Judge) loadKey(keyID statement.ID) (*deposit, error) {
	raw, err := j.Store.Get(slices.Concat(depositPrefix, keyID[:]))
	if err != nil {
		return nil, err
	}
	var d deposit
	if err := statement.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("stored deposit: %w", err)
	}
	return &d, nil
}

// load finds a deposit by address. One whose key is erased is none, also where a
// legal hold keeps its share.
func (j *Judge) load(address []byte) (*deposit, statement.ID, error) {
	key, err := j.keyAt(address)
	if err != nil {
		return nil, key, err
	}
	d, err := j.loadKey(key)
	return d, key, err
}

// keyAt is the id of the key of the object at an address; the error is errErased
// where the key was erased.
func (j *Judge) keyAt(address []byte) (statement.ID, error) {
	key, err := j.Store.Get(slices.Concat(addressPrefix, address))
	if err != nil {
		return statement.ID{}, err
	}
	if len(key) != len(statement.ID{}) {
		return statement.ID{}, errors.New("stored key id is damaged")
	}
	if j.barred(statement.ID(key)) {
		return statement.ID(key), errErased
	}
	return statement.ID(key), nil
}

// Slots lists the slots of the erasable store that deposits refer to, so that
// those of an interrupted deposit can be reclaimed at start.
func (j *Judge) Slots() (map[uint64]bool, error) {
	used := map[uint64]bool{}
	err := j.Store.Scan(depositPrefix, nil, func(_, value []byte) (bool, error) {
		var d deposit
		if err := statement.Unmarshal(value, &d); err != nil {
			return false, err
		}
		for _, h := range d.Shares {
			used[h.Share.Slot] = true
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	err = j.Store.Scan(seedPrefix, nil, func(_, value []byte) (bool, error) {
		var s keystore.Sealed
		if err := statement.Unmarshal(value, &s); err != nil {
			return false, err
		}
		used[s.Slot] = true
		return true, nil
	})
	return used, err
}

// lockTable serialises deposits that touch the same key ids or lineages. Deposits
// are short, and the waiting ones are bounded by the transport.
type lockTable struct {
	mu   sync.Mutex
	cond *sync.Cond
	held map[statement.ID]bool
}

func (t *lockTable) lock(keys map[statement.ID]bool) (unlock func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cond == nil {
		t.cond, t.held = sync.NewCond(&t.mu), map[statement.ID]bool{}
	}
	for t.anyHeld(keys) {
		t.cond.Wait()
	}
	for k := range keys {
		t.held[k] = true
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for k := range keys {
			delete(t.held, k)
		}
		t.cond.Broadcast()
	}
}

func (t *lockTable) anyHeld(keys map[statement.ID]bool) bool {
	for k := range keys {
		if t.held[k] {
			return true
		}
	}
	return false
}
