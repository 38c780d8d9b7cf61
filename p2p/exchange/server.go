package exchange

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// BlockSource reads the blocks of this node.
type BlockSource interface {
	// Get returns a block's bytes, which the caller only reads. It returns
	// [ErrNotFound] for a block that is not here, and never asks the network.
	// It may put the bytes into the memory of into, if that has room; the caller
	// uses that again when it is done with them.
	Get(ctx context.Context, c cid.Cid, into []byte) ([]byte, error)
}

// Guard decides who gets what. It is called from several goroutines.
type Guard interface {
	// Open judges a request's Authority against the connection that it came
	// over. Any error refuses the whole request, in the same words for every
	// error; it is logged here and not told to the peer.
	Open(ctx context.Context, conn network.Conn, r *Request) (Lease, error)
}

// Lease is a guard's standing answer to one request. Its methods are called
// from two goroutines at a time.
type Lease interface {
	// Allows returns nil if the grant covers the object at address and this
	// node obtained the object itself, under that very address: holding the
	// same blocks under another object is not enough.
	Allows(address cid.Cid, manifest []byte) error
	// Live returns nil while the grant has neither expired nor been revoked
	// and this node is fresh enough to know. It is asked before every block
	// and several times within a large one, so it must be cheap.
	Live() error
}

// StreamsPerPeer is how many requests of one peer a holder answers at a time where
// its [Limits] say nothing: who asks one holder for more waits for its own turn.
const StreamsPerPeer = 4

// Limits bounds what a [Server] spends. The zero value works.
type Limits struct {
	// StreamsPerPeer is how many requests of one peer are answered at a time;
	// further ones are reset. Default [StreamsPerPeer].
	StreamsPerPeer int
	// Streams is how many are answered at a time in all. Default 64.
	Streams int
	// RequestTimeout is how long a peer may take to send its request, and a
	// guard to judge it. Default 10 s.
	RequestTimeout time.Duration
	// WriteTimeout is how long a peer may take to accept each 128 KiB. Default 30 s.
	WriteTimeout time.Duration
	// ReadAhead is how many bytes are loaded before they can be written, for
	// one stream; at least one block always is. Default 4 MiB.
	ReadAhead int
	// RefusalTick is the grid, counted from the arrival of a request, on which
	// answers that contain a refusal leave, so that the time taken does not
	// tell a missing object from a forbidden one. Default 10 ms.
	RefusalTick time.Duration
}

func (l Limits) withDefaults() Limits {
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&l.StreamsPerPeer, StreamsPerPeer)
	orInt(&l.Streams, 64)
	orInt(&l.ReadAhead, 4<<20)
	orTime(&l.RequestTimeout, 10*time.Second)
	orTime(&l.WriteTimeout, 30*time.Second)
	orTime(&l.RefusalTick, 10*time.Millisecond)
	return l
}

// Server answers requests for blocks. Register [Server.Handle] for [ProtocolID].
type Server struct {
	// Offended, if set, is told of peers that sent what no honest peer sends: a
	// request that does not decode, or is longer than any may be. Slowness, broken
	// lines and requests that are refused are none. Set it before Handle is used.
	Offended func(peer.ID)

	source BlockSource
	guard  Guard
	log    *slog.Logger
	limits Limits

	mu    sync.Mutex // guards what follows
	peers map[peer.ID]int
	total int
}

// NewServer makes a server. It starts nothing; a nil log discards.
func NewServer(src BlockSource, g Guard, log *slog.Logger, lim Limits) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{source: src, guard: g, log: log, limits: lim.withDefaults(), peers: make(map[peer.ID]int)}
}

// Handle answers the one request of a stream and ends the stream. It returns
// when the peer has everything, is too slow, went away, or may have no more.
func (s *Server) Handle(stream network.Stream) {
	p := stream.Conn().RemotePeer()
	log := s.log.With("peer", p)
	if !s.enter(p) {
		log.Debug("blocks: too many streams")
		stream.ResetWithError(network.StreamResourceLimitExceeded)
		return
	}
	end := s.serve(stream, log)
	s.leave(p) // first, so that a peer that has seen the end can ask again
	end()
}

// serve returns how the stream ends.
func (s *Server) serve(stream network.Stream, log *slog.Logger) (end func()) {
	reset := func(code network.StreamErrorCode) func() {
		return func() { stream.ResetWithError(code) }
	}
	req, err := s.readRequest(stream)
	if err != nil {
		log.Debug("blocks: no valid request", "err", err)
		if s.Offended != nil && errors.Is(err, ErrRequest) {
			s.Offended(stream.Conn().RemotePeer())
		}
		return reset(network.StreamProtocolViolation)
	}
	out := newOutbox(stream, s.limits)
	err = s.answer(out, req, log)
	if errors.Is(err, errStopped) {
		log.Info("blocks: stopped in mid-transfer", "err", err)
		if out.end(endStopped) != nil {
			return reset(codeStopped)
		}
		err = nil
	}
	if err != nil {
		log.Debug("blocks: transfer broke", "err", err)
		return reset(network.StreamNoError)
	}
	return func() { stream.Close() }
}

func (s *Server) enter(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.limits.Streams || s.peers[p] >= s.limits.StreamsPerPeer {
		return false
	}
	s.total++
	s.peers[p]++
	return true
}

func (s *Server) leave(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.peers[p]--; s.peers[p] == 0 {
		delete(s.peers, p)
	}
}

func (s *Server) readRequest(stream network.Stream) (*Request, error) {
	if err := stream.SetReadDeadline(time.Now().Add(s.limits.RequestTimeout)); err != nil {
		return nil, err
	}
	var prefix [4]byte
	if _, err := io.ReadFull(stream, prefix[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(prefix[:])
	if n > MaxRequestBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrRequest, n, MaxRequestBytes)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(stream, body); err != nil {
		return nil, err
	}
	return decodeRequest(body)
}

// answer writes the response. An errStopped means that the end mark is due.
func (s *Server) answer(out *outbox, req *Request, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.RequestTimeout)
	lease, err := s.guard.Open(ctx, out.stream.Conn(), req)
	cancel()
	if err != nil {
		log.Info("blocks: request refused", "items", len(req.Items), "err", err)
		// The same bytes as if none of the objects were here.
		for range req.Items {
			out.refuse()
		}
		return out.flush()
	}
	out.lease = lease
	return s.stream(out, req, lease, log)
}

// stream runs the loader beside the writer, which is the caller's goroutine.
func (s *Server) stream(out *outbox, req *Request, lease Lease, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(context.Background())
	ahead := newBudget(s.limits.ReadAhead)
	pieces := make(chan piece, 64)
	ld := &loader{source: s.source, lease: lease, log: log, out: pieces, ahead: ahead}
	go func() {
		defer close(pieces)
		ld.run(ctx, req)
	}()
	err := s.write(out, pieces, ahead)
	cancel()
	ahead.close()
	for pc := range pieces { // until the loader has gone
		pc.release()
	}
	return err
}

func (s *Server) write(out *outbox, pieces <-chan piece, ahead *budget) error {
	for {
		var pc piece
		var ok bool
		select {
		case pc, ok = <-pieces:
		default: // the loader is behind: let the peer have what is ready
			if err := out.idle(); err != nil {
				return err
			}
			pc, ok = <-pieces
		}
		if !ok {
			return out.flush()
		}
		err := out.put(pc)
		pc.release()
		if err != nil {
			return err
		}
		ahead.release(len(pc.data))
	}
}
