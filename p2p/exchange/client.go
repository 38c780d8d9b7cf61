package exchange

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// StreamOpener opens streams to peers; a libp2p host is one.
type StreamOpener interface {
	NewStream(ctx context.Context, p peer.ID, pids ...protocol.ID) (network.Stream, error)
}

// Block is one verified block. Its CID matches its bytes and is the one that
// the address, through the blocks before it, leads to. Whether the manifest's
// signature is its owner's is not checked here.
type Block struct {
	Item   int // index into Request.Items
	Kind   Kind
	CID    cid.Cid
	Data   []byte // valid until the callback returns
	Offset int64  // of its first payload byte; Interior and Leaf only

	lent *lent // where Data lies; nil where that is memory of its own
}

// lent is memory that a transfer uses again once a block is done with.
type lent struct {
	buf  *[envelope.LeafSize]byte
	kept bool          // somebody else gives it back
	back chan struct{} // closed when it is given back; nil where nobody waits for that
}

func (l *lent) giveBack() {
	leafBuffers.Put(l.buf)
	if l.back != nil {
		close(l.back)
	}
}

// keep makes Data last until release, without a copy where the transfer has lent it.
func (b Block) keep() Block {
	if b.lent != nil {
		b.lent.kept = true
		return b
	}
	return *b.clone()
}

// release gives memory back; Data is used no more.
func (b Block) release() {
	if b.lent != nil {
		b.lent.giveBack()
	}
}

// clone has Data in memory of its own.
func (b Block) clone() *Block {
	b.Data, b.lent = slices.Clone(b.Data), nil
	return &b
}

// Result tells what a fetch has brought, also when it failed.
type Result struct {
	Done  []bool // per item: every block of it went through the callback
	Bytes int64  // of blocks that went through the callback
}

// Fetcher fetches blocks from one holder at a time. The zero value of every
// field but Opener works; a Fetcher may be used by many goroutines.
type Fetcher struct {
	Opener StreamOpener
	// Timeout is how long a holder may take to accept the request, and then to
	// send each 128 KiB. Default 30 s.
	Timeout time.Duration
}

// Fetch is [Fetcher.Fetch] with the default limits.
func Fetch(ctx context.Context, o StreamOpener, p peer.ID, req Request,
	authority func(network.Conn, statement.ID) ([]byte, error), sink func(Block) error) (Result, error) {
	return Fetcher{Opener: o}.Fetch(ctx, p, req, authority, sink)
}

// Fetch asks peer p for the objects of req over a new stream.
//
// authority is given the connection and the request's digest and returns the
// bytes that go into Authority; nil sends req.Authority as it is. sink gets
// every block, verified, in the order of the walk and on the caller's
// goroutine; it must not keep Data. An error of sink ends the fetch and is
// returned as it is. While sink takes its time the holder waits, and gives up
// after its own write timeout.
//
// The manifest comes first, so a caller that minds the size of an object can
// refuse it there.
//
// The error is nil if every item is done. It wraps [ErrRequest] (nothing was
// sent), [ErrRefused] (some items came, see Result.Done), [ErrRevoked],
// [ErrCorrupt], [ErrUnavailable], or the context's error.
func (f Fetcher) Fetch(ctx context.Context, p peer.ID, req Request,
	authority func(network.Conn, statement.ID) ([]byte, error), sink func(Block) error) (Result, error) {
	res := Result{Done: make([]bool, len(req.Items))}
	if err := req.check(); err != nil {
		return res, err
	}
	if f.Timeout <= 0 {
		f.Timeout = 30 * time.Second
	}
	stream, err := f.Opener.NewStream(ctx, p, ProtocolID)
	if err != nil {
		return res, unavailable(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { stream.Reset() })
	defer stop()
	if err := f.ask(ctx, stream, &req, authority); err != nil {
		stream.Reset()
		return res, err
	}
	rc := newReceiver(stream, func() error { return stream.SetReadDeadline(time.Now().Add(f.Timeout)) }, ctx.Done(), p, req.Items)
	err = rc.run(&res, sink, func() { stream.Reset() })
	if err != nil && !errors.Is(err, ErrRefused) {
		stream.Reset()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return res, err
	}
	stream.Close()
	return res, err
}

// ask sends the request.
func (f Fetcher) ask(ctx context.Context, stream network.Stream, req *Request,
	authority func(network.Conn, statement.ID) ([]byte, error)) error {
	if authority != nil {
		var err error
		if req.Authority, err = authority(stream.Conn(), req.Digest()); err != nil {
			return fmt.Errorf("authority for blocks: %w", err)
		}
	}
	body, err := req.encode()
	if err != nil {
		return err
	}
	msg := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...)
	if err := stream.SetWriteDeadline(time.Now().Add(f.Timeout)); err != nil {
		return unavailable(ctx, err)
	}
	if _, err := stream.Write(msg); err != nil {
		return unavailable(ctx, err)
	}
	if err := stream.CloseWrite(); err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

// unavailable wraps what a stream reported, unless the caller itself gave up.
func unavailable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
