package admission

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/transport"
)

const (
	opening   = ProtocolID + "\n"
	entering  = ServiceID + "\n" // as long as opening
	admitted  = 0x01
	challenge = 32
)

// present runs the dialer's part on a fresh connection. When it fails the
// connection is of no more use; the caller closes it.
func (a *Admitter) present(ctx context.Context, c transport.CapableConn) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, a.limits.Timeout)
	defer cancel()
	session := newSession()
	err := a.within(ctx, c, func() error {
		stream, err := c.OpenStream(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
		}
		return a.finish(ctx, stream, func() error { return a.dialerSteps(c, stream, session) })
	})
	return session, err
}

func (a *Admitter) dialerSteps(c transport.CapableConn, stream io.ReadWriter, session *Session) error {
	if err := a.show(stream, opening, session); err != nil {
		return err
	}
	credential, err := readShown(stream, session)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	if err := a.gate.Check(c.RemotePeer(), credential); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, err := stream.Write([]byte{admitted}); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	return nil
}

// receive runs the responder's part. It calls verified as soon as the dialer's
// credential is good: from there on the connection is a member's and no longer
// takes a stranger's place.
func (a *Admitter) receive(ctx context.Context, c transport.CapableConn, verified func()) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, a.limits.Timeout)
	defer cancel()
	session := newSession()
	err := a.within(ctx, c, func() error {
		stream, err := c.AcceptStream() // has no context: within closes the connection
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		return a.finish(ctx, stream, func() error { return a.responderSteps(ctx, c, stream, session, verified) })
	})
	return session, err
}

func (a *Admitter) responderSteps(ctx context.Context, c transport.CapableConn, stream io.ReadWriter, session *Session, verified func()) error {
	service, err := a.readOpening(stream)
	if err != nil {
		return err
	}
	if service {
		return a.serve(ctx, c, stream, verified)
	}
	credential, err := readShown(stream, session)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if err := a.gate.Check(c.RemotePeer(), credential); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	verified()
	if err := a.show(stream, "", session); err != nil {
		return err
	}
	var last [1]byte
	if _, err := io.ReadFull(stream, last[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	if last[0] != admitted {
		return ErrProtocol
	}
	return nil
}

// within runs steps and closes the connection if ctx ends first, which unblocks
// whatever they wait for. Then the error is the context's, and so it is when ctx
// ended in the moment of success, because the connection is closed all the same.
func (a *Admitter) within(ctx context.Context, c transport.CapableConn, steps func() error) error {
	stop := context.AfterFunc(ctx, func() { c.CloseWithError(network.ConnGated) })
	err := steps()
	if !stop() {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// finish sets the stream's deadline, runs steps and ends the stream: in order
// where they succeeded, abruptly where not.
func (a *Admitter) finish(ctx context.Context, stream network.MuxedStream, steps func() error) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(a.limits.Timeout)
	}
	err := stream.SetDeadline(deadline)
	if err == nil {
		err = steps()
	}
	if err != nil {
		stream.Reset()
		return err
	}
	stream.Close()
	return nil
}

// show writes our half in one piece: one packet, and no reason for the other
// side to wait between the parts.
func (a *Admitter) show(w io.Writer, prefix string, session *Session) error {
	credential := a.gate.Credential()
	if len(credential) > MaxCredential {
		return ErrCredentialSize
	}
	message := make([]byte, 0, len(prefix)+challenge+2+len(credential))
	message = append(message, prefix...)
	message = append(message, session.given[:]...)
	message = binary.BigEndian.AppendUint16(message, uint16(len(credential)))
	message = append(message, credential...)
	if _, err := w.Write(message); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	return nil
}

// readOpening accepts exactly the opening, or where there is a desk that of a
// service, and looks at no byte after the first one that differs.
func (a *Admitter) readOpening(r io.Reader) (service bool, err error) {
	var got [1]byte
	admits, serves := true, a.desk != nil
	for i := range len(opening) {
		if _, err := io.ReadFull(r, got[:]); err != nil {
			return false, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		admits = admits && got[0] == opening[i]
		serves = serves && got[0] == entering[i]
		if !admits && !serves {
			return false, ErrProtocol
		}
	}
	return serves, nil
}

// readShown reads the other side's challenge into session, and its credential.
// The length is checked before anything of that length is allocated.
func readShown(r io.Reader, session *Session) ([]byte, error) {
	var head [challenge + 2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint16(head[challenge:])
	if length > MaxCredential {
		return nil, fmt.Errorf("the credential exceeds %d bytes", MaxCredential)
	}
	credential := make([]byte, length)
	if _, err := io.ReadFull(r, credential); err != nil {
		return nil, err
	}
	copy(session.received[:], head[:challenge])
	return credential, nil
}
