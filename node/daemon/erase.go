package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/quorum"
	"github.com/ipfs/go-cid"
)

// Erase implements api.Service.
func (n *Node) Erase(ctx context.Context, r api.EraseRequest) (*api.Erased, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	if r.Override {
		if strings.TrimSpace(r.Reason) == "" {
			return nil, fault.New(fault.Usage, "say why with --reason", "a retention is overridden for a reason")
		}
		r.Reason = validator.OverridePrefix + r.Reason
	}
	if len(r.Reason) > 256 {
		return nil, fault.New(fault.Usage, "", "a reason has at most 256 bytes")
	}
	c, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	n.erasing.Lock()
	defer n.erasing.Unlock()
	orders, err := n.erasures.at(c)
	if err != nil {
		return nil, err
	}
	if len(orders) == 0 {
		h, p, err := n.owned(ctx, r.Address, "")
		if err != nil {
			return nil, err
		}
		targets := []cid.Cid{c}
		if !r.ThisVersion {
			if targets, err = n.library.Family(h); err != nil {
				return nil, err
			}
		}
		if orders, err = n.order(ctx, p, c, targets, r.Reason); err != nil {
			return nil, err
		}
		if err := n.firstTry(ctx, orders); err != nil {
			return nil, err
		}
	} else if err := n.furtherAll(ctx, orders); err != nil {
		return nil, err
	}
	return n.report(c, orders), nil
}

// order signs the orders for objects and makes them durable, unless a hold that
// this node knows of forbids it.
func (n *Node) order(ctx context.Context, p *home.Principal, asked cid.Cid, targets []cid.Cid, reason string) ([]*order, error) {
	if err := n.tracker.Refresh(ctx); err != nil {
		n.log.Warn("holds that were just placed may not be known here", "err", err)
	}
	keys := make([]envelope.Nonce, len(targets))
	for i, c := range targets {
		h, err := n.library.Find(ctx, c)
		if err != nil {
			return nil, err
		}
		m := h.Manifest.Claims()
		if n.set.Held(idsOf(&m)...) {
			return nil, heldFault(c)
		}
		if err := n.mayEraseNow(ctx, p, h, reason); err != nil {
			return nil, err
		}
		if next, ok := h.Next(); ok && h.State == object.StateLocal && !slices.Contains(targets, next) {
			return nil, fault.New(fault.Failed, "erase the whole object, or wait until it is shared", "no validator has %s yet, and the version after it needs it", c)
		}
		keys[i] = m.KeyNonce
	}
	if err := n.record(ctx, event.Erase, event.OK, event.Act{Actor: p.Identity.ID(), Object: asked.Bytes(), Reason: reason}); err != nil {
		return nil, err
	}
	room := (revocation.MaxEntry - len(p.Identity.Record()) - 2<<10) / (len(envelope.Nonce{}) + 2)
	room = max(1, min(room, revocation.MaxErasedKeys))
	var out []*order
	for len(keys) > 0 {
		k := min(room, len(keys))
		o, err := n.signOrder(p, targets[:k], keys[:k], reason)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
		keys, targets = keys[k:], targets[k:]
	}
	return out, n.erasures.start(asked, out)
}

func (n *Node) signOrder(p *home.Principal, targets []cid.Cid, keys []envelope.Nonce, reason string) (*order, error) {
	b := revocation.Erasure{Network: n.trust.Network(), Keys: keys, Reason: reason, Time: n.now().Unix()}
	rand.Read(b.Nonce[:])
	entry, err := revocation.SignErasure(b, p.Identity, p.Device)
	if err != nil {
		return nil, err
	}
	s, err := statement.Parse(entry.Statement)
	if err != nil {
		return nil, err
	}
	o := &order{Entry: entry, id: s.ID()}
	for _, c := range targets {
		o.Addresses = append(o.Addresses, c.Bytes())
	}
	return o, nil
}

// idsOf are the ids that a hold may be on.
func idsOf(m *envelope.Manifest) []statement.ID {
	return append([]statement.ID{m.KeyID(), m.LineageID()}, m.ScopeIDs()...)
}

func heldFault(c cid.Cid) error {
	return fault.New(fault.Denied, "see `cerebrum hold list`; it can be erased once the hold was released", "%s is under a legal hold", c)
}

