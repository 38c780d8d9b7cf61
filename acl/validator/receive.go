package validator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// pull walks the pages of a plan, behind those that were taken before. While one
// is taken the dealers make the next.
func (r *Rotation) pull(ctx context.Context, p *signedPlan, st *progress) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := r.askAhead(ctx, p, st.at)
	for {
		got := <-next
		if got.err != nil {
			return got.err
		}
		end, more := commonEnd(got.pages)
		if more {
			next = r.askAhead(ctx, p, end)
		}
		if err := r.takePages(ctx, p, got.pages, end, st); err != nil {
			return err
		}
		st.stuck = 0
		if !more {
			return nil
		}
		st.at = end
	}
}

// asked is a page of every dealer.
type asked struct {
	pages map[uint16]*SubPage
	err   error
}

func (r *Rotation) askAhead(ctx context.Context, p *signedPlan, after []byte) <-chan asked {
	out := make(chan asked, 1)
	go func() {
		pages, err := r.askPages(ctx, p, after)
		out <- asked{pages, err}
	}()
	return out
}

// askPages gets one page of every dealer, side by side.
func (r *Rotation) askPages(ctx context.Context, p *signedPlan, after []byte) (map[uint16]*SubPage, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	request := encode(PageRequest{Plan: p.raw, After: after})
	out := map[uint16]*SubPage{}
	var failed error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, d := range p.Dealers {
		wg.Go(func() {
			page, err := r.askPage(ctx, p, d, after, request)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = &dealerError{dealer: d, err: err}
			}
			out[d] = page
		})
	}
	wg.Wait()
	return out, failed
}

func (r *Rotation) askPage(ctx context.Context, p *signedPlan, d uint16, after, request []byte) (*SubPage, error) {
	j := r.Judge
	server := p.from.Validators[d].Peer
	var raw []byte
	var err error
	if server == j.Peer {
		raw, err = j.AnswerPage(ctx, Conn{Client: j.Peer}, request)
	} else {
		raw, err = r.Peers.Rotate(ctx, server, RotatePage, request)
	}
	if err != nil {
		return nil, err
	}
	var reply PageReply
	if err := decode(raw, &reply); err != nil {
		return nil, err
	}
	plain, err := j.Opener.Open(reply.Box, PageSize(len(p.Dealers)))
	if errors.Is(err, keystore.ErrTooLarge) {
		return nil, err
	}
	if err != nil {
		return nil, errors.New("the page is sealed to somebody else")
	}
	var page SubPage
	if err := decode(plain, &page); err != nil {
		return nil, err
	}
	return &page, page.check(p.id, after)
}

// check holds what a page must be: ordered, within its ends, getting on.
func (s *SubPage) check(plan statement.ID, after []byte) error {
	if s.Plan != plan || len(s.Items) > MaxSubPage*MaxEpochs {
		return errors.New("the page is another one's or too long")
	}
	if s.More && (len(s.Last) != len(statement.ID{}) || bytes.Compare(s.Last, after) <= 0) {
		return errors.New("the page does not get on")
	}
	last := after
	for i := range s.Items {
		id := s.Items[i].KeyID[:]
		if c := bytes.Compare(id, last); c < 0 || c == 0 && i == 0 || s.More && bytes.Compare(id, s.Last) > 0 {
			return errors.New("the page is out of order")
		}
		last = id
	}
	return nil
}

// commonEnd is the key id up to which every dealer has answered.
func commonEnd(pages map[uint16]*SubPage) (end []byte, more bool) {
	for _, p := range pages {
		if p.More && (!more || bytes.Compare(p.Last, end) < 0) {
			end, more = p.Last, true
		}
	}
	return end, more
}

// incoming is one epoch of one deposit, as all dealers sent it.
type incoming struct {
	first  SubItem
	subs   map[uint16]*SubItem
	dep    *deposit
	owner  []byte // identity document, where the deposit came from a dealer
	old    *committee.Parsed
	made   []byte
	epoch  statement.ID // the new one
	share  committee.Share
	scaled committee.Scaled
	dealt  []byte
}

func (in *incoming) sub(d uint16) committee.Sub {
	it := in.subs[d]
	return committee.Sub{
		Share:       committee.Share{Value: [32]byte(it.Share[:32]), Blinding: [32]byte(it.Share[32:])},
		Commitments: it.Commitments,
	}
}

// takePages checks and keeps what all dealers sent up to end.
func (r *Rotation) takePages(ctx context.Context, p *signedPlan, pages map[uint16]*SubPage, end []byte, st *progress) error {
	all, err := r.group(p, pages, end, st)
	if err != nil || len(all) == 0 {
		return err
	}
	if all, err = r.complete(ctx, p, all); err != nil {
		return err
	}
	checked, err := r.check(ctx, p, all)
	if err != nil {
		return err
	}
	places := make([]int, len(p.Dealers))
	for i, d := range p.Dealers {
		places[i] = int(d)
	}
	combiner, err := committee.NewCombiner(places, int(p.record.Numbers.T))
	if err != nil {
		return err
	}
	for i, in := range all {
		if in.share, in.scaled, err = combiner.Combine(checked[i]); err != nil {
			return fmt.Errorf("a deposit cannot be combined, another plan is needed: %w", err) // nobody is to blame
		}
		in.epoch = nextEpoch(in.made, in.scaled)
		for _, d := range p.Dealers {
			in.dealt = append(in.dealt, dealtDigest(in.subs[d].Commitments)...)
		}
	}
	return r.keep(ctx, p, all)
}

