package validatortest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Rotating is a network in the middle of a rotation: everybody who was ever a
// validator, reachable by peer key. All share the network's chain.
type Rotating struct {
	*Network
	All []*Validator // those of the network, then those who joined

	lying sync.Mutex // held while an answer is changed

	mu   sync.Mutex
	down map[statement.PublicKey]bool
	lie  func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte
}

// Rotate prepares a network for rotations.
func (net *Network) Rotate() *Rotating {
	r := &Rotating{Network: net, All: net.Validators, down: map[statement.PublicKey]bool{}}
	for _, v := range r.All {
		v.Judge.Fresh = heard{v.Tracker}
	}
	return r
}

// heard stands for a validator that hears all others: rotations are tested apart
// from freshness.
type heard struct{ *revocation.Tracker }

func (heard) Fresh() bool { return true }

func (heard) Ready() bool { return true }

// Down makes a validator unreachable, or reachable again.
func (r *Rotating) Down(v *Validator, down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down[v.Judge.Peer] = down
}

// Lie changes answers on their way, one at a time; nil stops that.
func (r *Rotating) Lie(f func(server statement.PublicKey, m validator.RotateMethod, answer []byte) []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lie = f
}

// peers reaches everybody on behalf of one validator.
type peers struct {
	r    *Rotating
	from statement.PublicKey
}

// Rotate implements [validator.Peers].
func (p peers) Rotate(ctx context.Context, server statement.PublicKey, m validator.RotateMethod, request []byte) ([]byte, error) {
	p.r.mu.Lock()
	down, lie := p.r.down[server] || p.r.down[p.from], p.r.lie
	p.r.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	for _, v := range p.r.All {
		if v.Judge.Peer != server {
			continue
		}
		out, err := v.AnswerRotate(ctx, validator.Conn{Client: p.from}, m, request)
		if err == nil && lie != nil {
			p.r.lying.Lock()
			out = lie(server, m, out)
			p.r.lying.Unlock()
		}
		return out, err
	}
	return nil, errors.New("no such validator")
}

// Of is the rotation of a validator.
func (r *Rotating) Of(t testing.TB, v *Validator) *validator.Rotation {
	return &validator.Rotation{Judge: v.Judge, Peers: peers{r, v.Judge.Peer}, Log: Logger(t)}
}

// Join starts a validator that is in no record yet, and returns its entry.
func (r *Rotating) Join(t testing.TB, name string) (*Validator, trust.Validator) {
	t.Helper()
	p := trusttest.NewPerson(t, name, identity.User)
	opener, public := recipient(t)
	entry := trust.Validator{
		Identity: p.ID(), Signing: trusttest.Key(name + " signing").Public(), Recipient: public,
		Peer: trusttest.Key(name + " peer").Public(), Addresses: []string{"/ip4/192.0.2.99/tcp/4001"},
		Log: trusttest.Key(name + " log").Public(), Witness: trusttest.Key(name + " witness").Public(),
	}
	v := r.open(t, seat{name, trusttest.Key(name + " signing"), p}, opener, policy.Builtin())
	v.Judge.Fresh = heard{v.Tracker}
	r.All = append(r.All, v)
	return v, entry
}

// Succeed replaces the newest record. Everybody who was ever a validator signs.
func (r *Rotating) Succeed(t testing.TB, change func(*trust.Record)) *trust.Committee {
	t.Helper()
	keys := append([]statement.PrivateKey(nil), r.keys.Roots...)
	for _, v := range r.All {
		keys = append(keys, v.Judge.Signing)
	}
	c, err := r.Chain.Add(trusttest.Succeed(t, r.Chain.Current(), change, keys...).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Read asks every validator that can be reached for the shares of an object, and
// opens it with those of one epoch. The places of shares come from the records.
func (r *Rotating) Read(t testing.TB, who *Person, chain *capability.Chain, o *Object) error {
	t.Helper()
	type key struct{ epoch, record statement.ID }
	found := map[key]map[int]committee.Share{}
	for _, v := range r.All {
		r.mu.Lock()
		down := r.down[v.Judge.Peer]
		r.mu.Unlock()
		if down {
			continue
		}
		q := ReleaseOf(o)
		s := &Session{Server: v.Judge.Peer, Client: who.Peer, used: map[uint64]bool{}}
		q.Authority = r.ByChain(t, who, chain, s, q.Digest())
		raw, err := v.Release(t.Context(), s.Conn(), marshal(q))
		if err != nil {
			continue
		}
		for _, share := range r.open1(t, who, raw) {
			record, ok := r.Chain.Known(share.Record)
			if !ok {
				return errors.New("a share of an unknown record")
			}
			at, ok := record.ByPeer(v.Judge.Peer)
			if !ok {
				return errors.New("a share of a record that its holder is not in")
			}
			k := key{share.Epoch, share.Record}
			if found[k] == nil {
				found[k] = map[int]committee.Share{}
			}
			found[k][at] = committee.Share{Value: [32]byte(share.Share[:32]), Blinding: [32]byte(share.Share[32:])}
		}
	}
	err := errors.New("nobody released a share")
	for k, shares := range found {
		record, _ := r.Chain.Known(k.record)
		var secret committee.Secret
		if secret, err = committee.Recover(int(record.Numbers.T), shares); err == nil {
			if err = o.Open(secret); err == nil {
				return nil
			}
		}
	}
	return err
}

func (r *Rotating) open1(t testing.TB, who *Person, raw []byte) []validator.ReleasedShare {
	t.Helper()
	var reply validator.ReleaseReply
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	plain, err := who.Opener.Open(reply.Box, validator.MaxRelease)
	if err != nil {
		t.Fatal(err)
	}
	var out validator.Release
	if err := statement.Unmarshal(plain, &out); err != nil {
		t.Fatal(err)
	}
	return out.Items[0].Shares
}
