package daemon

import (
	"crypto/ed25519"
	"fmt"
	"strings"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multiaddr"
)

// Statements name peers by their Ed25519 key, libp2p by an id that contains it.

func peerPrivate(seed []byte) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
}

func peerID(k statement.PublicKey) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(k[:])
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(pub)
}

// PeerID is the libp2p id of a peer key, in words.
func PeerID(k statement.PublicKey) string {
	id, err := peerID(k)
	if err != nil {
		return "invalid"
	}
	return id.String()
}

func peerKey(id peer.ID) (statement.PublicKey, error) {
	pub, err := id.ExtractPublicKey()
	if err != nil {
		return statement.PublicKey{}, err
	}
	raw, err := pub.Raw()
	if err != nil || pub.Type() != crypto.Ed25519 || len(raw) != ed25519.PublicKeySize {
		return statement.PublicKey{}, fmt.Errorf("peer %s has no Ed25519 key", id)
	}
	return statement.PublicKey(raw), nil
}

func addrInfo(k statement.PublicKey, addresses []string) (peer.AddrInfo, error) {
	id, err := peerID(k)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	info := peer.AddrInfo{ID: id}
	for _, s := range addresses {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return peer.AddrInfo{}, err
		}
		info.Addrs = append(info.Addrs, a)
	}
	return info, nil
}

// learnValidators keeps the addresses of the newest committee for good. Those of
// validators that left stay too: they may hold shares.
func (n *Node) learnValidators() {
	for _, info := range n.bootstrap() {
		n.host.Libp2p().Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
	}
}

// addresses are where this node can be reached, with its peer id; none before it serves.
func (n *Node) addresses() []string {
	var out []string
	if n.host == nil {
		return nil
	}
	for _, a := range n.host.Libp2p().Addrs() { // with 0.0.0.0 resolved to real interfaces
		out = append(out, fmt.Sprintf("%s/p2p/%s", a, n.host.ID()))
	}
	return out
}

// holderAddresses are those of addresses that a deposit may name: so many, of such
// length, and in any case some that lead through relays, which work for everybody.
func (n *Node) holderAddresses() []string { return pickHolders(n.addresses()) }

// pickHolders takes direct addresses and relayed ones by turns.
func pickHolders(all []string) []string {
	var kinds [2][]string
	for _, a := range all {
		if len(a) > validator.MaxHolder {
			continue
		}
		kind := 0
		if strings.Contains(a, "/p2p-circuit/") {
			kind = 1
		}
		kinds[kind] = append(kinds[kind], a)
	}
	var out []string
	for i := range max(len(kinds[0]), len(kinds[1])) {
		for _, k := range kinds {
			if i < len(k) && len(out) < validator.MaxHolders {
				out = append(out, k[i])
			}
		}
	}
	return out
}
