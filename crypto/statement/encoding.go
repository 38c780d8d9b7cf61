package statement

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

var (
	encMode = must(func() (cbor.UserBufferEncMode, error) {
		o := cbor.CoreDetEncOptions()
		o.NilContainers = cbor.NilContainerAsEmpty // one encoding of "none"
		o.IndefLength = cbor.IndefLengthForbidden
		o.TagsMd = cbor.TagsForbidden
		return o.UserBufferEncMode()
	}())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   maxNested,
		MaxArrayElements:  1 << 16,
		MaxMapPairs:       1 << 12,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Marshal encodes v in core deterministic CBOR; nil lists are empty lists.
func Marshal(v any) ([]byte, error) { return encMode.Marshal(v) }

// Unmarshal decodes data into v and refuses every encoding but the one that
// [Marshal] gives. The error never quotes the data. A body that holds a
// cbor.RawMessage or a Marshaler of its own escapes the check there, so bodies
// hold neither. Give it a new variable: entries that a map already has stay, and
// make the body look malformed.
func Unmarshal(data []byte, v any) error {
	if err := decMode.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: it does not decode", ErrMalformed)
	}
	// The second encoding is only looked at: it needs no memory of its own.
	again := scratch.Get().(*bytes.Buffer)
	again.Reset()
	err := encMode.MarshalToBuffer(v, again)
	same := err == nil && bytes.Equal(again.Bytes(), data)
	if again.Cap() <= maxScratch {
		scratch.Put(again)
	}
	if !same {
		return fmt.Errorf("%w: not the canonical encoding", ErrMalformed)
	}
	return nil
}

// scratch are buffers of [Unmarshal], kept up to a size that most bodies have.
var scratch = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxScratch = 64 << 10
