package keystore

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// Limits on the header of an age file from outside this home. The library
// itself would read 2 MiB and 1,024 stanzas.
const (
	MaxHeader  = 64 << 10 // bytes
	MaxStanzas = 64
)

const (
	ageIntro     = "age-encryption.org/v1\n"
	scryptStanza = "scrypt"
	hybridStanza = "mlkem768x25519"
)

var errHeader = errors.New("it does not begin with an age header of at most 64 KiB and 64 recipients")

// ageHeader is what can be read of an age file before any key is tried: who
// could open it, and how much work that would be. Nothing of it is
// authenticated yet.
type ageHeader struct {
	stanzas [][]string // the words of each stanza's first line, its type first
	size    int        // bytes up to and including the MAC's line
}

// scanHeader reads the structure of an age header (C2SP age specification,
// "Header"): the intro, then for each recipient a line "-> type argument..."
// and lines of base64, then "--- " and the MAC. No base64 line begins with a
// dash, so telling them apart needs no decoding. The age library parses the
// same bytes again, strictly; what is decided here is only whether to let it.
func scanHeader(raw []byte) (*ageHeader, error) {
	if !bytes.HasPrefix(raw, []byte(ageIntro)) {
		return nil, errHeader
	}
	h := &ageHeader{size: len(ageIntro)}
	within := raw[:min(len(raw), MaxHeader)]
	for {
		line, _, found := bytes.Cut(within[h.size:], []byte("\n"))
		if !found {
			return nil, errHeader
		}
		h.size += len(line) + 1
		switch {
		case bytes.HasPrefix(line, []byte("---")):
			if len(h.stanzas) == 0 {
				return nil, errHeader
			}
			return h, nil
		case bytes.HasPrefix(line, []byte("->")):
			words := strings.Split(string(line), " ")
			if words[0] != "->" || len(words) < 2 || len(h.stanzas) == MaxStanzas {
				return nil, errHeader
			}
			h.stanzas = append(h.stanzas, words[1:])
		case len(h.stanzas) == 0:
			return nil, errHeader
		}
	}
}

// only reports whether every stanza is of one type.
func (h *ageHeader) only(kind string) bool {
	for _, s := range h.stanzas {
		if s[0] != kind {
			return false
		}
	}
	return true
}

// workFactor is log2 of scrypt's N, the second argument of the one stanza of a
// passphrase-protected file.
func (h *ageHeader) workFactor() (int, error) {
	if len(h.stanzas) != 1 || !h.only(scryptStanza) || len(h.stanzas[0]) != 3 {
		return 0, errors.New("it is not protected by exactly one passphrase")
	}
	text := h.stanzas[0][2]
	n, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(n) != text {
		return 0, errors.New("its work factor is not a number")
	}
	return n, nil
}

// The payload of an age file is a nonce, then chunks of 64 KiB with a tag each.
const (
	ageNonce = 16
	ageChunk = 64 << 10
	ageTag   = 16
)

// plaintextSize is how many bytes the file of that size holds, or -1 where no
// file has that size. It needs no key, so a limit can be applied first.
func (h *ageHeader) plaintextSize(file int) int {
	sealed := file - h.size - ageNonce
	if sealed < ageTag {
		return -1
	}
	chunks := (sealed + ageChunk + ageTag - 1) / (ageChunk + ageTag)
	return sealed - chunks*ageTag
}
