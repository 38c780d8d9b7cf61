package validator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"golang.org/x/sync/errgroup"
)

// Limits of a rotation's messages.
const (
	MaxSubPage = 512      // deposits in a page
	MaxSubs    = 4 << 20  // bytes of a page
	MaxPull    = 16 << 20 // bytes of one page of each dealer; a receiver takes one while it asks for the next
)

// PageSize is how many bytes a page of a plan with that many dealers has at most:
// a receiver needs those of all of them at a time.
func PageSize(dealers int) int { return min(MaxSubs, MaxPull/max(dealers, 1)) }

// pageItems is how many sub-shares surely fit into a page. One deposit always has
// room, with as many of them as it may have.
func (p *signedPlan) pageItems() int {
	const ids, share, scale, point = 3 * 34, 66, 34, 34
	each := 16 + ids + share + scale + point*(int(p.record.Numbers.T)-1+int(p.from.Numbers.T))
	return max(MaxEpochs, (PageSize(len(p.Dealers))-4096)/each)
}

// PageRequest asks a dealer for the sub-shares of the deposits after a key id.
type PageRequest struct {
	_     struct{} `cbor:",toarray"`
	Plan  []byte   // signed by K
	After []byte   // key id; empty: from the beginning
}

// PageReply is a [SubPage], sealed to the receiver's recipient in the new record.
type PageReply struct {
	_   struct{} `cbor:",toarray"`
	Box []byte
}

// SubPage are a dealer's sub-shares for one receiver, in the order of key ids.
type SubPage struct {
	_     struct{} `cbor:",toarray"`
	Plan  statement.ID
	Items []SubItem
	Last  []byte // key id that the page ends with
	More  bool
}

// SubItem is one sub-share. The commitments of the old epoch come with it where
// they are not those of the dealing.
type SubItem struct {
	_           struct{} `cbor:",toarray"`
	KeyID       statement.ID
	Dealing     statement.ID
	Epoch       statement.ID
	Commitments committee.Commitments // to the coefficients 1 and above
	Share       []byte                // value and blinding
	Scale       []byte
	Points      committee.Commitments
}

// subDealt is a deposit dealt again: what every receiver gets of it.
type subDealt struct {
	item   SubItem // without the share
	shares []committee.Share
}

// pages keeps the last pages that were dealt: the receivers come for the same
// ones at about the same time, and dealing is what a rotation costs. The zero
// value is ready.
type pages struct {
	mu   sync.Mutex
	kept []*dealtPage // newest last
}

type dealtPage struct {
	key  statement.ID
	once sync.Once
	subs []subDealt
	last []byte
	more bool
	err  error
	size atomic.Int64 // bytes of memory, once it is dealt
}

// Receivers drift apart by what the slowest is late: a page that is gone when it
// comes is dealt again.
const (
	keptPages = 64
	keptBytes = 24 << 20
)

func (p *pages) get(key statement.ID) *dealtPage {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.kept {
		if d.key == key {
			return d
		}
	}
	d := &dealtPage{key: key}
	p.kept = append(p.kept, d)
	bytes := int64(0)
	for i, k := range slices.Backward(p.kept) {
		if bytes += k.size.Load(); bytes > keptBytes || len(p.kept)-i > keptPages {
			p.kept = slices.Clone(p.kept[i+1:])
			break
		}
	}
	return d
}

// clear forgets all pages: a share in them was destroyed.
func (p *pages) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = nil
}

func (p *pages) drop(d *dealtPage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = slices.DeleteFunc(p.kept, func(x *dealtPage) bool { return x == d })
}

