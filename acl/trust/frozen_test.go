package trust_test

import (
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Formats are final: the id of a network is the hash of these bytes for ever.
func TestFrozenIds(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	member, err := statement.New(trust.KindMembership, membership(net))
	if err != nil {
		t.Fatal(err)
	}
	body, keys := card(t)
	c, err := statement.Sign(trust.KindCard, body, keys...)
	if err != nil {
		t.Fatal(err)
	}
	file, err := statement.Marshal(trust.File{
		Format: trust.FileFormat, Records: [][]byte{net.Raw()}, Memberships: [][]byte{member.Bytes()}, Policy: []byte{1},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join([]string{
		"record " + net.ID().String(),
		"signed " + statement.Hash("test", net.Raw()).String(),
		"membership " + member.ID().String(),
		"card " + c.ID().String(),
		"file " + statement.Hash("test", file).String(),
	}, "\n")
	if got != strings.TrimSpace(frozen) {
		t.Errorf("the formats have changed:\n%s\nwant%s", got, frozen)
	}
}

const frozen = `
record 7a771af8283c736c9a7a36de5d96e65b1a2215e84d7899f272656483735889c2
signed 1841a31a3b50144bfcffb5e35015c6a7ddbe52ca482f5c13dd6913c01a94e686
membership 967cb402eefbf4c0574e8289d9c5164b3978c81c425f7194bc2d758b9c708b68
card 15358c417e1242701a223d928397c70ecddac7ab7a7d84fe0e7b6cfa928aefeb
file c22181a273eff3f21fd7ec65329698b5e63cba02905b7fd54e6124c273d4466d`
