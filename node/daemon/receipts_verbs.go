package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

// States of a receipt.
const (
	receiptPromised = "promised" // the entry is to be under a checkpoint by a time to come
	receiptOpen     = "open"     // that time has passed, and nobody has redeemed it yet
	receiptProven   = "proven"   // it was redeemed
	receiptBroken   = "broken"   // the validator could not: evidence against it
)

// Receipts implements api.Service.
func (n *Node) Receipts(ctx context.Context, r api.ReceiptsRequest) (*api.ReceiptList, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	out := &api.ReceiptList{Receipts: []api.Receipt{}}
	object := r.Object
	if object != "" {
		c, err := parseAddress(object)
		if err != nil {
			return nil, err
		}
		object = c.String()
	}
	keys := &erasedKeys{n: n}
	damaged, err := n.receipts.scan(func(_ []byte, k *keptReceipt, r *receipt.Receipt, id statement.ID) (bool, error) {
		x, err := n.describeReceipt(ctx, k, r, id, keys)
		if err != nil {
			return false, err
		}
		if object == "" || slices.Contains(x.Objects, object) {
			out.Receipts = append(out.Receipts, x)
		}
		return true, ctx.Err()
	})
	out.Damaged = len(damaged)
	return out, err
}

func (n *Node) describeReceipt(ctx context.Context, k *keptReceipt, r *receipt.Receipt, id statement.ID, keys *erasedKeys) (api.Receipt, error) {
	out := api.Receipt{
		ID: id.String(), Action: string(r.Action), Outcome: r.Outcome().String(), Objects: []string{}, First: r.First, Entries: r.Entries(),
		Time: stampMilli(r.Time), By: stampMilli(r.By), State: receiptPromised, Peer: k.Server.String(), Says: k.Broken,
	}
	if i, sits := n.trust.Current().ByPeer(k.Server); sits {
		out.Validator = i + 1
	}
	if _, objects, purpose, err := quorum.RequestDigest(r.Action, k.Request); err == nil {
		out.Purpose = purpose
		for _, o := range objects {
			out.Objects = append(out.Objects, event.Ref(o))
		}
		if r.Action == event.Erase {
			out.Keys = out.Objects
			if out.Objects, err = keys.objects(ctx, r.Request, objects); err != nil {
				return out, err
			}
		}
	}
	switch {
	case k.Broken != "":
		out.State = receiptBroken
	case len(k.Proofs) > 0:
		out.State = receiptProven
	case n.now().UnixMilli() > r.By:
		out.State = receiptOpen
	}
	return out, nil
}

func stampMilli(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// Receipt implements api.Service: the file of one receipt, redeemed where its validator
// can be asked.
func (n *Node) Receipt(ctx context.Context, q api.ReceiptRequest) (*api.ReceiptFile, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	key, k, r, id, err := n.findReceipt(q.ID)
	if err != nil {
		return nil, err
	}
	says := ""
	if len(k.Proofs) == 0 && n.running.Load() {
		proofs, err := n.quorum.Redeem(ctx, k.Server, k.Receipt)
		switch {
		case err == nil:
			k.Proofs, k.Broken = proofs, ""
		case errors.Is(err, quorum.ErrBroken):
			k.Broken = event.Clean(err.Error())
		default:
			says = "its validator cannot be asked now: " + err.Error()
		}
		if says == "" {
			if err := n.receipts.redeemed(key, k); err != nil {
				return nil, err
			}
		}
	}
	f := evidence.ReceiptFile{Receipt: k.Receipt, Request: k.Request, Proofs: k.Proofs, Network: evidence.Records(n.trust.Current())}
	raw, err := f.Bytes()
	if err != nil {
		return nil, err
	}
	if len(raw) > evidence.MaxReceipt {
		return nil, fmt.Errorf("the receipt with its proofs has %d bytes, at most %d", len(raw), evidence.MaxReceipt)
	}
	described, err := n.describeReceipt(ctx, k, r, id, &erasedKeys{n: n})
	if err != nil {
		return nil, err
	}
	out := &api.ReceiptFile{Receipt: described, File: raw}
	if says != "" {
		out.Says = says
	}
	return out, nil
}

// findReceipt finds a receipt by its id or an unambiguous beginning of it.
func (n *Node) findReceipt(name string) (key []byte, kept *keptReceipt, r *receipt.Receipt, id statement.ID, err error) {
	const hint = "see `cerebrum audit receipts`"
	if len(name) < shortestID {
		return nil, nil, nil, id, fault.New(fault.Usage, hint, "an id, or at least its first %d digits, names a receipt", shortestID)
	}
	found := 0
	damaged, err := n.receipts.scan(func(at []byte, k *keptReceipt, x *receipt.Receipt, i statement.ID) (bool, error) {
		if strings.HasPrefix(i.String(), name) {
			key, kept, r, id = at, k, x, i
			found++
		}
		return found < 2, nil
	})
	unread := slices.IndexFunc(damaged, func(at []byte) bool { return strings.HasPrefix(idInKey(at), name) })
	switch {
	case err != nil:
	case found == 0 && unread >= 0:
		err = fault.New(fault.Integrity, "restore this home from a backup, or ask again for what it was for: the answer brings another", "the receipt %s is damaged on this disk", idInKey(damaged[unread]))
	case found == 0:
		err = fault.New(fault.NotFound, hint, "there is no receipt %.64s here", name)
	case found > 1:
		err = fault.New(fault.Usage, "give more of the id", "several receipts begin with %.64s", name)
	}
	return key, kept, r, id, err
}

// idInKey is the id of a receipt that cannot be read, as its key has it.
func idInKey(key []byte) string { return hex.EncodeToString(key[min(len(key), receiptTime):]) }
