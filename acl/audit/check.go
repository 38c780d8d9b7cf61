package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cerebrum.dev/cerebrum/crypto/statement"
)

const (
	entriesName    = "entries"
	checkpointName = "checkpoint"
	format         = 1
)

// checkpoint is the file of that name: a durable promise that the log has at
// least N records and that the chain after the Nth is Head. It is not signed
// here; whoever can write the folder can write both files.
type checkpoint struct {
	_      struct{} `cbor:",toarray"`
	Format uint16
	N      int64
	Offset int64
	First  int64
	Head   statement.ID
}

func (m mark) encode() ([]byte, error) {
	return statement.Marshal(checkpoint{Format: format, N: m.n, Offset: m.offset, First: m.first, Head: m.chain})
}

func decodeCheckpoint(raw []byte) (mark, error) {
	var c checkpoint
	if err := statement.Unmarshal(raw, &c); err != nil {
		return mark{}, err
	}
	if c.Format != format || c.N < 0 || c.Offset < 0 || c.First < 0 || c.First > c.N {
		return mark{}, errors.New("the checkpoint makes no sense")
	}
	return mark{n: c.N, offset: c.Offset, first: c.First, chain: c.Head}, nil
}

// readCheckpoint gives the checkpoint of a log whose entries have a size. None
// is in order only before the first record: it is written before that.
func readCheckpoint(dir string, size int64) (mark, error) {
	none := mark{chain: start}
	f, err := os.Open(filepath.Join(dir, checkpointName))
	if errors.Is(err, fs.ErrNotExist) {
		if size > 0 {
			return none, tampered(none, "the checkpoint is missing")
		}
		return none, nil
	}
	if err != nil {
		return none, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return none, err
	}
	m, err := decodeCheckpoint(raw)
	if err != nil {
		return none, tampered(none, "the checkpoint is damaged")
	}
	return m, nil
}

// reader is the file "entries".
type reader interface {
	io.ReaderAt
	Size() (int64, error)
}

// verify reads a whole log against its checkpoint and hands every record to
// visit. It gives the position after the last whole record; what follows there,
// if anything, is a torn write that may be cut.
func verify(file reader, size int64, promised mark, visit func(i int64, leaf []byte) error) (mark, error) {
	s := newScanner(bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 1<<18), size)
	for {
		if s.at.n == promised.n && s.at != promised {
			return s.at, tampered(s.at, "the records before it do not match the checkpoint")
		}
		i := s.at.n
		leaf, err := s.next()
		var bad errBad
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && s.left == 0:
			return s.at, whole(s.at, promised, "the log ends here")
		case errors.As(err, &bad):
			return s.at, judge(file, size, s.at, promised, bad)
		default:
			return s.at, fmt.Errorf("reading record %d: %w", i, err)
		}
		if err := visit(i, leaf); err != nil {
			return s.at, err
		}
	}
}

// judge turns bad bytes into a verdict: nil means a torn write.
func judge(file io.ReaderAt, size int64, at, promised mark, bad errBad) error {
	if err := whole(at, promised, string(bad)); err != nil {
		return err
	}
	cut, err := torn(file, size, at, bad)
	if err != nil {
		return err
	}
	if !cut {
		return tampered(at, string(bad))
	}
	return nil
}

// whole refuses a log that ends before its checkpoint.
func whole(at, promised mark, what string) error {
	if at.n >= promised.n {
		return nil
	}
	return tampered(at, fmt.Sprintf("%s, but the checkpoint promises %d records", what, promised.n))
}

// Verify reads the log in dir without changing or locking it, and gives the
// number of its records and the chain after the last. It checks everything that
// [Open] checks. A torn write at the end, which [Open] would cut, is not counted.
// It fails with a [TamperError].
func Verify(dir string) (n int64, head statement.ID, err error) {
	f, err := os.Open(filepath.Join(dir, entriesName))
	if err != nil {
		return 0, statement.ID{}, err
	}
	defer f.Close()
	// The checkpoint first: a running log may write more records meanwhile, but
	// never promises records that are not in the file yet.
	promised, err := readCheckpointFor(dir, f)
	if err != nil {
		return 0, statement.ID{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, statement.ID{}, err
	}
	end, err := verify(osFile{f}, info.Size(), promised, func(int64, []byte) error { return nil })
	if err != nil {
		return 0, statement.ID{}, err
	}
	return end.n, end.chain, nil
}

func readCheckpointFor(dir string, f *os.File) (mark, error) {
	info, err := f.Stat()
	if err != nil {
		return mark{}, err
	}
	return readCheckpoint(dir, info.Size())
}

// osFile is a file that is only read.
type osFile struct{ *os.File }

// Size is the size in bytes.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
