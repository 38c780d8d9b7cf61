package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// invitationRow is an invitation that this home has made. Its secret is not kept.
type invitationRow struct {
	_          struct{} `cbor:",toarray"`
	Invitation []byte   // signed
	Used       []byte   // peer key of who came by it, once that was seen
}

func (n *Node) invitations() kv.Store { return n.store.KV("invitations") }

// maxPolicyInvite bounds the policy bundle that an invite carries, in bytes.
const maxPolicyInvite = 512 << 10

// Invite implements api.Service. Nothing is sent: the validators meet the
// invitation when it is redeemed.
func (n *Node) Invite(ctx context.Context, r api.InviteRequest) (*api.Invited, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	p, err := n.inviter(r.As)
	if err != nil {
		return nil, err
	}
	role, err := parseRole(r.Role)
	if err != nil {
		return nil, err
	}
	lasts := time.Duration(r.Seconds) * time.Second
	if lasts < time.Minute || lasts > trust.MaxInvitation {
		return nil, fault.New(fault.Usage, "", "an invitation is open for a minute at least and %d days at most", int(trust.MaxInvitation.Hours()/24))
	}
	record, key, now := n.trust.Current(), statement.GenerateKey(), n.now()
	if err := record.Live(now); err != nil {
		return nil, fault.Wrap(fault.Denied, err, "renew it with `cerebrum network rotate`", "nobody can join: the network's record")
	}
	i := trust.Invitation{
		Network: n.trust.Network(), Pin: record.Pin(), Inviter: p.Identity.ID(), Key: key.Public(), Role: role, Name: r.Name,
		NotBefore: now.Add(-time.Minute).Unix(), Expires: now.Add(lasts - time.Minute).Unix(),
	}
	s, err := trust.SignInvitation(i, p.Device)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "the invitation cannot be made")
	}
	invite := trust.Invite{
		Format: trust.InviteFormat, Invitation: s.Bytes(), Inviter: p.Identity.Record(), Network: record.Name,
		Validators: reaches(record), Secret: key.Seed(),
	}
	if bundle := n.roll.file.Load().Policy; len(bundle) <= maxPolicyInvite {
		invite.Policy = bundle
	}
	text, err := home.EncodeInvite(&invite)
	if err != nil {
		return nil, err
	}
	id := s.ID()
	row, err := statement.Marshal(invitationRow{Invitation: s.Bytes()})
	if err != nil {
		return nil, err
	}
	if err := n.record(ctx, event.Invite, event.OK, event.Act{Actor: i.Inviter, Grant: id[:], Detail: "as " + role.String()}); err != nil {
		return nil, err
	}
	if err := n.invitations().Apply([]kv.Op{{Key: id[:], Value: row}}); err != nil {
		return nil, err
	}
	return &api.Invited{Invitation: id.String(), Role: role.String(), Name: r.Name, Network: record.Name, Expires: stamp(i.Expires), Text: string(text)}, nil
}

func parseRole(s string) (trust.Role, error) {
	for r := trust.RoleNode; r <= trust.RoleMirror; r++ {
		if s == r.String() && r != trust.RoleValidator {
			return r, nil
		}
	}
	if s == trust.RoleValidator.String() {
		return 0, fault.New(fault.Usage, "draft a record that names it with `cerebrum network rotate --add CARD`", "nobody is invited as a validator")
	}
	return 0, fault.New(fault.Usage, "", "a newcomer is a node, an auditor, a client or a mirror, not %q", s)
}

// inviter finds an identity of this home that validators let invite.
func (n *Node) inviter(as string) (*home.Principal, error) {
	p, err := n.actor(as)
	if err != nil {
		return nil, err
	}
	if !n.mayInvite(p.Identity.ID()) {
		return nil, fault.New(fault.Denied, "ask a validator for the role: `cerebrum role assign CONTACT "+validator.RoleInviter+" --for 90d`",
			"the identity %q may not invite: it is no validator's and does not have the role %s", p.Name, validator.RoleInviter)
	}
	return p, nil
}

// mayInvite reports what this node knows of an identity's right to invite; the
// validators decide when an invitation is redeemed.
func (n *Node) mayInvite(id statement.ID) bool {
	if _, sits := n.trust.Current().ByIdentity(id); sits {
		return true
	}
	var roles policy.RoleSet
	for _, f := range n.set.Facts(policy.KindRole, id) {
		raw, ok := f.Body.([]byte)
		if !ok {
			continue
		}
		if r, err := policy.VerifyRole(raw, n.trust); err == nil {
			roles.Add(r)
		}
	}
	return slices.Contains(roles.Roles(id, n.now()), validator.RoleInviter)
}

