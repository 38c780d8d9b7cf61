package daemon

import (
	"context"
	"errors"
	"slices"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
)

const (
	mirrorBatch   = 1000     // objects of one request
	mirrorPending = 16 << 20 // bytes that are taken before they are made durable
)

// incomingCopy is one object on its way into a mirror.
type incomingCopy struct {
	address cid.Cid
	size    uint64 // of the payload; 0 until the manifest came
	have    uint64 // of it, durable, from its beginning
	next    uint64 // of it, taken in this attempt or before
	resumed bool
	refused error // it is not to be carried
	done    bool  // it is in the index
	whole   bool  // every block of it was taken
	scope   []byte
}

// copying brings objects into this home under one chain. Every block comes from
// another holder under the object that it is for, checked by package exchange
// against its CID and its place; none is taken from this home, see [part].
// It is used by one goroutine.
type copying struct {
	n     *Node
	v     *capability.Verified
	root  cid.Cid
	room  int64 // bytes that may still come; negative: any number
	asked []*incomingCopy
	all   []*incomingCopy

	draft   *store.Draft // closed by close
	pending []envelope.Block
	bytes   int
	deleted int // n.carry.deleted at the start

	progress *object.Progress
}

var errFull = errors.New("there is no room for it within the offer")

// newCopying begins a copying, which close ends.
func (n *Node) newCopying(v *capability.Verified, root cid.Cid, room int64, addresses []cid.Cid) (*copying, error) {
	n.carry.deleting.Lock()
	c := &copying{n: n, v: v, root: root, room: room, deleted: n.carry.deleted, draft: n.store.Draft()}
	n.carry.deleting.Unlock()
	for _, a := range addresses {
		in := &incomingCopy{address: a}
		var p part
		found, err := n.carry.get(partKey(a), &p)
		if err != nil {
			c.close()
			return nil, err
		}
		if found && p.Have > 0 && p.Have <= p.Size {
			in.size, in.have, in.next, in.resumed = p.Size, p.Have, p.Have, true
		}
		c.all = append(c.all, in)
	}
	return c, nil
}

func (c *copying) close() { c.draft.Close() }

// next is the request for what is missing, see [attempt].
func (c *copying) next() (*exchange.Request, func(exchange.Block) error) {
	if c.flushQuietly() != nil { // of the attempt before
		return nil, nil // run flushes again, and says why
	}
	c.asked = c.asked[:0]
	req := &exchange.Request{}
	for _, in := range c.all {
		if in.done || in.refused != nil || len(c.asked) == mirrorBatch {
			continue
		}
		in.next, in.whole = in.have, false
		it := exchange.Item{Address: in.address.Bytes(), Whole: true}
		if in.have > 0 && in.have < in.size {
			it.Whole, it.Ranges = false, []exchange.Range{{From: in.have, To: in.size}}
		}
		c.asked = append(c.asked, in)
		req.Items = append(req.Items, it)
	}
	if len(c.asked) == 0 {
		return nil, nil
	}
	return req, c.take
}

func (c *copying) flushQuietly() error { return c.flush(context.Background()) }

// take gets one verified block.
func (c *copying) take(b exchange.Block) error {
	in := c.asked[b.Item]
	if in.refused != nil {
		return nil
	}
	if b.Kind == exchange.Manifest {
		if in.refused = c.admit(in, b.Data); in.refused != nil {
			return nil
		}
	}
	c.pending = append(c.pending, envelope.Block{CID: b.CID, Data: slices.Clone(b.Data)})
	c.bytes += len(b.Data)
	if b.Kind == exchange.Leaf {
		if b.Offset != int64(in.next) {
			return nil // before what is missing
		}
		in.next += uint64(len(b.Data))
		if c.progress != nil {
			c.progress.Done.Add(int64(len(b.Data)))
		}
		in.whole = in.next == in.size
	}
	if c.bytes < mirrorPending {
		return nil
	}
	return c.flush(context.Background())
}

// admit decides by its manifest whether an object is carried.
func (c *copying) admit(in *incomingCopy, manifest []byte) error {
	m, err := validator.VerifyManifest(in.address.Bytes(), manifest, c.v.Owner())
	if err != nil {
		return err
	}
	if err := c.v.Allows(capability.Carry, validator.ObjectOf(in.address, m)); err != nil {
		return err
	}
	if c.n.set.Barred(m.KeyID()) {
		return errErased
	}
	if in.size == 0 && c.room >= 0 {
		if int64(m.Size) > c.room {
			return errFull
		}
		c.room -= int64(m.Size)
	}
	if in.size != m.Size { // the first time, or what was kept is of no use
		in.size, in.have, in.next, in.resumed = m.Size, 0, 0, false
		if c.progress != nil {
			c.progress.Total.Add(int64(m.Size))
		}
	}
	if len(m.Scopes) > 0 {
		in.scope = m.Scopes[0][:]
	}
	return nil
}

