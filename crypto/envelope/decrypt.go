package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// Decrypt yields the plaintext of a payload that is read in order, its nonce
// first. It checks the header's HMAC under key before it reads anything.
//
// Chunks are released as they verify. A payload that was altered, reordered,
// extended or cut ends with an error that is [ErrIntegrity], after what came
// before has been released: whoever must not act on half a file stages the
// output until io.EOF. Errors of the source itself come back unchanged and are
// not ErrIntegrity.
func Decrypt(header []byte, key FileKey, payload io.Reader) (io.Reader, error) {
	if err := CheckHeader(header, key); err != nil {
		return nil, err
	}
	src := io.MultiReader(bytes.NewReader(header), readerFunc(func(p []byte) (int, error) {
		n, err := payload.Read(p)
		return n, sourceError(err)
	}))
	r, err := age.Decrypt(src, age.NewInjectedFileKeyIdentity(key.Bytes()))
	if err != nil {
		return nil, readError(err)
	}
	return readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		return n, readError(err)
	}), nil
}

// DecryptAt yields the plaintext of a payload in any order, and its size. It
// checks the header's HMAC under key, then reads the payload's nonce and its
// last chunk, which authenticates the size; after that a read costs only the
// chunks that it touches. payloadSize comes from the manifest. Reads may run at
// the same time if payload allows it. Errors are those of [Decrypt].
func DecryptAt(header []byte, key FileKey, payload io.ReaderAt, payloadSize int64) (io.ReaderAt, int64, error) {
	if err := CheckHeader(header, key); err != nil {
		return nil, 0, err
	}
	size, err := PlainSize(payloadSize)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrIntegrity, err)
	}
	src := &fileAt{header, payload}
	r, n, err := age.DecryptReaderAt(src, int64(len(header))+payloadSize, age.NewInjectedFileKeyIdentity(key.Bytes()))
	if err != nil {
		return nil, 0, readError(err)
	}
	if n != size {
		return nil, 0, fmt.Errorf("%w: the plaintext has %d bytes, not %d", ErrIntegrity, n, size)
	}
	return &plainAt{r, size}, size, nil
}

// fileAt is header and payload as one file.
type fileAt struct {
	header  []byte
	payload io.ReaderAt
}

// ReadAt ends a read that starts in the header where the header ends, without an
// error: io.ReaderAt does not allow that, but age parses the header through a
// buffer of 4 KiB, takes short reads, and would otherwise fetch a whole leaf of
// the payload at every open only to drop it.
func (f *fileAt) ReadAt(p []byte, off int64) (int, error) {
	h := int64(len(f.header))
	if off < h {
		return copy(p, f.header[off:]), nil
	}
	n, err := f.payload.ReadAt(p, off-h)
	return n, sourceError(err)
}

// plainAt is age's reader with our errors, and io.EOF beyond the end.
type plainAt struct {
	r    io.ReaderAt
	size int64
}

func (a *plainAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read before the start of the plaintext")
	}
	if off >= a.size {
		return 0, io.EOF
	}
	n, err := a.r.ReadAt(p, off)
	return n, readError(err)
}

// fetchError marks an error of the source on its way through age.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return e.err.Error() }

func sourceError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fetchError{err}
}

// readError tells errors of the source from everything that age finds wrong
// with what the source delivered.
func readError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if f := (*fetchError)(nil); errors.As(err, &f) {
		return f.err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the payload ends too early", ErrIntegrity)
	}
	return fmt.Errorf("%w: %v", ErrIntegrity, err)
}
