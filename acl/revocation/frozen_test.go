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
	l := openLog(t, new(kv.Memory), openSet(t, new(kv.Memory), net))
	if err := l.Take([]Entry{e, entry(t, net, a, "y")}); err != nil {
		t.Fatal(err)
	}
	revoked, err := statement.Parse(e.Revocation)
	if err != nil {
		t.Fatal(err)
	}
	seq, head := l.Head()
	fresh, err := statement.New(KindFresh, Fresh{Nonce: [32]byte{1}, Record: net.ID(), Seq: seq, Head: head, Policy: net.PolicyHead})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := statement.New(KindAck, Ack{Network: net.Network(), Target: target("x"), Validator: 3, Seq: seq})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join([]string{
		"revocation " + revoked.ID().String(),
		"entry " + statement.Hash("test", e.bytes()).String(),
		"head " + head.String(),
		"fresh " + fresh.ID().String(),
		"ack " + ack.ID().String(),
	}, "\n")
	if got != strings.TrimSpace(frozen) {
		t.Errorf("the formats have changed:\n%s\nwant%s", got, frozen)
	}
}

const frozen = `
revocation 843e1261cc4b50ed76fc0fdf26b8dcaf9871b737409bfb04d557044a14dfe7b6
entry 0e6b12e9622a1829bbe0839923f8d77e8a70fcd75546139145d13e946edaea35
head ce7cc53d717de3370726a87fea22dad0f290e21cf76db5fa1c91141aff435300
fresh 81104ab3720c7816aa96fc869cd0667e5689354d7e04e17d6081b255202dfaca
ack 14a16c4f924df79af486908567ae5dc6cdba246acdbf8ac912fd6ac418929e81`
