package dossier

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Sizes of the records of a ZIP file without names, and of the time in them: APPNOTE.TXT
// 4.3.7, 4.3.9, 4.3.12 and 4.3.16, and the field 0x5455 of Info-ZIP.
const (
	localSize      = 30
	descriptorSize = 16
	centralSize    = 46
	endSize        = 22
	stampSize      = 9
)

// errLayout reports a ZIP file that [writeZIP] did not make.
var errLayout = errors.New("it is no ZIP file as an export is written, or was packed again")

func writeZIP(w io.Writer, made time.Time, m Manifest, parts []Part) error {
	first, err := indented(m)
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	for _, p := range append([]Part{{ManifestName, first}}, parts...) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: p.Name, Method: zip.Deflate, Modified: made.UTC()})
		if err != nil {
			return err
		}
		if _, err := f.Write(p.Content); err != nil {
			return err
		}
	}
	return z.Close()
}

func indented(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }

// readZIP reads the one layout that writeZIP makes. A ZIP file says most things twice, in
// front of a part and in the directory, may hold anything between parts, in front of the
// first and behind the directory, and programs differ in what they believe. So nothing
// here is searched for: every byte stands where it must be, with the value that follows
// from the directory. Free are the time, the same for all parts, and what packs the
// content: compressors change, and old files stay good.
func readZIP(raw []byte) (Manifest, map[string][]byte, error) {
	entries, err := readEntries(raw)
	if err != nil {
		return Manifest{}, nil, err
	}
	first := entries[0]
	if first.name != ManifestName || first.size > maxManifest {
		return Manifest{}, nil, errLayout
	}
	text, err := first.unpack()
	if err != nil {
		return Manifest{}, nil, err
	}
	m, err := readManifest(text, indented)
	if err != nil {
		return m, nil, err
	}
	if len(entries) != len(m.Parts)+1 {
		return m, nil, fmt.Errorf("it lists %d parts and has %d", len(m.Parts), len(entries)-1)
	}
	parts := make(map[string][]byte, len(m.Parts))
	for i, l := range m.Parts {
		e := entries[i+1]
		if e.name != l.Name || int(e.size) != l.Bytes {
			return m, nil, fmt.Errorf("the part %s is missing, or not where it is listed", l.Name)
		}
		if parts[l.Name], err = e.unpack(); err != nil {
			return m, nil, err
		}
	}
	return m, parts, nil
}

// entry is a part in a ZIP file.
type entry struct {
	name       string
	crc        uint32
	size       uint32 // of its content
	packedSize uint32
	offset     uint32 // of its record
	packed     []byte
}

// readEntries reads the entries of a ZIP file, which follow each other without a gap.
func readEntries(raw []byte) ([]entry, error) {
	le := binary.LittleEndian
	if len(raw) < endSize {
		return nil, errLayout
	}
	end := len(raw) - endSize
	n, size, offset := le.Uint16(raw[end+10:]), le.Uint32(raw[end+12:]), le.Uint32(raw[end+16:])
	if n < 1 || n > MaxParts+1 || uint64(offset)+uint64(size) != uint64(end) || !bytes.Equal(raw[end:], endRecord(n, size, offset)) {
		return nil, errLayout // a count of 0xffff, for ZIP64, is among them: no file below MaxFile needs that
	}
	body, directory := raw[:offset], raw[offset:end]
	entries := make([]entry, n)
	var stamp []byte
	at := 0
	for i := range entries {
		e := &entries[i]
		if len(directory) < centralSize {
			return nil, errLayout
		}
		named := centralSize + int(le.Uint16(directory[28:]))
		if len(directory) < named+stampSize {
			return nil, errLayout
		}
		*e = entry{
			name: string(directory[centralSize:named]), crc: le.Uint32(directory[16:]), packedSize: le.Uint32(directory[20:]),
			size: le.Uint32(directory[24:]), offset: uint32(at),
		}
		if i == 0 {
			stamp = timeStamp(le.Uint32(directory[named+5:]))
		}
		head := e.local(stamp)
		packedAt := int64(at + len(head))
		packedEnd := packedAt + int64(e.packedSize)
		next := packedEnd + descriptorSize
		if !bytes.HasPrefix(directory, e.central(stamp)) || next > int64(len(body)) || !bytes.HasPrefix(body[at:], head) ||
			!bytes.Equal(body[packedEnd:next], e.descriptor()) {
			return nil, errLayout
		}
		e.packed, at, directory = body[packedAt:packedEnd], int(next), directory[named+stampSize:]
	}
	if at != len(body) || len(directory) > 0 {
		return nil, errLayout
	}
	return entries, nil
}

