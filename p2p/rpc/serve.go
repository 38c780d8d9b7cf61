package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// answerTime is what writing an answer may take at least, so that a handler that
// used up the whole timeout can still say so.
const answerTime = 5 * time.Second

// Server answers calls that come to a host. Only Host is required.
type Server struct {
	Host libp2phost.Host
	Log  *slog.Logger // nil is silent
	// Offended is told of a caller whose request was an [Error.Offence], once it has
	// its answer. It is called from many goroutines.
	Offended func(peer.ID, *Error)
}

// Serve is [Server.Serve] of a server that nobody is told of offences by.
func Serve(h libp2phost.Host, m Method, log *slog.Logger, fn Handler) {
	Server{Host: h, Log: log}.Serve(m, fn)
}

// Serve answers calls of m with fn until [Remove]. Each call runs in a goroutine
// of its own, which libp2p starts. A panic of fn is logged as an error with its
// stack and answered as Internal; it does not end the process, since a peer's
// request must not be able to.
func (s Server) Serve(m Method, fn Handler) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Offended == nil {
		s.Offended = func(peer.ID, *Error) {}
	}
	a := &answerer{
		method: m.withDefaults(), log: s.Log.With("protocol", m.Protocol), handle: fn, offended: s.Offended, calls: make(map[peer.ID]int),
	}
	s.Host.SetStreamHandler(m.Protocol, a.serve)
}

// Remove stops answering m. Calls in progress go on.
func Remove(h libp2phost.Host, m Method) { h.RemoveStreamHandler(m.Protocol) }

// answerer is one method at work.
type answerer struct {
	method   Method
	log      *slog.Logger
	handle   Handler
	offended func(peer.ID, *Error)

	mu    sync.Mutex      // guards calls
	calls map[peer.ID]int // in progress
}

func (s *answerer) enter(p peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[p] >= s.method.PerPeer {
		return false
	}
	s.calls[p]++
	return true
}

func (s *answerer) leave(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[p]--; s.calls[p] <= 0 {
		delete(s.calls, p)
	}
}

func (s *answerer) serve(stream network.Stream) {
	remote := stream.Conn().RemotePeer()
	session, ok := admission.SessionOf(stream.Conn())
	if !ok {
		s.log.Error("refused a call over a connection that was never admitted", "peer", remote)
		stream.Reset()
		return
	}
	if err := stream.SetDeadline(time.Now().Add(s.method.Timeout)); err != nil {
		stream.Reset()
		return
	}
	if !s.enter(remote) {
		s.answer(stream, nil, failure(Busy, nil, "too many calls at once"))
		return
	}
	defer s.leave(remote)
	request, err := readRequest(stream, s.method.MaxRequest, stream.Scope())
	switch {
	case errors.Is(err, errTooLong):
		s.answer(stream, nil, offence(nil, "a request has at most %d bytes", s.method.MaxRequest))
	case errors.Is(err, errMemory):
		s.answer(stream, nil, failure(Busy, nil, "too much data at once"))
	case err != nil:
		s.log.Debug("reading a request", "peer", remote, "error", err)
		stream.Reset()
	default:
		s.respond(stream, Caller{remote, session}, request)
	}
}

// respond runs the handler under a context that ends with the caller's interest.
func (s *answerer) respond(stream network.Stream, c Caller, request []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), s.method.Timeout)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch(stream, cancel)
	}()
	response, err := s.guarded(ctx, c, request)
	if err == nil && len(response) > s.method.MaxResponse {
		s.log.Error("a response is larger than its method allows", "peer", c.Peer, "bytes", len(response))
		response, err = nil, failure(Internal, nil, "the response is too large")
	}
	expired := ctx.Err()
	cancel()
	s.answer(stream, response, s.forCaller(c.Peer, err, expired))
	<-watched // answer has ended the stream for reading
}

// watch ends the context when the caller resets the stream, loses its connection
// or sends what it should not. A caller that only closed its half waits on.
func watch(stream network.Stream, cancel context.CancelFunc) {
	var extra [1]byte
	if _, err := stream.Read(extra[:]); err == nil || !errors.Is(err, io.EOF) {
		cancel()
	}
}

// guarded turns a panic of the handler into an error, loudly.
func (s *answerer) guarded(ctx context.Context, c Caller, request []byte) (response []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("a handler panicked", "peer", c.Peer, "panic", r, "stack", string(debug.Stack()))
			response, err = nil, failure(Internal, nil, "")
		}
	}()
	return s.handle(ctx, c, request)
}

// forCaller is the part of a handler's error that the caller may see; nil for none.
func (s *answerer) forCaller(p peer.ID, err, expired error) *Error {
	var told *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &told) && told.Code.known():
		return told
	case expired != nil:
		return failure(Unavailable, nil, "the request took too long")
	}
	s.log.Error("a call failed", "peer", p, "error", err)
	return failure(Internal, nil, "the request failed")
}

// answer writes the one frame that ends a call, closes the stream and tells of an
// offence.
func (s *answerer) answer(stream network.Stream, response []byte, failed *Error) {
	if failed != nil && failed.Offence {
		defer s.offended(stream.Conn().RemotePeer(), failed)
	}
	status, body := byte(statusOK), response
	if failed != nil {
		status, body = byte(failed.Code), []byte(truncate(failed.Message))
	}
	err := stream.SetWriteDeadline(time.Now().Add(max(answerTime, s.method.Timeout)))
	if err == nil {
		err = writeResponse(stream, status, body)
	}
	if err != nil {
		s.log.Debug("writing a response", "peer", stream.Conn().RemotePeer(), "error", err)
		stream.Reset()
		return
	}
	stream.Close() // both halves: a request that is still coming is not read
}
