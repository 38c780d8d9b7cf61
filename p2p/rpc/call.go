package rpc

import (
	"context"
	"errors"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Call asks p for m. It connects if it must, opens a stream, has request build
// the body with the session of the stream's connection, sends it and reads the
// answer. Every failure but those of request itself is an [*Error]: what the
// other side told, or Unavailable where network, timeout or ctx were in the way
// (errors.Is finds the context's error too). An error of request is returned as
// it is, and nothing was sent.
func Call(ctx context.Context, h libp2phost.Host, p peer.ID, m Method, request func(*admission.Session) ([]byte, error)) ([]byte, error) {
	m = m.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	stream, err := h.NewStream(ctx, p, m.Protocol)
	if err != nil {
		return nil, unavailable(ctx, "the peer cannot be reached for this", err)
	}
	response, err := exchange(ctx, stream, m, request)
	if err != nil {
		stream.Reset() // ends the handler's context if it still runs
		return nil, err
	}
	stream.Close()
	return response, nil
}

func exchange(ctx context.Context, stream network.Stream, m Method, request func(*admission.Session) ([]byte, error)) ([]byte, error) {
	session, ok := admission.SessionOf(stream.Conn())
	if !ok {
		return nil, failure(Denied, nil, "the connection was never admitted")
	}
	body, err := request(session)
	if err != nil {
		return nil, err
	}
	if len(body) > m.MaxRequest {
		return nil, failure(Malformed, nil, "a request has at most %d bytes", m.MaxRequest)
	}
	// The context's end resets the stream; the deadline, a little later, is there
	// for the case that resetting does not get through.
	if deadline, ok := ctx.Deadline(); ok {
		if err := stream.SetDeadline(deadline.Add(time.Second)); err != nil {
			return nil, unavailable(ctx, "the stream failed", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { stream.Reset() })
	defer stop()
	finishSending := startSending(stream, body)
	status, answer, err := readResponse(stream, m.MaxResponse, stream.Scope())
	if err != nil || status != statusOK {
		// The other side may refuse, and stop reading, before it has the whole
		// request; what is still being written must not wait for it.
		stream.Reset()
	}
	sent := finishSending()
	switch {
	case errors.Is(err, errTooLong):
		return nil, offence(err, "the response is longer than %d bytes", m.MaxResponse)
	case errors.Is(err, errMemory):
		return nil, failure(Busy, err, "there is no memory for the response")
	case err != nil:
		return nil, unavailable(ctx, "the peer did not answer", errors.Join(sent, err))
	case status == statusOK && sent != nil:
		return nil, unavailable(ctx, "the peer answered before it had the request", sent)
	case status == statusOK:
		return answer, nil
	case !Code(status).known():
		return nil, offence(nil, "the peer answered with the unknown status %d", status)
	}
	return nil, &Error{Code: Code(status), Message: printable(string(answer))}
}

// startSending writes the request and returns how to learn the outcome. A small
// one fits into the stream's first window and is written at once; a large one is
// written while the answer is awaited.
func startSending(stream network.Stream, body []byte) func() error {
	if len(body) <= joined {
		err := writeRequest(stream, body)
		return func() error { return err }
	}
	done := make(chan error, 1)
	go func() { done <- writeRequest(stream, body) }()
	return func() error { return <-done }
}

func unavailable(ctx context.Context, what string, cause error) *Error {
	return failure(Unavailable, errors.Join(ctx.Err(), cause), "%s", what)
}