// unpack gives the content, no byte more than its size says.
func (e *entry) unpack() ([]byte, error) {
	packed := bytes.NewReader(e.packed) // an io.ByteReader: no byte behind the last block is read
	content, err := io.ReadAll(io.LimitReader(flate.NewReader(packed), int64(e.size)+1))
	if err != nil || packed.Len() > 0 || len(content) != int(e.size) || crc32.ChecksumIEEE(content) != e.crc {
		return nil, fmt.Errorf("the part %.80q is damaged", e.name)
	}
	return content, nil
}

// timeStamp is when a file was made, as stands in front of the fields of each record that
// follow it: an MS-DOS time and date, which are even seconds, and what Info-ZIP has for it.
func timeStamp(seconds uint32) []byte {
	t := time.Unix(int64(seconds), 0).UTC()
	out := binary.LittleEndian.AppendUint16(nil, uint16(t.Second()/2+t.Minute()<<5+t.Hour()<<11))
	out = binary.LittleEndian.AppendUint16(out, uint16(t.Day()+int(t.Month())<<5+(t.Year()-1980)<<9))
	out = append(out, 'U', 'T', 5, 0, 1)
	return binary.LittleEndian.AppendUint32(out, seconds)
}

// local is the record in front of a part. Checksum and sizes stand behind the part, since
// the writer does not know them before.
func (e *entry) local(stamp []byte) []byte {
	out := append([]byte("PK\x03\x04"), 20, 0, 8, 0, 8, 0) // version 2.0, sizes behind the part, Deflate
	out = append(out, stamp[:4]...)
	out = append(out, make([]byte, 12)...)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(e.name)))
	out = append(out, stampSize, 0)
	return append(append(out, e.name...), stamp[4:]...)
}

func (e *entry) sizes(out []byte) []byte {
	for _, v := range []uint32{e.crc, e.packedSize, e.size} {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return out
}

// descriptor is the record behind a part.
func (e *entry) descriptor() []byte { return e.sizes([]byte("PK\x07\x08")) }

// central is the record in the directory.
func (e *entry) central(stamp []byte) []byte {
	out := append([]byte("PK\x01\x02"), 20, 0, 20, 0, 8, 0, 8, 0)
	out = e.sizes(append(out, stamp[:4]...))
	out = binary.LittleEndian.AppendUint16(out, uint16(len(e.name)))
	out = append(out, stampSize, 0)
	out = append(out, make([]byte, 10)...) // no comment, the first disk, no attributes
	out = binary.LittleEndian.AppendUint32(out, e.offset)
	return append(append(out, e.name...), stamp[4:]...)
}

// endRecord is the last record: of n parts, and a directory of a size at an offset.
func endRecord(n uint16, size, offset uint32) []byte {
	out := append([]byte("PK\x05\x06"), 0, 0, 0, 0)
	out = binary.LittleEndian.AppendUint16(out, n)
	out = binary.LittleEndian.AppendUint16(out, n)
	out = binary.LittleEndian.AppendUint32(out, size)
	out = binary.LittleEndian.AppendUint32(out, offset)
	return append(out, 0, 0) // no comment
}
