package object

import (
	"fmt"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"
)

// Dealt is a batch of objects on its way to the validators: one request for
// each, its shares sealed to that validator alone.
type Dealt struct {
	Objects  []cid.Cid
	Requests map[int][]byte // by validator
	Record   statement.ID   // the committee record that they are dealt to
}

// toDeal is one object to be dealt.
type toDeal struct {
	address  cid.Cid
	manifest []byte
	nonce    envelope.Nonce
	secret   committee.Secret
	labels   []validator.Label
	class    uint8
}

// Deal deals freshly made objects, at most [validator.MaxBatch]. holder are the
// addresses where their ciphertext can be had.
func (l *Library) Deal(owner *home.Principal, made []*Made, holder []string) (*Dealt, error) {
	todo := make([]toDeal, len(made))
	for i, m := range made {
		todo[i] = toDeal{m.Address, m.Manifest, m.key, m.secret, m.in.Labels, m.in.Class}
	}
	return l.deal(owner, todo, holder, 0)
}

// DealAgain deals objects of this home whose first dealing did not reach enough
// validators. The number of a dealing is its time, so that it replaces those
// before it.
func (l *Library) DealAgain(owner *home.Principal, held []*Held, holder []string) (*Dealt, error) {
	todo := make([]toDeal, len(held))
	for i, h := range held {
		secret, err := l.secret(h)
		if err != nil {
			return nil, err
		}
		loc, err := h.local()
		if err != nil {
			return nil, err
		}
		todo[i] = toDeal{h.CID, h.Block, loc.KeyNonce, secret, loc.Labels, loc.Class}
	}
	return l.deal(owner, todo, holder, uint64(l.Now().UnixMilli()))
}

func (l *Library) deal(owner *home.Principal, todo []toDeal, holder []string, number uint64) (*Dealt, error) {
	record := l.Trust.Current() // one for the whole batch: another may come meanwhile
	items := make([]validator.DepositItem, len(todo))
	shares := make([][]committee.Share, len(todo))
	var g errgroup.Group
	g.SetLimit(dealers)
	for i, t := range todo {
		g.Go(func() (err error) {
			items[i], shares[i], err = l.dealOne(record, owner, t, number)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := &Dealt{Requests: make(map[int][]byte, len(record.Validators)), Record: record.ID()}
	for _, t := range todo {
		out.Objects = append(out.Objects, t.address)
	}
	digest := validator.DigestItems(items)
	for v := range record.Validators {
		box := validator.Shares{Items: digest}
		for i := range todo {
			s := shares[i][v]
			box.Shares = append(box.Shares, append(s.Value[:], s.Blinding[:]...))
		}
		plain, err := statement.Marshal(box)
		if err != nil {
			return nil, err
		}
		sealed, err := keystore.SealTo([]string{record.Validators[v].Recipient}, plain)
		if err != nil {
			return nil, fmt.Errorf("validator %d: %w", v+1, err)
		}
		out.Requests[v], err = statement.Marshal(validator.DepositRequest{
			Owner: owner.Identity.Record(), Items: items, Box: sealed, Holder: holder,
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (l *Library) dealOne(record *trust.Committee, owner *home.Principal, t toDeal, number uint64) (validator.DepositItem, []committee.Share, error) {
	n := record.Numbers
	shares, commitments, err := committee.DealSecret(t.secret, int(n.N), int(n.T))
	if err != nil {
		return validator.DepositItem{}, nil, err
	}
	s, err := statement.New(validator.KindDealing, validator.Dealing{
		Network: l.Trust.Network(), Owner: owner.Identity.ID(), KeyNonce: t.nonce, Manifest: t.address.Bytes(),
		Number: number, Record: record.ID(), N: n.N, T: n.T, Commitments: commitments, Labels: t.labels, Class: t.class,
	})
	if err != nil {
		return validator.DepositItem{}, nil, err
	}
	index, ok := owner.Identity.DeviceIndex(owner.Device.Public())
	if !ok {
		return validator.DepositItem{}, nil, fmt.Errorf("this device does not belong to the identity")
	}
	s.AddSignature(index, owner.Device)
	return validator.DepositItem{Manifest: t.manifest, Dealing: s.Bytes()}, shares, nil
}

// MarkShared records that T validators have acknowledged objects.
func (l *Library) MarkShared(addresses []cid.Cid) error { return l.mark(addresses, StateShared) }

// MarkLocal records that objects are to be dealt again: what was dealt did not
// reach T validators of the committee that there is now.
func (l *Library) MarkLocal(addresses []cid.Cid) error { return l.mark(addresses, StateLocal) }

func (l *Library) mark(addresses []cid.Cid, state uint8) error {
	var out []store.Object
	for _, a := range addresses {
		o, err := l.Store.Object(a)
		if err != nil {
			return err
		}
		if o.State != state {
			o.State = state
			out = append(out, o)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return l.Store.PutObjects(out)
}
