package validatortest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"github.com/ipfs/go-cid"
)

// Object is an object of somebody, with the secret that its shares give back.
// Its ciphertext exists as far as validators look at it: they do not.
type Object struct {
	Owner   *Person
	Address cid.Cid
	Block   []byte
	envelope.Manifest
	Secret  committee.Secret
	fileKey []byte
	sealed  []byte
}

// Object makes an object; change, if there is any, alters its manifest before it is signed.
func (net *Network) Object(t testing.TB, owner *Person, change ...func(*envelope.Manifest)) *Object {
	t.Helper()
	o := &Object{Owner: owner, Secret: committee.NewSecret(), fileKey: make([]byte, committee.FileKeySize)}
	rand.Read(o.fileKey)
	link := func(what string, codec uint64) []byte {
		nonce := envelope.NewNonce()
		return envelope.CIDOf(append([]byte(what), nonce[:]...), codec).Bytes()
	}
	o.Manifest = envelope.Manifest{
		Format: envelope.ManifestFormat, Network: net.Network(), KeyNonce: envelope.NewNonce(), Owner: owner.ID(),
		Lineage: envelope.NewNonce(), Author: owner.ID(), File: link("file", envelope.CodecDagPB),
		Header: link("header", envelope.CodecRaw), Payload: link("payload", envelope.CodecDagPB),
		Size: uint64(envelope.PayloadSize(1000)), Created: net.Clock.Now().Unix(),
	}
	for _, f := range change {
		f(&o.Manifest)
	}
	b, err := envelope.SignManifest(o.Manifest, owner.Device)
	if err != nil {
		t.Fatal(err)
	}
	o.Address, o.Block = b.CID, b.Data
	if o.sealed, err = committee.SealKey(o.Secret, o.KeyID(), o.Network, o.fileKey); err != nil {
		t.Fatal(err)
	}
	return o
}

// Version makes the version that follows an object; change, if there is any,
// alters its manifest before it is signed.
func (net *Network) Version(t testing.TB, o *Object, change ...func(*envelope.Manifest)) *Object {
	t.Helper()
	follow := func(m *envelope.Manifest) {
		m.Lineage, m.Scopes, m.Sequence, m.Previous = o.Lineage, o.Scopes, o.Sequence+1, o.Address.Bytes()
	}
	return net.Object(t, o.Owner, append([]func(*envelope.Manifest){follow}, change...)...)
}

// Open says whether a secret opens the object: its own file key comes out.
func (o *Object) Open(s committee.Secret) error {
	key, err := committee.OpenKey(s, o.KeyID(), o.Network, o.sealed)
	if err != nil {
		return err
	}
	if !bytes.Equal(key, o.fileKey) {
		return errors.New("another file key comes out")
	}
	return nil
}

// Dealt is a batch that was dealt, before it is sealed to anybody. A test may
// change it.
type Dealt struct {
	Owner  *Person
	Items  []validator.DepositItem
	Shares [][]committee.Share // by object, then by validator
	Holder []string
}

// Deal deals objects under a number; change, if there is any, alters each
// dealing before it is signed.
func (net *Network) Deal(t testing.TB, owner *Person, number uint64, objects []*Object, change ...func(*validator.Dealing)) *Dealt {
	t.Helper()
	d := &Dealt{Owner: owner, Holder: []string{"/ip4/192.0.2.1/tcp/4001/p2p/holder"}}
	for _, o := range objects {
		shares, commitments, err := committee.DealSecret(o.Secret, int(net.Numbers.N), int(net.Numbers.T))
		if err != nil {
			t.Fatal(err)
		}
		body := validator.Dealing{
			Network: net.Network(), Owner: owner.ID(), KeyNonce: o.KeyNonce, Manifest: o.Address.Bytes(), Number: number,
			Record: net.ID(), N: net.Numbers.N, T: net.Numbers.T, Commitments: commitments,
		}
		for _, f := range change {
			f(&body)
		}
		d.Items = append(d.Items, validator.DepositItem{Manifest: o.Block, Dealing: owner.Sign(t, validator.KindDealing, body)})
		d.Shares = append(d.Shares, shares)
	}
	return d
}

// Box is what a request's box holds for a validator.
func (d *Dealt) Box(i int) validator.Shares {
	box := validator.Shares{Items: validator.DigestItems(d.Items)}
	for _, shares := range d.Shares {
		s := shares[i]
		box.Shares = append(box.Shares, append(s.Value[:], s.Blinding[:]...))
	}
	return box
}

// Request is the request to a validator, its box sealed to that validator.
func (net *Network) Request(t testing.TB, d *Dealt, i int) validator.DepositRequest {
	t.Helper()
	return validator.DepositRequest{Owner: d.Owner.Record(), Items: d.Items, Box: net.Seal(t, i, d.Box(i)), Holder: d.Holder}
}

// Seal seals anything to a validator's recipient.
func (net *Network) Seal(t testing.TB, i int, v any) []byte {
	t.Helper()
	box, err := keystore.SealTo([]string{net.Record.Validators[i].Recipient}, marshal(v))
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// Deposit sends a request to a validator and returns the outcomes.
func (net *Network) Deposit(t testing.TB, i int, r validator.DepositRequest) ([]uint8, error) {
	t.Helper()
	return net.DepositOn(t, i, validator.Conn{}, r)
}

// DepositOn is Deposit on a connection.
func (net *Network) DepositOn(t testing.TB, i int, c validator.Conn, r validator.DepositRequest) ([]uint8, error) {
	t.Helper()
	raw, err := net.Validators[i].Deposit(t.Context(), c, marshal(r))
	if err != nil {
		return nil, err
	}
	var reply validator.DepositReply
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	return reply.Outcomes, nil
}

// DepositAll deposits objects with every validator, and fails the test where one refuses.
func (net *Network) DepositAll(t testing.TB, owner *Person, objects ...*Object) {
	t.Helper()
	net.DepositDealt(t, net.Deal(t, owner, 0, objects))
}

// DepositDealt is DepositAll of what was dealt.
func (net *Network) DepositDealt(t testing.TB, d *Dealt) {
	t.Helper()
	for i := range net.Validators {
		outcomes, err := net.Deposit(t, i, net.Request(t, d, i))
		if err != nil {
			t.Fatal(err)
		}
		for k, o := range outcomes {
			if o != validator.ItemOK {
				t.Fatalf("validator %d answers %d for object %d", i+1, o, k)
			}
		}
	}
}