// Invitations implements api.Service.
func (n *Node) Invitations(context.Context) (*api.Invitations, error) {
	if n.trust == nil {
		return nil, errNoNetwork
	}
	came := map[[16]byte]statement.PublicKey{}
	err := n.roll.store.Scan(memberPrefix, nil, func(_, raw []byte) (bool, error) {
		if m, err := membershipOf(raw); err == nil {
			came[m.Nonce] = m.Peer
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	out := &api.Invitations{Invitations: []api.Invitation{}}
	err = n.invitations().Scan(nil, nil, func(key, value []byte) (bool, error) {
		row, i, err := readInvitation(value)
		if err != nil {
			return false, err
		}
		id := statement.ID(key)
		if peer, ok := came[trust.MemberNonce(id)]; ok && len(row.Used) == 0 {
			row.Used = peer[:]
			kept, err := statement.Marshal(row)
			if err != nil {
				return false, err
			}
			if err := n.invitations().Apply([]kv.Op{{Key: id[:], Value: kept}}); err != nil {
				return false, err
			}
		}
		out.Invitations = append(out.Invitations, n.invitationOf(id, row, i))
		return true, nil
	})
	slices.SortStableFunc(out.Invitations, func(a, b api.Invitation) int { return cmp.Compare(a.Expires, b.Expires) })
	return out, err
}

func readInvitation(value []byte) (*invitationRow, *trust.Invitation, error) {
	var row invitationRow
	if err := statement.Unmarshal(value, &row); err != nil {
		return nil, nil, fmt.Errorf("a stored invitation: %w", err)
	}
	s, err := statement.Parse(row.Invitation)
	if err != nil {
		return nil, nil, fmt.Errorf("a stored invitation: %w", err)
	}
	var i trust.Invitation
	return &row, &i, s.Peek(trust.KindInvitation, &i)
}

func (n *Node) invitationOf(id statement.ID, row *invitationRow, i *trust.Invitation) api.Invitation {
	out := api.Invitation{Invitation: id.String(), Role: i.Role.String(), Name: i.Name, Expires: stamp(i.Expires), State: "open"}
	revokers := n.set.Revokers(id)
	switch {
	case len(row.Used) == len(statement.PublicKey{}):
		out.State, out.Peer = "used", PeerID(statement.PublicKey(row.Used))
	case slices.Contains(revokers, i.Inviter) || n.trust.Removed(revokers):
		out.State = "revoked"
	case i.Live(n.now()) != nil:
		out.State = "expired"
	}
	return out
}

// Uninvite implements api.Service.
func (n *Node) Uninvite(ctx context.Context, r api.UninviteRequest) (*api.Uninvited, error) {
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	id, err := statement.ParseID(r.Invitation)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum invite --list`", "that is no invitation")
	}
	value, err := n.invitations().Get(id[:])
	if errors.Is(err, kv.ErrNotFound) {
		return nil, fault.New(fault.NotFound, "see `cerebrum invite --list`", "this home made no invitation %s", id)
	}
	if err != nil {
		return nil, err
	}
	row, i, err := readInvitation(value)
	if err != nil {
		return nil, err
	}
	p := n.principalOf(i.Inviter)
	if p == nil {
		return nil, fault.New(fault.Denied, "revoke it on a device of its maker", "its maker's identity is not in this home")
	}
	if err := mayAct(p); err != nil {
		return nil, err
	}
	if !n.mayInvite(i.Inviter) {
		return nil, fault.New(fault.Denied, "nobody can use its invitations any more", "the identity %q lost the right to invite", p.Name)
	}
	entry, err := revocation.Sign(revocation.Revocation{Network: n.trust.Network(), Target: id, Time: n.now().Unix()}, p.Identity, p.Device)
	if err != nil {
		return nil, err
	}
	if err := n.record(ctx, event.InviteRevoke, event.OK, event.Act{Actor: i.Inviter, Grant: id[:]}); err != nil {
		return nil, err
	}
	if err := n.tracker.Take([]revocation.Entry{entry}); err != nil {
		return nil, err
	}
	acks, err := n.quorum.SendInvitationRevocation(ctx, entry, id, row.Invitation)
	if err != nil {
		return nil, err
	}
	out := &api.Uninvited{Invitation: id.String(), Acks: acks}
	if len(row.Used) > 0 {
		out.Member = PeerID(statement.PublicKey(row.Used))
	}
	return out, nil
}
