package home

import (
	"encoding/pem"
	"errors"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// ErrNoInvite reports text that is not an invitation at all.
var ErrNoInvite = errors.New("it is no invitation")

// EncodeInvite is an invite as text. There is a secret in it: it belongs into a file
// that nobody else reads.
func EncodeInvite(v *trust.Invite) ([]byte, error) {
	raw, err := statement.Marshal(v)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: inviteType, Bytes: raw}), nil
}

// DecodeInvite reads what EncodeInvite wrote. The error is [ErrNoInvite], or says
// how the invite is damaged.
func DecodeInvite(text []byte) (*trust.Invite, *trust.Invitation, error) {
	raw, ok := fromArmour(inviteType, text)
	if !ok {
		return nil, nil, ErrNoInvite
	}
	return trust.ParseInvite(raw)
}
