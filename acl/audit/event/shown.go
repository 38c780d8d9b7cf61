package event

import (
	"fmt"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// MaxShown is the longest encoding of a [Shown], in bytes.
const MaxShown = 64 << 10

// Shown are disclosures of one leaf, as they are handed to somebody else: in a bundle
// of package audit, say. Its encoding is CBOR [1, index, [disclosure, ...]].
type Shown struct {
	Index       int64 // of the leaf in the log
	Disclosures []string
}

type shown struct {
	_           struct{} `cbor:",toarray"`
	Version     uint16
	Index       int64
	Disclosures []string
}

// Encode is the encoding.
func (s *Shown) Encode() ([]byte, error) {
	raw, err := statement.Marshal(shown{Version: 1, Index: s.Index, Disclosures: s.Disclosures})
	if err == nil && len(raw) > MaxShown {
		err = fmt.Errorf("the disclosures of entry %d have %d bytes, at most %d", s.Index, len(raw), MaxShown)
	}
	return raw, err
}

// ParseShown decodes what [Shown.Encode] wrote. Only [Open], with the leaf of that
// index, says whether the disclosures are the leaf's.
func ParseShown(raw []byte) (*Shown, error) {
	var s shown
	if len(raw) > MaxShown {
		return nil, fmt.Errorf("%w: %d bytes", ErrDisclosure, len(raw))
	}
	if err := statement.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDisclosure, err)
	}
	if s.Version != 1 || s.Index < 0 || len(s.Disclosures) > MaxClaims {
		return nil, fmt.Errorf("%w: they are not those of one entry", ErrDisclosure)
	}
	return &Shown{Index: s.Index, Disclosures: s.Disclosures}, nil
}
