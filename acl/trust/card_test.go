package trust_test

import (
	"errors"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// card is the card of the first validator of a network, with the keys that sign it.
func card(t testing.TB) (trust.Card, []statement.PrivateKey) {
	t.Helper()
	net, r := trusttest.Draft(t, "net", 1)
	peer := trusttest.Key("net validator 0 peer")
	return trust.Card{
		Identity: net.People[0].Record(), Peer: peer.Public(), Addresses: r.Validators[0].Addresses, Validator: r.Validators,
	}, []statement.PrivateKey{net.People[0].Devices[0], peer, net.Signing[0]}
}

func TestCards(t *testing.T) {
	const parts, signature, twice = "different keys", "do not verify", "two places"
	stranger := trusttest.Key("stranger")
	for _, c := range []struct {
		name, want string
		change     func(c *trust.Card, keys *[]statement.PrivateKey)
	}{
		{"a validator's", "", func(*trust.Card, *[]statement.PrivateKey) {}},
		{"a node's", "", func(c *trust.Card, k *[]statement.PrivateKey) { c.Validator, *k = nil, (*k)[:2] }},
		{"without the device's signature", signature, func(_ *trust.Card, k *[]statement.PrivateKey) { (*k)[0] = stranger }},
		{"of somebody else's peer", signature, func(_ *trust.Card, k *[]statement.PrivateKey) { (*k)[1] = stranger }},
		{"of somebody else's signing key", signature, func(_ *trust.Card, k *[]statement.PrivateKey) { (*k)[2] = stranger }},
		{"signed by too few", signature, func(_ *trust.Card, k *[]statement.PrivateKey) { *k = (*k)[:2] }},
		{"signed by too many", signature, func(_ *trust.Card, k *[]statement.PrivateKey) { *k = append(*k, stranger) }},
		{"of a device as peer", signature, func(c *trust.Card, k *[]statement.PrivateKey) {
			c.Validator, c.Peer, *k = nil, (*k)[0].Public(), []statement.PrivateKey{(*k)[0], (*k)[0]}
		}},
		{"of another identity", parts, func(c *trust.Card, _ *[]statement.PrivateKey) { c.Validator[0].Identity = statement.Hash("x") }},
		{"of another peer", parts, func(c *trust.Card, _ *[]statement.PrivateKey) { c.Validator[0].Peer = stranger.Public() }},
		{"of a log key that is the peer key", twice, func(c *trust.Card, _ *[]statement.PrivateKey) { c.Validator[0].Log = c.Peer }},
		{"of a signing key that is the device", twice, func(c *trust.Card, k *[]statement.PrivateKey) { c.Validator[0].Signing = (*k)[0].Public() }},
		{"without a witness key", twice, func(c *trust.Card, _ *[]statement.PrivateKey) { c.Validator[0].Witness = statement.PublicKey{} }},
		{"with a classic recipient", "hybrid", func(c *trust.Card, _ *[]statement.PrivateKey) { c.Validator[0].Recipient = "age1qqq" }},
		{"with too many addresses", "addresses", func(c *trust.Card, _ *[]statement.PrivateKey) { c.Addresses = make([]string, trust.MaxAddresses+1) }},
		{"with a long address", "addresses", func(c *trust.Card, _ *[]statement.PrivateKey) { c.Addresses = []string{strings.Repeat("x", 257)} }},
		{"of two validators", "malformed", func(c *trust.Card, _ *[]statement.PrivateKey) {
			c.Validator = append(c.Validator, c.Validator[0])
		}},
		{"without an identity", "identity record", func(c *trust.Card, _ *[]statement.PrivateKey) { c.Identity = nil }},
	} {
		body, keys := card(t)
		c.change(&body, &keys)
		s, err := statement.Sign(trust.KindCard, body, keys...)
		if err != nil {
			t.Fatal(err)
		}
		got, id, err := trust.ParseCard(s.Bytes())
		switch {
		case c.want == "" && (err != nil || got.Peer != body.Peer || id.Kind() != identity.User):
			t.Errorf("a card %s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("a card %s: %v, want %q", c.name, err, c.want)
		}
	}
	body, keys := card(t)
	s, err := statement.Sign("other", body, keys...)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := trust.ParseCard(s.Bytes()); !errors.Is(err, statement.ErrKind) {
		t.Errorf("another kind: %v", err)
	}
	if _, _, err := trust.ParseCard([]byte("card")); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("junk: %v", err)
	}
}
