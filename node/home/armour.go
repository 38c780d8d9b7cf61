package home

import (
	"bytes"
	"encoding/pem"
)

// fromArmour reads a block of a type that pem.EncodeToMemory wrote and mail may have
// carried: line ends of either kind, space around it. What else pem takes, text before
// the block, headers, a broken block that it passes over, nobody has signed.
func fromArmour(kind string, text []byte) ([]byte, bool) {
	text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
	b, _ := pem.Decode(text)
	if b == nil || b.Type != kind || len(b.Headers) > 0 || !bytes.Equal(bytes.TrimSpace(pem.EncodeToMemory(b)), text) {
		return nil, false
	}
	return b.Bytes, true
}
