package exchange

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// leafBuffers recycles the memory of large blocks between transfers.
var leafBuffers = sync.Pool{New: func() any { return new([envelope.LeafSize]byte) }}

const (
	maxBuffers = 8        // large blocks in flight in one fetch: 8 MB
	tinyBlock  = 16 << 10 // up to here a block gets memory of its own
	readBuffer = 32 << 10
)

// parcel is a block on its way from the stream to the caller.
type parcel struct {
	Block
	verified bool // Data matches CID
	last     bool // the item is complete with it
}

// receiver reads and verifies one response. Three goroutines work on it: read
// owns the stream and the walk, verify the hashing of leaves, and run, the
// caller's, the sink.
type receiver struct {
	in     *bufio.Reader
	extend func() error // gives the next read its time
	peer   peer.ID
	items  []Item
	slots  chan struct{}   // one for each large block in flight
	quit   chan struct{}   // closed when nobody wants more
	ended  <-chan struct{} // closed when the caller gives up; nil where it cannot
	raw    chan parcel     // from read to verify
	good   chan parcel     // from verify to run

	readErr   error // of read; valid once raw is closed
	verifyErr error // of verify; valid once good is closed
	refused   int   // items that did not come; as readErr
	begun     bool  // the first leaf has been passed on; read's
}

func newReceiver(r io.Reader, extend func() error, ended <-chan struct{}, p peer.ID, items []Item) *receiver {
	return &receiver{
		in: bufio.NewReaderSize(r, readBuffer), extend: extend, ended: ended, peer: p, items: items,
		slots: make(chan struct{}, maxBuffers), quit: make(chan struct{}),
		raw: make(chan parcel, 64), good: make(chan parcel, 64),
	}
}

// run passes blocks to sink until the response ends. abort must make a pending
// read return.
func (rc *receiver) run(res *Result, sink func(Block) error, abort func()) error {
	go func() {
		defer close(rc.raw)
		rc.readErr = rc.readAll()
	}()
	go func() {
		defer close(rc.good)
		if rc.verifyErr = rc.verifyAll(); rc.verifyErr != nil {
			abort()
		}
		for pc := range rc.raw {
			rc.recycle(pc)
		}
	}()
	var sinkErr error
	for pc := range rc.good {
		if sinkErr == nil {
			if sinkErr = sink(pc.Block); sinkErr != nil {
				close(rc.quit)
				abort()
			} else {
				res.Bytes += int64(len(pc.Data))
				res.Done[pc.Item] = pc.last
			}
		}
		rc.recycle(pc)
	}
	switch {
	case sinkErr != nil:
		return sinkErr
	case rc.verifyErr != nil:
		return rc.verifyErr
	case rc.readErr != nil:
		return rc.readErr
	case rc.refused > 0:
		return fmt.Errorf("%w (%d of %d objects)", ErrRefused, rc.refused, len(rc.items))
	}
	return nil
}

func (rc *receiver) recycle(pc parcel) {
	if pc.lent == nil {
		return
	}
	if !pc.lent.kept {
		pc.lent.giveBack()
	}
	<-rc.slots
}

// verifyAll hashes what read has not hashed.
func (rc *receiver) verifyAll() error {
	for pc := range rc.raw {
		if !pc.verified && !matches(pc.CID, pc.Data) {
			err := rc.fault(pc.Item, pc.CID, "its bytes have another hash")
			rc.recycle(pc)
			return err
		}
		rc.good <- pc
	}
	return nil
}

func (rc *receiver) corrupt(item int, c cid.Cid, reason string) error {
	return &CorruptError{Peer: rc.peer, Item: item, Block: c, Reason: reason}
}

// fault is corrupt where no owner of an object is to blame.
func (rc *receiver) fault(item int, c cid.Cid, reason string) error {
	return &CorruptError{Peer: rc.peer, Item: item, Block: c, Reason: reason, Own: true}
}

// errQuit ends the reader after sink or verify has ended the fetch; it is never returned.
var errQuit = errors.New("fetch is over")

// readAll reads every item and then the end of the stream.
func (rc *receiver) readAll() error {
	for i := range rc.items {
		if err := rc.readItem(i); err != nil {
			return err
		}
	}
	if err := rc.extend(); err != nil {
		return nil // all is here
	}
	if _, err := rc.in.ReadByte(); err == nil {
		return rc.fault(len(rc.items)-1, cid.Undef, "the response goes on after its end")
	}
	return nil
}

