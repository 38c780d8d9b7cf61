package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cerebrum.dev/cerebrum/acl/identity"
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
	roles, err := n.judge.RoleAsks()
	if err != nil {
		return nil, err
	}
	for _, w := range roles {
		out.Roles = append(out.Roles, n.describeRole(&w))
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
func (n *Node) findWaiting(name string) (id statement.ID, isRole bool, err error) {
	const hint = "see `cerebrum validator pending`"
	if len(name) < shortestID {
		return id, false, fault.New(fault.Usage, hint, "an id, or at least its first %d digits, names a request", shortestID)
	}
	waiting, err := n.judge.Desk()
	if err != nil {
		return id, false, err
	}
	roles, err := n.judge.RoleAsks()
	if err != nil {
		return id, false, err
	}
	found := 0
	for _, w := range waiting {
		if strings.HasPrefix(w.ID.String(), name) {
			found, id = found+1, w.ID
		}
	}
	for _, w := range roles {
		if strings.HasPrefix(w.ID.String(), name) {
			found, id, isRole = found+1, w.ID, true
		}
	}
	switch found {
	case 0:
		return id, false, fault.New(fault.NotFound, hint, "no request %s waits for a decision", name)
	case 1:
		return id, isRole, nil
	}
	return id, false, fault.New(fault.Usage, "give more digits", "%d requests begin with %s", found, name)
}

// Decide implements api.Desk.
func (n *Node) Decide(ctx context.Context, r api.DecideRequest) (*api.Decided, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	if err := n.needsNetwork(); err != nil { // an approval needs freshness
		return nil, err
	}
	id, isRole, err := n.findWaiting(r.ID)
	if err != nil {
		return nil, err
	}
	if isRole {
		return n.decideRole(ctx, id, r)
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