// firstTry sends new orders. Where more validators than may lie say that there is
// a hold, and nobody has destroyed anything, the orders are taken back.
func (n *Node) firstTry(ctx context.Context, orders []*order) error {
	for i, o := range orders {
		said, err := n.send(ctx, o, nil)
		if err != nil {
			return err
		}
		if len(said.By) == 0 && len(said.Held) > int(n.trust.Current().Numbers.F) {
			c, err := cid.Cast(o.Addresses[0])
			if err != nil {
				return err
			}
			return errors.Join(heldFault(c), n.erasures.drop(orders[i:]))
		}
		if len(said.By) == 0 && len(said.Denied) > int(n.trust.Current().Numbers.F) {
			c, err := cid.Cast(o.Addresses[0])
			if err != nil {
				return err
			}
			return errors.Join(refusedErasure(c), n.erasures.drop(orders[i:]))
		}
		if err := n.further(ctx, o, said); err != nil {
			return err
		}
	}
	return nil
}

// furtherAll goes on with orders that were given before.
func (n *Node) furtherAll(ctx context.Context, orders []*order) error {
	for _, o := range orders {
		if o.Done && o.Local {
			continue
		}
		said, err := n.send(ctx, o, n.lacking(o))
		if err != nil {
			return err
		}
		if err := n.further(ctx, o, said); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) send(ctx context.Context, o *order, which []int) (*quorum.Erasing, error) {
	if which != nil && len(which) == 0 {
		return &quorum.Erasing{}, nil
	}
	return n.quorum.SendErasure(ctx, o.Entry, which)
}

// lacking are the validators of the newest record whose receipts are not here.
func (n *Node) lacking(o *order) []int {
	have := n.receiptsBy(o)
	out := []int{}
	for i := range n.trust.Current().Validators {
		if !have[i] {
			out = append(out, i)
		}
	}
	return out
}

// receiptsBy are the validators of the newest record whose receipts are here; a
// validator sends those of all keys of an order together.
func (n *Node) receiptsBy(o *order) map[int]bool {
	out := map[int]bool{}
	for _, raw := range o.Receipts {
		r, err := revocation.ParseReceipt(raw, n.trust)
		if err == nil && r.Record == n.trust.Current().ID() {
			out[int(r.Validator)] = true
		}
	}
	return out
}

// further takes what validators said, and destroys what is here: once one of them
// has carried the order out, or while none speaks of a hold and this node has heard
// enough of them to know of one.
func (n *Node) further(ctx context.Context, o *order, said *quorum.Erasing) error {
	o.Receipts = append(o.Receipts, said.Receipts...)
	o.Held = nil
	for _, i := range said.Held {
		o.Held = append(o.Held, uint16(i))
	}
	if _, err := revocation.CheckErased(o.Entry, o.Receipts, n.trust); err == nil {
		o.Done = true
	}
	if err := n.erasures.save(o); err != nil {
		return err
	}
	if o.Local || len(o.Receipts) == 0 && (len(o.Held) > 0 || !n.tracker.Fresh()) {
		return nil
	}
	return n.eraseHere(ctx, o)
}

// eraseHere makes this home forget what an order names: dealings on their way,
// wraps, ciphertext.
func (n *Node) eraseHere(ctx context.Context, o *order) error {
	if err := n.tracker.Take([]revocation.Entry{o.Entry}); err != nil {
		return err
	}
	addresses := make([]cid.Cid, len(o.Addresses))
	for i, a := range o.Addresses {
		var err error
		if addresses[i], err = cid.Cast(a); err != nil {
			return err
		}
	}
	if err := n.outbox.drop(addresses); err != nil {
		return err
	}
	if err := n.library.Erase(addresses); err != nil {
		return err
	}
	if err := n.forgetHere(ctx, addresses); err != nil {
		return err
	}
	for _, c := range addresses {
		if err := n.pins.drop(c); err != nil {
			return err
		}
	}
	o.Local = true
	if err := n.erasures.save(o); err != nil {
		return err
	}
	b, _, err := o.Entry.VerifyErasure(n.trust.Network())
	if err != nil {
		return err
	}
	return n.record(ctx, event.Drop, event.OK, event.Act{Subject: b.Owner, Grant: o.id[:], Detail: fmt.Sprintf("%d objects", len(addresses))})
}

// passErasures goes on with all orders that are not finished, and counts those
// that are left.
func (n *Node) passErasures(ctx context.Context) (left int, err error) {
	n.erasing.Lock()
	defer n.erasing.Unlock()
	orders, err := n.erasures.open()
	if err != nil {
		return 0, err
	}
	for _, o := range orders {
		if err := n.furtherAll(ctx, []*order{o}); err != nil {
			return len(orders), err
		}
		if !o.Done || !o.Local {
			left++
		}
	}
	return left, nil
}

// report says how far orders are.
func (n *Node) report(c cid.Cid, orders []*order) *api.Erased {
	m := n.trust.Current().Numbers
	out := &api.Erased{
		Address: c.String(), Erased: true, Validators: []int{}, Need: m.Effective(), Of: int(m.N),
		Receipts: [][]byte{}, Residue: erasureResidue(),
	}
	by := map[int]int{}
	held := map[int]bool{}
	for _, o := range orders {
		out.Erased = out.Erased && o.Done && o.Local
		out.Objects += len(o.Addresses)
		out.Receipts = append(out.Receipts, o.Receipts...)
		e := api.EraseOrder{Statement: o.Entry.Statement, Identity: o.Entry.Identity}
		for _, a := range o.Addresses {
			if c, err := cid.Cast(a); err == nil {
				e.Addresses = append(e.Addresses, c.String())
			}
		}
		out.Orders = append(out.Orders, e)
		for i := range n.receiptsBy(o) {
			by[i]++
		}
		for _, i := range o.Held {
			held[int(i)] = true
		}
	}
	for i := range n.trust.Current().Validators {
		if by[i] == len(orders) {
			out.Validators = append(out.Validators, i+1)
		}
		if held[i] {
			out.Held = append(out.Held, i+1)
		}
	}
	return out
}

// erasureResidue is what no receipt says anything about.
func erasureResidue() []string {
	return []string{
		"readers who already got the key or the content keep it, those with offline grants among them",
		"copies of a disk: snapshots, backups and worn-out blocks of media keep what was overwritten",
		"validators of earlier committees destroy what they may still have when they hear of it, and send no receipt",
		"your own old backups of this home hold the wrap until you destroy them",
		"a receipt is a validator's word; it takes more than the network's faults allow to make this one false",
	}
}

// erasingSays is a sentence about orders that are not finished.
func (n *Node) erasingSays(orders []*order) string {
	least, held := len(n.trust.Current().Validators), 0
	for _, o := range orders {
		least = min(least, len(n.receiptsBy(o)))
		held = max(held, len(o.Held))
	}
	text := fmt.Sprintf("%d orders to erase go on: %d of %d validators have destroyed their shares, %d are needed",
		len(orders), least, len(n.trust.Current().Validators), n.trust.Current().Numbers.Effective())
	if held > 0 {
		text += fmt.Sprintf("; %d refuse because of a legal hold", held)
	}
	return text
}

// eraseRetired erases a version that was rekeyed, or says why it is kept.
func (n *Node) eraseRetired(ctx context.Context, p *home.Principal, h *object.Held, d api.Deposits) (erased bool, kept string, err error) {
	if !d.Safe {
		m := n.trust.Current().Numbers
		return false, fmt.Sprintf("the new version is with %d validators and safe with %d; erase the old one then with `cerebrum erase --this-version`", d.Acknowledged, m.T+m.F), nil
	}
	n.erasing.Lock()
	defer n.erasing.Unlock()
	orders, err := n.order(ctx, p, h.CID, []cid.Cid{h.CID}, "rekeyed")
	if err == nil {
		err = n.firstTry(ctx, orders)
	}
	if err != nil {
		if f := fault.Of(err); f.Exit == fault.Denied {
			return false, f.Message, nil
		}
		return false, "", err
	}
	r := n.report(h.CID, orders)
	if !r.Erased {
		kept = fmt.Sprintf("%d of %d validators have destroyed their shares so far, which the node goes on with", len(r.Validators), r.Of)
	}
	return r.Erased, kept, nil
}