func (rc *receiver) readItem(i int) error {
	w, err := newWalk(&rc.items[i])
	if err != nil {
		return err
	}
	if err := rc.extend(); err != nil {
		return rc.broken(err)
	}
	status, err := rc.in.ReadByte()
	if err != nil {
		return rc.broken(err)
	}
	switch status {
	case statusGiven:
	case statusRefused:
		rc.refused++
		return nil
	case markEnd >> 24:
		return rc.readEnd(i, 3)
	default:
		return rc.fault(i, cid.Undef, "a status is unknown")
	}
	for !w.done() {
		p, _ := w.next()
		gone, err := rc.readBlock(i, w, p)
		if err != nil {
			return err
		}
		if gone {
			rc.refused++
			return nil
		}
	}
	return nil
}

// readBlock reads, checks and forwards the block of a place. It reports an item
// that the holder cannot finish.
func (rc *receiver) readBlock(i int, w *walk, p place) (gone bool, err error) {
	var prefix [4]byte
	if err := rc.read(prefix[:]); err != nil {
		return false, err
	}
	n := binary.BigEndian.Uint32(prefix[:])
	switch n {
	case markGone:
		return true, nil
	case markEnd:
		return false, rc.readEnd(i, 0)
	}
	if err := p.checkLength(int64(n)); err != nil {
		return false, rc.corrupt(i, p.cid, err.Error())
	}
	pc := parcel{Block: Block{Item: i, Kind: p.kind, CID: p.cid, Offset: w.offset(p.leaf)}}
	if err := rc.allocate(&pc, int(n)); err != nil {
		return false, err
	}
	if err := rc.read(pc.Data); err != nil {
		rc.recycle(pc)
		return false, err
	}
	if p.kind != Leaf {
		// What leads further is verified before it is believed.
		if !matches(p.cid, pc.Data) {
			rc.recycle(pc)
			return false, rc.fault(i, p.cid, "its bytes have another hash")
		}
		pc.verified = true
	}
	if err := w.feed(p, pc.Data); err != nil {
		rc.recycle(pc)
		return false, rc.corrupt(i, p.cid, err.Error())
	}
	pc.last = w.done()
	if p.kind != Leaf || p.leaf > 1 || pc.lent == nil || rc.begun {
		return false, rc.forward(pc)
	}
	// Somebody waits for the first bytes of the object, so nothing is done for later
	// ones until these have been hashed, decrypted and passed on: it would only take
	// the processor away. Leaf 0 is but a nonce.
	rc.begun = true
	back := make(chan struct{})
	pc.lent.back = back
	if err := rc.forward(pc); err != nil {
		return false, err
	}
	select {
	case <-back:
	case <-rc.quit:
	case <-rc.ended:
	}
	return false, nil
}

// allocate finds memory for n bytes, which checkLength has kept to a leaf's.
func (rc *receiver) allocate(pc *parcel, n int) error {
	if n <= tinyBlock {
		pc.Data = make([]byte, n)
		return nil
	}
	select {
	case rc.slots <- struct{}{}:
	case <-rc.quit:
		return errQuit
	}
	pc.lent = &lent{buf: leafBuffers.Get().(*[envelope.LeafSize]byte)}
	pc.Data = pc.lent.buf[:n]
	return nil
}

func (rc *receiver) forward(pc parcel) error {
	select {
	case rc.raw <- pc:
		return nil
	case <-rc.quit:
		rc.recycle(pc)
		return errQuit
	}
}

// readEnd reads the rest of an end mark, of which skip bytes are still to come.
func (rc *receiver) readEnd(i, skip int) error {
	var b [4]byte
	if err := rc.read(b[:skip+1]); err != nil {
		return err
	}
	for _, x := range b[:skip] {
		if x != markEnd&0xFF {
			return rc.fault(i, cid.Undef, "a status is unknown")
		}
	}
	if b[skip] != endStopped {
		return rc.fault(i, cid.Undef, "a reason is unknown")
	}
	return ErrRevoked
}

// read fills b, giving each chunk its time.
func (rc *receiver) read(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), chunkSize)
		if rc.in.Buffered() < n {
			if err := rc.extend(); err != nil {
				return rc.broken(err)
			}
		}
		if _, err := io.ReadFull(rc.in, b[:n]); err != nil {
			return rc.broken(err)
		}
		b = b[n:]
	}
	return nil
}

// broken says what the end of a stream means.
func (rc *receiver) broken(err error) error {
	var reset *network.StreamError
	if errors.As(err, &reset) && reset.Remote && reset.ErrorCode == codeStopped {
		return ErrRevoked
	}
	if isTimeout(err) {
		return fmt.Errorf("%w: nothing came in time: %w", ErrUnavailable, err)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
