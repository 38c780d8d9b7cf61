package revocation

import (
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/envelope"
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
		"erasure " + frozenID(t, KindErasure, Erasure{Network: net.Network(), Owner: a.ID(), Keys: []envelope.Nonce{{1}}, Reason: "r", Time: 1}),
		"erased " + frozenID(t, KindErased, Receipt{Network: net.Network(), Key: target("x"), Record: net.ID(), Validator: 3, Time: 1}),
		"hold " + frozenID(t, KindHold, Hold{Network: net.Network(), Record: net.ID(), Owner: a.ID(), On: HoldScope, Ref: envelope.Nonce{1}, Placed: true, Officer: a.ID(), Time: 1}),
		"segment " + firstHead([]Position{at}).String(),
	}, "\n")
	if got != strings.TrimSpace(frozen) {
		t.Errorf("the formats have changed:\n%s\nwant%s", got, frozen)
	}
}

func frozenID(t *testing.T, kind statement.Kind, body any) string {
	t.Helper()
	s, err := statement.New(kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID().String()
}

const frozen = `
revocation 843e1261cc4b50ed76fc0fdf26b8dcaf9871b737409bfb04d557044a14dfe7b6
entry 0e6b12e9622a1829bbe0839923f8d77e8a70fcd75546139145d13e946edaea35
head ce7cc53d717de3370726a87fea22dad0f290e21cf76db5fa1c91141aff435300
fresh 996d1170ad94b9fd9db4ec46def7947e18aa23deaf318b48318a05381b3afbe5
ack 14a16c4f924df79af486908567ae5dc6cdba246acdbf8ac912fd6ac418929e81
erasure b0a8982a9b5a95be00fdaaae362397fb955df2f518fc5f27f22d06d123b0cbfd
erased 1277ec6cb5d48ba8ee962232eadd77376a0540e40b9d4e58cc87552b145701ba
hold 502a33ba6b8fee1cad63259911a1cae9e27bee209e1f09b422129be24cc2576e
segment 1ac331bac0ba231327d78b3bd60a2d555ba1588c0e7f4407412f906c60f78a78`
