package cli

import (
	"encoding/json"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// A file of receipts comes from somebody whom its reader does not trust.
func FuzzParseReceipts(f *testing.F) {
	good, err := json.Marshal(receiptsFile{
		Format: receiptsFormat, Address: "a", Orders: []api.EraseOrder{{Statement: []byte{1}, Identity: []byte{2}}}, Receipts: [][]byte{{3}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"format":"cerebrum-erasure-2"}`))
	f.Add([]byte(`{"format":"cerebrum-erasure-1"} {}`))
	f.Add([]byte(`{"format":"cerebrum-erasure-1"}]`))
	f.Add([]byte(`{"format":"cerebrum-erasure-1","more":1}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := parseReceipts("x", raw)
		if (file == nil) == (err == nil) {
			t.Fatalf("%v, %v", file, err)
		}
		if err != nil && fault.Of(err).Exit != fault.Integrity {
			t.Errorf("exit %d", fault.Of(err).Exit)
		}
	})
}

// Nothing that nobody reads stands behind receipts.
func TestReceiptsEndWithTheirFile(t *testing.T) {
	const good = `{"format":"cerebrum-erasure-1"}`
	if _, err := parseReceipts("x", []byte(good+"\n")); err != nil { // control
		t.Error(err)
	}
	for _, more := range []string{"]", "}", "} rm -rf", " {}", "x", `"`} {
		if f, err := parseReceipts("x", []byte(good+more)); fault.Of(err).Exit != fault.Integrity {
			t.Errorf("with %q behind it: %v, %v", more, f, err)
		}
	}
}
