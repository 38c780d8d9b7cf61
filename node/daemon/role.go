package daemon

import (
	"context"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
)

// sendRole has an assignment signed by K and kept by all that can be reached, or
// asks for it and leaves it to the people at other validators.
func (n *Node) sendRole(ctx context.Context, a policy.Assignment) (*api.Role, error) {
	s, err := policy.DraftRole(a)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "the role cannot be given")
	}
	if err := n.recordRole(ctx, &a, s.ID()); err != nil {
		return nil, err
	}
	sent, err := n.askForRole(ctx, s)
	if err != nil {
		return nil, err
	}
	row := n.roleRow(&a, s.ID())
	if row.Kept = sent.Kept; sent.Waits {
		row.State = "waits"
	}
	return &row, nil
}

// recordRole logs that the person at this validator gives or takes a role.
func (n *Node) recordRole(ctx context.Context, a *policy.Assignment, id statement.ID) error {
	action := event.RoleEnd
	if a.Granted {
		action = event.Role
	}
	return n.record(ctx, action, event.OK, event.Act{Actor: n.home.Principals()[0].Identity.ID(), Subject: a.Identity, Grant: id[:], Role: a.Role})
}

// askForRole asks all validators to sign a role statement, and to keep it where
// K have signed.
func (n *Node) askForRole(ctx context.Context, s *statement.Statement) (*quorum.RoleSending, error) {
	sent, err := n.quorum.SendRole(ctx, s) // gathers signatures
	if err != nil || sent.Waits {
		return sent, err
	}
	return n.quorum.SendRole(ctx, s)
}

// decideRole has this validator ask for a role that waits, or not sign it.
func (n *Node) decideRole(ctx context.Context, id statement.ID, r api.DecideRequest) (*api.Decided, error) {
	out := &api.Decided{ID: id.String(), State: "denied"}
	if !r.Approve {
		return out, deskFault(n.judge.RefuseRole(ctx, id, r.Reason))
	}
	s, err := n.judge.RoleDraft(id)
	if err != nil {
		return nil, deskFault(err)
	}
	sent, err := n.askForRole(ctx, s)
	if err != nil {
		return nil, err
	}
	if out.State = "given"; sent.Waits {
		out.State = "asked for"
	}
	return out, nil
}

// describeRole is a role that waits, for a person to read.
func (n *Node) describeRole(w *validator.WaitingRole) api.PendingRole {
	a := &w.Assignment
	out := api.PendingRole{
		ID: w.ID.String(), Identity: a.Identity.String(), Role: a.Role, From: stamp(a.NotBefore), Expires: stamp(a.Expires),
		Asked: stamp(w.Asked.Unix()), Until: stamp(w.Until.Unix()), Need: w.Need,
	}
	if p := n.principalOf(a.Identity); p != nil {
		out.Name = p.Name
	}
	for _, i := range w.Askers {
		out.Askers = append(out.Askers, i+1)
	}
	return out
}

// RoleAssign implements api.Desk: the validators sign an assignment and keep it.
func (n *Node) RoleAssign(ctx context.Context, r api.RoleRequest) (*api.RoleList, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	who, _, err := n.identityID(r.To)
	if err != nil {
		return nil, err
	}
	now := n.now()
	a := policy.Assignment{
		Network: n.trust.Network(), Record: n.trust.Current().ID(), Identity: who, Role: r.Role, Granted: true,
		NotBefore: now.Add(-time.Minute).Unix(), Expires: now.Unix() + r.Seconds, Nonce: newNonce(),
	}
	row, err := n.sendRole(ctx, a)
	if err != nil {
		return nil, err
	}
	return &api.RoleList{Roles: []api.Role{*row}}, nil
}

func (n *Node) roleRow(a *policy.Assignment, id statement.ID) api.Role {
	row := api.Role{ID: id.String(), Identity: a.Identity.String(), Role: a.Role, State: "taken away"}
	if a.Granted {
		row.From, row.Expires, row.State = stamp(a.NotBefore), stamp(a.Expires), "valid"
		if n.now().Unix() >= a.Expires {
			row.State = "expired"
		}
	}
	return row
}

// RoleRevoke implements api.Desk: it takes away all assignments of a role to an
// identity that this validator knows.
func (n *Node) RoleRevoke(ctx context.Context, r api.RoleRequest) (*api.RoleList, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	who, _, err := n.identityID(r.To)
	if err != nil {
		return nil, err
	}
	out := &api.RoleList{Roles: []api.Role{}}
	for _, given := range n.judge.Book.Assignments(who) {
		if given.Role != r.Role || n.now().Unix() >= given.Expires {
			continue
		}
		a := given.Removal(given.ID())
		a.Record, a.Nonce = n.trust.Current().ID(), newNonce()
		row, err := n.sendRole(ctx, a)
		if err != nil {
			return nil, err
		}
		out.Roles = append(out.Roles, *row)
	}
	if len(out.Roles) == 0 {
		return nil, fault.New(fault.NotFound, "see `cerebrum role list`", "the identity %s does not have the role %s", who, r.Role)
	}
	return out, nil
}

// RoleList implements api.Desk.
func (n *Node) RoleList(_ context.Context, r api.RoleRequest) (*api.RoleList, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	who := n.judge.Book.Identities()
	if r.To != "" {
		id, _, err := n.identityID(r.To)
		if err != nil {
			return nil, err
		}
		who = []statement.ID{id}
	}
	out := &api.RoleList{Roles: []api.Role{}}
	for _, id := range who {
		for _, given := range n.judge.Book.Assignments(id) {
			out.Roles = append(out.Roles, n.roleRow(&given.Assignment, given.ID()))
		}
	}
	return out, nil
}
