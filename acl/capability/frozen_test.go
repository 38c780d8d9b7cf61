package capability

import (
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// Formats are final: revocations name these ids, and grants given today are
// shown for as long as they last.
func TestFrozenIds(t *testing.T) {
	w := newWorld(t)
	c := w.honest(t)
	v := w.accept(t, "the frozen chain", c)
	p, _, _ := w.conversation(v.Leaf())
	proof := prove(t, p, w.friend)
	authority, err := statement.Marshal(Authority{Chain: c.Bytes(), Proof: proof})
	if err != nil {
		t.Fatal(err)
	}
	standing := w.under(t, w.standing(), w.grant())
	got := strings.Join([]string{
		"grant " + v.Path()[0].String(),
		"link " + v.Leaf().String(),
		"consent " + v.Consent().String(),
		"chain " + statement.Hash("test", c.Bytes()).String(),
		"standing consent " + statement.ID(idOf(t, standing.Consent)).String(),
		"grant on it " + statement.ID(idOf(t, standing.Grant)).String(),
		"proof " + statement.ID(idOf(t, proof)).String(),
		"authority " + statement.Hash("test", authority).String(),
	}, "\n")
	if got != strings.TrimSpace(frozen) {
		t.Errorf("the formats have changed:\n%s\nwant%s", got, frozen)
	}
}

const frozen = `
grant 978bec0aa3dacfd16bc3bd2d084d377e83d41bfd3bec9af5a78bc1733029085e
link 6be115d352e7faa24e3a9a106d66f7f102b1c57015d0347cfd6e9e881e35eb46
consent 52a1c5a85964f5bbd135ba1e765b8382ad00398df6051b1171644ac1d130d8e7
chain 76a4518edfdaf58ff5a0d5e1a75498c4a78a891ce365f6c52361b73b62501611
standing consent 55ccdd9fe775441913dac26b7c776bd0dbb3bcbdf0ef4f5f6343af63eb4e1745
grant on it 393758fd8a4b9022bcb0e33d8b27748fcbdd76afc83f9d7b589d3040a563b12d
proof a951d8bba2fd673fd3f60dcf885238789195059c0a093f40b7c008f3e7728e15
authority 49904ecf01636ce463c8d4b8745143b0dea320d2a5f8b386df48a2bc2743d399`
