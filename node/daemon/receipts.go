package daemon

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/quorum"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	maxReceipts    = 10_000 // others give way, see rank
	queuedReceipts = 1024   // that are not on the disk yet
)

// rank says which receipts give way first where there are too many, the oldest of a
// rank before the others of it. A broken promise is evidence against a validator, so
// that a validator must not be rid of it by making others.
type rank int

const (
	rankDamaged rank = iota // nobody can read it
	rankProven              // the promise was kept: the entry is in the validator's log
	rankWaiting             // nobody has asked for the proof, or none has come
	rankBroken
	ranks
)

// receipts keeps what validators gave this node for its requests, sealed under the
// home's master key: they tell what was asked for, and why.
type receipts struct {
	store kv.Store
	aead  cipher.AEAD
	queue chan quorum.Receipt
	most  int

	mu     sync.Mutex      // held by whoever writes
	ranked [ranks][]string // keys of what is kept, in order; owned by mu
	known  bool            // ranked is what is on the disk; owned by mu
}

// keptReceipt is one of them.
type keptReceipt struct {
	_       struct{} `cbor:",toarray"`
	Receipt []byte
	Request []byte
	Server  statement.PublicKey
	Proofs  [][]byte // once it was redeemed
	Broken  string   // why the validator could not, or empty
}

func newReceipts(store kv.Store, master []byte) (*receipts, error) {
	key, err := hkdf.Key(sha256.New, master, nil, "cerebrum.dev/receipts/v1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	return &receipts{store: store, aead: aead, queue: make(chan quorum.Receipt, queuedReceipts), most: maxReceipts}, err
}

const receiptTime = 8 // bytes of the time in a key

// receiptKey has the time first, so that the oldest come first.
func receiptKey(r *receipt.Receipt, id statement.ID) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(r.Time)), id[:]...)
}

// takeReceipt queues a receipt. Where the disk is too slow for them it is dropped: a
// read does not wait for its receipts.
func (n *Node) takeReceipt(r quorum.Receipt) {
	select {
	case n.receipts.queue <- r:
	default:
		n.log.Warn("a receipt is dropped: too many wait for the disk", "receipt", r.ID)
	}
}

// runReceipts keeps receipts until ctx ends, and then those that are queued.
func (n *Node) runReceipts(ctx context.Context) error {
	for done := false; !done; {
		var batch []quorum.Receipt
		select {
		case r := <-n.receipts.queue:
			batch = append(batch, r)
		case <-ctx.Done():
			done = true
		}
		batch = append(batch, n.receipts.queued()...)
		if err := n.receipts.keep(batch); err != nil {
			n.log.Error("receipts cannot be kept", "receipts", len(batch), "err", err)
		}
	}
	return nil
}

func (k *keptReceipt) rank() rank {
	switch {
	case k.Broken != "":
		return rankBroken
	case len(k.Proofs) > 0:
		return rankProven
	}
	return rankWaiting
}

// know ranks what is on the disk, once. The caller holds mu.
func (s *receipts) know() error {
	if s.known {
		return nil
	}
	s.ranked = [ranks][]string{}
	damaged, err := s.scan(func(key []byte, k *keptReceipt, _ *receipt.Receipt, _ statement.ID) (bool, error) {
		s.ranked[k.rank()] = append(s.ranked[k.rank()], string(key))
		return true, nil
	})
	for _, key := range damaged {
		s.ranked[rankDamaged] = append(s.ranked[rankDamaged], string(key))
	}
	s.known = err == nil
	return err
}

// find is the place of a key in its rank. The caller holds mu.
func (s *receipts) find(key string) (in rank, at int, found bool) {
	for r, keys := range s.ranked {
		if i, ok := slices.BinarySearch(keys, key); ok {
			return rank(r), i, true
		}
	}
	return 0, 0, false
}

// place gives a key a rank. The caller holds mu.
func (s *receipts) place(key string, in rank) {
	if old, i, found := s.find(key); found {
		s.ranked[old] = slices.Delete(s.ranked[old], i, i+1)
	}
	i, _ := slices.BinarySearch(s.ranked[in], key)
	s.ranked[in] = slices.Insert(s.ranked[in], i, key)
}