// flush makes durable what was taken: blocks, then how far each object is, and then
// those that are whole come into the index.
func (c *copying) flush(ctx context.Context) error {
	if len(c.pending) > 0 {
		if err := c.n.putSound(ctx, c.draft, c.pending); err != nil {
			return err
		}
		clear(c.pending)
		c.pending, c.bytes = c.pending[:0], 0
	}
	for _, in := range c.asked {
		switch {
		case in.done || in.refused != nil:
		case in.whole:
			if err := c.hold(ctx, in); err != nil {
				return err
			}
		case in.next > in.have:
			if err := c.n.carry.put(partKey(in.address), part{Root: c.root.Bytes(), Size: in.size, Have: in.next}); err != nil {
				return err
			}
			in.have = in.next
		}
	}
	return nil
}

// putSound stores blocks in a draft; one that is here and damaged is replaced.
func (n *Node) putSound(ctx context.Context, draft *store.Draft, blocks []envelope.Block) error {
	for _, b := range blocks {
		_, err := n.store.GetVerified(ctx, b.CID)
		if errors.Is(err, store.ErrCorrupt) {
			err = n.store.Delete(ctx, []cid.Cid{b.CID})
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return draft.PutMany(ctx, blocks)
}

// hold puts a whole object into the index. Where something was deleted since its
// first blocks came, or they came in an earlier attempt, all of it is looked at first.
func (c *copying) hold(ctx context.Context, in *incomingCopy) error {
	n := c.n
	n.carry.deleting.Lock()
	defer n.carry.deleting.Unlock()
	if in.resumed || c.deleted != n.carry.deleted {
		sound, err := n.isWhole(ctx, in.address)
		if err != nil {
			return err
		}
		if !sound { // from the beginning, from the next holder
			in.have, in.next, in.whole, in.resumed = 0, 0, false, false
			return n.carry.drop(partKey(in.address))
		}
	}
	if old, err := n.store.Object(in.address); err == nil && !isCarried(&old) {
		in.done = true // its owner, or one who imported it, holds it better
		return n.carry.drop(partKey(in.address))
	}
	note, err := statement.Marshal(carried{Audience: c.v.Audience().ID(), Root: c.root.Bytes()})
	if err != nil {
		return err
	}
	err = n.store.PutObject(store.Object{
		Address: in.address.Bytes(), Origin: store.OriginTransferred, Added: n.now().Unix(),
		Stored: in.size, Scope: in.scope, Local: note,
	})
	if err != nil {
		return err
	}
	in.done = true
	return n.carry.drop(partKey(in.address))
}

// isWhole reports whether every block that an address leads to is here and sound.
func (n *Node) isWhole(ctx context.Context, address cid.Cid) (bool, error) {
	req := exchange.Request{Items: []exchange.Item{{Address: address.Bytes(), Whole: true}}}
	_, err := exchange.Walk(ctx, ownBlocks{n}, req, func(exchange.Block) error { return nil })
	if errors.Is(err, exchange.ErrRefused) || errors.Is(err, exchange.ErrCorrupt) {
		return false, nil
	}
	return err == nil, err
}

// run asks holders for everything, each as long as it brings something, and returns
// why something is missing.
func (c *copying) run(ctx context.Context, r *reading) error {
	for {
		var failures []error
		before := c.came()
		for _, h := range r.holders {
			for {
				had := c.came()
				req, sink := c.next()
				if req == nil {
					return diskFault(c.flush(ctx))
				}
				r.introduce(ctx, h)
				_, err := r.askHolder(ctx, h.ID, *req, r.taking(h.ID.String(), sink))
				var own *sinkError
				switch {
				case errors.As(err, &own):
					return diskFault(own.err)
				case ctx.Err() != nil:
					return errors.Join(ctx.Err(), c.flush(context.WithoutCancel(ctx)))
				case err != nil:
					c.n.log.Info("a holder did not give everything", "peer", h.ID, "err", err)
					failures = append(failures, err)
				}
				if ferr := c.flush(ctx); ferr != nil {
					return diskFault(ferr)
				}
				if err != nil || c.came() == had {
					break
				}
			}
		}
		if c.left() == 0 {
			return nil
		}
		if c.came() == before {
			return r.noHolder(c.root, failures)
		}
	}
}

// came measures what is durable: bytes of payloads, and one for each object that is
// in the index or is not to be.
func (c *copying) came() (sum uint64) {
	for _, in := range c.all {
		sum += in.have
		if in.done || in.refused != nil {
			sum += in.size - in.have + 1
		}
	}
	return sum
}

// left counts the objects that still lack something.
func (c *copying) left() (count int) {
	for _, in := range c.all {
		if !in.done && in.refused == nil {
			count++
		}
	}
	return count
}

// refusedFault says why an object is not carried, where the address itself is not.
func refusedFault(address cid.Cid, err error) error {
	switch {
	case errors.Is(err, errErased):
		return fault.New(fault.Denied, "nothing brings it back", "%s was erased by its owner", address)
	case errors.Is(err, errFull):
		return fault.New(fault.Failed, "offer more with `cerebrum mirror --offer SIZE`", "%s does not fit into what this home offers", address)
	case errors.Is(err, capability.ErrScope):
		return fault.Wrap(fault.Denied, err, "ask its owner for a grant to carry it", "%s", address)
	}
	return integrity(err)
}
