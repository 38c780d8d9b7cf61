package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// This file has what a home knows of its network: the chain of committee records,
// the network file with the memberships, and this node's place among them.

// openTrust opens the chain in the store with what the network file knows. The
// store may know more: records that came from the network.
func (n *Node) openTrust() error {
	n.roll.file.Store(n.home.Network)
	n.roll.store = n.store.KV("memberships")
	genesis, err := trust.Genesis(n.home.Network.Records[0])
	if err != nil {
		return err
	}
	if n.trust, err = trust.OpenChain(n.store.KV("records"), genesis); err != nil {
		return fault.Wrap(fault.Integrity, err, "keep a copy of the home as evidence before anything else", "the committee records of this home")
	}
	if _, err := n.trust.Add(n.home.Network.Records[1:]...); err != nil && !errors.Is(err, trust.ErrFork) {
		return fault.Wrap(fault.Integrity, err, "adopt the network again with `cerebrum network use FILE`", "%s", home.NetworkFile)
	}
	return n.enrol(n.home.Network.Memberships)
}

// seat is this validator's place in the newest record; -1 where it has none, or
// where the home has other keys than the record names.
func (n *Node) seat() int {
	i, ok := n.trust.Current().ByPeer(n.home.PeerKey())
	if !ok || n.judge == nil || n.trust.Current().Validators[i].Signing != n.judge.Signing.Public() {
		return -1
	}
	return i
}

var errNoNetwork = fault.New(fault.Usage, "adopt one with `cerebrum network use FILE`", "this home belongs to no network yet")

// Network implements api.Service.
func (n *Node) Network(context.Context) (*api.NetworkFile, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	f, err := n.networkFile()
	if err != nil {
		return nil, err
	}
	text, err := home.EncodeNetwork(f)
	if err != nil {
		return nil, err
	}
	return &api.NetworkFile{File: string(text)}, nil
}

// Permit implements api.Service.
func (n *Node) Permit(ctx context.Context, r api.PermitRequest) (*api.Permitted, error) {
	id, err := statement.ParseID(r.ID)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "the statement to sign")
	}
	err = n.guards.Permit(r.Kind, r.Epoch, r.Version, id)
	if errors.Is(err, trust.ErrSecond) {
		return nil, fault.Wrap(fault.Denied, err, "sign that one, or have the root keys void the version with `cerebrum network rotate --skip`", "this validator does not sign twice")
	}
	if err != nil {
		return nil, err
	}
	err = n.record(ctx, event.Committee, event.Pending, event.Act{
		Actor: n.home.Principals()[0].Identity.ID(), Grant: id[:], Detail: fmt.Sprintf("may sign root epoch %d, version %d", r.Epoch, r.Version),
	})
	return &api.Permitted{}, err
}

// Adopt implements api.Service: it takes the further records of this home's
// network from a file, and its memberships where the file is the newest.
func (n *Node) Adopt(ctx context.Context, r api.AdoptRequest) (*api.Adopted, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	text, err := home.NetworkText(r.Path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the network file")
	}
	f, err := home.DecodeNetwork(text)
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "ask its sender for it again", "%s", r.Path)
	}
	was := n.trust.Current()
	newest, err := n.takeFile(f)
	if err != nil {
		return nil, err
	}
	if err := n.keepFile(f, newest); err != nil {
		return nil, err
	}
	now := n.trust.Current()
	if n.running.Load() {
		n.hintOfRecords() // who follows the records logs the change
	} else if now != was {
		if err := n.recordCommittee(ctx, now); err != nil {
			return nil, err
		}
	}
	return &api.Adopted{
		Network: n.trust.Network().String(), Name: now.Name, RootEpoch: now.RootEpoch, Version: now.Version, Record: now.ID().String(), Newest: newest == now,
	}, nil
}

// takeFile verifies a file and adds its records.
func (n *Node) takeFile(f *trust.File) (*trust.Committee, error) {
	genesis, err := trust.Genesis(f.Records[0])
	if err == nil && genesis.ID() != n.trust.Network() {
		return nil, fault.New(fault.Failed, "use another --home for another network", "this home belongs to the network %s already", n.trust.Current().Name)
	}
	chain, err := f.Chain()
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "see `cerebrum network show FILE` for what is missing; validators and root keys sign with `cerebrum network sign`", "the network file is not complete")
	}
	was := n.trust.Current()
	_, err = n.trust.Add(f.Records[1:]...)
	switch {
	case errors.Is(err, trust.ErrFork):
		if n.trust.Current() == was { // a skip takes its position
			return nil, fault.Wrap(fault.Integrity, err, "show the file to the other validators; `cerebrum status` says whose signatures stand under both", "the file forks the network")
		}
	case err != nil:
		return nil, fault.Wrap(fault.Integrity, err, "ask its sender for it again", "the network file")
	}
	if len(f.Root) > 0 {
		if _, err := n.trust.VerifyPin(f.Root); err != nil {
			return nil, fault.Wrap(fault.Integrity, err, "ask the root keys' holders which record counts", "the network file")
		}
	}
	newest, _ := n.trust.Known(chain.Current().ID())
	return newest, nil
}

// keepFile makes a file the home's own where it leads to the newest record.
func (n *Node) keepFile(f *trust.File, newest *trust.Committee) error {
	if newest != n.trust.Current() {
		return nil
	}
	if err := n.enrol(f.Memberships); err != nil {
		return err
	}
	if err := n.home.KeepNetwork(f); err != nil {
		return err
	}
	n.roll.file.Store(f)
	return nil
}

// describeRecord says in a status what record this home knows and what is wrong
// with it.
func (n *Node) describeRecord(out *api.Status) {
	r := n.trust.Current()
	out.Network, out.NetworkName = n.trust.Network().String(), r.Name
	out.Record, out.RootEpoch, out.Version = r.ID().String(), r.RootEpoch, r.Version
	out.Expires = time.Unix(r.Expires, 0).UTC().Format(time.RFC3339)
	if err := r.Live(n.now()); err != nil {
		out.Problems = append(out.Problems, err.Error()+": renew it with `cerebrum network rotate`")
	}
	if _, listed := r.ByPeer(n.home.PeerKey()); listed {
		out.Role = "validator"
		if n.seat() < 0 {
			out.Problems = append(out.Problems, "the newest committee record makes this home a validator: start the node again, with the keys of its card")
		}
	}
	if m, err := n.myMembership(); err == nil && out.Role != "validator" {
		out.Role, out.MemberUntil = m.Role.String(), stamp(m.Expires)
	}
	if _, err := n.admits(n.home.PeerKey(), nil); err != nil && r.Live(n.now()) == nil {
		out.Problems = append(out.Problems, "this node is no member of the network now: have its `cerebrum network card` named in the next record, or use an invitation with `cerebrum join`")
	}
	out.Proofs = len(n.trust.Proofs())
	for _, p := range n.trust.Proofs() {
		in, _ := n.trust.Known(p.Record)
		i := slices.Index(r.ValidatorKeys(), in.Validators[p.Validator].Signing)
		if i < 0 {
			continue // it was replaced; the proof is kept
		}
		if s := fmt.Sprintf("validator %d signed two committee records for one version; proof kept", i+1); !slices.Contains(out.Problems, s) {
			out.Problems = append(out.Problems, s)
		}
	}
}