// giveWay takes out what is too much and says how it is deleted. The caller holds mu.
func (s *receipts) giveWay() (ops []kv.Op) {
	excess := -s.most
	for _, keys := range s.ranked {
		excess += len(keys)
	}
	for r, keys := range s.ranked {
		k := max(0, min(excess, len(keys)))
		for _, key := range keys[:k] {
			ops = append(ops, kv.Op{Key: []byte(key), Delete: true})
		}
		s.ranked[r] = slices.Delete(keys, 0, k)
		excess -= k
	}
	return ops
}

// apply writes. After an error it is not known what is on the disk. The caller holds mu.
func (s *receipts) apply(ops []kv.Op) error {
	err := s.store.Apply(ops)
	s.known = s.known && err == nil
	return err
}

// keep puts new receipts on the disk; one that is there already stays as it is.
func (s *receipts) keep(batch []quorum.Receipt) error {
	if len(batch) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.know(); err != nil {
		return err
	}
	var ops []kv.Op
	for _, r := range batch {
		key := receiptKey(r.Receipt, r.ID)
		if _, _, found := s.find(string(key)); found {
			continue
		}
		op, err := s.put(key, keptReceipt{Receipt: r.Raw, Request: r.Request, Server: r.Server})
		if err != nil {
			s.known = false // those before it are ranked and not written
			return err
		}
		ops = append(ops, op)
		s.place(string(key), rankWaiting)
	}
	if len(ops) == 0 {
		return nil
	}
	return s.apply(append(ops, s.giveWay()...))
}

// redeemed keeps what a validator answered. A receipt that gave way or was forgotten
// meanwhile does not come back.
func (s *receipts) redeemed(key []byte, k *keptReceipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.know(); err != nil {
		return err
	}
	if _, _, found := s.find(string(key)); !found {
		return nil
	}
	op, err := s.put(key, *k)
	if err != nil {
		return err
	}
	s.place(string(key), k.rank())
	return s.apply([]kv.Op{op})
}

// queued takes what waits for the disk.
func (s *receipts) queued() (batch []quorum.Receipt) {
	for {
		select {
		case r := <-s.queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
}

// forget deletes the receipts that name a person, in the request or in the grants that
// came with it, those that are queued too, and says how many. What is damaged may have
// named the person, so it goes as well.
func (s *receipts) forget(who statement.ID) (named, damaged int, err error) {
	if err := s.keep(s.queued()); err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []kv.Op
	unread, err := s.scan(func(key []byte, k *keptReceipt, _ *receipt.Receipt, _ statement.ID) (bool, error) {
		if bytes.Contains(k.Request, who[:]) || bytes.Contains(k.Receipt, who[:]) {
			ops = append(ops, kv.Op{Key: key, Delete: true})
		}
		return true, nil
	})
	if err != nil {
		return 0, 0, err
	}
	named = len(ops)
	for _, key := range unread {
		ops = append(ops, kv.Op{Key: key, Delete: true})
	}
	if len(ops) == 0 {
		return 0, 0, nil
	}
	s.known = false
	return named, len(unread), s.apply(ops)
}

func (s *receipts) put(key []byte, k keptReceipt) (kv.Op, error) {
	raw, err := statement.Marshal(k)
	if err != nil {
		return kv.Op{}, err
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(raw)+chacha20poly1305.Overhead)
	rand.Read(nonce)
	return kv.Op{Key: key, Value: s.aead.Seal(nonce, nonce, raw, key)}, nil
}

// scan hands out what is kept, the oldest first, and returns the keys of what it cannot
// read: one flipped bit must not hide all the others.
func (s *receipts) scan(fn func(key []byte, k *keptReceipt, r *receipt.Receipt, id statement.ID) (more bool, err error)) (damaged [][]byte, err error) {
	err = s.store.Scan(nil, nil, func(key, sealed []byte) (bool, error) {
		k, r, id, err := s.open(key, sealed)
		if err != nil {
			damaged = append(damaged, slices.Clone(key))
			return true, nil
		}
		return fn(slices.Clone(key), k, r, id)
	})
	return damaged, err
}

func (s *receipts) open(key, sealed []byte) (*keptReceipt, *receipt.Receipt, statement.ID, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, nil, statement.ID{}, errors.New("too short")
	}
	raw, err := s.aead.Open(nil, sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:], key)
	if err != nil {
		return nil, nil, statement.ID{}, err
	}
	var k keptReceipt
	if err := statement.Unmarshal(raw, &k); err != nil {
		return nil, nil, statement.ID{}, err
	}
	r, id, err := receipt.Peek(k.Receipt)
	return &k, r, id, err
}
