package exchange

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// The bytes of a response that are not blocks.
const (
	statusGiven   = 0x00 // the blocks of an item follow
	statusRefused = 0x01 // nothing follows for this item

	markEnd  = 0xFFFFFFFF // in place of a status or a length: one reason byte, then nothing
	markGone = 0xFFFFFFFE // in place of a length: the item ends here, the next one follows

	endStopped = 0x01 // reason: the lease is no longer live
)

// codeStopped resets a stream within a block, where no mark can stand.
const codeStopped network.StreamErrorCode = 0xCEB0001

const (
	smallBlock = 64 << 10        // up to here blocks share a write
	bufferSize = 256 << 10       // that many bytes of them
	chunkSize  = 128 << 10       // between two questions to the lease, in a large block
	pollEvery  = time.Second / 2 // while the peer accepts nothing
)

// errStopped reports a lease that died; what was not yet written is dropped.
var errStopped = errors.New("lease is no longer live")

// errMidBlock adds that the peer already has a part of a block.
var errMidBlock = errors.New("in the middle of a block")

// outbox frames the response and writes it. Whole frames wait in buf, so that
// dropping buf leaves the peer at the border of a frame. One goroutine uses it.
type outbox struct {
	stream   network.Stream
	lease    Lease // nil for a refused request, which has no blocks
	limits   Limits
	arrived  time.Time // of the request
	buf      []byte
	blocks   bool // buf holds more than refusals
	refusals bool // buf holds a refusal
	torn     bool // a block was cut off
}

func newOutbox(stream network.Stream, lim Limits) *outbox {
	return &outbox{stream: stream, limits: lim, arrived: time.Now()}
}

// put adds a piece. The lease is asked before each block.
func (o *outbox) put(pc piece) error {
	if pc.kind == pieceRefused {
		o.refuse()
		return nil
	}
	if err := o.live(); err != nil {
		return err
	}
	o.blocks = true
	if pc.kind == pieceGone {
		o.buf = binary.BigEndian.AppendUint32(o.buf, markGone)
		return nil
	}
	if pc.kind == pieceFirst {
		o.buf = append(o.buf, statusGiven)
	}
	return o.block(pc.data)
}

func (o *outbox) refuse() {
	o.buf = append(o.buf, statusRefused)
	o.refusals = true
}

func (o *outbox) block(data []byte) error {
	if len(data) > smallBlock {
		// The prefix leaves with what waits; the block itself is not copied.
		o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(len(data)))
		if err := o.flush(); err != nil {
			return err
		}
		o.torn = true
		if err := o.write(data); err != nil {
			return err
		}
		o.torn = false
		return nil
	}
	if len(o.buf)+4+len(data) > bufferSize {
		if err := o.flush(); err != nil {
			return err
		}
		o.blocks = true
	}
	o.buf = binary.BigEndian.AppendUint32(o.buf, uint32(len(data)))
	o.buf = append(o.buf, data...)
	return nil
}

// idle writes what waits because nothing else is ready. Refusals alone go on
// waiting: leaving one by one they would tell how long each decision took.
func (o *outbox) idle() error {
	if !o.blocks {
		return nil
	}
	return o.flush()
}

// flush writes what waits, on the grid of time if a refusal is among it.
func (o *outbox) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	if o.refusals {
		tick := o.limits.RefusalTick
		now := time.Now()
		waitUntil(now.Add(tick - now.Sub(o.arrived)%tick))
	}
	if o.blocks {
		if err := o.live(); err != nil {
			return err
		}
	}
	err := o.write(o.buf)
	o.buf, o.blocks, o.refusals = o.buf[:0], false, false
	return err
}

// end tells the peer why nothing more comes. It fails where only a reset can.
func (o *outbox) end(reason byte) error {
	if o.torn {
		return errMidBlock
	}
	o.lease = nil // it has said no; the mark itself carries no block
	o.buf = append(binary.BigEndian.AppendUint32(o.buf[:0], markEnd), reason)
	return o.write(o.buf)
}

func (o *outbox) live() error {
	if o.lease == nil {
		return nil
	}
	if err := o.lease.Live(); err != nil {
		return fmt.Errorf("%w: %w", errStopped, err)
	}
	return nil
}

// write sends b in chunks, each within the write timeout. Before each chunk,
// and now and then while the peer accepts nothing, it asks the lease again: a
// peer that has stalled does not keep its place in the middle of a block.
func (o *outbox) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), chunkSize)
		if err := o.chunk(b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) > 0 {
			if err := o.live(); err != nil {
				o.torn = true
				return err
			}
		}
	}
	return nil
}

func (o *outbox) chunk(b []byte) error {
	last := time.Now().Add(o.limits.WriteTimeout)
	for {
		until := time.Now().Add(pollEvery)
		if until.After(last) {
			until = last
		}
		if err := o.stream.SetWriteDeadline(until); err != nil {
			return err
		}
		n, err := o.stream.Write(b)
		b = b[n:]
		if len(b) == 0 {
			return nil
		}
		if !isTimeout(err) || !time.Now().Before(last) {
			o.torn = true
			return fmt.Errorf("write: %w", err)
		}
		if lerr := o.live(); lerr != nil {
			o.torn = true
			return lerr
		}
	}
}

// isTimeout recognises a deadline of any of the multiplexers.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