// group joins the items of all dealers by deposit and epoch. Those that a dealer
// lacks are counted against it and left to a later plan; those that are kept
// here already, and those that are erased, are passed over.
func (r *Rotation) group(p *signedPlan, pages map[uint16]*SubPage, end []byte, st *progress) ([]*incoming, error) {
	found := map[statement.ID]*incoming{}
	var order []statement.ID
	for _, d := range p.Dealers {
		for i := range pages[d].Items {
			it := &pages[d].Items[i]
			if end != nil && bytes.Compare(it.KeyID[:], end) > 0 {
				break
			}
			if len(it.Share) != 64 || len(it.Commitments) != int(p.record.Numbers.T)-1 {
				return nil, &dealerError{dealer: d, lied: true, err: committee.ErrShare}
			}
			key := statement.Hash("incoming", it.KeyID[:], it.Dealing[:], it.Epoch[:])
			in := found[key]
			if in == nil {
				in = &incoming{first: *it, subs: map[uint16]*SubItem{}, made: madeBy(p.id, it.Epoch)}
				found[key], order = in, append(order, key)
			}
			in.subs[d] = it
		}
	}
	ids := make([]statement.ID, len(order))
	for i, key := range order {
		ids[i] = found[key].first.KeyID
	}
	deposits, err := r.Judge.loadAll(ids)
	if err != nil {
		return nil, err
	}
	var out []*incoming
	for _, key := range order {
		in := found[key]
		if r.Judge.barred(in.first.KeyID) {
			continue
		}
		if dep := deposits[in.first.KeyID]; dep != nil {
			if dep.made(in.made) || !dep.isDealing(in.first.Dealing) {
				continue
			}
			in.dep = dep
		}
		if len(in.subs) < len(p.Dealers) {
			for _, d := range p.Dealers {
				if in.subs[d] == nil {
					st.lacking.add(in.first.KeyID, d)
				}
			}
			continue
		}
		out = append(out, in)
	}
	return out, nil
}

func (d *deposit) isDealing(id statement.ID) bool {
	s, err := statement.Parse(d.Dealing)
	return err == nil && s.ID() == id
}

// complete finds the deposits that are not here, and what the old shares fitted.
func (r *Rotation) complete(ctx context.Context, p *signedPlan, all []*incoming) ([]*incoming, error) {
	if err := r.fetchBodies(ctx, p, all); err != nil {
		return nil, err
	}
	var out []*incoming
	for _, in := range all {
		if in.dep == nil {
			continue // no dealer showed a deposit that verifies
		}
		d, id, err := readDealing(in.dep.Dealing)
		if err != nil || id != in.first.Dealing {
			continue
		}
		old, ok := in.commitments(p, d)
		if !ok {
			continue
		}
		if in.old, err = old.Parse(int(p.from.Numbers.T)); err != nil {
			continue
		}
		out = append(out, in)
	}
	return out, nil
}

// commitments of the old epoch: the dealing's, or after an earlier rotation those
// that more than F dealers name, one of whom is honest.
func (in *incoming) commitments(p *signedPlan, d *Dealing) (committee.Scaled, bool) {
	if in.first.Epoch == in.first.Dealing {
		return committee.Unscaled(d.Commitments), d.Record == p.From
	}
	for _, a := range in.subs {
		same := 0
		for _, b := range in.subs {
			if bytes.Equal(a.Scale, b.Scale) && slices.EqualFunc(a.Points, b.Points, bytes.Equal) {
				same++
			}
		}
		if same > int(p.from.Numbers.F) && len(a.Scale) == 32 {
			return committee.Scaled{Scale: [32]byte(a.Scale), Points: a.Points}, true
		}
	}
	return committee.Scaled{}, false
}

// check checks every dealer's sub-shares, and gives them by deposit. One that does
// not fit is asked for once more in the clear; where that does not fit either its
// dealer is named.
func (r *Rotation) check(ctx context.Context, p *signedPlan, all []*incoming) ([][]committee.Checked, error) {
	receiver, t := r.Judge.seat(p.record), int(p.record.Numbers.T)
	out := make([][]committee.Checked, len(all))
	items := make([]committee.Item, len(all))
	for _, d := range p.Dealers {
		for i, in := range all {
			items[i] = committee.Item{Old: in.old, Sub: in.sub(d)}
		}
		good, wrong := committee.CheckBatch(int(d), receiver, t, items)
		for _, i := range wrong {
			if err := r.reveal(ctx, p, d, all[i]); err != nil {
				return nil, &dealerError{dealer: d, lied: true, err: err}
			}
			again, bad := committee.CheckBatch(int(d), receiver, t, []committee.Item{{Old: all[i].old, Sub: all[i].sub(d)}})
			if len(bad) > 0 {
				return nil, &dealerError{dealer: d, lied: true, err: committee.ErrShare}
			}
			good[i] = again[0]
		}
		for i := range all {
			out[i] = append(out[i], good[i])
		}
	}
	return out, nil
}

func (r *Rotation) reveal(ctx context.Context, p *signedPlan, d uint16, in *incoming) error {
	server := p.from.Validators[d].Peer
	if server == r.Judge.Peer {
		return committee.ErrShare
	}
	raw, err := r.Peers.Rotate(ctx, server, RotateReveal, encode(RevealRequest{Plan: p.raw, KeyID: in.first.KeyID, Epoch: in.first.Epoch}))
	if err != nil {
		return err
	}
	var it SubItem
	if err := decode(raw, &it); err != nil {
		return err
	}
	if len(it.Share) != 64 {
		return committee.ErrShare
	}
	in.subs[d] = &it
	return nil
}
