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
	"fmt"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	maxReceipts    = 10_000 // the oldest give way
	queuedReceipts = 1024   // that are not on the disk yet
)

// receipts keeps what validators gave this node for its requests, sealed under the
// home's master key: they tell what was asked for, and why.
type receipts struct {
	store kv.Store
	aead  cipher.AEAD
	queue chan quorum.Receipt
	most  int

	mu    sync.Mutex // held by whoever writes
	count int        // kept; -1 before they were counted
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
	return &receipts{store: store, aead: aead, queue: make(chan quorum.Receipt, queuedReceipts), most: maxReceipts, count: -1}, err
}

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

func (s *receipts) keep(batch []quorum.Receipt) error {
	if len(batch) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count < 0 {
		s.count = 0
		if err := s.store.Scan(nil, nil, func(_, _ []byte) (bool, error) { s.count++; return true, nil }); err != nil {
			return err
		}
	}
	var ops []kv.Op
	for _, r := range batch {
		op, err := s.put(receiptKey(r.Receipt, r.ID), keptReceipt{Receipt: r.Raw, Request: r.Request, Server: r.Server})
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	excess := s.count + len(ops) - s.most
	if excess > 0 {
		if err := s.store.Scan(nil, nil, func(key, _ []byte) (bool, error) {
			ops = append(ops, kv.Op{Key: slices.Clone(key), Delete: true})
			excess--
			return excess > 0, nil
		}); err != nil {
			return err
		}
	}
	if err := s.store.Apply(ops); err != nil {
		s.count = -1
		return err
	}
	s.count = min(s.count+len(batch), s.most)
	return nil
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
// came with it, those that are queued too, and says how many.
func (s *receipts) forget(who statement.ID) (int, error) {
	if err := s.keep(s.queued()); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ops []kv.Op
	err := s.scan(func(key []byte, k *keptReceipt, _ *receipt.Receipt, _ statement.ID) (bool, error) {
		if bytes.Contains(k.Request, who[:]) || bytes.Contains(k.Receipt, who[:]) {
			ops = append(ops, kv.Op{Key: key, Delete: true})
		}
		return true, nil
	})
	if err != nil || len(ops) == 0 {
		return 0, err
	}
	s.count = -1
	return len(ops), s.store.Apply(ops)
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

// scan hands out what is kept, the oldest first.
func (s *receipts) scan(fn func(key []byte, k *keptReceipt, r *receipt.Receipt, id statement.ID) (more bool, err error)) error {
	return s.store.Scan(nil, nil, func(key, sealed []byte) (bool, error) {
		if len(sealed) < chacha20poly1305.NonceSizeX {
			return false, errors.New("a receipt that is kept here is damaged")
		}
		raw, err := s.aead.Open(nil, sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:], key)
		if err != nil {
			return false, errors.New("a receipt that is kept here is damaged")
		}
		var k keptReceipt
		if err := statement.Unmarshal(raw, &k); err != nil {
			return false, err
		}
		r, id, err := receipt.Peek(k.Receipt)
		if err != nil {
			return false, err
		}
		return fn(slices.Clone(key), &k, r, id)
	})
}

// States of a receipt.
const (
	receiptPromised = "promised" // the entry is to be under a checkpoint by a time to come
	receiptOpen     = "open"     // that time has passed, and nobody has redeemed it yet
	receiptProven   = "proven"   // it was redeemed
	receiptBroken   = "broken"   // the validator could not: evidence against it
)

// Receipts implements api.Service.
func (n *Node) Receipts(ctx context.Context, r api.ReceiptsRequest) (*api.ReceiptList, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	out := &api.ReceiptList{Receipts: []api.Receipt{}}
	object := r.Object
	if object != "" {
		c, err := parseAddress(object)
		if err != nil {
			return nil, err
		}
		object = c.String()
	}
	keys := &erasedKeys{n: n}
	err := n.receipts.scan(func(_ []byte, k *keptReceipt, r *receipt.Receipt, id statement.ID) (bool, error) {
		x, err := n.describeReceipt(ctx, k, r, id, keys)
		if err != nil {
			return false, err
		}
		if object == "" || slices.Contains(x.Objects, object) {
			out.Receipts = append(out.Receipts, x)
		}
		return true, ctx.Err()
	})
	return out, err
}

func (n *Node) describeReceipt(ctx context.Context, k *keptReceipt, r *receipt.Receipt, id statement.ID, keys *erasedKeys) (api.Receipt, error) {
	out := api.Receipt{
		ID: id.String(), Action: string(r.Action), Outcome: r.Outcome().String(), Objects: []string{}, First: r.First, Entries: r.Entries(),
		Time: stampMilli(r.Time), By: stampMilli(r.By), State: receiptPromised, Peer: k.Server.String(), Says: k.Broken,
	}
	if i, sits := n.trust.Current().ByPeer(k.Server); sits {
		out.Validator = i + 1
	}
	if _, objects, purpose, err := quorum.RequestDigest(r.Action, k.Request); err == nil {
		out.Purpose = purpose
		for _, o := range objects {
			out.Objects = append(out.Objects, event.Ref(o))
		}
		if r.Action == event.Erase {
			out.Keys = out.Objects
			if out.Objects, err = keys.objects(ctx, r.Request, objects); err != nil {
				return out, err
			}
		}
	}
	switch {
	case k.Broken != "":
		out.State = receiptBroken
	case len(k.Proofs) > 0:
		out.State = receiptProven
	case n.now().UnixMilli() > r.By:
		out.State = receiptOpen
	}
	return out, nil
}

func stampMilli(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// Receipt implements api.Service: the file of one receipt, redeemed where its validator
// can be asked.
func (n *Node) Receipt(ctx context.Context, q api.ReceiptRequest) (*api.ReceiptFile, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	key, k, r, id, err := n.findReceipt(q.ID)
	if err != nil {
		return nil, err
	}
	says := ""
	if len(k.Proofs) == 0 && n.running.Load() {
		proofs, err := n.quorum.Redeem(ctx, k.Server, k.Receipt)
		switch {
		case err == nil:
			k.Proofs, k.Broken = proofs, ""
		case errors.Is(err, quorum.ErrBroken):
			k.Broken = event.Clean(err.Error())
		default:
			says = "its validator cannot be asked now: " + err.Error()
		}
		if says == "" {
			op, err := n.receipts.put(key, *k)
			if err == nil {
				err = n.receipts.store.Apply([]kv.Op{op})
			}
			if err != nil {
				return nil, err
			}
		}
	}
	f := evidence.ReceiptFile{Receipt: k.Receipt, Request: k.Request, Proofs: k.Proofs, Network: evidence.Records(n.trust.Current())}
	raw, err := f.Bytes()
	if err != nil {
		return nil, err
	}
	if len(raw) > evidence.MaxReceipt {
		return nil, fmt.Errorf("the receipt with its proofs has %d bytes, at most %d", len(raw), evidence.MaxReceipt)
	}
	described, err := n.describeReceipt(ctx, k, r, id, &erasedKeys{n: n})
	if err != nil {
		return nil, err
	}
	out := &api.ReceiptFile{Receipt: described, File: raw}
	if says != "" {
		out.Says = says
	}
	return out, nil
}

// findReceipt finds a receipt by its id or an unambiguous beginning of it.
func (n *Node) findReceipt(name string) (key []byte, kept *keptReceipt, r *receipt.Receipt, id statement.ID, err error) {
	const hint = "see `cerebrum audit receipts`"
	if len(name) < shortestID {
		return nil, nil, nil, id, fault.New(fault.Usage, hint, "an id, or at least its first %d digits, names a receipt", shortestID)
	}
	found := 0
	err = n.receipts.scan(func(at []byte, k *keptReceipt, x *receipt.Receipt, i statement.ID) (bool, error) {
		if s := i.String(); len(name) <= len(s) && s[:len(name)] == name {
			key, kept, r, id = at, k, x, i
			found++
		}
		return found < 2, nil
	})
	switch {
	case err != nil:
	case found == 0:
		err = fault.New(fault.NotFound, hint, "there is no receipt %.64s here", name)
	case found > 1:
		err = fault.New(fault.Usage, "give more of the id", "several receipts begin with %.64s", name)
	}
	return key, kept, r, id, err
}
