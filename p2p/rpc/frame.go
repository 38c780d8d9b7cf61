package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	statusOK = 0
	// firstChunk is what a length alone can make us allocate.
	firstChunk = 64 << 10
	// joined is up to where header and body are copied into one write.
	joined = 64 << 10
)

// errTooLong reports a length over the limit. Nothing of the body was read.
var errTooLong = errors.New("the message is longer than allowed")

// errMemory reports that the resource manager gave no more memory for this peer.
var errMemory = errors.New("no memory is left for this peer")

// accountant is the part of a stream's resource scope that a reader needs.
type accountant interface {
	ReserveMemory(size int, priority uint8) error
}

func writeRequest(w io.Writer, body []byte) error {
	return writeFrame(w, make([]byte, 0, 4), body)
}

func writeResponse(w io.Writer, status byte, body []byte) error {
	return writeFrame(w, append(make([]byte, 0, 5), status), body)
}

func writeFrame(w io.Writer, head, body []byte) error {
	if uint64(len(body)) > math.MaxUint32 {
		return errTooLong
	}
	head = binary.BigEndian.AppendUint32(head, uint32(len(body)))
	if len(body) <= joined {
		_, err := w.Write(append(head, body...))
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

func readRequest(r io.Reader, limit int, memory accountant) ([]byte, error) {
	return readBody(r, limit, memory)
}

// readResponse reads the status first, because errors have a limit of their own.
func readResponse(r io.Reader, limit int, memory accountant) (byte, []byte, error) {
	var status [1]byte
	if _, err := io.ReadFull(r, status[:]); err != nil {
		return 0, nil, err
	}
	if status[0] != statusOK {
		limit = maxMessage
	}
	body, err := readBody(r, limit, memory)
	return status[0], body, err
}

// readBody reads a length and as many bytes. The buffer starts small and doubles
// as bytes arrive: a peer that announces much and sends little costs little.
func readBody(r io.Reader, limit int, memory accountant) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	announced := binary.BigEndian.Uint32(head[:])
	if uint64(announced) > uint64(limit) {
		return nil, errTooLong
	}
	length := int(announced)
	var body []byte
	for have := 0; have < length; {
		size := min(length, max(firstChunk, 2*have))
		if err := memory.ReserveMemory(size-have, network.ReservationPriorityAlways); err != nil {
			return nil, fmt.Errorf("%w: %w", errMemory, err)
		}
		grown := make([]byte, size)
		copy(grown, body)
		n, err := io.ReadFull(r, grown[have:])
		have += n
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		body = grown
	}
	if body == nil {
		body = []byte{}
	}
	return body, nil
}