// AnswerPage deals a page of this validator's shares again, for the validator of
// the new record that asks.
func (j *Judge) AnswerPage(ctx context.Context, c Conn, raw []byte) ([]byte, error) {
	var r PageRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	p, dealer, receiver, err := j.asDealer(c, r.Plan)
	if err != nil {
		return nil, err
	}
	if n := len(r.After); n != 0 && n != len(statement.ID{}) {
		return nil, fmt.Errorf("%w: it asks for what follows no key", ErrMalformed)
	}
	d := j.dealt.get(statement.Hash("page", p.id[:], r.After))
	d.once.Do(func() { d.err = j.dealPage(ctx, d, p, dealer, r.After) })
	if d.err != nil {
		j.dealt.drop(d)
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, d.err)
	}
	out := SubPage{Plan: p.id, Last: d.last, More: d.more}
	j.erasures.leaving.RLock()
	defer j.erasures.leaving.RUnlock()
	for _, s := range d.subs {
		if j.barred(s.item.KeyID) {
			continue // since the page was dealt
		}
		it, share := s.item, s.shares[receiver]
		it.Share = append(share.Value[:], share.Blinding[:]...)
		out.Items = append(out.Items, it)
	}
	box, err := keystore.SealTo([]string{p.record.Validators[receiver].Recipient}, encode(out))
	if err != nil {
		return nil, err
	}
	return encode(PageReply{Box: box}), nil
}

// asDealer verifies a plan that names this validator as a dealer and the client
// as a receiver.
func (j *Judge) asDealer(c Conn, plan []byte) (p *signedPlan, dealer, receiver int, err error) {
	if p, err = j.verifyPlan(plan); err != nil {
		return nil, 0, 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	dealer = j.seat(p.from)
	receiver, ok := p.record.ByPeer(c.Client)
	if dealer < 0 || !slices.Contains(p.Dealers, uint16(dealer)) || !ok {
		return nil, 0, 0, ErrDenied
	}
	if p.Record != j.Trust.Current().ID() {
		return nil, 0, 0, fmt.Errorf("%w: the plan is of a rotation that is over or not begun", ErrUnavailable)
	}
	return p, dealer, receiver, nil
}

// dealPage reads a page of deposits and deals each again.
func (j *Judge) dealPage(ctx context.Context, d *dealtPage, p *signedPlan, dealer int, after []byte) error {
	seed, err := j.seed(p)
	if err != nil {
		return err
	}
	type source struct {
		keyID statement.ID
		dep   *deposit
		share *held
	}
	var todo []source
	ids, err := j.holdingsAfter(p.From, after, MaxSubPage+1)
	if err != nil {
		return err
	}
	deposits, err := j.loadAll(ids)
	if err != nil {
		return err
	}
	room := p.pageItems()
	for i, keyID := range ids {
		var shares []source
		if dep := deposits[keyID]; dep != nil && !j.barred(keyID) {
			for k := range dep.Shares {
				if dep.Shares[k].Record == p.From {
					shares = append(shares, source{keyID, dep, &dep.Shares[k]})
				}
			}
		}
		if d.more = i == MaxSubPage || i > 0 && len(todo)+len(shares) > room; d.more {
			break
		}
		d.last = keyID[:]
		todo = append(todo, shares...)
	}
	subs := make([]subDealt, len(todo))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range todo {
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			subs[i], err = j.subDeal(p, seed, dealer, s.keyID, s.dep, s.share)
			if errors.Is(err, keystore.ErrErased) && j.gone(s.keyID, s.share.Epoch) {
				return nil // settled, erased or dealt again since it was read
			}
			return err
		})
	}
	err = g.Wait()
	d.subs = slices.DeleteFunc(subs, func(s subDealt) bool { return s.shares == nil })
	const share, point, rest = 64, 24 + 32, 512
	d.size.Store(int64(len(d.subs)) * int64(share*int(p.record.Numbers.N)+point*int(p.record.Numbers.T+p.from.Numbers.T)+rest))
	return err
}

// gone reports whether the share of an epoch is in the store no more: its record
// goes before it is destroyed.
func (j *Judge) gone(keyID, epoch statement.ID) bool {
	d, err := j.loadKey(keyID)
	return errors.Is(err, kv.ErrNotFound) || err == nil && d.in(epoch) == nil
}

