package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// needsJudge refuses what only a validator's own operator may do.
func (n *Node) needsJudge() error {
	if n.trust == nil {
		return n.needsNetwork()
	}
	if n.seat() < 0 {
		return fault.New(fault.Denied, "run it with the --home of a validator", "this node is no validator of the network %s", n.trust.Current().Name)
	}
	return nil
}

// Pending implements api.Desk.
func (n *Node) Pending(context.Context) (*api.PendingGrants, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	waiting, err := n.judge.Desk()
	if err != nil {
		return nil, err
	}
	out := &api.PendingGrants{Pending: []api.PendingGrant{}}
	for _, w := range waiting {
		out.Pending = append(out.Pending, n.describeWaiting(&w))
	}
	return out, nil
}

func (n *Node) describeWaiting(w *validator.Waiting) api.PendingGrant {
	g := &w.Grant
	return api.PendingGrant{
		ID: w.ID.String(), Owner: n.party(w.Owner), Audience: n.party(w.Audience),
		Target: targetKind(g.Target), TargetID: validator.TargetID(g).String(),
		Objects: w.Facts.Objects, Labels: w.Facts.Labels, Class: int(w.Facts.Class),
		Can: g.Abilities.String(), Purposes: g.Caveats.Purposes, From: stamp(g.Caveats.NotBefore), Expires: stamp(g.Caveats.Expires),
		Depth: int(g.Depth), Offline: g.Caveats.Offline, Reason: w.Reason, Policy: w.Said,
		Asked: stamp(w.Asked.Unix()), Until: stamp(w.Until.Unix()),
	}
}

// party names an identity as far as this home knows it.
func (n *Node) party(id *identity.Identity) api.Party {
	out := api.Party{Identity: id.ID().String(), Kind: id.Kind().String()}
	if p := n.principalOf(id.ID()); p != nil {
		out.Name = p.Name
	} else if i, ok := n.trust.Current().ByIdentity(id.ID()); ok {
		out.Name = fmt.Sprintf("validator %d", i+1)
	}
	return out
}

// shortestID is how much of an id names a request at least.
const shortestID = 8

// findWaiting finds a request by its id or an unambiguous beginning of it.
func (n *Node) findWaiting(name string) (statement.ID, error) {
	const hint = "see `cerebrum validator pending`"
	if len(name) < shortestID {
		return statement.ID{}, fault.New(fault.Usage, hint, "an id, or at least its first %d digits, names a request", shortestID)
	}
	waiting, err := n.judge.Desk()
	if err != nil {
		return statement.ID{}, err
	}
	var found []statement.ID
	for _, w := range waiting {
		if strings.HasPrefix(w.ID.String(), name) {
			found = append(found, w.ID)
		}
	}
	switch len(found) {
	case 0:
		return statement.ID{}, fault.New(fault.NotFound, hint, "no request %s waits for a decision", name)
	case 1:
		return found[0], nil
	}
	return statement.ID{}, fault.New(fault.Usage, "give more digits", "%d requests begin with %s", len(found), name)
}

// Decide implements api.Desk.
func (n *Node) Decide(ctx context.Context, r api.DecideRequest) (*api.Decided, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	if err := n.needsNetwork(); err != nil { // an approval needs freshness
		return nil, err
	}
	id, err := n.findWaiting(r.ID)
	if err != nil {
		return nil, err
	}
	out := &api.Decided{ID: id.String(), State: "denied"}
	if r.Approve {
		out.State, err = "approved", n.judge.Approve(ctx, id)
	} else {
		err = n.judge.Refuse(ctx, id, r.Reason)
	}
	return out, deskFault(err)
}

func deskFault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, validator.ErrNotWaiting):
		return fault.Wrap(fault.NotFound, err, "see `cerebrum validator pending`", "it is decided already")
	case errors.Is(err, validator.ErrDenied):
		return fault.Wrap(fault.Denied, err, "deny it with a reason, so that its owner learns of it", "policy forbids it now, which a person cannot overrule")
	case errors.Is(err, validator.ErrMalformed):
		return fault.Wrap(fault.Denied, err, "deny it with a reason, so that its owner asks anew", "the request does not hold")
	case errors.Is(err, validator.ErrUnavailable):
		return fault.Wrap(fault.Unavailable, err, "see `cerebrum status`", "nothing is decided")
	}
	return err
}

// identityID reads a contact, an id, or the name of an identity of this home.
func (n *Node) identityID(s string) (statement.ID, *identity.Identity, error) {
	if p, err := n.home.Principal(s); err == nil && s != "" {
		return p.Identity.ID(), p.Identity, nil
	}
	if id, err := statement.ParseID(s); err == nil {
		return id, nil, nil
	}
	who, err := identity.ParseContact(s)
	if err != nil {
		return statement.ID{}, nil, fault.Wrap(fault.Usage, err, "a contact is what `cerebrum id show` prints", "that is no contact, no identity's id and no identity of this home")
	}
	return who.ID(), who, nil
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

// sendRole has an assignment signed by K and kept by all that can be reached.
func (n *Node) sendRole(ctx context.Context, a policy.Assignment) (*api.Role, error) {
	s, err := policy.DraftRole(a)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "the role cannot be given")
	}
	if _, err := n.quorum.SendRole(ctx, s); err != nil { // gathers signatures
		return nil, err
	}
	kept, err := n.quorum.SendRole(ctx, s)
	if err != nil {
		return nil, err
	}
	row := n.roleRow(&a, s.ID())
	row.Kept = kept
	return &row, nil
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
