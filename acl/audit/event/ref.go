package event

import (
	"encoding/hex"

	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// Ref writes an id or address for a claim as people see it elsewhere: ids of
// statements, keys and identities in hexadecimal, addresses as they are copied and
// pasted, and whatever is neither in hexadecimal.
func Ref(b []byte) string {
	if len(b) != len(statement.ID{}) {
		if c, err := cid.Cast(b); err == nil {
			return c.String()
		}
	}
	return hex.EncodeToString(b)
}
