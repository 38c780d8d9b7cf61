// Package rpc is request and response between members: one call, one stream.
//
// # Wire format
//
// The caller opens a stream for the method's protocol and writes its request;
// the other side answers on the same stream. Integers are big endian.
//
//	request   length (4) body
//	response  status (1) length (4) body
//
// Status 0 is success and the body is the response. Any other status is a
// [Code] and the body a sentence for people, at most 1 KiB. The caller keeps its
// half of the stream open until it has the answer, so that the other side
// notices at once when the caller gives up.
//
// # Limits
//
// A length is checked before anything of that length is allocated, and memory
// then grows only as bytes arrive, accounted to the peer by libp2p's resource
// manager. Every read and write has a deadline. A peer that has too many calls of
// a method in progress is told [Busy].
//
// # Sessions
//
// Calls travel only over connections that were admitted: both sides know the
// [admission.Session] of the very connection that carries the call. [Call] opens
// the stream first and lets the caller build its request afterwards, so that a
// proof of possession in it can carry this connection's challenge.
//
// # Example
//
//	var head = rpc.Method{Protocol: "/cerebrum/head/1", MaxRequest: 64, MaxResponse: 4096}
//
//	rpc.Serve(h, head, log, func(ctx context.Context, c rpc.Caller, request []byte) ([]byte, error) {
//		if len(request) != 32 {
//			return nil, &rpc.Error{Code: rpc.Malformed, Message: "a lineage id has 32 bytes"}
//		}
//		...
//	})
//
//	response, err := rpc.Call(ctx, h, validator, head, func(s *admission.Session) ([]byte, error) {
//		return lineage[:], nil
//	})
//	if errors.Is(err, &rpc.Error{Code: rpc.NotFound}) { ... }
package rpc

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Code says why a call failed.
type Code uint8

// The codes. Their numbers are on the wire.
const (
	Malformed   Code = 1 // the request or the response cannot be understood
	Denied      Code = 2 // the caller may not
	NotFound    Code = 3 // there is no such thing, or none that the caller may know of
	Unavailable Code = 4 // the peer or the network does not answer now
	Busy        Code = 5 // too much at once; try later
	Integrity   Code = 6 // data does not match what was promised about it
	Internal    Code = 7 // a fault on the other side; it has the details
)

var codeNames = [...]string{
	Malformed: "malformed", Denied: "denied", NotFound: "not found", Unavailable: "unavailable",
	Busy: "busy", Integrity: "integrity", Internal: "internal",
}

func (c Code) known() bool { return c >= Malformed && c <= Internal }

// String is the code in words.
func (c Code) String() string {
	if !c.known() {
		return fmt.Sprintf("code %d", uint8(c))
	}
	return codeNames[c]
}

// Error is how a call fails. A handler returns one to tell the caller; what it
// says is shown to the other side, so it must hold nothing secret.
type Error struct {
	Code    Code
	Message string // one sentence; may be empty
	// Offence is true where the other side sent what no honest peer sends: more bytes
	// than the method allows, what does not decode. It is never sent. A handler sets
	// it of requests, [Call] of answers.
	Offence bool

	cause error // only on the side where it happened, never sent
}

// Error is the message, or the code where there is none.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Message
}

// Is compares codes, so that errors.Is(err, &Error{Code: Denied}) asks for any
// denial.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Unwrap is what happened on this side, if that is known: a caller finds its own
// context's error here.
func (e *Error) Unwrap() error { return e.cause }

func offence(cause error, format string, args ...any) *Error {
	e := failure(Malformed, cause, format, args...)
	e.Offence = true
	return e
}

func failure(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: cause}
}

// Caller is who calls, as the connection proves it.
type Caller struct {
	Peer    peer.ID
	Session *admission.Session
}

// Method is one kind of call. Both sides must agree on it.
type Method struct {
	// Protocol is the name on the wire.
	Protocol protocol.ID
	// MaxRequest and MaxResponse are the largest bodies, in bytes. Zero allows
	// empty ones only.
	MaxRequest, MaxResponse int
	// Timeout bounds a whole call, on each side. Default 30 s.
	Timeout time.Duration
	// PerPeer is how many calls of one peer are handled at once. Default 8.
	PerPeer int
}

func (m Method) withDefaults() Method {
	if m.Timeout <= 0 {
		m.Timeout = 30 * time.Second
	}
	if m.PerPeer <= 0 {
		m.PerPeer = 8
	}
	m.MaxRequest, m.MaxResponse = max(m.MaxRequest, 0), max(m.MaxResponse, 0)
	return m
}

// Handler answers one request. Its context ends with the method's timeout, with
// the connection, and when the caller gives up. An error that is an [*Error] goes
// to the caller; any other is logged here, and the caller learns only that
// something failed. The request slice belongs to the handler.
type Handler func(ctx context.Context, c Caller, request []byte) ([]byte, error)

// maxMessage is the size of the longest error message on the wire, in bytes.
const maxMessage = 1 << 10

// printable makes a message from the network fit for terminals and logs: valid
// UTF-8, one line, no control or formatting characters.
func printable(message string) string {
	message = strings.ToValidUTF8(message, "?")
	message = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, message)
	return truncate(message)
}

func truncate(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut]
}
