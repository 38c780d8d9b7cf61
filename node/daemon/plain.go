package daemon

import (
	"io"

	"cerebrum.dev/cerebrum/crypto/envelope"
)

// plainPipe carries decrypted leaves from the transfer to whoever writes them.
// The buffers go round: a leaf is decrypted into one while the one before it is
// written. It has one writer and one reader.
type plainPipe struct {
	full   chan []byte   // to the reader; closed at the end
	free   chan []byte   // back to the writer
	gone   chan struct{} // closed when the reader gives up
	err    error         // why the writer ended, set before full is closed
	opened *envelope.Leaves

	rest, whole []byte // the reader's
}

const plainBuffers = 3

func newPlainPipe() *plainPipe {
	p := &plainPipe{full: make(chan []byte, plainBuffers), free: make(chan []byte, plainBuffers), gone: make(chan struct{})}
	for range plainBuffers {
		p.free <- nil // allocated when it is first used: small objects need little
	}
	return p
}

// write decrypts a leaf and hands it on. It fails when the reader has given up.
func (p *plainPipe) write(offset int64, leaf []byte) error {
	var buf []byte
	select {
	case buf = <-p.free:
	case <-p.gone:
		return io.ErrClosedPipe
	}
	if cap(buf) < len(leaf) {
		buf = make([]byte, 0, len(leaf))
	}
	buf, err := p.opened.Decrypt(buf[:0], offset, leaf)
	if err != nil {
		return err
	}
	p.full <- buf // has room for every buffer
	return nil
}

// end tells the reader that there is no more: io.EOF, or why.
func (p *plainPipe) end(err error) {
	p.err = err
	close(p.full)
}

// Read implements io.Reader.
func (p *plainPipe) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if !p.next() {
			return 0, p.err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo: whole leaves, without a copy.
func (p *plainPipe) WriteTo(w io.Writer) (done int64, err error) {
	for {
		if len(p.rest) > 0 {
			n, err := w.Write(p.rest)
			done += int64(n)
			if err != nil {
				return done, err
			}
			p.rest = nil
		}
		if !p.next() {
			if p.err == io.EOF {
				return done, nil
			}
			return done, p.err
		}
	}
}

// next gives the last buffer back and waits for another.
func (p *plainPipe) next() bool {
	if p.whole != nil {
		p.free <- p.whole
		p.whole = nil
	}
	buf, ok := <-p.full
	if !ok {
		return false
	}
	p.whole, p.rest = buf, buf
	return true
}