// subDeal deals one share again. The polynomial is a function of the seed, the
// plan and the epoch: every receiver gets the same one, after a restart too.
func (j *Judge) subDeal(p *signedPlan, seed [32]byte, dealer int, keyID statement.ID, dep *deposit, h *held) (subDealt, error) {
	d, id, err := readDealing(dep.Dealing)
	if err != nil {
		return subDealt{}, err
	}
	old, err := h.commitments(d)
	if err != nil {
		return subDealt{}, err
	}
	parsed, err := old.Parse(int(p.from.Numbers.T))
	if err != nil {
		return subDealt{}, err
	}
	raw, err := j.Shares.Open(h.Share, shareAAD(keyID, h.Epoch))
	if err != nil {
		return subDealt{}, err
	}
	share, err := parseShare(raw)
	if err != nil {
		return subDealt{}, err
	}
	n := p.record.Numbers
	shares, commitments, err := committee.SubDeal(seed, subContext(p, keyID, h.Epoch), dealer, share, parsed, int(n.N), int(n.T))
	if err != nil {
		return subDealt{}, err
	}
	return subDealt{SubItem{KeyID: keyID, Dealing: id, Epoch: h.Epoch, Commitments: commitments, Scale: h.Scale, Points: h.Points}, shares}, nil
}

func subContext(p *signedPlan, keyID, epoch statement.ID) []byte {
	return slices.Concat(p.Record[:], p.From[:], p.id[:], keyID[:], epoch[:])
}

var seedPrefix = []byte("seed/") // + record -> sealed seed

// seed is this dealer's secret of a rotation. It lies in the erasable store and
// is destroyed when the rotation is complete: with it, sub-shares could be made
// again from shares that should not exist any more.
func (j *Judge) seed(p *signedPlan) ([32]byte, error) {
	j.seeds.Lock()
	defer j.seeds.Unlock()
	key := slices.Concat(seedPrefix, p.Record[:])
	raw, err := j.Store.Get(key)
	if errors.Is(err, kv.ErrNotFound) {
		return j.newSeed(key)
	}
	if err != nil {
		return [32]byte{}, err
	}
	var sealed keystore.Sealed
	if err := statement.Unmarshal(raw, &sealed); err != nil {
		return [32]byte{}, err
	}
	secret, err := j.Shares.Open(sealed, key)
	if err != nil || len(secret) != 32 {
		return [32]byte{}, errors.Join(errors.New("the rotation's seed cannot be opened"), err)
	}
	return [32]byte(secret), nil
}

func (j *Judge) newSeed(key []byte) (seed [32]byte, err error) {
	rand.Read(seed[:])
	sealed, err := j.Shares.SealMany([]keystore.Item{{AAD: key, Secret: seed[:]}})
	if err != nil {
		return seed, err
	}
	return seed, j.Store.Apply([]kv.Op{{Key: key, Value: encode(sealed[0])}})
}

// dropSeed destroys the seed of a rotation, record first: a slot that nothing
// refers to is reclaimed at the next start.
func (j *Judge) dropSeed(record statement.ID) error {
	j.seeds.Lock()
	defer j.seeds.Unlock()
	key := slices.Concat(seedPrefix, record[:])
	raw, err := j.Store.Get(key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var sealed keystore.Sealed
	if err := statement.Unmarshal(raw, &sealed); err != nil {
		return err
	}
	if err := j.Store.Apply([]kv.Op{{Key: key, Delete: true}}); err != nil {
		return err
	}
	return j.Shares.Destroy(sealed.Slot)
}

// RevealRequest is a complaint: the receiver could not use a sub-share, and asks
// for it in the clear. What it learns it should have had anyway.
type RevealRequest struct {
	_     struct{} `cbor:",toarray"`
	Plan  []byte
	KeyID statement.ID
	Epoch statement.ID
}

// AnswerReveal shows one sub-share to its receiver again. A dealer that keeps
// silent or shows a wrong one is excluded by the next plan.
func (j *Judge) AnswerReveal(_ context.Context, c Conn, raw []byte) ([]byte, error) {
	var r RevealRequest
	if err := decode(raw, &r); err != nil {
		return nil, err
	}
	p, dealer, receiver, err := j.asDealer(c, r.Plan)
	if err != nil {
		return nil, err
	}
	seed, err := j.seed(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	dep, err := j.loadKey(r.KeyID)
	if err != nil {
		return nil, ErrDenied
	}
	j.erasures.leaving.RLock()
	defer j.erasures.leaving.RUnlock()
	h := dep.in(r.Epoch)
	if h == nil || h.Record != p.From || j.barred(r.KeyID) {
		return nil, ErrDenied
	}
	s, err := j.subDeal(p, seed, dealer, r.KeyID, dep, h)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	share := s.shares[receiver]
	s.item.Share = append(share.Value[:], share.Blinding[:]...)
	return encode(s.item), nil
}
