package keystore

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// The slot file of an erasable store (all integers big endian):
//
//	header, 4096 bytes:
//	   0  magic        "cerebrum erasable 1\n"
//	  20  slot size    uint32, 128
//	  24  store id     16 random bytes
//	  40  nonce        24 bytes
//	  64  check        tag over bytes 0 to 40 under the wrapping key
//	  80  zeros
//	slot i, 128 bytes at 4096 + 128 i:
//	   0  state        0 free, 1 used
//	   1  zeros
//	   8  tag          16 random bytes, drawn anew at every use
//	  24  nonce        24 bytes
//	  48  wrapped key  48 bytes: XChaCha20-Poly1305 of a 32-byte key,
//	                   additional data = domain, store id, slot number, tag
//	  96  zeros (random in a slot that was destroyed)
//
// The wrapping key is HKDF-SHA256(master, salt = store id, info = domain). A
// slot never crosses a sector of 512 bytes, the unit that disks write whole.
const (
	slotMagic  = "cerebrum erasable 1\n"
	slotDomain = "cerebrum.dev/erasable-slot/v1"
	headerSize = 4096
	slotSize   = 128

	slotFree = 0
	slotUsed = 1

	tagSize = 16
	keySize = chacha20poly1305.KeySize

	offID    = 24
	offNonce = 40
	offCheck = 64

	slotTag   = 8
	slotNonce = 24
	slotKey   = 48
	slotEnd   = slotKey + keySize + chacha20poly1305.Overhead
)

func slotOffset(slot uint64) int64 { return headerSize + int64(slot)*slotSize }

// wrapper seals and opens the keys in the slots of one file.
type wrapper struct {
	aead cipher.AEAD
	id   [tagSize]byte
}

func newWrapper(master []byte, id [tagSize]byte) (*wrapper, error) {
	key, err := hkdf.Key(sha256.New, master, id[:], slotDomain, keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	return &wrapper{aead: aead, id: id}, nil
}

// newHeader makes the header of a new file, and its wrapper.
func newHeader(master []byte) ([]byte, *wrapper, error) {
	h := make([]byte, headerSize)
	copy(h, slotMagic)
	binary.BigEndian.PutUint32(h[20:], slotSize)
	rand.Read(h[offID:offCheck]) // id and nonce
	w, err := newWrapper(master, [tagSize]byte(h[offID:]))
	if err != nil {
		return nil, nil, err
	}
	w.aead.Seal(h[:offCheck], h[offNonce:offCheck], nil, h[:offNonce])
	return h, w, nil
}

// parseHeader reads a header and proves that master is the file's.
func parseHeader(h, master []byte) (*wrapper, error) {
	if len(h) != headerSize || !bytes.HasPrefix(h, []byte(slotMagic)) ||
		binary.BigEndian.Uint32(h[20:]) != slotSize {
		return nil, fmt.Errorf("%w: it is not an erasable store", ErrDamaged)
	}
	w, err := newWrapper(master, [tagSize]byte(h[offID:]))
	if err != nil {
		return nil, err
	}
	check := h[offCheck : offCheck+chacha20poly1305.Overhead]
	if _, err := w.aead.Open(nil, h[offNonce:offCheck], check, h[:offNonce]); err != nil {
		return nil, ErrMaster
	}
	if !allZero(h[offCheck+chacha20poly1305.Overhead:]) {
		return nil, fmt.Errorf("%w: its header has something behind its end", ErrDamaged)
	}
	return w, nil
}

func (w *wrapper) aad(slot uint64, tag []byte) []byte {
	out := make([]byte, 0, len(slotDomain)+2*tagSize+8)
	out = append(out, slotDomain...)
	out = append(out, w.id[:]...)
	out = binary.BigEndian.AppendUint64(out, slot)
	return append(out, tag...)
}

// wrap fills buf, one slot, with a key under a tag.
func (w *wrapper) wrap(buf []byte, slot uint64, tag, key []byte) {
	clear(buf)
	buf[0] = slotUsed
	copy(buf[slotTag:slotNonce], tag)
	rand.Read(buf[slotNonce:slotKey])
	w.aead.Seal(buf[:slotKey], buf[slotNonce:slotKey], key, w.aad(slot, tag))
}

// unwrap gives the key in a slot. It fails with ErrErased where the slot is
// free or holds something else than the tag asks for, and with ErrDamaged where
// it should hold it and does not open: torn by a power cut, or rotten.
func (w *wrapper) unwrap(buf []byte, slot uint64, tag []byte) ([]byte, error) {
	if buf[0] == slotFree {
		return nil, ErrErased
	}
	stored := buf[slotTag:slotNonce]
	key, err := w.aead.Open(nil, buf[slotNonce:slotKey], buf[slotKey:slotEnd], w.aad(slot, stored))
	if err != nil || buf[0] != slotUsed {
		return nil, fmt.Errorf("slot %d: %w", slot, ErrDamaged)
	}
	if !bytes.Equal(stored, tag) {
		clear(key)
		return nil, ErrErased
	}
	return key, nil
}

// scrub fills buf with what overwrites a destroyed slot.
func scrub(buf []byte) {
	rand.Read(buf)
	buf[0] = slotFree
}

// readStates reads the state byte of every whole slot in the file.
func readStates(f io.ReaderAt, slots uint64) ([]byte, error) {
	states := make([]byte, slots)
	buf := make([]byte, min(slots, 1<<13)*slotSize)
	for at := uint64(0); at < slots; {
		n := min(slots-at, uint64(len(buf)/slotSize))
		part := buf[:n*slotSize]
		if _, err := f.ReadAt(part, slotOffset(at)); err != nil {
			return nil, err
		}
		for i := range n {
			states[at+i] = part[i*slotSize]
		}
		at += n
	}
	return states, nil
}
