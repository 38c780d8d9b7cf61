package home

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// TestInvitesSurviveMailAndNotDamage, and the secret is in the text and nowhere else.
func TestInvitesSurviveMailAndNotDamage(t *testing.T) {
	h, now := makeHome(t), time.Now()
	p, key := h.Principals()[0], statement.GenerateKey()
	s, err := trust.SignInvitation(trust.Invitation{
		Network: statement.Hash("net"), Inviter: p.Identity.ID(), Key: key.Public(), Role: trust.RoleMirror,
		NotBefore: now.Unix(), Expires: now.Unix() + 60,
	}, p.Device)
	if err != nil {
		t.Fatal(err)
	}
	text, err := EncodeInvite(&trust.Invite{
		Format: trust.InviteFormat, Invitation: s.Bytes(), Inviter: p.Identity.Record(), Network: "lab", Secret: key.Seed(),
		Validators: []trust.Reach{{Peer: h.PeerKey()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, mailed := range map[string][]byte{
		"as it is": text, "CRLF": bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "blank lines": []byte("\n\n" + string(text) + "\n \n"),
	} {
		if v, i, err := DecodeInvite(mailed); err != nil || i.Role != trust.RoleMirror || !bytes.Equal(v.Secret, key.Seed()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing": "", "twice": string(text) + string(text), "cut": string(text[:len(text)/2]), "text": "hello",
		"a network file": strings.ReplaceAll(string(text), "INVITATION", "NETWORK"),
		"a header":       strings.Replace(string(text), "-----\n", "-----\nA: b\n\n", 1),
		"words before":   "from Ada herself:\n" + string(text),
		"a broken block": "-----BEGIN CEREBRUM INVITATION-----\n!\n-----END CEREBRUM INVITATION-----\n" + string(text),
	} {
		if _, _, err := DecodeInvite([]byte(bad)); !errors.Is(err, ErrNoInvite) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := DecodeInvite(must(EncodeInvite(&trust.Invite{Format: 2}))); err == nil || errors.Is(err, ErrNoInvite) {
		t.Errorf("a damaged one: %v", err)
	}
}
