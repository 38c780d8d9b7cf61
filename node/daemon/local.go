package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/node/store"
	"filippo.io/age"
	"github.com/ipfs/go-cid"
)

// This file has the verbs that need no network.

func parseAddress(s string) (cid.Cid, error) {
	c, err := envelope.ParseAddress(s)
	if err != nil {
		return cid.Undef, fault.Wrap(fault.Usage, err, "copy it whole from the output of `cerebrum add`", "that is no address")
	}
	return c, nil
}

// Status implements api.Service.
func (n *Node) Status(ctx context.Context) (*api.Status, error) {
	out := &api.Status{
		Role: "node", PeerID: PeerID(n.home.PeerKey()), Home: n.home.Dir, Running: n.running.Load(),
		Identity: n.home.Principals()[0].Identity.ID().String(), AuditEntries: n.audit.Size(), AuditLost: n.audit.Lost(), Addresses: []string{},
	}
	err := n.store.Objects(func(o store.Object) (bool, error) {
		out.Objects++
		out.Bytes += o.Stored
		if isCarried(&o) {
			out.Carried++
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	if err := n.describeCopies(ctx, out); err != nil {
		return nil, err
	}
	if n.trust == nil {
		out.Problems = append(out.Problems, "no network: adopt one with `cerebrum network use FILE`")
		return out, nil
	}
	n.describeRecord(out)
	if err := n.describeWitnessing(out); err != nil {
		return nil, err
	}
	if out.Outbox, err = n.outbox.Waiting(); err != nil {
		return nil, err
	}
	if out.Pending, err = n.countPending(); err != nil {
		return nil, err
	}
	if n.judge != nil {
		if out.Desk, err = n.judge.Waits(); err != nil {
			return nil, err
		}
		roles, err := n.judge.RoleAsks()
		if err != nil {
			return nil, err
		}
		out.Desk += len(roles)
	}
	if n.rotation != nil {
		r := n.rotation.Status()
		out.Rotating, out.Settled = r.Left, r.Settled == n.trust.Current().ID()
		out.Problems = append(out.Problems, r.Liars...)
	}
	orders, err := n.erasures.open()
	if err != nil {
		return nil, err
	}
	if out.Erasing = len(orders); out.Erasing > 0 {
		out.ErasingSays = n.erasingSays(orders)
	}
	if !out.Running {
		out.Problems = append(out.Problems, "no node runs on this home")
		return out, nil
	}
	out.Addresses = n.addresses()
	out.Peers = len(n.host.Libp2p().Network().Peers())
	out.Banned = len(n.gate.bans.List())
	if age, ok := n.tracker.Age(); ok {
		s := age.Seconds()
		out.FreshnessSeconds = &s
	}
	if !n.tracker.Fresh() {
		out.Problems = append(out.Problems, "too few validators answer: nothing is served or released")
	}
	if err := n.store.ReadOnly(); err != nil {
		out.Problems = append(out.Problems, err.Error())
	} else if err := n.store.Room(0); err != nil {
		out.Problems = append(out.Problems, "nothing more is stored: "+err.Error())
	}
	if unlogged := n.unlogged.Load(); unlogged > 0 {
		out.Problems = append(out.Problems, fmt.Sprintf("the audit log cannot be written, and lacks reads that went on all the same: %d so far", unlogged))
	}
	n.describeSyslog(out)
	out.Healthy = len(out.Problems) == 0
	return out, nil
}

// List implements api.Service.
func (n *Node) List(ctx context.Context) (*api.Objects, error) {
	out := &api.Objects{Objects: []api.Object{}}
	err := n.store.Objects(func(o store.Object) (bool, error) {
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		out.Objects = append(out.Objects, n.describe(ctx, c, o))
		return true, ctx.Err()
	})
	sort.SliceStable(out.Objects, func(i, j int) bool { return out.Objects[i].Added < out.Objects[j].Added })
	return out, err
}

// describe says what the home knows; an object whose blocks are damaged is
// listed all the same, without its name.
func (n *Node) describe(ctx context.Context, c cid.Cid, o store.Object) api.Object {
	out := api.Object{
		Address: c.String(), Size: int64(o.Size), Stored: int64(o.Stored), Owned: o.Owned, State: "held",
		Added: time.Unix(o.Added, 0).UTC().Format(time.RFC3339), Pinned: n.isPinned(c, &o),
	}
	if isCarried(&o) {
		out.State = "carried"
	}
	if !o.Owned {
		return out
	}
	out.State = "local"
	switch o.State {
	case object.StateShared:
		out.State = "shared"
	case object.StateConflict:
		out.State = "conflict"
	case object.StateErased:
		out.State = "erased"
	case object.StateRetired:
		out.State = "retired"
	}
	h, err := n.library.Find(ctx, c)
	if err != nil {
		return out
	}
	if next, ok := h.Next(); ok {
		out.SupersededBy = next.String()
	}
	if opened, err := n.library.Open(ctx, h); err == nil {
		out.Name, out.Kind = opened.Details.Name, kindName(opened.Details.Kind)
	}
	return out
}

func kindName(k uint8) string {
	if k == object.KindDirectory {
		return "directory"
	}
	return "file"
}

// Verify implements api.Service: all blocks of the home, or one object with its
// manifest's signature.
func (n *Node) Verify(ctx context.Context, r api.VerifyRequest) (*api.Verified, error) {
	out := &api.Verified{Bad: []string{}}
	if r.Address != "" {
		return out, n.verifyOne(ctx, r.Address, out)
	}
	checked, err := n.store.CheckAll(ctx, func(c cid.Cid, err error) {
		if err != nil {
			out.Bad = append(out.Bad, c.String())
		}
	})
	if err != nil {
		return nil, err
	}
	out.Checked = checked
	err = n.store.Objects(func(o store.Object) (bool, error) {
		c, err := cid.Cast(o.Address)
		if err != nil {
			return false, err
		}
		if err := n.verifyManifest(ctx, c); err != nil {
			out.Bad = append(out.Bad, c.String())
		}
		out.Checked++
		return true, ctx.Err()
	})
	return out, err
}

func (n *Node) verifyManifest(ctx context.Context, c cid.Cid) error {
	h, err := n.library.Find(ctx, c)
	if err != nil {
		return err
	}
	owner := n.principalOf(h.Manifest.Claims().Owner)
	if owner == nil {
		return nil // its owner's record is not here; readers have it in their chain
	}
	_, err = h.Verify(owner.Identity)
	return err
}

func (n *Node) verifyOne(ctx context.Context, address string, out *api.Verified) error {
	c, err := parseAddress(address)
	if err != nil {
		return err
	}
	bad := func(c cid.Cid) { out.Bad = append(out.Bad, c.String()) }
	h, err := n.library.Find(ctx, c)
	out.Checked++
	if err != nil {
		if fault.Of(err).Exit == fault.Integrity {
			bad(c)
			return nil
		}
		return err
	}
	if err := n.verifyManifest(ctx, c); err != nil {
		bad(c)
	}
	if h.State == object.StateErased {
		return nil // its ciphertext is gone, as it should be
	}
	return n.library.Check(ctx, h, func(c cid.Cid, err error) {
		out.Checked++
		if err != nil {
			bad(c)
		}
	})
}

// Export implements api.Service.
func (n *Node) Export(ctx context.Context, r api.ExportRequest) (*api.Exported, error) {
	c, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	h, err := n.library.Find(ctx, c)
	if err != nil {
		return nil, err
	}
	o, err := n.library.Open(ctx, h)
	if err != nil {
		return nil, err
	}
	to, err := n.exportRecipients(o, r.To)
	if err != nil {
		return nil, err
	}
	if err := n.record(ctx, event.Export, event.OK, event.Act{Actor: o.Manifest.Owner, Object: c.Bytes(), Detail: r.Format}); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(r.Into, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := &api.Exported{File: r.Into}
	switch r.Format {
	case "age":
		err = n.library.ExportAge(ctx, o, f, to...)
	case "car":
		var file cid.Cid
		file, err = n.library.ExportCAR(ctx, h, o, f, to...)
		out.CID = file.String()
	default:
		return nil, fault.New(fault.Usage, "", "an export is --age or --car")
	}
	if err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	out.Size = info.Size()
	return out, f.Close()
}

func (n *Node) exportRecipients(o *object.Opened, to []string) ([]age.Recipient, error) {
	if len(to) == 0 {
		p := n.principalOf(o.Manifest.Owner)
		if p == nil {
			return nil, fault.New(fault.Denied, "name recipients with --recipient", "the owner's identity is not in this home")
		}
		to = p.Identity.Recipients()
	}
	var out []age.Recipient
	for _, s := range to {
		var r age.Recipient
		var err error
		if r, err = age.ParseHybridRecipient(s); err != nil {
			r, err = age.ParseX25519Recipient(s)
		}
		if err != nil {
			return nil, fault.New(fault.Usage, "a recipient begins with age1", "that is no age recipient")
		}
		out = append(out, r)
	}
	return out, nil
}

// Import implements api.Service.
func (n *Node) Import(ctx context.Context, r api.ImportRequest) (*api.Imported, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	f, err := os.Open(r.Path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the file to import")
	}
	defer f.Close()
	h, err := n.library.Import(ctx, f)
	if err != nil {
		return nil, diskFault(err)
	}
	m := h.Manifest.Claims()
	if err := n.record(ctx, event.Import, event.OK, event.Act{Object: h.CID.Bytes(), Owner: m.Owner}); err != nil {
		return nil, err
	}
	n.provideSoon(h.CID)
	file, err := cid.Cast(m.File)
	if err != nil {
		return nil, errors.New("the manifest names no file")
	}
	return &api.Imported{Address: h.CID.String(), File: file.String()}, nil
}
