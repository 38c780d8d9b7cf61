package object

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// A directory's tree is the plaintext of its index object: pages, each a 4-byte
// big-endian length and a CBOR array of entries, in the order of their paths. A
// folder stands before what is in it. All pages but the last are full, so that a
// tree has one encoding.

// Entry is one name of a tree.
type Entry struct {
	_        struct{} `cbor:",toarray"`
	Path     string   // slash-separated, relative, clean
	Folder   bool
	Mode     uint32 // permission bits
	Modified int64  // unix seconds
	Size     uint64
	Address  []byte // of a file's object
}

// Limits of a tree.
const (
	pageEntries = 500
	maxPage     = 4 << 20
	maxPath     = 4096
	maxPart     = 255
	MaxTree     = 5_000_000 // entries
)

// ErrTree reports an index that does not describe a tree.
var ErrTree = errors.New("the directory's index is damaged")

// WriteTree encodes entries, which must be in order.
func WriteTree(w io.Writer, entries []Entry) error {
	last := ""
	for len(entries) > 0 {
		page := entries[:min(pageEntries, len(entries))]
		for _, e := range page {
			if err := checkEntry(e, last); err != nil {
				return err
			}
			last = e.Path
		}
		raw, err := statement.Marshal(page)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)); err != nil {
			return err
		}
		entries = entries[len(page):]
	}
	return nil
}

// ReadTree decodes an index and refuses whatever could reach outside the folder
// that it is restored into.
func ReadTree(r io.Reader) ([]Entry, error) {
	var out []Entry
	last := ""
	short := false // the page before was not full, so it was the last
	for {
		var n [4]byte
		if _, err := io.ReadFull(r, n[:]); err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, readError(err)
		}
		size := binary.BigEndian.Uint32(n[:])
		if size > maxPage {
			return nil, fmt.Errorf("%w: a page of %d bytes", ErrTree, size)
		}
		var raw bytes.Buffer // grows with what arrives, not with what is claimed
		if _, err := io.CopyN(&raw, r, int64(size)); err != nil {
			return nil, readError(err)
		}
		var page []Entry
		if err := statement.Unmarshal(raw.Bytes(), &page); err != nil || len(page) == 0 || len(page) > pageEntries || short {
			return nil, fmt.Errorf("%w: a page does not decode", ErrTree)
		}
		short = len(page) < pageEntries
		for _, e := range page {
			if err := checkEntry(e, last); err != nil {
				return nil, err
			}
			last = e.Path
		}
		if out = append(out, page...); len(out) > MaxTree {
			return nil, fmt.Errorf("%w: more than %d entries", ErrTree, MaxTree)
		}
	}
}

func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends in the middle", ErrTree)
	}
	return err
}

func checkEntry(e Entry, last string) error {
	if err := checkPath(e.Path); err != nil {
		return fmt.Errorf("%w: %w", ErrTree, err)
	}
	switch {
	case e.Path <= last:
		return fmt.Errorf("%w: paths are out of order or stand twice", ErrTree)
	case e.Mode&^0o777 != 0:
		return fmt.Errorf("%w: a mode is not plain permissions", ErrTree)
	case e.Folder != (len(e.Address) == 0):
		return fmt.Errorf("%w: a file without an object, or a folder with one", ErrTree)
	case e.Folder && e.Size != 0:
		return fmt.Errorf("%w: a folder with a size", ErrTree)
	}
	return nil
}

// checkPath says whether a path means the same below any folder on any system.
func checkPath(p string) error {
	switch {
	case p == "" || p != path.Clean(p) || p == "." || path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../"):
		return errors.New("a path leads outside")
	case strings.ContainsAny(p, "\x00\\"):
		return errors.New("a name has a backslash or a zero byte")
	case !utf8.ValidString(p):
		return errors.New("a name is not UTF-8")
	case len(p) > maxPath:
		return fmt.Errorf("a path has more than %d bytes", maxPath)
	}
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > maxPart {
			return fmt.Errorf("a name has more than %d bytes", maxPart)
		}
	}
	return nil
}
