package revocation

import (
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Formats are final: logs of today lead to these heads for ever.
func TestFrozenIds(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a := trusttest.NewPerson(t, "a", identity.User)
	e := entry(t, net, a, "x")
	store := new(kv.Memory)
	l := openLog(t, store, openSet(t, store, net))
	if err := l.Take([]Entry{e, entry(t, net, a, "y")}); err != nil {
		t.Fatal(err)
	}
	revoked, err := statement.Parse(e.Statement)
	if err != nil {
		t.Fatal(err)
	}
	at := l.Head()
	fresh, err := statement.New(KindFresh, l.Fresh([32]byte{1}, net.ID(), net.PolicyHead))
	if err != nil {
		t.Fatal(err)
	}
	ack, err := statement.New(KindAck, Ack{Network: net.Network(), Target: target("x"), Validator: 3, Seq: at.Seq})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join([]string{
		"revocation " + revoked.ID().String(),
		"entry " + statement.Hash("test", e.bytes()).String(),
		"head " + at.Head.String(),
		"fresh " + fresh.ID().String(),
		"ack " + ack.ID().String(),
	}, "\n")
	if got != strings.TrimSpace(frozen) {
		t.Errorf("the formats have changed:\n%s\nwant%s", got, frozen)
	}
}

const frozen = `
revocation 843e1261cc4b50ed76fc0fdf26b8dcaf9871b737409bfb04d557044a14dfe7b6
entry 840a23bf8d03b7ba85c2c5bd2b7c714525fb186a1fb8dd3eaec63eb0fc6be53e
head 8a1517e3b9831bfb25ec9bff2b4dff9a4d56e2b05dacc728f9b35fc0a1201c1f
fresh f0364c2d2144d2c5348b25ce65941805ffc4bd2784385f6cbf69a6f97d7766e7
ack 14a16c4f924df79af486908567ae5dc6cdba246acdbf8ac912fd6ac418929e81`
