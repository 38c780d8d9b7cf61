package tabular

import (
	"bufio"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// Bounds of a shuffle: how many files it writes at a time, and how many bytes of rows it
// keeps in memory.
const (
	shuffleFiles  = 64
	shuffleMemory = 16 << 20
)

// Shuffled gives the rows that are written to it to another writer in a random order,
// each order as likely as any other. Rows go to one of many temporary files by chance;
// when all are there, each file is shuffled in memory, or scattered once more if it is
// larger than 16 MiB (Rao, Sankhya A 23, 1961; Sandelius, J. R. Stat. Soc. B 24, 1962).
// The files lie in a folder that the caller names, readable by their owner alone, and are
// gone when the shuffle is closed. Chance comes from ChaCha8 with a seed of the system.
type Shuffled struct {
	to     Writer
	folder string
	width  int
	chance *rand.Rand
	heaps  []*heap
	room   []byte
}

// heap is rows of which nobody knows the order.
type heap struct {
	file *os.File
	out  *bufio.Writer
	size int64
}

// Shuffle begins a shuffle of rows of so many cells.
func Shuffle(to Writer, folder string, width int) (*Shuffled, error) {
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	s := &Shuffled{to: to, folder: folder, width: width, chance: rand.New(rand.NewChaCha8(seed))}
	var err error
	if s.heaps, err = s.begin(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Shuffled) begin() ([]*heap, error) {
	heaps := make([]*heap, shuffleFiles)
	for i := range heaps {
		f, err := os.CreateTemp(s.folder, ".shuffle-*.part")
		if err != nil {
			drop(heaps)
			return nil, err
		}
		heaps[i] = &heap{file: f, out: bufio.NewWriterSize(f, 16<<10)}
	}
	return heaps, nil
}

// drop removes files.
func drop(heaps []*heap) {
	for _, h := range heaps {
		if h != nil {
			h.file.Close()
			os.Remove(h.file.Name())
		}
	}
}

// Write implements [Writer].
func (s *Shuffled) Write(r *Row) error {
	s.room = appendRow(s.room[:0], r)
	return s.scatter(s.heaps, s.room)
}

func (s *Shuffled) scatter(heaps []*heap, row []byte) error {
	h := heaps[s.chance.IntN(len(heaps))]
	h.size += int64(len(row))
	_, err := h.out.Write(row)
	return err
}

// Close writes all rows and closes the writer below.
func (s *Shuffled) Close() error {
	defer s.Discard()
	if err := s.gather(s.heaps, 0); err != nil {
		return err
	}
	return s.to.Close()
}

// Discard removes the temporary files. It may be called at any time, and twice.
func (s *Shuffled) Discard() {
	drop(s.heaps)
	s.heaps = nil
}

func (s *Shuffled) gather(heaps []*heap, depth int) error {
	for i, h := range heaps {
		if err := h.out.Flush(); err != nil {
			return err
		}
		if _, err := h.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		var err error
		if h.size <= shuffleMemory || depth == 3 { // 4 TiB
			err = s.empty(h)
		} else {
			err = s.again(h, depth)
		}
		if err != nil {
			return err
		}
		drop(heaps[i : i+1])
		heaps[i] = nil
	}
	return nil
}

// empty shuffles a file in memory and writes its rows.
func (s *Shuffled) empty(h *heap) error {
	all, err := io.ReadAll(h.file)
	if err != nil {
		return err
	}
	var begins []int
	for at := 0; at < len(all); {
		begins = append(begins, at)
		n, err := rowLength(all[at:])
		if err != nil {
			return err
		}
		at += n
	}
	s.chance.Shuffle(len(begins), func(i, j int) { begins[i], begins[j] = begins[j], begins[i] })
	row := Row{Cells: make([][]byte, s.width)}
	for _, at := range begins {
		readRow(all[at:], &row)
		if err := s.to.Write(&row); err != nil {
			return err
		}
	}
	return nil
}

// again scatters a file that is too large.
func (s *Shuffled) again(h *heap, depth int) error {
	heaps, err := s.begin()
	if err != nil {
		return err
	}
	defer drop(heaps)
	in := bufio.NewReader(h.file)
	for {
		size, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return s.gather(heaps, depth+1)
		}
		if err != nil || size > 2*MaxRow {
			return fmt.Errorf("a temporary file changed: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		s.room = binary.AppendUvarint(s.room[:0], size)
		head := len(s.room)
		s.room = append(s.room, make([]byte, size)...)
		if _, err := io.ReadFull(in, s.room[head:]); err != nil {
			return err
		}
		if err := s.scatter(heaps, s.room); err != nil {
			return err
		}
	}
}

// A row in a temporary file: its length; for each cell its kind, 255 where the row has
// none, its length, its text.
const noKind = 255

func appendRow(b []byte, r *Row) []byte {
	body := 0
	for _, c := range r.Cells {
		body += 1 + uvarintLength(uint64(len(c))) + len(c)
	}
	b = binary.AppendUvarint(b, uint64(body))
	for i, c := range r.Cells {
		kind := byte(noKind)
		if r.Kinds != nil {
			kind = byte(r.Kinds[i])
		}
		b = append(b, kind)
		b = binary.AppendUvarint(b, uint64(len(c)))
		b = append(b, c...)
	}
	return b
}

func uvarintLength(n uint64) int {
	length := 1
	for ; n >= 0x80; n >>= 7 {
		length++
	}
	return length
}

func rowLength(b []byte) (int, error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return 0, errors.New("a temporary file changed")
	}
	return n + int(size), nil
}

func readRow(b []byte, r *Row) {
	_, n := binary.Uvarint(b)
	b, r.Kinds = b[n:], r.Kinds[:0]
	for i := range r.Cells {
		kind := b[0]
		size, n := binary.Uvarint(b[1:])
		b = b[1+n:]
		r.Cells[i], b = b[:size], b[size:]
		if kind != noKind {
			r.Kinds = append(r.Kinds, Kind(kind))
		}
	}
	if len(r.Kinds) == 0 {
		r.Kinds = nil
	}
}
