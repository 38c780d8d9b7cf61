package admission

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
)

// ServiceID names the other exchange that a connection may begin with.
const ServiceID = "/cerebrum/enter/1"

// Sizes of a service's messages, in bytes.
const (
	MaxRequest = 64 << 10
	MaxAnswer  = 1 << 20
)

// Errors of a request.
var (
	// ErrNoAnswer reports that the other side ended the connection without an
	// answer; it does not say why.
	ErrNoAnswer = errors.New("the peer gave no answer")
	// ErrRequestSize reports an own request over MaxRequest.
	ErrRequestSize = fmt.Errorf("own request exceeds %d bytes", MaxRequest)

	// ErrPace reports to [Config.Refused] that the peer's address asks too often.
	ErrPace = errors.New("too many requests of one address")

	errServed = errors.New("the connection was for a service") // it went well
)

// Desk answers requests of peers that are not admitted: who was a member, or is
// invited, and wants to become one. It is called from several goroutines at once.
type Desk interface {
	// Answer answers one request, with at most MaxAnswer bytes. The peer id is
	// proved, the request is untrusted bytes, at most MaxRequest. Answer calls
	// verified once it knows that the request comes from somebody who is owed an
	// answer: from there on it no longer takes a stranger's place. An error ends the
	// connection without a byte. ctx ends with the time of the exchange.
	Answer(ctx context.Context, remote peer.ID, request []byte, verified func()) ([]byte, error)
}

// serve answers the one request of a connection.
func (a *Admitter) serve(ctx context.Context, c transport.CapableConn, stream io.ReadWriter, verified func()) error {
	if !a.paces.take(addressOf(c.RemoteMultiaddr(), a.local), time.Now()) {
		return ErrPace
	}
	request, err := readFrame(stream, MaxRequest)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	var once sync.Once
	defer once.Do(func() {}) // what is called too late does nothing
	answer, err := a.desk.Answer(ctx, c.RemotePeer(), request, func() {
		once.Do(func() {
			select {
			case a.answering <- struct{}{}:
				context.AfterFunc(ctx, func() { <-a.answering }) // ctx ends with the exchange
				verified()
			default: // its place among strangers goes on to bound it
			}
		})
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if len(answer) > MaxAnswer {
		return fmt.Errorf("an answer has %d bytes, more than the %d that are allowed", len(answer), MaxAnswer)
	}
	if err := writeFrame(stream, "", answer); err != nil {
		return err
	}
	// QUIC forgets what was not acknowledged when it closes: the dialer closes first.
	var none [1]byte
	if _, err := stream.Read(none[:]); err == nil {
		return ErrProtocol
	}
	return errServed
}

// Ask sends one request to the desk of a peer, over a connection of its own, and
// returns the answer. The peer's key is verified; what it says is the caller's to
// judge. It takes as long as an admission may, and the time to connect.
func (t *Transport) Ask(ctx context.Context, raddr ma.Multiaddr, p peer.ID, request []byte) ([]byte, error) {
	if len(request) > MaxRequest {
		return nil, ErrRequestSize
	}
	c, err := t.dialInner(ctx, raddr, p, nil)
	if err != nil {
		return nil, err
	}
	defer c.CloseWithError(network.ConnNoError)
	a := t.admitter
	ctx, cancel := context.WithTimeout(ctx, a.limits.Timeout)
	defer cancel()
	var answer []byte
	err = a.within(ctx, c, func() error {
		stream, err := c.OpenStream(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoAnswer, err)
		}
		return a.finish(ctx, stream, func() error {
			if err := writeFrame(stream, ServiceID+"\n", request); err != nil {
				return err
			}
			if answer, err = readFrame(stream, MaxAnswer); err != nil {
				return fmt.Errorf("%w: %w", ErrNoAnswer, err)
			}
			return nil
		})
	})
	return answer, err
}

// readFrame reads a length and so many bytes. The length is checked before
// anything of that length is allocated.
func readFrame(r io.Reader, most uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > most {
		return nil, fmt.Errorf("a message of %d bytes exceeds %d", length, most)
	}
	message := make([]byte, length)
	_, err := io.ReadFull(r, message)
	return message, err
}

func writeFrame(w io.Writer, prefix string, message []byte) error {
	frame := make([]byte, 0, len(prefix)+4+len(message))
	frame = append(frame, prefix...)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(message)))
	if _, err := w.Write(append(frame, message...)); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	return nil
}

// paces bounds the requests of one address: a burst, and then some each second.
type paces struct {
	limits Limits

	mu   sync.Mutex // guards the map
	left map[netip.Prefix]pace
}

// pace is what an address had left at a time.
type pace struct {
	left float64
	at   time.Time
}

// maxPaces bounds the addresses that are remembered.
const maxPaces = 4096

// take uses up one request of an address, or reports that none is left. An invalid
// address is exempt.
func (p *paces) take(address netip.Prefix, now time.Time) bool {
	if !address.IsValid() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == nil {
		p.left = make(map[netip.Prefix]pace)
	}
	was, known := p.left[address]
	if !known {
		if len(p.left) >= maxPaces && !p.forget(now) {
			return false // so many addresses are asking at once that this is a flood
		}
		was = pace{left: float64(p.limits.RequestsPerAddress), at: now}
	}
	was.left = p.refilled(was, now)
	was.at = now
	enough := was.left >= 1
	if enough {
		was.left--
	}
	p.left[address] = was
	return enough
}

func (p *paces) refilled(was pace, now time.Time) float64 {
	full := float64(p.limits.RequestsPerAddress)
	return min(full, was.left+max(0, now.Sub(was.at).Seconds())*full/requestRefill.Seconds())
}

// requestRefill is how long an address that used up its requests waits for all of
// them.
const requestRefill = time.Minute

// forget drops the addresses that have all their requests again. The caller holds
// mu.
func (p *paces) forget(now time.Time) (some bool) {
	for address, was := range p.left {
		if p.refilled(was, now) >= float64(p.limits.RequestsPerAddress) {
			delete(p.left, address)
			some = true
		}
	}
	return some
}
