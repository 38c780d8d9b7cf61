package api

import (
	"encoding/base64"
	"testing"

	"cerebrum.dev/cerebrum/node/fault"
)

// A trailer says how a stream ended: a result or a fault, never neither.
func FuzzDecodeResult(f *testing.F) {
	for _, s := range []string{`{"got":{"address":"a","size":1}}`, `{"fault":{"exit":6,"message":"corrupt"}}`, `{}`, ``, `null`, `[]`} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(s)))
	}
	f.Add("not base64")
	f.Fuzz(func(t *testing.T, trailer string) {
		got, err := DecodeResult(trailer)
		if (got == nil) == (err == nil) {
			t.Fatalf("%v, %v", got, err)
		}
		if err != nil && fault.Of(err).Exit == fault.OK {
			t.Fatalf("an error that would exit 0: %#v", err)
		}
	})
}
